//! Listing one directory: names, filters, mount points, links (spec 03 §4, spec 06 §5, §9.2).

use std::io;
use std::sync::Arc;

use rsync_proto::exit::IoErrorFlags;
use rsync_proto::filter::{DirRules, Filters, MAX_PATH, Side, Subject, Verdict};
use rsync_proto::flist::{EntryFlags, Kind};
use rsync_proto::options::Debug;
use rsync_proto::text::{Failure, Message, Topic};
use rustix::io::Errno;

use super::facts::{Spot, is_errno};
use super::files::{DirectoryFiles, join};
use super::lists::{Deeper, ListUnderWay, Scan};
use super::request::Origin;
use crate::error::EngineError;
use crate::tree::{TreeDir, TreeStat};

/// The names of a directory, without an allocation for each.
#[derive(Default)]
pub(super) struct NameBuffer {
    text: Vec<u8>,
    /// End of each name in `text`, and its kind if known.
    ends: Vec<(usize, Option<Kind>)>,
}

impl NameBuffer {
    fn read(&mut self, dir: &dyn TreeDir) -> io::Result<()> {
        self.text.clear();
        self.ends.clear();
        dir.names(&mut |name, kind| {
            self.text.extend_from_slice(name);
            self.ends.push((self.text.len(), kind));
        })
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], Option<Kind>)> {
        let mut start = 0;
        self.ends.iter().map(move |&(end, kind)| {
            let name = &self.text[start..end];
            start = end;
            (name, kind)
        })
    }
}

/// The directory whose names are being added.
struct Here<'a> {
    dir: &'a dyn TreeDir,
    origin: u32,
    /// Its path in the transfer.
    path: &'a [u8],
    root: &'a [u8],
    rules: &'a DirRules,
    /// The file system to stay on.
    device: Option<u64>,
    /// Whether directories in it are listed too.
    recurse: bool,
}

impl Scan {
    /// Adds what is in the directory `path` (of any depth without incremental recursion, as far as the
    /// options say). A directory that cannot be read is reported and has no contents.
    pub(super) fn add_contents(
        &mut self,
        list: &mut ListUnderWay<'_>,
        origin: u32,
        path: &[u8],
        parent: &DirRules,
        recurse: bool,
    ) -> Result<(), EngineError> {
        let rules = self.add_one_level(list, origin, path, parent, recurse)?;
        list.rules.push((origin, rules));
        while let Some(Deeper { path, origin, rules }) = list.deeper.pop() {
            self.add_one_level(list, origin, &path, &rules, recurse)?;
        }
        Ok(())
    }

    /// Answers the rules in effect inside the directory.
    fn add_one_level(
        &mut self,
        list: &mut ListUnderWay<'_>,
        origin: u32,
        path: &[u8],
        parent: &DirRules,
        recurse: bool,
    ) -> Result<DirRules, EngineError> {
        let opened = self.open_under(self.origin_at(origin), path);
        let dir = match opened {
            Ok(dir) => dir,
            Err(error) => {
                self.report_unreadable(origin, path, &error);
                return Ok(parent.clone());
            }
        };
        let itself = dir.stat(b".", false);
        // Where no link is followed, a directory that may not be searched is not read either.
        if let Err(error) = &itself
            && error.kind() == io::ErrorKind::PermissionDenied
            && !self.examiner.follows_links()
        {
            self.report_unreadable(origin, path, error);
            return Ok(parent.clone());
        }
        let rules = self.enter(origin, path, parent, Some(&dir))?;
        let limited = self.session().options.one_file_system > 0;
        let device = itself.ok().filter(|_| limited).map(|found| found.stat.dev);
        let mut names = std::mem::take(&mut self.names);
        if let Err(error) = names.read(&*dir) {
            let place = self.examiner.place_at(&self.origin_at(origin).absolute, path);
            self.examiner.io_error(IoErrorFlags::GENERAL);
            let denied = is_errno(&error, Errno::ACCESS);
            let failure = if denied { Failure::Opendir(place) } else { Failure::Readdir(place) };
            self.examiner.fail(failure, &error);
        }
        let root = self.origin_at(origin).absolute.clone();
        let here = Here { dir: &*dir, origin, path, root: &root, rules: &rules, device, recurse };
        let first_deeper = list.deeper.len();
        let added = names.iter().try_for_each(|(name, kind)| self.add_name(list, &here, name, kind));
        self.names = names;
        added?;
        list.deeper[first_deeper..].reverse();
        Ok(rules)
    }

    fn add_name(
        &mut self,
        list: &mut ListUnderWay<'_>,
        here: &Here<'_>,
        name: &[u8],
        kind: Option<Kind>,
    ) -> Result<(), EngineError> {
        let mut path = std::mem::take(&mut self.entry.path);
        path.clear();
        put_joined(&mut path, here.path, name);
        let spot = Spot { dir: here.dir, name, path: &path, root: here.root };
        let found = self.select(here, spot, kind);
        let keep = match &found {
            Some((found, flags)) => self.fill(spot, here.origin, found, *flags),
            None => false,
        };
        let incremental = self.session().negotiated.incremental_recursion();
        let descend = found.is_some_and(|(_, flags)| flags.has(EntryFlags::CONTENT_DIR)) && !incremental;
        if keep && descend {
            let (path, rules) = (path.clone(), here.rules.clone());
            list.deeper.push(Deeper { path, origin: here.origin, rules });
        }
        self.entry.path = path;
        if keep { self.push(list) } else { Ok(()) }
    }

