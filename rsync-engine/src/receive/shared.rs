//! What the receiver and the generator of one side share: requests in flight, and the queue of what
//! the receiver tells the generator (design decision 3).

use std::collections::HashMap;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};

use rsync_proto::exit::ExitCode;
use rsync_proto::flist::Segment;
use rsync_proto::phase::ItemFlags;
use rsync_proto::wire::MessageCode;

use crate::EngineError;

/// What the generator offered for a transfer; the sender's echo can only confirm it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The item flags sent.
    pub(crate) flags: ItemFlags,
    /// Where matched blocks are copied from.
    pub(crate) basis: Basis,
    /// The first attempt failed its verification.
    pub(crate) redo: bool,
    /// The file is extended: its present length in bytes.
    pub(crate) append_at: Option<u64>,
}

/// The file whose block sums were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Basis {
    /// None: the whole file comes as literal data.
    None,
    /// The file at the destination.
    Destination,
    /// What an interrupted transfer left in the partial directory.
    Partial,
}

/// Transfers requested and not yet answered.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    in_flight: Mutex<HashMap<u32, Request>>,
}

impl Requests {
    /// Records a request before it is sent.
    pub(crate) fn insert(&self, index: u32, request: Request) {
        self.lock().insert(index, request);
    }

    /// Takes the request that the sender answers, if there was one.
    pub(crate) fn take(&self, index: u32) -> Option<Request> {
        self.lock().remove(&index)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Request>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A phase end that the generator waits for (spec 02 §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Passed {
    /// Everything requested in the main phase was answered.
    Main,
    /// The redo phase is over; delayed updates are in place.
    Redo,
    /// The sender's final phase end, and the statistics where they come.
    Final,
    /// The sender's answer to the goodbye.
    Goodbye,
}

/// What the receiver tells the generator.
#[derive(Debug)]
pub(crate) enum Notice {
    /// A file list is complete.
    List(Arc<Segment>),
    /// No more lists will come.
    ListsEnd,
    /// The sender had nothing and closed: there are no phases.
    EmptyTransfer,
    /// The file of this index is verified and in place.
    Finished(u32),
    /// It failed its verification once and is to be requested again.
    Redo(u32),
    /// It will not come.
    Failed(u32),
    /// A phase has ended.
    Passed(Passed),
    /// The generator, which alone writes the link, shall send this message.
    Send(MessageCode, Vec<u8>),
    /// The peer leaves with this exit code.
    PeerExit(ExitCode),
    /// The receiver cannot go on.
    Broken(EngineError),
}

/// The sending end of the queue to the generator. It never blocks.
#[derive(Clone, Debug)]
pub(crate) struct Notify(mpsc::Sender<Notice>);

impl Notify {
    /// Makes the queue.
    pub(crate) fn channel() -> (Self, mpsc::Receiver<Notice>) {
        let (sender, receiver) = mpsc::channel();
        (Self(sender), receiver)
    }

    /// Queues a notice; a generator that has already gone does not need it.
    pub(crate) fn send(&self, notice: Notice) {
        let _ = self.0.send(notice);
    }
}
