//! A session's own thread: the binary setup, the refusals inside it, then the transfer
//! (spec 09 §10, §15; 01 §4).

use std::io::{Cursor, Read};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use bstr::BString;
use rsync_engine::scan::expand_wildcards;
use rsync_engine::tree::{LocalTree, Tree};
use rsync_engine::{Connection, Dir, EngineError, Link};
use rsync_proto::exit::ExitCode;
use rsync_proto::filter::Filters;
use rsync_proto::flist::OwnerNames;
use rsync_proto::options::{RemoveSource, TransferOptions};
use rsync_proto::session::{AlgorithmVariables, Entry, Negotiated, Progress, ServerSetup};
use rsync_proto::text::{LineFormat, Role, exit_line};
use rsync_proto::wire::{Legal, Message, MessageCode, Mux};

use socket2::Socket;

use crate::config::ModuleSettings;
use crate::identity::Identity;
use crate::limits::Slot;
use crate::log::Log;
use crate::order::SessionOrder;
use crate::readable::ReadableTree;
use crate::request::{Parsed, apply_settings};
use crate::serve::Transfer;
use crate::voice::TransferLog;

/// Everything that a session needs when it gets a thread.
pub(crate) struct ReadySession {
    pub(crate) order: SessionOrder,
    pub(crate) served: Served,
    pub(crate) identity: Identity,
    pub(crate) log: Log,
    pub(crate) slot: Option<Slot>,
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

/// How long the setup may wait for the client.
const SETUP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a refused client is given to read why, before the connection closes.
const LAST_WORDS: Duration = Duration::from_millis(400);
/// How long, and for how many bytes, a refused client is listened to.
const LINGER: Duration = Duration::from_secs(5);
const LINGER_BYTES: u64 = 64 << 20;

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
        owners: Box<dyn OwnerNames + Send>,
    ) -> ExitCode {
        let Self { peer, agreed, arguments, settings, visitor, path, rules, munges_links, .. } = self;
        let (_, parsed) = arguments.parse(&visitor.module, &settings);
        let control = link.control.clone();
        control.set_timeout(Some(SETUP_TIMEOUT));
        let mut connection = Connection::new(link);
        let entry = Entry::Greeted { peer, agreed };
        let negotiated = match set_up(&mut connection, entry, parsed.options()) {
            Ok(negotiated) => negotiated,
            Err(error) => {
                log.warning(error.to_string());
                return error.exit_code();
            }
        };
        let filters = match rules.filters() {
            Ok(filters) => filters,
            Err(error) => {
                log.warning(error.to_string());
                return ExitCode::SYNTAX;
            }
        };
        let prepared = prepare(parsed, &settings, &served, &filters, munges_links);
        let (options, sources, tree, announced_timeout) = match prepared {
            Ok(prepared) => prepared,
            Err(Refused::Told(text, code, goodbye)) => {
                log.warning(&text);
                let told = tell(&mut connection, &negotiated, &text, code, &goodbye);
                if let Err(error) = told {
                    log.warning(error.to_string());
                } else {
                    linger(stream);
                }
                return code;
            }
            Err(Refused::Engine(error)) => return error.exit_code(),
        };
        control.set_timeout(announced_timeout.map(|seconds| Duration::from_secs(seconds.into())));
        let transfer_log = settings.transfer_logging.then(|| TransferLog {
            format: LineFormat::parse(&settings.log_format),
            visitor: visitor.clone(),
            path,
        });
        let transfer = Transfer {
            connection,
            negotiated,
            options,
            sources,
            tree,
            module: visitor.module.into(),
            module_filters: filters,
            announced_timeout,
            transfer_log,
            owners,
            log: log.clone(),
        };
        let code = transfer.run();
        if let Some(line) = exit_line(code, Role::Sender, ("session.rs", 0), VERSION) {
            log.warning(line);
        }
        code
    }
}

/// The version that messages name.
const VERSION: &str = "3.5.0";

