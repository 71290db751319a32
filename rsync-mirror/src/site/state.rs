//! What a site knows: its configuration, the queue, and each job with its run.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::notify::Condition;
use super::upstreams::JobUpstreams;
use super::view::{Counts, LogLine};
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
    /// Grows with everything that this process does to the store, so that what was read of it before is known
    /// to be old.
    pub(super) epoch: u64,
    /// The store did not answer; nothing is asked of it until then, by the clock that only grows.
    pub(super) store_rests: Duration,
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
    /// The process that runs it, of those that share the store.
    pub(super) elsewhere: Option<String>,
    /// What is known of its upstreams.
    pub(super) upstreams: Arc<JobUpstreams>,
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
    /// When the run must be over unless it was renewed: before the lease ends by whatever clock.
    pub(super) expires: Duration,
    pub(super) lines: Lines,
    /// A window allows nothing before that time, so the run was ended.
    pub(super) closed: Option<Timestamp>,
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
    /// The state of a site without jobs.
    pub(super) fn new(config: Config) -> Self {
        Self {
            zone: zone(&config),
            scheduler: Scheduler::new(config.limits.clone()),
            config: Arc::new(config),
            jobs: BTreeMap::new(),
            stopping: None,
            epoch: 0,
            store_rests: Duration::ZERO,
        }
    }

    /// Adds a job that is new to the site.
    pub(super) fn add(&mut self, job: &SiteJob, record: JobRecord, upstreams: JobUpstreams, now: Timestamp) {
        let name = &job.job.name;
        self.scheduler.insert(name, job.rules.clone(), past(&record), record.hold, now);
        let has_failed = record.last.as_ref().is_some_and(|last| last.status() == Status::Failed);
        let condition = Condition::after(has_failed, false);
        let state = JobState {
            config: Arc::new(job.clone()),
            record,
            run: None,
            elsewhere: None,
            upstreams: Arc::new(upstreams),
            counts: Counts::default(),
            condition,
            accept: None,
        };
        self.jobs.insert(name.clone(), state);
    }
}

/// What the scheduler must know of a record.
pub(super) fn past(record: &JobRecord) -> Past {
    Past { ended: record.ended, known_since: record.known_since, interrupted: record.interrupted }
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
        if self.elsewhere.is_some() {
            return Status::Syncing;
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
