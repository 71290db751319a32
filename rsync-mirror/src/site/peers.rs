//! Other processes that share the store: what they run is known here, and what died with one of them is
//! taken over (spec 11 §6).

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::notify::Condition;
use super::state::{State, past};
use super::{Site, SiteError, SiteEvent};
use crate::config::Config;
use crate::durable;
use crate::job::{Status, StopReason};
use crate::store::{JobRecord, Standing, Store};

/// The longest pause between two looks at the store.
const LONGEST_LOOK: Duration = Duration::from_secs(2);
/// Who claims jobs in a store that one process has for itself.
const ALONE: &str = "site";
/// Separates the name of a process from what tells it from others of that name.
const MARK: char = '#';

/// Who claims jobs for a site. A process in the same state directory is the next life of the one before it,
/// so what that one had claimed is its own; machines of the same name are not.
pub(super) fn owner(config: &Config, store: &dyn Store) -> Result<String, SiteError> {
    if !store.is_shared() {
        return Ok(ALONE.to_owned());
    }
    let path = config.site.state_dir.join("worker.id");
    let known = std::fs::read_to_string(&path).ok().filter(|id| !id.trim().is_empty());
    let id = match known {
        Some(id) => id.trim().to_owned(),
        None => {
            let id = format!("{:016x}", rand::random::<u64>());
            durable::replace(&path, format!("{id}\n").as_bytes())
                .map_err(|source| SiteError::File { path, source })?;
            id
        }
    };
    Ok(format!("{}{MARK}{id}", config.site.worker()))
}

/// The pause between two looks at the store, where leases are so long.
pub(super) fn look(lease: Duration) -> Duration {
    (lease / 6).min(LONGEST_LOOK)
}

/// The name of a process that claimed a job.
fn name_of(owner: &str) -> &str {
    owner.split_once(MARK).map_or(owner, |(name, _)| name)
}

/// Looks at the store from time to time, until it is dropped.
pub(super) struct PeerWatch {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for PeerWatch {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}

impl Site {
    /// Begins to watch what others do, if the store is shared.
    pub(super) fn watch_peers(&self) -> PeerWatch {
        let (end, ended) = channel();
        let site = self.clone();
        let is_shared = self.store().is_shared();
        let pause = look(self.config().site.lease);
        let watching = move || {
            let mut was_ill = false;
            while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let looked = site.look_at_peers();
                if let (Err(error), false) = (&looked, was_ill) {
                    site.event(&SiteEvent::Trouble(format!("what other workers do is not known: {error}")));
                }
                was_ill = looked.is_err();
            }
        };
        let spawn = || std::thread::Builder::new().name("peers".to_owned()).spawn(watching);
        let thread = is_shared.then(spawn).and_then(|spawned| {
            let failed =
                |error| self.event(&SiteEvent::Trouble(format!("no thread for a look at peers: {error}")));
            spawned.map_err(failed).ok()
        });
        PeerWatch { end: Some(end), thread }
    }

    /// Takes notice of what others did since the last look.
    pub(super) fn look_at_peers(&self) -> Result<(), SiteError> {
        let epoch = self.state().epoch;
        let standings = self.store().standings()?;
        let mut news = Vec::new();
        for standing in standings {
            let known = {
                let state = self.state();
                state.jobs.get(&standing.job).map(|job| {
                    let last = job.record.last.as_ref().map(|last| &last.id);
                    job.run.is_some() || last == standing.last.as_ref()
                })
            };
            match known {
                None => {}
                Some(true) => news.push((standing, None)),
                Some(false) => {
                    let record = self.store().job(&standing.job, self.now())?;
                    news.push((standing, Some(record)));
                }
            }
        }
        let mut state = self.state();
        // Something of this process was in between: the next look sees it.
        if state.epoch != epoch {
            return Ok(());
        }
        let mut events = Vec::new();
        for (standing, record) in news {
            self.take_notice(&mut state, &standing, record, &mut events);
        }
        drop(state);
        self.shared.changed.notify_all();
        events.iter().for_each(|event| self.event(event));
        Ok(())
    }

    fn take_notice(
        &self,
        state: &mut State,
        standing: &Standing,
        record: Option<JobRecord>,
        events: &mut Vec<SiteEvent>,
    ) {
        let now = self.now();
        let name = &standing.job;
        let Some(job) = state.jobs.get_mut(name) else { return };
        if standing.hold != job.record.hold {
            state.scheduler.hold(name, standing.hold, now);
            job.record.hold = standing.hold;
            if let (Some(run), true) = (&job.run, standing.hold.is_some()) {
                run.cancel.cancel(StopReason::Requested);
            }
        }
        job.record.size_text.clone_from(&standing.size_text);
        if let Some(run) = &job.run {
            if standing.interrupted == Some(run.lease.fence) {
                run.cancel.cancel(StopReason::Requested);
            }
            return;
        }
        job.record.fence = standing.fence;
        let owner = standing.owner.as_deref().filter(|&owner| owner != self.shared.owner);
        let is_elsewhere = owner.is_some() && !standing.is_lost;
        let is_cut_off = standing.owner.is_some() && !is_elsewhere;
        let was_elsewhere = job.elsewhere.is_some();
        let is_news = record.is_some();
        if let Some(record) = record {
            let hold = job.record.hold;
            job.record = JobRecord { hold, fence: standing.fence, ..record };
            let has_failed = job.record.last.as_ref().is_some_and(|last| last.status() == Status::Failed);
            job.condition = Condition::after(has_failed, job.is_stale(now));
        }
        if is_elsewhere {
            job.record.started = standing.claimed.or(job.record.started);
            job.record.interrupted = false;
            job.elsewhere = owner.map(|owner| name_of(owner).to_owned());
        } else {
            if let (Some(owner), false) = (owner, job.record.interrupted) {
                let text = format!("{name}: {} is gone, and its run is made again", name_of(owner));
                events.push(SiteEvent::Trouble(text));
            }
            // A claim that nobody finishes is a run that was cut off.
            job.record.interrupted |= is_cut_off;
            job.elsewhere = None;
        }
        if is_elsewhere != was_elsewhere || is_news || is_cut_off {
            state.scheduler.elsewhere(name, is_elsewhere, past(&job.record), now);
        }
    }
}
