//! The captured runs of `docs/spec/data/scenarios` (spec 07 §22), replayed with a program under test.

mod pattern;
mod setup;
mod tree_lines;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bstr::{BString, ByteSlice, ByteVec};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::outcome::{Outcome, run};
use crate::program::{Side, is_root};
use crate::pull::environment;
use crate::shell;
use crate::work::{Work, give_to};

use pattern::{Facts, matches};

/// How the runs of a scenario are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As written: exit code, output and trees count.
    AsWritten,
    /// Local copies become pulls over a remote shell; exit code and trees count.
    AsPull,
    /// Like [`Mode::AsPull`], and the output counts as well.
    AsTalkativePull,
}

/// Who carries the runs of a scenario out.
#[derive(Clone, Debug)]
pub struct Actors {
    /// The program that the user starts.
    pub client: PathBuf,
    /// The program at the far end.
    pub server: PathBuf,
    /// The user and group that both run as, and that all files are of; that of the tests if there is none.
    pub user: Option<u32>,
}

impl Actors {
    /// These two, run by whoever runs the tests.
    #[must_use]
    pub fn new(client: Side, server: Side) -> Self {
        Self { client: client.rsync(), server: server.rsync(), user: None }
    }

    /// The programs' paths as they were when the runs were captured.
    fn masked(&self, outcome: Outcome) -> Outcome {
        let server = format!(" {} --server", self.server.display());
        Outcome { stdout: outcome.stdout.replace(server, " rsync --server").into(), ..outcome }
    }

    fn masked_text(&self, text: &[u8]) -> Vec<u8> {
        text.replace(self.client.display().to_string(), "/usr/bin/rsync")
    }
}

/// Where the C rsync fails and this one does not, on purpose. What it does instead is tested by itself.
pub const BETTER: &[(&str, &str)] = &[
    ("mod-14", "the C rsync refuses a temporary directory with dots (spec 07 §2.1)"),
    ("mod-45", "the C rsync refuses a backup directory with dots (spec 07 §2.1)"),
    ("hl-33", "the C rsync forgets a postponed hard link when the last one cannot be made (spec 07 §10)"),
    ("typ-10", "the C rsync sets times on a kept link in place of its directory (spec 04 §7)"),
];

/// Where the layout of debug output, which is free (spec 07 §15), is all there is.
pub const FREE_TEXT: &[&str] = &["mod-17", "del-27", "out-37"];

/// One scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// `any`, `root` or `nonroot`.
    pub user: String,
    steps: Vec<Value>,
}

/// Every scenario of the data files, in the order of files and rows.
///
/// # Panics
/// If the files cannot be read.
#[must_use]
pub fn all() -> Vec<Scenario> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/spec/data/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files.iter().flat_map(|file| of_file(file)).collect()
}

fn of_file(file: &Path) -> Vec<Scenario> {
    let rows: Vec<Value> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    rows.iter()
        .map(|row| Scenario {
            id: text(row, "id"),
            title: text(row, "title"),
            user: text(row, "user"),
            steps: row["steps"].as_array().unwrap().clone(),
        })
        .collect()
}

impl Scenario {
    /// Whether it can be run by the present user.
    #[must_use]
    pub fn is_for_us(&self) -> bool {
        match self.user.as_str() {
            "root" => is_root(),
            "nonroot" => !is_root(),
            _ => true,
        }
    }

    /// Whether every run is a pull or a listing, so that [`Mode::AsWritten`] needs no other role.
    #[must_use]
    pub fn only_pulls_or_lists(&self) -> bool {
        self.runs().all(|args| {
            let operands = operands(&args);
            let listing = args.iter().any(|arg| arg == "--list-only") || operands.len() == 1;
            listing || operands.first().is_some_and(|&first| args[first].contains(':'))
        })
    }

    /// Whether every run is a local copy, so that [`Mode::AsPull`] changes all of them.
    #[must_use]
    pub fn only_local_copies(&self) -> bool {
        self.runs().all(|args| {
            let operands = operands(&args);
            operands.len() > 1 && operands.iter().all(|&operand| !args[operand].contains(':'))
        })
    }

    fn runs(&self) -> impl Iterator<Item = Vec<String>> {
        self.steps.iter().filter(|step| step[0] == "run").map(|step| words(&step[1]))
    }

