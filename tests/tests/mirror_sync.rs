//! `rsync-mirror sync` with daemons of both implementations: guards before the first change, upstreams that
//! fail, locks, two stages, trace files, hooks, immutable files (spec 11 §2).

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use rsync_e2e::daemon::{Module, free_port, url};
use rsync_e2e::immutable::Immutable;
use rsync_e2e::outcome::Running;
use rsync_e2e::tls::Certificates;
use rsync_e2e::{
    Compare, Daemon, Mirror, Outcome, Proxy, ProxyPlan, Side, Snapshot, Tree, Work, program, run, wait_until,
};

const BOTH: [Side; 2] = [Side::C, Side::Ours];

/// Ten files and a link in two directories.
fn upstream(place: &Path) {
    let names = ["a", "b", "c", "d", "e", "dir/f", "dir/g", "dir/h", "dir/i", "dir/j"];
    let tree = names.iter().fold(Tree::new(), |tree, name| tree.random(name, 3000, name.len() as u64));
    tree.symlink("latest", "dir/j").write(place);
}

/// A daemon of `side` that serves such a tree as `m`.
fn serving(side: Side) -> (Work, Daemon) {
    let work = Work::new();
    upstream(&work.join("up"));
    let daemon = Daemon::serving(side, &work.join("up"));
    (work, daemon)
}

/// The name that a refusal asks to be accepted by.
fn run_id(outcome: &Outcome) -> String {
    let text = outcome.stderr.to_string();
    let id = text.split("--accept=").nth(1).expect("a name").trim();
    id.to_owned()
}

#[test]
fn a_mirror_is_as_its_upstream_and_finds_nothing_to_do_the_second_time() {
    for side in BOTH {
        let ((work, daemon), mirror) = (serving(side), Mirror::new());
        let sync = || run(&mut mirror.sync(&daemon.url("m/"), ["--json"]));
        sync().expect_ok();
        Snapshot::take(&work.join("up")).assert_same(&Snapshot::take(&mirror.tree()), Compare::ALL);
        let again: serde_json::Value = serde_json::from_slice(&sync().stdout).expect("a record");
        assert_eq!((&again["unchanged"], &again["class"]), (&true.into(), &"good".into()), "{again}");
        assert_eq!(again["stats"]["files"], 10);
    }
}

#[test]
fn an_emptied_upstream_leaves_the_mirror_as_it_is() {
    for side in BOTH {
        let ((work, daemon), mirror) = (serving(side), Mirror::new());
        run(&mut mirror.sync(&daemon.url("m/"), [""; 0])).expect_ok();
        let before = Snapshot::take(&mirror.tree());
        fs::remove_dir_all(work.join("up")).unwrap();
        fs::create_dir(work.join("up")).unwrap();
        let outcome = run(&mut mirror.sync(&daemon.url("m/"), [""; 0]));
        outcome.expect_code(25).expect_error_text("the upstream's list is empty");
        before.assert_same(&Snapshot::take(&mirror.tree()), Compare::ALL);
    }
}

#[test]
fn a_vanished_module_is_a_failure_and_deletes_nothing() {
    for side in BOTH {
        let ((work, daemon), mirror) = (serving(side), Mirror::new());
        run(&mut mirror.sync(&daemon.url("m/"), [""; 0])).expect_ok();
        let before = Snapshot::take(&mirror.tree());
        fs::remove_dir_all(work.join("up")).unwrap();
        let outcome = run(&mut mirror.sync(&daemon.url("m/"), ["--attempts=1"]));
        assert_ne!(outcome.code, 0, "{}", outcome.stderr);
        before.assert_same(&Snapshot::take(&mirror.tree()), Compare::ALL);
    }
}

#[test]
fn a_shrunken_upstream_is_refused_until_somebody_accepts_it() {
    let ((work, daemon), mirror) = (serving(Side::C), Mirror::new());
    run(&mut mirror.sync(&daemon.url("m/"), [""; 0])).expect_ok();
    fs::remove_dir_all(work.join("up/dir")).unwrap();
    fs::remove_file(work.join("up/a")).unwrap();
    let before = Snapshot::take(&mirror.tree());
    let refused = run(&mut mirror.sync(&daemon.url("m/"), [""; 0]));
    refused.expect_code(25).expect_error_text("and had 13 at the last good run");
    before.assert_same(&Snapshot::take(&mirror.tree()), Compare::ALL);
    let accept = format!("--accept={}", run_id(&refused));
    run(&mut mirror.sync(&daemon.url("m/"), [&accept])).expect_ok();
    Snapshot::take(&work.join("up")).assert_same(&Snapshot::take(&mirror.tree()), Compare::ALL);
    run(&mut mirror.sync(&daemon.url("m/"), [&accept])).expect_code(78);
}

