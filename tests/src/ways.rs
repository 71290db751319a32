//! The same copy by every way and between every pair of implementations, compared with what C does.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use crate::outcome::run;
use crate::program::Side;
use crate::pull::environment;
use crate::shell;
use crate::snapshot::{Compare, Snapshot};
use crate::tree::Tree;
use crate::work::Work;

/// Where source and destination are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// On one machine.
    Local,
    /// The destination behind a remote shell.
    Push,
    /// The source behind a remote shell.
    Pull,
}

/// All of them.
pub const EVERY_WAY: [Way; 3] = [Way::Local, Way::Push, Way::Pull];

/// A copy from `source/` to `destination/`: trees and options.
#[derive(Clone, Debug)]
pub struct Copying {
    source: Tree,
    destination: Tree,
    beside: Vec<(String, Tree)>,
    options: Vec<String>,
    sources: Vec<String>,
    target: String,
    ways: Vec<Way>,
    compare: Compare,
    lines: bool,
    new_times: bool,
}

/// What a copy left and said.
#[derive(Debug)]
pub struct Copied {
    /// The test's directory.
    pub work: Work,
    /// The exit code of the client.
    pub code: i32,
    /// Its lines, those about volume and speed left out, sorted: deletions overtake items.
    pub stdout: Vec<String>,
    /// Its lines of errors, without the place in the program that failed, sorted.
    pub stderr: Vec<String>,
}

impl Copied {
    /// What `name` in the test's directory looks like.
    #[must_use]
    pub fn tree(&self, name: &str) -> Snapshot {
        Snapshot::take(&self.work.join(name))
    }
}

impl Copying {
    /// Copies a tree with these options, which are separated by blanks, into an empty directory. `{work}` in
    /// them is the test's directory.
    #[must_use]
    pub fn new(source: Tree, options: &str) -> Self {
        Self {
            source,
            destination: Tree::new(),
            beside: Vec::new(),
            options: options.split(' ').map(str::to_owned).collect(),
            sources: vec!["source/".to_owned()],
            target: "destination/".to_owned(),
            ways: EVERY_WAY.to_vec(),
            compare: Compare::ALL,
            lines: true,
            new_times: true,
        }
    }

    /// What is in the destination before.
    #[must_use]
    pub fn onto(mut self, destination: Tree) -> Self {
        self.destination = destination;
        self
    }

    /// Another tree beside source and destination; it is compared, too.
    #[must_use]
    pub fn beside(mut self, name: &str, tree: Tree) -> Self {
        self.beside.push((name.to_owned(), tree));
        self
    }

    /// What to copy in place of `source/`, relative to the test's directory.
    #[must_use]
    pub fn from(mut self, sources: &[&str]) -> Self {
        self.sources = sources.iter().map(|&source| source.to_owned()).collect();
        self
    }

