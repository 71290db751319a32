//! Writing file lists (spec 03 §2, §3).

use std::collections::HashMap;

use super::codec::{Codec, Inherited, Previous, bit};
use super::columns::Columns;
use super::entry::{Entry, EntryFlags, Inode, Kind};
use super::ids::{NoNames, Owner, OwnerNames, UsedIds, put_name};
use super::links::LinkGroups;
use super::name::MAX_PATH;
use crate::meta::{Acl, AclEncoder, AclTable, XattrEncoder, XattrTable};
use crate::session::Negotiated;
use crate::wire::{put_longint, put_varint, put_varint30, put_varlong, put_varlong30};

/// Longest prefix shared with the previous name, in bytes.
const MAX_PREFIX: usize = 255;

/// Writes the lists of one session, entry by entry, in the order they are to have on the wire.
pub struct FileListEncoder {
    codec: Codec,
    previous: Previous,
    ids: UsedIds,
    /// Distinct ACLs that entries refer to by number.
    pub acls: AclTable,
    /// Distinct attribute lists that entries refer to by number.
    pub xattrs: XattrTable,
    access_acls: AclEncoder,
    default_acls: AclEncoder,
    sent_xattrs: XattrEncoder,
    groups: LinkGroups,
    /// The first members of the groups opened in this list, by number.
    leaders: HashMap<u32, Inherited>,
    start: u32,
    count: u32,
}

/// How an entry takes part in hard linking, as far as its bytes are concerned.
#[derive(Clone, Copy)]
enum LinkForm {
    None,
    /// Protocols up to 29: device and inode follow.
    Inode(Inode),
    /// The first of its group.
    First(u32),
    /// Refers to a first one in an earlier list.
    Elsewhere(u32),
    /// Refers to a first one in this list: all else is left out.
    Abbreviated(u32),
}

impl FileListEncoder {
    /// An encoder at the start of a session; `names` is the sender's user database.
    #[must_use]
    pub fn new(negotiated: &Negotiated, columns: Columns, names: Box<dyn OwnerNames + Send>) -> Self {
        let names = if columns.numeric_ids { Box::new(NoNames) } else { names };
        Self {
            codec: Codec::new(negotiated, columns),
            previous: Previous::default(),
            ids: UsedIds::new(names),
            acls: AclTable::default(),
            xattrs: XattrTable::default(),
            access_acls: AclEncoder::default(),
            default_acls: AclEncoder::default(),
            sent_xattrs: XattrEncoder::default(),
            groups: LinkGroups::default(),
            leaders: HashMap::new(),
            start: 0,
            count: 0,
        }
    }

    /// Begins the list whose first entry has index `start`.
    pub fn begin(&mut self, start: u32) {
        self.start = start;
        self.count = 0;
        self.leaders.clear();
    }

    /// Appends `entry` to `out`.
    ///
    /// Its path must have 1 to 4095 bytes, none of them NUL, and a symlink's target at most 4095:
    /// the scanner leaves out what has not. With hard links, [`Entry::inode`] must be known for
    /// every entry that is not a directory.
    pub fn put(&mut self, out: &mut Vec<u8>, entry: &Entry) {
        debug_assert!((1..=MAX_PATH).contains(&entry.path.len()), "{} bytes", entry.path.len());
        let kind = entry.kind();
        let link = self.link_form(entry, kind);
        let (mut flags, mut numbers) = self.compare(entry, kind);
        flags |= self.dir_flags(entry, kind);
        match link {
            LinkForm::None => {}
            LinkForm::Inode(inode) if self.codec.extended => {
                flags |= bit::HARD_LINKED;
                let dev = inode.dev.cast_signed();
                flags |= if dev == numbers.dev { bit::SAME_DEV } else { 0 };
                numbers.dev = dev;
            }
            LinkForm::Inode(_) => {}
            LinkForm::First(_) => flags |= bit::HARD_LINKED | bit::FIRST_LINK,
            LinkForm::Elsewhere(_) | LinkForm::Abbreviated(_) => flags |= bit::HARD_LINKED,
        }
        let flags = self.put_head(out, entry, kind, flags, link);
        match link {
            LinkForm::Abbreviated(group) => {
                let leader = self.leaders[&group];
                let rdev = if kind.is_device() { leader.rdev } else { numbers.rdev };
                numbers = Inherited { rdev, dev: numbers.dev, ..leader };
            }
            _ => self.put_fields(out, entry, kind, flags, link),
        }
        self.put_tables(out, entry, kind);
        if let LinkForm::First(group) = link {
            self.leaders.insert(group, numbers);
        }
        self.previous.name.clear();
        self.previous.name.extend_from_slice(&entry.path);
        self.previous.numbers = numbers;
        self.count += 1;
    }

