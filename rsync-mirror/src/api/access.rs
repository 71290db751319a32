//! Who may change something: proofs that somebody knows the site's token or a job's secret.

use axum::http::{HeaderMap, StatusCode, header};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::server::Admission;
use crate::Secret;

/// The cookie of a session of the page.
pub(super) const COOKIE: &str = "rsync_mirror_session";

/// How somebody showed who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visitor {
    /// Not at all.
    Stranger,
    /// By the socket or a bearer token, which no browser sends on its own.
    Operator,
    /// By the cookie of the page, which a browser sends whoever asks it to.
    Session,
}

impl Visitor {
    pub(super) fn of(headers: &HeaderMap, admission: Admission, token: Option<&Secret>) -> Self {
        if admission == Admission::Trusted {
            return Self::Operator;
        }
        let Some(token) = token else { return Self::Stranger };
        let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
        let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        if bearer.is_some_and(|bearer| is_token(token, bearer)) {
            return Self::Operator;
        }
        let cookies = text(header::COOKIE).unwrap_or_default();
        let session = cookies.split(';').filter_map(|cookie| cookie.trim().split_once('='));
        let mut session = session.filter(|(name, _)| *name == COOKIE);
        if session.any(|(_, value)| verify(token, b"session", value)) {
            Self::Session
        } else {
            Self::Stranger
        }
    }

    /// Whether they may see what is not for everybody.
    pub(super) fn is_known(self) -> bool {
        self != Self::Stranger
    }
}

/// Compares in a time that does not tell how much is right.
pub(crate) fn is_token(token: &Secret, given: &str) -> bool {
    verify(token, b"token", &proof(&Secret::new(given), b"token"))
}

/// What only somebody who knows the secret can say about `purpose`.
pub(crate) fn proof(secret: &Secret, purpose: &[u8]) -> String {
    hex(&mac(secret, purpose).finalize().into_bytes())
}

/// Whether `given` is the proof for `purpose`, or the signature of it.
pub(super) fn verify(secret: &Secret, purpose: &[u8], given: &str) -> bool {
    unhex(given).is_some_and(|given| mac(secret, purpose).verify_slice(&given).is_ok())
}

fn mac(secret: &Secret, message: &[u8]) -> Hmac<Sha256> {
    let key = secret.reveal().as_bytes();
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.chain_update(message)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(pair).collect()
}

/// The answer to somebody who may not.
pub(super) fn refusal(token: Option<&Secret>) -> (StatusCode, String) {
    match token {
        Some(_) => (StatusCode::UNAUTHORIZED, "this needs the site's token, as a bearer".to_owned()),
        None => {
            let text = "changes over HTTP are off: [site] has no token; use the socket, or set one";
            (StatusCode::FORBIDDEN, text.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn visitor(name: header::HeaderName, value: &str) -> Visitor {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        Visitor::of(&headers, Admission::Public, Some(&Secret::new("token")))
    }

    #[test]
    fn a_token_a_session_and_the_socket_are_told_apart_from_strangers() {
        let session = proof(&Secret::new("token"), b"session");
        assert_eq!(visitor(header::AUTHORIZATION, "Bearer token"), Visitor::Operator);
        assert_eq!(visitor(header::AUTHORIZATION, "Bearer tokem"), Visitor::Stranger);
        assert_eq!(visitor(header::AUTHORIZATION, "token"), Visitor::Stranger);
        assert_eq!(visitor(header::COOKIE, &format!("a=b; {COOKIE}={session}")), Visitor::Session);
        assert_eq!(visitor(header::COOKIE, &format!("{COOKIE}=token")), Visitor::Stranger);
        assert_eq!(visitor(header::COOKIE, &format!("{COOKIE}=é")), Visitor::Stranger);
        let none = HeaderMap::new();
        assert_eq!(Visitor::of(&none, Admission::Trusted, None), Visitor::Operator);
        assert_eq!(Visitor::of(&none, Admission::Public, None), Visitor::Stranger);
    }

    #[test]
    fn a_signature_is_that_of_other_programs() {
        // RFC 4231, test case 2.
        let signature = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert!(verify(&Secret::new("Jefe"), b"what do ya want for nothing?", signature));
        assert!(!verify(&Secret::new("Jefe"), b"what do ya want for something?", signature));
    }
}
