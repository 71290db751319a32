//! Why a client call fails.

use std::io;
use std::net::IpAddr;

use bstr::BString;
use rsync_engine::EngineError;
use rsync_proto::charset::UnknownCharset;
use rsync_proto::exit::ExitCode;
use rsync_proto::filter::FilterError;
use rsync_proto::meta::ChmodError;
use rsync_proto::options::{OptionError, ReplayScriptError};
use rsync_proto::session::{ConnectProxyError, EarlyInputTooLong, GreetingError, NoCommonDigest, SetupError};
use rsync_proto::text::{Role, describe_errno};

use crate::batch::{BatchFile, absolute};
use crate::password::PasswordError;

/// A failure of a whole client call; failures of single files are events, and show in the exit code of
/// the [`TransferReport`](crate::TransferReport).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Options or endpoints make no sense together.
    #[error("{}", .0.message())]
    Options(#[from] OptionError),
    /// The host has no address.
    #[error("rsync: getaddrinfo: {host} {port}: {reason}")]
    Resolve {
        /// Its name.
        host: BString,
        /// The port that was asked for.
        port: u16,
        /// What the resolver said.
        reason: String,
    },
    /// The address of our own that a connection shall have (`--address`) is none.
    #[error("rsync: getaddrinfo {address}: {reason}")]
    ResolveOwn {
        /// The address.
        address: BString,
        /// What the resolver said.
        reason: String,
    },
    /// No address of the host answered.
    #[error("{}", connect_text("rsync: ", host, failures))]
    Connect {
        /// Its name.
        host: BString,
        /// What happened at each address.
        failures: Vec<(IpAddr, io::Error)>,
    },
    /// The connection was not made in time (`--contimeout`).
    #[error("rsync: connection to {host} timed out")]
    ConnectTimeout {
        /// Name of the host.
        host: BString,
    },
    /// The proxy cannot be used.
    #[error(transparent)]
    Proxy(#[from] ConnectProxyError),
    /// The host has no name that a certificate could be for.
    #[error("invalid rsync-ssl hostname: {host}")]
    TlsHost {
        /// Its name.
        host: BString,
    },
    /// A file for TLS holds nothing usable.
    #[error("rsync: cannot use {path} for TLS: {reason}")]
    TlsFile {
        /// The file.
        path: BString,
        /// What is wrong with it.
        reason: String,
    },
    /// The system has no authorities that could vouch for a daemon.
    #[error("rsync: no trusted certificates on this system: {reason}")]
    TlsRoots {
        /// What was met when they were looked for.
        reason: String,
    },
    /// No protected connection came about.
    #[error("rsync: TLS with {host} failed: {reason}")]
    Tls {
        /// Its name.
        host: BString,
        /// What went wrong.
        reason: String,
    },
    /// The host's name shall not be put into a command line.
    #[error("unsafe host characters for RSYNC_CONNECT_PROG")]
    UnsafeHost,
    /// A socket operation failed.
    #[error("failed to {action}: {source}")]
    Socket {
        /// What was attempted.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The remote shell command has an open quote.
    #[error("Missing trailing-{quote} in remote-shell command.")]
    ShellQuote {
        /// The quote.
        quote: char,
    },
    /// A host name would be an option of the remote shell.
    #[error("Invalid remote host: hostnames may not start with '-'.")]
    HostDash,
    /// A process could not be started.
    #[error("rsync: Failed to exec {command}: {source}")]
    Spawn {
        /// The program.
        command: BString,
        /// What the system said.
        source: io::Error,
    },
    /// What is no endpoint of another machine was given as one.
    #[error("{path} is no remote endpoint")]
    NotRemote {
        /// The text.
        path: BString,
    },
    /// A file that the options name cannot be read.
    #[error("failed to open {path}: {source}")]
    Read {
        /// The file.
        path: BString,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon went silent.
    #[error("{text}")]
    NoLine {
        /// The C rsync's text.
        text: &'static str,
    },
    /// The list of `--files-from` cannot be read.
    #[error("rsync: failed to open files-from file {path}: {}", plain_reason(source))]
    FilesFrom {
        /// The file.
        path: BString,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon's first line is no greeting.
    #[error(transparent)]
    Greeting(#[from] GreetingError),
    /// No digest for the password is known to both ends.
    #[error(transparent)]
    Digest(#[from] NoCommonDigest),
    /// The early input cannot be read.
    #[error(
        "rsync: [Receiver] failed to open {path}: {}",
        describe_errno(source.raw_os_error().unwrap_or_default())
    )]
    OpenEarlyInput {
        /// The file.
        path: BString,
        /// What the system said.
        source: io::Error,
    },
    /// The early input is too long.
    #[error(transparent)]
    EarlyInput(#[from] EarlyInputTooLong),
    /// There is no password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The daemon refuses.
    #[error("{line}")]
    Refused {
        /// Its line, which begins with `@ERROR`.
        line: BString,
    },
    /// A daemon's path names no module.
    #[error("ERROR: The remote path must start with a module name{}", if *over_shell { "" } else { " not a /" })]
    NoModule {
        /// The daemon would have been reached through a remote shell.
        over_shell: bool,
    },
    /// The two ends cannot agree.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The remote shell failed after everything else went well.
    #[error("the remote shell ended with exit code {}", code.code())]
    Shell {
        /// Its exit status.
        code: ExitCode,
    },
    /// The call failed, and the remote shell with a greater exit status.
    #[error("{error}")]
    ShellFailed {
        /// The shell's exit status.
        code: ExitCode,
        /// How the call failed.
        error: Box<ClientError>,
    },
    /// There is no charset of the name that `--iconv` gives for this side.
    #[error(transparent)]
    Charset(#[from] UnknownCharset),
    /// A filter rule is wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A batch file, or the script beside it, cannot be opened.
    #[error("rsync: [Receiver] Batch file \"{path}\" open error: {}", describe_errno(source.raw_os_error().unwrap_or_default()))]
    OpenBatch {
        /// Which of both.
        file: BatchFile,
        /// Its absolute path.
        path: BString,
        /// What the system said.
        source: io::Error,
    },
    /// What is to be applied is no file that can be read from its beginning to its end.
    #[error("Batch file \"{path}\" is neither a regular file nor a FIFO")]
    BatchKind {
        /// Its absolute path.
        path: BString,
    },
    /// The script beside a batch file cannot be written.
    #[error("cannot write the script beside the batch file: {}", plain_reason(source))]
    BatchScript {
        /// What the system said.
        source: io::Error,
    },
    /// The script beside a batch file cannot say what the transfer does.
    #[error(transparent)]
    ReplayScript(#[from] ReplayScriptError),
    /// A text of `--chmod` is wrong.
    #[error(transparent)]
    Chmod(#[from] ChmodError),
    /// What was to be fetched is not exactly one file that can be read; the daemon's texts, which are
    /// events, may say more.
    #[error("{endpoint} is not one readable file")]
    NotFetched {
        /// What was asked for.
        endpoint: BString,
        /// How the session ended.
        code: ExitCode,
    },
    /// A file changed on its way, or while it was read.
    #[error("{endpoint} failed verification")]
    Corrupt {
        /// What was asked for.
        endpoint: BString,
    },
    /// The transfer ended early.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl ClientError {
    /// The text as rsync prints it; system errors name who met them.
    #[must_use]
    pub fn render(&self, role: Role) -> String {
        let prefix = format!("rsync: [{}] ", role.name());
        match self {
            Self::Connect { host, failures } => connect_text(&prefix, host, failures),
            Self::Spawn { command, source } => {
                let reason = describe_errno(source.raw_os_error().unwrap_or_default());
                format!("{prefix}Failed to exec {command}: {reason}")
            }
            Self::Filter(error @ FilterError::CannotOpen { .. }) if role == Role::Client => {
                format!("{prefix}{error}")
            }
            Self::Engine(error) => error.render(role),
            error => error.to_string(),
        }
    }

    /// Says which socket operation failed.
    pub(crate) fn socket(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Socket { action, source }
    }

    /// Says that a file of a batch cannot be opened.
    pub(crate) fn batch(file: BatchFile, path: &BString) -> impl FnOnce(io::Error) -> Self {
        let path = absolute(path);
        move |source| Self::OpenBatch { file, path, source }
    }

    /// Says that the list of names cannot be read.
    pub(crate) fn files_from(path: &BString) -> impl FnOnce(io::Error) -> Self {
        let path = path.clone();
        move |source| Self::FilesFrom { path, source }
    }

    /// Says that relative names mean nothing.
    pub(crate) fn current_dir(source: io::Error) -> Self {
        Self::Read { path: ".".into(), source }
    }

    /// The exit code the C rsync ends with (spec 02 §9.1).
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Options(error) => error.exit_code(),
            Self::Resolve { .. }
            | Self::ResolveOwn { .. }
            | Self::Connect { .. }
            | Self::Proxy(_)
            | Self::TlsRoots { .. }
            | Self::Tls { .. }
            | Self::UnsafeHost
            | Self::Socket { .. } => ExitCode::SOCKET_IO,
            Self::ConnectTimeout { .. } => ExitCode::CONNECT_TIMEOUT,
            Self::ShellQuote { .. } | Self::HostDash | Self::TlsHost { .. } => ExitCode::SYNTAX,
            Self::Charset(_) => ExitCode::UNSUPPORTED,
            Self::Spawn { .. } => ExitCode::IPC,
            Self::NotRemote { .. } => ExitCode::SYNTAX,
            Self::Shell { code } | Self::ShellFailed { code, .. } => *code,
            Self::Read { .. } | Self::TlsFile { .. } => ExitCode::FILE_IO,
            Self::FilesFrom { .. } => ExitCode::SYNTAX,
            Self::NoLine { .. }
            | Self::Refused { .. }
            | Self::NoModule { .. }
            | Self::OpenEarlyInput { .. } => ExitCode::START_CLIENT,
            Self::Setup(error) => error.exit_code(),
            Self::Greeting(error) => error.exit_code(),
            Self::Digest(error) => error.exit_code(),
            Self::EarlyInput(error) => error.exit_code(),
            Self::Filter(error) => error.exit_code(),
            Self::Chmod(error) => error.exit_code(),
            Self::OpenBatch { file: BatchFile::Script, .. } => ExitCode::FILE_SELECT,
            Self::OpenBatch { .. } | Self::BatchKind { .. } | Self::BatchScript { .. } => ExitCode::FILE_IO,
            Self::ReplayScript(error) => error.exit_code(),
            Self::NotFetched { code, .. } => *code,
            Self::Corrupt { .. } => ExitCode::PARTIAL,
            Self::Password(error) => error.exit_code(),
            Self::Engine(error) => error.exit_code(),
        }
    }
}

/// One line for every address, with `prefix` in front.
fn connect_text(prefix: &str, host: &BString, failures: &[(IpAddr, io::Error)]) -> String {
    let lines = failures.iter().map(|(address, error)| {
        let reason = describe_errno(error.raw_os_error().unwrap_or_default());
        format!("{prefix}failed to connect to {host} ({address}): {reason}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What the system said, without its number.
fn plain_reason(error: &io::Error) -> String {
    let reason = error.to_string();
    reason.split(" (os error").next().unwrap_or_default().to_owned()
}
