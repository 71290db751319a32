//! Batch files (spec 08 §12): written, exchanged with the C rsync in both directions, and refused.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rsync_e2e::program::require_root;
use rsync_e2e::pull::environment;
use rsync_e2e::{Compare, Outcome, Side, Snapshot, Tree, Twins, Work, run, shell};

/// What is recorded: `s` is the source, `d` an older state of it, of which `e` is a copy.
fn trees() -> Tree {
    let old: String = (0..3000).map(|number| format!("{number}\n")).collect();
    let new = old.replace("\n777\n", "\nchanged\n");
    let mut tree = Tree::new()
        .file("s/f", "hello\n")
        .symlink("s/l", "f")
        .hard_link("s/hard", "s/f")
        .file("s/sub/deep/g", vec![0; 5000])
        .file("s/sub/big", new)
        .mode("s/sub/big", 0o640);
    for place in ["d", "e"] {
        tree = tree.file(format!("{place}/sub/big"), old.clone()).file(format!("{place}/extra"), "x");
        tree = tree.time(format!("{place}/extra"), 1_500_000_000, 0).time(
            format!("{place}/sub/big"),
            1_500_000_000,
            0,
        );
    }
    tree
}

/// The same with attributes that only some file systems keep.
fn rich_trees() -> Tree {
    const EVERYBODY: u32 = u32::MAX;
    let acl =
        [(1, 6, EVERYBODY), (2, 4, 65534), (4, 4, EVERYBODY), (0x10, 4, EVERYBODY), (0x20, 0, EVERYBODY)];
    trees().xattr("s/sub/big", "user.colour", "blue").acl("s/f", &acl)
}

fn rsync(side: Side, work: &Work, words: &str) -> Outcome {
    let mut command = Command::new(side.rsync());
    environment(&mut command);
    let rsh = shell::plain(work).display().to_string();
    let words = words.split(' ').map(|word| word.replace("{rsh}", &rsh));
    run(command.current_dir(work.path()).args(words).arg(format!("--rsync-path={}", side.rsync().display())))
}

/// Lets `writer` bring `d` up to date and record that, and `reader` bring `e` up to date by the record.
#[track_caller]
fn exchange(tree: &Tree, writer: Side, reader: Side, options: &str, operands: &str) {
    let work = Work::new();
    tree.write(work.path());
    let options_of_reader = options.split(' ').filter(|word| !word.starts_with("--protocol"));
    let options_of_reader = options_of_reader.collect::<Vec<_>>().join(" ");
    rsync(writer, &work, &format!("{options} --write-batch=B {operands}")).expect_ok();
    rsync(reader, &work, &format!("{options_of_reader} --read-batch=B e/")).expect_ok();
    let (direct, replayed) = (Snapshot::take(&work.join("d")), Snapshot::take(&work.join("e")));
    replayed.assert_same(&direct, Compare { directory_times: false, ..Compare::ALL });
}

const OPTIONS: [&str; 4] = ["-a", "-az", "-aH --delete", "-aHi --no-i-r --delete-after"];
const OPERANDS: [&str; 3] = ["s/ d/", "-e {rsh} s/ h:d/", "-e {rsh} h:s/ d/"];

fn exchange_all(writer: Side, reader: Side) {
    for protocol in [27, 28, 29, 30, 31, 32] {
        for (number, options) in OPTIONS.iter().enumerate() {
            // Every protocol and every way with some of the options, all options with each way.
            let operands = OPERANDS[(number + protocol) % OPERANDS.len()];
            exchange(&trees(), writer, reader, &format!("{options} --protocol={protocol}"), operands);
        }
    }
    for operands in OPERANDS {
        exchange(&rich_trees(), writer, reader, "-aHAX --delete", operands);
    }
}

#[test]
fn the_c_rsync_applies_what_ours_records() {
    exchange_all(Side::Ours, Side::C);
}

#[test]
fn ours_applies_what_the_c_rsync_records() {
    exchange_all(Side::C, Side::Ours);
}

#[test]
fn ours_applies_what_ours_records() {
    for (options, operands) in OPTIONS.iter().zip(OPERANDS.iter().cycle()) {
        exchange(&trees(), Side::Ours, Side::Ours, options, operands);
    }
}

