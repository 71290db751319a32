//! What a run would do, with nothing written.

use std::sync::Arc;

use rsync_client::Action;
use rsync_proto::text::EventSink;
use serde::{Deserialize, Serialize};

use super::attempt::canary_here;
use super::context::RunContext;
use super::guard::{Space, Survey, judge};
use super::log::RunLog;
use super::result::Refusal;
use super::rsync::{self, Stage, transfer};
use super::sink::{Failures, Listener, Surveyor};
use super::spec::{Job, Method, Publish, Upstream};
use super::state::JobState;
use super::watch::Limits;
use crate::MirrorError;
use crate::publish::{Staged, seen_tree};

/// Takes the actions of a plan, one by one.
pub type Actions = Arc<dyn Fn(Action) + Send + Sync>;

/// What a run would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Where it would come from.
    pub upstream: String,
    /// Entries of the upstream's list.
    pub entries: u64,
    /// Bytes of all its files.
    pub size: u64,
    /// Entries that would be made.
    pub create: u64,
    /// Files that would get another content.
    pub update: u64,
    /// Entries of which only attributes would change.
    pub adjust: u64,
    /// Entries that would be deleted.
    pub delete: u64,
    /// Bytes of the files that would be made or get another content.
    pub bytes: u64,
    /// What guards would object to.
    pub refusals: Vec<Refusal>,
    /// rsync's exit code: 23 where the upstream could not be read whole.
    pub exit: u8,
}

/// Finds out what a run of `job` would do, and writes nothing: no directory, no lock, no log. Each action is
/// given to `actions`, in the order of the list.
///
/// # Errors
/// A job that makes no sense, or whose method is a program, which nobody can look into; upstreams that
/// cannot be read, the last of which is told.
pub fn plan_job(job: &Job, context: &RunContext, actions: Option<Actions>) -> Result<Plan, MirrorError> {
    rsync::check(job)?;
    if let Method::Command(_) = job.method {
        let reason = "its method is a program, and what that would do is known to it alone".to_owned();
        return Err(MirrorError::Job { job: job.name.clone(), reason });
    }
    let before = JobState::new(&context.state_dir, &job.name)?.last_good()?;
    let seen = match job.publish {
        Publish::Delay => job.destination.clone(),
        Publish::Snapshot(_) => job.destination.join("work"),
        Publish::Generation(_) => seen_tree(job).unwrap_or_else(|_| job.destination.join("gen/.work")),
    };
    let staged = Staged { work: seen.clone(), seen, share: None, pending: false };
    let log = Arc::new(RunLog::silent(context.lines.clone()));
    let mut last = None;
    for upstream in crate::upstream::order(&job.upstreams, context.chance.as_ref()) {
        if let Err(reason) = context.health.check(upstream) {
            last = Some(MirrorError::NoUpstream { reasons: vec![format!("{} {reason}", upstream.url)] });
            continue;
        }
        let limits = Limits::new(
            &job.timeouts,
            &super::spec::Guard::default(),
            context.clock.elapsed(),
            staged.seen.clone(),
        );
        match survey(job, context, upstream, &staged, &log, limits, actions.clone()) {
            Ok((survey, exit, _)) => {
                let space = Space::of(nearest(&staged.seen));
                let canary = canary_here(&job.guard, &staged.seen);
                let stats = before.as_ref().map(|before| &before.stats);
                return Ok(Plan {
                    upstream: upstream.url.clone(),
                    entries: survey.totals.listed.total(),
                    size: survey.totals.total_size,
                    create: survey.created,
                    update: survey.updated,
                    adjust: survey.adjusted,
                    delete: survey.deleted,
                    bytes: survey.bytes,
                    refusals: judge(&job.guard, &survey, stats, space, canary),
                    exit,
                });
            }
            Err(error) if rsync::lies_upstream(&error) => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or(MirrorError::NoUpstream { reasons: Vec::new() }))
}

/// The nearest directory above a path that is there.
fn nearest(path: &std::path::Path) -> &std::path::Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(path)
}

/// A dry run of a job's transfer: its numbers, its exit code, what failed in it.
///
/// It costs the upstream a second list. A look at the list of the transfer itself could not do: rsync deletes
/// and creates while lists still arrive, a daemon decides what the list holds, and which deletions follow
/// from it depends on filters; only the same code with nothing carried out knows. In return a run that finds
/// nothing to do needs no transfer at all.
pub(super) fn survey(
    job: &Job,
    context: &RunContext,
    upstream: &Upstream,
    staged: &Staged,
    log: &Arc<RunLog>,
    limits: Limits,
    actions: Option<Actions>,
) -> Result<(Survey, u8, Failures), MirrorError> {
    let options = rsync::options(job, context, upstream, staged, Stage::Survey)?;
    let own_limit = rsync::own_limit(job, upstream)?;
    let listener = Listener::new(Arc::clone(log), context.clone(), staged.seen.clone());
    let guard = &job.guard;
    let surveyor = Arc::new(Surveyor::new(listener, &guard.must_have, guard.canary.as_deref(), actions));
    let events: Arc<dyn EventSink> = surveyor.clone();
    let report = transfer(context, upstream, options, &staged.seen, events, limits)?;
    let survey = Survey { own_limit, ..surveyor.survey() };
    Ok((survey, report.exit_code.code(), surveyor.failures()))
}
