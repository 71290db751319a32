//! The facts both ends agreed on before the first file list, and every question about versions.
//!
//! No other file compares a protocol number: it asks [`Negotiated`] by name (spec 01 §4).

use crate::delta::Compression;
use crate::sum::ChecksumChoice;

/// Oldest protocol this library speaks.
pub const OLDEST_PROTOCOL: u8 = 27;
/// Newest protocol this library speaks.
pub const NEWEST_PROTOCOL: u8 = 32;

/// The compatibility flags a server sends from protocol 30 on (spec 01 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompatFlags(pub u32);

impl CompatFlags {
    /// Incremental recursion is on.
    pub const INC_RECURSE: u32 = 0x001;
    /// The server can set symlink times.
    pub const SYMLINK_TIMES: u32 = 0x002;
    /// The server converts symlink targets with iconv.
    pub const SYMLINK_ICONV: u32 = 0x004;
    /// The file list's end marker carries the I/O error flags.
    pub const SAFE_FILE_LIST: u32 = 0x008;
    /// The xattr hard-link optimisation is off.
    pub const AVOID_XATTR_OPTIMIZATION: u32 = 0x010;
    /// Block sums of md5 hash the seed first.
    pub const CHECKSUM_SEED_FIX: u32 = 0x020;
    /// A partial-dir basis is updated in place.
    pub const INPLACE_PARTIAL_DIR: u32 = 0x040;
    /// File-list flags are varints, and negotiation strings follow.
    pub const VARINT_FLIST_FLAGS: u32 = 0x080;
    /// Id lists name uid 0 and gid 0.
    pub const ID0_NAMES: u32 = 0x100;

    /// Whether every bit of `flag` is set.
    #[must_use]
    pub fn has(self, flag: u32) -> bool {
        self.0 & flag == flag
    }
}

/// Everything the two ends agreed on; made once per session and never changed (spec 01 §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    protocol: u8,
    compat: CompatFlags,
    /// The checksum algorithms in use.
    pub checksum: ChecksumChoice,
    /// The compression of the token streams, or `None` for plain tokens.
    pub compression: Option<Compression>,
    /// The seed of the block sums.
    pub seed: i32,
}

impl Negotiated {
    /// Records an agreement on `protocol` (27 to 32) with `compat` flags (ignored below 30),
    /// the version's own checksum, no compression and seed 0.
    #[must_use]
    pub fn new(protocol: u8, compat: CompatFlags) -> Self {
        debug_assert!((OLDEST_PROTOCOL..=NEWEST_PROTOCOL).contains(&protocol), "protocol {protocol}");
        let compat = if protocol < 30 { CompatFlags::default() } else { compat };
        let checksum = ChecksumChoice::implicit(protocol >= 30, compat.has(CompatFlags::CHECKSUM_SEED_FIX));
        Self { protocol, compat, checksum, compression: None, seed: 0 }
    }

    /// The negotiated protocol, for messages only: decisions ask the methods below.
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    /// The compatibility flags; all clear below protocol 30. A server keeps
    /// [`CompatFlags::SYMLINK_ICONV`] only for clients that convert targets too.
    #[must_use]
    pub fn compat(&self) -> CompatFlags {
        self.compat
    }

    /// Integers are varints, indexes are delta-coded and both directions are framed (30 and later).
    #[must_use]
    pub fn is_modern(&self) -> bool {
        self.protocol >= 30
    }

    /// `%C` shows digests of what was transferred (30 and later).
    #[must_use]
    pub fn shows_digests(&self) -> bool {
        self.protocol >= 30
    }

    /// Items carry flags, a basis type and a name; there is a delayed-update phase (29 and later).
    #[must_use]
    pub fn has_item_flags(&self) -> bool {
        self.protocol >= 29
    }

    /// File lists are ordered component by component, files before directories (29 and later).
    #[must_use]
    pub fn sorts_by_component(&self) -> bool {
        self.protocol >= 29
    }

    /// Filter rules travel with prefixes and dir-merge rules exist (29 and later).
    #[must_use]
    pub fn has_modern_filters(&self) -> bool {
        self.protocol >= 29
    }