#[test]
fn recordings_alone_are_exchanged_and_touch_nothing() {
    for (writer, reader) in [(Side::Ours, Side::C), (Side::C, Side::Ours), (Side::Ours, Side::Ours)] {
        for operands in OPERANDS {
            let work = Work::new();
            rich_trees().write(work.path());
            let before = Snapshot::take(&work.join("d"));
            let written = rsync(writer, &work, &format!("-aXv --delete --only-write-batch=B {operands}"));
            written.expect_ok();
            assert!(written.stdout.ends_with(b" (BATCH ONLY)\n"), "{}", written.stdout);
            Snapshot::take(&work.join("d")).assert_same(&before, Compare::ALL);
            rsync(reader, &work, "-aX --delete --read-batch=B d/").expect_ok();
            let left = rsync(Side::C, &work, "-aXni --delete s/ d/");
            assert_eq!(left.expect_ok().stdout, "", "{writer:?} to {reader:?} by {operands}");
        }
    }
}

#[test]
fn a_mixed_pair_records_alone_too() {
    for (client, server) in [(Side::Ours, Side::C), (Side::C, Side::Ours)] {
        for protocol in [28, 29, 31, 32] {
            let work = Work::new();
            trees().write(work.path());
            let before = Snapshot::take(&work.join("d"));
            let mut command = Command::new(client.rsync());
            environment(&mut command);
            let outcome = run(command
                .current_dir(work.path())
                .args(["-a", &format!("--protocol={protocol}"), "--only-write-batch=B", "-e"])
                .arg(shell::plain(&work))
                .arg(format!("--rsync-path={}", server.rsync().display()))
                .args(["s/", "h:d/"]));
            outcome.expect_ok();
            Snapshot::take(&work.join("d")).assert_same(&before, Compare::ALL);
            rsync(server, &work, "-a --read-batch=B d/").expect_ok();
            assert_eq!(rsync(Side::C, &work, "-ani s/ d/").stdout, "", "protocol {protocol}");
        }
    }
}

#[test]
fn what_is_printed_is_what_the_c_rsync_prints() {
    for line in ["-avi --delete", "-avv --no-i-r", "-a --stats", "-ain", "-a --list-only"] {
        Twins::new(trees())
            .line("-a --write-batch=B s/ d/")
            .line(&format!("{line} --read-batch=B e/"))
            .line(&format!("{line} --read-batch=B e/"))
            .line(&format!("{line} --read-batch=B new/"))
            .assert_same_output();
    }
    Twins::new(trees()).line("-a --write-batch=B s/ d/").line("-rlv --read-batch=B e/").assert_same_output();
    for operands in OPERANDS {
        for option in ["--write-batch", "--only-write-batch"] {
            let words = format!("-avi --delete {option}=B --rsync-path={{rsync}} {operands}");
            Twins::new(trees()).line(&words).assert_same_output();
        }
    }
}

#[test]
fn single_files_and_empty_lists_are_recorded() {
    Twins::new(trees())
        .line("-avi --write-batch=B s/f one")
        .line("-avi --read-batch=B e/")
        .line("-avi --read-batch=B two")
        .assert_same_output();
    Twins::new(trees())
        .line("-a --files-from=/dev/null --write-batch=B . d")
        .line("-a --read-batch=B e")
        .assert_same_output();
    Twins::new(trees()).line("-a --write-batch=B s/").line("-a --write-batch=B nope d").assert_same_output();
}

