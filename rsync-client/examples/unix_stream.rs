//! Talks to a far end over streams of its own making, here a pair of Unix sockets whose other end
//! belongs to an `rsync --server` of this machine. The host in front of the colon is only a name.
//!
//! ```text
//! cargo run -p rsync-client --example unix_stream -- anywhere:directory/ copy
//! ```
#![allow(clippy::print_stdout, reason = "a command prints, and has an exit code")]

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;

use rsync_client::{Client, ClientError, ConnectRequest, TransferReport};
use rsync_engine::Link;
use rsync_proto::options::TransferOptions;

/// Starts a server at the other end of a pair of sockets.
fn connect(request: &ConnectRequest<'_>) -> io::Result<Link> {
    let words = request.server.ok_or(io::ErrorKind::Unsupported)?;
    let (ours, theirs) = UnixStream::pair()?;
    let output = theirs.try_clone()?;
    Command::new("rsync")
        .args(words.iter().map(|word| OsStr::from_bytes(word)))
        .stdin(OwnedFd::from(theirs))
        .stdout(OwnedFd::from(output))
        .spawn()?;
    let reader = ours.try_clone()?;
    Link::from_fds(reader.into(), ours.into())
}

pub(crate) fn run(source: &str, directory: &str) -> Result<TransferReport, ClientError> {
    let client = Client::builder().options(TransferOptions::archive()).connector(Arc::new(connect)).build();
    client.pull(source, directory)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(source), Some(directory)) = (words.next(), words.next()) else {
        return Err("usage: unix_stream HOST:SOURCE DIRECTORY".into());
    };
    println!("{} files copied", run(&source, &directory)?.totals.transferred);
    Ok(())
}
