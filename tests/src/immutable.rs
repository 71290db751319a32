//! Files that nobody can change, not even root.

use std::path::PathBuf;
use std::process::Command;

use crate::outcome::run;
use crate::program::require_root;

/// Immutable files and directories (`chattr +i`), until this is dropped.
#[derive(Debug)]
pub struct Immutable(Vec<PathBuf>);

impl Immutable {
    /// Makes them so.
    ///
    /// # Panics
    /// If that cannot be: it takes root, and a file system that knows them below `TMPDIR`.
    #[must_use]
    #[track_caller]
    pub fn make(paths: &[PathBuf]) -> Self {
        require_root();
        let made = Self(paths.to_vec());
        run(Command::new("chattr").arg("+i").args(paths)).expect_ok();
        made
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        let _ = Command::new("chattr").arg("-i").args(&self.0).status();
    }
}
