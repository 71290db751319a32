//! One transfer done by several pairs of programs, which must leave and say the same.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Command;

use bstr::{BString, ByteSlice};

use crate::ways::Way;
use crate::{Compare, Side, Snapshot, Tree, Work, pull, run, shell};

/// The pairs, client first, in which one of ours takes part.
fn pairs(way: Way) -> &'static [(Side, Side)] {
    match way {
        Way::Local => &[(Side::Ours, Side::Ours)],
        Way::Push | Way::Pull => &[(Side::Ours, Side::C), (Side::C, Side::Ours), (Side::Ours, Side::Ours)],
    }
}

/// A transfer between two trees.
#[derive(Clone, Debug)]
pub struct Mixed<'a> {
    source: &'a Tree,
    destination: &'a Tree,
    /// Where what is in `source` comes from, relative to it.
    from: &'static str,
    words: Vec<BString>,
    files: Vec<(&'static str, BString)>,
    variables: Vec<(&'static str, &'static str)>,
    compare: Compare,
}

/// What a run left and said.
#[derive(Clone, Debug)]
pub struct Left {
    /// The destination.
    pub tree: Snapshot,
    /// The exit code.
    pub code: i32,
    /// Lines of standard output, with what cannot be equal masked.
    pub stdout: Vec<BString>,
    /// Lines of standard error, likewise.
    pub stderr: Vec<BString>,
    /// Lines of the file `log` beside the trees, without time and process.
    pub log: Vec<BString>,
}

impl<'a> Mixed<'a> {
    /// Options are separated by blanks; `W/` in them is the directory that the trees are in.
    #[must_use]
    pub fn new(source: &'a Tree, destination: &'a Tree, options: &str) -> Self {
        Self {
            source,
            destination,
            from: "",
            words: options.split_ascii_whitespace().map(BString::from).collect(),
            files: Vec::new(),
            variables: Vec::new(),
            compare: Compare::ALL,
        }
    }

    /// One more word, blanks and all.
    #[must_use]
    pub fn word(mut self, word: impl Into<BString>) -> Self {
        self.words.push(word.into());
        self
    }

    /// A file beside the two trees.
    #[must_use]
    pub fn file(mut self, name: &'static str, content: impl Into<BString>) -> Self {
        self.files.push((name, content.into()));
        self
    }

    /// A variable of the client's environment.
    #[must_use]
    pub fn variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    /// Transfers only what is called so in the source.
    #[must_use]
    pub fn from(mut self, name: &'static str) -> Self {
        self.from = name;
        self
    }

    /// Which respects of the trees count.
    #[must_use]
    pub fn compare(mut self, compare: Compare) -> Self {
        self.compare = compare;
        self
    }

    /// Runs it with these two.
    #[must_use]
    pub fn run(&self, way: Way, client: Side, server: Side) -> Left {
        let work = Work::new();
        self.source.write(&work.join("source"));
        self.destination.write(&work.join("destination"));
        for (name, content) in &self.files {
            std::fs::write(work.join(name), content).unwrap();
        }
        let mut command = Command::new(client.rsync());
        pull::environment(&mut command);
        command.envs(self.variables.iter().copied()).current_dir(work.path());
        for word in &self.words {
            let word = word.replace("W/", format!("{}/", work.path().display()));
            command.arg(OsString::from_vec(word));
        }
        if way != Way::Local {
            command.arg("-e").arg(shell::plain(&work));
            command.arg(format!("--rsync-path={}", server.rsync().display()));
        }
        let (source, destination) = (work.join("source"), work.join("destination"));
        let (source, destination) =
            (format!("{}/{}", source.display(), self.from), format!("{}/", destination.display()));
        let remote = |path: &str| format!("host:{path}");
        let outcome = run(match way {
            Way::Local => command.args([source, destination]),
            Way::Push => command.args([source, remote(&destination)]),
            Way::Pull => command.args([remote(&source), destination]),
        });
        let mask = |text: &[u8]| masked(text, work.path());
        let log = std::fs::read(work.join("log")).unwrap_or_default();
        Left {
            tree: Snapshot::take(&work.join("destination")),
            code: outcome.code,
            stdout: mask(&outcome.stdout),
            stderr: mask(&outcome.stderr),
            log: mask(
                &log.lines().flat_map(|line| [after_process(line), b"\n"].concat()).collect::<Vec<_>>(),
            ),
        }
    }

    /// Fails unless every pair with one of ours leaves and says what the C pair does, on every way.
    #[track_caller]
    pub fn assert_like_c(&self, ways: &[Way]) {
        for &way in ways {
            let reference = self.run(way, Side::C, Side::C);
            for &(client, server) in pairs(way) {
                let ours = self.run(way, client, server);
                let what = format!("{:?}, {way:?} by {client:?} and {server:?}", self.words);
                assert_eq!(ours.stdout, reference.stdout, "standard output of {what}\n{:?}", ours.stderr);
                assert_eq!(ours.stderr, reference.stderr, "standard error of {what}");
                assert_eq!(ours.log, reference.log, "log of {what}");
                assert_eq!(ours.code, reference.code, "exit code of {what}: {:?}", ours.stderr);
                let differences = ours.tree.differences(&reference.tree, self.compare);
                assert!(differences.is_empty(), "{what}: {differences:?}");
            }
        }
    }
}

/// What follows date, time and process of a line in a log file.
fn after_process(line: &[u8]) -> &[u8] {
    line.split_once_str("] ").map_or(line, |(_, text)| text)
}

/// The lines of `text` without what differs from run to run.
fn masked(text: &[u8], work: &Path) -> Vec<BString> {
    let work = work.display().to_string();
    let text = text.replace(&work, "W").replace(work.trim_start_matches('/'), "W");
    let text = [Side::C, Side::Ours]
        .into_iter()
        .fold(text, |text, side| text.replace(side.rsync().display().to_string(), "RSYNC"));
    text.lines_with_terminator().map(|line| masked_line(line).into()).collect()
}

fn masked_line(line: &[u8]) -> Vec<u8> {
    if let Some((before, after)) = line.split_once_str(") at ") {
        // Where in which program it failed.
        let role = after.split_once_str("[").map_or(after, |(_, role)| role);
        let role = role.split(|&byte| byte == b'=').next().unwrap_or_default();
        return [before, b") at [", role, b"]"].concat();
    }
    let counts = [&b"sent "[..], b"File list ", b"Total bytes ", b"opening connection"];
    if counts.iter().any(|start| line.starts_with(start)) {
        return without_numbers(line);
    }
    if let Some((before, _)) = line.split_once_str("  speedup is ") {
        return before.to_vec();
    }
    if line.contains_str("% ") && line.contains_str("B/s ") {
        return progress(line);
    }
    line.to_vec()
}

fn without_numbers(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for &byte in line {
        let byte = if byte.is_ascii_digit() || matches!(byte, b'.' | b',') { b'#' } else { byte };
        if byte != b'#' || out.last() != Some(&b'#') {
            out.push(byte);
        }
    }
    out
}

/// Progress without rates and times.
fn progress(line: &[u8]) -> Vec<u8> {
    let words = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).map(|word| {
        let is_time = word.iter().filter(|&&byte| byte == b':').count() == 2;
        if is_time || word.ends_with(b"B/s") { b"#" } else { word }
    });
    words.collect::<Vec<_>>().join(&b' ')
}
