//! Which program works with which, and how they are started.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::measure::{Sample, measure};
use crate::rows::{NAMES, Row, Way};

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

    fn rsync(&self, ours: bool) -> &Path {
        if ours { &self.rsync } else { &self.reference }
    }
}

/// A client and the far end, or the one program that copies.
#[derive(Clone, Copy)]
pub struct Pair {
    our_client: bool,
    our_far_end: bool,
}

impl Pair {
    /// All pairs of a way; the first is what the others are compared with.
    pub fn all(way: Way) -> &'static [Self] {
        const ALL: [Pair; 4] = [
            Pair { our_client: false, our_far_end: false },
            Pair { our_client: true, our_far_end: true },
            Pair { our_client: true, our_far_end: false },
            Pair { our_client: false, our_far_end: true },
        ];
        if way == Way::Copy { &ALL[..2] } else { &ALL }
    }

    /// As the table shows it: the client, and the way to or from the far end.
    pub fn name(self, way: Way) -> String {
        let name = |ours| if ours { "ours" } else { "C" };
        let (client, far_end) = (name(self.our_client), name(self.our_far_end));
        match way {
            Way::Pull => format!("{client} <- {far_end}"),
            Way::Push => format!("{client} -> {far_end}"),
            Way::Copy => client.to_owned(),
        }
    }

    /// Brings `work/src` to `work/dst` and measures it.
    pub fn run(self, programs: &Programs, work: &Path, row: &Row) -> io::Result<Sample> {
        let mut client = Command::new(programs.rsync(self.our_client));
        client.current_dir(work).args(row.options);
        if row.options.contains(&"--files-from") {
            client.arg(NAMES);
        }
        match row.way {
            Way::Pull => {
                let (daemon, port) = self.start_daemon(programs, work)?;
                client.arg(format!("rsync://127.0.0.1:{port}/m/")).arg("dst");
                measure(&mut client, Some(&daemon.0))
            }
            Way::Push => {
                let shell = work.join("shell");
                std::fs::write(&shell, "shift\nexec \"$@\"\n")?;
                let far_end = programs.rsync(self.our_far_end).display();
                client.arg(format!("--rsh=sh {}", shell.display())).arg(format!("--rsync-path={far_end}"));
                client.arg("src/").arg(format!("there:{}", work.join("dst").display()));
                measure(&mut client, None)
            }
            Way::Copy => {
                client.args(["src/", "dst"]);
                measure(&mut client, None)
            }
        }
    }

    fn start_daemon(self, programs: &Programs, work: &Path) -> io::Result<(Running, u16)> {
        let config = work.join("rsyncd.conf");
        let source = work.join("src");
        std::fs::write(
            &config,
            format!("use chroot = no\nuid = 0\ngid = 0\n[m]\npath = {}\nread only = yes\n", source.display()),
        )?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut daemon = if self.our_far_end {
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
        Ok((daemon, port))
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
