//! The driver: starts what is due, keeps leases, ends the site.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rsync_client::ClientEnvironment;
use rsync_proto::text::Severity;

use super::notify::{Change, Condition};
use super::state::{Lines, Running, State};
use super::{Site, SiteEvent};
use crate::config::Allowance;
use crate::job::{Cancel, Class, ProgressBoard, RunContext, RunId, RunResult, StopReason};
use crate::schedule::Decision;
use crate::store::{Lease, StoreError};

/// The longest sleep of the driver, so that changes of the system's clock are noticed.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// When a job that could not be started is tried again.
const SECOND_TRY: SignedDuration = SignedDuration::from_secs(60);

/// The pause before a run is entered again in a store that was away.
const REMEMBER: Duration = Duration::from_secs(1);

/// A run that a thread is about to make.
struct Start {
    job: Arc<crate::config::SiteJob>,
    context: RunContext,
}

impl Site {
    /// Drives the site until it was told to stop and all runs have ended.
    pub fn run(&self) {
        let watch = self.watch_peers();
        let mut state = self.state();
        while let Some(wait) = self.step(&mut state) {
            let (next, _) =
                self.shared.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
            state = next;
        }
        drop(state);
        drop(watch);
    }

    /// Tells the site to stop: nothing is started any more, and runs that go on for longer than the
    /// configured time are cut off, to be made again by the next process. A second call cuts them off
    /// at once.
    pub fn stop(&self) {
        let mut state = self.state();
        let elapsed = self.shared.surroundings.clock.elapsed();
        let drain = state.config.site.drain;
        let deadline = if state.stopping.is_some() { elapsed } else { elapsed.saturating_add(drain) };
        let is_cut = state.stopping.is_some_and(|stopping| stopping.is_cut);
        state.stopping = Some(super::state::Stopping { deadline, is_cut });
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Does what is to do at this moment; how long nothing will be, or `None` when all is over.
    pub(super) fn step(&self, state: &mut State) -> Option<Duration> {
        let clock = &self.shared.surroundings.clock;
        let (now, elapsed) = (clock.now(), clock.elapsed());
        let third = state.config.site.lease / 3;
        self.renew(state, now, elapsed);
        if let Some(stopping) = &mut state.stopping {
            if state.jobs.values().all(|job| job.run.is_none()) {
                return None;
            }
            if elapsed < stopping.deadline {
                return Some((stopping.deadline - elapsed).min(third));
            }
            if !stopping.is_cut {
                stopping.is_cut = true;
                let runs = state.jobs.values().filter_map(|job| job.run.as_ref());
                runs.for_each(|run| run.cancel.cancel(StopReason::Shutdown));
            }
            return Some(third);
        }
        self.watch_staleness(state, now);
        close_windows(state, now);
        for decision in state.scheduler.decide(now) {
            match decision {
                Decision::Start(name) => self.start_run(state, &name, now, elapsed),
                Decision::Yield(name) => {
                    if let Some(run) = state.jobs.get(&name).and_then(|job| job.run.as_ref()) {
                        run.cancel.cancel(StopReason::Requested);
                    }
                }
            }
        }
        let until = |wake: Timestamp| Duration::try_from(wake.duration_since(now)).unwrap_or(Duration::ZERO);
        let wake = state.scheduler.wake(now).map_or(LONGEST_WAIT, until);
        Some(wake.clamp(Duration::from_millis(1), LONGEST_WAIT).min(third))
    }

    /// Makes leases last longer, and ends runs whose lease might end before they do.
    fn renew(&self, state: &mut State, now: Timestamp, elapsed: Duration) {
        let lease = state.config.site.lease;
        for (name, job) in &mut state.jobs {
            let Some(run) = &mut job.run else { continue };
            if run.renew_at <= elapsed && state.store_rests <= elapsed {
                match self.store().renew(&run.lease, lease, now) {
                    Ok(renewed) => {
                        run.lease = renewed;
                        run.renew_at = elapsed + lease / 3;
                        run.expires = elapsed + lease;
                    }
                    Err(error) => {
                        self.event(&SiteEvent::Trouble(format!("{name}: the lease is not renewed: {error}")));
                        if matches!(error, StoreError::Fenced { .. }) {
                            run.cancel.cancel(StopReason::Shutdown);
                            run.renew_at = Duration::MAX;
                        } else {
                            // Asking for each of many runs could take longer than their leases do.
                            state.store_rests = elapsed + lease / 12;
                        }
                    }
                }
            }
            // Somebody else may run the job when the lease is over.
            if run.expires.saturating_sub(lease / 6) <= elapsed {
                run.cancel.cancel(StopReason::Shutdown);
            }
        }
    }

    fn watch_staleness(&self, state: &mut State, now: Timestamp) {
        for (name, job) in &mut state.jobs {
            if job.record.hold.is_none() && job.condition != Condition::Stale && job.is_stale(now) {
                let change = Change {
                    job: name.clone(),
                    before: job.condition,
                    after: Condition::Stale,
                    message: "its last good run is too long ago".to_owned(),
                };
                job.condition = Condition::Stale;
                let site = self.clone();
                // The lock is held; whoever is told may ask the site something.
                let _ = std::thread::Builder::new().spawn(move || site.tell(change));
            }
        }
    }

    fn start_run(&self, state: &mut State, name: &str, now: Timestamp, elapsed: Duration) {
        let again = now.saturating_add(SECOND_TRY).unwrap_or(Timestamp::MAX);
        let lease_time = state.config.site.lease;
        let soon = now.saturating_add(super::peers::look(lease_time)).unwrap_or(Timestamp::MAX);
        if state.store_rests > elapsed {
            state.scheduler.not_taken(name, soon);
            return;
        }
        let allowance = match state.jobs.get(name) {
            Some(job) => Allowance::of(&job.config.windows, &state.zone, now),
            None => return,
        };
        if let Allowance::Nothing(until) = allowance {
            state.scheduler.put_off(name, until);
            return;
        }
        let seen = state.jobs.get(name).map(|job| job.record.fence);
        let owner = &self.shared.owner;
        let lease = match self.store().claim(name, owner, seen, lease_time, now) {
            Ok(Some(lease)) => lease,
            Ok(None) => {
                // Another process was faster; what it does is known in a moment.
                state.scheduler.not_taken(name, soon);
                return;
            }
            Err(error) => {
                state.store_rests = elapsed + lease_time / 12;
                self.event(&SiteEvent::Trouble(format!("{name} is not started: {error}")));
                state.scheduler.not_taken(name, again);
                return;
            }
        };
        state.epoch += 1;
        let site = &state.config.site;
        let Some(job) = state.jobs.get_mut(name) else { return };
        job.record.fence = lease.fence;
        let mut context = RunContext::new(site.state_dir.join("jobs"));
        context.log_dir = Some(job.config.log_dir.clone().unwrap_or_else(|| site.log_dir()));
        context.environment = environment(&job.config.job);
        context.clock = Arc::clone(&self.shared.surroundings.clock);
        context.cancel = Cancel::default();
        context.progress = ProgressBoard::default();
        context.accept = job.accept.take();
        context.fence = Some(lease.fence);
        context.last_good = job.record.last.clone().filter(|last| last.class.is_good());
        context.health = Arc::clone(&job.upstreams) as _;
        context.bandwidth = match allowance {
            Allowance::Rate(rate) => Some(rate),
            _ => None,
        };
        let lines = Lines::default();
        let said = lines.clone();
        context.lines = Some(Arc::new(move |severity: Severity, text: &str| {
            said.push(if severity == Severity::Error { "error" } else { "info" }, text);
        }));
        let run = Running {
            started: now,
            cancel: context.cancel.clone(),
            progress: context.progress.clone(),
            lease: lease.clone(),
            renew_at: elapsed + lease_time / 3,
            expires: elapsed + lease_time,
            lines,
            closed: None,
        };
        let start = Start { job: Arc::clone(&job.config), context };
        let (handle, thread_lease) = (self.clone(), lease.clone());
        let thread = std::thread::Builder::new().name(format!("job {name}"));
        match thread.spawn(move || handle.run_job(start, &thread_lease)) {
            Ok(_) => {
                job.record.started = Some(now);
                job.run = Some(run);
                self.event(&SiteEvent::Started { job: name.to_owned() });
            }
            Err(error) => {
                self.event(&SiteEvent::Trouble(format!("{name}: no thread for a run: {error}")));
                if let Err(error) = self.store().release(&lease) {
                    self.event(&SiteEvent::Trouble(error.to_string()));
                }
                state.scheduler.put_off(name, again);
            }
        }
    }

    /// Makes a run, in a thread of its own.
    fn run_job(&self, start: Start, lease: &Lease) {
        let Start { job, context } = start;
        let began = self.now();
        let runner = Arc::clone(&self.shared.surroundings.runner);
        let result = catch_unwind(AssertUnwindSafe(|| runner.run(&job.job, &context)));
        let result = result.unwrap_or_else(|_| panicked(&job.job.name, began, self.now()));
        self.remember(lease, &result);
        self.ended(result);
    }

    /// Enters a run in the store. One of another machine may be away for a while; the run is over only when
    /// it knows, or has given the job to somebody else.
    fn remember(&self, lease: &Lease, result: &RunResult) {
        let mut is_told = false;
        loop {
            let Err(error) = self.store().finish(lease, result, self.config().site.history) else { return };
            let may_come_back = self.store().is_shared() && matches!(error, StoreError::Database { .. });
            if !std::mem::replace(&mut is_told, true) || !may_come_back {
                self.event(&SiteEvent::Trouble(format!(
                    "{}: the run is not remembered: {error}",
                    result.job
                )));
            }
            if !may_come_back || self.state().stopping.is_some() {
                return;
            }
            std::thread::sleep(REMEMBER);
        }
    }

    fn ended(&self, result: RunResult) {
        let result = Arc::new(result);
        let now = self.now();
        let mut state = self.state();
        state.epoch += 1;
        // By the time that is remembered, so that others and later processes plan alike.
        state.scheduler.ended(&result.job, result.ended);
        let is_gone = state.scheduler.planned(&result.job, now).is_none();
        let (mut change, mut closed) = (None, None);
        if let Some(job) = state.jobs.get_mut(&result.job) {
            closed = job.run.take().and_then(|run| run.closed);
            job.counts.add(&result);
            let record = &mut job.record;
            record.ended = Some(result.ended);
            record.interrupted = false;
            if result.class.is_good() {
                record.succeeded = Some(result.ended);
                if result.stats.size > 0 {
                    record.size = Some(result.stats.size);
                    record.size_text = None;
                }
            }
            record.last = Some((*result).clone());
            change = Change::of_run(job.condition, job.is_stale(now), &result);
            if let Some(change) = &change {
                job.condition = change.after;
            }
        }
        if let Some(until) = closed.filter(|_| result.class == Class::Cancelled) {
            // What was cut off goes on when it may.
            state.scheduler.put_off(&result.job, until);
        }
        if is_gone {
            state.jobs.remove(&result.job);
        }
        drop(state);
        self.event(&SiteEvent::Ended(result));
        if let Some(change) = change {
            self.tell(change);
        }
        self.shared.changed.notify_all();
    }
}

/// Ends runs of jobs whose windows allow nothing any more; they go on when the windows are over.
fn close_windows(state: &mut State, now: Timestamp) {
    for job in state.jobs.values_mut() {
        let Some(run) = job.run.as_mut().filter(|run| run.closed.is_none()) else { continue };
        if let Allowance::Nothing(until) = Allowance::of(&job.config.windows, &state.zone, now) {
            run.closed = Some(until);
            run.cancel.cancel(StopReason::Hours);
        }
    }
}

/// What the client finds in variables: those of the job, then those of this process.
fn environment(job: &crate::job::Job) -> ClientEnvironment {
    use std::os::unix::ffi::OsStringExt;
    ClientEnvironment::from_variables(|name| match job.environment.get(name) {
        Some(value) => Some(value.as_str().into()),
        None => std::env::var_os(name).map(|value| value.into_vec().into()),
    })
}

/// What is known of a run whose thread panicked, which is a fault of this program.
fn panicked(job: &str, started: Timestamp, ended: Timestamp) -> RunResult {
    RunResult {
        exit: 70,
        class: Class::Permanent,
        message: "the run ended by a fault of this program; please report it with the log of the process"
            .to_owned(),
        ..RunResult::empty(RunId::new(started, rand::random()), job, started, ended)
    }
}
