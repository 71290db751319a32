//! Sets the attributes of one name, in the order that survives (spec 04 §8.1).

use std::io;

use rsync_proto::flist::{EntryFlags, EntryRef, Kind};
use rsync_proto::options::TransferOptions;
use rsync_proto::text::{Failure, Place};

use super::Privilege;
use crate::confine::{Pinned, Stat};
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

    /// Brings an entry's file, which is now as `current` says, to what is wanted; `pin` finds the file
    /// if anything has to be done. Answers whether anything was changed.
    ///
    /// # Errors
    /// The first step that failed; later ones were not tried.
    pub(crate) fn apply<'p>(
        &self,
        pin: impl FnOnce() -> io::Result<Pinned<'p>>,
        entry: &EntryRef<'_>,
        current: &Stat,
        wanted: &Wanted,
        (times, options): (Times, &TransferOptions),
    ) -> Result<bool, ApplyError> {
        let uid = wanted.uid.filter(|&uid| uid != current.uid);
        let gid = wanted.gid.filter(|&gid| gid != current.gid);
        let (mtime, atime) = self.stale_times(entry, current, (times, options));
        let chowns = uid.is_some() || gid.is_some();
        let sets_times = mtime.is_some() || atime.is_some();
        let has_mode = entry.kind() != Kind::Symlink;
        if !(chowns || sets_times || has_mode && mode_differs(current, wanted)) {
            return Ok(false);
        }
        let file = pin().map_err(|error| (Step::Stat, error))?;
        let mut current = *current;
        if chowns {
            let step = if uid.is_some() { Step::Owner } else { Step::Group };
            file.chown(uid, gid).map_err(|error| (step, error))?;
            if current.mode & 0o6000 != 0 {
                current = file.stat().map_err(|error| (Step::Stat, error))?;
            }
        }
        if sets_times {
            file.set_times(mtime, atime).map_err(|error| (Step::Times, error))?;
        }
        if has_mode && mode_differs(&current, wanted) {
            file.chmod(wanted.mode).map_err(|error| (Step::Permissions, error))?;
        }
        Ok(true)
    }

    /// The times that have to be set: modification and access.
    fn stale_times(
        &self,
        entry: &EntryRef<'_>,
        current: &Stat,
        (times, options): (Times, &TransferOptions),
    ) -> (Option<Time>, Option<Time>) {
        let equal = |now, then| match times {
            Times::Window => same_time(self.window, now, then),
            Times::Exact => now == then,
            Times::Keep => true,
        };
        let listed = Some(mtime(entry)).filter(|_| keeps_time(entry, options));
        let atime =
            entry.atime().filter(|_| self.atimes && entry.kind() != Kind::Dir).map(|atime| (atime, 0));
        (
            listed.filter(|&listed| !equal(current.mtime, listed)),
            atime.filter(|&atime| !equal(current.atime, atime)),
        )
    }
}

fn mode_differs(current: &Stat, wanted: &Wanted) -> bool {
    (current.mode ^ wanted.mode) & 0o7777 != 0
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
