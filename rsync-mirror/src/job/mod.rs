//! One job: what it is, how one run of it goes, and what the run answers.

mod attempt;
mod cancel;
mod class;
mod command;
mod context;
mod guard;
mod hooks;
mod lock;
mod log;
mod plan;
mod profile;
mod program;
mod progress;
mod result;
mod rsync;
mod run;
mod sink;
mod spec;
mod state;
mod trace;
mod watch;

pub use cancel::{Cancel, CancelGuard, StopReason};
pub use class::{Class, ClassRules, EndFacts, PathClass};
pub use context::{LineSink, RunContext};
pub(crate) use lock::Lock;
pub use plan::{Actions, Plan, plan_job};
pub use profile::Profile;
pub use program::{Processes, ProgramCall, ProgramEnd, Spawn};
pub use progress::{Phase, ProgressBoard, Snapshot};
pub use result::{FailedPath, Refusal, RunId, RunResult, Stats, Status};
pub use run::{check_job, run_job};
pub use spec::{
    Amount, CommandMethod, DEFAULT_OPTIONS, Generations, Guard, Hooks, Job, Limits, LogRotation, Method,
    Program, Publish, Retry, Share, Snapshots, Timeouts, Trace, Upstream,
};
pub use state::JobState;
pub(crate) use trace::machine;
