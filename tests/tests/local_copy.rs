//! Local copies: the captured runs of the C rsync as they were written, and the same copies made by
//! both.

use std::process::Command;

use rsync_e2e::Side;
use rsync_e2e::matrix::{attribute_source, source, stale_destination};
use rsync_e2e::outcome::{Outcome, run};
use rsync_e2e::program::is_root;
use rsync_e2e::scenario::{Mode, Scenario, all};
use rsync_e2e::snapshot::{Compare, Snapshot};
use rsync_e2e::tree::Tree;
use rsync_e2e::work::Work;

/// Scenarios that end differently or print something else.
const DIFFERENT: &[(&str, &str)] = &[
    ("alt-20", "no delta is made of what can be copied: all data is literal"),
    ("alt-15", "no delta is made of what can be copied: all data is literal"),
    ("mod-09", "no delta is made of what can be copied: all data is literal"),
    ("mod-15", "no delta is made of what can be copied: all data is literal"),
    ("mod-41", "no delta is made of what can be copied: all data is literal"),
    ("mod-17", "the text of debug output is free"),
    ("del-27", "the text of debug output is free"),
    ("out-37", "the text of debug output is free"),
    ("mod-14", "the C rsync refuses a temporary directory with dots; this one need not"),
    ("mod-45", "the C rsync refuses a backup directory with dots; this one need not"),
    ("hl-33", "a postponed hard link is transferred when the last one cannot be; the C rsync forgets it"),
    ("typ-10", "times are set on the directory that a kept link leads to, not on the link"),
];

fn problem(scenario: &Scenario) -> Option<String> {
    scenario.replay(Side::Ours, Side::Ours, Mode::AsWritten).err()
}

#[test]
fn every_local_copy_is_as_captured() {
    let scenarios = all();
    let excepted = |it: &Scenario| DIFFERENT.iter().any(|(id, _)| *id == it.id);
    let ours: Vec<_> =
        scenarios.iter().filter(|it| it.is_for_us() && it.only_local_copies() && !excepted(it)).collect();
    let failures: Vec<String> = ours.iter().filter_map(|scenario| problem(scenario)).collect();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), ours.len(), failures.join("\n\n"));
}

/// Copies `source/` to `destination/` in a new place with these options.
fn copy(side: Side, from: &Tree, onto: &Tree, options: &[&str]) -> (Outcome, Snapshot) {
    let work = Work::new();
    from.write(&work.join("source"));
    onto.write(&work.join("destination"));
    let mut command = Command::new(side.rsync());
    command.current_dir(work.path()).args(options).args(["source/", "destination/"]);
    let outcome = run(&mut command);
    (outcome, Snapshot::take(&work.join("destination")))
}

