//! The same configuration, given to the C daemon and to `rsync --daemon`, with the same clients: equal
//! results, messages and log lines.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bstr::ByteSlice;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::daemon::free_port;
use crate::outcome::run;
use crate::program::{Side, is_root};
use crate::snapshot::{Compare, Snapshot};
use crate::work::{Work, give_to};

/// What both daemons are given. In all texts `DIR` is a directory of each daemon's own: `DIR/m` is served,
/// `DIR/c` is where clients are; in the words of clients `@` is the daemon.
#[derive(Clone, Debug, Default)]
pub struct SideBySide {
    globals: String,
    module: String,
    words: &'static [&'static str],
    prepare: Option<fn(&Path)>,
    user: Option<u32>,
    variables: Vec<(&'static str, &'static str)>,
    client: Option<Side>,
    protocol: Option<u8>,
}

impl SideBySide {
    /// With these lines before the module, and in it.
    #[must_use]
    pub fn new(globals: &str, module: &str) -> Self {
        Self { globals: globals.into(), module: module.into(), ..Self::default() }
    }

    /// Adds words to the daemons' command lines.
    #[must_use]
    pub fn words(mut self, words: &'static [&'static str]) -> Self {
        self.words = words;
        self
    }

    /// Changes each daemon's directory before it starts.
    #[must_use]
    pub fn prepared(mut self, prepare: fn(&Path)) -> Self {
        self.prepare = Some(prepare);
        self
    }

    /// The daemons, and all files, are this user's and group's, if the tests run as root.
    #[must_use]
    pub fn of_user(mut self, id: u32) -> Self {
        self.user = Some(id);
        self
    }

    /// Sets a variable for daemons and clients.
    #[must_use]
    pub fn variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    /// Lets clients be of this side; they are C's otherwise.
    #[must_use]
    pub fn client(mut self, side: Side) -> Self {
        self.client = Some(side);
        self
    }

    /// Lets clients speak this version of the protocol.
    #[must_use]
    pub fn protocol(mut self, version: u8) -> Self {
        self.protocol = Some(version);
        self
    }

    /// Runs the clients with both daemons, and fails where anything differs. Answers what they were told
    /// and what was logged.
    #[track_caller]
    pub fn run(&self, clients: &[&str]) -> String {
        let session = |side| {
            let world = World::new(side, self);
            let mut told = String::new();
            clients.iter().for_each(|words| world.client(self, words, &mut told));
            world.end(&told)
        };
        let seen = std::thread::scope(|scope| {
            let both = [Side::C, Side::Ours].map(|side| scope.spawn(move || session(side)));
            both.map(|side| side.join().unwrap())
        });
        let [(expected, expected_module, expected_client), (text, module_tree, client_tree)] = seen;
        assert_eq!(text, expected, "{self:?}");
        // Both daemons started with trees that were made a moment apart.
        let compare = Compare { times: false, directory_times: false, nanoseconds: false, ..Compare::ALL };
        module_tree.assert_same(&expected_module, compare);
        client_tree.assert_same(&expected_client, compare);
        text
    }
}

/// A daemon of one side with its own directory.
struct World {
    work: Work,
    child: Child,
    port: u16,
}

