//! `--reflink`: copies that share their blocks with the source, on a file system made for it.

use std::fs;
use std::path::Path;
use std::process::Command;

use rsync_e2e::Side;
use rsync_e2e::outcome::{Outcome, run};
use rsync_e2e::program::require_root;
use rsync_e2e::work::Work;

/// Bytes of the file that is copied.
const SIZE: u64 = 40 << 20;

/// A Btrfs in a file, mounted until it goes out of scope.
struct Btrfs {
    work: Work,
}

impl Btrfs {
    /// Only root can mount one; whoever is root has what `scripts/test` installs.
    fn mount() -> Self {
        let work = Work::new();
        let image = work.join("image");
        fs::File::create(&image).and_then(|file| file.set_len(256 << 20)).expect("image");
        fs::create_dir(work.join("fs")).expect("mount point");
        let does = |program: &str, arguments: &[&str]| {
            let status = Command::new(program).args(arguments).current_dir(work.path()).status();
            assert!(status.as_ref().is_ok_and(|status| status.success()), "{program}: {status:?}");
        };
        does("mkfs.btrfs", &["-q", "image"]);
        does("mount", &["-o", "loop,max_inline=0", "image", "fs"]);
        let file: Vec<u8> = (0..SIZE).map(|at| (at ^ (at >> 9)) as u8).collect();
        fs::write(work.join("fs/file"), file).expect("file");
        Self { work }
    }

    /// Bytes in use, when everything is on the disk.
    fn used(&self) -> u64 {
        let synced = Command::new("sync").arg("-f").arg(self.work.join("fs")).status().expect("sync");
        assert!(synced.success());
        let found = rustix::fs::statvfs(self.work.join("fs")).expect("statvfs");
        (found.f_blocks - found.f_bfree) * found.f_frsize
    }

    /// Copies the file with these options; answers what the copy took.
    fn copy(&self, to: &str, options: &[&str]) -> u64 {
        let before = self.used();
        copy(&self.work.join("fs"), to, options).expect_code(0);
        let content = |name: &str| fs::read(self.work.join("fs").join(name)).expect("read");
        assert!(content(to) == content("file"), "{options:?}");
        self.used() - before
    }
}

impl Drop for Btrfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.work.join("fs")).status();
    }
}

fn copy(place: &Path, to: &str, options: &[&str]) -> Outcome {
    let mut command = Command::new(Side::Ours.rsync());
    run(command.current_dir(place).args(options).args(["file", to]))
}

#[test]
fn copies_share_blocks_where_the_file_system_can_unless_they_must_not() {
    require_root();
    let place = Btrfs::mount();
    let few = SIZE / 8;
    assert!(place.copy("auto", &["-t"]) < few);
    assert!(place.copy("always", &["-t", "--reflink=always"]) < few);
    assert!(place.copy("shown", &["-t", "--reflink=always", "--out-format=%C %n"]) < few);
    assert!(place.copy("in-place", &["-t", "--inplace", "--reflink=always"]) < few);
    assert!(place.copy("never", &["-t", "--reflink=never"]) >= SIZE);
    assert!(place.copy("slowly", &["-t", "--reflink=never", "--bwlimit=1g"]) >= SIZE);
}

#[test]
fn a_copy_that_must_share_blocks_and_cannot_ends_with_a_reason() {
    let work = Work::new();
    fs::write(work.join("file"), b"content").expect("file");
    fs::write(work.join("kept"), b"old").expect("file");
    // No tmpfs shares blocks, with nobody.
    let source = tempfile::Builder::new().prefix("unshared").tempfile_in("/dev/shm").expect("file");
    fs::write(source.path(), b"newer").expect("file");
    let mut command = Command::new(Side::Ours.rsync());
    command.current_dir(work.path()).arg("--reflink=always").arg(source.path()).arg("kept");
    let outcome = run(&mut command);
    outcome.expect_code(11);
    let text = outcome.stderr.to_string();
    let path = source.path().display();
    assert!(
        text.contains(&format!("--reflink=always: no copy can share the blocks of \"{path}\"")),
        "{text}"
    );
    assert!(text.contains("--reflink=auto"), "{text}");
    assert_eq!(fs::read(work.join("kept")).expect("read"), b"old");
    let mut names: Vec<_> =
        fs::read_dir(work.path()).expect("names").map(|name| name.expect("name").file_name()).collect();
    names.sort();
    assert_eq!(names, ["file", "kept"]);
}

#[test]
fn sharing_is_for_whole_files_of_this_machine() {
    let work = Work::new();
    fs::write(work.join("file"), b"content").expect("file");
    for (options, text) in [
        (&["--reflink=always", "--sparse"][..], "--reflink=always cannot be used with --sparse"),
        (&["--reflink=always", "--append"], "--reflink=always cannot be used with --append"),
        (&["--reflink=often"], "--reflink \"often\" is not one of auto, always, or never"),
    ] {
        let outcome = copy(work.path(), "to", options);
        outcome.expect_code(1);
        assert!(outcome.stderr.to_string().contains(text), "{}", outcome.stderr);
    }
    let outcome = copy(work.path(), "rsync://127.0.0.1:1/module/", &["--reflink=always"]);
    outcome.expect_code(1);
    assert!(outcome.stderr.to_string().contains("on this machine"), "{}", outcome.stderr);
    copy(work.path(), "to", &["--reflink=never"]).expect_code(0);
    assert_eq!(fs::read(work.join("to")).expect("read"), b"content");
}
