//! `--backup`: keeps what is about to be replaced or deleted (spec 07 §11).

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::sync::Arc;

use bstr::BStr;
use rsync_proto::flist::Kind;
use rsync_proto::options::SuperUser;
use rsync_proto::text::{Failure, Message, OptionDir, Place, Role};
use rustix::io::Errno;

use crate::confine::{Dir, DirStack, Pinned, Stat, length_of};
use crate::destination::Destination;
use crate::meta::{ACCESS_ACL, DEFAULT_ACL, fake_super};
use crate::{EngineError, Session};

/// Directories nested deeper than this are not removed to make way for a backup.
const MAX_DEPTH: usize = 1024;

/// What happens to the original after it was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Another file is renamed over it: the name never vanishes.
    Replace,
    /// It goes away.
    Delete,
    /// It is written in place: what is kept is a copy.
    Overwrite,
}

/// Keeps backups of one destination; each thread has its own.
pub(crate) struct Backups<'a> {
    session: &'a Session,
    /// Whose failures are told.
    role: Role,
    destination: &'a Destination,
    place: Option<BackupDir<'a>>,
    may_chown: bool,
    /// What a file tells of itself is kept, too.
    fake: bool,
}

/// `--backup-dir`.
struct BackupDir<'a> {
    /// As typed.
    path: &'a BStr,
    /// Opened, and made if it is missing, with the first backup.
    dirs: RefCell<Option<DirStack>>,
}

/// Where one backup goes.
struct Backup<'b> {
    place: &'b Dir,
    name: &'b [u8],
    /// Its path, for people.
    shown: &'b [u8],
    /// Why it cannot be made was said.
    told: Cell<bool>,
}

impl<'a> Backups<'a> {
    /// `None` if no backups are asked for.
    pub(crate) fn new(session: &'a Session, destination: &'a Destination, role: Role) -> Option<Self> {
        let options = &session.options;
        options.backup.then(|| Self {
            session,
            role,
            destination,
            place: options
                .backup_dir
                .as_ref()
                .map(|path| BackupDir { path: path.as_ref(), dirs: RefCell::default() }),
            may_chown: options.super_user == SuperUser::On || rustix::process::geteuid().is_root(),
            fake: options.super_user == SuperUser::Fake,
        })
    }

    /// Checks and announces `--backup-dir`, once per session.
    ///
    /// # Errors
    /// [`EngineError::BadOptionDir`] if something else is there (exit 1), or an untrusted link leads there.
    pub(crate) fn check(session: &Session, destination: &Destination) -> Result<(), EngineError> {
        let options = &session.options;
        let Some(path) = options.backup_dir.as_ref().filter(|_| options.backup) else { return Ok(()) };
        match destination.bounds.open_dir(&destination.root, path) {
            Ok(_) => session.say(Message::BackupDir(path, true)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                session.say(Message::BackupDir(path, false));
            }
            Err(_) => {
                session.say(Message::OptionDirNotDirectory(OptionDir::Backup, path));
                return Err(EngineError::BadOptionDir);
            }
        }
        Ok(())
    }

    /// What the backup of `path` is called, for people.
    pub(crate) fn shown(&self, path: &[u8]) -> Vec<u8> {
        let mut shown = Vec::new();
        if let Some(place) = &self.place {
            shown.extend_from_slice(place.path);
            shown.push(b'/');
        }
        shown.extend_from_slice(path);
        shown.extend_from_slice(&self.session.options.suffix);
        shown
    }

    /// Whether `name` looks like a backup itself, which is deleted without another one.
    fn is_backup(&self, name: &[u8]) -> bool {
        self.place.is_none() && name.ends_with(&self.session.options.suffix)
    }

