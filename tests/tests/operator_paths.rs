//! Paths that the user names and in which somebody else planted a link: nothing is read or written
//! through it (spec 10 §2.2, SEC-003, SEC-008), and `--insecure-links` is the way out.

use std::os::unix::fs::{lchown, symlink};
use std::process::Command;

use rsync_e2e::outcome::{Outcome, run};
use rsync_e2e::program::{is_root, require_root};
use rsync_e2e::pull::environment;
use rsync_e2e::race::while_exchanging;
use rsync_e2e::{Compare, Side, Snapshot, Tree, Work};

/// Links of root's own count, so that the link must be somebody else's; only root can make such a one.
const SOMEBODY: u32 = 65534;

/// A source, a destination with an old file, link and directory, and `planted`, a link to `outside`.
fn ground(owner: u32) -> Work {
    let work = Work::new();
    let source = Tree::new().file("f", "new content").file("link", "a file now").file("dir", "a file now");
    source.write(&work.join("source"));
    Tree::new().file("f", "old").symlink("link", "f").dir("dir").write(&work.join("destination"));
    Tree::new().file("list", "f\n").file("f", "outside").mode("list", 0o600).write(&work.join("outside"));
    symlink("outside", work.join("planted")).expect("planted");
    if is_root() {
        lchown(work.join("planted"), Some(owner), Some(owner)).expect("given away");
    }
    work
}

fn copy(work: &Work, options: &[&str], destination: &str) -> Outcome {
    let mut command = Command::new(Side::Ours.rsync());
    environment(&mut command);
    command.current_dir(work.path()).arg("-a");
    command.args(options.iter().map(|word| word.replace('@', &work.path().display().to_string())));
    run(command.args(["source/", destination]))
}

/// Copies with these options; what the link leads to must stay as it is. Answers the content of the
/// file in the destination afterwards.
#[track_caller]
fn refused(options: &[&str], code: i32, text: &str) -> String {
    let work = ground(SOMEBODY);
    let before = Snapshot::take(&work.join("outside"));
    copy(&work, options, "destination/").expect_code(code).expect_error_text(text);
    Snapshot::take(&work.join("outside")).assert_same(&before, Compare::ALL);
    std::fs::read_to_string(work.join("destination/f")).unwrap_or_default()
}

const LOOP: &str = "Too many levels of symbolic links";

#[test]
fn files_that_are_read_before_anything_else_end_the_run() {
    require_root();
    let files = format!("failed to open files-from file planted/list: {LOOP}");
    assert_eq!(refused(&["--files-from=planted/list"], 1, &files), "old");
    for (option, kind) in [
        ("--exclude-from=planted/list", "exclude"),
        ("--include-from=planted/list", "include"),
        ("--filter=. planted/list", "exclude"),
    ] {
        let text = format!("failed to open {kind} file planted/list: {LOOP}");
        assert_eq!(refused(&[option], 11, &text), "old", "{option}");
    }
}

#[test]
fn a_log_file_is_done_without() {
    require_root();
    for name in ["planted/log", "planted/f"] {
        let text = format!("failed to open log-file {name}: {LOOP} (40)\n");
        assert_eq!(refused(&[&format!("--log-file={name}")], 0, &text), "new content", "{name}");
    }
}

#[test]
fn places_for_files_under_way_leave_the_old_file_alone() {
    require_root();
    for options in [
        &["--temp-dir=@/planted"][..],
        &["--backup", "--backup-dir=@/planted"],
        &["--delay-updates", "--partial-dir=@/planted"],
    ] {
        let work = ground(SOMEBODY);
        let before = Snapshot::take(&work.join("outside"));
        let outcome = copy(&work, options, "destination/");
        assert_ne!(outcome.code, 0, "{options:?}");
        Snapshot::take(&work.join("outside")).assert_same(&before, Compare::ALL);
        let content = std::fs::read_to_string(work.join("destination/f")).expect("still there");
        assert_eq!(content, "old", "{options:?}");
    }
}

