//! What the manual says about each option, in the order of the table (spec 08).
//!
//! The key is the long name, or the letter of an option that has none.

/// Key and text of every option that the help lists under a name of its own.
pub(super) const TEXTS: &[(&str, &str)] = &[
    (
        "verbose",
        "Says more. Once: the names of files and a summary; twice: also files that are up to date, and what is \
         skipped; from three times on: how the transfer works. --info and --debug choose word by word.",
    ),
    (
        "info",
        "Chooses what is reported: a list of words with a level each, such as progress2,name0. \
         --info=help prints the words and what -v adds. A word that is given here is not changed by -v.",
    ),
    (
        "debug",
        "Chooses what is told about the inner workings: a list of words with a level each, such as filter2. \
         --debug=help prints the words.",
    ),
    (
        "stderr",
        "Where messages of the remote side go: \"errors\" (the default) sends errors to standard error, \"all\" \
         every message, \"client\" lets this side print what the other side says. The first letter is enough.",
    ),
    ("quiet", "Prints nothing but errors. Useful from cron."),
    (
        "no-motd",
        "Hides what a daemon says before the transfer begins. The list of its modules is part of that.",
    ),
    (
        "checksum",
        "Compares files of the same size by the checksum of their content; by default those of the same size \
         and modification time count as equal. Both sides read all files of equal size, which takes a while.",
    ),
    (
        "archive",
        "Copies a tree as it is: recursively, with symbolic links, permissions, times, group, owner, devices and \
         special files. Hard links (-H), ACLs (-A), extended attributes (-X) and access times (-U) are asked for \
         one by one. A following --no-OPTION takes a part away, as in -a --no-owner.",
    ),
    ("recursive", "Descends into directories. Without it, and without --dirs, directories are skipped."),
    (
        "inc-recursive",
        "Sends the file list in pieces while the transfer runs, which saves memory and starts sooner. This is \
         the default with -r where both sides can; some options turn it off because they need the whole list.",
    ),
    ("no-inc-recursive", "Builds the whole file list before anything is transferred."),
    (
        "relative",
        "Keeps the paths of the arguments: \"rsync -R /a/b/c host:/t\" makes /t/a/b/c. A \"/./\" in an argument \
         marks where the kept part begins.",
    ),
    (
        "no-implied-dirs",
        "With --relative, leaves directories above the arguments as the destination has them, and does not send \
         their attributes.",
    ),
    ("backup", "Keeps what is replaced or deleted, under its name with a suffix, or in --backup-dir."),
    (
        "backup-dir",
        "Keeps what is replaced or deleted in this directory, in the same tree of directories. A relative path \
         is beneath the destination. Implies --backup.",
    ),
    ("suffix", "What is put behind the names of kept files: \"~\" by default, nothing with --backup-dir."),
    (
        "update",
        "Skips files that are newer at the destination. Files of equal time and different size are transferred.",
    ),
    (
        "inplace",
        "Writes into the destination's file instead of making a new one and renaming it. It saves room and keeps \
         hard links; readers see an unfinished file, and so does everybody after an interruption.",
    ),
    (
        "append",
        "Takes what the destination has of a shorter file for right and sends only the rest. Files that are not \
         shorter are skipped. For files that only ever grow.",
    ),
    ("append-verify", "Like --append, and checks the whole file in the end; what was wrong is sent again."),
    (
        "dirs",
        "Transfers directories themselves, without what is in them unless their name ends with a slash or is \".\".",
    ),
    ("old-dirs", "Does the same with servers that are too old for --dirs, by recursion and a filter."),
    ("mkpath", "Creates the missing directories of the destination's path."),
    ("links", "Copies symbolic links as symbolic links. By default they are skipped."),
    ("copy-links", "Copies what symbolic links point to in place of the links."),
    (
        "copy-unsafe-links",
        "Copies what a symbolic link points to if that is outside of the tree, and other links as links.",
    ),
    ("safe-links", "Leaves out symbolic links that point outside of the tree, all absolute ones included."),
    (
        "insecure-links",
        "Follows symbolic links of any owner in the paths that options name. By default only those of root and \
         of the user who runs the program are followed there.",
    ),
    (
        "confine-root",
        "Refuses paths named by options that lead outside of this directory, an absolute path. For programs that \
         run rsync on behalf of somebody.",
    ),
    (
        "munge-links",
        "Makes symbolic links unusable where they are received, by a prefix in their targets, and takes the \
         prefix away where they are sent.",
    ),
    (
        "copy-dirlinks",
        "Treats a symbolic link to a directory as that directory, on the sending side. Other links stay links.",
    ),
    (
        "keep-dirlinks",
        "Uses a symbolic link to a directory at the destination where the source has a directory, instead of \
         replacing it. Only where the destination is trusted.",
    ),
    (
        "hard-links",
        "Finds files that are hard links of each other and links them at the destination, too. Not implied by -a, \
         since every link has to be remembered.",
    ),
    (
        "perms",
        "Gives the destination the permissions of the source. Without it new files get those of the source \
         limited by the umask, and old ones keep theirs.",
    ),
    ("executability", "Keeps whether a regular file can be executed, where --perms is not in use."),
    (
        "chmod",
        "Changes the permissions of what is transferred, in the notation of chmod(1), as in Dg+s,ug+w,Fo-w: D \
         is for directories alone, F for everything else. May be repeated.",
    ),
    ("acls", "Copies access control lists. Implies --perms."),
    (
        "xattrs",
        "Copies extended attributes. As root all but the system's own, otherwise those in the user's name space.",
    ),
    (
        "owner",
        "Copies the owner, by name where both sides know it. Only root may set owners at the destination.",
    ),
    (
        "group",
        "Copies the group, by name where both sides know it. Other users than root can only set groups that they \
         are members of.",
    ),
    ("devices", "Copies device files as such. Only root may create them."),
    ("copy-devices", "Reads devices at the source and copies what they hold as regular files."),
    ("write-devices", "Writes file content into devices at the destination. Implies --inplace."),
    ("specials", "Copies fifos and sockets as such."),
    ("drop-D", "Does not create device and special files here, even if they are asked for."),
    ("-D", "The same as --devices --specials."),
    ("times", "Copies modification times. Without it the next run cannot see that a file is up to date."),
    ("atimes", "Copies access times. Twice: also leaves those of the files that are read alone."),
    ("open-noatime", "Reads files without changing their access times, where the system allows that."),
    ("crtimes", "Would copy creation times; Linux cannot set them, so the option is refused here."),
    ("omit-dir-times", "Leaves the times of directories alone, although --times is in use."),
    ("omit-link-times", "Leaves the times of symbolic links alone, although --times is in use."),
    (
        "super",
        "Tries what only root may do (owners, devices) even if the receiving side does not run as root. \
         --no-super leaves it alone even as root.",
    ),
    (
        "fake-super",
        "Keeps owner, group, devices and permissions that cannot be set in an extended attribute, and takes them \
         from there when sending. It concerns this side; -M--fake-super asks the remote side for it.",
    ),
    ("sparse", "Makes holes of runs of zeros, so that files with many of them take less room."),
    ("preallocate", "Reserves the room of a file before it is written, so that it is in one piece."),
    (
        "reflink",
        "Whether the copy of a local file shares its blocks with it, which takes neither time nor room until one of \
         them is changed. auto (the default) does so where the file system can, such as Btrfs or XFS, and copies \
         elsewhere; always ends the run where it cannot; never gives every copy blocks of its own.",
    ),
    (
        "dry-run",
        "Changes nothing and shows what would be done. With -i or -v; --itemize-changes tells the most.",
    ),
    (
        "whole-file",
        "Sends whole files instead of the differences. This is the default for local copies; it is faster where \
         the network is faster than the disks.",
    ),
    ("no-whole-file", "Sends differences, also in local copies."),
    (
        "checksum-choice",
        "Chooses the checksum of the transfer and, behind a comma, that of --checksum: xxh128, xxh3, xxh64, md5, \
         md4, sha1, none or auto (the default: the best that both sides have).",
    ),
    (
        "one-file-system",
        "Stays on the file system of each argument. Directories where another one is mounted are copied empty; \
         twice: not at all.",
    ),
    (
        "block-size",
        "The length of the blocks that differences are found with, up to 128K. By default it follows from the \
         file's size.",
    ),
    (
        "rsh",
        "The remote shell with its options, \"ssh\" by default; RSYNC_RSH says the same. Words are split at blanks, \
         quotes keep them together. With \"::\" a daemon is started through it.",
    ),
    (
        "rsync-path",
        "The program to run on the remote machine, \"rsync\" by default. The remote shell reads it, so that it may \
         have words before and behind: \"sudo rsync\".",
    ),
    ("existing", "Updates what is there and creates nothing new."),
    ("ignore-existing", "Creates what is missing and leaves what is there alone."),
    (
        "remove-source-files",
        "Removes each file at the source that arrived. Directories stay. Files that somebody still writes to are \
         lost that way.",
    ),
    (
        "delete",
        "Deletes from directories of the destination what the source does not have. Needs -r or -d. What is \
         excluded is kept, and nothing is deleted after an error while the source was read. When: see the other \
         --delete options; without one, during the transfer where both sides can.",
    ),
    ("delete-before", "Deletes before the transfer begins. Makes room, and costs a moment at the start."),
    ("delete-during", "Deletes in each directory as the transfer comes to it. The quickest way."),
    (
        "delete-delay",
        "Finds out during the transfer what to delete, and deletes after it. Good for mirrors that are read \
         meanwhile.",
    ),
    ("delete-after", "Deletes after the transfer. Rule files of directories that arrive with it are obeyed."),
    ("delete-excluded", "Deletes also what is excluded. A \"protect\" rule still keeps it."),
    ("ignore-missing-args", "Takes an argument that does not exist for nothing, without an error."),
    (
        "delete-missing-args",
        "Deletes at the destination what an argument names that does not exist at the source.",
    ),
    ("ignore-errors", "Deletes even if a part of the source could not be read. Dangerous."),
    (
        "force",
        "Deletes a directory that is not empty to make room for something that is no directory. --delete implies \
         it.",
    ),
    (
        "max-delete",
        "Deletes no more than this many entries; further ones are counted, and the exit code is 25. 0 only \
         warns.",
    ),
    (
        "max-size",
        "Skips larger files. Units are K, M, G, T and P, of 1024, or of 1000 with a B behind them; \"+1\" and \
         \"-1\" at the end shift the limit by a byte.",
    ),
    ("min-size", "Skips smaller files. Units as for --max-size."),
    (
        "max-alloc",
        "Most memory for one allocation, 1G by default; RSYNC_MAX_ALLOC says the same. It protects against what a \
         peer may ask for.",
    ),
    (
        "partial",
        "Keeps what there is of a file after an interruption, so that the next run goes on from there. By \
         default it is removed.",
    ),
    (
        "partial-dir",
        "Keeps what there is of a file in this directory beside it, out of sight of readers. Best relative, as \
         .rsync-partial; the directory is created and removed as needed and never transferred. \
         RSYNC_PARTIAL_DIR names it for --partial.",
    ),
    (
        "delay-updates",
        "Puts all new files into place at the end of the transfer, nearly at once. Until then they wait in .~tmp~ \
         beside their places, or in --partial-dir.",
    ),
    (
        "prune-empty-dirs",
        "Leaves out directories that hold no files in the end, because of filters for example.",
    ),
    ("numeric-ids", "Copies the numbers of owners and groups and does not look at their names."),
    (
        "usermap",
        "Gives files of one user to another: FROM:TO pairs with commas between. FROM may be a name, a pattern, a \
         number, a range of numbers, or empty for users without a name; TO is a name or a number.",
    ),
    ("groupmap", "Gives files of one group to another, in the notation of --usermap."),
    ("chown", "Gives everything to this USER, this :GROUP, or both. Short for --usermap and --groupmap."),
    (
        "timeout",
        "Gives up after so many seconds without any data in either direction. 0, the default, waits for ever.",
    ),
    ("contimeout", "Gives up if a daemon cannot be reached within so many seconds."),
    ("ignore-times", "Transfers files even if their size and time are right."),
    ("size-only", "Takes files of the right size for equal, whatever their times."),
    (
        "modify-window",
        "Takes times for equal that differ by no more than so many seconds. 0 is the default, -1 also compares \
         fractions of seconds, 1 suits FAT file systems.",
    ),
    (
        "temp-dir",
        "Creates new files in this directory first. It should be on the file system of the destination, or every \
         file is copied once more in the end.",
    ),
    (
        "fuzzy",
        "Looks for a file of a similar name, or of the same size and time, in the destination's directory when a \
         file is missing, and sends only the differences. Twice: also in the directories of --link-dest and its \
         kin.",
    ),
    (
        "detect-renamed",
        "Looks for a missing file under other names, anywhere in the destination: one of the same size and time \
         most likely is the same file, and only the differences are sent. With --checksum the file of the same \
         checksum is copied, and nothing is sent. Files to be deleted count, too: --delete-before and \
         --delete-during become --delete-delay. It acts where the files are received; in a local copy, only with \
         --checksum.",
    ),
    (
        "compare-dest",
        "Does not transfer what this directory has unchanged. A relative path is beneath the destination. May be \
         repeated, up to 20 times.",
    ),
    ("copy-dest", "Copies from this directory what it has unchanged, instead of transferring it."),
    (
        "link-dest",
        "Makes hard links to what this directory has unchanged. So each backup is a whole tree, and takes the room \
         of what changed.",
    ),
    (
        "compress",
        "Compresses what is sent. The method is the best that both sides have, or --compress-choice.",
    ),
    (
        "compress-choice",
        "Chooses the compression: zstd, lz4, zlibx, zlib, none, or auto. Implies --compress.",
    ),
    (
        "compress-level",
        "How hard to compress: 1 to 9 for zlib (default 6), up to 22 for zstd (default 3). Implies --compress.",
    ),
    ("compress-threads", "Threads of zstd compression on this side."),
    (
        "skip-compress",
        "Suffixes of files that are not worth compressing, with slashes between: gz/zip/jpg. Replaces the \
         built-in list.",
    ),
    (
        "cvs-exclude",
        "Leaves out what CVS leaves out: editors' backups, object files, .git and the like, what $HOME/.cvsignore \
         and CVSIGNORE name, and what the .cvsignore of each directory names.",
    ),
    (
        "filter",
        "Adds a rule that says what is transferred and what is deleted: \"- PATTERN\" excludes, \"+ PATTERN\" \
         includes, \"P PATTERN\" protects from deletion, \". FILE\" reads rules, \": FILE\" reads them in each \
         directory. The first rule that matches counts.",
    ),
    (
        "-F",
        "The same as --filter=': /.rsync-filter': rules are read from files of that name in each directory. Twice: \
         also leaves these files out.",
    ),
    (
        "exclude",
        "Leaves out what matches. \"*\" matches within a name, \"**\" also slashes; a slash at the front ties the \
         pattern to the top of the transfer, one at the end lets it match directories alone.",
    ),
    ("exclude-from", "Reads patterns to exclude from a file, one a line; \"-\" is standard input."),
    ("include", "Keeps what matches, even if a later rule excludes it."),
    ("include-from", "Reads patterns to include from a file, one a line; \"-\" is standard input."),
    (
        "files-from",
        "Reads the names to transfer from a file, one a line, relative to the only source; \"-\" is standard \
         input, HOST:FILE or :FILE a file of the remote side. Implies --relative and --dirs.",
    ),
    ("from0", "The lines of all files of names and rules end with a NUL byte, as those of find -print0."),
    (
        "old-args",
        "Lets the remote shell split and expand the arguments, as rsync did before version 3.2.4. \
         RSYNC_OLD_ARGS says the same.",
    ),
    (
        "secluded-args",
        "Sends options and arguments inside of the protocol, out of the remote shell's reach. \
         RSYNC_PROTECT_ARGS says the same.",
    ),
    (
        "trust-sender",
        "Does not check that the sender sends only what was asked for. For senders that are trusted with \
         everything that the destination holds.",
    ),
    ("copy-as", "Becomes this user, and group, for the copy on this side. Needs root."),
    ("address", "The address of this machine that connections to a daemon come from."),
    ("port", "The port of the daemon where a URL names none; 873, and 874 for rsyncs://."),
    ("sockopts", "Options of the TCP socket, as TCP_NODELAY or SO_SNDBUF=65536, with commas between."),
    ("blocking-io", "Gives the remote shell blocking pipes. The default for rsh."),
    ("outbuf", "Writes standard output at once (N), by lines (L) or by blocks (B)."),
    (
        "stats",
        "Prints how many files and bytes were looked at, transferred, found at the destination, and deleted.",
    ),
    ("8-bit-output", "Prints bytes above 127 as they are. By default those that are no text show as \\#ooo."),
    (
        "human-readable",
        "Prints large numbers with units of 1000; twice: of 1024. By default digits stand in groups; --no-h \
         prints them plainly. Alone on the line, -h is --help.",
    ),
    (
        "progress",
        "Shows how far each file is. With --progress=bar, which the C rsync does not have, one live line shows \
         how far the whole transfer is, its rate and the time left, below everything else that is printed; where \
         standard output is no terminal, it shows nothing. --info=progress2 is rsync's own form for all files.",
    ),
    (
        "json",
        "Prints every event as a line of JSON on standard output: files, deletions, messages, progress, and in the \
         end the totals and the exit code. docs/json.md describes them.",
    ),
    ("-P", "The same as --partial --progress."),
    (
        "itemize-changes",
        "Prints for every change what it is: the way, the type and eleven columns of attributes. Twice: also for \
         what is up to date.",
    ),
    ("remote-option", "Gives an option to the remote side alone, as in -M--log-file=x."),
    (
        "out-format",
        "Prints each item in this format: %n is its name, %l its length, %i the columns of -i, %o what happened, \
         %M its time, %C its checksum; see \"log format\" in rsyncd.conf(5).",
    ),
    ("log-file", "Appends what happened to this file, with times. For the remote side: -M--log-file=FILE."),
    ("log-file-format", "The format of lines about items in the log file, \"%i %n%L\" by default."),
    (
        "password-file",
        "Reads the daemon's password from the first line of this file; \"-\" is standard input. Others must not \
         be able to read it. RSYNC_PASSWORD is asked next, then the terminal.",
    ),
    ("early-input", "Sends up to 5K of this file to the script that the daemon runs before all else."),
    ("list-only", "Lists the source instead of copying it. This is also what a missing destination means."),
    (
        "bwlimit",
        "Sends no more than so many KiB a second, on average; units as for --max-size. 0 is no limit.",
    ),
    ("stop-after", "Ends in order after so many minutes."),
    ("stop-at", "Ends in order at this moment, as 2030-12-31T23:59, or 23:59 for the next one."),
    ("fsync", "Waits until each file is on the disk before it is put into place."),
    (
        "write-batch",
        "Transfers, and records everything in a file that --read-batch applies to other copies of the same tree. \
         FILE.sh is a script that does so.",
    ),
    ("only-write-batch", "Records what a transfer would do, and changes nothing."),
    ("read-batch", "Applies what was recorded; \"-\" is standard input. Needs no source."),
    (
        "protocol",
        "Speaks an older version of the protocol, 20 to 32. For batches that an older rsync shall read.",
    ),
    (
        "iconv",
        "Converts names between the character sets of this side and, behind a comma, of the remote side. \".\" is \
         that of the locale. RSYNC_ICONV says the same.",
    ),
    ("checksum-seed", "The seed of the checksums of blocks and files. By default it is random."),
    ("ipv4", "Connects by IPv4 only; also tells ssh so."),
    ("ipv6", "Connects by IPv6 only; also tells ssh so."),
    ("version", "Prints the version and what this build can do; twice: as JSON."),
    ("help", "Prints a line for each option. -h means the same if it is the only word."),
    (
        "restricted",
        "As the first word: serves one directory to the owner of an ssh key, as rrsync does. See RESTRICTED USE \
         OVER SSH.",
    ),
];
