//! Which client pulls from which daemon.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::measure::{Sample, measure};

/// The programs that are compared.
pub struct Programs {
    reference: PathBuf,
    rsync: PathBuf,
    rsyncd: PathBuf,
}

impl Programs {
    /// Builds our programs in release mode and finds them beside this one.
    pub fn find(reference: PathBuf) -> io::Result<Self> {
        let built = Command::new("cargo")
            .args(["build", "--release", "--quiet", "--package", "rsync-cli"])
            .status()?;
        if !built.success() {
            return Err(io::Error::other("our programs do not build"));
        }
        let here = std::env::current_exe()?;
        let release = here.parent().and_then(Path::parent).unwrap_or(Path::new(".")).join("release");
        Ok(Self { reference, rsync: release.join("rsync"), rsyncd: release.join("rsyncd") })
    }
}

/// A client and a daemon.
#[derive(Clone, Copy)]
pub struct Pair {
    our_client: bool,
    our_daemon: bool,
}

impl Pair {
    /// All pairs; the first is what the others are compared with.
    pub const ALL: [Self; 4] = [
        Self { our_client: false, our_daemon: false },
        Self { our_client: true, our_daemon: false },
        Self { our_client: false, our_daemon: true },
        Self { our_client: true, our_daemon: true },
    ];

    /// As the table shows it: client, then daemon.
    pub fn name(self) -> &'static str {
        match (self.our_client, self.our_daemon) {
            (false, false) => "C <- C",
            (true, false) => "ours <- C",
            (false, true) => "C <- ours",
            (true, true) => "ours <- ours",
        }
    }

    /// Pulls module `m` (`work/src`) into `work/dst` and measures it.
    pub fn run(self, programs: &Programs, work: &Path, options: &[&str]) -> io::Result<Sample> {
        let config = work.join("rsyncd.conf");
        let source = work.join("src");
        std::fs::write(
            &config,
            format!("use chroot = no\nuid = 0\ngid = 0\n[m]\npath = {}\nread only = yes\n", source.display()),
        )?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut daemon = if self.our_daemon {
            Command::new(&programs.rsyncd)
        } else {
            let mut command = Command::new(&programs.reference);
            command.arg("--daemon");
            command
        };
        let daemon = daemon
            .args(["--no-detach", "--address=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--config={}", config.display()))
            .process_group(0)
            .stderr(Stdio::null())
            .spawn()?;
        let daemon = Running(daemon);
        wait_for(port)?;
        let program = if self.our_client { &programs.rsync } else { &programs.reference };
        let mut client = Command::new(program);
        client.args(options).arg(format!("rsync://127.0.0.1:{port}/m/")).arg(work.join("dst"));
        measure(&mut client, &daemon.0)
    }
}

/// A daemon that is stopped when it goes out of scope.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have died already, which the measurement has reported.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(port: u16) -> io::Result<()> {
    for _ in 0..200 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(io::Error::other("the daemon does not listen"))
}