    /// Where to in place of `destination/`.
    #[must_use]
    pub fn to(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    /// Only these ways.
    #[must_use]
    pub fn by(mut self, ways: &[Way]) -> Self {
        self.ways = ways.to_vec();
        self
    }

    /// Only these respects count.
    #[must_use]
    pub fn comparing(mut self, compare: Compare) -> Self {
        self.compare = compare;
        self
    }

    /// What is printed does not count, only trees and exit codes do.
    #[must_use]
    pub fn whatever_is_said(mut self) -> Self {
        self.lines = false;
        self
    }

    /// Times that a file got by being written count as equal.
    #[must_use]
    pub fn whenever_written(mut self) -> Self {
        self.new_times = false;
        self
    }

    /// Writes the trees into a new place.
    #[must_use]
    #[track_caller]
    pub fn prepare(&self) -> Work {
        let work = Work::new();
        self.source.write(&work.join("source"));
        self.destination.write(&work.join("destination"));
        for (name, tree) in &self.beside {
            tree.write(&work.join(name));
        }
        work
    }

    /// Carries it out.
    #[must_use]
    #[track_caller]
    pub fn run(&self, way: Way, client: Side, server: Side) -> Copied {
        self.run_in(self.prepare(), way, client, server)
    }

    /// Carries it out in a place that is prepared.
    #[must_use]
    #[track_caller]
    pub fn run_in(&self, work: Work, way: Way, client: Side, server: Side) -> Copied {
        let at = |name: &str, remote: bool| match remote {
            true => format!("host:{}", work.join(name).display()),
            false => name.to_owned(),
        };
        let mut command = Command::new(client.rsync());
        environment(&mut command);
        let here = work.path().display().to_string();
        let options = self.options.iter().map(|option| option.replace("{work}", &here));
        command.current_dir(work.path()).args(options);
        if way != Way::Local {
            command.arg("-e").arg(shell::plain(&work));
            command.arg(format!("--rsync-path={}", server.rsync().display()));
        }
        command.args(self.sources.iter().map(|source| at(source, way == Way::Pull)));
        command.arg(at(&self.target, way == Way::Push));
        let outcome = run(&mut command);
        let lines = |text: &[u8]| lines(&String::from_utf8_lossy(text), work.path());
        Copied { code: outcome.code, stdout: lines(&outcome.stdout), stderr: lines(&outcome.stderr), work }
    }

    /// Carries it out by every way and between every pair with ours in it, and fails unless exit code,
    /// lines and trees are those of C alone.
    #[track_caller]
    pub fn assert_like_c(&self) {
        for &way in &self.ways {
            let pairs: &[(Side, Side)] = match way {
                Way::Local => &[(Side::Ours, Side::Ours)],
                _ => &[(Side::Ours, Side::C), (Side::C, Side::Ours), (Side::Ours, Side::Ours)],
            };
            let problems = self.differences(way, pairs);
            assert!(problems.is_empty(), "{}", problems.join("\n\n"));
        }
    }

    /// Carries it out one way between each of these pairs, client first, and answers what exit code, lines
    /// and trees have that those of C alone have not.
    #[must_use]
    #[track_caller]
    pub fn differences(&self, way: Way, pairs: &[(Side, Side)]) -> Vec<String> {
        let reference = self.run(way, Side::C, Side::C);
        let problem = |&(client, server): &(Side, Side)| {
            let copied = self.run(way, client, server);
            let problem = self.difference(&copied, &reference)?;
            let options = self.options.join(" ");
            Some(format!("{way:?} by {client:?} with {server:?}: {options}: {problem}\n{copied:#?}"))
        };
        pairs.iter().filter_map(problem).collect()
    }

    /// The first respect in which `copied` is not like `reference`.
    fn difference(&self, copied: &Copied, reference: &Copied) -> Option<String> {
        if copied.code != reference.code {
            return Some(format!("exit code\nC: {reference:#?}"));
        }
        let lines =
            [("stdout", &copied.stdout, &reference.stdout), ("stderr", &copied.stderr, &reference.stderr)];
        for (stream, ours, theirs) in lines {
            if self.lines && ours != theirs {
                return Some(format!("{stream} (left), and C's\n{ours:#?}\n{theirs:#?}"));
            }
        }
        let names = ["source", self.target.trim_end_matches('/')];
        for name in names.into_iter().chain(self.beside.iter().map(|(name, _)| name.as_str())) {
            if !copied.work.join(name).is_dir() && !reference.work.join(name).is_dir() {
                continue;
            }
            let [ours, theirs] = [copied, reference].map(|copied| match self.new_times {
                true => copied.tree(name),
                false => copied.tree(name).without_times_after(UNIX_EPOCH + Duration::from_secs(NEW)),
            });
            let differences = ours.differences(&theirs, self.compare);
            if !differences.is_empty() {
                return Some(format!("{name} (left), and C's: {}", differences.join("\n")));
            }
        }
        None
    }
}

/// Times after this many seconds since 1970 are those of the run: trees are older.
const NEW: u64 = 1_700_000_000;

/// How lines begin that tell volume, time, or the command of the other side.
const VARYING: [&str; 5] = ["sent ", "total size is ", "Total bytes ", "File list ", "opening connection "];

/// What is said of how the other side left, which is a matter of who is faster.
const PASSING: [&str; 4] = [
    "connection unexpectedly closed",
    "Broken pipe (32)",
    "received SIGUSR1",
    "error in rsync protocol data stream",
];

/// The lines that do not depend on place, volume and time, sorted.
fn lines(text: &str, work: &Path) -> Vec<String> {
    let text = text.replace(&work.display().to_string(), "WORK");
    let told = text.lines().filter(|line| !VARYING.iter().any(|start| line.starts_with(start)));
    let told = told.filter(|line| !PASSING.iter().any(|passing| line.contains(passing)));
    // What the table of block sums is like is the program's own.
    let told = told.map(|line| line.split("  hash_hits=").next().unwrap_or_default());
    let mut lines: Vec<String> =
        told.map(|line| line.split(") at ").next().unwrap_or_default().to_owned()).collect();
    lines.sort();
    lines
}
