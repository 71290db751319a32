//! Lists that a [`Scan`] of a tree makes.

use std::io;
use std::sync::Arc;

use rsync_proto::exit::IoErrorFlags;
use rsync_proto::filter::Side;
use rsync_proto::flist::{Conversion, Entry, EntryRef, FileListEncoder, OwnerNames, Segment};
use rsync_proto::meta::{MAX_XATTR_VALUE, XattrError, XattrRequests, put_xattr_answer, put_xattr_end};
use rsync_proto::text::{Event, Place, Severity};
use rsync_proto::wire::Cursor;

use super::lists::{ListWire, Lists};
use crate::meta::XattrRules;
use crate::scan::{
    AttributeSource, ListSink, Scan, ScanRequest, ScannedList, SentTables, SourceAttributes, follows_links,
};
use crate::tree::{ReadAt, Tree, TreeDir};
use crate::{EngineError, Session};

/// Bytes of a list that are handed on together.
const PIECE: usize = 32 << 10;

/// The lists of a tree's files.
pub struct ScannedLists {
    session: Arc<Session>,
    scan: Scan,
    encoder: FileListEncoder,
    /// What the entries of the encoder refer to.
    tables: SentTables,
    module: Option<Vec<u8>>,
    /// Names forwarded by the peer, the next one last.
    names: Option<Vec<Vec<u8>>>,
    /// Index of the first entry of the next list.
    next_start: u32,
    reported: IoErrorFlags,
    requests: XattrRequests,
}

impl ScannedLists {
    /// Prepares to list what `request` asks for in `tree`. `names` are those of `--files-from`;
    /// `owners` is the database of users and groups.
    #[must_use]
    pub fn new(
        session: Arc<Session>,
        tree: Arc<dyn Tree>,
        mut request: ScanRequest,
        names: Option<Vec<Vec<u8>>>,
        owners: Box<dyn OwnerNames + Send>,
    ) -> Self {
        let encoder = FileListEncoder::new(&session.negotiated, request.columns.clone(), owners);
        let next_start = u32::from(session.negotiated.incremental_recursion());
        let module = request.module.clone();
        let names = names.map(|mut names| {
            names.reverse();
            names
        });
        let tables = SentTables::default();
        if request.attributes.is_none() {
            let options = &session.options;
            let rules = XattrRules::new(
                options.super_user,
                options.xattrs,
                &Arc::new(request.filters.clone()),
                Side::Sender,
            );
            let attributes = SourceAttributes::new(&session.options, rules, tables.clone());
            request.attributes = attributes.map(|attributes| Box::new(attributes) as _);
        }
        let scan = Scan::new(Arc::clone(&session), tree, request);
        Self {
            session,
            scan,
            encoder,
            tables,
            module,
            names,
            next_start,
            reported: IoErrorFlags::NONE,
            requests: XattrRequests::default(),
        }
    }

    /// Says that a value is gone.
    fn unread(&self, attribute: &[u8], entry: EntryRef<'_>) {
        let text = [b"failed to re-read xattr ", attribute, b" for ", &entry.path(), b"\n"].concat();
        self.session.errors.transfer_error();
        self.session.events.emit(Event::PeerText { severity: Severity::TransferError, text: &text });
    }

    /// The flags that the end marker of a list carries.
    fn flags(&self, flags: IoErrorFlags) -> i32 {
        if self.session.options.ignore_errors { 0 } else { flags.bits() }
    }
}

/// Encodes entries; with a wire it sends them in pieces.
struct Encoding<'a, 'w> {
    conversion: Option<Conversion>,
    encoder: &'a mut FileListEncoder,
    tables: &'a SentTables,
    bytes: Vec<u8>,
    wire: Option<&'a mut ListWire<'w>>,
}

