//! What a transfer says, taken apart: lines for the log, failed paths for the record, numbers for the board.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bstr::{BStr, BString, ByteSlice};
use rsync_client::{Action, Operation};
use rsync_proto::options::Debug;
use rsync_proto::text::{
    Charset, Event, EventSink, Failure, Item, Message, Role, Severity, Stage, SystemFailure, Topic,
    escape_message, itemize,
};
use rustix::fs::{IFlags, ioctl_getflags};

use super::class::PathClass;
use super::context::RunContext;
use super::guard::{Survey, name_of};
use super::log::RunLog;
use super::plan::Actions;
use super::result::{FailedPath, RunResult};

/// The numbers of the system that say why a path failed.
const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EACCES: i32 = 13;
const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;

/// Which of the addresses of an upstream is used.
const ADDRESS_USED: Topic = Topic::Debug(Debug::Connect, 2);

/// Listens to a transfer.
pub(crate) struct Listener {
    log: Arc<RunLog>,
    context: RunContext,
    /// The tree that is written.
    root: PathBuf,
    failures: Mutex<Failures>,
    deleted: AtomicU64,
}

/// The paths that failed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failures {
    /// The first of them.
    pub(crate) paths: Vec<FailedPath>,
    /// How many there are.
    pub(crate) count: u64,
    /// All reasons that came up.
    pub(crate) classes: BTreeSet<PathClass>,
}

impl Listener {
    pub(crate) fn new(log: Arc<RunLog>, context: RunContext, root: PathBuf) -> Self {
        Self { log, context, root, failures: Mutex::default(), deleted: AtomicU64::new(0) }
    }

    pub(crate) fn failures(&self) -> Failures {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Deletions so far.
    pub(crate) fn deleted(&self) -> u64 {
        self.deleted.load(Ordering::Relaxed)
    }

    fn fail(&self, failure: &SystemFailure<'_>) {
        let text = self.render(|out| failure.failure.render(out));
        let joined;
        let path = match failure.failure {
            // These name a file as lists do.
            Failure::Delete(_, name) | Failure::Rename(_, name) => {
                joined = self.root.join(OsStr::from_bytes(name)).into_os_string().into_vec();
                joined.as_slice()
            }
            _ => match quoted(&text) {
                Some(path) => path,
                None => return,
            },
        };
        let class = match failure.errno {
            // Of a local upstream both sides are here.
            ENOENT if failure.role == Role::Sender => PathClass::Vanished,
            _ if failure.role == Role::Sender => PathClass::Upstream,
            EPERM if is_unchangeable(path) => PathClass::Immutable,
            EPERM | EACCES => PathClass::Permission,
            ENOSPC | EDQUOT => PathClass::NoSpace,
            _ => PathClass::Other,
        };
        self.add(path, failure.errno, class);
    }

    /// Takes an error of the peer's side apart: `rsync: [sender] ... "PATH" (in MODULE): REASON (ERRNO)`.
    fn fail_there(&self, text: &[u8]) {
        let Some(path) = quoted(text) else { return };
        let errno = text.trim_end().strip_suffix(b")").and_then(|text| text.rsplit_once_str(b"("));
        let errno = errno.and_then(|(_, errno)| errno.to_str().ok()?.parse().ok()).unwrap_or(0);
        let class = if errno == ENOENT { PathClass::Vanished } else { PathClass::Upstream };
        self.add(path, errno, class);
    }

    fn add(&self, path: &[u8], errno: i32, class: PathClass) {
        use std::os::unix::ffi::OsStrExt;
        let root = self.root.as_os_str().as_bytes();
        let below = path.strip_prefix(root).and_then(|rest| rest.strip_prefix(b"/")).unwrap_or(path);
        let path = escaped(below);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let known = failures.paths.iter().any(|failed| failed.path == path);
        failures.classes.insert(class);
        if known {
            return;
        }
        failures.count += 1;
        if failures.paths.len() < RunResult::MAX_FAILED {
            failures.paths.push(FailedPath { path, errno, class });
        }
    }

    fn render(&self, render: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut text = Vec::new();
        render(&mut text);
        text
    }
}

impl EventSink for Listener {
    fn wants(&self, topic: Topic) -> bool {
        let own = matches!(topic, Topic::Always | Topic::Items | Topic::Deletions | Topic::Progress);
        let own = own || topic == ADDRESS_USED;
        own || self.context.events.as_ref().is_some_and(|events| events.wants(topic))
    }

