//! A session's own thread: the binary setup, the refusals inside it, then the transfer
//! (spec 09 §10, §15; 01 §4).

use std::io::{Cursor, Read};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bstr::{BString, ByteSlice};
use rsync_engine::scan::expand_wildcards;
use rsync_engine::tree::{LocalTree, Tree};
use rsync_engine::{Connection, Dir, EngineError, Link, OwnerIds};
use rsync_proto::delta::{Compression, CompressionKind};
use rsync_proto::exit::ExitCode;
use rsync_proto::filter::{Filters, Side, sanitize};
use rsync_proto::flist::OwnerNames;
use rsync_proto::options::{DEFAULT_MAX_ALLOC, FilesFrom, RemoveSource, Request, SuperUser, TransferOptions};
use rsync_proto::session::{AlgorithmVariables, Entry, Negotiated, Progress, ServerSetup};
use rsync_proto::text::{LineFormat, Role, VERSION, describe_errno, exit_line};
use rsync_proto::wire::{Legal, Message, MessageCode, Mux};

use socket2::Socket;

use crate::access::HostName;
use crate::config::ModuleSettings;
use crate::converter::Converter;
use crate::hooks::Hooks;
use crate::identity::Identity;
use crate::limits::{ModulePlace, Slot};
use crate::log::Log;
use crate::order::{Access, SessionOrder, Visitor};
use crate::readable::ReadableTree;
use crate::request::{Parsed, apply_settings};
use crate::serve::{Task, Transfer};
use crate::visit::{environment, handshake_limit};
use crate::voice::TransferLog;
use crate::worker::Hatchling;

/// Everything that a session needs when it gets a thread.
pub(crate) struct ReadySession {
    pub(crate) order: SessionOrder,
    pub(crate) served: Served,
    pub(crate) identity: Identity,
    pub(crate) log: Log,
    pub(crate) slot: Option<Slot>,
    pub(crate) place: Option<ModulePlace>,
    pub(crate) hooks: Hooks,
    pub(crate) converter: Option<Converter>,
    /// A worker that has no other session.
    pub(crate) worker: Option<Hatchling>,
}

/// What a session serves.
pub(crate) enum Served {
    /// What is beneath a directory.
    Directory(Dir),
    /// A tree of the program that hosts the daemon.
    Tree(Arc<dyn Tree>),
}

impl Served {
    /// The tree to read from.
    ///
    /// # Errors
    /// When the directory cannot be opened once more.
    pub(crate) fn tree(&self) -> std::io::Result<Arc<dyn Tree>> {
        Ok(match self {
            Self::Directory(dir) => Arc::new(LocalTree::confined(dir.try_clone()?)),
            Self::Tree(tree) => Arc::clone(tree),
        })
    }
}

/// How long a refused client is given to read why, before the connection closes.
const LAST_WORDS: Duration = Duration::from_millis(400);
/// How long a refused client is listened to.
const LINGER: Duration = Duration::from_secs(5);

/// Why a session ends without a transfer.
enum Refused {
    /// The client is told this line, and the session's exit code where it can be.
    Told(String, ExitCode, Goodbye),
    Engine(EngineError),
}

/// Whether the exit code is announced.
#[derive(PartialEq, Eq)]
enum Goodbye {
    Announced,
    Silent,
}

