//! The words a client gives to its server (spec 01 §3).

use bstr::{BString, ByteSlice};

use super::choice::{
    Append, Compress, DeleteTiming, FilesFrom, MissingArgs, RemoveSource, StderrMode, SuperUser,
};
use super::model::{DEFAULT_MAX_ALLOC, TransferOptions};
use super::scan::basis_name;
use super::verbosity::Info;
use crate::session::ProtocolNumber;

/// Which way the files go, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The client sends.
    Push,
    /// The client receives.
    Pull,
}

/// How the words reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire<'a> {
    /// As arguments of a remote shell, which splits and expands them.
    Shell,
    /// In the text phase of a daemon, asking for this module.
    Daemon {
        /// The module that was requested, empty for a list of modules.
        module: &'a [u8],
    },
}

/// The lists of words for a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerWords {
    /// Begins with `--server`.
    pub first: Vec<BString>,
    /// With `-s`: begins with `rsync`, sent inside the protocol, each element and the list NUL-ended.
    pub second: Option<Vec<BString>>,
}

/// Bytes a shell would act on.
const SHELL_SPECIAL: &[u8] = b"!#$&;|<>(){}\"'` \t\n\r\\";
/// Bytes that expand to file names.
const WILDCARDS: &[u8] = b"*?[]";
/// Info words of a server that receives.
const RECEIVER_WORDS: &[Info] = &[
    Info::Backup,
    Info::Copy,
    Info::Del,
    Info::Misc,
    Info::Mount,
    Info::Name,
    Info::Nonreg,
    Info::Skip,
    Info::Stats,
    Info::Symsafe,
];
/// Info words of a server that sends.
const SENDER_WORDS: &[Info] =
    &[Info::Misc, Info::Mount, Info::Name, Info::Remove, Info::Stats, Info::Symsafe];

impl TransferOptions {
    /// The words for a server that shall do its half of this transfer on `paths` (the parts behind
    /// the colon). `protocol` is the client's own, over a daemon connection the one agreed on.
    #[must_use]
    pub fn server_words(
        &self,
        direction: Direction,
        wire: Wire<'_>,
        protocol: u8,
        paths: &[BString],
    ) -> ServerWords {
        let mut writer = Writer {
            options: self,
            push: direction == Direction::Push,
            wire,
            protocol: ProtocolNumber(protocol.into()),
            words: Vec::new(),
        };
        writer.words.push("--server".into());
        if !writer.push {
            writer.words.push("--sender".into());
        }
        writer.bundle();
        if let Some(iconv) = &self.iconv {
            // A daemon looks only at the presence; the C rsync sends it the other half.
            let remote = iconv.remote.as_ref().filter(|_| wire == Wire::Shell);
            writer.equals("iconv", remote.unwrap_or(&iconv.local));
        }
        let second = self.secluded_args.then(|| std::mem::replace(&mut writer.words, vec!["rsync".into()]));
        writer.long_options();
        writer.words.push(".".into());
        writer.paths(paths);
        match second {
            None => ServerWords { first: writer.words, second: None },
            Some(first) => {
                let second =
                    writer.words.into_iter().map(|word| if word.is_empty() { ".".into() } else { word });
                ServerWords { first, second: Some(second.collect()) }
            }
        }
    }

    /// Whether the client allows file lists in pieces: the `i` of its capability text (spec 01 §3.3).
    /// The server applies the same test to its own role.
    #[must_use]
    pub fn allows_incremental_recursion(&self, receiving: bool) -> bool {
        let needs_all = matches!(self.delete, DeleteTiming::Before | DeleteTiming::After)
            || self.delay_updates
            || self.prune_empty_dirs;
        self.recurse && self.inc_recursive && !(receiving && needs_all)
    }
}

struct Writer<'a> {
    options: &'a TransferOptions,
    push: bool,
    wire: Wire<'a>,
    protocol: ProtocolNumber,
    words: Vec<BString>,
}

