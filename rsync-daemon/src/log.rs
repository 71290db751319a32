//! The daemon's log: a file, the system log, or any writer (spec 09 §14).

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bstr::{BStr, BString};
use rsync_proto::text::{MAX_LOG_TEXT, Zone, date_time, describe_errno, escape_log, log_line};

use crate::config::ModuleSettings;
use crate::files::open_log;
use crate::worker::FrontLine;

/// Where lines of a log go.
#[derive(Clone)]
pub enum LogTarget {
    /// Appended to this file, which may be moved away at any time: the next line makes it anew.
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
///
/// A thread of its own writes them, which keeps the daemon's identity: sessions have lost the right
/// to write to its log.
#[derive(Clone)]
pub(crate) struct Log {
    sink: Sink,
    zone: Arc<dyn Zone + Send + Sync>,
    style: Style,
    about: Arc<About>,
}

/// How lines look, but for the system log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Style {
    /// As the C daemon writes them.
    #[default]
    Text,
    /// A JSON object each.
    Json,
}

/// There is no such style.
#[derive(Debug, thiserror::Error)]
#[error("\"log style\" is text or json, not {0}")]
pub struct StyleError(BString);

impl Style {
    /// The style that a parameter names.
    pub(crate) fn named(name: Option<&BString>) -> Result<Self, StyleError> {
        match name.map(|name| name.to_ascii_lowercase()) {
            None => Ok(Self::Text),
            Some(name) if name == b"text" => Ok(Self::Text),
            Some(name) if name == b"json" => Ok(Self::Json),
            Some(name) => Err(StyleError(name.into())),
        }
    }
}

/// Whom lines are about; what is not known yet is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct About {
    /// Number of the connection, counted from 1.
    pub(crate) connection: Option<u64>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) host: Option<String>,
    pub(crate) module: Option<BString>,
    /// Empty if there was no login.
    pub(crate) user: Option<BString>,
}

/// Who writes the lines.
#[derive(Clone)]
enum Sink {
    /// Our thread.
    Own { writer: SyncSender<Order>, target: LogTarget },
    /// The process that listens.
    Front(Arc<FrontLine>),
}

/// What the log's thread does.
enum Order {
    Write(LogTarget, Vec<u8>),
    /// Say so when all before is written.
    Flush(SyncSender<()>),
}

/// Lines that may wait to be written.
const BACKLOG: usize = 1024;
/// Severities of the system log.
const INFO: u8 = 6;
pub(crate) const WARNING: u8 = 4;
const MOST_SEVERITY: u8 = 7;
/// The system log's socket.
const SYSLOG_SOCKET: &str = "/dev/log";

impl Log {
    /// Writes to `target`, with times of `zone`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn new(
        target: LogTarget,
        zone: Arc<dyn Zone + Send + Sync>,
        style: Style,
    ) -> io::Result<Self> {
        let (writer, orders) = sync_channel(BACKLOG);
        std::thread::Builder::new().name("log".into()).spawn(move || {
            let mut files = OpenFiles::default();
            for order in orders {
                match order {
                    // A log that cannot be written has nobody else to tell.
                    Order::Write(target, line) => drop(target.write(&line, &mut files)),
                    Order::Flush(done) => drop(done.send(())),
                }
            }
        })?;
        Ok(Self { sink: Sink::Own { writer, target }, zone, style, about: Arc::default() })
    }

    /// Has the process that listens write the lines.
    pub(crate) fn of_front(front: Arc<FrontLine>, zone: Arc<dyn Zone + Send + Sync>) -> Self {
        Self { sink: Sink::Front(front), zone, style: Style::Text, about: Arc::default() }
    }

    /// The same times in another place.
    #[must_use]
    pub(crate) fn with_target(&self, target: LogTarget) -> Self {
        match &self.sink {
            Sink::Own { writer, .. } => {
                Self { sink: Sink::Own { writer: writer.clone(), target }, ..self.clone() }
            }
            Sink::Front(_) => self.clone(),
        }
    }

    /// The same log, for lines about somebody.
    #[must_use]
    pub(crate) fn about(&self, about: About) -> Self {
        Self { about: Arc::new(about), ..self.clone() }
    }

    /// The zone of the times.
    pub(crate) fn zone(&self) -> &Arc<dyn Zone + Send + Sync> {
        &self.zone
    }

    /// Writes one line about what happens in order.
    pub(crate) fn info(&self, text: impl AsRef<[u8]>) {
        self.line(std::process::id(), INFO, text.as_ref());
    }

    /// Writes one line about what goes wrong.
    pub(crate) fn warning(&self, text: impl AsRef<[u8]>) {
        self.line(std::process::id(), WARNING, text.as_ref());
    }

    /// Says that a log file cannot be opened, so that this log is used.
    pub(crate) fn instead_of(&self, path: &Path, error: &io::Error) {
        let reason = describe_errno(error.raw_os_error().unwrap_or_default());
        let path = path.display();
        self.warning(format!("rsync: [Receiver] failed to open log-file {path}: {reason}"));
        self.info("Ignoring \"log file\" setting.");
    }

    /// Waits until all lines so far are written.
    pub(crate) fn flush(&self) {
        let Sink::Own { writer, .. } = &self.sink else { return };
        let (done, written) = sync_channel(1);
        if writer.send(Order::Flush(done)).is_ok() {
            // The thread ends only after all of its senders.
            let _ = written.recv();
        }
    }

    /// Writes one line of the process `pid`.
    pub(crate) fn line(&self, pid: u32, severity: u8, text: &[u8]) {
        let (writer, target) = match &self.sink {
            Sink::Own { writer, target } => (writer, target),
            Sink::Front(front) => return front.log(severity, &text[..text.len().min(MAX_LOG_TEXT)]),
        };
        let mut line = Vec::new();
        match target {
            LogTarget::Nothing => return,
            LogTarget::File(_) | LogTarget::Writer(_) => match self.style {
                Style::Text => log_line(now(), &*self.zone, pid, text, &mut line),
                Style::Json => self.json_line(pid, severity, text, &mut line),
            },
            LogTarget::Syslog { facility, tag } => {
                let priority = facility_code(facility.as_ref()) << 3 | u32::from(severity & MOST_SEVERITY);
                let date = syslog_date(now(), &*self.zone);
                line.extend(format!("<{priority}>{date} {tag}[{pid}]: ").into_bytes());
                escape_log(&text[..text.len().min(MAX_LOG_TEXT)], &mut line);
            }
        }
        // The thread ends only after all of its senders.
        let _ = writer.send(Order::Write(target.clone(), line));
    }
}

