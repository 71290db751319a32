//! Reading file lists (spec 03 §2, §3, §10).

mod fields;

use std::collections::HashSet;

use crate::flist::builder::SegmentBuilder;
use crate::flist::codec::{Codec, Inherited, Previous, bit};
use crate::flist::columns::Columns;
use crate::flist::entry::{Entry, EntryFlags, Kind};
use crate::flist::error::FileListError;
use crate::flist::guard::{Admission, Conversion, NameGuard, Unconverted};
use crate::flist::ids::{IdListReader, IdNames};
use crate::flist::links::{LinkGroups, LinkTargets};
use crate::flist::name::{MAX_PATH, normalize};
use crate::flist::order::split_path;
use crate::meta::{AclKind, AclReader, XattrReader};
use crate::session::Negotiated;
use crate::wire::{Cursor, NeedsInput, varint, varint30};

/// The I/O error bits a peer may set.
const IO_ERRORS: i32 = 7;

/// What one step of [`FileListDecoder::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// An entry was appended to the list.
    Entry,
    /// A slot was appended for an entry whose [name](FileListDecoder::wire_name) or target cannot be
    /// converted: an I/O error of this side.
    Unconverted(Unconverted),
    /// A part of something long was consumed; call again.
    Part,
    /// The list is complete, and so is what follows a whole one (names of owners, errors).
    End {
        /// The sender's I/O errors, 0 to 7.
        io_error: i32,
    },
}

/// Answers the local name of a received extended attribute, or `None` to drop it.
pub type XattrNaming = Box<dyn FnMut(&[u8]) -> Option<Vec<u8>> + Send>;

/// Reads the lists of one session.
pub struct FileListDecoder {
    codec: Codec,
    incremental: bool,
    previous: Previous,
    /// Names of users and groups learnt so far.
    pub names: IdNames,
    /// The access ACLs that entries refer to by number.
    pub access_acls: AclReader,
    /// The default ACLs that entries refer to by number.
    pub default_acls: AclReader,
    /// The attribute lists that entries refer to by number.
    pub xattrs: XattrReader,
    guard: Option<Box<dyn NameGuard + Send>>,
    conversion: Option<Conversion>,
    /// What of the entry under way could not be converted.
    unconverted: Option<Unconverted>,
    xattr_naming: XattrNaming,
    link_targets: LinkTargets,
    /// Groups by identity on the sender's disk (below protocol 30).
    inodes: LinkGroups,
    /// Groups opened in earlier lists.
    groups: HashSet<u32>,
    /// Wire name of the requested directory whose content this is (below protocol 30).
    hierarchy: Option<Vec<u8>>,
    step: Step,
    ids: IdListReader,
    entry: Entry,
    raw: Vec<u8>,
    io_error: i32,
}

/// What comes next on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Entry,
    AccessAcl,
    DefaultAcl,
    Xattrs,
    IdLists,
    IoError,
}

/// What is read of an entry besides [`Entry`] itself, until it is whole.
struct Head {
    /// Index of the first entry of the list.
    start: u32,
    /// Index of this entry.
    index: u32,
    /// Index of the first member of its hard-link group, if this is not the first.
    reference: Option<u32>,
    numbers: Inherited,
    hierarchy: Hierarchy,
}

enum Hierarchy {
    Same,
    Opened(Vec<u8>),
    Closed,
}

impl FileListDecoder {
    /// A decoder at the start of a session.
    #[must_use]
    pub fn new(negotiated: &Negotiated, columns: Columns) -> Self {
        Self {
            codec: Codec::new(negotiated, columns),
            incremental: negotiated.incremental_recursion(),
            previous: Previous::default(),
            names: IdNames::default(),
            access_acls: AclReader::new(AclKind::Access),
            default_acls: AclReader::new(AclKind::Default),
            xattrs: XattrReader::default(),
            guard: None,
            conversion: None,
            unconverted: None,
            xattr_naming: Box::new(|name| Some(name.to_vec())),
            link_targets: LinkTargets::Kept,
            inodes: LinkGroups::default(),
            groups: HashSet::new(),
            hierarchy: None,
            step: Step::Entry,
            ids: IdListReader::default(),
            entry: Entry::default(),
            raw: Vec::new(),
            io_error: 0,
        }
    }

    /// Lets `guard` refuse names (spec 03 §9).
    #[must_use]
    pub fn guarded(mut self, guard: Box<dyn NameGuard + Send>) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Converts names and targets to a local charset, if there is one.
    #[must_use]
    pub fn converting(mut self, conversion: Option<Conversion>) -> Self {
        self.conversion = conversion;
        self
    }

