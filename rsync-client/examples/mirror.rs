//! Makes a directory an exact copy of a source: what the source does not have is deleted.
//!
//! ```text
//! cargo run -p rsync-client --example mirror -- rsync://host/module/ directory
//! ```
#![allow(clippy::print_stdout, clippy::exit, reason = "a command prints, and has an exit code")]

use rsync_client::{Client, ClientEnvironment, ClientError, TransferReport};
use rsync_proto::options::{DeleteTiming, TransferOptions};

pub(crate) fn run(source: &str, directory: &str) -> Result<TransferReport, ClientError> {
    let options = TransferOptions {
        delete: DeleteTiming::After,
        hard_links: 1,
        timeout: 120,
        ..TransferOptions::archive()
    };
    let client = Client::builder().options(options).environment(ClientEnvironment::from_env()).build();
    client.pull(source, directory)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(source), Some(directory)) = (words.next(), words.next()) else {
        return Err("usage: mirror SOURCE DIRECTORY".into());
    };
    let report = run(&source, &directory)?;
    println!("{} files, {} bytes received", report.totals.transferred, report.totals.received);
    std::process::exit(report.exit_code.code().into());
}
