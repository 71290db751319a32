//! Counting what is under way.

use std::sync::Arc;

use tokio::sync::watch;

/// A number of things that are under way.
#[derive(Clone, Debug)]
pub(crate) struct Tally(Arc<watch::Sender<usize>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Entry(Arc<watch::Sender<usize>>);

impl Default for Tally {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Tally {
    /// Counts one more.
    pub(crate) fn enter(&self) -> Entry {
        self.0.send_modify(|count| *count += 1);
        Entry(Arc::clone(&self.0))
    }

    /// Whether there is none.
    pub(crate) fn is_zero(&self) -> bool {
        *self.0.borrow() == 0
    }

    /// Waits until there is none.
    pub(crate) async fn zero(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.subscribe().wait_for(|&count| count == 0).await;
    }

    /// Waits until something begins or ends.
    pub(crate) async fn change(&self) {
        // As above.
        let _ = self.0.subscribe().changed().await;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
