//! Remote shells: the command that is run, and the process that runs (spec 01 §1.3).

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use bstr::{BString, ByteSlice};
use rsync_engine::Link;
use rsync_proto::exit::ExitCode;
use rsync_proto::options::AddressFamily;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};

use super::Transport;
use crate::ClientError;

/// The command line that starts the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShellCommand {
    words: Vec<BString>,
}

/// Splits a remote shell command at spaces; a quote holds words together and is doubled to stand for
/// itself, a backslash means nothing.
fn split_words(command: &[u8]) -> Result<Vec<BString>, ClientError> {
    let mut words = Vec::new();
    let mut word: Option<BString> = None;
    let mut quote = None;
    let mut bytes = command.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (Some(open), _) if byte == open => {
                if bytes.next_if_eq(&open).is_some() {
                    word.get_or_insert_default().push(open);
                } else {
                    quote = None;
                }
            }
            (None, b'\'' | b'"') => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (None, b' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    if let Some(open) = quote {
        return Err(ClientError::ShellQuote { quote: char::from(open) });
    }
    words.extend(word);
    Ok(words)
}

/// The name of a program without its directory.
fn base_name(word: &[u8]) -> &[u8] {
    word.rsplit_str(b"/").next().unwrap_or(word)
}

/// Whether the remote shell needs blocking pipes, judged by its name.
pub(crate) fn default_blocking_io(shell: &[u8]) -> bool {
    let first = split_words(shell).ok().and_then(|words| words.into_iter().next()).unwrap_or_default();
    matches!(base_name(&first), b"rsh" | b"remsh")
}

impl ShellCommand {
    /// Puts together: the shell's words, the user, the family for `ssh`, the host, the program there.
    ///
    /// `daemon` leaves the user out if the shell's words already name one.
    pub(crate) fn new(
        shell: &[u8],
        user: Option<&[u8]>,
        family: AddressFamily,
        host: &[u8],
        program: &[u8],
        daemon: bool,
    ) -> Result<Self, ClientError> {
        if host.starts_with(b"-") {
            return Err(ClientError::HostDash);
        }
        let mut words = split_words(shell)?;
        let is_ssh = words.first().is_some_and(|word| base_name(word) == b"ssh");
        let names_user = words.windows(2).any(|pair| pair[0] == "-l" && !pair[1].starts_with(b"-"));
        if let Some(user) = user.filter(|_| !(daemon && names_user)) {
            words.extend(["-l".into(), user.into()]);
        }
        match family {
            AddressFamily::V4 if is_ssh => words.push("-4".into()),
            AddressFamily::V6 if is_ssh => words.push("-6".into()),
            _ => {}
        }
        words.extend([host.into(), program.into()]);
        Ok(Self { words })
    }

    /// Adds the server's words.
    pub(crate) fn args(&mut self, words: impl IntoIterator<Item = BString>) {
        self.words.extend(words);
    }

    /// The words as people are shown them, and how many there are (spec 01 §1.3).
    pub(crate) fn shown(&self) -> Vec<u8> {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"+,-./=?@_".contains(byte);
        let mut text = Vec::new();
        for word in &self.words {
            let quote: &[u8] = if word.iter().all(is_plain) { b"" } else { b"\"" };
            text.extend_from_slice(&[quote, word, quote, b" "].concat());
        }
        text.extend_from_slice(format!(" ({} args)", self.words.len()).as_bytes());
        text
    }

    /// Starts the process with `variables` added to its environment.
    ///
    /// Its standard output does not block unless `blocking_io`.
    pub(crate) fn spawn(
        &self,
        variables: &[(&str, &str)],
        blocking_io: bool,
    ) -> Result<Transport, ClientError> {
        let pair = || UnixStream::pair().map_err(ClientError::socket("make a socket pair"));
        let (input, our_writer) = pair()?;
        let (output, our_reader) = pair()?;
        let output = OwnedFd::from(output);
        if !blocking_io {
            fcntl_getfl(&output)
                .and_then(|flags| fcntl_setfl(&output, flags | OFlags::NONBLOCK))
                .map_err(|error| ClientError::socket("prepare a socket pair")(error.into()))?;
        }
        let program = self.words.first().map_or(&b""[..], |word| word);
        let child = Command::new(OsStr::from_bytes(program))
            .args(self.words[1..].iter().map(|word| OsStr::from_bytes(word)))
            .envs(variables.iter().copied())
            .stdin(Stdio::from(OwnedFd::from(input)))
            .stdout(Stdio::from(output))
            .spawn()
            .map_err(|source| ClientError::Spawn { command: program.into(), source })?;
        let link = Link::from_fds(our_reader.into(), our_writer.into())
            .map_err(ClientError::socket("prepare a socket pair"))?;
        Ok(Transport { link, child: Some(Shell { child, speaks: true }), proxy_request: None, tls: None })
    }
}

/// A running remote shell, or the program that stands in for a connection.
#[derive(Debug)]
pub(crate) struct Shell {
    child: Child,
    /// Its exit status is part of the result.
    speaks: bool,
}

impl Shell {
    /// A program whose exit status does not matter.
    pub(super) fn of_helper(child: Child) -> Self {
        Self { child, speaks: false }
    }

