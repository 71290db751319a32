//! The captured runs of the C rsync, replayed.

use rsync_e2e::Side;
use rsync_e2e::scenario::{Mode, Scenario, all};

/// Scenarios that end differently as pulls, between two C rsyncs as well.
const NOT_AS_PULLS: &[(&str, &str)] = &[
    ("mod-22", "source and destination are the same only for a local copy"),
    ("mod-14", "the C rsync refuses a temporary directory with dots; this one need not"),
    ("typ-10", "the C rsync sets the time of the link to a directory, this one that of the directory"),
    ("mod-45", "the C rsync refuses a backup directory with dots; this one need not"),
    ("hl-33", "a postponed hard link is transferred when the last one cannot be; the C rsync forgets it"),
];

/// Scenarios that print something else as pulls, between two C rsyncs as well.
const NOT_AS_TALKATIVE_PULLS: &[(&str, &str)] = &[
    ("alt-07", "-vv shows the command of the remote shell"),
    ("hl-02", "-vv shows the command of the remote shell"),
    ("mod-15", "-vv shows the command of the remote shell"),
    ("out-01", "-vv shows the command of the remote shell"),
    ("out-43", "-vv shows the command of the remote shell"),
    ("out-59", "-vv shows the command of the remote shell"),
    ("mod-17", "--debug shows this side only"),
    ("dst-26", "the server is gone before the client says goodbye"),
    ("out-58", "the server is gone before the client says goodbye"),
    ("out-04", "errors of the server do not meet the unfinished line of the client"),
    ("out-13", "%o is of the client"),
    ("out-16", "%b and %c are of the client"),
    ("out-38", "progress of a received file begins at zero"),
    ("out-56", "progress of a received file begins at zero"),
    ("err-12", "the server has been started when the rules are read"),
    ("del-27", "the text of debug output is free"),
    ("out-37", "the text of debug output is free"),
];

/// Replays `scenarios` and lists what was not as captured.
fn replay(scenarios: &[&Scenario], mode: Mode) -> Vec<String> {
    scenarios.iter().filter_map(|scenario| problem(scenario, mode)).collect()
}

fn problem(scenario: &Scenario, mode: Mode) -> Option<String> {
    scenario.replay(Side::Ours, Side::C, mode).err()
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
    // err-09: the C client complains about a server that is gone before it says goodbye.
    let ours: Vec<_> = scenarios
        .iter()
        .filter(|it| it.is_for_us() && it.only_pulls_or_lists() && it.id != "err-09")
        .collect();
    assert!(!ours.is_empty(), "{}", ours.len());
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

#[test]
fn every_local_copy_says_what_was_captured_as_a_pull() {
    let scenarios = all();
    let excepted =
        |it: &Scenario| NOT_AS_PULLS.iter().chain(NOT_AS_TALKATIVE_PULLS).any(|(id, _)| *id == it.id);
    let ours: Vec<_> =
        scenarios.iter().filter(|it| it.is_for_us() && it.only_local_copies() && !excepted(it)).collect();
    assert_all_hold(&ours, Mode::AsTalkativePull);
}

#[test]
fn what_is_replayed_and_what_is_not_is_counted() {
    let scenarios = all();
    let count = |wanted: &dyn Fn(&Scenario) -> bool| scenarios.iter().filter(|it| wanted(it)).count();
    assert_eq!(scenarios.len(), 332);
    assert_eq!(count(&|it| it.user == "nonroot"), 24, "run the tests as another user for these");
    assert_eq!(count(&Scenario::only_pulls_or_lists), 8);
    assert_eq!(count(&Scenario::only_local_copies), 305);
    let neither = |it: &Scenario| !it.only_pulls_or_lists() && !it.only_local_copies();
    assert_eq!(count(&neither), 19, "pushes, batches, option errors, or several kinds of runs in one");
    for (id, _) in NOT_AS_PULLS.iter().chain(NOT_AS_TALKATIVE_PULLS) {
        assert!(scenarios.iter().any(|it| it.id == *id), "{id}");
    }
}
