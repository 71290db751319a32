//! What a tree looks like, in every respect that rsync may copy, and how two differ.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, Metadata, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use bstr::{BStr, BString, ByteSlice};
use rustix::fs::{lgetxattr, llistxattr};

use crate::program::is_root;

/// Which respects count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Modification times of all but directories.
    pub times: bool,
    /// Modification times of directories.
    pub directory_times: bool,
    /// Nanoseconds of times.
    pub nanoseconds: bool,
    /// Owner and group.
    pub owners: bool,
    /// Permission bits.
    pub modes: bool,
    /// Which names share an inode.
    pub links: bool,
    /// Extended attributes and ACLs.
    pub xattrs: bool,
}

impl Compare {
    /// Everything.
    pub const ALL: Self = Self {
        times: true,
        directory_times: true,
        nanoseconds: true,
        owners: true,
        modes: true,
        links: true,
        xattrs: true,
    };

    /// Names, types, content and link targets only.
    pub const CONTENT: Self = Self {
        times: false,
        directory_times: false,
        nanoseconds: false,
        owners: false,
        modes: false,
        links: false,
        xattrs: false,
    };
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    kind: &'static str,
    mode: u32,
    size: u64,
    seconds: i64,
    nanoseconds: i64,
    uid: u32,
    gid: u32,
    device: u64,
    target: BString,
    content: u64,
    /// The first name of the same inode, if there are several in the tree.
    linked_to: Option<BString>,
    xattrs: BTreeMap<BString, BString>,
}

/// A tree as it was at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    entries: BTreeMap<BString, Entry>,
}

impl Snapshot {
    /// Looks at everything below `root`, and `root` itself as `.`; nothing there is an empty snapshot.
    ///
    /// # Panics
    /// If something cannot be read.
    #[must_use]
    #[track_caller]
    pub fn take(root: &Path) -> Self {
        let mut snapshot = Self::default();
        let mut inodes = HashMap::new();
        if root.symlink_metadata().is_ok() {
            snapshot.visit(root, BString::from("."), &mut inodes);
        }
        snapshot
    }

    /// The same with all modification times after `limit` taken for one and the same.
    ///
    /// # Panics
    /// If `limit` is before 1970.
    #[must_use]
    pub fn without_times_after(mut self, limit: std::time::SystemTime) -> Self {
        let seconds = limit.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        for entry in self.entries.values_mut().filter(|entry| entry.seconds.unsigned_abs() > seconds) {
            (entry.seconds, entry.nanoseconds) = (0, 0);
        }
        self
    }

    /// The names it has, the root as `.`.
    pub fn names(&self) -> impl Iterator<Item = &BStr> {
        self.entries.keys().map(|name| name.as_bstr())
    }

    /// The differences to `other` in the respects of `compare`, a line each.
    #[must_use]
    pub fn differences(&self, other: &Self, compare: Compare) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, entry) in &self.entries {
            match other.entries.get(name) {
                None => lines.push(format!("{name:?} is only on the left ({})", entry.kind)),
                Some(others) => entry.differences(others, compare, |respect, left, right| {
                    lines.push(format!("{name:?}: {respect} {left} | {right}"));
                }),
            }
        }
        for (name, entry) in &other.entries {
            if !self.entries.contains_key(name) {
                lines.push(format!("{name:?} is only on the right ({})", entry.kind));
            }
        }
        lines
    }

    /// Fails unless both are equal in the respects of `compare`.
    #[track_caller]
    pub fn assert_same(&self, other: &Self, compare: Compare) {
        let lines = self.differences(other, compare);
        assert!(lines.is_empty(), "the trees differ (left | right):\n{}", lines.join("\n"));
    }

    fn visit(&mut self, path: &Path, name: BString, inodes: &mut HashMap<(u64, u64), BString>) {
        let facts = path.symlink_metadata().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let is_dir = facts.is_dir();
        let shut = !is_root() && (is_dir || facts.is_file()) && facts.mode() & 0o700 != 0o700;
        if shut {
            // Its owner may not look, but may change that.
            allow(path, facts.mode() | 0o700);
        }
        let mut linked_to = None;
        if !is_dir && facts.nlink() > 1 {
            linked_to =
                Some(inodes.entry((facts.dev(), facts.ino())).or_insert_with(|| name.clone()).clone());
        }
        self.entries.insert(name.clone(), Entry::of(path, &facts, linked_to));
        if is_dir {
            let mut children: Vec<_> = fs::read_dir(path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
                .map(|child| child.unwrap().file_name())
                .collect();
            children.sort_unstable();
            for child in children {
                let mut child_name = if name == "." { BString::default() } else { name.clone() };
                if !child_name.is_empty() {
                    child_name.push(b'/');
                }
                child_name.extend_from_slice(child.as_bytes());
                self.visit(&path.join(&child), child_name, inodes);
            }
        }
        if shut {
            allow(path, facts.mode());
        }
    }
}

