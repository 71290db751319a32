//! The daemon's pid file, locked for its life (spec 09 §1).

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::files::open_own;
use crate::limits::lock_range;

/// A locked pid file; dropping it removes it.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    #[expect(dead_code, reason = "holds the lock")]
    file: File,
}

/// Longest file that is taken for a pid file, in bytes.
const LENGTH_LIMIT: u64 = 32;

/// Why there is no pid file.
#[derive(Debug, thiserror::Error)]
#[error("failed to {step} pid file {}: {source}", path.display())]
pub struct PidFileError {
    /// What was attempted.
    step: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl PidFile {
    /// Locks `path` and writes our process id.
    pub(crate) fn create(path: &Path) -> Result<Self, PidFileError> {
        let failed = |step| move |source| PidFileError { step, path: path.into(), source };
        if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
            std::fs::remove_file(path).map_err(failed("unlink"))?;
        }
        let mut file = open_own(path, 0o664).map_err(failed("open"))?;
        if !lock_range(&file, 0, 4).map_err(failed("lock"))? {
            return Err(failed("lock")(nix::Error::EAGAIN.into()));
        }
        if file.metadata().map_err(failed("fstat opened"))?.len() > LENGTH_LIMIT {
            return Err(failed("find small")(io::ErrorKind::InvalidData.into()));
        }
        file.set_len(0).map_err(failed("truncate"))?;
        writeln!(file, "{}", std::process::id()).map_err(failed("write"))?;
        Ok(Self { path: path.into(), file })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Whoever starts next finds it unlocked in any case.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_is_refused_and_a_clean_end_removes_the_file() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("pid");
        let first = PidFile::create(&path).expect("free");
        assert_eq!(std::fs::read_to_string(&path).expect("pid"), format!("{}\n", std::process::id()));
        let error = PidFile::create(&path).expect_err("taken").to_string();
        assert!(error.starts_with("failed to lock pid file "), "{error}");
        drop(first);
        assert!(!path.exists());
    }
}
