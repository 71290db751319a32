//! Every row of `messages.tsv` has one message of its text and class, or lives elsewhere.

use super::*;
use crate::text::exit_line;

const TABLE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/spec/data/scenarios/messages.tsv"));

const Q: Place<'static> = Place { root: b"", name: b"@", module: None };
const Q2: Place<'static> = Place { root: b"", name: b"@2", module: None };
const P: &[u8] = b"{P}";

/// Rows that other files render: decoders, lines of numbers, and the lines of `event::Event`.
const ELSEWHERE: &[&str] = &[
    "sending incremental file list",
    "receiving incremental file list",
    "building file list ... done",
    "receiving file list ... done",
    " {N} files...\\r",
    "rsync error: {text} (code {N}) at {file}({line}) [{role}={version}]",
    "rsync warning: some files vanished before they could be transferred (code 24) at {file}({line}) [{role}={version}]",
    "got transfer request in phase 2 [receiver]",
    "rsync: refusing transfer of cleared file index {N}",
    "received request to transfer non-regular file: {N} [receiver]",
    "rsync: refusing malicious fuzzy operation for {x}",
    "invalid basis_dir index: {N}.",
    "Invalid block index {N} (count={C}) [receiver]",
    "got a block match with no basis file for {Q} [receiver]",
    "Invalid literal token with no data [receiver]",
    "Invalid file index: {N} (-1 - {last}) [{role}]",
    "File-list index {N} not in {a} - {b} ({where}) [{role}]",
    "Invalid packet at end of run ({N}) [sender]",
];

