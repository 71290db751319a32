//! Pushes of the C client to our server: attributes and backups, compared with its push to itself.

use std::process::Command;

use rsync_e2e::matrix::{attribute_source, session_options};
use rsync_e2e::program::require_root;
use rsync_e2e::pull::environment;
use rsync_e2e::{Compare, Side, Snapshot, Tree, Work, run, shell};

/// What a push left and said.
#[derive(Debug)]
struct Pushed {
    destination: Snapshot,
    /// What is beside the destination under the name `kept`.
    kept: Snapshot,
    code: i32,
    /// Lines of output and of errors, sorted: deletions overtake items.
    stdout: Vec<String>,
    stderr: Vec<String>,
}

struct Push<'a> {
    source: &'a Tree,
    destination: &'a Tree,
    /// What is beside the destination before.
    kept: Option<Tree>,
    options: Vec<String>,
}

impl<'a> Push<'a> {
    fn new(source: &'a Tree, destination: &'a Tree, options: &str) -> Self {
        let options = options.split(' ').map(str::to_owned).collect();
        Self { source, destination, kept: None, options }
    }

    fn with(mut self, options: impl IntoIterator<Item = String>) -> Self {
        self.options.extend(options);
        self
    }

    fn to(&self, server: Side) -> Pushed {
        let work = Work::new();
        self.source.write(&work.join("source"));
        self.destination.write(&work.join("destination"));
        if let Some(kept) = &self.kept {
            kept.write(&work.join("kept"));
        }
        let mut command = Command::new(Side::C.rsync());
        environment(&mut command);
        let outcome = run(command
            .args(&self.options)
            .arg("-e")
            .arg(shell::plain(&work))
            .arg(format!("--rsync-path={}", server.rsync().display()))
            .arg(format!("{}/", work.join("source").display()))
            .arg(format!("host:{}/", work.join("destination").display())));
        Pushed {
            destination: Snapshot::take(&work.join("destination")),
            kept: Snapshot::take(&work.join("kept")),
            code: outcome.code,
            stdout: sorted(&outcome.stdout.to_string()),
            stderr: sorted(&outcome.stderr.to_string()),
        }
    }

    #[track_caller]
    fn assert_like_c(&self) -> Pushed {
        let (reference, ours) = (self.to(Side::C), self.to(Side::Ours));
        let what = self.options.join(" ");
        assert_eq!(ours.code, reference.code, "{what}: {:?}", ours.stderr);
        assert_eq!(ours.stdout, reference.stdout, "{what}");
        assert_eq!(ours.stderr, reference.stderr, "{what}");
        let compare = Compare { directory_times: false, ..Compare::ALL };
        ours.destination.assert_same(&reference.destination, compare);
        ours.kept.assert_same(&reference.kept, compare);
        ours
    }
}

/// The lines without the place in the program that failed.
fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> =
        text.lines().map(|line| line.split(") at ").next().unwrap_or_default().to_owned()).collect();
    lines.sort();
    lines
}

/// What [`attribute_source`] looks like after somebody meddled with it. The permissions of files stay:
/// the C rsync does not show that they change where it sets an ACL as well (spec 04 §8.2), we do.
fn meddled() -> Tree {
    attribute_source()
        .xattr("one", "user.short", "other")
        .xattr("plain", "user.extra", "goes")
        .xattr("sub", "user.dir", "other")
        .acl("plain", &[(1, 6, u32::MAX), (2, 7, 5), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 4, u32::MAX)])
        .acl("default", &[(1, 7, u32::MAX), (4, 7, u32::MAX), (32, 7, u32::MAX)])
}

#[test]
fn attributes_arrive_at_every_protocol_that_has_them() {
    for protocol in 30..=32 {
        for incremental in [false, true] {
            let Some(session) = session_options(protocol, incremental) else { continue };
            for destination in [Tree::new(), meddled()] {
                let source = attribute_source();
                Push::new(&source, &destination, "-aiAX").with(session.clone()).assert_like_c();
            }
        }
    }
}

#[test]
fn a_second_push_of_attributes_has_nothing_to_do() {
    let (source, destination) = (attribute_source(), attribute_source());
    let pushed = Push::new(&source, &destination, "-aiAXO").assert_like_c();
    assert!(pushed.stdout.is_empty(), "{:?}", pushed.stdout);
}

