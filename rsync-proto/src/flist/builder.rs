//! Filling a segment in wire order, then sorting and cleaning it.

use std::collections::HashMap;
use std::sync::Arc;

use super::clean;
use super::columns::Columns;
use super::entry::{Entry, EntryFlags, Kind};
use super::error::FileListError;
use super::list::ListHead;
use super::order::{Order, sorted_positions, split_path};
use super::segment::{
    Attributes, EntryRef, INACTIVE, LEADS, NO_INDEX, Numbers, Record, Segment, put_prefixed,
};

/// How [`SegmentBuilder::finish`] turns the entries received into a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finish {
    /// The order of the session's protocol.
    pub order: Order,
    /// Duplicates are dropped: the receiver does that, the sender does not (spec 03 §7.3).
    pub clean: bool,
    /// Indexes follow wire order (`--iconv`).
    pub number_by_wire: bool,
    /// Directories are numbered: incremental recursion.
    pub number_directories: bool,
}

/// Largest number of bytes or entries a list can hold; offsets and indexes are 31 bits.
const CAPACITY: usize = i32::MAX as usize;

/// A file list under construction: entries are pushed in wire order.
#[derive(Debug)]
pub struct SegmentBuilder {
    segment: Segment,
    /// Which columns are filled.
    filled: Columns,
    attribute_numbers: HashMap<Attributes, u32>,
    dir_numbers: HashMap<Vec<u8>, u32>,
    max_alloc: u64,
    directory: Option<Vec<u8>>,
}

impl SegmentBuilder {
    /// Starts the list whose first entry has index `start`: 0, or 1 and up in incremental recursion.
    #[must_use]
    pub fn new(start: u32, columns: &Columns) -> Self {
        let mut segment = Segment { start, ..Segment::default() };
        segment.columns.digest_len = columns.checksum.unwrap_or(0).min(Columns::MAX_DIGEST);
        Self {
            segment,
            filled: columns.clone(),
            attribute_numbers: HashMap::new(),
            dir_numbers: HashMap::new(),
            max_alloc: u64::MAX,
            directory: None,
        }
    }

    /// Starts the received list that `head` announces: every entry must be directly in its directory.
    #[must_use]
    pub fn announced(head: ListHead, columns: &Columns) -> Self {
        Self { directory: Some(head.dir), ..Self::new(head.start, columns).inside(head.parent) }
    }

    /// Makes this the content of directory number `parent` (spec 03 §8.3).
    #[must_use]
    pub fn inside(mut self, parent: u32) -> Self {
        self.segment.parent = Some(parent);
        self
    }

    /// Refuses to hold more than `bytes` in one of its tables (`--max-alloc`).
    #[must_use]
    pub fn max_alloc(mut self, bytes: u64) -> Self {
        self.max_alloc = bytes;
        self
    }

    /// Index of the first entry.
    #[must_use]
    pub fn start(&self) -> u32 {
        self.segment.start
    }

    /// Path of the directory whose content this must be; `None` for the first list.
    #[must_use]
    pub fn directory(&self) -> Option<&[u8]> {
        self.directory.as_deref()
    }

