//! A small file system of its own, for full disks and mount points.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::program::is_root;

/// A tmpfs, unmounted when it is dropped.
#[derive(Debug)]
pub struct Tmpfs {
    path: PathBuf,
}

impl Tmpfs {
    /// Mounts one of `bytes` on `path`, which is made. `None` if we may not mount.
    #[must_use]
    pub fn mount(path: &Path, bytes: u64) -> Option<Self> {
        if !is_root() {
            return None;
        }
        std::fs::create_dir_all(path).unwrap();
        let options = std::ffi::CString::new(format!("size={bytes},mode=755")).unwrap();
        mount("tmpfs", path, "tmpfs", MountFlags::empty(), Some(options.as_c_str())).ok()?;
        Some(Self { path: path.to_owned() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        if unmount(&self.path, UnmountFlags::DETACH).is_err() {
            // The test's directory cannot be removed while it is mounted; umount(8) may know more.
            let _ = Command::new("umount").arg(&self.path).status();
        }
    }
}