impl Log {
    fn json_line(&self, pid: u32, severity: u8, text: &[u8], line: &mut Vec<u8>) {
        let now = now();
        let offset = self.zone.offset(now) / 60;
        let time = date_time(now, &*self.zone, 'T').replace('/', "-");
        let sign = if offset < 0 { '-' } else { '+' };
        let (hours, minutes) = (offset.abs() / 60, offset.abs() % 60);
        let shown = |text: &[u8]| {
            let mut escaped = Vec::new();
            escape_log(&text[..text.len().min(MAX_LOG_TEXT)], &mut escaped);
            String::from_utf8_lossy(&escaped).into_owned()
        };
        let mut fields = serde_json::Map::new();
        let mut add = |name: &str, value: serde_json::Value| drop(fields.insert(name.to_owned(), value));
        add("time", format!("{time}{sign}{hours:02}:{minutes:02}").into());
        add("pid", pid.into());
        add("level", if severity >= INFO { "info" } else { "warning" }.into());
        let About { connection, address, host, module, user } = &*self.about;
        if let Some(number) = connection {
            add("connection", (*number).into());
        }
        if let Some(address) = address {
            add("address", address.to_string().into());
        }
        if let Some(host) = host {
            add("host", host.as_str().into());
        }
        if let Some(module) = module {
            add("module", shown(module).into());
        }
        if let Some(user) = user {
            add("user", shown(user).into());
        }
        add("message", shown(text).into());
        line.extend_from_slice(serde_json::Value::Object(fields).to_string().as_bytes());
        line.push(b'\n');
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs().cast_signed())
}

impl LogTarget {
    /// The system log as a module wants it.
    pub(crate) fn syslog_of(settings: &ModuleSettings) -> Self {
        Self::Syslog { facility: settings.syslog_facility.clone(), tag: settings.syslog_tag.clone() }
    }

    fn write(&self, line: &[u8], files: &mut OpenFiles) -> io::Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::File(path) => files.file(path)?.write_all(line),
            Self::Writer(writer) => writer.lock().unwrap_or_else(PoisonError::into_inner).write_all(line),
            Self::Syslog { .. } => UnixDatagram::unbound()?.send_to(line, SYSLOG_SOCKET).map(drop),
        }
    }
}

/// Log files that stay open: when descriptors run out, the log can still say so.
#[derive(Default)]
struct OpenFiles(HashMap<PathBuf, File>);

/// Most of them.
const OPEN_FILES: usize = 16;

