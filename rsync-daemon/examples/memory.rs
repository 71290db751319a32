//! A daemon in ten lines: serves a tree from memory at a free port of this machine, to any rsync.
//!
//! ```text
//! $ cargo run -p rsync-daemon --example memory
//! rsync://127.0.0.1:41873/notes/
//! $ rsync rsync://127.0.0.1:41873/notes/
//! ```

use std::io::Write;
use std::sync::Arc;

use rsync_daemon::{Daemon, DaemonError, LogTarget, Module, ModuleSettings};
use rsync_engine::tree::MemoryTree;

/// A daemon of one module that is on no disk.
pub(crate) fn daemon() -> Result<Daemon, DaemonError> {
    let mut tree = MemoryTree::new();
    tree.insert(b"hello", 0o100_644, b"from memory\n");
    tree.insert(b"deep/down/below", 0o100_644, &vec![b'x'; 100_000]);
    let settings = ModuleSettings { comment: Some("Not on any disk".into()), ..ModuleSettings::default() };
    Daemon::builder()
        .tree(Module::new("notes", settings), Arc::new(tree))
        .access(|caller| caller.address.is_loopback())
        .address("127.0.0.1")
        .port(0)
        .log(LogTarget::Nothing)
        .bind()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let daemon = daemon()?;
    writeln!(std::io::stdout(), "rsync://{}/notes/", daemon.local_addresses()[0])?;
    // It serves until the program ends.
    daemon.run(std::future::pending()).await;
    Ok(())
}
