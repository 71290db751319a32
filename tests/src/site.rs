//! A site that runs: `rsync-mirror run` in a place of its own, with commands and requests for it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::outcome::{Outcome, run};
use crate::program;
use crate::web;
use crate::work::Work;

/// How long anything may take, on a machine that has much to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A place for a site, and the process if it runs.
#[derive(Debug)]
pub struct Site {
    work: Work,
    child: Option<Child>,
    starts: u32,
    /// The network namespace that it runs in, if it is not ours.
    namespace: Option<String>,
}

impl Site {
    /// A place whose site has `settings` below `[site]`, and `jobs`.
    #[must_use]
    pub fn new(settings: &str, jobs: &str) -> Self {
        let site = Self { work: Work::new(), child: None, starts: 0, namespace: None };
        site.configure(settings, jobs);
        site
    }

    /// Lets it run in a network namespace; commands reach it by its socket.
    #[must_use]
    pub fn inside(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Writes the configuration, which a running site does not notice.
    pub fn configure(&self, settings: &str, jobs: &str) {
        let (state, tree) = (self.file("state"), self.file("srv"));
        let text = format!(
            "[site]\nname = 'Test site'\nstate_dir = '{}'\nmirror_dir = '{}'\nlisten = ['127.0.0.1:0']\n\
             zone = 'UTC'\n{settings}\n{jobs}",
            state.display(),
            tree.display()
        );
        fs::write(self.file("mirrors.toml"), text).unwrap();
    }

    /// Something in the place.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// Starts the process, and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn start(&mut self) {
        self.starts += 1;
        let log = fs::File::create(self.log_file()).unwrap();
        let config = self.file("mirrors.toml");
        let mut command = match &self.namespace {
            None => Command::new(program::mirror()),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program::mirror());
                command
            }
        };
        command.arg("run").arg("--config").arg(config).stdin(Stdio::null());
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.child = Some(child);
        wait(|| self.control("ping", &[]).code == 0, || format!("no site: {}", self.log()));
    }

    fn log_file(&self) -> PathBuf {
        self.file(&format!("site.{}.log", self.starts))
    }

    /// What the process said since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Sends a signal to the process.
    ///
    /// # Panics
    /// If it does not run.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// What the process has in memory, in KiB.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.as_ref().unwrap().id());
        let status = fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Waits for the process to end; its exit code.
    ///
    /// # Panics
    /// If it does not.
    pub fn ended(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        let mut code = None;
        wait(
            || {
                code = child.try_wait().unwrap();
                code.is_some()
            },
            || "the site does not end".to_owned(),
        );
        code.unwrap().code()
    }

    /// `rsync-mirror WORD` for this site.
    #[must_use]
    pub fn command(&self, word: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program::mirror());
        command.arg(word).arg("--socket").arg(self.file("state/control.sock")).args(arguments);
        command
    }

    /// Runs `rsync-mirror WORD` for this site.
    #[must_use]
    pub fn control(&self, word: &str, arguments: &[&str]) -> Outcome {
        run(&mut self.command(word, arguments))
    }

    /// A job, as `list --json` has it.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn job(&self, name: &str) -> Value {
        let listed = self.control("list", &["--json"]);
        let jobs: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
        jobs.into_iter().find(|job| job["name"] == name).unwrap_or_else(|| panic!("no job {name}"))
    }

    /// Waits until something holds for a job.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn wait_for(&self, name: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let mut seen = Value::Null;
        wait(
            || {
                seen = self.job(name);
                condition(&seen)
            },
            || format!("{name} did not come to it: {}\n{}", self.job(name), self.log()),
        );
        seen
    }

    /// Waits until a job is in a state.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn wait_status(&self, name: &str, status: &str) -> Value {
        self.wait_for(name, |job| job["status"] == status)
    }

    /// The address of the listener of this number: first those of the API, then those of files.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn address(&self, number: usize) -> String {
        let log = self.log();
        let lines = log.lines().filter_map(|line| line.strip_prefix("listening on http://"));
        lines.map(|line| line.trim_end_matches('/').to_owned()).nth(number).expect("an address")
    }

    /// The URL of something that its rsync daemon serves.
    ///
    /// # Panics
    /// If it has no such daemon.
    #[must_use]
    pub fn rsync_url(&self, path: &str) -> String {
        let log = self.log();
        let url = log.lines().find_map(|line| line.strip_prefix("listening on rsync://")).expect("a daemon");
        format!("rsync://{url}{path}")
    }

    /// Asks a listener for something: the head and the body of the answer.
    ///
    /// # Panics
    /// If there is no answer.
    #[must_use]
    pub fn get(&self, listener: usize, path: &str, headers: &str) -> (String, String) {
        let answer = web::get(&self.address(listener), path, headers);
        (answer.head, answer.body)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until something holds.
///
/// # Panics
/// With `complaint`, if it does not.
#[track_caller]
pub fn wait(mut condition: impl FnMut() -> bool, complaint: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{}", complaint());
        thread::sleep(Duration::from_millis(20));
    }
}
