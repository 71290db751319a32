//! What the engine has to say while it works, as borrowed values.
//!
//! Emitted by the scanner, sender, generator, receiver and client; rendered by the other files of this
//! module or turned into JSON, progress bars or wire messages by whoever consumes them (spec 07 §15, §16).

use super::message::Message;
use super::summary::Totals;
use crate::options::{Debug, Info};
use crate::phase::ItemFlags;

/// Receives events. Called from any thread of a session; must not block on the peer.
pub trait EventSink: Send + Sync {
    /// Whether events about `topic` are worth building.
    fn wants(&self, topic: Topic) -> bool;

    /// Takes one event.
    fn emit(&self, event: Event<'_>);
}

/// The condition under which something is said (column `when` of `messages.tsv`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Always said.
    Always,
    /// Said from this level of an `--info` word on.
    Info(Info, u8),
    /// Said from this level of a `--debug` word on.
    Debug(Debug, u8),
    /// Said with `--info=name`, or when items are shown with `%i`.
    NamesOrItems,
    /// Said with `--info=name2`, unless items are shown with `%i`.
    UnchangedNames,
    /// Said with `--info=del`, or when any output format is in use.
    Deletions,
    /// Item lines: said when any output format or log file is in use.
    Items,
    /// Progress of file data.
    Progress,
}

/// Where a text goes and what it does to the exit code (spec 07 §0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Standard output and log file; dropped by `--quiet`.
    Info,
    /// Standard output only, never the log file; dropped by `--quiet`.
    Client,
    /// Log file only.
    Log,
    /// Standard error.
    Warning,
    /// Standard error; does not change the exit code by itself.
    Error,
    /// Standard error; the final exit code is 23 at least.
    TransferError,
}

/// The part of a session that speaks; it stands in brackets in error texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sends files.
    Sender,
    /// Requests files and does what needs no data.
    Generator,
    /// Writes file data.
    Receiver,
    /// The receiving side while it still is one process.
    EarlyReceiver,
    /// A client that does not know its direction yet.
    Client,
    /// A server that does not know its direction yet.
    Server,
}

impl Role {
    /// The text in brackets.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Generator => "generator",
            Self::Receiver => "receiver",
            Self::EarlyReceiver => "Receiver",
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// One of rsync's fixed texts.
    Message(Message<'a>),
    /// A text the peer sent, unescaped, usually with a line feed at its end.
    PeerText {
        /// How the peer classified it.
        severity: Severity,
        /// The text.
        text: &'a [u8],
    },
    /// An entry was updated, created, or (on request) found unchanged.
    Item {
        /// Whether data is about to flow or everything is done.
        stage: Stage,
        /// The entry.
        item: &'a Item<'a>,
    },
    /// An entry of the destination was (or in a dry run would be) deleted.
    Deleted {
        /// Its path in the transfer, without a slash at the end.
        name: &'a [u8],
        /// Whether it was a directory.
        is_dir: bool,
    },
    /// An entry for `--list-only`.
    Listed {
        /// The entry.
        entry: &'a EntryFacts<'a>,
    },
    /// The file list is about to be scanned (sender) or received.
    FileListStarted {
        /// This side sends.
        sending: bool,
        /// It comes in pieces while the transfer runs.
        incremental: bool,
        /// Directories are transferred (`-r` or `-d`).
        directories: bool,
    },
    /// So many entries are known while the list is still growing; said at 0, 100, 200...
    FileListGrown {
        /// Entries known.
        entries: u64,
    },
    /// The first (when not incremental: the only) file list is complete.
    FileListFinished {
        /// Entries known.
        entries: u64,
    },
    /// File data flowed.
    Progress(Progress<'a>),
    /// The session ended in order, perhaps with errors.
    Finished(&'a Totals),
}

/// How far a transfer of file data is when its item is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before the data; only for items that transfer.
    Begins,
    /// All is done: after the data, or for items without data.
    Done,
}

/// Which way the data of an item goes, as item lines show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To a remote receiver: `<`.
    Sent,
    /// To this side, or within a local copy: `>`.
    Received,
}

/// The type of an entry, as item lines and statistics distinguish it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// Regular file.
    File,
    /// Directory.
    Dir,
    /// Symbolic link.
    Symlink,
    /// Character or block device.
    Device,
    /// Socket or fifo.
    Special,
}