    /// Renames or drops extended attributes as `naming` says (spec 04 §3.1).
    #[must_use]
    pub fn naming_xattrs(mut self, naming: XattrNaming) -> Self {
        self.xattr_naming = naming;
        self
    }

    /// Says what becomes of the targets of symlinks.
    #[must_use]
    pub fn link_targets(mut self, targets: LinkTargets) -> Self {
        self.link_targets = targets;
        self
    }

    /// The name of the last entry as it was on the wire.
    #[must_use]
    pub fn wire_name(&self) -> &[u8] {
        &self.previous.name
    }

    /// Reads the next entry into `list`, or the end of the list.
    ///
    /// After a "needs more input" error, call again with the same bytes and more; in every other
    /// case what was consumed of `input` is done with.
    ///
    /// # Errors
    /// Those of [`FileListError`], as spec 03 §10 lists them.
    pub fn next(&mut self, input: &mut Cursor<'_>, list: &mut SegmentBuilder) -> Result<Item, FileListError> {
        let start = input.position();
        match self.advance(input, list) {
            Err(error) if error.missing().is_some() && input.position() > start => Ok(Item::Part),
            result => result,
        }
    }

    /// Like [`FileListDecoder::next`], but when input runs out stands behind the last step made.
    fn advance(&mut self, input: &mut Cursor<'_>, list: &mut SegmentBuilder) -> Result<Item, FileListError> {
        loop {
            match self.step {
                Step::Entry => {
                    let mut item = input.clone();
                    let entered = self.entry(&mut item, list)?;
                    *input = item;
                    match entered {
                        Some(step) => self.step = step,
                        None => return self.push(list),
                    }
                }
                Step::AccessAcl => {
                    let number = self.access_acls.read(input, &mut self.names)?;
                    self.entry.access_acl = Some(number);
                    let xattrs = self.codec.columns.xattrs;
                    self.step = match self.entry.kind() {
                        Kind::Dir => Step::DefaultAcl,
                        _ if xattrs => Step::Xattrs,
                        _ => return self.push(list),
                    };
                }
                Step::DefaultAcl => {
                    let number = self.default_acls.read(input, &mut self.names)?;
                    self.entry.default_acl = Some(number);
                    if !self.codec.columns.xattrs {
                        return self.push(list);
                    }
                    self.step = Step::Xattrs;
                }
                Step::Xattrs => {
                    let number = self.xattrs.read(input, &self.entry.path, &mut self.xattr_naming)?;
                    self.entry.xattrs = Some(number);
                    return self.push(list);
                }
                Step::IdLists => {
                    let Codec { modern, id0_names, .. } = self.codec;
                    let wanted = self.codec.wanted_id_lists();
                    self.ids.read(input, wanted, modern, id0_names, &mut self.names)?;
                    self.step = Step::IoError;
                }
                Step::IoError => {
                    if !self.codec.modern {
                        self.io_error |= input.i32()? & IO_ERRORS;
                    }
                    self.step = Step::Entry;
                    self.ids = IdListReader::default();
                    return Ok(Item::End { io_error: std::mem::take(&mut self.io_error) });
                }
            }
        }
    }

    fn push(&mut self, list: &mut SegmentBuilder) -> Result<Item, FileListError> {
        self.step = Step::Entry;
        if let Some(unconverted) = self.unconverted {
            list.push_inactive(&self.entry)?;
            return Ok(Item::Unconverted(unconverted));
        }
        list.push(&self.entry)?;
        Ok(Item::Entry)
    }

    /// Reads an entry up to its ACLs, or the end marker. Answers the step that follows; `None` if
    /// the entry is complete.
    fn entry(
        &mut self,
        input: &mut Cursor<'_>,
        list: &SegmentBuilder,
    ) -> Result<Option<Step>, FileListError> {
        let Some(flags) = self.flags(input)? else { return Ok(Some(Step::IdLists)) };
        let prefix = self.raw_name(input, flags)?;
        self.unconverted = self.local_name()?;
        let start = list.start();
        let index = start + list.len() as u32;
        let reference = self.link_reference(input, flags, index)?;
        let numbers = self.previous.numbers;
        let mut head = Head { start, index, reference, numbers, hierarchy: Hierarchy::Same };
        match reference {
            Some(leader) if leader >= start => self.copy_leader(list, leader, &mut head)?,
            _ => self.fields(input, flags, &mut head)?,
        }
        self.check_kind()?;
        self.place(flags, prefix, list, &mut head)?;
        Ok(self.commit(head))
    }

