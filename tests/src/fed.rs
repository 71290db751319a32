//! A server that hears exactly the bytes a test wants it to hear, over pipes.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bstr::{BString, ByteSlice};

use crate::daemon::url;
use crate::hostile::{data_frame, hex};
use crate::program::Side;
use crate::pull::environment;
use crate::snapshot::{Compare, Snapshot};
use crate::tree::Tree;
use crate::work::Work;

/// How long a server that was fed nonsense may take to leave.
pub const PROMPT: Duration = Duration::from_secs(5);
/// How much memory it may use, in KiB (spec 10 §9).
pub const MODEST: u64 = 64 << 10;

/// What happens to standard input after the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// It ends.
    Closes,
    /// It stays open and silent until the program leaves.
    Stays,
}

/// What became of a program that was fed.
#[derive(Clone, Debug)]
pub struct Fed {
    /// The exit code; 128 and the signal number for a killed program.
    pub code: i32,
    /// Everything on standard output.
    pub stdout: BString,
    /// Everything on standard error.
    pub stderr: BString,
    /// The largest resident size seen, in KiB.
    pub peak: u64,
    /// From start to end.
    pub took: Duration,
}

impl Fed {
    /// Fails unless the code is this one, and fails for a panic in any case.
    #[track_caller]
    pub fn expect_code(&self, code: i32) -> &Self {
        self.expect_no_panic();
        assert_eq!(self.code, code, "exit code\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Fails unless the text was said on standard error or in a message frame.
    #[track_caller]
    pub fn expect_text(&self, text: &str) -> &Self {
        let found = self.stderr.contains_str(text) || self.stdout.contains_str(text);
        assert!(found, "no {text:?}\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Fails if the program panicked or was killed.
    #[track_caller]
    pub fn expect_no_panic(&self) -> &Self {
        let panicked = self.stderr.contains_str("panicked at") || self.code >= 128 && self.code < 160;
        assert!(!panicked, "code {}\nstderr: {}", self.code, self.stderr);
        self
    }

    /// Fails unless the program left soon and used little memory.
    #[track_caller]
    pub fn expect_modest(&self) -> &Self {
        assert!(self.took < PROMPT, "took {:?}\nstderr: {}", self.took, self.stderr);
        assert!(self.peak < MODEST, "{} KiB", self.peak);
        self
    }
}

/// Runs `command` with nothing on standard input, and watches it to its end.
///
/// # Panics
/// If it is still there after a minute.
#[track_caller]
pub fn run_fed(command: &mut Command) -> Fed {
    feed(command, std::iter::empty::<Vec<u8>>(), Afterwards::Closes)
}

/// Runs `command`, feeds it `pieces` one after the other, and watches it to its end.
///
/// # Panics
/// If it is still there after a minute.
#[track_caller]
pub fn feed<P: AsRef<[u8]>>(
    command: &mut Command,
    pieces: impl IntoIterator<Item = P, IntoIter: Send + 'static>,
    afterwards: Afterwards,
) -> Fed {
    environment(command);
    let started = Instant::now();
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stdin = child.stdin.take().unwrap();
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let pieces = pieces.into_iter();
    // The pipe travels back, so that it closes when the test decides.
    let feeder = thread::spawn(move || {
        let mut stdin = stdin;
        for piece in pieces {
            if stdin.write_all(piece.as_ref()).is_err() {
                break;
            }
        }
        (afterwards == Afterwards::Stays).then_some(stdin)
    });
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        peak = peak.max(resident_peak(Path::new(&status)));
        if started.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} stays\nstderr: {}", stderr.join().unwrap().as_bstr());
        }
        thread::sleep(Duration::from_millis(1));
    };
    let took = started.elapsed();
    drop(feeder.join().unwrap());
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Fed { code, stdout: stdout.join().unwrap().into(), stderr: stderr.join().unwrap().into(), peak, took }
}

/// `VmHWM` of a process, in KiB; 0 once it is gone.
fn resident_peak(status: &Path) -> u64 {
    let text = std::fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

fn collect(mut stream: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        bytes
    })
}

/// A place with a source, a destination, and things beside them that nobody may touch.
#[derive(Debug)]
pub struct Ground {
    work: Work,
    before: Snapshot,
}

impl Ground {
    /// Writes the four files of the template in spec 10 §7 as source, and `destination`.
    #[must_use]
    pub fn new(destination: Tree) -> Self {
        let work = Work::new();
        Tree::new()
            .file("f1", "one")
            .file("f2", "two")
            .file("f3", "three")
            .file("zero", "")
            .write(&work.join("source"));
        destination.write(&work.join("destination"));
        Tree::new()
            .file("secret", "untouched")
            .file("dir/inner", "untouched as well")
            .symlink("link", "secret")
            .write(&work.join("outside"));
        let before = Snapshot::take(&work.join("outside"));
        Self { work, before }
    }

    /// The directory that holds everything.
    #[must_use]
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// The path of something in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// `rsync --server --sender OPTIONS . source/`, of the program under test.
    #[must_use]
    pub fn sender(&self, options: &[&str]) -> Command {
        let mut command = Command::new(Side::Ours.rsync());
        command.current_dir(self.work.path()).args(["--server", "--sender"]);
        command.args(options).args([".", "source/"]);
        command
    }

    /// `rsync --server OPTIONS . destination`, of the program under test.
    #[must_use]
    pub fn receiver(&self, options: &[&str]) -> Command {
        let mut command = Command::new(Side::Ours.rsync());
        command.current_dir(self.work.path()).arg("--server");
        command.args(options).args([".", "destination"]);
        command
    }

    /// `rsync OPTIONS rsync://…/m/ destination/`, of the program under test.
    #[must_use]
    pub fn puller(&self, port: u16, options: &[&str]) -> Command {
        let mut command = Command::new(Side::Ours.rsync());
        command.current_dir(self.work.path()).args(options).args([url(port, "m/").as_str(), "destination/"]);
        command
    }

    /// `rsync OPTIONS source/ rsync://…/m/`, of the program under test.
    #[must_use]
    pub fn pusher(&self, port: u16, options: &[&str]) -> Command {
        let mut command = Command::new(Side::Ours.rsync());
        command.current_dir(self.work.path()).args(options).args(["source/", url(port, "m/").as_str()]);
        command
    }

    /// The destination as it is now.
    #[must_use]
    pub fn destination(&self) -> Snapshot {
        Snapshot::take(&self.join("destination"))
    }

    /// Fails if anything beside source and destination changed.
    #[track_caller]
    pub fn expect_untouched(&self) {
        Snapshot::take(&self.join("outside")).assert_same(&self.before, Compare::ALL);
        let mut names: Vec<_> = std::fs::read_dir(self.work.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with("canned") && !name.starts_with("recorded"))
            .collect();
        names.sort();
        assert_eq!(names, ["destination", "outside", "source"]);
    }
}

/// The first bytes of a client at `protocol`.
#[must_use]
pub fn client_version(protocol: u8) -> Vec<u8> {
    vec![protocol, 0, 0, 0]
}

/// Four bytes of version and, with framing, one DATA frame of `payload`.
#[must_use]
pub fn after_version(protocol: u8, payload: &str) -> Vec<u8> {
    let mut bytes = client_version(protocol);
    let payload = hex(payload);
    match protocol {
        ..30 => bytes.extend(payload),
        _ => bytes.extend(data_frame(&payload)),
    }
    bytes
}

/// Calls `play_one` with 0 to `count`, exclusive, on several threads, for most of their time is waiting.
pub fn each_variant(count: usize, play_one: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    play_one(number);
                }
            });
        }
    });
}
