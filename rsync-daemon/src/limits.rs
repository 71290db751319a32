//! `max connections`: slots in a lock file, shared with other processes and with the C daemon
//! (spec 09 §7).

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use bstr::BString;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::files::open_own;
use crate::places::Place;

/// A place of an address in a module (`max connections per address`).
pub(crate) type ModulePlace = Place<(BString, IpAddr)>;

/// A session's slot; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Slot(File);

/// Bytes of the lock file that stand for one session.
const SLOT_SIZE: i64 = 4;

impl Slot {
    /// Takes one of `count` slots; `None` when all are taken.
    pub(crate) fn claim(lock_file: &Path, count: i32) -> io::Result<Option<Self>> {
        let file = open_own(lock_file, 0o600)?;
        for slot in 0..i64::from(count) {
            if lock_range(&file, slot * SLOT_SIZE, SLOT_SIZE)? {
                return Ok(Some(Self(file)));
            }
        }
        Ok(None)
    }
}

impl AsFd for Slot {
    /// The open file: the slot is taken until every process that has it closes it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Locks bytes of a file for writing, for as long as it is open; answers whether they were free. The
/// lock belongs to the open file, and is seen by processes that lock for themselves.
pub(crate) fn lock_range(file: &File, start: i64, length: i64) -> io::Result<bool> {
    let lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: length,
        l_pid: 0,
    };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => Ok(true),
        Err(nix::Error::EAGAIN | nix::Error::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_counted_and_come_back() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("lock");
        let first = Slot::claim(&path, 2).expect("claim").expect("free");
        let _second = Slot::claim(&path, 2).expect("claim").expect("free");
        assert!(Slot::claim(&path, 2).expect("claim").is_none());
        drop(first);
        assert!(Slot::claim(&path, 2).expect("claim").is_some());
    }

    #[test]
    fn a_lock_file_that_somebody_else_linked_is_an_error() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let place = tempfile::tempdir().expect("a directory");
        let (path, victim) = (place.path().join("lock"), place.path().join("victim"));
        std::os::unix::fs::symlink(place.path(), &path).expect("a link");
        std::os::unix::fs::lchown(&path, Some(1234), None).expect("an owner");
        assert!(Slot::claim(&path.join("victim"), 1).is_err() && !victim.exists());
        std::os::unix::fs::lchown(&path, Some(0), None).expect("an owner");
        assert!(Slot::claim(&path.join("victim"), 1).expect("claim").is_some() && victim.exists());
    }

    #[test]
    fn a_lock_file_that_cannot_be_opened_is_an_error() {
        assert!(Slot::claim(Path::new("/nonexistent/lock"), 1).is_err());
    }
}
