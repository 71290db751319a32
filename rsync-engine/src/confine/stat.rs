//! What the system says about a name.

use rsync_proto::flist::{DeviceNumber, Kind};
use rustix::fs::Statx;

/// The attributes of a file, in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Type and permission bits.
    pub mode: u32,
    /// Length in bytes.
    pub size: u64,
    /// Modification time: seconds since 1970, and nanoseconds.
    pub mtime: (i64, u32),
    /// Access time: seconds since 1970, and nanoseconds.
    pub atime: (i64, u32),
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The file system it is on.
    pub dev: u64,
    /// Its number on that file system.
    pub ino: u64,
    /// How many names lead to it.
    pub links: u32,
    /// Number of a device.
    pub rdev: DeviceNumber,
}

impl Stat {
    pub(super) fn from_statx(stat: &Statx) -> Self {
        Self {
            mode: u32::from(stat.stx_mode),
            size: stat.stx_size,
            mtime: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
            atime: (stat.stx_atime.tv_sec, stat.stx_atime.tv_nsec),
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            dev: u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor),
            ino: stat.stx_ino,
            links: stat.stx_nlink,
            rdev: DeviceNumber { major: stat.stx_rdev_major, minor: stat.stx_rdev_minor },
        }
    }

    /// What kind of file it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::of_mode(self.mode).unwrap_or(Kind::File)
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind() == Kind::Dir
    }

    /// Whether it is a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind() == Kind::File
    }

    /// Whether both are names of one file.
    #[must_use]
    pub fn same_file(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }
}
