//! Sets the attributes of one file, in the order that survives (spec 04 §8.1).

use std::io;

use rsync_proto::flist::{EntryFlags, EntryRef, Kind};
use rsync_proto::meta::AclKind;
use rsync_proto::options::TransferOptions;
use rsync_proto::text::{Failure, Place};

use super::{Privilege, WantedAcls, creation_limit, fake_super};
use crate::confine::{Dir, Pinned, Stat};
use crate::generate::judge::{Time, Wanted, keeps_time, mtime, same_time};

/// How times are compared before they are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Times {
    /// Equal within `--modify-window` is equal: the file was not transferred.
    Window,
    /// Exactly, nanoseconds included: its content just came.
    Exact,
    /// Not at all: what was kept failed its verification.
    Keep,
}

/// Sets attributes according to the options and rights of a session.
#[derive(Clone, Debug)]
pub(crate) struct Attributes {
    privilege: Privilege,
    perms: bool,
    executability: bool,
    owner: bool,
    group: bool,
    atimes: bool,
    window: i32,
}

/// A step of setting attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Looking at the file.
    Stat,
    /// The owner, perhaps with the group.
    Owner,
    /// The group alone.
    Group,
    /// The times.
    Times,
    /// An ACL.
    Acl(AclKind),
    /// What is told of the file (`--fake-super`).
    FakeStat,
    /// The permissions.
    Permissions,
}

impl Step {
    /// How a failure of this step is reported about `place`.
    pub(crate) fn failure(self, place: Place<'_>) -> Failure<'_> {
        match self {
            Self::Stat => Failure::Stat(place),
            Self::Owner => Failure::Chown(place),
            Self::Group => Failure::Chgrp(place),
            Self::Times => Failure::SetTimes(place),
            Self::Acl(AclKind::Access) => Failure::SetAcl(place.name, "ACL_TYPE_ACCESS"),
            Self::Acl(AclKind::Default) => Failure::SetAcl(place.name, "ACL_TYPE_DEFAULT"),
            Self::FakeStat => Failure::WriteFakeStat(place),
            Self::Permissions => Failure::SetPermissions(place),
        }
    }
}

/// A file, and what it shall become.
pub(crate) struct Change<'a> {
    pub(crate) entry: &'a EntryRef<'a>,
    /// The file as it is.
    pub(crate) current: &'a Stat,
    pub(crate) wanted: &'a Wanted,
    pub(crate) acls: WantedAcls,
    pub(crate) times: Times,
}

impl Attributes {
    /// For the options and the process of this session.
    pub(crate) fn new(options: &TransferOptions) -> Self {
        Self {
            privilege: Privilege::of_process(options),
            perms: options.perms,
            executability: options.executability,
            owner: options.owner,
            group: options.group,
            atimes: options.atimes > 0,
            window: options.modify_window,
        }
    }

    /// The rights of this process.
    pub(crate) fn privilege(&self) -> &Privilege {
        &self.privilege
    }

    /// What this side takes `name` in `dir` for.
    pub(crate) fn stat_in(&self, dir: &Dir, name: &[u8]) -> io::Result<Stat> {
        if self.privilege.fake { fake_super::stat_in(dir, name) } else { dir.stat(name) }
    }

    /// What this side takes a held file for.
    pub(crate) fn stat_of(&self, file: &Pinned<'_>) -> io::Result<Stat> {
        if self.privilege.fake { fake_super::stat_of(file) } else { file.stat() }
    }

    /// The target of what this side takes for a symlink.
    pub(crate) fn read_link(&self, dir: &Dir, name: &[u8]) -> io::Result<Vec<u8>> {
        if self.privilege.fake { fake_super::read_link(dir, name) } else { dir.read_link(name) }
    }

    /// What `entry` shall have; `existing` is what was there before this run, if its permissions
    /// are to be kept without `-p`; `parent` is the directory it is made in, if that is known and
    /// exists (spec 04 §5.1).
    pub(crate) fn wanted(
        &self,
        entry: &EntryRef<'_>,
        existing: Option<&Stat>,
        parent: Option<&Dir>,
    ) -> Wanted {
        let listed = entry.mode() & 0o7777;
        let mode = match existing {
            _ if self.perms => listed,
            Some(stat) if self.executability && entry.kind() == Kind::File => {
                with_executability(stat.mode & 0o7777, listed)
            }
            Some(stat) => stat.mode & 0o7777,
            None => {
                let limit = parent.and_then(creation_limit);
                listed & 0o777 & limit.unwrap_or(!self.privilege.umask)
            }
        };
        Wanted {
            mode,
            uid: (self.owner && self.privilege.privileged).then(|| entry.uid()),
            gid: (self.group && !entry.flags().has(EntryFlags::SKIP_GROUP)).then(|| entry.gid()),
        }
    }

