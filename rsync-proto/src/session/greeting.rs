//! The greeting both ends of a daemon connection send at once (spec 01 §2.2).

use bstr::{BString, ByteSlice};

use super::auth::AuthDigest;
use super::version::ProtocolNumber;
use crate::exit::ExitCode;

/// A greeting, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The speaker's protocol, not range-checked.
    pub version: i32,
    /// Nonzero in pre-releases.
    pub subversion: i32,
    /// Names of digests for authentication, separated by spaces; maybe empty.
    pub digests: Option<BString>,
}

/// A line that is no acceptable greeting; it holds the line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GreetingError {
    /// No greeting at all.
    #[error("rsync: server sent \"{0}\" rather than greeting")]
    NotGreeting(BString),
    /// Protocol 30 or later without a subprotocol.
    #[error("rsync: the server omitted the subprotocol value: {0}")]
    NoSubversion(BString),
    /// Protocol 32 or later without digest names.
    #[error("rsync: the server omitted the digest name list: {0}")]
    NoDigests(BString),
}

impl GreetingError {
    /// The text after `@ERROR: ` with which a daemon answers; as [`std::fmt::Display`], a client
    /// speaks.
    #[must_use]
    pub fn daemon_text(&self) -> BString {
        let mut text = BString::default();
        match self {
            Self::NotGreeting(_) => text.extend_from_slice(b"protocol startup error"),
            Self::NoSubversion(line) => {
                text.extend_from_slice(b"your client omitted the subprotocol value: ");
                text.extend_from_slice(line);
            }
            Self::NoDigests(line) => {
                text.extend_from_slice(b"your client omitted the digest name list: ");
                text.extend_from_slice(line);
            }
        }
        text
    }

    /// What a client exits with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::START_CLIENT
    }
}

/// The prefix of greetings and of a daemon's replies.
const PREFIX: &[u8] = b"@RSYNCD:";

impl Greeting {
    /// Our own greeting for `version`.
    #[must_use]
    pub fn ours(version: u8) -> Self {
        Self { version: i32::from(version), subversion: 0, digests: Some(AuthDigest::offered_names().into()) }
    }

    /// The line to send, with its LF.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut out = format!("@RSYNCD: {}.{}", self.version, self.subversion).into_bytes();
        if let Some(digests) = &self.digests {
            out.push(b' ');
            out.extend_from_slice(digests);
        }
        out.push(b'\n');
        out
    }

    /// Reads a peer's line, without its line ending.
    ///
    /// # Errors
    /// What each of the three cases of [`GreetingError`] says.
    pub fn parse(line: &[u8]) -> Result<Self, GreetingError> {
        let not_greeting = || GreetingError::NotGreeting(line.into());
        let text = line.strip_prefix(PREFIX).ok_or_else(not_greeting)?.trim_start();
        let (version, rest) = integer(text).ok_or_else(not_greeting)?;
        let subversion = rest.strip_prefix(b".").and_then(|rest| integer(rest.trim_start()));
        let subversion = subversion.map(|(value, _)| value).filter(|&value| value >= 0);
        if subversion.is_none() && ProtocolNumber(version).greets_with_subprotocol() {
            return Err(GreetingError::NoSubversion(line.into()));
        }
        let tail = line.get(PREFIX.len() + 1..).unwrap_or_default();
        let digests = tail.find_byte(b' ').map(|at| BString::from(&tail[at + 1..]));
        if digests.is_none() && ProtocolNumber(version).greets_with_digests() {
            return Err(GreetingError::NoDigests(line.into()));
        }
        Ok(Self { version, subversion: subversion.unwrap_or(0), digests })
    }

    /// The protocol both ends use when we speak at most `own`; the binary phase checks its range.
    #[must_use]
    pub fn agree(&self, own: u8) -> i32 {
        let own = i32::from(own);
        let pre_release = i32::from(self.subversion != 0);
        if self.version > own { own } else { self.version.saturating_sub(pre_release) }
    }
}

