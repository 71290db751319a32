//! How far a run is, for whoever looks on: a page, a bar, a supervisor of stalls.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rsync_proto::text::{Event, Moment};
use serde::{Deserialize, Serialize};

use crate::Clock;

/// What a run is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing yet: locks and hooks.
    #[default]
    Preparing,
    /// It finds out what would change, and changes nothing.
    Surveying,
    /// The transfer that deletes nothing, of two.
    Stage1,
    /// The transfer.
    Transferring,
    /// Readers are shown the new tree.
    Publishing,
    /// It waits before another attempt.
    Pausing,
    /// It is over.
    Ended,
}

/// A moment of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// What it is doing.
    pub phase: Phase,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Where from, without a password.
    pub upstream: String,
    /// The file that data flows for, or flowed last.
    pub file: String,
    /// Bytes of all files done.
    pub done: u64,
    /// Bytes of all files known.
    pub total: u64,
    /// Entries done with.
    pub entries_done: u64,
    /// Entries known.
    pub entries: u64,
    /// More entries will become known.
    pub growing: bool,
    /// Files transferred.
    pub transfers: u64,
    /// Changes at each event, so that a stall shows.
    pub events: u64,
    /// The clock's [`elapsed`](Clock::elapsed) at the last event.
    pub last_event: Duration,
}

/// Where a run notes how far it is; clones look at the same run.
#[derive(Clone, Debug, Default)]
pub struct ProgressBoard {
    snapshot: Arc<Mutex<Snapshot>>,
}

impl ProgressBoard {
    /// How far the run is now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is noted.
    pub fn update(&self, clock: &dyn Clock, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut snapshot);
        snapshot.events += 1;
        snapshot.last_event = clock.elapsed();
    }

    /// Begins a phase.
    pub fn enter(&self, clock: &dyn Clock, phase: Phase) {
        self.update(clock, |snapshot| {
            *snapshot = Snapshot {
                phase,
                attempt: snapshot.attempt,
                upstream: std::mem::take(&mut snapshot.upstream),
                events: snapshot.events,
                ..Snapshot::default()
            };
        });
    }

    /// Notes what an event of a transfer says.
    pub fn note(&self, clock: &dyn Clock, event: &Event<'_>) {
        self.update(clock, |snapshot| match event {
            Event::FileListGrown { entries } | Event::FileListFinished { entries } => {
                snapshot.entries = *entries;
            }
            Event::Progress(progress) => {
                if progress.moment != Moment::ListDone {
                    snapshot.file = String::from_utf8_lossy(progress.name).into_owned();
                    snapshot.done = progress.total_offset.saturating_add(progress.offset);
                }
                snapshot.total = progress.total_size;
                snapshot.entries = progress.known;
                snapshot.entries_done = progress.known.saturating_sub(progress.remaining);
                snapshot.growing = progress.lists_pending;
                snapshot.transfers = progress.transfers;
            }
            _ => {}
        });
    }
}