fn set_up(
    connection: &mut Connection,
    entry: Entry,
    options: &TransferOptions,
) -> Result<Negotiated, EngineError> {
    let variables = AlgorithmVariables {
        checksum: variable("RSYNC_CHECKSUM_LIST"),
        compress: variable("RSYNC_COMPRESS_LIST"),
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

fn variable(name: &str) -> Option<BString> {
    std::env::var_os(name).map(|value| std::os::unix::ffi::OsStringExt::into_vec(value).into())
}

type Prepared = (TransferOptions, Vec<Vec<u8>>, Arc<dyn Tree>, Option<u32>);

fn prepare(
    parsed: Parsed,
    settings: &ModuleSettings,
    served: &Served,
    filters: &Filters,
    munges_links: bool,
) -> Result<Prepared, Refused> {
    let request = match parsed {
        Parsed::Request(request) => *request,
        Parsed::Rejected(rejected) => {
            let is_receiver = !rejected.so_far.sender;
            let goodbye = if is_receiver { Goodbye::Announced } else { Goodbye::Silent };
            return Err(Refused::Told(rejected.error.message(), ExitCode::UNSUPPORTED, goodbye));
        }
        Parsed::AwaitsSecondList(_) | Parsed::Unusable => {
            return Err(EngineError::protocol("the client's arguments are unusable").into());
        }
    };
    let mut options = request.options;
    let told = |text: &str| Err(Refused::Told(text.into(), ExitCode::SYNTAX, Goodbye::Announced));
    if !options.sender {
        return told("ERROR: module is read only");
    }
    if settings.write_only {
        return told("ERROR: module is write only");
    }
    match options.remove_source {
        RemoveSource::No => {}
        RemoveSource::Files => {
            return told("ERROR: --remove-source-files cannot be used with a read-only module");
        }
        RemoveSource::SentFiles => {
            return told("ERROR: --remove-sent-files cannot be used with a read-only module");
        }
    }
    // Whom a module's files are read as is the administrator's to say.
    let copy_as = options.copy_as.is_some().then_some("--copy-as");
    // Only modules with a `charset` let it pass so far, and those do not convert yet.
    let iconv = options.iconv.is_some().then_some("--iconv");
    if let Some(option) = iconv.or(copy_as) {
        let text = format!("rsync: The server is configured to refuse {option}");
        return Err(Refused::Told(text, ExitCode::UNSUPPORTED, Goodbye::Announced));
    }
    let announced_timeout = apply_settings(&mut options, settings);
    options.chmod.extend(settings.outgoing_chmod.clone());
    options.munge_links = Some(munges_links);
    let mut paths: Vec<Vec<u8>> = request.operands.into_iter().skip(1).map(Vec::from).collect();
    if paths.is_empty() {
        paths.push(b".".to_vec());
    }
    let mut tree = served.tree().map_err(|error| EngineError::protocol(error.to_string()))?;
    if settings.ignore_nonreadable {
        tree = Arc::new(ReadableTree::new(tree));
    }
    let sources = expand_wildcards(&*tree, filters, &paths, options.relative)
        .map_err(|error| Refused::Told(error.to_string(), ExitCode::UNSUPPORTED, Goodbye::Announced))?;
    Ok((options, sources, tree, announced_timeout))
}

/// Says why there is no transfer, framed as the client expects it after the seed.
fn tell(
    connection: &mut Connection,
    negotiated: &Negotiated,
    text: &str,
    code: ExitCode,
    goodbye: &Goodbye,
) -> Result<(), EngineError> {
    let mut mux = Mux::new();
    mux.start_framing(Legal::new(negotiated, true, false, false));
    let message = if negotiated.is_modern() { MessageCode::Error } else { MessageCode::ErrorXfer };
    let mut say = |text: String| {
        mux.message(&Message::Text { code: message, bytes: (text + "\n").into_bytes() });
    };
    say(text.to_owned());
    if *goodbye == Goodbye::Announced {
        if let Some(line) = exit_line(code, Role::EarlyReceiver, ("session.rs", 0), VERSION) {
            say(line);
        }
        mux.message(&Message::ErrorExit(Some(code.code().into())));
    }
    let framed = mux.pending().to_vec();
    connection.write(&framed)?;
    connection.flush()?;
    std::thread::sleep(LAST_WORDS);
    Ok(())
}

/// Lets the client read what was said last, though it may still be sending.
fn linger(stream: &Socket) {
    // The client may be gone already.
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_read_timeout(Some(LINGER));
    let mut reader: &Socket = stream;
    let _ = std::io::copy(&mut (&mut reader).take(LINGER_BYTES), &mut std::io::sink());
}
