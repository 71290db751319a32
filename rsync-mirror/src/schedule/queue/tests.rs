use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::schedule::When;

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn every(seconds: u64) -> Rules {
    let when = When::Interval(Duration::from_secs(seconds));
    Rules {
        timetable: Timetable { when, jitter: Duration::ZERO },
        host: None,
        groups: Vec::new(),
        priority: 0,
        yields: false,
    }
}

fn in_groups(rules: Rules, groups: &[&str]) -> Rules {
    Rules { groups: groups.iter().map(|&group| group.to_owned()).collect(), ..rules }
}

fn scheduler(limits: Limits, jobs: &[(&str, Rules)]) -> Scheduler {
    let mut scheduler = Scheduler::new(limits);
    for (name, rules) in jobs {
        scheduler.insert(name, rules.clone(), Past::default(), None, second(0));
    }
    scheduler
}

fn starts(names: &[&str]) -> Vec<Decision> {
    names.iter().map(|&name| Decision::Start(name.to_owned())).collect()
}

fn total(jobs: usize) -> Limits {
    Limits { total: Some(jobs), ..Limits::default() }
}

#[test]
fn the_limit_of_the_site_holds_and_the_next_one_starts_when_a_place_is_free() {
    let mut site = scheduler(total(2), &[("a", every(60)), ("b", every(60)), ("c", every(60))]);
    assert_eq!(site.decide(second(0)), starts(&["a", "b"]));
    assert_eq!(site.queue_length(second(0)), 1);
    assert_eq!(site.decide(second(1)), []);
    site.ended("b", second(5));
    assert_eq!(site.decide(second(5)), starts(&["c"]));
    assert_eq!(site.wake(second(5)), Some(second(65)));
    assert_eq!(site.planned("b", second(5)), Some(Planned::Next(Some(second(65)))));
}

#[test]
fn a_higher_priority_goes_first_and_equals_go_by_how_long_they_wait() {
    let important = Rules { priority: 5, ..every(60) };
    let jobs = [("a", every(60)), ("b", every(60)), ("z", important)];
    let mut site = scheduler(total(1), &jobs);
    assert_eq!(site.decide(second(0)), starts(&["z"]));
    site.ended("z", second(1));
    assert_eq!(site.decide(second(1)), starts(&["a"]));
    site.ended("a", second(2));
    // `a` is due again before `b` got its turn, and has to stand behind it.
    site.start("a", false, second(2));
    assert_eq!(site.decide(second(2)), starts(&["b"]));
}

#[test]
fn a_host_has_a_limit_of_its_own() {
    let from = |host: &str| Rules { host: Some(host.to_owned()), ..every(60) };
    let mut limits = Limits { per_host: Some(1), ..Limits::default() };
    limits.hosts.insert("big".to_owned(), 2);
    let jobs =
        [("a", from("x")), ("b", from("x")), ("c", from("big")), ("d", from("big")), ("e", from("big"))];
    assert_eq!(scheduler(limits, &jobs).decide(second(0)), starts(&["a", "c", "d"]));
}

#[test]
fn jobs_of_a_group_never_run_beside_each_other_not_even_by_force() {
    let jobs = [("a", in_groups(every(60), &["disk"])), ("b", in_groups(every(60), &["disk"]))];
    let mut site = scheduler(Limits::default(), &jobs);
    assert_eq!(site.decide(second(0)), starts(&["a"]));
    assert_eq!(site.start("b", true, second(1)), StartAnswer::Queued);
    assert_eq!(site.decide(second(1)), []);
    site.ended("a", second(2));
    assert_eq!(site.decide(second(2)), starts(&["b"]));
}

#[test]
fn force_passes_over_the_other_limits() {
    let mut site = scheduler(total(1), &[("a", every(60)), ("b", every(60))]);
    assert_eq!(site.decide(second(0)), starts(&["a"]));
    site.start("b", true, second(1));
    assert_eq!(site.decide(second(1)), starts(&["b"]));
}

