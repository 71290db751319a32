//! Attacks by a local user who swaps names while we work (spec 10 SEC-002, SEC-005, SEC-020): a
//! thread exchanges a directory or a file with a link to outside as fast as it can, and nothing
//! outside may change or be read.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rsync_proto::flist::DeviceNumber;
use rustix::fs::{CWD, RenameFlags};

use super::{Dir, DirStack, Reach};

/// How long each attack lasts at least.
const DURATION: Duration = Duration::from_millis(150);
/// How long it may last on a busy machine until some attempts went through.
const PATIENCE: Duration = Duration::from_secs(20);
/// So many attempts must have succeeded for an attack to have tested anything.
const ENOUGH: u64 = 5;
const SECRET: &[u8] = b"outside";

/// Exchanges two names until it is dropped.
struct Flipper {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Flipper {
    fn start(one: PathBuf, other: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut flips = 0;
            while !stopped.load(Ordering::Relaxed) {
                // Work at the target may have taken one of them away for a moment.
                let exchanged = rustix::fs::renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
                flips += u64::from(exchanged.is_ok());
            }
            flips
        });
        Self { stop, thread: Some(thread) }
    }

    fn finish(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map_or(0, |thread| thread.join().expect("the flipper lives"))
    }
}

/// Everything about a file that an attack could change.
type Facts = (u32, u32, u32, u64, (i64, i64), Vec<u8>, Vec<String>);

/// A tree outside that nothing may touch.
struct Sentinel {
    root: PathBuf,
    before: BTreeMap<PathBuf, Facts>,
}

impl Sentinel {
    fn plant(root: PathBuf) -> Self {
        std::fs::create_dir_all(root.join("deep")).expect("dirs");
        for name in ["victim", "deep/victim", "deep/temp", "deep/name"] {
            std::fs::write(root.join(name), SECRET).expect("file");
        }
        let before = snapshot(&root);
        Self { root, before }
    }

    fn assert_untouched(&self) {
        assert_eq!(snapshot(&self.root), self.before);
    }
}

fn snapshot(root: &Path) -> BTreeMap<PathBuf, Facts> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(path) = left.pop() {
        let metadata = std::fs::symlink_metadata(&path).expect("lstat");
        let mut content = Vec::new();
        if metadata.is_dir() {
            left.extend(std::fs::read_dir(&path).expect("readdir").map(|entry| entry.expect("entry").path()));
        } else {
            content = std::fs::read(&path).expect("content");
        }
        let parent = Dir::open(path.parent().expect("a parent")).expect("open");
        let name = std::os::unix::ffi::OsStrExt::as_bytes(path.file_name().expect("a name"));
        let xattrs = parent.pin(name).and_then(|file| file.xattr_names()).expect("xattrs");
        let xattrs = xattrs.into_iter().map(|name| String::from_utf8_lossy(&name).into_owned()).collect();
        let times = (metadata.mtime(), metadata.mtime_nsec());
        let facts =
            (metadata.mode(), metadata.uid(), metadata.gid(), metadata.nlink(), times, content, xattrs);
        found.insert(path, facts);
    }
    found
}

/// Runs `attempt` again and again until the time is over and it succeeded often enough; answers how
/// often it did.
fn repeat(mut attempt: impl FnMut() -> std::io::Result<()>) -> u64 {
    let started = Instant::now();
    let mut successes = 0;
    while started.elapsed() < DURATION || (successes < ENOUGH && started.elapsed() < PATIENCE) {
        successes += u64::from(attempt().is_ok());
    }
    successes
}

/// Attacks `act` on the directory `sub/deep` while `sub` flips to a link to outside.
fn attack_parent(act: impl Fn(&Dir) -> std::io::Result<()>) {
    let place = tempfile::tempdir().expect("a directory");
    let outside = Sentinel::plant(place.path().join("outside"));
    let inside = place.path().join("inside");
    std::fs::create_dir_all(inside.join("sub/deep")).expect("dirs");
    symlink(&outside.root, inside.join("evil")).expect("link");
    let root = Arc::new(Dir::open(&inside).expect("open"));
    let flipper = Flipper::start(inside.join("sub"), inside.join("evil"));
    let successes = repeat(|| {
        let mut stack = DirStack::new(Arc::clone(&root));
        act(stack.dir(b"sub/deep")?)
    });
    let flips = flipper.finish();
    outside.assert_untouched();
    assert!(flips > 0 && successes > 0, "{flips} flips, {successes} successes: nothing was tested");
}

