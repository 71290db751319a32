//! The one option type of the workspace: what a transfer shall do, after parsing and all checks.
//!
//! The parser fills it, library users build it by hand, the engine reads it (spec 08 §1 to §5).
//! Values here are final: implications (`-a`, `--append` means in-place...) were already applied.

use bstr::BString;

use super::choice::{
    AddressFamily, Append, BasisDirs, Batch, ChecksumNames, Compress, DeleteTiming, FilesFrom, FilterArg,
    Iconv, MissingArgs, OutputBuffer, Reflink, RemoveSource, StderrMode, SuperUser,
};
use super::verbosity::{DebugLevels, InfoLevels};

/// How a command line said things, as far as that changes the server arguments (spec 01 §3).
///
/// The default suits options that were built by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one command line")]
pub struct Forwarding {
    /// `dirs` is on without `-d`, so that the server derives it itself.
    pub dirs_implied: bool,
    /// `--list-only` was typed, and not implied by a missing destination.
    pub list_only: bool,
    /// Recursion was asked for by itself, not as a part of `-a`; a replayed batch speaks of that.
    pub recurse_typed: bool,
    /// Compression is on only because of a level.
    pub compress_implied: bool,
    /// `--compress-choice` as typed, unless `auto`.
    pub compress_choice: Option<BString>,
    /// `--max-alloc` or its variable as typed.
    pub max_alloc: Option<BString>,
    /// `--partial-dir` was implied by `--delay-updates`.
    pub partial_dir_implied: bool,
    /// `--modify-window` was typed, so that even 0 is sent.
    pub modify_window: bool,
}

/// What a transfer shall do. `TransferOptions::default()` is `rsync` without options.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "rsync's options are switches")]
pub struct TransferOptions {
    // What is transferred.
    /// Descend into directories (`-r`).
    pub recurse: bool,
    /// Transfer directories without descending (`-d`; also on with `recurse`).
    pub dirs: bool,
    /// Allow file lists in pieces (`--inc-recursive`).
    pub inc_recursive: bool,
    /// Keep the path of the arguments (`-R`).
    pub relative: bool,
    /// With `relative`: send attributes of parent directories.
    pub implied_dirs: bool,
    /// Stay on one file system: 1 keeps mount points as empty directories, 2 drops them (`-x`).
    pub one_file_system: u8,
    /// Names to transfer come from a file.
    pub files_from: Option<FilesFrom>,
    /// Lists of names and rules end their lines with NUL (`-0`).
    pub from0: bool,
    /// Filter rules in the order typed.
    pub filters: Vec<FilterArg>,
    /// The rules of CVS (`-C`).
    pub cvs_exclude: bool,
    /// Drop directories that end up empty (`-m`).
    pub prune_empty_dirs: bool,
    /// Skip regular files of more bytes.
    pub max_size: Option<u64>,
    /// Skip regular files of fewer bytes.
    pub min_size: Option<u64>,
    /// Sources that do not exist.
    pub missing_args: MissingArgs,
    /// Follow symlinks (`-L`).
    pub copy_links: bool,
    /// Follow symlinks that leave the transfer.
    pub copy_unsafe_links: bool,
    /// Ignore symlinks that leave the transfer.
    pub safe_links: bool,
    /// Make symlinks unusable (`--munge-links`); `None` if nothing was said.
    pub munge_links: Option<bool>,
    /// Follow symlinks to directories on the sender (`-k`).
    pub copy_dirlinks: bool,
    /// Treat a receiver's symlink to a directory as one (`-K`).
    pub keep_dirlinks: bool,
    /// Send device contents as regular files.
    pub copy_devices: bool,

    // Which files are up to date.
    /// Skip files that do not exist at the destination.
    pub existing: bool,
    /// Skip files that exist at the destination.
    pub ignore_existing: bool,
    /// Skip files that are newer at the destination (`-u`).
    pub update: bool,
    /// Transfer even if size and time match (`-I`).
    pub ignore_times: bool,
    /// Equal size means equal content.
    pub size_only: bool,
    /// Seconds two times may differ; -1 compares nanoseconds (`-@`).
    pub modify_window: i32,
    /// Compare content by checksum (`-c`).
    pub checksum: bool,

