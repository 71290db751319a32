//! Stopping a run from outside: whoever waits or works in it hears of it.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Why a run is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody asked for it.
    Requested,
    /// The process ends; the job runs again when it is back.
    Shutdown,
    /// Its hours are over: a window allows nothing now.
    Hours,
    /// The file system filled up below what must be left.
    LowSpace,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requested => "killed by manager",
            Self::Shutdown => "interrupted by the end of the process",
            Self::Hours => "stopped as its hours are over",
            Self::LowSpace => "stopped as the file system filled up",
        })
    }
}

/// Stops a run; clones stop the same one. It stays stopped.
#[derive(Clone, Default)]
pub struct Cancel {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    reason: Option<StopReason>,
    next: u64,
    listeners: Vec<(u64, Box<dyn Fn() + Send>)>,
}

impl Cancel {
    /// Stops the run. Only the first reason counts.
    pub fn cancel(&self, reason: StopReason) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.reason.is_some() {
            return;
        }
        state.reason = Some(reason);
        let listeners = std::mem::take(&mut state.listeners);
        drop(state);
        self.shared.changed.notify_all();
        listeners.iter().for_each(|(_, listener)| listener());
    }

    /// Why the run was stopped, if it was.
    #[must_use]
    pub fn reason(&self) -> Option<StopReason> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).reason
    }

    /// Waits for so long, or until the run is stopped; whether it was.
    #[must_use]
    pub fn wait(&self, time: Duration) -> bool {
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.changed.wait_timeout_while(state, time, |state| state.reason.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.reason.is_some()
    }

    /// Calls `listener` when the run is stopped, at once if it was already, and never after the guard
    /// was dropped.
    #[must_use]
    pub fn listen(&self, listener: impl Fn() + Send + 'static) -> CancelGuard {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let id = state.next;
        state.next += 1;
        if state.reason.is_some() {
            drop(state);
            listener();
        } else {
            state.listeners.push((id, Box::new(listener)));
        }
        CancelGuard { cancel: self.clone(), id }
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.reason()).finish()
    }
}

/// Forgets a listener.
#[derive(Debug)]
pub struct CancelGuard {
    cancel: Cancel,
    id: u64,
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        let mut state = self.cancel.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.listeners.retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn listeners_hear_of_it_once_and_only_while_they_listen() {
        let cancel = Cancel::default();
        let heard = Arc::new(AtomicU32::new(0));
        let count = |heard: &Arc<AtomicU32>| {
            let heard = Arc::clone(heard);
            move || {
                heard.fetch_add(1, Ordering::Relaxed);
            }
        };
        drop(cancel.listen(count(&heard)));
        let _stays = cancel.listen(count(&heard));
        assert!(!cancel.wait(Duration::ZERO));
        cancel.clone().cancel(StopReason::Shutdown);
        cancel.cancel(StopReason::Requested);
        let _late = cancel.listen(count(&heard));
        assert_eq!(heard.load(Ordering::Relaxed), 2);
        assert_eq!(cancel.reason(), Some(StopReason::Shutdown));
        assert!(cancel.wait(Duration::from_secs(60)));
    }
}