    /// Ends the list: the marker with `io_error` (0 if `--ignore-errors` is on), and what follows a
    /// whole list: the names of owners, and below protocol 30 the errors.
    pub fn end(&mut self, out: &mut Vec<u8>, io_error: i32) {
        let marked = if self.codec.safe { io_error } else { 0 };
        if self.codec.varint_flags {
            out.push(0);
            put_varint(out, marked);
        } else if marked == 0 {
            out.push(0);
        } else {
            out.extend_from_slice(&(bit::ERROR_END as u16).to_le_bytes());
            put_varint(out, marked);
        }
        let Codec { modern, id0_names, .. } = self.codec;
        let [users, groups] = self.codec.wanted_id_lists();
        if users {
            self.ids.put_list(out, Owner::User, modern, id0_names);
        }
        if groups {
            self.ids.put_list(out, Owner::Group, modern, id0_names);
        }
        if !modern {
            out.extend_from_slice(&io_error.to_le_bytes());
        }
    }

    fn link_form(&mut self, entry: &Entry, kind: Kind) -> LinkForm {
        let Some(inode) = entry.inode.filter(|_| self.codec.columns.hard_links && kind != Kind::Dir) else {
            return LinkForm::None;
        };
        if !self.codec.extended {
            return if kind == Kind::File { LinkForm::Inode(inode) } else { LinkForm::None };
        }
        if !inode.shared {
            return LinkForm::None;
        }
        if !self.codec.modern {
            return LinkForm::Inode(inode);
        }
        match self.groups.join(inode.dev, inode.ino, self.start + self.count) {
            (group, true) => LinkForm::First(group),
            (group, false) if group >= self.start => LinkForm::Abbreviated(group),
            (group, false) => LinkForm::Elsewhere(group),
        }
    }

    fn dir_flags(&self, entry: &Entry, kind: Kind) -> u32 {
        if kind != Kind::Dir {
            return 0;
        }
        let content = entry.flags.has(EntryFlags::CONTENT_DIR);
        let top = if content && entry.flags.has(EntryFlags::TOP_DIR) { bit::TOP_DIR } else { 0 };
        if !self.codec.modern {
            top
        } else if entry.flags.has(EntryFlags::IMPLIED_DIR) {
            bit::TOP_DIR | bit::NO_CONTENT
        } else if content {
            top
        } else {
            bit::NO_CONTENT
        }
    }

