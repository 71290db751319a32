//! `--iconv`: names, targets, arguments, lists of names and messages are converted as the C rsync does.

use std::process::Command;

use rsync_e2e::mixed::Mixed;
use rsync_e2e::pull::environment;
use rsync_e2e::ways::{EVERY_WAY, Way};
use rsync_e2e::{Compare, Side, Tree, run};

/// Protocols at which conversion differs: targets are converted from 30 on.
const PROTOCOLS: [u8; 4] = [27, 29, 30, 32];

/// The destination itself is not part of these transfers.
const NEW_DIRECTORY_TIMES: Compare = Compare { directory_times: false, ..Compare::ALL };

fn latin1() -> Tree {
    Tree::new()
        .file(b"l\xe4tin", "x")
        .hard_link(b"zw\xf6", b"l\xe4tin")
        .file("plain", "p")
        .symlink("link", b"t\xe4rget")
        .file(b"d\xe4r/f\xf6", "inside")
        .file(b"d\xe4r/e\xe9/deeper", "deeper")
        .file("dir/plain", "p")
}

fn utf8() -> Tree {
    Tree::new()
        .file("lätin", "x")
        .hard_link("zwö", "lätin")
        .file("plain", "p")
        .symlink("link", "tärget")
        .file("där/fö", "inside")
        .file("där/eé/deeper", "deeper")
        .file("dir/plain", "p")
}

#[test]
fn names_and_targets_are_converted_both_ways_at_every_protocol() {
    for protocol in PROTOCOLS {
        let options = format!("-aiH --protocol={protocol} --stderr=client");
        Mixed::new(&latin1(), &Tree::new(), &format!("{options} --iconv=latin1,utf8"))
            .assert_like_c(&[Way::Push]);
        Mixed::new(&utf8(), &Tree::new(), &format!("{options} --iconv=utf8,latin1"))
            .assert_like_c(&[Way::Push]);
        Mixed::new(&latin1(), &Tree::new(), &format!("{options} --iconv=utf8,latin1"))
            .assert_like_c(&[Way::Pull]);
        Mixed::new(&utf8(), &Tree::new(), &format!("{options} --iconv=latin1,utf8"))
            .assert_like_c(&[Way::Pull]);
    }
}

#[test]
fn a_local_copy_converts_between_its_two_halves() {
    for options in ["-aiH", "-ai --no-inc-recursive", "-aic", "-ai --remove-source-files"] {
        Mixed::new(&latin1(), &Tree::new(), &format!("{options} --iconv=latin1,utf8"))
            .assert_like_c(&[Way::Local]);
        Mixed::new(&utf8(), &Tree::new(), &format!("{options} --iconv=utf8,latin1"))
            .assert_like_c(&[Way::Local]);
    }
}

#[test]
fn a_second_run_finds_everything_in_place() {
    for (way, source, destination, charsets) in [
        (Way::Local, latin1(), utf8(), "latin1,utf8"),
        (Way::Push, utf8(), latin1(), "utf8,latin1"),
        (Way::Pull, utf8(), latin1(), "latin1,utf8"),
    ] {
        let options = format!("-rltpiH --delete --iconv={charsets}");
        Mixed::new(&source, &destination, &options).assert_like_c(&[way]);
    }
}

#[test]
fn what_cannot_be_converted_is_skipped_by_the_sender_and_nothing_is_deleted() {
    let source = latin1().file(b"cut\xc3", "ends inside a character");
    let destination = Tree::new().file("extra", "stays").file("plain", "other");
    for options in ["-ai", "-ai --delete", "-ai --delete-after", "-ai --protocol=29 --delete"] {
        Mixed::new(&source, &destination, &format!("{options} --iconv=utf8")).assert_like_c(&[
            Way::Local,
            Way::Push,
            Way::Pull,
        ]);
    }
}

#[test]
fn what_the_receiver_cannot_have_is_skipped() {
    // The C rsync aborts where such an entry comes with incremental recursion, or to a pulling client.
    let options = "-ai --no-inc-recursive --stderr=client --iconv=";
    let source = Tree::new().file("éт", "no").file("к", "no").file("é", "yes");
    Mixed::new(&source, &Tree::new(), &format!("{options}utf8,latin1")).assert_like_c(&[Way::Push]);
    let source = source.symlink("sym", "т");
    let left = Mixed::new(&source, &Tree::new(), &format!("{options}latin1,utf8")).run(
        Way::Pull,
        Side::Ours,
        Side::C,
    );
    assert_eq!(left.code, 23, "{:?}", left.stderr);
    assert!(format!("{:?}", left.stderr).contains("cannot convert symlink data for"), "{:?}", left.stderr);
    let names: Vec<_> = left.tree.names().filter(|name| *name != ".").collect();
    assert_eq!(names, [&b"\xe9"[..]]);
}

