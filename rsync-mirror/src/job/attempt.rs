//! One attempt to bring a job's tree from one upstream and to publish it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rsync_proto::exit::ExitCode;
use rsync_proto::text::{EventSink, Severity};

use super::class::{Class, EndFacts, PathClass};
use super::guard::{self, Space, name_of};
use super::hooks::HookPhase;
use super::plan::survey;
use super::progress::Phase;
use super::result::{FailedPath, Refusal, Stats};
use super::rsync::{self, Done, Stage, transfer};
use super::run::Run;
use super::sink::Listener;
use super::spec::{CommandMethod, Guard, Job, Method, Publish, Upstream};
use super::trace::TraceFacts;
use super::watch::Limits;
use crate::MirrorError;
use crate::publish::{Publisher, Staged, publisher};

/// The name of directories that delayed updates wait in.
const DELAYED: &str = ".~tmp~";

impl Run<'_> {
    /// Has a program bring the tree.
    pub(super) fn by_program(&mut self, method: &CommandMethod) -> Result<(), MirrorError> {
        self.enter(Phase::Transferring);
        let begun = self.context.clock.elapsed();
        let fallback = self.state.output();
        let time = self.time_left();
        let facts = self.facts(None, None);
        let ended = super::command::run(method, &facts, self.context, &self.log, time, &fallback);
        let stats = match ended {
            Err(MirrorError::Program { code, .. }) if self.job.classes.is_good(code) => {
                self.class = Class::Notes;
                self.exit = code;
                Stats::default()
            }
            ended => ended?,
        };
        self.stats = Stats { stage2_ms: self.since(begun), ..stats };
        Ok(())
    }

    /// Brings the tree and publishes it.
    pub(super) fn attempt(&mut self, upstream: &Upstream) -> Result<(), MirrorError> {
        let (job, context) = (self.job, self.context);
        let publisher = publisher(job, context.spawn.as_ref(), &context.cancel);
        let staged = publisher.stage()?;
        let brought = self.bring(upstream, publisher.as_ref(), &staged);
        match brought {
            Ok(true) => self.publish(upstream, publisher.as_ref(), &staged),
            Ok(false) => {
                self.unchanged = true;
                self.generation = publisher.current();
                if staged.work == staged.seen {
                    self.write_trace(upstream, &staged)?;
                }
                publisher.rollback(&staged)?;
                publisher.gc()
            }
            Err(error) => {
                if let Err(other) = publisher.rollback(&staged) {
                    self.log.line(Severity::Warning, &other.to_string());
                }
                Err(error)
            }
        }
    }

    /// Brings the tree into its place; answers whether there is something to publish.
    fn bring(
        &mut self,
        upstream: &Upstream,
        publisher: &dyn Publisher,
        staged: &Staged,
    ) -> Result<bool, MirrorError> {
        self.enter(Phase::Surveying);
        let limits = self.limits(staged, &Guard::default());
        let found = survey(self.job, self.context, upstream, staged, &self.log, limits, None);
        let (survey, code, failures) = found?;
        let before = self.before.as_ref().map(|before| before.stats);
        let canary = canary_here(&self.job.guard, &staged.seen);
        let space = Space::of(&staged.work);
        let refusals = guard::judge(&self.job.guard, &survey, before.as_ref(), space, canary);
        // What vanished while it was listed is missing for good.
        let unreadable = !matches!(ExitCode::new(code), ExitCode::OK | ExitCode::VANISHED);
        if unreadable && refusals.contains(&Refusal::Empty) {
            // Nothing is known of the upstream: there is nothing that anybody could accept.
            self.failures = failures;
            return Err(MirrorError::Unreadable { upstream: upstream.url.clone(), code });
        }
        self.refuse(refusals)?;
        if survey.is_unchanged() && !unreadable && !staged.pending && !self.unfinished {
            self.stats.take(&survey.totals);
            self.log.line(Severity::Info, "nothing to do");
            return Ok(false);
        }
        if unreadable {
            let text = "the upstream cannot be read whole: nothing is deleted this time";
            self.log.line(Severity::Warning, text);
        }
        publisher.begin(staged)?;
        if let Method::TwoStage(_) = self.job.method {
            self.enter(Phase::Stage1);
            let begun = self.context.clock.elapsed();
            let done = self.transfer(upstream, staged, Stage::First)?;
            self.stats.stage1_ms += self.since(begun);
            self.take(upstream, &done)?;
            self.hooks(HookPhase::Stage1Done)?;
            publisher.again(staged)?;
        }
        self.enter(Phase::Transferring);
        let begun = self.context.clock.elapsed();
        let max_delete = survey.delete_limit(&self.job.guard).filter(|_| self.accepted.is_empty());
        let done = self.transfer(upstream, staged, Stage::Last { keeps: unreadable, max_delete })?;
        self.stats.stage2_ms += self.since(begun);
        self.take(upstream, &done)?;
        if unreadable && done.report.exit_code.is_ok() {
            // It was read whole the second time, and nothing was deleted: the next attempt does.
            return Err(partial(upstream, ExitCode::PARTIAL, 0));
        }
        // The upstream may have changed since it was looked at.
        self.refuse(guard::source(&self.job.guard, &done.report.totals, before.as_ref()))?;
        Ok(true)
    }

    fn transfer(&self, upstream: &Upstream, staged: &Staged, stage: Stage) -> Result<Done, MirrorError> {
        let options = rsync::options(self.job, self.context, upstream, staged, stage)?;
        let listener =
            Arc::new(Listener::new(Arc::clone(&self.log), self.context.clone(), staged.work.clone()));
        let events: Arc<dyn EventSink> = listener.clone();
        let limits = self.limits(staged, &self.job.guard);
        let report = transfer(self.context, upstream, options, &staged.work, events, limits)?;
        Ok(Done { report, failures: listener.failures(), deleted: listener.deleted() })
    }

    /// Counts a transfer, and judges how it ended.
    fn take(&mut self, upstream: &Upstream, done: &Done) -> Result<(), MirrorError> {
        self.stats.take(&done.report.totals);
        if done.report.totals.deleted.is_none() {
            // Peers before protocol 31 do not count them.
            self.stats.deleted += done.deleted;
        }
        self.failures = done.failures.clone();
        let code = done.report.exit_code;
        let failed: Vec<PathClass> = done.failures.classes.iter().copied().collect();
        let no_space = failed.contains(&PathClass::NoSpace);
        let facts = EndFacts { failed: &failed, refusal: b"", no_space };
        let class = Class::of(code, facts, &self.job.classes);
        let expected = class == Class::Immutable
            && done.failures.count == done.failures.paths.len() as u64
            && done.failures.paths.iter().all(|failed| is_expected(self.job, failed));
        self.class = if expected { Class::Notes } else { class };
        self.exit = code.code();
        if self.class.is_good() { Ok(()) } else { Err(partial(upstream, code, done.failures.count)) }
    }

    fn publish(
        &mut self,
        upstream: &Upstream,
        publisher: &dyn Publisher,
        staged: &Staged,
    ) -> Result<(), MirrorError> {
        self.enter(Phase::Publishing);
        self.hooks(HookPhase::PrePublish)?;
        self.write_trace(upstream, staged)?;
        if self.unfinished && matches!(self.job.publish, Publish::Delay) {
            sweep(&staged.work).map_err(MirrorError::file("clear up", &staged.work))?;
        }
        self.generation = publisher.commit(staged, self.context.fence)?;
        self.hooks(HookPhase::PostPublish)?;
        if let Err(error) = publisher.gc() {
            // Readers see the new tree; the next run collects.
            self.log.line(Severity::Warning, &error.to_string());
        }
        Ok(())
    }

    fn write_trace(&self, upstream: &Upstream, staged: &Staged) -> Result<(), MirrorError> {
        let Some(trace) = &self.job.trace else { return Ok(()) };
        let facts = TraceFacts {
            job: &self.job.name,
            run: &self.id,
            upstream: &upstream.url,
            started: self.started,
            now: self.context.clock.now(),
            stats: self.stats,
        };
        trace.write(&staged.work, &facts)
    }

    /// Refuses what is objected to and was not accepted.
    fn refuse(&mut self, mut refusals: Vec<Refusal>) -> Result<(), MirrorError> {
        let all = refusals.len();
        refusals.retain(|refusal| !self.accepted.iter().any(|accepted| accepted.is_like(refusal)));
        if refusals.len() < all {
            self.log.line(Severity::Warning, "a guard objects, which was accepted for this run");
            if let Some(id) = self.context.accept.as_ref().filter(|_| !self.accept_used) {
                self.state.use_up(id)?;
                self.accept_used = true;
            }
        }
        if refusals.is_empty() {
            return Ok(());
        }
        self.refusals.clone_from(&refusals);
        Err(MirrorError::Refused { refusals })
    }

    fn limits(&self, staged: &Staged, guard: &Guard) -> Limits {
        Limits::new(&self.job.timeouts, guard, self.begun, staged.work.clone())
    }

    fn since(&self, begun: Duration) -> u64 {
        let passed = self.context.clock.elapsed().saturating_sub(begun).as_millis();
        u64::try_from(passed).unwrap_or(u64::MAX)
    }
}

fn partial(upstream: &Upstream, code: ExitCode, count: u64) -> MirrorError {
    MirrorError::Partial { upstream: upstream.url.clone(), code: code.code(), count }
}

/// Whether a path may be immutable here. What is below one that may be is meant too, and the temporary name
/// of a file stands for it.
fn is_expected(job: &Job, failed: &FailedPath) -> bool {
    let path = super::sink::file_of(&failed.path);
    job.expect_immutable.iter().map(|expected| name_of(expected)).any(|expected| {
        path.strip_prefix(expected).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// The time of our own canary, if there is one.
pub(super) fn canary_here(guard: &Guard, tree: &Path) -> Option<i64> {
    let path = tree.join(name_of(guard.canary.as_ref()?));
    fs::symlink_metadata(path).ok().map(|facts| facts.mtime())
}

/// Removes the directories of delayed updates that an interrupted run left; what was in them has served as a
/// basis, and they would keep directories from being deleted.
fn sweep(directory: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        if entry.file_name() == DELAYED {
            fs::remove_dir_all(entry.path())?;
        } else {
            sweep(&entry.path())?;
        }
    }
    Ok(())
}
