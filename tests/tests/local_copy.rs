//! Local copies: the captured runs of the C rsync as they were written, and the same copies made by
//! both.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use rsync_e2e::Side;
use rsync_e2e::matrix::{attribute_source, source, stale_destination};
use rsync_e2e::outcome::{Outcome, run};
use rsync_e2e::program::is_root;
use rsync_e2e::scenario::{Actors, BETTER, FREE_TEXT, Mode, Scenario, all};
use rsync_e2e::snapshot::{Compare, Snapshot};
use rsync_e2e::tree::{Tree, random};
use rsync_e2e::work::Work;
use rsync_e2e::{Copying, Twins, Way};

#[test]
fn every_local_copy_is_as_captured() {
    let scenarios = all();
    let excepted =
        |it: &Scenario| BETTER.iter().any(|(id, _)| *id == it.id) || FREE_TEXT.contains(&it.id.as_str());
    let ours: Vec<_> =
        scenarios.iter().filter(|it| it.is_for_us() && it.only_local_copies() && !excepted(it)).collect();
    let both = Actors::new(Side::Ours, Side::Ours);
    let failures: Vec<String> =
        ours.iter().filter_map(|it| it.replay(&both, Mode::AsWritten).err()).collect();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), ours.len(), failures.join("\n\n"));
}

/// What [`BETTER`] excepts: the same set-ups end well.
#[test]
fn where_the_c_rsync_fails_the_copy_is_made() {
    let at = |work: &Work, options: &str, code: i32| {
        let mut command = Command::new(Side::Ours.rsync());
        run(command.current_dir(work.path()).args(options.split(' ')).args(["s/", "d/"])).expect_code(code);
    };
    let tree = |tree: Tree| {
        let work = Work::new();
        tree.write(work.path());
        work
    };
    let read = |work: &Work, name: &str| std::fs::read_to_string(work.join(name)).unwrap_or_default();

    let work = tree(Tree::new().file("s/a", "abc").dir("d").dir("tmp"));
    at(&work, "-a -T ../tmp", 0);
    assert_eq!(read(&work, "d/a"), "abc");

    let work = tree(Tree::new().random("s/a", 20_000, 1).random("d/a", 15_000, 1).mode("d/a", 0o640));
    let old = work.join("d/a").metadata().expect("there").modified().expect("a time");
    at(&work, "-a --no-W --inplace --backup-dir=../kept", 0);
    let kept = work.join("kept/a").metadata().expect("kept");
    assert_eq!((kept.len(), kept.mode() & 0o7777, kept.modified().expect("a time")), (15_000, 0o640, old));

    let work = tree(Tree::new().file("s/a", "NEW").hard_link("s/b", "s/a").file("d/b/x", "x"));
    at(&work, "-aH", 23);
    assert_eq!((read(&work, "d/a").as_str(), read(&work, "d/b/x").as_str()), ("NEW", "x"));

    let work = tree(Tree::new().file("s/a/x", "X").dir("d/real").symlink("d/a", "real"));
    at(&work, "-aK", 0);
    let time = |name: &str| work.join(name).metadata().expect("there").mtime();
    assert_eq!((time("d/real"), read(&work, "d/real/x").as_str()), (time("s/a"), "X"));
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

/// Nothing is removed that is its own copy, whoever makes the copy.
#[test]
fn a_source_that_is_the_destination_is_not_removed() {
    for options in ["-aI", "-a --no-W", "-aI --no-W", "-a --write-batch=b", "-aI --inplace --no-W"] {
        let twins = Twins::new(Tree::new().file("s/a", "A").file("s/sub/b", "B"));
        let (_, ours) = twins.line(&format!("{options} --remove-source-files s/ s/")).assert_same_output();
        assert!(ours.work.join("s/a").exists() && ours.work.join("s/sub/b").exists(), "{options}");
    }
}

/// `--no-whole-file`: what the destination has already is neither read from the source nor written again.
#[test]
fn a_delta_is_made_where_it_is_asked_for() {
    let (source, destination) = (source(), stale_destination());
    for options in [
        "-a --no-W --stats",
        "-aI --no-W --stats --inplace",
        "-a --no-W --stats --delete --backup",
        "-a --no-W --stats --fuzzy --delete-after",
        "-aH --no-W --stats --partial-dir=.p -B 700",
        "-ac --no-W --stats --sparse",
    ] {
        let copying = Copying::new(source.clone(), options).onto(destination.clone()).by(&[Way::Local]);
        copying.whenever_written().assert_like_c();
    }
    let mut changed = random(1 << 20, 5);
    changed[600_000] ^= 1;
    let work = Work::new();
    Tree::new().file("s/a", changed).random("d/a", 1 << 20, 5).write(work.path());
    let mut command = Command::new(Side::Ours.rsync());
    command.current_dir(work.path()).args(["-aI", "--no-W", "--inplace", "--stats", "s/", "d/"]);
    let said = run(&mut command).expect_ok().stdout.to_string();
    let literal = said.lines().find_map(|line| line.strip_prefix("Literal data: ")).expect("a number");
    assert!(literal.len() <= "9,999 bytes".len(), "{said}");
}
