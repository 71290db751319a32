//! The log of a run: a file of its own, with those of earlier runs cut to what the job allows.
//!
//! Names are tunasync's (spec 11 §3.4): `NAME_YYYY-MM-DD_HH_MM.log`, `.fail` behind it after a failure, and
//! `latest`, a link to the last one. A second run of the same minute gets `.2`. A job may have what happens written
//! as lines of JSON too, in a file beside the log that goes with it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rsync_proto::text::{Charset, Severity, escape_message};
use serde_json::{Value, json};

use super::context::LineSink;
use super::spec::LogRotation;
use crate::{Clock, MirrorError};

/// Where the lines of a run go: a file, somebody who listens, both or nowhere.
pub(crate) struct RunLog {
    file: Option<(PathBuf, Mutex<File>)>,
    lines: Option<LineSink>,
    events: Option<Events>,
}

/// Where events go.
struct Events {
    file: Mutex<File>,
    clock: Arc<dyn Clock>,
}

/// The end of the name of a file of events, and that of its log.
const EVENTS: &str = ".events.jsonl";
const LOG: &str = ".log";

impl RunLog {
    /// A log without a file.
    pub(crate) fn silent(lines: Option<LineSink>) -> Self {
        Self { file: None, lines, events: None }
    }

    /// Begins the log of a run of `job`, after the old ones were cut.
    pub(crate) fn begin(
        directory: Option<&Path>,
        job: &str,
        now: Timestamp,
        rotation: &LogRotation,
        lines: Option<LineSink>,
    ) -> Result<Self, MirrorError> {
        let file = directory.map(|directory| {
            fs::create_dir_all(directory).map_err(MirrorError::file("make", directory))?;
            rotate(directory, job, now, rotation).map_err(MirrorError::file("rotate logs in", directory))?;
            let (path, file) = create(directory, job, now).map_err(MirrorError::file("log in", directory))?;
            point_latest(&path);
            Ok((path, Mutex::new(file)))
        });
        Ok(Self { file: file.transpose()?, lines, events: None })
    }

    /// Writes events too, if the job wants that.
    pub(crate) fn with_events(mut self, wanted: bool, clock: &Arc<dyn Clock>) -> Result<Self, MirrorError> {
        let path =
            self.path().filter(|_| wanted).map(|path| path.with_extension(EVENTS.trim_start_matches('.')));
        let Some(path) = path else { return Ok(self) };
        let created = OpenOptions::new().append(true).create(true).open(&path);
        let file = created.map_err(MirrorError::file("log in", &path))?;
        self.events = Some(Events { file: Mutex::new(file), clock: Arc::clone(clock) });
        Ok(self)
    }

    /// Writes what happened, an object to which the time is added.
    pub(crate) fn event(&self, mut event: Value) {
        let Some(Events { file, clock }) = &self.events else { return };
        event["time"] = json!(clock.now());
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that cannot be written does not end what it tells of.
        let _ = writeln!(file, "{event}");
    }

    /// Writes a line.
    pub(crate) fn line(&self, severity: Severity, text: &str) {
        if let Some(lines) = &self.lines {
            lines(severity, text);
        }
        if self.events.is_some() {
            let severity = match severity {
                Severity::Error | Severity::TransferError => "error",
                Severity::Warning => "warning",
                _ => "info",
            };
            self.event(json!({ "event": "line", "severity": severity, "text": text }));
        }
        if let Some((_, file)) = &self.file {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            // A log that cannot be written does not end what it tells of.
            let _ = writeln!(file, "{text}");
        }
    }

    /// Writes a line of whatever bytes.
    pub(crate) fn bytes(&self, severity: Severity, text: &[u8]) {
        let mut escaped = Vec::with_capacity(text.len());
        escape_message(text, Charset::Utf8, &mut escaped);
        self.line(severity, &String::from_utf8_lossy(&escaped));
    }

    /// The file, for programs that write to it.
    pub(crate) fn handle(&self) -> Option<File> {
        let (_, file) = self.file.as_ref()?;
        file.lock().unwrap_or_else(PoisonError::into_inner).try_clone().ok()
    }

    /// Where it is.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|(path, _)| path.as_path())
    }

    /// Ends it; answers where it is from now on.
    pub(crate) fn end(self, failed: bool) -> Option<PathBuf> {
        let (path, _) = self.file?;
        if !failed {
            return Some(path);
        }
        let mut new = path.clone().into_os_string();
        new.push(".fail");
        let new = PathBuf::from(new);
        if fs::rename(&path, &new).is_err() {
            return Some(path);
        }
        point_latest(&new);
        Some(new)
    }
}

