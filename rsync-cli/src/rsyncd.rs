//! The `rsyncd` command: serves modules, read-only.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};

use bstr::BString;
use clap::Parser;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use listenfd::ListenFd;
use rsync_daemon::{
    Config, Daemon, DaemonError, Entrance, LogTarget, Protections, rsyncd_conf_manual, run_worker,
};
use rsync_proto::text::Zone;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

/// Serves modules to rsync clients, read-only.
#[derive(Parser)]
#[command(name = "rsyncd", version)]
struct Arguments {
    /// Configuration file, read anew for each connection.
    #[arg(long, value_name = "FILE", default_value = "/etc/rsyncd.conf")]
    config: PathBuf,
    /// Assign a global parameter, as at the end of the first global section.
    #[arg(long, short = 'M', value_name = "NAME=VALUE")]
    dparam: Vec<String>,
    /// Address to listen on; may be given several times.
    #[arg(long, value_name = "ADDRESS")]
    address: Vec<String>,
    /// Port to listen on.
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Log here; otherwise `log file` of the configuration, or the system log.
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// Stay in the foreground, and log to standard error unless a log file is named.
    #[arg(long)]
    no_detach: bool,
    /// Tell everything that is wrong with the configuration, and the values in effect; serve nobody.
    #[arg(long)]
    check_config: bool,
    /// Write a manual page.
    #[arg(long, hide = true, value_name = "PAGE")]
    print_manual: Option<Manual>,
    /// This is the process in the background.
    #[arg(long, hide = true)]
    detached: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Manual {
    #[value(name = "rsyncd.conf")]
    Configuration,
}

/// This program, even if its file was replaced.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// The only argument of a worker process of a daemon.
const WORKER: &str = "--worker";

struct LocalZone(TimeZone);

fn local_zone() -> Arc<LocalZone> {
    Arc::new(LocalZone(TimeZone::system()))
}

impl Zone for LocalZone {
    fn offset(&self, unix: i64) -> i32 {
        Timestamp::from_second(unix).map_or(0, |moment| self.0.to_offset(moment).seconds())
    }
}

#[expect(clippy::print_stderr, reason = "this is a command")]
fn main() -> ExitCode {
    // A worker is started often and needs none of what reading a command line takes.
    if std::env::args_os().skip(1).eq([WORKER]) {
        // The daemon was told what went wrong.
        return run_worker(local_zone()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let arguments = Arguments::parse();
    if let Some(text) = arguments.dparam.iter().find(|text| !text.contains('=')) {
        eprintln!("--dparam value is missing an '=': {text}");
        return ExitCode::from(1);
    }
    if let Some(Manual::Configuration) = arguments.print_manual {
        return print(&rsyncd_conf_manual());
    }
    if arguments.check_config {
        return check(&arguments);
    }
    // Who was handed sockets is looked after by somebody else.
    let has_sockets = accepted_client().is_some() || std::env::var_os("LISTEN_FDS").is_some();
    if !arguments.no_detach && !arguments.detached && !has_sockets {
        return detach();
    }
    if arguments.detached {
        // It fails only for the leader of a group, which has left its terminal already.
        let _ = rustix::process::setsid();
    }
    match serve(arguments) {
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

/// Starts the same command in the background.
#[expect(clippy::print_stderr, reason = "this is a command")]
fn detach() -> ExitCode {
    let started = std::env::current_exe().and_then(|program| {
        Command::new(program)
            .args(std::env::args_os().skip(1))
            .arg("--detached")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    });
    match started {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rsyncd cannot detach: {error}");
            ExitCode::from(14)
        }
    }
}

fn serve(arguments: Arguments) -> Result<ExitCode, DaemonError> {
    let is_foreground = arguments.no_detach;
    let mut builder = Daemon::from_file(arguments.config)
        .overrides(arguments.dparam.into_iter().map(BString::from))
        .zone(local_zone())
        .worker_command(OWN_PROGRAM, [WORKER.into()]);
    for address in arguments.address {
        builder = builder.address(address);
    }
    if let Some(port) = arguments.port {
        builder = builder.port(port);
    }
    if let Some(path) = arguments.log_file {
        builder = builder.log(LogTarget::File(path));
    } else if is_foreground {
        builder = builder.default_log(LogTarget::Writer(Arc::new(Mutex::new(std::io::stderr()))));
    }
    open_many_files();
    let client = accepted_client();
    for (listener, is_secure) in activated_listeners()? {
        builder = builder.listener(listener, is_secure);
    }
    // Sessions have processes and threads of their own; what is left for this one is little.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match client {
            Some(client) => serve_one(builder.without_listeners().bind()?, client).await,
            None => serve_all(builder.bind()?).await,
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

/// Every connection takes open files: as many are allowed as the system lets us have.
fn open_many_files() {
    let limit = getrlimit(Resource::Nofile);
    // What we have already has to do then.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
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
