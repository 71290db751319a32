//! Connections that break and programs that die: what is left behind, and how the next run goes on.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rsync_e2e::mount::Tmpfs;
use rsync_e2e::outcome::{Outcome, Running};
use rsync_e2e::program::{is_root, require_root};
use rsync_e2e::pull::{destination_of, environment};
use rsync_e2e::tree::random;
use rsync_e2e::{Compare, ProxyPlan, Pull, Side, Snapshot, Tree, Work, run, shell, wait_until};
use rustix::process::Signal;

const BIG: usize = 4 << 20;

fn big() -> Tree {
    Tree::new().random("big", BIG, 1).file("small", "s")
}

#[test]
fn a_pull_interrupted_mid_file_leaves_the_old_content() {
    let pull = Pull::new(big()).onto(Tree::new().file("big", "old"));
    let cut = ProxyPlan { cut_after: Some(2 << 20), ..ProxyPlan::default() };
    let pulled = pull.run_through(pull.prepare(), cut);
    pulled.outcome.expect_code(12);
    assert_eq!(std::fs::read(pulled.work.join("destination/big")).unwrap(), b"old");
    assert_eq!(
        pulled.destination.names().filter(|name| name.starts_with(b".big")).count(),
        0,
        "{}",
        pulled.destination
    );
    let again = pull.run_in(pulled.work);
    again.outcome.expect_ok();
    again.destination.assert_same(&Snapshot::take(&again.work.join("source")), Compare::ALL);
}

#[test]
fn a_pull_cut_anywhere_ends_with_a_stream_error_and_can_be_repeated() {
    let tree = Tree::new().random("a", 200_000, 1).many("many", 50).random("z", 100_000, 2);
    for cut_after in [0, 1, 7, 30, 100, 500, 2000, 5000, 50_000, 250_000] {
        let pull = Pull::new(tree.clone());
        let cut = ProxyPlan { cut_after: Some(cut_after), ..ProxyPlan::default() };
        let pulled = pull.run_through(pull.prepare(), cut);
        assert!(
            matches!(pulled.outcome.code, 5 | 10 | 12),
            "cut after {cut_after}: code {}\n{}",
            pulled.outcome.code,
            pulled.outcome.stderr
        );
        let again = pull.run_in(pulled.work);
        again.outcome.expect_ok();
        again.destination.assert_same(&Snapshot::take(&again.work.join("source")), Compare::ALL);
    }
}

#[test]
fn a_cut_pull_keeps_what_partial_asks_for() {
    let cut = ProxyPlan { cut_after: Some(2 << 20), ..ProxyPlan::default() };
    let pull = Pull::new(big()).option("--partial");
    let pulled = pull.run_through(pull.prepare(), cut);
    pulled.outcome.expect_code(12);
    let kept = std::fs::read(pulled.work.join("destination/big")).unwrap();
    assert!(kept.len() > 1 << 20 && random(BIG, 1).starts_with(&kept), "{} bytes kept", kept.len());

    let pull = Pull::new(big()).option("--partial-dir=.part");
    let pulled = pull.run_through(pull.prepare(), cut);
    pulled.outcome.expect_code(12);
    assert!(!pulled.work.join("destination/big").exists());
    let kept = std::fs::read(pulled.work.join("destination/.part/big")).unwrap();
    assert!(kept.len() > 1 << 20 && random(BIG, 1).starts_with(&kept), "{} bytes kept", kept.len());
    let again = pull.run_in(pulled.work);
    again.outcome.expect_ok();
    again.destination.assert_same(&Snapshot::take(&again.work.join("source")), Compare::ALL);
}

#[test]
fn a_killed_pull_never_shows_a_half_file_under_its_name() {
    for bytes in [100_000, 1 << 20, 3 << 20] {
        let pull = Pull::new(big()).onto(Tree::new().file("big", "old"));
        let killed = pull.kill_after(pull.prepare(), bytes);
        killed.outcome.expect_code(128 + 9);
        assert_eq!(std::fs::read(killed.work.join("destination/big")).unwrap(), b"old");
        let again = pull.clone().option("--delete").run_in(killed.work);
        again.outcome.expect_ok();
        again.destination.assert_same(&Snapshot::take(&again.work.join("source")), Compare::ALL);
    }
}

