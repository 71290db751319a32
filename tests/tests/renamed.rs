//! `--detect-renamed`, which the C rsync does not have: what was moved is not sent again, whoever sends it.

use rsync_e2e::tree::random;
use rsync_e2e::{Compare, Copied, Copying, Side, Tree, Way};

const SIZE: usize = 300_000;

fn moved() -> Tree {
    Tree::new()
        .file("new place/big", random(SIZE, 1))
        .time("new place/big", 1_500_000_000, 0)
        .file("new place/renamed", random(SIZE / 2, 2))
        .time("new place/renamed", 1_500_000_001, 0)
        .file("copy", random(SIZE / 2, 2))
        .time("copy", 1_500_000_001, 0)
        .file("small", "s")
        .file("really new", random(5000, 3))
}

fn before() -> Tree {
    Tree::new()
        .file("old/place/big", random(SIZE, 1))
        .time("old/place/big", 1_500_000_000, 0)
        .file("old name", random(SIZE / 2, 2))
        .time("old name", 1_500_000_001, 0)
        .file("gone", "g")
}

/// The bytes of file data that were sent as such.
fn literal(copied: &Copied) -> u64 {
    let count = copied.stdout.iter().find_map(|line| {
        line.strip_prefix("Literal data: ")?.strip_suffix(" bytes")?.replace(',', "").parse().ok()
    });
    count.expect("a line of the statistics")
}

#[track_caller]
fn run(tree: (Tree, Tree), options: &str, way: Way, client: Side, server: Side) -> Copied {
    let copied = Copying::new(tree.0, options).onto(tree.1).run(way, client, server);
    assert_eq!(copied.code, 0, "{copied:#?}");
    copied
}

#[test]
fn what_was_moved_is_not_sent_again() {
    for options in
        ["-a", "-a --delete", "-a --delete-before", "-a --delete-during --protocol=29", "-aH --inplace"]
    {
        let pull = format!("{options} --stats --detect-renamed");
        for server in [Side::C, Side::Ours] {
            let copied = run((moved(), before()), &pull, Way::Pull, Side::Ours, server);
            assert!(literal(&copied) < 6000, "{copied:#?}");
            let gone = !copied.work.join("destination/gone").exists();
            assert_eq!(gone, options.contains("--delete"), "{copied:#?}");
            if gone {
                copied.tree("destination").assert_same(&copied.tree("source"), Compare::ALL);
            }
        }
        let push = format!("{options} --stats -M--detect-renamed");
        let copied = run((moved(), before()), &push, Way::Push, Side::C, Side::Ours);
        assert!(literal(&copied) < 6000, "{copied:#?}");
    }
}

#[test]
fn with_checksums_it_is_copied_whatever_its_time() {
    let untimed = before().time("old name", 1_400_000_000, 0);
    for way in [Way::Local, Way::Pull] {
        let trees = (moved(), untimed.clone());
        let copied = run(trees, "-aci --delete --detect-renamed", way, Side::Ours, Side::C);
        for line in ["cf+++++++++ copy", "cf+++++++++ new place/big", "cf+++++++++ new place/renamed"] {
            assert!(copied.stdout.iter().any(|said| said == line), "{copied:#?}");
        }
        assert!(copied.stdout.iter().any(|said| said == ">f+++++++++ really new"), "{copied:#?}");
        copied.tree("destination").assert_same(&copied.tree("source"), Compare::ALL);
    }
}

#[test]
fn a_wrong_guess_costs_nothing_but_the_transfer() {
    // Other content of the same size and time; and a basis that is overwritten meanwhile.
    let wrong = Tree::new()
        .file("other", random(SIZE, 9))
        .time("other", 1_500_000_000, 0)
        .file("copy", random(SIZE / 2, 7))
        .time("copy", 1_500_000_001, 5)
        .mode("copy", 0o600);
    for options in ["-aI --detect-renamed --stats", "-aI --detect-renamed --stats --delete"] {
        let copied = run((moved(), wrong.clone()), options, Way::Pull, Side::Ours, Side::C);
        assert!(literal(&copied) > SIZE as u64, "{copied:#?}");
        let same = |name: &str| {
            let read = |side: &str| std::fs::read(copied.work.join(side).join(name)).expect("file");
            read("source") == read("destination")
        };
        assert!(same("new place/big") && same("new place/renamed") && same("copy"));
    }
}

#[test]
fn without_the_option_it_is_sent_and_c_never_hears_of_it() {
    let copied = run((moved(), before()), "-a --stats", Way::Pull, Side::Ours, Side::C);
    assert!(literal(&copied) > SIZE as u64);
    // A C server would refuse an option that it does not know.
    let copied = run((moved(), before()), "-a --stats --detect-renamed", Way::Push, Side::Ours, Side::C);
    assert!(literal(&copied) > SIZE as u64);
    let plain = run((moved(), before()), "-a --detect-renamed -W --stats", Way::Pull, Side::Ours, Side::C);
    assert!(literal(&plain) > SIZE as u64, "whole files have no basis");
}
