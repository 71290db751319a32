//! ACLs and extended attributes of everything that can have them, compared with what the C pair does.

use rsync_e2e::program::{is_root, require_root};
use rsync_e2e::tree::{AclEntry, random};
use rsync_e2e::{Compare, Pull, Side, Transport, Tree};

/// An entry of an ACL that is about no particular id.
const fn class(tag: u16, perms: u16) -> AclEntry {
    (tag, perms, u32::MAX)
}

/// `u::U, u:1001:N, g::G, mask::M, o::O`.
const fn named(user: u16, name: u16, group: u16, mask: u16, other: u16) -> [AclEntry; 5] {
    [class(1, user), (2, name, 1001), class(4, group), class(16, mask), class(32, other)]
}

const DEFAULT: [AclEntry; 5] = named(7, 5, 5, 5, 1);
/// A default ACL without names, wider than any umask.
const PLAIN_DEFAULT: [AclEntry; 3] = [class(1, 6), class(4, 7), class(32, 4)];

fn source() -> Tree {
    let big = random(1000, 1);
    let tree = Tree::new()
        .file("plain", "plain")
        .file("linked", "linked")
        .xattr("linked", "user.big", big.clone())
        .xattr("linked", "user.small", "s")
        .file("shares", "shares the list")
        .xattr("shares", "user.big", big)
        .xattr("shares", "user.small", "s")
        .hard_link("second", "linked")
        .hard_link("sub/third", "linked")
        .file("limits", "lengths around the one where values are abbreviated")
        .xattr("limits", "user.empty", "")
        .xattr("limits", "user.32", [b'3'; 32])
        .xattr("limits", "user.33", [b'3'; 33])
        .xattr("limits", "user.2000", [b'3'; 2000])
        .file("read-only", "r")
        .xattr("read-only", "user.x", [b'r'; 50])
        .mode("read-only", 0o444)
        .file("names", "named users and groups")
        .acl(
            "names",
            &[class(1, 6), (2, 6, 33), (2, 4, 1001), class(4, 4), (8, 4, 100), class(16, 6), class(32, 4)],
        )
        .file("bounded", "the mask is less than the group")
        .acl("bounded", &named(6, 7, 6, 4, 0))
        .file("mask", "a mask without names")
        .acl("mask", &[class(1, 6), class(4, 6), class(16, 4), class(32, 0)])
        .file("both", "both")
        .xattr("both", "user.big", [b'z'; 100])
        .acl("both", &named(7, 7, 5, 7, 0))
        .file("sub/inner", "inner")
        .mode("sub/inner", 0o666)
        .file("shared/inner", "inner")
        .mode("shared/inner", 0o4755)
        .xattr("shared", "user.dir", [b'd'; 70])
        .mode("shared", 0o2775)
        .acl("shared", &named(7, 5, 5, 7, 5))
        .default_acl("shared", &DEFAULT)
        .dir("sticky")
        .mode("sticky", 0o1777)
        .default_acl("sticky", &PLAIN_DEFAULT)
        .symlink("link", "plain");
    if !is_root() {
        return tree;
    }
    tree.xattr("link", "trusted.link", [b'l'; 40])
        .xattr("plain", "security.test", [b's'; 50])
        .xattr("plain", "trusted.test", [b't'; 50])
        .char_device("device", 1, 3)
        .xattr("device", "trusted.device", [b'd'; 40])
        .acl("device", &named(6, 6, 4, 6, 0))
        .fifo("fifo")
        .xattr("fifo", "security.fifo", "f")
        .acl("fifo", &named(6, 6, 4, 6, 0))
        .file("given", "away")
        .owner("given", 1001, 100)
        .acl("given", &named(7, 5, 5, 5, 5))
        .xattr("given", "user.x", [b'g'; 90])
}

/// Partly like [`source`], partly with other attributes or content.
fn stale() -> Tree {
    Tree::new()
        .file("plain", "plain")
        .acl("plain", &named(6, 6, 4, 6, 4))
        .xattr("plain", "user.gone", "x")
        .file("linked", "linked")
        .xattr("linked", "user.big", random(1000, 1))
        .file("shares", "other content")
        .xattr("shares", "user.big", random(1000, 2))
        .file("second", "second")
        .file("limits", "lengths around the one where values are abbreviated")
        .xattr("limits", "user.32", [b'3'; 32])
        .xattr("limits", "user.33", [b'4'; 33])
        .file("read-only", "r")
        .xattr("read-only", "user.y", [b'r'; 50])
        .mode("read-only", 0o444)
        .file("names", "named users and groups")
        .acl("names", &named(6, 4, 4, 6, 4))
        .file("bounded", "stale")
        .acl("bounded", &named(6, 7, 6, 4, 0))
        .file("mask", "a mask without names")
        .file("both", "stale")
        .xattr("both", "user.big", [b'z'; 100])
        .acl("both", &named(7, 7, 5, 7, 0))
        .dir("sub")
        .acl("sub", &named(7, 5, 5, 5, 5))
        .default_acl("sub", &DEFAULT)
        .file("shared/inner", "stale")
        .default_acl("shared", &PLAIN_DEFAULT)
        .symlink("link", "elsewhere")
}