impl From<EngineError> for Refused {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// A socket as the engine wants it; what was read ahead comes first.
pub(crate) fn link(stream: &Socket, ahead: &[u8]) -> std::io::Result<Link> {
    let mut link = Link::from_fds(stream.try_clone()?.into(), stream.try_clone()?.into())?;
    if !ahead.is_empty() {
        link.reader = Box::new(Cursor::new(ahead.to_vec()).chain(link.reader));
    }
    Ok(link)
}

impl SessionOrder {
    /// Runs the session on this thread, which already has the module's identity.
    pub(crate) fn run(
        self,
        link: Link,
        stream: &Socket,
        served: Served,
        log: Log,
        owners: Owners,
    ) -> ExitCode {
        let Self { peer, agreed, arguments, settings, visitor, path, rules, .. } = self;
        let (_, parsed) = arguments.parse(&visitor.module, &settings);
        let control = link.control.clone();
        control.stop_in(handshake_limit(settings.timeout));
        let mut connection = Connection::new(link);
        let entry = Entry::Greeted { peer, agreed };
        let negotiated = match set_up(&mut connection, entry, parsed.options()) {
            Ok(negotiated) => negotiated,
            Err(error) => {
                let role = if parsed.options().sender { Role::Sender } else { Role::EarlyReceiver };
                let code = if control.is_stopped() {
                    log.warning("[Receiver] daemon handshake timeout -- exiting");
                    ExitCode::TIMEOUT
                } else {
                    error.render(role).lines().for_each(|line| log.warning(line));
                    error.exit_code()
                };
                log.warning(exit_line(code, role, (file!(), line!()), VERSION).unwrap_or_default());
                return code;
            }
        };
        control.go_on();
        let filters = match rules.filters() {
            Ok(filters) => filters,
            Err(error) => {
                log.warning(error.to_string());
                return ExitCode::SYNTAX;
            }
        };
        let shown_path = if self.seems_root { "/".into() } else { path.clone() };
        let rules = Rules {
            settings: &settings,
            filters: &filters,
            access: self.access,
            path: &shown_path,
            seems_root: self.seems_root,
        };
        let role = if parsed.options().sender { Role::Sender } else { Role::EarlyReceiver };
        let prepared = match self.refusal {
            Some(text) => Err(Refused::by_hook(&parsed, text.to_string())),
            None => rules.prepare(parsed, &served),
        };
        let Prepared { mut options, tree, task, announced_timeout } = match prepared {
            Ok(prepared) => prepared,
            Err(Refused::Told(text, code, goodbye)) => {
                text.lines().for_each(|line| log.warning(line));
                if role == Role::Sender {
                    log.info("sent 0 bytes  received 0 bytes  total size 0");
                }
                let last = exit_line(code, role, (file!(), line!()), VERSION).unwrap_or_default();
                log.warning(&last);
                let told = tell(&mut connection, &negotiated, &[text, last], code, &goodbye);
                if let Err(error) = told {
                    log.warning(error.to_string());
                } else {
                    linger(stream, LINGER);
                }
                return code;
            }
            Err(Refused::Engine(error)) => return error.exit_code(),
        };
        options.munge_links = Some(self.munges_links);
        if self.bwlimit > 0 && (options.bwlimit == 0 || options.bwlimit > self.bwlimit) {
            options.bwlimit = self.bwlimit;
        }
        let mut negotiated = negotiated;
        if settings.dont_compress.split(u8::is_ascii_whitespace).any(|pattern| pattern == b"*") {
            negotiated.compression = negotiated.compression.map(with_little_effort);
        }
        let is_sender = options.sender;
        control.set_timeout(announced_timeout.map(|seconds| Duration::from_secs(seconds.into())));
        let transfer_log = settings.transfer_logging.then(|| TransferLog {
            format: LineFormat::parse(&settings.log_format),
            visitor: match settings.reverse_lookup {
                true => visitor.clone(),
                // A name may be known all the same, but not for these lines.
                false => Visitor { host: HostName::Undetermined.text().into(), ..visitor.clone() },
            },
            path: path.clone(),
        });
        let transfer = Transfer {
            connection,
            negotiated,
            charset: settings.conversion(&options),
            options,
            task,
            tree,
            module: visitor.module,
            path: shown_path,
            keeps_links_inside: self.keeps_links_inside,
            module_filters: filters,
            announced_timeout,
            transfer_log,
            owners: if self.numeric_ids { owners.without_names() } else { owners },
            numeric_ids: self.numeric_ids,
            log: log.clone(),
        };
        let code = transfer.run();
        if !code.is_ok() && !is_sender {
            linger(stream, LINGER);
        }
        code
    }
}

fn set_up(
    connection: &mut Connection,
    entry: Entry,
    options: &TransferOptions,
) -> Result<Negotiated, EngineError> {
    let variables = AlgorithmVariables {
        checksum: environment("RSYNC_CHECKSUM_LIST"),
        compress: environment("RSYNC_COMPRESS_LIST"),
    };
    let mut setup = ServerSetup::new(entry, options, &variables, rand::random())?;
    loop {
        match connection.decode(|input| setup.advance(input))? {
            Progress::Write(bytes) => connection.write(&bytes)?,
            Progress::Done(negotiated) => {
                connection.flush()?;
                return Ok(*negotiated);
            }
        }
    }
}

/// How the names and ids of owners become each other.
pub(crate) struct Owners {
    pub(crate) names: Box<dyn OwnerNames + Send>,
    pub(crate) ids: Arc<dyn OwnerIds>,
}

impl Owners {
    /// Files have owners without names; what a client calls by name has an id all the same.
    fn without_names(self) -> Self {
        Self { names: Box::new(NoNames), ids: self.ids }
    }
}

struct NoNames;

impl OwnerNames for NoNames {
    fn user(&mut self, _: u32) -> Option<Vec<u8>> {
        None
    }

