//! What a site knows: its configuration, the queue, and each job with its run.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::notify::Condition;
use super::view::{Counts, LogLine};
use super::{SiteError, Surroundings};
use crate::config::{Config, SiteJob};
use crate::job::{Cancel, ProgressBoard, Status};
use crate::schedule::{Hold, Past, Scheduler};
use crate::store::{JobRecord, Lease};

/// Lines of a run that a page shows while it goes on.
const LIVE_LINES: usize = 400;

pub(super) struct State {
    pub(super) config: Arc<Config>,
    pub(super) zone: TimeZone,
    pub(super) scheduler: Scheduler,
    pub(super) jobs: BTreeMap<String, JobState>,
    pub(super) stopping: Option<Stopping>,
}

/// The process ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopping {
    /// When runs are cut off, by the clock that only grows.
    pub(super) deadline: Duration,
    pub(super) is_cut: bool,
}

pub(super) struct JobState {
    pub(super) config: Arc<SiteJob>,
    pub(super) record: JobRecord,
    pub(super) run: Option<Running>,
    pub(super) counts: Counts,
    pub(super) condition: Condition,
    /// The next run passes over this refusal of a guard.
    pub(super) accept: Option<crate::job::RunId>,
}

/// A run under way.
pub(super) struct Running {
    pub(super) started: Timestamp,
    pub(super) cancel: Cancel,
    pub(super) progress: ProgressBoard,
    pub(super) lease: Lease,
    /// When the lease is renewed, by the clock that only grows.
    pub(super) renew_at: Duration,
    pub(super) lines: Lines,
}

/// The last lines that a run said.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Mutex<(u64, VecDeque<LogLine>)>>);

impl Lines {
    pub(super) fn push(&self, severity: &'static str, text: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.0 += 1;
        let number = lines.0;
        lines.1.push_back(LogLine { number, severity, text: text.trim_end().to_owned() });
        if lines.1.len() > LIVE_LINES {
            lines.1.pop_front();
        }
    }

    pub(super) fn all(&self) -> Vec<LogLine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.iter().cloned().collect()
    }
}

impl State {
    pub(super) fn new(config: Config, surroundings: &Surroundings) -> Result<Self, SiteError> {
        let mut state = Self {
            zone: zone(&config),
            scheduler: Scheduler::new(config.limits.clone()),
            config: Arc::new(config),
            jobs: BTreeMap::new(),
            stopping: None,
        };
        let now = surroundings.clock.now();
        let config = Arc::clone(&state.config);
        for job in &config.jobs {
            let record = surroundings.store.job(&job.job.name, now)?;
            state.add(job, record, now);
        }
        Ok(state)
    }

    /// Adds a job that is new to the site.
    pub(super) fn add(&mut self, job: &SiteJob, record: JobRecord, now: Timestamp) {
        let name = &job.job.name;
        let past =
            Past { ended: record.ended, known_since: record.known_since, interrupted: record.interrupted };
        self.scheduler.insert(name, job.rules.clone(), past, record.hold, now);
        let failed = record.last.as_ref().is_some_and(|last| last.status() == Status::Failed);
        let condition = if failed { Condition::Failing } else { Condition::Well };
        let state = JobState {
            config: Arc::new(job.clone()),
            record,
            run: None,
            counts: Counts::default(),
            condition,
            accept: None,
        };
        self.jobs.insert(name.clone(), state);
    }
}

pub(super) fn zone(config: &Config) -> TimeZone {
    // The configuration was refused if it names a zone that is none.
    let named = config.site.zone.as_deref().and_then(|name| TimeZone::get(name).ok());
    named.unwrap_or_else(TimeZone::system)
}

impl JobState {
    /// Whether the last good run is too long ago.
    pub(super) fn is_stale(&self, now: Timestamp) -> bool {
        let Some(limit) = self.config.stale_after else { return false };
        let since = self.record.succeeded.or(self.record.known_since);
        since.is_some_and(|since| now.duration_since(since).unsigned_abs() > limit && now > since)
    }

    /// The state in tunasync's words.
    pub(super) fn status(&self) -> Status {
        if let Some(run) = &self.run {
            return match run.progress.snapshot().phase {
                crate::job::Phase::Preparing => Status::PreSyncing,
                _ => Status::Syncing,
            };
        }
        match (self.record.hold, &self.record.last) {
            (Some(Hold::Disabled), _) => Status::Disabled,
            (Some(Hold::Paused), _) => Status::Paused,
            (None, None) => Status::None,
            (None, Some(last)) => match last.status() {
                // A run that somebody ended says nothing about the mirror.
                Status::Paused if self.record.succeeded.is_some() => Status::Success,
                Status::Paused => Status::None,
                status => status,
            },
        }
    }
}
