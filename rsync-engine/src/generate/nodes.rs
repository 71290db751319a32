//! Symlinks, devices, specials and further hard links: made without the sender's help (spec 07 §3,
//! §6.4, §10).

use std::io;
use std::sync::Arc;

use bstr::BString;
use rsync_proto::flist::{EntryRef, Kind};
use rsync_proto::phase::ItemFlags;
use rsync_proto::text::{Failure, Message};

use super::alternate::Level;
use super::entry::At;
use super::judge::item_flags;
use super::links::Admission;
use super::run::Generator;
use crate::EngineError;
use crate::backup::Purpose;
use crate::confine::{Dir, Stat};
use crate::meta::{Times, fake_super};

/// Temporary names tried before giving up.
const TRIES: u32 = 100;

impl Generator<'_> {
    /// Brings a symlink, device or special into place.
    pub(super) fn process_node(&mut self, at: At<'_>, stat: Option<Stat>) -> Result<(), EngineError> {
        let options = &self.session.options;
        let target = at.entry.target().unwrap_or_default();
        if at.entry.kind() == Kind::Symlink && options.safe_links && crate::scan::is_unsafe(target, at.path) {
            self.session.say(Message::IgnoringUnsafeSymlink(at.path, target));
            return self.drop_member(&at);
        }
        let equal = stat.filter(|stat| self.is_equal_node(&at, stat));
        let wanted = self.wanted(&at, equal.as_ref());
        if let Some(stat) = &equal {
            let flags = item_flags(&at.entry, Some(stat), &wanted, ItemFlags::default(), options)
                | self.extended_flags(&at, Some(stat), &wanted);
            let changed = match options.dry_run {
                true => flags.is_significant(),
                false => self.apply(&at, stat, &wanted, Times::Window),
            };
            self.say_kept(&at, changed);
            self.itemize(&at, flags, None)?;
            self.succeed_unsent(at.index)?;
            return self.member_in_place(&at);
        }
        let alternate = if stat.is_none() { self.best_alternate(&at) } else { None };
        if let Some(candidate) = &alternate
            && self.settle_node(&at, candidate)?
        {
            return Ok(());
        }
        let in_the_way = stat.filter(|stat| !stat.is_dir());
        if stat.is_some() && in_the_way.is_none() && !self.make_room(&at)? {
            return self.drop_member(&at);
        }
        let same_class = stat.filter(|stat| class(stat.kind()) == class(at.entry.kind()));
        if !options.dry_run
            && let Err(error) = self.make_node(&at, in_the_way.is_some())
        {
            let place = self.full_path(at.path);
            let failure = match at.entry.kind() {
                Kind::Symlink => Failure::Symlink(place, target),
                _ => Failure::Mknod(place),
            };
            self.report(failure, &error);
            return self.drop_member(&at);
        }
        if let (Some(candidate), false) = (&alternate, options.dry_run) {
            self.take_xattrs(&at, candidate);
        }
        let changed = ItemFlags::LOCAL_CHANGE | ItemFlags::REPORT_CHANGE;
        let flags = match &alternate {
            Some(candidate) if candidate.level == Level::Identical => {
                self.session.say(Message::UpToDate(at.path));
                self.flags_against(&at, candidate, &wanted, ItemFlags::LOCAL_CHANGE)
            }
            Some(candidate) => self.flags_against(&at, candidate, &wanted, changed),
            None => {
                item_flags(&at.entry, same_class.as_ref(), &wanted, changed, options)
                    | self.extended_flags(&at, same_class.as_ref(), &wanted)
            }
        };
        self.itemize(&at, flags, None)?;
        // Of what needs no data, only links count as sent.
        match at.entry.kind() {
            Kind::Symlink => self.succeed(at.index)?,
            _ => self.succeed_unsent(at.index)?,
        }
        self.member_in_place(&at)
    }

    pub(super) fn is_equal_node(&mut self, at: &At<'_>, stat: &Stat) -> bool {
        let attributes = self.attributes.clone();
        is_equal_node(&at.entry, stat, || self.in_place(at, |dir, name| attributes.read_link(dir, name)))
    }

    /// Runs `action` on the directory and name of an entry.
    pub(super) fn in_place<T>(
        &mut self,
        at: &At<'_>,
        action: impl FnOnce(&Dir, &[u8]) -> io::Result<T>,
    ) -> io::Result<T> {
        let Some(destination) = self.destination else { return Err(io::ErrorKind::NotFound.into()) };
        let (dir_path, name) = destination.place_of(&at.entry);
        let dir = self.dirs.dir(dir_path)?;
        let may_lead = self.session.options.keep_dirlinks && at.entry.is_dir() && name != b".";
        if may_lead && dir.stat(name).is_ok_and(|stat| stat.kind() == Kind::Symlink) {
            let path = if dir_path.is_empty() { name } else { at.path };
            return action(self.dirs.dir(path)?, b".");
        }
        action(dir, name)
    }

    /// Makes the node under a temporary name, sets its attributes, and renames it over what is there.
    fn make_node(&mut self, at: &At<'_>, replaces: bool) -> io::Result<()> {
        let entry = at.entry;
        let fake = self.attributes.privilege().fake;
        let kept = if replaces { self.keep_replaced(at) } else { Ok(()) };
        let made = kept.and_then(|()| {
            self.in_place(at, |dir, name| {
                replace(dir, name, |temp| match entry.kind() {
                    _ if fake => fake_super::make_node(dir, temp, &entry),
                    Kind::Symlink => dir.symlink(entry.target().unwrap_or_default(), temp),
                    _ => dir.mknod(temp, entry.mode() & !0o7077, entry.rdev()),
                })
            })
        });
        if made.is_ok()
            && let Ok(current) = self.lstat(at)
        {
            let wanted = self.wanted(at, None);
            self.apply(at, &current, &wanted, Times::Exact);
        }
        made
    }

    /// `--backup`: keeps what is about to be replaced.
    fn keep_replaced(&mut self, at: &At<'_>) -> io::Result<()> {
        let (Some(backups), Some(destination)) = (&self.backups, self.destination) else { return Ok(()) };
        let (dir_path, name) = destination.place_of(&at.entry);
        let dir = self.dirs.dir(dir_path)?;
        backups.keep(dir, dir_path, name, Purpose::Replace).map(drop)
    }

    /// What to do with an entry that belongs to a hard-link group; others are simply processed.
    pub(super) fn admit_member(&mut self, at: &At<'_>) -> Admission {
        let Some(group) = self.group_of(at).filter(|_| !self.in_redo) else { return Admission::Process };
        let admission = self.links.admit(group, at.index);
        if admission == Admission::Wait {
            self.hold(at.index);
        }
        admission
    }

    fn group_of(&self, at: &At<'_>) -> Option<u32> {
        at.entry.link().filter(|_| self.session.options.hard_links > 0).map(|link| link.group)
    }

    /// Whether a later member of the group in the same list may be transferred instead.
    pub(super) fn may_postpone(&self, at: &At<'_>) -> bool {
        !self.in_redo
            && !self.forced
            && self.group_of(at).is_some_and(|group| self.has_later_member(at, group))
    }

    fn has_later_member(&self, at: &At<'_>, group: u32) -> bool {
        let here = (at.list.start(), at.entry.place());
        self.last_members.get(&group).is_some_and(|&last| last > here)
    }

    pub(super) fn postpone_member(&mut self, at: &At<'_>) -> Result<(), EngineError> {
        if let Some(group) = self.group_of(at) {
            self.links.postpone(group, at.index);
            self.hold(at.index);
        }
        Ok(())
    }

    /// The entry keeps its list unfinished although nothing is requested.
    fn hold(&mut self, index: u32) {
        if self.ledger.request(index, "generator").is_ok() {
            self.held += 1;
        }
    }

    fn let_go(&mut self, index: u32) {
        if self.ledger.resolve(index, "generator").is_ok() {
            self.held -= 1;
        }
    }

    pub(super) fn member_requested(&mut self, at: &At<'_>) {
        if let Some(group) = self.group_of(at) {
            self.links.requested(group, at.index);
        }
    }

    /// A member is in place: everybody who waited for it is linked to it.
    pub(super) fn member_in_place(&mut self, at: &At<'_>) -> Result<(), EngineError> {
        let Some(group) = self.group_of(at) else { return Ok(()) };
        let leader = BString::from(at.path);
        for index in self.links.finished(group, leader.clone()) {
            self.let_go(index);
            self.with_entry(index, |generator, follower| {
                let stat = generator.lstat(&follower).ok();
                generator.link_to(&follower, &leader, stat, true)
            })?;
        }
        Ok(())
    }

    /// An entry will not be in place; if others of its group counted on it, one of them is processed.
    pub(super) fn drop_member(&mut self, at: &At<'_>) -> Result<(), EngineError> {
        let Some(group) = self.group_of(at) else { return Ok(()) };
        let more_to_come = self.has_later_member(at, group);
        let Some(next) = self.links.dropped(group, at.index, more_to_come) else { return Ok(()) };
        self.let_go(next);
        self.with_entry(next, |generator, member| {
            let stat = generator.lstat(&member).ok();
            let was = std::mem::replace(&mut generator.forced, true);
            let result = generator.process_file(member, stat);
            generator.forced = was;
            result
        })
    }

    fn resolve(&mut self, index: u32) -> Result<(), EngineError> {
        if self.delayed.remove(&index) {
            self.held -= 1;
        }
        Ok(self.ledger.resolve(index, "generator")?)
    }

    /// The receiver has put a requested file into place.
    pub(super) fn finished(&mut self, index: u32) -> Result<(), EngineError> {
        self.resolve(index)?;
        self.with_entry(index, |generator, at| {
            generator.succeed(at.index)?;
            generator.member_in_place(&at)
        })
    }

    /// A requested file will not come.
    pub(super) fn failed(&mut self, index: u32) -> Result<(), EngineError> {
        self.resolve(index)?;
        self.with_entry(index, |generator, at| generator.drop_member(&at))
    }

    /// Runs `action` on the entry of a live index.
    pub(super) fn with_entry(
        &mut self,
        index: u32,
        action: impl FnOnce(&mut Self, At<'_>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let Some((list, place)) = self.files.holder(index) else { return Ok(()) };
        let list: Arc<_> = list;
        let path = list.get(place).map(|entry| entry.path()).unwrap_or_default();
        match At::new(&list, place, index, &path) {
            Some(at) => action(self, at),
            None => Ok(()),
        }
    }

    /// Makes an entry a further name of the member at `leader`. Like with the C rsync, ACLs and extended
    /// attributes are not reported for one that really `waited` for its leader.
    pub(super) fn link_to(
        &mut self,
        at: &At<'_>,
        leader: &BString,
        stat: Option<Stat>,
        waited: bool,
    ) -> Result<(), EngineError> {
        let options = &self.session.options;
        let (leader_dir, leader_name) = split(leader);
        let wanted = self.wanted(at, stat.as_ref());
        let leader_stat = self.dirs.dir(leader_dir).and_then(|dir| dir.stat(leader_name));
        let same = stat.zip(leader_stat.as_ref().ok()).is_some_and(|(ours, theirs)| ours.same_file(theirs));
        let mut change = ItemFlags::LOCAL_CHANGE | ItemFlags::XNAME_FOLLOWS;
        if !waited || options.dry_run {
            change |= self.extended_flags(at, stat.as_ref(), &wanted);
        }
        if same {
            self.session.say(Message::UpToDate(at.path));
            // What the leader got this name has too; a dry run shows what it would get. Its time counts
            // as changed only where times are kept.
            let flags = change | item_flags(&at.entry, stat.as_ref(), &wanted, ItemFlags::default(), options);
            self.itemize(at, flags, Some(b""))?;
            return self.succeed_unsent(at.index);
        }
        if !options.dry_run {
            if stat.as_ref().is_some_and(Stat::is_dir) && !self.make_room(at)? {
                return Ok(());
            }
            let kept = self.keep_replaced(at);
            let linked =
                kept.and_then(|()| self.dirs.dir(leader_dir)).and_then(Dir::try_clone).and_then(|from| {
                    self.in_place(at, |dir, name| {
                        replace(dir, name, |temp| from.link(leader_name, dir, temp))
                    })
                });
            if let Err(error) = linked {
                self.report(Failure::Link(self.full_path(at.path), leader), &error);
                return Ok(());
            }
        }
        let twin = match stat {
            Some(_) => None,
            None => self.alternate_twin(at, leader, leader_stat.as_ref().ok()),
        };
        if twin.as_ref().is_none_or(|twin| twin.is_news) || self.shows_unchanged() {
            let known = stat.or(twin.map(|twin| twin.stat));
            let flags = item_flags(&at.entry, known.as_ref(), &wanted, change, options);
            self.itemize(at, flags, Some(leader))?;
        }
        self.succeed_unsent(at.index)
    }
}

