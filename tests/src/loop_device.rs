//! A block device that is a file.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use crate::work::Work;

/// A loop device; it goes away with the test.
#[derive(Debug)]
pub struct LoopDevice {
    /// Its minor number; the major one is 7.
    pub minor: u32,
    path: PathBuf,
    _work: Work,
}

impl LoopDevice {
    /// Makes a device of `bytes` bytes, a multiple of 512; `None` where this machine or user cannot.
    #[must_use]
    pub fn new(bytes: u64) -> Option<Self> {
        let work = Work::new();
        let image = work.join("image");
        File::create(&image).and_then(|image| image.set_len(bytes)).ok()?;
        let output = Command::new("losetup").args(["--find", "--show"]).arg(&image).output().ok()?;
        let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
        let minor = path.to_str()?.strip_prefix("/dev/loop")?.parse().ok()?;
        Some(Self { minor, path, _work: work })
    }

    /// Gives it content.
    ///
    /// # Panics
    /// If the device refuses.
    pub fn fill(&self, content: &[u8]) {
        std::fs::write(&self.path, content).unwrap();
    }

    /// What is on it.
    ///
    /// # Panics
    /// If the device refuses.
    #[must_use]
    pub fn content(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap()
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // Nothing can be done about a device that stays.
        let _ = Command::new("losetup").arg("--detach").arg(&self.path).status();
    }
}
