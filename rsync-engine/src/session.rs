//! What every part of one transfer shares: the agreement, the options, the voice and the error state.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bstr::{BString, ByteSlice};
use rsync_proto::charset::Charset;
use rsync_proto::exit::{ExitCode, IoErrorFlags};
use rsync_proto::filter::{DirRules, Filters, Side};
use rsync_proto::flist::{Columns, Conversion, EntryRef};
use rsync_proto::options::{Append, Batch, MissingArgs, TransferOptions};
use rsync_proto::phase::ItemFlags;
use rsync_proto::session::Negotiated;
use rsync_proto::sum::Checksum;
use rsync_proto::text::{EntryFacts, Event, EventSink, Failure, Message, Place, Role, Severity, Topic};
use rsync_proto::wire::Message as WireMessage;

use crate::EngineError;
use crate::batch::Recorder;
use crate::confine::{Bounds, Dir, Trust};
use crate::destination::Destination;
use crate::link::LinkControl;
use crate::meta::fake_super::CorruptStat;
use crate::meta::{OwnerIds, SystemIds};
use crate::outgoing::Outgoing;

/// One transfer, as seen by all threads of this side.
pub struct Session {
    /// What both ends agreed on.
    pub negotiated: Negotiated,
    /// What the transfer shall do.
    pub options: TransferOptions,
    /// This side is the server (of a client that the user started).
    pub server: bool,
    /// The charset of names on this side, if names are converted (`--iconv`). A daemon takes it from
    /// its module, everybody else from the options.
    pub charset: Option<Charset>,
    /// The charset of names at the destination of a local copy, where names are converted.
    pub destination_charset: Option<Charset>,
    /// Where events go. A server's sink forwards them to the client.
    pub events: Arc<dyn EventSink>,
    /// Messages for the peer; a server's sink puts its texts here.
    pub outgoing: Outgoing,
    /// Ends the link.
    pub control: LinkControl,
    /// Errors so far.
    pub errors: Arc<ErrorState>,
    /// Counters so far.
    pub counters: Arc<Counters>,
    /// Where a client records what is sent (`--write-batch`).
    pub recorder: Option<Recorder>,
    /// The module that a daemon receives into; `None` for everybody else.
    pub module: Option<Arc<ServedModule>>,
    /// Where the receiving side puts files, once it knows.
    pub(crate) landing: Arc<OnceLock<Destination>>,
    /// The first list has come.
    listed: Arc<AtomicBool>,
}

/// A daemon's module, as its receiving side sees it: nothing outside of `root` can be reached, and what
/// `filters` exclude does not exist for the client.
pub struct ServedModule {
    /// The name that messages add to paths.
    pub name: BString,
    /// The directory in which all paths begin, absolute ones too.
    pub root: Arc<Dir>,
    /// What messages call it: its path, or `/` for a module that is shown as if it were the root.
    pub path: BString,
    /// Targets of links that the client stores lead nowhere but into the transfer.
    pub keeps_links_inside: bool,
    /// What the client neither sees nor changes.
    pub filters: Filters,
    /// Ids of the owners that the client names.
    pub ids: Arc<dyn OwnerIds>,
    /// The names of the sender's owners do not count.
    pub numeric_ids: bool,
    /// Is told the path of the destination directory from the root, once it is known.
    pub entered: Arc<OnceLock<BString>>,
}

impl std::fmt::Debug for ServedModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServedModule").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ServedModule {
    /// Whether the client must not touch `path`, which begins at the root.
    #[must_use]
    pub fn excludes(&self, path: &[u8], is_dir: bool) -> bool {
        let rules: DirRules = self.filters.start(b"");
        let path = path.strip_prefix(b"/").unwrap_or(path);
        !self.filters.is_empty() && self.filters.excludes_path(&rules, path, is_dir, Side::Receiver)
    }
}

/// The error state of one side, shared by its threads (spec 02 §8, §9.2).
#[derive(Debug, Default)]
pub struct ErrorState {
    transfer_error: AtomicBool,
    io_error: AtomicU32,
    deletions_limited: AtomicBool,
}

/// Numbers for the summary, shared by the threads of one side.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes read from the peer since framing began.
    pub bytes_read: AtomicU64,
    /// Bytes written to the peer since framing began.
    pub bytes_written: AtomicU64,
    /// File data that came as such, uncompressed.
    pub literal: AtomicU64,
    /// File data taken from a basis.
    pub matched: AtomicU64,
    /// Regular files transferred.
    pub transferred_files: AtomicU64,
    /// Their sizes.
    pub transferred_size: AtomicU64,
}

