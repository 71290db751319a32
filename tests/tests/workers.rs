//! Our daemon's worker processes: many clients, identities, crashes, limits and the end.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Child;

use rsync_e2e::daemon::{Module, end};
use rsync_e2e::program::{is_root, require_root};
use rsync_e2e::tree::random;
use rsync_e2e::{Compare, Daemon, Side, Snapshot, Tree, Work, wait_until};
use rustix::process::{Pid, Signal, kill_process};

const CLIENTS: usize = 60;
const SIZE: usize = 4 << 20;

/// A directory with modules in it, which everybody may enter.
fn open_work() -> Work {
    let work = Work::new();
    fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755)).unwrap();
    work
}

/// A module for nobody with one large file.
fn big_module(work: &Work) -> Module {
    let root = work.join("served");
    Tree::new().file("big", random(SIZE, 1)).file("small", "s").write(&root);
    let module = Module::new("m", &root);
    if is_root() { module.line("uid = nobody").line("gid = nogroup") } else { module }
}

/// Ends a client with all of its processes.
fn interrupt(mut client: Child) {
    kill_process(Pid::from_child(&client), Signal::TERM).unwrap();
    client.wait().unwrap();
}

#[track_caller]
fn wait_for_data(destination: &Path) {
    wait_until("a transfer", || {
        let mut found = fs::read_dir(destination).into_iter().flatten().flatten();
        found.any(|entry| entry.metadata().is_ok_and(|found| found.len() > 0))
    });
}

#[test]
fn sixty_clients_at_once_are_served_by_a_process_for_each_identity() {
    require_root();
    let work = open_work();
    let mut modules = Vec::new();
    for (name, id) in [("one", 1), ("two", 2)] {
        let root = work.join(name);
        Tree::new().file(name, random(300_000, id.into())).many("many", 40).write(&root);
        // Only its own identity can read a module's file.
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o400)).unwrap();
        chown(root.join(name), Some(id), Some(id)).unwrap();
        let ids = [format!("uid = {id}"), format!("gid = {id}")];
        modules.push(Module::new(name, &root).line(&ids[0]).line(&ids[1]));
    }
    let daemon = Daemon::start(Side::Ours, "", &modules);
    let name = |number: usize| ["one", "two"][number % 2];
    let destination = |number: usize| work.join(format!("destination{number}"));
    let clients: Vec<Child> = (0..CLIENTS)
        .map(|number| daemon.pull(&format!("{}/", name(number)), &[], &destination(number)))
        .collect();
    for (number, client) in clients.into_iter().enumerate() {
        assert_eq!(end(client), (0, String::new()), "client {number}\n{}", daemon.log());
        let expected = Snapshot::take(&work.join(name(number)));
        Snapshot::take(&destination(number)).assert_same(&expected, Compare::CONTENT);
    }
    assert_eq!(daemon.workers().len(), 2, "{}", daemon.log());
}

#[test]
fn a_worker_is_its_module_s_user_for_good() {
    require_root();
    let work = open_work();
    let daemon = Daemon::start(Side::Ours, "", &[big_module(&work)]);
    assert_eq!(end(daemon.pull("m/small", &[], &work.join("got"))), (0, String::new()));
    let pid = daemon.workers()[0];
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(field("Uid:"), "65534 65534 65534 65534");
    assert_eq!(field("Gid:"), "65534 65534 65534 65534");
    assert_eq!(field("Groups:"), "65534");
    assert_eq!(field("CapPrm:"), "0000000000000000");
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Seccomp:"), "2", "a filter of system calls");
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(5), Some("0"), "{core}");
}

#[test]
fn a_worker_that_is_killed_takes_only_its_own_sessions_along() {
    let work = open_work();
    let daemon = Daemon::start(Side::Ours, "", &[big_module(&work)]);
    let client = daemon.pull("m/", &["--bwlimit=500", "--inplace"], &work.join("cut"));
    wait_for_data(&work.join("cut"));
    let worker = daemon.workers()[0];
    kill_process(Pid::from_raw(worker).unwrap(), Signal::KILL).unwrap();
    let (code, errors) = end(client);
    assert!(matches!(code, 10 | 12), "{code}: {errors}");
    assert_eq!(end(daemon.pull("m/", &[], &work.join("whole"))), (0, String::new()), "{}", daemon.log());
    assert!(fs::read(work.join("whole/big")).unwrap() == random(SIZE, 1));
    assert_eq!(daemon.workers().len(), 2);
    assert!(daemon.log().contains(&format!("worker process {worker} lost the session of")));
}

#[test]
fn slots_are_shared_with_the_c_daemon_and_come_back() {
    let work = open_work();
    let lock = format!("lock file = {}", work.join("lock").display());
    let module = big_module(&work).line("max connections = 2").line(&lock);
    let ours = Daemon::start(Side::Ours, "", std::slice::from_ref(&module));
    let theirs = Daemon::start(Side::C, "", &[module]);
    let slow = ["--bwlimit=200", "--inplace"];
    let (first, second) =
        (ours.pull("m/", &slow, &work.join("first")), theirs.pull("m/", &slow, &work.join("second")));
    wait_for_data(&work.join("first"));
    wait_for_data(&work.join("second"));
    for daemon in [&ours, &theirs] {
        let (code, errors) = end(daemon.pull("m/small", &[], &work.join("third")));
        assert_eq!(code, 5);
        assert!(errors.contains("max connections (2) reached -- try again later"), "{errors}");
    }
    interrupt(first);
    for daemon in [&theirs, &ours] {
        wait_until("a free slot", || end(daemon.pull("m/small", &[], &work.join("third"))).0 == 0);
    }
    interrupt(second);
}

#[test]
fn sessions_end_in_peace_when_the_daemon_is_told_to_stop() {
    let work = open_work();
    let mut daemon = Daemon::start(Side::Ours, "", &[big_module(&work)]);
    let client = daemon.pull("m/", &["--bwlimit=2000", "--inplace"], &work.join("got"));
    wait_for_data(&work.join("got"));
    // As a service manager does: every process of the group is told.
    assert_eq!(daemon.terminate(), Some(0));
    assert_eq!(end(client), (0, String::new()), "{}", daemon.log());
    assert!(fs::read(work.join("got/big")).unwrap() == random(SIZE, 1));
    let gone = |pid: &i32| !Path::new(&format!("/proc/{pid}")).exists();
    assert!(daemon.workers().iter().all(gone));
}

#[test]
fn owners_have_their_names_though_the_worker_cannot_look_them_up() {
    require_root();
    let work = open_work();
    let root = work.join("named");
    Tree::new().file("of daemon", "x").owner("of daemon", 1, 1).write(&root);
    let module = Module::new("m", &root).line("uid = nobody").line("gid = nogroup");
    let daemon = Daemon::start(Side::Ours, "", &[module]);
    // The name decides: the mapping would not apply to a bare number.
    let options = ["-og", "--usermap=daemon:7", "--groupmap=daemon:8"];
    assert_eq!(end(daemon.pull("m/", &options, &work.join("got"))), (0, String::new()));
    let got = fs::metadata(work.join("got/of daemon")).unwrap();
    assert_eq!(
        (std::os::unix::fs::MetadataExt::uid(&got), std::os::unix::fs::MetadataExt::gid(&got)),
        (7, 8)
    );
}