    /// Keeps `name` of `dir`, the directory at `dir_path` of the destination; answers whether the name
    /// is gone already. Directories, and nothing at all, need no backup.
    ///
    /// # Errors
    /// What the system says; the original is untouched then. A generator's failure was told.
    pub(crate) fn keep(&self, dir: &Dir, dir_path: &[u8], name: &[u8], purpose: Purpose) -> io::Result<bool> {
        let stat = match dir.stat(name) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if stat.is_dir() || (purpose == Purpose::Delete && self.is_backup(name)) {
            return Ok(false);
        }
        let path = join(dir_path, name);
        if stat.kind() == Kind::Symlink && self.session.options.safe_links {
            let target = dir.read_link(name)?;
            if crate::scan::is_unsafe(&target, &path) {
                self.session.say(Message::BackupSkipsUnsafeSymlink(&path, &target));
                return Ok(false);
            }
        }
        let suffix = &self.session.options.suffix;
        if self.place.is_none() && suffix.is_empty() {
            // The backup would be the file itself; the parser refuses this, a library user may not.
            return Err(Errno::INVAL.into());
        }
        let kept = [name, suffix].concat();
        let shown = self.shown(&path);
        let mut told = false;
        let gone = self.with_place(dir, dir_path, |place| {
            let backup = Backup { place, name: &kept, shown: &shown, told: Cell::new(false) };
            let stored = self.store(dir, name, &stat, &backup, purpose);
            told = backup.told.get();
            stored
        });
        match &gone {
            Ok(_) => self.session.say(Message::BackedUp(&path, &shown)),
            // What a receiver cannot keep ends the run, and is told then.
            Err(error) if self.role == Role::Generator && !(told && purpose == Purpose::Overwrite) => {
                let place = self.session.place(&self.destination.path, &path);
                self.session.failed(self.role, Failure::KeepBackup(place, &shown), error);
            }
            Err(_) => {}
        }
        gone
    }

    /// Opens what was kept of `name`.
    pub(crate) fn open(&self, dir: &Dir, dir_path: &[u8], name: &[u8]) -> io::Result<File> {
        let kept = [name, &self.session.options.suffix].concat();
        self.with_place(dir, dir_path, |place| place.open_read(&kept))
    }

    fn store(
        &self,
        dir: &Dir,
        name: &[u8],
        stat: &Stat,
        backup: &Backup<'_>,
        purpose: Purpose,
    ) -> io::Result<bool> {
        let &Backup { place, name: kept, shown, .. } = backup;
        match place.stat(kept) {
            Ok(old) if old.same_file(stat) && purpose != Purpose::Overwrite => return Ok(false),
            Ok(old) if old.is_dir() => {
                self.empty(&place.open_dir(kept)?, shown, 0)?;
                place.rmdir(kept)?;
            }
            _ => {}
        }
        let linked = match purpose {
            Purpose::Replace => link(dir, name, place, kept),
            Purpose::Delete | Purpose::Overwrite => Err(Errno::XDEV.into()),
        };
        if linked.is_ok() {
            return Ok(false);
        }
        // A file system without hard links loses the name for a moment; another one needs a copy.
        if purpose != Purpose::Overwrite && dir.rename(name, place, kept).is_ok() {
            return Ok(true);
        }
        self.copy(dir, name, stat, backup, purpose)?;
        if purpose == Purpose::Delete {
            dir.unlink(name)?;
        }
        Ok(purpose == Purpose::Delete)
    }

