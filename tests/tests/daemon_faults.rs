//! What happens beneath a daemon, and beside it: files that change while they are sent, full disks, no
//! descriptors left, clients that misbehave. The daemon lives on; where it can be compared, as C's does.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rsync_e2e::daemon::{Module, free_port, url};
use rsync_e2e::program::is_root;
use rsync_e2e::tree::random;
use rsync_e2e::{Daemon, Side, Work, wait_until};
use rustix::fs::{CWD, RenameFlags, renameat_with};

const BIG: usize = 2 << 20;

/// A module whose first file takes a second or two, and what comes after it.
struct Slow {
    work: Work,
    daemon: Daemon,
}

impl Slow {
    fn start(side: Side) -> Self {
        let work = Work::new();
        fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let root = work.join("root");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("a"), random(BIG, 1)).unwrap();
        for name in ["changed", "z"] {
            fs::write(root.join(name), name).unwrap();
        }
        let mut module = Module::new("m", &root);
        if is_root() {
            module = module.line("uid = nobody").line("gid = nogroup");
        }
        let daemon = Daemon::start(side, "reverse lookup = no", &[module]);
        Self { work, daemon }
    }

    /// Pulls, does something to the root while the first file is on its way, and answers the client's exit
    /// code and errors.
    fn pull(&self, change: impl FnOnce(&Path)) -> (i32, String) {
        let destination = self.work.join("got");
        let client = Command::new("/usr/bin/rsync")
            .args(["-r", "--inplace", "--bwlimit=2000"])
            .arg(self.daemon.url("m/"))
            .arg(&destination)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_until("a transfer", || destination.join("a").metadata().is_ok_and(|found| found.len() > 0));
        change(&self.work.join("root"));
        end(client)
    }

    /// The last file has arrived, and the next client is served.
    #[track_caller]
    fn assert_goes_on(&self) {
        assert_eq!(fs::read(self.work.join("got/z")).unwrap(), b"z");
        assert!(list(self.daemon.port()).success(), "{}", self.daemon.log());
    }
}