    /// Whether anything but an ACL or an extended attribute would have to be changed.
    pub(crate) fn differ(&self, change: &Change<'_>, options: &TransferOptions) -> bool {
        let Change { entry, current, wanted, .. } = change;
        let has_permissions = self.privilege.fake || entry.kind() != Kind::Symlink;
        let permissions = has_permissions && (current.mode ^ wanted.mode) & 0o7777 != 0;
        // A file that has just been made to stand for something else does not tell so yet.
        let stands = self.privilege.fake && current.kind() != entry.kind();
        let (mtime, atime) = self.times(change, options);
        permissions
            || stands
            || mtime.is_some()
            || atime.is_some()
            || wanted.uid.is_some_and(|uid| uid != current.uid)
            || wanted.gid.is_some_and(|gid| gid != current.gid)
    }

    /// Brings `file` to what is wanted, and answers whether anything was changed. `set_xattrs` is
    /// called at its place in the order: owners clear some attributes, and permissions may prevent
    /// setting them; it answers the same.
    ///
    /// A failed owner or time ends the work on the file, a failed ACL does not.
    pub(crate) fn apply(
        &self,
        file: &Pinned<'_>,
        change: &Change<'_>,
        options: &TransferOptions,
        set_xattrs: impl FnOnce(&Pinned<'_>) -> bool,
        report: &mut dyn FnMut(Step, io::Error),
    ) -> bool {
        let Change { entry, current, wanted, acls, .. } = change;
        let mut mode = current.mode;
        let mut changed = false;
        if self.privilege.fake {
            match fake_super::apply(file, entry, wanted, current) {
                Ok(did) => changed |= did,
                Err(error) => report(Step::FakeStat, error),
            }
            mode = wanted.mode;
        }
        let owners = !self.privilege.fake;
        let uid = wanted.uid.filter(|&uid| owners && uid != current.uid);
        let gid = wanted.gid.filter(|&gid| owners && gid != current.gid);
        if uid.is_some() || gid.is_some() {
            let step = if uid.is_some() { Step::Owner } else { Step::Group };
            if let Err(error) = file.chown(uid, gid) {
                report(step, error);
                return changed;
            }
            changed = true;
            if mode & 0o6000 != 0 && !refresh(file, &mut mode, report) {
                return changed;
            }
        }
        changed |= set_xattrs(file);
        let (mtime, atime) = self.times(change, options);
        if mtime.is_some() || atime.is_some() {
            if let Err(error) = file.set_times(mtime, atime) {
                report(Step::Times, error);
                return changed;
            }
            changed = true;
        }
        match acls.apply(file, mode, wanted.mode) {
            Ok(false) => {}
            Ok(true) => {
                changed = true;
                if owners && !refresh(file, &mut mode, report) {
                    return changed;
                }
            }
            Err((kind, error)) => report(Step::Acl(kind), error),
        }
        if owners && entry.kind() != Kind::Symlink && (mode ^ wanted.mode) & 0o7777 != 0 {
            match file.chmod(wanted.mode) {
                Ok(()) => changed = true,
                Err(error) => report(Step::Permissions, error),
            }
        }
        changed
    }

    /// The modification and access times to set.
    fn times(&self, change: &Change<'_>, options: &TransferOptions) -> (Option<Time>, Option<Time>) {
        let Change { entry, current, .. } = change;
        let equal = |now, then| match change.times {
            Times::Window => same_time(self.window, now, then),
            Times::Exact => now == then,
            Times::Keep => true,
        };
        let listed = Some(mtime(entry));
        let listed = listed.filter(|&mtime| keeps_time(entry, options) && !equal(current.mtime, mtime));
        let atime =
            entry.atime().filter(|_| self.atimes && entry.kind() != Kind::Dir).map(|atime| (atime, 0));
        (listed, atime.filter(|&atime| !equal(current.atime, atime)))
    }
}

/// Looks at the permissions again.
fn refresh(file: &Pinned<'_>, mode: &mut u32, report: &mut dyn FnMut(Step, io::Error)) -> bool {
    match file.stat() {
        Ok(stat) => {
            *mode = stat.mode;
            true
        }
        Err(error) => {
            report(Step::Stat, error);
            false
        }
    }
}

/// `--executability`: the x bits follow the r bits if the sender's file has any (spec 04 §5.1).
fn with_executability(current: u32, listed: u32) -> u32 {
    if listed & 0o111 == 0 {
        current & !0o111
    } else if current & 0o111 == 0 {
        current | (current & 0o444) >> 2
    } else {
        current
    }
}
