//! Files that nobody can change, not even root.

use std::path::PathBuf;
use std::process::Command;

/// Immutable files and directories (`chattr +i`), until this is dropped.
#[derive(Debug)]
pub struct Immutable(Vec<PathBuf>);

impl Immutable {
    /// `None` where the system cannot.
    #[must_use]
    pub fn make(paths: &[PathBuf]) -> Option<Self> {
        let made = Command::new("chattr").arg("+i").args(paths).output();
        made.is_ok_and(|output| output.status.success()).then(|| Self(paths.to_vec()))
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        let _ = Command::new("chattr").arg("-i").args(&self.0).status();
    }
}
