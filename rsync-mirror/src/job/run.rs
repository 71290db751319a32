//! A run of a job from its lock to its record.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rsync_proto::exit::ExitCode;
use rsync_proto::text::Severity;
use serde_json::json;

use super::class::Class;
use super::command;
use super::context::RunContext;
use super::hooks::{Facts, HookPhase};
use super::lock::Lock;
use super::log::RunLog;
use super::progress::Phase;
use super::result::{Refusal, RunId, RunResult, Stats};
use super::rsync;
use super::sink::Failures;
use super::spec::{Job, Method, Retry, Upstream};
use super::state::JobState;
use crate::{Chance, MirrorError};

/// What a run knows while it goes on.
pub(super) struct Run<'a> {
    pub(super) job: &'a Job,
    pub(super) context: &'a RunContext,
    pub(super) id: RunId,
    pub(super) state: JobState,
    pub(super) log: Arc<RunLog>,
    pub(super) started: Timestamp,
    /// The clock's elapsed time at the start.
    pub(super) begun: Duration,
    /// The last good run.
    pub(super) before: Option<RunResult>,
    /// A run before this one did not come to a good end.
    pub(super) unfinished: bool,
    /// What may be objected to this time.
    pub(super) accepted: Vec<Refusal>,
    pub(super) accept_used: bool,
    pub(super) attempts: u32,
    pub(super) upstream: Option<&'a Upstream>,
    pub(super) stats: Stats,
    pub(super) failures: Failures,
    pub(super) refusals: Vec<Refusal>,
    pub(super) class: Class,
    pub(super) exit: u8,
    pub(super) generation: Option<u64>,
    pub(super) unchanged: bool,
}

/// Whether a job makes sense, as far as that can be told without running it.
///
/// # Errors
/// What is wrong, and what to do.
pub fn check_job(job: &Job) -> Result<(), MirrorError> {
    let wrong = |reason: String| MirrorError::Job { job: job.name.clone(), reason };
    JobState::new(Path::new(""), &job.name)?;
    if job.mutex.as_ref().is_some_and(|name| name.is_empty() || name.contains('/') || name.starts_with('.')) {
        return Err(wrong("its mutex is no name: it has no slash and does not begin with a dot".to_owned()));
    }
    if let Method::Command(method) = &job.method {
        command::check(method).map_err(wrong)?;
    }
    rsync::check(job)
}

/// Runs a job once: takes its locks, tries its upstreams, lets its guards look, transfers, publishes, and
/// keeps a record. The call blocks until all of that is done; it never panics for what a job or a peer
/// does, and prints nothing.
///
/// ```
/// use rsync_mirror::job::{Class, Job, RunContext, run_job};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let place = tempfile::tempdir()?;
/// # let (upstream, mirror) = (place.path().join("upstream"), place.path().join("mirror"));
/// # std::fs::create_dir(&upstream)?;
/// # std::fs::write(upstream.join("file"), "content")?;
/// let job = Job::new("example", format!("{}/", upstream.display()), &mirror);
/// let result = run_job(&job, &RunContext::new(place.path().join("state")));
/// assert_eq!((result.class, result.stats.created), (Class::Good, 1));
/// assert_eq!(std::fs::read(mirror.join("file"))?, b"content");
///
/// // An upstream that is suddenly empty does not empty the mirror.
/// # std::fs::remove_file(upstream.join("file"))?;
/// let result = run_job(&job, &RunContext::new(place.path().join("state")));
/// assert_eq!(result.class, Class::Refused);
/// assert!(mirror.join("file").exists());
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn run_job(job: &Job, context: &RunContext) -> RunResult {
    let started = context.clock.now();
    let chance = u32::try_from(context.chance.number() & 0xffff_ffff).unwrap_or_default();
    let id = RunId::new(started, chance);
    let ended = match prepare(job, context, &id, started) {
        Ok((run, locks)) => {
            let result = run.go();
            drop(locks);
            result
        }
        Err(error) => not_begun(job, context, id, started, &error),
    };
    context.progress.enter(context.clock.as_ref(), Phase::Ended);
    ended
}

