//! The store of one machine: an SQLite database with a write-ahead log.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, named_params, params};

use super::{JobRecord, Lease, Store, StoreError, hold_name, hold_of};
use crate::job::{Class, RunId, RunResult};
use crate::schedule::Hold;

/// Each brings the database from one version to the next; what is here is never changed again.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE jobs (
        name TEXT PRIMARY KEY NOT NULL,
        known_since INTEGER NOT NULL,
        hold TEXT,
        fence INTEGER NOT NULL DEFAULT 0,
        owner TEXT,
        lease_until INTEGER,
        claimed INTEGER,
        interrupted INTEGER NOT NULL DEFAULT 0,
        succeeded INTEGER,
        size INTEGER,
        size_text TEXT
    ) STRICT;
    CREATE TABLE runs (
        id TEXT PRIMARY KEY NOT NULL,
        job TEXT NOT NULL REFERENCES jobs (name),
        started INTEGER NOT NULL,
        ended INTEGER NOT NULL,
        record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX runs_of_job ON runs (job, started);
"];
/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(10);

/// Remembers jobs in a file.
#[derive(Debug)]
pub struct SqliteStore {
    place: String,
    connection: Mutex<Connection>,
}

impl SqliteStore {
    /// Opens or makes the database at `path`.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be used or is of a later version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let place = path.display().to_string();
        let failed = |error| StoreError::database(&place, error);
        let mut connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(BUSY).map_err(failed)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
        let found = migrate(&mut connection).map_err(failed)?;
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        if found > known {
            return Err(StoreError::TooNew { place, found, known });
        }
        Ok(Self { place, connection: Mutex::new(connection) })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A transaction of a thread that panicked was rolled back when it was dropped.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: rusqlite::Error) -> StoreError {
        StoreError::database(&self.place, error)
    }

    fn read(&self, record: &str, what: &str) -> Result<RunResult, StoreError> {
        StoreError::read_record(&self.place, record, what)
    }

    /// Runs a statement that changes the claimed job, and says whether the lease still stands.
    fn fenced(&self, lease: &Lease, changed: usize) -> Result<(), StoreError> {
        match changed {
            0 => Err(StoreError::Fenced { job: lease.job.clone(), fence: lease.fence }),
            _ => Ok(()),
        }
    }
}

/// Brings the database up to date; its version, which may be later than what is known.
fn migrate(connection: &mut Connection) -> rusqlite::Result<i64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(found).unwrap_or(0);
    let Some(missing) = MIGRATIONS.get(done..) else { return Ok(found) };
    for migration in missing {
        transaction.execute_batch(migration)?;
    }
    let version = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()?;
    Ok(version)
}

fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    let millis: Option<i64> = row.get(column)?;
    Ok(millis.and_then(|millis| Timestamp::from_millisecond(millis).ok()))
}

fn later(now: Timestamp, time: Duration) -> Timestamp {
    let time = SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
    now.saturating_add(time).unwrap_or(Timestamp::MAX)
}

impl Store for SqliteStore {
    fn job(&self, name: &str, now: Timestamp) -> Result<JobRecord, StoreError> {
        let connection = self.connection();
        let failed = |error| self.failed(error);
        connection
            .execute(
                "INSERT OR IGNORE INTO jobs (name, known_since) VALUES (?1, ?2)",
                params![name, now.as_millisecond()],
            )
            .map_err(failed)?;
        let mut record = connection
            .query_row("SELECT * FROM jobs WHERE name = ?1", [name], |row| {
                let hold: Option<String> = row.get("hold")?;
                Ok(JobRecord {
                    hold: hold.as_deref().and_then(hold_of),
                    known_since: time(row, "known_since")?,
                    succeeded: time(row, "succeeded")?,
                    size: row.get("size")?,
                    size_text: row.get("size_text")?,
                    // A claim that nobody finished is a run that was cut off too.
                    interrupted: row.get::<_, bool>("interrupted")? || time(row, "claimed")?.is_some(),
                    started: time(row, "claimed")?,
                    fence: row.get("fence")?,
                    ..JobRecord::default()
                })
            })
            .map_err(failed)?;
        let last: Option<String> = connection
            .query_row(
                "SELECT record FROM runs WHERE job = ?1 ORDER BY started DESC, rowid DESC LIMIT 1",
                [name],
                |row| row.get(0),
            )
            .optional()
            .map_err(failed)?;
        drop(connection);
        if let Some(last) = last {
            let last = self.read(&last, name)?;
            record.started = record.started.or(Some(last.started));
            record.ended = Some(last.ended);
            record.last = Some(last);
        }
        Ok(record)
    }

