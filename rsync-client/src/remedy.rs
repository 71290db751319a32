//! What somebody can do about a failure, where the text alone leaves a person at a loss.

use std::io;

use bstr::ByteSlice;
use rsync_engine::EngineError;
use rsync_proto::session::SetupError;

use crate::{ClientError, PasswordError};

impl ClientError {
    /// Advice for a person, one sentence or two; `None` where the text says everything.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        let text = match self {
            Self::Resolve { host, .. } => format!(
                "no name server knows {host}: check the spelling, or give its address; with a single colon \
                 (host:path) ssh would look the name up in its own configuration"
            ),
            Self::Connect { failures, .. }
                if failures.iter().any(|(_, error)| error.kind() == io::ErrorKind::ConnectionRefused) =>
            {
                "no daemon listens on that port: check --port and whether the daemon runs; with a single colon \
                 (host:path) rsync goes through ssh and needs no daemon"
                    .to_owned()
            }
            Self::Connect { .. } | Self::ConnectTimeout { .. } => {
                "the host does not answer on that port: check the address and the firewalls between".to_owned()
            }
            Self::Refused { line } => return daemon_remedy(&line.to_string()),
            Self::Password(error) => return password_remedy(error),
            Self::Spawn { command, .. } => {
                format!("is {command} installed and in the PATH? --rsh or RSYNC_RSH name another program")
            }
            Self::Shell { code } | Self::ShellFailed { code, .. } if code.code() == 127 => {
                "the other machine does not find rsync: install it there, or give its path by --rsync-path"
                    .to_owned()
            }
            Self::Shell { code } | Self::ShellFailed { code, .. } if code.code() == 255 => {
                "ssh itself failed: does \"ssh HOST true\" work?".to_owned()
            }
            Self::ShellFailed { error, .. } => return error.remedy(),
            Self::Setup(SetupError::VersionMismatch { .. }) => {
                "something was printed before rsync began: \"ssh HOST true\" must print nothing at all, so look \
                 at the start-up files of the shell there"
                    .to_owned()
            }
            Self::Engine(EngineError::UnexpectedEnd { received: 0 }) => {
                "the other side ended before it said anything: does \"ssh HOST rsync --version\" work?".to_owned()
            }
            Self::Engine(EngineError::FileIo { source, .. }) if source.kind() == io::ErrorKind::StorageFull => {
                "the file system is full, or its quota is used up: make room, or write elsewhere".to_owned()
            }
            Self::Engine(EngineError::FileIo { text, source })
                if source.kind() == io::ErrorKind::NotFound && text.contains_str("] mkdir ") =>
            {
                "only the last directory of a path is made: --mkpath makes all that are missing".to_owned()
            }
            Self::Engine(EngineError::FileIo { source, .. } | EngineError::Destination { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                "this user may not write there: check owner and mode of the directory, or name another".to_owned()
            }
            Self::Tls { reason, .. } if reason.contains("UnknownIssuer") => {
                "nobody that this machine trusts vouches for the daemon: RSYNC_SSL_CA_CERT names a file with its \
                 certificate or its authority"
                    .to_owned()
            }
            Self::Tls { reason, .. } if reason.contains("not valid for name") => {
                "the certificate is for another name: use the name that it has".to_owned()
            }
            Self::Tls { reason, .. } if reason.contains("corrupt message") => {
                "there is no TLS on that port: use rsync://, or the port of the TLS daemon".to_owned()
            }
            Self::TlsRoots { .. } => {
                "install the package ca-certificates, or set RSYNC_SSL_CA_CERT to a file of authorities".to_owned()
            }
            _ => return None,
        };
        Some(text)
    }
}

/// What to do about a daemon's `@ERROR` line.
fn daemon_remedy(line: &str) -> Option<String> {
    let text = if line.contains("Unknown module") {
        "the daemon lists its modules for rsync://HOST/ or HOST::"
    } else if line.contains("auth failed") {
        "check user and password: the user stands in front of the host (rsync://USER@HOST/), else it is the \
         login name; the password comes from --password-file, RSYNC_PASSWORD or the terminal"
    } else if line.contains("access denied") {
        "the daemon's \"hosts allow\" or \"hosts deny\" keeps this machine out"
    } else if line.contains("max connections") {
        "the daemon is busy; try again later"
    } else {
        return None;
    };
    Some(text.to_owned())
}

fn password_remedy(error: &PasswordError) -> Option<String> {
    match error {
        PasswordError::Accessible => Some("take it from the others: chmod o= FILE".to_owned()),
        PasswordError::Owner => Some("give it to root: chown root FILE".to_owned()),
        PasswordError::Missing => Some("give it by --password-file or RSYNC_PASSWORD".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsync_proto::exit::ExitCode;

    #[test]
    fn usual_mistakes_have_a_remedy_and_a_lost_connection_has_none() {
        let refused = |line: &str| ClientError::Refused { line: line.into() }.remedy();
        assert!(refused("@ERROR: Unknown module 'x'").is_some_and(|text| text.contains("HOST::")));
        assert!(
            refused("@ERROR: auth failed on module m").is_some_and(|text| text.contains("--password-file"))
        );
        assert_eq!(refused("@ERROR: something else"), None);
        let missing = ClientError::ShellFailed {
            code: ExitCode::COMMAND_NOT_FOUND,
            error: Box::new(EngineError::UnexpectedEnd { received: 0 }.into()),
        };
        assert!(missing.remedy().is_some_and(|text| text.contains("--rsync-path")));
        let not_made = |errno| -> ClientError {
            let source = io::Error::from_raw_os_error(errno);
            EngineError::FileIo { text: "rsync: [Receiver] mkdir \"/a/b\" failed".into(), source }.into()
        };
        for (errno, advice) in [(2, "--mkpath"), (13, "owner and mode"), (28, "full")] {
            assert!(not_made(errno).remedy().is_some_and(|text| text.contains(advice)), "{errno}");
        }
        let lost: ClientError = EngineError::UnexpectedEnd { received: 9 }.into();
        assert_eq!(lost.remedy(), None);
    }
}
