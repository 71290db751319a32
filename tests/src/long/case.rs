//! One transfer in any direction, carried out on equal copies of its trees by whomever one likes.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::Command;

use bstr::{BString, ByteSlice};
use rustix::time::{ClockId, clock_gettime};

use super::dice::Dice;
use super::options::Choice;
use super::wide;
use super::world::World;
use crate::daemon::{Daemon, Module, url};
use crate::outcome::{Outcome, run};
use crate::program::{Side, is_root};
use crate::pull::environment;
use crate::shell;
use crate::snapshot::Snapshot;
use crate::work::Work;

/// Where the two ends are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A pull from a daemon.
    FromDaemon,
    /// A push to a daemon, whose module is the directory of the run.
    ToDaemon,
    /// A pull through a remote shell.
    Pull,
    /// A push through a remote shell.
    Push,
    /// A pull through a shell that hands on so many bytes at a time.
    ChunkedPull(usize),
    /// A push through such a shell.
    ChunkedPush(usize),
    /// Both ends in one process.
    Local,
}

impl Way {
    /// Whether the client receives from a server.
    #[must_use]
    pub fn is_pull(self) -> bool {
        matches!(self, Self::FromDaemon | Self::Pull | Self::ChunkedPull(_))
    }
}

/// What is to be copied, how, and onto what.
#[derive(Clone, Debug)]
pub struct Case {
    /// The way of the data.
    pub way: Way,
    /// Options and what to compare.
    pub choice: Choice,
    source: World,
    destination: World,
    /// `old`, beside both: what `--link-dest` and its like look at.
    old: World,
    /// Names below the source to ask for; all of it if there are none.
    names: Vec<Vec<u8>>,
    /// Names in `list`, for `--files-from`.
    list: Vec<u8>,
    /// Rules in `rules`, for whom asks for them.
    rules: Vec<u8>,
    /// When it was made up, in seconds.
    now: i64,
}

/// Who does what in a run.
#[derive(Clone, Copy, Debug)]
pub struct Roles {
    /// The one that is started.
    pub client: Side,
    /// The other end.
    pub server: Side,
    /// The one that applies what the client wrote to a batch file.
    pub reader: Side,
}

impl Roles {
    /// The C rsync does everything.
    pub const OF_C: Self = Self { client: Side::C, server: Side::C, reader: Side::C };
}

/// What a run left.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub outcome: Outcome,
    /// The tree that was written.
    pub destination: Snapshot,
    /// The tree that was read.
    pub source: Snapshot,
    /// Backups beside the destination.
    pub kept: Snapshot,
    /// What applying its batch file to the same destination said and left.
    pub replayed: Option<(Outcome, Snapshot)>,
    log: BString,
    place: BString,
    is_local: bool,
}

impl Case {
    /// A source, and other trees that share a past with it; if `wide`, of everything there is.
    #[must_use]
    pub fn random(dice: &mut Dice, wide: bool) -> Self {
        let past = World::random(dice);
        let mut source = past.changed(dice);
        let mut destination = if dice.once_in(4) { World::default() } else { past.changed(dice) };
        let mut choice = Choice::random(dice, wide);
        // What is written in place under one name changes under the others at any moment of theirs.
        let in_place = choice.has("--inplace") || choice.has("--append");
        destination = if in_place { destination.unlinked() } else { destination };
        let mut old = if choice.has("../old") { past.changed(dice) } else { World::default() };
        let mut list = Vec::new();
        if choice.has("--files-from") {
            for _ in 0..dice.below(8) {
                list.extend(source.some_path(dice));
                list.extend(*dice.pick(&[&b"\0"[..], b"\0", b"\0", b"/\0", b"/.\0", b"/no such\0"]));
            }
        }
        let named = !choice.has("--files-from") && dice.once_in(6);
        let names = (0..if named { 1 + dice.below(3) } else { 0 })
            .map(|_| source.some_path(dice))
            .filter(|name| !name.is_empty() && name.find_byteset(b"*[\\\n").is_none())
            .collect();
        let mut rules = Vec::new();
        if wide {
            rules = wide::rules(dice);
            if choice.has(".rules") || choice.has("-F") {
                source.rule(dice);
                destination.rule(dice);
            }
            if !is_root() {
                [&mut source, &mut destination, &mut old].into_iter().for_each(|world| world.close(dice));
            }
        }
        let small = source.size() + destination.size() < 200_000;
        let way = match dice.below(if wide { 12 } else { 10 }) {
            0 | 1 => Way::FromDaemon,
            2 | 3 => Way::Pull,
            4 | 5 => Way::Push,
            6 if small => Way::ChunkedPull(1 + dice.below(40) as usize),
            7 if small => Way::ChunkedPush(1 + dice.below(40) as usize),
            10 | 11 => Way::ToDaemon,
            // A local copy has no protocol; that of C has the limits of one all the same.
            _ if choice.protocol < 30 => Way::Push,
            _ => Way::Local,
        };
        if wide {
            choice.fit(way, dice);
        }
        let now = clock_gettime(ClockId::Realtime).tv_sec;
        Self { way, choice, source, destination, old, names, list, rules, now }
    }