#[test]
fn a_job_that_needs_two_groups_is_not_starved_by_those_that_need_one() {
    let jobs = [
        ("left", in_groups(every(1), &["l"])),
        ("right", in_groups(every(1), &["r"])),
        ("wide", in_groups(every(60), &["l", "r"])),
    ];
    let mut site = scheduler(Limits::default(), &jobs);
    assert_eq!(site.decide(second(0)), starts(&["left", "right"]));
    site.ended("left", second(1));
    assert_eq!(site.decide(second(2)), [], "the free group is kept for the job ahead");
    site.ended("right", second(3));
    assert_eq!(site.decide(second(4)), starts(&["wide"]));
}

#[test]
fn a_loop_gives_way_to_a_job_of_its_group_and_goes_on_after_it() {
    let looping = When::Continuous { min_pause: Duration::from_secs(1) };
    let timetable = Timetable { when: looping, jitter: Duration::ZERO };
    let sync = Rules { timetable, yields: true, ..in_groups(every(0), &["disk"]) };
    let mut site = scheduler(Limits::default(), &[("sync", sync)]);
    assert_eq!(site.decide(second(0)), starts(&["sync"]));
    let backup = in_groups(every(3600), &["disk"]);
    site.insert("backup", backup, Past::default(), None, second(5));
    assert_eq!(site.decide(second(5)), [Decision::Yield("sync".to_owned())]);
    assert_eq!(site.decide(second(6)), [], "told once");
    site.ended("sync", second(7));
    assert_eq!(site.decide(second(9)), starts(&["backup"]));
    site.ended("backup", second(20));
    assert_eq!(site.decide(second(20)), starts(&["sync"]));
}

#[test]
fn any_number_of_pushes_during_a_run_make_one_more() {
    let mut site = scheduler(Limits::default(), &[("a", every(3600))]);
    assert_eq!(site.decide(second(0)), starts(&["a"]));
    for _ in 0..5 {
        assert_eq!(site.push("a", second(1)), StartAnswer::Again);
    }
    assert_eq!(site.start("a", false, second(1)), StartAnswer::Running);
    site.ended("a", second(2));
    assert_eq!(site.decide(second(2)), starts(&["a"]));
    site.ended("a", second(3));
    assert_eq!(site.decide(second(3)), []);
}

#[test]
fn what_is_held_waits_and_a_start_ends_a_pause_but_not_a_disablement() {
    let mut site = scheduler(Limits::default(), &[("a", every(60))]);
    site.hold("a", Some(Hold::Paused), second(0));
    assert_eq!((site.decide(second(0)), site.wake(second(0))), (vec![], None));
    assert_eq!(site.push("a", second(1)), StartAnswer::Queued);
    assert_eq!(site.decide(second(1)), [], "news of the upstream do not overrule a person");
    assert_eq!(site.start("a", false, second(2)), StartAnswer::Queued);
    assert_eq!(site.decide(second(2)), starts(&["a"]));
    site.ended("a", second(3));
    site.hold("a", Some(Hold::Disabled), second(3));
    assert_eq!(site.start("a", true, second(100)), StartAnswer::Disabled);
    assert_eq!(site.decide(second(100)), []);
    site.hold("a", None, second(101));
    assert_eq!(site.decide(second(101)), starts(&["a"]), "what was missed runs once");
}

#[test]
fn a_job_that_left_the_configuration_counts_until_its_run_ends() {
    let mut site = scheduler(total(1), &[("a", every(60)), ("b", every(60))]);
    assert_eq!(site.decide(second(0)), starts(&["a"]));
    site.remove("a");
    assert_eq!(site.decide(second(1)), []);
    assert_eq!(site.start("a", false, second(1)), StartAnswer::Unknown);
    site.ended("a", second(2));
    assert_eq!(site.decide(second(2)), starts(&["b"]));
    assert_eq!(site.planned("a", second(2)), None);
}

#[test]
fn new_rules_do_not_touch_a_run() {
    let mut site = scheduler(Limits::default(), &[("a", every(60))]);
    site.decide(second(0));
    site.insert("a", every(10), Past::default(), None, second(1));
    assert_eq!(site.planned("a", second(1)), Some(Planned::Running));
    assert_eq!(site.decide(second(1)), []);
    site.ended("a", second(2));
    assert_eq!(site.planned("a", second(2)), Some(Planned::Next(Some(second(12)))));
}