/// Attacks `act` on the name `leaf` while it flips to a link to a file outside.
fn attack_leaf(act: impl Fn(&Dir) -> std::io::Result<()>) {
    let place = tempfile::tempdir().expect("a directory");
    let outside = Sentinel::plant(place.path().join("outside"));
    let inside = place.path().join("inside");
    std::fs::create_dir(&inside).expect("dir");
    std::fs::write(inside.join("leaf"), b"inside").expect("file");
    symlink(outside.root.join("victim"), inside.join("evil")).expect("link");
    let dir = Dir::open(&inside).expect("open");
    let flipper = Flipper::start(inside.join("leaf"), inside.join("evil"));
    let successes = repeat(|| act(&dir));
    let flips = flipper.finish();
    outside.assert_untouched();
    assert!(flips > 0 && successes > 0, "{flips} flips, {successes} successes: nothing was tested");
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_swapped_parent_never_leads_a_new_name_outside() {
    attack_parent(|dir| {
        dir.mkdir(b"new", 0o755)?;
        dir.rmdir(b"new")
    });
    attack_parent(|dir| {
        dir.symlink(b"anywhere", b"new")?;
        dir.unlink(b"new")
    });
    attack_parent(|dir| {
        dir.mknod(b"new", 0o010_600, DeviceNumber::default())?;
        dir.unlink(b"new")
    });
}

#[test]
fn a_swapped_parent_never_leads_a_finished_file_outside() {
    let random = std::cell::Cell::new(0_u64);
    attack_parent(|dir| {
        let mut next = || {
            random.set(random.get() + 1);
            random.get()
        };
        let (mut file, temp) = dir.create_temp(b"name", &mut next)?;
        file.write_all(b"new content")?;
        dir.rename(&temp, dir, b"name")
    });
}

#[test]
fn a_swapped_parent_never_leads_a_removal_outside() {
    attack_parent(|dir| match dir.unlink(b"victim") {
        // The real directory has no such file; the one outside does.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result,
    });
}

#[test]
fn a_swapped_parent_never_leads_attributes_outside() {
    attack_parent(|dir| {
        if dir.stat(b"victim").is_err() {
            dir.mknod(b"victim", 0o100_600, DeviceNumber::default())?;
        }
        dir.chmod(b"victim", 0o4777)?;
        dir.set_times(b"victim", Some((1, 1)), None)?;
        dir.set_xattr(b"victim", b"user.evil", b"1")?;
        if is_root() {
            dir.chown(b"victim", Some(1234), Some(1234))?;
        }
        Ok(())
    });
}

#[test]
fn a_swapped_file_is_read_inside_or_not_at_all() {
    attack_leaf(|dir| {
        let mut content = Vec::new();
        dir.open_read(b"leaf")?.read_to_end(&mut content)?;
        assert_ne!(content, SECRET);
        Ok(())
    });
}

#[test]
fn a_swapped_file_never_leads_writes_outside() {
    attack_leaf(|dir| dir.open_in_place(b"leaf")?.write_all(b"overwritten"));
}

#[test]
fn a_swapped_file_never_leads_attributes_outside() {
    attack_leaf(|dir| {
        dir.chmod(b"leaf", 0o4777)?;
        dir.set_times(b"leaf", Some((1, 1)), None)?;
        let held = dir.pin(b"leaf")?;
        held.chmod(0o600)?;
        held.set_times(Some((2, 2)), None)?;
        if is_root() {
            dir.chown(b"leaf", Some(1234), Some(1234))?;
            dir.set_xattr(b"leaf", b"trusted.evil", b"1")?;
            held.set_xattr(b"trusted.evil", b"2")?;
        }
        Ok(())
    });
}

#[test]
fn a_swapped_file_never_gets_a_further_name_for_what_it_leads_to() {
    let secret = |dir: &Dir| {
        dir.open_read(b"further").and_then(|mut file| {
            let mut content = Vec::new();
            file.read_to_end(&mut content).map(|_| content == SECRET)
        })
    };
    attack_leaf(|dir| {
        // A link may be linked itself: reading it then fails.
        dir.link(b"leaf", dir, b"further")?;
        let leaked = secret(dir).unwrap_or(false);
        dir.unlink(b"further")?;
        assert!(!leaked);
        Ok(())
    });
}

#[test]
fn following_beneath_a_root_never_reads_outside() {
    let place = tempfile::tempdir().expect("a directory");
    let outside = Sentinel::plant(place.path().join("outside"));
    let inside = place.path().join("inside");
    std::fs::create_dir_all(inside.join("sub/deep")).expect("dirs");
    std::fs::write(inside.join("sub/deep/victim"), b"inside").expect("file");
    symlink("../outside", inside.join("evil")).expect("link");
    symlink("sub/deep", inside.join("good")).expect("link");
    let root = Dir::open(&inside).expect("open");
    let flipper = Flipper::start(inside.join("sub"), inside.join("evil"));
    let successes = repeat(|| {
        let mut content = Vec::new();
        root.open_read_following(b"good/victim", Reach::Beneath)?.read_to_end(&mut content)?;
        assert_ne!(content, SECRET);
        Ok(())
    });
    assert!(flipper.finish() > 0 && successes > 0);
    outside.assert_untouched();
}

#[test]
fn following_beneath_a_root_leads_in_but_neither_out_nor_to_absolute_paths() {
    let place = tempfile::tempdir().expect("a directory");
    let inside = place.path().join("inside");
    std::fs::create_dir_all(inside.join("a/b")).expect("dirs");
    std::fs::write(inside.join("t"), b"inside").expect("file");
    std::fs::write(place.path().join("secret"), SECRET).expect("file");
    symlink("../../t", inside.join("a/b/in")).expect("link");
    symlink("../../../secret", inside.join("a/b/out")).expect("link");
    symlink(inside.join("t"), inside.join("a/b/absolute")).expect("link");
    let root = Dir::open(&inside).expect("open");
    assert!(root.open_read_following(b"a/b/in", Reach::Beneath).is_ok());
    for name in [&b"a/b/out"[..], b"a/b/absolute", b"../secret", b"/etc/passwd"] {
        assert!(root.open_read_following(name, Reach::Beneath).is_err(), "{name:?}");
        assert!(root.stat_following(name, Reach::Beneath).is_err(), "{name:?}");
    }
}

#[test]
fn a_link_planted_in_an_opened_path_is_not_followed_by_either_way_of_walking() {
    let place = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(place.path().join("real/sub")).expect("dirs");
    symlink("real", place.path().join("link")).expect("link");
    let root = Arc::new(Dir::open(place.path()).expect("open"));
    let mut stack = DirStack::new(Arc::clone(&root));
    assert!(stack.dir(b"link/sub").is_err(), "links inside the tree are not followed either");
    assert!(stack.dir(b"real/sub/../../..").is_err());
    assert!(stack.dir(b"/etc").is_err());
    assert!(stack.dir(b"real/sub").is_ok(), "a refusal leaves the stack usable");
}
