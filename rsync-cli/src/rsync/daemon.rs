//! `rsync --daemon`: on its own, started by inetd with a socket, or behind a remote shell (spec 09 §1).

use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::{BString, ByteSlice};
use rsync_daemon::{Daemon, DaemonBuilder, DaemonError, LogTarget, allow_many_files, run_worker};
use rsync_proto::exit::ExitCode;
use rsync_proto::options::{AddressFamily, DaemonLine};
use rsync_proto::session::{NEWEST_PROTOCOL, OLDEST_PROTOCOL};
use rsync_proto::text::Role;
use tokio::signal::unix::{SignalKind, signal};

use crate::background;
use crate::local_zone::LocalZone;
use crate::{say_error, say_exit, variable};

/// The first word of a worker process, which no user has a reason to type.
pub(crate) const WORKER: &str = "--daemon-worker";
/// This program, even if its file was replaced.
const OWN_PROGRAM: &str = "/proc/self/exe";
const CONFIG: &str = "/etc/rsyncd.conf";
/// Where a user's own daemon behind a remote shell has its configuration: in the directory it starts in.
const OWN_CONFIG: &str = "rsyncd.conf";

/// How the daemon was started.
enum Start {
    /// It listens.
    Alone,
    /// It has one client, at a socket on standard input.
    Socket(TcpStream),
    /// It has one client, at standard input and output.
    Shell,
}

/// Is a worker process of another daemon.
pub(crate) fn work() -> ExitCode {
    // The daemon was told what went wrong.
    run_worker(Arc::new(LocalZone::new())).map_or(ExitCode::IPC, |()| ExitCode::OK)
}

/// Runs a daemon; `detached` says that it has left its terminal already.
pub(crate) fn run(line: &DaemonLine, detached: bool) -> ExitCode {
    let (oldest, newest) = (i32::from(OLDEST_PROTOCOL), i32::from(NEWEST_PROTOCOL));
    let limit = match line.protocol {
        Some(version) if version < oldest => Some(format!("at least {oldest}")),
        Some(version) if version > newest => Some(format!("no more than {newest}")),
        _ => None,
    };
    if let Some(limit) = limit {
        say_error(&format!("--protocol must be {limit} on the Server."));
        say_exit(ExitCode::PROTOCOL, Role::Server);
        return ExitCode::PROTOCOL;
    }
    let start = match started(line) {
        Ok(start) => start,
        Err(error) => {
            say_error(&format!("rsync: cannot use standard input: {error}"));
            return ExitCode::SOCKET_IO;
        }
    };
    if matches!(start, Start::Alone) && line.detach && !detached {
        return detach();
    }
    let served = match start {
        Start::Alone => listen(line, detached),
        Start::Socket(socket) => serve_socket(line, socket),
        Start::Shell => serve_shell(line),
    };
    served.unwrap_or_else(|error| fail(line, &error))
}

fn fail(line: &DaemonLine, error: &DaemonError) -> ExitCode {
    say_error(&error.to_string());
    match error {
        DaemonError::Config(_) => {
            say_error(&format!("Failed to parse config file: {}", config_path(line).display()));
            ExitCode::SYNTAX
        }
        DaemonError::PidFile(_) => {
            say_exit(ExitCode::FILE_IO, Role::Client);
            ExitCode::FILE_IO
        }
        _ => {
            say_exit(ExitCode::SOCKET_IO, Role::Client);
            ExitCode::SOCKET_IO
        }
    }
}

fn started(line: &DaemonLine) -> io::Result<Start> {
    let stdin = io::stdin();
    if rustix::net::sockopt::socket_type(&stdin).is_err() {
        return Ok(if line.server { Start::Shell } else { Start::Alone });
    }
    if line.server {
        return Ok(Start::Shell);
    }
    let socket = TcpStream::from(stdin.as_fd().try_clone_to_owned()?);
    Ok(Start::Socket(socket))
}

fn config_path(line: &DaemonLine) -> PathBuf {
    match &line.config {
        Some(path) => Path::new(std::ffi::OsStr::from_bytes(path)).to_owned(),
        None if line.server && !rustix::process::geteuid().is_root() => OWN_CONFIG.into(),
        None => CONFIG.into(),
    }
}

