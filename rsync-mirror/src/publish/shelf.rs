//! Numbered trees and the link that says which of them readers see.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::make_dir;
use crate::MirrorError;
use crate::durable::sync_parent;

/// The directory of numbered trees, below a destination.
pub const GENERATIONS: &str = "gen";

/// The link to the one that readers see.
pub const CURRENT: &str = "current";

/// The name of what is being removed.
const TRASH: &str = ".trash";

/// A destination with numbered trees.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    root: PathBuf,
}

impl Shelf {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Makes the directories, if they are missing.
    pub(super) fn prepare(&self) -> Result<(), MirrorError> {
        make_dir(&self.root.join(GENERATIONS))
    }

    /// Where a name beside the numbers is.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.root.join(GENERATIONS).join(name)
    }

    /// Where the tree of a number is.
    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.beside(&number.to_string())
    }

    /// The number of the tree that readers see.
    pub(super) fn current(&self) -> Option<u64> {
        let target = fs::read_link(self.root.join(CURRENT)).ok()?;
        let number = target.strip_prefix(GENERATIONS).ok()?;
        number.to_str()?.parse().ok()
    }

    /// All numbers that have a tree, in order.
    pub(super) fn numbers(&self) -> Result<Vec<u64>, MirrorError> {
        let directory = self.root.join(GENERATIONS);
        let entries = fs::read_dir(&directory).map_err(MirrorError::file("read", &directory))?;
        let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
        let mut numbers: Vec<u64> = entries.flatten().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Lets readers see the tree of `number`, unless another worker has a later fence.
    pub(super) fn switch(&self, number: u64, fence: Option<u64>) -> Result<(), MirrorError> {
        let _held = fence.map(|fence| self.pass_fence(fence)).transpose()?;
        let link = self.root.join(CURRENT);
        let new = self.root.join(format!("{CURRENT}.new"));
        let switched = match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => symlink(Path::new(GENERATIONS).join(number.to_string()), &new)
                .and_then(|()| fs::rename(&new, &link))
                .and_then(|()| sync_parent(&link)),
        };
        switched.map_err(MirrorError::file("switch", link))
    }

    /// Notes the fence of this run, if none is later. The file stays locked until it is dropped.
    fn pass_fence(&self, own: u64) -> Result<File, MirrorError> {
        let path = self.beside(".fence");
        let noted = || -> io::Result<(File, u64)> {
            let mut file =
                OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            let found = text.trim().parse().unwrap_or(0);
            if own > found {
                file.rewind()?;
                file.write_all(format!("{own:020}\n").as_bytes())?;
                file.sync_all()?;
            }
            Ok((file, found))
        };
        match noted().map_err(MirrorError::file("write", &path))? {
            (_, found) if found > own => Err(MirrorError::Fenced { path: self.root.clone(), found, own }),
            (file, _) => Ok(file),
        }
    }

    /// Which trees are to go: all but the current one, the last others up to `keep`, and pinned ones.
    pub(super) fn surplus(&self, keep: usize) -> Result<Vec<u64>, MirrorError> {
        let current = self.current();
        let mut others = self.numbers()?;
        others.retain(|&number| Some(number) != current && !self.beside(&format!("{number}.pin")).exists());
        let surplus = others.len().saturating_sub(keep.saturating_sub(usize::from(current.is_some())));
        others.truncate(surplus);
        Ok(others)
    }

    /// Removes the tree of a number. A reader that comes too late finds nothing, and never a part.
    pub(super) fn remove(&self, number: u64) -> Result<(), MirrorError> {
        let (path, trash) = (self.path(number), self.beside(&format!("{TRASH}.{number}")));
        fs::rename(&path, &trash).map_err(MirrorError::file("remove", path))?;
        remove_tree(&trash)
    }

    /// Finishes removals that were interrupted.
    pub(super) fn empty_trash(&self) -> Result<(), MirrorError> {
        let directory = self.root.join(GENERATIONS);
        let entries = fs::read_dir(&directory).map_err(MirrorError::file("read", &directory))?;
        let is_trash = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(TRASH);
        entries.flatten().filter(is_trash).try_for_each(|entry| remove_tree(&entry.path()))
    }
}

/// Removes a tree, also one whose directories forbid it.
pub(super) fn remove_tree(path: &Path) -> Result<(), MirrorError> {
    let removed = match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            permit(path).and_then(|()| fs::remove_dir_all(path))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    removed.map_err(MirrorError::file("remove", path))
}

/// Lets us change all directories of a tree.
fn permit(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            permit(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(numbers: &[u64]) -> (tempfile::TempDir, Shelf) {
        let place = tempfile::tempdir().expect("a place");
        let shelf = Shelf::new(place.path().to_owned());
        shelf.prepare().expect("is made");
        for number in numbers {
            fs::create_dir(shelf.path(*number)).expect("is made");
        }
        (place, shelf)
    }

    #[test]
    fn the_current_tree_the_last_others_and_pinned_ones_stay() {
        let (_place, shelf) = shelf(&[1, 2, 3, 9, 10]);
        shelf.switch(10, None).expect("switches");
        assert_eq!(shelf.current(), Some(10));
        assert_eq!(shelf.surplus(2).expect("is counted"), [1, 2, 3]);
        fs::write(shelf.beside("2.pin"), "").expect("is pinned");
        assert_eq!(shelf.surplus(2).expect("is counted"), [1, 3]);
        assert_eq!(shelf.surplus(0).expect("is counted"), [1, 3, 9]);
    }

    #[test]
    fn a_worker_whose_lease_is_over_publishes_no_more() {
        let (_place, shelf) = shelf(&[1, 2]);
        shelf.switch(1, Some(7)).expect("is the first");
        shelf.switch(2, Some(7)).expect("is the same worker");
        let error = shelf.switch(1, Some(6)).expect_err("is too late");
        assert!(matches!(error, MirrorError::Fenced { found: 7, own: 6, .. }), "{error}");
        assert_eq!(shelf.current(), Some(2));
        shelf.switch(1, Some(8)).expect("is later");
    }

    #[test]
    fn directories_that_forbid_changes_are_removed() {
        let (_place, shelf) = shelf(&[1]);
        let inner = shelf.path(1).join("a");
        fs::create_dir(&inner).expect("is made");
        fs::write(inner.join("f"), "").expect("is written");
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o500)).expect("is set");
        shelf.remove(1).expect("is removed");
        assert!(shelf.numbers().expect("is read").is_empty());
    }
}