impl Writer<'_> {
    fn bundle(&mut self) {
        let options = self.options;
        let push = self.push;
        let mut letters = vec![b'-'];
        let mut add = |letter: u8, count: u32| letters.extend(std::iter::repeat_n(letter, count as usize));
        let flag = u32::from;
        let dirs = options.dirs
            && (!options.forwarding.dirs_implied || options.list_only || (options.deletes() && push));
        let same_dir_backup = options.backup && options.backup_dir.is_none();
        add(b's', flag(options.secluded_args));
        add(b'v', options.verbose.min(9));
        add(b'q', flag(options.quiet && options.stderr != StderrMode::Client));
        add(b'b', flag(options.backup));
        add(b'u', flag(options.update));
        add(b'n', flag(options.dry_run));
        add(b'l', flag(options.links));
        add(b'd', flag(dirs && !options.recurse));
        if push {
            add(b'K', flag(options.keep_dirlinks));
            add(b'm', flag(options.prune_empty_dirs));
            add(b'O', flag(options.omit_dir_times && !same_dir_backup));
            add(b'J', flag(options.omit_link_times));
            add(b'y', u32::from(options.fuzzy));
        } else {
            add(b'L', flag(options.copy_links));
            add(b'k', flag(options.copy_dirlinks));
        }
        add(b'W', flag(options.whole_file == Some(true)));
        add(b'H', u32::from(options.hard_links));
        add(b'o', flag(options.owner));
        add(b'g', flag(options.group));
        add(b'D', flag(options.devices));
        add(b't', flag(options.times));
        add(b'U', u32::from(options.atimes));
        add(b'N', flag(options.crtimes));
        add(b'p', flag(options.perms));
        add(b'E', flag(!options.perms && options.executability && push));
        add(b'A', flag(options.acls));
        add(b'X', u32::from(options.xattrs));
        add(b'r', flag(options.recurse));
        add(b'c', flag(options.checksum));
        add(b'C', flag(options.cvs_exclude));
        add(b'I', flag(options.ignore_times));
        add(b'R', flag(options.relative));
        add(b'x', u32::from(options.one_file_system));
        add(b'S', flag(options.sparse));
        add(b'z', flag(self.has_compress_letter()));
        if self.protocol.has_compat_flags() {
            letters.extend_from_slice(b"e.");
            letters.extend(options.allows_incremental_recursion(!push).then_some(b'i'));
            letters.extend_from_slice(b"LsfxCIvu");
        }
        if letters.len() > 1 {
            self.words.push(letters.into());
        }
    }

    fn has_compress_letter(&self) -> bool {
        match self.options.compress {
            Compress::Negotiate => !self.options.forwarding.compress_implied,
            Compress::Zlib => true,
            _ => false,
        }
    }

    fn long_options(&mut self) {
        let options = self.options;
        let push = self.push;
        self.flag("--list-only", options.forwarding.list_only);
        self.flag("--no-r", push && options.deletes() && options.dirs && !options.recurse);
        if let (Some(level), true) = (options.compress_level, options.is_compressing()) {
            self.word(format!("--compress-level={level}"));
        }
        self.flag("--no-specials", options.devices && !options.specials);
        self.flag("--specials", options.specials && !options.devices);
        self.output_format();
        self.flag("--msgs2stderr", options.stderr == StderrMode::All);
        self.flag("--no-msgs2stderr", options.stderr == StderrMode::Client);
        self.number("-B", u64::from(options.block_size));
        self.number("--timeout=", u64::from(options.timeout));
        self.number("--bwlimit=", options.bwlimit);
        self.two_words("--backup-dir", options.backup_dir.as_ref());
        if options.suffix != if options.backup_dir.is_some() { "" } else { "~" } {
            self.equals("suffix", &options.suffix);
        }
        if let Some(choice) = &options.checksum_choice {
            self.equals("checksum-choice", &choice.text);
        }
        self.compress_choice();
        if push {
            self.receiver_limits();
        } else if let Some(list) = &options.skip_compress {
            self.equals("skip-compress", list);
        }
        match &options.forwarding.max_alloc {
            Some(text) => self.equals("max-alloc", text),
            None if options.max_alloc != DEFAULT_MAX_ALLOC => {
                self.word(format!("--max-alloc={}", options.max_alloc))
            }
            None => {}
        }
        match options.missing_args {
            MissingArgs::Delete => self.flag("--delete-missing-args", true),
            MissingArgs::Ignore => self.flag("--ignore-missing-args", !push),
            MissingArgs::Error => {}
        }
        if push && (options.modify_window != 0 || options.forwarding.modify_window) {
            let window = options.modify_window;
            self.word(if window < 0 { format!("-@{window}") } else { format!("--modify-window={window}") });
        }
        if options.checksum_seed != 0 {
            self.word(format!("--checksum-seed={}", options.checksum_seed));
        }
        if push {
            self.partial();
        }
        self.flag("--ignore-errors", options.ignore_errors);
        self.flag("--copy-unsafe-links", options.copy_unsafe_links);
        self.flag("--safe-links", options.safe_links);
        self.flag("--numeric-ids", options.numeric_ids);
        if push {
            self.receiver_settings();
        }
        let relevant = if push { RECEIVER_WORDS } else { SENDER_WORDS };
        if let Some(list) = options.info.forwarded(relevant) {
            self.word(format!("--info={list}"));
        }
        self.writing();
        self.files_from();
        self.flag(
            "--no-implied-dirs",
            options.relative
                && !options.implied_dirs
                && (!push || self.protocol.keeps_implied_dirs_out_of_pushes()),
        );
        self.flag("--write-devices", push && options.write_devices);
        self.flag("--remove-source-files", options.remove_source == RemoveSource::Files);
        self.flag("--remove-sent-files", options.remove_source == RemoveSource::SentFiles);
        self.flag("--copy-devices", !push && options.copy_devices);
        self.flag("--preallocate", push && options.preallocate);
        self.flag("--open-noatime", options.open_noatime && options.atimes < 2);
        self.flag("--mkpath", push && options.mkpath);
        for option in &options.remote_options {
            let escaped = if options.old_args > 0 { option.clone() } else { self.escape_value(option) };
            self.words.push(escaped);
        }
    }

    fn output_format(&mut self) {
        let options = self.options;
        let Some(format) = options.out_format.as_ref().filter(|_| self.push) else { return };
        if options.itemize > 1 {
            self.word("--log-format=%i%I");
        } else if has_escape(format, b'i') {
            self.word("--log-format=%i");
        } else if has_escape(format, b'o') {
            self.word("--log-format=%o");
        } else if options.verbose == 0 {
            self.word("--log-format=X");
        }
    }

    fn compress_choice(&mut self) {
        let typed = self.options.forwarding.compress_choice.as_ref();
        match self.options.compress {
            Compress::Zlibx => self.word("--new-compress"),
            Compress::Zlib => self.word("--old-compress"),
            Compress::Lz4 => self.equals("compress-choice", typed.map_or(b"lz4", |text| text.as_slice())),
            Compress::Zstd => self.equals("compress-choice", typed.map_or(b"zstd", |text| text.as_slice())),
            Compress::Off | Compress::Negotiate => {
                if let Some(text) = typed {
                    self.equals("compress-choice", text);
                }
            }
        }
    }

    fn receiver_limits(&mut self) {
        let options = self.options;
        match options.max_delete {
            Some(limit) if limit > 0 => self.word(format!("--max-delete={limit}")),
            Some(_) => self.word("--max-delete=-1"),
            None => {}
        }
        if let Some(size) = options.min_size {
            self.word(format!("--min-size={size}"));
        }
        if let Some(size) = options.max_size {
            self.word(format!("--max-size={size}"));
        }
        match options.delete {
            DeleteTiming::None => {}
            DeleteTiming::Unspecified => self.flag("--delete", !options.delete_excluded),
            DeleteTiming::Before => self.word("--delete-before"),
            DeleteTiming::During => self.word("--delete-during"),
            DeleteTiming::Delay => self.word("--delete-delay"),
            DeleteTiming::After => self.word("--delete-after"),
        }
        self.flag("--delete-excluded", options.delete_excluded);
        self.flag("--force", options.force);
        self.flag("--only-write-batch=X", matches!(options.batch, Some(super::Batch::OnlyWrite(_))));
        self.flag("--super", options.super_user == SuperUser::On);
        self.flag("--size-only", options.size_only);
        self.flag("--stats", options.stats);
    }

    fn partial(&mut self) {
        let options = self.options;
        match &options.partial_dir {
            Some(dir) if !options.inplace => {
                if !options.forwarding.partial_dir_implied {
                    self.two_words("--partial-dir", Some(dir));
                }
                self.flag("--delay-updates", options.delay_updates);
            }
            _ => self.flag("--partial", options.partial && !options.inplace),
        }
    }

    fn receiver_settings(&mut self) {
        let options = self.options;
        if let Some(map) = &options.usermap {
            self.equals("usermap", map);
        }
        if let Some(map) = &options.groupmap {
            self.equals("groupmap", map);
        }
        self.flag("--ignore-existing", options.ignore_existing);
        self.flag("--existing", options.existing);
        self.two_words("--temp-dir", options.temp_dir.as_ref());
        self.flag("--fsync", options.fsync);
        if let Some(basis) = &options.basis_dirs {
            for dir in &basis.dirs {
                self.two_words(basis_name(basis.kind), Some(dir));
            }
        }
    }

    fn writing(&mut self) {
        let options = self.options;
        match options.append {
            Append::Blind => self.word("--append"),
            Append::Verify => {
                self.word("--append");
                self.word("--append");
            }
            Append::Off if options.inplace => {
                self.word("--inplace");
                self.flag("--no-W", self.push && options.sparse && options.whole_file == Some(false));
            }
            Append::Off => {}
        }
    }

    fn files_from(&mut self) {
        let options = self.options;
        match &options.files_from {
            Some(FilesFrom::Remote { path, .. }) => {
                self.two_words("--files-from", Some(path));
                self.flag("--from0", options.from0);
            }
            Some(FilesFrom::Local(_)) if !self.push => {
                self.word("--files-from=-");
                self.word("--from0");
            }
            _ => return,
        }
        self.flag("--no-relative", !options.relative);
    }

    fn paths(&mut self, paths: &[BString]) {
        for path in paths {
            let word = match self.wire {
                Wire::Shell => self.shell_path(path),
                Wire::Daemon { module } => self.daemon_path(path, module),
            };
            self.words.push(word);
        }
    }

    fn shell_path(&self, path: &[u8]) -> BString {
        let options = self.options;
        if path.is_empty() {
            return ".".into();
        }
        let mut word = BString::default();
        if path.starts_with(b"-") {
            word.extend_from_slice(b"./");
        }
        if options.secluded_args || options.old_args > 0 {
            word.extend_from_slice(path);
            return word;
        }
        let trusted = options.trust_sender || matches!(options.files_from, Some(FilesFrom::Remote { .. }));
        let plain_name = !path.contains(&b'/') || (options.relative && !path.contains_str("/./"));
        if path.starts_with(b"~") && !self.push && !trusted && plain_name {
            word.push(b'\\');
        }
        escape(path, true, &mut word);
        word
    }

    fn daemon_path(&self, path: &[u8], module: &[u8]) -> BString {
        if path == module {
            return [module, b"/"].concat().into();
        }
        let mut word = BString::default();
        if path.starts_with(b"-") {
            word.extend_from_slice(b"./");
        }
        if self.options.old_args > 0 || module.is_empty() {
            word.extend_from_slice(path);
        } else {
            let splitting = [b" ", module, b"/"].concat();
            let kept = [b"[ ]", module, b"/"].concat();
            word.extend_from_slice(&path.replace(splitting, kept));
        }
        word
    }

    fn word(&mut self, word: impl Into<BString>) {
        self.words.push(word.into());
    }

    fn flag(&mut self, word: &str, on: bool) {
        if on {
            self.word(word);
        }
    }

    fn number(&mut self, option: &str, value: u64) {
        if value != 0 {
            self.word(format!("{option}{value}"));
        }
    }

    fn equals(&mut self, name: &str, value: &[u8]) {
        let mut word = BString::from(format!("--{name}="));
        word.extend_from_slice(&self.escape_value(value));
        self.words.push(word);
    }

    fn two_words(&mut self, option: &str, value: Option<&BString>) {
        if let Some(value) = value {
            self.word(option);
            let value = self.escape_value(value);
            self.words.push(value);
        }
    }

    fn escape_value(&self, value: &[u8]) -> BString {
        let mut word = BString::default();
        if self.options.secluded_args || self.options.old_args > 1 {
            word.extend_from_slice(value);
        } else {
            escape(value, false, &mut word);
        }
        word
    }
}

/// Puts a backslash before what a shell would act on (spec 01 §3.4).
fn escape(text: &[u8], path: bool, out: &mut Vec<u8>) {
    for (index, &byte) in text.iter().enumerate() {
        let before_wildcard = text.get(index + 1).is_some_and(|next| WILDCARDS.contains(next));
        let special = SHELL_SPECIAL.contains(&byte) && !(path && byte == b'\\' && before_wildcard);
        if special || (!path && WILDCARDS.contains(&byte)) {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

/// Whether an output format holds `%letter`, perhaps with a width; `%%` is a percent sign.
pub(super) fn has_escape(format: &[u8], letter: u8) -> bool {
    let mut rest = format;
    while let Some(at) = rest.find_byte(b'%') {
        rest = &rest[at + 1..];
        let modifiers = rest.iter().take_while(|byte| matches!(byte, b'-' | b'\'' | b'0'..=b'9')).count();
        match rest.get(modifiers) {
            Some(&found) if found == letter => return true,
            Some(_) => rest = &rest[modifiers + 1..],
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests;
