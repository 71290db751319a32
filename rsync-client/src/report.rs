//! What a client call answers.

use bstr::BString;
use rsync_proto::exit::ExitCode;
use rsync_proto::text::Totals;

/// A module of a daemon, as its listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name.
    pub name: BString,
    /// What the daemon says about it; may be empty.
    pub comment: BString,
}

/// An entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Path in the transfer, without a slash at the end; the root is `.`.
    pub name: BString,
    /// Type and permission bits.
    pub mode: u32,
    /// Length in bytes.
    pub size: u64,
    /// Modification time, seconds since 1970.
    pub mtime: i64,
    /// Where a symbolic link points, if links are transferred.
    pub target: Option<BString>,
}

/// What a remote side has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The entries, in rsync's order.
    pub entries: Vec<Listed>,
    /// Zero, or 23 when something could not be listed.
    pub exit_code: ExitCode,
}

/// How a transfer that ran to its end went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferReport {
    /// Zero, or what the C rsync would end with: 23 when some files failed, 24 when some vanished.
    pub exit_code: ExitCode,
    /// The numbers of the summary.
    pub totals: Totals,
}

impl TransferReport {
    /// Whether everything was transferred.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.exit_code == ExitCode::OK
    }
}
