//! A directory held open, and what can be done to the names in it.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rsync_proto::flist::DeviceNumber;
use rustix::fs::{
    Access, AtFlags, FileType, Gid, Mode, OFlags, RawDir, RenameFlags, ResolveFlags, SeekFrom, StatxFlags,
    Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::Stat;

/// A directory, opened once; operations on its names do not depend on its path any more.
#[derive(Debug)]
pub struct Dir {
    pub(super) fd: OwnedFd,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// What a path beneath a directory may not do.
const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
/// Longest name a file system takes.
const NAME_MAX: usize = 255;
/// Characters of a temporary name's suffix.
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Opens a directory, and one that may only be searched for that alone.
fn or_search_only(open: impl Fn(OFlags) -> rustix::io::Result<OwnedFd>) -> rustix::io::Result<OwnedFd> {
    match open(DIRECTORY) {
        Err(Errno::ACCESS) => open(OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC),
        opened => opened,
    }
}

/// Refuses what is not a single component.
pub(super) fn component(name: &[u8]) -> io::Result<&[u8]> {
    let single =
        !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/') && !name.contains(&0);
    if single { Ok(name) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// The same, or `.` for the directory itself: attributes can be set on either.
fn component_or_self(name: &[u8]) -> io::Result<&[u8]> {
    if name == b"." { Ok(name) } else { component(name) }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Dir {
    /// Opens a directory that the operator named; links in the path are followed.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { fd: or_search_only(|flags| rustix::fs::open(path, flags, Mode::empty()))? })
    }

    /// Takes over a descriptor of a directory.
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Another handle on the same directory.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()? })
    }

    /// Opens the directory `name` in this one; a link is not followed.
    ///
    /// # Errors
    /// `ENOTDIR` or `ELOOP` for anything but a directory.
    pub fn open_dir(&self, name: &[u8]) -> io::Result<Self> {
        let name = component(name)?;
        let open = |flags| rustix::fs::openat(&self.fd, name, flags | OFlags::NOFOLLOW, Mode::empty());
        let fd = or_search_only(open)?;
        Ok(Self { fd })
    }

    /// Opens the directory at a path of several components beneath this one; no link is followed
    /// and nothing leads out. The empty path and `.` are this directory.
    ///
    /// # Errors
    /// `ELOOP`, `EXDEV` or `ENOTDIR` where the path would leave or is not made of directories.
    pub fn open_beneath(&self, path: &[u8]) -> io::Result<Self> {
        if path.is_empty() || path == b"." {
            return self.reopen();
        }
        let open = |flags| rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), BENEATH);
        match or_search_only(open) {
            Ok(fd) => Ok(Self { fd }),
            Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => self.walk_beneath(path),
            Err(error) => Err(error.into()),
        }
    }

    /// [`Dir::open_beneath`] where the kernel has no `openat2`: component by component.
    fn walk_beneath(&self, path: &[u8]) -> io::Result<Self> {
        let mut dir = self.reopen()?;
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".") {
            dir = dir.open_dir(name)?;
        }
        Ok(dir)
    }

    /// A fresh handle with its own reading position.
    fn reopen(&self) -> io::Result<Self> {
        Ok(Self { fd: rustix::fs::openat(&self.fd, ".", DIRECTORY, Mode::empty())? })
    }

    /// Looks at `name` (`.` is the directory itself) without following a link.
    ///
    /// # Errors
    /// `ENOENT` when there is nothing.
    pub fn stat(&self, name: &[u8]) -> io::Result<Stat> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
        let stat = rustix::fs::statx(&self.fd, component_or_self(name)?, flags, StatxFlags::BASIC_STATS)?;
        Ok(Stat::from_statx(&stat))
    }

    /// Looks at the directory itself.
    ///
    /// # Errors
    /// What the system says.
    pub fn stat_self(&self) -> io::Result<Stat> {
        stat_fd(&self.fd)
    }

    /// The names in the directory, without `.` and `..`, in no particular order.
    ///
    /// # Errors
    /// What the system says; names read before are lost.
    pub fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        let fd = match self.reopen() {
            // Without the right to search it, `.` cannot be opened in it: the handle itself is read.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                rustix::fs::seek(&self.fd, SeekFrom::Start(0)).map_err(|_| error)?;
                self.fd.try_clone()?
            }
            reopened => reopened?.fd,
        };
        let mut buffer = [MaybeUninit::uninit(); 32 << 10];
        let mut entries = RawDir::new(fd, &mut buffer);
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        Ok(names)
    }

    /// Whether the effective user may read `name`, or what it leads to if it is a link.
    #[must_use]
    pub fn is_readable(&self, name: &[u8]) -> bool {
        component(name)
            .is_ok_and(|name| rustix::fs::accessat(&self.fd, name, Access::READ_OK, AtFlags::EACCESS).is_ok())
    }

    /// Opens a regular file for reading; a link is not followed and a fifo does not block.
    ///
    /// # Errors
    /// `ELOOP` for a link, `EISDIR` for a directory, `EINVAL` for what else is no regular file.
    pub fn open_read(&self, name: &[u8]) -> io::Result<File> {
        self.open_read_and_stat(name).map(|(file, _)| file)
    }

    /// [`Dir::open_read`], with the attributes of what was opened.
    pub(crate) fn open_read_and_stat(&self, name: &[u8]) -> io::Result<(File, Stat)> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.fd, component(name)?, flags, Mode::empty())?);
        let stat = stat_fd(&file)?;
        if !stat.is_file() {
            return Err(if stat.is_dir() { Errno::ISDIR } else { Errno::INVAL }.into());
        }
        Ok((file, stat))
    }

    /// Opens a regular file for reading and writing in place, making it with mode 0600 if missing. One whose
    /// owner may not do so is opened while its mode allows it for a moment.
    ///
    /// # Errors
    /// Those of [`Dir::open_read`].
    pub fn open_in_place(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let name = component(name)?;
        let open = || rustix::fs::openat(&self.fd, name, flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
        let file = File::from(match open() {
            Err(Errno::ACCESS) => self.while_usable(name, open)?,
            opened => opened?,
        });
        if !stat_fd(&file)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(file)
    }

    /// Opens a regular file whose owner may not read or write it, when that is allowed for a moment.
    fn while_usable(&self, name: &[u8], open: impl Fn() -> Result<OwnedFd, Errno>) -> io::Result<OwnedFd> {
        let refused = || io::Error::from(Errno::ACCESS);
        let stat = self.stat(name).map_err(|_| refused())?;
        if !stat.is_file() || stat.mode & 0o600 == 0o600 {
            return Err(refused());
        }
        self.chmod(name, stat.mode | 0o600).map_err(|_| refused())?;
        let opened = open();
        let restored = self.chmod(name, stat.mode);
        restored.and(opened.map_err(io::Error::from))
    }

    /// [`Dir::open_in_place`], which also takes a device (`--write-devices`).
    ///
    /// # Errors
    /// Those of [`Dir::open_in_place`].
    pub(crate) fn open_in_place_or_device(&self, name: &[u8]) -> io::Result<File> {
        match self.stat(name) {
            Ok(stat) if stat.kind().is_device() => {}
            _ => return self.open_in_place(name),
        }
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.fd, component(name)?, flags, Mode::empty())?);
        if !stat_fd(&file)?.kind().is_device() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a device any more"));
        }
        Ok(file)
    }

    /// Makes a new empty file, 0600.
    ///
    /// # Errors
    /// `EEXIST` when the name is taken.
    pub fn create_new(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(File::from(rustix::fs::openat(&self.fd, component(name)?, flags, mode)?))
    }

    /// Makes a new file for the content of `name` under a temporary name (spec 07 §6.1), 0600.
    ///
    /// # Errors
    /// What the system says.
    pub fn create_temp(&self, name: &[u8], random: &mut dyn FnMut() -> u64) -> io::Result<(File, Vec<u8>)> {
        self.create_temp_as(name, true, random).map_err(|(_, error)| error)
    }

    /// [`Dir::create_temp`], whose name begins with a dot if it is to be `hidden` (`--temp-dir` hides
    /// nothing). A failure says which name it was to have.
    pub(crate) fn create_temp_as(
        &self,
        name: &[u8],
        hidden: bool,
        random: &mut dyn FnMut() -> u64,
    ) -> Result<(File, Vec<u8>), (Vec<u8>, io::Error)> {
        let name = component(name).map_err(|error| (name.to_vec(), error))?;
        loop {
            let temp = temp_name(name, hidden, random());
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(&self.fd, &temp[..], flags, Mode::RUSR | Mode::WUSR) {
                Ok(fd) => return Ok((File::from(fd), temp)),
                Err(Errno::EXIST) => {}
                Err(error) => return Err((temp, error.into())),
            }
        }
    }

    /// Renames `from` here to `to` in `target`, replacing what is there.
    ///
    /// # Errors
    /// What the system says.
    pub fn rename(&self, from: &[u8], target: &Self, to: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.fd, component(from)?, &target.fd, component(to)?)?)
    }

    /// Renames only if nothing is at `to`.
    ///
    /// # Errors
    /// `EEXIST` if there is.
    pub fn rename_new(&self, from: &[u8], target: &Self, to: &[u8]) -> io::Result<()> {
        let flags = RenameFlags::NOREPLACE;
        Ok(rustix::fs::renameat_with(&self.fd, component(from)?, &target.fd, component(to)?, flags)?)
    }

    /// Removes a name that is not a directory.
    ///
    /// # Errors
    /// What the system says.
    pub fn unlink(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, component(name)?, AtFlags::empty())?)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `ENOTEMPTY` when it is not.
    pub fn rmdir(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, component(name)?, AtFlags::REMOVEDIR)?)
    }

    /// Makes a directory; the umask applies to `mode`.
    ///
    /// # Errors
    /// What the system says.
    pub fn mkdir(&self, name: &[u8], mode: u32) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.fd, component(name)?, Mode::from_raw_mode(mode & 0o7777))?)
    }

    /// Makes a symbolic link to `target`, which is only text.
    ///
    /// # Errors
    /// What the system says.
    pub fn symlink(&self, target: &[u8], name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, &self.fd, component(name)?)?)
    }

    /// Reads the text of a symbolic link.
    ///
    /// # Errors
    /// `EINVAL` when it is none.
    pub fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.fd, component(name)?, Vec::new())?.into_bytes())
    }

    /// Makes a device, fifo or socket of the type bits and permissions in `mode`.
    ///
    /// # Errors
    /// What the system says.
    pub fn mknod(&self, name: &[u8], mode: u32, rdev: DeviceNumber) -> io::Result<()> {
        let dev = rustix::fs::makedev(rdev.major, rdev.minor);
        let kind = FileType::from_raw_mode(mode);
        Ok(rustix::fs::mknodat(&self.fd, component(name)?, kind, Mode::from_raw_mode(mode & 0o7777), dev)?)
    }

    /// Gives the file `name` here the further name `new` in `target`; a link is linked itself.
    ///
    /// # Errors
    /// `EEXIST` when `new` is taken.
    pub fn link(&self, name: &[u8], target: &Self, new: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::linkat(&self.fd, component(name)?, &target.fd, component(new)?, AtFlags::empty())?)
    }

    /// Sets owner and group without following a link; `None` leaves one as it is.
    ///
    /// # Errors
    /// What the system says.
    pub fn chown(&self, name: &[u8], uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        Ok(rustix::fs::chownat(&self.fd, component_or_self(name)?, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Sets the permission bits of what `name` is, unless it is a link, whose bits do not matter.
    ///
    /// # Errors
    /// What the system says.
    pub fn chmod(&self, name: &[u8], mode: u32) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, component_or_self(name)?, flags, Mode::empty())?;
        if stat_fd(&fd)?.kind() == rsync_proto::flist::Kind::Symlink {
            return Ok(());
        }
        let pinned = format!("/proc/self/fd/{}", fd.as_raw_fd());
        Ok(rustix::fs::chmod(pinned, Mode::from_raw_mode(mode & 0o7777))?)
    }

    /// Sets modification and access time without following a link; `None` leaves one as it is.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_times(
        &self,
        name: &[u8],
        mtime: Option<(i64, u32)>,
        atime: Option<(i64, u32)>,
    ) -> io::Result<()> {
        let times = timestamps(mtime, atime);
        Ok(rustix::fs::utimensat(&self.fd, component_or_self(name)?, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// The path that names `name` in this very directory, for calls without an `*at` form.
    fn pinned(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        let mut path = format!("/proc/self/fd/{}/", self.fd.as_raw_fd()).into_bytes();
        path.extend_from_slice(component_or_self(name)?);
        Ok(path)
    }

    /// The names of the extended attributes of `name`.
    ///
    /// # Errors
    /// What the system says; a file system without attributes has none.
    pub fn xattr_names(&self, name: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let path = self.pinned(name)?;
        let mut buffer = vec![0; 64 << 10];
        let length = match rustix::fs::llistxattr(&path[..], &mut buffer[..]) {
            Ok(length) => length,
            Err(Errno::NOTSUP) => 0,
            Err(error) => return Err(error.into()),
        };
        let names = buffer[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(<[u8]>::to_vec).collect())
    }

    /// The value of the extended attribute `key`, or `None` if there is none.
    ///
    /// # Errors
    /// What the system says.
    pub fn xattr(&self, name: &[u8], key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let path = self.pinned(name)?;
        let mut buffer = vec![0; 64 << 10];
        match rustix::fs::lgetxattr(&path[..], key, &mut buffer[..]) {
            Ok(length) => {
                buffer.truncate(length);
                Ok(Some(buffer))
            }
            Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_xattr(&self, name: &[u8], key: &[u8], value: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::lsetxattr(&self.pinned(name)?[..], key, value, XattrFlags::empty())?)
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// `ENODATA` when there is none.
    pub fn remove_xattr(&self, name: &[u8], key: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::lremovexattr(&self.pinned(name)?[..], key)?)
    }
}

/// Looks at an open file.
pub(crate) fn stat_fd(fd: impl AsFd) -> io::Result<Stat> {
    let stat = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    Ok(Stat::from_statx(&stat))
}

/// What `utimensat` wants to hear.
pub(crate) fn timestamps(mtime: Option<(i64, u32)>, atime: Option<(i64, u32)>) -> Timestamps {
    let time = |time: Option<(i64, u32)>| match time {
        Some((seconds, nanoseconds)) => Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    };
    Timestamps { last_access: time(atime), last_modification: time(mtime) }
}

/// `.NAME.XXXXXX`, or `NAME.XXXXXX` if it is not to be `hidden`, at most 254 bytes long, without cutting a
/// character in two (spec 07 §6.1).
fn temp_name(name: &[u8], hidden: bool, mut random: u64) -> Vec<u8> {
    let base = name.strip_prefix(b".").filter(|_| hidden).unwrap_or(name);
    let limit = NAME_MAX - 1 - b"..XXXXXX".len();
    let mut kept = &base[..base.len().min(limit)];
    if base.get(kept.len()).is_some_and(|byte| byte & 0x80 != 0) {
        let ascii = kept.iter().rposition(|byte| byte & 0x80 == 0).map_or(0, |last| last + 1);
        kept = &kept[..ascii];
    }
    kept = kept.strip_suffix(b".").unwrap_or(kept);
    let mut temp = Vec::with_capacity(kept.len() + 8);
    if hidden {
        temp.push(b'.');
    }
    temp.extend_from_slice(kept);
    if !kept.is_empty() {
        temp.push(b'.');
    }
    for _ in 0..6 {
        temp.push(ALPHABET[(random % 62) as usize]);
        random /= 62;
    }
    temp
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_that_its_owner_may_not_write_is_opened_in_place_and_keeps_its_mode() {
        let (place, dir) = scratch();
        let path = place.path().join("kept");
        std::fs::write(&path, b"old").expect("file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).expect("mode");
        let mut file = dir.open_in_place(b"kept").expect("opened");
        std::io::Write::write_all(&mut file, b"new").expect("written");
        assert_eq!(std::fs::metadata(&path).expect("stat").permissions().mode() & 0o777, 0o444);
        assert_eq!(std::fs::read(&path).expect("content"), b"new");
    }

    fn scratch() -> (tempfile::TempDir, Dir) {
        let place = tempfile::tempdir().expect("a directory");
        let dir = Dir::open(place.path()).expect("open");
        (place, dir)
    }

    #[test]
    fn only_single_components_are_taken() {
        let (_place, dir) = scratch();
        for name in [&b""[..], b"..", b"a/b", b"/etc", b"a\0b"] {
            let error = dir.stat(name).expect_err("refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }

    #[test]
    fn links_are_never_followed() {
        let (place, dir) = scratch();
        std::os::unix::fs::symlink("/etc", place.path().join("out")).expect("link");
        std::os::unix::fs::symlink("/etc/passwd", place.path().join("file")).expect("link");
        assert!(dir.open_dir(b"out").is_err());
        assert!(dir.open_beneath(b"out").is_err());
        assert!(dir.open_beneath(b"../").is_err());
        assert!(dir.walk_beneath(b"out/ssl").is_err());
        assert!(dir.open_read(b"file").is_err());
        assert!(dir.open_in_place(b"file").is_err());
        assert!(dir.stat(b"file").expect("lstat").mode & 0o170_000 == 0o120_000);
    }

    #[test]
    fn both_ways_of_opening_beneath_agree() {
        let (place, dir) = scratch();
        std::fs::create_dir_all(place.path().join("a/b/c")).expect("dirs");
        let one = dir.open_beneath(b"a/b/c").expect("openat2");
        let other = dir.walk_beneath(b"a/b/c").expect("walk");
        assert!(one.stat_self().expect("stat").same_file(&other.stat_self().expect("stat")));
    }

    #[test]
    fn a_directory_swapped_for_a_link_keeps_operations_where_they_were() {
        let (place, dir) = scratch();
        std::fs::create_dir(place.path().join("d")).expect("dir");
        let held = dir.open_dir(b"d").expect("open");
        std::fs::rename(place.path().join("d"), place.path().join("moved")).expect("rename");
        std::os::unix::fs::symlink("/tmp", place.path().join("d")).expect("link");
        held.mkdir(b"inside", 0o755).expect("mkdir");
        assert!(place.path().join("moved/inside").is_dir());
    }

    #[test]
    fn a_fifo_does_not_block_and_is_not_read() {
        let (_place, dir) = scratch();
        dir.mknod(b"fifo", 0o010_600, DeviceNumber::default()).expect("mkfifo");
        assert_eq!(dir.open_read(b"fifo").expect_err("refused").kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn temporary_names_fit_and_never_cut_a_character() {
        assert!(temp_name(b"name", true, 0).starts_with(b".name."));
        assert!(temp_name(b"name", false, 0).starts_with(b"name."));
        assert!(temp_name(b".hidden", true, 0).starts_with(b".hidden."));
        assert!(temp_name(b".hidden", false, 0).starts_with(b".hidden."));
        assert_eq!(temp_name(&[b'x'; 255], true, 1).len(), 254);
        let umlauts = "\u{e4}".repeat(127);
        assert_eq!(temp_name(umlauts.as_bytes(), true, 1).len(), b".XXXXXX".len());
    }

    #[test]
    fn permissions_and_times_are_set_on_the_name_itself() {
        let (place, dir) = scratch();
        std::fs::write(place.path().join("f"), b"x").expect("file");
        dir.chmod(b"f", 0o4711).expect("chmod");
        dir.set_times(b"f", Some((-5, 7)), None).expect("times");
        let stat = dir.stat(b"f").expect("stat");
        assert_eq!((stat.mode & 0o7777, stat.mtime), (0o4711, (-5, 7)));
        dir.symlink(b"f", b"l").expect("link");
        dir.chmod(b"l", 0o700).expect("no effect");
        assert_eq!(dir.stat(b"f").expect("stat").mode & 0o7777, 0o4711);
    }

    #[test]
    fn attributes_are_those_of_the_name() {
        let (place, dir) = scratch();
        std::fs::write(place.path().join("f"), b"x").expect("file");
        dir.set_xattr(b"f", b"user.a", b"value").expect("set");
        assert_eq!(dir.xattr_names(b"f").expect("names"), [b"user.a"]);
        assert_eq!(dir.xattr(b"f", b"user.a").expect("get").as_deref(), Some(&b"value"[..]));
        assert_eq!(dir.xattr(b"f", b"user.b").expect("get"), None);
        dir.remove_xattr(b"f", b"user.a").expect("remove");
        assert!(dir.xattr_names(b"f").expect("names").is_empty());
    }
}
