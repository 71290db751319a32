//! Directories: made when their turn comes, their times set again after everything inside
//! (spec 07 §3 "Directory", §12).

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use rsync_proto::flist::{EntryFlags, EntryRef, Segment};
use rsync_proto::phase::ItemFlags;
use rsync_proto::text::{Failure, Message};

use super::alternate::Level;
use super::entry::At;
use super::judge::{item_flags, keeps_time, mtime, same_time};
use super::run::Generator;
use crate::EngineError;
use crate::confine::Stat;
use crate::meta::{Times, fake_super};

/// What is remembered of directories while their contents change.
#[derive(Debug, Default)]
pub(crate) struct Directories {
    /// Directories whose contents are skipped, because they could not be made or are not wanted.
    skipped: HashSet<Vec<u8>>,
    /// Directories that a dry run would have made.
    imagined: HashSet<Vec<u8>>,
    /// Made before their own list came up, so that they still count as new then.
    early: HashSet<Vec<u8>>,
    /// The permissions that those get back which are open to their owner while they are worked in.
    held_open: HashMap<Vec<u8>, u32>,
    /// Those to look at again when everything is done: list and place.
    later: Vec<(Arc<Segment>, usize)>,
}

impl Directories {
    /// Whether `path` lies in a directory that is skipped.
    pub(super) fn skips(&self, path: &[u8]) -> bool {
        is_below(&self.skipped, path)
    }

    /// Whether the contents of the directory at `path` are skipped.
    pub(super) fn is_skipped(&self, path: &[u8]) -> bool {
        self.skipped.contains(path) || self.skips(path)
    }

    /// Whether nothing can exist at `path` because a dry run only imagines its directory.
    pub(super) fn imagines(&self, path: &[u8]) -> bool {
        is_below(&self.imagined, path)
    }

    /// A directory was made before it came up; it still counts as new then.
    pub(super) fn made_early(&mut self, path: &[u8]) {
        self.early.insert(path.to_vec());
    }

    pub(super) fn skip(&mut self, path: Vec<u8>) {
        self.skipped.insert(path);
    }
}

fn is_below(set: &HashSet<Vec<u8>>, path: &[u8]) -> bool {
    let mut slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    !set.is_empty() && slashes.any(|(slash, _)| set.contains(&path[..slash]))
}

