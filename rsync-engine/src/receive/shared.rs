//! What the receiver and the generator of one side share: requests in flight, and the queue of what
//! the receiver tells the generator (design decision 3).

use std::collections::HashMap;
use std::ops::RangeBounds;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rsync_proto::flist::{EntryRef, Segment};
use rsync_proto::options::TransferOptions;
use rsync_proto::phase::{Event, ItemFlags};

use super::target::Outcome;
use crate::destination::Destination;
use crate::meta::{ReceivedAttributes, WantedAcls, XattrRules};
use crate::{EngineError, Session};

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
    /// The copy of it that was kept before it is written in place.
    Backup,
    /// What an interrupted transfer left in the partial directory.
    Partial,
    /// The file of the same name in the alternate destination of this number.
    Alternate(u8),
    /// A file of a similar name at the destination, or in the alternate destination of this number.
    Similar(Option<u8>),
    /// A file anywhere in the destination.
    Renamed,
}

/// Transfers requested and not yet answered.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    in_flight: Mutex<HashMap<u32, Request>>,
    /// The names of similar files, and the paths of renamed ones, that were offered.
    similar: Mutex<HashMap<u32, Vec<u8>>>,
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

    /// Takes the requests of `indexes` that were not answered, in order.
    pub(crate) fn take_unanswered(&self, indexes: impl RangeBounds<u32>) -> Vec<(u32, Request)> {
        let mut requests: Vec<_> = self.lock().extract_if(|index, _| indexes.contains(index)).collect();
        requests.sort_unstable_by_key(|(index, _)| *index);
        requests
    }

    /// How many requests the sender has not answered.
    pub(crate) fn unanswered(&self) -> usize {
        self.lock().len()
    }

    /// Records the name of the similar file that a request offers.
    pub(crate) fn offer_similar(&self, index: u32, name: Vec<u8>) {
        self.similar.lock().unwrap_or_else(PoisonError::into_inner).insert(index, name);
    }

    /// Takes the name of the similar file that was offered for a request.
    pub(crate) fn take_similar(&self, index: u32) -> Option<Vec<u8>> {
        self.similar.lock().unwrap_or_else(PoisonError::into_inner).remove(&index)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Request>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the receiver tells the generator.
#[derive(Debug)]
pub(crate) enum Notice {
    /// A file list is complete.
    List(Arc<Segment>),
    /// No more lists will come.
    ListsEnd,
    /// The files of these indexes are verified and in place.
    Finished(Vec<u32>),
    /// It is verified but only put into place at the end; [`Notice::Finished`] follows then.
    Delayed(u32),
    /// It failed its verification once and is to be requested again.
    Redo(u32),
    /// It will not come.
    Failed(u32),
    /// A phase has ended, and everything before it was worked off.
    Passed(Event),
    /// The sender had nothing to send: there are no phases.
    EmptyTransfer,
    /// The receiver cannot go on.
    Broken(EngineError),
}

/// Everything both halves of the receiving side hold.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Transfers requested and not answered.
    pub(crate) requests: Requests,
    /// The ACLs and extended attributes of the lists.
    pub(crate) received: ReceivedAttributes,
    /// Which extended attributes take part.
    pub(crate) xattr_rules: XattrRules,
    destination: Arc<OnceLock<Destination>>,
    empty: AtomicBool,
    /// DONEs that the generator has sent and the sender has not answered.
    dones: AtomicUsize,
    notices: Mutex<mpsc::Sender<Notice>>,
    /// How many notices were sent.
    told: AtomicUsize,
    /// Finished files that the generator was not told about yet: waking it for each would cost more
    /// than a small file.
    finished: Mutex<Vec<u32>>,
}

/// So many finished files are told at once at most.
const FINISHED_AT_ONCE: usize = 64;

impl Shared {
    /// Makes the shared state and the generator's end of the queue.
    pub(crate) fn new(session: &Session, xattr_rules: XattrRules) -> (Self, mpsc::Receiver<Notice>) {
        let (sender, receiver) = mpsc::channel();
        let shared = Self {
            requests: Requests::default(),
            received: ReceivedAttributes::default(),
            xattr_rules,
            destination: Arc::clone(&session.landing),
            empty: AtomicBool::new(false),
            dones: AtomicUsize::new(0),
            notices: Mutex::new(sender),
            told: AtomicUsize::new(0),
            finished: Mutex::new(Vec::new()),
        };
        (shared, receiver)
    }

    /// Queues a notice without ever blocking; a generator that has already gone does not need it.
    pub(crate) fn notify(&self, notice: Notice) {
        if matches!(notice, Notice::EmptyTransfer) {
            self.empty.store(true, Ordering::SeqCst);
        }
        self.tell_finished();
        self.push(notice);
    }

    /// Reports a finished file, at the latest with the next [`Shared::tell_finished`].
    pub(crate) fn finished(&self, index: u32) {
        let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        finished.push(index);
        let is_enough = finished.len() >= FINISHED_AT_ONCE;
        drop(finished);
        if is_enough {
            self.tell_finished();
        }
    }

    /// Reports what became of a requested file.
    pub(crate) fn ended(&self, index: u32, outcome: Outcome) {
        match outcome {
            Outcome::Finished => self.finished(index),
            Outcome::Delayed => self.notify(Notice::Delayed(index)),
            Outcome::Redo => self.notify(Notice::Redo(index)),
            Outcome::Failed => self.notify(Notice::Failed(index)),
        }
    }

    /// Tells the generator about all finished files, before anything else that comes later; answers
    /// whether there were any.
    pub(crate) fn tell_finished(&self) -> bool {
        let finished = std::mem::take(&mut *self.finished.lock().unwrap_or_else(PoisonError::into_inner));
        if !finished.is_empty() {
            self.push(Notice::Finished(finished));
            return true;
        }
        false
    }

    /// How many notices the generator got so far.
    pub(crate) fn told(&self) -> usize {
        self.told.load(Ordering::Relaxed)
    }

    fn push(&self, notice: Notice) {
        self.told.fetch_add(1, Ordering::Relaxed);
        let _ = self.notices.lock().unwrap_or_else(PoisonError::into_inner).send(notice);
    }

    /// Counts a DONE that is about to be sent.
    pub(crate) fn sends_done(&self) {
        self.dones.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts an answered DONE; says whether there was one to answer.
    pub(crate) fn answered_done(&self) -> bool {
        self.dones.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |dones| dones.checked_sub(1)).is_ok()
    }

    /// Whether the sender had nothing to send.
    pub(crate) fn is_empty_transfer(&self) -> bool {
        self.empty.load(Ordering::SeqCst)
    }

    /// Fixes the destination, before anything is requested.
    pub(crate) fn set_destination(&self, destination: Destination) -> &Destination {
        self.destination.get_or_init(|| destination)
    }

    /// The ACLs that an entry shall have, if they are kept.
    pub(crate) fn acls(&self, entry: &EntryRef<'_>, options: &TransferOptions) -> WantedAcls {
        if options.acls {
            self.received.acls(entry, self.xattr_rules.acl_store())
        } else {
            WantedAcls::default()
        }
    }

    /// The destination, once it is known.
    pub(crate) fn destination(&self) -> Option<&Destination> {
        self.destination.get()
    }
}
