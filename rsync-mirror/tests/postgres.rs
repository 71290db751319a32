//! The store of several machines, with a PostgreSQL server of its own that listens on a socket in a
//! temporary directory.
#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(unreachable_pub, dead_code, reason = "end-to-end tests use the same")]
#[path = "../../tests/src/postgres.rs"]
mod server;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rsync_mirror::job::{Class, RunId, RunResult, Stats};
use rsync_mirror::schedule::Hold;
use rsync_mirror::store::{Lease, PostgresStore, Store, StoreError};
use server::Postgres;

const MINUTE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(120);

fn open(server: &Postgres) -> PostgresStore {
    until(|| PostgresStore::open(&server.connection()).ok())
}

/// Tries until there is an answer.
#[track_caller]
fn until<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "it never came to that");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn now() -> Timestamp {
    Timestamp::now()
}

fn result(job: &str, number: u32, class: Class) -> RunResult {
    // The database keeps microseconds.
    let ended = Timestamp::from_second(2_000_000_000 + i64::from(number)).unwrap();
    RunResult {
        attempt: 1,
        class,
        stats: Stats { size: 1000, ..Stats::default() },
        message: "with 'quotes'".to_owned(),
        ..RunResult::empty(RunId::new(ended, number), job, ended, ended)
    }
}

fn claim(store: &PostgresStore, owner: &str) -> Option<Lease> {
    store.claim("a", owner, None, MINUTE, now()).unwrap()
}

fn is_fenced<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Fenced { .. }))
}

#[test]
fn jobs_and_runs_are_remembered_as_by_the_store_of_one_machine() {
    let server = Postgres::start();
    let store = open(&server);
    let job = store.job("a", now()).unwrap();
    assert_eq!((job.hold, job.last, job.interrupted), (None, None, false));
    store.set_size("a", "1.2T").unwrap();
    let lease = claim(&store, "me").unwrap();
    assert!(store.job("a", now()).unwrap().interrupted, "a claim that nobody finished");
    let good = result("a", 1, Class::Good);
    store.finish(&lease, &good, 2).unwrap();
    let lease = claim(&store, "me").unwrap();
    let bad = RunResult { stats: Stats::default(), ..result("a", 2, Class::Permanent) };
    store.finish(&lease, &bad, 2).unwrap();
    store.hold("a", Some(Hold::Disabled)).unwrap();
    drop(store);
    let store = open(&server);
    let job = store.job("a", now()).unwrap();
    assert_eq!((job.hold, job.interrupted), (Some(Hold::Disabled), false));
    assert_eq!((job.succeeded, job.ended), (Some(good.ended), Some(bad.ended)));
    assert_eq!((job.size, job.size_text, job.last.as_ref()), (Some(1000), None, Some(&bad)));
    assert_eq!(store.run(&good.id).unwrap(), Some(good.clone()));
    assert_eq!(store.runs("a", 10).unwrap(), [bad.clone(), good]);
    let lease = claim(&store, "me").unwrap();
    let last = result("a", 3, Class::Good);
    store.finish(&lease, &last, 2).unwrap();
    assert_eq!(store.runs("a", 10).unwrap(), [last, bad], "the oldest is forgotten");
    store.hold("a", None).unwrap();
    let lease = claim(&store, "me").unwrap();
    store.finish(&lease, &result("a", 4, Class::Cancelled), 2).unwrap();
    assert!(store.job("a", now()).unwrap().interrupted, "a run that was cut off is due again");
}

