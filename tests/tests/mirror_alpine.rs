//! The Alpine article: a script with flock and rsync in cron, and `rsync-mirror` in its place (spec 11 §1.1).
//! What the script's command line selects is in `tools.rs`; here is what happens while it runs.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rsync_e2e::outcome::Running;
use rsync_e2e::{Compare, Daemon, Mirror, Side, Snapshot, Tree, Work, program, run, wait_until};

const OPTIONS: [&str; 6] =
    ["--archive", "--update", "--hard-links", "--delete", "--delete-after", "--delay-updates"];

/// Who mirrors: the article's script with our `rsync` first in PATH, or `rsync-mirror`.
#[derive(Clone, Copy, Debug)]
enum By {
    Script,
    Mirror,
}

const EVERY_PAIR: [(By, Side); 4] =
    [(By::Script, Side::C), (By::Script, Side::Ours), (By::Mirror, Side::C), (By::Mirror, Side::Ours)];

/// The article's upstream, a mirror of it, and who keeps that.
struct Place {
    upstream: Work,
    daemon: Daemon,
    mirror: Mirror,
    by: By,
}

fn upstream() -> Tree {
    Tree::new()
        .file("last-updated", "1700000000\n")
        .symlink("latest-stable", "v3.12")
        .random("edge/main/a-changes.apk", 60_000, 1)
        .random("edge/main/b-stays.apk", 30_000, 2)
        .hard_link("edge/community/b-stays.apk", "edge/main/b-stays.apk")
        .random("edge/main/gone.apk", 2_000, 3)
        .random("v3.12/main/pkg.apk", 10_000, 4)
        .random("v3.11/main/old.apk", 10_000, 5)
}

impl Place {
    fn new(by: By, side: Side) -> Self {
        let (upstream, mirror) = (Work::new(), Mirror::new());
        self::upstream().write(&upstream.join("alpine"));
        let module = rsync_e2e::daemon::Module::new("alpine", &upstream.join("alpine"));
        let daemon = Daemon::start(side, "", &[module]);
        fs::write(mirror.file("include"), "edge**\nv3.12**\n").unwrap();
        fs::create_dir_all(mirror.file("bin")).unwrap();
        fs::create_dir_all(mirror.file("cron")).unwrap();
        std::os::unix::fs::symlink(Side::Ours.rsync(), mirror.file("bin/rsync")).unwrap();
        let place = Self { upstream, daemon, mirror, by };
        place.write_script();
        place
    }

    /// The script of the article, with another lock, source and destination.
    fn write_script(&self) {
        let script = format!(
            "#!/usr/bin/env sh\n\
             set -eu\n\
             if [ \"${{flock:-}}\" != 1 ]; then\n\
             \texec env flock=1 flock -n {lock} \"$0\" \"$@\"\n\
             fi\n\
             exec rsync {options} --timeout=600 --progress --include-from={include} --exclude */ ${{MORE:-}} {url} {tree}\n",
            lock = self.mirror.file("lock").display(),
            options = OPTIONS.join(" "),
            include = self.mirror.file("include").display(),
            url = self.daemon.url("alpine/"),
            tree = self.tree().display(),
        );
        let path = self.mirror.file("cron/alpine-mirror");
        fs::write(&path, script).unwrap();
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn tree(&self) -> PathBuf {
        self.mirror.tree()
    }

    fn source(&self, name: &str) -> PathBuf {
        self.upstream.join("alpine").join(name)
    }

    /// A run with one more option.
    fn command(&self, more: &str) -> Command {
        match self.by {
            By::Script => {
                let path =
                    format!("{}:{}", self.mirror.file("bin").display(), std::env::var("PATH").unwrap());
                let empty = self.mirror.file("empty");
                fs::create_dir_all(&empty).unwrap();
                let mut command = Command::new(self.mirror.file("cron/alpine-mirror"));
                command.env("PATH", path).env("MORE", more).current_dir(empty);
                command
            }
            By::Mirror => {
                let lock = format!("--lock-file={}", self.mirror.file("lock").display());
                let include = format!("--include-from={}", self.mirror.file("include").display());
                let mut command = self
                    .mirror
                    .sync(&self.daemon.url("alpine/"), [&lock, "--attempts=1", "--own-options", "--"]);
                command.args(OPTIONS).args(["--timeout=600", "--progress", &include, "--exclude", "*/"]);
                command.args(Some(more).filter(|more| !more.is_empty()));
                command
            }
        }
    }

    #[track_caller]
    fn sync(&self) {
        run(&mut self.command("")).expect_ok();
    }

    /// The mirror is what the article's rules select of the upstream.
    #[track_caller]
    fn assert_mirrored(&self) {
        let expected = Work::new();
        let mut copy = Command::new(Side::C.rsync());
        let include = format!("--include-from={}", self.mirror.file("include").display());
        copy.args(["-aH", &include, "--exclude=*/"]).arg(self.source("")).arg(expected.join("x"));
        run(&mut copy).expect_ok();
        // Times are compared by the second.
        let respects = Compare { nanoseconds: false, ..Compare::ALL };
        Snapshot::take(&expected.join("x")).assert_same(&Snapshot::take(&self.tree()), respects);
        assert!(delayed(&self.tree()).is_none());
    }
}

/// A directory of delayed updates below `tree`.
fn delayed(tree: &Path) -> Option<PathBuf> {
    for entry in fs::read_dir(tree).ok()?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name() == ".~tmp~" {
                return Some(entry.path());
            }
            if let Some(found) = delayed(&entry.path()) {
                return Some(found);
            }
        }
    }
    None
}

