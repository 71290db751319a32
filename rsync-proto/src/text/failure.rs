//! System call failures: `rsync: [ROLE] TEXT: STRERROR (ERRNO)` (spec 07 §0).

use std::io;

use super::event::{Role, Severity};
use super::message::append;
use super::place::Place;

/// A system call that failed, with everything its line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemFailure<'a> {
    /// Who met it.
    pub role: Role,
    /// What was attempted, on which file.
    pub failure: Failure<'a>,
    /// The error number.
    pub errno: i32,
}

impl SystemFailure<'_> {
    /// Appends the line, without a line feed, to `out`.
    pub fn render(&self, out: &mut Vec<u8>) {
        append(out, &[b"rsync: [", self.role.name().as_bytes(), b"] "]);
        self.failure.render(out);
        append(out, &[b": ", describe_errno(self.errno).as_bytes()]);
    }
}

/// The system's text for `errno` with the number: `No such file or directory (2)`.
#[must_use]
pub fn describe_errno(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    let plain = text.split(" (os error").next().unwrap_or_default();
    format!("{plain} ({errno})")
}

/// What was attempted when a system call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure<'a> {
    /// A source argument cannot be looked at.
    LinkStat(Place<'a>),
    /// A directory cannot be read.
    Opendir(Place<'a>),
    /// Reading a directory broke off.
    Readdir(Place<'a>),
    /// An entry of the source or its link target cannot be read.
    ReadlinkStat(Place<'a>),
    /// A source directory cannot be entered.
    ChangeDir(Place<'a>),
    /// A destination (1 existing, 2 just made, 3 parent of a file) or server argument (4) cannot be entered.
    ChangeDirStep(u8, Place<'a>),
    /// A source file cannot be opened.
    OpenSource(Place<'a>),
    /// A source file cannot be read to its end.
    ReadSource(Place<'a>),
    /// `--remove-source-files`: the verb is `secure-open-parent`, `re-lstat` or `remove`.
    RemoveSource(&'a str, &'a [u8]),
    /// The destination argument cannot be looked at.
    StatDestination(Place<'a>),
    /// The destination argument cannot be made.
    MakeDestination(Place<'a>),
    /// A directory cannot be made.
    MakeDir(Place<'a>),
    /// A destination file cannot be looked at by the generator.
    StatTarget(Place<'a>),
    /// A symbolic link with this target cannot be made.
    Symlink(Place<'a>, &'a [u8]),
    /// A device or special file cannot be made.
    Mknod(Place<'a>),
    /// The temporary name of a symlink, special or hard link cannot be renamed.
    RenameTemp(Place<'a>, Place<'a>),
    /// A hard link to an earlier member of the group cannot be made.
    Link(Place<'a>, &'a [u8]),
    /// A basis file cannot be opened; the file is sent whole.
    OpenBasis(Place<'a>),
    /// A directory cannot be made writable while its contents change.
    ModifyPermissions(Place<'a>),
    /// Deleting failed; the operation is `unlink`, `rmdir` or `make_backup`.
    Delete(&'a str, &'a [u8]),
    /// The temporary file cannot be made.
    Mkstemp(Place<'a>),
    /// The file to update in place cannot be opened.
    OpenTarget(Place<'a>),
    /// A just opened file cannot be looked at.
    Fstat(Place<'a>),
    /// Writing file data failed.
    Write(Place<'a>),
    /// Closing a written file failed.
    Close(Place<'a>),
    /// `--fsync` failed.
    Fsync(Place<'a>),
    /// Seeking in an appended file returned the first instead of the second offset.
    Seek(Place<'a>, i64, i64),
    /// The written file cannot be cut to its length.
    Truncate(Place<'a>),
    /// `--preallocate` failed.
    Preallocate(Place<'a>),
    /// The finished temporary file cannot be renamed to this name.
    Rename(Place<'a>, &'a [u8]),
    /// The finished temporary file cannot be copied to this name on another file system.
    CopyAcross(Place<'a>, &'a [u8]),
    /// `--delay-updates`: this file cannot be renamed from this partial file.
    RenameDelayed(Place<'a>, &'a [u8]),
    /// The owner cannot be changed.
    Chown(Place<'a>),
    /// The group cannot be changed.
    Chgrp(Place<'a>),
    /// The permissions cannot be changed.
    SetPermissions(Place<'a>),
    /// The times cannot be changed.
    SetTimes(Place<'a>),
    /// An entry cannot be looked at again before its attributes are set.
    Stat(Place<'a>),
    /// The copy that is to be a backup cannot be made.
    OpenBackup(Place<'a>),
    /// The fallback copy to this backup name failed.
    KeepBackup(Place<'a>, &'a [u8]),
    /// A directory for backups cannot be made.
    MakeBackupDir(&'a [u8]),
    /// The ACL of this file and kind (`ACL_TYPE_ACCESS`, `ACL_TYPE_DEFAULT`) cannot be set.
    SetAcl(&'a [u8], &'static str),
    /// An extended attribute of this path (first) with this name (second) cannot be set.
    SetXattr(&'a [u8], &'a [u8]),
    /// An extended attribute of this path (first) with this name (second) cannot be removed.
    RemoveXattr(&'a [u8], &'a [u8]),
    /// The fake-super attribute of a file cannot be written.
    WriteFakeStat(Place<'a>),
    /// A log file cannot be opened.
    OpenLog(&'a [u8]),
    /// A batch file cannot be opened.
    OpenBatch(&'a [u8]),
    /// A password file cannot be opened.
    OpenPasswordFile(&'a [u8]),
    /// A file given on the command line cannot be opened.
    Open(&'a [u8]),
    /// A program cannot be started.
    Exec(&'a [u8]),
}

impl Failure<'_> {
    /// Appends the text between role and system error to `out`.
    pub fn render(&self, out: &mut Vec<u8>) {
        match *self {
            Self::LinkStat(place) => around(out, "link_stat ", place, " failed"),
            Self::Opendir(place) => around(out, "opendir ", place, " failed"),
            Self::Readdir(place) => around(out, "readdir(", place, ")"),
            Self::ReadlinkStat(place) => around(out, "readlink_stat(", place, ") failed"),
            Self::ChangeDir(place) => around(out, "change_dir ", place, " failed"),
            Self::ChangeDirStep(step, place) => around(out, &format!("change_dir#{step} "), place, " failed"),
            Self::OpenSource(place) => around(out, "send_files failed to open ", place, ""),
            Self::ReadSource(place) => around(out, "read errors mapping ", place, ""),
            Self::RemoveSource(verb, name) => {
                append(out, &[b"sender failed to ", verb.as_bytes(), b" ", name]);
            }
            Self::StatDestination(place) => around(out, "ERROR: cannot stat destination ", place, ""),
            Self::MakeDestination(place) => around(out, "mkdir ", place, " failed"),
            Self::MakeDir(place) => around(out, "recv_generator: mkdir ", place, " failed"),
            Self::StatTarget(place) => around(out, "recv_generator: failed to stat ", place, ""),
            Self::Symlink(place, target) => {
                around(out, "symlink ", place, " -> \"");
                append(out, &[target, b"\" failed"]);
            }
            Self::Mknod(place) => around(out, "mknod ", place, " failed"),
            Self::RenameTemp(from, to) => {
                around(out, "rename ", from, " -> ");
                around(out, "", to, " failed");
            }
            Self::Link(place, old) => {
                around(out, "link ", place, " => ");
                append(out, &[old, b" failed"]);
            }
            Self::OpenBasis(place) => around(out, "failed to open ", place, ", continuing"),
            Self::ModifyPermissions(place) => around(out, "failed to modify permissions on ", place, ""),
            Self::Delete(operation, name) => {
                append(out, &[b"delete_file: ", operation.as_bytes(), b"(", name, b") failed"]);
            }
            Self::Mkstemp(place) => around(out, "mkstemp ", place, " failed"),
            Self::OpenTarget(place) => around(out, "open ", place, " failed"),
            Self::Fstat(place) => around(out, "fstat ", place, " failed"),
            Self::Write(place) => around(out, "write failed on ", place, ""),
            Self::Close(place) => around(out, "close failed on ", place, ""),
            Self::Fsync(place) => around(out, "fsync failed on ", place, ""),
            Self::Seek(place, got, wanted) => {
                around(out, "lseek of ", place, &format!(" returned {got}, not {wanted}"));
            }
            Self::Truncate(place) => around(out, "ftruncate failed on ", place, ""),
            Self::Preallocate(place) => around(out, "do_fallocate ", place, ""),
            Self::Rename(place, to) => around_to(out, "rename ", place, to),
            Self::CopyAcross(place, to) => around_to(out, "copy ", place, to),
            Self::RenameDelayed(place, partial) => {
                around(out, "rename failed for ", place, " (from ");
                append(out, &[partial, b")"]);
            }
            Self::Chown(place) => around(out, "chown ", place, " failed"),
            Self::Chgrp(place) => around(out, "chgrp ", place, " failed"),
            Self::SetPermissions(place) => around(out, "failed to set permissions on ", place, ""),
            Self::SetTimes(place) => around(out, "failed to set times on ", place, ""),
            Self::Stat(place) => around(out, "stat ", place, " failed"),
            Self::OpenBackup(place) => around(out, "open ", place, ""),
            Self::KeepBackup(place, backup) => around_to(out, "keep_backup failed: ", place, backup),
            Self::MakeBackupDir(dir) => append(out, &[b"backup mkdir ", dir, b" failed"]),
            Self::SetAcl(name, kind) => {
                append(out, &[b"set_acl: xacl_set(", name, b", ", kind.as_bytes(), b")"]);
            }
            Self::SetXattr(path, name) => {
                append(out, &[b"rsync_xal_set: fsetxattr(\"", path, b"\",\"", name, b"\") failed"]);
            }
            Self::RemoveXattr(path, name) => {
                append(out, &[b"rsync_xal_clear: fremovexattr(\"", path, b"\",\"", name, b"\") failed"]);
            }
            Self::WriteFakeStat(place) => {
                around(out, "failed to write xattr user.rsync.%stat for ", place, "")
            }
            Self::OpenLog(path) => append(out, &[b"failed to open log-file ", path]),
            Self::OpenBatch(path) => append(out, &[b"Batch file \"", path, b"\" open error"]),
            Self::OpenPasswordFile(path) => append(out, &[b"could not open password file ", path]),
            Self::Open(path) => append(out, &[b"failed to open ", path]),
            Self::Exec(program) => append(out, &[b"Failed to exec ", program]),
        }
    }

    /// How the line is classified (spec 07 §0); fatal ones are errors and end the session.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::OpenBasis(_) | Self::KeepBackup(..) | Self::MakeBackupDir(_) => Severity::Error,
            Self::Preallocate(_) => Severity::Warning,
            Self::ChangeDirStep(..)
            | Self::StatDestination(_)
            | Self::MakeDestination(_)
            | Self::Write(_)
            | Self::Close(_)
            | Self::Fsync(_)
            | Self::Seek(..)
            | Self::OpenLog(_)
            | Self::OpenBatch(_)
            | Self::OpenPasswordFile(_)
            | Self::Open(_)
            | Self::Exec(_) => Severity::Error,
            _ => Severity::TransferError,
        }
    }
}

fn around(out: &mut Vec<u8>, before: &str, place: Place<'_>, after: &str) {
    out.extend_from_slice(before.as_bytes());
    place.render(out);
    out.extend_from_slice(after.as_bytes());
}

fn around_to(out: &mut Vec<u8>, before: &str, place: Place<'_>, to: &[u8]) {
    around(out, before, place, " -> \"");
    append(out, &[to, b"\""]);
}