    fn claim(
        &self,
        name: &str,
        owner: &str,
        seen: Option<u64>,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Option<Lease>, StoreError> {
        let until = later(now, lease);
        let fence: Option<u64> = self
            .connection()
            .query_row(
                "UPDATE jobs SET fence = fence + 1, owner = :owner, lease_until = :until, claimed = :now
                 WHERE name = :name AND (owner IS NULL OR owner = :owner OR lease_until <= :now)
                    AND fence = coalesce(:seen, fence)
                 RETURNING fence",
                named_params! {
                    ":name": name,
                    ":seen": seen,
                    ":owner": owner,
                    ":until": until.as_millisecond(),
                    ":now": now.as_millisecond(),
                },
                |row| row.get(0),
            )
            .optional()
            .map_err(|error| self.failed(error))?;
        Ok(fence.map(|fence| Lease { job: name.to_owned(), fence, until }))
    }

    fn renew(&self, lease: &Lease, time: Duration, now: Timestamp) -> Result<Lease, StoreError> {
        let until = later(now, time);
        let changed = self.connection().execute(
            "UPDATE jobs SET lease_until = ?1 WHERE name = ?2 AND fence = ?3 AND owner IS NOT NULL",
            params![until.as_millisecond(), lease.job, lease.fence],
        );
        self.fenced(lease, changed.map_err(|error| self.failed(error))?)?;
        Ok(Lease { until, ..lease.clone() })
    }

    fn finish(&self, lease: &Lease, result: &RunResult, keep: u32) -> Result<(), StoreError> {
        let is_good = result.class.is_good();
        let record = StoreError::write_record(&self.place, result)?;
        let mut connection = self.connection();
        let write = |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let changed = transaction.execute(
                "UPDATE jobs SET owner = NULL, lease_until = NULL, claimed = NULL,
                    interrupted = (:cut AND hold IS NULL),
                    succeeded = iif(:good, :ended, succeeded),
                    size = iif(:good, coalesce(:size, size), size),
                    size_text = iif(:good AND :size IS NOT NULL, NULL, size_text)
                 WHERE name = :name AND fence = :fence AND owner IS NOT NULL",
                named_params! {
                    ":good": is_good,
                    ":cut": result.class == Class::Cancelled,
                    ":ended": result.ended.as_millisecond(),
                    ":size": (result.stats.size > 0).then_some(result.stats.size),
                    ":name": lease.job,
                    ":fence": lease.fence,
                },
            )?;
            if changed == 0 {
                return Ok(0);
            }
            transaction.execute(
                "INSERT INTO runs (id, job, started, ended, record) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    result.id.as_str(),
                    lease.job,
                    result.started.as_millisecond(),
                    result.ended.as_millisecond(),
                    record
                ],
            )?;
            transaction.execute(
                "DELETE FROM runs WHERE job = ?1 AND rowid NOT IN
                    (SELECT rowid FROM runs WHERE job = ?1 ORDER BY started DESC, rowid DESC LIMIT ?2)",
                params![lease.job, keep.max(1)],
            )?;
            transaction.commit()?;
            Ok(changed)
        };
        let changed = write(&mut connection).map_err(|error| self.failed(error))?;
        self.fenced(lease, changed)
    }

    fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let changed = self.connection().execute(
            "UPDATE jobs SET owner = NULL, lease_until = NULL, claimed = NULL
             WHERE name = ?1 AND fence = ?2 AND owner IS NOT NULL",
            params![lease.job, lease.fence],
        );
        self.fenced(lease, changed.map_err(|error| self.failed(error))?)
    }

    fn hold(&self, name: &str, hold: Option<Hold>) -> Result<(), StoreError> {
        self.connection()
            .execute("UPDATE jobs SET hold = ?2 WHERE name = ?1", params![name, hold.map(hold_name)])
            .map_err(|error| self.failed(error))?;
        Ok(())
    }

    fn set_size(&self, name: &str, text: &str) -> Result<(), StoreError> {
        self.connection()
            .execute("UPDATE jobs SET size_text = ?2 WHERE name = ?1", params![name, text])
            .map_err(|error| self.failed(error))?;
        Ok(())
    }

    fn runs(&self, name: &str, limit: u32) -> Result<Vec<RunResult>, StoreError> {
        let records = || {
            let connection = self.connection();
            let mut statement = connection.prepare(
                "SELECT record FROM runs WHERE job = ?1 ORDER BY started DESC, rowid DESC LIMIT ?2",
            )?;
            let records = statement.query_map(params![name, limit], |row| row.get(0))?;
            records.collect::<rusqlite::Result<Vec<String>>>()
        };
        let records = records().map_err(|error| self.failed(error))?;
        records.iter().map(|record| self.read(record, name)).collect()
    }

    fn run(&self, id: &RunId) -> Result<Option<RunResult>, StoreError> {
        let record: Option<String> = self
            .connection()
            .query_row("SELECT record FROM runs WHERE id = ?1", [id.as_str()], |row| row.get(0))
            .optional()
            .map_err(|error| self.failed(error))?;
        record.map(|record| self.read(&record, id.as_str())).transpose()
    }
}

#[cfg(test)]
mod tests;