    /// Filter rules may be perishable (30 and later).
    #[must_use]
    pub fn has_perishable_filters(&self) -> bool {
        self.protocol >= 30
    }

    /// A daemon's client takes no warning for an answer: that a file has vanished is an error (below 28).
    #[must_use]
    pub fn daemon_warns_by_errors(&self) -> bool {
        self.protocol < 28
    }

    /// File-list flags may take a second byte; devices are split in major and minor (28 and later).
    #[must_use]
    pub fn has_extended_flags(&self) -> bool {
        self.protocol >= 28
    }

    /// Nanoseconds, deletion statistics, ERROR_EXIT and the long goodbye exist (31 and later).
    #[must_use]
    pub fn has_long_goodbye(&self) -> bool {
        self.protocol >= 31
    }

    /// Modification times carry nanoseconds (31 and later).
    #[must_use]
    pub fn has_nanoseconds(&self) -> bool {
        self.protocol >= 31
    }

    /// File lists arrive in pieces while the transfer runs.
    #[must_use]
    pub fn incremental_recursion(&self) -> bool {
        self.compat.has(CompatFlags::INC_RECURSE)
    }

    /// File-list flags are varints.
    #[must_use]
    pub fn varint_flist_flags(&self) -> bool {
        self.compat.has(CompatFlags::VARINT_FLIST_FLAGS)
    }

    /// The end of a file list may carry I/O error flags.
    #[must_use]
    pub fn safe_file_list(&self) -> bool {
        self.compat.has(CompatFlags::SAFE_FILE_LIST) || self.protocol >= 31
    }

    /// Errors met in making a list of incremental recursion are also told by a message (30 alone).
    #[must_use]
    pub fn announces_sub_list_errors(&self) -> bool {
        self.protocol == 30
    }

    /// Names forwarded for `--files-from` travel inside frames (31 and later).
    #[must_use]
    pub fn frames_names(&self) -> bool {
        self.protocol >= 31
    }

    /// Id lists name id 0 too.
    #[must_use]
    pub fn names_id0(&self) -> bool {
        self.compat.has(CompatFlags::ID0_NAMES)
    }

    /// Targets of symbolic links are converted as names are, where names are (`--iconv`).
    #[must_use]
    pub fn converts_targets(&self) -> bool {
        self.compat.has(CompatFlags::SYMLINK_ICONV)
    }

    /// Records that the client of this server does not convert targets.
    pub(super) fn keep_targets(&mut self) {
        self.compat.0 &= !CompatFlags::SYMLINK_ICONV;
    }

    /// Longest block of a basis in bytes (spec 05 §4.2).
    #[must_use]
    pub fn max_block_len(&self) -> u32 {
        if self.protocol >= 30 { 131_072 } else { 536_870_912 }
    }

    /// A block above 65535 bytes enters the zlib history in consecutive pieces (31 and later), instead
    /// of pieces that all start at its beginning (spec 05 §9.2).
    #[must_use]
    pub fn inserts_consecutive_history(&self) -> bool {
        self.protocol >= 31
    }

    /// Both ends list their checksums and compressions before the seed.
    #[must_use]
    pub fn exchanges_algorithm_lists(&self) -> bool {
        self.compat.has(CompatFlags::VARINT_FLIST_FLAGS)
    }

    /// What the client sends after the seed is framed (spec 01 §4.5).
    #[must_use]
    pub fn frames_client_stream(&self, client_is_sender: bool, removes_source_files: bool) -> bool {
        self.is_modern() || (!client_is_sender && removes_source_files)
    }

    /// A basis in the partial directory is updated in place.
    #[must_use]
    pub fn inplace_partial_dir(&self) -> bool {
        self.compat.has(CompatFlags::INPLACE_PARTIAL_DIR)
    }

    /// Xattrs of hard-linked files are sent once per group.
    #[must_use]
    pub fn xattr_hard_link_optimization(&self) -> bool {
        self.protocol >= 31 && !self.compat.has(CompatFlags::AVOID_XATTR_OPTIMIZATION)
    }
}
