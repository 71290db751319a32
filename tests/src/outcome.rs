//! Running a program to its end, or to the end of our patience.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bstr::BString;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// What a program left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code; 128 and the signal number for a killed program.
    pub code: i32,
    /// Standard output.
    pub stdout: BString,
    /// Standard error.
    pub stderr: BString,
}

impl Outcome {
    /// Fails unless the code is this one.
    #[track_caller]
    pub fn expect_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "exit code\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Fails unless the program succeeded.
    #[track_caller]
    pub fn expect_ok(&self) -> &Self {
        self.expect_code(0)
    }

    /// Fails unless standard error has this text.
    #[track_caller]
    pub fn expect_error_text(&self, text: &str) -> &Self {
        let stderr = self.stderr.to_string();
        assert!(stderr.contains(text), "no {text:?} in stderr: {stderr}");
        self
    }
}

/// How long a program may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something holds.
///
/// # Panics
/// If it takes longer than [`PATIENCE`].
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come about");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Runs `command` with nothing on standard input.
///
/// # Panics
/// If it takes longer than [`PATIENCE`].
#[track_caller]
pub fn run(command: &mut Command) -> Outcome {
    run_for(command, PATIENCE)
}

/// Runs `command` with nothing on standard input, at most for `patience`.
///
/// # Panics
/// If it takes longer; its process group is killed then.
#[track_caller]
pub fn run_for(command: &mut Command, patience: Duration) -> Outcome {
    let mut running = Running::start(command);
    let deadline = Instant::now() + patience;
    while running.is_running() {
        if Instant::now() >= deadline {
            running.kill();
            let outcome = running.finish();
            panic!(
                "{command:?} took longer than {patience:?}\nstdout: {}\nstderr: {}",
                outcome.stdout, outcome.stderr
            );
        }
        thread::sleep(Duration::from_millis(3));
    }
    running.finish()
}

/// A program at work, in its own process group.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: thread::JoinHandle<Vec<u8>>,
    stderr: thread::JoinHandle<Vec<u8>>,
}

impl Running {
    /// Starts `command` with nothing on standard input.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        Self::start_fed(command.stdin(Stdio::null()))
    }

    /// Starts `command` with the standard input that it says; a pipe stays open until its end.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start_fed(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        Self { child, stdout, stderr }
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills its process group with SIGKILL.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Sends a signal to its process group.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        // The group may be gone already.
        let _ = kill_process_group(pid, signal);
    }

    /// Sends a signal to the program alone, as a user or a supervisor does.
    pub fn signal_leader(&self, signal: Signal) {
        // It may be gone already.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Outcome {
        let input = self.child.stdin.take();
        let status = self.child.wait().unwrap();
        drop(input);
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        let read = |reader: thread::JoinHandle<Vec<u8>>| BString::from(reader.join().unwrap());
        Outcome { code, stdout: read(self.stdout), stderr: read(self.stderr) }
    }
}

fn collect(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // A killed writer ends the stream early; what came counts.
            let _ = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}
