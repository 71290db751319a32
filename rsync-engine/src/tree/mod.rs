//! Where a sender's files come from: a local directory, memory, or a library user's own (design
//! decision 6).
//!
//! A tree is a set of directory handles. Paths given to a handle are relative to it and consist of
//! plain components; names are single components.

mod local;
mod memory;

use std::io;
use std::sync::Arc;

use rsync_proto::flist::Kind;

use crate::confine::Stat;

pub use local::LocalTree;
pub use memory::MemoryTree;

/// A source of files.
pub trait Tree: Send + Sync {
    /// Opens the directory that a source argument is relative to: absolute, or relative to the
    /// tree's start; empty for the start itself. Links in it are followed.
    ///
    /// # Errors
    /// `ENOENT` and what else the source says.
    fn open_base(&self, path: &[u8]) -> io::Result<Arc<dyn TreeDir>>;

    /// Reads a small text that the operator named, such as a filter file: absolute, or relative to
    /// the tree's start (spec 10 §2).
    ///
    /// # Errors
    /// `ENOENT` and what else the source says; `ELOOP` where a link in the path is not trusted.
    fn read_operator_file(&self, path: &[u8]) -> io::Result<Vec<u8>>;
}

/// What a tree knows about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeStat {
    /// The attributes.
    pub stat: Stat,
    /// Time of creation in seconds since 1970; 0 where it is not known.
    pub crtime: i64,
}

/// One directory of a tree, held open.
pub trait TreeDir: Send + Sync {
    /// Gives `each` the names in the directory with their kinds, where those are known for free.
    ///
    /// # Errors
    /// What the source says; names given before count.
    fn names(&self, each: &mut dyn FnMut(&[u8], Option<Kind>)) -> io::Result<()>;

    /// Looks at `name`, or at what it leads to if it is a link and `follow` is set. The name `.` is
    /// the directory itself.
    ///
    /// # Errors
    /// `ENOENT` when there is nothing.
    fn stat(&self, name: &[u8], follow: bool) -> io::Result<TreeStat>;

    /// Opens the directory at `path`, of any number of components; empty and `.` are this one.
    /// Links are followed if `follow` is set.
    ///
    /// # Errors
    /// `ENOTDIR` or `ELOOP` for anything but a directory.
    fn open_dir(&self, path: &[u8], follow: bool) -> io::Result<Arc<dyn TreeDir>>;

    /// Opens the content of the regular file `name`.
    ///
    /// # Errors
    /// What the source says; `ELOOP` for a link unless `follow` is set.
    fn open(&self, name: &[u8], follow: bool) -> io::Result<Box<dyn ReadAt>>;

    /// The text of the symbolic link `name`.
    ///
    /// # Errors
    /// `EINVAL` when it is none.
    fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>>;

    /// The names of the extended attributes of `name`.
    ///
    /// # Errors
    /// What the source says.
    fn xattr_names(&self, name: &[u8]) -> io::Result<Vec<Vec<u8>>>;

    /// The value of the extended attribute `key` of `name`.
    ///
    /// # Errors
    /// What the source says.
    fn xattr(&self, name: &[u8], key: &[u8]) -> io::Result<Option<Vec<u8>>>;

    /// The directory on the local disk, if it is one: for what has no meaning elsewhere, such as
    /// removing sources or sharing blocks.
    fn local(&self) -> Option<&crate::Dir> {
        None
    }
}

/// The content of a file, readable at any place from any thread.
pub trait ReadAt: Send + Sync {
    /// Reads into `buffer` from `offset` on, and answers how many bytes; 0 at the end.
    ///
    /// # Errors
    /// What the source says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The attributes at the time of opening.
    ///
    /// # Errors
    /// What the source says.
    fn stat(&self) -> io::Result<Stat>;

    /// The open file, if it is one on the local disk.
    fn file(&self) -> Option<&std::fs::File> {
        None
    }
}
