//! What is wrong with a command line.

use crate::exit::ExitCode;

/// A command line that cannot be run; the text is exactly the C rsync's (spec 08 §1, §4).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// Printed behind `rsync: `, exit 1.
    #[error("{0}")]
    Syntax(String),
    /// Printed as it is, exit 1.
    #[error("{0}")]
    Plain(String),
    /// Printed as it is, exit 4.
    #[error("{0}")]
    Unsupported(String),
    /// A daemon path without a module, printed as it is, exit 5.
    #[error("{0}")]
    ModulePath(String),
    /// The usage text belongs on standard error, exit 1.
    #[error("usage error")]
    Usage,
    /// Printed as it is; a daemon-mode command line, exit 1.
    #[error("{0}")]
    Daemon(String),
}

impl OptionError {
    pub(super) fn syntax(text: impl Into<String>) -> Self {
        Self::Syntax(text.into())
    }

    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::Plain(text.into())
    }

    /// The exit code of a client that stops here.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Unsupported(_) => ExitCode::UNSUPPORTED,
            Self::ModulePath(_) => ExitCode::START_CLIENT,
            Self::Syntax(_) | Self::Plain(_) | Self::Usage | Self::Daemon(_) => ExitCode::SYNTAX,
        }
    }

    /// The line for standard error, without line feed; empty for [`Self::Usage`].
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Syntax(text) => format!("rsync: {text}"),
            Self::Plain(text) | Self::Unsupported(text) | Self::Daemon(text) | Self::ModulePath(text) => {
                text.clone()
            }
            Self::Usage => String::new(),
        }
    }
}

/// Why the scan of the words ended before their end.
pub(super) enum Halt {
    Error(OptionError),
    Help,
    InfoHelp,
    DebugHelp,
}

impl From<OptionError> for Halt {
    fn from(error: OptionError) -> Self {
        Self::Error(error)
    }
}

/// Bytes of a word for a message.
pub(super) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