#[test]
fn the_script_is_that_of_the_c_rsync() {
    let script = |side: Side, words: &[&str]| {
        let work = Work::new();
        trees().file("rules", "+ a b/\n- *.x\n#E#\n").write(work.path());
        let mut command = Command::new(side.rsync());
        environment(&mut command);
        run(command.current_dir(work.path()).args(words)).expect_ok();
        let mode = std::fs::metadata(work.join("B.sh")).expect("a script").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(std::fs::metadata(work.join("B")).expect("a batch").permissions().mode() & 0o777, 0o600);
        let text = String::from_utf8(std::fs::read(work.join("B.sh")).expect("a script")).expect("text");
        text.replacen(&side.rsync().display().to_string(), "rsync", 1)
    };
    for words in [
        &["-a", "--write-batch=B", "s/", "d/"][..],
        &["-a", "--only-write-batch", "B", "s/", "it's $HOME `x`"],
        &[
            "-av",
            "--write-batch=B",
            "-f",
            "merge rules",
            "-F",
            "-C",
            "--exclude",
            "x",
            "-f",
            "P foo",
            "s",
            "d",
        ],
        &["-a0b", "--delete", "--partial-dir=.p", "--write-batch=B", "--include=b/", "-T", "/tmp", "s/", "d"],
        &["-a", "--protocol=28", "--write-batch=B", "--exclude-from=rules", "s/", "d"],
        &["-aF", "--files-from=/dev/null", "--timeout", "7", "--temp-dir=/tmp", "--write-batch=B", ".", "d"],
        &["-a", "-f- a", "-af", "- b", "--write-batch=B", "s/", "-vv", "--", "d"],
        &["-a", "--write-batch=B", "s/"],
    ] {
        assert_eq!(script(Side::Ours, words), script(Side::C, words), "{words:?}");
    }
}

#[test]
fn the_script_applies_the_batch_with_its_rules() {
    let work = Work::new();
    trees().file("e/kept.o", "1").file("d/kept.o", "1").write(work.path());
    rsync(Side::Ours, &work, "-a --delete --exclude=*.o --write-batch=B s/ d/").expect_ok();
    std::fs::rename(work.join("e"), work.join("place")).expect("renamed");
    run(Command::new("/bin/sh").current_dir(work.path()).args(["./B.sh", "place"])).expect_ok();
    assert!(work.join("place/kept.o").exists() && !work.join("place/extra").exists());
    assert!(work.join("place/sub/big").exists());
}

#[test]
fn no_rule_and_no_word_escapes_its_quotes_in_the_script() {
    let work = Work::new();
    trees().write(work.path());
    let mut command = Command::new(Side::Ours.rsync());
    environment(&mut command);
    run(command.current_dir(work.path()).args([
        "-a",
        "--exclude=#E#",
        "--exclude=$(touch escaped)",
        "--out-format='; touch escaped; '",
        "--write-batch=B",
        "s/",
        "d/",
    ]))
    .expect_ok();
    run(Command::new("/bin/sh").current_dir(work.path()).args(["./B.sh", "e"])).expect_ok();
    assert!(!work.join("escaped").exists());
    let twins =
        Twins::new(trees()).run(["-a", "--exclude=a\n#E#\ntouch escaped", "--write-batch=B", "s/", "d/"]);
    let ours = twins.with(Side::Ours);
    assert_eq!(ours.runs[0].0, 1);
    assert!(ours.runs[0].2[0].starts_with("cannot write a filter rule containing a newline"), "{ours:?}");
}

#[test]
fn what_was_recorded_and_what_is_wanted_are_compared() {
    // Not wanted; wanted and not there; without the basis that the record was made with.
    Twins::new(trees())
        .line("-a s/ e/")
        .line("-a --no-i-r --write-batch=B s/ d/")
        .line("-avi --read-batch=B e/")
        .assert_same_output();
    Twins::new(trees().file("d/f", "other"))
        .line("-a --write-batch=B s/ d/")
        .line("-avi --read-batch=B new/")
        .assert_same_output();
    Twins::new(Tree::new().file("s/a", "1").file("s/sub/b", "2").file("e/a", "x"))
        .line("-a s/ d/")
        .line("-a --no-i-r --write-batch=B s/ d/")
        .line("-a --no-i-r --read-batch=B e/")
        .assert_same_output();
}

#[test]
fn a_file_that_is_wanted_but_not_recorded_is_a_failure_and_no_hang() {
    // With incremental recursion the C rsync waits for ever.
    for recursion in ["--i-r", "--no-i-r"] {
        let work = Work::new();
        Tree::new().file("s/sub/b", "2").file("s/z/c", "3").write(work.path());
        rsync(Side::Ours, &work, "-a s/ d/").expect_ok();
        rsync(Side::Ours, &work, &format!("-a {recursion} --write-batch=B s/ d/")).expect_ok();
        let outcome = rsync(Side::Ours, &work, &format!("-a {recursion} --read-batch=B e/"));
        outcome.expect_code(23).expect_error_text("(No batched update for \"sub/b\")");
        outcome.expect_error_text("(No batched update for \"z/c\")");
    }
}

