//! One file list in memory: small records, one arena of names, and columns only where used.

use std::sync::Arc;

use super::entry::{DeviceNumber, Entry, EntryFlags, Kind, Link};
use super::order::{Order, PathKey};

/// What most entries share with others: interned, four bytes per entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) flags: EntryFlags,
    pub(super) origin: u32,
}

/// The fixed part of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// Length in bytes; of a device its number, major in the high half.
    pub(super) size: u64,
    pub(super) mtime: i64,
    /// Nanoseconds, and [`INACTIVE`].
    pub(super) nsec: u32,
    /// Offset in the arena of the length-prefixed base name, followed by a symlink's target.
    pub(super) name: u32,
    pub(super) dir: u32,
    pub(super) attributes: u32,
}

/// Bit of [`Record::nsec`]: the slot keeps its index but must not be acted upon.
pub(super) const INACTIVE: u32 = 1 << 31;
/// In a column of indexes: this entry has none.
pub(super) const NO_INDEX: u32 = u32::MAX;
/// Bit of the link column: the entry leads its group in this list.
pub(super) const LEADS: u32 = 1 << 31;

/// Fields that not every connection has; an empty column means no entry has the field.
#[derive(Clone, Debug, Default)]
pub(super) struct OptionalColumns {
    pub(super) atimes: Vec<i64>,
    pub(super) crtimes: Vec<i64>,
    /// `digest_len` bytes per entry.
    pub(super) digests: Vec<u8>,
    pub(super) digest_len: usize,
    pub(super) links: Vec<u32>,
    pub(super) access_acls: Vec<u32>,
    pub(super) default_acls: Vec<u32>,
    pub(super) xattrs: Vec<u32>,
}

/// The two directions between places in the order and indexes, where they differ.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    pub(super) wire_of: Vec<u32>,
    pub(super) place_of: Vec<u32>,
}

/// One immutable file list, in the order of spec 03 §7.1.
///
/// An entry costs 33 bytes plus its base name (36 if hard links are preserved), plus what the
/// optional columns in use cost; directory parts are stored once.
#[derive(Clone, Debug, Default)]
pub struct Segment {
    pub(super) start: u32,
    pub(super) parent: Option<u32>,
    pub(super) order: Order,
    pub(super) records: Vec<Record>,
    pub(super) attributes: Vec<Attributes>,
    pub(super) names: Vec<u8>,
    pub(super) dirs: Vec<(u32, u32)>,
    pub(super) dir_names: Vec<u8>,
    pub(super) columns: OptionalColumns,
    pub(super) numbers: Option<Numbers>,
    pub(super) directories: Option<Arc<Segment>>,
}

impl Segment {
    /// Index of the first entry.
    #[must_use]
    pub fn start(&self) -> u32 {
        self.start
    }

    /// Number of the directory whose content this is; `None` for the first list (spec 03 §8.3).
    #[must_use]
    pub fn parent(&self) -> Option<u32> {
        self.parent
    }

    /// Number of entries, inactive ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no entry at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The order of the entries.
    #[must_use]
    pub fn order(&self) -> Order {
        self.order
    }