    /// Replays it, and says what was not as captured.
    ///
    /// # Errors
    /// The first difference, with the step it was found at.
    pub fn replay(&self, actors: &Actors, mode: Mode) -> Result<(), String> {
        let work = Work::new();
        let mut setup = setup::Setup::new(work.join("w"));
        let shell = shell::plain(&work);
        // A tree may show what any of the runs so far has changed.
        let mut started = i64::MAX;
        for (index, step) in self.steps.iter().enumerate() {
            let place = |problem: String| format!("{} step {index} {}: {problem}", self.id, step[0]);
            match step[0].as_str().unwrap() {
                "run" => {
                    setup.settle_directories();
                    if let Some(user) = actors.user {
                        give_to(setup.root(), user);
                    }
                    started = started.min(now());
                    let facts = Facts { cwd: setup.root().as_os_str(), shell: shell.as_os_str() };
                    let outcome = replay_run(setup.root(), &shell, &words(&step[1]), &step[2], actors, mode);
                    let outcome = actors.masked(outcome);
                    check_run(&outcome, &words(&step[1]), &step[2], facts, mode).map_err(place)?;
                }
                "tree" => {
                    let found = tree_lines::of(setup.root(), step[1].as_str().unwrap(), started);
                    compare_lines(&found, &byte_lines(&step[2])).map_err(place)?;
                }
                "cat" if mode != Mode::AsWritten => {}
                "cat" => {
                    let content =
                        std::fs::read(setup.root().join(step[1].as_str().unwrap())).unwrap_or_default();
                    let facts = Facts { cwd: setup.root().as_os_str(), shell: shell.as_os_str() };
                    check_lines(&lines_of(&actors.masked_text(&content)), &byte_lines(&step[2]), facts)
                        .map_err(place)?;
                }
                _ => setup.apply(step).map_err(|error| place(error.to_string()))?,
            }
        }
        Ok(())
    }
}

fn replay_run(
    root: &Path,
    shell: &Path,
    args: &[String],
    expected: &Value,
    actors: &Actors,
    mode: Mode,
) -> Outcome {
    let substitute =
        |arg: &str| arg.replace("{CWD}", root.to_str().unwrap()).replace("{RSH}", shell.to_str().unwrap());
    let mut args: Vec<String> = args.iter().map(|arg| substitute(arg)).collect();
    if mode != Mode::AsWritten {
        as_pull(root, shell, &mut args);
    }
    let is_remote = args.iter().any(|arg| arg == "-e");
    if is_remote && !args.iter().any(|arg| arg.starts_with("--rsync-path")) {
        args.insert(0, format!("--rsync-path={}", actors.server.display()));
    }
    let mut command = Command::new(&actors.client);
    if let Some(user) = actors.user {
        command.uid(user).gid(user);
    }
    environment(&mut command);
    command.env("HOME", root).current_dir(root);
    if let Some(variables) = expected["env"].as_object() {
        for (name, value) in variables {
            command.env(name, value.as_str().unwrap());
        }
    }
    command.args(args.iter().map(|arg| to_os(&to_bytes(arg))));
    run(&mut command)
}

/// Turns the sources of a local copy into operands of a remote host.
fn as_pull(root: &Path, shell: &Path, args: &mut Vec<String>) {
    let operands = operands(args);
    let Some((_, sources)) = operands.split_last() else { return };
    for (position, &source) in sources.iter().enumerate() {
        let path = &args[source];
        // --relative does not copy the part before a lone dot.
        let anchor = if path.contains("/./") { "" } else { "./" };
        let absolute =
            if path.starts_with('/') { path.clone() } else { format!("{}/{anchor}{path}", root.display()) };
        let host = if position == 0 { "h" } else { "" };
        args[source] = format!("{host}:{absolute}");
    }
    args.splice(0..0, ["-e".to_owned(), shell.display().to_string()]);
}

/// The positions of the operands: what is no option and no value of `-e`.
fn operands(args: &[String]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut skip = false;
    for (index, arg) in args.iter().enumerate() {
        if std::mem::take(&mut skip) {
            continue;
        }
        skip = arg == "-e" || arg == "-T" || arg == "-f" || arg == "-B";
        if !arg.starts_with('-') {
            found.push(index);
        }
    }
    found
}

