//! `RSYNC_CONNECT_PROG`: a program that stands in for the TCP connection (spec 01 §1.2).

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use bstr::ByteSlice;

use super::Transport;
use super::shell::Shell;
use crate::ClientError;

/// Runs `command` with `shell`, connected to the link by its standard input and output.
pub(crate) fn connect_program(command: &[u8], shell: &[u8], host: &[u8]) -> Result<Transport, ClientError> {
    let command = expand(command, host)?;
    let (ours, theirs) = UnixStream::pair().map_err(ClientError::socket("make a socket pair"))?;
    let output = theirs.try_clone().map_err(ClientError::socket("clone the socket"))?;
    let child = Command::new(OsStr::from_bytes(shell))
        .arg("-c")
        .arg(OsStr::from_bytes(&command))
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(OwnedFd::from(output)))
        .spawn()
        .map_err(|source| ClientError::Spawn { command: shell.into(), source })?;
    Transport::of_socket(ours.into(), Some(Shell::of_helper(child)))
}

/// Replaces `%H` by the quoted host and `%%` by a percent sign; other text stays.
fn expand(command: &[u8], host: &[u8]) -> Result<Vec<u8>, ClientError> {
    if !command.contains(&b'%') {
        return Ok(command.to_vec());
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:%+~-".contains(&byte);
    let safe_start = host.first().is_some_and(|first| !b"-+~%".contains(first));
    if !safe_start || !host.bytes().all(plain) {
        return Err(ClientError::UnsafeHost);
    }
    let mut expanded = Vec::new();
    let mut rest = command;
    while let Some(at) = rest.find_byte(b'%') {
        expanded.extend_from_slice(&rest[..at]);
        let skip = match rest.get(at + 1) {
            Some(b'H') => {
                expanded.push(b'\'');
                expanded.extend_from_slice(host);
                expanded.push(b'\'');
                2
            }
            Some(b'%') => {
                expanded.push(b'%');
                2
            }
            _ => {
                expanded.push(b'%');
                1
            }
        };
        rest = &rest[at + skip..];
    }
    expanded.extend_from_slice(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn percent_signs_are_expanded() {
        let expand =
            |command: &[u8], host: &[u8]| expand(command, host).map(|text| text.as_bstr().to_string());
        assert_eq!(
            expand(b"nc %H 873 100%% %x %", b"h.example").expect("safe"),
            "nc 'h.example' 873 100% %x %"
        );
        assert_eq!(expand(b"nc host", b"-evil").expect("not used"), "nc host");
        for host in [&b""[..], b"-x", b"a'b", b"a b", b"~a"] {
            let error = expand(b"nc %H", host).expect_err("unsafe");
            assert_eq!(error.to_string(), "unsafe host characters for RSYNC_CONNECT_PROG");
            assert_eq!(error.exit_code().code(), 10);
        }
    }

    #[test]
    fn the_program_is_at_the_other_end_of_the_link() {
        let mut transport = connect_program(b"echo to %H; cat", b"/bin/sh", b"h").expect("runs");
        transport.link.writer.write_all(b"ping").expect("writes");
        let mut buffer = [0; 9];
        transport.link.reader.read_exact(&mut buffer).expect("reads");
        assert_eq!(&buffer, b"to h\nping");
    }
}