    /// Number of entries so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.segment.len()
    }

    /// Whether nothing was pushed yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segment.is_empty()
    }

    /// The entry at wire `position`, counted from 0.
    #[must_use]
    pub fn get(&self, position: usize) -> Option<EntryRef<'_>> {
        self.segment.get(position)
    }

    /// Appends `entry`, whose path is at most 4095 bytes long, and answers its wire position.
    ///
    /// # Errors
    /// [`FileListError::TooLarge`], [`FileListError::MaxAlloc`].
    pub fn push(&mut self, entry: &Entry) -> Result<u32, FileListError> {
        let (dir, name) = split_path(&entry.path);
        self.check_room(entry)?;
        let segment = &mut self.segment;
        let position = segment.records.len() as u32;
        let offset = segment.names.len() as u32;
        put_prefixed(&mut segment.names, name);
        let kind = entry.kind();
        if kind == Kind::Symlink {
            put_prefixed(&mut segment.names, &entry.target);
        }
        let size = if kind.is_device() {
            u64::from(entry.rdev.major) << 32 | u64::from(entry.rdev.minor)
        } else {
            entry.size
        };
        let dir = self.dir_number(dir);
        let attributes = self.attributes_number(Attributes {
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            flags: entry.flags,
            origin: entry.origin,
        });
        let segment = &mut self.segment;
        segment.records.push(Record {
            size,
            mtime: entry.mtime,
            nsec: entry.nsec & !INACTIVE,
            name: offset,
            dir,
            attributes,
        });
        self.push_columns(entry);
        Ok(position)
    }

    /// Appends a slot that only takes up an index: its name could not be converted.
    ///
    /// # Errors
    /// Those of [`SegmentBuilder::push`].
    pub fn push_inactive(&mut self, entry: &Entry) -> Result<u32, FileListError> {
        let position = self.push(&Entry { path: Vec::new(), ..entry.clone() })?;
        self.segment.deactivate(position);
        Ok(position)
    }

    /// Replaces owners and groups: once, after everything about their names is known.
    ///
    /// `map` gets uid and gid and answers the local ones and whether the group cannot be set.
    pub fn map_owners(&mut self, mut map: impl FnMut(u32, u32) -> (u32, u32, bool)) {
        for attributes in &mut self.segment.attributes {
            let (uid, gid, skip_group) = map(attributes.uid, attributes.gid);
            let flags = attributes.flags;
            let flags = if skip_group { flags.with(EntryFlags::SKIP_GROUP) } else { flags };
            *attributes = Attributes { uid, gid, flags, ..*attributes };
        }
        self.attribute_numbers.clear();
    }

    /// Replaces modes, as a receiver's `--chmod` does; the type bits must stay.
    pub fn map_modes(&mut self, mut map: impl FnMut(u32) -> u32) {
        for attributes in &mut self.segment.attributes {
            attributes.mode = map(attributes.mode);
        }
        self.attribute_numbers.clear();
    }

    /// Sorts, cleans and numbers the entries.
    #[must_use]
    pub fn finish(self, finish: Finish) -> Segment {
        let mut segment = self.segment;
        segment.order = finish.order;
        if !self.filled.hard_links {
            segment.columns.links = Vec::new();
        }
        let wire_of = sorted_positions(&segment, finish.order);
        if !wire_of.is_sorted() {
            segment.reorder(&wire_of);
            if finish.number_by_wire {
                let mut place_of = vec![0; wire_of.len()];
                for (place, &position) in wire_of.iter().enumerate() {
                    place_of[position as usize] = place as u32;
                }
                segment.numbers = Some(Numbers { wire_of, place_of });
            }
        }
        if finish.clean {
            clean::drop_duplicates(&mut segment);
        }
        clean::elect_leaders(&mut segment);
        segment.shrink();
        if finish.number_directories {
            segment.directories = Some(Arc::new(segment.copy_directories(&self.filled)));
        }
        segment
    }

    fn check_room(&self, entry: &Entry) -> Result<(), FileListError> {
        let segment = &self.segment;
        let indexes = segment.start as usize + segment.records.len();
        let names = segment.names.len() + entry.path.len() + entry.target.len() + 4;
        let dirs = segment.dir_names.len() + entry.path.len();
        if indexes >= CAPACITY - 1 || names >= CAPACITY || dirs >= CAPACITY {
            return Err(FileListError::TooLarge);
        }
        let largest = (size_of::<Record>() * (segment.records.len() + 1)).max(names).max(dirs);
        if largest as u64 > self.max_alloc {
            return Err(FileListError::MaxAlloc { limit: self.max_alloc });
        }
        Ok(())
    }

    fn dir_number(&mut self, dir: &[u8]) -> u32 {
        if let Some(last) = self.segment.records.last()
            && self.segment.dir_name(last.dir) == dir
        {
            return last.dir;
        }
        if let Some(&number) = self.dir_numbers.get(dir) {
            return number;
        }
        let segment = &mut self.segment;
        let number = segment.dirs.len() as u32;
        let start = segment.dir_names.len() as u32;
        segment.dir_names.extend_from_slice(dir);
        segment.dirs.push((start, segment.dir_names.len() as u32));
        self.dir_numbers.insert(dir.to_vec(), number);
        number
    }

    fn attributes_number(&mut self, attributes: Attributes) -> u32 {
        let segment = &mut self.segment;
        if let Some(last) = segment.records.last()
            && segment.attributes[last.attributes as usize] == attributes
        {
            return last.attributes;
        }
        *self.attribute_numbers.entry(attributes).or_insert_with(|| {
            segment.attributes.push(attributes);
            segment.attributes.len() as u32 - 1
        })
    }

    fn push_columns(&mut self, entry: &Entry) {
        let count = self.segment.records.len();
        let columns = &mut self.segment.columns;
        if self.filled.atimes {
            columns.atimes.push(entry.atime);
        }
        if self.filled.crtimes {
            columns.crtimes.push(entry.crtime);
        }
        if columns.digest_len > 0 {
            let end = columns.digests.len() + columns.digest_len;
            columns.digests.extend(entry.digest.iter().take(columns.digest_len));
            columns.digests.resize(end, 0);
        }
        push_index(&mut columns.links, entry.group, count);
        push_index(&mut columns.access_acls, entry.access_acl, count);
        push_index(&mut columns.default_acls, entry.default_acl, count);
        push_index(&mut columns.xattrs, entry.xattrs, count);
    }
}