impl World {
    fn new(side: Side, plan: &SideBySide) -> Self {
        let work = Work::new();
        for dir in ["m/sub/deep", "m/empty", "c/tree/sub"] {
            fs::create_dir_all(work.join(dir)).unwrap();
        }
        for (name, text) in [
            ("m/file", "hello\n"),
            ("m/sub/one.o", "one\n"),
            ("m/sub/deep/two", "two\n"),
            ("m/list", "file\nsub/one.o\n"),
            ("c/tree/new", "new\n"),
            ("c/tree/sub/one.o", "other\n"),
            ("secrets", "alice:secret\nbob:other\n@root:group\n"),
            ("rules", "*.o\n"),
            ("motd", "Welcome\n"),
        ] {
            fs::write(work.join(name), text).unwrap();
            fs::set_permissions(work.join(name), fs::Permissions::from_mode(0o644)).unwrap();
        }
        fs::set_permissions(work.join("m"), fs::Permissions::from_mode(0o777)).unwrap();
        fs::set_permissions(work.join("secrets"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink("file", work.join("m/link")).unwrap();
        if let Some(prepare) = plan.prepare {
            prepare(work.path());
        }
        let dir = work.path().to_str().unwrap().to_owned();
        let own = if is_root() && plan.user.is_none() { "uid = 0\ngid = 0\n" } else { "" };
        let SideBySide { globals, module, .. } = plan;
        let text = format!(
            "reverse lookup = no\nuse chroot = no\nlog file = {dir}/log\nlock file = {dir}/lock\n{own}{globals}\n\
             [m]\npath = {dir}/m\nread only = no\n{module}\n"
        );
        fs::write(work.join("conf"), text.replace("DIR", &dir)).unwrap();
        let port = free_port();
        let mut command = Command::new(side.rsync());
        command
            .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--config={dir}/conf"))
            .args(plan.words)
            .envs(plan.variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        if let Some(id) = plan.user.filter(|_| is_root()) {
            give_to(work.path(), id);
            command.uid(id).gid(id);
        }
        let child = command.spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() && Instant::now() < deadline {
            sleep(Duration::from_millis(5));
        }
        Self { work, child, port }
    }

    /// Runs a client in `DIR/c`.
    fn client(&self, plan: &SideBySide, words: &str, told: &mut String) {
        let daemon = format!("rsync://alice@127.0.0.1:{}", self.port);
        let dir = self.work.path().to_str().unwrap();
        let words = words.split(' ').map(|word| word.replace('@', &daemon).replace("DIR", dir));
        let outcome = run(Command::new(plan.client.unwrap_or(Side::C).rsync())
            .args(plan.protocol.map(|version| format!("--protocol={version}")))
            .args(words)
            .current_dir(self.work.join("c"))
            .envs(plan.variables.iter().copied())
            .env("RSYNC_PASSWORD", "secret"));
        // How a connection that is closed at once looks depends on who was faster.
        if ["did not see server greeting", "failed to read 1 bytes"]
            .iter()
            .any(|text| outcome.stderr.contains_str(text))
        {
            return told.push_str("no greeting\n");
        }
        // A C daemon may close before an old client has read why its pull is refused.
        const LOST: [&str; 3] = ["ERROR: module is write only", "ERROR: --remove-source-files", "[sender="];
        let is_old = plan.protocol.is_some_and(|version| version < 31);
        let is_lost = |line: &&str| is_old && LOST.iter().any(|lost| line.contains(lost));
        let stderr = outcome.stderr.to_string();
        let errors: Vec<&str> = stderr.lines().filter(|line| !is_lost(line)).collect();
        let _ = writeln!(told, "exit {}\n{}{}", outcome.code, outcome.stdout, errors.join("\n"));
    }

    /// What is left: the trees and the log, without what depends on time and place.
    fn end(mut self, told: &str) -> (String, Snapshot, Snapshot) {
        // Sessions log their last lines when their clients are gone already.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        while group_lives(&mut self.child) && Instant::now() < deadline {
            sleep(Duration::from_millis(10));
        }
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
        let log = fs::read(self.work.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let mut text = String::new();
        for line in told.lines().filter_map(|line| self.comparable(line)) {
            text.push_str(&line);
            text.push('\n');
        }
        // Sessions that follow each other overlap in the log.
        let mut logged: Vec<String> = log.lines().filter_map(|line| self.comparable(line)).collect();
        logged.sort();
        text.push_str(&logged.join("\n"));
        let seen = |name: &str| Snapshot::take(&self.work.join(name));
        (text, seen("m"), seen("c"))
    }

    fn comparable(&self, line: &str) -> Option<String> {
        const NOT_COMPARED: [&str; 13] = [
            // Of one daemon alone.
            "worker process",
            "sessions run in",
            // Of some builds of the C daemon.
            "refusing to follow a symlink owned by an untrusted user",
            // Speed, and connections that only see whether the daemon is there.
            "starting, listening",
            "connect from",
            "bytes/sec",
            "total size is",
            "Broken pipe",
            // The C daemon resets connections that it refuses, and its client may lose what was said last.
            "Connection reset by peer",
            "error in socket IO",
            "connection unexpectedly closed",
            "error in rsync protocol data stream",
            // The C daemon in a root without devices.
            "gen_challenge: /dev/urandom unavailable",
        ];
        if NOT_COMPARED.iter().any(|text| line.contains(text)) {
            return None;
        }
        let line = line
            .replace("exit 10", "exit 12")
            .replace("early exec failed: No child processes (10)", "early exec failed");
        let line = line.replace("rsync: [Receiver] early exec failed", "early exec failed");
        let line = line.replace(self.work.path().to_str().expect("text"), "DIR");
        let line = line.replace(&self.port.to_string(), "PORT");
        // `2026/11/21 14:00:00 [PID] ` stands before what the log says.
        let line = match line.split_once("] ") {
            Some((head, text)) if head.starts_with("20") => format!("log: {text}"),
            _ => line,
        };
        let line = match (line.find(" at "), line.rfind(" [")) {
            (Some(at), Some(role)) if line.contains("rsync error") || line.contains("rsync warning") => {
                format!("{}{}", &line[..at], &line[role..])
            }
            _ => line,
        };
        // How many bytes went is not part of what a daemon does for its client.
        let line = match line.find("sent ") {
            Some(at) if line.contains("  received ") => {
                let size = line.rfind(' ').unwrap_or(line.len());
                format!("{}sent and received, total size{}", &line[..at], &line[size..])
            }
            _ => line,
        };
        Some(line)
    }
}

/// How long a daemon may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the process, or one of its group, still runs.
fn group_lives(child: &mut Child) -> bool {
    // One that has ended is no member once it was waited for.
    let _ = child.try_wait();
    let group = child.id().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let stats = processes.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter_map(|stat| Some(stat.rsplit_once(')')?.1.to_owned())).any(|stat| {
        // After the name: state, parent, group.
        let fields: Vec<&str> = stat.split_ascii_whitespace().take(3).collect();
        matches!(fields[..], [state, _, its_group] if state != "Z" && its_group == group)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_depend_on_time_and_place_are_masked() {
        let world = World::new(Side::C, &SideBySide::default());
        let masked = |line: &str| world.comparable(line);
        assert_eq!(masked("2026/11/21 14:00:00 [12] text [x] y").as_deref(), Some("log: text [x] y"));
        let line = "rsync error: it (code 3) at main.c(8) [sender=3.5.0]";
        assert_eq!(masked(line).as_deref(), Some("rsync error: it (code 3) [sender=3.5.0]"));
        assert_eq!(masked("worker process 7 started"), None);
    }
}