    /// Deletes everything in the directory `path`, which is where a backup belongs; no link is followed.
    fn empty(&self, dir: &Dir, path: &[u8], depth: usize) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(Errno::LOOP.into());
        }
        for name in dir.names()? {
            let is_dir = dir.stat(&name)?.is_dir();
            let path = join(path, &name);
            if is_dir {
                self.empty(&dir.open_dir(&name)?, &path, depth + 1)?;
                dir.rmdir(&name)?;
            } else {
                dir.unlink(&name)?;
            }
            self.session.say_deleted(&path, is_dir);
        }
        Ok(())
    }

    fn copy(
        &self,
        dir: &Dir,
        name: &[u8],
        stat: &Stat,
        backup: &Backup<'_>,
        purpose: Purpose,
    ) -> io::Result<()> {
        let &Backup { place, name: kept, shown, .. } = backup;
        // Of a device that is written to, what was in it is kept.
        let written = purpose == Purpose::Overwrite && self.session.options.write_devices;
        if stat.is_file() || stat.kind().is_device() && written {
            let (from, _) = dir.open_content_and_stat(name)?;
            let length = length_of(&from)?;
            let (mut to, temp) = place.create_temp(kept, &mut rand::random).inspect_err(|error| {
                let shown = self.session.place(&self.destination.path, shown);
                self.session.failed(self.role, Failure::OpenBackup(shown), error);
                backup.told.set(true);
            })?;
            let copied = io::copy(&mut io::Read::take(&from, length), &mut to)
                .and_then(|_| self.copy_attributes(stat, Some(&from), &Pinned::of(&to)))
                .and_then(|()| place.rename(&temp, place, kept));
            if copied.is_err() {
                // The first failure is the one to tell.
                let _ = place.unlink(&temp);
            }
            return copied;
        }
        if place.stat(kept).is_ok() {
            place.unlink(kept)?;
        }
        match stat.kind() {
            Kind::Symlink => place.symlink(&dir.read_link(name)?, kept)?,
            _ => place.mknod(kept, stat.mode & !0o7077, stat.rdev)?,
        }
        self.copy_attributes(stat, None, &place.pin(kept)?)
    }

    fn copy_attributes(&self, stat: &Stat, from: Option<&File>, to: &Pinned<'_>) -> io::Result<()> {
        if self.may_chown {
            to.chown(Some(stat.uid), Some(stat.gid))?;
        }
        if let Some(from) = from {
            self.copy_extended(&Pinned::of(from), to, self.session.options.xattrs > 0)?;
        }
        to.set_times(Some(stat.mtime), Some(stat.atime))?;
        to.chmod(stat.mode)
    }

    /// Copies ACLs as far as they are preserved, extended attributes if `xattrs`, and what stands in for owners.
    fn copy_extended(&self, from: &Pinned<'_>, to: &Pinned<'_>, xattrs: bool) -> io::Result<()> {
        let options = &self.session.options;
        if !options.acls && !xattrs && !self.fake {
            return Ok(());
        }
        for name in from.xattr_names()? {
            let is_acl = name == ACCESS_ACL || name == DEFAULT_ACL;
            let told = self.fake && fake_super::is_internal(&name);
            let wanted = told || if is_acl { options.acls } else { xattrs };
            if let Some(value) = from.xattr(&name)?.filter(|_| wanted) {
                to.set_xattr(&name, &value)?;
            }
        }
        Ok(())
    }

    /// Works in the directory that backups of `dir_path` go to.
    fn with_place<T>(
        &self,
        dir: &Dir,
        dir_path: &[u8],
        work: impl FnOnce(&Dir) -> io::Result<T>,
    ) -> io::Result<T> {
        let Some(place) = &self.place else { return work(dir) };
        let mut dirs = place.dirs.borrow_mut();
        let dirs = match &mut *dirs {
            Some(dirs) => dirs,
            None => {
                let destination = self.destination;
                let (root, _) = destination.bounds.make_dir(&destination.root, place.path, 0o777)?;
                dirs.insert(DirStack::new(Arc::new(root)))
            }
        };
        if dirs.dir(dir_path).is_err() {
            self.make_dirs(dirs, dir_path)?;
        }
        work(dirs.dir(dir_path)?)
    }

    /// Makes the directories of `path`, which look like those of the destination.
    fn make_dirs(&self, dirs: &mut DirStack, path: &[u8]) -> io::Result<()> {
        let mut models = DirStack::new(Arc::clone(&self.destination.root));
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let ends: Vec<usize> = ends.chain([path.len()]).collect();
        let mut start = 0;
        for end in ends {
            let (above, name) = (&path[..start.max(1) - 1], &path[start..end]);
            let parent = dirs.dir(above)?;
            match parent.stat(name) {
                Ok(stat) if stat.is_dir() => {}
                found => {
                    if found.is_ok() {
                        parent.unlink(name)?;
                    }
                    parent.mkdir(name, 0o700)?;
                    let model = models.dir(above)?.stat(name)?;
                    let made = parent.pin(name)?;
                    if self.may_chown && self.session.options.owner {
                        made.chown(Some(model.uid), Some(model.gid))?;
                    }
                    made.chmod(model.mode)?;
                    self.copy_extended(&models.dir(above)?.pin(name)?, &made, false)?;
                }
            }
            start = end + 1;
        }
        Ok(())
    }

    /// The failure of a backup that ends the run (exit 11).
    pub(crate) fn failed(&self, place: Place<'_>, source: io::Error) -> EngineError {
        let shown = self.shown(place.name);
        let mut text = b"rsync: [receiver] ".to_vec();
        Failure::KeepBackup(place, &shown).render(&mut text);
        EngineError::FileIo { text: text.into(), source }
    }
}

/// Gives the file another name, in place of whatever has that name.
fn link(dir: &Dir, name: &[u8], place: &Dir, kept: &[u8]) -> io::Result<()> {
    match dir.link(name, place, kept) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            place.unlink(kept)?;
            dir.link(name, place, kept)
        }
        result => result,
    }
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}
