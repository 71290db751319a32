//! Why the binary setup fails (spec 01 §4).

use bstr::BString;

use super::algorithms::AlgorithmKind;
use crate::exit::ExitCode;
use crate::wire::{NeedsInput, WireError};

/// A setup that cannot be completed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// A scalar is malformed, or has not come yet.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The peer's protocol is none that we could speak, or what it said is no protocol.
    #[error("protocol version mismatch -- is your shell clean?\n(see the rsync manpage for an explanation)")]
    VersionMismatch {
        /// The number received.
        peer: i32,
    },
    /// `--protocol` is too low.
    #[error("--protocol must be at least {min} on the {role}.")]
    ProtocolTooLow {
        /// Least protocol we speak.
        min: u8,
        /// `Client` or `Server`.
        role: &'static str,
    },
    /// `--protocol` is too high.
    #[error("--protocol must be no more than {max} on the {role}.")]
    ProtocolTooHigh {
        /// Most modern protocol we speak.
        max: u8,
        /// `Client` or `Server`.
        role: &'static str,
    },
    /// An option needs a newer peer.
    #[error("{option} requires protocol {needed} or higher (negotiated {negotiated}).")]
    OptionNeedsProtocol {
        /// The option, as in the C rsync's text.
        option: String,
        /// Least protocol that has it.
        needed: u8,
        /// Protocol agreed on.
        negotiated: u8,
    },
    /// The server switched on what the client did not offer.
    #[error("Incompatible options specified for inc-recursive connection.")]
    UnofferedRecursion,
    /// Creation times need a peer that has them.
    #[error("Both rsync versions must be at least 3.2.0 for --crtimes.")]
    NoCreationTimes,
    /// The lists share no name.
    #[error("Failed to negotiate a {kind} choice.\nServer list: {server}\nClient list: {client}", kind = .kind.name())]
    NoCommonAlgorithm {
        /// What was negotiated.
        kind: AlgorithmKind,
        /// The server's names.
        server: BString,
        /// The client's names.
        client: BString,
    },
    /// A list is too long to be taken.
    #[error("{error}\n{failure}")]
    ListTooLong {
        /// How long it is.
        error: WireError,
        /// The [`SetupError::NoCommonAlgorithm`] that follows.
        failure: Box<SetupError>,
    },
    /// An explicit choice that the server's environment does not list.
    #[error("Your --{kind}-choice value ({name}) was refused by the server.", kind = .kind.name())]
    ChoiceRefused {
        /// What was chosen.
        kind: AlgorithmKind,
        /// The choice.
        name: String,
    },
    /// A checksum that does not exist.
    #[error("unknown checksum name: {0}")]
    UnknownChecksum(String),
    /// `--checksum` without a checksum.
    #[error("Invalid checksum-choice for --checksum: none (0)")]
    NoPreTransferChecksum,
}

impl SetupError {
    /// What this side exits with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Wire(error) => error.exit_code(),
            Self::VersionMismatch { .. }
            | Self::ProtocolTooLow { .. }
            | Self::ProtocolTooHigh { .. }
            | Self::OptionNeedsProtocol { .. }
            | Self::NoCreationTimes => ExitCode::PROTOCOL,
            Self::UnofferedRecursion => ExitCode::SYNTAX,
            Self::NoCommonAlgorithm { .. }
            | Self::ListTooLong { .. }
            | Self::ChoiceRefused { .. }
            | Self::UnknownChecksum(_)
            | Self::NoPreTransferChecksum => ExitCode::UNSUPPORTED,
        }
    }
}

impl NeedsInput for SetupError {
    fn missing(&self) -> Option<usize> {
        match self {
            Self::Wire(error) => error.missing(),
            _ => None,
        }
    }
}
