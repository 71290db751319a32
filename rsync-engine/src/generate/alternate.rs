//! `--compare-dest`, `--copy-dest` and `--link-dest`: what is already somewhere else need not come
//! (spec 07 §5).

use std::fs::File;
use std::io;

use rsync_proto::flist::Kind;
use rsync_proto::options::BasisKind;
use rsync_proto::phase::ItemFlags;
use rsync_proto::text::{Failure, Message};

use super::entry::At;
use super::judge::{QuickCheck, Wanted, item_flags, quick_check};
use super::nodes::{class, is_equal_node, replace, split};
use super::renamed::copy_content;
use super::run::Generator;
use crate::EngineError;
use crate::backup::Purpose;
use crate::confine::{Dir, Pinned, Stat};
use crate::meta::{Change, Step, Times};

/// How much an entry and a candidate for it have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// A file of the same type and path.
    Exists,
    /// Its content is taken to be the same.
    SameContent,
    /// Attributes that are kept are the same, too.
    Identical,
}

/// A file in an alternate destination.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// The number of the directory.
    pub(super) number: u8,
    pub(super) stat: Stat,
    pub(super) level: Level,
}

/// What looking for a regular file in the alternate destinations led to.
pub(super) enum Consulted {
    /// Nothing more to do.
    Settled,
    /// A basis for its transfer.
    Basis(Candidate),
    /// As if there were none.
    Nothing,
}

/// What an alternate destination has for a further name of a file.
pub(super) struct Twin {
    pub(super) stat: Stat,
    /// What differs is worth telling.
    pub(super) is_news: bool,
}

