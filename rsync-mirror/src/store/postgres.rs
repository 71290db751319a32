//! The store of several machines: a PostgreSQL database that all of them reach (spec 11 §6).
//!
//! Leases begin and end by the database's clock, so that machines whose clocks disagree do not take each
//! other's jobs. What a run says about its own times is written down as it says it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use jiff::Timestamp;
use postgres::{Client, Config, NoTls, Row};

use super::{JobRecord, Lease, Standing, Store, StoreError, hold_name, hold_of};
use crate::job::{Class, RunId, RunResult};
use crate::schedule::Hold;

/// Each brings the database from one version to the next; what is here is never changed again.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE jobs (
        name text PRIMARY KEY,
        known_since timestamptz NOT NULL,
        hold text,
        fence bigint NOT NULL DEFAULT 0,
        owner text,
        lease_until timestamptz,
        claimed timestamptz,
        interrupted boolean NOT NULL DEFAULT false,
        succeeded timestamptz,
        size bigint,
        size_text text
    );
    CREATE TABLE runs (
        number bigserial PRIMARY KEY,
        id text UNIQUE NOT NULL,
        job text NOT NULL REFERENCES jobs (name),
        started timestamptz NOT NULL,
        ended timestamptz NOT NULL,
        record text NOT NULL
    );
    CREATE INDEX runs_of_job ON runs (job, started, number);
",
    "
    ALTER TABLE jobs ADD COLUMN interrupt bigint;
",
];
/// Two processes that begin at the same time migrate one after the other: the key of their lock.
const MIGRATION_LOCK: i64 = 0x7273_796e_636d;
/// How long a connection may take to come about, where the connection string does not say.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer may take. What is asked then may still take effect, so that nothing relies on a call
/// that failed not having happened.
const ANSWER: Duration = Duration::from_secs(8);

/// Remembers jobs in a PostgreSQL database, in a schema of its own: `rsync_mirror`.
///
/// A connection that was lost is made again by the next call; the call that notices the loss fails, and
/// may or may not have taken effect.
///
/// ```no_run
/// use rsync_mirror::store::PostgresStore;
///
/// let store = PostgresStore::open("host=/run/postgresql user=mirror dbname=mirror")?;
/// # Ok::<(), rsync_mirror::store::StoreError>(())
/// ```
#[derive(Debug)]
pub struct PostgresStore {
    place: String,
    /// To the one thread that talks to the database: callers may be inside an asynchronous runtime, which
    /// the blocking client must not be.
    requests: Sender<Request>,
}

/// Something to do with the connection, or with the reason why there is none.
type Request = Box<dyn FnOnce(Result<&mut Client, StoreError>) + Send>;

impl PostgresStore {
    /// Connects to the database of `connection`, a string or URL as libpq takes it, and makes or updates
    /// the tables.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be reached or used, or is of a later version.
    pub fn open(connection: &str) -> Result<Self, StoreError> {
        let mut config: Config = connection
            .parse()
            .map_err(|error| StoreError::database("PostgreSQL connection string", error))?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(CONNECT);
        }
        let place = place_of(&config);
        let client = connect(&config, &place)?;
        let (requests, inbox) = channel();
        let server = Server { config, place: place.clone(), client: Some(client) };
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || server.run(&inbox))
            .map_err(|error| StoreError::database(&place, error))?;
        Ok(Self { place, requests })
    }

    /// Has `work` done by the thread that has the connection.
    fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Client) -> Result<T, postgres::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answers) = channel();
        let place = self.place.clone();
        let request: Request = Box::new(move |client| {
            let done =
                client.and_then(|client| work(client).map_err(|error| StoreError::database(&place, error)));
            // Who asked may have waited long enough.
            let _ = answer.send(done);
        });
        let gone = || StoreError::database(&self.place, "its thread has ended");
        self.requests.send(request).map_err(|_| gone())?;
        match answers.recv_timeout(ANSWER) {
            Ok(done) => done,
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
            Err(RecvTimeoutError::Timeout) => {
                let late = format!("no answer within {}", crate::duration::text(ANSWER));
                Err(StoreError::database(&self.place, late))
            }
        }
    }

    /// Has a statement done that changes the claimed job, and says whether the lease still stands.
    fn fenced<T>(&self, lease: &Lease, changed: Option<T>) -> Result<T, StoreError> {
        changed.ok_or_else(|| StoreError::Fenced { job: lease.job.clone(), fence: lease.fence })
    }

    fn read(&self, record: &str, what: &str) -> Result<RunResult, StoreError> {
        StoreError::read_record(&self.place, record, what)
    }
}

