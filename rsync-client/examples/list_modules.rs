//! Lists the modules of a daemon.
//!
//! ```text
//! cargo run -p rsync-client --example list_modules -- rsync://host/
//! ```
#![allow(clippy::print_stdout, reason = "a command prints, and has an exit code")]

use rsync_client::{Client, ClientError, Module};

pub(crate) fn run(daemon: &str) -> Result<Vec<Module>, ClientError> {
    Client::builder().build().list_modules(daemon)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let daemon = std::env::args().nth(1).ok_or("usage: list_modules rsync://HOST/")?;
    for module in run(&daemon)? {
        println!("{:15}\t{}", module.name, module.comment);
    }
    Ok(())
}
