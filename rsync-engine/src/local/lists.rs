//! The lists of a scan, made what a receiver would have decoded: cleaned, owners mapped, hard links
//! grouped (spec 03 §7.3; 04 §1.2).

use std::io;
use std::sync::Arc;

use rsync_proto::flist::{
    Columns, Conversion, Entry, EntryFlags, EntryRef, Finish, IdNames, Kind, LinkGroups, MUNGE_PREFIX, Order,
    Owner, OwnerNames, Segment, SegmentBuilder, split_path,
};
use rsync_proto::text::{Event, KindCounts, Severity};

use super::names::LocalNames;
use super::worker::{SourceDir, SourceNames};
use crate::meta::{LocalIds, Privilege, XattrRules};
use crate::receive::report_unconverted;
use crate::receive::shared::Shared;
use crate::scan::{
    AttributeSource, ListSink, Scan, ScanRequest, SentTables, SourceAttributes, follows_links,
};
use crate::send::count_of;
use crate::tree::{Tree, TreeDir};
use crate::{EngineError, Session};

/// About what an entry takes on a wire beside its name.
const ENTRY_COST: u64 = 12;

/// Makes lists one after the other, and finds the files of their entries.
pub(super) struct LocalLists<'a> {
    session: &'a Session,
    shared: &'a Shared,
    scan: Scan,
    /// What the scanner found, by the numbers that entries have.
    tables: SentTables,
    /// The names of `--files-from`, the next one last.
    names: Option<Vec<Vec<u8>>>,
    columns: Columns,
    ids: LocalIds,
    owners: Box<dyn OwnerNames + Send>,
    groups: LinkGroups,
    munges: bool,
    /// How names differ between the two sides, if they do.
    conversion: Option<LocalNames>,
    pub(super) totals: ListTotals,
}

/// Numbers of all lists.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ListTotals {
    /// Entries.
    pub(super) listed: KindCounts,
    /// Bytes of all regular files and link targets.
    pub(super) total_size: u64,
    /// About what the lists take on a wire.
    pub(super) list_size: u64,
}

/// Takes the entries of one list.
struct Collecting<'l> {
    session: &'l Session,
    conversion: Option<&'l mut LocalNames>,
    is_first: bool,
    list: SegmentBuilder,
    groups: Option<&'l mut LinkGroups>,
    totals: &'l mut ListTotals,
    nanoseconds: bool,
    munges: bool,
    entry: Entry,
}

impl ListSink for Collecting<'_> {
    fn entry(&mut self, index: u32, entry: &Entry) -> Result<(), EngineError> {
        let kind = entry.kind();
        let (count, has_size) = count_of(&mut self.totals.listed, kind);
        *count += 1;
        if has_size {
            self.totals.total_size += entry.size;
        }
        let name = entry.path.iter().rev().take_while(|byte| **byte != b'/').count();
        self.totals.list_size += (name + entry.target.len()) as u64 + ENTRY_COST;
        self.entry.clone_from(entry);
        let entry = &mut self.entry;
        entry.flags = if kind == Kind::Dir { received_flags(entry.flags) } else { EntryFlags::NONE };
        if !self.nanoseconds {
            entry.nsec = 0;
        }
        if self.munges && kind == Kind::Symlink {
            entry.target.splice(..0, MUNGE_PREFIX.iter().copied());
        }
        let inode = entry.inode.filter(|inode| inode.shared && kind != Kind::Dir);
        entry.group = match (&mut self.groups, inode) {
            (Some(groups), Some(inode)) => Some(groups.join(inode.dev, inode.ino, index).0),
            _ => None,
        };
        if let Some(conversion) = &mut self.conversion
            && let Err(what) = conversion.convert(entry)
        {
            report_unconverted(self.session, &entry.path, what, self.is_first);
            self.list.push_inactive(entry)?;
            return Ok(());
        }
        self.list.push(entry)?;
        Ok(())
    }
}

