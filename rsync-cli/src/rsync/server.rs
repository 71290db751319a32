//! `rsync --server`: the other end of a remote shell, on standard input and output (spec 01 §3.1).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bstr::BString;
use rsync_engine::tree::{LocalTree, Tree};
use rsync_engine::{
    Agreed, Connection, EngineError, Link, OperatorFiles, Outgoing, ReceiveSetup, ScannedLists, SendSetup,
    ServerVoice, Session, receive, send,
};
use rsync_proto::exit::ExitCode;
use rsync_proto::filter::Filters;
use rsync_proto::options::{FilesFrom, Pending, Rejected, Request, StderrMode, TransferOptions};
use rsync_proto::session::{
    AlgorithmVariables, ArgumentReader, Entry, Negotiated, Progress, ServerSetup, SetupError,
};
use rsync_proto::text::{EventSink, Role, Severity};
use rsync_proto::wire::{NeedsInput, WireError};

use crate::{reject, variable};

/// Why a server ends before or during its session.
#[derive(Debug, thiserror::Error)]
enum ServerError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Options(#[from] Rejected),
    #[error("{option} is not supported yet")]
    Unsupported { option: &'static str },
    #[error("ERROR: do_server_{role} called without args")]
    NoArguments { role: &'static str },
    #[error("rsync: [{role}] change_dir \"{dir}\" failed: {source}")]
    ChangeDir { role: &'static str, dir: BString, source: io::Error },
    #[error("failed to open files-from file {path}: {source}")]
    FilesFrom { path: BString, source: io::Error },
    #[error("rsync: cannot use standard input and output: {0}")]
    Streams(io::Error),
}

impl ServerError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Engine(error) => error.exit_code(),
            Self::Setup(error) => error.exit_code(),
            Self::Options(rejected) => rejected.error.exit_code(),
            Self::Unsupported { .. } => ExitCode::UNSUPPORTED,
            Self::NoArguments { .. } => ExitCode::SYNTAX,
            Self::ChangeDir { .. } => ExitCode::FILE_SELECT,
            Self::FilesFrom { .. } => ExitCode::SYNTAX,
            Self::Streams(_) => ExitCode::IPC,
        }
    }
}

/// Serves a session whose words all came on the command line.
pub(crate) fn serve(request: Request) -> ExitCode {
    finish(streams().and_then(|connection| session(connection, request)))
}

/// Serves a session whose second list of words comes first on standard input.
pub(crate) fn serve_secluded(pending: Pending) -> ExitCode {
    let served = || {
        let mut connection = streams()?;
        let mut reader = ArgumentReader::secluded();
        let mut words = Vec::new();
        while let Some(word) = connection.decode(|input| reader.next(input))? {
            words.push(word);
        }
        session(connection, pending.resume(&words)?)
    };
    finish(served())
}

fn finish(result: Result<(Role, ExitCode), ServerError>) -> ExitCode {
    match result {
        Ok((role, code)) => {
            crate::say_exit(code, role);
            code
        }
        Err(ServerError::Options(rejected)) => reject(&rejected.error, Role::Server),
        Err(error) => {
            let code = error.exit_code();
            let text = match &error {
                ServerError::Engine(EngineError::PeerExit(_) | EngineError::Cancelled) => None,
                ServerError::Engine(error) => Some(error.render(Role::Server)),
                error => Some(error.to_string()),
            };
            if let Some(text) = text {
                crate::say_error(&text);
            }
            crate::say_exit(code, Role::Server);
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

fn session(mut connection: Connection, request: Request) -> Result<(Role, ExitCode), ServerError> {
    let Request { mut options, operands, .. } = request;
    let role = if options.sender { Role::Sender } else { Role::EarlyReceiver };
    if let Some(option) = options.unsupported().first() {
        return Err(ServerError::Unsupported { option });
    }
    let Some((dir, paths)) = operands.split_first() else {
        return Err(ServerError::NoArguments { role: if options.sender { "sender" } else { "recv" } });
    };
    if !(options.sender && options.relative) {
        change_dir(dir, role)?;
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
    let voice = ServerVoice::new(&options, &negotiated, outgoing.clone());
    let to_client = options.stderr == StderrMode::Client || !negotiated.has_item_flags();
    let voice = if to_client { voice } else { voice.with_errors_to(Box::new(io::stderr())) };
    let events: Arc<dyn EventSink> = Arc::new(voice);
    let tree: Arc<dyn Tree> = Arc::new(LocalTree::here().map_err(ServerError::Streams)?);
    let mut files = OperatorFiles::new(Arc::clone(&tree), Arc::clone(&events), None);
    let names = requested_names(&mut options, &mut files)?;
    let mut session = Session::new(negotiated, options, true, events, control);
    session.outgoing = outgoing;
    let session = Arc::new(session);
    if session.options.sender {
        serve_files(connection, &session, tree, &mut files, paths, names)?;
    } else {
        let setup = ReceiveSetup {
            filters: Filters::new(),
            rule_files: &mut files,
            destination: paths.first().map_or_else(|| b".".to_vec(), |path| path.to_vec()),
            guard: None,
            names,
            announced_timeout: None,
        };
        receive(connection, &session, setup)?;
    }
    Ok((role, session.exit_code()))
}
