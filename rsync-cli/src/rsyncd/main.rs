//! The `rsyncd` command: serves modules, read-only.

mod arguments;
#[path = "../rsync/background.rs"]
mod background;
#[path = "../rsync/local_zone.rs"]
mod local_zone;

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use bstr::BString;
use clap::Parser;
use listenfd::ListenFd;
use rsync_daemon::{
    Config, Daemon, DaemonError, Entrance, LogTarget, Protections, allow_many_files, run_worker,
};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use arguments::Arguments;
use local_zone::LocalZone;

/// This program, even if its file was replaced.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// The only argument of a worker process of a daemon.
const WORKER: &str = "--worker";

#[expect(clippy::print_stderr, reason = "this is a command")]
fn main() -> ExitCode {
    // A worker is started often and needs none of what reading a command line takes.
    if std::env::args_os().skip(1).eq([WORKER]) {
        // The daemon was told what went wrong.
        return run_worker(Arc::new(LocalZone::new())).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let mut words: Vec<_> = std::env::args_os().collect();
    let is_detached = words.get(1).is_some_and(|word| word == background::MARK);
    if is_detached {
        words.remove(1);
    }
    let arguments = Arguments::parse_from(words);
    if let Some(text) = arguments.dparam.iter().find(|text| !text.contains('=')) {
        eprintln!("--dparam value is missing an '=': {text}");
        return ExitCode::from(1);
    }
    if arguments.check_config {
        return check(&arguments);
    }
    // Who was handed sockets is looked after by somebody else.
    let has_sockets = accepted_client().is_some() || std::env::var_os("LISTEN_FDS").is_some();
    if !arguments.no_detach && !is_detached && !has_sockets {
        return detach();
    }
    if is_detached {
        background::leave_terminal();
    }
    match serve(arguments, is_detached) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            match &error {
                DaemonError::Config(_) => eprintln!("Failed to parse config file"),
                _ => eprintln!("rsyncd cannot start"),
            }
            ExitCode::from(match error {
                DaemonError::Config(_) => 1,
                DaemonError::PidFile(_) => 11,
                _ => 10,
            })
        }
    }
}

/// Writes to standard output.
fn print(text: &str) -> ExitCode {
    // Whoever does not read on has read enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Tells what is wrong with the configuration on standard error, and what is in effect.
#[expect(clippy::print_stderr, reason = "this is a command")]
fn check(arguments: &Arguments) -> ExitCode {
    let overrides: Vec<BString> = arguments.dparam.iter().map(|text| text.as_str().into()).collect();
    let report = Config::check(&arguments.config, &overrides);
    for finding in &report.findings {
        eprintln!("{finding}");
    }
    let protections = Protections::of_this_system();
    let (confinement, is_confined) = match &protections {
        Ok(protections) => (format!("{protections}"), true),
        Err(error) => (format!("they do not start, as the kernel's protections fail: {error}"), false),
    };
    print(&format!("{}\n# Sessions run in worker processes; {confinement}.\n", report.effective()));
    if !is_confined {
        return ExitCode::from(1);
    }
    if report.has_errors() { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

#[expect(clippy::print_stderr, reason = "this is a command")]
fn detach() -> ExitCode {
    background::start().map(ExitCode::from).unwrap_or_else(|error| {
        eprintln!("rsyncd cannot detach: {error}");
        ExitCode::from(14)
    })
}

fn serve(arguments: Arguments, is_detached: bool) -> Result<ExitCode, DaemonError> {
    let mut builder = Daemon::from_file(arguments.config)
        .overrides(arguments.dparam.into_iter().map(BString::from))
        .zone(Arc::new(LocalZone::new()))
        .worker_command(OWN_PROGRAM, [WORKER.into()]);
    for address in arguments.address {
        builder = builder.address(address);
    }
    if let Some(port) = arguments.port {
        builder = builder.port(port);
    }
    if let Some(path) = arguments.log_file {
        builder = builder.log(LogTarget::File(path));
    } else if arguments.no_detach {
        builder = builder.default_log(LogTarget::Writer(Arc::new(Mutex::new(std::io::stderr()))));
    }
    allow_many_files();
    let client = accepted_client();
    for (listener, is_secure) in activated_listeners()? {
        builder = builder.listener(listener, is_secure);
    }
    // Sessions have processes and threads of their own; what is left for this one is little.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match client {
            Some(client) => serve_one(builder.without_listeners().bind()?, client).await,
            None => {
                let daemon = builder.bind()?;
                if is_detached {
                    background::serves()?;
                }
                serve_all(daemon).await
            }
        }
    })
}

/// Serves everybody until a signal says to stop.
async fn serve_all(daemon: Daemon) -> Result<ExitCode, DaemonError> {
    let (mut terminate, mut interrupt, mut hangup) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);
    let entrance = daemon.entrance();
    let mut code = ExitCode::SUCCESS;
    tell_manager(&[NotifyState::Ready]);
    daemon
        .run(async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => break,
                    _ = interrupt.recv() => {
                        code = ExitCode::from(20);
                        break;
                    }
                    _ = hangup.recv() => reload(&entrance),
                }
            }
            tell_manager(&[NotifyState::Stopping]);
        })
        .await;
    Ok(code)
}

fn reload(entrance: &Entrance) {
    // Without the time, the manager only does not know how long it took.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell_manager(&[NotifyState::Reloading, now]),
        Err(_) => tell_manager(&[NotifyState::Reloading]),
    }
    entrance.reload();
    tell_manager(&[NotifyState::Ready]);
}

/// Tells the service manager, if there is one that listens.
fn tell_manager(states: &[NotifyState<'_>]) {
    // One that does not hear us will ask the system.
    let _ = sd_notify::notify(states);
}

/// The client at standard input, where inetd puts it.
fn accepted_client() -> Option<TcpStream> {
    let input = std::io::stdin();
    rustix::net::sockopt::socket_type(&input).ok()?;
    if rustix::net::sockopt::socket_acceptconn(&input).unwrap_or(false) {
        return None;
    }
    input.as_fd().try_clone_to_owned().ok().map(TcpStream::from)
}

/// Serves the client that somebody else accepted, and ends.
async fn serve_one(daemon: Daemon, client: TcpStream) -> Result<ExitCode, DaemonError> {
    let entrance = daemon.entrance();
    daemon
        .run(async {
            // A socket that cannot be used has no client any more.
            let _ = entrance.admit_socket(client, false).await;
            entrance.sessions_ended().await;
        })
        .await;
    Ok(ExitCode::SUCCESS)
}

/// The sockets that a service manager listens at for us; those that it calls `tls` are for TLS.
fn activated_listeners() -> std::io::Result<Vec<(TcpListener, bool)>> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut given = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..given.len() {
        let is_secure = names.next() == Some("tls");
        listeners.extend(given.take_tcp_listener(index)?.map(|listener| (listener, is_secure)));
    }
    Ok(listeners)
}
