//! Why a transfer ended early.

use std::io;

use bstr::BString;
use rsync_proto::delta::TokenError;
use rsync_proto::exit::ExitCode;
use rsync_proto::filter::FilterError;
use rsync_proto::flist::{FileListError, IdMapError};
use rsync_proto::meta::ChmodError;
use rsync_proto::meta::XattrError;
use rsync_proto::phase::{ItemError, LedgerError, PhaseError};
use rsync_proto::session::{ArgumentError, BatchError, LineError, SetupError};
use rsync_proto::sum::SumHeadError;
use rsync_proto::text::{Role, describe_errno};
use rsync_proto::wire::{FrameError, NdxError, WireError};

use crate::copier::CopierError;
use crate::scan::DotDotInName;

/// A failure that ends the whole transfer; failures of single files are events instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The connection broke.
    #[error("{context}: {}", reason(.source))]
    Link {
        /// What was attempted: `read error` or `write error`.
        context: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing moved for as long as `--timeout` allows.
    #[error("io timeout after {seconds} seconds -- exiting")]
    Timeout {
        /// Length of the silence.
        seconds: u64,
    },
    /// The caller cancelled the transfer.
    #[error("the transfer was cancelled")]
    Cancelled,
    /// The time that was granted is over (`--stop-at`, `--stop-after`).
    #[error("stopping at requested limit")]
    Stopped,
    /// The peer closed the connection in the middle.
    #[error("connection unexpectedly closed ({received} bytes received so far)")]
    UnexpectedEnd {
        /// Bytes received since the handshake.
        received: u64,
    },
    /// The peer announced that it leaves with this exit code.
    #[error("the peer ended with exit code {}", .0.code())]
    PeerExit(ExitCode),
    /// A frame is malformed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A scalar is malformed.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A file index is malformed or out of range.
    #[error(transparent)]
    Index(#[from] NdxError),
    /// A file list is malformed or asks for something it must not.
    #[error(transparent)]
    FileList(#[from] FileListError),
    /// The head of the block sums is malformed.
    #[error(transparent)]
    SumHead(#[from] SumHeadError),
    /// The two ends cannot agree.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A batch file cannot be applied with these options, or is none.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A line of a daemon's text phase is malformed.
    #[error(transparent)]
    Line(#[from] LineError),
    /// An argument list is malformed.
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
    /// A filter rule is wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A token stream is malformed or could not be made.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Extended attributes are malformed, or asked for wrongly.
    #[error(transparent)]
    Xattr(#[from] XattrError),
    /// The attributes of an item are malformed or not allowed here.
    #[error(transparent)]
    Item(#[from] ItemError),
    /// A file index is in no live list, or answers nothing.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The peer left the course of phases.
    #[error(transparent)]
    Phase(#[from] PhaseError),
    /// A source argument cannot be sent under its name (exit 1).
    #[error(transparent)]
    Source(#[from] DotDotInName),
    /// The destination cannot serve; the reason was said (exit 3).
    #[error("the destination cannot be used")]
    Refused,
    /// A directory given by option cannot serve; the reason was said (exit 1).
    #[error("a directory given by option cannot be used")]
    BadOptionDir,
    /// The copy cannot be made as the user of `--copy-as` (exit 1).
    #[error(transparent)]
    Copier(#[from] CopierError),
    /// Munged links would lead somewhere (exit 4).
    #[error("Symlink munging is unsafe when a /rsyncd-munged directory exists.")]
    MungingUnsafe,
    /// The other thread of this side ended without saying why.
    #[error("a part of this process ended unexpectedly")]
    ReceiverGone,
    /// `--usermap`, `--groupmap` or `--chown` is wrong (exit 1).
    #[error(transparent)]
    IdMap(#[from] IdMapError),
    /// `--chmod` is wrong (exit 1).
    #[error(transparent)]
    Chmod(#[from] ChmodError),
    /// The peer sent what cannot be accepted, in words that end with who refused it.
    #[error("{error} [{}{}]", role.name(), if *.incremental { "/inc" } else { "" })]
    Rejected {
        /// What was wrong.
        error: Box<EngineError>,
        /// Who read it.
        role: Role,
        /// A frame was wrong in a session with incremental recursion, which its text tells too.
        incremental: bool,
    },
    /// The peer broke a rule of the protocol (exit 2).
    #[error("{text}")]
    Protocol {
        /// The C rsync's text.
        text: String,
    },
    /// The destination cannot be used (exit 3).
    #[error("{text}: {}", reason(.source))]
    Destination {
        /// What was attempted, on which path.
        text: BString,
        /// What the system said.
        source: io::Error,
    },
    /// Writing to the destination failed in a way that ends the run, such as a full disk (exit 11).
    #[error("{text}: {}", reason(.source))]
    FileIo {
        /// What was attempted, on which path.
        text: BString,
        /// What the system said.
        source: io::Error,
    },
}

impl EngineError {
    /// Says that the peer broke the protocol, in the C rsync's words.
    #[must_use]
    pub fn protocol(text: impl Into<String>) -> Self {
        Self::Protocol { text: text.into() }
    }

    /// The exit code the C rsync ends with (spec 02 §9.1).
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Link { .. } => ExitCode::SOCKET_IO,
            Self::Timeout { .. } | Self::Stopped => ExitCode::TIMEOUT,
            Self::Cancelled => ExitCode::SIGNAL,
            Self::UnexpectedEnd { .. } => ExitCode::STREAM,
            Self::PeerExit(code) => *code,
            Self::Frame(error) => error.exit_code(),
            Self::Wire(error) => error.exit_code(),
            Self::Index(error) => error.exit_code(),
            Self::FileList(error) => error.exit_code(),
            Self::SumHead(error) => error.exit_code(),
            Self::Filter(error) => error.exit_code(),
            Self::Setup(error) => error.exit_code(),
            Self::Batch(error) => error.exit_code(),
            Self::Line(_) => ExitCode::START_CLIENT,
            Self::Arguments(error) => error.exit_code(),
            Self::Token(error) => error.exit_code(),
            Self::Xattr(error) => error.exit_code(),
            Self::Item(error) => error.exit_code(),
            Self::Ledger(error) => error.exit_code(),
            Self::Phase(error) => error.exit_code(),
            Self::Source(_) => ExitCode::SYNTAX,
            Self::Refused => ExitCode::FILE_SELECT,
            Self::BadOptionDir => ExitCode::SYNTAX,
            Self::Copier(_) => ExitCode::SYNTAX,
            Self::MungingUnsafe => ExitCode::UNSUPPORTED,
            Self::ReceiverGone => ExitCode::CHILD_TERMINATED,
            Self::IdMap(error) => error.exit_code(),
            Self::Chmod(error) => error.exit_code(),
            Self::Rejected { error, .. } => error.exit_code(),
            Self::Protocol { .. } => ExitCode::PROTOCOL,
            Self::Destination { .. } => ExitCode::FILE_SELECT,
            Self::FileIo { .. } => ExitCode::FILE_IO,
        }
    }

    /// Whose failure it is in a local copy, where one process is both ends.
    #[must_use]
    pub fn local_role(&self) -> Role {
        match self {
            Self::FileIo { text, .. } if text.starts_with(b"rsync: [receiver]") => Role::Receiver,
            Self::Refused
            | Self::BadOptionDir
            | Self::Destination { .. }
            | Self::FileIo { .. }
            | Self::IdMap(_) => Role::EarlyReceiver,
            _ => Role::Sender,
        }
    }

    /// Whose failure it is on a receiving side, which is one process of the C rsync until its first list
    /// has come and two when it is `listed`.
    #[must_use]
    pub fn receiving_role(&self, listed: bool) -> Role {
        match self {
            Self::Rejected { role, .. } => *role,
            Self::Refused | Self::BadOptionDir | Self::Destination { .. } | Self::FileIo { .. } => {
                self.local_role()
            }
            Self::UnexpectedEnd { .. } | Self::Link { .. } | Self::Timeout { .. } if listed => {
                Role::Generator
            }
            _ if listed => Role::Receiver,
            _ => Role::EarlyReceiver,
        }
    }

    /// Says who read what is wrong, where the C rsync's text ends with that.
    pub(crate) fn rejected_by(self, role: Role, incremental: bool) -> Self {
        let incremental = incremental && matches!(self, Self::Frame(_));
        if self.names_its_reader() {
            Self::Rejected { error: Box::new(self), role, incremental }
        } else {
            self
        }
    }

    /// Whether the role belongs behind the text, as `TEXT [role]`.
    fn names_its_reader(&self) -> bool {
        match self {
            Self::Frame(_)
            | Self::Index(_)
            | Self::Ledger(_)
            | Self::Phase(_)
            | Self::Wire(WireError::OutOfRange { .. })
            | Self::Xattr(
                XattrError::Wire(WireError::OutOfRange { .. }) | XattrError::SizeOutOfRange { .. },
            )
            | Self::Item(ItemError::NotRegular { .. } | ItemError::TransferInPhase2)
            | Self::Item(ItemError::Wire(WireError::OutOfRange { .. })) => true,
            Self::FileList(error) => error.names_its_reader(),
            _ => false,
        }
    }

    /// The text as `role` prints it.
    #[must_use]
    pub fn render(&self, role: Role) -> String {
        match self {
            Self::Copier(CopierError::Refused { .. }) => format!("rsync: [{}] {self}", role.name()),
            Self::Timeout { .. } => format!("[{}] {self}", role.name()),
            Self::UnexpectedEnd { .. } => format!("rsync: {self} [{}]", role.name()),
            Self::Link { context, source } => {
                format!("rsync: [{}] {context}: {}", role.name(), reason(source))
            }
            Self::FileList(FileListError::MaxAlloc { .. })
            | Self::Xattr(XattrError::UnknownNumber { .. } | XattrError::NotAbbreviated { .. }) => {
                format!("[{}] {self}", role.name())
            }
            _ if self.names_its_reader() => format!("{self} [{}]", role.name()),
            _ => self.to_string(),
        }
    }
}

/// What the system said, in rsync's words: text and number.
pub(crate) fn reason(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), describe_errno)
}
