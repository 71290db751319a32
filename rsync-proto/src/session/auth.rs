//! Challenge and response of daemon authentication (spec 01 §2.5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bstr::{BString, ByteSlice};
use md4::Md4;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::greeting::Greeting;
use super::version::ProtocolNumber;
use crate::exit::ExitCode;

/// The digest a password is proven with. The order is that of strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthDigest {
    /// SHA-512.
    Sha512,
    /// SHA-256.
    Sha256,
    /// SHA-1.
    Sha1,
    /// MD5.
    Md5,
    /// MD4 that both ends listed.
    Md4,
    /// MD4 of protocols below 30 whose peer gave no list: four zero bytes come first.
    UnlistedMd4,
}

/// The two ends share no digest; it holds what the peer listed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Failed to negotiate a daemon auth checksum choice.\nServer list: {peer}\nClient list: {own}",
    own = AuthDigest::offered_names()
)]
pub struct NoCommonDigest {
    /// The peer's names.
    pub peer: BString,
}

impl NoCommonDigest {
    /// The text after `@ERROR: ` with which a daemon answers; as [`std::fmt::Display`], a client
    /// speaks.
    #[must_use]
    pub fn daemon_text(&self) -> String {
        format!(
            "your client does not support one of our daemon-auth checksums: {}",
            AuthDigest::offered_names()
        )
    }

    /// What either side exits with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::UNSUPPORTED
    }
}

impl AuthDigest {
    /// What we offer, the strongest first.
    pub const OFFERED: [Self; 5] = [Self::Sha512, Self::Sha256, Self::Sha1, Self::Md5, Self::Md4];

    /// The names of [`AuthDigest::OFFERED`], for greetings and messages.
    #[must_use]
    pub fn offered_names() -> &'static str {
        "sha512 sha256 sha1 md5 md4"
    }

    /// The digest of a name, in any case.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::OFFERED.into_iter().find(|digest| digest.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Its name in lists and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha512 => "sha512",
            Self::Sha256 => "sha256",
            Self::Sha1 => "sha1",
            Self::Md5 => "md5",
            Self::Md4 | Self::UnlistedMd4 => "md4",
        }
    }

    /// Whether it is no weaker than `floor` (`auth digest`).
    #[must_use]
    pub fn is_at_least(self, floor: Self) -> bool {
        let rank = |digest: Self| Self::OFFERED.iter().position(|offer| offer.name() == digest.name());
        rank(self) <= rank(floor)
    }

    /// The strongest digest that the peer's greeting allows, where `agreed` is the protocol of the
    /// session.
    ///
    /// # Errors
    /// [`NoCommonDigest`] when the peer listed none that we have.
    pub fn choose(peer: &Greeting, agreed: i32) -> Result<Self, NoCommonDigest> {
        let Some(list) = &peer.digests else {
            return Ok(if ProtocolNumber(agreed).hashes_passwords_with_md5() {
                Self::Md5
            } else {
                Self::UnlistedMd4
            });
        };
        let is_listed = |digest: &Self| {
            list.split_str(" ").any(|name| digest.name().as_bytes().eq_ignore_ascii_case(name))
        };
        Self::OFFERED.into_iter().find(is_listed).ok_or_else(|| NoCommonDigest { peer: list.clone() })
    }

    /// A challenge of the usual length for this digest; `entropy` is at least 32 random bytes, and
    /// whatever else tells this connection from others.
    #[must_use]
    pub fn challenge(self, entropy: &[u8]) -> String {
        self.encoded(&[entropy])
    }

    /// The response that proves `password` to whoever sent the text `challenge`.
    #[must_use]
    pub fn response(self, password: &[u8], challenge: &[u8]) -> String {
        match self {
            Self::UnlistedMd4 => self.encoded(&[&[0; 4], password, challenge]),
            _ => self.encoded(&[password, challenge]),
        }
    }

    /// Whether `response` proves `password`, in a time that does not depend on where they differ.
    #[must_use]
    pub fn verifies(self, password: &[u8], challenge: &[u8], response: &[u8]) -> bool {
        let expected = self.response(password, challenge).into_bytes();
        let difference =
            expected.iter().zip(response).fold(0, |difference, (left, right)| difference | (left ^ right));
        std::hint::black_box(difference) == 0 && expected.len() == response.len()
    }

    fn encoded(self, parts: &[&[u8]]) -> String {
        match self {
            Self::Sha512 => encode::<Sha512>(parts),
            Self::Sha256 => encode::<Sha256>(parts),
            Self::Sha1 => encode::<Sha1>(parts),
            Self::Md5 => encode::<Md5>(parts),
            Self::Md4 | Self::UnlistedMd4 => encode::<Md4>(parts),
        }
    }
}

fn encode<D: Digest>(parts: &[&[u8]]) -> String {
    let mut digest = D::new();
    for part in parts {
        digest.update(part);
    }
    STANDARD_NO_PAD.encode(digest.finalize())
}

/// The line with which a client answers a challenge, with its LF.
#[must_use]
pub fn auth_answer(user: &[u8], response: &str) -> Vec<u8> {
    [user, b" ", response.as_bytes(), b"\n"].concat()
}