impl Generator<'_> {
    /// Incremental recursion: the directory of a list comes up in full when its list starts.
    pub(super) fn enter_listed_directory(&mut self, list: &Arc<Segment>) -> Result<(), EngineError> {
        let index = list.start() - 1;
        let Some((owner, place)) = self.files.holder(index) else { return Ok(()) };
        let path = owner.get(place).map(EntryRef::path).unwrap_or_default();
        let Some(at) = At::new(&owner, place, index, &path) else { return Ok(()) };
        self.process(at)?;
        self.delete_in(&at, list)
    }

    /// Incremental recursion: a directory met in its parent's list is made early, so that the times
    /// of the parent can be set when the parent is done (spec 07 §1).
    pub(super) fn prepare_directory(&mut self, at: At<'_>) -> Result<(), EngineError> {
        let options = &self.session.options;
        let early = self.makes_early();
        let skipped = self.directories.skips(at.path) || self.is_left_out(&at) || self.is_excluded(&at);
        if !early || at.path == b"." || skipped {
            return Ok(());
        }
        let is_free = match self.lstat(&at) {
            Ok(stat) if stat.is_dir() || options.ignore_existing => false,
            Ok(_) => self.make_room(&at)?,
            Err(error) => error.kind() == io::ErrorKind::NotFound && !options.existing,
        };
        if is_free {
            let (dir, name) = self.place()?.place_of(&at.entry);
            let early_mode = if self.attributes.privilege().fake { 0o700 } else { at.entry.mode() & 0o700 };
            if self.dirs.dir(dir).and_then(|dir| dir.mkdir(name, early_mode)).is_ok() {
                self.directories.made_early(at.path);
            }
        }
        Ok(())
    }

    /// Incremental recursion: whether directories are made with the list of their parent already.
    fn makes_early(&self) -> bool {
        let options = &self.session.options;
        options.times && !options.omit_dir_times && !options.dry_run
    }

    /// Makes a directory and sets its attributes (spec 07 §3 "Directory (full)").
    pub(super) fn process_directory(&mut self, at: At<'_>, stat: Option<Stat>) -> Result<(), EngineError> {
        let options = &self.session.options;
        if self.is_left_out(&at) {
            return Ok(());
        }
        let mut stat = stat;
        if stat.is_some_and(|stat| !stat.is_dir()) {
            if !self.make_room(&at)? {
                self.session.say(Message::SkippingContents);
                self.directories.skip(at.path.to_vec());
                return Ok(());
            }
            stat = None;
        }
        let early = self.directories.early.remove(at.path);
        let existing = stat.filter(|_| !early);
        let wanted = self.wanted(&at, existing.as_ref());
        let change = if existing.is_none() { ItemFlags::LOCAL_CHANGE } else { ItemFlags::default() };
        let alternate = if existing.is_none() { self.best_alternate(&at) } else { None };
        let flags = match &alternate {
            Some(candidate) => {
                if candidate.level == Level::Identical {
                    self.session.say(Message::UpToDate(&[at.path, b"/"].concat()));
                }
                self.flags_against(&at, candidate, &wanted, change)
            }
            None => {
                item_flags(&at.entry, existing.as_ref(), &wanted, change, options)
                    | self.extended_flags(&at, existing.as_ref(), &wanted)
            }
        };
        // The answer to an item with extended attributes finds the directory made.
        let answered = self.session.exchanges_xattrs(flags);
        if !answered {
            self.itemize(&at, flags, None)?;
        }
        if options.dry_run {
            if stat.is_none() {
                self.directories.imagined.insert(at.path.to_vec());
            }
            return Ok(());
        }
        if stat.is_none()
            && let Err(error) = self.make_directory(&at)
        {
            self.report(Failure::MakeDir(self.full_path(at.path)), &error);
            self.session.say(Message::SkippingContents);
            self.directories.skip(at.path.to_vec());
            return Ok(());
        }
        if let Some(candidate) = &alternate {
            self.take_xattrs(&at, candidate);
        }
        if self.set_directory_attributes(&at, existing.as_ref()) {
            self.name_directory(&at);
        }
        if answered { self.itemize(&at, flags, None) } else { Ok(()) }
    }

    /// `--no-implied-dirs`: the entry only leads to one that was asked for.
    fn is_left_out(&self, at: &At<'_>) -> bool {
        let options = &self.session.options;
        options.relative && !options.implied_dirs && at.entry.flags().has(EntryFlags::IMPLIED_DIR)
    }

    /// `--no-implied-dirs`: makes the directories that lead to an entry, where they are missing.
    pub(super) fn make_left_out_parents(&mut self, at: &At<'_>) -> io::Result<()> {
        let options = &self.session.options;
        if !options.relative || options.implied_dirs || options.dry_run {
            return Ok(());
        }
        let Some(destination) = self.destination else { return Ok(()) };
        let (dir_path, _) = destination.place_of(&at.entry);
        match self.dirs.dir(dir_path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make_parents(dir_path),
            _ => Ok(()),
        }
    }

    fn make_parents(&mut self, dir_path: &[u8]) -> io::Result<()> {
        let mut above = 0;
        for component in dir_path.split(|&byte| byte == b'/') {
            match self.dirs.dir(&dir_path[..above])?.mkdir(component, 0o777) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => above += usize::from(above > 0) + component.len(),
            }
        }
        Ok(())
    }

    fn make_directory(&mut self, at: &At<'_>) -> io::Result<()> {
        let Some(destination) = self.destination else { return Ok(()) };
        let (dir_path, name) = destination.place_of(&at.entry);
        if name == b"." {
            return Ok(());
        }
        let mode = match self.attributes.privilege().fake {
            true => fake_super::usable_dir(at.entry.mode()),
            false => at.entry.mode() & 0o7777,
        };
        let made = self.dirs.dir(dir_path).and_then(|dir| dir.mkdir(name, mode));
        match made {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.session.options.relative => {
                self.make_parents(dir_path)?;
                self.dirs.dir(dir_path)?.mkdir(name, mode)
            }
            result => result,
        }
    }

    /// Answers whether anything was to be changed.
    fn set_directory_attributes(&mut self, at: &At<'_>, existing: Option<&Stat>) -> bool {
        let mut wanted = self.wanted(at, existing);
        let usable = wanted.mode | 0o700;
        let privilege = self.attributes.privilege();
        let held_open = !privilege.root && !privilege.fake && usable != wanted.mode;
        let current = match self.lstat(at) {
            Ok(stat) => stat,
            Err(error) => {
                self.report(Failure::Stat(self.full_path(at.path)), &error);
                return false;
            }
        };
        if existing.is_none() && !self.session.options.perms {
            wanted.mode |= current.mode & 0o2000;
        }
        if held_open {
            self.directories.held_open.insert(at.path.to_vec(), wanted.mode);
            wanted.mode = usable;
        }
        let times = if existing.is_none() { Times::Exact } else { Times::Window };
        let changed = self.differs(at, &current, &wanted);
        self.apply(at, &current, &wanted, times);
        let incremental = self.session.negotiated.incremental_recursion();
        // The root has no list of its own whose end could be waited for.
        let waits = held_open && (at.path == b"." || !self.makes_early());
        let changes_later = !incremental || self.deletes_late() || waits;
        if (keeps_time(&at.entry, &self.session.options) || held_open) && changes_later {
            self.directories.later.push((Arc::clone(at.list), at.entry.place()));
        }
        changed
    }

    /// Incremental recursion: everything in the directory of `list` is done, but for directories that are made
    /// with lists of their own.
    pub(super) fn touch_up_list(&mut self, list: &Arc<Segment>) {
        if self.deletes_late() {
            return;
        }
        let Some((owner, place)) = self.files.holder(list.start() - 1) else { return };
        let path = owner.get(place).map(EntryRef::path).unwrap_or_default();
        if self.makes_early() || !self.directories.held_open.contains_key(&*path) {
            self.touch_up(&owner, place);
        }
    }

    /// Everything is done: the directories that could still change.
    pub(super) fn touch_up_rest(&mut self) {
        for (list, place) in std::mem::take(&mut self.directories.later).into_iter().rev() {
            self.touch_up(&list, place);
        }
    }

    /// Sets time and permissions of a directory that work inside it has changed.
    fn touch_up(&mut self, list: &Arc<Segment>, place: usize) {
        let options = &self.session.options;
        let path = list.get(place).map(EntryRef::path).unwrap_or_default();
        let Some(at) = At::new(list, place, 0, &path) else { return };
        let named = self.destination.is_none_or(|destination| destination.local_name.is_some());
        let skipped = self.directories.is_skipped(&path);
        if options.dry_run || options.list_only || named || skipped || self.is_left_out(&at) {
            return;
        }
        let Ok(current) = self.lstat(&at) else { return };
        if !current.is_dir() {
            return;
        }
        let mut wanted = self.wanted(&at, Some(&current));
        if let Some(mode) = self.directories.held_open.remove(&*path) {
            wanted.mode = mode;
        }
        let listed = mtime(&at.entry);
        let just_changed = current.mtime.0 >= self.started && current.mtime != listed;
        let stale = keeps_time(&at.entry, options)
            && (just_changed || !same_time(options.modify_window, current.mtime, listed));
        let privilege = self.attributes.privilege();
        let closed = !privilege.root && (current.mode ^ wanted.mode) & 0o7777 != 0;
        if stale || closed {
            self.apply(&at, &current, &wanted, Times::Exact);
        }
    }
}