/// The thread that has the connection.
struct Server {
    config: Config,
    place: String,
    client: Option<Client>,
}

impl Server {
    fn run(mut self, inbox: &Receiver<Request>) {
        for request in inbox {
            if self.client.as_ref().is_none_or(Client::is_closed) {
                self.client = None;
                match connect(&self.config, &self.place) {
                    Ok(client) => self.client = Some(client),
                    Err(error) => {
                        request(Err(error));
                        continue;
                    }
                }
            }
            if let Some(client) = &mut self.client {
                request(Ok(client));
            }
        }
    }
}

/// What the database is called in messages: nothing secret.
fn place_of(config: &Config) -> String {
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .map(|host| match host {
            postgres::config::Host::Tcp(name) => name.clone(),
            postgres::config::Host::Unix(path) => path.display().to_string(),
        })
        .collect();
    format!("{} at {}", config.get_dbname().unwrap_or("postgres"), hosts.join(", "))
}

fn connect(config: &Config, place: &str) -> Result<Client, StoreError> {
    let failed = |error| StoreError::database(place, error);
    let mut client = config.connect(NoTls).map_err(failed)?;
    let found = migrate(&mut client).map_err(failed)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::TooNew { place: place.to_owned(), found, known });
    }
    Ok(client)
}

/// Brings the database up to date; its version, which may be later than what is known.
fn migrate(client: &mut Client) -> Result<i64, postgres::Error> {
    client.batch_execute("SET client_min_messages TO warning")?;
    let mut transaction = client.transaction()?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK])?;
    transaction.batch_execute(
        "CREATE SCHEMA IF NOT EXISTS rsync_mirror;
         SET search_path TO rsync_mirror;
         CREATE TABLE IF NOT EXISTS version (number bigint NOT NULL);
         INSERT INTO version SELECT 0 WHERE NOT EXISTS (SELECT FROM version)",
    )?;
    let found: i64 = transaction.query_one("SELECT number FROM version", &[])?.get(0);
    let done = usize::try_from(found).unwrap_or(0);
    let Some(missing) = MIGRATIONS.get(done..) else { return Ok(found) };
    for migration in missing {
        transaction.batch_execute(migration)?;
    }
    let version = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    transaction.execute("UPDATE version SET number = $1", &[&version])?;
    transaction.commit()?;
    Ok(version)
}

fn job_of(row: &Row) -> JobRecord {
    let claimed: Option<Timestamp> = row.get("claimed");
    let hold: Option<&str> = row.get("hold");
    JobRecord {
        hold: hold.and_then(hold_of),
        known_since: row.get("known_since"),
        succeeded: row.get("succeeded"),
        size: row.get::<_, Option<i64>>("size").and_then(|size| u64::try_from(size).ok()),
        size_text: row.get("size_text"),
        // A claim that nobody finished is a run that was cut off too.
        interrupted: row.get::<_, bool>("interrupted") || claimed.is_some(),
        started: claimed,
        fence: fence_of(row),
        ..JobRecord::default()
    }
}

fn fence_of(row: &Row) -> u64 {
    u64::try_from(row.get::<_, i64>("fence")).unwrap_or_default()
}

/// What PostgreSQL, which has signed numbers only, makes of a fence.
fn fence_number(lease: &Lease) -> i64 {
    i64::try_from(lease.fence).unwrap_or(i64::MAX)
}

