//! Whole trees that share their unchanged files, and are never changed once readers see them.
//!
//! A new tree begins empty. The transfer is told of the tree that readers see as an alternate destination:
//! what is the same there becomes another name of that file (or a copy that shares its blocks), everything
//! else is written anew. So the receiver never writes to, or sets attributes of, a file that readers see.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::shelf::{Shelf, remove_tree};
use super::{Publisher, Staged, make_dir};
use crate::MirrorError;
use crate::durable::sync_parent;
use crate::job::{Generations, Share};

/// The tree that is being made, beside the numbered ones: it is only renamed within its directory.
const WORK: &str = ".work";

/// Publishes by switching a link from one whole tree to the next.
#[derive(Clone, Debug)]
pub struct Generation {
    shelf: Shelf,
    settings: Generations,
}

impl Generation {
    /// Of the destination `root`, which is to hold `gen` and `current`.
    #[must_use]
    pub fn new(root: PathBuf, settings: Generations) -> Self {
        Self { shelf: Shelf::new(root), settings }
    }

    /// Takes back a tree that was finished and never shown, so that nothing of it is brought again.
    fn take_back(&self, work: &Path) -> Result<(), MirrorError> {
        let current = self.shelf.current().unwrap_or(0);
        for number in self.shelf.numbers()?.into_iter().rev().filter(|&number| number > current) {
            if work.exists() {
                self.shelf.remove(number)?;
            } else {
                let path = self.shelf.path(number);
                fs::rename(&path, work).map_err(MirrorError::file("take back", path))?;
            }
        }
        Ok(())
    }

    /// Takes away what a transfer must not change.
    fn unshare(&self, work: &Path) -> Result<(), MirrorError> {
        match self.settings.share {
            Share::HardLink => unshare(work).map_err(MirrorError::file("prepare", work)),
            Share::Reflink => Ok(()),
        }
    }
}

impl Publisher for Generation {
    fn stage(&self) -> Result<Staged, MirrorError> {
        self.shelf.prepare()?;
        self.shelf.empty_trash()?;
        let work = self.shelf.beside(WORK);
        self.take_back(&work)?;
        make_dir(&work)?;
        self.unshare(&work)?;
        let seen = self.shelf.current().map(|number| self.shelf.path(number));
        let share = seen.clone().map(|seen| (self.settings.share, seen));
        Ok(Staged { seen: seen.unwrap_or_else(|| work.clone()), work, share, pending: false })
    }

    fn again(&self, staged: &Staged) -> Result<(), MirrorError> {
        self.unshare(&staged.work)
    }

    fn commit(&self, staged: &Staged, fence: Option<u64>) -> Result<Option<u64>, MirrorError> {
        let number =
            self.shelf.numbers()?.last().copied().unwrap_or(0).max(self.shelf.current().unwrap_or(0)) + 1;
        let path = self.shelf.path(number);
        // All of it is on the disk before anybody can see any of it.
        File::open(&staged.work)
            .and_then(|work| Ok(rustix::fs::syncfs(work)?))
            .and_then(|()| fs::rename(&staged.work, &path))
            .and_then(|()| sync_parent(&path))
            .map_err(MirrorError::file("finish", &path))?;
        self.shelf.switch(number, fence)?;
        Ok(Some(number))
    }

    fn rollback(&self, staged: &Staged) -> Result<(), MirrorError> {
        // What was brought is there for the next run; an empty place is not worth keeping.
        match fs::remove_dir(&staged.work) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(MirrorError::file("remove", &staged.work)),
        }
    }

    fn gc(&self) -> Result<(), MirrorError> {
        let surplus = self.shelf.surplus(self.settings.keep.max(1))?;
        surplus.into_iter().try_for_each(|number| self.shelf.remove(number))?;
        remove_tree(&self.shelf.beside(WORK))
    }

    fn current(&self) -> Option<u64> {
        self.shelf.current()
    }
}

/// Takes away all names of files that have others, since those may be in trees that readers see. The next
/// transfer links them again; what was brought and is not shared stays.
fn unshare(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let facts = entry.metadata()?;
        if facts.is_dir() {
            unshare(&entry.path())?;
        } else if facts.nlink() > 1 {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        root: tempfile::TempDir,
        generation: Generation,
    }

    impl Place {
        fn new(keep: usize) -> Self {
            let root = tempfile::tempdir().expect("a place");
            let settings = Generations { keep, share: Share::HardLink };
            let generation = Generation::new(root.path().to_owned(), settings);
            Self { root, generation }
        }

        fn publish(&self, content: &str) -> Option<u64> {
            let staged = self.generation.stage().expect("stages");
            fs::write(staged.work.join("file"), content).expect("is written");
            let number = self.generation.commit(&staged, None).expect("commits");
            self.generation.gc().expect("collects");
            number
        }

        fn seen(&self) -> String {
            fs::read_to_string(self.root.path().join("current/file")).expect("is seen")
        }
    }

    #[test]
    fn trees_are_numbered_and_old_ones_go() {
        let place = Place::new(2);
        for (number, content) in (1..).zip(["a", "b", "c"]) {
            assert_eq!(place.publish(content), Some(number));
            assert_eq!(place.seen(), content);
        }
        assert_eq!(place.generation.shelf.numbers().expect("is read"), [2, 3]);
    }

    #[test]
    fn a_tree_that_was_finished_and_never_shown_is_taken_back() {
        let place = Place::new(2);
        place.publish("old");
        let staged = place.generation.stage().expect("stages");
        fs::write(staged.work.join("brought"), "").expect("is written");
        fs::rename(&staged.work, place.generation.shelf.path(2)).expect("is renamed");
        let again = place.generation.stage().expect("stages");
        assert!(again.work.join("brought").exists());
        assert_eq!(place.seen(), "old");
        assert_eq!(place.publish("new"), Some(2));
    }

    #[test]
    fn what_an_interrupted_run_shared_is_not_touched_by_the_next() {
        let place = Place::new(2);
        place.publish("old");
        let staged = place.generation.stage().expect("stages");
        fs::hard_link(staged.seen.join("file"), staged.work.join("file")).expect("is linked");
        fs::write(staged.work.join("brought"), "new").expect("is written");
        let again = place.generation.stage().expect("stages");
        assert!(!again.work.join("file").exists(), "it is the file that readers see");
        assert!(again.work.join("brought").exists());
    }
}
