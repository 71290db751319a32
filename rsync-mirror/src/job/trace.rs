//! The trace file that says when and how a mirror was made, as ftpsync writes it (spec 11 §2.2).

use std::fmt::Write;
use std::fs;
use std::path::Path;

use jiff::Timestamp;

use super::result::{RunId, Stats};
use super::spec::Trace;
use crate::MirrorError;
use crate::durable::replace;

/// The directory of trace files, if a job names none.
const DIRECTORY: &str = "project/trace";

/// What a trace file tells of a run.
#[derive(Clone, Debug)]
pub(crate) struct TraceFacts<'a> {
    pub(crate) job: &'a str,
    pub(crate) run: &'a RunId,
    pub(crate) upstream: &'a str,
    pub(crate) started: Timestamp,
    pub(crate) now: Timestamp,
    pub(crate) stats: Stats,
}

impl Trace {
    /// Its path below the tree.
    #[must_use]
    pub fn path(&self) -> String {
        let directory = self.directory.trim_matches('/');
        let directory = if directory.is_empty() { DIRECTORY } else { directory };
        format!("{directory}/{}", self.host())
    }

    /// The name of this mirror; a slash in it would lead elsewhere.
    fn host(&self) -> String {
        let host = if self.host.is_empty() { machine() } else { self.host.clone() };
        host.replace('/', "_")
    }

    /// Writes it below `tree`: what was there before is replaced at once.
    pub(crate) fn write(&self, tree: &Path, facts: &TraceFacts<'_>) -> Result<(), MirrorError> {
        let path = tree.join(self.path());
        let directory = path.parent().unwrap_or(tree);
        fs::create_dir_all(directory).map_err(MirrorError::file("make", directory))?;
        let source = if self.serial_from.is_empty() { "master" } else { &self.serial_from };
        let serial = fs::read(directory.join(source)).ok().and_then(|text| serial_of(&text));
        let text = self.text(facts, serial.as_deref());
        replace(&path, text.as_bytes()).map_err(MirrorError::file("write", path))
    }

    fn text(&self, facts: &TraceFacts<'_>, serial: Option<&str>) -> String {
        let stats = &facts.stats;
        let seconds = |ms: u64| (ms > 0).then(|| (ms / 1000).to_string());
        let total = stats.stage1_ms + stats.stage2_ms;
        let rate = (total > 0).then(|| format!("{} B/s", stats.received.saturating_mul(1000) / total));
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let fields = [
            ("Date", Some(mail_date(facts.now))),
            ("Date-Started", Some(mail_date(facts.started))),
            ("Archive serial", serial.map(str::to_owned)),
            ("Creator", Some(concat!("rsync-mirror ", env!("CARGO_PKG_VERSION")).to_owned())),
            ("Running on host", Some(machine())),
            ("Maintainer", some(&self.maintainer)),
            ("Sponsor", some(&self.sponsor)),
            ("Country", some(&self.country)),
            ("Location", some(&self.location)),
            ("Throughput", some(&self.throughput)),
            ("Architectures", some(&self.architectures)),
            ("Architectures-Configuration", some(&self.architectures)),
            ("Upstream-mirror", some(host_of(facts.upstream))),
            ("Rsync-Transport", Some(transport_of(facts.upstream).to_owned())),
            ("Total bytes received in rsync", Some(stats.received.to_string())),
            ("Total time spent in stage1 rsync", seconds(stats.stage1_ms)),
            ("Total time spent in stage2 rsync", seconds(stats.stage2_ms)),
            ("Total time spent in rsync", Some((total / 1000).to_string())),
            ("Average rate", rate),
        ];
        let mut text = format!("{}\n", facts.now.strftime("%a %b %e %H:%M:%S UTC %Y"));
        for (name, value) in fields {
            if let Some(value) = value {
                // Writing to a string does not fail.
                let _ = writeln!(text, "{name}: {}", one_line(&value));
            }
        }
        for (name, value) in &self.fields {
            let value = value
                .replace("{name}", facts.job)
                .replace("{run}", facts.run.as_str())
                .replace("{upstream}", facts.upstream);
            let _ = writeln!(text, "{}: {}", one_line(name), one_line(&value));
        }
        text
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn mail_date(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// The serial that a trace file of the archive's master names.
fn serial_of(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text.get(..text.len().min(64 << 10))?);
    let serial = text.lines().find_map(|line| line.strip_prefix("Archive serial:"))?.trim();
    let plain = !serial.is_empty() && serial.len() <= 64 && serial.chars().all(|c| c.is_ascii_alphanumeric());
    plain.then(|| serial.to_owned())
}

fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    host.split(':').next().unwrap_or_default()
}

fn transport_of(url: &str) -> &'static str {
    match url.split_once("://") {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("rsyncs") => "ssl",
        Some(_) => "plain",
        None if url.contains("::") => "plain",
        None => "ssh",
    }
}

pub(crate) fn machine() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_file_is_that_of_ftpsync() {
        let place = tempfile::tempdir().expect("a place");
        let directory = place.path().join("project/trace");
        fs::create_dir_all(&directory).expect("is made");
        fs::write(directory.join("master"), "Sat\nArchive serial: 2026112103\n").expect("is written");
        let mut trace = Trace { host: "m.example".to_owned(), country: "AQ".to_owned(), ..Trace::default() };
        trace.fields.insert("Run".to_owned(), "{name}\nof {upstream}".to_owned());
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let run = RunId::new(time("2026-11-21T16:00:00Z"), 1);
        let stats = Stats { received: 5000, stage2_ms: 2500, ..Stats::default() };
        let facts = TraceFacts {
            job: "debian",
            run: &run,
            upstream: "rsync://al@host:8873/debian/",
            started: time("2026-11-21T16:00:00Z"),
            now: time("2026-11-21T16:48:41Z"),
            stats,
        };
        trace.write(place.path(), &facts).expect("is written");
        let text = fs::read_to_string(directory.join("m.example")).expect("is read");
        let without_machine: Vec<&str> = text.lines().filter(|line| !line.starts_with("Running")).collect();
        assert_eq!(
            without_machine,
            [
                "Sat Nov 21 16:48:41 UTC 2026",
                "Date: Sat, 21 Nov 2026 16:48:41 +0000",
                "Date-Started: Sat, 21 Nov 2026 16:00:00 +0000",
                "Archive serial: 2026112103",
                concat!("Creator: rsync-mirror ", env!("CARGO_PKG_VERSION")),
                "Country: AQ",
                "Upstream-mirror: host",
                "Rsync-Transport: plain",
                "Total bytes received in rsync: 5000",
                "Total time spent in stage2 rsync: 2",
                "Total time spent in rsync: 2",
                "Average rate: 2000 B/s",
                "Run: debian of rsync://al@host:8873/debian/",
            ]
        );
        assert!(!directory.join("m.example.new").exists());
    }
}
