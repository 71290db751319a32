//! Messages for the peer that come from outside the writing thread.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use rsync_proto::wire::Message;

/// A queue of messages that the thread which writes the link sends between its data.
///
/// The event sink of a server puts the texts for its client here; it never blocks.
#[derive(Clone, Debug, Default)]
pub struct Outgoing(Arc<Mutex<VecDeque<Message>>>);

impl Outgoing {
    /// Queues a message.
    pub fn push(&self, message: Message) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(message);
    }

    /// Gives `send` what is queued, without holding the lock meanwhile.
    pub(crate) fn drain<E>(&self, mut send: impl FnMut(&Message) -> Result<(), E>) -> Result<(), E> {
        loop {
            let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match next {
                Some(message) => send(&message)?,
                None => return Ok(()),
            }
        }
    }
}
