//! A tree on the local disk.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rsync_proto::flist::Kind;
use rsync_proto::options::{SuperUser, TransferOptions};

use super::{ReadAt, Tree, TreeDir, TreeStat};
use crate::confine::{Dir, Reach, Stat, length_of, stat_fd};
use crate::meta::fake_super;

/// Longest rule file that is read.
const LONGEST_TEXT: u64 = 64 << 20;

/// The files beneath, or reachable from, a directory of the local disk.
#[derive(Debug)]
pub struct LocalTree {
    start: Arc<Dir>,
    confined: bool,
    reading: Reading,
}

/// What options say about reading files.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    /// Files tell what they stand for (`--fake-super`).
    fake: bool,
    /// The content of devices may be read (`--copy-devices`).
    devices: bool,
}

impl LocalTree {
    /// A sender's files: relative arguments start at `start`, absolute ones at `/`.
    #[must_use]
    pub fn new(start: Dir) -> Self {
        Self { start: Arc::new(start), confined: false, reading: Reading::default() }
    }

    /// The files that arguments on this machine name: relative ones start at the current directory.
    ///
    /// # Errors
    /// When the current directory cannot be opened.
    pub fn here() -> io::Result<Self> {
        Ok(Self::new(Dir::open(Path::new("."))?))
    }

    /// A module's files: nothing outside `root` can be named or reached by a link.
    #[must_use]
    pub fn confined(root: Dir) -> Self {
        Self { start: Arc::new(root), confined: true, reading: Reading::default() }
    }

    /// Reads files as `options` ask a sender to: with [`SuperUser::Fake`] they tell what they stand for,
    /// and with `copy_devices` the content of devices is given out.
    #[must_use]
    pub fn for_options(mut self, options: &TransferOptions) -> Self {
        self.reading = Reading { fake: options.super_user == SuperUser::Fake, devices: options.copy_devices };
        self
    }

    fn reach(&self) -> Reach {
        if self.confined { Reach::Beneath } else { Reach::Anywhere }
    }

    /// The path as the start directory takes it; a module's root is `/`.
    fn relative_to_start<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        let slashes = path.iter().take_while(|&&byte| byte == b'/').count();
        let path = if self.confined { &path[slashes..] } else { path };
        if path.is_empty() { b"." } else { path }
    }
}

impl Tree for LocalTree {
    fn open_base(&self, path: &[u8]) -> io::Result<Arc<dyn TreeDir>> {
        let path = self.relative_to_start(path);
        let dir = self.start.open_dir_following(path, self.reach())?;
        let root = self.confined.then(|| self.start.clone());
        let path = if path == b"." { Vec::new() } else { path.to_vec() };
        Ok(Arc::new(LocalDir { dir, root, path, reading: self.reading }))
    }

    fn read_operator_file(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        let file = if self.confined {
            self.start.open_read_following(self.relative_to_start(path), Reach::Beneath)?
        } else {
            crate::confine::open_operator_file(&self.start, path)?
        };
        let mut text = Vec::new();
        file.take(LONGEST_TEXT).read_to_end(&mut text)?;
        Ok(text)
    }
}

struct LocalDir {
    dir: Dir,
    /// Of a confined tree: its root, and the path of this directory from there.
    root: Option<Arc<Dir>>,
    path: Vec<u8>,
    reading: Reading,
}

impl LocalDir {
    fn path_of(&self, name: &[u8]) -> Vec<u8> {
        match (&self.path[..], name) {
            (b"", b"" | b".") => b".".to_vec(),
            (b"", name) => name.to_vec(),
            (path, b"" | b".") => path.to_vec(),
            (path, name) => [path, b"/", name].concat(),
        }
    }

    /// Where following `name` starts, by which path, and how far it may lead.
    fn following(&self, name: &[u8]) -> (&Dir, Vec<u8>, Reach) {
        match &self.root {
            Some(root) => (root, self.path_of(name), Reach::Beneath),
            None => (&self.dir, if name.is_empty() { b".".to_vec() } else { name.to_vec() }, Reach::Anywhere),
        }
    }
}

impl TreeDir for LocalDir {
    fn names(&self, each: &mut dyn FnMut(&[u8], Option<Kind>)) -> io::Result<()> {
        self.dir.for_each_name(each)
    }

    fn stat(&self, name: &[u8], follow: bool) -> io::Result<TreeStat> {
        let follows = follow && name != b".";
        let (mut stat, crtime) = if follows {
            let (start, path, reach) = self.following(name);
            start.stat_following(&path, reach)?
        } else {
            self.dir.stat_with_birth(name)?
        };
        if self.reading.fake {
            stat = fake_super::told(stat, || match follows {
                true => {
                    let (start, path, reach) = self.following(name);
                    start.pin_following(&path, reach)?.xattr(fake_super::STAT)
                }
                false => self.dir.xattr(name, fake_super::STAT),
            })?;
        }
        Ok(TreeStat { stat, crtime })
    }

    fn open_dir(&self, path: &[u8], follow: bool) -> io::Result<Arc<dyn TreeDir>> {
        let dir = if follow {
            let (start, path, reach) = self.following(path);
            start.open_dir_following(&path, reach)?
        } else {
            self.dir.open_beneath(path)?
        };
        let (root, path) = (self.root.clone(), self.path_of(path));
        let path = if path == b"." { Vec::new() } else { path };
        Ok(Arc::new(Self { dir, root, path, reading: self.reading }))
    }

    fn open(&self, name: &[u8], follow: bool) -> io::Result<Box<dyn ReadAt>> {
        let (file, stat) = if follow {
            let (start, path, reach) = self.following(name);
            let file = start.open_read_following(&path, reach)?;
            let stat = stat_fd(&file)?;
            (file, stat)
        } else if self.reading.devices {
            self.dir.open_content_and_stat(name)?
        } else {
            self.dir.open_read_and_stat(name)?
        };
        let stat = match stat.kind().is_device() {
            true => Stat { size: length_of(&file)?, ..stat },
            false => stat,
        };
        Ok(Box::new(LocalFile { file, stat }))
    }

    fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        if self.reading.fake
            && let Ok(target) = fake_super::read_link(&self.dir, name)
        {
            return Ok(target);
        }
        self.dir.read_link(name)
    }

    fn xattr_names(&self, name: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.dir.xattr_names(name)
    }

    fn xattr(&self, name: &[u8], key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.dir.xattr(name, key)
    }

    fn local(&self) -> Option<&Dir> {
        Some(&self.dir)
    }
}

struct LocalFile {
    file: File,
    stat: Stat,
}

impl ReadAt for LocalFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn stat(&self) -> io::Result<Stat> {
        Ok(self.stat)
    }

    fn file(&self) -> Option<&File> {
        Some(&self.file)
    }
}
