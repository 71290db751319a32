//! Ends a transfer from another thread. Files are whole or untouched whenever that happens.
//!
//! ```text
//! cargo run -p rsync-client --example cancel -- rsync://host/module/ directory 10
//! ```
#![allow(clippy::print_stdout, reason = "a command prints, and has an exit code")]

use std::time::Duration;

use rsync_client::{Client, ClientError, TransferReport};
use rsync_proto::options::TransferOptions;

pub(crate) fn run(
    options: TransferOptions,
    source: &str,
    directory: &str,
    patience: Duration,
) -> Result<TransferReport, ClientError> {
    let client = Client::builder().options(options).build();
    let canceller = client.canceller();
    std::thread::spawn(move || {
        std::thread::sleep(patience);
        canceller.cancel();
    });
    client.pull(source, directory)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [source, directory, seconds] = &words[..] else {
        return Err("usage: cancel SOURCE DIRECTORY SECONDS".into());
    };
    let patience = Duration::from_secs(seconds.parse()?);
    match run(TransferOptions::archive(), source, directory, patience) {
        Ok(report) => println!("done in time: {} files", report.totals.transferred),
        Err(error) => println!("ended early: {error}"),
    }
    Ok(())
}
