//! Our daemon on bad days: clients that cut, workers and fronts that are killed, descriptors and memory
//! that run out, configurations, logs and modules that change beneath it. It goes on, and keeps nothing
//! of what is over.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rsync_e2e::daemon::{Module, end};
use rsync_e2e::hostile::data_frame;
use rsync_e2e::outcome::PATIENCE;
use rsync_e2e::program::is_root;
use rsync_e2e::tree::random;
use rsync_e2e::{Daemon, Side, Work, wait_until};
use rustix::process::{Pid, Signal, kill_process};

const SIZE: usize = 2 << 20;

/// A directory `root` with a large file and a small one.
fn served() -> Work {
    let work = Work::new();
    fs::create_dir(work.join("root")).unwrap();
    fs::write(work.join("root/big"), random(SIZE, 1)).unwrap();
    fs::write(work.join("root/small"), "small").unwrap();
    work
}

fn module(work: &Work) -> Module {
    let module = Module::new("m", &work.join("root"));
    if is_root() { module.line("uid = nobody").line("gid = nogroup") } else { module }
}

/// What a process holds.
#[derive(Debug)]
struct Held {
    descriptors: usize,
    threads: usize,
    /// In KiB.
    memory: u64,
    children: usize,
}

impl Held {
    fn by(pid: i32) -> Self {
        let place = format!("/proc/{pid}");
        let count = |name: &str| fs::read_dir(format!("{place}/{name}")).unwrap().count();
        let status = fs::read_to_string(format!("{place}/status")).unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        let children = fs::read_to_string(format!("{place}/task/{pid}/children")).unwrap();
        Self {
            descriptors: count("fd"),
            threads: count("task"),
            memory: memory.trim().trim_end_matches(" kB").parse().unwrap(),
            children: children.split_whitespace().count(),
        }
    }

    /// Whether all is as it was `before`, but for what an allocator keeps.
    fn is_back_at(&self, before: &Self) -> bool {
        self.descriptors <= before.descriptors
            && self.threads <= before.threads
            && self.children <= before.children
            && self.memory < before.memory + (8 << 10)
    }
}

fn front(daemon: &Daemon) -> i32 {
    daemon.pid().cast_signed()
}

