//! What a run gets from whoever starts it.

use std::path::PathBuf;
use std::sync::Arc;

use rsync_client::ClientEnvironment;
use rsync_proto::text::{EventSink, Severity};

use super::cancel::Cancel;
use super::program::{Processes, Spawn};
use super::progress::ProgressBoard;
use super::result::{RunId, RunResult};
use crate::clock::{Chance, Clock, RandomChance, SystemClock};
use crate::upstream::{Health, Unchecked};

/// Takes lines of a log, without line feeds.
pub type LineSink = Arc<dyn Fn(Severity, &str) + Send + Sync>;

/// The surroundings of a run. [`RunContext::new`] gives the system's own; fields may be replaced.
#[derive(Clone)]
pub struct RunContext {
    /// Where the job keeps what it must remember, in a directory of its name: lock, records, the numbers of
    /// the last good run.
    pub state_dir: PathBuf,
    /// Where logs are written; none are without it.
    pub log_dir: Option<PathBuf>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The dice.
    pub chance: Arc<dyn Chance>,
    /// Shells, proxies and the like for the client.
    pub environment: ClientEnvironment,
    /// Starts programs.
    pub spawn: Arc<dyn Spawn>,
    /// Which upstreams are well.
    pub health: Arc<dyn Health>,
    /// Ends the run.
    pub cancel: Cancel,
    /// Shows how far it is.
    pub progress: ProgressBoard,
    /// Takes every event of every transfer, beside the log.
    pub events: Option<Arc<dyn EventSink>>,
    /// Takes each line that is written to the log.
    pub lines: Option<LineSink>,
    /// What this run was refused for before is allowed this time.
    pub accept: Option<RunId>,
    /// The number of the lease under which the run publishes; one that is less than another's is refused
    /// (spec 11 §6). None on a machine alone.
    pub fence: Option<u64>,
    /// The last good run where that was made elsewhere, on a machine that shares the job with this one: guards
    /// compare with whichever is later.
    pub last_good: Option<RunResult>,
    /// KiB per second that are allowed at the moment, if that is less than what the job allows.
    pub bandwidth: Option<u64>,
}

impl RunContext {
    /// The system's clock and dice, the environment of this process, every upstream taken for well.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            log_dir: None,
            clock: Arc::new(SystemClock::default()),
            chance: Arc::new(RandomChance),
            environment: ClientEnvironment::from_env(),
            spawn: Arc::new(Processes),
            health: Arc::new(Unchecked),
            cancel: Cancel::default(),
            progress: ProgressBoard::default(),
            events: None,
            lines: None,
            accept: None,
            fence: None,
            last_good: None,
            bandwidth: None,
        }
    }
}

impl std::fmt::Debug for RunContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunContext").field("state_dir", &self.state_dir).finish_non_exhaustive()
    }
}
