//! One pull from one implementation to another, over one of the transports.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use bstr::ByteSlice;

use crate::daemon::{Daemon, url};
use crate::outcome::{Outcome, Running, run};
use crate::program::Side;
use crate::proxy::{Proxy, ProxyPlan};
use crate::shell;
use crate::snapshot::{Compare, Snapshot};
use crate::tree::Tree;
use crate::work::Work;

/// How client and server are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A daemon on the loopback address.
    Daemon,
    /// A remote shell, that is, a pair of pipes.
    Shell,
    /// A remote shell that hands on so many bytes at a time.
    ChunkedShell(usize),
}

/// A pull: source tree, destination tree, options, and who plays which part.
#[derive(Clone, Debug)]
pub struct Pull {
    client: Side,
    server: Side,
    transport: Transport,
    source: Tree,
    destination: Tree,
    options: Vec<OsString>,
    sources: Vec<String>,
    work_trees: Vec<(String, Tree)>,
}

/// A pull that was carried out.
#[derive(Debug)]
pub struct Pulled {
    /// The test's directory: `source`, `destination` and what the pull was given besides.
    pub work: Work,
    /// How the client ended.
    pub outcome: Outcome,
    /// The destination afterwards.
    pub destination: Snapshot,
}

impl Pull {
    /// The client under test pulls `source/` from a C daemon into an empty directory, with `-a`.
    #[must_use]
    pub fn new(source: Tree) -> Self {
        Self {
            client: Side::Ours,
            server: Side::C,
            transport: Transport::Daemon,
            source,
            destination: Tree::new(),
            options: vec!["-a".into()],
            sources: vec![String::new()],
            work_trees: Vec::new(),
        }
    }

    /// Who plays which part.
    #[must_use]
    pub fn between(mut self, client: Side, server: Side) -> Self {
        (self.client, self.server) = (client, server);
        self
    }

    /// How they are connected.
    #[must_use]
    pub fn over(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// What is in the destination before.
    #[must_use]
    pub fn onto(mut self, destination: Tree) -> Self {
        self.destination = destination;
        self
    }

    /// Another tree beside source and destination, say for `--link-dest=../NAME`.
    #[must_use]
    pub fn beside(mut self, name: &str, tree: Tree) -> Self {
        self.work_trees.push((name.to_owned(), tree));
        self
    }

    /// Options in place of `-a`.
    #[must_use]
    pub fn options<S: Into<OsString>>(mut self, options: impl IntoIterator<Item = S>) -> Self {
        self.options = options.into_iter().map(Into::into).collect();
        self
    }

    /// More options.
    #[must_use]
    pub fn option(mut self, option: impl Into<OsString>) -> Self {
        self.options.push(option.into());
        self
    }

    /// The paths below the source to ask for, in place of all of it.
    #[must_use]
    pub fn asking_for(mut self, paths: &[&str]) -> Self {
        self.sources = paths.iter().map(|&path| path.to_owned()).collect();
        self
    }

    /// The options, for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        let options: Vec<_> = self.options.iter().map(|option| option.to_string_lossy()).collect();
        format!("{:?} from {:?} over {:?}: {}", self.client, self.server, self.transport, options.join(" "))
    }

    /// Writes the trees.
    #[must_use]
    #[track_caller]
    pub fn prepare(&self) -> Work {
        let work = Work::new();
        self.source.write(&work.join("source"));
        self.destination.write(&work.join("destination"));
        for (name, tree) in &self.work_trees {
            tree.write(&work.join(name));
        }
        work
    }

    /// Carries it out.
    #[must_use]
    #[track_caller]
    pub fn run(&self) -> Pulled {
        self.run_in(self.prepare())
    }

    /// Carries it out once more, or on trees that were changed since [`Self::prepare`].
    #[must_use]
    #[track_caller]
    pub fn run_in(&self, work: Work) -> Pulled {
        let (outcome, _daemon) = match self.transport {
            Transport::Daemon => {
                let daemon = Daemon::serving(self.server, &work.join("source"));
                let mut command = self.daemon_command(&work, daemon.port());
                (run(&mut command), Some(daemon))
            }
            Transport::Shell | Transport::ChunkedShell(_) => (run(&mut self.shell_command(&work)), None),
        };
        let destination = Snapshot::take(&work.join("destination"));
        Pulled { work, outcome, destination }
    }

    /// Carries it out through a proxy in front of a daemon.
    #[must_use]
    #[track_caller]
    pub fn run_through(&self, work: Work, plan: ProxyPlan) -> Pulled {
        let daemon = Daemon::serving(self.server, &work.join("source"));
        let proxy = Proxy::start(daemon.port(), plan);
        let outcome = run(&mut self.daemon_command(&work, proxy.port()));
        let destination = Snapshot::take(&work.join("destination"));
        Pulled { work, outcome, destination }
    }