#[test]
fn a_silent_peer_is_given_up_after_the_timeout() {
    let pull = Pull::new(big()).option("--timeout=2");
    let stall = ProxyPlan { stall_after: Some(1 << 20), ..ProxyPlan::default() };
    let start = std::time::Instant::now();
    let pulled = pull.run_through(pull.prepare(), stall);
    pulled.outcome.expect_code(30);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn small_segments_and_pauses_do_no_harm() {
    let plan = ProxyPlan { piece: 97, pause: Duration::from_micros(50), ..ProxyPlan::default() };
    for (client, server) in [(Side::Ours, Side::C), (Side::C, Side::Ours)] {
        let tree = Tree::new().random("a", 50_000, 1).many("many", 200).hard_link("b", "a");
        let pull = Pull::new(tree).between(client, server).option("-Hz");
        let pulled = pull.run_through(pull.prepare(), plan);
        pulled.outcome.expect_ok();
        pulled.destination.assert_same(&Snapshot::take(&pulled.work.join("source")), Compare::ALL);
    }
}

#[test]
fn a_full_disk_ends_the_run_with_a_file_error() {
    require_root();
    let pull = Pull::new(big());
    let work = pull.prepare();
    let Some(_tmpfs) = Tmpfs::mount(&work.join("destination"), 1 << 20) else { return };
    let daemon = rsync_e2e::Daemon::serving(Side::C, &work.join("source"));
    let outcome = run(&mut pull.daemon_command(&work, daemon.port()));
    outcome.expect_code(11).expect_error_text("No space left on device (28)");
    assert!(!work.join("destination/big").exists());
}

#[test]
fn a_client_that_dies_does_not_stop_the_daemon() {
    for server in [Side::C, Side::Ours] {
        let pull = Pull::new(big()).between(Side::C, server);
        let killed = pull.kill_after(pull.prepare(), 1 << 20);
        let daemon = rsync_e2e::Daemon::serving(server, &killed.work.join("source"));
        for _ in 0..3 {
            drop(std::net::TcpStream::connect(("127.0.0.1", daemon.port())).unwrap());
        }
        run(&mut pull.daemon_command(&killed.work, daemon.port())).expect_ok();
        destination_of(&killed.work)
            .differences(&Snapshot::take(&killed.work.join("source")), Compare::CONTENT)
            .iter()
            .for_each(|line| assert!(line.contains("only on the left"), "{line}"));
    }
}

/// Which way the data goes in a run that a signal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Local,
    Pull,
    Push,
}

/// A slow run of `side` with these options, whose file has begun to grow.
fn slow(work: &Work, side: Side, way: Way, options: &[&str]) -> Running {
    slow_by(Command::new(side.rsync()), work, side, way, options)
}

/// The same by a command that ends in the program of `side`.
fn slow_by(mut command: Command, work: &Work, side: Side, way: Way, options: &[&str]) -> Running {
    environment(&mut command);
    command.current_dir(work.path()).args(["-a", "--bwlimit=700"]).args(options);
    if way != Way::Local {
        command.arg("-e").arg(shell::plain(work)).arg("--rsync-path").arg(side.rsync());
    }
    let far = |name: &str| format!("host:{}/{name}/", work.path().display());
    match way {
        Way::Local => command.args(["source/", "destination/"]),
        Way::Pull => command.arg(far("source")).arg("destination/"),
        Way::Push => command.arg("source/").arg(far("destination")),
    };
    let before = files(work);
    let mut running = Running::start(&mut command);
    wait_until("data", || {
        assert!(running.is_running(), "{side:?} {way:?}: nothing arrives");
        let now = files(work);
        now != before && now.iter().any(|name| !name.ends_with(" 0"))
    });
    running
}

