//! Decides what happens to an entry: pure functions over (entry, stat, options) (spec 07 §4, 04 §8.2).
//!
//! The generator carries the decisions out; a dry run takes the same ones.

use rsync_proto::flist::{EntryRef, Kind};
use rsync_proto::options::{Append, TransferOptions};
use rsync_proto::phase::ItemFlags;

use crate::confine::Stat;

/// A point in time: seconds since 1970 and nanoseconds.
pub(crate) type Time = (i64, u32);

/// The modification time the sender listed.
pub(crate) fn mtime(entry: &EntryRef<'_>) -> Time {
    (entry.mtime(), entry.nsec())
}

/// Whether two times count as equal within `--modify-window` (spec 07 §4).
pub(crate) fn same_time(window: i32, a: Time, b: Time) -> bool {
    match window {
        0 => a.0 == b.0,
        ..0 => a == b,
        1.. => a.0.abs_diff(b.0) <= window.unsigned_abs().into(),
    }
}

/// The attributes an entry shall have here, after `--chmod`, id mapping and the umask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Permission bits (07777).
    pub(crate) mode: u32,
    /// The owner, if owners are set.
    pub(crate) uid: Option<u32>,
    /// The group, if this group can be set.
    pub(crate) gid: Option<u32>,
}

/// Whether the content of a regular file is taken to be that of the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuickCheck {
    /// Nothing to transfer.
    Same,
    /// Transfer it.
    Differs,
    /// Compare digests: sizes are equal and `--checksum` is on.
    CompareDigests,
}

/// The quick check of a regular file against the file at its destination (spec 07 §4).
pub(crate) fn quick_check(entry: &EntryRef<'_>, stat: &Stat, options: &TransferOptions) -> QuickCheck {
    if stat.size != entry.size() {
        QuickCheck::Differs
    } else if options.checksum {
        QuickCheck::CompareDigests
    } else if options.size_only {
        QuickCheck::Same
    } else if options.ignore_times {
        QuickCheck::Differs
    } else if same_time(options.modify_window, stat.mtime, mtime(entry)) {
        QuickCheck::Same
    } else {
        QuickCheck::Differs
    }
}

/// Why a regular file is left alone although it may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// Larger than `--max-size`.
    OverMaxSize,
    /// Smaller than `--min-size`.
    UnderMinSize,
    /// The destination is newer and `--update` is on.
    Newer,
}

/// The limits that a regular file must pass before it is compared (spec 07 §3 "Regular file" 1, 2).
pub(crate) fn passed_over(
    entry: &EntryRef<'_>,
    regular_at_destination: Option<&Stat>,
    options: &TransferOptions,
) -> Option<Passed> {
    if options.max_size.is_some_and(|limit| entry.size() > limit) {
        return Some(Passed::OverMaxSize);
    }
    if options.min_size.is_some_and(|limit| entry.size() < limit) {
        return Some(Passed::UnderMinSize);
    }
    let stat = regular_at_destination?;
    let (source, destination) = (entry.mtime(), stat.mtime.0);
    if options.update && source.saturating_sub(destination) < i64::from(options.modify_window) {
        return Some(Passed::Newer);
    }
    None
}

/// Whether `--append` leaves a file alone: what is there is not shorter.
pub(crate) fn nothing_to_append(entry: &EntryRef<'_>, stat: &Stat, options: &TransferOptions) -> bool {
    options.append != Append::Off && stat.size >= entry.size()
}

/// Whether times of this entry are kept: `-t`, and neither `-O` for it nor `-J`.
pub(crate) fn keeps_time(entry: &EntryRef<'_>, options: &TransferOptions) -> bool {
    options.times
        && !(entry.is_dir() && options.omit_dir_times)
        && !((entry.kind() == Kind::Symlink) && options.omit_link_times)
}

/// What differs between an entry and what is at its destination (spec 04 §8.2). `change` holds the
/// flags the caller knows: TRANSFER or LOCAL_CHANGE, REPORT_CHANGE, and what follows.
pub(crate) fn item_flags(
    entry: &EntryRef<'_>,
    stat: Option<&Stat>,
    wanted: &Wanted,
    change: ItemFlags,
    options: &TransferOptions,
) -> ItemFlags {
    let Some(stat) = stat else { return change | ItemFlags::IS_NEW };
    let mut flags = change;
    let mut report = |differs: bool, flag: ItemFlags| {
        if differs {
            flags |= flag;
        }
    };
    report((entry.kind() == Kind::File) && stat.size != entry.size(), ItemFlags::REPORT_SIZE);
    let changed = change.intersects(ItemFlags::TRANSFER | ItemFlags::LOCAL_CHANGE);
    let time_differs = if keeps_time(entry, options) {
        !same_time(options.modify_window, stat.mtime, mtime(entry))
    } else {
        changed && !entry.is_dir()
    };
    report(time_differs, ItemFlags::REPORT_TIME);
    if let Some(atime) = entry.atime().filter(|_| options.atimes > 0) {
        let relevant = !entry.is_dir() && !(entry.kind() == Kind::Symlink);
        let differs = !same_time(options.modify_window, stat.atime, (atime, 0));
        report(relevant && differs, ItemFlags::REPORT_ATIME);
    }
    let mode_differs = if options.perms {
        (stat.mode ^ wanted.mode) & 0o7777 != 0
    } else {
        options.executability
            && (entry.kind() == Kind::File)
            && (stat.mode & 0o111 == 0) != (wanted.mode & 0o111 == 0)
    };
    report(mode_differs, ItemFlags::REPORT_PERMS);
    report(wanted.uid.is_some_and(|uid| uid != stat.uid), ItemFlags::REPORT_OWNER);
    report(wanted.gid.is_some_and(|gid| gid != stat.gid), ItemFlags::REPORT_GROUP);
    if changed && entry.is_dir() && !keeps_time(entry, options) && flags != change {
        flags |= ItemFlags::REPORT_TIME;
    }
    flags
}
