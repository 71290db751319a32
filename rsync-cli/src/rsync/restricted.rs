//! The restricted command of an `authorized_keys` file (spec 08 §15, 10 §3.13): `rrsync`, or
//! `rsync --restricted`.
//!
//! What the other side asks for is checked word by word. Then this very process gives up every file but
//! those in the directory (by Landlock) and serves in it, so that no link and no race leads out of it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bstr::{BString, ByteSlice};
use rsync_engine::scan::{TooManyNames, expand_wildcards};
use rsync_engine::tree::LocalTree;
use rsync_engine::{Dir, Enforced, Sandbox};
use rsync_proto::exit::ExitCode;
use rsync_proto::filter::{Filters, Wildcard};
use rsync_proto::options::{RESTRICTED_HELP, RestrictedError, RestrictedLine, RestrictedWord, Restriction};
use rsync_proto::text::escape_log;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};

use crate::{print, say_error, variable, zone};

/// Files outside of the directory that the C library reads for names of users and groups.
const NAMES: &[&str] = &[
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/var/lib/sss",
];

/// Why a restricted run does not begin.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Words(#[from] RestrictedError),
    #[error("Restricted directory does not exist!")]
    NoDirectory,
    #[error("Another instance of rrsync is already accessing this directory.")]
    Locked,
    #[error("Not invoked via sshd\nUse 'command=\"rrsync {0}\"' in front of a key in authorized_keys.")]
    NotOverSsh(BString),
    #[error("unsafe arg: {path} ['{}', '{place}']", path.trim_end_with(|last| last == '/').as_bstr())]
    Unsafe { path: BString, place: BString },
    #[error("receiver option path does not exist: {0}")]
    NoPlace(BString),
    #[error(transparent)]
    Names(#[from] TooManyNames),
    #[error("this kernel has no Landlock, which keeps the transfer in the directory")]
    Unconfined,
    #[error("cannot use the restricted directory {path}: {source}")]
    Directory { path: BString, source: io::Error },
}

/// Serves the command of the other side in one directory. `program` is how this one was called.
pub(crate) fn run(program: &str, words: &[BString]) -> ExitCode {
    let restriction = match Restriction::parse(words) {
        Ok(RestrictedLine::Help) => return print(RESTRICTED_HELP),
        Ok(RestrictedLine::Serve(restriction)) => restriction,
        Err(error) => return refuse(program, &error.into()),
    };
    match prepare(&restriction) {
        Ok(Some(prepared)) => prepared.serve(),
        Ok(None) => ExitCode::OK,
        Err(error) => refuse(program, &error),
    }
}

fn refuse(program: &str, error: &Refusal) -> ExitCode {
    say_error(&format!("{program} error: {error}"));
    if io::stdin().is_terminal() {
        say_error(RESTRICTED_HELP.trim_end());
    }
    ExitCode::SYNTAX
}

/// A server that may begin.
struct Prepared {
    words: Vec<BString>,
    /// Held while it runs.
    _lock: Option<File>,
}

impl Prepared {
    fn serve(self) -> ExitCode {
        crate::run(&self.words)
    }
}

