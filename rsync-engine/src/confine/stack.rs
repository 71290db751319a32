//! Directories near the last one used stay open, so that consecutive names cost one call each.

use std::io;
use std::sync::Arc;

use super::{Bounds, Dir};

/// Directories kept open at most.
const DEPTH: usize = 16;

/// Finds directories beneath a root by path, and keeps the chain to the last one open.
#[derive(Debug)]
pub struct DirStack {
    root: Arc<Dir>,
    /// Directories from the root down to the last one used: length of the path, and the directory.
    open: Vec<(usize, Dir)>,
    /// Path of the last one used.
    path: Vec<u8>,
    /// Links to directories that count as directories.
    links: Option<Bounds>,
}

impl DirStack {
    /// Starts at `root`.
    #[must_use]
    pub fn new(root: Arc<Dir>) -> Self {
        Self { root, open: Vec::new(), path: Vec::new(), links: None }
    }

    /// With `links`, a link within these bounds counts as the directory it leads to (`--keep-dirlinks`).
    pub(crate) fn following(self, links: Option<Bounds>) -> Self {
        Self { links, ..self }
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> &Arc<Dir> {
        &self.root
    }

    /// The directory at `path` beneath the root; empty and `.` are the root.
    ///
    /// # Errors
    /// Those of [`Dir::open_beneath`].
    pub fn dir(&mut self, path: &[u8]) -> io::Result<&Dir> {
        let path = if path == b"." { b"" } else { path };
        self.keep_common(path);
        if self.path.len() != path.len() {
            self.descend(path)?;
        }
        Ok(self.open.last().map_or(&*self.root, |(_, dir)| dir))
    }

    /// Forgets all open directories: one of them was removed, renamed or replaced.
    pub fn forget(&mut self) {
        self.open.clear();
        self.path.clear();
    }

    /// Closes what `path` does not lie in.
    fn keep_common(&mut self, path: &[u8]) {
        while let Some((length, _)) = self.open.last() {
            let within = path.len() == *length || path.get(*length) == Some(&b'/');
            if within && path.starts_with(&self.path[..*length]) {
                break;
            }
            self.open.pop();
        }
        let length = self.open.last().map_or(0, |(length, _)| *length);
        self.path.truncate(length);
    }

    /// Opens what is missing between the last open directory and `path`.
    fn descend(&mut self, path: &[u8]) -> io::Result<()> {
        let start = if self.path.is_empty() { 0 } else { self.path.len() + 1 };
        let above = self.open.last().map_or(&*self.root, |(_, dir)| dir);
        let opened = match (above.open_beneath(&path[start..]), &self.links) {
            (Ok(opened), _) => opened,
            (Err(_), Some(bounds)) => bounds.open_linked_dir(above, &path[start..], path)?,
            (Err(error), None) => return Err(error),
        };
        if self.open.len() >= DEPTH {
            self.open.remove(0);
        }
        self.open.push((path.len(), opened));
        self.path.clear();
        self.path.extend_from_slice(path);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_of_paths_finds_the_right_directory() {
        let place = tempfile::tempdir().expect("a directory");
        let paths = ["a", "a/b", "a/b/c", "ab", "ab/c", "z"];
        for path in paths {
            std::fs::create_dir(place.path().join(path)).expect("dir");
        }
        let root = Arc::new(Dir::open(place.path()).expect("open"));
        let mut stack = DirStack::new(Arc::clone(&root));
        for path in ["a/b/c", "a", "ab/c", "", "a/b", "a/b/c", "ab", "z", ".", "a/b"] {
            let expected = root.open_beneath(path.as_bytes()).expect("open").stat_self().expect("stat");
            let found = stack.dir(path.as_bytes()).expect("dir").stat_self().expect("stat");
            assert!(found.same_file(&expected), "{path}");
        }
        assert!(stack.dir(b"a/missing").is_err());
        assert!(stack.dir(b"a/b").is_ok());
    }
}
