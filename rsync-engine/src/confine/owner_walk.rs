//! Opening what the operator named: links in the path count only if root or we made them
//! (spec 10 §2.1).

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rsync_proto::flist::Kind;
use rsync_proto::options::TransferOptions;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::dir::stat_fd;
use super::{Dir, Stat};

/// Links followed in one path.
const MAX_LINKS: usize = 40;
/// Components in one path, those of links included.
const MAX_COMPONENTS: usize = 4096;

/// Which links in a path are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Those that root or this process's user made.
    OwnLinks,
    /// All of them (`--insecure-links`).
    AllLinks,
}

impl Trust {
    /// What the options say.
    pub(crate) fn of(options: &TransferOptions) -> Self {
        if options.insecure_links { Self::AllLinks } else { Self::OwnLinks }
    }

    fn covers(self, link: &Stat) -> bool {
        let ours = || link.uid == 0 || link.uid == rustix::process::geteuid().as_raw();
        self == Self::AllLinks || ours()
    }
}

/// Opens the file at `path`, relative to `start` unless it is absolute, for reading.
///
/// # Errors
/// What the system says; `ELOOP` for a link that neither root nor we made.
pub fn open_operator_file(start: &Dir, path: &[u8]) -> io::Result<File> {
    open_trusted_file(start, path, Trust::OwnLinks)
}

/// Opens the file that the user of these options names, for reading.
///
/// # Errors
/// What the system says; `ELOOP` for a link that neither root nor we made, unless `--insecure-links` allows it.
pub fn open_users_file(path: &[u8], options: &TransferOptions) -> io::Result<File> {
    open_trusted_file(&Dir::open(Path::new("."))?, path, Trust::of(options))
}

/// [`open_operator_file`] with a say about links.
pub(super) fn open_trusted_file(start: &Dir, path: &[u8], trust: Trust) -> io::Result<File> {
    let mut walk = Walk::new(start, path, trust)?;
    while let Some(step) = walk.step()? {
        match step {
            Step::Entered => {}
            Step::Missing(_) => return Err(Errno::NOENT.into()),
            Step::Other(name) => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NOCTTY;
                return Ok(File::from(open(&walk.parent, &name, flags)?));
            }
        }
    }
    Err(Errno::ISDIR.into())
}

/// Opens the file at `path`, relative to `start` unless it is absolute, for writing from its beginning;
/// makes it with `mode` less the umask where it is missing. The target of a dangling link is not made:
/// that fails with `EEXIST`.
pub(crate) fn create_operator_file(start: &Dir, path: &[u8], mode: u32, trust: Trust) -> io::Result<File> {
    open_for_writing(start, path, mode, trust, OFlags::TRUNC)
}

/// Opens the log file at `path`, relative to `start` unless it is absolute, for writing at its end, and
/// makes it where it is missing. With `insecure_links` links of anybody are followed.
///
/// # Errors
/// What the system says; `ELOOP` for a link that neither root nor we made.
pub fn open_operator_log(start: &Dir, path: &[u8], insecure_links: bool) -> io::Result<File> {
    let trust = if insecure_links { Trust::AllLinks } else { Trust::OwnLinks };
    open_for_writing(start, path, 0o666, trust, OFlags::APPEND)
}

/// Opens the file at `path`, relative to `start` unless it is absolute, for writing over what it has, and
/// makes it with `mode` less the umask where it is missing.
///
/// # Errors
/// What the system says; `ELOOP` for a link that neither root nor we made.
pub fn open_operator_state(start: &Dir, path: &[u8], mode: u32) -> io::Result<File> {
    let open = || open_for_writing(start, path, mode, Trust::OwnLinks, OFlags::empty());
    match open() {
        // Somebody else made it after we looked.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open(),
        result => result,
    }
}

/// Opens for writing, from the beginning or at the end as `how` says.
fn open_for_writing(start: &Dir, path: &[u8], mode: u32, trust: Trust, how: OFlags) -> io::Result<File> {
    let mut walk = Walk::new(start, path, trust)?;
    let flags = how | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    while let Some(step) = walk.step()? {
        let (name, flags) = match step {
            Step::Entered => continue,
            Step::Missing(_) if walk.in_link => return Err(Errno::EXIST.into()),
            Step::Missing(_) if !walk.rest.is_empty() => return Err(Errno::NOENT.into()),
            Step::Missing(name) => (name, flags | OFlags::CREATE | OFlags::EXCL),
            Step::Other(name) => (name, flags),
        };
        let mode = Mode::from_raw_mode(mode & 0o7777);
        return Ok(File::from(rustix::fs::openat(&walk.parent, &name[..], flags, mode)?));
    }
    Err(Errno::ISDIR.into())
}

impl Dir {
    /// Opens a directory that the operator named; links in the path count only if root or we made
    /// them.
    ///
    /// # Errors
    /// What the system says; `ELOOP` for a link of somebody else.
    pub fn open_trusted(path: &Path) -> io::Result<Self> {
        open_operator_dir(&Self::open(Path::new("."))?, path.as_os_str().as_bytes(), Trust::OwnLinks)
    }
}

