//! The captured runs of the C rsync, replayed.

use rsync_e2e::Side;
use rsync_e2e::scenario::{Mode, Scenario, all};

/// Scenarios that do not hold as pulls even between two C rsyncs, and why.
const NOT_AS_PULLS: &[(&str, &str)] = &[];

/// Replays `scenarios` and lists what was not as captured.
fn replay(scenarios: &[&Scenario], mode: Mode) -> Vec<String> {
    scenarios.iter().filter_map(|scenario| scenario.replay(Side::Ours, Side::C, mode).err()).collect()
}

#[track_caller]
fn assert_all_hold(scenarios: &[&Scenario], mode: Mode) {
    let failures = replay(scenarios, mode);
    let count = scenarios.len();
    assert!(failures.is_empty(), "{} of {count} scenarios:\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn every_pull_and_listing_is_as_captured() {
    let scenarios = all();
    let ours: Vec<_> = scenarios.iter().filter(|it| it.is_for_us() && it.only_pulls_or_lists()).collect();
    assert!(ours.len() >= 1, "{}", ours.len());
    assert_all_hold(&ours, Mode::AsWritten);
}

#[test]
fn every_local_copy_makes_the_captured_tree_as_a_pull() {
    let scenarios = all();
    let excepted = |it: &Scenario| NOT_AS_PULLS.iter().any(|(id, _)| *id == it.id);
    let ours: Vec<_> =
        scenarios.iter().filter(|it| it.is_for_us() && it.only_local_copies() && !excepted(it)).collect();
    assert_all_hold(&ours, Mode::AsPull);
}