fn create(directory: &Path, job: &str, now: Timestamp) -> io::Result<(PathBuf, File)> {
    let minute = now.to_zoned(TimeZone::system()).strftime("%Y-%m-%d_%H_%M").to_string();
    let mut number = 1;
    loop {
        let again = if number == 1 { String::new() } else { format!(".{number}") };
        let name = format!("{job}_{minute}{again}.log");
        let taken = [".fail", ".gz", ".fail.gz"].iter();
        let taken = taken.map(|end| directory.join(format!("{name}{end}"))).any(|path| path.exists());
        let path = directory.join(name);
        let created =
            if taken { None } else { Some(OpenOptions::new().append(true).create_new(true).open(&path)) };
        match created {
            Some(Ok(file)) => return Ok((path, file)),
            Some(Err(error)) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => number += 1,
        }
    }
}

/// Lets `latest` name a log.
fn point_latest(log: &Path) {
    let (Some(directory), Some(name)) = (log.parent(), log.file_name()) else { return };
    let new = directory.join(".latest.new");
    // Only a convenience: the log is found without.
    let _ = fs::remove_file(&new);
    let _ = std::os::unix::fs::symlink(name, &new);
    let _ = fs::rename(&new, directory.join("latest"));
}

/// One log of a job.
struct Old {
    path: PathBuf,
    modified: SystemTime,
    size: u64,
}

/// Removes logs so that with one more the limits hold, and compresses the rest.
fn rotate(directory: &Path, job: &str, now: Timestamp, rotation: &LogRotation) -> io::Result<()> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_log = entry.file_name().to_str().is_some_and(|name| is_log_of(name, job));
        if let (true, Ok(facts)) = (is_log, entry.metadata()) {
            let modified = facts.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            logs.push(Old { path: entry.path(), modified, size: facts.len() });
        }
    }
    logs.sort_by(|one, other| (other.modified, &other.path).cmp(&(one.modified, &one.path)));
    let mut bytes = 0_u64;
    for (index, log) in logs.iter().enumerate() {
        let events = events_of(&log.path);
        let beside = events.as_ref().and_then(|path| path.metadata().ok()).map_or(0, |facts| facts.len());
        bytes = bytes.saturating_add(log.size).saturating_add(beside);
        let age = SystemTime::from(now).duration_since(log.modified).unwrap_or_default();
        let goes = index + 1 >= rotation.count.max(1)
            || rotation.age.is_some_and(|limit| age > limit)
            || rotation.bytes.is_some_and(|limit| bytes > limit);
        if goes {
            fs::remove_file(&log.path)?;
            events.map_or(Ok(()), fs::remove_file)?;
        } else if rotation.compress {
            let both = std::iter::once(log.path.clone()).chain(events);
            both.filter(|path| path.extension().is_none_or(|end| end != "gz"))
                .try_for_each(|path| compress(&path))?;
        }
    }
    Ok(())
}

/// The events of the run of a log, if there are any.
fn events_of(log: &Path) -> Option<PathBuf> {
    let name = log.file_name()?.to_str()?;
    let stem = &name[..name.rfind(LOG)?];
    let plain = log.with_file_name(format!("{stem}{EVENTS}"));
    let packed = log.with_file_name(format!("{stem}{EVENTS}.gz"));
    [plain, packed].into_iter().find(|path| path.exists())
}

/// Whether a file is a log of exactly this job: `debian-cd` has its own.
fn is_log_of(name: &str, job: &str) -> bool {
    let rest = name.strip_prefix(job).and_then(|rest| rest.strip_prefix('_'));
    rest.is_some_and(|rest| {
        let date = rest.as_bytes().iter().take(16);
        let shape = b"0000-00-00_00_00".iter();
        rest.len() > 16
            && date
                .zip(shape)
                .all(|(byte, &shape)| if shape == b'0' { byte.is_ascii_digit() } else { *byte == shape })
            && rest.contains(LOG)
    })
}

