//! Setting attributes of what is in place, and comparing and asking for extended ones (spec 04 §2.5,
//! §3.3, §3.4).

use rsync_proto::flist::Kind;
use rsync_proto::phase::ItemFlags;
use rustix::io::Errno;

use super::entry::At;
use super::judge::Wanted;
use super::run::Generator;
use crate::confine::{Pinned, Stat};
use crate::meta::{Change, Step, Times};

impl Generator<'_> {
    /// What an entry shall have; `existing` is what was there before this run, if that counts.
    pub(super) fn wanted(&mut self, at: &At<'_>, existing: Option<&Stat>) -> Wanted {
        let place = self.destination.map(|destination| destination.place_of(&at.entry));
        let parent = match place {
            Some((dir, name)) if existing.is_none() && name != b"." => self.dirs.dir(dir).ok(),
            _ => None,
        };
        self.attributes.wanted(&at.entry, existing, parent)
    }

    /// Whether what an entry has differs from what is wanted, in more than fractions of seconds.
    pub(super) fn differs(&self, at: &At<'_>, current: &Stat, wanted: &Wanted) -> bool {
        let options = &self.session.options;
        let acls = self.shared.acls(&at.entry, options);
        let change = Change { entry: &at.entry, current, wanted, acls, times: Times::Window };
        options.acls || self.attributes.differ(&change, options)
    }

    /// Sets attributes of what is in place, reports what failed, and answers whether any changed.
    /// Extended attributes are the receiver's: their values may still have to come.
    pub(super) fn apply(&mut self, at: &At<'_>, current: &Stat, wanted: &Wanted, times: Times) -> bool {
        let session = self.session;
        let options = &session.options;
        let acls = self.shared.acls(&at.entry, options);
        let change = Change { entry: &at.entry, current, wanted, acls, times };
        if !options.acls && !self.attributes.differ(&change, options) {
            return false;
        }
        let place = self.full_path(at.path);
        let file = self.in_place(at, |dir, name| {
            let file = dir.pin(name)?;
            // Whoever put another file there since it was looked at does not get its attributes.
            if file.stat()?.same_file(current) { Ok(file) } else { Err(Errno::STALE.into()) }
        });
        match file {
            Ok(file) => {
                let mut report = |step: Step, error| self.report(step.failure(place), &error);
                self.attributes.apply(&file, &change, options, |_| false, &mut report)
            }
            Err(error) => {
                self.report(Step::Stat.failure(place), &error);
                false
            }
        }
    }

    /// Which of ACLs and extended attributes differ; `existing` is what was there if it counts.
    pub(super) fn extended_flags(
        &mut self,
        at: &At<'_>,
        existing: Option<&Stat>,
        wanted: &Wanted,
    ) -> ItemFlags {
        let options = &self.session.options;
        if !options.acls && options.xattrs == 0 {
            return ItemFlags::default();
        }
        let file = existing.and_then(|_| self.in_place(at, |dir, name| dir.pin(name)).ok());
        self.extended_flags_of(at, file.as_ref(), existing, wanted)
    }

    /// The same against `file`, wherever it is.
    pub(super) fn extended_flags_of(
        &self,
        at: &At<'_>,
        file: Option<&Pinned<'_>>,
        existing: Option<&Stat>,
        wanted: &Wanted,
    ) -> ItemFlags {
        let options = &self.session.options;
        let mut flags = ItemFlags::default();
        if let (Some(file), Some(stat), true) = (file, existing, options.acls) {
            let acls = self.shared.acls(&at.entry, options);
            // What cannot be read is set, and reported, when attributes are applied.
            if at.entry.kind() != Kind::Symlink && acls.differ(file, stat.mode, wanted.mode).unwrap_or(true) {
                flags |= ItemFlags::REPORT_ACL;
            }
        }
        if options.xattrs > 0 && self.xattrs_differ(at, file) {
            flags |= ItemFlags::REPORT_XATTR;
        }
        flags
    }

    fn xattrs_differ(&self, at: &At<'_>, file: Option<&Pinned<'_>>) -> bool {
        let local = file.map(|file| self.shared.xattr_rules.local(file).unwrap_or_default());
        let differs = self.shared.received.with_xattrs(&at.entry, |list| match &local {
            None => !list.items.is_empty(),
            Some(local) => {
                let differs = list.differs_from(local);
                if !differs {
                    // Their values are known now: files with the same list need not ask.
                    list.take_wanted(local);
                }
                differs
            }
        });
        differs.unwrap_or(false)
    }

    /// The values to ask for: not known and not at the destination. `None` where the item's flags
    /// announce no exchange.
    pub(super) fn wanted_xattrs(&mut self, at: &At<'_>, flags: ItemFlags) -> Option<Vec<u32>> {
        if !self.session.exchanges_xattrs(flags) {
            return None;
        }
        let file = self.in_place(at, |dir, name| dir.pin(name)).ok();
        let local = file.map(|file| self.shared.xattr_rules.local(&file).unwrap_or_default());
        let received = &self.shared.received;
        let wanted = received.with_xattrs(&at.entry, |list| list.take_wanted(&local.unwrap_or_default()));
        Some(wanted.unwrap_or_default())
    }
}