fn builder(line: &DaemonLine) -> DaemonBuilder {
    let options =
        line.sockopts.as_ref().map(|list| BString::from([b"socket options=", list.as_slice()].concat()));
    let mut builder = Daemon::from_file(config_path(line))
        .overrides(line.parameters.iter().cloned().chain(options))
        .zone(Arc::new(LocalZone::new()))
        .worker_command(OWN_PROGRAM, [WORKER.into()])
        .uploads()
        .bwlimit(line.bwlimit.and_then(|rate| u64::try_from(rate).ok()).unwrap_or(0).saturating_mul(1024));
    if let Some(address) = &line.address {
        builder = builder.address(address.to_str_lossy());
    }
    if let Some(port) = line.port.and_then(|port| u16::try_from(port).ok()) {
        builder = builder.port(port);
    }
    match line.family {
        AddressFamily::Any => {}
        AddressFamily::V4 => builder = builder.ip_version(4),
        AddressFamily::V6 => builder = builder.ip_version(6),
    }
    if let Some(path) = &line.log_file {
        builder = builder.log(LogTarget::File(Path::new(std::ffi::OsStr::from_bytes(path)).into()));
    }
    if let Some(dir) = &line.temp_dir {
        builder = builder.temp_dir(dir.clone());
    }
    if let Some(version) = line.protocol.and_then(|version| u8::try_from(version).ok()) {
        builder = builder.protocol(version);
    }
    if let Some(format) = &line.log_file_format {
        builder = builder.log_format(format.clone());
    }
    builder
}

fn detach() -> ExitCode {
    background::start().map(ExitCode::new).unwrap_or_else(|error| {
        say_error(&format!("rsync: cannot start in the background: {error}"));
        ExitCode::IPC
    })
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn listen(line: &DaemonLine, detached: bool) -> Result<ExitCode, DaemonError> {
    if detached {
        background::leave_terminal();
    }
    allow_many_files();
    runtime()?.block_on(async {
        let daemon = builder(line).bind()?;
        if detached {
            background::serves()?;
        }
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut code = ExitCode::OK;
        daemon
            .run(async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => code = ExitCode::SIGNAL,
                    _ = hangup.recv() => code = ExitCode::SIGNAL,
                }
            })
            .await;
        say_exit(code, Role::Client);
        Ok(code)
    })
}

fn serve_socket(line: &DaemonLine, socket: TcpStream) -> Result<ExitCode, DaemonError> {
    runtime()?.block_on(async {
        let daemon = builder(line).without_listeners().bind()?;
        let entrance = daemon.entrance();
        entrance.admit_socket(socket, false).await?;
        entrance.sessions_ended().await;
        Ok(ExitCode::OK)
    })
}

fn serve_shell(line: &DaemonLine) -> Result<ExitCode, DaemonError> {
    let duplicate = |fd: &dyn AsFd| -> io::Result<OwnedFd> { fd.as_fd().try_clone_to_owned() };
    let (input, output) = (duplicate(&io::stdin())?, duplicate(&io::stdout())?);
    let address = shell_address().unwrap_or_else(|| match duplicate(&input) {
        Ok(socket) => peer_address(&TcpStream::from(socket)),
        Err(_) => Ipv4Addr::UNSPECIFIED.into(),
    });
    // Pipes of any kind become a socket, which can be waited for.
    let (ours, theirs) = UnixStream::pair()?;
    let inbound = ours.try_clone()?;
    std::thread::Builder::new().name("input".into()).spawn(move || copy_in(input, inbound))?;
    let outbound =
        std::thread::Builder::new().name("output".into()).spawn(move || copy(ours.into(), output))?;
    runtime()?.block_on(async {
        let daemon = builder(line).without_listeners().bind()?;
        let entrance = daemon.entrance();
        let socket = TcpStream::from(OwnedFd::from(theirs));
        entrance.admit_socket_of(socket, address, false).await?;
        entrance.sessions_ended().await;
        Ok::<_, DaemonError>(())
    })?;
    // The last bytes are on their way; a client that reads no more ends it as well.
    let _ = outbound.join();
    Ok(ExitCode::OK)
}

fn copy_in(input: OwnedFd, socket: UnixStream) {
    if let Ok(end) = socket.try_clone() {
        copy(input, socket.into());
        // The daemon may have closed already.
        let _ = end.shutdown(std::net::Shutdown::Write);
    }
}

/// Copies until either end is closed.
fn copy(from: OwnedFd, to: OwnedFd) {
    // Either end has a right to close, and nobody is left to tell then.
    let _ = io::copy(&mut std::fs::File::from(from), &mut std::fs::File::from(to));
}

/// The address of a client at a socket; that of nobody for sockets without addresses.
fn peer_address(socket: &TcpStream) -> IpAddr {
    socket.peer_addr().map_or(Ipv4Addr::UNSPECIFIED.into(), |address| address.ip())
}

/// The client's address as the remote shell tells it.
fn shell_address() -> Option<IpAddr> {
    let found =
        ["REMOTE_HOST", "SSH_CONNECTION", "SSH_CLIENT", "SSH2_CLIENT"].into_iter().find_map(variable)?;
    found.split(|&byte| byte == b' ').next()?.to_str().ok()?.parse().ok()
}
