//! What a client asks a daemon for, and the daemon's answers until `OK` (spec 01 §2.3 to §2.6).

use bstr::{BString, ByteSlice};

use crate::exit::ExitCode;

/// Most bytes of early input.
pub const EARLY_INPUT_LIMIT: usize = 5120;
/// The line, with its LF, that ends the text phase well.
pub const OK_LINE: &[u8] = b"@RSYNCD: OK\n";
/// The line, with its LF, that ends a listing.
pub const EXIT_LINE: &[u8] = b"@RSYNCD: EXIT\n";

/// Prefix of an early input's line.
const EARLY_INPUT: &[u8] = b"#early_input=";

/// A client's request line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModuleRequest {
    /// So many bytes of early input follow at once, then another request line.
    EarlyInput(usize),
    /// The modules shall be listed.
    Listing,
    /// This module is wanted.
    Module(BString),
}

impl ModuleRequest {
    /// Reads a line, without its line ending.
    ///
    /// # Errors
    /// [`Refusal::EarlyInputLength`] and [`Refusal::UnknownCommand`].
    pub fn parse(line: &[u8]) -> Result<Self, Refusal> {
        if let Some(length) = line.strip_prefix(EARLY_INPUT) {
            let digits = length.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let length = length[..digits].to_str().ok().and_then(|digits| digits.parse().ok());
            return match length {
                Some(length @ 1..=EARLY_INPUT_LIMIT) => Ok(Self::EarlyInput(length)),
                _ => Err(Refusal::EarlyInputLength),
            };
        }
        match line {
            b"" | b"#list" => Ok(Self::Listing),
            [b'#', ..] => Err(Refusal::UnknownCommand(line.into())),
            _ => Ok(Self::Module(line.into())),
        }
    }
}

/// Early input is longer than a daemon takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} is > {EARLY_INPUT_LIMIT} bytes.")]
pub struct EarlyInputTooLong {
    /// The file it was read from.
    pub file: BString,
}

impl EarlyInputTooLong {
    /// What a client exits with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::START_CLIENT
    }
}

/// The bytes a client sends after its greeting: early input, read from `file`, if there is any, then
/// the request for `module`, which is empty for a listing.
///
/// # Errors
/// [`EarlyInputTooLong`].
pub fn request_lines(module: &[u8], early_input: &[u8], file: &[u8]) -> Result<Vec<u8>, EarlyInputTooLong> {
    let mut out = Vec::new();
    if early_input.len() > EARLY_INPUT_LIMIT {
        return Err(EarlyInputTooLong { file: file.into() });
    }
    if !early_input.is_empty() {
        out.extend_from_slice(EARLY_INPUT);
        out.extend_from_slice(format!("{}\n", early_input.len()).as_bytes());
        out.extend_from_slice(early_input);
    }
    out.extend_from_slice(module);
    out.push(b'\n');
    Ok(out)
}

/// What a daemon's line means to a client that waits for `OK`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The module wants a password, proven against this challenge.
    AuthRequired(BString),
    /// The text phase is over.
    Ok,
    /// The listing is complete.
    Exit,
    /// The daemon refuses; the whole line, to be shown.
    Error(BString),
    /// Message of the day, or a line of the listing.
    Text(BString),
}

impl Reply {
    /// Reads a line, without its line ending.
    #[must_use]
    pub fn parse(line: &[u8]) -> Self {
        if let Some(challenge) = line.strip_prefix(b"@RSYNCD: AUTHREQD ") {
            return Self::AuthRequired(challenge.into());
        }
        match line {
            b"@RSYNCD: OK" => Self::Ok,
            b"@RSYNCD: EXIT" => Self::Exit,
            _ if line.starts_with(b"@ERROR") => Self::Error(line.into()),
            _ => Self::Text(line.into()),
        }
    }
}

/// The line, with its LF, that asks for a password.
#[must_use]
pub fn auth_required_line(challenge: &str) -> Vec<u8> {
    format!("@RSYNCD: AUTHREQD {challenge}\n").into_bytes()
}

/// A line of the listing, with its LF.
#[must_use]
pub fn listing_line(module: &[u8], comment: &[u8]) -> Vec<u8> {
    const NAME_WIDTH: usize = 15;
    let padding = b" ".repeat(NAME_WIDTH.saturating_sub(module.len()));
    [module, &padding, b"\t", comment, b"\n"].concat()
}

/// Module and comment of a listing's line; `None` for other text, such as a message of the day.
#[must_use]
pub fn parse_listing_line(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (module, comment) = line.split_once_str("\t")?;
    Some((module.trim_end_with(|byte| byte == ' '), comment))
}