impl Generator<'_> {
    fn alternate_kind(&self) -> Option<BasisKind> {
        self.session.options.basis_dirs.as_ref().map(|basis| basis.kind)
    }

    /// Runs `action` on the place of an entry in an alternate destination.
    pub(super) fn in_alternate<T>(
        &mut self,
        at: &At<'_>,
        number: u8,
        action: impl FnOnce(&Dir, &[u8]) -> io::Result<T>,
    ) -> io::Result<T> {
        let stack = self.alternates.get_mut(usize::from(number)).and_then(Option::as_mut);
        let (Some(stack), Some(destination)) = (stack, self.destination) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let (dir, name) = destination.place_of(&at.entry);
        action(stack.dir(dir)?, name)
    }

    /// Opens the regular file that an alternate destination has for an entry.
    pub(super) fn open_alternate(&mut self, at: &At<'_>, number: u8) -> io::Result<File> {
        self.in_alternate(at, number, Dir::open_read)
    }

    /// The first of the candidates that have most in common with an entry.
    pub(super) fn best_alternate(&mut self, at: &At<'_>) -> Option<Candidate> {
        let mut best: Option<Candidate> = None;
        for number in 0..self.alternates.len() {
            let Ok(number) = u8::try_from(number) else { break };
            let Some(candidate) = self.candidate(at, number) else { continue };
            if best.as_ref().is_none_or(|best| candidate.level > best.level) {
                best = Some(candidate);
            }
            if candidate.level == Level::Identical {
                break;
            }
        }
        best
    }

    fn candidate(&mut self, at: &At<'_>, number: u8) -> Option<Candidate> {
        let attributes = self.attributes.clone();
        let stat = self.in_alternate(at, number, |dir, name| attributes.stat_in(dir, name)).ok()?;
        if class(stat.kind()) != class(at.entry.kind()) {
            return None;
        }
        let mut candidate = Candidate { number, stat, level: Level::Exists };
        if !self.in_redo && self.has_same_content(at, &candidate) {
            let wanted = self.wanted(at, None);
            let differences = self.flags_against(at, &candidate, &wanted, ItemFlags::default());
            let identical = [ItemFlags::default(), ItemFlags::REPORT_ATIME].contains(&differences);
            candidate.level = if identical { Level::Identical } else { Level::SameContent };
        }
        Some(candidate)
    }

    fn has_same_content(&mut self, at: &At<'_>, candidate: &Candidate) -> bool {
        let Candidate { number, stat, .. } = candidate;
        match at.entry.kind() {
            Kind::Dir => true,
            Kind::File => match quick_check(&at.entry, stat, &self.session.options) {
                QuickCheck::Same => true,
                QuickCheck::Differs => false,
                QuickCheck::CompareDigests => {
                    self.open_alternate(at, *number).is_ok_and(|file| self.has_digest(at, file))
                }
            },
            _ => {
                let attributes = self.attributes.clone();
                let read_link = |dir: &Dir, name: &[u8]| attributes.read_link(dir, name);
                is_equal_node(&at.entry, stat, || self.in_alternate(at, *number, read_link))
            }
        }
    }

    /// What differs between an entry and a candidate.
    pub(super) fn flags_against(
        &mut self,
        at: &At<'_>,
        candidate: &Candidate,
        wanted: &Wanted,
        change: ItemFlags,
    ) -> ItemFlags {
        let Candidate { number, stat, .. } = candidate;
        let options = &self.session.options;
        let flags = item_flags(&at.entry, Some(stat), wanted, change, options);
        if !options.acls && options.xattrs == 0 {
            return flags;
        }
        let file = self.in_alternate(at, *number, Dir::pin).ok();
        flags | self.extended_flags_of(at, file.as_ref(), Some(stat), wanted)
    }

    /// Looks for a regular file in the alternate destinations; `regular` is what is at the
    /// destination (spec 07 §5.1).
    pub(super) fn consult_alternates(
        &mut self,
        at: &At<'_>,
        regular: Option<&Stat>,
    ) -> Result<Consulted, EngineError> {
        let Some(kind) = self.alternate_kind() else { return Ok(Consulted::Nothing) };
        if kind == BasisKind::Copy && regular.is_some() {
            return Ok(Consulted::Nothing);
        }
        let Some(best) = self.best_alternate(at) else { return Ok(Consulted::Nothing) };
        if best.level == Level::Identical {
            match kind {
                BasisKind::Compare => return self.leave_out(at, regular).map(|()| Consulted::Settled),
                BasisKind::Link if regular.is_some_and(|stat| stat.same_file(&best.stat)) => {
                    return Ok(Consulted::Nothing);
                }
                BasisKind::Link if self.link_file(at, &best)? => return Ok(Consulted::Settled),
                BasisKind::Link | BasisKind::Copy => {}
            }
        }
        if regular.is_some() {
            return Ok(Consulted::Nothing);
        }
        if best.level >= Level::SameContent && self.copy_file(at, &best)? {
            return Ok(Consulted::Settled);
        }
        Ok(Consulted::Basis(best))
    }

    /// `--compare-dest`: the entry need not be here, and what is here goes.
    fn leave_out(&mut self, at: &At<'_>, existing: Option<&Stat>) -> Result<(), EngineError> {
        if existing.is_some()
            && !self.session.options.dry_run
            && let Err(error) = self.remove_existing(at)
        {
            self.report(Failure::Delete("unlink", at.path), &error);
        }
        self.session.say(Message::UpToDate(at.path));
        self.itemize(at, ItemFlags::default(), None)?;
        self.succeed_unsent(at.index)?;
        self.drop_member(at)
    }

    fn remove_existing(&mut self, at: &At<'_>) -> io::Result<()> {
        let Some(destination) = self.destination else { return Ok(()) };
        let (dir_path, name) = destination.place_of(&at.entry);
        let dir = self.dirs.dir(dir_path)?;
        let gone = match &self.backups {
            Some(backups) => backups.keep(dir, dir_path, name, Purpose::Delete)?,
            None => false,
        };
        if gone { Ok(()) } else { dir.unlink(name) }
    }

    /// `--link-dest`: makes the entry a further name of the candidate; answers whether that worked.
    fn link_file(&mut self, at: &At<'_>, candidate: &Candidate) -> Result<bool, EngineError> {
        if !self.session.options.dry_run && self.link_candidate(at, candidate).is_err() {
            return Ok(false);
        }
        self.discard_partial(at);
        self.say_linked(at)?;
        self.succeed_unsent(at.index)?;
        self.member_in_place(at)?;
        Ok(true)
    }

    fn link_candidate(&mut self, at: &At<'_>, candidate: &Candidate) -> io::Result<()> {
        let from = self.in_alternate(at, candidate.number, |dir, _| dir.try_clone())?;
        self.in_place(at, |dir, name| replace(dir, name, |temp| from.link(name, dir, temp)))
    }

    fn say_linked(&mut self, at: &At<'_>) -> Result<(), EngineError> {
        self.session.say(Message::UpToDate(at.path));
        self.itemize(at, ItemFlags::LOCAL_CHANGE | ItemFlags::XNAME_FOLLOWS, Some(b""))
    }

    /// Copies the candidate; answers whether that worked.
    fn copy_file(&mut self, at: &At<'_>, candidate: &Candidate) -> Result<bool, EngineError> {
        let wanted = self.wanted(at, None);
        let flags = self.flags_against(at, candidate, &wanted, ItemFlags::LOCAL_CHANGE);
        if !self.session.options.dry_run && self.copy_candidate(at, candidate, &wanted).is_err() {
            return Ok(false);
        }
        self.discard_partial(at);
        if candidate.level == Level::Identical {
            self.session.say(Message::UpToDate(at.path));
        }
        self.itemize(at, flags, None)?;
        self.succeed_unsent(at.index)?;
        self.member_in_place(at)?;
        Ok(true)
    }

    fn copy_candidate(&mut self, at: &At<'_>, candidate: &Candidate, wanted: &Wanted) -> io::Result<()> {
        let from = self.open_alternate(at, candidate.number)?;
        self.copy_from(at, &from, wanted)
    }

    /// Puts a copy of `from` in place.
    pub(super) fn copy_from(&mut self, at: &At<'_>, from: &File, wanted: &Wanted) -> io::Result<()> {
        let dir = self.in_place(at, |dir, _| dir.try_clone())?;
        let name = self.destination.map_or(at.path, |destination| destination.place_of(&at.entry).1);
        let (mut to, temp) = dir.create_temp(name, &mut rand::random)?;
        let copied = copy_content(&mut &*from, &mut to)
            .and_then(|()| if self.session.options.fsync { to.sync_all() } else { Ok(()) })
            .and_then(|()| self.set_copied_attributes(at, (from, &to), wanted))
            .and_then(|()| dir.rename(&temp, &dir, name));
        if copied.is_err() {
            // The content comes from the sender then; there is nothing to say.
            let _ = dir.unlink(&temp);
        }
        copied
    }

    fn set_copied_attributes(
        &self,
        at: &At<'_>,
        (from, to): (&File, &File),
        wanted: &Wanted,
    ) -> io::Result<()> {
        let (from, to) = (Pinned::of(from), Pinned::of(to));
        let options = &self.session.options;
        let current = &self.attributes.stat_of(&to)?;
        let acls = self.shared.acls(&at.entry, options);
        let change = Change { entry: &at.entry, current, wanted, acls, times: Times::Exact };
        let set_xattrs = |file: &Pinned<'_>| {
            // Those that differ come with the item.
            let known = if options.xattrs > 0 { self.shared.xattr_rules.local(&from).ok() } else { None };
            let known = known.unwrap_or_default();
            known.iter().fold(false, |set, (name, value)| set | file.set_xattr(name, value).is_ok())
        };
        let place = self.full_path(at.path);
        let mut report = |step: Step, error| self.report(step.failure(place), &error);
        self.attributes.apply(&to, &change, options, set_xattrs, &mut report);
        Ok(())
    }

    /// Gives a directory or node that was just made the extended attributes of its candidate: those
    /// that are the same in the list do not travel.
    pub(super) fn take_xattrs(&mut self, at: &At<'_>, candidate: &Candidate) {
        if self.session.options.xattrs == 0 {
            return;
        }
        let rules = &self.shared.xattr_rules;
        let known = self.in_alternate(at, candidate.number, |dir, name| rules.local(&dir.pin(name)?));
        let made = self.in_place(at, |dir, name| dir.pin(name));
        if let (Ok(known), Ok(made)) = (known, made) {
            for (name, value) in known {
                if let Err(error) = made.set_xattr(&name, &value) {
                    self.report(Failure::SetXattr(at.path, &name), &error);
                }
            }
        }
    }

    /// A symlink, device or special that is missing has a candidate: answers whether nothing more is
    /// to be done (spec 07 §5.2).
    pub(super) fn settle_node(&mut self, at: &At<'_>, candidate: &Candidate) -> Result<bool, EngineError> {
        if candidate.level != Level::Identical {
            return Ok(false);
        }
        match self.alternate_kind() {
            Some(BasisKind::Compare) => {
                self.leave_out(at, None)?;
                Ok(true)
            }
            Some(BasisKind::Link) => self.link_file(at, candidate),
            _ => Ok(false),
        }
    }

    /// The candidate that an entry counts as when it becomes a further name of `leader`, which looks like
    /// `leader_stat` if it is in place already (spec 07 §10).
    pub(super) fn alternate_twin(
        &mut self,
        at: &At<'_>,
        leader: &[u8],
        leader_stat: Option<&Stat>,
    ) -> Option<Twin> {
        let kind = self.alternate_kind()?;
        let Candidate { number, stat, level } = self.best_alternate(at)?;
        let equal = match kind {
            BasisKind::Copy => level >= Level::SameContent,
            BasisKind::Compare => level == Level::Identical,
            BasisKind::Link => match leader_stat {
                Some(leader_stat) => stat.same_file(leader_stat),
                // A dry run: both would be linked to the candidates.
                None => {
                    level == Level::Identical && self.alternate_stat(number, leader).ok()?.same_file(&stat)
                }
            },
        };
        equal.then_some(Twin { stat, is_news: kind != BasisKind::Link })
    }

    fn alternate_stat(&mut self, number: u8, path: &[u8]) -> io::Result<Stat> {
        let stack = self.alternates.get_mut(usize::from(number)).and_then(Option::as_mut);
        let (dir, name) = split(path);
        stack.ok_or(io::ErrorKind::NotFound)?.dir(dir)?.stat(name)
    }
}
