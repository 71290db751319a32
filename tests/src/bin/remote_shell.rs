//! A remote shell that hands bytes on in small pieces: `e2e-remote-shell PIECE HOST COMMAND...`.

use std::io::{Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::thread;

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
    // Standard input may stay open after the child is gone, so nobody waits for this thread.
    thread::spawn(move || relay(std::io::stdin(), input, piece));
    relay(output, std::io::stdout(), piece);
    match child.wait() {
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(255)),
        Err(_) => ExitCode::from(255),
    }
}

fn relay(mut from: impl Read, mut to: impl Write, piece: usize) {
    let mut buffer = vec![0; piece.max(1)];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}