#[test]
fn too_many_deletions_are_refused_before_anything_is_deleted_and_a_plan_tells_so() {
    for side in BOTH {
        let ((work, daemon), mirror) = (serving(side), Mirror::new());
        run(&mut mirror.sync(&daemon.url("m/"), [""; 0])).expect_ok();
        for name in ["a", "b", "dir/f"] {
            fs::remove_file(work.join("up").join(name)).unwrap();
        }
        fs::write(work.join("up/new"), "new").unwrap();
        let before = Snapshot::take(&mirror.tree());
        for words in [["--max-delete=2"], ["--max-delete=10%"]] {
            let plan = run(&mut mirror.plan(&daemon.url("m/"), words));
            plan.expect_code(25).expect_error_text("a guard would refuse: 3 deletions");
            assert!(plan.stdout.to_string().contains("create  new\n"), "{}", plan.stdout);
            run(&mut mirror.sync(&daemon.url("m/"), words)).expect_code(25);
        }
        before.assert_same(&Snapshot::take(&mirror.tree()), Compare::ALL);
        run(&mut mirror.sync(&daemon.url("m/"), ["--max-delete=3"])).expect_ok();
        Snapshot::take(&work.join("up")).assert_same(&Snapshot::take(&mirror.tree()), Compare::ALL);
    }
}

#[test]
fn a_daemon_that_is_away_is_replaced_by_the_next_and_asked_again_later() {
    let ((work, daemon), mirror) = (serving(Side::C), Mirror::new());
    let port = free_port();
    let spare = format!("0@{}", daemon.url("m/"));
    let words = ["--upstream", &spare, "--json"];
    let sync = || {
        let outcome = run(&mut mirror.sync(&url(port, "m/"), words));
        let record: serde_json::Value = serde_json::from_slice(&outcome.stdout).expect("a record");
        record["upstream"].as_str().expect("a URL").to_owned()
    };
    assert_eq!(sync(), daemon.url("m/"));
    Snapshot::take(&work.join("up")).assert_same(&Snapshot::take(&mirror.tree()), Compare::ALL);
    // A daemon that answers and has no such module is no upstream either.
    let other = Daemon::serving(Side::Ours, &work.join("up"));
    let outcome = run(&mut mirror.sync(&other.url("none/"), words));
    outcome.expect_ok();
    assert!(outcome.stdout.to_string().contains(&daemon.url("m/")), "{}", outcome.stdout);
    assert_eq!(run(&mut mirror.sync(&other.url("m/"), words)).code, 0);
}

#[test]
fn a_connection_that_is_cut_is_tried_again_and_one_that_stalls_times_out() {
    let (work, daemon) = serving(Side::C);
    let cuts = Proxy::start(daemon.port(), ProxyPlan { cut_after: Some(2000), ..ProxyPlan::default() });
    let mirror = Mirror::new();
    let outcome = run(&mut mirror.sync(&url(cuts.port(), "m/"), ["--attempts=2"]));
    outcome.expect_code(12).expect_error_text("next attempt in");
    let proxy = Proxy::start(daemon.port(), ProxyPlan { stall_after: Some(2000), ..ProxyPlan::default() });
    let stalls = url(proxy.port(), "m/");
    run(&mut mirror.sync(&stalls, ["--attempts=1", "--io-timeout=1s"])).expect_code(30);
    let total = run(&mut mirror.sync(&stalls, ["--timeout=1s"]));
    total.expect_code(30).expect_error_text("timeout after 1s");
    run(&mut mirror.sync(&daemon.url("m/"), [""; 0])).expect_ok();
    Snapshot::take(&work.join("up")).assert_same(&Snapshot::take(&mirror.tree()), Compare::ALL);
}

#[test]
fn a_busy_daemon_is_tried_again_and_an_unknown_module_is_not() {
    let work = Work::new();
    upstream(&work.join("up"));
    let full = Module::new("m", &work.join("up")).line("max connections = -1");
    let daemon = Daemon::start(Side::C, "", &[full]);
    let mirror = Mirror::new();
    let attempts = |module: &str| {
        let words = ["--attempts=3", "--json"];
        let outcome = run(&mut mirror.sync(&daemon.url(module), words));
        outcome.expect_code(5);
        let record: serde_json::Value = serde_json::from_slice(&outcome.stdout).expect("a record");
        (record["attempt"].as_u64(), record["class"].as_str().map(str::to_owned))
    };
    assert_eq!(attempts("none/"), (Some(1), Some("permanent".to_owned())));
    let (tried, class) = attempts("m/");
    assert!(tried == Some(3) && class.as_deref() == Some("transient"), "{tried:?} {class:?}");
}