impl Session {
    /// Starts with no errors and zero counters. `--only-write-batch` is a dry run whose data is sent all
    /// the same.
    #[must_use]
    pub fn new(
        negotiated: Negotiated,
        mut options: TransferOptions,
        server: bool,
        events: Arc<dyn EventSink>,
        control: LinkControl,
    ) -> Self {
        options.dry_run = options.changes_nothing();
        Self {
            negotiated,
            options,
            server,
            charset: None,
            destination_charset: None,
            events,
            outgoing: Outgoing::default(),
            control,
            errors: Arc::default(),
            counters: Arc::default(),
            recorder: None,
            module: None,
            landing: Arc::default(),
            listed: Arc::default(),
        }
    }

    /// The same transfer for threads whose events, and perhaps errors, go elsewhere.
    pub(crate) fn reporting_to(&self, events: Arc<dyn EventSink>, errors: Arc<ErrorState>) -> Self {
        Self {
            negotiated: self.negotiated.clone(),
            options: self.options.clone(),
            server: self.server,
            charset: self.charset,
            destination_charset: self.destination_charset,
            events,
            outgoing: self.outgoing.clone(),
            control: self.control.clone(),
            errors,
            counters: Arc::clone(&self.counters),
            recorder: self.recorder.clone(),
            module: self.module.clone(),
            landing: Arc::clone(&self.landing),
            listed: Arc::clone(&self.listed),
        }
    }

    /// Tells this sending side where `receiving`, the other side in the same process, puts files: no source is
    /// removed (`--remove-source-files`) that is its own copy.
    pub fn land_with(&mut self, receiving: &Self) {
        self.landing = Arc::clone(&receiving.landing);
    }

    /// Says that the receiving side has its first list.
    pub(crate) fn note_first_list(&self) {
        self.listed.store(true, Ordering::Relaxed);
    }

    /// Whose failure `error` is, as the last line of a server names it.
    #[must_use]
    pub fn server_role(&self, error: &EngineError) -> Role {
        if self.options.sender {
            Role::Sender
        } else {
            error.receiving_role(self.listed.load(Ordering::Relaxed))
        }
    }

    /// The exit code of a session that ran to its end.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        let errors = &self.errors;
        let mut io_error = errors.io_error();
        if errors.deletions_limited.load(Ordering::Relaxed) {
            io_error.insert(IoErrorFlags::DELETE_LIMIT);
        }
        ExitCode::of_run(errors.transfer_error.load(Ordering::Relaxed), io_error)
    }
}

impl Session {
    /// Says one of rsync's fixed texts, if anybody wants it; some decide about the exit code.
    pub(crate) fn say(&self, message: Message<'_>) {
        if message.severity() == Severity::TransferError {
            self.errors.transfer_error();
        }
        if !self.events.wants(message.topic()) {
            return;
        }
        if self.destination_charset.is_none() {
            self.events.emit(Event::Message(message));
            return;
        }
        let mut text = Vec::new();
        message.render(&mut text);
        text.push(b'\n');
        let text = if message.is_wire_text() { text.into() } else { self.text_of_destination(&text) };
        self.events.emit(Event::PeerText { severity: message.severity(), text: &text });
    }

    /// Says that something was deleted at the destination; a server's sink tells the client.
    pub(crate) fn say_deleted(&self, name: &[u8], is_dir: bool) {
        if self.events.wants(Topic::Deletions) {
            let name = self.text_of_destination(name);
            self.events.emit(Event::Deleted { name: &name, is_dir });
        }
    }

