//! The same commands, run by the C rsync and by ours in equal directories, with equal results.

use std::process::Command;

use crate::outcome::{Outcome, run};
use crate::program::Side;
use crate::pull::environment;
use crate::shell;
use crate::snapshot::{Compare, Snapshot};
use crate::tree::Tree;
use crate::work::Work;

/// Commands for both programs. In their words `{rsh}` stands for a remote shell that stays on this
/// machine, `{rsync}` for the program itself and `{work}` for the directory.
#[derive(Debug)]
pub struct Twins {
    tree: Tree,
    runs: Vec<Vec<String>>,
    variables: Vec<(String, String)>,
    server: Option<Side>,
}

/// What one program did.
#[derive(Debug)]
pub struct Twin {
    /// Each run's exit code, and its lines sorted: deletions overtake items.
    pub runs: Vec<(i32, Vec<String>, Vec<String>)>,
    /// The directory afterwards.
    pub left: Snapshot,
    /// The directory itself.
    pub work: Work,
}

impl Twins {
    /// Both start with `tree` in their working directory.
    #[must_use]
    pub fn new(tree: Tree) -> Self {
        Self { tree, runs: Vec::new(), variables: Vec::new(), server: None }
    }

    /// Adds a run with these words.
    #[must_use]
    pub fn run<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.runs.push(words.into_iter().map(Into::into).collect());
        self
    }

    /// Adds a run with words that are separated by blanks.
    #[must_use]
    pub fn line(self, words: &str) -> Self {
        self.run(words.split(' '))
    }

    /// Sets a variable for all runs.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets `{rsync}` be this program for both clients, instead of each one's own.
    #[must_use]
    pub fn served_by(mut self, server: Side) -> Self {
        self.server = Some(server);
        self
    }

    /// Runs everything with one of the programs as client.
    #[must_use]
    pub fn with(&self, client: Side) -> Twin {
        let work = Work::new();
        self.tree.write(work.path());
        let rsh = shell::plain(&work).display().to_string();
        let rsync = self.server.unwrap_or(client).rsync().display().to_string();
        let here = work.path().display().to_string();
        let fill =
            |word: &String| word.replace("{rsh}", &rsh).replace("{rsync}", &rsync).replace("{work}", &here);
        let runs = self.runs.iter().map(|words| {
            let mut command = Command::new(client.rsync());
            environment(&mut command);
            command.envs(self.variables.iter().map(|(name, value)| (name, fill(value))));
            let outcome = run(command.current_dir(work.path()).args(words.iter().map(fill)));
            let Outcome { code, stdout, stderr } = outcome;
            let lines = |text: String| lines(&text.replace(&here, "{work}"));
            (code, lines(stdout.to_string()), lines(stderr.to_string()))
        });
        let runs = runs.collect();
        Twin { runs, left: Snapshot::take(work.path()), work }
    }

    /// Runs everything with both, and fails where they differ in anything but times.
    #[track_caller]
    pub fn assert_same(&self) {
        let (reference, ours) = self.assert_same_output();
        let compare = Compare { times: false, directory_times: false, ..Compare::ALL };
        ours.left.assert_same(&reference.left, compare);
    }

    /// Runs everything with both, and fails where they end otherwise or say something else. Answers what
    /// the C rsync did, and what ours did.
    #[track_caller]
    pub fn assert_same_output(&self) -> (Twin, Twin) {
        let (reference, ours) = (self.with(Side::C), self.with(Side::Ours));
        for ((words, theirs), mine) in self.runs.iter().zip(&reference.runs).zip(&ours.runs) {
            assert_eq!(mine, theirs, "ours and C's of {words:?}");
        }
        (reference, ours)
    }
}

/// The lines in order, without what differs from run to run, the place in the program that failed, and
/// how it shows that the other side left.
fn lines(text: &str) -> Vec<String> {
    const PASSING: [&str; 4] = [
        "connection unexpectedly closed",
        "Broken pipe (32)",
        "Connection reset by peer",
        "received SIGUSR1",
    ];
    let lines = text.lines().filter(|line| !PASSING.iter().any(|passing| line.contains(passing)));
    let mut lines: Vec<String> = lines.map(plain).collect();
    lines.sort();
    lines.dedup();
    lines
}

fn plain(line: &str) -> String {
    if line.starts_with("sent ") || line.starts_with("Total bytes ") || line.starts_with("File list ") {
        return line.split(' ').next().unwrap_or_default().to_owned();
    }
    let line = line.split(") at ").next().unwrap_or_default();
    line.split("  speedup is ").next().unwrap_or_default().to_owned()
}