/// Sets the last of `count` indexes; the column comes into being with the first value.
fn push_index(column: &mut Vec<u32>, index: Option<u32>, count: usize) {
    if !column.is_empty() || index.is_some() {
        column.resize(count - 1, NO_INDEX);
        column.push(index.unwrap_or(NO_INDEX));
    }
}

impl Segment {
    /// Puts the entry of wire position `wire_of[place]` at `place`.
    fn reorder(&mut self, wire_of: &[u32]) {
        gather(&mut self.records, wire_of);
        let columns = &mut self.columns;
        gather(&mut columns.atimes, wire_of);
        gather(&mut columns.crtimes, wire_of);
        gather(&mut columns.links, wire_of);
        gather(&mut columns.access_acls, wire_of);
        gather(&mut columns.default_acls, wire_of);
        gather(&mut columns.xattrs, wire_of);
        if columns.digest_len > 0 {
            let length = columns.digest_len;
            let digests = std::mem::take(&mut columns.digests);
            let digest = |&position: &u32| &digests[position as usize * length..][..length];
            columns.digests = wire_of.iter().flat_map(digest).copied().collect();
        }
    }

    fn shrink(&mut self) {
        self.records.shrink_to_fit();
        self.attributes.shrink_to_fit();
        self.names.shrink_to_fit();
        self.dirs.shrink_to_fit();
        self.dir_names.shrink_to_fit();
        let columns = &mut self.columns;
        columns.atimes.shrink_to_fit();
        columns.crtimes.shrink_to_fit();
        columns.digests.shrink_to_fit();
        columns.links.shrink_to_fit();
        columns.access_acls.shrink_to_fit();
        columns.default_acls.shrink_to_fit();
        columns.xattrs.shrink_to_fit();
    }

    /// The directories in numbering order: that of the list, or of the wire where indexes follow it.
    fn copy_directories(&self, columns: &Columns) -> Segment {
        let mut copy = SegmentBuilder::new(0, columns);
        let mut entry = Entry::default();
        for offset in 0..self.len() as u32 {
            let Some(directory) = self.by_index(self.start + offset) else { continue };
            if directory.is_dir() {
                directory.load(&mut entry);
                let position = copy.push(&entry);
                if let (Ok(position), false) = (position, directory.is_active()) {
                    copy.segment.deactivate(position);
                }
            }
        }
        copy.segment.shrink();
        copy.segment
    }
}

/// Moves `values[order[place]]` to `place`; an empty column stays empty.
fn gather<T: Copy>(values: &mut Vec<T>, order: &[u32]) {
    if !values.is_empty() {
        *values = order.iter().map(|&position| values[position as usize]).collect();
    }
}

/// Marks `link` as the leader of its group.
pub(super) fn mark_leader(link: &mut u32) {
    *link |= LEADS;
}