/// Whichever side of a rename or a link lies elsewhere, the other one is in the directory that was
/// entered, not in what took its name (SEC-003).
#[test]
fn a_place_elsewhere_does_not_open_the_destination_to_a_swapped_directory() {
    let many = |content: &str| (0..40).fold(Tree::new(), |tree, n| tree.file(format!("sub/f{n}"), content));
    for options in [
        &["--temp-dir=@/elsewhere"][..],
        &["--partial-dir=@/elsewhere", "--delay-updates"],
        &["--backup", "--backup-dir=@/elsewhere"],
        &["--link-dest=@/alternate"],
        &["--copy-dest=@/alternate"],
        &["--temp-dir=@/elsewhere", "--link-dest=@/alternate", "--delete", "--exclude=evil"],
    ] {
        let work = Work::new();
        many("new content").write(&work.join("source"));
        copy(&work, &[], "alternate/").expect_ok();
        std::fs::create_dir(work.join("elsewhere")).expect("a directory");
        many("other, longer content").file("sub/gone", "x").write(&work.join("outside"));
        let outside = Snapshot::take(&work.join("outside"));
        let [sub, evil] = ["sub", "evil"].map(|name| work.join("destination").join(name));
        // A link that is seen where a directory should be is replaced, and then this round is over.
        for _ in 0..12 {
            let _ = std::fs::remove_dir_all(work.join("destination"));
            many("old").write(&work.join("destination"));
            symlink("../outside/sub", &evil).expect("a link");
            while_exchanging(&sub, &evil, || copy(&work, options, "destination/"));
            Snapshot::take(&work.join("outside")).assert_same(&outside, Compare::ALL);
        }
        copy(&work, options, "destination/").expect_ok();
        let copied = std::fs::read(work.join("destination/sub/f1")).expect("copied");
        assert_eq!(copied, b"new content", "{options:?}");
    }
}

#[test]
fn an_alternate_destination_is_as_good_as_none() {
    require_root();
    for option in ["--link-dest=@/planted", "--copy-dest=@/planted", "--compare-dest=@/planted"] {
        assert_eq!(refused(&[option], 0, ""), "new content", "{option}");
    }
}

#[test]
fn a_destination_is_neither_entered_nor_made_through_it() {
    require_root();
    for (destination, options) in
        [("planted/", &[][..]), ("planted", &[]), ("planted/new/", &[]), ("planted/a/b/", &["--mkpath"])]
    {
        let work = ground(SOMEBODY);
        let before = Snapshot::take(&work.join("outside"));
        let outcome = copy(&work, options, destination);
        outcome.expect_code(3).expect_error_text(LOOP);
        Snapshot::take(&work.join("outside")).assert_same(&before, Compare::ALL);
    }
}

#[test]
fn links_of_ones_own_are_followed_everywhere() {
    let own = if is_root() { 0 } else { SOMEBODY };
    for options in [
        &["--files-from=planted/list"][..],
        &["--exclude-from=planted/list", "--include=f"],
        &["--log-file=planted/log"],
        &["--temp-dir=@/planted"],
        &["--backup", "--backup-dir=@/planted"],
        &["--link-dest=@/planted"],
    ] {
        copy(&ground(own), options, "destination/").expect_ok();
    }
    let work = ground(own);
    copy(&work, &[], "planted/").expect_ok();
    assert_eq!(std::fs::read_to_string(work.join("outside/f")).expect("there"), "new content");
}

#[test]
fn insecure_links_is_the_way_out() {
    for options in
        [["--insecure-links", "--log-file=planted/log"], ["--insecure-links", "--temp-dir=@/planted"]]
    {
        let work = ground(SOMEBODY);
        copy(&work, &options, "destination/").expect_ok();
        let content = std::fs::read_to_string(work.join("destination/f")).expect("there");
        assert_eq!(content, "new content", "{options:?}");
    }
}
