//! A remote shell that hands bytes on in small pieces, over pipes as small as the kernel makes them:
//! `e2e-remote-shell PIECE HOST COMMAND...`.

#![allow(clippy::unwrap_used, reason = "a helper fails by panicking")]

use std::io::{Error, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, ExitCode, Stdio};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::fcntl_setpipe_size;

/// The least buffer of a pipe: one page.
const PAGE: usize = 4096;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let piece = words.next().and_then(|word| word.parse().ok()).unwrap_or(1);
    let command: Vec<String> = words.skip_while(|word| word.starts_with('-')).skip(1).collect();
    let child = Command::new("sh")
        .arg("-c")
        .arg(command.join(" "))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else { return ExitCode::from(127) };
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return ExitCode::from(126);
    };
    for pipe in [input.as_fd(), output.as_fd()] {
        fcntl_setpipe_size(pipe, PAGE).unwrap();
    }
    // Standard input may stay open after the child is gone, so nobody waits for this thread.
    // Unbuffered, for a byte kept back would be a byte that never comes.
    let stdin = std::fs::File::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
    let stdout = std::fs::File::from(std::io::stdout().as_fd().try_clone_to_owned().unwrap());
    thread::spawn(move || relay(stdin, input, piece));
    relay(output, stdout, piece);
    match child.wait() {
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(255)),
        Err(_) => ExitCode::from(255),
    }
}

fn relay(mut from: impl Read + AsFd, mut to: impl Write + AsFd, piece: usize) {
    let mut buffer = vec![0; piece.max(1)];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if is_passing(&error, &from, PollFlags::IN) => continue,
            Err(_) => return,
        };
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            match to.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if is_passing(&error, &to, PollFlags::OUT) => {}
                Err(_) => return,
            }
        }
    }
}

/// Whether to try again, after waiting for a descriptor that the other program made non-blocking.
fn is_passing(error: &Error, descriptor: &impl AsFd, event: PollFlags) -> bool {
    match error.kind() {
        ErrorKind::WouldBlock => poll(&mut [PollFd::new(descriptor, event)], None).is_ok(),
        ErrorKind::Interrupted => true,
        _ => false,
    }
}
