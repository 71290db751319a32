//! What a run answers: the record that stores, hooks, metrics, pages and logs carry.

use std::fmt;

use jiff::Timestamp;
use rsync_proto::text::{KindCounts, Totals};
use serde::{Deserialize, Serialize};

use super::class::{Class, PathClass};

/// The name of a run: the time of its start in milliseconds and some chance, so that it sorts by time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// The name of a run that starts `now`, with `chance` to tell it from others of that moment.
    #[must_use]
    pub fn new(now: Timestamp, chance: u32) -> Self {
        Self(format!("{}-{chance:08x}", now.strftime("%Y%m%dT%H%M%S%3fZ")))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RunId {
    type Error = String;

    /// Takes what could be a name of a run: letters, digits and dashes.
    fn try_from(text: String) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if text.is_empty() || text.len() > 64 || !text.bytes().all(plain) {
            return Err(format!("{text:?} is no name of a run"));
        }
        Ok(Self(text))
    }
}

impl std::str::FromStr for RunId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The state of a job, in tunasync's words (spec 11 §3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It never ran.
    #[default]
    None,
    /// It is about to run: locks, hooks, looking at the upstream.
    PreSyncing,
    /// It transfers.
    Syncing,
    /// Its last run was good.
    Success,
    /// Its last run was not.
    Failed,
    /// It was stopped by hand, and starts again by hand.
    Paused,
    /// It was taken out of the schedule.
    Disabled,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Its name.
    pub id: RunId,
    /// The job's name.
    pub job: String,
    /// How many attempts were made; 0 if it came to none.
    pub attempt: u32,
    /// rsync's exit code, or one of [`MirrorError::exit_code`](crate::MirrorError::exit_code).
    pub exit: u8,
    /// What that means.
    pub class: Class,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Where the last attempt went, without a password; none if it came to none.
    pub upstream: Option<String>,
    /// What was counted.
    pub stats: Stats,
    /// The paths that failed, at most [`RunResult::MAX_FAILED`].
    pub failed: Vec<FailedPath>,
    /// How many failed in all.
    pub failed_count: u64,
    /// What a guard objected to.
    #[serde(default)]
    pub refusals: Vec<Refusal>,
    /// The number of the tree that readers see since; none where trees have no numbers, and where nothing
    /// was published.
    pub generation: Option<u64>,
    /// Whether nothing was to do.
    pub unchanged: bool,
    /// What went wrong, as a sentence; empty where nothing did.
    pub message: String,
    /// The log of the run, if it has one.
    pub log: Option<std::path::PathBuf>,
}

impl RunResult {
    /// Most paths that are kept in a record.
    pub const MAX_FAILED: usize = 100;

    /// A good run that did nothing: what others are described by beginning with.
    #[must_use]
    pub fn empty(id: RunId, job: &str, started: Timestamp, ended: Timestamp) -> Self {
        Self {
            id,
            job: job.to_owned(),
            attempt: 0,
            exit: 0,
            class: Class::Good,
            started,
            ended,
            upstream: None,
            stats: Stats::default(),
            failed: Vec::new(),
            failed_count: 0,
            refusals: Vec::new(),
            generation: None,
            unchanged: false,
            message: String::new(),
            log: None,
        }
    }

    /// The state that the job is in afterwards.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self.class {
            Class::Good | Class::Notes => Status::Success,
            Class::Cancelled => Status::Paused,
            _ => Status::Failed,
        }
    }
}

/// What a run counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Entries of the upstream's list.
    pub entries: u64,
    /// Regular files among them.
    pub files: u64,
    /// Bytes of all files: the size of the mirror.
    pub size: u64,
    /// Entries made.
    pub created: u64,
    /// Entries deleted.
    pub deleted: u64,
    /// Files whose data was transferred.
    pub transferred: u64,
    /// Bytes of those files.
    pub transferred_size: u64,
    /// Bytes of them that came over the wire.
    pub literal: u64,
    /// Bytes that were received in all.
    pub received: u64,
    /// Bytes that were sent in all.
    pub sent: u64,
    /// Milliseconds in the first of two stages.
    pub stage1_ms: u64,
    /// Milliseconds in the transfer that may delete.
    pub stage2_ms: u64,
}

impl Stats {
    /// Takes the numbers of a transfer; what was counted before of the same run is added to what
    /// flowed.
    pub fn take(&mut self, totals: &Totals) {
        let count = |counts: Option<KindCounts>| counts.map_or(0, |counts| counts.total());
        self.entries = totals.listed.total();
        self.files = totals.listed.files;
        self.size = totals.total_size;
        self.created += count(totals.created);
        self.deleted += count(totals.deleted);
        self.transferred += totals.transferred;
        self.transferred_size += totals.transferred_size;
        self.literal += totals.literal;
        self.received += totals.received;
        self.sent += totals.sent;
    }
}

/// A path that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedPath {
    /// The path, below the destination where it is there; bytes that are no UTF-8 as `\#ooo`.
    pub path: String,
    /// What the system said; 0 where it is not known.
    pub errno: i32,
    /// What that means.
    pub class: PathClass,
}

/// What a guard objected to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "guard", rename_all = "kebab-case")]
pub enum Refusal {
    /// The upstream's list is empty, or holds only its root.
    Empty,
    /// The upstream has less than before.
    Shrunk {
        /// What is less: `entries` or `bytes`.
        what: String,
        /// How much the last good run saw.
        before: u64,
        /// How much there is now.
        now: u64,
    },
    /// Too much would be deleted.
    Deletions {
        /// How many entries.
        count: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// Too little space would be left.
    Space {
        /// What would be too little: `bytes` or `inodes`.
        what: String,
        /// How much is free.
        free: u64,
        /// How much the transfer needs.
        need: u64,
        /// How much must be left.
        keep: u64,
    },
    /// The upstream lacks a path that it must have.
    Missing {
        /// The path.
        path: String,
    },
    /// The upstream's canary is older than ours.
    Older {
        /// The path.
        path: String,
        /// Its time at the upstream, seconds since 1970.
        theirs: i64,
        /// Its time here.
        ours: i64,
    },
}

impl Refusal {
    /// Whether both are objections of the same kind, whatever their numbers.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the upstream's list is empty"),
            Self::Shrunk { what, before, now } => {
                write!(f, "the upstream has {now} {what}, and had {before} at the last good run")
            }
            Self::Deletions { count, limit } => write!(f, "{count} deletions, {limit} are allowed"),
            Self::Space { what, free, need, keep } => {
                write!(f, "{free} {what} are free, {need} are needed, and {keep} must be left")
            }
            Self::Missing { path } => write!(f, "the upstream lacks {path}"),
            Self::Older { path, theirs, ours } => {
                write!(f, "{path} is older at the upstream ({theirs}) than here ({ours})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_runs_sort_by_time_and_are_no_paths() {
        let at = |milli, chance| RunId::new(Timestamp::from_millisecond(milli).expect("a time"), chance);
        assert!(at(1_000_000_000_999, 7) < at(1_000_000_001_000, 7));
        assert!(at(1_000_000_000_001, 7) < at(1_000_000_000_002, 6));
        assert_eq!(at(1, 7).as_str(), "19700101T000000001Z-00000007");
        for wrong in ["", "../x", "a/b", "a b"] {
            wrong.parse::<RunId>().expect_err(wrong);
        }
    }
}
