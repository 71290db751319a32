//! `rsync --server`: the other end of a remote shell, on standard input and output (spec 01 §3.1).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bstr::BString;
use rsync_engine::scan::{ScanRequest, TooManyNames, expand_anywhere};
use rsync_engine::tree::{LocalTree, Tree};
use rsync_engine::{
    Agreed, Connection, Copier, EngineError, Link, OperatorFiles, Outgoing, ReceiveSetup, ScannedLists,
    SendSetup, ServerVoice, Session, SystemOwners, receive, send,
};
use rsync_proto::charset::{Charset, UnknownCharset, locale_charset};
use rsync_proto::exit::ExitCode;
use rsync_proto::filter::{Filters, NameReader, cvs_rules};
use rsync_proto::options::{
    FilesFrom, Iconv, Pending, Rejected, Request, StderrMode, SuperUser, TransferOptions,
};
use rsync_proto::session::{
    AlgorithmVariables, ArgumentReader, Entry, Negotiated, Progress, ServerSetup, SetupError,
};
use rsync_proto::text::{Event, EventSink, Role, Severity, Topic, Totals, exit_line};

use crate::console::{Console, Output, open_log};
use crate::facts::FACTS;
use crate::local_zone::LocalZone;
use crate::{reject, variable};

/// Why a server ends before or during its session.
#[derive(Debug, thiserror::Error)]
enum ServerError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Charset(#[from] UnknownCharset),
    #[error(transparent)]
    Options(#[from] Rejected),
    #[error("ERROR: do_server_{role} called without args")]
    NoArguments { role: &'static str },
    #[error("rsync: [{role}] change_dir \"{dir}\" failed: {source}")]
    ChangeDir { role: &'static str, dir: BString, source: io::Error },
    #[error("rsync: failed to open files-from file {path}: {}", plain_reason(source))]
    FilesFrom { path: BString, source: io::Error },
    #[error(transparent)]
    Wildcards(#[from] TooManyNames),
    #[error("rsync: cannot use standard input and output: {0}")]
    Streams(io::Error),
}

/// What the system said, without its number.
fn plain_reason(error: &io::Error) -> String {
    let reason = error.to_string();
    reason.split(" (os error").next().unwrap_or_default().to_owned()
}

impl ServerError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Engine(error) => error.exit_code(),
            Self::Setup(error) => error.exit_code(),
            Self::Options(rejected) => rejected.error.exit_code(),
            Self::Charset(_) => ExitCode::UNSUPPORTED,
            Self::NoArguments { .. } => ExitCode::SYNTAX,
            Self::ChangeDir { .. } => ExitCode::FILE_SELECT,
            Self::FilesFrom { .. } => ExitCode::SYNTAX,
            Self::Wildcards(_) => ExitCode::SYNTAX,
            Self::Streams(_) => ExitCode::IPC,
        }
    }
}

/// Who speaks for this server, and where that is written down beside.
struct Speaker {
    role: Role,
    log: Option<Arc<Console>>,
}

impl Speaker {
    fn new(options: &TransferOptions) -> Self {
        Self { role: role_of(options), log: None }
    }

    /// Opens the log file of `--log-file`; without it the session goes on.
    fn open_log(&mut self, options: &TransferOptions) {
        let Some(path) = &options.log_file else { return };
        match open_log(path, options.insecure_links, Role::Server) {
            Ok(log) => self.log = Some(Arc::new(Console::logging(options, self.role, log))),
            Err(error) => {
                crate::say_error(&error);
                crate::say_error("Ignoring \"log file\" setting.");
            }
        }
    }

    fn log(&self, severity: Severity, text: &str) {
        if let Some(log) = &self.log {
            log.say(severity, text);
        }
    }
}

/// The voice of a server, and its log file.
struct Logged {
    voice: ServerVoice,
    log: Arc<Console>,
    dry_run: bool,
}

impl EventSink for Logged {
    fn wants(&self, topic: Topic) -> bool {
        self.voice.wants(topic) || self.log.wants(topic)
    }

    fn emit(&self, event: Event<'_>) {
        let topic = match &event {
            Event::Message(message) => message.topic(),
            Event::Item { .. } => Topic::Items,
            Event::Deleted { .. } => Topic::Deletions,
            _ => Topic::Always,
        };
        // A listing is the client's, and so is what would be done.
        let shown =
            matches!(event, Event::Listed { .. }) || self.dry_run && matches!(event, Event::Item { .. });
        if self.log.wants(topic) && !shown {
            self.log.emit(event);
        }
        if self.voice.wants(topic) {
            self.voice.emit(event);
        }
    }
}

/// Serves a session whose words all came on the command line.
pub(crate) fn serve(request: Request) -> ExitCode {
    let mut speaker = Speaker::new(&request.options);
    let served = streams().and_then(|connection| session(connection, request, false, &mut speaker));
    finish(served, &speaker)
}

/// Who speaks before the first list has come.
fn role_of(options: &TransferOptions) -> Role {
    if options.sender { Role::Sender } else { Role::EarlyReceiver }
}

/// Serves a session whose second list of words comes first on standard input.
pub(crate) fn serve_secluded(pending: Pending) -> ExitCode {
    let mut speaker = Speaker::new(pending.options());
    let served = || {
        let mut connection = streams()?;
        let charset = charset(pending.options())?;
        let mut reader = ArgumentReader::secluded();
        let mut words = Vec::new();
        while let Some(word) = connection.decode(|input| reader.next(input))? {
            words.push(charset.map_or_else(|| word.clone(), |charset| charset.text_from_wire(&word).into()));
        }
        session(connection, pending.resume(&words)?, true, &mut speaker)
    };
    let result = served();
    finish(result, &speaker)
}

/// Says what went wrong.
fn finish(result: Result<ExitCode, ServerError>, speaker: &Speaker) -> ExitCode {
    let role = speaker.role;
    match result {
        // Of a session that came to its end the client alone says how it went.
        Ok(code) => code,
        Err(ServerError::Options(rejected)) => reject(&rejected.error, Role::Server, false),
        Err(error) => {
            let code = error.exit_code();
            let text = match &error {
                ServerError::Engine(
                    EngineError::PeerExit(_)
                    | EngineError::Cancelled
                    | EngineError::Refused
                    | EngineError::BadOptionDir,
                ) => None,
                ServerError::Engine(error) => Some(error.render(role)),
                error => Some(error.to_string()),
            };
            if let Some(text) = text {
                crate::say_error(&text);
                speaker.log(Severity::Error, &text);
            }
            // A peer that announced its exit has said why.
            if !matches!(&error, ServerError::Engine(EngineError::PeerExit(_))) {
                crate::say_exit(code, role);
                let line = exit_line(code, role, (file!(), line!()), FACTS.version);
                speaker.log(Severity::Error, &line.unwrap_or_default());
            }
            code
        }
    }
}

fn streams() -> Result<Connection, ServerError> {
    let duplicate = |fd: &dyn AsFd| -> io::Result<OwnedFd> { fd.as_fd().try_clone_to_owned() };
    let link = duplicate(&io::stdin())
        .and_then(|input| Link::from_fds(input, duplicate(&io::stdout())?))
        .map_err(ServerError::Streams)?;
    Ok(Connection::new(link))
}

/// Serves what `request` asks for. No shell has expanded the paths of one that is `secluded`; of a failed
/// transfer, the speaker becomes who failed.
fn session(
    mut connection: Connection,
    request: Request,
    secluded: bool,
    speaker: &mut Speaker,
) -> Result<ExitCode, ServerError> {
    let Request { options, operands, .. } = request;
    speaker.role = role_of(&options);
    speaker.open_log(&options);
    let charset = charset(&options)?;
    let Some((dir, paths)) = operands.split_first() else {
        return Err(ServerError::NoArguments { role: if options.sender { "sender" } else { "recv" } });
    };
    if !(options.sender && options.relative) {
        change_dir(dir, speaker.role)?;
    }
    let control = connection.control().clone();
    if options.timeout > 0 {
        control.set_timeout(Some(Duration::from_secs(options.timeout.into())));
    }
    crate::signals::on_termination({
        let control = control.clone();
        move || control.abort()
    });
    let negotiated = set_up(&mut connection, &options)?;
    let outgoing = Outgoing::default();
    let voice = ServerVoice::new(&options, &negotiated, outgoing.clone())
        .in_charset(charset)
        .in_zone(Arc::new(LocalZone::new()));
    let to_client = options.stderr == StderrMode::Client || !negotiated.has_item_flags();
    let voice = if to_client { voice } else { voice.with_errors_to(Box::new(io::stderr())) };
    let events: Arc<dyn EventSink> = match &speaker.log {
        Some(log) => Arc::new(Logged { voice, log: Arc::clone(log), dry_run: options.dry_run }),
        None => Arc::new(voice),
    };
    let tree = LocalTree::here().map_err(ServerError::Streams)?.for_options(&options);
    let tree: Arc<dyn Tree> = Arc::new(tree);
    let mut files = OperatorFiles::new(Arc::clone(&tree), Arc::clone(&events), None);
    let names = requested_names(&options, &mut files)?;
    let mut options = options;
    if let Some(text) = &options.copy_as {
        Copier::find(text).and_then(|copier| copier.take()).map_err(EngineError::from)?;
        options.super_user = SuperUser::Auto;
    }
    let mut paths: Vec<Vec<u8>> = paths.iter().map(|path| path.to_vec()).collect();
    if secluded {
        paths = expand_anywhere(&*tree, &paths)?;
    }
    let mut session = Session::new(negotiated, options, true, events, control);
    session.outgoing = outgoing;
    session.charset = charset;
    let session = Arc::new(session);
    let served = if session.options.sender {
        serve_files(connection, &session, tree, &mut files, &paths, names)
    } else {
        let setup = ReceiveSetup {
            filters: own_filters(&session),
            rule_files: &mut files,
            destination: paths.into_iter().next().unwrap_or_else(|| b".".to_vec()),
            guard: None,
            names,
            announced_timeout: None,
        };
        receive(connection, &session, setup).map(|report| report.total_size).map_err(ServerError::from)
    };
    if let Err(ServerError::Engine(error)) = &served {
        speaker.role = session.server_role(error);
    }
    let total_size = served?;
    let counters = &session.counters;
    let (sent, received) = (&counters.bytes_written, &counters.bytes_read);
    let (sent, received) = (sent.load(Ordering::Relaxed), received.load(Ordering::Relaxed));
    speaker.log(Severity::Log, &Totals { sent, received, total_size, ..Totals::default() }.log_line());
    Ok(session.exit_code())
}

/// The charset of names on this side, if the client converts them.
fn charset(options: &TransferOptions) -> Result<Option<Charset>, UnknownCharset> {
    let named = |iconv: &Iconv| Charset::named(iconv.of_server(&locale_charset(variable)));
    options.iconv.as_ref().map(named).transpose()
}

/// Sends the files that `paths` name; answers the size of all.
fn serve_files(
    connection: Connection,
    session: &Arc<Session>,
    tree: Arc<dyn Tree>,
    files: &mut OperatorFiles,
    paths: &[Vec<u8>],
    names: Option<Vec<u8>>,
) -> Result<u64, ServerError> {
    let setup = SendSetup { filters: own_filters(session), rule_files: files, announced_timeout: None };
    let sources = match paths {
        [] => vec![b".".to_vec()],
        paths => paths.to_vec(),
    };
    let start_dir = std::env::current_dir().map_err(ServerError::Streams)?;
    let report = send(connection, session, setup, |agreed: Agreed| {
        let request = ScanRequest {
            sources,
            start_dir: start_dir.as_os_str().as_bytes().to_vec(),
            module: None,
            filters: agreed.filters,
            module_filters: None,
            columns: session.columns(),
            change_mode: None,
            attributes: None,
        };
        let local = names.map(|text| {
            let mut names = Vec::new();
            let mut reader = NameReader::new(session.options.from0);
            reader.push(&text, |name| names.push(name.to_vec()));
            reader.finish(|name| names.push(name.to_vec()));
            names
        });
        Ok(ScannedLists::new(
            Arc::clone(session),
            tree,
            request,
            agreed.names.or(local),
            Box::new(SystemOwners::default()),
        ))
    })?;
    Ok(report.total_size)
}

/// What the server's own user says `-C` stands for.
fn own_filters(session: &Session) -> Filters {
    let home = variable("HOME").and_then(|home| {
        std::fs::read(Path::new(std::ffi::OsStr::from_bytes(&home)).join(".cvsignore")).ok()
    });
    let variable = variable("CVSIGNORE");
    let perishable = session.negotiated.has_perishable_filters();
    let cvs = cvs_rules(perishable, home.as_deref(), variable.as_ref().map(|text| text.as_slice()));
    Filters::of_server(&session.options, cvs)
}

fn change_dir(dir: &BString, role: Role) -> Result<(), ServerError> {
    let failed = |source| ServerError::ChangeDir { role: role.name(), dir: dir.clone(), source };
    std::env::set_current_dir(Path::new(std::ffi::OsStr::from_bytes(dir))).map_err(failed)
}

fn set_up(connection: &mut Connection, options: &TransferOptions) -> Result<Negotiated, ServerError> {
    let variables = AlgorithmVariables {
        checksum: variable("RSYNC_CHECKSUM_LIST"),
        compress: variable("RSYNC_COMPRESS_LIST"),
    };
    let mut random = [0; 4];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| ServerError::Streams(error.into()))?;
    let mut setup = ServerSetup::new(Entry::Exchange, options, &variables, i32::from_le_bytes(random))?;
    loop {
        match connection.decode(|input| setup.advance(input))? {
            Progress::Write(bytes) => connection.write(&bytes)?,
            Progress::Done(negotiated) => return Ok(*negotiated),
        }
    }
}

/// The text of a list of names that lies on this side (`--files-from=FILE` sent to a server).
fn requested_names(
    options: &TransferOptions,
    files: &mut OperatorFiles,
) -> Result<Option<Vec<u8>>, ServerError> {
    match &options.files_from {
        Some(FilesFrom::Local(path)) if path != "-" => {
            let read =
                files.read(path).map_err(|source| ServerError::FilesFrom { path: path.clone(), source });
            read.map(Some)
        }
        _ => Ok(None),
    }
}