fn compress(path: &Path) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".gz");
    let new = PathBuf::from(new);
    let mut encoder = GzEncoder::new(File::create(&new)?, Compression::default());
    let mut log = File::open(path)?;
    io::copy(&mut log, &mut encoder)?;
    let file = encoder.finish()?;
    file.set_modified(log.metadata()?.modified()?)?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("is read").flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn run(directory: &Path, job: &str, minute: i64, rotation: &LogRotation, failed: bool) -> PathBuf {
        let now = Timestamp::from_second(minute * 60).expect("a time");
        let log = RunLog::begin(Some(directory), job, now, rotation, None).expect("begins");
        log.line(Severity::Info, "a line");
        let path = log.end(failed).expect("a file");
        let file = File::options().append(true).open(&path).expect("is there");
        file.set_modified(now.into()).expect("is set");
        path
    }

    #[test]
    fn two_runs_of_a_minute_have_a_log_each_and_latest_names_the_last() {
        let place = tempfile::tempdir().expect("a place");
        let keep = LogRotation::default();
        let first = run(place.path(), "a", 0, &keep, true);
        let second = run(place.path(), "a", 0, &keep, false);
        assert!(first.to_string_lossy().ends_with(".log.fail"));
        assert!(second.to_string_lossy().ends_with(".2.log"));
        let latest = fs::read_to_string(place.path().join("latest")).expect("is read");
        assert_eq!(latest, "a line\n");
        assert_eq!(
            fs::read_link(place.path().join("latest")).ok().as_deref(),
            second.file_name().map(Path::new)
        );
    }

    #[test]
    fn logs_are_cut_by_count_age_and_bytes_and_those_of_other_jobs_stay() {
        let place = tempfile::tempdir().expect("a place");
        run(place.path(), "a-cd", 0, &LogRotation::default(), false);
        let by_count = LogRotation { count: 3, ..LogRotation::default() };
        (0..5).for_each(|minute| drop(run(place.path(), "a", minute, &by_count, false)));
        assert_eq!(names(place.path()).len(), 3 + 2);
        let by_age = LogRotation { count: 9, age: Some(Duration::from_secs(61)), ..by_count };
        run(place.path(), "a", 5, &by_age, false);
        assert_eq!(names(place.path()).len(), 2 + 2);
        let by_bytes = LogRotation { count: 9, bytes: Some(7), ..LogRotation::default() };
        run(place.path(), "a", 6, &by_bytes, false);
        assert_eq!(names(place.path()).len(), 2 + 2);
    }

    #[test]
    fn events_are_lines_of_json_that_go_with_their_log() {
        let place = tempfile::tempdir().expect("a place");
        let rotation = LogRotation { count: 2, compress: true, events: true, ..LogRotation::default() };
        let clock: Arc<dyn Clock> = Arc::new(crate::ManualClock::new(Timestamp::UNIX_EPOCH));
        for minute in 0..3 {
            let now = Timestamp::from_second(minute * 60).expect("a time");
            let log = RunLog::begin(Some(place.path()), "a", now, &rotation, None).expect("begins");
            let log = log.with_events(true, &clock).expect("a file");
            log.line(Severity::Warning, "a line");
            log.event(json!({ "event": "end" }));
            let path = log.end(true).expect("a file");
            let file = File::options().append(true).open(&path).expect("is there");
            file.set_modified(now.into()).expect("is set");
        }
        let names = names(place.path());
        let ends: Vec<bool> = names.iter().map(|name| name.ends_with(".events.jsonl")).collect();
        assert_eq!(names.len(), 2 + 2 + 1, "{names:?}");
        assert!(names.iter().any(|name| name.ends_with(".events.jsonl.gz")), "{names:?}");
        let last = names.iter().zip(ends).find_map(|(name, is)| is.then_some(name)).expect("the last run's");
        let text = fs::read_to_string(place.path().join(last)).expect("is read");
        let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let line = json!({ "event": "line", "severity": "warning", "text": "a line", "time": "1970-01-01T00:00:00Z" });
        assert_eq!((&events[0], &events[1]["event"]), (&line, &"end".into()));
    }

    #[test]
    fn old_logs_are_compressed() {
        let place = tempfile::tempdir().expect("a place");
        let rotation = LogRotation { compress: true, ..LogRotation::default() };
        let first = run(place.path(), "a", 0, &rotation, false);
        run(place.path(), "a", 1, &rotation, false);
        let packed = File::open(first.with_extension("log.gz")).expect("is there");
        let mut text = String::new();
        io::Read::read_to_string(&mut flate2::read::GzDecoder::new(packed), &mut text).expect("is read");
        assert_eq!(text, "a line\n");
        assert!(!first.exists());
    }
}
