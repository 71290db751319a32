//! Where the paths that arguments and options name may lead: anywhere for whoever runs this program,
//! into the module for a daemon's client (spec 10 §2.3).

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rsync_proto::filter::sanitize;

use super::{Dir, Reach, Trust, make_operator_dir, open_operator_dir};

/// How such a path is looked up.
#[derive(Clone, Debug)]
pub(crate) enum Bounds {
    /// Anywhere on this machine, through links that are trusted.
    Machine(Trust),
    /// Nowhere out of a module: its root is their `/`, and others start at the path `base` in it.
    Module {
        /// The module.
        root: Arc<Dir>,
        /// Where relative paths start.
        base: Vec<u8>,
    },
}

impl Bounds {
    /// The same with relative paths that start at `base`, itself a path in the module.
    pub(crate) fn at(&self, base: &[u8]) -> Self {
        match self {
            Self::Machine(trust) => Self::Machine(*trust),
            Self::Module { root, .. } => Self::Module { root: Arc::clone(root), base: sanitize(base, false) },
        }
    }

    /// Opens the directory at `path`, relative to `start` or the module's base unless it is absolute.
    pub(crate) fn open_dir(&self, start: &Dir, path: &[u8]) -> io::Result<Dir> {
        match self {
            Self::Machine(trust) => open_operator_dir(start, path, *trust),
            Self::Module { root, base } => root.open_dir_following(&inside(base, path), Reach::Beneath),
        }
    }

    /// Opens the directory that the link at `path` beneath the destination leads to; `rest` is the path
    /// to it from `above`.
    pub(crate) fn open_linked_dir(&self, above: &Dir, rest: &[u8], path: &[u8]) -> io::Result<Dir> {
        match self {
            Self::Machine(trust) => open_operator_dir(above, rest, *trust),
            Self::Module { .. } => self.open_dir(above, path),
        }
    }

    /// [`Bounds::open_dir`] that makes what is missing, with `mode` less the umask; also answers how
    /// many directories it made. What dangling links point at is not made.
    pub(crate) fn make_dir(&self, start: &Dir, path: &[u8], mode: u32) -> io::Result<(Dir, usize)> {
        let (root, base) = match self {
            Self::Machine(trust) => return make_operator_dir(start, path, mode, *trust),
            Self::Module { root, base } => (root, base),
        };
        let path = inside(base, path);
        let mut dir = root.try_clone()?;
        let mut made = 0;
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in ends.chain(std::iter::once(path.len())) {
            let opened = root.open_dir_following(&path[..end], Reach::Beneath);
            dir = match opened {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let name = path[..end].rsplit(|&byte| byte == b'/').next().unwrap_or_default();
                    dir.mkdir(name, mode)?;
                    made += 1;
                    dir.open_dir(name)?
                }
                opened => opened?,
            };
        }
        Ok((dir, made))
    }

    /// Whether what `path` leads to is a directory.
    ///
    /// # Errors
    /// When it leads to nothing.
    pub(crate) fn is_dir(&self, path: &[u8]) -> io::Result<bool> {
        match self {
            Self::Machine(_) => Ok(std::fs::metadata(Path::new(std::ffi::OsStr::from_bytes(path)))?.is_dir()),
            Self::Module { root, base } => {
                Ok(root.stat_following(&inside(base, path), Reach::Beneath)?.0.is_dir())
            }
        }
    }
}

/// A path from the module's root, without a slash at either end; `..` stops at the root.
fn inside(base: &[u8], path: &[u8]) -> Vec<u8> {
    let whole = if path.first() == Some(&b'/') { path.to_vec() } else { [base, b"/", path].concat() };
    let mut clean = sanitize(&whole, false);
    if clean.last() == Some(&b'/') {
        clean.pop();
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_of_a_module() {
        let place = tempfile::tempdir().expect("a directory");
        let root = place.path().join("module");
        std::fs::create_dir_all(root.join("sub/deep")).expect("dirs");
        std::fs::create_dir(place.path().join("outside")).expect("dir");
        for (target, link) in
            [("../outside", "up"), ("/tmp", "absolute"), ("sub", "in"), ("gone", "dangling")]
        {
            std::os::unix::fs::symlink(target, root.join(link)).expect("link");
        }
        let dir = Arc::new(Dir::open(&root).expect("open"));
        let bounds = Bounds::Module { root: Arc::clone(&dir), base: Vec::new() }.at(b"/sub");
        let leads_to = |path: &[u8]| {
            let found = bounds.open_dir(&dir, path).ok()?.stat_self().ok()?;
            let names = ["", "sub", "sub/deep"];
            names.into_iter().find(|name| {
                Dir::open(&root.join(name))
                    .and_then(|dir| dir.stat_self())
                    .is_ok_and(|dir| dir.same_file(&found))
            })
        };
        for (path, expected) in [
            (&b"deep"[..], Some("sub/deep")),
            (b".", Some("sub")),
            (b"..", Some("")),
            (b"../../../..", Some("")),
            (b"/", Some("")),
            (b"/in/deep/", Some("sub/deep")),
            (b"/up", None),
            (b"/absolute", None),
            (b"/../../outside", None),
            (b"/in/../../outside", None),
        ] {
            assert_eq!(leads_to(path), expected, "{}", String::from_utf8_lossy(path));
        }
        assert_eq!(bounds.make_dir(&dir, b"new/er", 0o755).expect("made").1, 2);
        assert!(root.join("sub/new/er").is_dir());
        for path in [&b"/up/new"[..], b"/absolute/new", b"/dangling", b"/dangling/new"] {
            assert!(bounds.make_dir(&dir, path, 0o755).is_err(), "{}", String::from_utf8_lossy(path));
        }
        assert!(!place.path().join("outside/new").exists() && !root.join("gone").exists());
        assert!(bounds.is_dir(b"/in").expect("a directory") && bounds.is_dir(b"/up").is_err());
    }
}
