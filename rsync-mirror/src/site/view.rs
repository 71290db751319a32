//! What a site shows of itself: to its page, its API, its commands. Nothing in it is a secret or a path.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::notify::Condition;
use super::state::{JobState, State};
use super::upstreams::UpstreamView;
use super::{CommandError, Site};
use crate::job::{Class, Phase, RunResult, Snapshot, Status};
use crate::schedule::Planned;

/// A site at a moment.
#[derive(Clone, Debug, Serialize)]
pub struct SiteView {
    /// Its name.
    pub name: String,
    /// What this process is called among those that share the database.
    pub worker: String,
    /// The moment.
    pub now: Timestamp,
    /// Jobs that run.
    pub running: usize,
    /// Jobs that are due and wait for a place.
    pub queued: usize,
    /// Whether the process ends.
    pub stopping: bool,
    /// The jobs by name.
    pub jobs: Vec<JobView>,
}

/// A job at a moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobView {
    /// Its name.
    pub name: String,
    /// Its state, in tunasync's words.
    pub status: Status,
    /// Whether it is well.
    pub condition: Condition,
    /// The process that runs it now, if it is another one that shares the database.
    pub elsewhere: Option<String>,
    /// Where it comes from, without a password.
    pub upstream: String,
    /// Where it may come from.
    pub upstreams: Vec<UpstreamView>,
    /// When it runs, in words.
    pub schedule: String,
    /// When its last run began.
    pub last_started: Option<Timestamp>,
    /// When its last run ended.
    pub last_ended: Option<Timestamp>,
    /// When its last good run ended.
    pub last_update: Option<Timestamp>,
    /// When it is due.
    pub next: Option<Timestamp>,
    /// It is due since then, and waits for a place.
    pub queued_since: Option<Timestamp>,
    /// Bytes of the mirror.
    pub size: Option<u64>,
    /// The size as somebody gave it.
    pub size_text: Option<String>,
    /// The exit code of the last run.
    pub exit: Option<u8>,
    /// What that means.
    pub class: Option<Class>,
    /// The number of the tree that readers see, where trees have numbers.
    pub generation: Option<u64>,
    /// What was wrong with the last run.
    pub message: String,
    /// How far the current run is.
    pub progress: Option<ProgressView>,
    /// What the mirror holds.
    pub description: Option<String>,
    /// A page for its users.
    pub help: Option<String>,
    /// Where its files are served.
    pub url: Option<String>,
    /// It is not meant to be mirrored from.
    pub is_secondary: bool,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProgressView {
    /// When it began.
    pub started: Timestamp,
    /// What it is doing.
    pub phase: Phase,
    /// Which attempt this is.
    pub attempt: u32,
    /// The file that data flows for.
    pub file: String,
    /// Bytes done of all files known.
    pub done: u64,
    /// Bytes of all files known.
    pub total: u64,
    /// Entries done.
    pub entries_done: u64,
    /// Entries known.
    pub entries: u64,
    /// Files transferred.
    pub transfers: u64,
    /// Hundredths that are done, once all is known.
    pub percent: Option<u8>,
}

/// A line of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// Its number in the run, from 1.
    pub number: u64,
    /// `info` or `error`.
    pub severity: &'static str,
    /// The text.
    pub text: String,
}

/// What was counted of a job since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes received.
    pub received: u64,
    /// Attempts beyond the first.
    pub retries: u64,
    /// Files transferred.
    pub transferred: u64,
    /// Entries made.
    pub created: u64,
    /// Entries deleted.
    pub deleted: u64,
    /// Runs by exit code and its meaning.
    pub exits: BTreeMap<(u8, Class), u64>,
}

impl Counts {
    pub(super) fn add(&mut self, result: &RunResult) {
        self.received += result.stats.received;
        self.transferred += result.stats.transferred;
        self.created += result.stats.created;
        self.deleted += result.stats.deleted;
        self.retries += u64::from(result.attempt.saturating_sub(1));
        *self.exits.entry((result.exit, result.class)).or_default() += 1;
    }
}

impl Site {
    /// Everything about the site at this moment.
    #[must_use]
    pub fn view(&self) -> SiteView {
        let now = self.now();
        let state = self.state();
        SiteView {
            name: state.config.site.name.clone(),
            worker: state.config.site.worker(),
            now,
            running: state.jobs.values().filter(|job| job.run.is_some()).count(),
            queued: state.scheduler.queue_length(now),
            stopping: state.stopping.is_some(),
            jobs: state.jobs.keys().filter_map(|name| job_view(&state, name, now)).collect(),
        }
    }

