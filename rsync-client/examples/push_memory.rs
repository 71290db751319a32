//! Pushes files that exist only in memory; any implementation of `Tree` can be a source.
//!
//! ```text
//! cargo run -p rsync-client --example push_memory -- host:directory/
//! ```
#![allow(clippy::print_stdout, reason = "a command prints, and has an exit code")]

use std::sync::Arc;

use rsync_client::{Client, ClientEnvironment, ClientError, TransferReport};
use rsync_engine::tree::MemoryTree;
use rsync_proto::options::TransferOptions;

pub(crate) fn run(options: TransferOptions, destination: &str) -> Result<TransferReport, ClientError> {
    let mut tree = MemoryTree::new();
    tree.insert(b"site", 0o040_755, b"");
    tree.insert(b"site/index.html", 0o100_644, b"<p>hello</p>\n");
    tree.insert(b"site/robots.txt", 0o100_644, b"User-agent: *\n");
    let client = Client::builder().options(options).environment(ClientEnvironment::from_env()).build();
    client.push_tree(Arc::new(tree), &["site/"], destination)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let destination = std::env::args().nth(1).ok_or("usage: push_memory HOST:DIRECTORY/")?;
    let report = run(TransferOptions::archive(), &destination)?;
    println!("{} files pushed", report.totals.transferred);
    Ok(())
}