#[test]
fn what_is_included_arrives_and_nothing_is_sent_when_nothing_changed() {
    for (by, side) in EVERY_PAIR {
        let place = Place::new(by, side);
        place.sync();
        place.assert_mirrored();
        assert!(place.tree().join("last-updated").exists() && !place.tree().join("v3.11").exists());
        let newer = place.tree().join("last-updated");
        fs::write(&newer, "newer here\n").unwrap();
        let outcome = run(&mut place.command("--out-format=sent-%n"));
        outcome.expect_ok();
        assert!(!outcome.stdout.to_string().contains("sent-"), "{by:?}: {}", outcome.stdout);
        assert_eq!(fs::read_to_string(newer).unwrap(), "newer here\n", "--update");
    }
}

#[test]
fn a_reader_never_sees_a_part_of_a_file_and_new_ones_only_when_all_data_is_here() {
    for (by, side) in EVERY_PAIR {
        let place = Place::new(by, side);
        place.sync();
        let (changes, gone, big) = (
            place.tree().join("edge/main/a-changes.apk"),
            place.tree().join("edge/main/gone.apk"),
            "z-big.apk",
        );
        let old = fs::read(&changes).unwrap();
        fs::remove_file(place.source("edge/main/gone.apk")).unwrap();
        let new = Tree::new().random("edge/main/a-changes.apk", 61_000, 6).random(
            format!("edge/main/{big}"),
            200_000,
            7,
        );
        new.write(&place.source(""));
        let new = fs::read(place.source("edge/main/a-changes.apk")).unwrap();
        let mut running = Running::start(&mut place.command("--bwlimit=300"));
        let has_all_data = || {
            let places =
                [".~tmp~/", ""].map(|dir| place.tree().join("edge/main").join(format!("{dir}{big}")));
            places.iter().any(|path| fs::metadata(path).is_ok_and(|facts| facts.len() == 200_000))
        };
        let mut seen_old = false;
        while running.is_running() {
            let is_gone = !gone.exists();
            let content = fs::read(&changes).unwrap();
            assert!(content == old || content == new, "{by:?}: {} bytes", content.len());
            seen_old |= content == old;
            assert!((content == old && !is_gone) || has_all_data(), "{by:?}: too early");
            thread::sleep(Duration::from_millis(5));
        }
        running.finish().expect_ok();
        assert!(seen_old, "{by:?}: the transfer was not seen");
        place.assert_mirrored();
    }
}

#[test]
fn a_second_start_during_a_run_does_nothing() {
    for (by, code) in [(By::Script, 1), (By::Mirror, 75)] {
        let place = Place::new(by, Side::C);
        let first = Running::start(&mut place.command("--bwlimit=30"));
        // Nobody asks for the lock before the run has it: it could be refused on account of the question.
        wait_until("data", || delayed(&place.tree()).is_some());
        run(&mut place.command("")).expect_code(code);
        first.kill();
        first.finish().expect_code(137);
        let lock = place.mirror.file("lock");
        wait_until("the lock's end", || {
            run(Command::new("flock").arg("-n").arg(&lock).arg("true")).code == 0
        });
    }
}

#[test]
fn a_run_that_is_killed_publishes_nothing_half_and_the_next_completes() {
    for (by, side) in EVERY_PAIR {
        let place = Place::new(by, side);
        place.sync();
        let old = fs::read(place.tree().join("edge/main/a-changes.apk")).unwrap();
        let new = Tree::new().random("edge/main/a-changes.apk", 61_000, 6).random(
            "edge/main/z-big.apk",
            400_000,
            7,
        );
        new.write(&place.source(""));
        let running = Running::start(&mut place.command("--bwlimit=100"));
        wait_until("delayed data", || delayed(&place.tree()).is_some());
        running.kill();
        running.finish().expect_code(137);
        assert_eq!(fs::read(place.tree().join("edge/main/a-changes.apk")).unwrap(), old, "{by:?}");
        assert!(!place.tree().join("edge/main/z-big.apk").exists());
        place.sync();
        place.assert_mirrored();
    }
}

#[test]
fn ten_periods_of_cron_follow_an_upstream_that_changes_all_the_time() {
    for by in [By::Script, By::Mirror] {
        let place = Place::new(by, Side::C);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut number = 0_usize;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    let dir = if number.is_multiple_of(2) { "edge/main" } else { "v3.12/main" };
                    // Each has a size of its own: what has the same size and second is taken for the same.
                    let content = "x".repeat(number);
                    fs::write(place.source(&format!("{dir}/p-{}.apk", number % 7)), content).unwrap();
                    // It may not be there.
                    let _ = fs::remove_file(place.source(&format!("{dir}/p-{}.apk", (number + 3) % 7)));
                    thread::sleep(Duration::from_millis(10));
                }
            });
            for _ in 0..10 {
                let outcome = run(&mut place.command(""));
                assert!([0, 23, 24].contains(&outcome.code), "{by:?}: {} {}", outcome.code, outcome.stderr);
            }
            stop.store(true, Ordering::Relaxed);
        });
        place.sync();
        place.assert_mirrored();
    }
}

#[test]
fn what_a_web_server_could_not_read_is_told() {
    let place = Place::new(By::Mirror, Side::C);
    place.sync();
    let check =
        || run(Command::new(program::mirror()).args(["check-serving", "--user=65533"]).arg(place.tree()));
    check().expect_ok();
    let closed = place.tree().join("edge/main/a-changes.apk");
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let outcome = check();
    outcome.expect_code(23);
    let expected = format!("{}: cannot be read\n", closed.canonicalize().unwrap().display());
    assert_eq!(outcome.stdout.to_string(), expected);
}
