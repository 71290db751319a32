//! The store of several machines, with a PostgreSQL server of its own that listens on a socket in a
//! temporary directory.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rsync_mirror::job::{Class, RunId, RunResult, Stats};
use rsync_mirror::schedule::Hold;
use rsync_mirror::store::{Lease, PostgresStore, Store, StoreError};

const MINUTE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that ends with this value.
struct Server {
    directory: tempfile::TempDir,
    process: Child,
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp").unwrap();
        let owner = Self::owner();
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::chown(directory.path(), Some(uid), Some(gid)).unwrap();
        }
        let data = directory.path().join("data");
        let made = Self::program("initdb")
            .args(["--auth=trust", "--username=mirror", "--no-sync", "--pgdata"])
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .expect("initdb runs; the tests need the package postgresql");
        assert!(made.success());
        let process = Self::launch(&directory);
        Self { directory, process }
    }

    fn launch(directory: &tempfile::TempDir) -> Child {
        Self::program("postgres")
            .arg("-D")
            .arg(directory.path().join("data"))
            .arg("-k")
            .arg(directory.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off"])
            .stderr(fs::File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap()
    }

    /// Who the server runs as: never the superuser.
    fn owner() -> Option<(u32, u32)> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let line = users.lines().find(|line| line.starts_with("postgres:")).expect("the user postgres");
        let mut numbers = line.split(':').skip(2).map(|field| field.parse().unwrap());
        Some((numbers.next().unwrap(), numbers.next().unwrap()))
    }

    fn program(name: &str) -> Command {
        let versions = fs::read_dir("/usr/lib/postgresql").expect("the package postgresql");
        let newest: PathBuf = versions.map(|entry| entry.unwrap().path()).max().unwrap();
        let mut command = Command::new(newest.join("bin").join(name));
        if let Some((uid, gid)) = Self::owner() {
            command.uid(uid).gid(gid);
        }
        command.current_dir("/");
        command
    }

    fn connection(&self) -> String {
        format!("host={} user=mirror dbname=postgres", self.directory.path().display())
    }

    fn store(&self) -> PostgresStore {
        until(|| PostgresStore::open(&self.connection()).ok())
    }

    /// An immediate end, as of a machine that loses power.
    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn start_again(&mut self) {
        let pid_file = self.directory.path().join("data/postmaster.pid");
        // Children of the killed one hold its memory until they have noticed.
        until(|| {
            let _ = fs::remove_file(&pid_file);
            self.process = Self::launch(&self.directory);
            let deadline = Instant::now() + Duration::from_secs(5);
            while Instant::now() < deadline {
                if self.process.try_wait().unwrap().is_some() {
                    return None;
                }
                if PostgresStore::open(&self.connection()).is_ok() {
                    return Some(());
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            self.kill();
            None
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGINT: a fast shutdown, its children included.
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let _ = self.process.wait();
    }
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
        id: RunId::new(ended, number),
        job: job.to_owned(),
        attempt: 1,
        exit: 0,
        class,
        started: ended,
        ended,
        upstream: None,
        stats: Stats { size: 1000, ..Stats::default() },
        failed: Vec::new(),
        failed_count: 0,
        refusals: Vec::new(),
        generation: None,
        unchanged: false,
        message: "with 'quotes'".to_owned(),
        log: None,
    }
}

fn claim(store: &PostgresStore, owner: &str) -> Option<Lease> {
    store.claim("a", owner, MINUTE, now()).unwrap()
}

fn is_fenced<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Fenced { .. }))
}

#[test]
fn jobs_and_runs_are_remembered_as_by_the_store_of_one_machine() {
    let server = Server::start();
    let store = server.store();
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
    let store = server.store();
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
    let server = Server::start();
    let (one, two) = (server.store(), server.store());
    one.job("a", now()).unwrap();
    let hour = SignedDuration::from_hours(1);
    let first = one.claim("a", "one", MINUTE, now() - hour).unwrap().unwrap();
    assert_eq!(two.claim("a", "two", MINUTE, now() + hour).unwrap(), None);
    let short = Duration::from_millis(200);
    let first = one.renew(&first, short, now() + hour).unwrap();
    let second = until(|| two.claim("a", "two", MINUTE, now() - hour).unwrap());
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
    let server = Server::start();
    let running: Vec<AtomicBool> = (0..JOBS).map(|_| AtomicBool::new(false)).collect();
    let runs = AtomicU32::new(0);
    let first = server.store();
    for job in 0..JOBS {
        first.job(&format!("job-{job}"), now()).unwrap();
    }
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let (server, running, runs) = (&server, &running, &runs);
            scope.spawn(move || {
                let store = server.store();
                let owner = format!("worker-{worker}");
                for (job, runs_now) in running.iter().enumerate() {
                    // All workers want the same jobs at about the same time.
                    let name = format!("job-{job}");
                    let Some(lease) = store.claim(&name, &owner, MINUTE, now()).unwrap() else { continue };
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
    let mut server = Server::start();
    let store = server.store();
    store.job("a", now()).unwrap();
    let lease = claim(&store, "me").unwrap();
    server.kill();
    until(|| store.renew(&lease, MINUTE, now()).err());
    assert!(matches!(store.claim("a", "other", MINUTE, now()), Err(StoreError::Database { .. })));
    server.start_again();
    let renewed = until(|| store.renew(&lease, MINUTE, now()).ok());
    assert_eq!(renewed.fence, lease.fence);
    assert_eq!(store.claim("a", "other", MINUTE, now()).unwrap(), None);
    store.finish(&renewed, &result("a", 1, Class::Good), 10).unwrap();
}

#[test]
fn what_cannot_be_used_is_an_error_that_says_why() {
    let error = PostgresStore::open("host=/nonexistent user=mirror dbname=state").unwrap_err().to_string();
    assert!(error.contains("state at /nonexistent"), "{error}");
    let error = PostgresStore::open("no connection string").unwrap_err().to_string();
    assert!(error.contains("connection string"), "{error}");
    let server = Server::start();
    drop(server.store());
    let mut client = postgres::Client::connect(&server.connection(), postgres::NoTls).unwrap();
    client.execute("UPDATE rsync_mirror.version SET number = 99", &[]).unwrap();
    let later = PostgresStore::open(&server.connection());
    assert!(matches!(later, Err(StoreError::TooNew { found: 99, .. })), "{later:?}");
}
