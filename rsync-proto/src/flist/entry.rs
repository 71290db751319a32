//! One entry of a file list as a value: what the scanner makes, the encoder writes and the decoder
//! reads into.

use std::fmt;

/// Type bits of `st_mode`.
const TYPE_MASK: u32 = 0o170_000;

/// What an entry is, from the type bits of its mode (spec 03 §3 "Mode").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A requested source that does not exist: its destination is to be deleted (mode 0).
    Missing,
}

impl Kind {
    /// The kind that `mode` says, or `None` if its type bits mean nothing.
    #[must_use]
    pub fn of_mode(mode: u32) -> Option<Self> {
        match mode & TYPE_MASK {
            0o100_000 => Some(Self::File),
            0o040_000 => Some(Self::Dir),
            0o120_000 => Some(Self::Symlink),
            0o020_000 => Some(Self::CharDevice),
            0o060_000 => Some(Self::BlockDevice),
            0o010_000 => Some(Self::Fifo),
            0o140_000 => Some(Self::Socket),
            0 if mode == 0 => Some(Self::Missing),
            _ => None,
        }
    }

    /// Character or block device.
    #[must_use]
    pub fn is_device(self) -> bool {
        matches!(self, Self::CharDevice | Self::BlockDevice)
    }

    /// Fifo or socket.
    #[must_use]
    pub fn is_special(self) -> bool {
        matches!(self, Self::Fifo | Self::Socket)
    }
}

/// The number of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DeviceNumber {
    /// Driver.
    pub major: u32,
    /// Unit.
    pub minor: u32,
}

impl DeviceNumber {
    /// Reads the 32-bit number of protocols up to 27 (Linux layout, spec 03 §3 "rdev").
    #[must_use]
    pub fn from_native(number: u32) -> Self {
        Self { major: number >> 8 & 0xfff, minor: number & 0xff | number >> 12 & 0xfff00 }
    }

    /// Forms the 32-bit number of protocols up to 27; high bits that do not fit are lost.
    #[must_use]
    pub fn to_native(self) -> u32 {
        self.minor & 0xff | self.major << 8 & 0xf_ff00 | (self.minor & !0xff) << 12
    }
}

/// Which file an entry is on the sender's disk; equal values are hard links of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Inode {
    /// Device the file is on.
    pub dev: u64,
    /// Number on that device.
    pub ino: u64,
    /// More than one name leads to it.
    pub shared: bool,
}

/// How an entry takes part in hard linking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// The group: list start plus wire position of the first member sent (spec 03 §7.4).
    pub group: u32,
    /// No active entry before this one in the order of the same list belongs to the group.
    pub leads: bool,
}

/// Marks of an entry.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct EntryFlags(u8);

impl EntryFlags {
    /// None.
    pub const NONE: Self = Self(0);
    /// A directory that was itself requested.
    pub const TOP_DIR: Self = Self(1);
    /// A directory whose content is listed, so that deletion inside is allowed.
    pub const CONTENT_DIR: Self = Self(2);
    /// A parent directory that `-R` implied.
    pub const IMPLIED_DIR: Self = Self(4);
    /// The receiver may not set this entry's group (spec 04 §1.2).
    pub const SKIP_GROUP: Self = Self(8);

    /// Whether every mark of `marks` is set.
    #[must_use]
    pub fn has(self, marks: Self) -> bool {
        self.0 & marks.0 == marks.0
    }

    /// With the marks of `marks` added.
    #[must_use]
    pub fn with(self, marks: Self) -> Self {
        Self(self.0 | marks.0)
    }

    /// With the marks of `marks` removed.
    #[must_use]
    pub fn without(self, marks: Self) -> Self {
        Self(self.0 & !marks.0)
    }

    /// What remains of two equal directories: requested or listed by either, implied by both
    /// (spec 03 §7.3).
    #[must_use]
    pub fn merged(self, other: Self) -> Self {
        let implied = self.0 & other.0 & Self::IMPLIED_DIR.0;
        Self((self.0 | other.0) & !Self::IMPLIED_DIR.0 | implied)
    }
}

impl fmt::Debug for EntryFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::TOP_DIR, "TOP_DIR"),
            (Self::CONTENT_DIR, "CONTENT_DIR"),
            (Self::IMPLIED_DIR, "IMPLIED_DIR"),
            (Self::SKIP_GROUP, "SKIP_GROUP"),
        ];
        f.debug_set().entries(names.iter().filter(|(mark, _)| self.has(*mark)).map(|(_, name)| name)).finish()
    }
}

/// One entry, owned; reuse one value for many entries to keep its buffers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Path in the transfer: components joined by `/`, `.` for the top directory.
    pub path: Vec<u8>,
    /// `st_mode`, type bits included; 0 for a missing argument.
    pub mode: u32,
    /// Length in bytes; 0 for devices, fifos and sockets.
    pub size: u64,
    /// Modification time in seconds since 1970.
    pub mtime: i64,
    /// Nanoseconds of the modification time, below 1 000 000 000.
    pub nsec: u32,
    /// Access time in seconds.
    pub atime: i64,
    /// Creation time in seconds.
    pub crtime: i64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of a device; zero for other kinds.
    pub rdev: DeviceNumber,
    /// Target of a symlink; empty for other kinds.
    pub target: Vec<u8>,
    /// Content digest, or empty if there is none (it travels as zeros).
    pub digest: Vec<u8>,
    /// Marks.
    pub flags: EntryFlags,
    /// Sender: number of the source directory that the path is relative to.
    pub origin: u32,
    /// Sender: identity on disk, for hard links.
    pub inode: Option<Inode>,
    /// Receiver: the hard-link group.
    pub group: Option<u32>,
    /// Place of the access ACL in the session's table.
    pub access_acl: Option<u32>,
    /// Place of a directory's default ACL in the session's table.
    pub default_acl: Option<u32>,
    /// Place of the extended attributes in the session's table.
    pub xattrs: Option<u32>,
}

impl Entry {
    /// What the entry is; type bits without a meaning count as [`Kind::Missing`].
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::of_mode(self.mode).unwrap_or(Kind::Missing)
    }

    /// Resets every field, keeping the buffers.
    pub fn clear(&mut self) {
        let Self { path, target, digest, .. } = std::mem::take(self);
        *self = Self { path, target, digest, ..Self::default() };
        self.path.clear();
        self.target.clear();
        self.digest.clear();
    }
}
