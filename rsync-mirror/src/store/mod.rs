//! What outlives the process: states of jobs, their runs, and who runs them.
//!
//! A run is claimed before it starts and finished after its end, both under a lease with a fence, a number
//! that grows with each claim: who has an old one has lost the job and may write nothing any more
//! (spec 11 §6). A claim that was never finished is an interrupted run.

mod postgres;
mod sqlite;

use std::error::Error;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

pub use self::postgres::PostgresStore;
pub use self::sqlite::SqliteStore;

use crate::job::{RunId, RunResult};
use crate::schedule::Hold;

/// Why the store does not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database cannot be used.
    #[error("database {place}: {}", chain(source.as_ref()))]
    Database {
        /// Its file, or its name and host.
        place: String,
        /// What it said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It was written by a later version of this program.
    #[error("database {place} is of version {found}, this program knows {known}; use the newer program")]
    TooNew {
        /// Its file, or its name and host.
        place: String,
        /// Its version.
        found: i64,
        /// The last version known.
        known: i64,
    },
    /// A record in it makes no sense.
    #[error("database {place}: the record of {what} cannot be read: {reason}")]
    Record {
        /// The database's file, or its name and host.
        place: String,
        /// Which record.
        what: String,
        /// Why not.
        reason: String,
    },
    /// The lease was lost.
    #[error("job {job} was taken over by somebody else; this run (fence {fence}) may write nothing")]
    Fenced {
        /// The job.
        job: String,
        /// The fence of the run that is too late.
        fence: u64,
    },
}

impl StoreError {
    fn database(place: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Database { place: place.to_owned(), source: source.into() }
    }

    fn read_record(place: &str, record: &str, what: &str) -> Result<RunResult, Self> {
        serde_json::from_str(record).map_err(|error| Self::record(place, what, &error))
    }

    fn write_record(place: &str, result: &RunResult) -> Result<String, Self> {
        serde_json::to_string(result).map_err(|error| Self::record(place, result.id.as_str(), &error))
    }

    fn record(place: &str, what: &str, error: &serde_json::Error) -> Self {
        Self::Record { place: place.to_owned(), what: what.to_owned(), reason: error.to_string() }
    }
}

/// What an error says, with its causes, where it does not say them itself.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

const HOLDS: [(Hold, &str); 2] = [(Hold::Paused, "paused"), (Hold::Disabled, "disabled")];

/// How a hold is written in a database.
fn hold_name(hold: Hold) -> &'static str {
    HOLDS.iter().find(|(known, _)| *known == hold).map_or("", |(_, name)| name)
}

/// What is written there.
fn hold_of(name: &str) -> Option<Hold> {
    HOLDS.iter().find(|(_, known)| *known == name).map(|(hold, _)| *hold)
}

/// The right to run a job for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub job: String,
    /// Grows with each claim of the job.
    pub fence: u64,
    /// When it ends, unless it is renewed.
    pub until: Timestamp,
}

/// What is known of a job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobRecord {
    /// Why it does not run on its own, if so.
    pub hold: Option<Hold>,
    /// When it was first seen.
    pub known_since: Option<Timestamp>,
    /// When its last run began.
    pub started: Option<Timestamp>,
    /// When its last run ended.
    pub ended: Option<Timestamp>,
    /// When its last good run ended.
    pub succeeded: Option<Timestamp>,
    /// Bytes of the mirror, as its last good run saw them.
    pub size: Option<u64>,
    /// What somebody says its size is, until the next good run.
    pub size_text: Option<String>,
    /// Its last run was cut off by the end of its process.
    pub interrupted: bool,
    /// The number of its last claim.
    pub fence: u64,
    /// How its last run ended.
    pub last: Option<RunResult>,
}

/// Where a job stands in a store that others use too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The job.
    pub job: String,
    /// Why it does not run on its own, if so.
    pub hold: Option<Hold>,
    /// What somebody says its size is.
    pub size_text: Option<String>,
    /// Who has claimed it and not finished.
    pub owner: Option<String>,
    /// Whether the owner's lease has ended: it is gone.
    pub is_lost: bool,
    /// When it was claimed.
    pub claimed: Option<Timestamp>,
    /// The number of its last claim.
    pub fence: u64,
    /// The claim whose run is to end.
    pub interrupted: Option<u64>,
    /// Its last run that ended.
    pub last: Option<RunId>,
}

/// Remembers jobs and their runs. Each call is whole or has not happened.
pub trait Store: Send + Sync + fmt::Debug {
    /// What is known of a job; one that is new is entered.
    ///
    /// # Errors
    /// [`StoreError`]; so with all calls.
    fn job(&self, name: &str, now: Timestamp) -> Result<JobRecord, StoreError>;

    /// Takes the job for `owner`; `None` while another owner's lease is valid. A claim of an earlier
    /// life of the same owner counts as lost. With the number of the last claim that the owner has `seen`,
    /// also `None` if there was another since, whose run it has not heard of.
    ///
    /// # Errors
    /// [`StoreError`].
    fn claim(
        &self,
        name: &str,
        owner: &str,
        seen: Option<u64>,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Option<Lease>, StoreError>;

    /// Makes a lease last longer.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if it was lost.
    fn renew(&self, lease: &Lease, time: Duration, now: Timestamp) -> Result<Lease, StoreError>;

    /// Ends a run. One that was cancelled though nobody holds the job is due again at once. The job's oldest
    /// runs beyond `keep` are forgotten.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if the lease was lost; then nothing is written.
    fn finish(&self, lease: &Lease, result: &RunResult, keep: u32) -> Result<(), StoreError>;

    /// Gives up a claim, as if the job had never been taken.
    ///
    /// # Errors
    /// [`StoreError`].
    fn release(&self, lease: &Lease) -> Result<(), StoreError>;

    /// Holds a job or lets it go.
    ///
    /// # Errors
    /// [`StoreError`].
    fn hold(&self, name: &str, hold: Option<Hold>) -> Result<(), StoreError>;

    /// Says what the size of a mirror is, until its next good run knows better.
    ///
    /// # Errors
    /// [`StoreError`].
    fn set_size(&self, name: &str, text: &str) -> Result<(), StoreError>;

    /// The last runs of a job, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    fn runs(&self, name: &str, limit: u32) -> Result<Vec<RunResult>, StoreError>;

    /// One run.
    ///
    /// # Errors
    /// [`StoreError`].
    fn run(&self, id: &RunId) -> Result<Option<RunResult>, StoreError>;

    /// Whether other processes may use it at the same time, so that [`Store::standings`] must be looked at.
    fn is_shared(&self) -> bool {
        false
    }

    /// Where all jobs stand.
    ///
    /// # Errors
    /// [`StoreError`].
    fn standings(&self) -> Result<Vec<Standing>, StoreError> {
        Ok(Vec::new())
    }

    /// Asks whoever has claimed the job to end that run.
    ///
    /// # Errors
    /// [`StoreError`].
    fn interrupt(&self, name: &str) -> Result<(), StoreError> {
        let _ = name;
        Ok(())
    }
}
