//! Connections that break and programs that die: what is left behind, and how the next run goes on.

use std::time::Duration;

use rsync_e2e::mount::Tmpfs;
use rsync_e2e::pull::destination_of;
use rsync_e2e::tree::random;
use rsync_e2e::{Compare, ProxyPlan, Pull, Side, Snapshot, Tree, run};

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