/// A decimal number with an optional sign, clamped to 32 bits, and what follows it.
fn integer(text: &[u8]) -> Option<(i32, &[u8])> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let value = digits[..count]
        .iter()
        .fold(0_i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(i64::from(i32::MAX)));
    let value = if negative { -value } else { value };
    Some((value as i32, &digits[count..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(line: &str) -> Result<Greeting, GreetingError> {
        Greeting::parse(line.as_bytes())
    }

    #[test]
    fn ours_is_that_of_the_c_rsync() {
        assert_eq!(Greeting::ours(32).render(), b"@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\n");
        assert_eq!(Greeting::ours(29).render(), b"@RSYNCD: 29.0 sha512 sha256 sha1 md5 md4\n");
    }

    #[test]
    fn every_generation_is_understood() {
        let greeting = |version, subversion, digests: Option<&str>| Greeting {
            version,
            subversion,
            digests: digests.map(BString::from),
        };
        for (line, expected) in [
            ("@RSYNCD: 29", greeting(29, 0, None)),
            ("@RSYNCD: 31.0", greeting(31, 0, None)),
            ("@RSYNCD:   29", greeting(29, 0, Some(" 29"))),
            ("@RSYNCD: 32.0 sha512 md4", greeting(32, 0, Some("sha512 md4"))),
            ("@RSYNCD: 32.0 ", greeting(32, 0, Some(""))),
            ("@RSYNCD: 31.14 md5", greeting(31, 14, Some("md5"))),
            ("@RSYNCD: 29.-1", greeting(29, 0, None)),
            ("@RSYNCD: 45.0 x", greeting(45, 0, Some("x"))),
        ] {
            assert_eq!(parse(line).expect(line), expected, "{line}");
        }
    }

    #[test]
    fn each_mistake_has_its_two_texts() {
        for (line, client, daemon) in [
            (
                "GET / HTTP/1.0",
                "rsync: server sent \"GET / HTTP/1.0\" rather than greeting",
                "protocol startup error",
            ),
            (
                "@RSYNCD: 30",
                "rsync: the server omitted the subprotocol value: @RSYNCD: 30",
                "your client omitted the subprotocol value: @RSYNCD: 30",
            ),
            (
                "@RSYNCD: 32.0",
                "rsync: the server omitted the digest name list: @RSYNCD: 32.0",
                "your client omitted the digest name list: @RSYNCD: 32.0",
            ),
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!((error.to_string().as_str(), error.daemon_text()), (client, daemon.into()));
        }
        assert!(matches!(parse("@RSYNCD: 30.-1"), Err(GreetingError::NoSubversion(_))));
        assert!(matches!(parse("@RSYNCD: x"), Err(GreetingError::NotGreeting(_))));
    }

    #[test]
    fn both_sides_reach_the_same_version() {
        for (own, version, subversion, agreed) in [
            (32, 31, 0, 31),
            (32, 31, 5, 30),
            (32, 32, 0, 32),
            (32, 32, 1, 31),
            (30, 32, 0, 30),
            (30, 32, 7, 30),
            (32, 19, 0, 19),
        ] {
            let greeting = Greeting { version, subversion, digests: None };
            assert_eq!(greeting.agree(own), agreed, "{version}.{subversion} with {own}");
        }
    }

    proptest! {
        #[test]
        fn what_is_rendered_is_parsed(version in 20_i32..40, subversion in 0_i32..99, list in "[a-z0-9 ]{0,40}") {
            let greeting = Greeting { version, subversion, digests: Some(list.into()) };
            let line = greeting.render();
            prop_assert_eq!(Greeting::parse(&line[..line.len() - 1]), Ok(greeting));
        }

        #[test]
        fn any_line_is_answered(line in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Greeting::parse(&line);
            let _ = Greeting::parse(&[b"@RSYNCD: ".as_slice(), &line].concat());
        }
    }
}
