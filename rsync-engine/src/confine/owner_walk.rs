//! Opening files that the operator named: links in the path count only if root or we made them
//! (spec 10 §2.1).

use std::collections::VecDeque;
use std::fs::File;
use std::io;

use rsync_proto::flist::Kind;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::dir::stat_fd;
use super::{Dir, Stat};

/// Links followed in one path.
const MAX_LINKS: usize = 40;
/// Components in one path, those of links included.
const MAX_COMPONENTS: usize = 4096;

/// Opens the file at `path`, relative to `start` unless it is absolute, for reading.
pub(crate) fn open_operator_file(start: &Dir, path: &[u8]) -> io::Result<File> {
    if path.is_empty() {
        return Err(Errno::INVAL.into());
    }
    let mut rest = VecDeque::new();
    splice(&mut rest, path)?;
    let mut parent = first_parent(start, path)?;
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        let found = open(&parent, &name, OFlags::PATH | OFlags::NOFOLLOW)?;
        let stat = stat_fd(&found)?;
        if stat.kind() == Kind::Symlink {
            links += 1;
            if links > MAX_LINKS || !is_trusted(&stat) {
                return Err(Errno::LOOP.into());
            }
            let target = rustix::fs::readlinkat(&found, "", Vec::new())?.into_bytes();
            splice(&mut rest, &target)?;
            if target.first() == Some(&b'/') {
                parent = open_root()?;
            }
        } else if rest.is_empty() {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NOCTTY;
            return Ok(File::from(open(&parent, &name, flags)?));
        } else if stat.is_dir() {
            parent = found;
        } else {
            return Err(Errno::NOTDIR.into());
        }
    }
    Err(Errno::ISDIR.into())
}

fn is_trusted(link: &Stat) -> bool {
    link.uid == 0 || link.uid == rustix::process::geteuid().as_raw()
}

fn first_parent(start: &Dir, path: &[u8]) -> io::Result<OwnedFd> {
    if path.first() == Some(&b'/') { open_root() } else { start.fd.try_clone() }
}

fn open_root() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn open(parent: &OwnedFd, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(parent, name, flags | OFlags::CLOEXEC, Mode::empty())?)
}

/// Puts the components of `path` in front of `rest`.
fn splice(rest: &mut VecDeque<Vec<u8>>, path: &[u8]) -> io::Result<()> {
    for name in path.rsplit(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
        rest.push_front(name.to_vec());
    }
    if rest.len() > MAX_COMPONENTS { Err(Errno::NAMETOOLONG.into()) } else { Ok(()) }
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
}