fn messages() -> Vec<Message<'static>> {
    use Failure as F;
    let sender = |failure| Message::failed(Role::Sender, failure, 2);
    let early = |failure| Message::failed(Role::EarlyReceiver, failure, 2);
    let generator = |failure| Message::failed(Role::Generator, failure, 2);
    let receiver = |failure| Message::failed(Role::Receiver, failure, 2);
    vec![
        Message::BuildingFileList,
        Message::ReceivingFileList,
        sender(F::LinkStat(Q)),
        Message::FileVanished(Q),
        Message::DirectoryVanished(Q),
        sender(F::Opendir(Q)),
        sender(F::Readdir(Q)),
        sender(F::ReadlinkStat(Q)),
        Message::NoReferent(Q),
        Message::OverlyLongName(P),
        Message::EmptySymlink(Q),
        Message::SkippingDirectory(P),
        Message::ZeroMode(Q),
        Message::SkippingMountPoint(P),
        Message::CopyingUnsafeSymlink(P, b"{T}"),
        sender(F::ChangeDir(Q)),
        Message::DotDotInRelativePath(P),
        sender(F::OpenSource(Q)),
        sender(F::ReadSource(Q)),
        Message::DiminishedFile(Q),
        Message::DeviceWithoutCopyDevices,
        Message::SenderRemoved(P),
        Message::SenderAlreadyRemoved(P),
        sender(F::RemoveSource("remove", P)),
        Message::RemoveChanged(P),
        Message::RemoveDestination(P),
        Message::CreatedDirectory(b"{D}"),
        Message::CreatedDirectories(2, b"{D}"),
        Message::DestinationMustBeDirectory,
        Message::DirectoryOverFile,
        early(F::StatDestination(Q)),
        Message::DestinationNotDirectory,
        early(F::MakeDestination(Q)),
        early(F::ChangeDirStep(1, Q)),
        Message::DestinationExcluded(b"{D}"),
        Message::BasisDirMissing("link-dest", b"{D}"),
        Message::BasisDirNotDirectory("link-dest", b"{D}"),
        Message::OptionDirNotDirectory(OptionDir::Backup, b"{D}"),
        Message::BackupDir(b"{D}", false),
        Message::TempDirMissing(b"{D}"),
        Message::InvalidPath(b"{dir}", b"{base}"),
        generator(F::MakeDir(Q)),
        Message::SkippingContents,
        generator(F::StatTarget(Q)),
        Message::DaemonRefused(P, EntryKind::File),
        Message::NotCreating(P, EntryKind::File),
        Message::Exists(P, None),
        Message::IsNewer(P),
        Message::OverMaxSize(P),
        Message::SkippingNonRegular(P),
        Message::IgnoringUnsafeSymlink(P, b"{T}"),
        Message::UpToDate(P),
        generator(F::Symlink(Q, b"{T}")),
        generator(F::Mknod(Q)),
        Message::SkippingSocket(Q),
        generator(F::RenameTemp(Q, Q2)),
        generator(F::Link(Q, b"{old}")),
        generator(F::OpenBasis(Q)),
        Message::TooLargeForSums(P),
        generator(F::ModifyPermissions(Q)),
        Message::CouldNotMakeWay(EntryKind::File, P),
        Message::CannotDeleteNonEmpty(P),
        Message::CannotDeleteMountPoint(P),
        generator(F::Delete("unlink", P)),
        Message::SkippingDeletion,
        Message::DeletingIn(P),
        Message::DeletionsStopped(12345),
        Message::Deleting(P, false),
        Message::DelayFileFailed { continues_after: false },
        Message::ParentAbsent(b"{D}"),
        Message::DeltaTransmission(false),
        Message::FuzzyBasis(P, b"{basis}"),
        receiver(F::Mkstemp(Q)),
        Message::TempNameTooLong(P),
        receiver(F::OpenTarget(Q)),
        receiver(F::OpenBackup(Q)),
        Message::IsDirectory(Q),
        receiver(F::Fstat(Q)),
        Message::VerificationRetry { name: P, kept: Kept::Discarded, batch: false },
        Message::VerificationFailed(P, Kept::Discarded),
        receiver(F::Write(Q)),
        receiver(F::Close(Q)),
        receiver(F::Fsync(Q)),
        receiver(F::Seek(Q, 12345, 12345)),
        receiver(F::Truncate(Q)),
        receiver(F::Preallocate(Q)),
        receiver(F::Rename(Q, P)),
        Message::NoPartialDir(P, true),
        receiver(F::RenameDelayed(Q, b"{partial}")),
        Message::BatchSkipped(P, false),
        Message::BatchMissing(P, false),
        Message::RequestExcluded(P),
        receiver(F::Chown(Q)),
        receiver(F::SetPermissions(Q)),
        receiver(F::SetTimes(Q)),
        receiver(F::Stat(Q)),
        Message::BackedUp(P, b"{B}"),
        receiver(F::KeepBackup(Q, b"{B}")),
        Message::BackupNameTooLong,
        receiver(F::MakeBackupDir(b"{B}")),
        Message::BackupSkipsNonRegular(P),
        Message::BackupSkipsUnsafeSymlink(P, b"{T}"),
        Message::TextBusy(P, b"{dir}/.rsync{NNN}"),
        Message::MatchTotals { matches: 12345, hash_hits: 12345, false_alarms: 12345, data: 12345 },
    ]
}

fn rendered(message: &Message<'_>) -> String {
    let mut out = Vec::new();
    message.render(&mut out);
    String::from_utf8(out).unwrap()
}

/// Turns the arguments used above back into the placeholders of the table, and the reverse where the
/// table is more general than one message.
fn with_placeholders(text: &str) -> String {
    text.replace("\"@\"", "{Q}")
        .replace("\"@2\"", "{Q2}")
        .replace("No such file or directory (2)", "{ERR}")
        .replace("12345", "{N}")
}

