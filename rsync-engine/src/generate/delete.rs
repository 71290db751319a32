//! Deletion of what the sender does not have, in all timings, and making room (spec 07 §9).

use std::io::{self, Read};
use std::sync::Arc;

use rsync_proto::exit::IoErrorFlags;
use rsync_proto::filter::{
    DirRules, FilterNote, Filters, OpenFailure, RuleFile, RuleFiles, Side, Subject, Verdict,
};
use rsync_proto::flist::{EntryFlags, EntryRef, Kind, Order, PathKey, Segment};
use rsync_proto::options::{Debug as DebugTopic, DeleteTiming};
use rsync_proto::text::{EntryKind, Failure, KindCounts, Message, Topic};

use super::entry::At;
use super::run::Generator;
use crate::backup::Purpose;
use crate::confine::{Dir, DirStack, Stat};
use crate::destination::Destination;
use crate::{EngineError, Session};

/// Directories nested deeper than this are not descended into.
const MAX_DEPTH: usize = 1024;

/// What decides about deletions, and what was deleted.
pub(crate) struct Deleter {
    filters: Filters,
    rules: DirRules,
    counts: KindCounts,
    /// Deletions skipped because of `--max-delete`.
    skipped: u64,
    /// The sender had I/O errors: nothing more is deleted.
    stopped: bool,
    /// Decided during the transfer, done at the end (`--delete-delay`): directory, name.
    delayed: Vec<(Vec<u8>, Vec<u8>)>,
    /// Content directories seen, for a pass at the end (`--delete-after`).
    after: Vec<(Arc<Segment>, usize)>,
    /// The file system that `-x` keeps deletions on.
    device: Option<u64>,
}

/// Reads per-directory rule files from the destination.
struct DestinationRules {
    /// Kept links to directories count as directories.
    dirs: DirStack,
}

impl RuleFiles for DestinationRules {
    fn read(&mut self, file: RuleFile<'_>) -> Result<Vec<u8>, OpenFailure> {
        let refuse = |error: io::Error| OpenFailure { reason: error.to_string() };
        let RuleFile::PerDirectory { directory, name } = file else {
            return Err(refuse(io::ErrorKind::NotFound.into()));
        };
        let inside = directory.strip_prefix(b"/").unwrap_or(directory);
        let dir = self.dirs.dir(inside).map_err(refuse)?;
        let mut text = Vec::new();
        dir.open_read(name).and_then(|mut file| file.read_to_end(&mut text)).map_err(refuse)?;
        Ok(text)
    }

    fn note(&mut self, _: FilterNote) {}
}

/// What became of a directory's contents, or of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Emptied {
    Yes,
    No,
    /// `--max-delete` keeps it.
    AtLimit,
    /// `--max-delete` keeps something in it.
    ContentsAtLimit,
}

impl Deleter {
    /// Deletes what `filters` do not protect.
    pub(crate) fn new(filters: Filters) -> Self {
        let rules = filters.start(b"");
        Self {
            filters,
            rules,
            counts: KindCounts::default(),
            skipped: 0,
            stopped: false,
            delayed: Vec::new(),
            after: Vec::new(),
            device: None,
        }
    }

    /// The per-directory rules in effect inside `path`, read from the destination's own rule files.
    fn rules_in(
        &mut self,
        session: &Session,
        destination: &Destination,
        path: &[u8],
    ) -> Result<DirRules, EngineError> {
        if !self.filters.had_dir_merge() {
            return Ok(self.rules.clone());
        }
        let mut files = DestinationRules { dirs: destination.dirs(session) };
        let mut rules = self.rules.enter(&self.filters, b"", &mut files)?;
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(slash, _)| slash);
        for end in ends.chain((!path.is_empty()).then_some(path.len())) {
            rules = rules.enter(&self.filters, &path[..end], &mut files)?;
        }
        Ok(rules)
    }

    /// What was deleted so far.
    pub(crate) fn counts(&self) -> KindCounts {
        self.counts
    }

    fn count(&mut self, kind: Kind) {
        let counter = match kind {
            Kind::Dir => &mut self.counts.dirs,
            Kind::Symlink => &mut self.counts.symlinks,
            kind if kind.is_device() => &mut self.counts.devices,
            kind if kind.is_special() => &mut self.counts.specials,
            _ => &mut self.counts.files,
        };
        *counter += 1;
    }

    fn total(&self) -> u64 {
        let counts = &self.counts;
        counts.files + counts.dirs + counts.symlinks + counts.devices + counts.specials
    }
}

