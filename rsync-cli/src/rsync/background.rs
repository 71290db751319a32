//! How a daemon leaves its terminal: `rsync --daemon` and `rsyncd` start themselves once more, and the first
//! process ends when the second one serves, or has said why it cannot.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::process::{Command, Stdio};

/// The first word of the process in the background, which no user has a reason to type.
pub(crate) const MARK: &str = "--daemon-detached";

/// What that process says on its standard output when it serves.
const SERVES: &[u8] = b"serves\n";

/// Starts this program with the same words in the background, and answers its exit code if it ends before
/// it serves. Until then it has the standard error of this process.
pub(crate) fn start() -> io::Result<u8> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(MARK)
        .args(std::env::args_os().skip(1))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut word = Vec::new();
    if let Some(mut output) = child.stdout.take() {
        output.read_to_end(&mut word)?;
    }
    if word == SERVES {
        return Ok(0);
    }
    // One that was killed has no code.
    Ok(child.wait()?.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Begins the process in the background: no terminal sends it signals any more.
pub(crate) fn leave_terminal() {
    // It fails only for the leader of a group, which has left its terminal already.
    let _ = rustix::process::setsid();
}

/// Lets the process that started this one end, and lets go of its terminal.
pub(crate) fn serves() -> io::Result<()> {
    let nothing = File::options().write(true).open("/dev/null")?;
    io::stdout().write_all(SERVES)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    Ok(rustix::stdio::dup2_stderr(&nothing)?)
}