#[test]
fn whoever_holds_the_lock_keeps_a_mirror_from_running_and_the_other_way_round() {
    let ((_work, daemon), mirror) = (serving(Side::C), Mirror::new());
    let lock = mirror.file("lock");
    let held = format!("--lock-file={}", lock.display());
    let waits = format!(
        "--hook=pre-exec=sh -c 'touch {0}/started; while test ! -e {0}/go; do sleep 0.02; done'",
        mirror.file("").display()
    );
    let first = Running::start(&mut mirror.sync(&daemon.url("m/"), [&held, &waits]));
    wait_until("the first run", || mirror.file("started").exists());
    let flock = run(Command::new("flock").arg("-n").arg(&lock).arg("true"));
    flock.expect_code(1);
    run(&mut mirror.sync(&daemon.url("m/"), [&held]))
        .expect_code(75)
        .expect_error_text("is locked by process");
    run(&mut mirror.sync(&daemon.url("m/"), ["--name=other"])).expect_code(75);
    fs::write(mirror.file("go"), "").unwrap();
    first.finish().expect_ok();
    let script =
        format!("touch {0}/held; while test ! -e {0}/free; do sleep 0.02; done", mirror.file("").display());
    let other = Running::start(Command::new("flock").arg(&lock).args(["sh", "-c", &script]));
    wait_until("the other's lock", || mirror.file("held").exists());
    run(&mut mirror.sync(&daemon.url("m/"), [&held])).expect_code(75).expect_error_text("is locked");
    fs::write(mirror.file("free"), "").unwrap();
    other.finish().expect_ok();
    run(&mut mirror.sync(&daemon.url("m/"), [&held])).expect_ok();
}

#[test]
fn a_killed_run_frees_its_locks_and_the_next_one_completes_the_mirror() {
    let ((work, daemon), mirror) = (serving(Side::C), Mirror::new());
    let waits = format!("--hook=pre-publish=sh -c 'touch {}; sleep 600'", mirror.file("started").display());
    let first = Running::start(&mut mirror.sync(&daemon.url("m/"), [waits]));
    wait_until("the run", || mirror.file("started").exists());
    first.kill();
    first.finish().expect_code(137);
    run(&mut mirror.sync(&daemon.url("m/"), [""; 0])).expect_ok();
    Snapshot::take(&work.join("up")).assert_same(&Snapshot::take(&mirror.tree()), Compare::ALL);
}

#[test]
fn the_first_of_two_stages_brings_packages_and_the_second_the_indexes_that_name_them() {
    let work = Work::new();
    let old = Tree::new().file("pool/a_1.deb", "1").file("dists/stable/Release", "1");
    old.write(&work.join("up"));
    let daemon = Daemon::serving(Side::C, &work.join("up"));
    let mirror = Mirror::new();
    run(&mut mirror.sync(&daemon.url("m/"), ["--two-stage=debian"])).expect_ok();
    fs::remove_file(work.join("up/pool/a_1.deb")).unwrap();
    let new = Tree::new().file("pool/a_2.deb", "2").file("dists/stable/Release", "two");
    new.write(&work.join("up"));
    let seen = mirror.file("seen");
    let look =
        format!("--hook=stage1-done=sh -c 'ls pool > {0}; cat dists/stable/Release >> {0}'", seen.display());
    run(&mut mirror.sync(&daemon.url("m/"), ["--two-stage=debian", &look])).expect_ok();
    assert_eq!(fs::read_to_string(seen).unwrap(), "a_1.deb\na_2.deb\n1");
    Snapshot::take(&work.join("up")).assert_same(&Snapshot::take(&mirror.tree()), Compare::ALL);
}

