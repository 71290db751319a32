//! Sets the attributes of one name, in the order that survives (spec 04 §8.1).

use std::io;

use rsync_proto::flist::{EntryFlags, EntryRef, Kind};
use rsync_proto::options::TransferOptions;
use rsync_proto::text::{Failure, Place};

use super::Privilege;
use crate::confine::{Dir, Stat};
use crate::generate::judge::{Wanted, keeps_time, mtime, same_time};

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
            Self::Permissions => Failure::SetPermissions(place),
        }
    }
}

/// What could not be set, and why.
pub(crate) type ApplyError = (Step, io::Error);

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

    /// What `entry` shall have; `existing` is what was there before this run, if its permissions
    /// are to be kept without `-p` (spec 04 §5.1).
    pub(crate) fn wanted(&self, entry: &EntryRef<'_>, existing: Option<&Stat>) -> Wanted {
        let listed = entry.mode() & 0o7777;
        let mode = match existing {
            _ if self.perms => listed,
            Some(stat) if self.executability && entry.kind() == Kind::File => {
                with_executability(stat.mode & 0o7777, listed)
            }
            Some(stat) => stat.mode & 0o7777,
            None => listed & 0o777 & !self.privilege.umask,
        };
        Wanted {
            mode,
            uid: (self.owner && self.privilege.privileged).then(|| entry.uid()),
            gid: (self.group && !entry.flags().has(EntryFlags::SKIP_GROUP)).then(|| entry.gid()),
        }
    }

    /// Brings `name` in `dir`, which is now as `current` says, to what is wanted. Answers whether
    /// anything was changed.
    ///
    /// # Errors
    /// The first step that failed; later ones were not tried.
    pub(crate) fn apply(
        &self,
        dir: &Dir,
        name: &[u8],
        entry: &EntryRef<'_>,
        current: &Stat,
        wanted: &Wanted,
        (times, options): (Times, &TransferOptions),
    ) -> Result<bool, ApplyError> {
        let mut current = *current;
        let mut changed = false;
        let uid = wanted.uid.filter(|&uid| uid != current.uid);
        let gid = wanted.gid.filter(|&gid| gid != current.gid);
        if uid.is_some() || gid.is_some() {
            let step = if uid.is_some() { Step::Owner } else { Step::Group };
            dir.chown(name, uid, gid).map_err(|error| (step, error))?;
            changed = true;
            if current.mode & 0o6000 != 0 {
                current = dir.stat(name).map_err(|error| (Step::Stat, error))?;
            }
        }
        changed |= self.apply_times(dir, name, entry, &current, (times, options))?;
        if entry.kind() != Kind::Symlink && (current.mode ^ wanted.mode) & 0o7777 != 0 {
            dir.chmod(name, wanted.mode).map_err(|error| (Step::Permissions, error))?;
            changed = true;
        }
        Ok(changed)
    }

    fn apply_times(
        &self,
        dir: &Dir,
        name: &[u8],
        entry: &EntryRef<'_>,
        current: &Stat,
        (times, options): (Times, &TransferOptions),
    ) -> Result<bool, ApplyError> {
        let equal = |now, then| match times {
            Times::Window => same_time(self.window, now, then),
            Times::Exact => now == then,
            Times::Keep => true,
        };
        let listed =
            Some(mtime(entry)).filter(|&mtime| keeps_time(entry, options) && !equal(current.mtime, mtime));
        let atime =
            entry.atime().filter(|_| self.atimes && entry.kind() != Kind::Dir).map(|atime| (atime, 0));
        let atime = atime.filter(|&atime| !equal(current.atime, atime));
        if listed.is_none() && atime.is_none() {
            return Ok(false);
        }
        dir.set_times(name, listed, atime).map_err(|error| (Step::Times, error))?;
        Ok(true)
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