/// A slow run that is sent `signal` under way. Answers the work, the outcome, and the names and sizes of
/// files in the destination once nothing changes.
fn signalled(side: Side, way: Way, options: &[&str], signal: Signal) -> (Work, Outcome, Vec<String>) {
    let work = Work::new();
    Tree::new().random("big", 3 << 20, 7).write(&work.join("source"));
    Tree::new().write(&work.join("destination"));
    let running = slow(&work, side, way, options);
    running.signal_leader(signal);
    let deadline = Instant::now() + Duration::from_secs(20);
    let outcome = running.finish();
    // The far end of a push leaves a moment later.
    let mut before = Vec::new();
    let mut now = files(&work);
    while before != now || now.iter().any(|name| name.contains(".big.")) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(60));
        (before, now) = (now, files(&work));
    }
    (work, outcome, now)
}

/// The regular files below the destination.
fn entries(work: &Work) -> Vec<(PathBuf, Metadata)> {
    let mut found = Vec::new();
    for directory in ["destination", "destination/.part", "destination/.~tmp~"] {
        for entry in std::fs::read_dir(work.join(directory)).into_iter().flatten().flatten() {
            let facts = entry.metadata().ok().filter(Metadata::is_file);
            found.extend(facts.map(|facts| (entry.path(), facts)));
        }
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

/// Names and sizes of the files below the destination.
fn files(work: &Work) -> Vec<String> {
    let name = |path: &Path| path.strip_prefix(work.path()).map(|path| path.display().to_string());
    let entries = entries(work).into_iter();
    entries.filter_map(|(path, facts)| Some(format!("{} {}", name(&path).ok()?, facts.len()))).collect()
}

/// The name alone.
fn names(files: &[String]) -> Vec<&str> {
    files.iter().filter_map(|file| file.split(' ').next()).collect()
}

fn a_signal_ends_it_like_c(way: Way) {
    for (options, signal) in [
        (&[][..], Signal::INT),
        (&["--partial"], Signal::TERM),
        (&["--partial-dir=.part"], Signal::HUP),
        (&["--inplace"], Signal::INT),
        (&["--delay-updates", "--partial"], Signal::TERM),
    ] {
        let (_, theirs, c_files) = signalled(Side::C, way, options, signal);
        let (work, ours, our_files) = signalled(Side::Ours, way, options, signal);
        let what = format!("{way:?} {options:?} {signal:?}\n{}\nC: {}", ours.stderr, theirs.stderr);
        assert_eq!((ours.code, theirs.code), (20, 20), "{what}");
        let text = "rsync error: received SIGINT, SIGTERM, or SIGHUP (code 20) at ";
        assert!(ours.stderr.to_string().contains(text), "{what}");
        assert_eq!(names(&our_files), names(&c_files), "{what}");
        // What was kept is the beginning of the file, and the next run completes it.
        if let Some(kept) = our_files.first().and_then(|file| file.split(' ').next()) {
            let kept = std::fs::read(work.join(kept)).expect("kept");
            let whole = std::fs::read(work.join("source/big")).expect("there");
            assert!(!kept.is_empty() && whole.starts_with(&kept), "{what}");
        }
        let mut again = Command::new(Side::Ours.rsync());
        environment(&mut again);
        let again = again.current_dir(work.path()).arg("-a").args(options).args(["source/", "destination/"]);
        run(again).expect_ok();
        Snapshot::take(&work.join("destination"))
            .assert_same(&Snapshot::take(&work.join("source")), Compare::ALL);
    }
}

#[test]
fn a_signal_ends_a_local_copy_and_keeps_what_partial_asks_for() {
    a_signal_ends_it_like_c(Way::Local);
}

#[test]
fn a_signal_ends_a_pull_and_keeps_what_partial_asks_for() {
    a_signal_ends_it_like_c(Way::Pull);
}

#[test]
fn a_signal_ends_a_push_and_the_server_keeps_what_partial_asks_for() {
    a_signal_ends_it_like_c(Way::Push);
}

/// Spec 10 SEC-057: whatever mode it is to have, nobody else reads or writes what is not complete.
#[test]
fn an_unfinished_file_is_its_owners_alone() {
    let len = 3 << 20;
    for (way, options) in [
        (Way::Local, &[][..]),
        (Way::Pull, &["--chmod=F666"]),
        (Way::Push, &["--delay-updates"]),
        (Way::Pull, &["--partial-dir=.part"]),
    ] {
        let work = Work::new();
        Tree::new().random("big", len, 7).mode("big", 0o666).write(&work.join("source"));
        Tree::new().dir(".part").mode("", 0o777).write(&work.join("destination"));
        let mut running = slow(&work, Side::Ours, way, options);
        let mut seen = 0;
        while running.is_running() {
            let unfinished = entries(&work).into_iter().filter(|(_, facts)| facts.len() < len as u64);
            for (path, facts) in unfinished {
                assert_eq!(facts.mode() & 0o7777, 0o600, "{way:?} {options:?}: {}", path.display());
                seen += 1;
            }
            thread::sleep(Duration::from_millis(5));
        }
        running.finish().expect_ok();
        assert!(seen > 0, "{way:?} {options:?}");
        let facts = std::fs::metadata(work.join("destination/big")).expect("arrived");
        assert_eq!(facts.mode() & 0o7777, 0o666, "{way:?} {options:?}");
    }
}

/// Spec 10 SEC-014.
#[test]
fn a_killed_update_in_place_leaves_the_mode_as_it_was() {
    for (way, uid) in [(Way::Local, 0), (Way::Push, 0), (Way::Pull, 0), (Way::Local, 65_534)] {
        if uid != 0 && !is_root() {
            continue;
        }
        let work = Work::new();
        let source = Tree::new().random("big", 3 << 20, 7).mode("big", 0o666);
        source.write(&work.join("source"));
        let old = Tree::new().random("big", 1 << 20, 8).mode("big", 0o444);
        old.write(&work.join("destination"));
        let mut command = Command::new(Side::Ours.rsync());
        if uid != 0 {
            chown(work.join("destination"), Some(uid), Some(uid)).expect("chown");
            chown(work.join("destination/big"), Some(uid), Some(uid)).expect("chown");
            command = Command::new("setpriv");
            command.args([&format!("--reuid={uid}"), &format!("--regid={uid}"), "--clear-groups"]);
            command.arg(Side::Ours.rsync());
        }
        let running = slow_by(command, &work, Side::Ours, way, &["--inplace", "--no-whole-file"]);
        let mode = || std::fs::metadata(work.join("destination/big")).expect("there").mode() & 0o7777;
        assert_eq!(mode(), 0o444, "{way:?} by {uid}");
        running.kill();
        running.finish().expect_code(137);
        assert_eq!(mode(), 0o444, "{way:?} by {uid}");
    }
}

#[test]
fn a_signal_ends_a_server_that_waits() {
    for (signal, options) in [
        (Signal::INT, &["--server", "-re.LsfxCIu", ".", "d"][..]),
        (Signal::TERM, &["--server", "--sender", "-re.LsfxCIu", ".", "."]),
        (Signal::HUP, &["--server", "-re.LsfxCIu", ".", "d"]),
    ] {
        let work = Work::new();
        let mut command = Command::new(Side::Ours.rsync());
        environment(&mut command);
        command.current_dir(work.path()).args(options).stdin(Stdio::piped());
        let mut running = Running::start_fed(&mut command);
        thread::sleep(Duration::from_millis(150));
        assert!(running.is_running(), "{options:?} left before it was told to");
        running.signal_leader(signal);
        let outcome = running.finish();
        assert_eq!(outcome.code, 20, "{signal:?}: {}", outcome.stderr);
    }
}