    /// Whether a name takes part: what it is, and how its contents do.
    fn select(&self, here: &Here<'_>, spot: Spot<'_>, kind: Option<Kind>) -> Option<(TreeStat, EntryFlags)> {
        if spot.path.len() >= MAX_PATH {
            self.examiner.io_error(IoErrorFlags::GENERAL);
            let excess = spot.path.len() + 1 - MAX_PATH;
            self.examiner.say(Message::PathOverflow(excess, spot.path));
            return None;
        }
        // A kind known for free spares looking at what is excluded.
        let known = kind.filter(|kind| *kind != Kind::Symlink || !self.examiner.follows_links());
        if known.is_some_and(|kind| self.excludes(here.rules, spot.path, kind == Kind::Dir)) {
            return None;
        }
        // What cannot be looked at may be excluded as either kind.
        let excluded = |is_dir| self.excludes(here.rules, spot.path, is_dir);
        let found = self.examiner.look(spot, || excluded(false) || excluded(true))?;
        let is_dir = found.stat.is_dir();
        if known.is_none_or(|kind| (kind == Kind::Dir) != is_dir)
            && self.excludes(here.rules, spot.path, is_dir)
        {
            return None;
        }
        if found.stat.mode == 0 {
            self.examiner.say(Message::ZeroMode(self.examiner.place(spot)));
            return None;
        }
        if !is_dir {
            return Some((found, EntryFlags::NONE));
        }
        let elsewhere = here.device.is_some_and(|device| device != found.stat.dev);
        if elsewhere && self.session().options.one_file_system > 1 {
            self.examiner.say(Message::SkippingMountPoint(spot.path));
            return None;
        }
        let listed = here.recurse && !elsewhere;
        Some((found, if listed { EntryFlags::CONTENT_DIR } else { EntryFlags::NONE }))
    }

    /// Fills [`Self::entry`] but for its path; `false` after an error was reported.
    pub(super) fn fill(&mut self, spot: Spot<'_>, origin: u32, found: &TreeStat, flags: EntryFlags) -> bool {
        self.entry.clear();
        self.entry.flags = flags;
        self.entry.origin = origin;
        self.examiner.describe(spot, found, &mut self.entry)
    }

    /// Whether the module's or the user's filters exclude `path`.
    pub(super) fn excludes(&self, rules: &DirRules, path: &[u8], is_dir: bool) -> bool {
        self.module_excludes(rules, path, is_dir)
            || (!self.filters.is_empty() && self.decides_against(&self.filters, false, rules, path, is_dir))
    }

    pub(super) fn module_excludes(&self, rules: &DirRules, path: &[u8], is_dir: bool) -> bool {
        let Some(filters) = &self.module_filters else { return false };
        self.decides_against(filters, true, &filters.start(rules.current_dir()), path, is_dir)
    }

    fn decides_against(
        &self,
        filters: &Filters,
        daemon: bool,
        rules: &DirRules,
        path: &[u8],
        is_dir: bool,
    ) -> bool {
        let subject = Subject::entry(path, is_dir);
        let Some(decision) = filters.check(rules, subject, Side::Sender) else { return false };
        if self.session().events.wants(Topic::Debug(Debug::Filter, 1)) {
            self.examiner.say(Message::FilterTrace(&decision.trace(subject, Side::Sender, daemon)));
        }
        decision.verdict == Verdict::Exclude
    }

    /// The rules in effect inside the directory `path`, given those around it.
    pub(super) fn enter(
        &mut self,
        origin: u32,
        path: &[u8],
        parent: &DirRules,
        dir: Option<&Arc<dyn TreeDir>>,
    ) -> Result<DirRules, EngineError> {
        if parent.is_empty() {
            return Ok(parent.clone());
        }
        let root = &self.origin_at(origin).absolute;
        let directory = if matches!(path, b"." | b"") { root.clone() } else { join(root, path) };
        let mut files = DirectoryFiles {
            session: self.session(),
            tree: &*self.tree,
            dir: dir.cloned().or_else(|| self.open_under(self.origin_at(origin), path).ok()),
            directory: &directory,
            root,
        };
        let mut scanned = None;
        if self.start_rules.is_none() {
            scanned = Some(parent.scan_ancestors(&self.filters, path, &mut files)?);
        }
        let rules = scanned.as_ref().unwrap_or(parent).enter(&self.filters, path, &mut files)?;
        if scanned.is_some() {
            self.start_rules = scanned;
        }
        Ok(rules)
    }

    /// Opens the directory `path` of the transfer.
    pub(super) fn open_under(&self, origin: &Origin, path: &[u8]) -> io::Result<Arc<dyn TreeDir>> {
        let below = path.strip_prefix(b"/").unwrap_or(path);
        origin.dir.open_dir(below, origin.follows || self.examiner.follows_links())
    }

    fn report_unreadable(&self, origin: u32, path: &[u8], error: &io::Error) {
        let place = self.examiner.place_at(&self.origin_at(origin).absolute, path);
        if is_errno(error, Errno::NOENT) {
            self.examiner.io_error(IoErrorFlags::VANISHED);
            self.examiner.say(Message::DirectoryVanished(place));
        } else {
            self.examiner.io_error(IoErrorFlags::GENERAL);
            self.examiner.fail(Failure::Opendir(place), error);
        }
    }

    pub(super) fn origin_at(&self, origin: u32) -> &Origin {
        &self.origins[origin as usize]
    }
}

/// Appends the path in the transfer of `name` in the directory `dir`.
pub(super) fn put_joined(out: &mut Vec<u8>, dir: &[u8], name: &[u8]) {
    match dir {
        b"" | b"." => {}
        b"/." => out.push(b'/'),
        _ => {
            out.extend_from_slice(dir);
            out.push(b'/');
        }
    }
    out.extend_from_slice(name);
}
