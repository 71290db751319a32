//! How readers come to see a new tree (spec 11 §2.4).

mod delay;
mod generation;
mod shelf;
mod snapshot;

use std::path::{Path, PathBuf};

use crate::MirrorError;
use crate::job::{Cancel, Job, Publish, Share, Spawn};

pub use delay::Delay;
pub use generation::Generation;
pub use shelf::{CURRENT, GENERATIONS};
pub use snapshot::Snapshot;

/// Where a run works, and what it may share with what readers see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// The tree that is written.
    pub work: PathBuf,
    /// The tree that the transfer is compared with before; `work` itself where that is what readers see.
    pub seen: PathBuf,
    /// A tree whose unchanged files the new one shares.
    pub share: Option<(Share, PathBuf)>,
    /// Something was brought before and never shown to readers: there is something to publish even if
    /// the upstream has nothing new.
    pub pending: bool,
}

/// Shows trees to readers, one whole tree after the other. The destination is locked meanwhile.
pub trait Publisher: Send + Sync {
    /// Prepares the place where the next tree is made; clears up what an earlier run left half done.
    ///
    /// # Errors
    /// What cannot be made or cleared up.
    fn stage(&self) -> Result<Staged, MirrorError>;

    /// The tree is about to be changed.
    ///
    /// # Errors
    /// What cannot be noted.
    fn begin(&self, staged: &Staged) -> Result<(), MirrorError> {
        let _ = staged;
        Ok(())
    }

    /// The tree was brought once, and a second transfer may change it.
    ///
    /// # Errors
    /// What cannot be prepared for that.
    fn again(&self, staged: &Staged) -> Result<(), MirrorError> {
        let _ = staged;
        Ok(())
    }

    /// Shows the tree to readers; answers its number, if it has one. A `fence` less than that of the last
    /// publication is refused.
    ///
    /// # Errors
    /// What cannot be written; readers see the old tree then, or the new one, and nothing between.
    fn commit(&self, staged: &Staged, fence: Option<u64>) -> Result<Option<u64>, MirrorError>;

    /// Nothing is published this time. What was brought stays for the next run.
    ///
    /// # Errors
    /// What cannot be cleared up.
    fn rollback(&self, staged: &Staged) -> Result<(), MirrorError>;

    /// Removes trees that are to be kept no longer.
    ///
    /// # Errors
    /// What cannot be removed; the next run tries again.
    fn gc(&self) -> Result<(), MirrorError>;

    /// The number of the tree that readers see, if trees have numbers.
    fn current(&self) -> Option<u64> {
        None
    }
}

/// The publisher that a job asks for. Snapshots are made by programs that `spawn` runs.
pub fn publisher<'a>(job: &Job, spawn: &'a dyn Spawn, cancel: &'a Cancel) -> Box<dyn Publisher + 'a> {
    // Alternate destinations would be looked for below the new tree if they were relative.
    let destination = std::path::absolute(&job.destination).unwrap_or_else(|_| job.destination.clone());
    match &job.publish {
        Publish::Delay => Box::new(Delay::new(destination)),
        Publish::Generation(settings) => Box::new(Generation::new(destination, settings.clone())),
        Publish::Snapshot(settings) => {
            Box::new(Snapshot::new(destination, settings.clone(), &job.environment, spawn, cancel))
        }
    }
}

/// The tree that readers of a job's destination see, with its links resolved once, so that everything
/// read below it belongs together.
///
/// # Errors
/// There is none yet.
pub fn seen_tree(job: &Job) -> Result<PathBuf, MirrorError> {
    let path = match job.publish {
        Publish::Delay => job.destination.clone(),
        _ => job.destination.join(CURRENT),
    };
    path.canonicalize().map_err(MirrorError::file("find", path))
}

fn make_dir(path: &Path) -> Result<(), MirrorError> {
    std::fs::create_dir_all(path).map_err(MirrorError::file("make", path))
}