    // Attributes.
    /// `-l`.
    pub links: bool,
    /// `-p`.
    pub perms: bool,
    /// `-E`.
    pub executability: bool,
    /// `-t`.
    pub times: bool,
    /// `-O`, also implied by `-b` without `--backup-dir`.
    pub omit_dir_times: bool,
    /// `-J`.
    pub omit_link_times: bool,
    /// Access times: 1 preserves them, 2 also opens files without changing them (`-U`).
    pub atimes: u8,
    /// Open source files without changing their access time.
    pub open_noatime: bool,
    /// `-N`.
    pub crtimes: bool,
    /// `-o`.
    pub owner: bool,
    /// `-g`.
    pub group: bool,
    /// `--devices`.
    pub devices: bool,
    /// `--specials`.
    pub specials: bool,
    /// Do not create devices and specials on the receiver (`--drop-D`).
    pub drop_devices: bool,
    /// Hard links: 1 preserves them, 2 also between lists (`-H`).
    pub hard_links: u8,
    /// `-A`.
    pub acls: bool,
    /// Extended attributes: 2 also sends rsync's own (`-X`).
    pub xattrs: u8,
    /// Do not map names of users and groups.
    pub numeric_ids: bool,
    /// Text of `--usermap` (or of `--chown`).
    pub usermap: Option<BString>,
    /// Text of `--groupmap` (or of `--chown`).
    pub groupmap: Option<BString>,
    /// Texts of `--chmod` in order.
    pub chmod: Vec<BString>,
    /// Who may set privileged attributes.
    pub super_user: SuperUser,
    /// Charset conversion; `None` is off.
    pub iconv: Option<Iconv>,

    // How content travels.
    /// `-W` (`Some(true)`), `--no-whole-file`, or undecided.
    pub whole_file: Option<bool>,
    /// Names of `--checksum-choice`; `None` negotiates.
    pub checksum_choice: Option<ChecksumNames>,
    /// Seed of block sums; 0 chooses one from the time.
    pub checksum_seed: i32,
    /// Block length in bytes; 0 is automatic (`-B`).
    pub block_size: u32,
    /// Compression.
    pub compress: Compress,
    /// Level of compression, clamped by the algorithm; `None` is its default.
    pub compress_level: Option<i32>,
    /// Worker threads of Zstandard.
    pub compress_threads: u32,
    /// Suffixes not to compress, separated by `/`; `None` is the built-in list.
    pub skip_compress: Option<BString>,

    // How the destination is written.
    /// `--inplace`, also by append and write-devices.
    pub inplace: bool,
    /// `--append`.
    pub append: Append,
    /// `-S`.
    pub sparse: bool,
    /// `--preallocate`.
    pub preallocate: bool,
    /// Whether copies of local files share their blocks; the default is to do so where possible.
    pub reflink: Reflink,
    /// Write to devices as if they were files.
    pub write_devices: bool,
    /// Keep partial files.
    pub partial: bool,
    /// Keep them in this directory.
    pub partial_dir: Option<BString>,
    /// Put all files in place at the end.
    pub delay_updates: bool,
    /// Directory of temporary files (`-T`).
    pub temp_dir: Option<BString>,
    /// `--fsync`.
    pub fsync: bool,
    /// Create missing parents of the destination.
    pub mkpath: bool,
    /// Alternate destinations.
    pub basis_dirs: Option<BasisDirs>,
    /// Look for similar names: 2 also in the alternate destinations (`-y`).
    pub fuzzy: u8,
    /// Look for missing files under other names anywhere in the destination (`--detect-renamed`, not in
    /// the C rsync).
    pub detect_renamed: bool,
    /// Keep replaced and deleted files (`-b`).
    pub backup: bool,
    /// Where to keep them; `None` is beside the original.
    pub backup_dir: Option<BString>,
    /// Suffix of kept files; may be empty with `backup_dir`.
    pub suffix: BString,
    /// Change nothing (`-n`).
    pub dry_run: bool,

    // Deletions.
    /// When to delete what the sender lacks; see [`Self::delete_mode`].
    pub delete: DeleteTiming,
    /// Delete excluded files too.
    pub delete_excluded: bool,
    /// At most so many deletions.
    pub max_delete: Option<i64>,
    /// Delete even after I/O errors.
    pub ignore_errors: bool,
    /// Replace non-empty directories by other things.
    pub force: bool,
    /// Remove sources that were sent.
    pub remove_source: RemoveSource,

