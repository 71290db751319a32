//! The daemon's log: a file, the system log, or any writer (spec 09 §14).

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bstr::{BStr, BString};
use rsync_proto::text::{Zone, date_time, escape_log, log_line};

/// Where lines of a log go.
#[derive(Clone)]
pub enum LogTarget {
    /// Appended to this file, which is opened for every line, so that it may be moved away.
    File(PathBuf),
    /// The system log.
    Syslog {
        /// Name of the facility, or its number.
        facility: BString,
        /// The tag of each line.
        tag: BString,
    },
    /// Any writer; each line is one write.
    Writer(Arc<Mutex<dyn Write + Send>>),
    /// Nowhere.
    Nothing,
}

/// Takes the daemon's lines, from any thread.
#[derive(Clone)]
pub struct Log {
    target: LogTarget,
    zone: Arc<dyn Zone + Send + Sync>,
}

/// The system log's socket.
const SYSLOG_SOCKET: &str = "/dev/log";

impl Log {
    /// Writes to `target`, with times of `zone`.
    #[must_use]
    pub fn new(target: LogTarget, zone: Arc<dyn Zone + Send + Sync>) -> Self {
        Self { target, zone }
    }

    /// The same times in another place.
    #[must_use]
    pub fn with_target(&self, target: LogTarget) -> Self {
        Self { target, zone: Arc::clone(&self.zone) }
    }

    /// Writes one line about what happens in order.
    pub fn info(&self, text: impl AsRef<[u8]>) {
        self.line(6, text.as_ref());
    }

    /// Writes one line about what goes wrong.
    pub fn warning(&self, text: impl AsRef<[u8]>) {
        self.line(4, text.as_ref());
    }

    fn line(&self, severity: u8, text: &[u8]) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs().cast_signed());
        let mut line = Vec::new();
        // A log that cannot be written has nobody else to tell.
        let _ = match &self.target {
            LogTarget::Nothing => Ok(()),
            LogTarget::File(path) => {
                log_line(now, &*self.zone, std::process::id(), text, &mut line);
                OpenOptions::new()
                    .append(true)
                    .create(true)
                    .mode(0o644)
                    .open(path)
                    .and_then(|mut file| file.write_all(&line))
            }
            LogTarget::Writer(writer) => {
                log_line(now, &*self.zone, std::process::id(), text, &mut line);
                writer.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)
            }
            LogTarget::Syslog { facility, tag } => {
                let priority = facility_code(facility.as_ref()) << 3 | u32::from(severity);
                let date = syslog_date(now, &*self.zone);
                line.extend(format!("<{priority}>{date} {tag}[{}]: ", std::process::id()).into_bytes());
                escape_log(&text[..text.len().min(rsync_proto::text::MAX_LOG_TEXT)], &mut line);
                UnixDatagram::unbound().and_then(|socket| socket.send_to(&line, SYSLOG_SOCKET)).map(|_| ())
            }
        };
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

/// `Mmm dd hh:mm:ss`.
fn syslog_date(now: i64, zone: &dyn Zone) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = date_time(now, zone, ' ');
    let month = text.get(5..7).and_then(|month| month.parse::<usize>().ok()).unwrap_or(1);
    let day = text.get(8..10).and_then(|day| day.parse::<u32>().ok()).unwrap_or(1);
    let time = text.get(11..).unwrap_or("00:00:00");
    format!("{} {day:>2} {time}", MONTHS[(month - 1) % 12])
}

fn facility_code(name: &BStr) -> u32 {
    const NAMES: [(&str, u32); 22] = [
        ("kern", 0),
        ("user", 1),
        ("mail", 2),
        ("daemon", 3),
        ("auth", 4),
        ("security", 4),
        ("syslog", 5),
        ("lpr", 6),
        ("news", 7),
        ("uucp", 8),
        ("cron", 9),
        ("authpriv", 10),
        ("ftp", 11),
        ("local0", 16),
        ("local1", 17),
        ("local2", 18),
        ("local3", 19),
        ("local4", 20),
        ("local5", 21),
        ("local6", 22),
        ("local7", 23),
        ("", 3),
    ];
    let found = NAMES.iter().find(|known| known.0.as_bytes().eq_ignore_ascii_case(name));
    found.map_or(3, |known| known.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsync_proto::text::Utc;

    #[test]
    fn a_file_takes_escaped_lines() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("log");
        let log = Log::new(LogTarget::File(path.clone()), Arc::new(Utc));
        log.info(b"a\x1bb");
        log.warning("c");
        let text = std::fs::read_to_string(path).expect("a log");
        let pid = std::process::id();
        assert!(text.contains(&format!(" [{pid}] a\\#033b\n")) && text.ends_with(&format!("[{pid}] c\n")));
    }

    #[test]
    fn facilities_and_dates_are_those_of_the_system_log() {
        assert_eq!((facility_code("LOCAL5".into()), facility_code("nosuch".into())), (21, 3));
        assert_eq!(syslog_date(1_000_000_000, &Utc), "Sep  9 01:46:40");
    }
}
