//! Where the password for a daemon comes from (spec 08 §12, `--password-file`).

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use bstr::{BString, ByteSlice};
use rsync_engine::open_users_file;
use rsync_proto::exit::ExitCode;
use rsync_proto::options::TransferOptions;
use rsync_proto::text::describe_errno;

/// Longest password in bytes.
const MAX_LEN: u64 = 511;

/// Who is asked for a password, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordRequest<'a> {
    /// The user that logs in.
    pub user: &'a [u8],
    /// The daemon's host.
    pub host: &'a [u8],
    /// The module.
    pub module: &'a [u8],
}

/// Asks somebody for a password.
pub type AskPassword = Arc<dyn Fn(&PasswordRequest<'_>) -> io::Result<Vec<u8>> + Send + Sync>;

/// Why there is no password; the texts are those of the C rsync.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The file cannot be opened or read.
    #[error(
        "rsync: [Receiver] could not open password file {path}: {}",
        describe_errno(source.raw_os_error().unwrap_or_default())
    )]
    Open {
        /// The file.
        path: BString,
        /// What the system said.
        source: io::Error,
    },
    /// Everybody may read or write the file.
    #[error("ERROR: password file must not be other-accessible")]
    Accessible,
    /// Somebody else owns the file.
    #[error("ERROR: password file must be owned by root when running as root")]
    Owner,
    /// The file holds no password.
    #[error("ERROR: failed to read a password from {path}")]
    Empty {
        /// The file.
        path: BString,
    },
    /// The daemon wants a password, and nobody is there to ask.
    #[error("the daemon asks for a password, and none is given")]
    Missing,
    /// Asking failed.
    #[error("failed to read a password: {0}")]
    Ask(io::Error),
}

impl PasswordError {
    /// What rsync calls this error.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::SYNTAX
    }
}

/// Reads the first line of a password file, or of standard input if it is `-`. No link of somebody else is
/// followed (spec 10 §2).
pub(crate) fn read_password_file(path: &[u8], options: &TransferOptions) -> Result<Vec<u8>, PasswordError> {
    let open_error = |source| PasswordError::Open { path: path.into(), source };
    let mut text = Vec::new();
    if path == b"-" {
        let mut line = io::stdin().lock().take(MAX_LEN);
        line.read_until(b'\n', &mut text).map_err(open_error)?;
    } else {
        let file = open_users_file(path, options).map_err(open_error)?;
        let facts = file.metadata().map_err(open_error)?;
        if facts.mode() & 0o6 != 0 {
            return Err(PasswordError::Accessible);
        }
        if rustix::process::geteuid().is_root() && facts.uid() != 0 {
            return Err(PasswordError::Owner);
        }
        BufReader::new(file).take(MAX_LEN).read_to_end(&mut text).map_err(open_error)?;
    }
    let line_end = |byte: char| matches!(byte, '\r' | '\n');
    let text = text.trim_start_with(line_end);
    let password = text.find_byteset(b"\r\n").map_or(text, |end| &text[..end]);
    if password.is_empty() {
        return Err(PasswordError::Empty { path: path.into() });
    }
    Ok(password.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;

    fn read(content: &[u8], mode: u32) -> Result<Vec<u8>, String> {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), content).expect("write");
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).expect("chmod");
        read_password_file(file.path().as_os_str().as_bytes(), &TransferOptions::default())
            .map_err(|error| error.to_string().split(" from ").next().unwrap_or_default().to_owned())
    }

    #[test]
    fn the_first_line_is_the_password() {
        assert_eq!(read(b"\r\ns3 cret\r\nmore", 0o640), Ok(b"s3 cret".to_vec()));
        assert_eq!(read(&[b'x'; 600], 0o600), Ok(vec![b'x'; 511]));
    }

    #[test]
    fn unsafe_empty_and_missing_files_are_refused() {
        let refused = |text: &str| Err(text.to_owned());
        assert_eq!(read(b"x", 0o604), refused("ERROR: password file must not be other-accessible"));
        assert_eq!(read(b"\n\n", 0o600), refused("ERROR: failed to read a password"));
        let error = read_password_file(b"/no/such/file", &TransferOptions::default()).expect_err("missing");
        assert!(error.to_string().contains("could not open password file /no/such/file: No such file"));
    }
}
