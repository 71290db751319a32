//! Peers that send what no rsync would: a raw daemon client, and a canned server behind a remote shell.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bstr::{BString, ByteSlice};

use crate::outcome::{Outcome, run};
use crate::program::Side;
use crate::pull::environment;
use crate::work::Work;

/// Bytes written as hexadecimal digits; blanks are for reading.
///
/// # Panics
/// If there is anything else in `text`, or half a byte.
#[must_use]
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// A DATA frame with this payload.
#[must_use]
pub fn data_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_le_bytes().to_vec();
    frame[3] = 7;
    frame.extend_from_slice(payload);
    frame
}

/// A daemon client that is past the text phase, protocol 30 without incremental recursion.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
}

impl RawClient {
    /// Connects to the daemon at `port` and sends nothing.
    #[must_use]
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { stream }
    }

    /// Asks for `path` (starting with its module) with the arguments of a plain recursive pull.
    #[must_use]
    pub fn pulling(port: u16, path: &str) -> Self {
        let mut client = Self::connect(port);
        let module = path.split('/').next().unwrap_or_default();
        client.line();
        client.send(format!("@RSYNCD: 30.0\n{module}\n").as_bytes());
        while client.line() != "@RSYNCD: OK" {}
        client.send(b"--server\0--sender\0-re.LsfxCIu\0.\0");
        client.send(path.as_bytes());
        client.send(b"\0\0");
        client
    }

    /// Sends bytes; a peer that closed already is no failure.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Reads one line, without its line feed.
    pub fn line(&mut self) -> BString {
        let mut line = BString::default();
        let mut byte = [0];
        while self.stream.read_exact(&mut byte).is_ok() && byte != *b"\n" {
            line.push(byte[0]);
        }
        line
    }

    /// Reads until the peer closes.
    ///
    /// # Panics
    /// If it does not within a minute.
    #[must_use]
    #[track_caller]
    pub fn rest(mut self) -> BString {
        let mut bytes = Vec::new();
        if let Err(error) = self.stream.read_to_end(&mut bytes) {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "the peer stays: {}", bytes.as_bstr());
        }
        bytes.into()
    }

    /// Closes the sending direction and reads until the peer closes.
    #[must_use]
    #[track_caller]
    pub fn finish(self) -> BString {
        let _ = self.stream.shutdown(Shutdown::Write);
        self.rest()
    }
}

/// Lets a client pull `host:directory/` into `work/destination` from a server that says `bytes`, whatever it hears.
#[must_use]
#[track_caller]
pub fn pull_from_canned(client: Side, work: &Work, options: &[&str], bytes: &[u8]) -> Outcome {
    let canned = work.join("canned");
    std::fs::write(&canned, bytes).unwrap();
    let shell = work.join("canned-shell");
    let script = format!("#!/bin/sh\ncat {}\ncat >/dev/null\n", canned.display());
    std::fs::write(&shell, script).unwrap();
    std::fs::set_permissions(&shell, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir_all(work.join("destination")).unwrap();
    let mut command = Command::new(client.rsync());
    environment(&mut command);
    command.args(options).arg("-e").arg(&shell).arg("host:directory/").arg(destination(work));
    run(&mut command)
}

/// The beginning of a server at protocol 30: version, no compatibility flags, seed 1.
#[must_use]
pub fn server_start() -> Vec<u8> {
    hex("1e000000 00 01000000")
}

fn destination(work: &Work) -> std::ffi::OsString {
    let mut path = work.join(Path::new("destination")).into_os_string();
    path.push("/");
    path
}
