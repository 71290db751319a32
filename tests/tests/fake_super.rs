//! `--fake-super` and `--munge-links`, compared with what C does: the receiver of one implementation
//! keeps what the sender of the other reads.

use rsync_e2e::tree::AclEntry;
use rsync_e2e::{Compare, Copying, Side, Tree, Way};

use rsync_e2e::program::{is_root, require_root};

const fn class(tag: u16, perms: u16) -> AclEntry {
    (tag, perms, u32::MAX)
}

const NAMED: [AclEntry; 5] = [class(1, 6), (2, 6, 1001), class(4, 4), class(16, 6), class(32, 4)];
const DEFAULT: [AclEntry; 5] = [class(1, 7), (2, 7, 1001), class(4, 5), class(16, 7), class(32, 5)];

/// Something of every kind, with owners where those can be given.
fn source() -> Tree {
    let tree = Tree::new()
        .file("plain", "plain")
        .xattr("plain", "user.u", "1")
        .acl("plain", &NAMED)
        .file("setuid", "s")
        .mode("setuid", 0o4755)
        .file("closed", "c")
        .mode("closed", 0o400)
        .symlink("link", "plain")
        .fifo("fifo")
        .socket("socket")
        .file("sticky/inner", "i")
        .hard_link("sticky/second", "plain")
        .mode("sticky", 0o1777)
        .default_acl("sticky", &DEFAULT);
    if !is_root() {
        return tree;
    }
    tree.char_device("char", 5, 7)
        .mode("char", 0o640)
        .block_device("block", 7, 9)
        .file("given", "away")
        .owner("given", 12, 34)
        .owner("sticky", 100, 100)
        .owner("link", 5, 6)
        .xattr("plain", "trusted.t", "2")
        .xattr("given", "security.test", [b's'; 60])
}

/// What a receiver with `--fake-super` makes of such a tree, a part of it changed.
fn kept() -> Tree {
    Tree::new()
        .file("plain", "plain")
        .xattr("plain", "user.rsync.trusted.t", "old")
        .file("setuid", "s")
        .mode("setuid", 0o755)
        .xattr("setuid", "user.rsync.%stat", "104711 0,0 1:2")
        .file("link", "elsewhere")
        .xattr("link", "user.rsync.%stat", "120777 0,0 5:6")
        .file("char", "")
        .xattr("char", "user.rsync.%stat", "20640 5,8 0:0")
        .file("block", "")
        .mode("block", 0o644)
        .xattr("block", "user.rsync.%stat", "60644 7,9 3:3")
        .symlink("fifo", "a real link")
        .file("gone", "")
        .xattr("gone", "user.rsync.%stat", "20640 1,3 0:0")
        .dir("sticky")
        .mode("sticky", 0o700)
        .xattr("sticky", "user.rsync.%stat", "41500 0,0 7:7")
        .file("given", "away")
        .xattr("given", "user.rsync.%stat", "100644 0,0 99:99")
}

/// The same with ACLs.
fn kept_with_acls() -> Tree {
    kept()
        .xattr("plain", "user.rsync.%aacl", [0x80_u8, 0, 0, 0, 7, 0, 0, 0, 7, 0, 0, 0, 0x80, 0, 0, 0])
        .xattr("sticky", "user.rsync.%dacl", [0_u8; 16])
}

/// A receiver of each implementation that keeps privileged attributes.
fn keeping(options: &str) -> [Copying; 2] {
    let receiver = format!("{options} -M--fake-super");
    [
        Copying::new(source(), &receiver).by(&[Way::Local, Way::Push]),
        Copying::new(source(), &format!("{options} --fake-super")).by(&[Way::Pull]),
    ]
}

#[test]
fn what_only_root_may_set_is_kept_like_c() {
    for options in ["-aAXHi", "-aHi", "-ai --numeric-ids", "-aXi --no-D", "-aAi --protocol=30"] {
        for copying in keeping(options) {
            copying.assert_like_c();
        }
    }
    for copying in keeping("-rltDi") {
        // The C rsync invents owners where it keeps none (spec 04 §4.3).
        copying.comparing(Compare { xattrs: false, ..Compare::ALL }).assert_like_c();
    }
}

#[test]
fn what_was_kept_is_compared_and_changed_like_c() {
    // The C rsync takes the ACL attributes away when it sets attributes, and has them back with the next
    // run (spec 04 §3.4): -A and -X are tried apart.
    for options in ["-aAHi --delete", "-aXi --delete-after", "-ai --inplace", "-aic", "-aiu"] {
        let before = if options.contains('A') { kept_with_acls() } else { kept() };
        for copying in keeping(options) {
            copying.onto(before.clone()).assert_like_c();
        }
    }
}