    // What is reported.
    /// Info words and their levels.
    pub info: InfoLevels,
    /// Debug words and their levels.
    pub debug: DebugLevels,
    /// Count of `-v`.
    pub verbose: u32,
    /// `-q`.
    pub quiet: bool,
    /// Itemize changes: 1 changed items, 2 also unchanged ones (`-i`).
    pub itemize: u8,
    /// Format of the line per item (`--out-format`); a server's `--log-format`.
    pub out_format: Option<BString>,
    /// `--stats`.
    pub stats: bool,
    /// `--progress`.
    pub progress: bool,
    /// One live line on a terminal (`--progress=bar`, not in the C rsync).
    pub progress_bar: bool,
    /// Every event as a line of JSON (`--json`, not in the C rsync). Items are itemized.
    pub json: bool,
    /// `-h` level: 0 plain digits, 1 grouped (default), 2 decimal units, 3 binary units.
    pub human_readable: u8,
    /// Do not escape bytes above 127 (`-8`).
    pub eight_bit_output: bool,
    /// Only list the source: typed, or because there is no destination.
    pub list_only: bool,
    /// Where messages go.
    pub stderr: StderrMode,
    /// Buffering of standard output.
    pub outbuf: Option<OutputBuffer>,
    /// Local log.
    pub log_file: Option<BString>,
    /// Format of its lines.
    pub log_file_format: Option<BString>,

    // Limits.
    /// Seconds without I/O before the transfer fails; 0 is none.
    pub timeout: u32,
    /// Seconds for connecting to a daemon; 0 is none.
    pub contimeout: u32,
    /// KiB per second; 0 is unlimited.
    pub bwlimit: u64,
    /// Unix time at which to stop.
    pub stop_at: Option<i64>,
    /// Most bytes of one allocation; 0 is the largest possible.
    pub max_alloc: u64,

    // The connection.
    /// Protocol to offer at most; `None` is the newest.
    pub protocol: Option<i32>,
    /// Remote shell command.
    pub rsh: Option<BString>,
    /// Program on the remote host.
    pub rsync_path: Option<BString>,
    /// Extra options for the server (`-M`).
    pub remote_options: Vec<BString>,
    /// `--old-args` count.
    pub old_args: u8,
    /// Send arguments over the protocol (`-s`).
    pub secluded_args: bool,
    /// Accept any name from the sender.
    pub trust_sender: bool,
    /// Port of a daemon; 0 is 873.
    pub port: i32,
    /// Local address to bind.
    pub address: Option<BString>,
    /// Address family.
    pub family: AddressFamily,
    /// Socket options.
    pub sockopts: Option<BString>,
    /// Blocking pipes to the remote shell; `None` decides by its name.
    pub blocking_io: Option<bool>,
    /// File with the daemon password; `-` is standard input.
    pub password_file: Option<BString>,
    /// File to send before the module request.
    pub early_input: Option<BString>,
    /// Show the daemon's message of the day.
    pub motd: bool,
    /// Batch file.
    pub batch: Option<Batch>,
    /// `USER[:GROUP]` to become.
    pub copy_as: Option<BString>,
    /// Bound for operator paths.
    pub confine_root: Option<BString>,
    /// Follow untrusted symlinks in operator paths.
    pub insecure_links: bool,

    // The role.
    /// This process is a server.
    pub server: bool,
    /// The server is the sender.
    pub sender: bool,
    /// A server's capability text from the client (`-e`).
    pub client_capabilities: Option<BString>,
    /// What to forward, see [`Forwarding`].
    pub forwarding: Forwarding,
}

/// Default of [`TransferOptions::max_alloc`]: 1 GiB.
pub const DEFAULT_MAX_ALLOC: u64 = 1 << 30;

