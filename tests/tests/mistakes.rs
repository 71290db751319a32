//! What users get wrong: every mistake is answered with the C rsync's exit code and texts (spec 08 §1 to §4,
//! §8, §9; 07 §2).

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rsync_e2e::program::is_root;
use rsync_e2e::pull::environment;
use rsync_e2e::{Side, Tree, Work, run};

/// Options that are none, or lack what they need, and values that are bad.
const OPTIONS: &[&str] = &[
    "--nosuch s/ d/",
    "-Z s/ d/",
    "--no-a s/ d/",
    "--version=1",
    "--verbose=1 s/ d/",
    "-e",
    "-T",
    "--exclude",
    "--timeout",
    "--timeout s/ d/",
    "--timeout=x s/ d/",
    "--contimeout=x s/ d/",
    "--port=x s/ d/",
    "--modify-window=x s/ d/",
    "--max-delete=x s/ d/",
    "--compress-level=x s/ d/",
    "--max-size=abc s/ d/",
    "--max-size=-1 s/ d/",
    "--max-size=-0 s/ d/",
    "--min-size=-5k s/ d/",
    "--min-size=1x s/ d/",
    "--bwlimit=abc s/ d/",
    "--bwlimit=1 s/a d/",
    "--block-size=999999999 s/ d/",
    "-B x s/ d/",
    "--max-alloc=1 s/ d/",
    "--max-alloc=x s/ d/",
    "--compress-choice=foo s/ d/",
    "--checksum-choice=foo s/ d/",
    "--cc=md5,foo s/ d/",
    "--info=foo s/ d/",
    "--debug=foo s/ d/",
    "--outbuf=x s/ d/",
    "--stderr=foo s/ d/",
    "--chmod=bad s/ d/",
    "--chmod=u+q s/ d/",
    "--chmod=9999 s/ d/",
    "--chown=nosuchuser s/a d/",
    "-M x s/ d/",
    "--stop-at=never s/ d/",
    "--stop-at=2001-01-01 s/ d/",
    "--stop-after=x s/ d/",
    "-N s/ d/",
];

/// Options that do not go together, or not with these operands.
const COMBINATIONS: &[&str] = &[
    "--delete s/ d/",
    "-r --delete-before --delete-after s/ d/",
    "--append --whole-file s/ d/",
    "--inplace --partial-dir=x s/ d/",
    "--inplace --delay-updates s/ d/",
    "--copy-dest=x --link-dest=y s/ d/",
    "--suffix=a/b -b s/ d/",
    "--backup --suffix= s/ d/",
    "--old-args -s s/ d/",
    "--write-batch=x --read-batch=y s/ d/",
    "--read-batch=nosuch d/",
    "--write-batch=/nosuch/b s/ d/",
    "--files-from=nosuch s/ d/",
    "--files-from=h:list s d",
    "-a --files-from=list s/ d/",
    "--password-file=pw s/ h:d/",
    "--contimeout=1 s/ h:d/",
    "-XX --fake-super s/ d/",
    "--confine-root=x s/ d/",
    "-a --log-file=/nosuch/log s/ d/",
    "-a --temp-dir=nosuch s/ d/",
    "-a --temp-dir=file s/ d/",
    "-a --temp-dir= s/ d/",
    "-a --backup-dir=file s/ d/",
    "-a --link-dest=nosuch s/ d/",
    "-a --link-dest=../file s/ d/",
    "-a --compare-dest= s/ d/",
];

/// Bad filter rules.
const FILTERS: &[&str] = &[
    "--filter= s/a d/",
    "--filter=bogus s/ d/",
    "--filter=,x s/ d/",
    "--filter=merge,nosuch s/ d/",
    "--filter=._rules s/ d/",
    "-f x s/ d/",
    "-a -f-x s/ d/",
    "-a -f!x s/ d/",
    "-a -f-z_x s/ d/",
    "-a -f:zx s/ d/",
    "-a -fbogus_x s/ d/",
    "-a -fexclude s/ d/",
    "--exclude-from=nosuch s/ d/",
    "--include-from=nosuch s/ d/",
];

/// Sources and destinations that are missing, of the wrong type, or in the wrong place.
const OPERANDS: &[&str] = &[
    "nosuch d/",
    "nosuch",
    "-a s/nosuch s/a d/",
    "-a --list-only nosuch",
    "s/ d/",
    "s/sub d/",
    "-a s/ nosuch/dir",
    "-a s/a d/x/y/z",
    "-a s/a s/b file",
    "-a s/sub file",
    "-a s/a file/",
    "-a s/a file/x",
    "-a s/a d/LONG",
    "-a s/a LONG",
    "-a LONG d/",
    "-r s/pipe d/",
    "-a h:s/ h:d/",
    "-a h:a k:b d/",
    "-a h:a b d/",
    "-a s/ h:x d/",
    "-a -x:y d/",
    "-a h::/abs d/",
    "-a -e 'x h:x d/",
    "-a rsync://127.0.0.1:1/m/ d/",
    "-a --port=1 127.0.0.1::m d/",
    "-a rsync://nosuch.invalid/m/ d/",
    "-4 rsync://[::1]:1/m/ d/",
];

/// What an ordinary user may not do.
const PERMISSIONS: &[&str] = &[
    "-a s/ d/",
    "-ai s/locked d/",
    "-a s/locked/ d/",
    "-a s/secret d/",
    "-c s/secret d/",
    "-aR s/locked/x d/",
    "-a s/a s/locked/",
    "-a s/a closed/",
    "-a s/sub closed",
    "-a s/sub/ closed/new",
    "-a --mkpath s/a closed/p/q/",
    "-a --delete s/ full/",
    "-a --inplace s/a kept/",
    "-a --delay-updates s/a kept/",
    "-a --remove-source-files kept/a d/",
    "-a --compare-dest=../s/locked/x s/a d/",
    "-a --log-file=closed/log s/a d/",
    "-a --write-batch=closed/batch s/a d/",
    "--files-from=s/secret s/ d/",
    "--exclude-from=s/secret s/ d/",
];

