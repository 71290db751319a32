//! Threads that copy files while the generator goes on deciding.
//!
//! Files are handed out in batches and may be finished in any order, but what is said about them comes
//! in the order in which they were asked for: a thread that has something to say about a file waits
//! until everything before it was settled. Settling is the part of the generator's thread, in
//! [`Pipeline`](super::pipeline::Pipeline).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rsync_proto::text::{Event, EventSink, Moment, Progress, Topic};

use super::worker::{Asked, Copied, Worker};
use crate::receive::shared::Shared;
use crate::{EngineError, ErrorState, Session};

/// A source at least this large is announced when it is opened, a smaller one when it is copied.
const WORTH_ANNOUNCING: u64 = 1 << 20;
/// The generator's thread is woken when so many files are done.
const WORTH_WAKING: usize = 64;

/// Nobody wants to see progress where several files are under way.
const UNSEEN: Progress<'static> = Progress {
    moment: Moment::Running,
    name: b"",
    offset: 0,
    size: 0,
    transfers: 0,
    remaining: 0,
    known: 0,
    lists_pending: false,
    total_offset: 0,
    total_size: 0,
};

/// A file and its number: files are numbered in the order in which they are asked for, from 0.
pub(super) type Job = (u64, Arc<Asked>);

/// What is known about a file that was handed out.
#[derive(Default)]
struct Slot {
    /// Its source was opened, and that is to be said.
    opened: bool,
    /// Its thread waits for its turn to speak.
    speaks: bool,
    done: Option<Done>,
}

/// What became of a file, and the errors on the way.
pub(super) type Done = (Result<Copied, EngineError>, ErrorState);

#[derive(Default)]
struct State {
    batches: VecDeque<Vec<Job>>,
    /// The files that are not settled, in order.
    slots: VecDeque<Slot>,
    /// The number of the first of them.
    first: u64,
    /// It is this one's turn to speak.
    may_speak: bool,
    /// How many are done.
    done: usize,
    /// Threads that wait for their turn to speak.
    speakers: usize,
    /// Threads without work.
    idle: usize,
    /// The generator's thread waits until the first file, and so many in all, are done.
    wanted: Option<usize>,
    /// Nothing more is to be done.
    closed: bool,
    /// A thread has panicked.
    broken: bool,
}

impl State {
    fn slot(&mut self, number: u64) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Whether the generator's thread waits for what there is now.
    fn wakes(&self) -> bool {
        let (Some(wanted), Some(first)) = (self.wanted, self.slots.front()) else { return self.broken };
        match first.done {
            Some(_) => self.done >= wanted || self.speakers > 0,
            None => self.broken || !self.may_speak && (first.opened || first.speaks),
        }
    }
}

/// What there is to settle about the first file.
pub(super) enum News {
    /// Its turn to speak has come, after what is to be said when its source was `opened`.
    Turn {
        /// Whether it was.
        opened: bool,
    },
    /// It is done.
    Done(Done),
}

/// The work of all threads.
#[derive(Default)]
pub(super) struct Crew {
    state: Mutex<State>,
    /// There is work.
    work: Condvar,
    /// The generator's thread has something to settle.
    news: Condvar,
    /// Somebody's turn to speak has come.
    turn: Condvar,
}

impl Crew {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands out files, whose numbers follow those handed out before.
    pub(super) fn submit(&self, batch: Vec<Job>) {
        let mut state = self.lock();
        state.slots.extend(batch.iter().map(|_| Slot::default()));
        state.batches.push_back(batch);
        if state.idle > 0 {
            self.work.notify_one();
        }
    }

    /// What there is to settle about the first file that was handed out; waits for it.
    ///
    /// # Errors
    /// [`EngineError::ReceiverGone`] if there is none, or a thread has panicked.
    pub(super) fn news(&self) -> Result<News, EngineError> {
        let mut state = self.lock();
        loop {
            if state.broken {
                return Err(EngineError::ReceiverGone);
            }
            let may_speak = state.may_speak;
            let first = state.slots.front_mut().ok_or(EngineError::ReceiverGone)?;
            if let Some(done) = first.done.take() {
                state.slots.pop_front();
                state.first += 1;
                state.done -= 1;
                state.may_speak = false;
                return Ok(News::Done(done));
            }
            if !may_speak && (first.opened || first.speaks) {
                return Ok(News::Turn { opened: first.opened });
            }
            state.wanted = Some(state.slots.len().min(WORTH_WAKING));
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.wanted = None;
        }
    }