impl Default for TransferOptions {
    fn default() -> Self {
        Self {
            recurse: false,
            dirs: false,
            inc_recursive: true,
            relative: false,
            implied_dirs: true,
            one_file_system: 0,
            files_from: None,
            from0: false,
            filters: Vec::new(),
            cvs_exclude: false,
            prune_empty_dirs: false,
            max_size: None,
            min_size: None,
            missing_args: MissingArgs::default(),
            copy_links: false,
            copy_unsafe_links: false,
            safe_links: false,
            munge_links: None,
            copy_dirlinks: false,
            keep_dirlinks: false,
            copy_devices: false,
            existing: false,
            ignore_existing: false,
            update: false,
            ignore_times: false,
            size_only: false,
            modify_window: 0,
            checksum: false,
            links: false,
            perms: false,
            executability: false,
            times: false,
            omit_dir_times: false,
            omit_link_times: false,
            atimes: 0,
            open_noatime: false,
            crtimes: false,
            owner: false,
            group: false,
            devices: false,
            specials: false,
            drop_devices: false,
            hard_links: 0,
            acls: false,
            xattrs: 0,
            numeric_ids: false,
            usermap: None,
            groupmap: None,
            chmod: Vec::new(),
            super_user: SuperUser::default(),
            iconv: None,
            whole_file: None,
            checksum_choice: None,
            checksum_seed: 0,
            block_size: 0,
            compress: Compress::default(),
            compress_level: None,
            compress_threads: 0,
            skip_compress: None,
            inplace: false,
            append: Append::default(),
            sparse: false,
            preallocate: false,
            reflink: Reflink::default(),
            write_devices: false,
            partial: false,
            partial_dir: None,
            delay_updates: false,
            temp_dir: None,
            fsync: false,
            mkpath: false,
            basis_dirs: None,
            fuzzy: 0,
            detect_renamed: false,
            backup: false,
            backup_dir: None,
            suffix: BString::from("~"),
            dry_run: false,
            delete: DeleteTiming::default(),
            delete_excluded: false,
            max_delete: None,
            ignore_errors: false,
            force: false,
            remove_source: RemoveSource::default(),
            info: InfoLevels::default(),
            debug: DebugLevels::default(),
            verbose: 0,
            quiet: false,
            itemize: 0,
            out_format: None,
            stats: false,
            progress: false,
            progress_bar: false,
            json: false,
            human_readable: 1,
            eight_bit_output: false,
            list_only: false,
            stderr: StderrMode::default(),
            outbuf: None,
            log_file: None,
            log_file_format: None,
            timeout: 0,
            contimeout: 0,
            bwlimit: 0,
            stop_at: None,
            max_alloc: DEFAULT_MAX_ALLOC,
            protocol: None,
            rsh: None,
            rsync_path: None,
            remote_options: Vec::new(),
            old_args: 0,
            secluded_args: false,
            trust_sender: false,
            port: 0,
            address: None,
            family: AddressFamily::default(),
            sockopts: None,
            blocking_io: None,
            password_file: None,
            early_input: None,
            motd: true,
            batch: None,
            copy_as: None,
            confine_root: None,
            insecure_links: false,
            server: false,
            sender: false,
            client_capabilities: None,
            forwarding: Forwarding::default(),
        }
    }
}

impl TransferOptions {
    /// `rsync -a`.
    #[must_use]
    pub fn archive() -> Self {
        let mut options = Self::default();
        options.set_archive();
        options
    }

    /// Turns on what `-a` stands for: `-rlptgoD`.
    pub fn set_archive(&mut self) {
        self.recurse = true;
        self.dirs = true;
        self.links = true;
        self.perms = true;
        self.times = true;
        self.group = true;
        self.owner = true;
        self.devices = true;
        self.specials = true;
    }

    /// When deletions happen at this protocol; never [`DeleteTiming::Unspecified`] (spec 08 §4 step 15).
    /// `delete_during_default` is `negotiated` of protocol 30 or later.
    #[must_use]
    pub fn delete_mode(&self, delete_during_default: bool) -> DeleteTiming {
        match self.delete {
            DeleteTiming::Unspecified if delete_during_default => DeleteTiming::During,
            DeleteTiming::Unspecified => DeleteTiming::Before,
            chosen => chosen,
        }
    }

    /// Whether files that the sender lacks are deleted at all.
    #[must_use]
    pub fn deletes(&self) -> bool {
        self.delete != DeleteTiming::None
    }

    /// Whether the token streams may be compressed.
    #[must_use]
    pub fn is_compressing(&self) -> bool {
        self.compress != Compress::Off
    }

    /// Whether blocks are never matched: `-W`, or undecided and `local`.
    #[must_use]
    pub fn is_whole_file(&self, local: bool) -> bool {
        self.whole_file.unwrap_or(local && !self.writes_batch())
    }

    /// Whether a batch file is written.
    #[must_use]
    pub fn writes_batch(&self) -> bool {
        matches!(self.batch, Some(Batch::Write(_) | Batch::OnlyWrite(_)))
    }

    /// Whether nothing at the destination is changed: a dry run, or a batch that is only written.
    #[must_use]
    pub fn changes_nothing(&self) -> bool {
        self.dry_run || matches!(self.batch, Some(Batch::OnlyWrite(_)))
    }

    /// The partial directory in use: none when files are written in place.
    #[must_use]
    pub fn effective_partial_dir(&self) -> Option<&BString> {
        if self.inplace { None } else { self.partial_dir.as_ref() }
    }
}
