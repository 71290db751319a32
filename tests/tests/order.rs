//! The order of lines in local copies: texts come ahead of the items that the generator collects until it
//! waits for more lists (spec 07 §24.1).
//!
//! The orders are those in which the C rsync prints most often; its processes run at the same time, so it
//! cannot be asked for each run. What it says, in whatever order, is compared in the same test.

use std::process::Command;

use rsync_e2e::pull::environment;
use rsync_e2e::tree::BASE_TIME;
use rsync_e2e::{Side, Tree, Work, run};

fn source() -> Tree {
    Tree::new()
        .file("a", "1")
        .file("hidden.o", "1")
        .file("same", "same")
        .time("same", BASE_TIME, 0)
        .file("sub/deep/x", "2")
        .file("sub/hidden.o", "3")
        .file("sub/y", "3")
        .symlink("bad", "../../elsewhere")
        .symlink("link", "a")
        .fifo("pipe")
        .time("a", BASE_TIME + 1000, 0)
        .time("link", BASE_TIME + 1000, 0)
}

fn destination() -> Tree {
    Tree::new()
        .file("a", "00")
        .file("gone", "1")
        .file("old/inside", "2")
        .file("same", "same")
        .time("same", BASE_TIME, 0)
        .file("sub/deep/gone", "3")
        .file("sub/gone", "3")
        .symlink("link", "b")
}

/// What `side` prints, without the summary.
fn printed(side: Side, options: &str) -> Vec<String> {
    let work = Work::new();
    source().write(&work.join("source"));
    destination().write(&work.join("destination"));
    let mut command = Command::new(side.rsync());
    environment(&mut command);
    command.current_dir(work.path()).args(options.split(' ')).args(["source/", "destination/"]);
    let outcome = run(&mut command);
    outcome.expect_ok();
    let text = outcome.stdout.to_string();
    let lines = text.lines().take_while(|line| !line.starts_with("sent ")).filter(|line| !line.is_empty());
    lines.map(str::to_owned).collect()
}

#[track_caller]
fn assert_prints(options: &str, expected: &[&str]) {
    assert_eq!(printed(Side::Ours, options), expected, "{options}");
    let mut theirs = printed(Side::C, options);
    let mut expected: Vec<String> = expected.iter().map(|&line| line.to_owned()).collect();
    theirs.sort();
    expected.sort();
    assert_eq!(theirs, expected, "C with {options}");
}

#[test]
fn texts_about_the_first_list_then_its_items_then_the_same_of_all_that_is_below() {
    assert_prints(
        "-aiiO --delete",
        &[
            "*deleting   old/inside",
            "*deleting   old/",
            "*deleting   gone",
            ".d          ./",
            ">f.st...... a",
            "cL+++++++++ bad -> ../../elsewhere",
            ">f+++++++++ hidden.o",
            "cLc.t...... link -> a",
            "cS+++++++++ pipe",
            ".f          same",
            "*deleting   sub/gone",
            "*deleting   sub/deep/gone",
            ".d          sub/",
            ">f+++++++++ sub/hidden.o",
            ">f+++++++++ sub/y",
            ".d          sub/deep/",
            ">f+++++++++ sub/deep/x",
        ],
    );
    assert_prints(
        "-rtvvO --delete --exclude=*.o",
        &[
            "sending incremental file list",
            "[sender] hiding file hidden.o because of pattern *.o",
            "[sender] hiding file sub/hidden.o because of pattern *.o",
            "delta-transmission disabled for local transfer or --whole-file",
            "deleting old/inside",
            "deleting old/",
            "deleting gone",
            "skipping non-regular file \"bad\"",
            "skipping non-regular file \"link\"",
            "skipping non-regular file \"pipe\"",
            "same is uptodate",
            "a",
            "deleting sub/gone",
            "deleting sub/deep/gone",
            "sub/y",
            "sub/deep/x",
            "total: matches=0  hash_hits=0  false_alarms=0 data=3",
        ],
    );
    assert_prints(
        "-aOn --delete --info=name --exclude=*.o",
        &[
            "deleting old/inside",
            "deleting old/",
            "deleting gone",
            "a",
            "bad -> ../../elsewhere",
            "link -> a",
            "pipe",
            "deleting sub/gone",
            "deleting sub/deep/gone",
            "sub/y",
            "sub/deep/x",
        ],
    );
}

#[test]
fn what_became_of_a_transfer_comes_after_the_items_of_its_round() {
    assert_prints(
        "-avvbO",
        &[
            "sending incremental file list",
            "delta-transmission disabled for local transfer or --whole-file",
            "backed up link to link~",
            "same is uptodate",
            "a",
            "bad -> ../../elsewhere",
            "hidden.o",
            "link -> a",
            "pipe",
            "backed up a to a~",
            "sub/hidden.o",
            "sub/y",
            "sub/deep/x",
            "total: matches=0  hash_hits=0  false_alarms=0 data=5",
        ],
    );
    assert_prints(
        "-aO --info=remove,name2 --remove-source-files --exclude=*.o",
        &[
            "sender removed bad",
            "sender removed link",
            "sender removed pipe",
            "same is uptodate",
            "sender removed same",
            "a",
            "bad -> ../../elsewhere",
            "link -> a",
            "pipe",
            "sub/y",
            "sub/deep/x",
            "sender removed a",
            "sender removed sub/y",
            "sender removed sub/deep/x",
        ],
    );
}

#[test]
fn without_incremental_recursion_only_the_first_entry_and_every_200th_end_a_round() {
    assert_prints(
        "-rltvvO --safe-links --delete-after --exclude=*.o",
        &[
            "building file list ... ",
            "[sender] hiding file hidden.o because of pattern *.o",
            "[sender] hiding file sub/hidden.o because of pattern *.o",
            "done",
            "delta-transmission disabled for local transfer or --whole-file",
            "ignoring unsafe symlink \"bad\" -> \"../../elsewhere\"",
            "skipping non-regular file \"pipe\"",
            "same is uptodate",
            "a",
            "link -> a",
            "sub/y",
            "sub/deep/x",
            "total: matches=0  hash_hits=0  false_alarms=0 data=3",
            "deleting in .",
            "deleting old/inside",
            "deleting old/",
            "deleting gone",
            "deleting sub/gone",
            "deleting sub/deep/gone",
        ],
    );
    assert_prints(
        "-aiiO --delete --no-i-r --exclude=*.o",
        &[
            "*deleting   old/inside",
            "*deleting   old/",
            "*deleting   gone",
            ".d          ./",
            "*deleting   sub/gone",
            "*deleting   sub/deep/gone",
            ">f.st...... a",
            "cL+++++++++ bad -> ../../elsewhere",
            "cLc.t...... link -> a",
            "cS+++++++++ pipe",
            ".f          same",
            ".d          sub/",
            ">f+++++++++ sub/y",
            ".d          sub/deep/",
            ">f+++++++++ sub/deep/x",
        ],
    );
}