    /// The flags that say what is inherited, and what the next entry will inherit.
    fn compare(&self, entry: &Entry, kind: Kind) -> (u32, Inherited) {
        let Codec { extended, modern, columns, .. } = &self.codec;
        let first = self.previous.name.is_empty();
        let old = &self.previous.numbers;
        let mut next = *old;
        let mut flags = 0;
        let mut same = |flag: u32, same: bool| flags |= if same { flag } else { 0 };
        same(bit::SAME_MODE, entry.mode == old.mode);
        next.mode = entry.mode;
        same(bit::SAME_TIME, entry.mtime == old.mtime);
        next.mtime = entry.mtime;
        same(bit::NANOSECONDS, self.codec.nanoseconds && entry.nsec != 0);
        same(bit::CREATED_AT_MTIME, columns.crtimes && entry.crtime == entry.mtime);
        same(bit::SAME_UID, !columns.uid || !first && entry.uid == old.uid);
        same(bit::SAME_GID, !columns.gid || !first && entry.gid == old.gid);
        if columns.uid {
            next.uid = entry.uid;
        }
        if columns.gid {
            next.gid = entry.gid;
        }
        if columns.atimes && kind != Kind::Dir {
            same(bit::SAME_ATIME, *extended && entry.atime == old.atime);
            next.atime = entry.atime;
        }
        let device = kind.is_device();
        match (extended, self.codec.has_rdev(kind)) {
            (false, true) => {
                same(bit::SAME_RDEV, !device || entry.rdev == old.rdev);
                if device {
                    next.rdev = entry.rdev;
                }
            }
            (false, false) => next.rdev = Default::default(),
            (true, true) => {
                same(bit::SAME_MAJOR, !device || entry.rdev.major == old.rdev.major);
                let minor = if device { entry.rdev.minor } else { 0 };
                same(bit::MINOR_8, !modern && minor <= 0xff);
                if device {
                    next.rdev = entry.rdev;
                }
            }
            (true, false) => {}
        }
        (flags, next)
    }

    /// Writes flags, name and link index; answers the final flags.
    fn put_head(&mut self, out: &mut Vec<u8>, entry: &Entry, kind: Kind, flags: u32, link: LinkForm) -> u32 {
        let shared = entry.path.iter().zip(&self.previous.name).take_while(|(a, b)| a == b).count();
        let (prefix, suffix) = entry.path.split_at(shared.min(MAX_PREFIX));
        let mut flags = flags;
        if !prefix.is_empty() {
            flags |= bit::SAME_NAME;
        }
        if suffix.len() > 0xff {
            flags |= bit::LONG_NAME;
        }
        if !matches!(link, LinkForm::Abbreviated(_)) && self.codec.inline_names {
            flags |= self.name_flags(entry, flags);
        }
        flags = self.put_flags(out, flags, kind);
        if flags & bit::SAME_NAME != 0 {
            out.push(prefix.len() as u8);
        }
        if flags & bit::LONG_NAME != 0 {
            put_varint30(out, suffix.len() as i32, self.codec.modern);
        } else {
            out.push(suffix.len() as u8);
        }
        out.extend_from_slice(suffix);
        if let LinkForm::Elsewhere(group) | LinkForm::Abbreviated(group) = link {
            put_varint(out, group.cast_signed());
        }
        flags
    }

    /// Writes the flag word with the filler that keeps it from looking like the end.
    fn put_flags(&self, out: &mut Vec<u8>, flags: u32, kind: Kind) -> u32 {
        if self.codec.varint_flags {
            put_varint(out, if flags == 0 { bit::EXTENDED } else { flags }.cast_signed());
            return flags;
        }
        if !self.codec.extended {
            let filler = if kind == Kind::Dir { bit::LONG_NAME } else { bit::TOP_DIR };
            let flags = if flags & 0xff == 0 { filler } else { flags & 0xff };
            out.push(flags as u8);
            return flags;
        }
        let flags = if flags == 0 && kind != Kind::Dir { bit::TOP_DIR } else { flags };
        if flags & 0xff00 != 0 || flags == 0 {
            out.extend_from_slice(&((flags | bit::EXTENDED) as u16).to_le_bytes());
        } else {
            out.push(flags as u8);
        }
        flags
    }

    /// Whether names of owners follow; the names themselves are looked up here.
    fn name_flags(&mut self, entry: &Entry, flags: u32) -> u32 {
        let user = flags & bit::SAME_UID == 0 && self.ids.first_use(Owner::User, entry.uid).is_some();
        let group = flags & bit::SAME_GID == 0 && self.ids.first_use(Owner::Group, entry.gid).is_some();
        let user = if user { bit::USER_NAME } else { 0 };
        user | if group { bit::GROUP_NAME } else { 0 }
    }

