//! A directory per test.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// An empty directory that goes away with the test, mode 755.
#[derive(Debug)]
pub struct Work {
    directory: TempDir,
}

impl Default for Work {
    fn default() -> Self {
        Self::new()
    }
}

impl Work {
    /// Makes the directory.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("rsync-e2e-").tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { directory }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The path of something in it.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Makes everything beneath `path`, and itself, a user's.
///
/// # Panics
/// If that is refused.
pub fn give_to(path: &Path, id: u32) {
    if path.is_dir() && !path.is_symlink() {
        std::fs::read_dir(path).unwrap().flatten().for_each(|entry| give_to(&entry.path(), id));
    }
    std::os::unix::fs::lchown(path, Some(id), Some(id)).unwrap();
}