#[test]
fn a_job_is_taken_over_when_its_lease_has_ended_whatever_the_clocks_of_the_machines_say() {
    let server = Postgres::start();
    let (one, two) = (open(&server), open(&server));
    one.job("a", now()).unwrap();
    let hour = SignedDuration::from_hours(1);
    let first = one.claim("a", "one", None, MINUTE, now() - hour).unwrap().unwrap();
    assert_eq!(two.claim("a", "two", None, MINUTE, now() + hour).unwrap(), None);
    let short = Duration::from_millis(200);
    let first = one.renew(&first, short, now() + hour).unwrap();
    let second = until(|| two.claim("a", "two", None, MINUTE, now() - hour).unwrap());
    assert!(second.fence > first.fence);
    assert!(is_fenced(one.finish(&first, &result("a", 1, Class::Good), 10)));
    assert!(is_fenced(one.renew(&first, MINUTE, now())));
    assert!(is_fenced(one.release(&first)));
    assert_eq!(two.runs("a", 10).unwrap(), []);
    two.finish(&second, &result("a", 1, Class::Good), 10).unwrap();
    assert!(is_fenced(two.finish(&second, &result("a", 2, Class::Good), 10)), "once only");
}

#[test]
fn eight_workers_never_run_one_of_two_hundred_jobs_twice_at_a_time() {
    const JOBS: usize = 200;
    let server = Postgres::start();
    let running: Vec<AtomicBool> = (0..JOBS).map(|_| AtomicBool::new(false)).collect();
    let runs = AtomicU32::new(0);
    let first = open(&server);
    for job in 0..JOBS {
        first.job(&format!("job-{job}"), now()).unwrap();
    }
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let (server, running, runs) = (&server, &running, &runs);
            scope.spawn(move || {
                let store = open(server);
                let owner = format!("worker-{worker}");
                for (job, runs_now) in running.iter().enumerate() {
                    // All workers want the same jobs at about the same time.
                    let name = format!("job-{job}");
                    let Some(lease) = store.claim(&name, &owner, None, MINUTE, now()).unwrap() else {
                        continue;
                    };
                    assert!(!runs_now.swap(true, Ordering::SeqCst), "{name} runs twice");
                    let number = runs.fetch_add(1, Ordering::SeqCst);
                    assert!(runs_now.swap(false, Ordering::SeqCst));
                    store.finish(&lease, &result(&name, number, Class::Good), 10).unwrap();
                }
            });
        }
    });
    let recorded: usize = (0..JOBS).map(|job| first.runs(&format!("job-{job}"), 100).unwrap().len()).sum();
    assert_eq!(recorded, runs.load(Ordering::SeqCst) as usize);
    assert!(recorded >= JOBS, "every job ran");
}

#[test]
fn a_database_that_dies_is_an_error_and_what_was_written_is_there_when_it_is_back() {
    let mut server = Postgres::start();
    let store = open(&server);
    store.job("a", now()).unwrap();
    let lease = claim(&store, "me").unwrap();
    server.kill();
    until(|| store.renew(&lease, MINUTE, now()).err());
    assert!(matches!(store.claim("a", "other", None, MINUTE, now()), Err(StoreError::Database { .. })));
    server.start_again();
    let renewed = until(|| store.renew(&lease, MINUTE, now()).ok());
    assert_eq!(renewed.fence, lease.fence);
    assert_eq!(store.claim("a", "other", None, MINUTE, now()).unwrap(), None);
    store.finish(&renewed, &result("a", 1, Class::Good), 10).unwrap();
}

#[test]
fn what_cannot_be_used_is_an_error_that_says_why() {
    let error = PostgresStore::open("host=/nonexistent user=mirror dbname=state").unwrap_err().to_string();
    assert!(error.contains("state at /nonexistent"), "{error}");
    let error = PostgresStore::open("no connection string").unwrap_err().to_string();
    assert!(error.contains("connection string"), "{error}");
    let server = Postgres::start();
    drop(open(&server));
    let mut client = postgres::Client::connect(&server.connection(), postgres::NoTls).unwrap();
    client.execute("UPDATE rsync_mirror.version SET number = 99", &[]).unwrap();
    let later = PostgresStore::open(&server.connection());
    assert!(matches!(later, Err(StoreError::TooNew { found: 99, .. })), "{later:?}");
}
