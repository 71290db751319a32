//! The destination is the tree: rsync's own delayed updates are all that is between old and new.

use std::path::PathBuf;

use super::{Publisher, Staged, make_dir};
use crate::MirrorError;

/// Publishes by changing the tree that readers see.
#[derive(Clone, Debug)]
pub struct Delay {
    destination: PathBuf,
}

impl Delay {
    /// Of the tree at `destination`.
    #[must_use]
    pub fn new(destination: PathBuf) -> Self {
        Self { destination }
    }
}

impl Publisher for Delay {
    fn stage(&self) -> Result<Staged, MirrorError> {
        make_dir(&self.destination)?;
        let work = self.destination.clone();
        Ok(Staged { seen: work.clone(), work, share: None, pending: false })
    }

    fn commit(&self, _: &Staged, _: Option<u64>) -> Result<Option<u64>, MirrorError> {
        Ok(None)
    }

    fn rollback(&self, _: &Staged) -> Result<(), MirrorError> {
        Ok(())
    }

    fn gc(&self) -> Result<(), MirrorError> {
        Ok(())
    }
}
