//! From a name in a source directory to the fields of a list entry (spec 03 §3, §4).

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use rsync_proto::exit::IoErrorFlags;
use rsync_proto::flist::{Columns, DeviceNumber, Entry, Inode, Kind, MUNGE_PREFIX, Unconverted};
use rsync_proto::sum::Digest;
use rsync_proto::text::{Event, Failure, Message, Place, Role, Severity, SystemFailure};
use rustix::io::Errno;

use super::attributes::follows_links;
use super::links::is_unsafe;
use crate::meta::fake_super::CorruptStat;
use crate::session::Session;
use crate::tree::{TreeDir, TreeStat};

/// Bytes read at once for `--checksum`.
const READ_SIZE: usize = 256 << 10;
/// Permission bits of a device that is sent as a file.
const DEVICE_PERMISSIONS: u32 = 0o777;
const REGULAR: u32 = 0o100_000;

/// Adds what only some transfers carry: ACLs and extended attributes.
pub trait ReadAttributes: Send {
    /// Sets the fields of `entry` for `name` in `dir`.
    ///
    /// # Errors
    /// What the system says: the entry is then left out of the list.
    fn read(&mut self, dir: &dyn TreeDir, name: &[u8], entry: &mut Entry) -> io::Result<()>;
}

/// Changes the mode that is sent, as `--chmod` asks.
pub type ChangeMode = Box<dyn Fn(u32) -> u32 + Send>;

/// Where a name is, for system calls and for messages.
#[derive(Clone, Copy)]
pub(super) struct Spot<'a> {
    pub(super) dir: &'a dyn TreeDir,
    /// The last component, or `.`.
    pub(super) name: &'a [u8],
    /// The path in the transfer.
    pub(super) path: &'a [u8],
    /// The absolute directory that `path` is relative to.
    pub(super) root: &'a [u8],
}

/// Looks at names and describes them.
pub(super) struct Examiner {
    pub(super) session: Arc<Session>,
    pub(super) module: Option<Vec<u8>>,
    pub(super) columns: Columns,
    pub(super) change_mode: Option<ChangeMode>,
    pub(super) attributes: Option<Box<dyn ReadAttributes>>,
    munges: bool,
    buffer: Vec<u8>,
}

impl Examiner {
    pub(super) fn new(session: Arc<Session>, module: Option<Vec<u8>>, columns: Columns) -> Self {
        let munges = session.options.munge_links == Some(true);
        Self { session, module, columns, change_mode: None, attributes: None, munges, buffer: Vec::new() }
    }

    /// Whether a link may stand for what it leads to.
    pub(super) fn follows_links(&self) -> bool {
        follows_links(&self.session.options)
    }

    /// Looks at a name, following links as the options say; `None` after an error, which is reported
    /// unless the name is `hidden`.
    pub(super) fn look(&self, spot: Spot<'_>, hidden: impl Fn() -> bool) -> Option<TreeStat> {
        let found = match spot.dir.stat(spot.name, false) {
            Ok(found) => found,
            Err(error) => {
                self.report_missing(spot, &error);
                return None;
            }
        };
        if found.stat.kind() != Kind::Symlink || !self.follows_links() {
            return Some(found);
        }
        self.look_through(spot, found, hidden)
    }

    /// Decides whether the link `found` stands for itself.
    pub(super) fn look_through(
        &self,
        spot: Spot<'_>,
        found: TreeStat,
        hidden: impl Fn() -> bool,
    ) -> Option<TreeStat> {
        let options = &self.session.options;
        let mut must_follow = options.copy_links;
        if !must_follow && options.copy_unsafe_links {
            match spot.dir.read_link(spot.name) {
                Ok(target) if is_unsafe(&target, spot.path) => {
                    self.say(Message::CopyingUnsafeSymlink(spot.path, &target));
                    must_follow = true;
                }
                Ok(_) => {}
                Err(error) => {
                    self.report_missing(spot, &error);
                    return None;
                }
            }
        }
        if !must_follow && !options.copy_dirlinks {
            return Some(found);
        }
        match spot.dir.stat(spot.name, true) {
            Ok(target) if must_follow || target.stat.is_dir() => Some(target),
            Ok(_) => Some(found),
            Err(_) if !must_follow => Some(found),
            Err(_) if hidden() => None,
            Err(error) if is_errno(&error, Errno::NOENT) => {
                self.io_error(IoErrorFlags::GENERAL);
                self.say(Message::NoReferent(self.place(spot)));
                None
            }
            Err(error) => {
                self.report_missing(spot, &error);
                None
            }
        }
    }