/// Whether a node is what `entry` says; `read_link` reads its target if it is a link.
pub(super) fn is_equal_node(
    entry: &EntryRef<'_>,
    stat: &Stat,
    read_link: impl FnOnce() -> io::Result<Vec<u8>>,
) -> bool {
    match entry.kind() {
        Kind::Symlink if stat.kind() == Kind::Symlink => {
            read_link().is_ok_and(|target| Some(&target[..]) == entry.target())
        }
        kind if kind.is_device() => stat.kind().is_device() && stat.rdev == entry.rdev(),
        kind => kind.is_special() && stat.kind() == kind,
    }
}

/// Devices, symlinks and specials are classes; within one an entry is changed, not new.
pub(super) fn class(kind: Kind) -> u8 {
    match kind {
        Kind::Symlink => 0,
        kind if kind.is_device() => 1,
        kind if kind.is_special() => 2,
        Kind::Dir => 3,
        _ => 4,
    }
}

pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Makes something with `make` at `name`: directly where nothing is there, else beside it and
/// renamed over it, so that the name always shows the old or the new (spec 07 §6.4).
pub(super) fn replace(dir: &Dir, name: &[u8], make: impl Fn(&[u8]) -> io::Result<()>) -> io::Result<()> {
    match make(name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        result => return result,
    }
    let base = &name[..name.len().min(240)];
    let mut number = std::process::id() % 1_000_000;
    for _ in 0..TRIES {
        let temp = [b".", base, format!(".{number}").as_bytes()].concat();
        match make(&temp) {
            Ok(()) => {
                let renamed = dir.rename(&temp, dir, name);
                // Renaming one name of a file over another name of the same file does nothing.
                if renamed.is_err() || dir.stat(&temp).is_ok() {
                    dir.unlink(&temp)?;
                }
                return renamed;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number = (number + 1) % 1_000_000,
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