impl Generator<'_> {
    /// When deletions happen, with the version's own default decided. Where what is deleted may still serve
    /// as basis, that is decided before, but done at the end.
    pub(super) fn delete_timing(&self) -> DeleteTiming {
        let options = &self.session.options;
        match options.delete_mode(self.session.negotiated.is_modern()) {
            DeleteTiming::Before | DeleteTiming::During if options.detect_renamed => DeleteTiming::Delay,
            timing => timing,
        }
    }

    pub(super) fn deletes_late(&self) -> bool {
        matches!(self.delete_timing(), DeleteTiming::Delay | DeleteTiming::After)
    }

    /// `--delete-before`: a pass over the whole list before anything else.
    pub(super) fn delete_before(&mut self, list: &Arc<Segment>) -> Result<(), EngineError> {
        if self.delete_timing() != DeleteTiming::Before {
            return Ok(());
        }
        for entry in list.iter().filter(|entry| entry.is_active() && entry.is_dir()) {
            let path = entry.path();
            if let Some(at) = At::new(list, entry.place(), entry.index(), &path) {
                self.say_pass(&at);
                self.scan(&at, list)?;
            }
        }
        Ok(())
    }

    /// Says that a pass over the whole list comes to the directory of an argument.
    fn say_pass(&self, at: &At<'_>) {
        let flags = at.entry.flags();
        if flags.has(EntryFlags::TOP_DIR) && flags.has(EntryFlags::CONTENT_DIR) {
            self.session.say(Message::DeletingIn(at.path));
        }
    }

    /// A directory of the list was processed: what `list` does not have in it goes, now or later.
    pub(super) fn delete_in(&mut self, at: &At<'_>, list: &Arc<Segment>) -> Result<(), EngineError> {
        if self.directories.is_skipped(at.path) {
            return Ok(());
        }
        match self.delete_timing() {
            DeleteTiming::During | DeleteTiming::Delay => self.scan(at, list),
            DeleteTiming::After => {
                self.deleter.after.push((Arc::clone(at.list), at.entry.place()));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What was left for the end.
    pub(super) fn delete_late(&mut self) -> Result<(), EngineError> {
        for (list, place) in std::mem::take(&mut self.deleter.after) {
            let path = list.get(place).map(EntryRef::path).unwrap_or_default();
            if let Some(at) = At::new(&list, place, 0, &path) {
                self.say_pass(&at);
                self.scan(&at, &list)?;
            }
        }
        for (dir_path, name) in std::mem::take(&mut self.deleter.delayed) {
            self.delete_name(&dir_path, &name)?;
        }
        Ok(())
    }

    /// All deletions are done: says so if a limit stopped some.
    pub(super) fn end_deletions(&mut self) {
        let skipped = std::mem::take(&mut self.deleter.skipped);
        if skipped > 0 {
            self.session.say(Message::DeletionsStopped(skipped));
            self.session.errors.limit_deletions();
        }
    }

    /// Deletes, or notes for later, what the directory has and `list` does not.
    fn scan(&mut self, at: &At<'_>, list: &Arc<Segment>) -> Result<(), EngineError> {
        let Some(destination) = self.destination else { return Ok(()) };
        let content = at.entry.flags().has(EntryFlags::CONTENT_DIR);
        let nowhere = destination.local_name.is_some() || destination.imagined;
        let imagined = self.directories.imagines(&[at.path, b"/x"].concat());
        if !content || nowhere || imagined || self.deleter.stopped || self.directories.skips(at.path) {
            return Ok(());
        }
        // The passes over the whole list look at what is there first.
        let passing = matches!(self.delete_timing(), DeleteTiming::Before | DeleteTiming::After);
        if !passing && self.stops_for_errors() {
            return Ok(());
        }
        let dir_path: &[u8] = if at.path == b"." { b"" } else { at.path };
        let dir = match self.dirs.dir(dir_path).and_then(Dir::try_clone) {
            Ok(dir) => dir,
            Err(error) => {
                if !passing && error.kind() != io::ErrorKind::NotFound {
                    self.report(Failure::Opendir(self.full_path(dir_path)), &error);
                }
                return Ok(());
            }
        };
        if passing && self.stops_for_errors() {
            return Ok(());
        }
        let rules = self.deleter.rules_in(self.session, destination, dir_path)?;
        let (found, _) = self.extraneous(&dir, dir_path, list, &rules, false);
        for (name, stat) in found {
            if self.delete_timing() == DeleteTiming::Delay {
                self.deleter.delayed.push((dir_path.to_vec(), name));
            } else {
                self.delete_extraneous(&dir, dir_path, &name, &stat)?;
            }
        }
        Ok(())
    }

    /// Whether nothing is deleted any more because the sender could not read everything.
    fn stops_for_errors(&mut self) -> bool {
        let general = self.session.errors.io_error().contains(IoErrorFlags::GENERAL);
        let stops = general && !self.session.options.ignore_errors;
        if stops {
            self.session.say(Message::SkippingDeletion);
            self.deleter.stopped = true;
        }
        stops
    }

    /// The names in a directory that neither the list nor a filter accounts for, in the order they
    /// are deleted: that of a list, backwards (spec 07 §9.2); and whether a filter protects some.
    /// `deleting` says that the directory itself is going, where perishable rules do not count.
    fn extraneous(
        &mut self,
        dir: &Dir,
        dir_path: &[u8],
        list: &Segment,
        rules: &DirRules,
        deleting: bool,
    ) -> (Vec<(Vec<u8>, Stat)>, bool) {
        let names = match dir.names() {
            Ok(names) => names,
            Err(error) => {
                self.report(Failure::Opendir(self.full_path(dir_path)), &error);
                return (Vec::new(), true);
            }
        };
        let listed = |name: &[u8]| {
            let key = |is_dir| PathKey { dir: dir_path, base: name, is_dir };
            list.find(key(false)).is_some() || list.find(key(true)).is_some()
        };
        let (mut found, mut protected) = (Vec::new(), false);
        // Whoever watches the rules sees them asked about listed names as well.
        let traces = self.session.events.wants(Topic::Debug(DebugTopic::Filter, 1));
        for name in names {
            let is_listed = listed(&name);
            if is_listed && !traces {
                continue;
            }
            let path = join(dir_path, &name);
            // What cannot be told can be deleted nevertheless.
            let told = self.attributes.stat_in(dir, &name);
            let stat = match told.or_else(|_| dir.stat(&name)) {
                Ok(stat) => stat,
                Err(error) if error.kind() == io::ErrorKind::NotFound || is_listed => continue,
                Err(error) => {
                    self.report(Failure::ReadlinkStat(self.full_path(&path)), &error);
                    protected = true;
                    continue;
                }
            };
            if self.hides(&path, stat.is_dir()) {
                protected |= !is_listed;
                continue;
            }
            let subject = Subject::entry(&path, stat.is_dir());
            let filters = &self.deleter.filters;
            let decision = match deleting {
                true => filters.check_while_deleting(rules, subject),
                false => filters.check(rules, subject, Side::Receiver),
            };
            if let Some(decision) = decision.as_ref().filter(|_| traces) {
                let trace = decision.trace(subject, Side::Receiver, false);
                self.session.say(Message::FilterTrace(&trace));
            }
            if is_listed {
                continue;
            }
            if decision.is_some_and(|decision| decision.verdict == Verdict::Exclude) {
                protected = true;
            } else {
                found.push((name, stat));
            }
        }
        let order = Order::of(&self.session.negotiated);
        found.sort_by(|(a, a_stat), (b, b_stat)| {
            let key = |base, stat: &Stat| PathKey { dir: dir_path, base, is_dir: stat.is_dir() };
            order.compare(key(b, b_stat), key(a, a_stat))
        });
        (found, protected)
    }

    /// Whether a daemon's module hides what is at `path`: no client deletes it.
    fn hides(&self, path: &[u8], is_dir: bool) -> bool {
        let module = self.session.module.as_ref().zip(self.destination);
        module.is_some_and(|(module, destination)| module.excludes(&destination.module_path(path), is_dir))
    }

    /// Deletes one name that was decided about earlier.
    fn delete_name(&mut self, dir_path: &[u8], name: &[u8]) -> Result<(), EngineError> {
        let Ok(dir) = self.dirs.dir(dir_path).and_then(Dir::try_clone) else { return Ok(()) };
        match dir.stat(name) {
            Ok(stat) => self.delete_extraneous(&dir, dir_path, name, &stat),
            Err(_) => Ok(()),
        }
    }

    /// Deletes what no directory that goes as well has. One whose contents the limit keeps does not count as
    /// skipped itself, as those within it do.
    fn delete_extraneous(
        &mut self,
        dir: &Dir,
        dir_path: &[u8],
        name: &[u8],
        stat: &Stat,
    ) -> Result<(), EngineError> {
        if self.delete_entry(dir, dir_path, name, stat)? == Emptied::AtLimit {
            self.deleter.skipped += 1;
        }
        Ok(())
    }

    /// Deletes one entry, a directory with everything in it that no rule protects.
    fn delete_entry(
        &mut self,
        dir: &Dir,
        dir_path: &[u8],
        name: &[u8],
        stat: &Stat,
    ) -> Result<Emptied, EngineError> {
        let path = join(dir_path, name);
        if self.is_mount_point(stat) {
            self.session.say(Message::CannotDeleteMountPoint(&path));
            return Ok(Emptied::No);
        }
        let emptied = if stat.is_dir() { self.empty(dir, name, &path)? } else { Emptied::Yes };
        if emptied != Emptied::Yes {
            self.session.say(Message::CannotDeleteNonEmpty(&path));
            return Ok(emptied);
        }
        if !self.may_delete_one_more() {
            return Ok(Emptied::AtLimit);
        }
        if !self.session.options.dry_run {
            let (verb, result) = match (stat.is_dir(), self.keep_deleted(dir, dir_path, name)) {
                (_, Err(error)) => ("make_backup", Err(error)),
                (_, Ok(true)) => ("rename", Ok(())),
                (true, _) => ("rmdir", dir.rmdir(name)),
                (false, _) => ("unlink", dir.unlink(name)),
            };
            match result {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    self.session.say(Message::CannotDeleteNonEmpty(&path));
                    return Ok(Emptied::No);
                }
                Err(error) => {
                    self.report(Failure::Delete(verb, &path), &error);
                    return Ok(Emptied::No);
                }
            }
            if stat.is_dir() {
                self.dirs.forget();
            }
        }
        self.deleter.count(stat.kind());
        self.announce_deletion(&path, stat.is_dir());
        Ok(Emptied::Yes)
    }

    /// `--backup`: keeps what is about to be deleted; answers whether that took it away.
    fn keep_deleted(&self, dir: &Dir, dir_path: &[u8], name: &[u8]) -> io::Result<bool> {
        self.backups.as_ref().map_or(Ok(false), |backups| backups.keep(dir, dir_path, name, Purpose::Delete))
    }

    /// Removes the contents of the directory `name` in `parent`.
    fn empty(&mut self, parent: &Dir, name: &[u8], path: &[u8]) -> Result<Emptied, EngineError> {
        if !self.session.options.dry_run && !self.attributes.privilege().root {
            make_writable(parent, name);
        }
        let dir = match parent.open_dir(name) {
            Ok(dir) => dir,
            Err(error) => {
                self.report(Failure::Opendir(self.full_path(path)), &error);
                return Ok(Emptied::No);
            }
        };
        if path.iter().filter(|&&byte| byte == b'/').count() > MAX_DEPTH {
            return Ok(Emptied::No);
        }
        let Some(destination) = self.destination else { return Ok(Emptied::No) };
        let rules = self.deleter.rules_in(self.session, destination, path)?;
        let nothing = Segment::default();
        let mut emptied = Emptied::Yes;
        let (found, protected) = self.extraneous(&dir, path, &nothing, &rules, true);
        for (child, stat) in found {
            match self.delete_entry(&dir, path, &child, &stat)? {
                Emptied::Yes => {}
                Emptied::No if emptied == Emptied::ContentsAtLimit => {}
                Emptied::No => emptied = Emptied::No,
                Emptied::AtLimit | Emptied::ContentsAtLimit => {
                    self.deleter.skipped += 1;
                    emptied = Emptied::ContentsAtLimit;
                }
            }
        }
        Ok(if protected && emptied == Emptied::Yes { Emptied::No } else { emptied })
    }

    fn is_mount_point(&mut self, stat: &Stat) -> bool {
        if self.session.options.one_file_system == 0 || !stat.is_dir() {
            return false;
        }
        let device = match self.deleter.device {
            Some(device) => device,
            None => {
                let root = self.destination.map(|destination| destination.root.stat_self());
                let Some(Ok(root)) = root else { return false };
                *self.deleter.device.insert(root.dev)
            }
        };
        stat.dev != device
    }

    /// `--max-delete`: whether another deletion is allowed.
    fn may_delete_one_more(&self) -> bool {
        let limit = self.session.options.max_delete.map(|limit| limit.max(0) as u64);
        limit.is_none_or(|limit| self.deleter.total() < limit)
    }

    /// Says that something was deleted; a server's sink tells the client.
    fn announce_deletion(&self, name: &[u8], is_dir: bool) {
        self.session.say_deleted(name, is_dir);
    }

    /// An argument that the sender does not have (`--delete-missing-args`).
    pub(super) fn delete_missing(&mut self, at: &At<'_>, stat: Option<Stat>) -> Result<(), EngineError> {
        let (Some(stat), Some(destination)) = (stat, self.destination) else { return Ok(()) };
        let (dir_path, name) = destination.place_of(&at.entry);
        let Ok(dir) = self.dirs.dir(dir_path).and_then(Dir::try_clone) else { return Ok(()) };
        self.delete_extraneous(&dir, dir_path, name, &stat)
    }

    /// Something of another kind is where an entry belongs: removes it (spec 07 §9.4 "make room").
    pub(super) fn make_room(&mut self, at: &At<'_>) -> Result<bool, EngineError> {
        let Some(destination) = self.destination else { return Ok(false) };
        let (dir_path, name) = destination.place_of(&at.entry);
        let opened = self.dirs.dir(dir_path).and_then(Dir::try_clone);
        let Ok(dir) = opened else { return Ok(false) };
        let Ok(stat) = dir.stat(name) else { return Ok(true) };
        let recursive = self.delete_timing() != DeleteTiming::None || self.session.options.force;
        if stat.is_dir() && recursive && self.empty(&dir, name, at.path)? != Emptied::Yes {
            self.session.say(Message::CannotDeleteNonEmpty(at.path));
            return self.no_way(at);
        }
        if self.session.options.dry_run {
            let full = |dir: Dir| dir.names().is_ok_and(|names| !names.is_empty());
            if stat.is_dir() && !recursive && dir.open_dir(name).is_ok_and(full) {
                self.session.say(Message::CannotDeleteNonEmpty(at.path));
                return self.no_way(at);
            }
            return Ok(true);
        }
        let removed = match self.keep_deleted(&dir, dir_path, name) {
            Ok(true) => Ok(()),
            Ok(false) if stat.is_dir() => dir.rmdir(name),
            Ok(false) => dir.unlink(name),
            Err(error) => Err(error),
        };
        self.dirs.forget();
        match removed {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                self.session.say(Message::CannotDeleteNonEmpty(at.path));
                self.no_way(at)
            }
            Err(error) => {
                self.report(Failure::Delete("unlink", at.path), &error);
                self.no_way(at)
            }
        }
    }

    fn no_way(&mut self, at: &At<'_>) -> Result<bool, EngineError> {
        self.session.say(Message::CouldNotMakeWay(EntryKind::from_mode(at.entry.mode()), at.path));
        Ok(false)
    }
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

/// Lets the owner of a write-protected directory remove what is in it (spec 07 §9.4).
fn make_writable(parent: &Dir, name: &[u8]) {
    if let Ok(stat) = parent.stat(name)
        && stat.is_dir()
        && stat.mode & 0o200 == 0
    {
        // For anybody else the removal says why it fails.
        let _ = parent.chmod(name, stat.mode | 0o200);
    }
}