/// A session that is cut after so many of its steps; most are in the transfer.
fn cut(port: u16, steps: u32) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    if steps.is_multiple_of(2) {
        // Its end is a reset.
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    }
    let says: [&[u8]; 5] = [
        b"@RSYNCD: 30.0\n",
        b"m\n",
        b"--server\0--sender\0-re.LsfxCIu\0.\0m/\0\0",
        &data_frame(&[0; 4]),
        // The large file, whole.
        &data_frame(b"\x02\0\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    ];
    for said in says.iter().take(steps as usize) {
        if stream.write_all(said).is_err() {
            return;
        }
    }
    let mut left = if steps > 5 { steps as usize * 10_000 } else { steps as usize * 10 };
    let mut piece = [0; 4096];
    while left > 0 {
        match stream.read(&mut piece) {
            Ok(count @ 1..) => left = left.saturating_sub(count),
            _ => return,
        }
    }
}

#[test]
fn what_hundreds_of_cut_sessions_held_comes_back() {
    let work = served();
    let lock = format!("lock file = {}", work.join("lock").display());
    let module = module(&work).line("max connections = 300").line(&lock);
    let daemon = Daemon::start(Side::Ours, "reverse lookup = no", &[module]);
    // Everybody has been through everything once.
    (0..8).for_each(|steps| cut(daemon.port(), steps));
    assert!(daemon.lists());
    let worker = daemon.workers()[0];
    let settled = |pid: i32| {
        let mut seen = Held::by(pid);
        wait_until("quiet", || {
            thread::sleep(Duration::from_millis(100));
            let last = std::mem::replace(&mut seen, Held::by(pid));
            (last.descriptors, last.threads) == (seen.descriptors, seen.threads)
        });
        seen
    };
    let before = [front(&daemon), worker].map(settled);
    thread::scope(|scope| {
        for number in 0..20 {
            let port = daemon.port();
            scope.spawn(move || (0..15).for_each(|session| cut(port, (number * 7 + session * 3) % 12)));
        }
    });
    for (pid, before) in [front(&daemon), worker].into_iter().zip(&before) {
        wait_until(&format!("{before:?} of {pid}"), || Held::by(pid).is_back_at(before));
    }
    assert_eq!(daemon.workers(), [worker], "{}", daemon.log());
    assert_eq!(end(daemon.pull("m/big", &[], &work.join("got"))), (0, String::new()));
    assert!(fs::read(work.join("got")).unwrap() == random(SIZE, 1));
}

#[test]
fn workers_that_are_killed_at_random_leave_nothing_behind() {
    let work = served();
    let daemon = Daemon::start(Side::Ours, "reverse lookup = no", &[module(&work)]);
    assert!(daemon.lists());
    let before = Held::by(front(&daemon));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut killed = HashSet::new();
            while !done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(60));
                for worker in daemon.workers() {
                    if killed.insert(worker) {
                        // It may have ended meanwhile.
                        let _ = kill_process(Pid::from_raw(worker).unwrap(), Signal::KILL);
                    }
                }
            }
        });
        let clients: Vec<_> = (0..4)
            .map(|number| {
                let (daemon, destination) = (&daemon, work.join(format!("got{number}")));
                scope.spawn(move || {
                    for _ in 0..6 {
                        let (code, errors) = end(daemon.pull("m/big", &["--inplace"], &destination));
                        // Some get through, the others are told by the end of their connection.
                        assert!(matches!(code, 0 | 5 | 10 | 12), "{code}: {errors}");
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    wait_until("service", || daemon.lists());
    wait_until(&format!("{before:?}"), || Held::by(front(&daemon)).is_back_at(&before));
}

#[test]
fn sessions_outlive_a_front_that_is_killed_and_count_for_the_next() {
    let work = served();
    let lock = format!("lock file = {}", work.join("lock").display());
    let module = module(&work).line("max connections = 1").line(&lock);
    let globals = format!("reverse lookup = no\npid file = {}", work.join("pid").display());
    let first = Daemon::start(Side::Ours, &globals, std::slice::from_ref(&module));
    let client = first.pull("m/", &["-r", "--bwlimit=1000", "--inplace"], &work.join("got"));
    wait_until("a transfer", || work.join("got/big").metadata().is_ok_and(|found| found.len() > 0));
    let worker = first.workers()[0];
    kill_process(Pid::from_raw(front(&first)).unwrap(), Signal::KILL).unwrap();
    let next = Daemon::start(Side::Ours, &globals, &[module]);
    let (code, errors) = end(next.pull("m/small", &[], &work.join("small")));
    assert!(code == 5 && errors.contains("max connections (1) reached -- try again later"), "{errors}");
    assert_eq!(end(client), (0, String::new()));
    assert!(fs::read(work.join("got/big")).unwrap() == random(SIZE, 1));
    wait_until("the end of the worker", || {
        fs::read_to_string(format!("/proc/{worker}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
    wait_until("a free slot", || end(next.pull("m/small", &[], &work.join("small"))).0 == 0);
}

#[test]
fn a_storm_of_reloads_disturbs_nobody() {
    let work = served();
    let daemon = Daemon::start(Side::Ours, "reverse lookup = no", &[module(&work)]);
    let clients: Vec<Child> = (0..5)
        .map(|number| daemon.pull("m/big", &["--bwlimit=2000"], &work.join(format!("got{number}"))))
        .collect();
    let pid = Pid::from_raw(front(&daemon)).unwrap();
    for round in 0..40 {
        if round % 2 == 0 {
            daemon.configure("[broken", &[]);
        } else {
            daemon.configure("reverse lookup = no", &[module(&work)]);
        }
        for _ in 0..5 {
            kill_process(pid, Signal::HUP).unwrap();
        }
        if round % 8 == 0 {
            assert!(daemon.lists(), "{}", daemon.log());
        }
    }
    for client in clients {
        assert_eq!(end(client), (0, String::new()), "{}", daemon.log());
    }
    assert!(daemon.lists());
    for line in ["the last usable one stays in force", "the configuration can be used again"] {
        assert!(daemon.log().contains(line), "{line}\n{}", daemon.log());
    }
}

#[test]
fn no_line_is_lost_when_logs_are_moved_away() {
    let work = served();
    let module = module(&work).line("transfer logging = yes").line("log format = sent %f");
    let daemon = Daemon::start(Side::Ours, "reverse lookup = no", &[module]);
    let log = daemon.file("log");
    for number in 0..12 {
        assert_eq!(end(daemon.pull("m/small", &["-I"], &work.join("got"))), (0, String::new()));
        if number % 3 == 0 {
            wait_until("a log", || log.exists());
            fs::rename(&log, work.join(format!("log.{number}"))).unwrap();
        }
    }
    let lines = || {
        let moved = (0..12).map(|number| work.join(format!("log.{number}")));
        let texts = moved.chain([log.clone()]).map(|path| fs::read_to_string(path).unwrap_or_default());
        texts.map(|text| text.matches("] sent small\n").count()).sum::<usize>()
    };
    wait_until("the last line", || lines() == 12);
}

#[test]
fn a_module_may_go_and_come_back() {
    let work = served();
    let daemon = Daemon::start(Side::Ours, "reverse lookup = no", &[module(&work)]);
    let got = work.join("got");
    let small = |expected: &str| {
        assert_eq!(end(daemon.pull("m/small", &["-I"], &got)), (0, String::new()), "{}", daemon.log());
        assert_eq!(fs::read_to_string(&got).unwrap(), expected);
    };
    small("small");
    fs::rename(work.join("root"), work.join("away")).unwrap();
    let (code, errors) = end(daemon.pull("m/small", &[], &got));
    assert!(code == 5 && errors.contains("@ERROR: chdir failed"), "{code} {errors}");
    // Another directory of that name is another module, though the worker of the first is still there.
    fs::create_dir(work.join("root")).unwrap();
    fs::write(work.join("root/small"), "other").unwrap();
    small("other");
    fs::remove_dir_all(work.join("root")).unwrap();
    fs::rename(work.join("away"), work.join("root")).unwrap();
    small("small");
    // One that goes while it is sent.
    let client = daemon.pull("m/", &["-r", "--bwlimit=1000", "--inplace"], &work.join("tree"));
    wait_until("a transfer", || work.join("tree/big").metadata().is_ok_and(|found| found.len() > 0));
    fs::remove_dir_all(work.join("root")).unwrap();
    let (code, errors) = end(client);
    assert!(matches!(code, 0 | 23 | 24), "{code} {errors}");
    assert!(fs::read(work.join("tree/big")).unwrap() == random(SIZE, 1), "what was open is sent whole");
}

/// A daemon that starts with this limit of its shell.
fn limited(limit: &str, work: &Work) -> Daemon {
    let script = work.join("limited");
    let program = Side::Ours.daemon()[0].display().to_string();
    fs::write(&script, format!("#!/bin/sh\nulimit {limit}\nexec {program} \"$@\"\n")).unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    Daemon::started_by(&[script], "reverse lookup = no\nlisten backlog = 128", &[module(work)])
}

#[test]
fn a_worker_without_descriptors_turns_away_new_sessions_and_keeps_the_others() {
    let work = served();
    let daemon = limited("-n 48", &work);
    let slow = |number: usize| daemon.pull("m/big", &["--bwlimit=1500"], &work.join(format!("got{number}")));
    let first = slow(0);
    wait_until("a session", || daemon.log().contains("building file list"));
    let others: Vec<Child> = (1..25).map(slow).collect();
    assert_eq!(end(first), (0, String::new()), "{}", daemon.log());
    let codes: Vec<i32> = others.into_iter().map(|client| end(client).0).collect();
    assert!(codes.iter().any(|&code| code != 0), "the limit was never met");
    assert_eq!(daemon.workers().len(), 1, "{}", daemon.log());
    wait_until("service", || daemon.lists());
}

#[test]
fn a_worker_without_memory_ends_alone() {
    let work = served();
    // Only who has a process's identity may limit it.
    let module = Module::new("m", &work.join("root"));
    let daemon = Daemon::start(Side::Ours, "reverse lookup = no", &[module]);
    assert!(daemon.lists());
    let worker = daemon.workers()[0];
    let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let size: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
    let limit = rustix::process::Rlimit {
        current: Some((size + (96 << 10)) << 10),
        maximum: Some((size + (96 << 10)) << 10),
    };
    let pid = Pid::from_raw(worker);
    rustix::process::prlimit(pid, rustix::process::Resource::As, limit).unwrap();
    // Names of files are kept until all of them are there.
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port())).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"@RSYNCD: 30.0\nm\n--server\0--sender\0-re.LsfxCIu\0--files-from=-\0--from0\0.\0m/\0\0")
        .unwrap();
    stream.write_all(&data_frame(&[0; 4])).unwrap();
    let names = data_frame(&[&[b'x'; 4000][..], b"\0"].concat().repeat(250));
    let deadline = Instant::now() + PATIENCE;
    while stream.write_all(&names).is_ok() {
        assert!(Instant::now() < deadline, "names without end");
    }
    wait_until("another worker", || daemon.lists() && daemon.workers().len() == 2);
    assert!(
        daemon.log().contains(&format!("worker process {worker} lost the session of")),
        "{}",
        daemon.log()
    );
}
