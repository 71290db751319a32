//! What the generator asked for and its own thread does: in order, when the generator has to wait.
//!
//! What the generator says meanwhile comes first, as in the C rsync, whose generator sends its messages
//! ahead of the items that it still collects (spec 07 §24.1).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use rsync_proto::text::{Event, EventSink, Severity, Topic};

use super::pipeline::{MOST, MOST_ITEMS, SETTLED_AT_ONCE};
use super::worker::Asked;

/// Something to do.
pub(super) enum Due {
    /// An item to say, perhaps after its file was copied.
    Item(Asked),
    /// Progress to show: a list is done, after which so many entries are known.
    ListDone(u64),
}

/// Everything that is still to do.
#[derive(Default)]
pub(super) struct Backlog {
    due: VecDeque<Due>,
    files: usize,
}

impl Backlog {
    /// Takes on one thing more; answers how many files may be left, where that is too much.
    pub(super) fn push(&mut self, due: Due) -> Option<usize> {
        self.files += usize::from(is_file(&due));
        self.due.push_back(due);
        if self.due.len() >= MOST_ITEMS {
            return Some(0);
        }
        (self.files >= MOST).then_some(MOST - SETTLED_AT_ONCE)
    }

    /// What is to be done next, until at most `left` files are left and a file comes next.
    pub(super) fn pop(&mut self, left: usize) -> Option<Due> {
        let is_next_file = is_file(self.due.front()?);
        if is_next_file && self.files <= left {
            return None;
        }
        self.files -= usize::from(is_next_file);
        self.due.pop_front()
    }
}

fn is_file(due: &Due) -> bool {
    matches!(due, Due::Item(asked) if asked.request.is_some())
}

/// Keeps back what is said about copied files, errors excepted, until everything that was asked for is
/// done: in the C rsync that comes from the receiver, when the sender has named all files.
pub(super) struct Later {
    events: Arc<dyn EventSink>,
    texts: Mutex<Vec<Vec<u8>>>,
}

impl Later {
    pub(super) fn new(events: &Arc<dyn EventSink>) -> Self {
        Self { events: Arc::clone(events), texts: Mutex::default() }
    }

    /// Says what was kept back.
    pub(super) fn say(&self) {
        let texts = std::mem::take(&mut *self.texts.lock().unwrap_or_else(PoisonError::into_inner));
        for text in texts {
            self.events.emit(Event::PeerText { severity: Severity::Info, text: &text });
        }
    }
}

impl EventSink for Later {
    fn wants(&self, topic: Topic) -> bool {
        self.events.wants(topic)
    }

    fn emit(&self, event: Event<'_>) {
        let text = match event {
            Event::Message(message) if message.severity() == Severity::Info => {
                let mut text = Vec::new();
                message.render(&mut text);
                text.push(b'\n');
                text
            }
            Event::PeerText { severity: Severity::Info, text } => text.to_vec(),
            event => return self.events.emit(event),
        };
        self.texts.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}