fn prepare() -> Work {
    let work = Work::new();
    let tree = Tree::new().file("s/a", "a").file("s/b", "b").file("s/sub/c", "c").fifo("s/pipe");
    let tree =
        tree.dir("d").file("file", "f").file("list", "a\nnosuch\n").file("rules", "- ok\nbogus rule\n");
    tree.file("pw", "secret\n").mode("pw", 0o600).write(work.path());
    work
}

/// The same, and things in it that the user may not read or write.
fn prepare_locked(user: u32) -> Work {
    let work = prepare();
    let tree = Tree::new().file("s/locked/x", "x").file("s/secret", "s").dir("closed");
    tree.file("full/gone/x", "x").file("full/a", "old").file("kept/a", "old").write(work.path());
    if is_root() {
        let all =
            ["", "d", "s", "s/a", "s/b", "s/sub", "s/sub/c", "s/pipe", "s/locked", "s/locked/x", "s/secret"];
        let rest = ["closed", "full", "full/gone", "full/gone/x", "full/a", "kept", "kept/a"];
        for name in all.iter().chain(&rest) {
            std::os::unix::fs::lchown(work.join(name), Some(user), Some(user)).expect("chown");
        }
    }
    let modes = [("s/secret", 0), ("s/locked", 0), ("full/gone", 0o555), ("kept/a", 0o444), ("kept", 0o555)];
    for (name, mode) in modes.into_iter().chain([("closed", 0o555)]) {
        std::fs::set_permissions(work.join(name), Permissions::from_mode(mode)).expect("chmod");
    }
    work
}

/// What was said, without what cannot be equal, and how it ended.
type Answer = (i32, Vec<String>, Vec<String>);

fn answer(mut command: Command, work: &Work, options: &str) -> Answer {
    environment(&mut command);
    let long = "n".repeat(300);
    let program = command.get_program().to_string_lossy().into_owned();
    command.current_dir(work.path()).args(options.split(' ').map(|word| word.replace("LONG", &long)));
    let outcome = run(&mut command);
    let here = work.path().display().to_string();
    let lines = |text: String| -> Vec<String> {
        let text = text.replace(&here, "W").replace(&program, "rsync");
        let mut lines: Vec<String> =
            text.lines().filter(|line| !is_passing(line)).map(without_place).collect();
        // Both halves of C's local copies speak at once.
        lines.sort();
        lines
    };
    (outcome.code, lines(outcome.stdout.to_string()), lines(outcome.stderr.to_string()))
}

/// The other half of a local copy in C, which is killed, or left alone, when the first one failed.
fn is_passing(line: &str) -> bool {
    ["received SIGUSR1", "connection unexpectedly closed", "Broken pipe"].iter().any(|it| line.contains(it))
}

/// The line without the place in the program, and without the random part of a temporary name.
fn without_place(line: &str) -> String {
    if let Some((text, place)) = line.split_once(") at ") {
        let role = place.split(['[', '=']).nth(1).unwrap_or_default();
        return format!("{text}) [{role}]");
    }
    match line.split_once("mkstemp ").and_then(|(before, rest)| Some((before, rest.split_once("\" failed")?)))
    {
        Some((before, (name, reason))) => {
            let shown = name.rsplit_once('.').map_or(name, |(shown, _)| shown);
            format!("{before}mkstemp {shown} failed{reason}")
        }
        None => line.to_owned(),
    }
}

#[track_caller]
fn assert_all_same(mistakes: &[&str], answers: impl Fn(&str, Side) -> Answer) {
    let differing: Vec<String> = mistakes
        .iter()
        .filter_map(|mistake| {
            let [ours, theirs] = [Side::Ours, Side::C].map(|side| answers(mistake, side));
            (ours != theirs).then(|| format!("{mistake}\nours: {ours:?}\nC:    {theirs:?}"))
        })
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n\n"));
}

#[track_caller]
fn assert_answered_like_c(mistakes: &[&str]) {
    assert_all_same(mistakes, |mistake, side| answer(Command::new(side.rsync()), &prepare(), mistake));
}

#[test]
fn bad_options_and_values() {
    assert_answered_like_c(OPTIONS);
}

#[test]
fn options_that_do_not_go_together() {
    assert_answered_like_c(COMBINATIONS);
}

#[test]
fn bad_filter_rules() {
    assert_answered_like_c(FILTERS);
}

#[test]
fn bad_sources_and_destinations() {
    assert_answered_like_c(OPERANDS);
}

#[test]
fn what_an_ordinary_user_may_not_do() {
    const USER: u32 = 65_534;
    // Where the programs under test lie may be closed to that user.
    let programs = Work::new();
    let ours = programs.join("rsync");
    std::fs::copy(Side::Ours.rsync(), &ours).expect("copied");
    assert_all_same(PERMISSIONS, |mistake, side| {
        let mut command = match side {
            Side::Ours => Command::new(&ours),
            Side::C => Command::new(side.rsync()),
        };
        if is_root() {
            command.uid(USER).gid(USER);
        }
        let work = prepare_locked(USER);
        let answer = answer(command, &work, mistake);
        // An ordinary user could not clear away what is closed.
        for name in ["s/locked", "full/gone", "kept", "closed"] {
            // Some are gone by then.
            let _ = std::fs::set_permissions(work.join(name), Permissions::from_mode(0o755));
        }
        answer
    });
}
