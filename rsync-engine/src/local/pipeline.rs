//! What the generator has asked for and is under way, in order (design decision 3: threads of a crew
//! only prepare; their results are consumed in the order of the list).
//!
//! When results are consumed depends on nothing but what was asked for and said: whoever runs the same
//! copy twice gets the same lines in the same order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rsync_proto::text::{Event, EventSink, Stage, Topic};

use super::crew::{Crew, Job, News};
use super::worker::{Asked, Copied, tell};
use crate::{EngineError, ErrorState, Session};

/// Files under way at most.
const MOST: usize = 512;
/// When there are so many, so many are settled.
const SETTLED_AT_ONCE: usize = 128;
/// Files handed to one thread at once at most.
const BATCH: usize = 32;
/// A file of so many bytes is handed out at once.
const WORTH_A_BATCH: u64 = 256 << 10;

/// Everything under way.
pub(super) struct Pipeline {
    /// Says what is settled.
    session: Arc<Session>,
    crew: Arc<Crew>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// Files, and the items without content that came after them.
    asked: VecDeque<Arc<Asked>>,
    /// Files among them.
    files: usize,
    /// Files that were asked for so far.
    number: u64,
    /// Files that were not handed out yet, all of one directory.
    batch: Vec<Job>,
    /// The beginning of the first file was said.
    begun: bool,
    /// Settled, and not reported yet.
    settled: Vec<(Arc<Asked>, Copied)>,
    /// What ended the run.
    failure: Option<EngineError>,
}

impl Pipeline {
    pub(super) fn new(session: &Arc<Session>, crew: &Arc<Crew>) -> Arc<Self> {
        Arc::new(Self { session: Arc::clone(session), crew: Arc::clone(crew), queue: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes on a file of `size` bytes.
    pub(super) fn copy(&self, asked: Asked, size: u64) {
        let mut queue = self.lock();
        let asked = Arc::new(asked);
        let same_dir = |(_, last): &Job| Arc::ptr_eq(&last.source, &asked.source);
        if !queue.batch.last().is_none_or(same_dir) {
            self.submit(&mut queue);
        }
        let job = (queue.number, Arc::clone(&asked));
        queue.number += 1;
        queue.files += 1;
        queue.asked.push_back(asked);
        queue.batch.push(job);
        if queue.batch.len() >= BATCH || size >= WORTH_A_BATCH {
            self.submit(&mut queue);
        }
        if queue.files >= MOST {
            self.settle(&mut queue, MOST - SETTLED_AT_ONCE);
        }
    }

    /// Says an item without content after everything that was asked for before.
    pub(super) fn say(&self, asked: Asked) {
        if !self.session.events.wants(Topic::Items) {
            return;
        }
        let mut queue = self.lock();
        queue.asked.push_back(Arc::new(asked));
        if queue.files == 0 {
            self.settle(&mut queue, 0);
        }
    }

    /// Hands out what waits for more of its kind.
    pub(super) fn flush(&self) {
        self.submit(&mut self.lock());
    }

    /// Waits for everything.
    pub(super) fn drain(&self) {
        self.settle(&mut self.lock(), 0);
    }

    /// The files settled since the last call.
    ///
    /// # Errors
    /// What ended the run in one of them.
    pub(super) fn settled(&self) -> Result<Vec<(Arc<Asked>, Copied)>, EngineError> {
        let mut queue = self.lock();
        match queue.failure.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut queue.settled)),
        }
    }

    fn submit(&self, queue: &mut Queue) {
        if !queue.batch.is_empty() {
            self.crew.submit(std::mem::take(&mut queue.batch));
        }
    }

    /// Settles the oldest until at most `left` files are under way, and the items after those settled.
    fn settle(&self, queue: &mut Queue, left: usize) {
        self.submit(queue);
        while let Some(first) = queue.asked.front()
            && queue.failure.is_none()
            && (queue.files > left || first.request.is_none())
        {
            let first = Arc::clone(first);
            if first.request.is_none() {
                tell(&self.session, Stage::Done, &first, None);
                queue.asked.pop_front();
                continue;
            }
            let (result, errors) = match self.crew.news() {
                Ok(News::Turn { opened }) => {
                    if opened {
                        tell(&self.session, Stage::Begins, &first, None);
                    }
                    queue.begun = opened;
                    self.crew.let_speak();
                    continue;
                }
                Ok(News::Done(done)) => done,
                Err(error) => (Err(error), ErrorState::default()),
            };
            self.session.errors.take_over(&errors);
            let begun = std::mem::take(&mut queue.begun);
            match result {
                Ok(copied) => {
                    if copied.opened && !begun {
                        tell(&self.session, Stage::Begins, &first, None);
                    }
                    tell(&self.session, Stage::Done, &first, Some(&copied));
                    queue.asked.pop_front();
                    queue.files -= 1;
                    queue.settled.push((first, copied));
                }
                Err(error) => queue.failure = Some(error),
            }
        }
    }
}

/// Says what the generator and the scanner say, after everything that was asked for before.
pub(super) struct InOrder(pub(super) Arc<Pipeline>);

impl EventSink for InOrder {
    fn wants(&self, topic: Topic) -> bool {
        self.0.session.events.wants(topic)
    }

    fn emit(&self, event: Event<'_>) {
        self.0.drain();
        self.0.session.events.emit(event);
    }
}
