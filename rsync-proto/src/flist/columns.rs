//! Which fields the entries of a connection have.

/// The agreed options that decide about fields of entries and about their validity (spec 03 §3).
///
/// Both ends must fill this identically, except where a field says which end it concerns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one switch of the wire format")]
pub struct Columns {
    /// Entries carry a user id (`-o`).
    pub uid: bool,
    /// Entries carry a group id (`-g`).
    pub gid: bool,
    /// Devices carry their number (`--devices`).
    pub devices: bool,
    /// Fifos and sockets carry a number below protocol 31 (`--specials`).
    pub specials: bool,
    /// Symlinks carry their target (`-l`).
    pub links: bool,
    /// Entries say which ones are the same inode (`-H`).
    pub hard_links: bool,
    /// Entries other than symlinks carry ACLs (`-A`).
    pub acls: bool,
    /// Entries carry extended attributes (`-X`).
    pub xattrs: bool,
    /// Entries other than directories carry an access time (`-U`).
    pub atimes: bool,
    /// Entries carry a creation time (`-N`).
    pub crtimes: bool,
    /// Length in bytes of the file digests (`-c`), at most [`Columns::MAX_DIGEST`].
    pub checksum: Option<usize>,
    /// No names of users and groups travel (`--numeric-ids`).
    pub numeric_ids: bool,
    /// Names may start with `/` (`-R`); below protocol 30 it also scopes content directories.
    pub relative: bool,
    /// Directories are descended into (`-r`); concerns content directories below protocol 30.
    pub recurse: bool,
    /// Entries of mode 0 are legal; concerns the receiver (`--delete-missing-args`).
    pub delete_missing_args: bool,
    /// Names are converted, so indexes follow wire order on both ends (`--iconv`).
    pub iconv: bool,
}

impl Columns {
    /// Length in bytes of the longest digest a file list can carry.
    pub const MAX_DIGEST: usize = 20;
}
