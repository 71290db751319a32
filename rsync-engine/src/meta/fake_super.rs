//! `--fake-super`: what only root may set is kept in attributes of ordinary files (spec 04 §4).
//!
//! A stat of this side then is what `user.rsync.%stat` says, where a file has it. The attribute belongs
//! to whoever owns the file, so it decides about what is shown and sent, never about what is done to a
//! file: it cannot turn a directory into something else, nor anything else into a directory.

use std::io;

use bstr::{BString, ByteSlice};
use rsync_proto::flist::{DeviceNumber, EntryRef, Kind};
use rsync_proto::meta::FakeStat;

use super::Wanted;
use crate::confine::{Dir, Pinned, Stat};

/// What is told instead of the real stat.
pub(crate) const STAT: &[u8] = b"user.rsync.%stat";
/// The access ACL.
pub(crate) const ACCESS: &[u8] = b"user.rsync.%aacl";
/// The default ACL.
pub(crate) const DEFAULT: &[u8] = b"user.rsync.%dacl";

const TYPE: u32 = 0o170_000;
/// What the owner of a file and of a directory needs to work with it.
const USABLE_FILE: u32 = 0o600;
const USABLE_DIR: u32 = 0o700;

/// An attribute that says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("corrupt user.rsync.%stat attribute: {text:?}")]
pub(crate) struct CorruptStat {
    /// Its value.
    pub(crate) text: BString,
}

impl CorruptStat {
    /// The corrupt attribute that `error` is about.
    pub(crate) fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

/// Whether an attribute is one of these.
pub(crate) fn is_internal(name: &[u8]) -> bool {
    [STAT, ACCESS, DEFAULT].contains(&name)
}

/// What is told of `name` in `dir`; `.` is the directory itself.
///
/// # Errors
/// What the system says, and [`CorruptStat`] within an [`io::Error`].
pub(crate) fn stat_in(dir: &Dir, name: &[u8]) -> io::Result<Stat> {
    told(dir.stat(name)?, || dir.xattr(name, STAT))
}

/// What is told of a held file.
///
/// # Errors
/// Those of [`stat_in`].
pub(crate) fn stat_of(file: &Pinned<'_>) -> io::Result<Stat> {
    told(file.stat()?, || file.xattr(STAT))
}

/// What is told of a file whose stat is `real`, if `read` answers the attribute.
pub(crate) fn told(real: Stat, read: impl FnOnce() -> io::Result<Option<Vec<u8>>>) -> io::Result<Stat> {
    if !real.is_file() && !real.is_dir() {
        return Ok(real);
    }
    let Some(text) = read()? else { return Ok(real) };
    let fake = FakeStat::parse(&text).filter(|fake| {
        let kind = Kind::of_mode(fake.mode);
        kind.is_some_and(|kind| kind != Kind::Missing && (kind == Kind::Dir) == real.is_dir())
    });
    let Some(fake) = fake else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, CorruptStat { text: text.into() }));
    };
    let mut stat = Stat { mode: fake.mode, uid: fake.uid, gid: fake.gid, ..real };
    if stat.kind().is_device() {
        stat.rdev = fake.rdev;
    }
    if stat.kind().is_device() || stat.kind().is_special() {
        stat.size = 0;
    }
    Ok(stat)
}

/// The target of the symlink that the file `name` stands for.
///
/// # Errors
/// What the system says, also for a real symlink.
pub(crate) fn read_link(dir: &Dir, name: &[u8]) -> io::Result<Vec<u8>> {
    /// One byte more than the longest target.
    const LIMIT: u64 = 4096;
    let mut target = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(dir.open_read(name)?, LIMIT), &mut target)?;
    Ok(target)
}

/// Makes the file that stands for the device, special or symlink `entry`; its attribute comes later.
///
/// # Errors
/// What the system says; `EEXIST` if the name is taken.
pub(crate) fn make_node(dir: &Dir, name: &[u8], entry: &EntryRef<'_>) -> io::Result<()> {
    let mut file = dir.create_new(name)?;
    if entry.kind() == Kind::Symlink {
        io::Write::write_all(&mut file, entry.target().unwrap_or_default())?;
    }
    Ok(())
}