/// Why a daemon ends a connection before `OK`. As [`std::fmt::Display`], the text after `@ERROR: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Length of early input out of range.
    #[error("invalid early_input length")]
    EarlyInputLength,
    /// A `#` line other than `#list`.
    #[error("Unknown command '{0}'")]
    UnknownCommand(BString),
    /// No such module, or one that is hidden from this client.
    #[error("Unknown module '{0}'")]
    UnknownModule(BString),
    /// Host rules.
    #[error("access denied to {module} from {host} ({address})")]
    AccessDenied {
        /// The module.
        module: BString,
        /// Name of the client's host, or `UNKNOWN` or `UNDETERMINED`.
        host: BString,
        /// The client's address.
        address: String,
    },
    /// All slots are taken.
    #[error("max connections ({0}) reached -- try again later")]
    MaxConnections(i32),
    /// The slots cannot be counted.
    #[error("failed to open lock file")]
    LockFile,
    /// No password, or a wrong one.
    #[error("auth failed on module {0}")]
    AuthFailed(BString),
    /// The module's user is unknown.
    #[error("invalid uid {0}")]
    InvalidUid(BString),
    /// The module's group is unknown.
    #[error("invalid gid {0}")]
    InvalidGid(BString),
    /// The module's groups are no list.
    #[error("invalid gid setting.")]
    InvalidGidSetting,
    /// The module has no path.
    #[error("no path setting.")]
    NoPath,
    /// The module's root cannot be entered.
    #[error("chroot failed")]
    Chroot,
    /// The module's directory cannot be entered.
    #[error("chdir failed")]
    Chdir,
    /// A directory that munged symlinks would lead to exists.
    #[error("daemon security issue -- contact admin")]
    MungeDirectoryExists,
    /// The identity cannot be taken.
    #[error("{0} failed")]
    Identity(&'static str),
    /// The module's hook for this client failed.
    #[error("early exec failed")]
    EarlyExec,
    /// A hook cannot be run: `early exec`, `pre-xfer exec` or `name-converter exec`.
    #[error("{0} preparation failed")]
    Preparation(&'static str),
    /// A process or thread for the session cannot be made.
    #[error("fork failed")]
    Fork,
    /// The greeting or the authentication's digest list is unusable; the text of their error.
    #[error("{0}")]
    Startup(BString),
}

impl Refusal {
    /// The line to send, with its LF.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        let mut line = b"@ERROR: ".to_vec();
        match self {
            Self::UnknownCommand(name) => line.extend([b"Unknown command '", name.as_slice(), b"'"].concat()),
            Self::UnknownModule(name) => line.extend([b"Unknown module '", name.as_slice(), b"'"].concat()),
            Self::Startup(text) => line.extend_from_slice(text),
            _ => line.extend(self.to_string().into_bytes()),
        }
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines_are_told_apart() {
        use ModuleRequest as R;
        for (line, expected) in [
            ("", Ok(R::Listing)),
            ("#list", Ok(R::Listing)),
            ("pub", Ok(R::Module("pub".into()))),
            ("pub/", Ok(R::Module("pub/".into()))),
            ("#early_input=12", Ok(R::EarlyInput(12))),
            ("#early_input=5120x", Ok(R::EarlyInput(5120))),
            ("#early_input=5121", Err("invalid early_input length")),
            ("#early_input=0", Err("invalid early_input length")),
            ("#early_input=-1", Err("invalid early_input length")),
            ("#early_input=99999999999999999999999", Err("invalid early_input length")),
            ("#foo", Err("Unknown command '#foo'")),
        ] {
            let parsed = R::parse(line.as_bytes()).map_err(|refusal| refusal.to_string());
            assert_eq!(parsed, expected.map_err(str::to_owned), "{line}");
        }
    }

    #[test]
    fn a_client_asks_for_a_module_after_its_early_input() {
        assert_eq!(request_lines(b"pub", b"", b"").as_deref(), Ok(&b"pub\n"[..]));
        assert_eq!(request_lines(b"", b"", b"").as_deref(), Ok(&b"\n"[..]));
        assert_eq!(request_lines(b"m", b"a\nb", b"f").as_deref(), Ok(&b"#early_input=3\na\nbm\n"[..]));
        let error = request_lines(b"m", &[0; 5121], b"big").expect_err("too long");
        assert_eq!(error.to_string(), "big is > 5120 bytes.");
    }

    #[test]
    fn replies_are_classified() {
        for (line, expected) in [
            ("@RSYNCD: AUTHREQD a b", Reply::AuthRequired("a b".into())),
            ("@RSYNCD: OK", Reply::Ok),
            ("@RSYNCD: EXIT", Reply::Exit),
            ("@ERROR: no", Reply::Error("@ERROR: no".into())),
            ("@ERRORx", Reply::Error("@ERRORx".into())),
            ("@RSYNCD: OK ", Reply::Text("@RSYNCD: OK ".into())),
            ("Welcome", Reply::Text("Welcome".into())),
        ] {
            assert_eq!(Reply::parse(line.as_bytes()), expected);
        }
    }

    #[test]
    fn listing_lines_are_padded_and_read_back() {
        assert_eq!(listing_line(b"pub", b"public stuff"), b"pub            \tpublic stuff\n");
        assert_eq!(listing_line(b"A very long module name here", b""), b"A very long module name here\t\n");
        assert_eq!(parse_listing_line(b"pub            \ta\tb"), Some((&b"pub"[..], &b"a\tb"[..])));
        assert_eq!(parse_listing_line(b"Welcome"), None);
    }

    #[test]
    fn refusals_are_lines_of_the_c_daemon() {
        for (refusal, line) in [
            (Refusal::UnknownModule("nosuch".into()), "@ERROR: Unknown module 'nosuch'\n"),
            (
                Refusal::AccessDenied {
                    module: "denied".into(),
                    host: "UNDETERMINED".into(),
                    address: "127.0.0.1".into(),
                },
                "@ERROR: access denied to denied from UNDETERMINED (127.0.0.1)\n",
            ),
            (Refusal::MaxConnections(1), "@ERROR: max connections (1) reached -- try again later\n"),
            (Refusal::AuthFailed("auth".into()), "@ERROR: auth failed on module auth\n"),
            (Refusal::NoPath, "@ERROR: no path setting.\n"),
            (Refusal::Identity("setgid"), "@ERROR: setgid failed\n"),
        ] {
            assert_eq!(refusal.line(), line.as_bytes());
        }
    }
}