/// The marks of a directory that survive a wire.
fn received_flags(flags: EntryFlags) -> EntryFlags {
    let content = flags.has(EntryFlags::CONTENT_DIR);
    match (flags.has(EntryFlags::IMPLIED_DIR), content, flags.has(EntryFlags::TOP_DIR)) {
        (true, _, _) => EntryFlags::IMPLIED_DIR,
        (false, true, true) => EntryFlags::TOP_DIR.with(EntryFlags::CONTENT_DIR),
        (false, true, false) => EntryFlags::CONTENT_DIR,
        (false, false, _) => EntryFlags::NONE,
    }
}

impl<'a> LocalLists<'a> {
    pub(super) fn new(
        session: &'a Arc<Session>,
        shared: &'a Shared,
        (tree, rules): (Arc<dyn Tree>, XattrRules),
        mut request: ScanRequest,
        names: Option<Vec<Vec<u8>>>,
        owners: Box<dyn OwnerNames + Send>,
    ) -> Result<Self, EngineError> {
        let options = &session.options;
        let tables = SentTables::default();
        if request.attributes.is_none() {
            let attributes = SourceAttributes::new(options, rules, tables.clone());
            request.attributes = attributes.map(|attributes| Box::new(attributes) as _);
        }
        let columns = request.columns.clone();
        let names = names.map(|mut names| {
            names.reverse();
            names
        });
        Ok(Self {
            session,
            shared,
            scan: Scan::new(Arc::clone(session), tree, request),
            tables,
            names,
            columns,
            ids: LocalIds::new(session, Privilege::of_process(options))?,
            owners,
            groups: LinkGroups::default(),
            munges: false,
            conversion: session
                .conversion()
                .zip(session.destination_charset)
                .map(|(source, charset)| LocalNames::new(source, Conversion { charset, ..source })),
            totals: ListTotals::default(),
        })
    }

    /// Makes all symlinks lead nowhere, if asked to.
    pub(super) fn munging(mut self, munges: bool) -> Self {
        self.munges = munges;
        self
    }

    /// Makes the first list, which without incremental recursion is the only one.
    pub(super) fn first(&mut self, start: u32) -> Result<Segment, EngineError> {
        let mut names = self.names.take();
        let list = self.collect(start, |scan, sink| {
            let scanned = match &mut names {
                Some(names) => scan.first(Some(&mut || Ok(names.pop())), sink),
                None => scan.first(None, sink),
            };
            scanned.map(|_| Some(None))
        })?;
        Ok(list.unwrap_or_default())
    }

    /// Makes the list of the next directory; `None` when there is none.
    pub(super) fn next(&mut self, start: u32) -> Result<Option<Segment>, EngineError> {
        self.collect(start, |scan, sink| scan.next(sink).map(|list| list.map(|list| list.parent)))
    }

    /// Makes a list of what `work` finds; it answers whether there is one, and the number of its directory.
    fn collect(
        &mut self,
        start: u32,
        work: impl FnOnce(&mut Scan, &mut dyn ListSink) -> Result<Option<Option<u32>>, EngineError>,
    ) -> Result<Option<Segment>, EngineError> {
        let list = SegmentBuilder::new(start, &self.columns).max_alloc(self.session.options.max_alloc);
        let mut sink = Collecting {
            session: self.session,
            conversion: self.conversion.as_mut(),
            is_first: self.totals.listed.total() == 0,
            list,
            groups: self.columns.hard_links.then_some(&mut self.groups),
            totals: &mut self.totals,
            nanoseconds: self.session.negotiated.has_nanoseconds(),
            munges: self.munges,
            entry: Entry::default(),
        };
        let Some(parent) = work(&mut self.scan, &mut sink)? else { return Ok(None) };
        let list = sink.list;
        let list = match parent {
            Some(parent) => list.inside(parent),
            None => list,
        };
        Ok(Some(self.receive(list)))
    }

