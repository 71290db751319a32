//! How many are in: altogether, of each client, of each module.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bstr::BString;
use tokio::sync::watch;

use super::policy::ClientKey;

/// Who is counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Group {
    Everybody,
    Client(ClientKey),
    Module(BString),
}

/// Counts of groups; a group without members takes no memory.
#[derive(Debug, Default)]
pub(super) struct Doors {
    counts: Mutex<HashMap<Group, usize>>,
    inside: watch::Sender<usize>,
}

impl Doors {
    /// Enters unless `max` of the group are in; 0 is no limit.
    pub(super) fn enter(self: &Arc<Self>, group: Group, max: usize) -> Option<Seat> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&group).copied().unwrap_or(0);
        if max != 0 && count >= max {
            return None;
        }
        counts.insert(group.clone(), count + 1);
        drop(counts);
        if group == Group::Everybody {
            self.inside.send_modify(|inside| *inside += 1);
        }
        Some(Seat { doors: Arc::clone(self), group })
    }

    /// Waits until nobody is in.
    pub(super) async fn empty(&self) {
        // The sender lives as long as this.
        let _ = self.inside.subscribe().wait_for(|inside| *inside == 0).await;
    }
}

/// One that is counted, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    doors: Arc<Doors>,
    group: Group,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.doors.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.group) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.group);
            }
        }
        drop(counts);
        if self.group == Group::Everybody {
            self.doors.inside.send_modify(|inside| *inside -= 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn groups_are_limited_on_their_own_and_leave_nothing_behind() {
        let doors = Arc::new(Doors::default());
        let client = |last| Group::Client(ClientKey::of([10, 0, 0, last].into()));
        let all = doors.enter(Group::Everybody, 1).expect("room");
        assert!(doors.enter(Group::Everybody, 1).is_none());
        let one = doors.enter(client(1), 1).expect("room");
        assert!(doors.enter(client(1), 1).is_none());
        let two = doors.enter(client(2), 1).expect("room");
        let module = doors.enter(Group::Module("m".into()), 0).expect("no limit");
        drop((all, one, two, module));
        doors.empty().await;
        assert!(doors.counts.lock().expect("a lock").is_empty());
    }
}