/// The result of a run that came to no attempt.
fn not_begun(
    job: &Job,
    context: &RunContext,
    id: RunId,
    started: Timestamp,
    error: &MirrorError,
) -> RunResult {
    RunResult {
        exit: error.exit_code(),
        class: rsync::class_of(error, job, None),
        message: error.to_string(),
        ..RunResult::empty(id, &job.name, started, context.clock.now())
    }
}

/// Checks the job, takes all locks and begins the log.
fn prepare<'a>(
    job: &'a Job,
    context: &'a RunContext,
    id: &RunId,
    started: Timestamp,
) -> Result<(Run<'a>, Vec<Lock>), MirrorError> {
    check_job(job)?;
    let state = JobState::new(&context.state_dir, &job.name)?;
    state.prepare()?;
    let mut locks = vec![Lock::of_job(&state.lock(), started)?];
    if let Some(path) = &job.lock_file {
        locks.push(Lock::external(path)?);
    }
    let destination = &job.destination;
    std::fs::create_dir_all(destination).map_err(MirrorError::file("make", destination))?;
    locks.push(Lock::of_directory(destination)?);
    if let Some(name) = &job.mutex {
        let directory = context.state_dir.join(".mutex");
        std::fs::create_dir_all(&directory).map_err(MirrorError::file("make", &directory))?;
        locks.push(Lock::wait(&directory.join(name), &context.cancel)?);
    }
    let accepted = accepted(&state, context)?;
    let elsewhere = context.last_good.clone();
    let before = state.last_good()?.into_iter().chain(elsewhere).max_by_key(|good| good.ended);
    let lines = context.lines.clone();
    let log = RunLog::begin(context.log_dir.as_deref(), &job.name, started, &job.log, lines)?;
    let log = log.with_events(job.log.events, &context.clock)?;
    let unfinished = state.begin(id)?;
    let run = Run {
        job,
        context,
        id: id.clone(),
        state,
        log: Arc::new(log),
        started,
        begun: context.clock.elapsed(),
        before,
        unfinished,
        accepted,
        accept_used: false,
        attempts: 0,
        upstream: None,
        stats: Stats::default(),
        failures: Failures::default(),
        refusals: Vec::new(),
        class: Class::Good,
        exit: 0,
        generation: None,
        unchanged: false,
    };
    Ok((run, locks))
}

/// What the refusal that is to be accepted objected to.
fn accepted(state: &JobState, context: &RunContext) -> Result<Vec<Refusal>, MirrorError> {
    let Some(id) = &context.accept else { return Ok(Vec::new()) };
    let cannot = |reason| MirrorError::Accept { id: id.clone(), reason };
    let record = state.run(id)?.ok_or_else(|| cannot("this job has no record of it"))?;
    if record.refusals.is_empty() {
        return Err(cannot("no guard refused it"));
    }
    if state.is_used_up(id) {
        return Err(cannot("it was accepted before; what is refused since has a name of its own"));
    }
    Ok(record.refusals)
}

impl<'a> Run<'a> {
    fn go(mut self) -> RunResult {
        self.log.line(Severity::Info, &format!("job {}, run {}", self.job.name, self.id));
        self.log.event(json!({ "event": "begin", "job": self.job.name, "run": self.id }));
        let ended = self.hooks(HookPhase::PreJob).and_then(|()| self.attempts());
        let mut message = match &ended {
            Ok(()) => String::new(),
            Err(error) => {
                self.fail(error);
                error.to_string()
            }
        };
        let phase = if ended.is_ok() { HookPhase::Success } else { HookPhase::Failure };
        let result = self.result(message.clone());
        let hooked = self.facts(Some(&result), Some(self.class)).run_hooks(phase, self.context, &self.log);
        if let Err(error) = hooked {
            self.log.line(Severity::Error, &error.to_string());
            if ended.is_ok() {
                self.fail(&error);
                message = error.to_string();
            }
        }
        self.end(message)
    }