    fn group(&mut self, _: u32) -> Option<Vec<u8>> {
        None
    }
}

/// The same format at the least cost.
fn with_little_effort(compression: Compression) -> Compression {
    let level = match compression.kind {
        CompressionKind::Zlib | CompressionKind::Zlibx => 0,
        CompressionKind::Lz4 => compression.level,
        CompressionKind::Zstd => i32::MIN,
    };
    Compression { level: level.max(FASTEST_ZSTD), ..compression }
}

/// Zstandard's level that tries least.
const FASTEST_ZSTD: i32 = -131_072;

/// What a module says about a request.
struct Rules<'a> {
    settings: &'a ModuleSettings,
    filters: &'a Filters,
    access: Access,
    /// What messages call the module's root.
    path: &'a BString,
    seems_root: bool,
}

/// A request that may be carried out.
struct Prepared {
    options: TransferOptions,
    tree: Arc<dyn Tree>,
    task: Task,
    announced_timeout: Option<u32>,
}

impl Refused {
    fn syntax(text: &str) -> Self {
        Self::Told(text.into(), ExitCode::SYNTAX, Goodbye::Announced)
    }

    /// The client asks for what the server is told not to do.
    fn rejected(text: String) -> Self {
        Self::Told(text, ExitCode::UNSUPPORTED, Goodbye::Announced)
    }

    fn by_hook(parsed: &Parsed, text: String) -> Self {
        let announced = !parsed.options().sender;
        let goodbye = if announced { Goodbye::Announced } else { Goodbye::Silent };
        Self::Told(text, ExitCode::UNSUPPORTED, goodbye)
    }
}

