//! Which check of a daemon notices which fault (spec 11 §1.4), with both daemons.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rsync_e2e::daemon::Module;
use rsync_e2e::outcome::Running;
use rsync_e2e::{Daemon, Namespace, Side, Work};
use rsync_mirror::health::{Answer, Checks, Endpoint, Target};
use rustix::process::Signal;

/// The checks of the table, in its order.
const CHECKS: [&str; 8] = [
    "l3 = true",
    "l4 = true",
    "l7 = \"greeting\"",
    "l7 = \"list\"",
    "l7 = \"module\"",
    "l7 = \"canary:m/last-updated\"",
    "l7 = \"canary:m/last-updated:1d\"",
    "l7 = \"trace:m/trace:1d\"",
];

/// What each check says, as a letter: good, busy or bad.
fn table(target: &Target, limit: Duration) -> String {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let letters = CHECKS.map(|check| {
        let mut checks: Checks = parse(check);
        checks.timeout = limit;
        match runtime.block_on(target.examine(&checks)) {
            Answer::Good => 'g',
            Answer::Busy(_) => 'b',
            Answer::Bad(_) => '-',
        }
    });
    letters.into_iter().collect()
}

/// Only the check that the line names.
fn parse(line: &str) -> Checks {
    let mut checks: Checks = toml::from_str(line).unwrap();
    if !line.starts_with("l7") {
        checks.l7 = None;
    }
    checks
}

/// Long enough for a good answer on a slow machine.
const PATIENT: Duration = Duration::from_secs(30);
/// Long enough for an answer that does not come.
const BRIEF: Duration = Duration::from_millis(300);

fn target(host: &str, port: u16) -> Target {
    let mut target = Target::new(Endpoint::Tcp { host: host.into(), port });
    target.module = Some("m".into());
    target
}

fn tree(work: &Work) -> PathBuf {
    let root = work.join("served");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("last-updated"), "now\n").unwrap();
    let date = std::process::Command::new("date").arg("-u").env("LC_ALL", "C").output().unwrap();
    fs::write(root.join("trace"), date.stdout).unwrap();
    root
}

#[test]
fn a_stopped_daemon_and_an_empty_module_fail_the_checks_that_look_that_deep() {
    for side in [Side::C, Side::Ours] {
        let work = Work::new();
        let root = tree(&work);
        let daemon = Daemon::start(side, "", &[Module::new("m", &root)]);
        let target = target("127.0.0.1", daemon.port());
        assert_eq!(table(&target, PATIENT), "gggggggg", "{side:?}");

        let old = fs::File::open(root.join("last-updated")).unwrap();
        old.set_modified(std::time::SystemTime::now() - Duration::from_secs(2 * 86_400)).unwrap();
        fs::write(root.join("trace"), "Sat Nov 21 16:48:41 UTC 2020\n").unwrap();
        assert_eq!(table(&target, PATIENT), "gggggg--", "{side:?}: old files");

        fs::remove_dir_all(&root).unwrap();
        fs::create_dir(&root).unwrap();
        assert_eq!(table(&target, PATIENT), "ggggg---", "{side:?}: an empty module");

        daemon.signal(Signal::STOP);
        assert_eq!(table(&target, BRIEF), "gg------", "{side:?}: stopped");
        daemon.signal(Signal::CONT);
        daemon.signal(Signal::KILL);
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", daemon.port())).is_ok() {
            assert!(Instant::now() < deadline, "{side:?} does not end");
        }
        assert_eq!(table(&target, PATIENT), "g-------", "{side:?}: killed");
    }
}

#[test]
fn a_full_daemon_is_busy_and_not_dead() {
    for side in [Side::C, Side::Ours] {
        let work = Work::new();
        let root = tree(&work);
        let lock = format!("lock file = {}", work.join("lock").display());
        let module = Module::new("m", &root).line("max connections = 1").line(&lock);
        let daemon = Daemon::start(side, "", &[module]);
        // Whoever has claimed the module holds its slot.
        let mut holder = TcpStream::connect(("127.0.0.1", daemon.port())).unwrap();
        holder.write_all(b"@RSYNCD: 31.0\nm\n").unwrap();
        let lines = BufReader::new(holder.try_clone().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "@RSYNCD: OK"), "{side:?}");
        assert_eq!(table(&target("127.0.0.1", daemon.port()), PATIENT), "ggggbbbb", "{side:?}");
    }
}

#[test]
fn a_link_that_is_down_fails_every_check() {
    let host = Namespace::linked();
    let work = Work::new();
    let config = work.join("rsyncd.conf");
    let path = tree(&work).display().to_string();
    fs::write(&config, format!("use chroot = no\nuid = 0\ngid = 0\n[m]\npath = {path}\n")).unwrap();
    let mut command = host.command(Path::new("/usr/bin/rsync"));
    command.args(["--daemon", "--no-detach", "--port=1873"]).arg(format!("--config={}", config.display()));
    let daemon = Running::start(command.stdin(Stdio::null()));
    let address = host.address().to_string();
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect((address.as_str(), 1873)).is_err() {
        assert!(Instant::now() < deadline, "the daemon does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(table(&target(&address, 1873), PATIENT), "gggggggg");
    host.set_link(false);
    assert_eq!(table(&target(&address, 1873), BRIEF), "--------");
    daemon.kill();
    daemon.finish();
}