#[test]
fn what_was_kept_is_backed_up_and_found_elsewhere_like_c() {
    for options in ["-ai --backup --suffix=.old", "-ai --copy-dest=../other", "-ai --link-dest=../other"] {
        // Backups beside the originals leave the times of directories alone.
        let compare = Compare { directory_times: !options.contains("--backup"), ..Compare::ALL };
        for copying in keeping(options) {
            copying.onto(kept()).beside("other", kept()).comparing(compare).assert_like_c();
        }
    }
}

#[test]
fn what_was_kept_is_sent_as_what_it_stands_for() {
    require_root();
    // An option of the sending side alone.
    for (options, way) in [
        ("-aAXHi --fake-super -M--no-super", Way::Local),
        ("-aHi --fake-super", Way::Local),
        ("-aAXi --fake-super", Way::Push),
        ("-aAXi -M--fake-super", Way::Pull),
        ("-aLi -M--fake-super", Way::Pull),
        ("-aAXi --list-only -M--fake-super", Way::Pull),
    ] {
        let directory_times = !options.contains("--list-only");
        let copying = Copying::new(kept_with_acls(), options).by(&[way]);
        copying.comparing(Compare { directory_times, ..Compare::ALL }).assert_like_c();
    }
}

#[test]
fn a_round_trip_between_the_implementations_loses_nothing() {
    require_root();
    for (keeper, reader) in [(Side::C, Side::Ours), (Side::Ours, Side::C), (Side::Ours, Side::Ours)] {
        let there = Copying::new(source(), "-aAXH -M--fake-super");
        let kept = there.run(Way::Local, keeper, keeper);
        assert_eq!(kept.code, 0, "{kept:?}");
        let back = Copying::new(Tree::new(), "-aAXHi -M--fake-super").from(&["destination/"]).to("back/");
        let back = back.run_in(kept.work, Way::Pull, Side::C, reader);
        assert_eq!(back.code, 0, "{back:?}");
        back.tree("back").assert_same(&back.tree("source"), Compare::ALL);
    }
}

#[test]
fn a_corrupt_attribute_spoils_one_file_only() {
    let source = Tree::new()
        .file("bad", "b")
        .xattr("bad", "user.rsync.%stat", "nonsense")
        .file("directory", "no")
        .xattr("directory", "user.rsync.%stat", "40755 0,0 0:0")
        .file("good", "g")
        .xattr("good", "user.rsync.%stat", "100600 0,0 0:0");
    let copied = Copying::new(source.clone(), "-ai --fake-super").run(Way::Push, Side::Ours, Side::C);
    assert_eq!(copied.code, 23, "{copied:?}");
    assert_eq!(
        copied.stderr[..2],
        [
            "Corrupt user.rsync.%stat xattr attached to \"WORK/source/bad\": \"nonsense\"",
            "Corrupt user.rsync.%stat xattr attached to \"WORK/source/directory\": \"40755 0,0 0:0\"",
        ]
    );
    let made: Vec<_> = std::fs::read_dir(copied.work.join("destination")).expect("list").flatten().collect();
    assert!(made.len() == 1 && made[0].file_name() == "good", "{copied:?}");
    let new = Tree::new().file("bad", "new").file("directory", "new").file("good", "new");
    let copied = Copying::new(new, "-ai --fake-super").onto(source).run(Way::Pull, Side::Ours, Side::C);
    assert_eq!(copied.code, 23, "{copied:?}");
    let read = |name: &str| std::fs::read_to_string(copied.work.join(name)).expect("file");
    assert_eq!([read("destination/bad"), read("destination/good")], ["b", "new"]);
}

fn links() -> Tree {
    Tree::new()
        .symlink("absolute", "/etc/x")
        .symlink("relative", "file")
        .symlink("munged", "/rsyncd-munged/file")
        .symlink("only", "/rsyncd-munged/")
        .file("file", "f")
}

#[test]
fn links_are_made_unusable_and_usable_again_like_c() {
    for options in [
        "-ai --munge-links",
        "-ai -M--munge-links",
        "-ai --munge-links -M--munge-links",
        "-ai --munge-links --safe-links",
        "-ai --munge-links --copy-unsafe-links",
        "-ai --munge-links --protocol=29",
    ] {
        // A local copy of C's shows links as its sending half sees them.
        let local = Copying::new(links(), options).by(&[Way::Local]);
        let told = !options.contains("-M");
        let local = if told { local } else { local.whatever_is_said() };
        local.assert_like_c();
        local.onto(links()).assert_like_c();
        let remote = Copying::new(links(), options).by(&[Way::Push, Way::Pull]);
        remote.assert_like_c();
        remote.onto(links()).assert_like_c();
    }
}
