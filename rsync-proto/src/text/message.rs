//! The fixed texts of rsync, each of them once (spec 07 §3 to §14, `messages.tsv`).
//!
//! Texts come without a line feed and unescaped; the stream that prints them adds both. Texts of errors
//! found while decoding live with the decoders; texts about options live with the options.

use super::event::{EntryKind, Role, Severity, Topic};
use super::failure::{Failure, SystemFailure};
use super::place::Place;
use crate::charset::Unconvertible;
use crate::options::{Debug, Info};

/// Appends `parts` one after the other.
pub(super) fn append(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Why `--ignore-existing` passed over a file; shown from `--info=skip2` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExistsDetail {
    /// The types differ.
    TypeChange,
    /// The checksums differ (`--checksum`).
    SumChange,
    /// Size or time differ.
    FileChange,
    /// Only attributes differ.
    AttributeChange,
    /// Nothing differs.
    UpToDate,
}

/// What became of the data of a file whose checksum did not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is gone.
    Discarded,
    /// It stays in the file (`--inplace`).
    Retained,
    /// It is in the partial directory.
    PartialDir,
}

impl Kept {
    fn text(self) -> &'static str {
        match self {
            Self::Discarded => "discarded",
            Self::Retained => "retained",
            Self::PartialDir => "put into partial-dir",
        }
    }
}

/// A kind of directory given by option, as texts name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionDir {
    /// `--temp-dir`
    Temp,
    /// `--backup-dir`
    Backup,
}

