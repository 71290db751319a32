//! The lines at the end of a session (spec 07 §17).

/// How many entries of each type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindCounts {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub dirs: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Devices.
    pub devices: u64,
    /// Sockets and fifos.
    pub specials: u64,
}

/// The numbers of a session as its client sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries of the file list.
    pub listed: KindCounts,
    /// Entries that did not exist; `None` below protocol 29.
    pub created: Option<KindCounts>,
    /// Entries deleted; `None` below protocol 31.
    pub deleted: Option<KindCounts>,
    /// Regular files whose data was transferred.
    pub transferred: u64,
    /// Bytes of all regular files and link targets of the list.
    pub total_size: u64,
    /// Bytes of the transferred files.
    pub transferred_size: u64,
    /// Bytes of them that were sent.
    pub literal: u64,
    /// Bytes of them that were found in basis files.
    pub matched: u64,
    /// Bytes of the file list.
    pub list_size: u64,
    /// Milliseconds to build the list; 0 if unknown.
    pub list_build_ms: u64,
    /// Milliseconds to transfer the list.
    pub list_transfer_ms: u64,
    /// Bytes written to the peer.
    pub sent: u64,
    /// Bytes read from the peer.
    pub received: u64,
    /// Whole seconds the session took.
    pub seconds: u64,
}