impl Entry {
    fn of(path: &Path, facts: &Metadata, linked_to: Option<BString>) -> Self {
        let file_type = facts.file_type();
        let kind = match () {
            () if file_type.is_file() => "file",
            () if file_type.is_dir() => "directory",
            () if file_type.is_symlink() => "symlink",
            () if file_type.is_fifo() => "fifo",
            () if file_type.is_socket() => "socket",
            () if file_type.is_char_device() => "character device",
            () => "block device",
        };
        let is_device = file_type.is_char_device() || file_type.is_block_device();
        let target = match kind {
            "symlink" => fs::read_link(path).unwrap().as_os_str().as_bytes().into(),
            _ => BString::default(),
        };
        Self {
            kind,
            mode: facts.mode() & 0o7777,
            size: if kind == "file" { facts.size() } else { 0 },
            seconds: facts.mtime(),
            nanoseconds: facts.mtime_nsec(),
            uid: facts.uid(),
            gid: facts.gid(),
            device: if is_device { facts.rdev() } else { 0 },
            target,
            content: if kind == "file" { content_hash(path) } else { 0 },
            linked_to,
            xattrs: xattrs(path),
        }
    }

    fn differences(&self, other: &Self, compare: Compare, mut report: impl FnMut(&str, String, String)) {
        let mut check = |counts: bool, respect: &str, left: String, right: String| {
            if counts && left != right {
                report(respect, left, right);
            }
        };
        let is_dir = self.kind == "directory";
        check(true, "type", self.kind.to_owned(), other.kind.to_owned());
        check(true, "size", self.size.to_string(), other.size.to_string());
        check(true, "content", format!("{:016x}", self.content), format!("{:016x}", other.content));
        check(true, "target", self.target.to_string(), other.target.to_string());
        check(true, "device", format!("{:x}", self.device), format!("{:x}", other.device));
        check(compare.modes, "mode", format!("{:o}", self.mode), format!("{:o}", other.mode));
        let timed = if is_dir { compare.directory_times } else { compare.times };
        check(timed, "mtime", self.time(compare.nanoseconds), other.time(compare.nanoseconds));
        check(compare.owners, "uid", self.uid.to_string(), other.uid.to_string());
        check(compare.owners, "gid", self.gid.to_string(), other.gid.to_string());
        check(compare.links, "links", format!("{:?}", self.linked_to), format!("{:?}", other.linked_to));
        check(compare.xattrs, "xattrs", format!("{:?}", self.xattrs), format!("{:?}", other.xattrs));
    }

    fn time(&self, nanoseconds: bool) -> String {
        if nanoseconds {
            format!("{}.{:09}", self.seconds, self.nanoseconds)
        } else {
            self.seconds.to_string()
        }
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, entry) in &self.entries {
            writeln!(out, "{name:?} {} {:o} {} {}", entry.kind, entry.mode, entry.size, entry.time(true))?;
        }
        Ok(())
    }
}

fn allow(path: &Path, mode: u32) {
    let set = fs::set_permissions(path, Permissions::from_mode(mode & 0o7777));
    set.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn content_hash(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut file = fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut buffer = vec![0; 1 << 16];
    let mut total = Vec::new();
    loop {
        let read = file.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        hasher.write(&buffer[..read]);
        total.push(read as u64);
    }
    total.iter().sum::<u64>().hash(&mut hasher);
    hasher.finish()
}

fn xattrs(path: &Path) -> BTreeMap<BString, BString> {
    let mut names = vec![0; 1 << 16];
    let len = llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut found = BTreeMap::new();
    for name in names[..len].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 1 << 16];
        if let Ok(len) = lgetxattr(path, OsStr::from_bytes(name), &mut value[..]) {
            value.truncate(len);
            found.insert(BString::from(name), BString::from(value));
        }
    }
    found
}