    /// Lets the thread that has the first file speak about it.
    pub(super) fn let_speak(&self) {
        let mut state = self.lock();
        state.may_speak = true;
        if state.speakers > 0 {
            self.turn.notify_all();
        }
    }

    /// Ends all threads: what they are at is the last, and what they still say is dropped.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.work.notify_all();
        self.turn.notify_all();
    }

    /// Copies what is handed out until the crew is closed.
    pub(super) fn work(self: &Arc<Self>, session: &Session, shared: &Shared) {
        let _breaks = Breaks(self);
        let voice = Arc::new(InTurn {
            crew: Arc::clone(self),
            events: Arc::clone(&session.events),
            number: AtomicU64::new(0),
            opened: AtomicBool::new(false),
        });
        let errors = Arc::<ErrorState>::default();
        let session = &session.reporting_to(Arc::clone(&voice) as _, Arc::clone(&errors));
        let says_items = session.events.wants(Topic::Items);
        let mut worker = Worker::new(session, shared);
        while let Some(batch) = self.next_batch() {
            for (number, asked) in batch {
                voice.number.store(number, Ordering::Relaxed);
                voice.opened.store(false, Ordering::Relaxed);
                let result = worker.copy(&asked, UNSEEN, |size| {
                    voice.opened.store(true, Ordering::Relaxed);
                    if says_items && size >= WORTH_ANNOUNCING {
                        self.opened(number);
                    }
                });
                let its_errors = ErrorState::default();
                its_errors.take_over(&errors);
                if !self.done(number, (result, its_errors)) {
                    return;
                }
            }
        }
    }

    fn next_batch(&self) -> Option<Vec<Job>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(batch) = state.batches.pop_front() {
                return Some(batch);
            }
            state.idle += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    fn opened(&self, number: u64) {
        let mut state = self.lock();
        if let Some(slot) = state.slot(number) {
            slot.opened = true;
        }
        self.wake(&state);
    }

    /// Notes what became of a file; answers whether the thread shall go on.
    fn done(&self, number: u64, done: Done) -> bool {
        let mut state = self.lock();
        state.done += 1;
        if let Some(slot) = state.slot(number) {
            slot.done = Some(done);
        }
        self.wake(&state);
        !state.closed
    }

    /// Waits for the turn of this file; answers whether what is said will be heard.
    fn wait_to_speak(&self, number: u64, opened: bool) -> bool {
        let mut state = self.lock();
        if let Some(slot) = state.slot(number) {
            (slot.opened, slot.speaks) = (opened, true);
        }
        state.speakers += 1;
        self.wake(&state);
        while !(state.closed || state.may_speak && state.first == number) {
            state = self.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.speakers -= 1;
        !state.closed
    }

    fn wake(&self, state: &State) {
        if state.wakes() {
            self.news.notify_one();
        }
    }
}

/// Tells the generator's thread when this one panics.
struct Breaks<'c>(&'c Crew);

impl Drop for Breaks<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut state = self.0.lock();
            state.broken = true;
            self.0.news.notify_one();
        }
    }
}

/// Passes on what a thread says about its file when the turn of that has come.
struct InTurn {
    crew: Arc<Crew>,
    events: Arc<dyn EventSink>,
    /// The file at hand.
    number: AtomicU64,
    /// Its source was opened.
    opened: AtomicBool,
}

impl EventSink for InTurn {
    fn wants(&self, topic: Topic) -> bool {
        self.events.wants(topic)
    }

    fn emit(&self, event: Event<'_>) {
        let number = self.number.load(Ordering::Relaxed);
        if self.crew.wait_to_speak(number, self.opened.load(Ordering::Relaxed)) {
            self.events.emit(event);
        }
    }
}