#[test]
fn a_trace_file_is_written_after_a_good_run_and_survives_the_deletions() {
    let ((work, daemon), mirror) = (serving(Side::C), Mirror::new());
    Tree::new().file("project/trace/master", "Sat\nArchive serial: 2026112103\n").write(&work.join("up"));
    for _ in 0..2 {
        run(&mut mirror.sync(&daemon.url("m/"), ["--trace=mirror.example"])).expect_ok();
        let trace = fs::read_to_string(mirror.tree().join("project/trace/mirror.example")).unwrap();
        assert!(trace.lines().next().is_some_and(|line| line.contains(" UTC 20")), "{trace}");
        assert!(trace.contains("Archive serial: 2026112103\nCreator: rsync-mirror "), "{trace}");
        fs::remove_file(work.join("up/a")).ok();
    }
    assert!(!mirror.tree().join("a").exists());
}

#[test]
fn hooks_know_the_run_and_a_failing_one_fails_it() {
    let ((_work, daemon), mirror) = (serving(Side::C), Mirror::new());
    let note = mirror.file("note");
    let say = |phase: &str| {
        let variables = "$TUNASYNC_MIRROR_NAME $RSYNC_MIRROR_CODE $TUNASYNC_JOB_EXIT_STATUS";
        format!("--hook={phase}=sh -c 'echo {phase} {variables} >> {}'", note.display())
    };
    let words = [say("pre-job"), say("success"), say("failure"), "--name=job".to_owned()];
    run(&mut mirror.sync(&daemon.url("m/"), &words)).expect_ok();
    let fails = words.iter().cloned().chain(["--hook=post-exec=false".to_owned()]);
    let outcome = run(&mut mirror.sync(&daemon.url("m/"), fails));
    outcome.expect_code(70).expect_error_text("error exec hook post-exec: false ended with exit code 1");
    let expected = "pre-job job\nsuccess job 0 success\npre-job job\nfailure job 70 failure\n";
    assert_eq!(fs::read_to_string(&note).unwrap(), expected);
}

#[test]
fn immutable_files_keep_their_content_and_are_a_failure_unless_they_are_expected() {
    for side in BOTH {
        let ((work, daemon), mirror) = (serving(side), Mirror::new());
        run(&mut mirror.sync(&daemon.url("m/"), [""; 0])).expect_ok();
        let kept = [mirror.tree().join("a"), mirror.tree().join("dir/f")];
        let _immutable = Immutable::make(&kept);
        let before = fs::read(&kept[0]).unwrap();
        for name in ["a", "b", "dir/f"] {
            fs::write(work.join("up").join(name), "another content").unwrap();
        }
        for options in
            [&["--"][..], &["--own-options", "--", "-a"], &["--own-options", "--", "-a", "--inplace"]]
        {
            let words = ["--json"].iter().chain(options);
            let outcome = run(&mut mirror.sync(&daemon.url("m/"), words));
            outcome.expect_code(23);
            let record: serde_json::Value = serde_json::from_slice(&outcome.stdout).expect("a record");
            assert_eq!((&record["class"], &record["attempt"]), (&"immutable".into(), &1.into()), "{record}");
            let failed = record["failed"].as_array().expect("a list").iter();
            assert!(
                failed.clone().all(|path| path["errno"] == 1 && path["class"] == "immutable"),
                "{record}"
            );
            assert_eq!(failed.len(), 2, "{record}");
        }
        assert_eq!(fs::read(&kept[0]).unwrap(), before);
        assert_eq!(fs::read(mirror.tree().join("b")).unwrap(), b"another content");
        fs::remove_file(work.join("up/dir/f")).unwrap();
        let outcome = run(&mut mirror.sync(&daemon.url("m/"), ["--json"]));
        let record: serde_json::Value =
            serde_json::from_slice(&outcome.expect_code(23).stdout).expect("a record");
        let failed: Vec<_> = record["failed"].as_array().expect("a list").iter().collect();
        assert!(
            failed.iter().any(|path| path["path"] == "dir/f" && path["class"] == "immutable"),
            "{record}"
        );
        let expected = ["--expect-immutable=/a", "--expect-immutable=dir/f", "--own-options", "--", "-a"];
        run(&mut mirror.sync(&daemon.url("m/"), expected)).expect_ok();
        let left = |name: &str| fs::read_dir(mirror.tree().join(name)).unwrap().count();
        assert_eq!((left(""), left("dir")), (7, 5), "no temporary is left");
    }
}

