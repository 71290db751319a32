//! Publication of whole trees: a reader sees one or the other, whatever dies meanwhile (spec 11 §2.4).

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rsync_e2e::tree::BASE_TIME;
use rsync_e2e::{Compare, Daemon, Mirror, Side, Snapshot, Tree, Work, run};
use rustix::fs::{Mode, OFlags, openat};

/// Version `number` of an upstream: an index that names it, files that hold it, and one that never changes.
fn write_version(place: &Path, number: u64) {
    let text = |name: &str| format!("{name} of {number:08}\n");
    let mut tree = Tree::new().file("same", "the same").file("index", text("index"));
    for name in ["data-1", "dir/data-2", "dir/data-3"] {
        tree = tree.file(name, text(name));
    }
    // What has the size of before has another time.
    for name in ["index", "data-1", "dir/data-2", "dir/data-3"] {
        tree = tree.time(name, BASE_TIME + i64::try_from(number).unwrap(), 0);
    }
    tree = tree.file(format!("only-{number}"), "new");
    // One after the other, as nothing reads it meanwhile.
    let _ = fs::remove_dir_all(place);
    tree.write(place);
}

/// Reads through the public path again and again; all that it reads must be of one version.
struct Reader {
    stop: Arc<AtomicBool>,
    seen: Arc<AtomicU64>,
    thread: thread::JoinHandle<()>,
}