impl OpenFiles {
    /// The file that is at `path` now.
    fn file(&mut self, path: &Path) -> io::Result<&mut File> {
        let place = |found: &Metadata| (found.dev(), found.ino());
        let is_there = |file: &File| {
            let (open, there) = (file.metadata().ok(), path.metadata().ok());
            open.zip(there).is_some_and(|(open, there)| place(&open) == place(&there))
        };
        if !self.0.get(path).is_some_and(is_there) {
            self.0.remove(path);
            if self.0.len() >= OPEN_FILES {
                self.0.clear();
            }
            self.0.insert(path.into(), open_log(path)?);
        }
        self.0.get_mut(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl std::fmt::Debug for LogTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Syslog { facility, .. } => f.debug_tuple("Syslog").field(facility).finish(),
            Self::Writer(_) => f.write_str("Writer"),
            Self::Nothing => f.write_str("Nothing"),
        }
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.sink {
            Sink::Own { target, .. } => f.debug_tuple("Log").field(target).finish(),
            Sink::Front(_) => f.write_str("Log"),
        }
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

/// Names of the system log's facilities; nothing means the daemon's.
static FACILITIES: [(&str, u32); 22] = [
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

fn facility(name: &BStr) -> Option<u32> {
    let found = FACILITIES.iter().find(|known| known.0.as_bytes().eq_ignore_ascii_case(name));
    found.map(|known| known.1)
}

/// Whether the system log has a facility of this name.
pub(crate) fn is_facility(name: &BStr) -> bool {
    facility(name).is_some()
}

fn facility_code(name: &BStr) -> u32 {
    facility(name).unwrap_or(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsync_proto::text::Utc;

    #[test]
    fn a_file_takes_escaped_lines() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("log");
        let log = Log::new(LogTarget::File(path.clone()), Arc::new(Utc), Style::Text).expect("a thread");
        log.info(b"a\x1bb");
        log.warning("c");
        log.flush();
        let text = std::fs::read_to_string(path).expect("a log");
        let pid = std::process::id();
        assert!(text.contains(&format!(" [{pid}] a\\#033b\n")) && text.ends_with(&format!("[{pid}] c\n")));
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_told() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let target = LogTarget::Writer(Arc::clone(&lines) as Arc<Mutex<dyn Write + Send>>);
        let log = Log::new(target, Arc::new(Utc), Style::Text).expect("a thread");
        log.instead_of(Path::new("/no/log"), &io::Error::from_raw_os_error(2));
        log.flush();
        let text = String::from_utf8(lines.lock().expect("unpoisoned").clone()).expect("UTF-8");
        let told: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once("] ")?.1)).collect();
        let first = "rsync: [Receiver] failed to open log-file /no/log: No such file or directory (2)";
        assert_eq!(told, [first, "Ignoring \"log file\" setting."]);
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let place = tempfile::tempdir().expect("a directory");
        let (path, moved) = (place.path().join("log"), place.path().join("log.1"));
        let log = Log::new(LogTarget::File(path.clone()), Arc::new(Utc), Style::Text).expect("a thread");
        let say = |text| {
            log.info(text);
            log.flush();
        };
        say("one");
        say("two");
        std::fs::rename(&path, &moved).expect("moved");
        say("three");
        let lines = |path: &Path| std::fs::read_to_string(path).expect("a log").lines().count();
        assert_eq!((lines(&moved), lines(&path)), (2, 1));
    }

    #[test]
    fn a_link_that_somebody_else_put_in_place_of_a_log_is_not_followed() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let place = tempfile::tempdir().expect("a directory");
        let (path, victim) = (place.path().join("log"), place.path().join("victim"));
        std::fs::write(&victim, "").expect("written");
        std::os::unix::fs::symlink(&victim, &path).expect("a link");
        let log = Log::new(LogTarget::File(path.clone()), Arc::new(Utc), Style::Text).expect("a thread");
        let owned_by = |uid| std::os::unix::fs::lchown(&path, Some(uid), None).expect("an owner");
        let logged = || {
            log.info("x");
            log.flush();
            std::fs::read_to_string(&victim).expect("read").lines().count()
        };
        owned_by(1234);
        assert_eq!(logged(), 0);
        // The administrator may have linked it.
        owned_by(0);
        assert_eq!(logged(), 1);
    }

    #[test]
    fn a_json_line_says_whom_it_is_about() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let target = LogTarget::Writer(Arc::clone(&lines) as Arc<Mutex<dyn Write + Send>>);
        let log = Log::new(target, Arc::new(Utc), Style::Json).expect("a thread");
        log.info("starting");
        let about = About { connection: Some(3), module: Some(b"m\xff\x01".into()), ..About::default() };
        log.about(about).warning(b"a\"\x1b");
        log.flush();
        let text = String::from_utf8(lines.lock().expect("unpoisoned").clone()).expect("UTF-8");
        let read = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
        let lines: Vec<_> = text.lines().map(read).collect();
        assert_eq!((&lines[0]["message"], &lines[0]["level"]), (&"starting".into(), &"info".into()));
        assert!(
            lines[0]["time"].as_str().is_some_and(|time| time.ends_with("+00:00"))
                && lines[0]["module"].is_null()
        );
        assert_eq!((&lines[1]["message"], &lines[1]["connection"]), (&"a\"\\#033".into(), &3.into()));
        assert_eq!((&lines[1]["module"], &lines[1]["level"]), (&"m\u{fffd}\\#001".into(), &"warning".into()));
    }

    #[test]
    fn facilities_and_dates_are_those_of_the_system_log() {
        assert_eq!((facility_code("LOCAL5".into()), facility_code("nosuch".into())), (21, 3));
        assert_eq!(syslog_date(1_000_000_000, &Utc), "Sep  9 01:46:40");
    }
}
