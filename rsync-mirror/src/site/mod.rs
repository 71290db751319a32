//! A site: many jobs in one process, on schedules and within limits, with a store that outlives it.
//!
//! One thread drives ([`Site::run`]): it asks the [`Scheduler`](crate::schedule::Scheduler) after every
//! event and starts a thread for each run. Everything else (API, page, commands, signals) has a clone of
//! [`Site`] and calls its methods, which change the state under one lock and wake the driver.

mod control;
mod drive;
mod notify;
mod peers;
mod push_words;
mod state;
mod upstreams;
mod view;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};

pub use control::CommandError;
pub use notify::Condition;
pub use push_words::{PushError, PushWords};
pub use upstreams::UpstreamView;
pub use view::{Counts, JobView, LogLine, ProgressView, SiteView};

use crate::config::{Config, ConfigError, SiteJob};
use crate::job::{Job, RunContext, RunResult, run_job};
use crate::store::{Store, StoreError};
use crate::{Clock, health};
use state::State;
use upstreams::{Checking, JobUpstreams};

/// Runs jobs; a test has its own.
pub trait Runner: Send + Sync + fmt::Debug {
    /// Runs a job to its end, whatever that is.
    fn run(&self, job: &Job, context: &RunContext) -> RunResult;
}

/// Runs jobs in this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct InProcess;

impl Runner for InProcess {
    fn run(&self, job: &Job, context: &RunContext) -> RunResult {
        run_job(job, context)
    }
}

/// Why a site cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SiteError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process has the state directory.
    #[error("another process runs this site: {0} is locked")]
    Locked(PathBuf),
    /// The system has no thread for it.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// A file or directory cannot be made.
    #[error("cannot make {path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Something that happened, for a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SiteEvent {
    /// A run began.
    Started {
        /// The job.
        job: String,
    },
    /// A run ended.
    Ended(Arc<RunResult>),
    /// A job is failing, stale or well again.
    Changed {
        /// The job.
        job: String,
        /// What it is now.
        condition: Condition,
    },
    /// An upstream is well, busy or down.
    Upstream {
        /// The job.
        job: String,
        /// The upstream, without a password.
        url: String,
        /// What it is now.
        state: health::State,
    },
    /// Something that somebody should look at.
    Trouble(String),
    /// Something worth a line.
    Note(String),
}

impl fmt::Display for SiteEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { job } => write!(f, "{job}: started"),
            Self::Ended(result) => {
                let seconds = result.ended.duration_since(result.started).as_secs();
                write!(f, "{}: ended after {seconds} s, exit {}", result.job, result.exit)?;
                if result.class.is_good() {
                    let stats = &result.stats;
                    write!(f, ", {} files transferred, {} deleted", stats.transferred, stats.deleted)
                } else {
                    write!(f, ": {}", result.message)
                }
            }
            Self::Changed { job, condition } => write!(f, "{job}: {condition}"),
            Self::Upstream { job, url, state } => write!(f, "{job}: {url} is {state}"),
            Self::Trouble(text) | Self::Note(text) => f.write_str(text),
        }
    }
}

/// What a site needs besides its configuration.
#[derive(Clone)]
pub struct Surroundings {
    /// Where states of jobs are kept.
    pub store: Arc<dyn Store>,
    /// What runs jobs.
    pub runner: Arc<dyn Runner>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Hears what happens.
    pub events: Arc<dyn Fn(&SiteEvent) + Send + Sync>,
}

/// Reads a configuration again.
pub type ConfigReader = Box<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

struct Shared {
    surroundings: Surroundings,
    /// Reads the configuration again.
    reader: Option<ConfigReader>,
    /// Who claims jobs.
    owner: String,
    checking: Checking,
    state: Mutex<State>,
    changed: Condvar,
}

/// A handle of a site; clones are of the same one.
#[derive(Clone)]
pub struct Site {
    shared: Arc<Shared>,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("owner", &self.shared.owner).finish_non_exhaustive()
    }
}

/// The right to run a site in a state directory, as long as it lives.
#[derive(Debug)]
pub struct SiteLock(#[expect(dead_code, reason = "the lock is held by the open file")] std::fs::File);

impl SiteLock {
    /// Makes the state directory, and takes its lock.
    ///
    /// # Errors
    /// [`SiteError::Locked`] if another process has it.
    pub fn take(config: &Config) -> Result<Self, SiteError> {
        let directory = &config.site.state_dir;
        let failed = |path: PathBuf| |source| SiteError::File { path, source };
        std::fs::create_dir_all(directory).map_err(failed(directory.clone()))?;
        let path = directory.join("site.lock");
        let file = std::fs::File::options().create(true).append(true).open(&path);
        let file = file.map_err(failed(path.clone()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file)),
            Err(_) => Err(SiteError::Locked(path)),
        }
    }
}

impl Site {
    /// A site with these jobs, whose past is in the store. `path` is where [`Site::reload`] reads.
    ///
    /// # Errors
    /// [`SiteError::Store`] if the past cannot be read.
    pub fn new(config: Config, path: Option<PathBuf>, surroundings: Surroundings) -> Result<Self, SiteError> {
        let reader = path.map(|path| Box::new(move || Config::load(&path)) as ConfigReader);
        Self::with_reader(config, reader, surroundings)
    }

    /// A site whose configuration is not in a file of our own form: `reader` is what [`Site::reload`] calls.
    ///
    /// # Errors
    /// [`SiteError::Store`] if the past cannot be read.
    pub fn with_reader(
        config: Config,
        reader: Option<ConfigReader>,
        surroundings: Surroundings,
    ) -> Result<Self, SiteError> {
        let owner = peers::owner(&config, surroundings.store.as_ref())?;
        let checking = Checking::new().map_err(SiteError::Thread)?;
        let now = surroundings.clock.now();
        let state = Mutex::new(State::new(config));
        let changed = Condvar::new();
        let site =
            Self { shared: Arc::new(Shared { surroundings, reader, owner, checking, state, changed }) };
        let config = site.config();
        for job in &config.jobs {
            let record = site.store().job(&job.job.name, now)?;
            let upstreams = site.check_upstreams(job);
            site.state().add(job, record, upstreams, now);
        }
        if site.store().is_shared() {
            site.look_at_peers()?;
        }
        Ok(site)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Changes of the state are whole before anything that can panic.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to check the upstreams of a job, if it wants that.
    fn check_upstreams(&self, job: &SiteJob) -> JobUpstreams {
        let (events, name) = (Arc::clone(&self.shared.surroundings.events), job.job.name.clone());
        let changed = move |url: &str, change: &crate::health::Change| {
            let news =
                SiteEvent::Upstream { job: name.clone(), url: url.to_owned(), state: change.to.clone() };
            events(&news);
        };
        JobUpstreams::new(job, &self.shared.checking, changed)
    }

    fn event(&self, event: &SiteEvent) {
        (self.shared.surroundings.events)(event);
    }

    /// The configuration that holds at the moment.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.state().config)
    }

    /// Where runs are remembered.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.shared.surroundings.store
    }

    /// The time of the site.
    #[must_use]
    pub fn now(&self) -> jiff::Timestamp {
        self.shared.surroundings.clock.now()
    }
}

#[cfg(test)]
pub(crate) mod tests;