    /// Waits for the process after a session that ended with `own`, and answers the final exit code
    /// (spec 02 §9.2). The link must still be open.
    ///
    /// After a failure the process is told by SIGUSR1, and only asked whether it has ended already.
    pub(crate) fn finish(mut self, own: ExitCode, failed: bool) -> ExitCode {
        if failed {
            let status = self.child.try_wait().ok().flatten();
            if status.is_none() {
                let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
                // It may end at this very moment, which is as good.
                let _ = pid.map(|pid| kill_process(pid, Signal::USR1));
            }
            return match status {
                Some(status) if self.speaks => own.max(exit_code(status)),
                _ => own,
            };
        }
        if !self.speaks {
            return own;
        }
        match self.child.wait() {
            Ok(status) => own.max(exit_code(status)),
            Err(_) => own.max(ExitCode::WAIT_CHILD),
        }
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    match status.code() {
        Some(code) => ExitCode::new(code as u8),
        None if status.core_dumped() => ExitCode::CHILD_CRASHED,
        None => ExitCode::CHILD_TERMINATED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn words(command: &[u8]) -> Result<Vec<String>, String> {
        split_words(command)
            .map(|words| words.iter().map(ToString::to_string).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn shell_commands_are_split_like_rsync_does() {
        assert_eq!(words(b"ssh -p 22"), Ok(vec!["ssh".into(), "-p".into(), "22".into()]));
        assert_eq!(words(b" ssh  -o 'a  b'\"c'd\" "), Ok(vec!["ssh".into(), "-o".into(), "a  bc'd".into()]));
        assert_eq!(
            words(b"x 'it''s' \\n ''"),
            Ok(vec!["x".into(), "it's".into(), "\\n".into(), String::new()])
        );
        assert_eq!(words(b"x 'y"), Err("Missing trailing-' in remote-shell command.".into()));
        assert_eq!(words(b"x \"y"), Err("Missing trailing-\" in remote-shell command.".into()));
    }

    #[test]
    fn words_that_are_not_plain_are_shown_in_quotes() {
        let mut command =
            ShellCommand::new(b"ssh", None, AddressFamily::Any, b"h", b"sudo rsync", false).expect("valid");
        command.args(["--server", "-M+,-./=?@_", "a:b", ""].map(BString::from));
        let expected = "ssh h \"sudo rsync\" --server -M+,-./=?@_ \"a:b\"   (7 args)";
        assert_eq!(command.shown().as_bstr(), expected);
    }

    #[test]
    fn user_and_family_stand_before_the_host() {
        let line = |shell: &[u8], user: Option<&[u8]>, family, daemon| {
            let command = ShellCommand::new(shell, user, family, b"h", b"sudo rsync", daemon).expect("valid");
            command.words.join(&b"|"[..]).as_bstr().to_string()
        };
        assert_eq!(
            line(b"/usr/bin/ssh -x", Some(b"bob"), AddressFamily::V6, false),
            "/usr/bin/ssh|-x|-l|bob|-6|h|sudo rsync"
        );
        assert_eq!(line(b"rsh", None, AddressFamily::V4, false), "rsh|h|sudo rsync");
        assert_eq!(line(b"rsh", Some(b""), AddressFamily::Any, false), "rsh|-l||h|sudo rsync");
        assert_eq!(line(b"rsh -l al", Some(b"bob"), AddressFamily::Any, true), "rsh|-l|al|h|sudo rsync");
        let error = ShellCommand::new(b"ssh", None, AddressFamily::Any, b"-oX", b"rsync", false);
        assert_eq!(
            error.map_err(|error| error.to_string()),
            Err("Invalid remote host: hostnames may not start with '-'.".to_owned())
        );
    }

    #[test]
    fn old_shells_get_blocking_pipes() {
        assert!(default_blocking_io(b"/usr/bin/rsh -x") && default_blocking_io(b"remsh"));
        assert!(!default_blocking_io(b"ssh"));
    }

    fn run(script: &str) -> Transport {
        let mut command = ShellCommand { words: vec!["/bin/sh".into(), "-c".into()] };
        command.args([BString::from(script)]);
        command.spawn(&[("RSYNC_PORT", "0")], true).expect("starts")
    }

    #[test]
    fn the_process_talks_over_the_link_and_its_status_counts() {
        let mut transport = run("read line; echo \"$line $RSYNC_PORT\"; exit 7");
        transport.link.writer.write_all(b"ping\n").expect("writes");
        let mut text = String::new();
        transport.link.reader.read_to_string(&mut text).expect("reads");
        assert_eq!(text, "ping 0\n");
        let child = transport.child.expect("a child");
        assert_eq!(child.finish(ExitCode::OK, false).code(), 7);
    }

    #[test]
    fn after_a_failure_only_a_status_that_is_known_and_greater_counts() {
        let mut transport = run("exit 127");
        let _ = transport.link.reader.read(&mut [0; 1]);
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert_eq!(transport.child.expect("a child").finish(ExitCode::STREAM, true).code(), 127);
        let transport = run("sleep 5");
        assert_eq!(transport.child.expect("a child").finish(ExitCode::STREAM, true).code(), 12);
    }

    #[test]
    fn a_command_that_cannot_run_is_an_ipc_error() {
        let command = ShellCommand { words: vec!["/no/such/shell".into()] };
        let error = command.spawn(&[], false).expect_err("missing");
        assert_eq!(error.exit_code().code(), 14);
    }
}
