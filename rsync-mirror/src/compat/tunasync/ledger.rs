//! What a manager remembers: its workers, and the last word of each about its mirrors.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::records::{GoTime, MirrorStatus, WorkerRecord};
use crate::job::Status;

/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(10);
/// The application id of our file, in which other databases of SQLite differ.
const MARK: i64 = 0x7473_6d67;

/// Why a manager does not remember.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The file cannot be used.
    #[error("database {}: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file is of another program.
    #[error("database {} is of another program; name another file", .0.display())]
    Foreign(PathBuf),
    /// A record in it makes no sense.
    #[error("database {}: a record cannot be read: {reason}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// Workers and their mirrors, in a file.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Ledger {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// [`LedgerError`] if it cannot be used.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let failed = |source| LedgerError::Database { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(BUSY).map_err(failed)?;
        let read = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let is_new = read("page_count").map_err(failed)? == 0;
        if !is_new && read("application_id").map_err(failed)? != MARK {
            return Err(LedgerError::Foreign(path.to_owned()));
        }
        connection.pragma_update(None, "application_id", MARK).map_err(failed)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        connection
            .execute_batch(
                "CREATE TABLE IF NOT EXISTS workers (id TEXT PRIMARY KEY NOT NULL, record TEXT NOT NULL) STRICT;
                 CREATE TABLE IF NOT EXISTS mirrors (
                    worker TEXT NOT NULL, name TEXT NOT NULL, record TEXT NOT NULL,
                    PRIMARY KEY (worker, name)
                 ) STRICT;",
            )
            .map_err(failed)?;
        Ok(Self { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A statement of a thread that panicked is whole or has not happened.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, source: rusqlite::Error) -> LedgerError {
        LedgerError::Database { path: self.path.clone(), source }
    }

    fn parse<T: DeserializeOwned>(&self, record: &str) -> Result<T, LedgerError> {
        let wrong = |error: serde_json::Error| LedgerError::Record {
            path: self.path.clone(),
            reason: error.to_string(),
        };
        serde_json::from_str(record).map_err(wrong)
    }

    fn render(&self, record: &impl Serialize) -> Result<String, LedgerError> {
        let wrong = |error: serde_json::Error| LedgerError::Record {
            path: self.path.clone(),
            reason: error.to_string(),
        };
        serde_json::to_string(record).map_err(wrong)
    }

    fn all<T: DeserializeOwned>(&self, query: &str, worker: Option<&str>) -> Result<Vec<T>, LedgerError> {
        let read = || {
            let connection = self.connection();
            let mut statement = connection.prepare(query)?;
            let rows = statement.query_map(params![worker], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<Vec<String>>>()
        };
        let records = read().map_err(|error| self.failed(error))?;
        records.iter().map(|record| self.parse(record)).collect()
    }

    /// All workers, by name.
    ///
    /// # Errors
    /// [`LedgerError`]; so with all calls.
    pub fn workers(&self) -> Result<Vec<WorkerRecord>, LedgerError> {
        self.all("SELECT record FROM workers WHERE ?1 IS NULL ORDER BY id", None)
    }

    /// One worker.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn worker(&self, id: &str) -> Result<Option<WorkerRecord>, LedgerError> {
        let record: Option<String> = self
            .connection()
            .query_row("SELECT record FROM workers WHERE id = ?1", [id], |row| row.get(0))
            .optional()
            .map_err(|error| self.failed(error))?;
        record.map(|record| self.parse(&record)).transpose()
    }

    /// Enters a worker, in place of one of its name.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn set_worker(&self, worker: &WorkerRecord) -> Result<(), LedgerError> {
        let record = self.render(worker)?;
        self.connection()
            .execute(
                "INSERT OR REPLACE INTO workers (id, record) VALUES (?1, ?2)",
                params![worker.id, record],
            )
            .map_err(|error| self.failed(error))?;
        Ok(())
    }

    /// Forgets a worker and what it said.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn remove_worker(&self, id: &str) -> Result<(), LedgerError> {
        let connection = self.connection();
        let removed = connection
            .execute("DELETE FROM workers WHERE id = ?1", [id])
            .and_then(|_| connection.execute("DELETE FROM mirrors WHERE worker = ?1", [id]));
        removed.map_err(|error| self.failed(error))?;
        Ok(())
    }

    /// What is known of mirrors: of one worker, or of all.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn mirrors(&self, worker: Option<&str>) -> Result<Vec<MirrorStatus>, LedgerError> {
        self.all("SELECT record FROM mirrors WHERE ?1 IS NULL OR worker = ?1 ORDER BY worker, name", worker)
    }

    /// What is known of one mirror.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn mirror(&self, worker: &str, name: &str) -> Result<Option<MirrorStatus>, LedgerError> {
        let record: Option<String> = self
            .connection()
            .query_row(
                "SELECT record FROM mirrors WHERE worker = ?1 AND name = ?2",
                params![worker, name],
                |row| row.get(0),
            )
            .optional()
            .map_err(|error| self.failed(error))?;
        record.map(|record| self.parse(&record)).transpose()
    }

    /// Enters what is known of a mirror.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn set_mirror(&self, status: &MirrorStatus) -> Result<(), LedgerError> {
        let record = self.render(status)?;
        self.connection()
            .execute(
                "INSERT OR REPLACE INTO mirrors (worker, name, record) VALUES (?1, ?2, ?3)",
                params![status.worker, status.name, record],
            )
            .map_err(|error| self.failed(error))?;
        Ok(())
    }

    /// Forgets mirrors that are disabled or have no name.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn flush(&self) -> Result<(), LedgerError> {
        for status in self.mirrors(None)? {
            if status.status == Status::Disabled || status.name.is_empty() {
                self.connection()
                    .execute(
                        "DELETE FROM mirrors WHERE worker = ?1 AND name = ?2",
                        params![status.worker, status.name],
                    )
                    .map_err(|error| self.failed(error))?;
            }
        }
        Ok(())
    }

    /// Takes what a worker says of a mirror together with what was known (spec 11 §3.1); what is known then.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn merge(&self, mut news: MirrorStatus, now: Timestamp) -> Result<MirrorStatus, LedgerError> {
        let old = match self.mirror(&news.worker, &news.name)? {
            // A manager that is new to a worker takes its word for the past.
            None if news.last_update != GoTime(None) => {
                self.set_mirror(&news)?;
                return Ok(news);
            }
            old => old.unwrap_or_default(),
        };
        let now = GoTime(Some(now));
        let begins = news.status == Status::PreSyncing && old.status != Status::PreSyncing;
        news.last_started = if begins { now } else { old.last_started };
        news.last_update = if news.status == Status::Success { now } else { old.last_update };
        let ended = matches!(news.status, Status::Success | Status::Failed);
        news.last_ended = if ended { now } else { old.last_ended };
        if (news.size.is_empty() || news.size == "unknown") && !old.size.is_empty() {
            news.size = old.size;
        }
        if news.scheduled == GoTime(None) {
            news.scheduled = old.scheduled;
        }
        self.set_mirror(&news)?;
        Ok(news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn status(status: Status, size: &str) -> MirrorStatus {
        MirrorStatus {
            name: "a".to_owned(),
            worker: "w".to_owned(),
            status,
            size: size.to_owned(),
            ..MirrorStatus::default()
        }
    }

    #[test]
    fn times_are_those_at_which_the_manager_heard_of_it() {
        let place = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&place.path().join("db")).unwrap();
        ledger.merge(status(Status::PreSyncing, "unknown"), at(1)).unwrap();
        ledger.merge(status(Status::Syncing, ""), at(2)).unwrap();
        let known = ledger.merge(status(Status::Success, "1.5G"), at(3)).unwrap();
        let time = |second| GoTime(Some(at(second)));
        assert_eq!((known.last_started, known.last_update, known.last_ended), (time(1), time(3), time(3)));
        ledger.merge(status(Status::PreSyncing, ""), at(4)).unwrap();
        let known = ledger.merge(status(Status::Failed, "unknown"), at(5)).unwrap();
        assert_eq!((known.last_started, known.last_update, known.last_ended), (time(4), time(3), time(5)));
        assert_eq!(known.size, "1.5G", "what is not known replaces nothing");
        drop(ledger);
        let ledger = Ledger::open(&place.path().join("db")).unwrap();
        assert_eq!(ledger.mirrors(Some("w")).unwrap(), [known]);
    }

    #[test]
    fn disabled_mirrors_are_flushed_and_a_worker_goes_with_its_own() {
        let place = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&place.path().join("db")).unwrap();
        let worker = WorkerRecord { id: "w".to_owned(), ..WorkerRecord::default() };
        ledger.set_worker(&worker).unwrap();
        ledger.merge(status(Status::Disabled, ""), at(1)).unwrap();
        ledger.merge(MirrorStatus { name: "b".to_owned(), ..status(Status::Success, "") }, at(1)).unwrap();
        ledger.flush().unwrap();
        assert_eq!(ledger.mirrors(None).unwrap().len(), 1);
        ledger.remove_worker("w").unwrap();
        assert!(ledger.mirrors(None).unwrap().is_empty() && ledger.workers().unwrap().is_empty());
    }

    #[test]
    fn a_database_of_somebody_else_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE x (y TEXT)").unwrap();
        assert!(matches!(Ledger::open(&path), Err(LedgerError::Foreign(_))));
    }
}
