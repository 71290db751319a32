//! The command lines of tools and tutorials, run unchanged by the C rsync and by ours: equal trees, exit
//! codes and lines (spec 11 §1, §2.2).

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rsync_e2e::outcome::Outcome;
use rsync_e2e::{Compare, Daemon, Side, Snapshot, Tree, Work, run};

/// A mirror's upstream: packages with hard links, indexes, links out of the tree, an unfinished transfer.
fn upstream() -> Tree {
    Tree::new()
        .file("last-updated", "1700000000\n")
        .symlink("latest-stable", "v3.12")
        .random("edge/main/x86_64/pkg-1.apk", 40_000, 1)
        .hard_link("edge/main/noarch/pkg-1.apk", "edge/main/x86_64/pkg-1.apk")
        .file("edge/main/x86_64/APKINDEX.tar.gz", "index")
        .random("v3.12/main/pkg-2.apk", 10_000, 2)
        .random("v3.11/main/pkg-0.apk", 10_000, 3)
        .symlink("v3.12/outside", "/etc/passwd")
        .file("dists/stable/Release", "Suite: stable\n")
        .file("dists/stable/InRelease", "signed\n")
        .file("dists/stable/main/binary-amd64/Packages.xz", "packages")
        .file("dists/stable/main/Contents-amd64.gz", "contents")
        .file("dists/stable/main/Packages.diff/Index", "patches")
        .file("dists/stable/main/by-hash/SHA256/abc", "by hash")
        .file("pool/main/a/a_1_amd64.deb", "deb")
        .file("pool/main/a/a_1_i386.deb", "deb")
        .file("project/trace/ftp-master", "trace")
        .file("ls-lR.gz", "list")
        .file(".~tmp~/left", "over")
}

/// What an older run left at the destination.
fn older() -> Tree {
    Tree::new()
        .file("last-updated", "1600000000\n")
        .random("edge/main/x86_64/pkg-1.apk", 39_000, 1)
        .file("edge/main/x86_64/gone.apk", "gone")
        .file("v3.11/main/kept-or-not", "x")
        .file("dists/stable/Release", "Suite: old\n")
        .file("pool/main/a/a_0_amd64.deb", "old deb")
        .file("pool/main/a/a_0_i386.deb", "foreign")
        .file("project/trace/mirror.example.org", "ours")
        .time("last-updated", 1_600_000_000, 0)
}