impl Rules<'_> {
    fn prepare(&self, parsed: Parsed, served: &Served) -> Result<Prepared, Refused> {
        let request = match parsed {
            Parsed::Request(request) => *request,
            Parsed::Rejected(rejected) => {
                let goodbye = if rejected.so_far.sender { Goodbye::Silent } else { Goodbye::Announced };
                return Err(Refused::Told(rejected.error.message(), ExitCode::UNSUPPORTED, goodbye));
            }
            Parsed::AwaitsSecondList(_) | Parsed::Unusable => {
                return Err(EngineError::protocol("the client's arguments are unusable").into());
            }
        };
        let Request { mut options, operands, .. } = request;
        self.check_direction(&options)?;
        let sends = options.sender;
        // Whom a module's files belong to is the administrator's to say.
        if options.copy_as.is_some() {
            return Err(Refused::rejected("rsync: The server is configured to refuse --copy-as".into()));
        }
        self.check_hidden(&options)?;
        options.max_alloc = memory_limit(options.max_alloc);
        let settings = self.settings;
        let announced_timeout = apply_settings(&mut options, settings);
        let more = if sends { &settings.outgoing_chmod } else { &settings.incoming_chmod };
        options.chmod.extend(more.clone());
        if settings.fake_super {
            options.super_user = SuperUser::Fake;
        } else if options.super_user == SuperUser::Fake {
            options.super_user = SuperUser::On;
        }
        for path in [&mut options.temp_dir, &mut options.backup_dir, &mut options.partial_dir] {
            *path = path.take().map(|path| clamped(&path));
        }
        options.temp_dir = options.temp_dir.take().or_else(|| settings.temp_dir.clone());
        options.ignore_errors |= settings.ignore_errors;
        let mut tree = served.tree().map_err(|error| EngineError::protocol(error.to_string()))?;
        let names = requested_names(&options, &*tree, self.path)?;
        if sends && settings.ignore_nonreadable {
            tree = Arc::new(ReadableTree::new(tree));
        }
        let mut paths: Vec<Vec<u8>> = operands.into_iter().skip(1).map(Vec::from).collect();
        if paths.is_empty() {
            paths.push(b".".to_vec());
        }
        let task = if sends {
            let sources = expand_wildcards(&*tree, self.filters, &paths, options.relative)
                .map_err(|error| Refused::rejected(error.to_string()))?;
            // Where the C rsync has no chroot, the names of a module's top have nothing in front of them.
            let start_dir = if self.seems_root { b"/".to_vec() } else { Vec::new() };
            Task::Send { start_dir, sources, names }
        } else {
            let Served::Directory(root) = served else {
                return Err(Refused::syntax("ERROR: module is read only"));
            };
            let root = root.try_clone().map_err(|error| EngineError::protocol(error.to_string()))?;
            let mut destination = sanitize(&paths[0], false);
            if self.seems_root {
                destination.insert(0, b'/');
            }
            Task::Receive { root: Arc::new(root), destination, names }
        };
        Ok(Prepared { options, tree, task, announced_timeout })
    }

    /// Whether files may go this way at all (spec 09 §15).
    fn check_direction(&self, options: &TransferOptions) -> Result<(), Refused> {
        let Access { reads, writes } = self.access;
        let spelling = match options.remove_source {
            RemoveSource::No => None,
            RemoveSource::Files => Some("--remove-source-files"),
            RemoveSource::SentFiles => Some("--remove-sent-files"),
        };
        match (options.sender, spelling) {
            (false, _) if !writes => Err(Refused::syntax("ERROR: module is read only")),
            (true, _) if !reads => Err(Refused::syntax("ERROR: module is write only")),
            (true, Some(spelling)) if !writes => {
                Err(Refused::syntax(&format!("ERROR: {spelling} cannot be used with a read-only module")))
            }
            _ => Ok(()),
        }
    }

    /// No option names what the module hides (spec 06 §7).
    fn check_hidden(&self, options: &TransferOptions) -> Result<(), Refused> {
        const TEXT: &str = "Your options have been rejected by the server.";
        let start = self.filters.start(b"");
        let is_hidden = |path: &[u8], is_dir| {
            let path = sanitize(path, false);
            let path = path.strip_suffix(b"/").unwrap_or(&path);
            path != b"." && self.filters.excludes_path(&start, path, is_dir, Side::Receiver)
        };
        let list = match &options.files_from {
            Some(FilesFrom::Local(path)) if path != "-" => Some(path),
            _ => None,
        };
        if options.temp_dir.iter().chain(&options.backup_dir).any(|path| is_hidden(path, true))
            || list.is_some_and(|path| is_hidden(path, false))
        {
            return Err(Refused::rejected(format!("rsync: {TEXT}")));
        }
        let alternates = options.basis_dirs.iter().flat_map(|basis| &basis.dirs);
        if options.partial_dir.iter().chain(alternates).any(|path| is_hidden(path, true)) {
            return Err(Refused::syntax(TEXT));
        }
        Ok(())
    }
}