    /// Fills every field of `entry` but path, flags and origin; `false` after an error was reported.
    pub(super) fn describe(&mut self, spot: Spot<'_>, found: &TreeStat, entry: &mut Entry) -> bool {
        let TreeStat { stat, crtime } = found;
        let options = &self.session.options;
        let kind = stat.kind();
        entry.mode = stat.mode;
        entry.size = if matches!(kind, Kind::File | Kind::Dir | Kind::Symlink) { stat.size } else { 0 };
        (entry.mtime, entry.nsec) = stat.mtime;
        entry.rdev = if kind.is_device() { stat.rdev } else { DeviceNumber::default() };
        entry.uid = if self.columns.uid { stat.uid } else { 0 };
        entry.gid = if self.columns.gid { stat.gid } else { 0 };
        entry.atime = stat.atime.0;
        entry.crtime = *crtime;
        if kind.is_device()
            && options.copy_devices
            && let Err(error) = send_device_as_file(spot, self.follows_links(), entry)
        {
            self.report_missing(spot, &error);
            return false;
        }
        // Sent as what it is now.
        let kind = entry.kind();
        if let Some(change) = self.change_mode.as_ref().filter(|_| kind != Kind::Symlink) {
            entry.mode = change(entry.mode);
        }
        if self.columns.hard_links && kind != Kind::Dir {
            entry.inode = Some(Inode { dev: stat.dev, ino: stat.ino, shared: stat.links > 1 });
        }
        if kind == Kind::Symlink && self.columns.links && !self.read_target(spot, entry) {
            return false;
        }
        if kind == Kind::File && self.columns.checksum.is_some() {
            self.read_digest(spot, entry);
        }
        if let Some(attributes) = &mut self.attributes
            && let Err(error) = attributes.read(spot.dir, spot.name, entry)
        {
            self.report_missing(spot, &error);
            return false;
        }
        self.can_travel(spot, entry)
    }

    /// Whether the name and the target can be converted for the wire (`--iconv`).
    fn can_travel(&self, spot: Spot<'_>, entry: &Entry) -> bool {
        let Some(conversion) = self.session.conversion() else { return true };
        let message = match conversion.to_wire(spot.path, &entry.target) {
            Ok(_) => return true,
            Err(Unconverted::Name(why)) => Message::UnconvertibleName(Role::Sender, spot.path, why),
            Err(Unconverted::Target(why)) => {
                Message::UnconvertibleTarget(Role::Sender, self.place(spot), why)
            }
        };
        self.io_error(IoErrorFlags::GENERAL);
        self.say(message);
        false
    }

    fn read_target(&self, spot: Spot<'_>, entry: &mut Entry) -> bool {
        match spot.dir.read_link(spot.name) {
            Ok(target) if target.is_empty() => {
                self.io_error(IoErrorFlags::GENERAL);
                self.say(Message::EmptySymlink(self.place(spot)));
                false
            }
            Ok(target) => {
                let plain =
                    target.strip_prefix(MUNGE_PREFIX).filter(|plain| self.munges && !plain.is_empty());
                entry.target.extend_from_slice(plain.unwrap_or(&target));
                true
            }
            Err(error) => {
                self.report_missing(spot, &error);
                false
            }
        }
    }

    /// Hashes the content; a file that cannot be read keeps an empty digest and is sent as usual.
    fn read_digest(&mut self, spot: Spot<'_>, entry: &mut Entry) {
        let mut digest = Digest::pre_transfer(self.session.negotiated.checksum.pre_transfer);
        let follow = self.follows_links();
        self.buffer.resize(READ_SIZE, 0);
        let Ok(content) = spot.dir.open(spot.name, follow) else { return };
        let mut offset = 0;
        while offset < entry.size {
            match content.read_at(&mut self.buffer, offset) {
                Ok(0) => break,
                Ok(length) => {
                    digest.update(&self.buffer[..length]);
                    offset += length as u64;
                }
                Err(_) => return,
            }
        }
        entry.digest.extend_from_slice(&digest.finish());
    }

    /// Reports an entry that cannot be looked at: it vanished, or something worse happened.
    fn report_missing(&self, spot: Spot<'_>, error: &io::Error) {
        if let Some(corrupt) = CorruptStat::of(error) {
            self.io_error(IoErrorFlags::GENERAL);
            self.session.say_corrupt(self.place(spot), corrupt);
        } else if is_errno(error, Errno::NOENT) {
            self.io_error(IoErrorFlags::VANISHED);
            self.say(Message::FileVanished(self.place(spot)));
        } else {
            self.io_error(IoErrorFlags::GENERAL);
            self.fail(Failure::ReadlinkStat(self.place(spot)), error);
        }
    }

    pub(super) fn io_error(&self, flags: IoErrorFlags) {
        self.session.errors.add_io_error(flags);
    }

    pub(super) fn place<'a>(&'a self, spot: Spot<'a>) -> Place<'a> {
        self.place_at(spot.root, spot.path)
    }

    pub(super) fn place_at<'a>(&'a self, root: &'a [u8], name: &'a [u8]) -> Place<'a> {
        Place { root, name, module: self.module.as_deref() }
    }

    pub(super) fn fail(&self, failure: Failure<'_>, error: &io::Error) {
        let errno = error.raw_os_error().unwrap_or_else(|| Errno::INVAL.raw_os_error());
        self.say(Message::Failed(SystemFailure { role: Role::Sender, failure, errno }));
    }

    pub(super) fn say(&self, message: Message<'_>) {
        if message.severity() == Severity::TransferError {
            self.session.errors.transfer_error();
        }
        if self.session.events.wants(message.topic()) {
            self.session.events.emit(Event::Message(message));
        }
    }
}

/// Lists a device as a regular file of its length, modified now (`--copy-devices`).
fn send_device_as_file(spot: Spot<'_>, follow: bool, entry: &mut Entry) -> io::Result<()> {
    entry.size = spot.dir.open(spot.name, follow)?.stat()?.size;
    entry.mode = REGULAR | entry.mode & DEVICE_PERMISSIONS;
    entry.rdev = DeviceNumber::default();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    entry.mtime = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    entry.nsec = 0;
    Ok(())
}

pub(super) fn is_errno(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}
