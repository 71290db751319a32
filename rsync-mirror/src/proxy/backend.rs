//! One daemon behind the proxy: its health, what it said of itself, its sessions and its queue.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bstr::BString;
use rsync_proto::session::Greeting;
use tokio::sync::{Notify, watch};

use crate::health::{Checks, Failure, State, Target, Watch, describe};

/// What a backend said of itself when it was last asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) greeting: Greeting,
    /// Comments of the modules it lists.
    pub(super) modules: BTreeMap<BString, BString>,
}

/// A daemon behind the proxy. It outlives a reload that changes nothing about it.
pub(super) struct Backend {
    pub(super) name: String,
    pub(super) target: Target,
    pub(super) checks: Checks,
    pub(super) watch: Watch,
    known: Mutex<Option<Known>>,
    load: Mutex<Load>,
    /// Somebody who waits may have reason to look again.
    changed: watch::Sender<()>,
    /// What is known of it may be wrong.
    pub(super) doubted: Notify,
}

#[derive(Default)]
struct Load {
    active: usize,
    queue: VecDeque<u64>,
    next_ticket: u64,
}

impl Backend {
    pub(super) fn new(name: String, target: Target, checks: Checks) -> Self {
        let watch = Watch::new(&checks);
        let (changed, _) = watch::channel(());
        Self {
            name,
            target,
            checks,
            watch,
            known: Mutex::default(),
            load: Mutex::default(),
            changed,
            doubted: Notify::new(),
        }
    }

    /// Asks it for its greeting and modules.
    pub(super) async fn ask(&self, limit: Duration) -> Result<(), Failure> {
        let asked = tokio::time::timeout(limit, describe(&self.target, limit)).await;
        let described = asked.map_err(|_| Failure::late(limit))??;
        let modules = described.modules.into_iter().collect();
        *self.known() = Some(Known { greeting: described.greeting, modules });
        Ok(())
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self) -> MutexGuard<'_, Load> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sessions, and clients that wait for one.
    pub(super) fn counts(&self) -> (usize, usize) {
        let load = self.load();
        (load.active, load.queue.len())
    }

    /// Whether it may get new sessions, and whether it is known to refuse them for now.
    pub(super) fn usable(&self) -> Option<bool> {
        match self.watch.state() {
            State::Up => Some(false),
            State::Busy(_) => Some(true),
            State::Draining | State::Down(_) => None,
        }
    }

    /// Tells those who wait to look again.
    pub(super) fn stir(&self) {
        self.changed.send_replace(());
    }

    /// Hears when there is reason to look again.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Takes one of `max` sessions (0 is no limit), unless others have waited longer than `place`.
    pub(super) fn claim(self: &Arc<Self>, max: usize, place: Option<&Place>) -> Option<Slot> {
        let mut load = self.load();
        let is_next =
            load.queue.front().is_none_or(|first| place.is_some_and(|place| place.ticket == *first));
        if max != 0 && (load.active >= max || !is_next) {
            return None;
        }
        load.active += 1;
        Some(Slot(Arc::clone(self)))
    }

    /// Takes the last place of the queue, if fewer than `max` wait (0 is no limit).
    pub(super) fn wait(self: &Arc<Self>, max: usize) -> Option<Place> {
        let mut load = self.load();
        if max != 0 && load.queue.len() >= max {
            return None;
        }
        let ticket = load.next_ticket;
        load.next_ticket += 1;
        load.queue.push_back(ticket);
        drop(load);
        self.stir();
        Some(Place { backend: Arc::clone(self), ticket })
    }
}

/// A session's place at a backend, until it is dropped.
pub(super) struct Slot(Arc<Backend>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.load().active -= 1;
        self.0.stir();
    }
}

/// A client's place in a backend's queue, until it is dropped.
pub(super) struct Place {
    backend: Arc<Backend>,
    ticket: u64,
}

impl Place {
    /// The place, beginning with 1, and how many wait.
    pub(super) fn position(&self) -> (usize, usize) {
        let load = self.backend.load();
        let before = load.queue.iter().take_while(|ticket| **ticket != self.ticket).count();
        (before + 1, load.queue.len())
    }

    pub(super) fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.backend.load().queue.retain(|ticket| *ticket != self.ticket);
        self.backend.stir();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend() -> Arc<Backend> {
        let target = Target::new("127.0.0.1".parse().expect("an endpoint"));
        Arc::new(Backend::new("b1".into(), target, Checks::default()))
    }

    #[test]
    fn a_slot_that_is_given_back_goes_to_who_has_waited_longest() {
        let backend = backend();
        let slot = backend.claim(1, None).expect("free");
        assert!(backend.claim(1, None).is_none());
        let (first, second) = (backend.wait(2).expect("room"), backend.wait(2).expect("room"));
        assert!(backend.wait(2).is_none(), "the queue is full");
        assert_eq!((first.position(), second.position()), ((1, 2), (2, 2)));
        drop(slot);
        assert!(backend.claim(1, None).is_none(), "others wait");
        assert!(backend.claim(1, Some(&second)).is_none(), "another waits longer");
        let slot = backend.claim(1, Some(&first)).expect("its turn");
        drop(first);
        assert_eq!((second.position(), backend.counts()), ((1, 1), (1, 1)));
        drop((slot, second));
        assert_eq!(backend.counts(), (0, 0));
    }

    #[test]
    fn who_leaves_the_queue_lets_others_move_up() {
        let backend = backend();
        let places: Vec<Place> = (0..3).map(|_| backend.wait(0).expect("room")).collect();
        let mut changes = backend.changes();
        let mut places = places.into_iter();
        drop(places.next());
        assert!(changes.has_changed().expect("open"));
        changes.mark_unchanged();
        assert_eq!(places.next().expect("a place").position(), (1, 2));
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let backend = backend();
        let slots: Vec<_> = (0..1000).map(|_| backend.claim(0, None).expect("free")).collect();
        assert_eq!(backend.counts(), (slots.len(), 0));
    }
}
