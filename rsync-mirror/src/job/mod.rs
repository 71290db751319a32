//! One job: what it is, how one run of it goes, and what the run answers.

mod cancel;
mod class;
mod context;
mod profile;
mod progress;
mod result;
mod spec;

pub use cancel::{Cancel, CancelGuard, StopReason};
pub use class::{Class, ClassRules, EndFacts, PathClass};
pub use context::{LineSink, RunContext};
pub use profile::Profile;
pub use progress::{Phase, ProgressBoard, Snapshot};
pub use result::{FailedPath, Refusal, RunId, RunResult, Stats, Status};
pub use spec::{
    Amount, CommandMethod, DEFAULT_OPTIONS, Generations, Guard, Hooks, Job, Limits, LogRotation, Method,
    Program, Publish, Retry, Share, Snapshots, Timeouts, Trace, Upstream,
};