    /// The flag word; `None` at the end of the list.
    fn flags(&mut self, input: &mut Cursor<'_>) -> Result<Option<u32>, FileListError> {
        if self.codec.varint_flags {
            let flags = varint(input)?.cast_unsigned();
            if flags == 0 {
                self.io_error |= varint(input)? & IO_ERRORS;
                return Ok(None);
            }
            return Ok(Some(flags));
        }
        let low = u32::from(input.u8()?);
        if low == 0 {
            return Ok(None);
        }
        if !self.codec.extended || low & bit::EXTENDED == 0 {
            return Ok(Some(low));
        }
        let flags = low | u32::from(input.u8()?) << 8;
        if flags != bit::ERROR_END {
            return Ok(Some(flags));
        }
        if !self.codec.safe {
            return Err(FileListError::InvalidFlag { flags });
        }
        self.io_error |= varint(input)? & IO_ERRORS;
        Ok(None)
    }

    /// Reads the name as it is on the wire; answers how much of it is inherited.
    fn raw_name(&mut self, input: &mut Cursor<'_>, flags: u32) -> Result<usize, FileListError> {
        let prefix = if flags & bit::SAME_NAME != 0 { usize::from(input.u8()?) } else { 0 };
        let suffix = if flags & bit::LONG_NAME != 0 {
            i64::from(varint30(input, self.codec.modern)?)
        } else {
            i64::from(input.u8()?)
        };
        let previous = &self.previous.name;
        let length = usize::try_from(suffix).ok().filter(|suffix| prefix + suffix <= MAX_PATH);
        let Some(length) = length else {
            return Err(FileListError::NameTooLong {
                flags,
                prefix,
                suffix,
                previous: previous.as_slice().into(),
            });
        };
        let Some(inherited) = previous.get(..prefix) else {
            return Err(FileListError::PrefixTooLong { prefix, previous: previous.as_slice().into() });
        };
        let suffix = input.take(length)?;
        self.raw.clear();
        self.raw.extend_from_slice(inherited);
        self.raw.extend_from_slice(suffix);
        Ok(prefix)
    }

    /// Makes the entry's path of the wire name; answers why if it could not be converted.
    fn local_name(&mut self) -> Result<Option<Unconverted>, FileListError> {
        let relative = self.codec.columns.relative;
        self.entry.clear();
        let Some(conversion) = self.conversion else {
            normalize(&self.raw, relative, &mut self.entry.path)?;
            return Ok(None);
        };
        match conversion.name_from_wire(&self.raw) {
            Ok(local) => normalize(&local, relative, &mut self.entry.path).map(|()| None),
            Err(unconverted) => Ok(Some(unconverted)),
        }
    }

    /// The hard-link index (protocol 30 and later) of an entry that is not the first of its group.
    fn link_reference(
        &self,
        input: &mut Cursor<'_>,
        flags: u32,
        index: u32,
    ) -> Result<Option<u32>, FileListError> {
        let refers = flags & (bit::HARD_LINKED | bit::FIRST_LINK) == bit::HARD_LINKED;
        if !self.codec.modern || !refers {
            return Ok(None);
        }
        let reference = varint(input)?;
        let out_of_range = FileListError::LinkOutOfRange { index: reference, position: index };
        u32::try_from(reference).ok().filter(|leader| *leader < index).map(Some).ok_or(out_of_range)
    }

    /// An abbreviated hard link: all attributes are those of the first member.
    fn copy_leader(
        &mut self,
        list: &SegmentBuilder,
        leader: u32,
        head: &mut Head,
    ) -> Result<(), FileListError> {
        let unlinked = FileListError::LinkToUnlinked { index: leader };
        let first = list.get((leader - list.start()) as usize);
        let Some(first) = first.filter(|first| first.link().is_some() && !first.is_dir()) else {
            return Err(unlinked);
        };
        let path = std::mem::take(&mut self.entry.path);
        first.load(&mut self.entry);
        self.entry.path = path;
        let entry = &mut self.entry;
        (entry.access_acl, entry.default_acl, entry.xattrs) = (None, None, None);
        let columns = &self.codec.columns;
        let numbers = &mut head.numbers;
        (numbers.mode, numbers.mtime) = (entry.mode, entry.mtime);
        if columns.atimes {
            numbers.atime = entry.atime;
        }
        if columns.uid {
            numbers.uid = entry.uid;
        }
        if columns.gid {
            numbers.gid = entry.gid;
        }
        if columns.devices && entry.kind().is_device() {
            numbers.rdev = entry.rdev;
        }
        Ok(())
    }

