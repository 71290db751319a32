//! What every part of one transfer shares: the agreement, the options, the voice and the error state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use rsync_proto::exit::{ExitCode, IoErrorFlags};
use rsync_proto::options::TransferOptions;
use rsync_proto::session::Negotiated;
use rsync_proto::text::EventSink;

use crate::link::LinkControl;
use crate::outgoing::Outgoing;

/// One transfer, as seen by all threads of this side.
pub struct Session {
    /// What both ends agreed on.
    pub negotiated: Negotiated,
    /// What the transfer shall do.
    pub options: TransferOptions,
    /// This side is the server (of a client that the user started).
    pub server: bool,
    /// Where events go. A server's sink forwards them to the client.
    pub events: Arc<dyn EventSink>,
    /// Messages for the peer; a server's sink puts its texts here.
    pub outgoing: Outgoing,
    /// Ends the link.
    pub control: LinkControl,
    /// Errors so far.
    pub errors: ErrorState,
    /// Counters so far.
    pub counters: Counters,
}

/// The error state of one side, shared by its threads (spec 02 §8, §9.2).
#[derive(Debug, Default)]
pub struct ErrorState {
    transfer_error: AtomicBool,
    io_error: AtomicU32,
    deletions_limited: AtomicBool,
}

/// Numbers for the summary, shared by the threads of one side.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes read from the peer since framing began.
    pub bytes_read: AtomicU64,
    /// Bytes written to the peer since framing began.
    pub bytes_written: AtomicU64,
    /// File data that came as such, uncompressed.
    pub literal: AtomicU64,
    /// File data taken from a basis.
    pub matched: AtomicU64,
    /// Regular files transferred.
    pub transferred_files: AtomicU64,
    /// Their sizes.
    pub transferred_size: AtomicU64,
}

impl Session {
    /// Starts with no errors and zero counters.
    #[must_use]
    pub fn new(
        negotiated: Negotiated,
        options: TransferOptions,
        server: bool,
        events: Arc<dyn EventSink>,
        control: LinkControl,
    ) -> Self {
        Self {
            negotiated,
            options,
            server,
            events,
            outgoing: Outgoing::default(),
            control,
            errors: ErrorState::default(),
            counters: Counters::default(),
        }
    }

    /// The exit code of a session that ran to its end.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        let errors = &self.errors;
        let mut io_error = errors.io_error();
        if errors.deletions_limited.load(Ordering::Relaxed) {
            io_error.insert(IoErrorFlags::DELETE_LIMIT);
        }
        ExitCode::of_run(errors.transfer_error.load(Ordering::Relaxed), io_error)
    }
}

impl ErrorState {
    /// Records that some file or attribute was not transferred (exit 23).
    pub fn transfer_error(&self) {
        self.transfer_error.store(true, Ordering::Relaxed);
    }

    /// Adds I/O error flags, the peer's or our own.
    pub fn add_io_error(&self, flags: IoErrorFlags) {
        self.io_error.fetch_or(flags.bits().unsigned_abs(), Ordering::Relaxed);
    }

    /// The I/O error flags so far.
    #[must_use]
    pub fn io_error(&self) -> IoErrorFlags {
        IoErrorFlags::from_wire(self.io_error.load(Ordering::Relaxed) as i32)
    }

    /// Records that `--max-delete` stopped deletions (exit 25).
    pub fn limit_deletions(&self) {
        self.deletions_limited.store(true, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("negotiated", &self.negotiated).finish_non_exhaustive()
    }
}