impl ListSink for Encoding<'_, '_> {
    fn entry(&mut self, _: u32, entry: &Entry) -> Result<(), EngineError> {
        let converted = self.conversion.and_then(|conversion| {
            let (path, target) = conversion.to_wire(&entry.path, &entry.target).ok()?;
            Some(Entry { path, target, ..entry.clone() })
        });
        let entry = converted.as_ref().unwrap_or(entry);
        self.tables.lend(self.encoder, |encoder| encoder.put(&mut self.bytes, entry));
        if let Some(wire) = self.wire.as_mut().filter(|_| self.bytes.len() >= PIECE) {
            wire.put(&self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }
}

impl Lists for ScannedLists {
    fn first(&mut self, wire: &mut ListWire<'_>) -> Result<Arc<Segment>, EngineError> {
        self.encoder.begin(self.next_start);
        let mut sink = Encoding {
            conversion: self.session.conversion(),
            encoder: &mut self.encoder,
            tables: &self.tables,
            bytes: Vec::new(),
            wire: Some(wire),
        };
        let names = &mut self.names;
        let scanned = match names {
            Some(names) => {
                let mut next = || Ok(names.pop());
                self.scan.first(Some(&mut next), &mut sink)?
            }
            None => self.scan.first(None, &mut sink)?,
        };
        let mut bytes = sink.bytes;
        let ScannedList { segment, io_error, .. } = scanned;
        self.reported = io_error;
        let flags = self.flags(io_error);
        self.encoder.end(&mut bytes, flags);
        wire.put(&bytes)?;
        self.next_start = segment.start() + segment.len() as u32 + 1;
        Ok(segment)
    }

    fn next(&mut self, wire: &mut ListWire<'_>) -> Result<Option<Arc<Segment>>, EngineError> {
        self.encoder.begin(self.next_start);
        let mut sink = Encoding {
            conversion: self.session.conversion(),
            encoder: &mut self.encoder,
            tables: &self.tables,
            bytes: Vec::new(),
            wire: None,
        };
        let scanned = self.scan.next(&mut sink)?;
        let mut bytes = sink.bytes;
        let Some(ScannedList { parent, segment, io_error }) = scanned else { return Ok(None) };
        let changed = if io_error == self.reported { IoErrorFlags::NONE } else { io_error };
        self.reported = io_error;
        let flags = self.flags(changed);
        self.encoder.end(&mut bytes, flags);
        wire.announce(parent.unwrap_or_default())?;
        wire.put(&bytes)?;
        self.next_start = segment.start() + segment.len() as u32 + 1;
        Ok(Some(segment))
    }

    fn open(&mut self, entry: EntryRef<'_>) -> io::Result<Box<dyn ReadAt>> {
        self.scan.open(entry.origin(), &entry.path())
    }

    fn dir_of(&mut self, entry: EntryRef<'_>) -> io::Result<Arc<dyn TreeDir>> {
        let (origin, _) = self.scan.origin(entry.origin()).ok_or(io::ErrorKind::NotFound)?;
        origin.open_dir(entry.dir(), self.session.options.copy_links)
    }

    fn place<'a>(&'a self, origin: u32, name: &'a [u8]) -> Place<'a> {
        let root = self.scan.origin(origin).map_or(&b""[..], |(_, absolute)| absolute);
        Place { module: self.module.as_deref(), ..Place::new(root, name) }
    }

    fn source_dir(&self, origin: u32) -> &[u8] {
        if self.module.is_none() {
            return self.scan.written(origin);
        }
        self.scan.origin(origin).map_or(b"", |(_, absolute)| absolute)
    }

    fn xattr_values(
        &mut self,
        entry: EntryRef<'_>,
        request: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), EngineError> {
        let list = entry.xattrs().unwrap_or(u32::MAX);
        let requests = &mut self.requests;
        let (wanted, attributes) = self.tables.lend(&mut self.encoder, |encoder| {
            let table = &encoder.xattrs;
            let wanted = requests.read(&mut Cursor::new(request), table, list, &entry.path())?;
            Ok::<_, XattrError>((wanted, table.get(list).map(Arc::clone)))
        })?;
        let Some(attributes) = attributes.filter(|_| !wanted.is_empty()) else {
            put_xattr_end(out);
            return Ok(());
        };
        let dir = self.dir_of(entry);
        let follows = follows_links(&self.session.options);
        let source = dir
            .as_ref()
            .ok()
            .and_then(|dir| AttributeSource::of(&**dir, entry.name(), entry.kind(), follows).ok());
        let mut previous = 0;
        for number in wanted {
            let Some(attribute) = attributes.get(number as usize - 1) else { continue };
            let value = source
                .as_ref()
                .and_then(|source| source.xattr(&attribute.local).ok().flatten())
                .filter(|value| value.len() <= MAX_XATTR_VALUE as usize)
                .unwrap_or_else(|| {
                    self.unread(&attribute.local, entry);
                    Vec::new()
                });
            put_xattr_answer(out, previous, number, value.len() as u32);
            out.extend_from_slice(&value);
            previous = number;
        }
        put_xattr_end(out);
        Ok(())
    }
}

impl std::fmt::Debug for ScannedLists {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScannedLists").field("next_start", &self.next_start).finish_non_exhaustive()
    }
}
