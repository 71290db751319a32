//! A client's run: endpoints, log file and signals around one call of the client library.

use std::io::IsTerminal;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use bstr::BString;

use rsync_client::{Client, ClientEnvironment, ClientError};
use rsync_engine::EngineError;
use rsync_proto::exit::ExitCode;
use rsync_proto::options::{Endpoints, RemoteKind, Request, TransferOptions, endpoints};
use rsync_proto::text::{KindCounts, Role, Severity, exit_line};

use crate::console::{Console, Output, open_log};
use crate::facts::FACTS;
use crate::json::JsonLines;
use crate::{prompt, reject, signals};

/// Carries out a command line.
pub(crate) fn transfer(request: Request) -> ExitCode {
    let Request { options, operands, notices } = request;
    let found = match endpoints(&operands, &options) {
        Ok(found) => found,
        Err(error) => return reject(&error, role_of_first(&operands), options.json),
    };
    let role = match &found {
        Endpoints::Pull { .. } | Endpoints::Replay { .. } => Role::EarlyReceiver,
        Endpoints::Push { .. } | Endpoints::Local { .. } => Role::Sender,
    };
    let log = options.log_file.as_ref().map(|path| open_log(path, options.insecure_links, Role::Client));
    let (log, log_error) = match log {
        Some(Ok(log)) => (Some(log), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    let lists = options.list_only || operands.len() < 2;
    let console: Arc<dyn Output> = if options.json {
        let beside = Console::new(&TransferOptions { quiet: true, ..options.clone() }, role, log);
        Arc::new(JsonLines::new(&options, role, lists, beside))
    } else {
        Arc::new(Console::new(&options, role, log))
    };
    for notice in notices {
        console.say(Severity::Info, &notice);
    }
    if let Some(error) = log_error {
        console.say(Severity::Error, &error);
        console.say(Severity::Info, "Ignoring \"log file\" setting.");
    }
    let client = Client::builder()
        .options(options)
        .environment(ClientEnvironment::from_env())
        .command_line(std::env::args_os().map(|word| BString::from(word.into_vec())))
        .events(console.clone())
        .ask_password(Arc::new(|_| prompt::ask_password()))
        .build();
    let canceller = client.canceller();
    signals::on_termination(move || canceller.cancel());
    let is_local = matches!(found, Endpoints::Local { .. });
    let result = call(&client, found, console.as_ref());
    // A peer that announced its exit has said why; a lie about it has become a broken stream.
    let peer_said_all = matches!(
        &result,
        Err(ClientError::Engine(EngineError::PeerExit(code))) if *code != ExitCode::STREAM
    );
    let (code, role) = match result {
        // A receiving client speaks with the voice of its generator at the end, if it came to that.
        Ok((code, true)) if role == Role::EarlyReceiver && !lists => (code, Role::Generator),
        Ok((code, _)) => (code, role),
        Err(error) => {
            // Rules are read before there is a sender.
            let role = match &error {
                ClientError::Engine(error) if is_local => error.local_role(),
                ClientError::Filter(_) => Role::Client,
                ClientError::Engine(EngineError::Stopped) if role == Role::EarlyReceiver => Role::Receiver,
                // Which half of a receiving client cannot go on.
                ClientError::Engine(error @ EngineError::FileIo { .. }) if role == Role::EarlyReceiver => {
                    error.local_role()
                }
                ClientError::OpenBatch { .. } => Role::EarlyReceiver,
                _ => role,
            };
            if let Some(text) = last_words(&error, role) {
                console.say(Severity::Error, &text);
            }
            // Scripts compare what they read; advice is for a person who looks on.
            if let Some(remedy) = error.remedy().filter(|_| std::io::stderr().is_terminal()) {
                console.say(Severity::Error, &format!("hint: {remedy}"));
            }
            let role = if matches!(error, ClientError::FilesFrom { .. }) { Role::Client } else { role };
            (error.exit_code(), role)
        }
    };
    let line = exit_line(code, role, (file!(), line!()), FACTS.version);
    console.end(code, line.filter(|_| !peer_said_all).as_deref());
    code
}

/// Runs the call; answers its exit code, and whether there was anything to transfer.
fn call(client: &Client, found: Endpoints, output: &dyn Output) -> Result<(ExitCode, bool), ClientError> {
    // Without a module a daemon lists what it has, whatever was meant to be done with it.
    let listed = match &found {
        Endpoints::Pull { remote, sources, .. } => sources.first().map(|path| (remote, path)),
        Endpoints::Push { remote, destination, .. } => Some((remote, destination)),
        Endpoints::Local { .. } | Endpoints::Replay { .. } => None,
    };
    match listed {
        Some((remote, path)) if remote.kind == RemoteKind::Daemon && path.is_empty() => {
            output.modules(&client.list_modules_of(remote)?);
            Ok((ExitCode::OK, false))
        }
        _ => {
            let report = client.transfer(&found)?;
            Ok((report.exit_code, report.totals.listed != KindCounts::default()))
        }
    }
}

/// The text of a failure; none where the peer said everything already.
fn last_words(error: &ClientError, role: Role) -> Option<String> {
    match error {
        ClientError::Shell { .. } => None,
        ClientError::ShellFailed { error, .. } => last_words(error, role),
        ClientError::Engine(
            EngineError::PeerExit(_)
            | EngineError::Cancelled
            | EngineError::Refused
            | EngineError::BadOptionDir,
        ) => None,
        error => Some(error.render(role)),
    }
}

/// Whom the error line of bad operands names: the direction the first operand asks for.
fn role_of_first(operands: &[bstr::BString]) -> Role {
    use rsync_proto::options::Operand;
    match operands.first().map(|first| Operand::parse(first)) {
        Some(Ok(Operand::Local(_))) => Role::Sender,
        _ => Role::EarlyReceiver,
    }
}
