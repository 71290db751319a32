//! A tree in memory: for programs that make up what they send, and for tests.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use rsync_proto::flist::{DeviceNumber, Kind};
use rustix::io::Errno;

use super::{ReadAt, Tree, TreeDir, TreeStat};
use crate::confine::Stat;

/// Links followed in one path.
const MAX_LINKS: usize = 40;

/// Files by path: components joined by `/`, without a leading one.
#[derive(Clone, Debug, Default)]
pub struct MemoryTree {
    nodes: Arc<BTreeMap<Vec<u8>, Node>>,
}

#[derive(Clone, Debug)]
struct Node {
    stat: Stat,
    /// Content of a file, target of a link.
    content: Arc<[u8]>,
}

impl MemoryTree {
    /// An empty tree, whose root directory has mode 0755.
    #[must_use]
    pub fn new() -> Self {
        let mut tree = Self::default();
        tree.insert(b"", 0o040_755, b"");
        tree
    }

    /// Adds an entry with the type and permissions `mode`: `content` is that of a file, or the target
    /// of a link. Missing directories above it are made with mode 0755. Its time is 0, its owner root.
    pub fn insert(&mut self, path: &[u8], mode: u32, content: &[u8]) {
        if let Some(slash) = path.iter().rposition(|&byte| byte == b'/')
            && !self.nodes.contains_key(&path[..slash])
        {
            self.insert(&path[..slash], 0o040_755, b"");
        }
        let nodes = Arc::make_mut(&mut self.nodes);
        let stat = Stat {
            mode,
            size: content.len() as u64,
            mtime: (0, 0),
            atime: (0, 0),
            uid: 0,
            gid: 0,
            dev: 0,
            ino: nodes.len() as u64 + 1,
            links: 1,
            rdev: DeviceNumber::default(),
        };
        nodes.insert(path.to_vec(), Node { stat, content: content.into() });
    }

    /// Changes the attributes of an entry.
    pub fn set_stat(&mut self, path: &[u8], change: impl FnOnce(&mut Stat)) {
        if let Some(node) = Arc::make_mut(&mut self.nodes).get_mut(path) {
            change(&mut node.stat);
        }
    }

    fn dir(&self, path: Vec<u8>) -> io::Result<Arc<dyn TreeDir>> {
        let node = self.nodes.get(&path).ok_or(Errno::NOENT)?;
        if node.stat.is_dir() {
            Ok(Arc::new(MemoryDir { tree: self.clone(), path }))
        } else {
            Err(Errno::NOTDIR.into())
        }
    }

    /// The path without `.`, `..` and, if `follow` is set, links; the last component only counts as a
    /// link if `follow` is set.
    fn resolve(&self, base: &[u8], path: &[u8], follow: bool) -> io::Result<Vec<u8>> {
        let mut done = base.to_vec();
        let mut rest: Vec<Vec<u8>> = components(path);
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == b".." {
                done.truncate(done.iter().rposition(|&byte| byte == b'/').unwrap_or(0));
                continue;
            }
            let next = join(&done, &name);
            match self.nodes.get(&next) {
                Some(node) if node.stat.kind() == Kind::Symlink && follow => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    if node.content.first() == Some(&b'/') {
                        done.clear();
                    }
                    rest.extend(components(&node.content));
                }
                _ => done = next,
            }
        }
        Ok(done)
    }
}

/// Last component first.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.rsplit(|&byte| byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    parts.map(<[u8]>::to_vec).collect()
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

impl Tree for MemoryTree {
    fn open_base(&self, path: &[u8]) -> io::Result<Arc<dyn TreeDir>> {
        self.dir(self.resolve(b"", path, true)?)
    }

    fn read_operator_file(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        let node = self.nodes.get(&self.resolve(b"", path, true)?).ok_or(Errno::NOENT)?;
        Ok(node.content.to_vec())
    }
}

struct MemoryDir {
    tree: MemoryTree,
    path: Vec<u8>,
}

impl MemoryDir {
    fn node(&self, name: &[u8], follow: bool) -> io::Result<&Node> {
        let path = self.tree.resolve(&self.path, name, follow)?;
        Ok(self.tree.nodes.get(&path).ok_or(Errno::NOENT)?)
    }
}

impl TreeDir for MemoryDir {
    fn names(&self, each: &mut dyn FnMut(&[u8], Option<Kind>)) -> io::Result<()> {
        let prefix = if self.path.is_empty() { Vec::new() } else { join(&self.path, b"") };
        let below = self.tree.nodes.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        for (path, node) in below {
            let name = &path[prefix.len()..];
            if !name.is_empty() && !name.contains(&b'/') {
                each(name, Some(node.stat.kind()));
            }
        }
        Ok(())
    }

    fn stat(&self, name: &[u8], follow: bool) -> io::Result<TreeStat> {
        Ok(TreeStat { stat: self.node(name, follow)?.stat, crtime: 0 })
    }

    fn open_dir(&self, path: &[u8], follow: bool) -> io::Result<Arc<dyn TreeDir>> {
        self.tree.dir(self.tree.resolve(&self.path, path, follow)?)
    }

    fn open(&self, name: &[u8], follow: bool) -> io::Result<Box<dyn ReadAt>> {
        let node = self.node(name, follow)?;
        match node.stat.kind() {
            Kind::File => Ok(Box::new(MemoryFile(node.clone()))),
            Kind::Symlink => Err(Errno::LOOP.into()),
            _ => Err(Errno::INVAL.into()),
        }
    }

    fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        let node = self.node(name, false)?;
        if node.stat.kind() == Kind::Symlink { Ok(node.content.to_vec()) } else { Err(Errno::INVAL.into()) }
    }

    fn xattr_names(&self, name: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.node(name, false).map(|_| Vec::new())
    }

    fn xattr(&self, name: &[u8], _: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.node(name, false).map(|_| None)
    }
}

struct MemoryFile(Node);

impl ReadAt for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.0.content.get(offset..));
        let rest = rest.unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn stat(&self) -> io::Result<Stat> {
        Ok(self.0.stat)
    }
}
