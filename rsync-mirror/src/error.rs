//! Why a job does not come to a good end.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rsync_client::ClientError;
use rsync_proto::exit::ExitCode;

use crate::job::{Refusal, RunId, StopReason};

/// A failure of a run, or of something around it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MirrorError {
    /// The job makes no sense.
    #[error("job {job}: {reason}")]
    Job {
        /// Its name.
        job: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Somebody else holds a lock.
    #[error("{path} is locked{}", holder.as_ref().map(|holder| format!(" by {holder}")).unwrap_or_default())]
    Locked {
        /// The file.
        path: PathBuf,
        /// Who holds it, if that is known.
        holder: Option<String>,
    },
    /// A file or directory of the mirror cannot be used.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was attempted.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The transfer failed.
    #[error("{upstream}: {error}")]
    Transfer {
        /// Where it came from.
        upstream: String,
        /// Why.
        error: Box<ClientError>,
    },
    /// A guard refused, before anything was changed.
    #[error("refused before any change: {}", list(refusals))]
    Refused {
        /// Everything that was objected to.
        refusals: Vec<Refusal>,
    },
    /// What is to be accepted cannot be.
    #[error("run {id} cannot be accepted: {reason}")]
    Accept {
        /// Which run.
        id: RunId,
        /// Why not.
        reason: &'static str,
    },
    /// All upstreams are ill.
    #[error("no upstream can be used: {}", reasons.join("; "))]
    NoUpstream {
        /// What each of them lacks.
        reasons: Vec<String>,
    },
    /// A hook failed.
    #[error("error exec hook {phase}: {program} {reason}")]
    Hook {
        /// When it was run.
        phase: &'static str,
        /// Its name.
        program: String,
        /// How it ended.
        reason: String,
    },
    /// A program that does a part of the work failed.
    #[error("{program} {reason}")]
    Program {
        /// Its name.
        program: String,
        /// How it ended.
        reason: String,
        /// Its exit code.
        code: u8,
    },
    /// Another worker has published since this one began.
    #[error("the tree at {path} was published under fence {found}; this run has {own} and is too late")]
    Fenced {
        /// The destination.
        path: PathBuf,
        /// The fence of the other worker.
        found: u64,
        /// The fence of this run.
        own: u64,
    },
    /// The run was stopped.
    #[error("{0}")]
    Stopped(StopReason),
    /// The transfer came to its end without everything.
    #[error("{upstream}: {} (code {code}); {count} {}", ExitCode::new(*.code).text(), if *.count == 1 { "path failed" } else { "paths failed" })]
    Partial {
        /// Where it came from.
        upstream: String,
        /// rsync's code.
        code: u8,
        /// How many paths are known to have failed.
        count: u64,
    },
    /// The upstream is there, and nothing of it can be listed.
    #[error("{upstream}: nothing of it can be read: {} (code {code})", ExitCode::new(*.code).text())]
    Unreadable {
        /// Where it came from.
        upstream: String,
        /// rsync's code.
        code: u8,
    },
    /// The upstream is there, and nothing comes.
    #[error("{upstream}: nothing moved for {}", span(*.after))]
    Stalled {
        /// Where it came from.
        upstream: String,
        /// How long that was.
        after: Duration,
    },
    /// The run took too long.
    #[error("timeout after {}", span(*.after))]
    TimedOut {
        /// How long it may take.
        after: Duration,
    },
}

impl MirrorError {
    /// The exit code of somebody else holding the lock (EX_TEMPFAIL).
    pub const LOCKED: u8 = 75;
    /// The exit code of a hook that failed (EX_SOFTWARE).
    pub const HOOK: u8 = 70;
    /// The exit code of a publication that failed (EX_IOERR).
    pub const PUBLISH: u8 = 74;
    /// The exit code of no usable upstream (EX_UNAVAILABLE).
    pub const UNAVAILABLE: u8 = 69;
    /// The exit code of a job that makes no sense (EX_CONFIG).
    pub const CONFIG: u8 = 78;

    /// The code that a command ends with: rsync's own where rsync failed.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Job { .. } | Self::Accept { .. } => Self::CONFIG,
            Self::Locked { .. } => Self::LOCKED,
            Self::File { .. } | Self::Fenced { .. } => Self::PUBLISH,
            Self::Transfer { error, .. } => error.exit_code().code(),
            Self::Refused { .. } => ExitCode::DELETE_LIMIT.code(),
            Self::NoUpstream { .. } => Self::UNAVAILABLE,
            Self::Hook { .. } => Self::HOOK,
            Self::Program { code, .. } => *code,
            Self::Stopped(StopReason::LowSpace) => ExitCode::FILE_IO.code(),
            Self::Stopped(_) => ExitCode::SIGNAL.code(),
            Self::Partial { code, .. } | Self::Unreadable { code, .. } => *code,
            Self::Stalled { .. } | Self::TimedOut { .. } => ExitCode::TIMEOUT.code(),
        }
    }

    /// Says what could not be done with a path.
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

fn list(refusals: &[Refusal]) -> String {
    refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn span(time: Duration) -> String {
    let span = jiff::SignedDuration::try_from(time);
    span.map(|span| format!("{span:#}")).unwrap_or_default()
}
