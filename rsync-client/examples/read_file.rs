//! Reads one file into memory, without touching the disk.
//!
//! ```text
//! cargo run -p rsync-client --example read_file -- rsync://host/module/file
//! ```

use std::io::Write;

use rsync_client::{Client, ClientEnvironment, ClientError};

pub(crate) fn run(file: &str) -> Result<Vec<u8>, ClientError> {
    Client::builder().environment(ClientEnvironment::from_env()).build().fetch(file)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("usage: read_file FILE")?;
    std::io::stdout().write_all(&run(&file)?)?;
    Ok(())
}
