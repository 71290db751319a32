//! One file held by a descriptor, so that its attributes are set on it and on nothing else, whatever
//! happens to its name meanwhile (spec 10 SEC-005, SEC-006).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rsync_proto::flist::Kind;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;

use super::Stat;
use super::dir::{Dir, component, stat_fd, timestamps};

/// Longest list of attribute names, and longest value, that Linux has, in bytes.
const MAX_XATTR: usize = 64 << 10;

/// A file of any kind, a symlink included, found once.
#[derive(Debug)]
pub struct Pinned<'f>(Held<'f>);

#[derive(Debug)]
enum Held<'f> {
    /// Opened for this purpose, for no other use than naming the file.
    Found(OwnedFd),
    /// An open file of the caller's.
    Open(BorrowedFd<'f>),
}

impl Dir {
    /// Finds `name` without following a link; `.` is the directory itself.
    ///
    /// # Errors
    /// `ENOENT` when there is nothing.
    pub fn pin(&self, name: &[u8]) -> io::Result<Pinned<'static>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = if name == b"." { name } else { component(name)? };
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty())?;
        Ok(Pinned(Held::Found(fd)))
    }
}

impl Pinned<'static> {
    /// A file that was opened for no other use than naming it.
    pub(super) fn found(fd: OwnedFd) -> Self {
        Self(Held::Found(fd))
    }
}

impl<'f> Pinned<'f> {
    /// A file that is open already.
    #[must_use]
    pub fn of(file: &'f File) -> Self {
        Self(Held::Open(file.as_fd()))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Held::Found(fd) => fd.as_fd(),
            Held::Open(fd) => *fd,
        }
    }

    /// A path of exactly this file, for calls that take no descriptor of this kind.
    fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.fd().as_raw_fd())
    }

    /// The attributes of the file.
    ///
    /// # Errors
    /// What the system says.
    pub fn stat(&self) -> io::Result<Stat> {
        stat_fd(self.fd())
    }

    /// Sets owner and group; `None` leaves one as it is.
    ///
    /// # Errors
    /// What the system says.
    pub fn chown(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        Ok(rustix::fs::chownat(self.fd(), "", uid, gid, AtFlags::EMPTY_PATH)?)
    }

    /// Sets the permission bits, except of a symlink, where they mean nothing.
    ///
    /// # Errors
    /// What the system says.
    pub fn chmod(&self, mode: u32) -> io::Result<()> {
        let mode = Mode::from_raw_mode(mode & 0o7777);
        match &self.0 {
            Held::Open(fd) => Ok(rustix::fs::fchmod(fd, mode)?),
            Held::Found(_) if self.stat()?.kind() == Kind::Symlink => Ok(()),
            Held::Found(_) => rustix::fs::chmod(self.path(), mode).map_err(without_proc),
        }
    }

    /// Sets modification and access time, in seconds and nanoseconds; `None` leaves one as it is.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_times(&self, mtime: Option<(i64, u32)>, atime: Option<(i64, u32)>) -> io::Result<()> {
        let times = timestamps(mtime, atime);
        Ok(rustix::fs::utimensat(self.fd(), "", &times, AtFlags::EMPTY_PATH)?)
    }

    /// The names of the extended attributes.
    ///
    /// # Errors
    /// What the system says; a file system without attributes has none.
    pub fn xattr_names(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut buffer = vec![0; MAX_XATTR];
        match rustix::fs::listxattr(self.path(), &mut buffer[..]) {
            Ok(length) => {
                let names = buffer[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
                Ok(names.map(<[u8]>::to_vec).collect())
            }
            Err(Errno::NOTSUP) => Ok(Vec::new()),
            Err(error) => Err(without_proc(error)),
        }
    }

    /// The value of the extended attribute `key`, or `None` if there is none.
    ///
    /// # Errors
    /// What the system says.
    pub fn xattr(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; MAX_XATTR];
        match rustix::fs::getxattr(self.path(), key, &mut buffer[..]) {
            Ok(length) => {
                buffer.truncate(length);
                Ok(Some(buffer))
            }
            Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
            Err(error) => Err(without_proc(error)),
        }
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_xattr(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        rustix::fs::setxattr(self.path(), key, value, XattrFlags::empty()).map_err(without_proc)
    }

    /// Removes an extended attribute; one that is not there is removed.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove_xattr(&self, key: &[u8]) -> io::Result<()> {
        match rustix::fs::removexattr(self.path(), key) {
            Ok(()) | Err(Errno::NODATA) => Ok(()),
            Err(error) => Err(without_proc(error)),
        }
    }
}

