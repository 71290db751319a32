//! Lists everything below a path of a daemon, or behind a remote shell.
//!
//! ```text
//! cargo run -p rsync-client --example list_path -- rsync://host/module/path/
//! ```
#![allow(clippy::print_stdout, clippy::exit, reason = "a command prints, and has an exit code")]

use rsync_client::{Client, ClientEnvironment, ClientError, Listing};
use rsync_proto::options::TransferOptions;

pub(crate) fn run(source: &str) -> Result<Listing, ClientError> {
    let client = Client::builder()
        .options(TransferOptions::archive())
        .environment(ClientEnvironment::from_env())
        .build();
    client.list(source)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source = std::env::args().nth(1).ok_or("usage: list_path SOURCE")?;
    let listing = run(&source)?;
    for entry in &listing.entries {
        println!("{:o} {:12} {:11} {}", entry.mode, entry.size, entry.mtime, entry.name);
    }
    std::process::exit(listing.exit_code.code().into());
}
