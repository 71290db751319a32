//! The checks and implications after the scan, in the order of spec 08 §4.

use bstr::{BString, ByteSlice};

use super::choice::{
    Append, Batch, ChecksumNames, Compress, DeleteTiming, FilesFrom, FilterArg, Iconv, MissingArgs,
    OutputBuffer, Reflink, StderrMode, SuperUser,
};
use super::error::{OptionError, shown};
use super::model::{DEFAULT_MAX_ALLOC, TransferOptions};
use super::parse::{Command, Environment, Pending, Rejected, Request};
use super::refuse::Refusals;
use super::scan::{Scan, max_alloc_bytes};
use super::value::parse_int;
use super::verbosity::Info;

/// Longest path of the file system interface.
const PATH_LIMIT: usize = 4096;
/// Checksum names of `--checksum-choice`.
const CHECKSUMS: &[&str] = &["xxh128", "xxh3", "xxh64", "xxhash", "md5", "md4", "sha1", "none", "auto"];
/// Directory that `--delay-updates` uses by default.
const DELAYED_DIR: &str = ".~tmp~";

/// Turns the variables of a scan into a command.
pub(super) fn finish(
    scan: Scan,
    operands: Vec<BString>,
    environment: &Environment,
    refusals: Option<&Refusals>,
    second_list: bool,
) -> Result<Command, Rejected> {
    if scan.version > 0 {
        return Ok(Command::Version(scan.version > 1 && !scan.options.server));
    }
    let mut checks = Checks { scan, operands, environment, refusals, notices: Vec::new() };
    match checks.run(second_list) {
        Ok(true) => Ok(Command::SecondList(Box::new(Pending::new(checks.scan, environment, refusals)))),
        Ok(false) => Ok(Command::Transfer(Box::new(Request {
            options: checks.scan.options,
            operands: checks.operands,
            notices: checks.notices,
        }))),
        Err(error) => Err(Rejected { error, so_far: Box::new(checks.scan.options) }),
    }
}

/// What an interrupted scan says about the handshake, which a daemon completes all the same
/// (spec 01 §2.8).
pub(super) fn interrupted(scan: Scan, environment: &Environment) -> Box<TransferOptions> {
    let mut checks = Checks { scan, operands: Vec::new(), environment, refusals: None, notices: Vec::new() };
    checks.copy_counters();
    // The scan has failed already; a bad choice is not chosen.
    let _ = checks.checksum_choice();
    let _ = checks.compress_choice();
    checks.scan.options.recurse = checks.scan.recurse > 0;
    Box::new(checks.scan.options)
}

struct Checks<'a> {
    scan: Scan,
    operands: Vec<BString>,
    environment: &'a Environment,
    refusals: Option<&'a Refusals>,
    notices: Vec<String>,
}