/// Checks everything and enters the sandbox; `None` if there is nothing to run.
fn prepare(restriction: &Restriction) -> Result<Option<Prepared>, Refusal> {
    let given = &restriction.directory;
    let root = path(given).canonicalize().map_err(|_| Refusal::NoDirectory)?;
    let unusable = |source: io::Error| Refusal::Directory { path: given.clone(), source };
    let directory = File::open(&root).map_err(unusable)?;
    if !directory.metadata().map_err(unusable)?.is_dir() {
        return Err(Refusal::NoDirectory);
    }
    let command = variable("SSH_ORIGINAL_COMMAND").unwrap_or_default();
    if command.is_empty() {
        return Err(Refusal::NotOverSsh(given.clone()));
    }
    if command == "true" {
        return Ok(None);
    }
    let lock = if restriction.no_lock { None } else { Some(lock(&directory)?) };
    let root_name = BString::from(root.as_os_str().as_bytes());
    let checked = restriction.check(&command, &root_name)?;

    let mut words: Vec<BString> = vec!["--server".into()];
    if checked.sender {
        words.push("--sender".into());
    }
    for word in checked.words {
        match word {
            RestrictedWord::Plain(word) => words.push(word),
            RestrictedWord::Path { option, path } => {
                let place = place(&root, &path)?;
                if option == "--temp-dir" && !place.is_dir() {
                    return Err(Refusal::NoPlace(path));
                }
                words.push([option.as_bytes(), b"=", place.as_os_str().as_bytes()].concat().into());
            }
        }
    }
    words.extend(["--", "."].map(BString::from));
    let mut paths = checked.paths;
    if paths.is_empty() {
        paths.push(".".into());
    }
    if paths.iter().any(|path| Wildcard::is_wild(path)) {
        let tree = LocalTree::confined(Dir::open(&root).map_err(unusable)?);
        let asked: Vec<Vec<u8>> = paths.into_iter().map(Vec::from).collect();
        let found = expand_wildcards(&tree, &Filters::default(), &asked, true)?;
        paths = found.into_iter().map(BString::from).collect();
    }
    for path in &paths {
        place(&root, path)?;
    }
    // No word that follows `--` is an option, and no path is absolute: it begins in the directory.
    words.extend(paths);
    note(&command);
    std::env::set_current_dir(&root).map_err(unusable)?;
    enter(&directory, restriction.read_only).map_err(unusable)?;
    Ok(Some(Prepared { words, _lock: lock }))
}

/// The real place of a path below `root`, which need not exist.
fn place(root: &Path, relative: &BString) -> Result<PathBuf, Refusal> {
    let mut existing = root.join(path(relative));
    let mut missing = Vec::new();
    let mut found = loop {
        match existing.canonicalize() {
            Ok(found) => break found,
            Err(_) => {
                missing.extend(existing.file_name().map(OsStr::to_owned));
                if !existing.pop() {
                    break root.to_owned();
                }
            }
        }
    };
    found.extend(missing.iter().rev());
    if found.starts_with(root) {
        return Ok(found);
    }
    let place = BString::from(found.as_os_str().as_bytes());
    Err(Refusal::Unsafe { path: relative.clone(), place })
}

fn lock(directory: &File) -> Result<File, Refusal> {
    let lock = directory.try_clone().map_err(|_| Refusal::Locked)?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| Refusal::Locked)?;
    Ok(lock)
}

fn enter(directory: &File, read_only: bool) -> io::Result<()> {
    let mut sandbox =
        if read_only { Sandbox::new().read(directory)? } else { Sandbox::new().write(directory)? };
    for name in NAMES {
        // What is missing here nobody will look for.
        if let Ok(file) = open(*name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            sandbox = sandbox.read(file)?;
        }
    }
    match sandbox.enter()? {
        Enforced::Nothing => Err(io::Error::other(Refusal::Unconfined)),
        Enforced::Fully | Enforced::Partly => Ok(()),
    }
}

/// Appends the command to `rrsync.log` in the directory the session starts in, if that is a regular file.
fn note(command: &BString) {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(log) = open("rrsync.log", flags, Mode::empty()) else { return };
    let mut log = File::from(log);
    if !log.metadata().is_ok_and(|found| found.file_type().is_file() && found.nlink() == 1) {
        return;
    }
    let connection = variable("SSH_CONNECTION").unwrap_or_default();
    let host = connection.split_str(" ").next().unwrap_or_default().as_bstr();
    let time = zone::clock_time();
    let mut line = format!("{time} {host:<16} ").into_bytes();
    escape_log(command, &mut line);
    line.push(b'\n');
    // Nobody could be told that the log cannot be written.
    let _ = log.write_all(&line);
}

fn path(name: &BString) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

/// Whether this program was called by the name of the restricted command.
pub(crate) fn is_called(program: &OsStr) -> bool {
    Path::new(program).file_name() == Some(OsStr::new("rrsync"))
}