/// The value of `first` is asked for; before it comes, `second` shows that it is known.
#[test]
fn a_value_may_come_after_another_file_told_it() {
    let value = vec![7; 500];
    let source = Tree::new()
        .file("first", "1")
        .xattr("first", "user.long", value.clone())
        .file("second", "2")
        .xattr("second", "user.long", value.clone());
    let destination = Tree::new().file("first", "1").file("second", "2").xattr("second", "user.long", value);
    for _ in 0..5 {
        Push::new(&source, &destination, "-aX").assert_like_c();
    }
}

#[test]
fn symlinks_and_special_files_carry_attributes_too() {
    require_root();
    let source = Tree::new().symlink("link", "target").xattr("link", "trusted.t", "1").fifo("fifo").xattr(
        "fifo",
        "trusted.t",
        "2",
    );
    for destination in [Tree::new(), Tree::new().symlink("link", "target").fifo("fifo")] {
        Push::new(&source, &destination, "-aiX").assert_like_c();
    }
}

fn replaced() -> (Tree, Tree) {
    let source = Tree::new().file("a", "A2").file("same", "x").file("sub/f", "new");
    let destination = Tree::new()
        .file("a", "A")
        .file("same", "x")
        .file("sub/f", "older")
        .file("z", "extra")
        .file("q~", "a backup already")
        .file("gone/f", "extra too");
    (source, destination)
}

#[test]
fn replaced_and_deleted_files_are_kept_beside_or_in_the_backup_directory() {
    let (source, destination) = replaced();
    for options in [
        "-aib",
        "-ab --info=backup",
        "-rtb",
        "-aibc",
        "-aib --suffix=.orig",
        "-aib --delete",
        "-aib --delete --delete-excluded",
        "-aib --delete-after",
        "-ainb --delete",
        "-aib --inplace --no-W",
        "-aib --delay-updates",
        "-aib --partial-dir=.p",
        "-ai --backup-dir=inside",
        "-ai --delete --backup-dir=../kept --info=backup",
        "-ai --delete --backup-dir=../kept/deeper --suffix=.1",
    ] {
        let pushed = Push::new(&source, &destination, options).assert_like_c();
        assert_eq!(pushed.code, 0, "{options}");
    }
}

#[test]
fn an_older_backup_makes_way_even_if_it_is_a_directory() {
    let source = Tree::new().file("a", "A2").file("f", "new");
    let destination =
        Tree::new().file("a", "A").file("a~", "very old").file("f", "older").file("f~/in/x", "in the way");
    Push::new(&source, &destination, "-aib").assert_like_c();
}

#[test]
fn links_and_special_files_are_kept_and_directories_are_not() {
    let source = Tree::new().symlink("l", "new").file("p", "f").file("empty", "f").symlink("wasfile", "x");
    let destination = Tree::new().symlink("l", "old").fifo("p").dir("empty").file("wasfile", "data");
    Push::new(&source, &destination, "-aib").assert_like_c();
}

#[test]
fn backups_do_not_share_what_is_overwritten_in_place() {
    let source = Tree::new().file("a", "new").hard_link("b", "a").file("other", "x");
    let destination = Tree::new().file("a", "old").hard_link("other", "a").file("b", "old b");
    for options in ["-aiHb", "-aib", "-aib --inplace --no-W"] {
        Push::new(&source, &destination, options).assert_like_c();
    }
}

#[test]
fn directories_of_backups_look_like_those_of_the_destination() {
    let (source, destination) = (
        Tree::new().file("sub/f", "new").mode("sub", 0o2711),
        Tree::new().file("sub/f", "older").mode("sub", 0o2711).file("inside/sub", "in the way"),
    );
    Push::new(&source, &destination, "-ai --backup-dir=inside").assert_like_c();
}

#[test]
fn a_backup_directory_that_is_none_is_refused_before_anything_is_touched() {
    let (source, destination) = replaced();
    let mut push = Push::new(&source, &destination, "-ai --backup-dir=../kept/file");
    push.kept = Some(Tree::new().file("file", "no directory"));
    let pushed = push.assert_like_c();
    assert_eq!(pushed.code, 1);
}

#[test]
fn unsafe_links_are_not_kept() {
    let source = Tree::new().file("l", "file");
    let destination = Tree::new().symlink("l", "/etc");
    Push::new(&source, &destination, "-aib --safe-links").assert_like_c();
}