/// The lines of standard output that do not depend on bytes, times or memory, sorted: deletions may
/// come earlier or later.
fn lines(outcome: &Outcome) -> Vec<String> {
    let text = outcome.stdout.to_string();
    let starts = ["sent ", "total size is ", "[sender] expand file_list "];
    let varies = |line: &&str| starts.iter().any(|start| line.starts_with(start));
    let mut lines: Vec<String> = text.lines().filter(|line| !varies(line)).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[track_caller]
fn assert_like_c(from: &Tree, onto: &Tree, options: &[&str]) {
    assert_like_c_in(from, onto, options, Compare::ALL);
}

#[track_caller]
fn assert_like_c_in(from: &Tree, onto: &Tree, options: &[&str], compare: Compare) {
    let ((ours, our_tree), (theirs, their_tree)) =
        (copy(Side::Ours, from, onto, options), copy(Side::C, from, onto, options));
    let shown =
        format!("{options:?}\nours: {}{}\nC: {}{}", ours.stdout, ours.stderr, theirs.stdout, theirs.stderr);
    assert_eq!(ours.code, theirs.code, "{shown}");
    assert_eq!(lines(&ours), lines(&theirs), "{shown}");
    let differences = our_tree.differences(&their_tree, compare);
    assert!(differences.is_empty(), "{}\n{shown}", differences.join("\n"));
}

#[test]
fn trees_and_lines_are_those_of_the_c_rsync() {
    for options in [
        &["-ai"][..],
        &["-av"],
        &["-aiH"],
        &["-aiS"],
        &["-aic"],
        &["-ai", "--no-i-r"],
        &["-ai", "--protocol=29", "--no-links"],
        &["-ai", "--size-only"],
        &["-ai", "--inplace"],
        &["-ai", "--no-W"],
        &["-ai", "--append"],
        &["-ai", "--append-verify"],
        &["-ai", "--existing"],
        &["-ai", "--ignore-existing"],
        &["-aiu"],
        &["-ain", "--delete"],
        &["-ai", "--delay-updates"],
        &["-ai", "--partial-dir=.part"],
        &["-ai", "--chmod=Dg+s,Fo-r"],
        &["-ai", "--max-size=100k", "--exclude=sub"],
        &["-aim", "--include=*/", "--include=file", "--exclude=*"],
        &["-rtiO"],
        &["-aiL"],
        &["-diR"],
        &["-vv", "-a"],
    ] {
        let keeps_times = options.iter().any(|option| option.contains('a') && !option.contains('n'));
        let directory_times = keeps_times && !options[0].contains('O');
        let compare = Compare { times: keeps_times, directory_times, ..Compare::ALL };
        assert_like_c_in(&source(), &Tree::new(), options, compare);
        assert_like_c_in(&source(), &stale_destination(), options, compare);
    }
}

#[test]
fn every_time_of_deletion_is_like_c() {
    for when in
        ["--delete-before", "--delete-during", "--delete-delay", "--delete-after", "--delete-excluded"]
    {
        assert_like_c(&source(), &stale_destination(), &["-ai", when, "--exclude=/many/zzz"]);
        let untimed = Compare { directory_times: false, ..Compare::ALL };
        assert_like_c_in(&source(), &stale_destination(), &["-ai", when, "--max-delete=1"], untimed);
    }
}

#[test]
fn acls_attributes_and_owners_are_kept_like_c() {
    assert_like_c(&attribute_source(), &Tree::new(), &["-aiAX"]);
    let others = Tree::new().file("plain", "no").xattr("plain", "user.gone", "x").file("one", "1");
    assert_like_c(&attribute_source(), &others, &["-aiAX"]);
    if is_root() {
        assert_like_c(&source(), &Tree::new(), &["-ai", "--chown=1:2"]);
        assert_like_c(&source(), &Tree::new(), &["-ai", "--usermap=root:bin,*:daemon", "--groupmap=*:3"]);
    }
}

#[test]
fn what_cannot_be_read_or_written_is_left_out_like_c() {
    let twice = Tree::new().file("a", "new").dir("b").file("b/c", "c").symlink("l", "nowhere");
    let blocked = Tree::new().dir("a").file("a/kept", "k").file("b", "in the way");
    assert_like_c(&twice, &blocked, &["-ai"]);
    assert_like_c(&twice, &blocked, &["-ai", "--force"]);
    let work = Work::new();
    Tree::new().file("source/a", "a").dir("destination").write(work.path());
    for side in [Side::Ours, Side::C] {
        let mut command = Command::new(side.rsync());
        command.current_dir(work.path()).args(["-ai", "--delete", "nowhere", "source/", "destination/"]);
        run(&mut command).expect_code(23);
    }
}

#[test]
fn several_sources_and_whole_paths_are_copied_like_c() {
    for sources in [&["source/sub", "source/small"][..], &["-R", "source/./sub/file"], &["-R", "source/sub"]]
    {
        let [ours, theirs] = [Side::Ours, Side::C].map(|side| {
            let work = Work::new();
            source().write(&work.join("source"));
            let mut command = Command::new(side.rsync());
            command.current_dir(work.path()).arg("-ai").args(sources).arg("made/");
            let outcome = run(&mut command);
            (outcome.code, lines(&outcome), Snapshot::take(&work.join("made")))
        });
        assert_eq!((ours.0, &ours.1), (theirs.0, &theirs.1), "{sources:?}");
        ours.2.assert_same(&theirs.2, Compare { directory_times: false, ..Compare::ALL });
    }
}