fn end(client: Child) -> (i32, String) {
    let output = client.wait_with_output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn list(port: u16) -> std::process::ExitStatus {
    Command::new("/usr/bin/rsync").arg(url(port, "m/")).stdout(Stdio::null()).status().unwrap()
}

/// The same happens beneath the C daemon and ours: what their clients are told, and how they end.
#[track_caller]
fn told_by_both(change: impl Fn(&Path)) -> (i32, String) {
    let [theirs, ours] = [Side::C, Side::Ours].map(|side| {
        let slow = Slow::start(side);
        let (code, errors) = slow.pull(&change);
        slow.assert_goes_on();
        // Without a chroot the C daemon shows paths of a sender without the slash.
        let errors = errors.replace(": \"/", ": \"").replace("open \"/", "open \"");
        let lines: Vec<&str> =
            errors.lines().map(|line| line.split(") at ").next().unwrap_or_default()).collect();
        (code, lines.join("\n"))
    });
    assert_eq!(ours, theirs);
    ours
}

#[test]
fn a_file_that_vanishes_is_told_and_the_rest_is_sent() {
    let (code, errors) = told_by_both(|root| fs::remove_file(root.join("changed")).unwrap());
    assert_eq!(code, 24, "{errors}");
    assert!(errors.contains("file has vanished: "), "{errors}");
}

#[test]
fn a_file_that_becomes_unreadable_is_told_and_the_rest_is_sent() {
    let secret = fs::Permissions::from_mode(0o000);
    let (code, errors) =
        told_by_both(|root| fs::set_permissions(root.join("changed"), secret.clone()).unwrap());
    assert_eq!(code, 23, "{errors}");
    assert!(errors.contains("Permission denied (13)"), "{errors}");
}

#[test]
fn a_file_that_shrinks_is_not_taken_for_whole_and_the_rest_is_sent() {
    let slow = Slow::start(Side::Ours);
    let (code, errors) = slow.pull(|root| {
        fs::OpenOptions::new().write(true).open(root.join("a")).unwrap().set_len(BIG as u64 / 2).unwrap();
    });
    assert!(
        code == 23 || fs::read(slow.work.join("got/a")).unwrap() == random(BIG, 1)[..BIG / 2],
        "{code} {errors}"
    );
    slow.assert_goes_on();
}

#[test]
fn a_file_that_grows_is_sent_as_it_was_or_as_it_is() {
    let slow = Slow::start(Side::Ours);
    let (code, errors) = slow.pull(|root| {
        let mut file = fs::OpenOptions::new().append(true).open(root.join("a")).unwrap();
        file.write_all(&random(BIG, 2)).unwrap();
    });
    assert_eq!((code, errors.as_str()), (0, ""));
    let got = fs::read(slow.work.join("got/a")).unwrap();
    assert!(
        [random(BIG, 1), [random(BIG, 1), random(BIG, 2)].concat()].contains(&got),
        "{} bytes",
        got.len()
    );
    slow.assert_goes_on();
}

#[test]
fn a_directory_that_becomes_a_link_leads_nowhere() {
    let work = Work::new();
    let (root, outside) = (work.join("root"), work.join("outside"));
    for dir in [&root.join("dir"), &outside] {
        fs::create_dir_all(dir).unwrap();
    }
    for number in 0..50 {
        fs::write(root.join(format!("dir/{number}")), "inside").unwrap();
        fs::write(outside.join(number.to_string()), "secret").unwrap();
    }
    symlink(&outside, root.join("link")).unwrap();
    let daemon = Daemon::start(Side::Ours, "", &[Module::new("m", &root)]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                renameat_with(CWD, root.join("dir"), CWD, root.join("link"), RenameFlags::EXCHANGE).unwrap();
            }
        });
        for number in 0..8 {
            let destination = work.join(format!("got{number}"));
            let client = Command::new("/usr/bin/rsync")
                .arg("-r")
                .arg(daemon.url("m/"))
                .arg(&destination)
                .stderr(Stdio::null())
                .status()
                .unwrap();
            assert!(matches!(client.code(), Some(0 | 23 | 24)), "{client}");
            let dirs = ["dir", "link"].map(|name| fs::read_dir(destination.join(name)));
            for file in dirs.into_iter().flatten().flatten() {
                assert_eq!(fs::read(file.unwrap().path()).unwrap(), b"inside");
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_full_disk_of_the_log_stops_nobody() {
    let work = Work::new();
    fs::write(work.join("file"), "x").unwrap();
    let module = Module::new("m", work.path()).line("log file = /dev/full").line("transfer logging = yes");
    let daemon = Daemon::start(Side::Ours, "log file = /dev/full", &[module]);
    for _ in 0..3 {
        assert!(list(daemon.port()).success());
    }
}

#[test]
fn without_descriptors_clients_wait_and_are_served_when_there_are_some() {
    let work = Work::new();
    let config = work.join("rsyncd.conf");
    let (log, root) = (work.join("log"), work.path());
    fs::write(
        &config,
        format!(
            "listen backlog = 128\nlog file = {}\nreverse lookup = no\nuid = 0\ngid = 0\n[m]\npath = {}\n",
            log.display(),
            root.display()
        ),
    )
    .unwrap();
    let port = free_port();
    let mut daemon = Command::new("/bin/sh")
        .args(["-c", "ulimit -n 60; exec \"$@\"", "sh"])
        .args(Side::Ours.daemon())
        .args(["--no-detach", "--address=127.0.0.1"])
        .arg(format!("--port={port}"))
        .arg(format!("--config={}", config.display()))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("a daemon", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let held: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    wait_until("the end of descriptors", || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains("accept failed: Too many open files"))
    });
    drop(held);
    // The daemon rests before it accepts again.
    let served = list(port).success();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert!(served, "{}", fs::read_to_string(&log).unwrap());
}

#[test]
fn clients_that_misbehave_do_not_disturb_the_others() {
    let work = Work::new();
    fs::write(work.join("big"), random(4 << 20, 1)).unwrap();
    let daemon = Daemon::start(Side::Ours, "reverse lookup = no", &[Module::new("m", work.path())]);
    let connect = || TcpStream::connect(("127.0.0.1", daemon.port())).unwrap();
    let done = AtomicBool::new(false);
    let request = b"@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\nm\n";
    // Half-open: what they wanted is gone, and they say nothing more.
    let _half_open: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = connect();
            stream.write_all(request).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            stream
        })
        .collect();
    // They ask for a large file and never read it.
    let deaf: Vec<Child> = (0..10)
        .map(|_| {
            Command::new("/usr/bin/rsync")
                .args(["--bwlimit=1", "--inplace"])
                .arg(daemon.url("m/big"))
                .arg(work.join("never"))
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut garbage = random(64 << 10, 7);
    garbage[..3].copy_from_slice(b"@R\n");
    thread::scope(|scope| {
        for number in 0..10 {
            let (connect, done, garbage) = (&connect, &done, &garbage);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let mut stream = connect();
                    let bytes: &[u8] = if number % 2 == 0 { garbage } else { request };
                    let size = if number % 2 == 0 { bytes.len() } else { 1 };
                    for piece in bytes.chunks(size) {
                        // The daemon closes when it has had enough.
                        if done.load(Ordering::Relaxed) || stream.write_all(piece).is_err() {
                            break;
                        }
                        thread::sleep(Duration::from_millis(5));
                    }
                }
            });
        }
        let started = Instant::now();
        for number in 0..3 {
            let client = Command::new("/usr/bin/rsync")
                .arg(daemon.url("m/big"))
                .arg(work.join(format!("got{number}")))
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            assert_eq!(end(client), (0, String::new()), "{}", daemon.log());
            assert!(fs::read(work.join(format!("got{number}"))).unwrap() == random(4 << 20, 1));
        }
        done.store(true, Ordering::Relaxed);
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    });
    for mut client in deaf {
        client.kill().unwrap();
        client.wait().unwrap();
    }
    let mut last = connect();
    last.write_all(b"@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\n\n").unwrap();
    let mut heard = String::new();
    last.read_to_string(&mut heard).unwrap();
    assert!(heard.ends_with("@RSYNCD: EXIT\n"), "{heard}");
}