    /// The options, for people.
    #[must_use]
    pub fn describe(&self, roles: Roles) -> String {
        let Roles { client, server, .. } = roles;
        let words = self.choice.words.join(" ");
        let names: Vec<String> = self.names.iter().map(|name| name.as_bstr().to_string()).collect();
        format!(
            "{client:?} with {server:?}, {:?}: {words} {names:?} list {:?}",
            self.way,
            self.list.as_bstr()
        )
    }

    /// Writes the trees.
    pub fn write(&self, root: &Path) {
        self.source.tree().accessed(self.now).write(&root.join("source"));
        self.destination.tree().accessed(self.now).write(&root.join("destination"));
        self.old.tree().accessed(self.now).write(&root.join("old"));
        std::fs::create_dir(root.join("temporary")).unwrap();
        std::fs::write(root.join("list"), &self.list).unwrap();
        std::fs::write(root.join("rules"), &self.rules).unwrap();
    }

    /// Copies.
    #[must_use]
    pub fn run(&self, roles: Roles) -> Ran {
        let work = Work::new();
        self.write(work.path());
        let daemon = match self.way {
            Way::FromDaemon => Some(Daemon::serving(roles.server, &work.join("source"))),
            Way::ToDaemon => {
                let module = Module::new("m", work.path()).line("read only = no");
                Some(Daemon::uploading(roles.server, "", &[module]))
            }
            _ => None,
        };
        let port = daemon.as_ref().map_or(0, Daemon::port);
        let outcome = run(&mut self.command(roles.client, roles.server, &work, port));
        let (destination, source) =
            (Snapshot::take(&work.join("destination")), Snapshot::take(&work.join("source")));
        let kept = Snapshot::take(&work.join("kept"));
        let log = ["log", "far-log"].map(|name| std::fs::read(work.join(name)).unwrap_or_default()).concat();
        let place = work.path().as_os_str().as_bytes().into();
        let replayed = self.replay(roles.reader, &work);
        let is_local = self.way == Way::Local;
        Ran { outcome, destination, source, kept, replayed, log: log.into(), place, is_local }
    }

    /// Applies the batch file that was written, if one was, to what the destination was before.
    fn replay(&self, reader: Side, work: &Work) -> Option<(Outcome, Snapshot)> {
        let script = std::fs::read(work.join("batch.sh")).ok()?;
        // The first word is the program that wrote it.
        let (_, rest) = script.strip_prefix(b"'")?.split_once_str(b"'")?;
        let script = [b"exec ", reader.rsync().as_os_str().as_bytes(), rest].concat();
        std::fs::write(work.join("batch.sh"), script).unwrap();
        self.destination.tree().accessed(self.now).write(&work.join("replayed"));
        let mut command = Command::new("sh");
        environment(&mut command);
        let outcome = run(command.current_dir(work.path()).args(["batch.sh", "replayed/"]));
        Some((outcome, Snapshot::take(&work.join("replayed"))))
    }

    fn command(&self, client: Side, server: Side, work: &Work, port: u16) -> Command {
        let mut command = Command::new(client.rsync());
        environment(&mut command);
        let place = work.path().display().to_string();
        command
            .current_dir(work.path())
            .args(self.choice.words.iter().map(|word| word.replace("@/", &format!("{place}/"))));
        let everything = [Vec::new()];
        let names = if self.names.is_empty() { &everything[..] } else { &self.names };
        let below = |prefix: String| {
            names.iter().enumerate().map(move |(index, name)| {
                // Further names of one host leave it out.
                let prefix = if index > 0 { prefix.trim_start_matches("host") } else { &prefix };
                OsString::from_vec([prefix.as_bytes(), name].concat())
            })
        };
        let chunked = |piece| OsString::from(shell::chunked(piece));
        let shell = match self.way {
            Way::ChunkedPull(piece) | Way::ChunkedPush(piece) => Some(chunked(piece)),
            Way::Pull | Way::Push => Some(shell::plain(work).into_os_string()),
            Way::FromDaemon | Way::ToDaemon | Way::Local => None,
        };
        if let Some(shell) = shell {
            command.arg("-e").arg(shell).arg("--rsync-path").arg(server.rsync());
        }
        match self.way {
            Way::FromDaemon => command.args(below(url(port, "m/"))).arg("destination/"),
            // --relative does not copy the part before the lone dot.
            Way::Pull | Way::ChunkedPull(_) => {
                command.args(below(format!("host:{place}/source/./"))).arg("destination/")
            }
            Way::Push | Way::ChunkedPush(_) => {
                command.args(below("source/./".to_owned())).arg(format!("host:{place}/destination/"))
            }
            Way::ToDaemon => command.args(below("source/./".to_owned())).arg(url(port, "m/destination/")),
            Way::Local => command.args(below("source/./".to_owned())).arg("destination/"),
        };
        command
    }
}

