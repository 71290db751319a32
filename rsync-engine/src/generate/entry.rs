//! What happens to one entry of the list, up to the point where its kind matters (spec 07 §3).

use std::io;
use std::sync::Arc;

use rsync_proto::flist::{EntryRef, Kind, Segment};
use rsync_proto::options::{Info, RemoveSource};
use rsync_proto::phase::{ItemAttributes, ItemFlags};
use rsync_proto::text::{
    Direction, EntryKind, Event, Failure, LineFormat, Message, Place, Role, Stage, Topic,
};

use super::links::Admission;
use super::run::Generator;
use crate::EngineError;
use crate::confine::Stat;
use crate::destination::Destination;
use crate::item::{self, Moved};
use crate::meta::fake_super::CorruptStat;

/// An entry of a list, with what the wire and people call it.
#[derive(Clone, Copy)]
pub(super) struct At<'l> {
    pub(super) list: &'l Arc<Segment>,
    pub(super) entry: EntryRef<'l>,
    /// Its file index; for a directory under incremental recursion that of its own list's gap.
    pub(super) index: u32,
    /// Its path in the transfer.
    pub(super) path: &'l [u8],
}

impl<'l> At<'l> {
    /// The active entry at `place` of `list`.
    pub(super) fn new(list: &'l Arc<Segment>, place: usize, index: u32, path: &'l [u8]) -> Option<Self> {
        let entry = list.get(place).filter(|entry| entry.is_active())?;
        Some(Self { list, entry, index, path })
    }
}

impl<'a> Generator<'a> {
    /// Processes one entry.
    pub(super) fn process(&mut self, at: At<'_>) -> Result<(), EngineError> {
        let options = &self.session.options;
        if options.list_only {
            self.session.events.emit(Event::Listed { entry: &self.session.facts(at.entry, at.path, b"") });
            return Ok(());
        }
        if self.directories.skips(at.path) {
            return self.drop_member(&at);
        }
        if self.is_excluded(&at) {
            self.session.say(Message::DaemonRefused(at.path, EntryKind::from_mode(at.entry.mode())));
            if at.entry.is_dir() {
                self.session.say(Message::SkippingContents);
                self.directories.skip(at.path.to_vec());
            }
            return self.drop_member(&at);
        }
        let stat = match self.lstat_unless_imagined(&at) {
            Ok(stat) => stat,
            Err(error) => {
                match CorruptStat::of(&error) {
                    Some(corrupt) => {
                        self.session.say_corrupt(self.full_path(at.path), corrupt);
                    }
                    None => self.report(Failure::StatTarget(self.full_path(at.path)), &error),
                }
                return self.drop_member(&at);
            }
        };
        if at.entry.kind() == Kind::Missing {
            return self.delete_missing(&at, stat);
        }
        if options.existing && stat.is_none() && !self.in_redo {
            self.session.say(Message::NotCreating(at.path, EntryKind::from_mode(at.entry.mode())));
            if at.entry.is_dir() {
                self.directories.skip(at.path.to_vec());
            }
            return self.drop_member(&at);
        }
        let both_dirs = at.entry.is_dir() && stat.is_some_and(|stat| stat.is_dir());
        if let (true, Some(stat), false) = (options.ignore_existing && !self.in_redo, &stat, both_dirs) {
            let detailed = self.session.events.wants(Topic::Info(Info::Skip, 2));
            let detail = detailed.then(|| self.exists_detail(&at, stat));
            self.session.say(Message::Exists(at.path, detail));
            return self.drop_member(&at);
        }
        if at.entry.is_dir() {
            self.process_directory(at, stat)?;
            let incremental = self.session.negotiated.incremental_recursion();
            return if incremental { Ok(()) } else { self.delete_in(&at, at.list) };
        }
        if !self.is_wanted_kind(&at.entry) {
            self.session.say(Message::SkippingNonRegular(at.path));
            return self.drop_member(&at);
        }
        if stat.is_none()
            && let Err(error) = self.make_left_out_parents(&at)
        {
            self.report(Failure::MakeDir(self.full_path(at.path)), &error);
            return self.drop_member(&at);
        }
        match self.admit_member(&at) {
            Admission::Wait => Ok(()),
            Admission::Link(leader) => self.link_to(&at, &leader, stat, false),
            Admission::Process if at.entry.kind() == Kind::File => self.process_file(at, stat),
            Admission::Process => self.process_node(at, stat),
        }
    }

    /// Whether a daemon's module hides the entry from its client.
    pub(super) fn is_excluded(&self, at: &At<'_>) -> bool {
        let Some((module, destination)) = self.session.module.as_ref().zip(self.destination) else {
            return false;
        };
        let path = destination.local_name.as_deref().unwrap_or(at.path);
        at.path != b"." && module.excludes(&destination.module_path(path), at.entry.is_dir())
    }

    /// Whether entries of this kind are made at all.
    fn is_wanted_kind(&self, entry: &EntryRef<'_>) -> bool {
        let options = &self.session.options;
        match entry.kind() {
            Kind::Symlink => options.links,
            kind if kind.is_device() => {
                options.devices && self.attributes.privilege().privileged && !options.drop_devices
            }
            kind if kind.is_special() => options.specials && !options.drop_devices,
            _ => true,
        }
    }

