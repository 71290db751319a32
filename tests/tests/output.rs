//! What a transfer prints and logs, line by line, beside the C rsync (spec 07 §15 to §21).

use rsync_e2e::mixed::Mixed;
use rsync_e2e::ways::{EVERY_WAY, Way};
use rsync_e2e::{Compare, Copying, Tree};

/// A bit of everything, with times that show.
fn source() -> Tree {
    Tree::new()
        .file("content", "changed a lot")
        .file("mode", "same")
        .file("new", "new")
        .file("same", "same")
        .file("sub/file", "same size")
        .symlink("link", "target")
}

/// An older state of it.
fn destination() -> Tree {
    Tree::new()
        .file("content", "old")
        .file("mode", "same")
        .mode("mode", 0o600)
        .file("same", "same")
        .file("gone", "gone")
        .file("olddir/file", "gone")
        .file("sub/file", "SAME SIZE")
        .mode("sub", 0o700)
        .symlink("link", "elsewhere")
}

#[track_caller]
fn like_c(options: &[&str], ways: &[Way]) {
    for options in options {
        Mixed::new(&source(), &destination(), options).assert_like_c(ways);
    }
}

#[test]
fn a_list_is_the_receiving_sides_wherever_that_is() {
    like_c(
        &[
            "--list-only -r",
            "--list-only -rl --no-h",
            "--list-only -ahh",
            "--list-only -r -i --delete --log-file=W/log",
            "--list-only -rv --protocol=28",
        ],
        &[Way::Push, Way::Pull],
    );
}

#[test]
fn a_log_file_has_the_items_that_the_own_format_shows_and_every_deletion() {
    like_c(
        &[
            "-a --delete",
            "-ai --delete",
            "-aiin",
            "-ai --out-format=%n --delete",
            "-a --delete --log-file-format=%o_%n",
            "-a --delete --log-file-format=",
            "-ai --delete --protocol=29",
        ]
        .map(|options| format!("{options} --log-file=W/log"))
        .each_ref()
        .map(String::as_str),
        &EVERY_WAY,
    );
}

#[test]
fn the_remote_command_and_what_matched_are_told() {
    like_c(&["-ai --debug=cmd,deltasum", "-rtI --debug=cmd,deltasum --protocol=29"], &[Way::Push, Way::Pull]);
}

#[test]
fn progress_of_a_file_begins_with_its_first_piece() {
    let source = Tree::new()
        .file("empty", "")
        .file("small", "abc")
        .random("large", 300_000, 1)
        .random("grown", 100_000, 2);
    let destination = Tree::new().random("grown", 90_000, 2);
    for options in ["-a --info=progress", "-a --info=progress --no-h --append"] {
        Mixed::new(&source, &destination, options).assert_like_c(&EVERY_WAY);
    }
}

#[test]
fn bytes_of_a_transfer_are_counted_by_the_side_that_prints_them() {
    let source = Tree::new().file("new", "new").file("changed", "x").random("touched", 100_000, 2);
    let destination = Tree::new().file("changed", "y").random("touched", 100_000, 2).file("later", "");
    for options in ["-a --out-format=%n:%b:%c:%l", "-a --out-format=%n:%b:%c --protocol=29"] {
        Mixed::new(&source, &destination, options).assert_like_c(&[Way::Push, Way::Pull]);
    }
    let log = "-a --log-file=W/log --log-file-format=%n:%b:%c";
    Mixed::new(&source, &destination, log).assert_like_c(&[Way::Push]);
}

#[test]
fn progress_while_blocks_are_searched_for_says_what_was_searched() {
    let source = Tree::new()
        .random("none-of-some", 40_000, 1)
        .random("none-of-much", 70_000, 2)
        .file("behind-a-piece", [b"a piece".as_slice(), &rsync_e2e::tree::random(20_000, 3)].concat());
    let destination = Tree::new().file("none-of-some", "other").file("none-of-much", "other").random(
        "behind-a-piece",
        20_000,
        3,
    );
    Mixed::new(&source, &destination, "-a --info=progress").assert_like_c(&[Way::Push, Way::Pull]);
}

#[test]
fn progress_of_everything_ends_with_each_phase_and_covers_longer_lines() {
    let source = Tree::new().many("m", 12).random("large", 40_000, 1);
    Mixed::new(&source, &Tree::new(), "-a --info=progress2 --no-i-r").assert_like_c(&EVERY_WAY);
}

#[test]
fn a_list_is_counted_aloud_and_its_size_told_where_it_comes() {
    let destination = Tree::new();
    let (many, few) = (Tree::new().many("m", 110), Tree::new().many("m", 3));
    Mixed::new(&many, &destination, "-av --no-i-r --info=flist2").assert_like_c(&EVERY_WAY);
    Mixed::new(&few, &destination, "-a --stats --no-i-r").assert_like_c(&EVERY_WAY);
}

#[test]
fn a_directory_that_an_alternate_destination_has_shows_a_time_only_beside_another_difference() {
    let source = Tree::new().file("a", "same").file("sub/b", "same");
    let compare = Compare { times: false, directory_times: false, ..Compare::ALL };
    for options in ["-ri --link-dest=../other", "-rpii --copy-dest=../other"] {
        let copying =
            Copying::new(source.clone(), options).beside("other", source.clone().mode("sub", 0o700));
        copying.to("new/").by(&[Way::Local]).comparing(compare).assert_like_c();
    }
}

#[test]
fn acls_and_attributes_are_copied_locally_whatever_the_protocol() {
    let source = Tree::new().file("a", "content").xattr("a", "user.kept", "value");
    let copying = Copying::new(source, "-aAX --protocol=29");
    copying.by(&[Way::Local]).assert_like_c();
}
