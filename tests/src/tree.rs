//! Trees that tests copy: a list of steps, written to disk in order.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, UTIME_OMIT, XattrFlags, lsetxattr, makedev, mknodat,
    utimensat,
};

/// A modification time no test sets by chance; entries get it and seconds after it.
pub const BASE_TIME: i64 = 1_500_000_000;

/// An access control list entry: tag of the kernel's format, permission bits, id.
pub type AclEntry = (u16, u16, u32);

/// A tree to be written; paths are relative, bytes, and parents are made as needed.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    steps: Vec<(PathBuf, Step)>,
    /// When everything was read last, more or less.
    accessed: Option<i64>,
}

#[derive(Clone, Debug)]
enum Step {
    Dir,
    File(Vec<u8>),
    Sparse { len: u64, pieces: Vec<(u64, Vec<u8>)> },
    Symlink(PathBuf),
    HardLink(PathBuf),
    Node { kind: FileType, major: u32, minor: u32 },
    Socket,
    Mode(u32),
    Closed(u32),
    Time(i64, u32),
    Owner(u32, u32),
    Xattr(String, Vec<u8>),
    Acl(Vec<AclEntry>),
    DefaultAcl(Vec<AclEntry>),
    Remove,
}

fn path(name: impl AsRef<[u8]>) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(name.as_ref()))
}