    /// The entry at `place` in the order, counted from 0.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<EntryRef<'_>> {
        (place < self.len()).then_some(EntryRef { segment: self, place: place as u32 })
    }

    /// All entries in order, inactive ones included.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = EntryRef<'_>> + ExactSizeIterator {
        (0..self.len() as u32).map(|place| EntryRef { segment: self, place })
    }

    /// The entry that file index `index` names, if this list has it.
    #[must_use]
    pub fn by_index(&self, index: u32) -> Option<EntryRef<'_>> {
        let offset = index.checked_sub(self.start)? as usize;
        match &self.numbers {
            None => self.get(offset),
            Some(numbers) => self.get(*numbers.place_of.get(offset)? as usize),
        }
    }

    /// The first active entry with this path; where files and directories sort apart
    /// ([`Order::ByComponent`]) only one of the kind that `key` says.
    #[must_use]
    pub fn find(&self, key: PathKey<'_>) -> Option<EntryRef<'_>> {
        let compare = |place: u32| self.order.compare(self.key(place), key);
        let (mut low, mut high) = (0, self.len() as u32);
        while low < high {
            let middle = low + (high - low) / 2;
            if compare(middle).is_lt() { low = middle + 1 } else { high = middle }
        }
        (low..self.len() as u32)
            .take_while(|&place| compare(place).is_eq())
            .map(|place| EntryRef { segment: self, place })
            .find(|entry| entry.is_active())
    }

    /// The directories of this list in numbering order, as a list of their own (spec 03 §8.3).
    ///
    /// Empty unless the builder was asked to number directories.
    #[must_use]
    pub fn directories(&self) -> Option<&Arc<Segment>> {
        self.directories.as_ref()
    }

    /// Bytes of memory held, the separate list of directories included.
    #[must_use]
    pub fn memory(&self) -> usize {
        let columns = &self.columns;
        let indexes = [&columns.links, &columns.access_acls, &columns.default_acls, &columns.xattrs];
        let numbers = self.numbers.as_ref().map_or(0, |n| 4 * (n.wire_of.capacity() + n.place_of.capacity()));
        size_of::<Self>()
            + size_of::<Record>() * self.records.capacity()
            + size_of::<Attributes>() * self.attributes.capacity()
            + size_of::<(u32, u32)>() * self.dirs.capacity()
            + self.names.capacity()
            + self.dir_names.capacity()
            + 8 * (columns.atimes.capacity() + columns.crtimes.capacity())
            + columns.digests.capacity()
            + indexes.iter().map(|column| 4 * column.capacity()).sum::<usize>()
            + numbers
            + self.directories.as_ref().map_or(0, |directories| directories.memory())
    }

    /// Withdraws the entry at `place`: its index stays taken, but nothing acts upon it.
    pub(super) fn deactivate(&mut self, place: u32) {
        self.records[place as usize].nsec |= INACTIVE;
    }

    pub(super) fn attributes_at(&self, place: u32) -> Attributes {
        self.attributes[self.records[place as usize].attributes as usize]
    }

    pub(super) fn kind_at(&self, place: u32) -> Kind {
        Kind::of_mode(self.attributes_at(place).mode).unwrap_or(Kind::Missing)
    }

    pub(super) fn dir_count(&self) -> usize {
        self.dirs.len()
    }

    pub(super) fn dir_number(&self, place: u32) -> u32 {
        self.records[place as usize].dir
    }

    pub(super) fn dir_name(&self, number: u32) -> &[u8] {
        let (start, end) = self.dirs[number as usize];
        &self.dir_names[start as usize..end as usize]
    }

    pub(super) fn key(&self, place: u32) -> PathKey<'_> {
        PathKey {
            dir: self.dir_name(self.dir_number(place)),
            base: self.name_and_rest(place).0,
            is_dir: self.kind_at(place) == Kind::Dir,
        }
    }

    /// The base name and the arena after it.
    fn name_and_rest(&self, place: u32) -> (&[u8], &[u8]) {
        split_prefixed(&self.names[self.records[place as usize].name as usize..])
    }
}

/// Appends `text` (shorter than 32768 bytes) after its length in one or two bytes.
pub(super) fn put_prefixed(arena: &mut Vec<u8>, text: &[u8]) {
    debug_assert!(text.len() < 0x8000, "{} bytes", text.len());
    if text.len() > 0x7f {
        arena.push(0x80 | (text.len() >> 8) as u8);
    }
    arena.push(text.len() as u8);
    arena.extend_from_slice(text);
}

fn split_prefixed(arena: &[u8]) -> (&[u8], &[u8]) {
    let (length, text) = match *arena {
        [high, low, ..] if high > 0x7f => (usize::from(high & 0x7f) << 8 | usize::from(low), &arena[2..]),
        [length, ..] => (usize::from(length), &arena[1..]),
        [] => (0, arena),
    };
    text.split_at_checked(length).unwrap_or((text, b""))
}

/// One entry of a [`Segment`].
#[derive(Clone, Copy)]
pub struct EntryRef<'a> {
    segment: &'a Segment,
    place: u32,
}

impl std::fmt::Debug for EntryRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{} {:?} {:o}", self.index(), bstr::BStr::new(&self.path()), self.mode())
    }
}

