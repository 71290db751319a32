//! Why a client call fails.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;

use bstr::BString;
use rsync_engine::EngineError;
use rsync_proto::exit::ExitCode;
use rsync_proto::options::OptionError;

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
    /// No address of the host answered.
    #[error("{}", connect_text(host, failures))]
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
    /// A proxy or a connect program cannot be used.
    #[error("{text}")]
    Proxy {
        /// The C rsync's text.
        text: String,
    },
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
    #[error("rsync: [Client] Failed to exec {command}: {source}")]
    Spawn {
        /// The program.
        command: BString,
        /// What the system said.
        source: io::Error,
    },
    /// The transfer ended early.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl ClientError {
    /// Says which socket operation failed.
    pub(crate) fn socket(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Socket { action, source }
    }

    /// The exit code the C rsync ends with (spec 02 §9.1).
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Options(error) => error.exit_code(),
            Self::Resolve { .. } | Self::Connect { .. } | Self::Proxy { .. } | Self::Socket { .. } => {
                ExitCode::SOCKET_IO
            }
            Self::ConnectTimeout { .. } => ExitCode::CONNECT_TIMEOUT,
            Self::ShellQuote { .. } | Self::HostDash => ExitCode::SYNTAX,
            Self::Spawn { .. } => ExitCode::IPC,
            Self::Engine(error) => error.exit_code(),
        }
    }
}

/// One line for every address.
fn connect_text(host: &BString, failures: &[(IpAddr, io::Error)]) -> String {
    let mut text = String::new();
    for (address, error) in failures {
        let reason = error.to_string();
        let (reason, number) = match error.raw_os_error() {
            Some(number) => (reason.split(" (os error").next().unwrap_or(&reason), number),
            None => (&*reason, 0),
        };
        let separator = if text.is_empty() { "" } else { "\n" };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{separator}rsync: [Client] failed to connect to {host} ({address}): {reason} ({number})"
        );
    }
    text
}
