//! `--partial-dir`: where unfinished files wait for the next run, and `--delay-updates` files for
//! the end of this one (spec 07 §7.1).

use std::io;

use crate::Session;
use crate::confine::{Bounds, Dir};
use bstr::BString;

/// Where partial files are: a directory inside each directory of the destination, or one for all,
/// where files of one name collide.
#[derive(Clone, Debug)]
pub(crate) struct PartialDir {
    name: BString,
    bounds: Bounds,
}

impl PartialDir {
    /// The directory that the options ask for.
    pub(crate) fn of(session: &Session) -> Option<Self> {
        session.options.partial_dir.clone().map(|name| Self { name, bounds: session.bounds() })
    }

    fn is_shared(&self) -> bool {
        self.name.starts_with(b"/")
    }

    /// What messages call the partial file of `name` in the directory at `dir_path`.
    pub(crate) fn path_of(&self, dir_path: &[u8], name: &[u8]) -> Vec<u8> {
        if self.is_shared() || dir_path.is_empty() {
            return [&self.name, &b"/"[..], name].concat();
        }
        [dir_path, b"/", &self.name, b"/", name].concat()
    }

    /// Opens the partial directory inside `dir`.
    pub(crate) fn open(&self, dir: &Dir) -> io::Result<Dir> {
        match self.is_shared() {
            true => self.bounds.open_dir(dir, &self.name),
            false => dir.open_beneath(&self.name),
        }
    }

    /// Opens it, making it where it is missing and removing what else has its name.
    pub(crate) fn make(&self, dir: &Dir) -> io::Result<Dir> {
        if self.is_shared() {
            return self.bounds.make_dir(dir, &self.name, 0o700).map(|(made, _)| made);
        }
        if let Ok(opened) = self.open(dir) {
            return Ok(opened);
        }
        let mut made = dir.try_clone()?;
        for name in self.name.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b".")) {
            made = enter(&made, name)?;
        }
        Ok(made)
    }

    /// Removes the partial file `name`, if there is one: the file is complete elsewhere.
    pub(crate) fn discard(&self, dir: &Dir, name: &[u8]) {
        if let Ok(partial) = self.open(dir)
            && partial.unlink(name).is_ok()
        {
            self.remove_if_empty(dir);
        }
    }

    /// Removes the directory when its last file has left.
    pub(crate) fn remove_if_empty(&self, dir: &Dir) {
        if !self.is_shared() {
            let (above, name) = match self.name.iter().rposition(|&byte| byte == b'/') {
                Some(slash) => (&self.name[..slash], &self.name[slash + 1..]),
                None => (&b""[..], &self.name[..]),
            };
            // Other files may still wait in it.
            let _ = dir.open_beneath(above).and_then(|above| above.rmdir(name));
        }
    }
}

/// Opens the directory `name`, making it where it is missing and removing what else has its name.
fn enter(dir: &Dir, name: &[u8]) -> io::Result<Dir> {
    match dir.open_dir(name) {
        Ok(opened) => return Ok(opened),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) => dir.unlink(name)?,
    }
    dir.mkdir(name, 0o700)?;
    dir.open_dir(name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::confine::Trust;

    #[test]
    fn a_directory_of_several_components_is_made_and_removed() {
        let place = tempfile::tempdir().expect("a directory");
        let dir = Dir::open(Path::new(place.path())).expect("open");
        std::fs::write(place.path().join("a"), b"in the way").expect("file");
        let partial = PartialDir { name: "a/b".into(), bounds: Bounds::Machine(Trust::OwnLinks) };
        let made = partial.make(&dir).expect("made");
        made.mkdir(b"x", 0o700).expect("mkdir");
        assert!(place.path().join("a/b/x").is_dir());
        partial.remove_if_empty(&dir);
        assert!(partial.open(&dir).is_ok(), "something is in it");
        made.rmdir(b"x").expect("rmdir");
        partial.remove_if_empty(&dir);
        assert!(place.path().join("a").is_dir() && partial.open(&dir).is_err());
    }
}
