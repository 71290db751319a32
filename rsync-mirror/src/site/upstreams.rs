//! Upstreams that are checked between runs, so that a run begins with one that is well, and goes back to a
//! better one when that is well again.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rsync_client::ClientEnvironment;
use serde::Serialize;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use super::view::without_password;
use crate::config::SiteJob;
use crate::health::{Change, Checks, State, Target, Watch};
use crate::job::Upstream;
use crate::upstream::{Health, target};

/// The longest time over which the first checks of a site are spread.
const SPREAD: Duration = Duration::from_secs(10);

/// An upstream of a job at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpstreamView {
    /// Where, without a password.
    pub url: String,
    /// How much of the choice falls on it.
    pub weight: u32,
    /// Lower numbers are taken first.
    pub priority: u32,
    /// `up`, `busy` or `down`; `unknown` before the first check, and `unchecked` if none is made.
    pub state: &'static str,
    /// Why it is not up.
    pub reason: Option<String>,
    /// The date of what it serves, where a check looks for one.
    pub date: Option<Timestamp>,
}

/// The threads that check, for all jobs of a site. They may be ended from wherever the site is.
pub(super) struct Checking(Option<Runtime>);

impl Checking {
    /// Begins nothing but the thread.
    pub(super) fn new() -> std::io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("upstreams").enable_all();
        builder.build().map(|runtime| Self(Some(runtime)))
    }

    fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Runtime::handle)
    }
}

impl fmt::Debug for Checking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checking").finish_non_exhaustive()
    }
}

impl Drop for Checking {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The upstreams of one job, with what is known of them.
pub(super) struct JobUpstreams {
    handle: Option<Handle>,
    list: Vec<(Upstream, Option<Arc<Watched>>)>,
    tasks: Vec<JoinHandle<()>>,
}

struct Watched {
    target: Target,
    checks: Checks,
    watch: Watch,
    changed: Box<dyn Fn(&Change) + Send + Sync>,
}

impl fmt::Debug for JobUpstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobUpstreams").field("count", &self.list.len()).finish_non_exhaustive()
    }
}

impl Drop for JobUpstreams {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl JobUpstreams {
    /// Begins the checks of a job; `changed` hears of changes with the address.
    pub(super) fn new(
        job: &SiteJob,
        checking: &Checking,
        changed: impl Fn(&str, &Change) + Clone + Send + Sync + 'static,
    ) -> Self {
        let environment = ClientEnvironment::from_env();
        let handle = checking.handle();
        let mut tasks = Vec::new();
        let mut list = Vec::new();
        for upstream in &job.job.upstreams {
            let known = job.health.as_ref().zip(handle).and_then(|(checks, handle)| {
                let target = target(upstream, &environment)?;
                let spread = SPREAD.min(checks.interval).mul_f64(rand::random());
                let watch = Watch::since(checks, Instant::now() + spread);
                let (url, changed) = (without_password(&upstream.url), changed.clone());
                let changed = Box::new(move |change: &Change| changed(&url, change));
                let watched = Arc::new(Watched { target, checks: checks.clone(), watch, changed });
                let own = Arc::clone(&watched);
                tasks.push(handle.spawn(async move {
                    own.watch.run(&own.target, &own.checks, &own.changed).await;
                }));
                Some(watched)
            });
            list.push((upstream.clone(), known));
        }
        Self { handle: handle.cloned(), list, tasks }
    }

    fn find(&self, upstream: &Upstream) -> Option<&Arc<Watched>> {
        self.list.iter().find(|(known, _)| known == upstream)?.1.as_ref()
    }

    /// What is known of each.
    pub(super) fn view(&self) -> Vec<UpstreamView> {
        let view = |(upstream, watched): &(Upstream, Option<Arc<Watched>>)| {
            let state = watched.as_ref().map(|watched| (watched.watch.is_known(), watched.watch.state()));
            let (state, reason) = match state {
                None => ("unchecked", None),
                Some((false, _)) => ("unknown", None),
                Some((true, state)) => (state.name(), state.reason().map(str::to_owned)),
            };
            let date = watched.as_ref().and_then(|watched| watched.watch.date());
            UpstreamView {
                url: without_password(&upstream.url),
                weight: upstream.weight,
                priority: upstream.priority,
                state,
                reason,
                date: date.and_then(|date| Timestamp::from_second(date).ok()),
            }
        };
        self.list.iter().map(view).collect()
    }
}

impl Health for JobUpstreams {
    fn check(&self, upstream: &Upstream) -> Result<(), String> {
        let Some(watched) = self.find(upstream) else { return Ok(()) };
        if let (false, Some(handle)) = (watched.watch.is_known(), &self.handle) {
            // The run is earlier than the first check.
            let change = handle.block_on(watched.watch.check(&watched.target, &watched.checks));
            change.iter().for_each(&watched.changed);
        }
        match watched.watch.state() {
            State::Up | State::Draining => Ok(()),
            State::Busy(reason) => Err(format!("is busy: {reason}")),
            State::Down(reason) => Err(format!("is not well: {reason}")),
        }
    }

    fn ended(&self, upstream: &Upstream, failed: bool) {
        if let (Some(watched), true) = (self.find(upstream), failed) {
            let change = watched.watch.blame("a run with it failed".to_owned());
            change.iter().for_each(&watched.changed);
        }
    }
}