impl Tree {
    /// Nothing yet; the root itself is made when the tree is written.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn step(mut self, name: impl AsRef<[u8]>, step: Step) -> Self {
        self.steps.push((path(name), step));
        self
    }

    /// A directory, mode 755.
    #[must_use]
    pub fn dir(self, name: impl AsRef<[u8]>) -> Self {
        self.step(name, Step::Dir)
    }

    /// A file, mode 644.
    #[must_use]
    pub fn file(self, name: impl AsRef<[u8]>, content: impl Into<Vec<u8>>) -> Self {
        self.step(name, Step::File(content.into()))
    }

    /// A file of `len` bytes that look random and depend on `seed` only.
    #[must_use]
    pub fn random(self, name: impl AsRef<[u8]>, len: usize, seed: u64) -> Self {
        self.file(name, random(len, seed))
    }

    /// A file of `len` bytes that is a hole but for `pieces` (offset, content).
    #[must_use]
    pub fn sparse(self, name: impl AsRef<[u8]>, len: u64, pieces: &[(u64, &[u8])]) -> Self {
        let pieces = pieces.iter().map(|&(offset, content)| (offset, content.to_vec())).collect();
        self.step(name, Step::Sparse { len, pieces })
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.step(name, Step::Symlink(path(target)))
    }

    /// Another name for `old`.
    #[must_use]
    pub fn hard_link(self, name: impl AsRef<[u8]>, old: impl AsRef<[u8]>) -> Self {
        self.step(name, Step::HardLink(path(old)))
    }

    /// A fifo, mode 644.
    #[must_use]
    pub fn fifo(self, name: impl AsRef<[u8]>) -> Self {
        self.step(name, Step::Node { kind: FileType::Fifo, major: 0, minor: 0 })
    }

    /// A socket.
    #[must_use]
    pub fn socket(self, name: impl AsRef<[u8]>) -> Self {
        self.step(name, Step::Socket)
    }

    /// A character device, mode 644; needs root.
    #[must_use]
    pub fn char_device(self, name: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        self.step(name, Step::Node { kind: FileType::CharacterDevice, major, minor })
    }

    /// A block device, mode 644; needs root.
    #[must_use]
    pub fn block_device(self, name: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        self.step(name, Step::Node { kind: FileType::BlockDevice, major, minor })
    }

    /// Sets the permissions of an entry.
    #[must_use]
    pub fn mode(self, name: impl AsRef<[u8]>, mode: u32) -> Self {
        self.step(name, Step::Mode(mode))
    }

    /// Sets the permissions of an entry when everything else is done, so that they may keep its owner out.
    #[must_use]
    pub fn closed(self, name: impl AsRef<[u8]>, mode: u32) -> Self {
        self.step(name, Step::Closed(mode))
    }

    /// Sets the modification time of an entry.
    #[must_use]
    pub fn time(self, name: impl AsRef<[u8]>, seconds: i64, nanoseconds: u32) -> Self {
        self.step(name, Step::Time(seconds, nanoseconds))
    }

    /// Sets the owner and group of an entry; needs root.
    #[must_use]
    pub fn owner(self, name: impl AsRef<[u8]>, uid: u32, gid: u32) -> Self {
        self.step(name, Step::Owner(uid, gid))
    }

    /// Sets an extended attribute of an entry.
    #[must_use]
    pub fn xattr(self, name: impl AsRef<[u8]>, attribute: &str, value: impl Into<Vec<u8>>) -> Self {
        self.step(name, Step::Xattr(attribute.to_owned(), value.into()))
    }

    /// Sets the access ACL of an entry.
    #[must_use]
    pub fn acl(self, name: impl AsRef<[u8]>, entries: &[AclEntry]) -> Self {
        self.step(name, Step::Acl(entries.to_vec()))
    }

    /// Sets the default ACL of a directory; what is made in it later inherits it.
    #[must_use]
    pub fn default_acl(self, name: impl AsRef<[u8]>, entries: &[AclEntry]) -> Self {
        self.step(name, Step::DefaultAcl(entries.to_vec()))
    }

    /// Removes an entry and all below it.
    #[must_use]
    pub fn remove(self, name: impl AsRef<[u8]>) -> Self {
        self.step(name, Step::Remove)
    }

    /// Gives everything a time of last access that depends on its modification time and is shortly before
    /// `latest`, so that it stays while the file is read.
    #[must_use]
    pub fn accessed(self, latest: i64) -> Self {
        Self { accessed: Some(latest), ..self }
    }

    /// `count` small files in directory `name`.
    #[must_use]
    pub fn many(self, name: &str, count: usize) -> Self {
        (0..count).fold(self.dir(name), |tree, index| {
            tree.file(format!("{name}/file-{index:06}"), format!("content {index}"))
        })
    }

    /// Directories nested `depth` deep below `name`, with a file in each.
    #[must_use]
    pub fn deep(self, name: &str, depth: usize) -> Self {
        let mut directory = name.to_owned();
        let mut tree = self;
        for level in 0..depth {
            tree = tree.file(format!("{directory}/leaf"), format!("level {level}"));
            directory = format!("{directory}/d{}", level % 10);
        }
        tree
    }

    /// Everything of `other` after everything of this.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        self.steps.extend(other.steps);
        self
    }

    /// Writes the tree below `root`, which is made if it is missing.
    ///
    /// # Panics
    /// If the file system refuses.
    #[track_caller]
    pub fn write(&self, root: &Path) {
        fs::create_dir_all(root).unwrap();
        for (name, step) in &self.steps {
            let path = root.join(name);
            if let Err(error) = step.apply(root, &path) {
                panic!("{step:?} of {}: {error}", path.display());
            }
        }
        self.set_times(root);
        let mut closed: Vec<_> = self
            .steps
            .iter()
            .filter_map(|(name, step)| match step {
                Step::Closed(mode) => Some((name, *mode)),
                _ => None,
            })
            .collect();
        // What is in a directory comes before it.
        closed.sort_unstable_by(|one, other| other.cmp(one));
        for (name, mode) in closed {
            fs::set_permissions(root.join(name), Permissions::from_mode(mode)).unwrap();
        }
    }

    /// Gives every entry of the tree the time asked for, or one that depends on its name only; last,
    /// since writing into a directory changes its time.
    fn set_times(&self, root: &Path) {
        let mut names: Vec<&Path> = self.steps.iter().map(|(name, _)| name.as_path()).collect();
        let parents: Vec<&Path> = names.iter().flat_map(|name| name.ancestors().skip(1)).collect();
        names.extend(parents);
        names.sort_unstable();
        names.dedup();
        for name in names.into_iter().rev() {
            let path = root.join(name);
            if path.symlink_metadata().is_err() {
                continue;
            }
            let asked = self.steps.iter().rev().find_map(|(other, step)| match step {
                Step::Time(seconds, nanoseconds) if other == name => Some((*seconds, *nanoseconds)),
                _ => None,
            });
            let of_name = name
                .as_os_str()
                .as_bytes()
                .iter()
                .fold(7_i64, |sum, &byte| (sum * 31 + i64::from(byte)) % 99_991);
            let (seconds, nanoseconds) = asked.unwrap_or((BASE_TIME + of_name, 0));
            set_times(&path, (seconds, nanoseconds), self.accessed.map(|latest| latest - seconds % 7));
        }
    }
}

