//! The option table: one row per spelling, in the order of the help text (spec 08, `options.tsv`).

use super::choice::{AddressFamily, RemoveSource, StderrMode, SuperUser};
use super::error::Halt;
use super::scan;
use super::table::Apply::{
    Act, Count, DaemonMode, Int, Number, Sender, Server, Set, Switch, SwitchOr, Take, TakeWith, Text,
};
use super::table::{Refusal, Row};

/// Every spelling that the client and the server accept.
pub(super) const ROWS: &[Row] = &[
    Row::new("verbose", b'v', Count(|s| &mut s.verbose))
        .help("--verbose, -v", "say more; repeat for still more"),
    Row::new("no-verbose", 0, Number(|s| &mut s.verbose, 0)),
    Row::new("no-v", 0, Number(|s| &mut s.verbose, 0)).same_as("no-verbose"),
    Row::new("info", 0, Take(scan::info)).help("--info=FLAGS", "choose what to report, word by word"),
    Row::new("debug", 0, Take(scan::debug)).help("--debug=FLAGS", "choose what to debug, word by word"),
    Row::new("stderr", 0, Take(scan::stderr_mode))
        .help("--stderr=e|a|c", "where messages go (default: errors)"),
    Row::new("msgs2stderr", 0, Set(|s| s.options.stderr = StderrMode::All)),
    Row::new("no-msgs2stderr", 0, Set(|s| s.options.stderr = StderrMode::Client)),
    Row::new("quiet", b'q', Count(|s| &mut s.quiet)).help("--quiet, -q", "print errors only"),
    Row::new("motd", 0, Switch(|s| &mut s.options.motd, true)),
    Row::new("no-motd", 0, Switch(|s| &mut s.options.motd, false))
        .help("--no-motd", "hide the daemon's message of the day"),
    Row::new("checksum", b'c', Switch(|s| &mut s.options.checksum, true))
        .help("--checksum, -c", "compare files by checksum, not by size and time"),
    Row::new("no-checksum", 0, Switch(|s| &mut s.options.checksum, false)),
    Row::new("no-c", 0, Switch(|s| &mut s.options.checksum, false)).same_as("no-checksum"),
    Row::new("archive", b'a', Act(scan::archive))
        .help("--archive, -a", "archive mode: -rlptgoD (no -A,-X,-U,-N,-H)"),
    Row::new("recursive", b'r', Number(|s| &mut s.recurse, 2))
        .help("--recursive, -r", "descend into directories"),
    Row::new("no-recursive", 0, Number(|s| &mut s.recurse, 0)),
    Row::new("no-r", 0, Number(|s| &mut s.recurse, 0)).same_as("no-recursive"),
    Row::new("inc-recursive", 0, Switch(|s| &mut s.options.inc_recursive, true))
        .help("--inc-recursive, --i-r", "send the file list in pieces"),
    Row::new("i-r", 0, Switch(|s| &mut s.options.inc_recursive, true)).same_as("inc-recursive"),
    Row::new("no-inc-recursive", 0, Switch(|s| &mut s.options.inc_recursive, false))
        .help("--no-inc-recursive", "send the file list in one piece"),
    Row::new("no-i-r", 0, Switch(|s| &mut s.options.inc_recursive, false))
        .same_as("no-inc-recursive")
        .help("--no-i-r", "same as --no-inc-recursive"),
    Row::new("relative", b'R', Set(|s| s.relative = Some(true)))
        .help("--relative, -R", "keep the path names of the arguments"),
    Row::new("no-relative", 0, Set(|s| s.relative = Some(false))),
    Row::new("no-R", 0, Set(|s| s.relative = Some(false))).same_as("no-relative"),
    Row::new("implied-dirs", 0, Switch(|s| &mut s.no_implied_dirs, false)),
    Row::new("i-d", 0, Switch(|s| &mut s.no_implied_dirs, false)).same_as("implied-dirs"),
    Row::new("no-implied-dirs", 0, Switch(|s| &mut s.no_implied_dirs, true))
        .help("--no-implied-dirs", "with -R, do not send attributes of parents"),
    Row::new("no-i-d", 0, Switch(|s| &mut s.no_implied_dirs, true)).same_as("no-implied-dirs"),
    Row::new("backup", b'b', Switch(|s| &mut s.options.backup, true))
        .help("--backup, -b", "keep replaced files (see --suffix, --backup-dir)"),
    Row::new("no-backup", 0, Switch(|s| &mut s.options.backup, false)),
    Row::new("backup-dir", 0, Text(|s| &mut s.backup_dir))
        .help("--backup-dir=DIR", "keep replaced files below DIR"),
    Row::new("suffix", 0, Text(|s| &mut s.suffix))
        .help("--suffix=SUFFIX", "suffix of kept files (default ~ w/o --backup-dir)"),
    Row::new("update", b'u', Switch(|s| &mut s.options.update, true))
        .help("--update, -u", "skip files that are newer on the receiver"),
    Row::new("inplace", 0, Switch(|s| &mut s.options.inplace, true))
        .help("--inplace", "write into destination files directly"),
    Row::new("no-inplace", 0, Switch(|s| &mut s.options.inplace, false)),
    Row::new("append", 0, Set(|s| s.append = if s.options.server { s.append.saturating_add(1) } else { 1 }))
        .help("--append", "append to shorter files"),
    Row::new("append-verify", 0, Number(|s| &mut s.append, 2))
        .help("--append-verify", "--append, with the old data in the checksum"),
    Row::new("no-append", 0, Number(|s| &mut s.append, 0)),
    Row::new("dirs", b'd', Set(|s| s.dirs = Some(2)))
        .help("--dirs, -d", "transfer directories without descending"),
    Row::new("no-dirs", 0, Set(|s| s.dirs = Some(0))),
    Row::new("no-d", 0, Set(|s| s.dirs = Some(0))).same_as("no-dirs"),
    Row::new("old-dirs", 0, Set(|s| s.dirs = Some(4))).help("--old-dirs", "--dirs for very old servers"),
    Row::new("old-d", 0, Set(|s| s.dirs = Some(4))).same_as("old-dirs").help("--old-d", "same as --old-dirs"),
    Row::new("mkpath", 0, Switch(|s| &mut s.options.mkpath, true))
        .help("--mkpath", "create missing parents of the destination"),
    Row::new("no-mkpath", 0, Switch(|s| &mut s.options.mkpath, false)),
    Row::new("links", b'l', Switch(|s| &mut s.options.links, true))
        .help("--links, -l", "copy symlinks as symlinks"),
    Row::new("no-links", 0, Switch(|s| &mut s.options.links, false)),
    Row::new("no-l", 0, Switch(|s| &mut s.options.links, false)).same_as("no-links"),
    Row::new("copy-links", b'L', Switch(|s| &mut s.options.copy_links, true))
        .help("--copy-links, -L", "copy what symlinks point to"),
    Row::new("copy-unsafe-links", 0, Switch(|s| &mut s.options.copy_unsafe_links, true))
        .help("--copy-unsafe-links", "copy what only unsafe symlinks point to"),
    Row::new("safe-links", 0, Switch(|s| &mut s.options.safe_links, true))
        .help("--safe-links", "ignore symlinks that leave the tree"),
    Row::new("insecure-links", 0, Switch(|s| &mut s.options.insecure_links, true))
        .refused(Refusal::Always)
        .help("--insecure-links", "follow anyone's symlinks in operator paths"),
    Row::new("no-insecure-links", 0, Switch(|s| &mut s.options.insecure_links, false)),
    Row::new("confine-root", 0, Text(|s| &mut s.options.confine_root))
        .help("--confine-root=DIR", "refuse operator paths outside DIR"),
    Row::new("munge-links", 0, Set(|s| s.options.munge_links = Some(true)))
        .help("--munge-links", "make symlinks safe and unusable"),
    Row::new("no-munge-links", 0, Set(|s| s.options.munge_links = Some(false))),
    Row::new("copy-dirlinks", b'k', Switch(|s| &mut s.options.copy_dirlinks, true))
        .help("--copy-dirlinks, -k", "treat a sender's symlink to a directory as one"),
    Row::new("keep-dirlinks", b'K', Switch(|s| &mut s.options.keep_dirlinks, true))
        .help("--keep-dirlinks, -K", "treat a receiver's symlink to a directory as one"),
    Row::new("hard-links", b'H', Count(|s| &mut s.hard_links))
        .help("--hard-links, -H", "preserve hard links"),
    Row::new("no-hard-links", 0, Number(|s| &mut s.hard_links, 0)),
    Row::new("no-H", 0, Number(|s| &mut s.hard_links, 0)).same_as("no-hard-links"),
    Row::new("perms", b'p', Switch(|s| &mut s.options.perms, true))
        .help("--perms, -p", "preserve permissions"),
    Row::new("no-perms", 0, Switch(|s| &mut s.options.perms, false)),
    Row::new("no-p", 0, Switch(|s| &mut s.options.perms, false)).same_as("no-perms"),
    Row::new("executability", b'E', Switch(|s| &mut s.options.executability, true))
        .help("--executability, -E", "preserve executability"),
    Row::new("chmod", 0, Take(scan::chmod)).help("--chmod=CHMOD", "change permissions on the way"),
    Row::new(
        "acls",
        b'A',
        Set(|s| {
            s.options.acls = true;
            s.options.perms = true;
        }),
    )
    .help("--acls, -A", "preserve ACLs (implies --perms)"),
    Row::new("no-acls", 0, Switch(|s| &mut s.options.acls, false)),
    Row::new("no-A", 0, Switch(|s| &mut s.options.acls, false)).same_as("no-acls"),
    Row::new("xattrs", b'X', Count(|s| &mut s.xattrs)).help("--xattrs, -X", "preserve extended attributes"),
    Row::new("no-xattrs", 0, Number(|s| &mut s.xattrs, 0)),
    Row::new("no-X", 0, Number(|s| &mut s.xattrs, 0)).same_as("no-xattrs"),
    Row::new("owner", b'o', Switch(|s| &mut s.options.owner, true))
        .help("--owner, -o", "preserve owner (super-user only)"),
    Row::new("no-owner", 0, Switch(|s| &mut s.options.owner, false)),
    Row::new("no-o", 0, Switch(|s| &mut s.options.owner, false)).same_as("no-owner"),
    Row::new("group", b'g', Switch(|s| &mut s.options.group, true)).help("--group, -g", "preserve group"),
    Row::new("no-group", 0, Switch(|s| &mut s.options.group, false)),
    Row::new("no-g", 0, Switch(|s| &mut s.options.group, false)).same_as("no-group"),
    Row::new("devices", 0, Switch(|s| &mut s.options.devices, true))
        .help("--devices", "preserve device files (super-user only)"),
    Row::new("no-devices", 0, Switch(|s| &mut s.options.devices, false)),
    Row::new("copy-devices", 0, Switch(|s| &mut s.options.copy_devices, true))
        .refused(Refusal::Default)
        .help("--copy-devices", "copy device contents as regular files"),
    Row::new("write-devices", 0, Switch(|s| &mut s.options.write_devices, true))
        .refused(Refusal::Default)
        .help("--write-devices", "write to devices as files (implies --inplace)"),
    Row::new("no-write-devices", 0, Switch(|s| &mut s.options.write_devices, false)),
    Row::new("specials", 0, Switch(|s| &mut s.options.specials, true))
        .help("--specials", "preserve special files"),
    Row::new("no-specials", 0, Switch(|s| &mut s.options.specials, false)),
    Row::new("drop-D", 0, Switch(|s| &mut s.options.drop_devices, true))
        .help("--drop-D", "do not create devices and special files"),
    Row::new("no-drop-D", 0, Switch(|s| &mut s.options.drop_devices, false)),
    Row::new(
        "",
        b'D',
        Set(|s| {
            s.options.devices = true;
            s.options.specials = true;
        }),
    )
    .help("-D", "same as --devices --specials"),
    Row::new(
        "no-D",
        0,
        Set(|s| {
            s.options.devices = false;
            s.options.specials = false;
        }),
    ),
    Row::new("times", b't', Switch(|s| &mut s.options.times, true))
        .help("--times, -t", "preserve modification times"),
    Row::new("no-times", 0, Switch(|s| &mut s.options.times, false)),
    Row::new("no-t", 0, Switch(|s| &mut s.options.times, false)).same_as("no-times"),
    Row::new(
        "atimes",
        b'U',
        Set(|s| {
            s.atimes += 1;
            s.options.open_noatime |= s.atimes > 1;
        }),
    )
    .help("--atimes, -U", "preserve access times"),
    Row::new("no-atimes", 0, Number(|s| &mut s.atimes, 0)),
    Row::new("no-U", 0, Number(|s| &mut s.atimes, 0)).same_as("no-atimes"),
    Row::new("open-noatime", 0, Switch(|s| &mut s.options.open_noatime, true))
        .help("--open-noatime", "leave access times of opened files alone"),
    Row::new("no-open-noatime", 0, Switch(|s| &mut s.options.open_noatime, false)),
    Row::new("crtimes", b'N', Act(scan::crtimes)).help("--crtimes, -N", "preserve creation times"),
    Row::new("no-crtimes", 0, Switch(|s| &mut s.options.crtimes, false)),
    Row::new("no-N", 0, Switch(|s| &mut s.options.crtimes, false)).same_as("no-crtimes"),
    Row::new("omit-dir-times", b'O', Switch(|s| &mut s.options.omit_dir_times, true))
        .help("--omit-dir-times, -O", "leave directories out of --times"),
    Row::new("no-omit-dir-times", 0, Switch(|s| &mut s.options.omit_dir_times, false)),
    Row::new("no-O", 0, Switch(|s| &mut s.options.omit_dir_times, false)).same_as("no-omit-dir-times"),
    Row::new("omit-link-times", b'J', Switch(|s| &mut s.options.omit_link_times, true))
        .help("--omit-link-times, -J", "leave symlinks out of --times"),
    Row::new("no-omit-link-times", 0, Switch(|s| &mut s.options.omit_link_times, false)),
    Row::new("no-J", 0, Switch(|s| &mut s.options.omit_link_times, false)).same_as("no-omit-link-times"),
    Row::new("super", 0, Set(|s| s.options.super_user = SuperUser::On))
        .help("--super", "let the receiver try what only root may do"),
    Row::new("no-super", 0, Set(|s| s.options.super_user = SuperUser::Off)),
    Row::new("fake-super", 0, Set(|s| s.options.super_user = SuperUser::Fake))
        .help("--fake-super", "keep privileged attributes in xattrs"),
    Row::new("sparse", b'S', Switch(|s| &mut s.options.sparse, true))
        .help("--sparse, -S", "turn runs of zeros into holes"),
    Row::new("no-sparse", 0, Switch(|s| &mut s.options.sparse, false)),
    Row::new("no-S", 0, Switch(|s| &mut s.options.sparse, false)).same_as("no-sparse"),
    Row::new("preallocate", 0, Switch(|s| &mut s.options.preallocate, true))
        .help("--preallocate", "allocate files before writing them"),
    Row::new("reflink", 0, Take(scan::reflink))
        .ours()
        .help("--reflink=WHEN", "share blocks in local copies: auto|always|never (ours)"),
    Row::new("dry-run", b'n', Switch(|s| &mut s.options.dry_run, true))
        .refused(Refusal::Exact)
        .help("--dry-run, -n", "change nothing, only show what would happen"),
    Row::new("whole-file", b'W', Set(|s| s.options.whole_file = Some(true)))
        .help("--whole-file, -W", "copy files whole (no delta transfer)"),
    Row::new("no-whole-file", 0, Set(|s| s.options.whole_file = Some(false)))
        .help("--no-whole-file, --no-W", "use the delta transfer"),
    Row::new("no-W", 0, Set(|s| s.options.whole_file = Some(false))).same_as("no-whole-file"),
    Row::new("checksum-choice", 0, Text(|s| &mut s.checksum_choice))
        .help("--checksum-choice=STR", "choose the checksum algorithm (aka --cc)"),
    Row::new("cc", 0, Text(|s| &mut s.checksum_choice)).same_as("checksum-choice"),
    Row::new("one-file-system", b'x', Count(|s| &mut s.one_file_system))
        .help("--one-file-system, -x", "stay on one file system"),
    Row::new("no-one-file-system", 0, Number(|s| &mut s.one_file_system, 0)),
    Row::new("no-x", 0, Number(|s| &mut s.one_file_system, 0)).same_as("no-one-file-system"),
    Row::new("block-size", b'B', Take(scan::block_size))
        .help("--block-size=SIZE, -B", "length of checksummed blocks"),
    Row::new("rsh", b'e', Text(|s| &mut s.options.rsh))
        .refused(Refusal::Exact)
        .help("--rsh=COMMAND, -e", "remote shell to use"),
    Row::new("rsync-path", 0, Text(|s| &mut s.options.rsync_path))
        .help("--rsync-path=PROGRAM", "rsync to run on the remote machine"),
    Row::new("existing", 0, Switch(|s| &mut s.options.existing, true))
        .help("--existing", "do not create new files on the receiver"),
    Row::new("ignore-non-existing", 0, Switch(|s| &mut s.options.existing, true))
        .same_as("existing")
        .help("--ignore-non-existing", "same as --existing"),
    Row::new("ignore-existing", 0, Switch(|s| &mut s.options.ignore_existing, true))
        .help("--ignore-existing", "do not update files that the receiver has"),
    Row::new("remove-source-files", 0, Set(|s| s.options.remove_source = RemoveSource::Files))
        .help("--remove-source-files", "remove what was sent (not directories)"),
    Row::new("remove-sent-files", 0, Set(|s| s.options.remove_source = RemoveSource::SentFiles)),
    Row::new("del", 0, Number(|s| &mut s.delete_during, 1))
        .same_as("delete-during")
        .help("--del", "same as --delete-during"),
    Row::new("delete", 0, Switch(|s| &mut s.delete, true))
        .help("--delete", "delete what the sender does not have"),
    Row::new("delete-before", 0, Switch(|s| &mut s.delete_before, true))
        .help("--delete-before", "delete before the transfer"),
    Row::new("delete-during", 0, Number(|s| &mut s.delete_during, 1))
        .help("--delete-during", "delete during the transfer"),
    Row::new("delete-delay", 0, Number(|s| &mut s.delete_during, 2))
        .help("--delete-delay", "look during, delete after the transfer"),
    Row::new("delete-after", 0, Switch(|s| &mut s.delete_after, true))
        .help("--delete-after", "delete after the transfer"),
    Row::new("delete-excluded", 0, Switch(|s| &mut s.options.delete_excluded, true))
        .help("--delete-excluded", "delete excluded files too"),
    Row::new("ignore-missing-args", 0, Set(|s| s.missing_args |= 1))
        .help("--ignore-missing-args", "missing arguments are no error"),
    Row::new("delete-missing-args", 0, Set(|s| s.missing_args |= 2))
        .help("--delete-missing-args", "delete missing arguments at the destination"),
    Row::new("ignore-errors", 0, Switch(|s| &mut s.options.ignore_errors, true))
        .help("--ignore-errors", "delete even after I/O errors"),
    Row::new("no-ignore-errors", 0, Switch(|s| &mut s.options.ignore_errors, false)),
    Row::new("force", 0, Switch(|s| &mut s.options.force, true))
        .help("--force", "delete directories even if not empty"),
    Row::new("no-force", 0, Switch(|s| &mut s.options.force, false)),
    Row::new("max-delete", 0, Int(|s, n| s.max_delete = Some(n)))
        .help("--max-delete=NUM", "delete at most NUM files"),
    Row::new("max-size", 0, Take(scan::max_size)).help("--max-size=SIZE", "skip files larger than SIZE"),
    Row::new("min-size", 0, Take(scan::min_size)).help("--min-size=SIZE", "skip files smaller than SIZE"),
    Row::new("max-alloc", 0, Text(|s| &mut s.max_alloc))
        .help("--max-alloc=SIZE", "limit of one memory allocation"),
    Row::new("partial", 0, Switch(|s| &mut s.options.partial, true))
        .help("--partial", "keep partially transferred files"),
    Row::new("no-partial", 0, Switch(|s| &mut s.options.partial, false)),
    Row::new("partial-dir", 0, Text(|s| &mut s.options.partial_dir))
        .help("--partial-dir=DIR", "keep partially transferred files in DIR"),
    Row::new("delay-updates", 0, Switch(|s| &mut s.options.delay_updates, true))
        .help("--delay-updates", "put all files into place at the end"),
    Row::new("no-delay-updates", 0, Switch(|s| &mut s.options.delay_updates, false)),
    Row::new("prune-empty-dirs", b'm', Switch(|s| &mut s.options.prune_empty_dirs, true))
        .help("--prune-empty-dirs, -m", "leave out directories without files"),
    Row::new("no-prune-empty-dirs", 0, Switch(|s| &mut s.options.prune_empty_dirs, false)),
    Row::new("no-m", 0, Switch(|s| &mut s.options.prune_empty_dirs, false)).same_as("no-prune-empty-dirs"),
    Row::new("numeric-ids", 0, Switch(|s| &mut s.options.numeric_ids, true))
        .help("--numeric-ids", "do not map users and groups by name"),
    Row::new("no-numeric-ids", 0, Switch(|s| &mut s.options.numeric_ids, false)),
    Row::new("usermap", 0, Take(scan::usermap)).help("--usermap=STRING", "mapping of users"),
    Row::new("groupmap", 0, Take(scan::groupmap)).help("--groupmap=STRING", "mapping of groups"),
    Row::new("chown", 0, Take(scan::chown)).help("--chown=USER:GROUP", "one owner and group for everything"),
    Row::new("timeout", 0, Int(|s, n| s.options.timeout = u32::try_from(n).unwrap_or(0)))
        .help("--timeout=SECONDS", "give up after SECONDS without I/O"),
    Row::new("no-timeout", 0, Set(|s| s.options.timeout = 0)),
    Row::new("contimeout", 0, Int(|s, n| s.options.contimeout = u32::try_from(n).unwrap_or(0)))
        .help("--contimeout=SECONDS", "limit of connecting to a daemon"),
    Row::new("no-contimeout", 0, Set(|s| s.options.contimeout = 0)),
    Row::new("ignore-times", b'I', Switch(|s| &mut s.options.ignore_times, true))
        .help("--ignore-times, -I", "transfer even if size and time match"),
    Row::new("size-only", 0, Switch(|s| &mut s.options.size_only, true))
        .help("--size-only", "skip files of equal size"),
    Row::new(
        "modify-window",
        b'@',
        Int(|s, n| {
            s.options.modify_window = n;
            s.options.forwarding.modify_window = true;
        }),
    )
    .help("--modify-window=NUM, -@", "how far times may differ"),
    Row::new("temp-dir", b'T', Text(|s| &mut s.options.temp_dir))
        .help("--temp-dir=DIR, -T", "create temporary files in DIR"),
    Row::new("fuzzy", b'y', Count(|s| &mut s.fuzzy)).help("--fuzzy, -y", "use similar files as basis"),
    Row::new("no-fuzzy", 0, Number(|s| &mut s.fuzzy, 0)),
    Row::new("no-y", 0, Number(|s| &mut s.fuzzy, 0)).same_as("no-fuzzy"),
    Row::new("detect-renamed", 0, Switch(|s| &mut s.options.detect_renamed, true))
        .ours()
        .help("--detect-renamed", "use files under other names as basis (ours)"),
    Row::new("no-detect-renamed", 0, Switch(|s| &mut s.options.detect_renamed, false)).ours(),
    Row::new("compare-dest", 0, Take(scan::compare_dest))
        .help("--compare-dest=DIR", "also compare with files in DIR"),
    Row::new("copy-dest", 0, Take(scan::copy_dest))
        .help("--copy-dest=DIR", "... and copy those that are unchanged"),
    Row::new("link-dest", 0, Take(scan::link_dest))
        .help("--link-dest=DIR", "... and hard-link those that are unchanged"),
    Row::new("compress", b'z', Count(|s| &mut s.compress))
        .help("--compress, -z", "compress file data on the way"),
    Row::new(
        "no-compress",
        0,
        Set(|s| {
            s.compress = 0;
            s.compress_choice = None;
        }),
    ),
    Row::new(
        "no-z",
        0,
        Set(|s| {
            s.compress = 0;
            s.compress_choice = None;
        }),
    )
    .same_as("no-compress"),
    Row::new("old-compress", 0, Set(|s| s.compress_choice = Some("zlib".into()))),
    Row::new("new-compress", 0, Set(|s| s.compress_choice = Some("zlibx".into()))),
    Row::new("compress-choice", 0, Text(|s| &mut s.compress_choice))
        .help("--compress-choice=STR", "choose the compression algorithm (aka --zc)"),
    Row::new("zc", 0, Text(|s| &mut s.compress_choice)).same_as("compress-choice"),
    Row::new("compress-level", 0, Int(|s, n| s.options.compress_level = Some(n)))
        .help("--compress-level=NUM", "compression level (aka --zl)"),
    Row::new("zl", 0, Int(|s, n| s.options.compress_level = Some(n))).same_as("compress-level"),
    Row::new("compress-threads", 0, Int(|s, n| s.options.compress_threads = u32::try_from(n).unwrap_or(0)))
        .help("--compress-threads=NUM", "compression threads (aka --zt)"),
    Row::new("zt", 0, Int(|s, n| s.options.compress_threads = u32::try_from(n).unwrap_or(0)))
        .same_as("compress-threads"),
    Row::new("skip-compress", 0, Text(|s| &mut s.options.skip_compress))
        .help("--skip-compress=LIST", "do not compress files with a suffix in LIST"),
    Row::new("cvs-exclude", b'C', Switch(|s| &mut s.options.cvs_exclude, true))
        .help("--cvs-exclude, -C", "ignore the files that CVS ignores"),
    Row::new("filter", b'f', Take(scan::filter)).help("--filter=RULE, -f", "add a filter RULE"),
    Row::new("", b'F', Act(scan::per_dir_filter)).help("-F", "same as --filter='dir-merge /.rsync-filter'"),
    Row::new("exclude", 0, Take(scan::exclude)).help("--exclude=PATTERN", "exclude files that match PATTERN"),
    Row::new("exclude-from", 0, Take(scan::exclude_from))
        .help("--exclude-from=FILE", "read exclude patterns from FILE"),
    Row::new("include", 0, Take(scan::include))
        .help("--include=PATTERN", "do not exclude files that match PATTERN"),
    Row::new("include-from", 0, Take(scan::include_from))
        .help("--include-from=FILE", "read include patterns from FILE"),
    Row::new("files-from", 0, Text(|s| &mut s.files_from))
        .help("--files-from=FILE", "read names to transfer from FILE"),
    Row::new("from0", b'0', Switch(|s| &mut s.options.from0, true))
        .refused(Refusal::Exact)
        .help("--from0, -0", "lines of *-from files end with NUL"),
    Row::new("no-from0", 0, Switch(|s| &mut s.options.from0, false)),
    Row::new("old-args", 0, Set(|s| s.old_args = Some(s.old_args.unwrap_or(0) + 1)))
        .help("--old-args", "let the remote shell split arguments"),
    Row::new("no-old-args", 0, Set(|s| s.old_args = Some(0))),
    Row::new("secluded-args", b's', Set(|s| s.secluded = Some(true)))
        .refused(Refusal::Exact)
        .help("--secluded-args, -s", "send arguments inside the protocol"),
    Row::new("no-secluded-args", 0, Set(|s| s.secluded = Some(false))),
    Row::new("protect-args", 0, Set(|s| s.secluded = Some(true))).same_as("secluded-args"),
    Row::new("no-protect-args", 0, Set(|s| s.secluded = Some(false))).same_as("no-secluded-args"),
    Row::new("no-s", 0, Set(|s| s.secluded = Some(false))).same_as("no-secluded-args"),
    Row::new("trust-sender", 0, Switch(|s| &mut s.options.trust_sender, true))
        .help("--trust-sender", "accept any name from the sender"),
    Row::new("copy-as", 0, Text(|s| &mut s.options.copy_as))
        .help("--copy-as=USER[:GROUP]", "become USER for the copy"),
    Row::new("address", 0, Text(|s| &mut s.options.address))
        .help("--address=ADDRESS", "local address of daemon connections"),
    Row::new("port", 0, Int(|s, n| s.options.port = n)).help("--port=PORT", "port of the daemon"),
    Row::new("sockopts", 0, Text(|s| &mut s.options.sockopts)).help("--sockopts=OPTIONS", "TCP options"),
    Row::new("blocking-io", 0, Set(|s| s.options.blocking_io = Some(true)))
        .help("--blocking-io", "blocking I/O for the remote shell"),
    Row::new("no-blocking-io", 0, Set(|s| s.options.blocking_io = Some(false))),
    Row::new("outbuf", 0, Text(|s| &mut s.outbuf))
        .help("--outbuf=N|L|B", "buffer output not, by line or by block"),
    Row::new("stats", 0, Switch(|s| &mut s.options.stats, true)).help("--stats", "print statistics"),
    Row::new("8-bit-output", b'8', Switch(|s| &mut s.options.eight_bit_output, true))
        .help("--8-bit-output, -8", "do not escape bytes above 127"),
    Row::new("no-8-bit-output", 0, Switch(|s| &mut s.options.eight_bit_output, false)),
    Row::new("no-8", 0, Switch(|s| &mut s.options.eight_bit_output, false)).same_as("no-8-bit-output"),
    Row::new("human-readable", b'h', Count(|s| &mut s.human))
        .help("--human-readable, -h", "print numbers with units"),
    Row::new("no-human-readable", 0, Number(|s| &mut s.human, 0)),
    Row::new("no-h", 0, Number(|s| &mut s.human, 0)).same_as("no-human-readable"),
    Row::new("progress", 0, SwitchOr(|s| scan::progress(s, true), scan::progress_style))
        .help("--progress[=bar]", "show progress (bar: one live line, ours)"),
    Row::new("no-progress", 0, Set(|s| scan::progress(s, false))),
    Row::new("json", 0, Switch(|s| &mut s.options.json, true))
        .ours()
        .help("--json", "print every event as a line of JSON (ours)"),
    Row::new("no-json", 0, Switch(|s| &mut s.options.json, false)).ours(),
    Row::new(
        "",
        b'P',
        Set(|s| {
            s.options.partial = true;
            scan::progress(s, true);
        }),
    )
    .help("-P", "same as --partial --progress"),
    Row::new("itemize-changes", b'i', Count(|s| &mut s.itemize))
        .help("--itemize-changes, -i", "print what changes in every item"),
    Row::new("no-itemize-changes", 0, Number(|s| &mut s.itemize, 0)),
    Row::new("no-i", 0, Number(|s| &mut s.itemize, 0)).same_as("no-itemize-changes"),
    Row::new("remote-option", b'M', Take(scan::remote_option))
        .help("--remote-option=OPT, -M", "send OPT to the remote side only"),
    Row::new("out-format", 0, Text(|s| &mut s.options.out_format))
        .help("--out-format=FORMAT", "print items in this FORMAT"),
    Row::new("log-format", 0, Text(|s| &mut s.options.out_format))
        .same_as("out-format")
        .refused(Refusal::Exact),
    Row::new("log-file", 0, Text(|s| &mut s.options.log_file))
        .refused(Refusal::Always)
        .help("--log-file=FILE", "log to FILE"),
    Row::new("log-file-format", 0, Text(|s| &mut s.options.log_file_format))
        .refused(Refusal::Always)
        .help("--log-file-format=FMT", "format of the log"),
    Row::new("password-file", 0, Text(|s| &mut s.options.password_file))
        .help("--password-file=FILE", "read the daemon password from FILE"),
    Row::new("early-input", 0, Text(|s| &mut s.options.early_input))
        .help("--early-input=FILE", "send FILE to the daemon's early exec"),
    Row::new("list-only", 0, Switch(|s| &mut s.list_only, true))
        .help("--list-only", "list files instead of copying them"),
    Row::new("bwlimit", 0, Take(scan::bwlimit)).help("--bwlimit=RATE", "limit the bandwidth"),
    Row::new("no-bwlimit", 0, Set(|s| s.options.bwlimit = 0)),
    Row::new("stop-after", 0, TakeWith(scan::stop_after))
        .help("--stop-after=MINS", "stop after MINS minutes"),
    Row::new("time-limit", 0, TakeWith(scan::stop_after)).same_as("stop-after"),
    Row::new("stop-at", 0, TakeWith(scan::stop_at)).help("--stop-at=y-m-dTh:m", "stop at this time"),
    Row::new("fsync", 0, Switch(|s| &mut s.options.fsync, true)).help("--fsync", "fsync every written file"),
    Row::new("write-batch", 0, Text(|s| &mut s.write_batch))
        .help("--write-batch=FILE", "record the transfer in FILE"),
    Row::new("only-write-batch", 0, Text(|s| &mut s.only_write_batch))
        .help("--only-write-batch=FILE", "... without updating the destination"),
    Row::new("read-batch", 0, Text(|s| &mut s.read_batch))
        .help("--read-batch=FILE", "apply a recorded transfer"),
    Row::new("protocol", 0, Int(|s, n| s.options.protocol = Some(n)))
        .help("--protocol=NUM", "speak an older protocol version"),
    Row::new("iconv", 0, Text(|s| &mut s.iconv))
        .refused(Refusal::Exact)
        .help("--iconv=CONVERT_SPEC", "convert the charset of names"),
    Row::new(
        "no-iconv",
        0,
        Set(|s| {
            s.iconv = None;
            s.iconv_off = true;
        }),
    )
    .refused(Refusal::Exact),
    Row::new("checksum-seed", 0, Int(|s, n| s.options.checksum_seed = n))
        .refused(Refusal::Exact)
        .help("--checksum-seed=NUM", "seed of checksums"),
    Row::new("qsort", 0, Switch(|s| &mut s.qsort, true)),
    Row::new("use-qsort", 0, Switch(|s| &mut s.qsort, true)).same_as("qsort"),
    Row::new("ipv4", b'4', Set(|s| s.options.family = AddressFamily::V4)).help("--ipv4, -4", "prefer IPv4"),
    Row::new("ipv6", b'6', Set(|s| s.options.family = AddressFamily::V6)).help("--ipv6, -6", "prefer IPv6"),
    Row::new("version", b'V', Count(|s| &mut s.version))
        .help("--version, -V", "print the version and what is built in"),
    Row::new("help", 0, Act(|_| Err(Halt::Help)))
        .help("--help, -h (*)", "show this help (* -h is help only on its own)"),
    Row::new("restricted", 0, Act(scan::restricted))
        .ours()
        .help("--restricted", "serve one directory to an ssh key (ours)"),
    Row::new("server", 0, Server).refused(Refusal::Exact),
    Row::new("sender", 0, Sender).refused(Refusal::Exact),
    Row::new("daemon", 0, DaemonMode(false)).refused(Refusal::Never),
    Row::new("config", 0, DaemonMode(true)).refused(Refusal::Never),
    Row::new("dparam", 0, DaemonMode(true)).refused(Refusal::Never),
    Row::new("detach", 0, DaemonMode(false)).refused(Refusal::Never),
    Row::new("no-detach", 0, DaemonMode(false)).refused(Refusal::Never),
];