#[test]
fn a_record_that_does_not_fit_its_basis_is_not_a_success() {
    // The block sums of the record matched another content: the C rsync ends with 0.
    for recursion in ["--i-r", "--no-i-r"] {
        let work = Work::new();
        trees().file("e/sub/big", vec![b'x'; 14_000]).write(work.path());
        rsync(Side::Ours, &work, &format!("-a {recursion} --write-batch=B s/ d/")).expect_ok();
        let outcome = rsync(Side::Ours, &work, &format!("-av {recursion} --read-batch=B e/"));
        outcome.expect_code(23);
        outcome.expect_error_text("sub/big failed verification -- update discarded (may try again).");
        outcome.expect_error_text("(No batched update for resend of \"sub/big\")");
        assert_eq!(std::fs::read(work.join("e/sub/big")).expect("kept"), vec![b'x'; 14_000]);
    }
}

#[test]
fn options_are_made_to_fit_and_contradictions_refused() {
    for line in [
        "-v --read-batch=B e/",
        "-rlv --read-batch=B e/",
        "-avHXz --read-batch=B e/",
        "-a --protocol=30 --read-batch=B e/",
        "-a --delete-before --read-batch=B e/",
        "-a --no-i-r --read-batch=B e/",
        "-a --read-batch=B h:d",
        "-a --read-batch=nope d",
        "-a --read-batch=s d",
        "-a --read-batch=B --files-from=x d",
        "-a --read-batch=B --remove-source-files d",
        "-a --read-batch=B --write-batch=C d",
        "-a --write-batch=none/B s d",
        "-a --write-batch=d s e",
        "-a --read-batch=B one two e/",
    ] {
        let twins = Twins::new(trees()).line("-a --write-batch=B s/ d/").line(line);
        // Recursion that only the flags of the file ask for is enough for ours.
        if line.starts_with("-v ") {
            assert_eq!(twins.with(Side::Ours).runs[1].0, 0);
            continue;
        }
        twins.assert_same_output();
    }
}

#[test]
fn a_batch_may_come_through_standard_input_and_a_pipe() {
    for script in [
        "cat B | $RSYNC -a --delete --read-batch=- e/",
        "mkfifo q && (cat B > q &) && $RSYNC -a --delete --read-batch=q e/",
    ] {
        let work = Work::new();
        trees().write(work.path());
        rsync(Side::C, &work, "-a --delete --write-batch=B s/ d/").expect_ok();
        let mut command = Command::new("/bin/sh");
        environment(&mut command);
        let script = script.replace("$RSYNC", &Side::Ours.rsync().display().to_string());
        run(command.current_dir(work.path()).args(["-c", &script])).expect_ok();
        let (direct, replayed) = (Snapshot::take(&work.join("d")), Snapshot::take(&work.join("e")));
        replayed.assert_same(&direct, Compare { directory_times: false, ..Compare::ALL });
    }
}

/// A recorded batch of a plain tree.
fn recorded(options: &str) -> (Work, Vec<u8>) {
    let work = Work::new();
    Tree::new().file("s/f", "hello\n").file("s/sub/g", "more\n").symlink("s/l", "f").write(work.path());
    rsync(Side::Ours, &work, &format!("{options} --write-batch=B s/ d/")).expect_ok();
    let bytes = std::fs::read(work.join("B")).expect("a batch");
    (work, bytes)
}

fn apply(work: &Work, bytes: &[u8], options: &str) -> Outcome {
    std::fs::write(work.join("T"), bytes).expect("written");
    let _ = std::fs::remove_dir_all(work.join("e"));
    rsync(Side::Ours, work, &format!("{options} --read-batch=T e/"))
}