impl EntryKind {
    /// The kind that the type bits of a Unix `mode` say; unknown bits count as a regular file.
    #[must_use]
    pub fn from_mode(mode: u32) -> Self {
        match mode & 0o170_000 {
            0o040_000 => Self::Dir,
            0o120_000 => Self::Symlink,
            0o020_000 | 0o060_000 => Self::Device,
            0o010_000 | 0o140_000 => Self::Special,
            _ => Self::File,
        }
    }

    /// What `could not make way for new ...` calls it.
    #[must_use]
    pub fn long_name(self) -> &'static str {
        match self {
            Self::File => "regular file",
            Self::Dir => "directory",
            Self::Symlink => "symlink",
            Self::Device => "device file",
            Self::Special => "special file",
        }
    }
}

/// What a line may show about an entry of the file list.
#[derive(Clone, Copy, Debug)]
pub struct EntryFacts<'a> {
    /// Path in the transfer, without a slash at the end; the root is `.`.
    pub name: &'a [u8],
    /// What the sender prefixes to `name` for `%f`: its source directory; empty elsewhere.
    pub source_dir: &'a [u8],
    /// Type and permission bits; 0 for a missing argument (`--delete-missing-args`).
    pub mode: u32,
    /// Bytes; for a symbolic link the length of its target, for devices 0.
    pub size: u64,
    /// Modification time, seconds since 1970.
    pub mtime: i64,
    /// Access time, if it is transferred.
    pub atime: Option<i64>,
    /// Creation time, if it is transferred.
    pub crtime: Option<i64>,
    /// Owner, 0 if owners are not transferred.
    pub uid: u32,
    /// Group, if groups are transferred.
    pub gid: Option<u32>,
    /// Where a symbolic link points, if links are transferred.
    pub target: Option<&'a [u8]>,
}

impl EntryFacts<'_> {
    /// The entry's type.
    #[must_use]
    pub fn kind(&self) -> EntryKind {
        EntryKind::from_mode(self.mode)
    }
}

/// One line's worth of what happened to an entry (spec 07 §16).
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// The item flags as the generator set them (spec 02 §5).
    pub flags: ItemFlags,
    /// Whether the flags were really said; below protocol 29 they are not, and show as `?`.
    pub detailed: bool,
    /// The name that follows the flags: the hard-link leader, empty for "already linked".
    pub xname: Option<&'a [u8]>,
    /// Which way data goes.
    pub direction: Direction,
    /// The entry.
    pub entry: EntryFacts<'a>,
    /// Bytes of file data moved for this entry, as they went over the wire (`%b`).
    pub data_bytes: u64,
    /// Bytes of checksum data moved for this entry (`%c`).
    pub sum_bytes: u64,
    /// The whole-file digest, if one is known (`%C`).
    pub digest: Option<&'a [u8]>,
}

/// What happened to file data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Some more of a file was done.
    Running,
    /// A file is complete.
    FileDone,
    /// A list or phase is complete; only progress over all files shows it.
    ListDone,
}

/// A moment in the transfer of file data (spec 07 §17.1); sampled, not every byte.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// What happened.
    pub moment: Moment,
    /// The file that data flows for; empty at the end of a list.
    pub name: &'a [u8],
    /// Bytes of the file done.
    pub offset: u64,
    /// Bytes of the file.
    pub size: u64,
    /// Transfers completed so far, this one included once it is done.
    pub transfers: u64,
    /// Entries still to be looked at.
    pub remaining: u64,
    /// Entries known.
    pub known: u64,
    /// More file lists are still to come.
    pub lists_pending: bool,
    /// Bytes of all transferred files before this one.
    pub total_offset: u64,
    /// Bytes of all files known.
    pub total_size: u64,
}
