//! When worker processes of a daemon end: its own program is their command.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rsync_daemon::{Config, Daemon, LogTarget, Module, ModuleSettings};
use tokio::sync::oneshot;

/// A daemon in this process whose sessions run in others, until it is dropped.
struct Host {
    port: u16,
    log: Arc<Mutex<Vec<u8>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Host {
    fn start(root: &Path, program: &'static str) -> Self {
        let owner = rustix::process::geteuid().is_root().then(|| "0".into());
        let settings = ModuleSettings {
            path: Some(root.to_str().expect("text").into()),
            uid: owner.clone(),
            gid: owner,
            reverse_lookup: false,
            ..ModuleSettings::default()
        };
        let mut config = Config { modules: vec![Module::new("m", settings)], ..Config::default() };
        config.defaults.reverse_lookup = false;
        let log = Arc::new(Mutex::new(Vec::new()));
        let (target, (stop, stopped)) = (Arc::clone(&log), oneshot::channel::<()>());
        let (ready, port) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let daemon = Daemon::from_config(config)
                    .address("127.0.0.1")
                    .port(0)
                    .log(LogTarget::Writer(target))
                    .worker_command(program, ["--worker".into()])
                    .worker_idle(Duration::from_millis(100))
                    .bind()
                    .expect("a daemon");
                ready.send(daemon.local_addresses()[0].port()).expect("the test waits");
                // A dropped sender stops it as well.
                daemon.run(async { drop(stopped.await) }).await;
            });
        });
        let port = port.recv().expect("the daemon starts");
        Self { port, log, stop: Some(stop), thread: Some(thread) }
    }

    /// Has the C client list the module; answers its exit code.
    fn visit(&self) -> Option<i32> {
        let url = format!("rsync://127.0.0.1:{}/m/", self.port);
        Command::new("/usr/bin/rsync").arg(url).output().expect("the C rsync").status.code()
    }

    /// Process ids in the log.
    fn workers(&self) -> Vec<String> {
        let log = String::from_utf8_lossy(&self.log.lock().expect("unpoisoned")).into_owned();
        let started =
            log.lines().filter_map(|line| line.split_once("worker process ")?.1.split_once(" started with "));
        started.map(|(pid, _)| pid.to_owned()).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A failed test has said why already.
            let _ = thread.join();
        }
    }
}

#[track_caller]
fn wait_for_the_end_of(pid: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Path::new(&format!("/proc/{pid}")).exists() {
        assert!(Instant::now() < deadline, "process {pid} goes on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_worker_that_is_idle_ends_and_the_next_session_starts_another() {
    let root = tempfile::tempdir().expect("a directory");
    let host = Host::start(root.path(), env!("CARGO_BIN_EXE_rsyncd"));
    assert_eq!(host.visit(), Some(0));
    let first = host.workers().pop().expect("a worker");
    wait_for_the_end_of(&first);
    assert_eq!(host.visit(), Some(0));
    assert_eq!(host.workers().len(), 2);
}

#[test]
fn no_worker_outlives_its_daemon() {
    let root = tempfile::tempdir().expect("a directory");
    let host = Host::start(root.path(), env!("CARGO_BIN_EXE_rsyncd"));
    assert_eq!(host.visit(), Some(0));
    let worker = host.workers().pop().expect("a worker");
    drop(host);
    assert!(!Path::new(&format!("/proc/{worker}")).exists());
}

#[test]
fn a_worker_that_does_not_start_costs_only_its_session() {
    let root = tempfile::tempdir().expect("a directory");
    let host = Host::start(root.path(), "/bin/false");
    assert_eq!(host.visit(), Some(12));
    assert_eq!(host.visit(), Some(12), "the daemon goes on");
    // It ends before it is given the session, or while it is; the client may learn of that first.
    let failures = [" failed: ", "could not create child server process: "];
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let log = String::from_utf8_lossy(&host.log.lock().expect("unpoisoned")).into_owned();
        let told = failures.map(|text| log.matches(text).count()).iter().sum::<usize>();
        if told == 2 {
            break;
        }
        assert!(told < 2 && Instant::now() < deadline, "{log}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_is_not_started_by_a_daemon_is_no_worker() {
    let worker = Command::new(env!("CARGO_BIN_EXE_rsyncd")).arg("--worker").output().expect("started");
    assert_eq!(worker.status.code(), Some(1));
}