impl<'a> EntryRef<'a> {
    /// The list the entry is in.
    #[must_use]
    pub fn segment(self) -> &'a Segment {
        self.segment
    }

    /// Place in the order of its list, counted from 0.
    #[must_use]
    pub fn place(self) -> usize {
        self.place as usize
    }

    /// File index (spec 03 §7.2).
    #[must_use]
    pub fn index(self) -> u32 {
        let offset = self.segment.numbers.as_ref().map_or(self.place, |n| n.wire_of[self.place as usize]);
        self.segment.start + offset
    }

    /// Base name.
    #[must_use]
    pub fn name(self) -> &'a [u8] {
        self.segment.name_and_rest(self.place).0
    }

    /// Directory part of the path: empty at the top; a leading `/` of `-R` is dropped.
    #[must_use]
    pub fn dir(self) -> &'a [u8] {
        let dir = self.segment.dir_name(self.segment.dir_number(self.place));
        dir.strip_prefix(b"/").unwrap_or(dir)
    }

    /// Appends the path (without a leading `/`) to `out`.
    pub fn put_path(self, out: &mut Vec<u8>) {
        let dir = self.dir();
        out.extend_from_slice(dir);
        if !dir.is_empty() {
            out.push(b'/');
        }
        out.extend_from_slice(self.name());
    }

    /// The path, without a leading `/`.
    #[must_use]
    pub fn path(self) -> Vec<u8> {
        let mut path = Vec::with_capacity(self.dir().len() + 1 + self.name().len());
        self.put_path(&mut path);
        path
    }

    /// The path as the order sees it, a leading `/` included.
    #[must_use]
    pub fn key(self) -> PathKey<'a> {
        self.segment.key(self.place)
    }

    /// What the entry is.
    #[must_use]
    pub fn kind(self) -> Kind {
        self.segment.kind_at(self.place)
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(self) -> bool {
        self.kind() == Kind::Dir
    }

    /// Whether it may be acted upon: not a dropped duplicate or an unconvertible name.
    #[must_use]
    pub fn is_active(self) -> bool {
        self.record().nsec & INACTIVE == 0
    }

    /// `st_mode`.
    #[must_use]
    pub fn mode(self) -> u32 {
        self.segment.attributes_at(self.place).mode
    }

    /// Owner; 0 without `-o`.
    #[must_use]
    pub fn uid(self) -> u32 {
        self.segment.attributes_at(self.place).uid
    }

    /// Group; 0 without `-g`.
    #[must_use]
    pub fn gid(self) -> u32 {
        self.segment.attributes_at(self.place).gid
    }

    /// Marks.
    #[must_use]
    pub fn flags(self) -> EntryFlags {
        self.segment.attributes_at(self.place).flags
    }

    /// Sender: number of the source directory that the path is relative to.
    #[must_use]
    pub fn origin(self) -> u32 {
        self.segment.attributes_at(self.place).origin
    }

    /// Length in bytes; 0 for devices.
    #[must_use]
    pub fn size(self) -> u64 {
        if self.kind().is_device() { 0 } else { self.record().size }
    }

    /// Modification time in seconds.
    #[must_use]
    pub fn mtime(self) -> i64 {
        self.record().mtime
    }

    /// Nanoseconds of the modification time; 0 below protocol 31.
    #[must_use]
    pub fn nsec(self) -> u32 {
        self.record().nsec & !INACTIVE
    }

    /// Access time in seconds; `None` without `-U`.
    #[must_use]
    pub fn atime(self) -> Option<i64> {
        self.segment.columns.atimes.get(self.place()).copied()
    }

    /// Creation time in seconds; `None` without `-N`.
    #[must_use]
    pub fn crtime(self) -> Option<i64> {
        self.segment.columns.crtimes.get(self.place()).copied()
    }

    /// Number of a device; zero for everything else.
    #[must_use]
    pub fn rdev(self) -> DeviceNumber {
        if !self.kind().is_device() {
            return DeviceNumber::default();
        }
        let number = self.record().size;
        DeviceNumber { major: (number >> 32) as u32, minor: number as u32 }
    }

    /// Target of a symlink; `None` for everything else.
    #[must_use]
    pub fn target(self) -> Option<&'a [u8]> {
        let (_, rest) = self.segment.name_and_rest(self.place);
        (self.kind() == Kind::Symlink).then(|| split_prefixed(rest).0)
    }

    /// Content digest; `None` without `-c`.
    #[must_use]
    pub fn digest(self) -> Option<&'a [u8]> {
        let columns = &self.segment.columns;
        let start = self.place() * columns.digest_len;
        columns.digests.get(start..start + columns.digest_len).filter(|digest| !digest.is_empty())
    }

    /// The hard-link group, if the entry belongs to one.
    #[must_use]
    pub fn link(self) -> Option<Link> {
        let link = self.index_in(&self.segment.columns.links)?;
        Some(Link { group: link & !LEADS, leads: link & LEADS != 0 })
    }

    /// Place of the access ACL in the session's table; `None` without `-A` and for symlinks.
    #[must_use]
    pub fn access_acl(self) -> Option<u32> {
        self.index_in(&self.segment.columns.access_acls)
    }

    /// Place of a directory's default ACL in the session's table.
    #[must_use]
    pub fn default_acl(self) -> Option<u32> {
        self.index_in(&self.segment.columns.default_acls)
    }

    /// Place of the extended attributes in the session's table; `None` without `-X`.
    #[must_use]
    pub fn xattrs(self) -> Option<u32> {
        self.index_in(&self.segment.columns.xattrs)
    }

    /// Copies every field into `entry`, except the identity on disk, which lists do not keep.
    pub fn load(self, entry: &mut Entry) {
        entry.clear();
        let key = self.key();
        entry.path.extend_from_slice(key.dir);
        if !matches!(key.dir, b"" | b"/") {
            entry.path.push(b'/');
        }
        entry.path.extend_from_slice(key.base);
        entry.mode = self.mode();
        entry.size = self.size();
        entry.mtime = self.mtime();
        entry.nsec = self.nsec();
        entry.atime = self.atime().unwrap_or_default();
        entry.crtime = self.crtime().unwrap_or_default();
        entry.uid = self.uid();
        entry.gid = self.gid();
        entry.rdev = self.rdev();
        entry.target.extend_from_slice(self.target().unwrap_or_default());
        entry.digest.extend_from_slice(self.digest().unwrap_or_default());
        entry.flags = self.flags();
        entry.origin = self.origin();
        entry.group = self.link().map(|link| link.group);
        entry.access_acl = self.access_acl();
        entry.default_acl = self.default_acl();
        entry.xattrs = self.xattrs();
    }

    fn record(self) -> &'a Record {
        &self.segment.records[self.place as usize]
    }

    fn index_in(self, column: &[u32]) -> Option<u32> {
        column.get(self.place()).copied().filter(|&index| index != NO_INDEX)
    }
}