    /// Text of this side, which in a local copy can have another charset than the user's.
    fn text_of_destination<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        match self.destination_charset {
            Some(charset) => self.text_from_wire(&charset.text_to_wire(text)).into_owned().into(),
            None => text.into(),
        }
    }

    /// What event consumers may show of an entry, whose path is `name`; a sender found it in `source_dir`.
    pub(crate) fn facts<'e>(
        &self,
        entry: EntryRef<'e>,
        name: &'e [u8],
        source_dir: &'e [u8],
    ) -> EntryFacts<'e> {
        EntryFacts {
            name,
            source_dir,
            mode: entry.mode(),
            size: entry.size(),
            mtime: entry.mtime(),
            atime: entry.atime(),
            crtime: entry.crtime(),
            uid: entry.uid(),
            gid: self.options.group.then_some(entry.gid()),
            target: entry.target().filter(|target| self.options.links && !target.is_empty()),
        }
    }

    /// Finds the ids of owners that the sender names.
    pub(crate) fn owner_ids(&self) -> Arc<dyn OwnerIds> {
        match &self.module {
            None => Arc::new(SystemIds),
            Some(module) => Arc::clone(&module.ids),
        }
    }

    /// The directory in which relative paths start.
    pub(crate) fn start_dir(&self) -> io::Result<Dir> {
        match &self.module {
            None => Dir::open(Path::new(".")),
            Some(module) => module.root.try_clone(),
        }
    }

    /// Where paths of arguments and options may lead.
    pub(crate) fn bounds(&self) -> Bounds {
        match &self.module {
            None => Bounds::Machine(Trust::of(&self.options)),
            Some(module) => Bounds::Module { root: Arc::clone(&module.root), base: Vec::new() },
        }
    }

    /// How messages quote the path `name` in the directory `root`.
    pub(crate) fn place<'p>(&'p self, root: &'p [u8], name: &'p [u8]) -> Place<'p> {
        let module = self.module.as_ref().map(|module| module.name.as_slice());
        Place { module, ..Place::new(root, name) }
    }

    /// What messages call the path of an option: absolute, where it is not inside a module.
    pub(crate) fn shown_path(&self, root: &[u8], path: &[u8]) -> BString {
        match (&self.module, path.starts_with(b"/")) {
            (None, true) | (Some(_), false) => path.into(),
            (None, false) if root.is_empty() => path.into(),
            (None, false) => [root, b"/", path].concat().into(),
            (Some(module), true) => [module.path.trim_end_with(|slash| slash == '/'), path].concat().into(),
        }
    }

    /// Says that a system call failed.
    pub(crate) fn failed(&self, role: Role, failure: Failure<'_>, error: &io::Error) {
        self.say(Message::failed(role, failure, error.raw_os_error().unwrap_or_default()));
    }

    /// Refuses to munge links while a directory could be where they then lead to (spec 04 §7.2).
    ///
    /// # Errors
    /// [`EngineError::MungingUnsafe`].
    pub(crate) fn check_munging(&self, munges: bool) -> Result<(), EngineError> {
        let place = std::path::Path::new("/rsyncd-munged");
        if munges && place.is_dir() { Err(EngineError::MungingUnsafe) } else { Ok(()) }
    }

    /// Says that nobody knows what a file stands for (`--fake-super`).
    pub(crate) fn say_corrupt(&self, place: Place<'_>, corrupt: &CorruptStat) {
        let path = [place.root, b"/", place.name].concat();
        self.errors.transfer_error();
        self.say(Message::CorruptFakeStat(&path, &corrupt.text));
    }

    /// Whether content always travels whole, without block sums (spec 07 §1).
    pub(crate) fn sends_whole_files(&self) -> bool {
        self.negotiated.checksum.transfer == Checksum::None || self.options.whole_file.unwrap_or(false)
    }

    /// Whether requests are complete and answered with content: in a dry run they are neither, unless
    /// a batch is written.
    pub(crate) fn exchanges_data(&self) -> bool {
        !self.options.dry_run || matches!(self.options.batch, Some(Batch::OnlyWrite(_)))
    }

    /// Whether content is only recorded: a pushing client's peer does not want it, and a pulling client
    /// does not use it.
    pub(crate) fn only_records(&self) -> bool {
        self.options.dry_run && self.recorder.is_some()
    }

    /// Whether the sender is a batch file.
    pub(crate) fn is_replay(&self) -> bool {
        !self.server && matches!(self.options.batch, Some(Batch::Read(_)))
    }

    /// Whether values of extended attributes are asked for and answered with an item that has these
    /// flags (spec 04 §3.3, §3.5).
    pub(crate) fn exchanges_xattrs(&self, flags: ItemFlags) -> bool {
        let shortcut = self.negotiated.xattr_hard_link_optimization();
        self.options.xattrs > 0
            && self.exchanges_data()
            && flags.contains(ItemFlags::REPORT_XATTR)
            && !(shortcut && flags.contains(ItemFlags::XNAME_FOLLOWS | ItemFlags::LOCAL_CHANGE))
    }

    /// Which fields the entries of file lists have in this session (spec 03 §3).
    #[must_use]
    pub fn columns(&self) -> Columns {
        let options = &self.options;
        Columns {
            uid: options.owner,
            gid: options.group,
            devices: options.devices,
            specials: options.specials,
            links: options.links,
            hard_links: options.hard_links > 0,
            acls: options.acls,
            xattrs: options.xattrs > 0,
            atimes: options.atimes > 0,
            crtimes: options.crtimes,
            checksum: options.checksum.then(|| self.negotiated.checksum.pre_transfer.len()),
            numeric_ids: options.numeric_ids,
            relative: options.relative,
            recurse: options.recurse,
            delete_missing_args: options.missing_args == MissingArgs::Delete,
            iconv: self.charset.is_some(),
        }
    }
}