    /// Writes everything between the link index and the ACLs.
    fn put_fields(&mut self, out: &mut Vec<u8>, entry: &Entry, kind: Kind, flags: u32, link: LinkForm) {
        let modern = self.codec.modern;
        put_varlong30(out, entry.size.cast_signed(), 3, modern);
        if flags & bit::SAME_TIME == 0 {
            if modern {
                put_varlong(out, entry.mtime, 4);
            } else {
                out.extend_from_slice(&(entry.mtime as u32).to_le_bytes());
            }
        }
        if flags & bit::NANOSECONDS != 0 {
            put_varint(out, entry.nsec.cast_signed());
        }
        if self.codec.columns.crtimes && flags & bit::CREATED_AT_MTIME == 0 {
            put_varlong(out, entry.crtime, 4);
        }
        if flags & bit::SAME_MODE == 0 {
            out.extend_from_slice(&entry.mode.to_le_bytes());
        }
        if self.codec.columns.atimes && kind != Kind::Dir && flags & bit::SAME_ATIME == 0 {
            put_varlong(out, entry.atime, 4);
        }
        if flags & bit::SAME_UID == 0 {
            self.put_owner(out, Owner::User, entry.uid, modern && flags & bit::USER_NAME != 0);
        }
        if flags & bit::SAME_GID == 0 {
            self.put_owner(out, Owner::Group, entry.gid, modern && flags & bit::GROUP_NAME != 0);
        }
        self.put_rdev(out, entry, kind, flags);
        if self.codec.columns.links && kind == Kind::Symlink {
            put_varint30(out, entry.target.len() as i32, modern);
            out.extend_from_slice(&entry.target);
        }
        if let LinkForm::Inode(inode) = link {
            if !self.codec.extended || flags & bit::SAME_DEV == 0 {
                put_longint(out, inode.dev.cast_signed().wrapping_add(1));
            }
            put_longint(out, inode.ino.cast_signed());
        }
        if let Some(length) = self.codec.digest_len(kind) {
            let end = out.len() + length;
            if kind == Kind::File {
                out.extend(entry.digest.iter().take(length));
            }
            out.resize(end, 0);
        }
    }

    fn put_owner(&mut self, out: &mut Vec<u8>, owner: Owner, id: u32, named: bool) {
        put_varint30(out, id.cast_signed(), self.codec.modern);
        if named {
            put_name(out, self.ids.last_name(owner));
        } else if self.codec.id_lists {
            self.ids.first_use(owner, id);
        }
    }

    fn put_rdev(&self, out: &mut Vec<u8>, entry: &Entry, kind: Kind, flags: u32) {
        let Codec { extended, modern, .. } = self.codec;
        if !self.codec.has_rdev(kind) {
            return;
        }
        if !extended {
            if flags & bit::SAME_RDEV == 0 {
                out.extend_from_slice(&entry.rdev.to_native().to_le_bytes());
            }
            return;
        }
        let minor = if kind.is_device() { entry.rdev.minor } else { 0 };
        if flags & bit::SAME_MAJOR == 0 {
            put_varint30(out, entry.rdev.major.cast_signed(), modern);
        }
        if modern {
            put_varint(out, minor.cast_signed());
        } else if flags & bit::MINOR_8 != 0 {
            out.push(minor as u8);
        } else {
            out.extend_from_slice(&minor.to_le_bytes());
        }
    }

    fn put_tables(&mut self, out: &mut Vec<u8>, entry: &Entry, kind: Kind) {
        let inline = self.codec.inline_names;
        if self.codec.columns.acls && kind != Kind::Symlink {
            let access = entry.access_acl.unwrap_or_else(|| self.acls.intern(Acl::default()));
            self.access_acls.put(out, &self.acls, access, inline, &mut self.ids);
            if kind == Kind::Dir {
                let default = entry.default_acl.unwrap_or_else(|| self.acls.intern(Acl::default()));
                self.default_acls.put(out, &self.acls, default, inline, &mut self.ids);
            }
        }
        if self.codec.columns.xattrs {
            let list = entry.xattrs.unwrap_or_else(|| self.xattrs.intern(Vec::new()));
            self.sent_xattrs.put(out, &self.xattrs, list);
        }
    }
}