    /// Tries until it is good, or trying makes no sense.
    fn attempts(&mut self) -> Result<(), MirrorError> {
        loop {
            self.attempts += 1;
            let attempt = self.attempts;
            self.context.progress.update(self.context.clock.as_ref(), |board| board.attempt = attempt);
            let Err(error) = self.try_upstreams() else { return Ok(()) };
            let class = self.class_of(&error);
            let retry = &self.job.retry;
            let left = self.time_left();
            if attempt >= retry.attempts
                || !class.may_retry(attempt)
                || left.is_some_and(|left| left.is_zero())
            {
                return Err(error);
            }
            let pause = pause(retry, attempt, self.context.chance.as_ref());
            let pause = left.map_or(pause, |left| pause.min(left));
            self.log.line(Severity::Warning, &format!("{error}; next attempt in {pause:.1?}"));
            self.enter(Phase::Pausing);
            if self.context.cancel.wait(pause) {
                return Err(self.context.cancel.reason().map_or(error, MirrorError::Stopped));
            }
        }
    }

    /// One attempt: with the first upstream that is well, and with the next where the failure lies there.
    fn try_upstreams(&mut self) -> Result<(), MirrorError> {
        let job = self.job;
        if job.upstreams.is_empty() {
            return self.try_one(None);
        }
        let mut reasons = Vec::new();
        let mut last = None;
        for upstream in crate::upstream::order(&job.upstreams, self.context.chance.as_ref()) {
            if let Some(reason) = self.context.cancel.reason() {
                return Err(MirrorError::Stopped(reason));
            }
            if let Err(reason) = self.context.health.check(upstream) {
                reasons.push(format!("{} {reason}", upstream.url));
                continue;
            }
            if let Some(error) = last.take() {
                self.log.line(Severity::Warning, &format!("{error}; the next upstream is tried"));
            }
            let ended = self.try_one(Some(upstream));
            let failed_there = ended.as_ref().is_err_and(rsync::lies_upstream);
            self.context.health.ended(upstream, failed_there);
            match ended {
                Err(error) if failed_there => last = Some(error),
                ended => return ended,
            }
        }
        Err(last.unwrap_or(MirrorError::NoUpstream { reasons }))
    }

    /// One attempt with its hooks; only a program does without an upstream.
    fn try_one(&mut self, upstream: Option<&'a Upstream>) -> Result<(), MirrorError> {
        self.begin_attempt(upstream);
        let attempt = |run: &mut Self| match (&run.job.method, upstream) {
            (Method::Command(method), _) => run.by_program(method),
            (_, Some(upstream)) => run.attempt(upstream),
            (_, None) => Err(MirrorError::NoUpstream { reasons: Vec::new() }),
        };
        let ended = self.hooks(HookPhase::PreExec).and_then(|()| attempt(self));
        let hooked = self.facts(None, None).run_hooks(HookPhase::PostExec, self.context, &self.log);
        ended.and(hooked)
    }

    fn begin_attempt(&mut self, upstream: Option<&'a Upstream>) {
        let url = upstream.map(|upstream| upstream.url.clone()).unwrap_or_default();
        let from = if url.is_empty() { String::new() } else { format!(" from {url}") };
        self.log.line(Severity::Info, &format!("attempt {}{from}", self.attempts));
        self.log.event(json!({ "event": "attempt", "attempt": self.attempts, "upstream": url }));
        self.upstream = upstream;
        self.stats = Stats::default();
        self.failures = Failures::default();
        self.refusals.clear();
        (self.class, self.exit) = (Class::Good, 0);
        self.context.progress.update(self.context.clock.as_ref(), |board| board.upstream = url);
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.log.event(json!({ "event": "phase", "phase": phase }));
        self.context.progress.enter(self.context.clock.as_ref(), phase);
    }

    pub(super) fn hooks(&self, phase: HookPhase) -> Result<(), MirrorError> {
        self.facts(None, None).run_hooks(phase, self.context, &self.log)
    }