/// A held file is there: what cannot be found is `/proc`, and its absence is no vanished file.
fn without_proc(error: Errno) -> io::Error {
    match error {
        Errno::NOENT | Errno::NOTDIR => io::Error::new(io::ErrorKind::Unsupported, "/proc is not mounted"),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::path::Path;

    use super::*;

    fn scratch() -> (tempfile::TempDir, Dir) {
        let place = tempfile::tempdir().expect("a directory");
        let dir = Dir::open(place.path()).expect("open");
        (place, dir)
    }

    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    fn metadata(path: &Path) -> (u32, u32, u32, i64, i64) {
        let metadata = std::fs::symlink_metadata(path).expect("lstat");
        (metadata.mode(), metadata.uid(), metadata.gid(), metadata.mtime(), metadata.mtime_nsec())
    }

    const MTIME: Option<(i64, u32)> = Some((-5, 7));

    #[test]
    fn attributes_stay_with_a_file_whose_name_was_given_to_another() {
        let (place, dir) = scratch();
        let [mine, victim] = ["mine", "victim"].map(|name| place.path().join(name));
        std::fs::write(&mine, b"x").expect("file");
        std::fs::write(&victim, b"y").expect("file");
        let before = metadata(&victim);
        let held = dir.pin(b"mine").expect("pin");
        std::fs::rename(&mine, place.path().join("moved")).expect("rename");
        std::fs::hard_link(&victim, &mine).expect("link");
        held.chmod(0o4755).expect("chmod");
        held.set_times(MTIME, None).expect("times");
        held.set_xattr(b"user.a", b"1").expect("xattr");
        if is_root() {
            held.chown(Some(1234), None).expect("chown");
        }
        assert_eq!(metadata(&victim), before);
        assert!(dir.pin(b"victim").expect("pin").xattr_names().expect("names").is_empty());
        let (_, _, _, seconds, nanoseconds) = metadata(&place.path().join("moved"));
        assert_eq!((seconds, nanoseconds), (-5, 7));
        assert_eq!(held.xattr(b"user.a").expect("get").as_deref(), Some(&b"1"[..]));
    }

    #[test]
    fn a_link_is_changed_itself_and_its_target_never() {
        let (place, dir) = scratch();
        let [target, link] = ["target", "link"].map(|name| place.path().join(name));
        std::fs::write(&target, b"x").expect("file");
        symlink("target", &link).expect("link");
        let before = metadata(&target);
        let held = dir.pin(b"link").expect("pin");
        assert_eq!(held.stat().expect("stat").kind(), Kind::Symlink);
        held.chmod(0o777).expect("ignored");
        held.set_times(MTIME, None).expect("times");
        if is_root() {
            held.chown(Some(1234), None).expect("chown");
            held.set_xattr(b"trusted.t", b"1").expect("xattr");
            assert_eq!(held.xattr_names().expect("names"), [b"trusted.t"]);
            assert!(dir.pin(b"target").expect("pin").xattr_names().expect("names").is_empty());
            held.remove_xattr(b"trusted.t").expect("remove");
            assert_eq!(&metadata(&link).1, &1234);
        }
        assert_eq!(metadata(&target), before);
        assert_eq!(metadata(&link).3, -5);
    }

    #[test]
    fn every_kind_of_file_can_be_held_without_opening_it() {
        let (place, dir) = scratch();
        dir.mknod(b"fifo", 0o010_600, rsync_proto::flist::DeviceNumber::default()).expect("fifo");
        dir.mknod(b"socket", 0o140_600, rsync_proto::flist::DeviceNumber::default()).expect("socket");
        std::fs::create_dir(place.path().join("dir")).expect("dir");
        for name in [&b"fifo"[..], b"socket", b"dir"] {
            let held = dir.pin(name).expect("pin");
            held.chmod(0o640).expect("chmod");
            held.set_times(MTIME, None).expect("times");
            let stat = held.stat().expect("stat");
            assert_eq!((stat.mode & 0o7777, stat.mtime), (0o640, (-5, 7)));
        }
    }

    #[test]
    fn an_open_file_is_changed_through_its_own_descriptor() {
        let (place, dir) = scratch();
        let path = place.path().join("f");
        let file = File::create(&path).expect("file");
        std::fs::remove_file(&path).expect("unlink");
        let held = Pinned::of(&file);
        held.chmod(0o600).expect("chmod");
        held.set_times(MTIME, None).expect("times");
        assert_eq!(held.stat().expect("stat").mtime, (-5, 7));
        dir.pin(b".").expect("pin").chmod(0o700).expect("chmod");
        assert_eq!(dir.stat_self().expect("stat").mode & 0o7777, 0o700);
    }

    #[test]
    fn removing_an_attribute_that_is_not_there_is_no_error() {
        let (place, dir) = scratch();
        std::fs::write(place.path().join("f"), b"").expect("file");
        dir.pin(b"f").expect("pin").remove_xattr(b"user.none").expect("nothing to do");
    }
}