    /// Starts it through a slow proxy and kills the client with SIGKILL once so many bytes came.
    #[must_use]
    #[track_caller]
    pub fn kill_after(&self, work: Work, bytes: u64) -> Pulled {
        let daemon = Daemon::serving(self.server, &work.join("source"));
        let plan = ProxyPlan { stall_after: Some(bytes), ..ProxyPlan::default() };
        let proxy = Proxy::start(daemon.port(), plan);
        let mut running = Running::start(&mut self.daemon_command(&work, proxy.port()));
        let start = std::time::Instant::now();
        while proxy.downstream() < bytes && running.is_running() {
            assert!(start.elapsed() < crate::outcome::PATIENCE, "{}: no data", self.describe());
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        // What arrived may still lie in the client's socket; give it the time to write.
        std::thread::sleep(std::time::Duration::from_millis(100));
        running.kill();
        let outcome = running.finish();
        let destination = Snapshot::take(&work.join("destination"));
        Pulled { work, outcome, destination }
    }

    /// Carries it out, then the same with C in both parts, and fails unless exit code and destination
    /// are the same.
    #[track_caller]
    pub fn assert_like_c(&self, compare: Compare) -> Pulled {
        self.assert_like(&self.clone().between(Side::C, Side::C).run_undisturbed(), compare)
    }

    /// Carries it out, again where C got in its own way: its `--delete-during` may delete the temporary file
    /// that its other process is about to rename.
    #[must_use]
    #[track_caller]
    pub fn run_undisturbed(&self) -> Pulled {
        let disturbed = |pulled: &Pulled| {
            let text = &pulled.outcome.stderr;
            self.client == Side::C
                && text.contains_str("[receiver] rename ")
                && text.contains_str("No such file or directory (2)")
        };
        (0..5).map(|_| self.run()).find(|pulled| !disturbed(pulled)).unwrap_or_else(|| self.run())
    }

    /// Carries it out, and fails unless exit code and destination are those of `reference`.
    #[track_caller]
    pub fn assert_like(&self, reference: &Pulled, compare: Compare) -> Pulled {
        let pulled = self.run_undisturbed();
        assert_eq!(
            pulled.outcome.code,
            reference.outcome.code,
            "exit code of {} (left) and of C (right)\nstdout: {}\nstderr: {}\nC's stderr: {}",
            self.describe(),
            pulled.outcome.stdout,
            pulled.outcome.stderr,
            reference.outcome.stderr
        );
        let lines = pulled.destination.differences(&reference.destination, compare);
        assert!(
            lines.is_empty(),
            "{} (left) and C (right) made different trees:\n{}\nstderr: {}",
            self.describe(),
            lines.join("\n"),
            pulled.outcome.stderr
        );
        pulled
    }

    /// The command of the client for a daemon at `port` with module `m`.
    #[must_use]
    pub fn daemon_command(&self, work: &Work, port: u16) -> Command {
        let sources = self.sources.iter().map(|path| url(port, &format!("m/{path}")));
        self.command(work, sources)
    }

    fn shell_command(&self, work: &Work) -> Command {
        let source = work.join("source");
        let sources = self.sources.iter().enumerate().map(|(index, path)| {
            let host = if index == 0 { "host" } else { "" };
            // --relative does not copy the part before the lone dot.
            format!("{host}:{}/./{path}", source.display())
        });
        let mut command = self.command(work, sources);
        match self.transport {
            Transport::ChunkedShell(piece) => command.arg("-e").arg(shell::chunked(piece)),
            _ => command.arg("-e").arg(shell::plain(work)),
        };
        command.arg("--rsync-path").arg(self.server.rsync());
        command
    }

    fn command(&self, work: &Work, sources: impl Iterator<Item = String>) -> Command {
        let mut command = Command::new(self.client.rsync());
        environment(&mut command);
        command.args(&self.options).args(sources).arg(destination_argument(work)).current_dir(work.path());
        command
    }
}

fn destination_argument(work: &Work) -> OsString {
    let mut argument = work.join("destination").into_os_string();
    argument.push("/");
    argument
}

/// The surroundings in which texts are comparable.
pub fn environment(command: &mut Command) {
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TZ", "UTC")
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", "/");
}

/// The destination as it is now.
#[must_use]
pub fn destination_of(work: &Work) -> Snapshot {
    Snapshot::take(&work.join(Path::new("destination")))
}