    pub(super) fn facts<'b>(&'b self, result: Option<&'b RunResult>, class: Option<Class>) -> Facts<'b> {
        let upstream = self.upstream.or(self.job.upstreams.first());
        Facts {
            job: self.job,
            run: &self.id,
            attempt: self.attempts,
            upstream: upstream.map_or("", |upstream| upstream.url.as_str()),
            result,
            class,
        }
    }

    /// What is left of the time for the whole run.
    pub(super) fn time_left(&self) -> Option<Duration> {
        let passed = self.context.clock.elapsed().saturating_sub(self.begun);
        self.job.timeouts.total.map(|total| total.saturating_sub(passed))
    }

    fn class_of(&self, error: &MirrorError) -> Class {
        match error {
            MirrorError::Partial { .. } => self.class,
            error => rsync::class_of(error, self.job, Some(&self.failures)),
        }
    }

    fn fail(&mut self, error: &MirrorError) {
        self.class = self.class_of(error);
        self.exit = error.exit_code();
        let meaning = ExitCode::new(self.exit).text();
        let is_of_rsync = |error: &MirrorError| {
            use MirrorError::{Partial, Transfer, Unreadable};
            matches!(error, Transfer { .. } | Partial { .. } | Unreadable { .. })
        };
        if is_of_rsync(error) {
            self.log.line(Severity::Error, &format!("rsync error: {meaning} (code {})", self.exit));
        }
        self.log.line(Severity::Error, &error.to_string());
    }

    fn result(&self, message: String) -> RunResult {
        RunResult {
            id: self.id.clone(),
            job: self.job.name.clone(),
            attempt: self.attempts,
            exit: self.exit,
            class: self.class,
            started: self.started,
            ended: self.context.clock.now(),
            upstream: self.upstream.map(|upstream| upstream.url.clone()),
            stats: self.stats,
            failed: self.failures.paths.clone(),
            failed_count: self.failures.count,
            refusals: self.refusals.clone(),
            generation: self.generation,
            unchanged: self.unchanged,
            message,
            log: self.log.path().map(Path::to_owned),
        }
    }

    /// Keeps the record and ends the log.
    fn end(mut self, message: String) -> RunResult {
        let mut result = self.result(message);
        let ending = format!("ended with exit code {}", result.exit);
        self.log.line(Severity::Info, &ending);
        self.log.event(json!({ "event": "end", "result": result }));
        // Others may hold the log still, who only write to it.
        let failed = !result.class.is_good();
        let log = std::mem::replace(&mut self.log, Arc::new(RunLog::silent(None)));
        result.log = match Arc::try_unwrap(log) {
            Ok(log) => log.end(failed),
            Err(log) => log.path().map(Path::to_owned),
        };
        if let Err(error) = self.state.keep(&result) {
            result.message = if result.message.is_empty() {
                error.to_string()
            } else {
                format!("{}; {error}", result.message)
            };
        }
        if result.class.is_good() {
            self.state.end();
        }
        result
    }
}

/// How long to wait after so many attempts: twice as long each time, less what chance takes away.
fn pause(retry: &Retry, attempts: u32, chance: &dyn Chance) -> Duration {
    let doublings = attempts.saturating_sub(1).min(31);
    let pause = retry.first_pause.saturating_mul(1 << doublings).min(retry.longest_pause);
    pause.mul_f64(1.0 - retry.jitter.clamp(0.0, 1.0) * chance.share())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FixedChance;

    #[test]
    fn pauses_double_up_to_the_longest_and_chance_shortens_them() {
        let retry = Retry { first_pause: Duration::from_secs(10), ..Retry::default() };
        let pauses: Vec<u64> =
            (1..=8).map(|attempt| pause(&retry, attempt, &FixedChance(0)).as_secs()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 600, 600]);
        let shortened = pause(&retry, 1, &FixedChance(u64::MAX / 2)).as_secs_f64();
        assert!((shortened - 8.5).abs() < 0.01, "{shortened}");
    }
}