fn inheriting(entries: &[AclEntry]) -> Tree {
    Tree::new().default_acl("", entries)
}

/// Compares pulls in both directions with that of the C pair.
#[track_caller]
fn both_ways(pull: &Pull, compare: Compare) {
    let reference = pull.clone().between(Side::C, Side::C).run();
    for (client, server) in [(Side::Ours, Side::C), (Side::C, Side::Ours)] {
        pull.clone().between(client, server).assert_like(&reference, compare);
    }
}

#[track_caller]
fn with_options(options: &[&str]) {
    for destination in [Tree::new(), stale(), inheriting(&DEFAULT)] {
        let pull = Pull::new(source()).onto(destination);
        both_ways(&options.iter().fold(pull, |pull, option| pull.option(*option)), Compare::ALL);
    }
}

#[test]
fn every_kind_of_entry_keeps_its_attributes_like_c() {
    for options in [&["-AX"][..], &["-HAX"], &["-HA"], &["-HX"], &["-HAXX"]] {
        with_options(options);
    }
}

#[test]
fn every_protocol_carries_attributes_like_c() {
    for options in [
        &["-HAX", "--protocol=30"][..],
        &["-HAX", "--protocol=31", "--no-inc-recursive"],
        &["-HAX", "--protocol=30", "--no-inc-recursive", "--numeric-ids"],
    ] {
        with_options(options);
    }
}

#[test]
fn every_way_of_writing_files_keeps_attributes_like_c() {
    for option in ["-I", "-W", "-c", "--inplace", "--size-only", "--delay-updates", "--no-super"] {
        with_options(&["-HAX", option]);
    }
}

#[test]
fn a_dry_run_tells_what_would_change_like_c() {
    let pull = Pull::new(source()).onto(stale()).option("-HAXni");
    let lines = |client, server| {
        let outcome = pull.clone().between(client, server).run().outcome;
        outcome.expect_ok();
        outcome.stdout
    };
    let reference = lines(Side::C, Side::C);
    assert_eq!(lines(Side::Ours, Side::C), reference);
    assert_eq!(lines(Side::C, Side::Ours), reference);
}

#[test]
fn changed_modes_shape_acls_like_c() {
    with_options(&["-HAX", "--chmod=Du+rwx,Fg-w"]);
}

#[test]
fn filters_for_attributes_choose_like_c() {
    // The C rsync takes ACLs for attributes then: it stores them under another name, and removes them.
    require_root();
    for options in [&["-AX", "--filter=-x user.big"][..], &["-AX", "--filter=-x trusted.*"]] {
        with_options(options);
    }
}

#[test]
fn a_default_acl_takes_the_place_of_the_umask_like_c() {
    // Without root the C rsync leaves a new directory open to an owner who may not search it (spec 07 §12).
    let more = if is_root() { 0 } else { 1 };
    for entries in [&DEFAULT[..], &PLAIN_DEFAULT] {
        let searched = |&(tag, permissions, id): &AclEntry| match tag {
            1 => (tag, permissions | more, id),
            _ => (tag, permissions, id),
        };
        let entries: Vec<AclEntry> = entries.iter().map(searched).collect();
        for option in ["-rlt", "-rltE", "-rltD"] {
            let pull = Pull::new(source()).onto(inheriting(&entries)).options([option]);
            both_ways(&pull, Compare::ALL);
        }
    }
}

#[test]
fn a_second_run_finds_nothing_to_do() {
    for (client, server) in [(Side::Ours, Side::C), (Side::C, Side::Ours), (Side::Ours, Side::Ours)] {
        for transport in [Transport::Daemon, Transport::Shell] {
            let pull =
                Pull::new(source()).onto(stale()).between(client, server).over(transport).option("-HAXi");
            let first = pull.run();
            first.outcome.expect_ok();
            let second = pull.run_in(first.work);
            second.outcome.expect_ok();
            assert_eq!(second.outcome.stdout, "", "{}", pull.describe());
        }
    }
}