#[test]
fn an_upstream_that_cannot_be_read_whole_fails_and_deletes_nothing() {
    program::require_root();
    let work = Work::new();
    upstream(&work.join("up"));
    let module = Module::new("m", &work.join("up")).line("uid = 65534").line("gid = 65534");
    let daemon = Daemon::start(Side::C, "", &[module]);
    let mirror = Mirror::new();
    run(&mut mirror.sync(&daemon.url("m/"), [""; 0])).expect_ok();
    fs::set_permissions(work.join("up/dir"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    fs::remove_file(work.join("up/a")).unwrap();
    fs::write(work.join("up/new"), "new").unwrap();
    let outcome = run(&mut mirror.sync(&daemon.url("m/"), ["--attempts=1", "--min-ratio=0"]));
    outcome.expect_code(23).expect_error_text("nothing is deleted this time");
    assert!(mirror.tree().join("a").exists() && mirror.tree().join("dir/f").exists());
    assert!(mirror.tree().join("new").exists());
}

#[test]
fn an_upstream_whose_trace_is_too_old_is_not_asked() {
    let ((work, daemon), mirror) = (serving(Side::C), Mirror::new());
    let stale = Work::new();
    Tree::new().file("trace", "Thu Jan  1 00:00:00 UTC 2015\n").file("a", "a").write(&stale.join("up"));
    let old = Daemon::serving(Side::Ours, &stale.join("up"));
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    fs::write(work.join("up/trace"), format!("{seconds}\n")).unwrap();
    let spare = format!("0@{}", daemon.url("m/"));
    run(&mut mirror.sync(&old.url("m/"), ["--check=trace:m/trace:1h", "--upstream", &spare])).expect_ok();
    Snapshot::take(&work.join("up")).assert_same(&Snapshot::take(&mirror.tree()), Compare::ALL);
    let alone = run(&mut mirror.sync(&old.url("m/"), ["--check=trace:m/trace:1h", "--attempts=1"]));
    alone.expect_code(69).expect_error_text("is not well");
}

#[test]
fn guards_know_the_deletions_whatever_the_protocol_is() {
    for protocol in ["27", "28", "29", "30", "31"] {
        let ((work, daemon), mirror) = (serving(Side::C), Mirror::new());
        let protocol = format!("--protocol={protocol}");
        let sync = |limit: &str| run(&mut mirror.sync(&daemon.url("m/"), [limit, "--json", "--", &protocol]));
        sync("--max-delete=0").expect_ok();
        fs::remove_file(work.join("up/a")).unwrap();
        sync("--max-delete=0").expect_code(25);
        assert!(mirror.tree().join("a").exists());
        let done: serde_json::Value =
            serde_json::from_slice(&sync("--max-delete=1").stdout).expect("a record");
        assert_eq!((&done["stats"]["deleted"], &done["exit"]), (&1.into(), &0.into()), "{protocol}");
        assert!(!mirror.tree().join("a").exists());
    }
}

#[test]
fn a_remote_shell_and_tls_lead_to_upstreams_too() {
    let (work, certificates) = (Work::new(), Certificates::new());
    upstream(&work.join("up"));
    let source = Snapshot::take(&work.join("up"));
    let shell = format!("--rsh={} 4096", program::helper("e2e-remote-shell").display());
    let mirror = Mirror::new();
    let url = format!("host:{}/", work.join("up").display());
    run(&mut mirror.sync(&url, ["--", &shell, "--rsync-path=/usr/bin/rsync"])).expect_ok();
    source.assert_same(&Snapshot::take(&mirror.tree()), Compare::ALL);
    let port = free_port();
    let (cert, key) = (certificates.file("server.pem"), certificates.file("server.key"));
    let settings =
        format!("tls port = {port}\ntls certificate = {}\ntls key = {}\n", cert.display(), key.display());
    let _daemon = Daemon::start(Side::Ours, &settings, &[Module::new("m", &work.join("up"))]);
    wait_until("the port for TLS", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let mirror = Mirror::new();
    let url = format!("rsyncs://localhost:{port}/m/");
    let mut sync = mirror.sync(&url, ["--attempts=1"]);
    run(&mut sync).expect_code(10);
    run(sync.env("RSYNC_SSL_CA_CERT", certificates.file("authority.pem"))).expect_ok();
    source.assert_same(&Snapshot::take(&mirror.tree()), Compare::ALL);
}

#[test]
fn a_run_that_is_told_to_end_keeps_what_it_has_and_says_so() {
    let ((_work, daemon), mirror) = (serving(Side::C), Mirror::new());
    let waits = format!("--hook=pre-exec=sh -c 'touch {}; sleep 600'", mirror.file("started").display());
    let running = Running::start(&mut mirror.sync(&daemon.url("m/"), [waits]));
    wait_until("the run", || mirror.file("started").exists());
    running.signal_leader(rustix::process::Signal::TERM);
    running.finish().expect_code(20).expect_error_text("killed by manager");
}