/// Beginnings of lines that tell of bytes, time or memory, or that no script reads.
const VARYING: [&str; 16] = [
    "sent ",
    "total size is ",
    "opening connection using: ",
    "opening tcp connection to ",
    "sending daemon args: ",
    "protected args: ",
    "Literal data: ",
    "Matched data: ",
    "File list size: ",
    "File list generation time: ",
    "File list transfer time: ",
    "Total bytes sent: ",
    "Total bytes received: ",
    "delta-transmission ",
    "total: matches=",
    "expand file_list",
];

impl Ran {
    /// What it printed, sorted: lines of several processes overtake each other. `old` says that items
    /// were no part of the protocol, `listed` that names were given with `--files-from`.
    #[must_use]
    pub fn lines(&self, old: bool, listed: bool) -> Vec<BString> {
        let mut lines = without_wrong_deletions(self.cleaned(&self.outcome.stdout));
        // Without incremental recursion the C rsync counts what is listed twice.
        lines.retain(|line| !(listed && line.starts_with(b"Number of files: ")));
        if old {
            // The C rsync's receiver knows a part of the format only, and prints no name.
            lines.retain(|line| !line.starts_with(b"deleting ") && !line.starts_with(b"*deleting "));
        }
        sorted(lines)
    }

    /// The errors it printed, sorted, without the places in the program.
    #[must_use]
    pub fn errors(&self) -> Vec<BString> {
        // A process that knows no locale escapes what another one need not.
        let shown = self.outcome.stderr.replace(br"\#303\#251", "\u{e9}").into();
        let mut lines = sorted(self.cleaned(&shown));
        lines.dedup();
        // The C rsync asks for the default ACL of what is in the way of a directory, too.
        lines.retain(|line| !line.starts_with(b"default_perms_for_dir: "));
        lines
    }

    /// What it logged, sorted, without times and processes.
    #[must_use]
    pub fn logged(&self) -> Vec<BString> {
        let lines = self.cleaned(&self.log).into_iter();
        let told = lines.map(|line| line.split_once_str(b"] ").map_or(line.clone(), |(_, told)| told.into()));
        let varies = |line: &BString| VARYING.iter().any(|start| line.starts_with(start.as_bytes()));
        // The C rsync does not log the errors of the receiving half of a local copy (spec 07 §21).
        let errors = if self.is_local { self.errors() } else { Vec::new() };
        sorted(told.filter(|line| !varies(line) && !errors.contains(line)).collect())
    }

    fn cleaned(&self, text: &BString) -> Vec<BString> {
        let counts = |line: &&[u8]| !VARYING.iter().any(|start| line.starts_with(start.as_bytes()));
        text.lines()
            .filter(counts)
            .map(|line| {
                let line = line.replace(self.place.as_slice(), b"PLACE");
                line.find(") at ").map_or(line.clone(), |end| line[..end].to_vec()).into()
            })
            .collect()
    }
}

/// A directory inside one that goes, kept by something a rule protects: the C rsync says so, tries to
/// remove it all the same, and says so again; a dry run claims that it is deleted (spec 07 §9.4).
fn without_wrong_deletions(mut lines: Vec<BString>) -> Vec<BString> {
    let text = b"cannot delete non-empty directory: ";
    let kept: Vec<BString> =
        lines.iter().filter_map(|line| line.strip_prefix(text).map(BString::from)).collect();
    let is_wrong = |line: &BString| {
        let path = line.strip_suffix(b"/").unwrap_or_default();
        kept.iter().any(|kept| path.ends_with(&[b" ".as_slice(), kept].concat()))
    };
    lines.retain(|line| !(line.contains_str("delet") && line.ends_with(b"/") && is_wrong(line)));
    let mut said: Vec<BString> = Vec::new();
    lines.retain(|line| {
        let first = !line.starts_with(text) || !said.contains(line);
        said.push(line.clone());
        first
    });
    lines
}

fn sorted(mut lines: Vec<BString>) -> Vec<BString> {
    lines.sort();
    lines
}

/// Whether a word of a command line has this in it.
#[must_use]
pub fn mentions(words: &[String], part: &str) -> bool {
    words.iter().any(|word| OsStr::new(word).as_bytes().contains_str(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_that_does_not_happen_does_not_count() {
        let lines = ["cannot delete non-empty directory: a b/c", "*deleting   a b/c/", "*deleting   c/"];
        let cleaned = without_wrong_deletions(lines.iter().map(|&line| line.into()).collect());
        assert_eq!(cleaned, ["cannot delete non-empty directory: a b/c", "*deleting   c/"]);
    }
}