    /// One job at this moment.
    #[must_use]
    pub fn job(&self, name: &str) -> Option<JobView> {
        job_view(&self.state(), name, self.now())
    }

    /// What was counted of all jobs, by name.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, Counts> {
        self.state().jobs.iter().map(|(name, job)| (name.clone(), job.counts.clone())).collect()
    }

    /// The last runs of a job, the newest first.
    ///
    /// # Errors
    /// [`CommandError::Unknown`], or what the store says.
    pub fn runs(&self, name: &str, limit: u32) -> Result<Vec<RunResult>, CommandError> {
        if !self.state().jobs.contains_key(name) {
            return Err(self.unknown(name));
        }
        Ok(self.store().runs(name, limit)?)
    }

    /// The lines of the current run of a job so far; `None` when it does not run.
    #[must_use]
    pub fn live_lines(&self, name: &str) -> Option<Vec<LogLine>> {
        let state = self.state();
        let lines = state.jobs.get(name)?.run.as_ref()?.lines.clone();
        drop(state);
        Some(lines.all())
    }
}

fn job_view(state: &State, name: &str, now: Timestamp) -> Option<JobView> {
    let job = state.jobs.get(name)?;
    let (record, about) = (&job.record, &job.config.about);
    let planned = state.scheduler.planned(name, now);
    let last = record.last.as_ref();
    Some(JobView {
        name: name.to_owned(),
        status: job.status(),
        condition: if job.is_stale(now) { Condition::Stale } else { job.condition },
        elsewhere: job.elsewhere.clone(),
        upstream: upstream(job),
        upstreams: job.upstreams.view(),
        schedule: job.config.timetable().when.to_string(),
        last_started: record.started,
        last_ended: record.ended,
        last_update: record.succeeded,
        next: match planned {
            Some(Planned::Next(next)) => next,
            _ => None,
        },
        queued_since: match planned {
            Some(Planned::Queued(since)) => Some(since),
            _ => None,
        },
        size: record.size,
        size_text: record.size_text.clone(),
        exit: last.map(|last| last.exit),
        class: last.map(|last| last.class),
        generation: last.and_then(|last| last.generation),
        message: last.map(|last| last.message.clone()).unwrap_or_default(),
        progress: job.run.as_ref().map(|run| progress(run.started, run.progress.snapshot())),
        description: about.description.clone(),
        help: about.help.clone(),
        url: about.url.clone(),
        is_secondary: about.is_secondary,
    })
}

/// Where the job comes from now, or came from, or would.
fn upstream(job: &JobState) -> String {
    let current = job.run.as_ref().map(|run| run.progress.snapshot().upstream).filter(|url| !url.is_empty());
    let last = job.record.last.as_ref().and_then(|last| last.upstream.clone());
    let first = job.config.job.upstreams.first().map(|upstream| without_password(&upstream.url));
    current.or(last).or(first).unwrap_or_default()
}

/// A URL as it may be shown.
pub(super) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((login, host)) => {
            let user = login.split(':').next().unwrap_or(login);
            format!("{scheme}://{user}@{host}{path}")
        }
        None => url.to_owned(),
    }
}

fn progress(started: Timestamp, snapshot: Snapshot) -> ProgressView {
    let percent = (!snapshot.growing && snapshot.total > 0).then(|| {
        let percent = u128::from(snapshot.done.min(snapshot.total)) * 100 / u128::from(snapshot.total);
        u8::try_from(percent).unwrap_or(100)
    });
    ProgressView {
        started,
        phase: snapshot.phase,
        attempt: snapshot.attempt,
        file: snapshot.file,
        done: snapshot.done,
        total: snapshot.total,
        entries_done: snapshot.entries_done,
        entries: snapshot.entries,
        transfers: snapshot.transfers,
        percent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_urls_are_not_shown() {
        for (url, shown) in [
            ("rsync://me:secret@a.example:873/m/", "rsync://me@a.example:873/m/"),
            ("rsync://a.example/m@n/", "rsync://a.example/m@n/"),
            ("me@host::m/", "me@host::m/"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