fn check_run(
    outcome: &Outcome,
    args: &[String],
    expected: &Value,
    facts: Facts<'_>,
    mode: Mode,
) -> Result<(), String> {
    let codes: Vec<i64> = match &expected["rc"] {
        Value::Array(codes) => codes.iter().filter_map(Value::as_i64).collect(),
        code => code.as_i64().into_iter().collect(),
    };
    let context = || format!("\nargs: {args:?}\nstdout: {}\nstderr: {}", outcome.stdout, outcome.stderr);
    if !codes.contains(&i64::from(outcome.code)) {
        return Err(format!("exit code {} instead of {codes:?}{}", outcome.code, context()));
    }
    if mode == Mode::AsPull {
        return Ok(());
    }
    for (stream, bytes) in [("out", &outcome.stdout), ("err", &outcome.stderr)] {
        if expected[format!("{stream}_unstable").as_str()] == true {
            continue;
        }
        let mut wanted: Vec<BString> =
            byte_lines(&expected[stream]).iter().map(|line| of_a_pull(line, mode)).collect();
        let mut found = lines_of(bytes);
        // Both halves of a client that pulls speak at once.
        let pulls = operands(args).first().is_some_and(|&first| args[first].contains(':'));
        if (pulls || expected["out_any_order"] == true) && stream == "out" {
            wanted.sort();
            found.sort();
        }
        let deleting = ["--delete", "--delete-during", "--delete-excluded"];
        let result = if stream == "out" && args.iter().any(|arg| deleting.contains(&arg.as_str())) {
            let split =
                |lines: Vec<BString>| lines.into_iter().partition::<Vec<_>, _>(|line| is_deletion(line));
            let (wanted, found) = (split(wanted), split(found));
            check_lines(&found.0, &wanted.0, facts).and_then(|()| check_lines(&found.1, &wanted.1, facts))
        } else {
            check_lines(&found, &wanted, facts)
        };
        result.map_err(|problem| format!("{stream}: {problem}{}", context()))?;
    }
    Ok(())
}

/// What a line of a local copy reads in a pull: another role ends the run and names the list.
fn of_a_pull(line: &[u8], mode: Mode) -> BString {
    if mode != Mode::AsTalkativePull {
        return line.into();
    }
    line.replace("sending incremental file list", "receiving incremental file list")
        .replace("building file list ... ", "receiving file list ... ")
        .replace(") [sender={VER}]", ") [{VER}]")
        .into()
}

fn is_deletion(line: &[u8]) -> bool {
    [&b"*deleting"[..], b"deleting ", b"del. ", b"cannot delete"].iter().any(|start| line.starts_with(start))
}

fn check_lines(found: &[BString], wanted: &[BString], facts: Facts<'_>) -> Result<(), String> {
    if found.len() != wanted.len() {
        return Err(format!(
            "{} lines instead of {}:\n{found:#?}\nwanted {wanted:#?}",
            found.len(),
            wanted.len()
        ));
    }
    match found.iter().zip(wanted).find(|(found, wanted)| !matches(wanted, found, facts)) {
        Some((found, wanted)) => Err(format!("line {found:?} instead of {wanted:?}")),
        None => Ok(()),
    }
}

fn compare_lines(found: &[BString], wanted: &[BString]) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("found {found:#?}\nwanted {wanted:#?}")) }
}

fn lines_of(bytes: &[u8]) -> Vec<BString> {
    let mut lines: Vec<BString> = bytes.lines_with_terminator().map(BString::from).collect();
    for line in &mut lines {
        match line.strip_suffix(b"\n") {
            Some(rest) => *line = rest.into(),
            None => line.push_str("{NO-EOL}"),
        }
    }
    lines
}

fn words(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

fn byte_lines(value: &Value) -> Vec<BString> {
    let lines = value.as_array().map(Vec::as_slice).unwrap_or_default();
    lines.iter().map(|line| to_bytes(line.as_str().unwrap())).collect()
}

/// U+F780 to U+F7FF stand for the raw bytes 80 to FF.
fn to_bytes(text: &str) -> BString {
    let mut bytes = BString::default();
    for character in text.chars() {
        match u32::from(character) {
            raw @ 0xf780..=0xf7ff => bytes.push((raw & 0xff) as u8),
            _ => bytes.push_char(character),
        }
    }
    bytes
}

fn to_os(bytes: &BString) -> std::ffi::OsString {
    bytes.to_os_str().unwrap().to_owned()
}

/// The time by the clock that files get theirs from, which is a little behind the precise one.
fn now() -> i64 {
    clock_gettime(ClockId::RealtimeCoarse).tv_sec
}
