//! A daemon on a free loopback port, stopped with the test.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::program::{Side, is_root};
use crate::work::Work;

/// One module of a daemon.
#[derive(Clone, Debug)]
pub struct Module {
    name: String,
    path: PathBuf,
    lines: Vec<String>,
}

impl Module {
    /// A read-only module that changes nothing about names, owners or links.
    #[must_use]
    pub fn new(name: &str, path: &Path) -> Self {
        Self { name: name.to_owned(), path: path.to_owned(), lines: Vec::new() }
    }

    /// Adds a line of its section; a later line wins.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    words: Vec<PathBuf>,
    port: u16,
    work: Work,
}

impl Daemon {
    /// Starts one that serves `path` as module `m`.
    #[must_use]
    #[track_caller]
    pub fn serving(side: Side, path: &Path) -> Self {
        Self::start(side, "", &[Module::new("m", path)])
    }

    /// Starts one with `globals` before its modules.
    ///
    /// # Panics
    /// If it does not listen within a minute.
    #[must_use]
    #[track_caller]
    pub fn start(side: Side, globals: &str, modules: &[Module]) -> Self {
        Self::started_by(&side.daemon(), globals, modules)
    }

    /// Starts one with more words on its command line.
    ///
    /// # Panics
    /// If it does not listen within ten seconds.
    #[must_use]
    #[track_caller]
    pub fn start_with(side: Side, words: &[&str], globals: &str, modules: &[Module]) -> Self {
        let mut all = side.daemon();
        all.extend(words.iter().map(PathBuf::from));
        Self::started_by(&all, globals, modules)
    }

    /// The same for `rsync --daemon`, which also takes uploads.
    ///
    /// # Panics
    /// If it does not listen within a minute.
    #[must_use]
    #[track_caller]
    pub fn uploading(side: Side, globals: &str, modules: &[Module]) -> Self {
        Self::started_by(&[side.rsync(), "--daemon".into()], globals, modules)
    }

    /// The same for a daemon that these words start.
    ///
    /// # Panics
    /// If it does not listen within a minute.
    #[must_use]
    #[track_caller]
    pub fn started_by(words: &[PathBuf], globals: &str, modules: &[Module]) -> Self {
        let work = Work::new();
        let config = work.join("rsyncd.conf");
        fs::write(&config, configuration(&work, globals, modules)).unwrap();
        // Another test may take the port between our look and the daemon's bind.
        for _ in 0..5 {
            let port = free_port();
            let mut child = spawn(words, &config, port, &work);
            if wait_for_port(&mut child, port) {
                return Self { child, words: words.to_vec(), port, work };
            }
            stop(&mut child);
        }
        let log = fs::read_to_string(work.join("output")).unwrap_or_default();
        panic!("no daemon of {words:?}: {log}");
    }

    /// Starts it again at its port, after it has ended.
    ///
    /// # Panics
    /// If it does not listen within ten seconds.
    #[track_caller]
    pub fn restart(&mut self) {
        stop(&mut self.child);
        self.child = spawn(&self.words, &self.work.join("rsyncd.conf"), self.port, &self.work);
        assert!(wait_for_port(&mut self.child, self.port), "{:?} does not come back", self.words);
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The id of its first process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A file of its own, such as `log` and `rsyncd.conf`.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// Writes its configuration anew.
    pub fn configure(&self, globals: &str, modules: &[Module]) {
        // At once, as an administrator's editor does.
        let new = self.file("rsyncd.conf.new");
        fs::write(&new, configuration(&self.work, globals, modules)).unwrap();
        fs::rename(new, self.file("rsyncd.conf")).unwrap();
    }

    /// The URL of `path` (starting with a module).
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        url(self.port, path)
    }

