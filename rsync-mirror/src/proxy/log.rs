//! The proxy's two logs: who asked for what, and what goes wrong.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bstr::ByteSlice;
use jiff::Timestamp;

/// A file that gets lines; it is opened anew when it was rotated away.
struct LogFile {
    path: PathBuf,
    file: Mutex<File>,
}

fn open(path: &Path) -> Result<File, LogError> {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.map_err(|source| LogError { path: path.to_owned(), source })
}

impl LogFile {
    fn open(path: &Path) -> Result<Self, LogError> {
        Ok(Self { path: path.to_owned(), file: Mutex::new(open(path)?) })
    }

    fn write(&self, text: &str) {
        let line = format!("{:.3} {text}\n", Timestamp::now());
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk must not end sessions.
        let _ = file.write_all(line.as_bytes());
    }
}

/// A log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the log {}: {source}", path.display())]
pub struct LogError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Where lines about errors go when no file is named.
pub type ErrorSink = Box<dyn Fn(&str) + Send + Sync>;

/// Both logs.
pub(super) struct Logs {
    access: Option<LogFile>,
    error: Option<LogFile>,
    sink: ErrorSink,
}

impl Logs {
    pub(super) fn open(
        access: Option<&Path>,
        error: Option<&Path>,
        sink: ErrorSink,
    ) -> Result<Self, LogError> {
        let file = |path: Option<&Path>| path.map(LogFile::open).transpose();
        Ok(Self { access: file(access)?, error: file(error)?, sink })
    }

    /// Opens the files anew, so that a rotation takes effect.
    pub(super) fn reopen(&self) -> Result<(), LogError> {
        for log in [&self.access, &self.error].into_iter().flatten() {
            *log.file.lock().unwrap_or_else(PoisonError::into_inner) = open(&log.path)?;
        }
        Ok(())
    }

    pub(super) fn error(&self, text: impl Display) {
        match &self.error {
            Some(file) => file.write(&text.to_string()),
            None => (self.sink)(&text.to_string()),
        }
    }

    pub(super) fn access(&self, client: IpAddr, line: &AccessLine<'_>) {
        if let Some(file) = &self.access {
            file.write(&format!("client {client} {line}"));
        }
    }
}

/// What a client did, in the words of rsync-proxy.
pub(super) enum AccessLine<'a> {
    Starts(&'a [u8]),
    Queues(&'a [u8]),
    QueueFull(&'a [u8]),
    Unknown(&'a [u8]),
    Finishes { module: &'a [u8], sent: u64, received: u64, duration: Duration },
}

impl Display for AccessLine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Starts(module) => write!(f, "starts requesting module {}", Shown(module)),
            Self::Queues(module) => write!(f, "starts queueing for module {}", Shown(module)),
            Self::QueueFull(module) => write!(f, "queue full for module {}", Shown(module)),
            Self::Unknown(module) => write!(f, "requests non-existing module {}", Shown(module)),
            Self::Finishes { module, sent, received, duration } => write!(
                f,
                "finishes module {} (sent: {sent}, received: {received}, duration: {:.3}s)",
                Shown(module),
                duration.as_secs_f64()
            ),
        }
    }
}

/// A name that a client gave, in one line whatever it is.
struct Shown<'a>(&'a [u8]);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.to_str() {
            Ok(text) if !text.chars().any(char::is_control) => f.write_str(text),
            _ => write!(f, "{}", self.0.escape_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_rsync_proxy() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("access");
        let logs = Logs::open(Some(&path), None, Box::new(|_| ())).expect("opened");
        let finish = AccessLine::Finishes {
            module: b"m",
            sent: 5,
            received: 6,
            duration: Duration::from_millis(1234),
        };
        for line in [
            AccessLine::Starts(b"m"),
            AccessLine::Queues(b"m"),
            AccessLine::QueueFull(b"m"),
            AccessLine::Unknown(b"x\ny"),
            finish,
        ] {
            logs.access([10, 0, 0, 1].into(), &line);
        }
        let text = std::fs::read_to_string(&path).expect("written");
        let lines: Vec<&str> =
            text.lines().filter_map(|line| line.split_once(' ')).map(|(_, line)| line).collect();
        assert_eq!(
            lines,
            [
                "client 10.0.0.1 starts requesting module m",
                "client 10.0.0.1 starts queueing for module m",
                "client 10.0.0.1 queue full for module m",
                "client 10.0.0.1 requests non-existing module x\\ny",
                "client 10.0.0.1 finishes module m (sent: 5, received: 6, duration: 1.234s)",
            ]
        );
    }

    #[test]
    fn a_log_that_was_rotated_away_is_begun_anew() {
        let place = tempfile::tempdir().expect("a directory");
        let (path, old) = (place.path().join("error"), place.path().join("error.1"));
        let logs = Logs::open(None, Some(&path), Box::new(|_| ())).expect("opened");
        logs.error("first");
        std::fs::rename(&path, &old).expect("rotated");
        logs.reopen().expect("opened");
        logs.error("second");
        let read = |path| std::fs::read_to_string(path).expect("written");
        assert!(read(&old).ends_with("first\n") && read(&path).ends_with("second\n"));
    }
}