impl Checks<'_> {
    /// `true`: a second list of words follows.
    fn run(&mut self, second_list: bool) -> Result<bool, OptionError> {
        self.copy_counters();
        self.max_alloc()?;
        self.argument_protection()?;
        self.checksum_choice()?;
        self.compress_choice()?;
        self.outbuf()?;
        self.iconv();
        if self.scan.options.server && self.scan.secluded == Some(true) && !second_list {
            return Ok(true);
        }
        if self.scan.options.super_user == SuperUser::Fake && self.scan.options.xattrs > 1 {
            return Err(OptionError::syntax("--fake-super conflicts with -XX"));
        }
        self.batch()?;
        if self.scan.options.temp_dir.as_ref().is_some_and(|dir| dir.len() >= PATH_LIMIT - 10) {
            return Err(OptionError::syntax("the --temp-dir path is WAY too long."));
        }
        self.recursion();
        self.delete()?;
        self.missing_args()?;
        self.refused_by_implication()?;
        self.operator_paths()?;
        self.backup()?;
        self.verbosity();
        self.formats();
        self.inplace_and_partial()?;
        self.files_from()?;
        Ok(false)
    }

    fn copy_counters(&mut self) {
        let scan = &mut self.scan;
        let level = |count: u32| u8::try_from(count.min(2)).unwrap_or(2);
        scan.options.verbose = scan.verbose;
        scan.options.quiet = scan.quiet > 0;
        scan.options.human_readable = u8::try_from(scan.human.min(3)).unwrap_or(3);
        scan.options.itemize = level(scan.itemize);
        scan.options.one_file_system = level(scan.one_file_system);
        scan.options.atimes = level(scan.atimes);
        scan.options.xattrs = level(scan.xattrs);
        scan.options.hard_links = level(scan.hard_links);
        scan.options.fuzzy = level(scan.fuzzy);
        if scan.options.fuzzy > 1 && scan.options.basis_dirs.is_none() {
            scan.options.fuzzy = 1;
        }
        if scan.qsort {
            scan.options.inc_recursive = false;
        }
        if scan.options.server {
            let typed = scan.options.rsh.take();
            scan.options.client_capabilities = typed.or(scan.options.client_capabilities.take());
        }
    }

    fn max_alloc(&mut self) -> Result<(), OptionError> {
        let typed = self
            .scan
            .max_alloc
            .take()
            .or_else(|| self.environment.max_alloc.clone().filter(|text| !text.is_empty()));
        if let Some(text) = typed {
            let options = &mut self.scan.options;
            options.max_alloc = max_alloc_bytes(&text)?;
            if options.max_alloc != DEFAULT_MAX_ALLOC {
                options.forwarding.max_alloc = Some(text);
            }
        }
        Ok(())
    }

    fn argument_protection(&mut self) -> Result<(), OptionError> {
        let scan = &mut self.scan;
        let integer = |text: &BString| parse_int(text).unwrap_or(0);
        if !scan.options.server && scan.old_args.is_none() && scan.secluded != Some(true) {
            if let Some(text) = self.environment.old_args.as_ref().filter(|text| !text.is_empty()) {
                scan.old_args = Some(u32::try_from(integer(text)).unwrap_or(0));
                scan.secluded = Some(false);
            }
        } else if scan.old_args.is_some_and(|level| level > 0) {
            if scan.secluded == Some(true) {
                return Err(OptionError::syntax("--secluded-args conflicts with --old-args."));
            }
            scan.secluded = Some(false);
        }
        if !scan.options.server && scan.secluded.is_none() {
            let protect = self.environment.protect_args.as_ref().is_some_and(|text| integer(text) != 0);
            scan.secluded = Some(protect);
        }
        scan.options.old_args = u8::try_from(scan.old_args.unwrap_or(0).min(2)).unwrap_or(2);
        scan.options.secluded_args = scan.secluded == Some(true);
        Ok(())
    }

    fn checksum_choice(&mut self) -> Result<(), OptionError> {
        let Some(text) = self.scan.checksum_choice.take() else { return Ok(()) };
        let known = |name: &[u8]| {
            let lower = shown(name).to_ascii_lowercase();
            if CHECKSUMS.contains(&lower.as_str()) {
                Ok(lower)
            } else {
                Err(OptionError::Unsupported(format!("unknown checksum name: {}", shown(name))))
            }
        };
        let (transfer, pre_transfer) = match text.split_once_str(",") {
            Some((transfer, pre_transfer)) => (known(transfer)?, known(pre_transfer)?),
            None => (known(&text)?, known(&text)?),
        };
        if transfer == "auto" && pre_transfer == "auto" {
            return Ok(());
        }
        if transfer == "none" {
            self.scan.options.whole_file = Some(true);
        }
        self.scan.options.checksum_choice = Some(ChecksumNames { text, transfer, pre_transfer });
        Ok(())
    }

    fn compress_choice(&mut self) -> Result<(), OptionError> {
        let scan = &mut self.scan;
        let options = &mut scan.options;
        let choice = match scan.compress_choice.take() {
            None if scan.compress > 1 => Some("zlibx".into()),
            choice => choice,
        };
        options.compress = match choice.as_ref().map(|text| shown(text).to_ascii_lowercase()).as_deref() {
            Some("zlib") => Compress::Zlib,
            Some("zlibx") => Compress::Zlibx,
            Some("lz4") => Compress::Lz4,
            Some("zstd") => Compress::Zstd,
            Some("none") => Compress::Off,
            Some("auto") => Compress::Negotiate,
            Some(_) => {
                let name = shown(&choice.unwrap_or_default());
                return Err(OptionError::Unsupported(format!("unknown compress name: {name}")));
            }
            None if scan.compress > 0 || options.compress_level.is_some() => Compress::Negotiate,
            None => Compress::Off,
        };
        options.forwarding.compress_implied = options.compress == Compress::Negotiate && scan.compress == 0;
        options.forwarding.compress_choice = choice.filter(|text| !text.eq_ignore_ascii_case(b"auto"));
        Ok(())
    }

    fn outbuf(&mut self) -> Result<(), OptionError> {
        let options = &mut self.scan.options;
        if let Some(text) = self.scan.outbuf.take() {
            options.outbuf = match text.first().map(u8::to_ascii_uppercase) {
                Some(b'N' | b'U') => Some(OutputBuffer::None),
                Some(b'L') => Some(OutputBuffer::Line),
                Some(b'B' | b'F') => Some(OutputBuffer::Full),
                _ => return Err(OptionError::syntax("Invalid --outbuf setting -- specify N, L, or B.")),
            };
        }
        if options.server {
            options.outbuf = None;
        }
        Ok(())
    }

    fn iconv(&mut self) {
        let scan = &mut self.scan;
        if scan.iconv.is_none() && !scan.iconv_off && !scan.options.server {
            scan.iconv = self.environment.iconv.clone().filter(|text| !text.is_empty());
        }
        if let Some(text) = scan.iconv.take() {
            scan.options.iconv = match text.split_once_str(",") {
                _ if text == "-" => None,
                Some((local, remote)) => Some(Iconv { local: local.into(), remote: Some(remote.into()) }),
                None => Some(Iconv { local: text, remote: None }),
            };
        }
    }

    fn batch(&mut self) -> Result<(), OptionError> {
        let scan = &mut self.scan;
        let write = scan.write_batch.take();
        let only_write = scan.only_write_batch.take();
        let read = scan.read_batch.take();
        if (write.is_some() || only_write.is_some()) && read.is_some() {
            return Err(OptionError::syntax("--write-batch and --read-batch can not be used together"));
        }
        scan.options.batch = match (write, only_write, read) {
            (Some(_), None, None) if scan.options.server => {
                self.notices.push("ignoring --write-batch option sent to server".to_owned());
                None
            }
            (None, None, Some(_)) if scan.options.server => {
                self.notices.push("ignoring --read-batch option sent to server".to_owned());
                None
            }
            (_, Some(name), _) => Some(Batch::OnlyWrite(name)),
            (Some(name), _, _) => Some(Batch::Write(name)),
            (_, _, Some(name)) => Some(Batch::Read(name)),
            (None, None, None) => None,
        };
        if scan.options.dry_run && scan.options.writes_batch() {
            scan.options.batch = None;
        }
        if let Some(Batch::Read(_)) = &scan.options.batch {
            if scan.files_from.is_some() {
                return Err(OptionError::syntax("--read-batch cannot be used with --files-from"));
            }
            let removal = match scan.options.remove_source {
                super::RemoveSource::No => None,
                super::RemoveSource::Files => Some("--remove-source-files"),
                super::RemoveSource::SentFiles => Some("--remove-sent-files"),
            };
            if let Some(removal) = removal {
                return Err(OptionError::syntax(format!("--read-batch cannot be used with {removal}")));
            }
        }
        if let Some(Batch::Read(name) | Batch::Write(name) | Batch::OnlyWrite(name)) = &scan.options.batch
            && name.len() > 256
        {
            return Err(OptionError::syntax("the batch-file name must be 256 characters or less."));
        }
        Ok(())
    }

    fn recursion(&mut self) {
        let scan = &mut self.scan;
        let options = &mut scan.options;
        options.max_delete = scan.max_delete.map(|limit| i64::from(limit.max(0)));
        if scan.files_from.is_some() {
            if scan.recurse == 1 {
                scan.recurse = 0;
            }
            if scan.dirs.is_none() {
                scan.dirs = Some(1);
            }
        }
        let reads_batch = matches!(options.batch, Some(Batch::Read(_)));
        options.forwarding.list_only = scan.list_only;
        options.list_only = scan.list_only || (!options.server && self.operands.len() < 2 && !reads_batch);
        if scan.dirs.is_some_and(|dirs| dirs >= 4) {
            options.filters.push(FilterArg::Rule("- /*/*".into()));
            scan.recurse = 1;
        }
        options.recurse = scan.recurse > 0;
        options.forwarding.recurse_typed = scan.recurse > 1;
        options.forwarding.dirs_implied = !options.recurse && scan.dirs != Some(2);
        options.dirs = options.recurse || scan.dirs.map_or(options.list_only, |dirs| dirs > 0);
        options.relative = scan.relative.unwrap_or(scan.files_from.is_some());
        options.implied_dirs = options.relative && !scan.no_implied_dirs;
    }

    fn delete(&mut self) -> Result<(), OptionError> {
        let scan = &mut self.scan;
        let chosen = [
            (scan.delete_before, DeleteTiming::Before),
            (scan.delete_during == 1, DeleteTiming::During),
            (scan.delete_during == 2, DeleteTiming::Delay),
            (scan.delete_after, DeleteTiming::After),
        ];
        let mut chosen = chosen.into_iter().filter(|(on, _)| *on).map(|(_, timing)| timing);
        let first = chosen.next();
        if chosen.next().is_some() {
            return Err(OptionError::syntax("You may not combine multiple --delete-WHEN options."));
        }
        let options = &mut scan.options;
        options.delete = match first {
            Some(timing) => timing,
            None if scan.delete || options.delete_excluded => DeleteTiming::Unspecified,
            None => DeleteTiming::None,
        };
        if options.deletes() && !options.recurse && !options.dirs {
            return Err(OptionError::syntax(
                "--delete does not work without --recursive (-r) or --dirs (-d).",
            ));
        }
        Ok(())
    }

    fn missing_args(&mut self) -> Result<(), OptionError> {
        let options = &mut self.scan.options;
        options.missing_args = match self.scan.missing_args {
            0 => MissingArgs::Error,
            1 => MissingArgs::Ignore,
            _ => MissingArgs::Delete,
        };
        Ok(())
    }

    /// Options that a daemon refuses because they mean something it refuses (spec 09 §11).
    fn refused_by_implication(&mut self) -> Result<(), OptionError> {
        let Some(refusals) = self.refusals else { return Ok(()) };
        let scan = &mut self.scan;
        let options = &mut scan.options;
        let removes = options.sender && options.remove_source != super::RemoveSource::No;
        if options.deletes() || options.missing_args == MissingArgs::Delete || removes {
            refusals.check("delete")?;
        }
        if options.delete == DeleteTiming::Unspecified {
            match (refusals.refuses_name("delete-before"), refusals.refuses_name("delete-during")) {
                (true, true) => refusals.check("delete-before")?,
                (true, false) => options.delete = DeleteTiming::During,
                (false, true) => options.delete = DeleteTiming::Before,
                (false, false) => {}
            }
        }
        if options.is_compressing() {
            refusals.check("compress")?;
        }
        if scan.append > 0 || options.write_devices {
            refusals.check("inplace")?;
        }
        let no_real_dir =
            options.partial_dir.as_ref().is_some_and(|dir| matches!(clean_path(dir).as_slice(), b"" | b"."));
        if options.inplace || options.write_devices || scan.append > 0 || no_real_dir {
            refusals.check("partial")?;
        }
        if options.iconv.is_none() {
            refusals.check("no-iconv")?;
        }
        Ok(())
    }

    fn operator_paths(&mut self) -> Result<(), OptionError> {
        let options = &self.scan.options;
        if let Some(root) = &options.confine_root {
            if !root.starts_with(b"/") {
                return Err(OptionError::syntax("--confine-root must be an absolute path"));
            }
            if options.insecure_links {
                return Err(OptionError::syntax("--insecure-links cannot be combined with --confine-root"));
            }
        }
        Ok(())
    }

    fn backup(&mut self) -> Result<(), OptionError> {
        let scan = &mut self.scan;
        let typed_dir = scan.backup_dir.take();
        let options = &mut scan.options;
        if let Some(suffix) = scan.suffix.as_ref().filter(|suffix| suffix.contains(&b'/')) {
            return Err(OptionError::syntax(format!("--suffix cannot contain slashes: {}", shown(suffix))));
        }
        options.suffix =
            scan.suffix.take().unwrap_or_else(|| if typed_dir.is_some() { "".into() } else { "~".into() });
        let same_dir = typed_dir.is_some();
        if let Some(dir) = typed_dir {
            options.backup = true;
            let mut dir = dir.as_slice();
            while let Some(rest) = dir.strip_prefix(b"./") {
                dir = rest.trim_start_with(|letter| letter == '/');
            }
            if dir.len() > 3968 {
                return Err(OptionError::syntax("the --backup-dir path is WAY too long."));
            }
            options.backup_dir = if matches!(dir, b"" | b".") { None } else { Some(dir.into()) };
        }
        if options.backup_dir.is_none()
            && options.suffix.is_empty()
            && options.backup
            && !(options.server && options.sender)
        {
            return Err(OptionError::syntax(if same_dir {
                "--suffix cannot be empty when --backup-dir is the same as the dest dir"
            } else {
                "--suffix cannot be empty without a --backup-dir"
            }));
        }
        if options.backup && options.backup_dir.is_none() {
            if !options.server && options.deletes() && !options.delete_excluded {
                let rule = [b"P *", options.suffix.as_slice()].concat();
                options.filters.push(FilterArg::Rule(rule.into()));
            }
            options.omit_dir_times = true;
        }
        Ok(())
    }

    fn verbosity(&mut self) {
        let options = &mut self.scan.options;
        options.info.raise_to_verbosity(options.verbose);
        options.debug.raise_to_verbosity(options.verbose);
        if options.stats {
            options.info.raise(Info::Stats, if options.verbose > 1 { 3 } else { 2 });
        }
        if options.progress && !options.server {
            options.info.raise(Info::Flist, 2);
            options.info.raise(Info::Progress, 1);
            if options.itemize == 0 && options.out_format.is_none() {
                options.info.raise(Info::Name, 1);
            }
        }
        if options.stderr == StderrMode::All && options.outbuf.is_none() && !options.server {
            options.outbuf = None;
        }
    }

    fn formats(&mut self) {
        let options = &mut self.scan.options;
        if options.json {
            // The far end of a push says what it changes only to those who ask for it.
            options.itemize = options.itemize.max(1);
            options.out_format = None;
        }
        if options.out_format.is_none() {
            if options.itemize > 0 {
                options.out_format = Some("%i %n%L".into());
            } else if options.info.at_least(Info::Name, 1) {
                options.out_format = Some("%n%L".into());
            }
        } else if options.server
            && let Some(format) = &options.out_format
            && format.contains_str("%i")
        {
            options.itemize = if format.contains_str("%I") { 2 } else { 1 };
        }
    }

    fn inplace_and_partial(&mut self) -> Result<(), OptionError> {
        let scan = &mut self.scan;
        let options = &mut scan.options;
        options.append = match scan.append {
            0 => Append::Off,
            1 => Append::Blind,
            _ => Append::Verify,
        };
        if options.append != Append::Off {
            if options.whole_file == Some(true) {
                return Err(OptionError::syntax("--append cannot be used with --whole-file"));
            }
            options.inplace = true;
        }
        let differs = [(options.sparse, "--sparse"), (options.append != Append::Off, "--append")];
        if let (Reflink::Always, Some((_, other))) = (options.reflink, differs.iter().find(|(on, _)| *on)) {
            return Err(OptionError::syntax(format!("--reflink=always cannot be used with {other}")));
        }
        options.inplace |= options.write_devices;
        if options.delay_updates && options.partial_dir.is_none() {
            options.partial_dir = Some(DELAYED_DIR.into());
            options.forwarding.partial_dir_implied = true;
        }
        if options.inplace {
            if options.partial_dir.is_some() {
                let first = if options.append == Append::Off { "--inplace" } else { "--append" };
                let second = if options.delay_updates { "--delay-updates" } else { "--partial-dir" };
                return Err(OptionError::syntax(format!("{first} cannot be used with {second}")));
            }
            options.partial = false;
            return Ok(());
        }
        if options.partial && options.partial_dir.is_none() && !options.server {
            options.partial_dir = self.environment.partial_dir.clone().filter(|dir| !dir.is_empty());
        }
        if let Some(dir) = options.partial_dir.take() {
            let dir = clean_path(&dir);
            if !matches!(dir.as_slice(), b"" | b".") {
                options.partial_dir = Some(dir);
            } else {
                options.delay_updates = false;
            }
            options.partial = true;
        }
        Ok(())
    }

    fn files_from(&mut self) -> Result<(), OptionError> {
        let Some(text) = self.scan.files_from.take() else { return Ok(()) };
        let options = &mut self.scan.options;
        if self.operands.len() > 2 || (!options.server && self.operands.len() == 1) {
            return Err(OptionError::Usage);
        }
        let colon = text.find_byte(b':').filter(|&at| !text[..at].contains(&b'/'));
        options.files_from = Some(match colon {
            Some(_) if options.server => {
                return Err(OptionError::syntax(
                    "The --files-from sent to the server cannot specify a host.",
                ));
            }
            Some(at) => {
                let (host, path) = (&text[..at], &text[at + 1..]);
                if path == b"-" {
                    return Err(OptionError::syntax("Invalid --files-from remote filename"));
                }
                FilesFrom::Remote { host: host.into(), path: path.into() }
            }
            None => FilesFrom::Local(text),
        });
        Ok(())
    }
}

/// Removes `.`, doubled slashes and `NAME/..` from a path; a `..` at the root disappears.
fn clean_path(path: &[u8]) -> BString {
    let absolute = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split_str("/") {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => {
                parts.pop();
            }
            b".." if absolute => {}
            part => parts.push(part),
        }
    }
    let mut cleaned = if absolute { b"/".to_vec() } else { Vec::new() };
    cleaned.extend(parts.join(&b'/'));
    if cleaned.is_empty() && !path.is_empty() {
        cleaned.push(b'.');
    }
    cleaned.into()
}