impl Session {
    /// Handles a message that only concerns the user or the error state.
    pub(crate) fn take_message(&self, message: WireMessage) {
        match message {
            WireMessage::Text { code, bytes } => {
                if let Some(severity) = code.severity() {
                    let text = self.text_from_wire(&bytes);
                    self.events.emit(Event::PeerText { severity, text: &text });
                    if severity == Severity::TransferError {
                        self.errors.transfer_error();
                    }
                }
            }
            WireMessage::Deleted { name, is_dir } => {
                let name = self.text_from_wire(&name);
                self.events.emit(Event::Deleted { name: &name, is_dir });
            }
            WireMessage::IoError(flags) => self.errors.add_io_error(flags),
            WireMessage::IoTimeout(seconds) => self.adopt_timeout(seconds),
            _ => {}
        }
    }

    /// Text of the peer in the charset of this side.
    pub(crate) fn text_from_wire<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        match self.charset {
            Some(charset) => charset.text_from_wire(text).into(),
            None => text.into(),
        }
    }

    /// How file lists convert names, if they do.
    pub(crate) fn conversion(&self) -> Option<Conversion> {
        let targets = self.negotiated.converts_targets();
        self.charset.map(|charset| Conversion { charset, targets })
    }

    /// The charset of names that this side was told by an argument of its client, which are converted
    /// only where arguments are (`--secluded-args`).
    pub(crate) fn argument_charset(&self) -> Option<Charset> {
        self.charset.filter(|_| self.options.secluded_args)
    }

    /// Takes over a daemon's timeout where it is shorter than our own (spec 02 §3.2).
    fn adopt_timeout(&self, seconds: i32) {
        let Ok(seconds @ 1..=86_400) = u64::try_from(seconds) else { return };
        let theirs = Duration::from_secs(seconds);
        if self.control.timeout().is_none_or(|ours| ours > theirs) {
            self.control.set_timeout(Some(theirs));
        }
    }

    /// The same before lists are exchanged, where a peer may also leave.
    pub(crate) fn take_message_or_exit(&self, message: WireMessage) -> Result<(), EngineError> {
        match message {
            WireMessage::ErrorExit(code) => Err(EngineError::PeerExit(ExitCode::from_peer(code))),
            other => {
                self.take_message(other);
                Ok(())
            }
        }
    }

    /// Whether an appended file's old content is part of its digest (spec 05 §7).
    pub(crate) fn hashes_appended_prefix(&self) -> bool {
        self.options.append == Append::Verify || !self.negotiated.is_modern()
    }
}

impl ErrorState {
    /// Records that some file or attribute was not transferred (exit 23).
    pub fn transfer_error(&self) {
        self.transfer_error.store(true, Ordering::Relaxed);
    }

    /// Adds I/O error flags, the peer's or our own.
    pub fn add_io_error(&self, flags: IoErrorFlags) {
        self.io_error.fetch_or(flags.bits().unsigned_abs(), Ordering::Relaxed);
    }

    /// Adds what `other` has, and leaves nothing there.
    pub(crate) fn take_over(&self, other: &Self) {
        self.transfer_error.fetch_or(other.transfer_error.swap(false, Ordering::Relaxed), Ordering::Relaxed);
        self.io_error.fetch_or(other.io_error.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        let limited = other.deletions_limited.swap(false, Ordering::Relaxed);
        self.deletions_limited.fetch_or(limited, Ordering::Relaxed);
    }

    /// The I/O error flags so far.
    #[must_use]
    pub fn io_error(&self) -> IoErrorFlags {
        IoErrorFlags::from_wire(self.io_error.load(Ordering::Relaxed) as i32)
    }

    /// Records that `--max-delete` stopped deletions (exit 25).
    pub fn limit_deletions(&self) {
        self.deletions_limited.store(true, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("negotiated", &self.negotiated).finish_non_exhaustive()
    }
}
