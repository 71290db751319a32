//! Asks for a daemon's password on the terminal (spec 08 §13).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// Shows `Password: ` and reads a line without showing it; without a terminal from standard input.
pub(crate) fn ask_password() -> io::Result<Vec<u8>> {
    match File::options().read(true).write(true).open("/dev/tty") {
        Ok(terminal) => {
            let before = tcgetattr(&terminal)?;
            let mut hidden = before.clone();
            hidden.local_modes.remove(LocalModes::ECHO);
            tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
            let answer = ask(&mut &terminal, &mut BufReader::new(&terminal));
            tcsetattr(&terminal, OptionalActions::Flush, &before)?;
            (&terminal).write_all(b"\n")?;
            answer
        }
        Err(_) => ask(&mut io::stderr(), &mut io::stdin().lock()),
    }
}

fn ask(prompt: &mut dyn Write, answer: &mut dyn BufRead) -> io::Result<Vec<u8>> {
    prompt.write_all(b"Password: ")?;
    prompt.flush()?;
    let mut line = Vec::new();
    answer.read_until(b'\n', &mut line)?;
    while matches!(line.last(), Some(b'\n' | b'\r')) {
        line.pop();
    }
    Ok(line)
}
