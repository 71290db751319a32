//! What the reader of a sending side hands to S: requests in the order they came, bounded by the
//! bytes they hold (design decision 3).

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rsync_proto::delta::SumTable;
use rsync_proto::phase::{DoneReply, ItemAttributes};
use rsync_proto::text::KindCounts;

use crate::EngineError;

/// The reader waits when the queue holds this many bytes.
const LIMIT: usize = 4 << 20;

/// One thing the receiving side wants.
#[derive(Debug)]
pub(super) enum Request {
    /// An item to be answered.
    Item(Box<Item>),
    /// A DONE, and how many bytes had been received by then.
    Done(DoneReply, u64),
    /// Deletion statistics.
    DeleteStats(KindCounts),
    /// The file of this index is in place at the destination.
    Success(u32),
    /// The reader met an error and has stopped.
    Failed(EngineError),
}

/// A request for one entry.
#[derive(Debug)]
pub(super) struct Item {
    /// The file index.
    pub(super) index: u32,
    /// What the generator says about it.
    pub(super) attributes: ItemAttributes,
    /// Both the normal and the redo phase were over.
    pub(super) in_phase_2: bool,
    /// Which values of extended attributes are wanted, as it was on the wire; `None` without an exchange.
    pub(super) xattrs: Option<Vec<u8>>,
    /// The block sums: of a transfer that is no dry run.
    pub(super) sums: Option<SumTable>,
}

/// Bytes that block sums and their head take on the wire.
pub(super) fn sum_bytes(sums: &SumTable) -> u64 {
    let strong_len = u64::from(sums.head().strong_len);
    16 + sums.weak().len() as u64 * (4 + strong_len)
}

impl Item {
    /// Bytes of memory, roughly.
    pub(super) fn charge(&self) -> usize {
        let xname = self.attributes.xname.as_ref().map_or(0, Vec::len);
        let xattrs = self.xattrs.as_ref().map_or(0, Vec::len);
        let sums = self.sums.as_ref().map_or(0, sum_bytes);
        128 + sums as usize + xname + xattrs
    }
}

/// The bounded queue between the reader and S.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    requests: VecDeque<(Request, usize)>,
    charged: usize,
    /// Threads that wait for a change.
    sleepers: usize,
    /// S takes no more requests.
    closed: bool,
}

impl Queue {
    /// Adds a request that holds `bytes`, when there is room: always if the queue is empty. Answers
    /// `false` when S takes no more. S may sleep on until [`Queue::announce`].
    pub(super) fn push(&self, request: Request, bytes: usize) -> bool {
        let mut state = self.lock();
        while !state.closed && state.charged > 0 && state.charged + bytes > LIMIT {
            state = self.sleep(state);
        }
        if state.closed {
            return false;
        }
        state.charged += bytes;
        state.requests.push_back((request, bytes));
        true
    }

    /// Wakes S if it waits for what was pushed: once for many requests, because waking it costs more
    /// than a small one.
    pub(super) fn announce(&self) {
        self.wake(&self.lock());
    }

    /// The next request, if one is there.
    pub(super) fn take(&self) -> Option<Request> {
        let mut state = self.lock();
        let taken = state.take()?;
        self.freed(&state);
        Some(taken)
    }

    /// The next request; `None` when none came for as long as `patience`.
    pub(super) fn wait(&self, patience: Duration) -> Option<Request> {
        let mut state = self.lock();
        if state.requests.is_empty() {
            state.sleepers += 1;
            let (awake, _) = self
                .changed
                .wait_timeout_while(state, patience, |state| state.requests.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            state = awake;
            state.sleepers -= 1;
        }
        let taken = state.take()?;
        self.freed(&state);
        Some(taken)
    }

    /// Drops what is queued and takes no more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.requests.clear();
        state.charged = 0;
        self.changed.notify_all();
    }

    /// Waits until S takes no more.
    pub(super) fn until_closed(&self) {
        let mut state = self.lock();
        while !state.closed {
            state = self.sleep(state);
        }
    }

    /// Waits for a change, after telling the other side of what changed so far.
    fn sleep<'s>(&self, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.wake(&state);
        state.sleepers += 1;
        let mut state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.sleepers -= 1;
        state
    }

    /// Lets the reader go on when there is room for more than the next request.
    fn freed(&self, state: &State) {
        if state.charged <= LIMIT / 2 {
            self.wake(state);
        }
    }

    fn wake(&self, state: &State) {
        if state.sleepers > 0 {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> Option<Request> {
        let (request, bytes) = self.requests.pop_front()?;
        self.charged -= bytes;
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_is_admitted_however_large_and_the_next_waits_for_room() {
        let queue = Queue::default();
        assert!(queue.push(Request::Success(1), 10 * LIMIT));
        std::thread::scope(|scope| {
            let second = scope.spawn(|| queue.push(Request::Success(2), 1));
            assert!(matches!(queue.take(), Some(Request::Success(1))));
            assert!(second.join().expect("no panic"));
        });
        assert!(matches!(queue.wait(Duration::ZERO), Some(Request::Success(2))));
        assert!(queue.wait(Duration::ZERO).is_none());
    }

    #[test]
    fn closing_frees_a_waiting_reader() {
        let queue = Queue::default();
        assert!(queue.push(Request::Success(1), LIMIT));
        std::thread::scope(|scope| {
            let second = scope.spawn(|| queue.push(Request::Success(2), 1));
            queue.close();
            assert!(!second.join().expect("no panic"));
        });
    }
}
