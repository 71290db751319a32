//! What a sender does when it is told to follow links: freely, or beneath a root (spec 10 §2.4).

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;

use rsync_proto::flist::Kind;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use super::dir::{component, stat_fd};
use super::{Dir, Pinned, Stat};

/// Opening what may turn out to be a terminal or a fifo.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NOCTTY).union(OFlags::NONBLOCK);

/// How far links are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Anywhere, as the user of a local sender wants it.
    Anywhere,
    /// Beneath the directory the operation starts at; absolute targets lead nowhere.
    Beneath,
}

impl Reach {
    fn resolve(self) -> ResolveFlags {
        match self {
            Self::Anywhere => ResolveFlags::empty(),
            Self::Beneath => ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
        }
    }
}

impl Dir {
    /// Opens what `path` leads to, links included.
    fn follow(&self, path: &[u8], flags: OFlags, reach: Reach) -> io::Result<rustix::fd::OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        Ok(match reach {
            Reach::Anywhere => rustix::fs::openat(&self.fd, path, flags, Mode::empty())?,
            Reach::Beneath => {
                let opened = rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), reach.resolve());
                // A link that leads out is told as one that may not be followed (spec 10 §2.4).
                opened.map_err(|errno| if errno == Errno::XDEV { Errno::LOOP } else { errno })?
            }
        })
    }

    /// Looks at what `path` leads to.
    pub(crate) fn stat_following(&self, path: &[u8], reach: Reach) -> io::Result<(Stat, i64)> {
        if reach == Reach::Anywhere {
            return stat_and_birth(&self.fd, path, AtFlags::empty());
        }
        let fd = self.follow(path, OFlags::PATH, reach)?;
        stat_and_birth(fd, b"", AtFlags::EMPTY_PATH)
    }

    /// Looks at `name` itself and at its time of creation, in seconds (0 where it is not known).
    pub(crate) fn stat_with_birth(&self, name: &[u8]) -> io::Result<(Stat, i64)> {
        stat_and_birth(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Opens the directory that `path` leads to.
    pub(crate) fn open_dir_following(&self, path: &[u8], reach: Reach) -> io::Result<Self> {
        Ok(Self { fd: self.follow(path, OFlags::RDONLY | OFlags::DIRECTORY, reach)? })
    }

    /// Opens the file that `path` leads to for reading.
    pub(crate) fn open_read_following(&self, path: &[u8], reach: Reach) -> io::Result<File> {
        Ok(File::from(self.follow(path, READ, reach)?))
    }

    /// Gives `each` the names in the directory, without `.` and `..`, with their kind where the file
    /// system tells it.
    pub(crate) fn for_each_name(&self, each: &mut dyn FnMut(&[u8], Option<Kind>)) -> io::Result<()> {
        let mut buffer = vec![MaybeUninit::uninit(); 64 << 10];
        let mut entries = RawDir::new(&self.fd, &mut buffer);
        while let Some(entry) = entries.next() {
            // Only open for searching: it may not be read.
            let entry = entry.map_err(|errno| if errno == Errno::BADF { Errno::ACCESS } else { errno })?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                each(name, kind_of(entry.file_type()));
            }
        }
        Ok(())
    }
}

fn kind_of(hint: FileType) -> Option<Kind> {
    match hint {
        FileType::RegularFile => Some(Kind::File),
        FileType::Directory => Some(Kind::Dir),
        FileType::Symlink => Some(Kind::Symlink),
        FileType::Fifo => Some(Kind::Fifo),
        FileType::Socket => Some(Kind::Socket),
        FileType::CharacterDevice => Some(Kind::CharDevice),
        FileType::BlockDevice => Some(Kind::BlockDevice),
        FileType::Unknown => None,
    }
}

fn stat_and_birth(fd: impl rustix::fd::AsFd, path: &[u8], flags: AtFlags) -> io::Result<(Stat, i64)> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = rustix::fs::statx(fd, path, flags | AtFlags::STATX_DONT_SYNC, wanted)?;
    let known = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    Ok((Stat::from_statx(&stat), if known { stat.stx_btime.tv_sec } else { 0 }))
}

impl Dir {
    /// The size in bytes of the device `name` (`--write-devices`).
    pub(crate) fn device_size(&self, name: &[u8]) -> io::Result<u64> {
        length_of_device(&File::from(self.follow(name, READ | OFlags::NOFOLLOW, Reach::Anywhere)?))
    }

    /// Holds what `path` leads to.
    pub(crate) fn pin_following(&self, path: &[u8], reach: Reach) -> io::Result<Pinned<'static>> {
        Ok(Pinned::found(self.follow(path, OFlags::PATH, reach)?))
    }

    /// Opens a regular file or a device for reading; a link is not followed and a fifo does not block.
    pub(crate) fn open_content_and_stat(&self, name: &[u8]) -> io::Result<(File, Stat)> {
        let file = File::from(self.follow(component(name)?, READ | OFlags::NOFOLLOW, Reach::Anywhere)?);
        let stat = stat_fd(&file)?;
        if !stat.is_file() && !stat.kind().is_device() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a regular file nor a device"));
        }
        Ok((file, stat))
    }
}

/// The length of an open file or device in bytes; that of a device is found by seeking to its end, and is
/// 0 where that means nothing.
pub(crate) fn length_of(file: &File) -> io::Result<u64> {
    let stat = stat_fd(file)?;
    if stat.kind().is_device() { length_of_device(file) } else { Ok(stat.size) }
}

/// The same of a device.
pub(crate) fn length_of_device(mut device: &File) -> io::Result<u64> {
    match io::Seek::seek(&mut device, io::SeekFrom::End(0)) {
        Err(error) if error.kind() == io::ErrorKind::NotSeekable => Ok(0),
        Err(error) => Err(error),
        Ok(length) => io::Seek::rewind(&mut device).map(|()| length),
    }
}
