//! `--copy-as`, compared with what C does.

use std::os::unix::fs::chown;

use rsync_e2e::program::require_root;
use rsync_e2e::{Compare, Copying, Side, Tree, Way};

const NOBODY: u32 = 65_534;

fn source() -> Tree {
    Tree::new()
        .file("public", "p")
        .owner("public", 12, 34)
        .file("private", "p")
        .mode("private", 0o600)
        .file("theirs", "t")
        .owner("theirs", NOBODY, NOBODY)
        .mode("theirs", 0o600)
        .file("closed/file", "c")
        .mode("closed", 0o700)
        .char_device("device", 1, 3)
}

fn copying(options: &str) -> Copying {
    // Whose the root of the destination is decides whether anything can be written.
    let destination = Tree::new().file("there", "x").owner("", NOBODY, NOBODY);
    let compare = Compare { directory_times: false, ..Compare::ALL };
    Copying::new(source(), options).onto(destination).comparing(compare)
}

#[test]
fn files_are_read_and_made_as_that_user_like_c() {
    require_root();
    for options in
        ["-ai --copy-as=nobody", "-aiH --super --copy-as=65534:100", "-rlptDi --copy-as=nobody:users"]
    {
        copying(options).assert_like_c();
    }
    for who in ["65534", "nobody:65534"] {
        copying(&format!("-ai --copy-as={who}")).by(&[Way::Local]).assert_like_c();
        copying(&format!("-ai -M--copy-as={who}")).by(&[Way::Push, Way::Pull]).assert_like_c();
    }
}

#[test]
fn nobody_else_becomes_somebody_like_c() {
    require_root();
    for who in ["nosuch", "nosuch:users", "nobody:nosuch", "nobody:", "4000000000", ""] {
        let copying = copying(&format!("-ai --copy-as={who}"));
        let [copied, reference] = [Side::Ours, Side::C].map(|side| copying.run(Way::Local, side, side));
        assert_eq!((copied.code, &copied.stdout), (reference.code, &reference.stdout));
        // Both halves of the C rsync may be heard.
        assert!(copied.stderr.iter().all(|line| reference.stderr.contains(line)), "{copied:?} {reference:?}");
        assert_eq!(copied.stderr.len(), 2, "{copied:?}");
    }
}

#[test]
fn only_root_becomes_somebody_else() {
    require_root();
    let work = copying("-a").prepare();
    chown(work.path(), Some(NOBODY), None).expect("chown");
    let program = Side::Ours.rsync();
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    command.current_dir(work.path()).args(["-a", "--copy-as=root", "source/public", "destination/"]);
    let outcome = rsync_e2e::run(&mut command);
    outcome.expect_code(1).expect_error_text("setgid failed: Operation not permitted (1)");
    assert!(!work.join("destination/public").exists());
}