impl Reader {
    fn of(link: PathBuf) -> Self {
        let (stop, seen) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopping, seeing) = (stop.clone(), seen.clone());
        let thread = thread::spawn(move || {
            while !stopping.load(Ordering::Relaxed) {
                seeing.store(read_view(&link), Ordering::Relaxed);
                // Every name through the link itself is there at any time.
                for name in ["index", "same", "dir/data-3"] {
                    let path = link.join(name);
                    fs::metadata(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        Self { stop, seen, thread }
    }

    #[track_caller]
    fn wait_for(&self, number: u64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.seen.load(Ordering::Relaxed) != number {
            assert!(Instant::now() < deadline && !self.thread.is_finished(), "version {number} is not seen");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("what was read was always whole");
    }
}

/// The version that is seen: of a tree that is opened once, like a session of a daemon does.
fn read_view(link: &Path) -> u64 {
    let root: OwnedFd = File::open(link).unwrap_or_else(|error| panic!("{}: {error}", link.display())).into();
    let versions = ["index", "data-1", "dir/data-2", "dir/data-3"].map(|name| {
        let file = openat(&root, name, OFlags::RDONLY, Mode::empty());
        let mut text = String::new();
        File::from(file.unwrap_or_else(|error| panic!("{name}: {error}"))).read_to_string(&mut text).unwrap();
        let number = text.strip_suffix('\n').and_then(|text| text.rsplit(' ').next()).unwrap_or_default();
        number.parse::<u64>().unwrap_or_else(|_| panic!("{name} holds {text:?}"))
    });
    assert!(versions.iter().all(|version| *version == versions[0]), "{versions:?}");
    versions[0]
}

struct Place {
    work: Work,
    daemon: Daemon,
    mirror: Mirror,
}

impl Place {
    /// An upstream at version 0, published once.
    fn new(publish: &str) -> Self {
        let (work, mirror) = (Work::new(), Mirror::new());
        write_version(&work.join("up"), 0);
        let daemon = Daemon::serving(Side::C, &work.join("up"));
        let place = Self { work, daemon, mirror };
        run(&mut place.sync(publish)).expect_ok();
        place
    }

    fn sync(&self, publish: &str) -> Command {
        self.mirror.sync(&self.daemon.url("m/"), [publish, "--min-ratio=0"])
    }

    fn change(&self, number: u64) {
        write_version(&self.work.join("up"), number);
    }

    fn link(&self) -> PathBuf {
        self.mirror.tree().join("current")
    }

    /// What is in `gen`, but for what is never removed.
    fn generations(&self) -> usize {
        let entries = fs::read_dir(self.mirror.tree().join("gen")).unwrap().flatten();
        entries.filter(|entry| entry.file_name() != ".fence").count()
    }

    #[track_caller]
    fn assert_published(&self) {
        let (up, seen) =
            (Snapshot::take(&self.work.join("up")), Snapshot::take(&self.link().canonicalize().unwrap()));
        up.assert_same(&seen, Compare { links: false, owners: false, ..Compare::ALL });
    }
}

#[test]
fn a_reader_sees_one_whole_tree_after_the_other() {
    for publish in ["--publish=generation", "--publish=reflink"] {
        let place = Place::new(publish);
        let reader = Reader::of(place.link());
        for number in 1..=25 {
            place.change(number);
            run(&mut place.sync(publish)).expect_ok();
            reader.wait_for(number);
        }
        reader.end();
        place.assert_published();
        assert_eq!(place.generations(), 2);
    }
}

#[test]
fn unchanged_files_are_shared_and_a_published_tree_is_never_changed() {
    let place = Place::new("--publish=generation");
    let first = place.link().canonicalize().unwrap();
    let before = Snapshot::take(&first);
    place.change(1);
    fs::set_permissions(place.work.join("up/same"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    run(&mut place.sync("--publish=generation")).expect_ok();
    Snapshot::take(&first).assert_same(&before, Compare { links: false, ..Compare::ALL });
    place.assert_published();
    place.change(2);
    run(&mut place.sync("--publish=generation")).expect_ok();
    let names =
        |number: u64| fs::metadata(place.mirror.tree().join(format!("gen/{number}/same"))).unwrap().ino();
    assert_ne!(names(2), names(3), "its mode came back");
    place.change(3);
    run(&mut place.sync("--publish=generation")).expect_ok();
    assert_eq!(names(3), names(4));
}

/// Runs a publication that is killed at the `nth` call of the kind that publications are made of; answers
/// whether it was.
fn killed_at(place: &Place, publish: &str, calls: &str, nth: u32) -> bool {
    let sync = place.sync(publish);
    let mut traced = Command::new("strace");
    let inject = format!("inject={calls}:signal=KILL:when={nth}");
    traced.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", &inject]);
    traced.arg(sync.get_program()).args(sync.get_args());
    let outcome = run(&mut traced);
    assert!([0, 137].contains(&outcome.code), "{nth}: {} {}", outcome.code, outcome.stderr);
    outcome.code == 137
}

/// Kills publications at every step, of which `calls` are the system calls.
fn kill_at_each(publish: &str, calls: &str) {
    let place = Place::new(publish);
    let reader = Reader::of(place.link());
    let mut number = 0;
    loop {
        number += 1;
        assert!(number < 100, "publications do not come to their end");
        place.change(number);
        let killed = killed_at(&place, publish, calls, u32::try_from(number).unwrap());
        let seen = read_view(&place.link());
        assert!(seen == number || seen + 1 == number, "{seen} is seen after a kill at {number}");
        if !killed {
            break;
        }
        // The next run finds whatever was left, and completes it.
        run(&mut place.sync(publish)).expect_ok();
        reader.wait_for(number);
        place.assert_published();
    }
    assert!(number > 3, "it was killed at {} steps only", number - 1);
    reader.wait_for(number);
    reader.end();
    assert_eq!(place.generations(), 2, "nothing half done is left");
}

#[test]
fn a_kill_at_any_change_of_a_name_leaves_a_whole_tree_to_readers() {
    kill_at_each("--publish=generation", "rename,renameat,renameat2,symlink,symlinkat");
}

#[test]
fn a_kill_at_any_write_to_the_disk_or_removal_leaves_a_whole_tree_to_readers() {
    kill_at_each("--publish=generation", "syncfs,fsync,fdatasync,rmdir,unlink,unlinkat");
}

#[test]
fn a_kill_between_transfer_and_switch_leaves_the_old_tree_and_brings_nothing_twice() {
    let place = Place::new("--publish=generation");
    place.change(1);
    let kills = "--hook=pre-publish=sh -c 'kill -9 $PPID'";
    let url = place.daemon.url("m/");
    run(&mut place.mirror.sync(&url, ["--publish=generation", kills])).expect_code(137);
    assert_eq!(read_view(&place.link()), 0);
    let outcome = run(&mut place.mirror.sync(&url, ["--publish=generation", "--json"]));
    let record: serde_json::Value = serde_json::from_slice(&outcome.expect_ok().stdout).expect("a record");
    assert_eq!((&record["stats"]["transferred"], &record["generation"]), (&0.into(), &2.into()), "{record}");
    assert_eq!(read_view(&place.link()), 1);
}

/// A Btrfs in a file, mounted at a mirror's directory until it goes out of scope.
struct Btrfs(PathBuf);

impl Btrfs {
    /// Only root can mount one; whoever is root has what `scripts/test` installs.
    fn mount(mirror: &Mirror) -> Self {
        let image = mirror.file("image");
        File::create(&image).and_then(|file| file.set_len(256 << 20)).unwrap();
        fs::create_dir(mirror.tree()).unwrap();
        let does = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
        does(Command::new("mkfs.btrfs").arg("-q").arg(&image));
        does(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(mirror.tree()));
        Self(mirror.tree())
    }
}

impl Drop for Btrfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn subvolumes_of_btrfs_are_published_by_snapshots() {
    rsync_e2e::program::require_root();
    let (work, mirror) = (Work::new(), Mirror::new());
    let _btrfs = Btrfs::mount(&mirror);
    write_version(&work.join("up"), 0);
    let daemon = Daemon::serving(Side::C, &work.join("up"));
    let place = Place { work, daemon, mirror };
    run(&mut place.sync("--publish=btrfs")).expect_ok();
    let reader = Reader::of(place.link());
    for number in 1..=3 {
        place.change(number);
        run(&mut place.sync("--publish=btrfs")).expect_ok();
        reader.wait_for(number);
        place.assert_published();
    }
    reader.end();
    assert_eq!(place.generations(), 2);
    let refused = fs::write(place.link().join("index"), "x").expect_err("a snapshot is never changed");
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
}
