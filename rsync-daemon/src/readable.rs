//! A tree without what cannot be read: `ignore nonreadable` (spec 09 §3).

use std::io;
use std::sync::Arc;

use rsync_engine::Dir;
use rsync_engine::tree::{ReadAt, Tree, TreeDir, TreeStat};
use rsync_proto::flist::Kind;

/// Leaves out what the session's identity cannot read; symbolic links stay.
pub(crate) struct ReadableTree {
    tree: Arc<dyn Tree>,
}

impl ReadableTree {
    pub(crate) fn new(tree: Arc<dyn Tree>) -> Self {
        Self { tree }
    }
}

impl Tree for ReadableTree {
    fn open_base(&self, path: &[u8]) -> io::Result<Arc<dyn TreeDir>> {
        Ok(Arc::new(ReadableDir(self.tree.open_base(path)?)))
    }

    fn read_operator_file(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        self.tree.read_operator_file(path)
    }
}

struct ReadableDir(Arc<dyn TreeDir>);

impl TreeDir for ReadableDir {
    fn names(&self, each: &mut dyn FnMut(&[u8], Option<Kind>)) -> io::Result<()> {
        let Some(dir) = self.0.local() else { return self.0.names(each) };
        self.0.names(&mut |name, kind| {
            let is_link = || self.0.stat(name, false).is_ok_and(|found| found.stat.kind() == Kind::Symlink);
            if kind == Some(Kind::Symlink) || dir.is_readable(name) || (kind.is_none() && is_link()) {
                each(name, kind);
            }
        })
    }

    fn stat(&self, name: &[u8], follow: bool) -> io::Result<TreeStat> {
        self.0.stat(name, follow)
    }

    fn open_dir(&self, path: &[u8], follow: bool) -> io::Result<Arc<dyn TreeDir>> {
        Ok(Arc::new(Self(self.0.open_dir(path, follow)?)))
    }

    fn open(&self, name: &[u8], follow: bool) -> io::Result<Box<dyn ReadAt>> {
        self.0.open(name, follow)
    }

    fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        self.0.read_link(name)
    }

    fn xattr_names(&self, name: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.0.xattr_names(name)
    }

    fn xattr(&self, name: &[u8], key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.0.xattr(name, key)
    }

    fn local(&self) -> Option<&Dir> {
        self.0.local()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsync_engine::tree::LocalTree;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_session_of_nobody_sees_what_nobody_can_read() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let place = tempfile::tempdir().expect("a directory");
        fs::set_permissions(place.path(), Permissions::from_mode(0o755)).expect("mode");
        for (name, mode) in [("open", 0o644), ("closed", 0o600)] {
            fs::write(place.path().join(name), "").expect("file");
            fs::set_permissions(place.path().join(name), Permissions::from_mode(mode)).expect("mode");
        }
        std::os::unix::fs::symlink("nowhere", place.path().join("link")).expect("link");
        let tree = ReadableTree::new(Arc::new(LocalTree::confined(Dir::open(place.path()).expect("open"))));
        let seen = std::thread::spawn(move || {
            let nobody = rustix::process::Uid::from_raw(65_534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("identity");
            let mut seen = Vec::new();
            let dir = tree.open_base(b".").expect("base");
            dir.names(&mut |name, _| seen.push(String::from_utf8_lossy(name).into_owned())).expect("names");
            seen.sort();
            seen
        });
        assert_eq!(seen.join().expect("thread"), ["link", "open"]);
    }
}
