//! Locks: of a job, of what it shares with others, of its destination. All are flock(2), so that they end
//! with the process, however it ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{FlockOperation, OFlags, flock};

use super::cancel::Cancel;
use crate::MirrorError;

/// How often a lock is tried that is waited for.
const POLL: Duration = Duration::from_millis(200);

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a job; the file says who holds it and since when.
    pub(crate) fn of_job(path: &Path, now: Timestamp) -> Result<Self, MirrorError> {
        let mut file = open(path)?;
        take(&file, path, || holder(path))?;
        // What it says is for people; the lock is what counts.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "process {} since {now:.0}", std::process::id()));
        Ok(Self { _file: file })
    }

    /// Takes a lock that other programs take too; its file is made, and never written to.
    pub(crate) fn external(path: &Path) -> Result<Self, MirrorError> {
        let file = open(path)?;
        take(&file, path, || None)?;
        Ok(Self { _file: file })
    }

    /// Takes the lock of a directory, which leaves nothing in it.
    pub(crate) fn of_directory(path: &Path) -> Result<Self, MirrorError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, rustix::fs::Mode::empty())
            .map_err(|errno| MirrorError::file("open", path)(errno.into()))?;
        let file = File::from(file);
        take(&file, path, || Some("another job".to_owned()))?;
        Ok(Self { _file: file })
    }

    /// Waits for a lock until it is free or the run is stopped.
    pub(crate) fn wait(path: &Path, cancel: &Cancel) -> Result<Self, MirrorError> {
        let file = open(path)?;
        loop {
            match take(&file, path, || None) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(MirrorError::Locked { .. }) if !cancel.wait(POLL) => {}
                Err(error) => return Err(cancel.reason().map_or(error, MirrorError::Stopped)),
            }
        }
    }
}

fn open(path: &Path) -> Result<File, MirrorError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).map_err(MirrorError::file("open the lock", path))
}

fn take(file: &File, path: &Path, holder: impl FnOnce() -> Option<String>) -> Result<(), MirrorError> {
    match flock(file, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(MirrorError::Locked { path: path.to_owned(), holder: holder() })
        }
        Err(error) => Err(MirrorError::file("lock", path)(error)),
    }
}

fn holder(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(200).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::StopReason;

    #[test]
    fn a_job_is_locked_once_and_says_by_whom() {
        let place = tempfile::tempdir().expect("a place");
        let path = place.path().join("lock");
        let held = Lock::of_job(&path, Timestamp::UNIX_EPOCH).expect("is free");
        let error = Lock::of_job(&path, Timestamp::UNIX_EPOCH).expect_err("is held");
        assert!(
            error.to_string().ends_with(&format!(
                "is locked by process {} since 1970-01-01T00:00:00Z",
                std::process::id()
            ))
        );
        assert_eq!(error.exit_code(), 75);
        drop(held);
        Lock::of_job(&path, Timestamp::UNIX_EPOCH).expect("is free again");
    }

    #[test]
    fn waiting_for_a_lock_ends_when_the_run_is_stopped() {
        let place = tempfile::tempdir().expect("a place");
        let path = place.path().join("lock");
        let _held = Lock::external(&path).expect("is free");
        let cancel = Cancel::default();
        cancel.cancel(StopReason::Shutdown);
        let error = Lock::wait(&path, &cancel).expect_err("is stopped");
        assert!(matches!(error, MirrorError::Stopped(StopReason::Shutdown)), "{error}");
    }

    #[test]
    fn a_directory_is_locked_without_a_file_in_it() {
        let place = tempfile::tempdir().expect("a place");
        let _held = Lock::of_directory(place.path()).expect("is free");
        Lock::of_directory(place.path()).expect_err("is held");
        assert_eq!(std::fs::read_dir(place.path()).expect("is read").count(), 0);
    }
}