/// The lines that do not depend on bytes on the wire, on time, or on when a process got to run. A C sender
/// that is slow counts its files between ours.
fn lines(outcome: &Outcome) -> Vec<String> {
    let text = outcome.stdout.to_string();
    let varies = ["sent ", "total size is ", "Total bytes ", "File list "];
    let kept = text.lines().filter(|line| {
        !line.contains('\r') && !line.contains(" file") && !varies.iter().any(|start| line.starts_with(start))
    });
    let mut lines: Vec<String> = kept.map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Standard error without ports and places in sources.
fn errors(outcome: &Outcome) -> String {
    let text = outcome.stderr.to_string();
    let lines = text.lines().map(|line| line.split(" at ").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n").chars().filter(|letter| !letter.is_ascii_digit()).collect()
}

/// Runs `script` with `rsync` first in the PATH being one side's, in `start` of a new place, which holds
/// `dest`. `URL` and `PORT` lead to a daemon of the C rsync that serves `from`.
fn by(side: Side, from: &Path, script: &str) -> (Outcome, Work) {
    let work = Work::new();
    older().write(&work.join("dest"));
    fs::create_dir(work.join("start")).unwrap();
    fs::create_dir(work.join("bin")).unwrap();
    std::os::unix::fs::symlink(side.rsync(), work.join("bin/rsync")).unwrap();
    let daemon = Daemon::start(Side::C, "", &[rsync_e2e::daemon::Module::new("www", from)]);
    let path = format!("{}:{}", work.join("bin").display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.current_dir(work.join("start")).env("PATH", path).env("LC_ALL", "C.UTF-8");
    command.env("URL", daemon.url("www/")).env("PORT", daemon.port().to_string());
    (run(command.args(["-c", script])), work)
}

/// Runs `script` with both and answers ours, which did the same.
#[track_caller]
fn same(script: &str) -> (Outcome, Work) {
    let started = SystemTime::now() - Duration::from_secs(1);
    let source = Work::new();
    upstream().write(&source.join("www"));
    let (c, c_work) = by(Side::C, &source.join("www"), script);
    let (ours, work) = by(Side::Ours, &source.join("www"), script);
    assert_eq!((ours.code, errors(&ours)), (c.code, errors(&c)), "{}", ours.stdout);
    assert_eq!(lines(&ours), lines(&c));
    // What the script makes itself has the time of its run.
    let tree = |work: &Work| Snapshot::take(&work.join("dest")).without_times_after(started);
    tree(&c_work).assert_same(&tree(&work), Compare::ALL);
    (ours, work)
}

#[test]
fn the_alpine_mirror_script() {
    const SCRIPT: &str = "\
        printf 'edge**\\nv3.12**\\n' >../include\n\
        exec rsync --archive --update --hard-links --delete --delete-after --delay-updates --timeout=600 \
        --progress --include-from=../include --exclude */ $URL ../dest/";
    let (outcome, work) = same(SCRIPT);
    outcome.expect_ok();
    assert!(work.join("dest/edge/main/x86_64/pkg-1.apk").exists() && work.join("dest/last-updated").exists());
    assert!(!work.join("dest/dists").join("stable/InRelease").exists());
    // Where there is a directory, the shell expands the pattern that nobody quoted.
    let (trapped, _) = same(&format!("mkdir sub other\n{SCRIPT}"));
    trapped.expect_code(1).expect_error_text("Unexpected remote arg: rsync://");
}

#[test]
fn tunasync_in_one_stage_and_in_two() {
    const BASE: &str = "-aHvh --no-o --no-g --stats --filter 'risk .~tmp~/' --exclude .~tmp~/";
    same(&format!(
        "exec rsync {BASE} --delete --delete-after --delay-updates --safe-links --timeout=120 $URL ../dest"
    ))
    .0
    .expect_ok();
    let profile = "--include=*.diff/ --include=by-hash/ --exclude=*.diff/Index --exclude=Contents* \
                   --exclude=Packages* --exclude=Sources* --exclude=Release* --exclude=InRelease \
                   --exclude=i18n/* --exclude=dep11/* --exclude=installer-*/current --exclude=ls-lR*";
    let (_, work) = same(&format!(
        "set -f\nrsync {BASE} --safe-links {profile} --timeout=120 $URL ../dest && cp -a ../dest ../one &&\n\
         rsync {BASE} --delete --delete-after --delay-updates --safe-links --timeout=120 $URL ../dest"
    ));
    assert_eq!(fs::read_to_string(work.join("one/dists/stable/Release")).unwrap(), "Suite: old\n");
    assert_eq!(fs::read_to_string(work.join("dest/dists/stable/Release")).unwrap(), "Suite: stable\n");
}

#[test]
fn ftpsync_in_its_two_stages() {
    const COMMON: &str = "-prltvHSB8192 --safe-links --chmod=D755,F644 --timeout 120 --stats --no-human-readable \
        --no-inc-recursive --exclude=.~tmp~/ --filter='protect Archive-Update-in-Progress-mirror' \
        --filter='protect project/trace/mirror.example.org' --bwlimit=0 \
        --exclude=binary-i386/ --exclude=*_i386.deb --exclude=Contents-i386.gz";
    const FIRST: &str = "--include=*.diff/ --include=by-hash/ --exclude=*.diff/Index --exclude=Contents* \
        --exclude=Packages* --exclude=Sources* --exclude=Release* --exclude=InRelease --exclude=i18n/* \
        --exclude=dep11/* --exclude=installer-*/current --exclude=ls-lR*";
    const SECOND: &str = "--max-delete=40000 --delay-updates --delete --delete-delay --delete-excluded";
    let (outcome, work) = same(&format!(
        "set -f\ntouch ../dest/Archive-Update-in-Progress-mirror\n\
         rsync {COMMON} {FIRST} $URL ../dest && rsync {COMMON} {SECOND} $URL ../dest"
    ));
    outcome.expect_ok();
    assert!(work.join("dest/project/trace/mirror.example.org").exists());
    assert!(work.join("dest/Archive-Update-in-Progress-mirror").exists());
    assert!(!work.join("dest/pool/main/a/a_0_i386.deb").exists());
}

#[test]
fn the_line_of_the_round_robin_article() {
    let (outcome, work) = same("exec rsync -avzrt --delete --port=$PORT 127.0.0.1::www ../dest/");
    outcome.expect_ok();
    assert!(!work.join("dest/edge/main/x86_64/gone.apk").exists());
}

#[test]
fn a_rotation_of_backups_by_link_dest() {
    let (outcome, work) = same(
        "set -e\nrsync -a --delete $URL ../dest/day.1/\n\
         rsync -a --delete --link-dest=../day.1 $URL ../dest/day.2/\n\
         rm ../dest/day.2/last-updated; echo new >../dest/day.2/pool/own\n\
         mv ../dest/day.2 ../dest/day.3\n\
         rsync -ai --delete --link-dest=../day.3 --link-dest=../day.1 --stats $URL ../dest/day.4/",
    );
    outcome.expect_ok();
    let inode = |day: &str| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(work.join(format!("dest/{day}/v3.12/main/pkg-2.apk"))).unwrap().ino()
    };
    assert_eq!((inode("day.1"), inode("day.3")), (inode("day.4"), inode("day.4")));
}

#[test]
fn a_person_at_a_terminal_gets_a_hint_and_a_script_does_not() {
    let work = Work::new();
    let port = rsync_e2e::daemon::free_port();
    let words = format!("{} -a rsync://127.0.0.1:{port}/m/ d/", Side::Ours.rsync().display());
    let mut command = Command::new("script");
    let shown = run(command.current_dir(work.path()).args(["-qec", &words, "/dev/null"]));
    let text = shown.expect_code(10).stdout.to_string();
    let position = |part: &str| text.find(part).unwrap();
    assert!(position("Connection refused (111)") < position("hint: no daemon listens on that port"));
    assert!(position("hint: ") < position("rsync error: error in socket IO (code 10)"));
    let quiet = run(Command::new("sh").current_dir(work.path()).args(["-c", &words]));
    assert_eq!(quiet.stderr.to_string().lines().count(), 2);
}