#[test]
fn a_batch_cut_off_anywhere_is_a_broken_stream() {
    for options in ["-a", "-a --protocol=29", "-az --no-i-r"] {
        let (work, bytes) = recorded(options);
        let reader = options.replace(" --protocol=29", "");
        for length in (0..bytes.len()).step_by(23) {
            let outcome = apply(&work, &bytes[..length], &reader);
            outcome.expect_code(12).expect_error_text("connection unexpectedly closed (");
        }
        apply(&work, &bytes, &reader).expect_ok();
    }
}

#[test]
fn flags_and_protocols_that_nobody_wrote_are_refused() {
    let (work, bytes) = recorded("-a");
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        apply(&work, &bytes, "-a")
    };
    with(3, 0x40).expect_code(2).expect_error_text("unknown stream flags");
    with(4, 33).expect_code(2).expect_error_text("batch file is too new (33 > 32).");
    with(4, 3).expect_code(2).expect_error_text("batch file is too old (3 < 27).");
    with(7, 0x80).expect_code(2);
    with(8, 0xff).expect_code(12);
    assert!(!work.join("e").exists());
}

#[test]
fn garbage_ends_with_an_error_and_touches_nothing_outside() {
    let (work, bytes) = recorded("-a");
    std::fs::write(work.join("bystander"), "untouched").expect("written");
    let mut random = 12345_u32;
    for _ in 0..40 {
        let mut bytes = bytes.clone();
        for _ in 0..3 {
            random = random.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            let at = 14 + (random >> 8) as usize % (bytes.len() - 14);
            bytes[at] = (random >> 24) as u8;
        }
        let outcome = apply(&work, &bytes, "-a --delete");
        let known = [0, 1, 2, 3, 4, 11, 12, 22, 23];
        assert!(known.contains(&outcome.code), "{}: {}", outcome.code, outcome.stderr);
        assert!(!outcome.stderr.to_string().contains("panicked"), "{}", outcome.stderr);
        let names = std::fs::read_dir(work.path()).expect("listed").count();
        assert!(names <= 8, "something was made beside the destination");
        assert_eq!(std::fs::read(work.join("bystander")).expect("there"), b"untouched");
    }
}

#[test]
fn names_that_leave_the_destination_are_refused() {
    let (work, bytes) = recorded("-a");
    let at = bytes.windows(2).position(|pair| pair == b"\x01f").expect("the name of a file");
    for name in ["../out", "/tmp/out-of-a-batch"] {
        let mut bytes = bytes.clone();
        bytes[at] = name.len() as u8;
        bytes.splice(at + 1..at + 2, name.bytes());
        let outcome = apply(&work, &bytes, "-a");
        outcome.expect_code(4).expect_error_text("ABORTING due to unsafe pathname from sender: ");
        assert!(!work.join("out").exists() && !Path::new("/tmp/out-of-a-batch").exists());
    }
}

#[test]
fn a_batch_does_not_write_through_a_link_it_brought() {
    let work = Work::new();
    Tree::new().file("s/a/f", "evil\n").dir("outside").dir("e").write(work.path());
    rsync(Side::Ours, &work, "-a --no-i-r --write-batch=B s/ d/").expect_ok();
    std::os::unix::fs::symlink(work.join("outside"), work.join("e/a")).expect("a link");
    rsync(Side::Ours, &work, "-a --no-i-r --no-t --read-batch=B e/");
    assert!(!work.join("outside/f").exists());
}

#[test]
fn links_of_others_on_the_way_to_a_batch_are_not_followed() {
    require_root();
    let (work, bytes) = recorded("-a");
    std::fs::write(work.join("target"), bytes).expect("written");
    for name in ["evil", "evil.sh"] {
        std::os::unix::fs::symlink("target", work.join(name)).expect("a link");
        std::os::unix::fs::lchown(work.join(name), Some(65534), Some(65534)).expect("given away");
    }
    let read = rsync(Side::Ours, &work, "-a --read-batch=evil e/");
    read.expect_code(11).expect_error_text("open error: Too many levels of symbolic links (40)");
    let written = rsync(Side::Ours, &work, "-a --write-batch=evil s/ d/");
    written.expect_code(3).expect_error_text("evil.sh\" open error: Too many levels of symbolic links (40)");
    rsync(Side::Ours, &work, "-a --insecure-links --read-batch=evil e/").expect_ok();
}
