//! What can be wrong with a received file list.

use bstr::BString;

use crate::exit::ExitCode;
use crate::meta::{AclError, XattrError};
use crate::wire::{NeedsInput, WireError};

/// Why a file list was rejected (spec 03 §8.7, §9, §10).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileListError {
    /// A primitive is malformed, or merely incomplete.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A name is longer than a path may be.
    #[error("overflow: xflags=0x{flags:x} l1={prefix} l2={suffix} lastname={previous}")]
    NameTooLong {
        /// The flag word.
        flags: u32,
        /// Bytes shared with the previous name.
        prefix: usize,
        /// Announced further bytes.
        suffix: i64,
        /// The previous name.
        previous: BString,
    },
    /// More bytes are shared with the previous name than it has.
    #[error("file list: {prefix} bytes shared with the name {previous:?}, which is shorter")]
    PrefixTooLong {
        /// Bytes shared.
        prefix: usize,
        /// The previous name.
        previous: BString,
    },
    /// A name or symlink target contains a NUL byte.
    #[error("file list: a NUL byte in {text:?}")]
    NulByte {
        /// The name or target.
        text: BString,
    },
    /// A name has no bytes.
    #[error("file list: an empty name")]
    EmptyName,
    /// A name leaves the transfer.
    #[error("ABORTING due to unsafe pathname from sender: {name}")]
    UnsafeName {
        /// The name as received.
        name: BString,
    },
    /// The root of the transfer is not a directory.
    #[error("ERROR: rejecting non-directory transfer-root entry: {name}")]
    RootNotDirectory {
        /// `.` or `/.`.
        name: BString,
    },
    /// A mode has no known type.
    #[error("invalid file mode 0{mode:o} for {name}")]
    InvalidMode {
        /// The mode.
        mode: u32,
        /// The entry.
        name: BString,
    },
    /// A length is below zero.
    #[error("Offset underflow: file-length is negative")]
    NegativeLength,
    /// A symlink target is longer than a path may be.
    #[error("overflow: linkname_len={length}")]
    TargetTooLong {
        /// Announced length.
        length: i64,
    },
    /// A hard-link reference names no entry before this one.
    #[error("hard-link reference out of range: {index} ({position})")]
    LinkOutOfRange {
        /// The reference.
        index: i32,
        /// Index of the entry that holds it.
        position: u32,
    },
    /// A hard-link reference into an earlier list names no known group.
    #[error("hard-link gnum {index} precedes flist start {start}")]
    LinkUnknown {
        /// The reference.
        index: u32,
        /// Start of the list.
        start: u32,
    },
    /// A hard-link reference names an entry that is not marked as linked.
    #[error("hard-link reference {index} names an entry without hard links")]
    LinkToUnlinked {
        /// The reference.
        index: u32,
    },
    /// The end marker with I/O errors came on a connection without it.
    #[error("Invalid flist flag: {flags:x}")]
    InvalidFlag {
        /// The flag word.
        flags: u32,
    },
    /// An entry is not directly inside the directory its list was announced for.
    #[error("ABORTING due to invalid path from sender: {dir}/{name}")]
    OutsideDirectory {
        /// The entry's own directory.
        dir: BString,
        /// The entry's base name.
        name: BString,
    },
    /// The directory an entry is in was not listed.
    #[error("ABORTING due to invalid path from sender: {dir}/{name}")]
    ParentMissing {
        /// The directory.
        dir: BString,
        /// The entry's base name.
        name: BString,
    },
    /// A list was announced for a directory number that is not in use.
    #[error("Invalid dir index: {index} (-101 - {last})")]
    InvalidDirectory {
        /// The index received.
        index: i64,
        /// The index of the last directory.
        last: i64,
    },
    /// A second list was announced for a directory.
    #[error("rsync: refusing malicious duplicate flist for dir {number}")]
    DuplicateList {
        /// The directory number.
        number: u32,
    },
    /// A list was announced for a directory that was dropped as a duplicate.
    #[error("rsync: refusing flist for cleared dir_ndx {number}")]
    ClearedDirectory {
        /// The directory number.
        number: u32,
    },
    /// A list came after the last one was released.
    #[error("rsync: refusing sub-flist after final flist was freed")]
    AfterFinalList,
    /// The client's own rules exclude a name.
    #[error("ERROR: rejecting excluded file-list name: {name}")]
    Excluded {
        /// The name.
        name: BString,
    },
    /// A name was not asked for.
    #[error("ERROR: rejecting unrequested file-list name: {name}")]
    Unrequested {
        /// The name.
        name: BString,
    },
    /// A list of users or groups does not end.
    #[error("more than {limit} names of users or groups")]
    TooManyIds {
        /// Most ids accepted.
        limit: usize,
    },
    /// The access control list of an entry is malformed.
    #[error(transparent)]
    Acl(#[from] AclError),
    /// The extended attributes of an entry are malformed.
    #[error(transparent)]
    Xattr(#[from] XattrError),
    /// The list has more entries or bytes than an index can count.
    #[error("file list has grown too large to expand")]
    TooLarge,
    /// The list needs more memory than allowed.
    #[error("exceeded --max-alloc={limit} setting")]
    MaxAlloc {
        /// The limit in bytes.
        limit: u64,
    },
}

impl FileListError {
    /// The status rsync ends with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Wire(error) => error.exit_code(),
            Self::Acl(error) => error.exit_code(),
            Self::Xattr(error) => error.exit_code(),
            Self::NameTooLong { .. }
            | Self::TargetTooLong { .. }
            | Self::TooLarge
            | Self::TooManyIds { .. }
            | Self::MaxAlloc { .. } => ExitCode::MEMORY,
            Self::UnsafeName { .. }
            | Self::NegativeLength
            | Self::OutsideDirectory { .. }
            | Self::Excluded { .. }
            | Self::Unrequested { .. } => ExitCode::UNSUPPORTED,
            Self::PrefixTooLong { .. }
            | Self::NulByte { .. }
            | Self::EmptyName
            | Self::RootNotDirectory { .. }
            | Self::InvalidMode { .. }
            | Self::LinkOutOfRange { .. }
            | Self::LinkUnknown { .. }
            | Self::LinkToUnlinked { .. }
            | Self::InvalidFlag { .. }
            | Self::ParentMissing { .. }
            | Self::InvalidDirectory { .. }
            | Self::DuplicateList { .. }
            | Self::ClearedDirectory { .. }
            | Self::AfterFinalList => ExitCode::PROTOCOL,
        }
    }
}

impl FileListError {
    /// Whether rsync puts the role of the reader behind the text, as `TEXT [Receiver]`.
    #[must_use]
    pub fn names_its_reader(&self) -> bool {
        let wire = match self {
            Self::NameTooLong { .. } | Self::InvalidMode { .. } | Self::InvalidDirectory { .. } => {
                return true;
            }
            Self::Xattr(
                XattrError::SizeOutOfRange { .. } | XattrError::ValueTooLong | XattrError::ListTooLong,
            ) => return true,
            Self::Wire(error) | Self::Xattr(XattrError::Wire(error)) | Self::Acl(AclError::Wire(error)) => {
                error
            }
            _ => return false,
        };
        matches!(wire, WireError::OutOfRange { .. })
    }
}

impl NeedsInput for FileListError {
    fn missing(&self) -> Option<usize> {
        match self {
            Self::Wire(error) => error.missing(),
            Self::Acl(error) => error.missing(),
            Self::Xattr(error) => error.missing(),
            _ => None,
        }
    }
}
