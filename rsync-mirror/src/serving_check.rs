//! What a web server or a daemon could not serve of a tree: files and directories that its user may not read
//! (spec 11 §1.1).

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::MirrorError;

/// Who serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServingUser {
    /// Its user id; 0 may read everything.
    pub uid: u32,
    /// Its groups.
    pub gids: Vec<u32>,
}

/// A path that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Which one.
    pub path: PathBuf,
    /// Why not, as the rest of a sentence.
    pub reason: &'static str,
}

impl ServingUser {
    /// Looks at `tree`, at the directories above it and at everything below it, and tells `found` of what this
    /// user may not read. Permission bits are what counts; access control lists are not asked. Links below the
    /// tree are not followed.
    ///
    /// # Errors
    /// A directory that we may not read ourselves.
    pub fn check(&self, tree: &Path, found: &mut dyn FnMut(Unreadable)) -> Result<(), MirrorError> {
        let tree = tree.canonicalize().map_err(MirrorError::file("find", tree))?;
        for above in tree.ancestors().skip(1) {
            let facts = fs::metadata(above).map_err(MirrorError::file("look at", above))?;
            if !self.may(&facts, 1) {
                found(Unreadable { path: above.to_owned(), reason: "cannot be entered" });
            }
        }
        let facts = fs::metadata(&tree).map_err(MirrorError::file("look at", &tree))?;
        self.check_entry(&tree, &facts, found)
    }

    fn check_entry(
        &self,
        path: &Path,
        facts: &Metadata,
        found: &mut dyn FnMut(Unreadable),
    ) -> Result<(), MirrorError> {
        if facts.is_file() && !self.may(facts, 4) {
            found(Unreadable { path: path.to_owned(), reason: "cannot be read" });
        }
        if !facts.is_dir() {
            return Ok(());
        }
        if !self.may(facts, 1) {
            // Of what is below nothing else matters.
            found(Unreadable { path: path.to_owned(), reason: "cannot be entered" });
            return Ok(());
        }
        if !self.may(facts, 4) {
            found(Unreadable { path: path.to_owned(), reason: "cannot be listed" });
        }
        for entry in fs::read_dir(path).map_err(MirrorError::file("read", path))? {
            let entry = entry.map_err(MirrorError::file("read", path))?;
            match entry.metadata() {
                // It went away since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                facts => {
                    let facts = facts.map_err(MirrorError::file("look at", entry.path()))?;
                    self.check_entry(&entry.path(), &facts, found)?;
                }
            }
        }
        Ok(())
    }

    /// Whether this user has `right` (4 to read, 1 to enter).
    fn may(&self, facts: &Metadata, right: u32) -> bool {
        let class = if facts.uid() == self.uid {
            6
        } else if self.gids.contains(&facts.gid()) {
            3
        } else {
            0
        };
        self.uid == 0 || facts.mode() >> class & right != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_others_may_not_read_or_enter_is_found() {
        let place = tempfile::tempdir().expect("a place");
        let root = place.path().canonicalize().expect("is there");
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).expect("is set");
        for (name, mode) in [("open", 0o755), ("closed", 0o700), ("blind", 0o711)] {
            fs::create_dir(root.join(name)).expect("is made");
            fs::write(root.join(name).join("file"), "").expect("is written");
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).expect("is set");
        }
        fs::set_permissions(root.join("open/file"), fs::Permissions::from_mode(0o640)).expect("is set");
        let found = |user: &ServingUser| {
            let mut found = Vec::new();
            let mut add = |one: Unreadable| {
                if let Ok(path) = one.path.strip_prefix(&root) {
                    found.push(format!("{} {}", path.display(), one.reason));
                }
            };
            user.check(&root, &mut add).expect("is read");
            found.sort();
            found
        };
        let owner = fs::metadata(&root).expect("is there");
        let other = ServingUser { uid: owner.uid() + 1, gids: vec![owner.gid() + 1] };
        let expected = ["blind cannot be listed", "closed cannot be entered", "open/file cannot be read"];
        assert_eq!(found(&other), expected);
        let group = ServingUser { gids: vec![owner.gid()], ..other };
        assert_eq!(found(&group), expected[..2]);
        assert!(found(&ServingUser { uid: owner.uid(), gids: Vec::new() }).is_empty());
    }
}
