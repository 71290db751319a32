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
pub(super) const MOST: usize = 512;
/// When there are so many, so many are settled.
pub(super) const SETTLED_AT_ONCE: usize = 128;
/// Items, those of files included, that wait to be said at most.
pub(super) const MOST_ITEMS: usize = 8192;
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
    /// Files and items without content, and the round in which the generator named each.
    asked: VecDeque<(u64, Arc<Asked>)>,
    /// How often the generator has waited for lists.
    round: u64,
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

/// How far what is under way is settled.
#[derive(Clone, Copy)]
enum Until {
    /// At most so many files are left, and a file comes next.
    Left(usize),
    /// What is left was asked for in this round.
    Round(u64),
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
        let round = queue.round;
        queue.asked.push_back((round, asked));
        queue.batch.push(job);
        if queue.batch.len() >= BATCH || size >= WORTH_A_BATCH {
            self.submit(&mut queue);
        }
        if queue.files >= MOST {
            self.settle(&mut queue, Until::Left(MOST - SETTLED_AT_ONCE));
        }
    }

    /// Says an item without content after everything that was asked for before.
    pub(super) fn say(&self, asked: Asked) {
        if !self.session.events.wants(Topic::Items) {
            return;
        }
        let mut queue = self.lock();
        let round = queue.round;
        queue.asked.push_back((round, Arc::new(asked)));
        if queue.asked.len() >= MOST_ITEMS {
            self.settle(&mut queue, Until::Left(0));
        }
    }

    /// The generator waits for lists: what it says from now on comes after what was asked for so far.
    pub(super) fn next_round(&self) {
        self.lock().round += 1;
    }

    /// Waits for what was asked for in earlier rounds.
    fn end_earlier_rounds(&self) {
        let mut queue = self.lock();
        let round = queue.round;
        if queue.asked.front().is_some_and(|(of, _)| *of < round) {
            self.settle(&mut queue, Until::Round(round));
        }
    }

    /// Hands out what waits for more of its kind.
    pub(super) fn flush(&self) {
        self.submit(&mut self.lock());
    }

    /// Waits for everything.
    pub(super) fn drain(&self) {
        self.settle(&mut self.lock(), Until::Left(0));
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

    /// Settles the oldest.
    fn settle(&self, queue: &mut Queue, until: Until) {
        self.submit(queue);
        while let Some((round, first)) = queue.asked.front()
            && queue.failure.is_none()
            && match until {
                Until::Left(left) => queue.files > left || first.request.is_none(),
                Until::Round(end) => *round < end,
            }
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

/// Says what the generator and the scanner say: ahead of the items that the generator collects meanwhile,
/// as in the C rsync, and after those that were collected when it last waited for lists (spec 07 §24.1).
pub(super) struct InOrder(pub(super) Arc<Pipeline>);

impl EventSink for InOrder {
    fn wants(&self, topic: Topic) -> bool {
        self.0.session.events.wants(topic)
    }

    fn emit(&self, event: Event<'_>) {
        self.0.end_earlier_rounds();
        self.0.session.events.emit(event);
    }
}