fn table_text(text: &str) -> String {
    [
        ("{role}", "receiver"),
        ("created {N} ", "created 2 "),
        ("change_dir#N", "change_dir#1"),
        ("new {kind}", "new regular file"),
        ("update {K}", "update discarded"),
        ("{A}, not {B}", "{N}, not {N}"),
        ("discarding {what}", "discarding completed file"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (general, special)| text.replace(general, special))
}

fn class(message: &Message<'_>) -> &'static str {
    match message.severity() {
        Severity::Info => "I",
        Severity::Client => "C",
        Severity::Log => "L",
        Severity::Warning => "W",
        Severity::Error => "E",
        Severity::TransferError => "X",
    }
}

#[test]
fn every_row_of_the_table_is_the_text_of_one_message() {
    let rendered: Vec<(String, &str, Topic)> = messages()
        .iter()
        .map(|message| (with_placeholders(&rendered(message)), class(message), message.topic()))
        .collect();
    let mut used = 0;
    for row in TABLE.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [class, _side, when, _exit, text, ..] = columns[..] else { panic!("row {row:?}") };
        if ELSEWHERE.contains(&text) {
            continue;
        }
        let wanted = table_text(text);
        let found: Vec<_> = rendered.iter().filter(|(text, ..)| *text == wanted).collect();
        let [(_, rendered_class, topic)] = found[..] else { panic!("{wanted:?}: {} messages", found.len()) };
        let class = if class == "F" { "E" } else { class };
        assert_eq!(*rendered_class, class, "{text}");
        assert_eq!(*topic == Topic::Always, when == "-", "{text}: {topic:?} for {when}");
        used += 1;
    }
    assert_eq!(used, rendered.len(), "messages without a row");
}

#[test]
fn variants_that_share_a_row_have_their_texts() {
    for (message, expected) in [
        (Message::CreatedDirectories(1, b"q"), "created 1 directory for q"),
        (Message::DaemonRefused(b"q", EntryKind::Dir), "ERROR: daemon refused to receive directory \"q\""),
        (Message::NotCreating(b"q", EntryKind::Dir), "not creating new directory \"q\""),
        (Message::Exists(b"q", Some(ExistsDetail::SumChange)), "q exists (sum change)"),
        (Message::UnderMinSize(b"q"), "q is under min-size"),
        (Message::AttributesChanged(b"q"), "q"),
        (Message::Made(b"q -> r"), "q -> r"),
        (Message::BackupDir(b"q", true), "backup_dir is q"),
        (Message::Deleting(b"q", true), "deleting q/"),
        (Message::DeltaTransmission(true), "delta-transmission enabled"),
        (Message::OptionDirNotDirectory(OptionDir::Temp, b"q"), "The temp-dir is not a directory: q"),
        (
            Message::CouldNotMakeWayForBackup(EntryKind::Symlink, b"q"),
            "could not make way for new backup symlink: q",
        ),
        (
            Message::VerificationRetry { name: b"q", kept: Kept::PartialDir, batch: true },
            "WARNING: q failed verification -- update put into partial-dir (may try again).",
        ),
        (
            Message::VerificationFailed(b"q", Kept::Retained),
            "ERROR: q failed verification -- update retained.",
        ),
        (
            Message::BatchOption("--links (-l)", false),
            "Clearing the --links (-l) option to match the batchfile.",
        ),
        (Message::BatchMissing(b"q", true), "(No batched update for resend of \"q\")"),
        (
            Message::DelayFileFailed { continues_after: true },
            "NOTE: Unable to create delete-delay temp file -- switching to --delete-after.",
        ),
        (
            Message::failed(Role::Receiver, Failure::Chgrp(Place::new(b"/d", b"f")), 1),
            "rsync: [receiver] chgrp \"/d/f\" failed: Operation not permitted (1)",
        ),
        (
            Message::failed(Role::Receiver, Failure::CopyAcross(Place::new(b"/d", b"f"), b"g"), 28),
            "rsync: [receiver] copy \"/d/f\" -> \"g\": No space left on device (28)",
        ),
        (Message::IoTimeout(Role::Sender, 5), "[sender] io timeout after 5 seconds -- exiting"),
    ] {
        assert_eq!(rendered(&message), expected);
    }
}

#[test]
fn the_exit_lines_of_the_table_are_those_of_exit_line() {
    use crate::exit::ExitCode;
    let line = exit_line(ExitCode::VANISHED, Role::Sender, ("{file}", 0), "{version}").unwrap();
    let row = table_text(ELSEWHERE.iter().find(|text| text.starts_with("rsync warning")).unwrap());
    assert_eq!(line.replace("(0)", "({line})").replace("[sender", "[receiver"), row);
}
