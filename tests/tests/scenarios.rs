//! The captured runs of the C rsync, replayed: pulls and listings as they are, local copies as pulls as well,
//! and whatever else there is. Local copies as they are: see `local_copy`.

use rsync_e2e::program::is_root;
use rsync_e2e::scenario::{Actors, BETTER, FREE_TEXT, Mode, Scenario, all};
use rsync_e2e::{Side, Work};

/// Scenarios that end differently as pulls, between two C rsyncs as well.
const NOT_AS_PULLS: &[(&str, &str)] = &[
    ("mod-22", "source and destination are the same only for a local copy"),
    ("del-15", "whether the error comes before the deletion depends on how far the sender is ahead"),
];

/// Scenarios that print something else as pulls, between two C rsyncs as well.
const NOT_AS_TALKATIVE_PULLS: &[(&str, &str)] = &[
    ("alt-07", "-vv shows the command of the remote shell"),
    ("hl-02", "-vv shows the command of the remote shell"),
    ("mod-15", "-vv shows the command of the remote shell"),
    ("out-01", "-vv shows the command of the remote shell"),
    ("out-43", "-vv shows the command of the remote shell"),
    ("out-59", "-vv shows the command of the remote shell"),
    ("dst-26", "the server is gone before the client says goodbye"),
    ("out-58", "the server is gone before the client says goodbye"),
    ("out-04", "errors of the server do not meet the unfinished line of the client"),
    ("out-13", "%o is of the client"),
    ("out-16", "%b and %c are of the client"),
    ("out-38", "progress of a received file begins at zero"),
    ("out-56", "progress of a received file begins at zero"),
];

/// Those of both tables that two C rsyncs end now as captured and now otherwise.
const MATTERS_OF_TIME: [&str; 4] = ["del-15", "dst-26", "out-58", "out-04"];

/// Replays `scenarios` by ours with a C rsync at the far end, and lists what was not as captured.
#[track_caller]
fn assert_all_hold(scenarios: &[&Scenario], mode: Mode) {
    assert_all_hold_by(&Actors::new(Side::Ours, Side::C), scenarios, mode);
}

#[track_caller]
fn assert_all_hold_by(actors: &Actors, scenarios: &[&Scenario], mode: Mode) {
    let failures: Vec<_> = scenarios.iter().filter_map(|it| it.replay(actors, mode).err()).collect();
    let count = scenarios.len();
    assert!(failures.is_empty(), "{} of {count} scenarios:\n{}", failures.len(), failures.join("\n\n"));
}

fn is_in(table: &[(&str, &str)], scenario: &Scenario) -> bool {
    table.iter().any(|(id, _)| *id == scenario.id)
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
    let excepted = |it: &Scenario| is_in(NOT_AS_PULLS, it) || is_in(BETTER, it);
    let ours: Vec<_> =
        scenarios.iter().filter(|it| it.is_for_us() && it.only_local_copies() && !excepted(it)).collect();
    assert_all_hold(&ours, Mode::AsPull);
}

#[test]
fn every_local_copy_says_what_was_captured_as_a_pull() {
    let scenarios = all();
    let excepted = |it: &Scenario| {
        is_in(NOT_AS_PULLS, it)
            || is_in(NOT_AS_TALKATIVE_PULLS, it)
            || is_in(BETTER, it)
            || FREE_TEXT.contains(&it.id.as_str())
    };
    let ours: Vec<_> =
        scenarios.iter().filter(|it| it.is_for_us() && it.only_local_copies() && !excepted(it)).collect();
    assert_all_hold(&ours, Mode::AsTalkativePull);
}

/// Pushes, batches, mistakes, and scenarios of several kinds of runs.
#[test]
fn every_other_scenario_is_as_captured_with_either_far_end() {
    let scenarios = all();
    let is_other = |it: &&Scenario| !it.only_pulls_or_lists() && !it.only_local_copies();
    let ours: Vec<_> = scenarios.iter().filter(is_other).filter(|it| it.is_for_us()).collect();
    for server in [Side::C, Side::Ours] {
        assert_all_hold_by(&Actors::new(Side::Ours, server), &ours, Mode::AsWritten);
    }
}

/// What only an ordinary user sees, also when root runs the tests.
#[test]
fn every_scenario_of_an_ordinary_user_is_as_captured() {
    // Where the programs under test lie may be closed to that user.
    let programs = Work::new();
    let ours = programs.join("rsync");
    std::fs::copy(Side::Ours.rsync(), &ours).expect("copied");
    let user = is_root().then_some(65_534);
    let scenarios = all();
    let rows: Vec<_> = scenarios.iter().filter(|it| it.user == "nonroot").collect();
    // del-15: over a wire it is a matter of time when the generator hears of the sender's errors.
    let local: Vec<_> =
        rows.iter().copied().filter(|it| it.only_local_copies() && it.id != "del-15").collect();
    for server in [Side::C.rsync(), ours.clone()] {
        let actors = Actors { client: ours.clone(), server, user };
        assert_all_hold_by(&actors, &rows, Mode::AsWritten);
        assert_all_hold_by(&actors, &local, Mode::AsPull);
    }
}

/// No exception is one of ours alone.
#[test]
fn what_is_not_as_captured_as_a_pull_is_not_between_two_c_rsyncs_either() {
    let scenarios = all();
    let both = Actors::new(Side::C, Side::C);
    for (table, mode) in [(NOT_AS_PULLS, Mode::AsPull), (NOT_AS_TALKATIVE_PULLS, Mode::AsTalkativePull)] {
        let excepted = scenarios.iter().filter(|it| it.is_for_us() && is_in(table, it));
        for scenario in excepted.filter(|it| !MATTERS_OF_TIME.contains(&it.id.as_str())) {
            assert!(scenario.replay(&both, mode).is_err(), "{} holds", scenario.id);
        }
    }
}

#[test]
fn what_is_replayed_and_what_is_not_is_counted() {
    let scenarios = all();
    let count = |wanted: &dyn Fn(&Scenario) -> bool| scenarios.iter().filter(|it| wanted(it)).count();
    assert_eq!(scenarios.len(), 332);
    assert_eq!(count(&|it| it.user == "nonroot"), 24, "replayed by an ordinary user");
    assert_eq!(count(&Scenario::only_pulls_or_lists), 8);
    assert_eq!(count(&Scenario::only_local_copies), 305);
    let neither = |it: &Scenario| !it.only_pulls_or_lists() && !it.only_local_copies();
    assert_eq!(count(&neither), 19, "pushes, batches, option errors, or several kinds of runs in one");
    for (id, _) in NOT_AS_PULLS.iter().chain(NOT_AS_TALKATIVE_PULLS).chain(BETTER) {
        assert!(scenarios.iter().any(|it| it.id == *id), "{id}");
    }
}
