//! What the encoder and the decoder share: the facts of the connection, the flag word, and the
//! state that is inherited from entry to entry (spec 03 §2, §3).

use super::columns::Columns;
use super::entry::{DeviceNumber, Kind};
use crate::session::Negotiated;

pub(super) mod bit {
    //! Bits of the flag word; some values have several meanings, told apart by protocol and kind.
    pub(crate) const TOP_DIR: u32 = 0x0001;
    pub(crate) const SAME_MODE: u32 = 0x0002;
    /// Protocol 27.
    pub(crate) const SAME_RDEV: u32 = 0x0004;
    pub(crate) const EXTENDED: u32 = 0x0004;
    pub(crate) const SAME_UID: u32 = 0x0008;
    pub(crate) const SAME_GID: u32 = 0x0010;
    pub(crate) const SAME_NAME: u32 = 0x0020;
    pub(crate) const LONG_NAME: u32 = 0x0040;
    pub(crate) const SAME_TIME: u32 = 0x0080;
    /// Devices, and specials where they have a number.
    pub(crate) const SAME_MAJOR: u32 = 0x0100;
    /// Directories from protocol 30 on.
    pub(crate) const NO_CONTENT: u32 = 0x0100;
    pub(crate) const HARD_LINKED: u32 = 0x0200;
    /// Protocols 28 and 29.
    pub(crate) const SAME_DEV: u32 = 0x0400;
    /// Protocol 30 and later.
    pub(crate) const USER_NAME: u32 = 0x0400;
    /// Protocols 28 and 29.
    pub(crate) const MINOR_8: u32 = 0x0800;
    /// Protocol 30 and later.
    pub(crate) const GROUP_NAME: u32 = 0x0800;
    pub(crate) const FIRST_LINK: u32 = 0x1000;
    pub(crate) const NANOSECONDS: u32 = 0x2000;
    pub(crate) const SAME_ATIME: u32 = 0x4000;
    pub(crate) const CREATED_AT_MTIME: u32 = 0x2_0000;
    /// The whole word that ends a list with I/O errors.
    pub(crate) const ERROR_END: u32 = 0x1004;
}

/// The version facts and agreed options that decide about bytes.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact of the wire format")]
pub(super) struct Codec {
    /// Two flag bytes, split device numbers, marked hard links (28 and later).
    pub(super) extended: bool,
    /// Variable-length integers, marked directories, indexed hard links (30 and later).
    pub(super) modern: bool,
    pub(super) nanoseconds: bool,
    pub(super) varint_flags: bool,
    /// The end marker may carry I/O errors.
    pub(super) safe: bool,
    /// Names of owners follow their first use.
    pub(super) inline_names: bool,
    /// Lists of owners' names follow the entries.
    pub(super) id_lists: bool,
    pub(super) id0_names: bool,
    pub(super) columns: Columns,
}

impl Codec {
    pub(super) fn new(negotiated: &Negotiated, columns: Columns) -> Self {
        let incremental = negotiated.incremental_recursion();
        Self {
            extended: negotiated.has_extended_flags(),
            modern: negotiated.is_modern(),
            nanoseconds: negotiated.has_nanoseconds(),
            varint_flags: negotiated.varint_flist_flags(),
            safe: negotiated.safe_file_list(),
            inline_names: incremental && !columns.numeric_ids,
            id_lists: !incremental && !columns.numeric_ids,
            id0_names: negotiated.names_id0(),
            columns,
        }
    }

    /// Whether an entry of this kind has a device number.
    pub(super) fn has_rdev(&self, kind: Kind) -> bool {
        kind.is_device() && self.columns.devices
            || kind.is_special() && self.columns.specials && !self.nanoseconds
    }

    /// Whether a file digest follows an entry of this kind, and how long it is.
    pub(super) fn digest_len(&self, kind: Kind) -> Option<usize> {
        self.columns.checksum.filter(|_| kind == Kind::File || !self.extended)
    }

    /// Which of the two id lists follow the entries.
    pub(super) fn wanted_id_lists(&self) -> [bool; 2] {
        let Columns { uid, gid, acls, .. } = self.columns;
        [self.id_lists && (uid || acls), self.id_lists && (gid || acls)]
    }
}

/// What an entry inherits from those before it; never reset during a session.
#[derive(Clone, Debug, Default)]
pub(super) struct Previous {
    /// The previous name as it was on the wire.
    pub(super) name: Vec<u8>,
    pub(super) numbers: Inherited,
}

/// The numeric part of [`Previous`]: small enough to be changed in a copy and put back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Inherited {
    pub(super) mode: u32,
    pub(super) mtime: i64,
    pub(super) atime: i64,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Only the major number is inherited from protocol 28 on.
    pub(super) rdev: DeviceNumber,
    /// Device of the previous hard link (protocols 28 and 29).
    pub(super) dev: i64,
}