/// The limit of memory for a client that asked for this one: it may want less, never more, and never none
/// (spec 10 SEC-087).
fn memory_limit(asked: u64) -> u64 {
    if asked == 0 { DEFAULT_MAX_ALLOC } else { asked.min(DEFAULT_MAX_ALLOC) }
}

/// A directory of an option without climbing: an absolute one begins at the module's root.
fn clamped(path: &[u8]) -> BString {
    let clean = sanitize(path, false);
    if path.starts_with(b"/") { [b"/", clean.as_slice()].concat().into() } else { clean.into() }
}

/// The text of a list of names that lies in the module (`--files-from=FILE` of the server).
fn requested_names(
    options: &TransferOptions,
    tree: &dyn Tree,
    root: &[u8],
) -> Result<Option<Vec<u8>>, Refused> {
    match &options.files_from {
        Some(FilesFrom::Local(path)) if path != "-" => {
            let read = tree.read_operator_file(&sanitize(path, false)).map(Some);
            read.map_err(|error| {
                let reason = describe_errno(error.raw_os_error().unwrap_or_default());
                let reason = reason.rsplit_once(" (").map_or(reason.as_str(), |(text, _)| text);
                let root = root.strip_suffix(b"/").unwrap_or(root).as_bstr();
                let path = clamped(path);
                let path = path.strip_prefix(b"/").unwrap_or(&path).as_bstr();
                let text = format!("rsync: failed to open files-from file {root}/{path}: {reason}");
                Refused::Told(text, ExitCode::UNSUPPORTED, Goodbye::Silent)
            })
        }
        _ => Ok(None),
    }
}

/// Says why there is no transfer, framed as the client expects it after the seed.
fn tell(
    connection: &mut Connection,
    negotiated: &Negotiated,
    [text, last]: &[String; 2],
    code: ExitCode,
    goodbye: &Goodbye,
) -> Result<(), EngineError> {
    let mut mux = Mux::new();
    mux.start_framing(Legal::new(negotiated, true, false, false));
    let message = if negotiated.is_modern() { MessageCode::Error } else { MessageCode::ErrorXfer };
    let mut say = |text: String| {
        mux.message(&Message::Text { code: message, bytes: (text + "\n").into_bytes() });
    };
    text.lines().for_each(|line| say(line.to_owned()));
    if *goodbye == Goodbye::Announced {
        say(last.clone());
        mux.message(&Message::ErrorExit(Some(code.code().into())));
    }
    let framed = mux.pending().to_vec();
    connection.write(&framed)?;
    connection.flush()?;
    std::thread::sleep(LAST_WORDS);
    Ok(())
}

/// Lets the client read what was said last, though it may still be sending; for as long as `limit`.
fn linger(stream: &Socket, limit: Duration) {
    // The client may be gone already.
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.set_nonblocking(false);
    let ends = Instant::now() + limit;
    let mut reader: &Socket = stream;
    let mut piece = [0; 4096];
    // Not a byte now and then, for as long as the client likes.
    while let Some(left) = ends.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        let _ = stream.set_read_timeout(Some(left));
        if !matches!(reader.read(&mut piece), Ok(1..)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_client_gets_less_memory_but_never_more() {
        for (asked, given) in [
            (0, DEFAULT_MAX_ALLOC),
            (1 << 20, 1 << 20),
            (DEFAULT_MAX_ALLOC, DEFAULT_MAX_ALLOC),
            (u64::MAX, DEFAULT_MAX_ALLOC),
        ] {
            assert_eq!(memory_limit(asked), given, "{asked}");
        }
    }

    #[test]
    fn a_refused_client_that_goes_on_talking_is_left() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let talking = std::thread::spawn(move || {
            while theirs.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let stream = Socket::from(OwnedFd::from(ours));
        linger(&stream, Duration::from_millis(100));
        drop(stream);
        talking.join().expect("it ends");
    }
}
