//! A PostgreSQL server of a test's own, which listens on a socket in a temporary directory.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long the server may take to begin.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that ends with this value. Its superuser is `mirror`, who needs no password.
#[derive(Debug)]
pub struct Postgres {
    directory: tempfile::TempDir,
    process: Child,
}

impl Postgres {
    /// Starts one.
    ///
    /// # Panics
    /// If the package postgresql is missing, or the server does not begin.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        // The name of a socket must be short.
        let directory = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp").unwrap();
        if let Some((uid, gid)) = owner() {
            std::os::unix::fs::chown(directory.path(), Some(uid), Some(gid)).unwrap();
        }
        let made = program("initdb")
            .args(["--auth=trust", "--username=mirror", "--no-sync", "--pgdata"])
            .arg(directory.path().join("data"))
            .stdout(Stdio::null())
            .status()
            .expect("initdb runs; the tests need the package postgresql");
        assert!(made.success());
        let process = launch(directory.path());
        let mut server = Self { directory, process };
        let deadline = Instant::now() + PATIENCE;
        while !server.is_ready() {
            assert!(server.process.try_wait().unwrap().is_none(), "{}", server.log());
            assert!(Instant::now() < deadline, "{}", server.log());
            thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// How to reach it, in words.
    #[must_use]
    pub fn connection(&self) -> String {
        format!("host={} user=mirror dbname=postgres", self.directory.path().display())
    }

    /// How to reach it, as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        let directory = self.directory.path().to_str().unwrap().replace('/', "%2F");
        format!("postgres://mirror@{directory}/postgres")
    }

    /// What the server said.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn is_ready(&self) -> bool {
        let mut ask = program("pg_isready");
        ask.arg("--quiet").arg("--host").arg(self.directory.path()).status().unwrap().success()
    }

    /// An immediate end, as of a machine that loses power.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again after [`Postgres::kill`].
    ///
    /// # Panics
    /// If it does not begin.
    #[track_caller]
    pub fn start_again(&mut self) {
        let pid_file = self.directory.path().join("data/postmaster.pid");
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Children of the killed one hold its memory until they have noticed, and none begins before.
            let _ = fs::remove_file(&pid_file);
            self.process = launch(self.directory.path());
            while self.process.try_wait().unwrap().is_none() {
                if self.is_ready() {
                    return;
                }
                assert!(Instant::now() < deadline, "{}", self.log());
                thread::sleep(Duration::from_millis(50));
            }
            assert!(Instant::now() < deadline, "{}", self.log());
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGINT: a fast shutdown, its children included. It may have ended by itself.
        let _ = kill_process(Pid::from_child(&self.process), Signal::INT);
        let _ = self.process.wait();
    }
}

fn launch(directory: &Path) -> Child {
    let log = fs::File::options().create(true).append(true).open(directory.join("log")).unwrap();
    program("postgres")
        .arg("-D")
        .arg(directory.join("data"))
        .arg("-k")
        .arg(directory)
        .args(["-c", "listen_addresses=", "-c", "fsync=off"])
        .stdout(log.try_clone().unwrap())
        .stderr(log)
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
    if let Some((uid, gid)) = owner() {
        command.uid(uid).gid(gid);
    }
    command.current_dir("/");
    command
}