/// Opens the directory at `path`, relative to `start` unless it is absolute.
pub(crate) fn open_operator_dir(start: &Dir, path: &[u8], trust: Trust) -> io::Result<Dir> {
    let mut walk = Walk::new(start, path, trust)?;
    while let Some(step) = walk.step()? {
        walk.expect_dir(&step)?;
    }
    walk.into_dir()
}

/// [`open_operator_dir`] that makes what is missing, with `mode` less the umask; also answers how
/// many directories it made. The target of a dangling link is not made: that fails with `EEXIST`.
pub(crate) fn make_operator_dir(
    start: &Dir,
    path: &[u8],
    mode: u32,
    trust: Trust,
) -> io::Result<(Dir, usize)> {
    let mut walk = Walk::new(start, path, trust)?;
    let mut made = 0;
    while let Some(step) = walk.step()? {
        let Step::Missing(name) = &step else {
            walk.expect_dir(&step)?;
            continue;
        };
        if walk.in_link {
            return Err(Errno::EXIST.into());
        }
        match rustix::fs::mkdirat(&walk.parent, name, Mode::from_raw_mode(mode & 0o7777)) {
            Ok(()) => made += 1,
            // Somebody else made it, or something, meanwhile: the next look tells.
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let found = open(&walk.parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY)?;
        walk.parent = found;
    }
    Ok((walk.into_dir()?, made))
}

/// A path being walked.
struct Walk {
    /// The directory reached so far.
    parent: OwnedFd,
    trust: Trust,
    rest: VecDeque<Vec<u8>>,
    /// How many links were followed.
    links: usize,
    /// How many components at the front of `rest` come from links.
    from_links: usize,
    /// The component at hand comes from a link.
    in_link: bool,
}

/// What one component turned out to be.
enum Step {
    /// A directory or a trusted link; the walk has entered it.
    Entered,
    /// The last component, and neither.
    Other(Vec<u8>),
    /// Not there.
    Missing(Vec<u8>),
}

impl Walk {
    fn new(start: &Dir, path: &[u8], trust: Trust) -> io::Result<Self> {
        if path.is_empty() {
            return Err(Errno::INVAL.into());
        }
        let parent = if path.first() == Some(&b'/') { open_root()? } else { start.fd.try_clone()? };
        let mut walk = Self { parent, trust, rest: VecDeque::new(), links: 0, from_links: 0, in_link: false };
        walk.splice(path)?;
        Ok(walk)
    }

    /// Takes the next component; `None` at the end.
    fn step(&mut self) -> io::Result<Option<Step>> {
        let Some(name) = self.rest.pop_front() else { return Ok(None) };
        self.in_link = self.from_links > 0;
        self.from_links = self.from_links.saturating_sub(1);
        let found = match open(&self.parent, &name, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(found) => found,
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {
                return Ok(Some(Step::Missing(name)));
            }
            Err(error) => return Err(error),
        };
        let stat = stat_fd(&found)?;
        match stat.kind() {
            Kind::Symlink => self.follow(&found, &stat)?,
            Kind::Dir => self.parent = found,
            _ if self.rest.is_empty() => return Ok(Some(Step::Other(name))),
            _ => return Err(Errno::NOTDIR.into()),
        }
        Ok(Some(Step::Entered))
    }

    fn follow(&mut self, link: &OwnedFd, stat: &Stat) -> io::Result<()> {
        self.links += 1;
        if self.links > MAX_LINKS || !self.trust.covers(stat) {
            return Err(Errno::LOOP.into());
        }
        let target = rustix::fs::readlinkat(link, "", Vec::new())?.into_bytes();
        self.from_links += self.splice(&target)?;
        if target.first() == Some(&b'/') {
            self.parent = open_root()?;
        }
        Ok(())
    }

    /// Puts the components of `path` in front of the rest; answers how many they are.
    fn splice(&mut self, path: &[u8]) -> io::Result<usize> {
        let before = self.rest.len();
        for name in path.rsplit(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            self.rest.push_front(name.to_vec());
        }
        let added = self.rest.len() - before;
        if self.rest.len() > MAX_COMPONENTS { Err(Errno::NAMETOOLONG.into()) } else { Ok(added) }
    }

    fn expect_dir(&self, step: &Step) -> io::Result<()> {
        match step {
            Step::Entered => Ok(()),
            Step::Other(_) => Err(Errno::NOTDIR.into()),
            Step::Missing(_) => Err(Errno::NOENT.into()),
        }
    }

    /// The directory reached; one that may only be searched can be used, but not read.
    fn into_dir(self) -> io::Result<Dir> {
        match open(&self.parent, b".", OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(fd) => Ok(Dir { fd }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Dir { fd: self.parent }),
            Err(error) => Err(error),
        }
    }
}

fn open_root() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn open(parent: &OwnedFd, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(parent, name, flags | OFlags::CLOEXEC, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_links_are_followed_and_loops_end() {
        let place = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(place.path().join("d")).expect("dir");
        std::fs::write(place.path().join("d/f"), b"x").expect("file");
        std::os::unix::fs::symlink("d", place.path().join("l")).expect("link");
        std::os::unix::fs::symlink("loop", place.path().join("loop")).expect("link");
        let start = Dir::open(place.path()).expect("open");
        assert!(open_operator_file(&start, b"l/../d/f").is_ok());
        assert!(open_operator_file(&start, b"l/f").is_ok());
        let absolute = place.path().join("l/f");
        let absolute = std::os::unix::ffi::OsStrExt::as_bytes(absolute.as_os_str());
        assert!(open_operator_file(&start, absolute).is_ok());
        let error = open_operator_file(&start, b"loop").expect_err("a loop");
        assert_eq!(error.raw_os_error(), Some(Errno::LOOP.raw_os_error()));
        assert!(open_operator_file(&start, b"d/f/x").is_err());
    }

    #[test]
    fn a_link_of_somebody_else_is_refused() {
        let us = rustix::process::geteuid();
        if !us.is_root() {
            return;
        }
        let place = tempfile::tempdir().expect("a directory");
        std::fs::write(place.path().join("f"), b"x").expect("file");
        std::os::unix::fs::symlink("f", place.path().join("l")).expect("link");
        let start = Dir::open(place.path()).expect("open");
        start.chown(b"l", Some(65_534), None).expect("chown");
        let error = open_operator_file(&start, b"l").expect_err("not ours");
        assert_eq!(error.raw_os_error(), Some(Errno::LOOP.raw_os_error()));
    }

    fn is(dir: &Dir, path: std::path::PathBuf) -> bool {
        let other = Dir::open(&path).expect("open").stat_self().expect("stat");
        dir.stat_self().expect("stat").same_file(&other)
    }

    #[test]
    fn a_missing_file_is_not_found() {
        let place = tempfile::tempdir().expect("a directory");
        let start = Dir::open(place.path()).expect("open");
        for path in [&b"none"[..], b"none/f"] {
            let error = open_operator_file(&start, path).expect_err("not there");
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn directories_are_found_through_own_links_and_made_where_missing() {
        let place = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(place.path().join("d")).expect("dir");
        std::fs::write(place.path().join("f"), b"x").expect("file");
        std::os::unix::fs::symlink("d", place.path().join("l")).expect("link");
        let start = Dir::open(place.path()).expect("open");
        assert!(is(
            &open_operator_dir(&start, b"l/", Trust::OwnLinks).expect("open"),
            place.path().join("d")
        ));
        assert!(is(
            &open_operator_dir(&start, b"d/..", Trust::OwnLinks).expect("open"),
            place.path().to_path_buf()
        ));
        assert_eq!(
            open_operator_dir(&start, b"l/new", Trust::OwnLinks).expect_err("missing").kind(),
            io::ErrorKind::NotFound
        );
        assert_eq!(
            open_operator_dir(&start, b"f", Trust::OwnLinks).expect_err("a file").kind(),
            io::ErrorKind::NotADirectory
        );
        let (made, count) = make_operator_dir(&start, b"l/new/deeper", 0o755, Trust::OwnLinks).expect("made");
        assert_eq!(count, 2);
        assert!(is(&made, place.path().join("d/new/deeper")));
        assert_eq!(make_operator_dir(&start, b"l/new/deeper", 0o755, Trust::OwnLinks).expect("there").1, 0);
        assert!(make_operator_dir(&start, b"f/x", 0o755, Trust::OwnLinks).is_err());
    }

    #[test]
    fn nothing_is_made_where_a_dangling_link_points() {
        let place = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink("nowhere", place.path().join("l")).expect("link");
        let start = Dir::open(place.path()).expect("open");
        let error = make_operator_dir(&start, b"l", 0o755, Trust::OwnLinks).expect_err("dangling");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(!place.path().join("nowhere").exists());
    }

    #[test]
    fn nothing_is_made_through_a_link_of_somebody_else() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let place = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(place.path().join("victim")).expect("dir");
        std::os::unix::fs::symlink("victim", place.path().join("evil")).expect("link");
        let start = Dir::open(place.path()).expect("open");
        start.chown(b"evil", Some(65_534), None).expect("chown");
        let refused = Some(Errno::LOOP.raw_os_error());
        for path in [&b"evil"[..], b"evil/new", b"evil/new/deeper"] {
            assert_eq!(
                make_operator_dir(&start, path, 0o755, Trust::OwnLinks).expect_err("refused").raw_os_error(),
                refused
            );
            assert_eq!(
                open_operator_dir(&start, path, Trust::OwnLinks).expect_err("refused").raw_os_error(),
                refused
            );
        }
        assert!(!place.path().join("victim/new").exists(), "3.5.0 makes it before it refuses");
        make_operator_dir(&start, b"evil/new", 0o755, Trust::AllLinks).expect("asked for");
        assert!(place.path().join("victim/new").exists());
    }
}