/// One of rsync's fixed texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message<'a> {
    /// A system call failed.
    Failed(SystemFailure<'a>),

    /// Sender: an entry went away while the list was made, or before it was opened.
    FileVanished(Place<'a>),
    /// Sender: a directory went away before it was read.
    DirectoryVanished(Place<'a>),
    /// Sender: a link to be followed points nowhere.
    NoReferent(Place<'a>),
    /// Sender: a name does not fit into a path.
    OverlyLongName(&'a [u8]),
    /// Sender: the name below a directory does not fit into a path by so many bytes.
    PathOverflow(usize, &'a [u8]),
    /// A side (role) converts names to and from the charset of this name.
    Charset(Role, &'a [u8]),
    /// `--iconv`: a name cannot be converted.
    UnconvertibleName(Role, &'a [u8], Unconvertible),
    /// `--iconv`: the target of a symbolic link cannot be converted.
    UnconvertibleTarget(Role, Place<'a>, Unconvertible),
    /// Sender: a symbolic link with an empty target.
    EmptySymlink(Place<'a>),
    /// Sender: a directory without `-r` or `-d`.
    SkippingDirectory(&'a [u8]),
    /// Sender: an entry whose mode is 0.
    ZeroMode(Place<'a>),
    /// Sender: a mount point under `-xx`.
    SkippingMountPoint(&'a [u8]),
    /// Sender: an unsafe link (name, target) is copied as what it points to.
    CopyingUnsafeSymlink(&'a [u8], &'a [u8]),
    /// Sender, fatal: `..` in the part of a `-R` argument that is transferred.
    DotDotInRelativePath(&'a [u8]),
    /// Sender: a file to append is shorter than it was.
    DiminishedFile(Place<'a>),
    /// Sender, fatal: a device was requested without `--copy-devices`.
    DeviceWithoutCopyDevices,
    /// Sender: a source file was removed.
    SenderRemoved(&'a [u8]),
    /// Sender: a source file to be removed is gone already.
    SenderAlreadyRemoved(&'a [u8]),
    /// Sender: a source file to be removed changed since.
    RemoveChanged(&'a [u8]),
    /// Sender: a source file to be removed is the destination itself.
    RemoveDestination(&'a [u8]),
    /// Sender: the sums of all files: matches, hash hits, false alarms, literal bytes.
    MatchTotals {
        /// Blocks found.
        matches: u64,
        /// Weak sums found.
        hash_hits: u64,
        /// Weak sums found whose strong sum differed.
        false_alarms: u64,
        /// Literal bytes.
        data: u64,
    },

    /// Log file of a sender: the scan begins.
    BuildingFileList,
    /// Log file of a receiving side: the list begins.
    ReceivingFileList,
    /// The destination directory was made.
    CreatedDirectory(&'a [u8]),
    /// `--mkpath` made so many directories for this path.
    CreatedDirectories(usize, &'a [u8]),
    /// Fatal: several files for one name.
    DestinationMustBeDirectory,
    /// Fatal: a directory for a name that is no directory.
    DirectoryOverFile,
    /// Fatal: a slash after a name that is no directory.
    DestinationNotDirectory,
    /// Fatal: the daemon's filter hides the destination.
    DestinationExcluded(&'a [u8]),
    /// An alternate destination (option name, directory) does not exist.
    BasisDirMissing(&'a str, &'a [u8]),
    /// An alternate destination (option name, directory) is not a directory.
    BasisDirNotDirectory(&'a str, &'a [u8]),
    /// Fatal: a directory given by option is something else.
    OptionDirNotDirectory(OptionDir, &'a [u8]),
    /// Fatal: the directory for temporary files does not exist.
    TempDirMissing(&'a [u8]),
    /// A map of users or groups (option name) sends somebody to a name that nobody has here.
    UnknownMapName(&'static str, &'a [u8]),
    /// The directory for backups; whether it exists.
    BackupDir(&'a [u8], bool),

    /// Fatal: an entry (directory, base name) whose directory is not in the list.
    InvalidPath(&'a [u8], &'a [u8]),
    /// What was below a directory that could not be made is skipped.
    SkippingContents,
    /// The daemon's filter refuses an entry.
    DaemonRefused(&'a [u8], EntryKind),
    /// `--existing`: an entry is missing.
    NotCreating(&'a [u8], EntryKind),
    /// `--ignore-existing`: an entry exists.
    Exists(&'a [u8], Option<ExistsDetail>),
    /// `--update`: the destination is newer.
    IsNewer(&'a [u8]),
    /// `--max-size`
    OverMaxSize(&'a [u8]),
    /// `--min-size`
    UnderMinSize(&'a [u8]),
    /// A link, device or special file that was not asked for.
    SkippingNonRegular(&'a [u8]),
    /// `--safe-links`: a link (name, target) that leaves the tree.
    IgnoringUnsafeSymlink(&'a [u8], &'a [u8]),
    /// Nothing to do for a file; directories come with a slash.
    UpToDate(&'a [u8]),
    /// Only attributes of an entry were changed.
    AttributesChanged(&'a [u8]),
    /// What a generator below protocol 29 made or changed, as it shows it.
    Made(&'a [u8]),
    /// A socket cannot be made here.
    SkippingSocket(Place<'a>),
    /// A file has more blocks than can be counted; it is sent whole.
    TooLargeForSums(&'a [u8]),
    /// Something stays in the way of an entry of this kind.
    CouldNotMakeWay(EntryKind, &'a [u8]),
    /// Something stays in the way of a backup of this kind.
    CouldNotMakeWayForBackup(EntryKind, &'a [u8]),
    /// A directory is not empty.
    CannotDeleteNonEmpty(&'a [u8]),
    /// `-x`: a mount point stays.
    CannotDeleteMountPoint(&'a [u8]),
    /// The sender had I/O errors; nothing more is deleted.
    SkippingDeletion,
    /// `--max-delete` was reached; so many were skipped.
    DeletionsStopped(u64),
    /// A pass over the whole list deletes in and below this directory, which is that of an argument.
    DeletingIn(&'a [u8]),
    /// Something was deleted, as text; a directory gets a slash.
    Deleting(&'a [u8], bool),
    /// Decided deletions cannot be kept in a file; whether a pass at the end replaces them.
    DelayFileFailed {
        /// A pass at the end follows (the list is not incremental).
        continues_after: bool,
    },
    /// `--delete-missing-args`: no such parent in the list.
    ParentAbsent(&'a [u8]),
    /// Whether block matching is in use.
    DeltaTransmission(bool),
    /// A filter rule decided about a name: the text of [`Decision::trace`](crate::filter::Decision::trace).
    FilterTrace(&'a [u8]),
    /// `--fuzzy` chose this basis (second) for a file (first).
    FuzzyBasis(&'a [u8], &'a [u8]),
    /// `--fuzzy` measured how far a name is from the wanted one, in 65536ths; `None` is too far.
    FuzzyDistance(&'a [u8], Option<u32>),

    /// The name of a temporary file would be too long.
    TempNameTooLong(&'a [u8]),
    /// The file to write has become a directory.
    IsDirectory(Place<'a>),
    /// A checksum did not match; the file is tried again. In batch mode it only may be.
    VerificationRetry {
        /// The file.
        name: &'a [u8],
        /// What became of the data.
        kept: Kept,
        /// Whether the data comes from a batch.
        batch: bool,
    },
    /// A checksum did not match for the second time.
    VerificationFailed(&'a [u8], Kept),
    /// No place for the partial data of a file; whether it was complete.
    NoPartialDir(&'a [u8], bool),
    /// `--read-batch`: a file is in the batch but not wanted; whether as a resend.
    BatchSkipped(&'a [u8], bool),
    /// `--read-batch`: a file is wanted but not in the batch; whether as a resend.
    BatchMissing(&'a [u8], bool),
    /// `--read-batch`: an option was changed to what the file was written with; whether it is on now.
    BatchOption(&'static str, bool),
    /// Fatal: the daemon's filter hides a file that the peer wants to write.
    RequestExcluded(&'a [u8]),

    /// A file was backed up to this name.
    BackedUp(&'a [u8], &'a [u8]),
    /// The name of a backup would be too long.
    BackupNameTooLong,
    /// A special file is not backed up.
    BackupSkipsNonRegular(&'a [u8]),
    /// `--safe-links`: an unsafe link (name, target) is not backed up.
    BackupSkipsUnsafeSymlink(&'a [u8], &'a [u8]),
    /// A busy program (first) is renamed to this name.
    TextBusy(&'a [u8], &'a [u8]),
    /// The value of an extended attribute (first) never arrived for a path.
    MissingXattrValue(&'a [u8], &'a [u8]),
    /// The fake-super attribute of a path (first) does not parse.
    CorruptFakeStat(&'a [u8], &'a [u8]),

    /// The requested stop time was reached.
    StoppingAtLimit(Role),
    /// The peer was silent for so many seconds.
    IoTimeout(Role, u32),
}

impl Message<'_> {
    /// How the text is classified; fatal ones are errors, and end the session.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::Failed(failed) => failed.failure.severity(),
            Self::UpToDate(_) | Self::AttributesChanged(_) | Self::Deleting(..) => Severity::Client,
            Self::BuildingFileList | Self::ReceivingFileList => Severity::Log,
            Self::FileVanished(_)
            | Self::DirectoryVanished(_)
            | Self::DiminishedFile(_)
            | Self::BasisDirMissing(..)
            | Self::BasisDirNotDirectory(..)
            | Self::SkippingSocket(_)
            | Self::TooLargeForSums(_)
            | Self::DeletionsStopped(_)
            | Self::VerificationRetry { .. }
            | Self::TextBusy(..) => Severity::Warning,
            Self::DotDotInRelativePath(_)
            | Self::DeviceWithoutCopyDevices
            | Self::DestinationMustBeDirectory
            | Self::DirectoryOverFile
            | Self::DestinationNotDirectory
            | Self::DestinationExcluded(_)
            | Self::OptionDirNotDirectory(..)
            | Self::TempDirMissing(_)
            | Self::UnknownMapName(..)
            | Self::InvalidPath(..)
            | Self::SkippingContents
            | Self::ParentAbsent(_)
            | Self::NoPartialDir(..)
            | Self::RequestExcluded(_)
            | Self::BackupNameTooLong
            | Self::MissingXattrValue(..)
            | Self::CorruptFakeStat(..)
            | Self::StoppingAtLimit(_)
            | Self::IoTimeout(..) => Severity::Error,
            Self::NoReferent(_)
            | Self::OverlyLongName(_)
            | Self::PathOverflow(..)
            | Self::UnconvertibleName(..)
            | Self::UnconvertibleTarget(..)
            | Self::EmptySymlink(_)
            | Self::RemoveChanged(_)
            | Self::RemoveDestination(_)
            | Self::DaemonRefused(..)
            | Self::CouldNotMakeWay(..)
            | Self::CouldNotMakeWayForBackup(..)
            | Self::TempNameTooLong(_)
            | Self::IsDirectory(_)
            | Self::VerificationFailed(..)
            | Self::BatchMissing(..) => Severity::TransferError,
            Self::Charset(..)
            | Self::SkippingDirectory(_)
            | Self::ZeroMode(_)
            | Self::SkippingMountPoint(_)
            | Self::CopyingUnsafeSymlink(..)
            | Self::SenderRemoved(_)
            | Self::SenderAlreadyRemoved(_)
            | Self::MatchTotals { .. }
            | Self::CreatedDirectory(_)
            | Self::CreatedDirectories(..)
            | Self::BackupDir(..)
            | Self::NotCreating(..)
            | Self::Exists(..)
            | Self::IsNewer(_)
            | Self::OverMaxSize(_)
            | Self::UnderMinSize(_)
            | Self::SkippingNonRegular(_)
            | Self::IgnoringUnsafeSymlink(..)
            | Self::Made(_)
            | Self::CannotDeleteNonEmpty(_)
            | Self::CannotDeleteMountPoint(_)
            | Self::SkippingDeletion
            | Self::DelayFileFailed { .. }
            | Self::DeltaTransmission(_)
            | Self::DeletingIn(_)
            | Self::FilterTrace(_)
            | Self::FuzzyBasis(..)
            | Self::FuzzyDistance(..)
            | Self::BatchSkipped(..)
            | Self::BatchOption(..)
            | Self::BackedUp(..)
            | Self::BackupSkipsNonRegular(_)
            | Self::BackupSkipsUnsafeSymlink(..) => Severity::Info,
        }
    }

    /// Whether the text holds a name as it came from the wire, so that a server must not convert it.
    #[must_use]
    pub fn is_wire_text(&self) -> bool {
        matches!(self, Self::UnconvertibleName(Role::Receiver | Role::EarlyReceiver, ..))
    }

    /// The condition under which the text is said.
    #[must_use]
    pub fn topic(&self) -> Topic {
        match self {
            Self::SkippingMountPoint(_) | Self::CannotDeleteMountPoint(_) => Topic::Info(Info::Mount, 1),
            Self::CopyingUnsafeSymlink(..) | Self::BackupSkipsUnsafeSymlink(..) => {
                Topic::Info(Info::Symsafe, 1)
            }
            Self::Charset(..) => Topic::Debug(Debug::Iconv, 1),
            Self::SenderRemoved(_) => Topic::Info(Info::Remove, 1),
            Self::BatchOption(..) => Topic::Info(Info::Misc, 1),
            Self::MatchTotals { .. } => Topic::Debug(Debug::Deltasum, 1),
            Self::CreatedDirectory(_) | Self::CreatedDirectories(..) | Self::VerificationRetry { .. } => {
                Topic::NamesOrItems
            }
            Self::BackupDir(..) | Self::BackedUp(..) => Topic::Info(Info::Backup, 1),
            Self::NotCreating(..)
            | Self::Exists(..)
            | Self::IsNewer(_)
            | Self::OverMaxSize(_)
            | Self::UnderMinSize(_) => Topic::Info(Info::Skip, 1),
            Self::SkippingNonRegular(_) | Self::BackupSkipsNonRegular(_) => Topic::Info(Info::Nonreg, 1),
            Self::IgnoringUnsafeSymlink(..) | Self::Made(_) => Topic::Info(Info::Name, 1),
            Self::UpToDate(_) | Self::AttributesChanged(_) => Topic::UnchangedNames,
            Self::Deleting(..) => Topic::Deletions,
            Self::DeltaTransmission(_) => Topic::Debug(Debug::Flist, 1),
            Self::DeletingIn(_) => Topic::Debug(Debug::Del, 1),
            Self::FilterTrace(_) => Topic::Debug(Debug::Filter, 1),
            Self::FuzzyBasis(..) => Topic::Debug(Debug::Fuzzy, 1),
            Self::FuzzyDistance(..) => Topic::Debug(Debug::Fuzzy, 2),
            Self::TextBusy(..) => Topic::Info(Info::Misc, 1),
            _ => Topic::Always,
        }
    }

    /// Appends the text to `out`.
    pub fn render(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Failed(failed) => failed.render(out),
            Self::FileVanished(place) => before(out, "file has vanished: ", place),
            Self::DirectoryVanished(place) => before(out, "directory has vanished: ", place),
            Self::NoReferent(place) => before(out, "symlink has no referent: ", place),
            Self::OverlyLongName(name) => append(out, &[b"skipping overly long name: ", name]),
            Self::PathOverflow(bytes, name) => {
                let count = format!("filename overflows max-path len by {bytes}: ");
                append(out, &[count.as_bytes(), name]);
            }
            Self::Charset(role, name) => {
                append(out, &[b"[", role.name().as_bytes(), b"] charset: ", name]);
            }
            Self::UnconvertibleName(role, name, why) => {
                append(out, &[b"[", role.name().as_bytes(), b"] cannot convert filename: ", name]);
                append(out, &[b" (", why.reason().as_bytes(), b")"]);
            }
            Self::UnconvertibleTarget(role, place, why) => {
                append(out, &[b"[", role.name().as_bytes(), b"] cannot convert symlink data for: "]);
                place.render(out);
                append(out, &[b" (", why.reason().as_bytes(), b")"]);
            }
            Self::EmptySymlink(place) => before(out, "skipping symlink with 0-length value: ", place),
            Self::SkippingDirectory(name) => append(out, &[b"skipping directory ", name]),
            Self::ZeroMode(place) => before(out, "skipping file with bogus (zero) st_mode: ", place),
            Self::SkippingMountPoint(name) => append(out, &[b"[sender] skipping mount-point dir ", name]),
            Self::CopyingUnsafeSymlink(name, target) => {
                append(out, &[b"copying unsafe symlink \"", name, b"\" -> \"", target, b"\""]);
            }
            Self::DotDotInRelativePath(name) => {
                append(out, &[b"found \"..\" dir in relative path: ", name]);
            }
            Self::DiminishedFile(place) => before(out, "skipped diminished file: ", place),
            Self::DeviceWithoutCopyDevices => {
                append(out, &[b"attempt to copy device contents without --copy-devices"]);
            }
            Self::SenderRemoved(name) => append(out, &[b"sender removed ", name]),
            Self::SenderAlreadyRemoved(name) => append(out, &[b"sender file already removed: ", name]),
            Self::RemoveChanged(name) => {
                append(out, &[b"ERROR: Skipping sender remove for changed file: ", name]);
            }
            Self::RemoveDestination(name) => {
                append(out, &[b"ERROR: Skipping sender remove of destination file: ", name]);
            }
            Self::MatchTotals { matches, hash_hits, false_alarms, data } => {
                let line = format!(
                    "total: matches={matches}  hash_hits={hash_hits}  false_alarms={false_alarms} data={data}"
                );
                append(out, &[line.as_bytes()]);
            }
            Self::BuildingFileList => append(out, &[b"building file list"]),
            Self::ReceivingFileList => append(out, &[b"receiving file list"]),
            Self::CreatedDirectory(name) => append(out, &[b"created directory ", name]),
            Self::CreatedDirectories(count, name) => {
                let noun = if count == 1 { "directory" } else { "directories" };
                append(out, &[format!("created {count} {noun} for ").as_bytes(), name]);
            }
            Self::DestinationMustBeDirectory => {
                append(out, &[b"ERROR: destination must be a directory when copying more than 1 file"]);
            }
            Self::DirectoryOverFile => {
                append(out, &[b"ERROR: cannot overwrite non-directory with a directory"]);
            }
            Self::DestinationNotDirectory => {
                append(out, &[b"ERROR: destination path is not a directory"]);
            }
            Self::DestinationExcluded(name) => {
                append(out, &[b"ERROR: daemon has excluded destination \"", name, b"\""]);
            }
            Self::BasisDirMissing(option, dir) => {
                append(out, &[b"--", option.as_bytes(), b" arg does not exist: ", dir]);
            }
            Self::BasisDirNotDirectory(option, dir) => {
                append(out, &[b"--", option.as_bytes(), b" arg is not a dir: ", dir]);
            }
            Self::OptionDirNotDirectory(OptionDir::Temp, dir) => {
                append(out, &[b"The temp-dir is not a directory: ", dir]);
            }
            Self::OptionDirNotDirectory(OptionDir::Backup, dir) => {
                append(out, &[b"The backup-dir is not a directory: ", dir]);
            }
            Self::TempDirMissing(dir) => append(out, &[b"The temp-dir does not exist: ", dir]),
            Self::UnknownMapName(option, name) => {
                append(out, &[b"Unknown --", option.as_bytes(), b" name on receiver: ", name]);
            }
            Self::BackupDir(dir, true) => append(out, &[b"backup_dir is ", dir]),
            Self::BackupDir(dir, false) => append(out, &[b"(new) backup_dir is ", dir]),
            Self::InvalidPath(dir, base) => {
                append(out, &[b"ABORTING due to invalid path from sender: ", dir, b"/", base]);
            }
            Self::SkippingContents => {
                append(out, &[b"*** Skipping any contents from this failed directory ***"]);
            }
            Self::DaemonRefused(name, kind) => {
                append(
                    out,
                    &[b"ERROR: daemon refused to receive ", file_or_directory(kind), b" \"", name, b"\""],
                );
            }
            Self::NotCreating(name, kind) => {
                append(out, &[b"not creating new ", file_or_directory(kind), b" \"", name, b"\""]);
            }
            Self::Exists(name, detail) => {
                let detail = match detail {
                    None => "",
                    Some(ExistsDetail::TypeChange) => " (type change)",
                    Some(ExistsDetail::SumChange) => " (sum change)",
                    Some(ExistsDetail::FileChange) => " (file change)",
                    Some(ExistsDetail::AttributeChange) => " (attr change)",
                    Some(ExistsDetail::UpToDate) => " (uptodate)",
                };
                append(out, &[name, b" exists", detail.as_bytes()]);
            }
            Self::IsNewer(name) => append(out, &[name, b" is newer"]),
            Self::OverMaxSize(name) => append(out, &[name, b" is over max-size"]),
            Self::UnderMinSize(name) => append(out, &[name, b" is under min-size"]),
            Self::SkippingNonRegular(name) => {
                append(out, &[b"skipping non-regular file \"", name, b"\""]);
            }
            Self::IgnoringUnsafeSymlink(name, target) => {
                append(out, &[b"ignoring unsafe symlink \"", name, b"\" -> \"", target, b"\""]);
            }
            Self::UpToDate(name) => append(out, &[name, b" is uptodate"]),
            Self::AttributesChanged(name) | Self::Made(name) => append(out, &[name]),
            Self::SkippingSocket(place) => {
                before(out, "skipping socket (creation unsupported here): ", place);
            }
            Self::TooLargeForSums(name) => {
                append(out, &[b"WARNING: file is too large for checksum sending: ", name]);
            }
            Self::CouldNotMakeWay(kind, name) => {
                append(out, &[b"could not make way for new ", kind.long_name().as_bytes(), b": ", name]);
            }
            Self::CouldNotMakeWayForBackup(kind, name) => {
                append(
                    out,
                    &[b"could not make way for new backup ", kind.long_name().as_bytes(), b": ", name],
                );
            }
            Self::CannotDeleteNonEmpty(name) => {
                append(out, &[b"cannot delete non-empty directory: ", name]);
            }
            Self::CannotDeleteMountPoint(name) => append(out, &[b"cannot delete mount point: ", name]),
            Self::SkippingDeletion => {
                append(out, &[b"IO error encountered -- skipping file deletion"]);
            }
            Self::DeletionsStopped(skipped) => {
                let line = format!("Deletions stopped due to --max-delete limit ({skipped} skipped)");
                append(out, &[line.as_bytes()]);
            }
            Self::DeletingIn(name) => append(out, &[b"deleting in ", name]),
            Self::Deleting(name, is_dir) => {
                append(out, &[b"deleting ", name, if is_dir { b"/" } else { b"" }]);
            }
            Self::DelayFileFailed { continues_after } => {
                let more: &[u8] = if continues_after { b" -- switching to --delete-after" } else { b"" };
                append(out, &[b"NOTE: Unable to create delete-delay temp file", more, b"."]);
            }
            Self::ParentAbsent(dir) => {
                append(out, &[b"WARNING: parent dir is absent in the file list: ", dir]);
            }
            Self::FilterTrace(text) => append(out, &[text]),
            Self::DeltaTransmission(true) => append(out, &[b"delta-transmission enabled"]),
            Self::DeltaTransmission(false) => {
                append(out, &[b"delta-transmission disabled for local transfer or --whole-file"]);
            }
            Self::FuzzyBasis(name, basis) => {
                append(out, &[b"fuzzy basis selected for ", name, b": ", basis]);
            }
            Self::FuzzyDistance(name, distance) => {
                let distance = distance.unwrap_or(u32::MAX - 0xfffe);
                let shown = format!("{}.{:05}", distance >> 16, distance & 0xffff);
                append(out, &[b"fuzzy distance for ", name, b" = ", shown.as_bytes()]);
            }
            Self::TempNameTooLong(name) => append(out, &[b"temporary filename too long: ", name]),
            Self::IsDirectory(place) => {
                before(out, "recv_files: ", place);
                append(out, &[b" is a directory"]);
            }
            Self::VerificationRetry { name, kept, batch } => {
                let again = if batch { " (may try again)." } else { " (will try again)." };
                append(
                    out,
                    &[
                        b"WARNING: ",
                        name,
                        b" failed verification -- update ",
                        kept.text().as_bytes(),
                        again.as_bytes(),
                    ],
                );
            }
            Self::VerificationFailed(name, kept) => {
                append(
                    out,
                    &[b"ERROR: ", name, b" failed verification -- update ", kept.text().as_bytes(), b"."],
                );
            }
            Self::NoPartialDir(name, complete) => {
                let what: &[u8] = if complete { b"completed file" } else { b"partial file" };
                append(out, &[b"Unable to create partial-dir for ", name, b" -- discarding ", what, b"."]);
            }
            Self::BatchSkipped(name, resend) => {
                append(out, &[b"(Skipping batched update for ", resend_of(resend), b"\"", name, b"\")"]);
            }
            Self::BatchOption(option, on) => {
                let act = if on { "Setting" } else { "Clearing" };
                append(
                    out,
                    &[act.as_bytes(), b" the ", option.as_bytes(), b" option to match the batchfile."],
                );
            }
            Self::BatchMissing(name, resend) => {
                append(out, &[b"(No batched update for ", resend_of(resend), b"\"", name, b"\")"]);
            }
            Self::RequestExcluded(name) => {
                append(out, &[b"ERROR: rejecting file transfer request for daemon excluded file: ", name]);
            }
            Self::BackedUp(name, backup) => append(out, &[b"backed up ", name, b" to ", backup]),
            Self::BackupNameTooLong => append(out, &[b"backup filename too long"]),
            Self::BackupSkipsNonRegular(name) => {
                append(out, &[b"make_bak: skipping non-regular file ", name]);
            }
            Self::BackupSkipsUnsafeSymlink(name, target) => {
                append(out, &[b"not backing up unsafe symlink \"", name, b"\" -> \"", target, b"\""]);
            }
            Self::TextBusy(name, to) => {
                append(out, &[b"renaming ", name, b" to ", to, b" because of text busy"]);
            }
            Self::MissingXattrValue(attribute, path) => {
                append(out, &[b"Missing abbreviated xattr value, ", attribute, b", for \"", path, b"\""]);
            }
            Self::CorruptFakeStat(path, value) => {
                append(
                    out,
                    &[b"Corrupt user.rsync.%stat xattr attached to \"", path, b"\": \"", value, b"\""],
                );
            }
            Self::StoppingAtLimit(_) => append(out, &[b"stopping at requested limit"]),
            Self::IoTimeout(role, seconds) => {
                let line = format!("[{}] io timeout after {seconds} seconds -- exiting", role.name());
                append(out, &[line.as_bytes()]);
            }
        }
    }
}

impl<'a> Message<'a> {
    /// The message about a failed system call.
    #[must_use]
    pub fn failed(role: Role, failure: Failure<'a>, errno: i32) -> Self {
        Self::Failed(SystemFailure { role, failure, errno })
    }
}

fn before(out: &mut Vec<u8>, text: &str, place: Place<'_>) {
    out.extend_from_slice(text.as_bytes());
    place.render(out);
}

fn file_or_directory(kind: EntryKind) -> &'static [u8] {
    if kind == EntryKind::Dir { b"directory" } else { b"file" }
}

fn resend_of(resend: bool) -> &'static [u8] {
    if resend { b"resend of " } else { b"" }
}

#[cfg(test)]
mod tests;