    /// Refuses a root that is no directory and types that mean nothing.
    fn check_kind(&self) -> Result<(), FileListError> {
        let Entry { path, mode, .. } = &self.entry;
        let kind = Kind::of_mode(*mode);
        let name = || path.as_slice().into();
        match kind {
            Some(Kind::Dir) => Ok(()),
            _ if matches!(path.as_slice(), b"." | b"/.") => {
                Err(FileListError::RootNotDirectory { name: name() })
            }
            None => Err(FileListError::InvalidMode { mode: *mode, name: name() }),
            Some(Kind::Missing) if !self.codec.columns.delete_missing_args => {
                Err(FileListError::InvalidMode { mode: 0, name: name() })
            }
            Some(_) => Ok(()),
        }
    }

    /// Checks where the entry may be, and decides what kind of directory it is.
    fn place(
        &mut self,
        flags: u32,
        prefix: usize,
        list: &SegmentBuilder,
        head: &mut Head,
    ) -> Result<(), FileListError> {
        let is_dir = self.entry.kind() == Kind::Dir;
        let mut parent_only = false;
        if self.unconverted.is_none() {
            let path = &self.entry.path;
            if self.incremental {
                check_directory(path, list.directory())?;
            }
            if let Some(guard) = &mut self.guard {
                let shown = path.strip_prefix(b"/").unwrap_or(path);
                parent_only = guard.admit(shown, is_dir)? == Admission::ParentOnly;
            }
        }
        if is_dir {
            self.entry.flags = match (parent_only, self.codec.modern) {
                (true, _) => EntryFlags::IMPLIED_DIR,
                (false, true) => modern_dir_flags(flags),
                (false, false) => self.old_dir_flags(flags, prefix, head),
            };
        }
        Ok(())
    }

    /// Below protocol 30 content directories are found by what they are below (spec 03 §4).
    fn old_dir_flags(&self, flags: u32, prefix: usize, head: &mut Head) -> EntryFlags {
        let Columns { relative, recurse, .. } = self.codec.columns;
        let name = &self.raw;
        if flags & bit::TOP_DIR != 0 {
            if recurse {
                let stem = if relative { name.strip_suffix(b"/.").unwrap_or(name) } else { name };
                head.hierarchy = Hierarchy::Opened(if stem == b"." { Vec::new() } else { stem.to_vec() });
            }
            return EntryFlags::TOP_DIR.with(EntryFlags::CONTENT_DIR);
        }
        let Some(top) = &self.hierarchy else { return EntryFlags::NONE };
        let below = prefix >= top.len() && name.get(top.len()) == Some(&b'/');
        if !relative || top.is_empty() || below {
            return EntryFlags::CONTENT_DIR;
        }
        head.hierarchy = Hierarchy::Closed;
        EntryFlags::NONE
    }

    /// Makes the entry the previous one; answers the step that follows.
    fn commit(&mut self, head: Head) -> Option<Step> {
        std::mem::swap(&mut self.previous.name, &mut self.raw);
        self.previous.numbers = head.numbers;
        match head.hierarchy {
            Hierarchy::Same => {}
            Hierarchy::Opened(prefix) => self.hierarchy = Some(prefix),
            Hierarchy::Closed => self.hierarchy = None,
        }
        if self.incremental && self.entry.group == Some(head.index) {
            self.groups.insert(head.index);
        }
        if self.unconverted.is_some() {
            self.entry.path.clear();
        }
        let Columns { acls, xattrs, .. } = self.codec.columns;
        if acls && self.entry.kind() != Kind::Symlink {
            Some(Step::AccessAcl)
        } else {
            xattrs.then_some(Step::Xattrs)
        }
    }
}

/// In incremental recursion every list holds the content of one directory (spec 03 §8.7); the first
/// one, without a directory, holds names without a directory part.
fn check_directory(path: &[u8], directory: Option<&[u8]>) -> Result<(), FileListError> {
    let (dir, base) = split_path(path);
    let dir = dir.strip_prefix(b"/").unwrap_or(dir);
    if dir == directory.unwrap_or_default() && (directory.is_none() || base != b".") {
        return Ok(());
    }
    Err(FileListError::OutsideDirectory { dir: dir.into(), name: base.into() })
}

fn modern_dir_flags(flags: u32) -> EntryFlags {
    match (flags & bit::TOP_DIR != 0, flags & bit::NO_CONTENT != 0) {
        (true, false) => EntryFlags::TOP_DIR.with(EntryFlags::CONTENT_DIR),
        (false, false) => EntryFlags::CONTENT_DIR,
        (true, true) => EntryFlags::IMPLIED_DIR,
        (false, true) => EntryFlags::NONE,
    }
}