/// What happens to a site in the life of a property test.
#[derive(Clone, Debug)]
enum Event {
    Pass(i64),
    End(usize),
    Start(usize, bool),
    Push(usize),
    Hold(usize, Option<Hold>),
}

const JOBS: usize = 6;

fn event() -> impl Strategy<Value = Event> {
    let hold = prop_oneof![Just(None), Just(Some(Hold::Paused)), Just(Some(Hold::Disabled))];
    prop_oneof![
        (1i64..120).prop_map(Event::Pass),
        (0..JOBS).prop_map(Event::End),
        (0..JOBS).prop_map(Event::End),
        (0..JOBS, any::<bool>()).prop_map(|(job, force)| Event::Start(job, force)),
        (0..JOBS).prop_map(Event::Push),
        (0..JOBS, hold).prop_map(|(job, hold)| Event::Hold(job, hold)),
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    let groups = proptest::collection::btree_set("[xyz]", 0..3);
    (1u64..200, groups, proptest::option::of("[hk]"), -1i32..2, any::<bool>()).prop_map(
        |(interval, groups, host, priority, yields)| Rules {
            host,
            groups: groups.into_iter().collect(),
            priority,
            yields,
            ..every(interval)
        },
    )
}

proptest! {
    #[test]
    fn no_limit_is_ever_passed_and_every_job_gets_its_turn(
        rules in proptest::collection::vec(rules(), JOBS..=JOBS),
        total in 1usize..4,
        per_host in 1usize..3,
        events in proptest::collection::vec(event(), 0..60),
    ) {
        let limits = Limits { total: Some(total), per_host: Some(per_host), ..Limits::default() };
        let mut site = Scheduler::new(limits);
        let name = |job: usize| format!("job{job}");
        let mut now = 0;
        for (job, rules) in rules.iter().enumerate() {
            site.insert(&name(job), rules.clone(), Past::default(), None, second(0));
        }
        let mut running: BTreeMap<usize, bool> = BTreeMap::new();
        let mut forced = [false; JOBS];
        for event in events {
            match event {
                Event::Pass(seconds) => now += seconds,
                Event::End(job) => {
                    if running.remove(&job).is_some() {
                        site.ended(&name(job), second(now));
                    }
                }
                Event::Start(job, force) => {
                    forced[job] |= force && site.start(&name(job), force, second(now)) == StartAnswer::Queued;
                }
                Event::Push(job) => { site.push(&name(job), second(now)); }
                Event::Hold(job, hold) => { site.hold(&name(job), hold, second(now)); }
            }
            for decision in site.decide(second(now)) {
                if let Decision::Start(started) = decision {
                    let job = started.trim_start_matches("job").parse::<usize>().unwrap();
                    prop_assert!(running.insert(job, std::mem::take(&mut forced[job])).is_none(), "twice");
                }
            }
            let normal = || running.iter().filter(|(_, forced)| !**forced).map(|(&job, _)| &rules[job]);
            prop_assert!(normal().count() <= total);
            for host in ["h", "k"] {
                prop_assert!(normal().filter(|rules| rules.host.as_deref() == Some(host)).count() <= per_host);
            }
            for group in ["x", "y", "z"] {
                let members = running.keys().filter(|&&job| rules[job].groups.iter().any(|g| g == group));
                prop_assert!(members.count() <= 1);
            }
        }
        // Then everything is let go with equal priorities, and runs end one after the other.
        for (job, rules) in rules.iter().enumerate() {
            site.insert(&name(job), Rules { priority: 0, ..rules.clone() }, Past::default(), None, second(now));
            site.hold(&name(job), None, second(now));
        }
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..JOBS * 8 {
            now += 200;
            for (job, _) in std::mem::take(&mut running) {
                site.ended(&name(job), second(now));
            }
            for decision in site.decide(second(now)) {
                if let Decision::Start(started) = decision {
                    let job = started.trim_start_matches("job").parse::<usize>().unwrap();
                    seen.insert(job);
                    running.insert(job, false);
                }
            }
        }
        prop_assert_eq!(seen.len(), JOBS);
    }
}