/// The permissions under which a directory of this mode really is made.
pub(crate) fn usable_dir(mode: u32) -> u32 {
    mode & 0o777 | USABLE_DIR
}

/// Makes a file tell that it is what is wanted of `entry`; `current` is what it tells so far. Answers
/// whether anything changed.
///
/// # Errors
/// What the system says.
pub(crate) fn apply(
    file: &Pinned<'_>,
    entry: &EntryRef<'_>,
    wanted: &Wanted,
    current: &Stat,
) -> io::Result<bool> {
    let real = file.stat()?;
    let usable = if real.is_dir() { USABLE_DIR } else { USABLE_FILE };
    let permissions = wanted.mode & 0o777 | usable;
    let fake = FakeStat {
        mode: entry.mode() & TYPE | wanted.mode & 0o7777,
        rdev: if entry.kind().is_device() { entry.rdev() } else { DeviceNumber::default() },
        uid: wanted.uid.unwrap_or(current.uid),
        gid: wanted.gid.unwrap_or(current.gid),
    };
    let mut changed = false;
    if real.mode & 0o7777 != permissions {
        file.chmod(permissions)?;
        changed = true;
    }
    let stored = file.xattr(STAT)?;
    let is_real = fake.mode == real.mode & TYPE | permissions && (fake.uid, fake.gid) == (real.uid, real.gid);
    if is_real {
        if stored.is_some() {
            file.remove_xattr(STAT)?;
            changed = true;
        }
    } else if stored.as_deref().map(ByteSlice::as_bytes) != Some(fake.text().as_bytes()) {
        file.set_xattr(STAT, fake.text().as_bytes())?;
        changed = true;
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(attribute: Option<&str>) -> (tempfile::TempDir, Dir) {
        let place = tempfile::tempdir().expect("a directory");
        std::fs::write(place.path().join("f"), b"target").expect("file");
        std::fs::create_dir(place.path().join("d")).expect("dir");
        let dir = Dir::open(place.path()).expect("open");
        if let Some(text) = attribute {
            dir.set_xattr(b"f", STAT, text.as_bytes()).expect("set");
        }
        (place, dir)
    }

    #[test]
    fn the_attribute_is_told_instead_of_the_real_stat() {
        let (_place, dir) = scratch(Some("20644 5,7 12:34"));
        let stat = stat_in(&dir, b"f").expect("stat");
        assert_eq!((stat.kind(), stat.uid, stat.gid, stat.size), (Kind::CharDevice, 12, 34, 0));
        assert_eq!(stat.rdev, DeviceNumber { major: 5, minor: 7 });
        assert_eq!(stat_of(&dir.pin(b"f").expect("pin")).expect("stat"), stat);
        assert!(stat_in(&dir, b"d").expect("stat").is_dir());
    }

    #[test]
    fn no_attribute_makes_a_file_a_directory_or_nothing() {
        for text in ["40755 0,0 0:0", "0 0,0 0:0", "755 0,0 0:0", "nonsense", ""] {
            let (_place, dir) = scratch(Some(text));
            let error = stat_in(&dir, b"f").expect_err(text);
            assert_eq!(CorruptStat::of(&error).map(|corrupt| &corrupt.text[..]), Some(text.as_bytes()));
        }
        let (_place, dir) = scratch(None);
        dir.set_xattr(b"d", STAT, b"100644 0,0 0:0").expect("set");
        assert!(stat_in(&dir, b"d").is_err());
    }

    #[test]
    fn only_a_file_stands_for_a_link() {
        let (place, dir) = scratch(None);
        std::os::unix::fs::symlink("f", place.path().join("l")).expect("link");
        assert_eq!(read_link(&dir, b"f").expect("content"), b"target");
        assert!(read_link(&dir, b"l").is_err());
    }
}
