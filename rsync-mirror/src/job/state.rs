//! What a job remembers between runs: a directory with its lock, the records of its runs, the last good
//! one, and a mark while a run is under way.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::result::{RunId, RunResult};
use crate::MirrorError;
use crate::durable::{read_json, write_json};

/// Most records of a job that are kept.
const MAX_RECORDS: usize = 200;

/// The directory of one job.
#[derive(Clone, Debug)]
pub struct JobState {
    directory: PathBuf,
}

impl JobState {
    /// The directory of `job` below `state_dir`; it is made when something is written.
    ///
    /// # Errors
    /// A name that is no name of a directory.
    pub fn new(state_dir: &Path, job: &str) -> Result<Self, MirrorError> {
        if job.is_empty() || job.contains(['/', '\0']) || job.starts_with('.') {
            let reason =
                "the name of a job is that of a directory: it has no slash and does not begin with a dot";
            return Err(MirrorError::Job { job: job.to_owned(), reason: reason.to_owned() });
        }
        Ok(Self { directory: state_dir.join(job) })
    }

    /// The record of one run.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub fn run(&self, id: &RunId) -> Result<Option<RunResult>, MirrorError> {
        read_json(&self.record(id))
    }

    /// The last run that was good.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub fn last_good(&self) -> Result<Option<RunResult>, MirrorError> {
        read_json(&self.directory.join("last-good.json"))
    }

    /// The records of the latest runs, the newest first. Those that cannot be read are left out.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn runs(&self, limit: usize) -> Result<Vec<RunResult>, MirrorError> {
        let ids = self.ids()?;
        let records = ids.iter().rev().filter_map(|id| self.run(id).ok().flatten());
        Ok(records.take(limit).collect())
    }

    pub(crate) fn prepare(&self) -> Result<(), MirrorError> {
        let runs = self.directory.join("runs");
        fs::create_dir_all(&runs).map_err(MirrorError::file("make", runs))
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.directory.join("lock")
    }

    /// Keeps the record of a run, and forgets the oldest.
    pub(crate) fn keep(&self, result: &RunResult) -> Result<(), MirrorError> {
        write_json(&self.record(&result.id), result)?;
        if result.class.is_good() {
            write_json(&self.directory.join("last-good.json"), result)?;
        }
        let ids = self.ids()?;
        let surplus = ids.len().saturating_sub(MAX_RECORDS);
        for id in &ids[..surplus] {
            // The next run tries again.
            let _ = fs::remove_file(self.record(id));
            let _ = fs::remove_file(self.accepted(id));
        }
        Ok(())
    }

    /// Marks that a run is under way; answers whether another one was and never ended.
    pub(crate) fn begin(&self, id: &RunId) -> Result<bool, MirrorError> {
        let mark = self.mark();
        let unfinished = mark.exists();
        fs::write(&mark, format!("{id}\n")).map_err(MirrorError::file("write", mark))?;
        Ok(unfinished)
    }

    /// Takes the mark away: the tree is in order.
    pub(crate) fn end(&self) {
        // A mark that stays costs the next run a look around.
        let _ = fs::remove_file(self.mark());
    }

    /// Where the output of a program goes that has no log.
    pub(crate) fn output(&self) -> PathBuf {
        self.directory.join("output")
    }

    /// Notes that a refusal was overridden.
    pub(crate) fn use_up(&self, id: &RunId) -> Result<(), MirrorError> {
        let path = self.accepted(id);
        fs::write(&path, "").map_err(MirrorError::file("write", path))
    }

    /// Whether a refusal was overridden before.
    pub(crate) fn is_used_up(&self, id: &RunId) -> bool {
        self.accepted(id).exists()
    }

    fn accepted(&self, id: &RunId) -> PathBuf {
        self.directory.join("runs").join(format!("{id}.accepted"))
    }

    fn mark(&self) -> PathBuf {
        self.directory.join("under-way")
    }

    fn record(&self, id: &RunId) -> PathBuf {
        self.directory.join("runs").join(format!("{id}.json"))
    }

    /// The names of all runs, the oldest first.
    fn ids(&self) -> Result<Vec<RunId>, MirrorError> {
        let runs = self.directory.join("runs");
        let entries = match fs::read_dir(&runs) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(MirrorError::file("read", &runs))?,
        };
        let id = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".json")?.parse().ok();
        let mut ids: Vec<RunId> = entries.flatten().filter_map(id).collect();
        ids.sort();
        Ok(ids)
    }
}