    /// What a receiver does with a list that has arrived.
    fn receive(&mut self, mut list: SegmentBuilder) -> Segment {
        let Self { session, shared, ids, owners, .. } = self;
        let options = &session.options;
        let by_name = options.usermap.is_some() || options.groupmap.is_some();
        // Names only matter to the maps: without them an id means the same at both ends.
        let mut map = |uid: u32, gid: u32| {
            let mut names = IdNames::default();
            if by_name {
                names.learn(Owner::User, uid, &owners.user(uid).unwrap_or_default());
                names.learn(Owner::Group, gid, &owners.group(gid).unwrap_or_default());
            }
            ids.map(&names, uid, gid)
        };
        list.map_owners(&mut map);
        shared.received.take_scanned(&self.tables, &shared.xattr_rules, |name| match name.is_group {
            true => map(0, name.id).1,
            false => map(name.id, 0).0,
        });
        let negotiated = &session.negotiated;
        let mut list = list.finish(Finish {
            order: Order::of(negotiated),
            clean: true,
            number_by_wire: self.columns.iconv,
            number_directories: negotiated.incremental_recursion(),
        });
        if options.prune_empty_dirs {
            list.prune_empty_dirs(|_| false);
        }
        list
    }

    /// The directory at `path` that files come from.
    pub(super) fn source_dir(&mut self, origin: u32, path: &[u8]) -> SourceDir {
        SourceDir {
            origin,
            path: path.to_vec(),
            dir: self.scan.directory(origin, path).map(Arc::clone),
            root: self.scan.origin(origin).map_or(Vec::new(), |(_, absolute)| absolute.to_vec()),
            written: self.scan.written(origin).to_vec(),
        }
    }

    /// The directory that holds `entry`.
    pub(super) fn dir_of(&self, entry: EntryRef<'_>) -> io::Result<Arc<dyn TreeDir>> {
        let (origin, _) = self.scan.origin(entry.origin()).ok_or(io::ErrorKind::NotFound)?;
        let path = self.source_path(entry);
        origin.open_dir(split_path(&path).0, self.session.options.copy_links)
    }

    /// The path of `entry` at the source.
    pub(super) fn source_path(&self, entry: EntryRef<'_>) -> Vec<u8> {
        let path = entry.path();
        self.conversion.as_ref().map_or(path.to_vec(), |conversion| conversion.source_path(&path))
    }

    /// What `entry` is called at the source, where names are converted.
    pub(super) fn source_names(&self, entry: EntryRef<'_>) -> Option<SourceNames> {
        let conversion = self.conversion.as_ref()?;
        Some(SourceNames {
            path: conversion.source_path(&entry.path()),
            target: entry.target().map(|target| conversion.source_target(target)),
        })
    }

    /// Reads the attribute values with the numbers `wanted`, which are only known by their digests.
    pub(super) fn learn_xattrs(&self, entry: EntryRef<'_>, wanted: &[u32]) {
        let (Some(list), false) = (entry.xattrs(), wanted.is_empty()) else { return };
        let dir = self.dir_of(entry);
        let path = self.source_path(entry);
        let follows = follows_links(&self.session.options);
        let source = dir
            .as_ref()
            .ok()
            .and_then(|dir| AttributeSource::of(&**dir, split_path(&path).1, entry.kind(), follows).ok());
        for &number in wanted {
            let Some(name) = self.tables.local_name(list, number) else { continue };
            let value = source.as_ref().and_then(|source| source.xattr(&name).ok().flatten());
            if value.is_none() {
                let text = [b"failed to re-read xattr ", &name[..], b" for ", &path, b"\n"].concat();
                self.session.errors.transfer_error();
                self.session.events.emit(Event::PeerText { severity: Severity::TransferError, text: &text });
            }
            self.shared.received.learn(&entry, number, value);
        }
    }
}