    /// Sends a signal to all of its processes.
    pub fn signal(&self, signal: Signal) {
        kill_process_group(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Tells all of its processes to terminate, and waits for its exit code; `None` if it was killed.
    #[must_use]
    pub fn terminate(&mut self) -> Option<i32> {
        // It may have ended by itself.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::TERM);
        self.child.wait().unwrap().code()
    }

    /// Its log file so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.work.join("log")).unwrap_or_default()).into_owned()
    }

    /// Process ids of the workers that were started, as the log has them.
    #[must_use]
    pub fn workers(&self) -> Vec<i32> {
        let log = self.log();
        let lines = log.lines().filter_map(|line| line.split_once("worker process "));
        let started = lines.filter(|(_, rest)| rest.contains(" started with "));
        started.map(|(_, rest)| rest.split(' ').next().unwrap().parse().unwrap()).collect()
    }

    /// Whether a C client is told what is in module `m`.
    #[must_use]
    pub fn lists(&self) -> bool {
        let mut client = Command::new(Side::C.rsync());
        client.arg(self.url("m/")).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }

    /// Starts a C client that pulls `path`, recursively and with these options; see [`end`].
    #[must_use]
    pub fn pull(&self, path: &str, options: &[&str], destination: &Path) -> Child {
        Command::new(Side::C.rsync())
            .arg("-r")
            .args(options)
            .arg(self.url(path))
            .arg(destination)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

/// Waits for the exit code and the errors of a client.
#[must_use]
pub fn end(client: Child) -> (i32, String) {
    let output = client.wait_with_output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

impl Drop for Daemon {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// The URL of `path` (starting with a module) at a loopback port.
#[must_use]
pub fn url(port: u16, path: &str) -> String {
    format!("rsync://127.0.0.1:{port}/{path}")
}

/// A loopback port for this process alone, below those that the kernel gives to clients: nobody listens
/// there, no connection of a client occupies it, and no other test gets it while this process lives.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    const PORTS: std::ops::Range<u32> = 10_000..32_768;
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let start = since.subsec_nanos() ^ std::process::id().wrapping_mul(7919);
    let ports =
        (0..PORTS.len() as u32).map(|step| PORTS.start + start.wrapping_add(step) % PORTS.len() as u32);
    for port in ports.filter_map(|port| u16::try_from(port).ok()) {
        // A name that one process of the machine can have, until it ends.
        let name = SocketAddr::from_abstract_name(format!("rsync-e2e port {port}")).unwrap();
        let Ok(reservation) = UnixListener::bind_addr(&name) else { continue };
        if is_unused(port) {
            std::mem::forget(reservation);
            return port;
        }
    }
    panic!("no port is free");
}

/// Whether nobody has the port. It is bound only: a listener would be passed on to a program that another
/// thread starts at this moment, and take the connections that ask whether a daemon is there.
fn is_unused(port: u16) -> bool {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    set_socket_reuseaddr(&socket, true).unwrap();
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).is_ok()
}

pub(crate) fn configuration(work: &Work, globals: &str, modules: &[Module]) -> String {
    let mut text = format!("log file = {}\n{globals}\n", work.join("log").display());
    for module in modules {
        let _ = write!(text, "[{}]\npath = {}\n", module.name, module.path.display());
        text.push_str("use chroot = no\nread only = yes\nmunge symlinks = no\nnumeric ids = no\n");
        if is_root() {
            text.push_str("uid = 0\ngid = 0\n");
        }
        for line in &module.lines {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

fn spawn(words: &[PathBuf], config: &Path, port: u16, work: &Work) -> Child {
    let output = fs::OpenOptions::new().create(true).append(true).open(work.join("output")).unwrap();
    Command::new(&words[0])
        .args(&words[1..])
        .arg("--no-detach")
        .arg(format!("--config={}", config.display()))
        .arg(format!("--port={port}"))
        .arg("--address=127.0.0.1")
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", words[0].display()))
}

fn wait_for_port(child: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return true;
        }
        thread::sleep(Duration::from_millis(5));
    }
    false
}

fn stop(child: &mut Child) {
    // It and its connections share a process group of their own; it may have ended by itself.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}