/// User and response of a client's answer, split at its first space.
#[must_use]
pub fn parse_auth_answer(line: &[u8]) -> Option<(&[u8], &[u8])> {
    line.split_once_str(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(list: Option<&str>) -> Greeting {
        Greeting { version: 31, subversion: 0, digests: list.map(BString::from) }
    }

    #[test]
    fn recorded_responses_are_computed() {
        for (digest, response) in [
            (
                AuthDigest::Sha512,
                "cHv9litHg5c2SN+g2Sc6p1cgCHvX1th4r9VRLui7iackt21P4LC5RmQVigDZYkSUBJNQRsK5SKp1jG6dXK19gA",
            ),
            (AuthDigest::Sha256, "duq3dx//kK9clSBua+iZErOojulEAj7SstTUjwHlWxQ"),
            (AuthDigest::Sha1, "nPaZ0iIMyt5c/NjJUI4U9Jcck6c"),
            (AuthDigest::Md5, "GtVo4l+hFNHExzxxoAvh5Q"),
            (AuthDigest::Md4, "0zvL/T8PQsNXtxz8jG/OWQ"),
            (AuthDigest::UnlistedMd4, "NFH6rdsH4P9wg93P3WDupA"),
        ] {
            assert_eq!(digest.response(b"s3cret", b"Q0hBTExFTkdF"), response, "{digest:?}");
            assert!(digest.verifies(b"s3cret", b"Q0hBTExFTkdF", response.as_bytes()));
            assert!(!digest.verifies(b"s3creT", b"Q0hBTExFTkdF", response.as_bytes()));
            assert!(!digest.verifies(b"s3cret", b"Q0hBTExFTkdF", &response.as_bytes()[1..]));
            assert!(!digest.verifies(b"s3cret", b"Q0hBTExFTkdF", b""));
        }
    }

    #[test]
    fn captured_sessions_verify() {
        for (digest, password, challenge, response) in [
            (
                AuthDigest::Sha512,
                "hunter2",
                "i51ZexPH6jZP/g5QCOUtegCeLT6GGnLDcvKC7fu/4ZAnn8ToiPHqR98Ufats9WtsthX124uG386wS5qWklcHLA",
                "CoHR6DvDGlWu4DSSUxwgHyvBvBp/HQ3w4wWRpSoePYIq2DxMqSgp84PIaZ9yGwFkCGHwpCc5IOC6c1e2QqR5jQ",
            ),
            (
                AuthDigest::Sha512,
                "secret",
                "/jsK665pN3tTaBRpqtcKXW/Dc/H950iHw2geTOzFpxGEa62L1LxI3KpVQJUqBw5+Ny0u9ngK+lRqmAclFxx27Q",
                "NfJjCMyCWSM7SwyRelSvf7kge6jpr2OBiZvOrBSpornWs/yCKTpyZlDYE2lYy0pT3uHTx+7K7s99J8CDI5MlmA",
            ),
            (AuthDigest::Md5, "secret", "Zpx9kWmgKQ8l26TCHLCJ+w", "nXZ8qF3XO+zaHFmT0VIWkA"),
            (AuthDigest::Sha1, "secret", "G03W31lXi9KfHIcIhkX3Dk0DGrQ", "7c+bgDkmuHEWOSKBOiOkzcQ3xKA"),
        ] {
            assert!(
                digest.verifies(password.as_bytes(), challenge.as_bytes(), response.as_bytes()),
                "{response}"
            );
        }
    }

    #[test]
    fn challenges_have_the_length_of_their_digest() {
        let length = |digest: AuthDigest| digest.challenge(&[7; 40]).len();
        let lengths = AuthDigest::OFFERED.map(length);
        assert_eq!(lengths, [86, 43, 27, 22, 22]);
        assert_ne!(AuthDigest::Md5.challenge(&[7; 40]), AuthDigest::Md5.challenge(&[8; 40]));
    }

    #[test]
    fn our_own_order_decides() {
        for (list, agreed, expected) in [
            (Some("md4 sha1"), 31, Ok(AuthDigest::Sha1)),
            (Some("MD4"), 29, Ok(AuthDigest::Md4)),
            (None, 31, Ok(AuthDigest::Md5)),
            (None, 29, Ok(AuthDigest::UnlistedMd4)),
            (Some("foo"), 32, Err(NoCommonDigest { peer: "foo".into() })),
            (Some(""), 32, Err(NoCommonDigest { peer: "".into() })),
        ] {
            assert_eq!(AuthDigest::choose(&listed(list), agreed), expected, "{list:?}");
        }
        assert_eq!(
            NoCommonDigest { peer: "foo".into() }.to_string(),
            "Failed to negotiate a daemon auth checksum choice.\nServer list: foo\nClient list: sha512 sha256 sha1 md5 md4"
        );
    }

    #[test]
    fn a_floor_is_passed_by_equal_and_stronger_digests() {
        assert!(AuthDigest::Sha512.is_at_least(AuthDigest::Sha256));
        assert!(AuthDigest::Sha256.is_at_least(AuthDigest::Sha256));
        assert!(!AuthDigest::Md5.is_at_least(AuthDigest::Sha256));
        assert!(AuthDigest::UnlistedMd4.is_at_least(AuthDigest::Md4));
    }

    #[test]
    fn an_answer_is_split_at_its_first_space() {
        assert_eq!(auth_answer(b"bob", "abc"), b"bob abc\n");
        assert_eq!(parse_auth_answer(b"bob a b"), Some((&b"bob"[..], &b"a b"[..])));
        assert_eq!(parse_auth_answer(b"bob"), None);
    }
}