    fn emit(&self, event: Event<'_>) {
        match event {
            Event::Message(message) => {
                if let Message::Failed(failure) = &message {
                    self.fail(failure);
                }
                self.log.bytes(message.severity(), &self.render(|out| message.render(out)));
            }
            Event::PeerText { severity, text } => {
                if matches!(severity, Severity::Error | Severity::TransferError) {
                    self.fail_there(text);
                }
                text.lines().for_each(|line| self.log.bytes(severity, line));
            }
            Event::Item { stage: Stage::Done, item } => self.log.bytes(Severity::Info, &item_line(item)),
            Event::Deleted { name, is_dir } => {
                self.deleted.fetch_add(1, Ordering::Relaxed);
                let slash: &[u8] = if is_dir { b"/" } else { b"" };
                self.log.bytes(Severity::Info, &[b"*deleting   ", name, slash].concat());
            }
            _ => {}
        }
        self.context.progress.note(self.context.clock.as_ref(), &event);
        if let Some(events) = &self.context.events {
            events.emit(event);
        }
    }
}

fn item_line(item: &Item<'_>) -> Vec<u8> {
    let mut line = itemize(item, true).to_vec();
    line.push(b' ');
    line.extend_from_slice(item.entry.name);
    if let Some(target) = item.entry.target {
        line.extend_from_slice(b" -> ");
        line.extend_from_slice(target);
    } else if let Some(leader) = item.xname.filter(|name| !name.is_empty()) {
        line.extend_from_slice(b" => ");
        line.extend_from_slice(leader);
    }
    line
}

/// The first text in double quotes.
fn quoted(text: &[u8]) -> Option<&[u8]> {
    let (_, rest) = text.split_once_str(b"\"")?;
    rest.rsplit_once_str(b"\"").map(|(all, _)| all.split_once_str(b"\" ").map_or(all, |(path, _)| path))
}

fn escaped(path: &[u8]) -> String {
    let mut text = Vec::new();
    escape_message(path, Charset::Utf8, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Whether a file, or the directory that holds it, is immutable or append-only. A temporary name is gone by
/// now; the file it stood for is meant.
fn is_unchangeable(path: &[u8]) -> bool {
    let Ok(path) = path.to_path() else { return false };
    let real = of_temporary(path).unwrap_or_else(|| path.to_owned());
    has_flag(&real) || real.parent().is_some_and(has_flag)
}

/// The name that `.NAME.XXXXXX` is temporary for.
fn of_temporary(path: &Path) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let name = path.file_name()?.as_bytes().strip_prefix(b".")?;
    let (name, chance) = name.rsplit_once_str(b".")?;
    (chance.len() == 6 && !name.is_empty()).then(|| path.with_file_name(BStr::new(name).to_os_str_lossy()))
}

fn has_flag(path: &Path) -> bool {
    // What is no regular file or directory has no flags, and opening it might wait.
    let is_plain = path.symlink_metadata().is_ok_and(|facts| facts.is_file() || facts.is_dir());
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    is_plain
        && std::fs::File::options().read(true).custom_flags(flags).open(path).is_ok_and(|file| {
            ioctl_getflags(&file).is_ok_and(|flags| flags.intersects(IFlags::IMMUTABLE | IFlags::APPEND))
        })
}

/// The path of the file that a failed path means: itself, or the one that it is a temporary name of.
pub(crate) fn file_of(path: &str) -> String {
    let real = of_temporary(Path::new(path));
    real.map_or_else(|| path.to_owned(), |real| real.to_string_lossy().into_owned())
}

/// Counts what a dry run says.
pub(crate) struct Surveyor {
    listener: Listener,
    survey: Mutex<Survey>,
    must_have: BTreeSet<BString>,
    canary: Option<BString>,
    actions: Option<Actions>,
}

impl Surveyor {
    pub(crate) fn new(
        listener: Listener,
        must_have: &[String],
        canary: Option<&str>,
        actions: Option<Actions>,
    ) -> Self {
        Self {
            listener,
            survey: Mutex::default(),
            must_have: must_have.iter().map(|path| name_of(path).into()).collect(),
            canary: canary.map(|path| name_of(path).into()),
            actions,
        }
    }

    pub(crate) fn survey(&self) -> Survey {
        self.survey.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn failures(&self) -> Failures {
        self.listener.failures()
    }
}

impl EventSink for Surveyor {
    fn wants(&self, topic: Topic) -> bool {
        matches!(topic, Topic::Always | Topic::Items | Topic::Deletions) || topic == ADDRESS_USED
    }

    fn emit(&self, event: Event<'_>) {
        if let Event::Item { stage: Stage::Done, item } = event {
            let name = BStr::new(item.entry.name);
            let mut survey = self.survey.lock().unwrap_or_else(PoisonError::into_inner);
            if self.must_have.contains(name) {
                survey.found.insert(name.to_string());
            }
            if self.canary.as_ref().is_some_and(|canary| canary == name) {
                survey.canary = Some(item.entry.mtime);
            }
        }
        if let Some(action) = Action::of(&event) {
            let mut survey = self.survey.lock().unwrap_or_else(PoisonError::into_inner);
            match &action.operation {
                Operation::Create => {
                    survey.created += 1;
                    survey.bytes += action.size;
                }
                Operation::Update(_) => {
                    survey.updated += 1;
                    survey.bytes += action.size;
                }
                Operation::Link { .. } => survey.created += 1,
                Operation::Delete => survey.deleted += 1,
                _ => survey.adjusted += 1,
            }
            drop(survey);
            if let Some(actions) = &self.actions {
                actions(action);
            }
        }
        match event {
            Event::Finished(totals) => {
                self.survey.lock().unwrap_or_else(PoisonError::into_inner).totals = *totals;
            }
            Event::Message(_) | Event::PeerText { .. } => self.listener.emit(event),
            event => self.listener.context.progress.note(self.listener.context.clock.as_ref(), &event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_an_error_is_what_stands_in_quotes() {
        let text = b"rsync: [sender] send_files failed to open \"a b/c\" (in m): Permission denied (13)";
        assert_eq!(quoted(text), Some(&b"a b/c"[..]));
        let text = b"rename \"/d/.hosts.AbCdEf\" -> \"hosts\"";
        assert_eq!(quoted(text), Some(&b"/d/.hosts.AbCdEf"[..]));
        assert_eq!(quoted(b"file has vanished"), None);
    }

    #[test]
    fn a_temporary_name_stands_for_its_file() {
        let of = |path: &str| of_temporary(Path::new(path));
        assert_eq!(of("/d/.hosts.AbCdEf"), Some("/d/hosts".into()));
        assert_eq!(of("/d/.a.b.AbCdEf"), Some("/d/a.b".into()));
        assert_eq!(of("/d/.bashrc"), None);
    }
}