#[test]
fn lists_of_names_are_converted_with_secluded_arguments_only() {
    for (options, list) in [
        ("-ai -s --iconv=latin1,utf8", &b"l\xe4tin\nd\xe4r/f\xf6\n"[..]),
        ("-ai --iconv=utf8,utf8", "lätin\ndär/fö\n".as_bytes()),
        ("-ai -s --iconv=latin1,utf8 --protocol=29", b"l\xe4tin\n"),
    ] {
        Mixed::new(&utf8(), &Tree::new(), options)
            .compare(NEW_DIRECTORY_TIMES)
            .word("--files-from=W/list")
            .file("list", list)
            .assert_like_c(&[Way::Pull]);
    }
    Mixed::new(&utf8(), &Tree::new(), "-ai -s --iconv=utf8,latin1")
        .compare(NEW_DIRECTORY_TIMES)
        .word("--files-from=:W/list")
        .file("list", &b"l\xe4tin\nd\xe4r/f\xf6\n"[..])
        .assert_like_c(&[Way::Push]);
}

#[test]
fn arguments_are_converted_with_secluded_arguments_only() {
    // The argument is UTF-8 here; the server's names are Latin 1.
    for (options, name) in [
        ("-ai -s", "där"),
        ("-ai -s --no-inc-recursive", "där/"),
        ("-ai", "missing-ä"),
        ("-ai -s --stderr=client", "missing-ä"),
    ] {
        let (source, empty) = (latin1(), Tree::new());
        let twin = Mixed::new(&source, &empty, &format!("{options} --iconv=utf8,latin1")).from(name);
        let c = twin.run(Way::Pull, Side::C, Side::C);
        for (client, server) in [(Side::Ours, Side::C), (Side::C, Side::Ours), (Side::Ours, Side::Ours)] {
            let ours = twin.run(Way::Pull, client, server);
            assert_eq!((ours.code, &ours.stdout), (c.code, &c.stdout), "{options} {:?}", ours.stderr);
            assert!(ours.tree.differences(&c.tree, NEW_DIRECTORY_TIMES).is_empty(), "{options}");
            // The C client may fail to say goodbye to a server that is gone.
            assert_eq!(ours.stderr.first(), c.stderr.first(), "{options}");
        }
    }
}

#[test]
fn filters_are_not_converted() {
    for filter in [&b"--exclude=d\xe4r"[..], "--exclude=lätin".as_bytes()] {
        Mixed::new(&latin1(), &Tree::new(), "-ai --iconv=latin1,utf8")
            .word(filter)
            .assert_like_c(&[Way::Local, Way::Push]);
    }
}

#[test]
fn the_variable_is_overridden_by_options() {
    for options in ["-ai", "-ai --no-iconv", "-ai --iconv=-", "-ai --iconv=utf8,utf8"] {
        Mixed::new(&utf8(), &Tree::new(), options)
            .variable("RSYNC_ICONV", "utf8,latin1")
            .assert_like_c(&EVERY_WAY);
    }
}

#[test]
fn a_dot_is_the_charset_of_the_locale() {
    for locale in ["C.UTF-8", "C"] {
        Mixed::new(&utf8(), &Tree::new(), "-ai --iconv=.")
            .variable("LC_ALL", locale)
            .assert_like_c(&[Way::Local]);
    }
}

#[test]
fn an_unknown_charset_ends_the_run_on_the_side_that_it_is_of() {
    let ours = |words: &[&str]| {
        let mut command = Command::new(Side::Ours.rsync());
        environment(&mut command);
        run(command.args(words))
    };
    for words in [
        &["-a", "--iconv=foo", "/etc/hostname", "/nowhere/"][..],
        &["-a", "--iconv=utf8,foo", "/etc/hostname", "/nowhere/"],
        &["-a", "--iconv=foo,utf8", "/etc/hostname", "host:/nowhere/"],
        &["--server", "-re.Lsf", "--iconv=foo", ".", "/nowhere"],
    ] {
        let outcome = ours(words);
        outcome.expect_code(4).expect_error_text("iconv_open(\"UTF-8\", \"foo\") failed\n");
    }
}