/// Sets the modification time of `path`, not following links.
///
/// # Panics
/// If the file system refuses.
#[track_caller]
pub fn set_time(path: &Path, seconds: i64, nanoseconds: u32) {
    set_times(path, (seconds, nanoseconds), None);
}

#[track_caller]
fn set_times(path: &Path, (seconds, nanoseconds): (i64, u32), accessed: Option<i64>) {
    let keep = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let times = Timestamps {
        last_access: accessed.map_or(keep, |tv_sec| Timespec { tv_sec, tv_nsec: 0 }),
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// `len` bytes that look random and depend on `seed` only.
#[must_use]
pub fn random(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

impl Step {
    fn apply(&self, root: &Path, path: &Path) -> std::io::Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match self {
            Self::Dir => fs::create_dir_all(path)?,
            Self::File(content) => {
                let mut file = File::create(path)?;
                file.write_all(content)?;
                file.set_permissions(Permissions::from_mode(0o644))?;
            }
            Self::Sparse { len, pieces } => {
                let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
                file.set_len(*len)?;
                for (offset, content) in pieces {
                    file.write_all_at(content, *offset)?;
                }
            }
            Self::Symlink(target) => symlink(target, path)?,
            Self::HardLink(old) => fs::hard_link(root.join(old), path)?,
            Self::Node { kind, major, minor } => {
                mknodat(CWD, path, *kind, Mode::from_raw_mode(0o600), makedev(*major, *minor))?;
                fs::set_permissions(path, Permissions::from_mode(0o644))?;
            }
            Self::Socket => make_socket(path)?,
            Self::Mode(mode) => fs::set_permissions(path, Permissions::from_mode(*mode))?,
            Self::Time(..) | Self::Closed(_) => {}
            Self::Owner(uid, gid) => lchown(path, Some(*uid), Some(*gid))?,
            Self::Xattr(attribute, value) => lsetxattr(path, attribute, value, XattrFlags::empty())?,
            Self::Acl(entries) => {
                lsetxattr(path, "system.posix_acl_access", &acl_bytes(entries), XattrFlags::empty())?;
            }
            Self::DefaultAcl(entries) => {
                lsetxattr(path, "system.posix_acl_default", &acl_bytes(entries), XattrFlags::empty())?;
            }
            Self::Remove => {
                if path.symlink_metadata()?.is_dir() {
                    fs::remove_dir_all(path)?;
                } else {
                    fs::remove_file(path)?;
                }
            }
        }
        Ok(())
    }
}

/// Socket paths are short; a link in a short directory reaches any.
fn make_socket(path: &Path) -> std::io::Result<()> {
    let short = tempfile::tempdir()?;
    let link = short.path().join("d");
    symlink(path.parent().unwrap_or(Path::new("/")), &link)?;
    UnixListener::bind(link.join(path.file_name().unwrap_or_default())).map(drop)
}

/// The kernel's form of an ACL: version 2, then tag, permissions and id of each entry.
fn acl_bytes(entries: &[AclEntry]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}