    /// The destination, which is known once entries are processed.
    pub(super) fn place(&self) -> Result<&'a Destination, EngineError> {
        self.destination.ok_or(EngineError::ReceiverGone)
    }

    /// What is at the place of an entry, not following a link.
    pub(super) fn lstat(&mut self, at: &At<'_>) -> io::Result<Stat> {
        let Some(destination) = self.destination else { return Err(io::ErrorKind::NotFound.into()) };
        let (dir, name) = destination.place_of(&at.entry);
        let stat = self.attributes.stat_in(self.dirs.dir(dir)?, name)?;
        let may_lead = self.session.options.keep_dirlinks && at.entry.is_dir();
        if may_lead
            && stat.kind() == Kind::Symlink
            && let Ok(target) = self.dirs.dir(if dir.is_empty() { name } else { at.path })
        {
            return self.attributes.stat_in(target, b".");
        }
        Ok(stat)
    }

    fn lstat_unless_imagined(&mut self, at: &At<'_>) -> io::Result<Option<Stat>> {
        let imagined = self.destination.is_some_and(|destination| destination.imagined);
        if imagined || self.directories.imagines(at.path) {
            return Ok(None);
        }
        match self.lstat(at) {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // Where a file must be left alone, the attempt to make anything else says why it fails.
            Err(error) if at.entry.kind() != Kind::File && CorruptStat::of(&error).is_none() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The path of an entry as messages quote it.
    pub(super) fn full_path<'p>(&self, path: &'p [u8]) -> Place<'p>
    where
        'a: 'p,
    {
        self.session.place(self.destination.map_or(b"", |destination| &destination.path), path)
    }

    /// Reports a failed system call on the generator's side.
    pub(super) fn report(&self, failure: Failure<'_>, error: &io::Error) {
        self.session.failed(Role::Generator, failure, error);
    }

    /// Tells the sender (and through its echo our own log) about an item without content.
    pub(super) fn itemize(
        &mut self,
        at: &At<'_>,
        flags: ItemFlags,
        xname: Option<&[u8]>,
    ) -> Result<(), EngineError> {
        let named = xname.is_some_and(|name| !name.is_empty());
        if !(flags.is_significant() || named || self.shows_unchanged()) {
            return Ok(());
        }
        if !self.session.negotiated.has_item_flags() {
            self.name_item(at, flags, xname);
            return Ok(());
        }
        let attributes = ItemAttributes { xname: xname.map(<[u8]>::to_vec), ..ItemAttributes::new(flags) };
        self.send_item(at, &attributes)
    }

    /// Whether items are told that change nothing.
    pub(super) fn shows_unchanged(&self) -> bool {
        self.session.events.wants(Topic::Info(Info::Name, 2)) || self.session.options.itemize > 1
    }

    /// Below protocol 29 items do not travel: this side says them itself. A client that pulls shows them in the
    /// form that its user wants to see them in; what others say of nodes and links they have made is a text, and
    /// directories are named when their attributes have changed.
    fn name_item(&self, at: &At<'_>, flags: ItemFlags, xname: Option<&[u8]>) {
        if !self.shows_items_itself() {
            let entry = &at.entry;
            let (arrow, other): (&[u8], _) = match xname.filter(|name| !name.is_empty()) {
                Some(leader) => (b" => ", leader),
                None if entry.kind() == Kind::Symlink => (b" -> ", entry.target().unwrap_or_default()),
                None => (b"", &b""[..]),
            };
            let dry_run = self.session.options.dry_run;
            let is_made = if entry.is_dir() { dry_run } else { flags.contains(ItemFlags::LOCAL_CHANGE) };
            if is_made {
                self.say_made(entry, &[at.path, arrow, other].concat());
            }
            return;
        }
        // Such old peers did not set times of links.
        let fails = at.entry.kind() == Kind::Symlink && flags.contains(ItemFlags::REPORT_TIME);
        let flags = if fails { flags | ItemFlags::REPORT_TIME_FAIL } else { flags };
        let attributes = ItemAttributes { xname: xname.map(<[u8]>::to_vec), ..ItemAttributes::new(flags) };
        let way = (Stage::Done, Direction::Received);
        item::emit_known(self.session, true, way, (at.entry, at.path, b""), &attributes, Moved::default());
    }

    fn say_made(&self, entry: &EntryRef<'_>, text: &[u8]) {
        let slash: &[u8] = if entry.is_dir() { b"/" } else { b"" };
        self.session.say(Message::Made(&[text, slash].concat()));
    }

    /// Below protocol 29: the attributes of a directory have changed.
    pub(super) fn name_directory(&self, at: &At<'_>) {
        if !self.session.negotiated.has_item_flags() && !self.shows_items_itself() {
            self.say_made(&at.entry, at.path);
        }
    }

    /// Whether the user of this side wants to see how items changed, and is not a sender's.
    fn shows_items_itself(&self) -> bool {
        let options = &self.session.options;
        let format = options.out_format.as_ref().map(|format| LineFormat::parse(format));
        let itemizes = format.map_or(options.itemize > 0, |format| format.uses(b'i'));
        itemizes && !self.session.server && !self.peer.is_local()
    }

    /// The entry was in place already, or became another name of one that is.
    pub(super) fn succeed_unsent(&mut self, index: u32) -> Result<(), EngineError> {
        match self.session.options.remove_source {
            RemoveSource::SentFiles => Ok(()),
            _ => self.succeed(index),
        }
    }

    /// The entry is as it should be: the sender may remove it (`--remove-source-files`).
    pub(super) fn succeed(&mut self, index: u32) -> Result<(), EngineError> {
        if self.session.options.remove_source == RemoveSource::No || self.session.options.dry_run {
            return Ok(());
        }
        self.peer.success(index)
    }
}