impl Store for PostgresStore {
    fn job(&self, name: &str, now: Timestamp) -> Result<JobRecord, StoreError> {
        let wanted = name.to_owned();
        let (mut job, last) = self.call(move |client| {
            client.execute(
                "INSERT INTO jobs (name, known_since) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                &[&wanted, &now],
            )?;
            let job = client.query_one("SELECT * FROM jobs WHERE name = $1", &[&wanted])?;
            let last = client.query_opt(
                "SELECT record FROM runs WHERE job = $1 ORDER BY started DESC, number DESC LIMIT 1",
                &[&wanted],
            )?;
            Ok((job_of(&job), last.map(|row| row.get::<_, String>(0))))
        })?;
        if let Some(last) = last {
            let last = self.read(&last, name)?;
            job.started = job.started.or(Some(last.started));
            job.ended = Some(last.ended);
            job.last = Some(last);
        }
        Ok(job)
    }

    fn claim(
        &self,
        name: &str,
        owner: &str,
        seen: Option<u64>,
        lease: Duration,
        _: Timestamp,
    ) -> Result<Option<Lease>, StoreError> {
        let (job, owner) = (name.to_owned(), owner.to_owned());
        let seen = seen.map(|fence| i64::try_from(fence).unwrap_or(i64::MAX));
        let taken = self.call(move |client| {
            client.query_opt(
                "UPDATE jobs SET fence = fence + 1, owner = $2, claimed = clock_timestamp(),
                    lease_until = clock_timestamp() + $3 * interval '1 second'
                 WHERE name = $1 AND (owner IS NULL OR owner = $2 OR lease_until <= clock_timestamp())
                    AND fence = coalesce($4, fence)
                 RETURNING fence, lease_until",
                &[&job, &owner, &lease.as_secs_f64(), &seen],
            )
        })?;
        Ok(taken.map(|row| Lease {
            job: name.to_owned(),
            fence: fence_of(&row),
            until: row.get("lease_until"),
        }))
    }

    fn renew(&self, lease: &Lease, time: Duration, _: Timestamp) -> Result<Lease, StoreError> {
        let (job, fence) = (lease.job.clone(), fence_number(lease));
        let renewed = self.call(move |client| {
            client.query_opt(
                "UPDATE jobs SET lease_until = clock_timestamp() + $3 * interval '1 second'
                 WHERE name = $1 AND fence = $2 AND owner IS NOT NULL
                 RETURNING lease_until",
                &[&job, &fence, &time.as_secs_f64()],
            )
        })?;
        let row = self.fenced(lease, renewed)?;
        Ok(Lease { until: row.get(0), ..lease.clone() })
    }

    fn finish(&self, lease: &Lease, result: &RunResult, keep: u32) -> Result<(), StoreError> {
        let record = StoreError::write_record(&self.place, result)?;
        let (job, fence) = (lease.job.clone(), fence_number(lease));
        let (id, started, ended) = (result.id.to_string(), result.started, result.ended);
        let (good, cut) = (result.class.is_good(), result.class == Class::Cancelled);
        let size = i64::try_from(result.stats.size).ok().filter(|&size| size > 0);
        let keep = i64::from(keep.max(1));
        let changed = self.call(move |client| {
            let mut transaction = client.transaction()?;
            let changed = transaction.execute(
                "UPDATE jobs SET owner = NULL, lease_until = NULL, claimed = NULL,
                    interrupted = ($4 AND hold IS NULL),
                    succeeded = CASE WHEN $3 THEN $5 ELSE succeeded END,
                    size = CASE WHEN $3 THEN coalesce($6, size) ELSE size END,
                    size_text = CASE WHEN $3 AND $6::bigint IS NOT NULL THEN NULL ELSE size_text END
                 WHERE name = $1 AND fence = $2 AND owner IS NOT NULL",
                &[&job, &fence, &good, &cut, &ended, &size],
            )?;
            if changed == 0 {
                return Ok(None);
            }
            transaction.execute(
                "INSERT INTO runs (id, job, started, ended, record) VALUES ($1, $2, $3, $4, $5)",
                &[&id, &job, &started, &ended, &record],
            )?;
            transaction.execute(
                "DELETE FROM runs WHERE job = $1 AND number NOT IN
                    (SELECT number FROM runs WHERE job = $1 ORDER BY started DESC, number DESC LIMIT $2)",
                &[&job, &keep],
            )?;
            transaction.commit()?;
            Ok(Some(()))
        })?;
        self.fenced(lease, changed)
    }

    fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let (job, fence) = (lease.job.clone(), fence_number(lease));
        let changed = self.call(move |client| {
            client.query_opt(
                "UPDATE jobs SET owner = NULL, lease_until = NULL, claimed = NULL
                 WHERE name = $1 AND fence = $2 AND owner IS NOT NULL
                 RETURNING name",
                &[&job, &fence],
            )
        })?;
        self.fenced(lease, changed).map(drop)
    }

    fn hold(&self, name: &str, hold: Option<Hold>) -> Result<(), StoreError> {
        let (job, hold) = (name.to_owned(), hold.map(hold_name));
        self.call(move |client| client.execute("UPDATE jobs SET hold = $2 WHERE name = $1", &[&job, &hold]))?;
        Ok(())
    }

    fn set_size(&self, name: &str, text: &str) -> Result<(), StoreError> {
        let (job, text) = (name.to_owned(), text.to_owned());
        self.call(move |client| {
            client.execute("UPDATE jobs SET size_text = $2 WHERE name = $1", &[&job, &text])
        })?;
        Ok(())
    }

    fn runs(&self, name: &str, limit: u32) -> Result<Vec<RunResult>, StoreError> {
        let (job, limit) = (name.to_owned(), i64::from(limit));
        let records = self.call(move |client| {
            client.query(
                "SELECT record FROM runs WHERE job = $1 ORDER BY started DESC, number DESC LIMIT $2",
                &[&job, &limit],
            )
        })?;
        records.iter().map(|row| self.read(row.get(0), name)).collect()
    }

    fn run(&self, id: &RunId) -> Result<Option<RunResult>, StoreError> {
        let wanted = id.to_string();
        let record =
            self.call(move |client| client.query_opt("SELECT record FROM runs WHERE id = $1", &[&wanted]))?;
        record.map(|row| self.read(row.get(0), id.as_str())).transpose()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn standings(&self) -> Result<Vec<Standing>, StoreError> {
        let rows = self.call(|client| {
            client.query(
                "SELECT name, hold, size_text, owner, claimed, fence, interrupt,
                    coalesce(lease_until <= clock_timestamp(), false) AS is_lost,
                    (SELECT id FROM runs WHERE job = jobs.name
                        ORDER BY started DESC, number DESC LIMIT 1) AS last
                 FROM jobs",
                &[],
            )
        })?;
        Ok(rows.iter().map(standing_of).collect())
    }

    fn interrupt(&self, name: &str) -> Result<(), StoreError> {
        let job = name.to_owned();
        self.call(move |client| {
            client.execute("UPDATE jobs SET interrupt = fence WHERE name = $1 AND owner IS NOT NULL", &[&job])
        })?;
        Ok(())
    }
}

fn standing_of(row: &Row) -> Standing {
    let last: Option<&str> = row.get("last");
    let interrupt: Option<i64> = row.get("interrupt");
    Standing {
        job: row.get("name"),
        hold: row.get::<_, Option<&str>>("hold").and_then(hold_of),
        size_text: row.get("size_text"),
        owner: row.get("owner"),
        is_lost: row.get("is_lost"),
        claimed: row.get("claimed"),
        fence: fence_of(row),
        interrupted: interrupt.and_then(|fence| u64::try_from(fence).ok()),
        last: last.and_then(|id| id.parse().ok()),
    }
}
