//! Connecting through an HTTP proxy: `RSYNC_PROXY` (spec 01 §1.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bstr::{BString, ByteSlice};

use super::line::{LineError, line};
use crate::exit::ExitCode;
use crate::wire::{Cursor, NeedsInput};

/// Most bytes of the variable that are used, and of a line of the proxy's answer.
const TEXT_LIMIT: usize = 1023;
/// Most lines behind the first of the proxy's answer.
const MAX_HEADERS: usize = 64;

/// What `RSYNC_PROXY` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectProxy {
    /// The proxy's host.
    pub host: BString,
    /// Its port, as given.
    pub port: BString,
    /// `USER:PASSWORD`.
    pub credentials: Option<BString>,
}

/// Why a proxy cannot be used; all exit 10.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectProxyError {
    /// No port.
    #[error("invalid proxy specification: should be HOST:PORT")]
    NoPort,
    /// Credentials without a password.
    #[error("invalid proxy specification: should be USER:PASS@HOST:PORT")]
    NoPassword,
    /// The daemon's host would break the request.
    #[error("invalid control character in proxy CONNECT host")]
    ControlCharacter,
    /// The daemon's host is too long.
    #[error("proxy CONNECT request too long")]
    RequestTooLong,
    /// The proxy refuses, or is none.
    #[error("bad response from proxy -- {0}")]
    BadResponse(BString),
    /// The first line of the answer does not end.
    #[error("proxy response line too long")]
    ResponseTooLong,
    /// Another line of the answer does not end.
    #[error("proxy response header line too long")]
    HeaderTooLong,
    /// The answer has more lines than any proxy sends.
    #[error("too many proxy response header lines: the limit is {MAX_HEADERS}")]
    TooManyHeaders,
    /// The answer is not complete yet, or no text.
    #[error(transparent)]
    Line(#[from] LineError),
}

impl ConnectProxyError {
    /// What the client exits with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::SOCKET_IO
    }
}

impl NeedsInput for ConnectProxyError {
    fn missing(&self) -> Option<usize> {
        match self {
            Self::Line(error) => error.missing(),
            _ => None,
        }
    }
}

impl ConnectProxy {
    /// Reads the variable's value.
    ///
    /// # Errors
    /// [`ConnectProxyError::NoPort`] and [`ConnectProxyError::NoPassword`].
    pub fn parse(value: &[u8]) -> Result<Self, ConnectProxyError> {
        let value = &value[..value.len().min(TEXT_LIMIT)];
        let (credentials, address) = match value.rsplit_once_str("@") {
            Some((credentials, address)) => (Some(credentials), address),
            None => (None, value),
        };
        if credentials.is_some_and(|text| !text.contains(&b':')) {
            return Err(ConnectProxyError::NoPassword);
        }
        let (host, port) = address.split_once_str(":").ok_or(ConnectProxyError::NoPort)?;
        Ok(Self { host: host.into(), port: port.into(), credentials: credentials.map(BString::from) })
    }

    /// The request for a connection to the daemon.
    ///
    /// # Errors
    /// [`ConnectProxyError::ControlCharacter`] and [`ConnectProxyError::RequestTooLong`].
    pub fn request(&self, host: &[u8], port: u16) -> Result<Vec<u8>, ConnectProxyError> {
        if host.iter().any(u8::is_ascii_control) {
            return Err(ConnectProxyError::ControlCharacter);
        }
        let mut request = b"CONNECT ".to_vec();
        request.extend_from_slice(host);
        request.extend_from_slice(format!(":{port} HTTP/1.0\r\n").as_bytes());
        if let Some(credentials) = &self.credentials {
            let encoded = STANDARD.encode(credentials);
            request.extend_from_slice(format!("Proxy-Authorization: Basic {encoded}\r\n").as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        if request.len() > TEXT_LIMIT {
            return Err(ConnectProxyError::RequestTooLong);
        }
        Ok(request)
    }

    /// Decodes the proxy's whole answer, up to its empty line.
    ///
    /// # Errors
    /// A refusal, or an answer that is too long or not HTTP.
    pub fn response(input: &mut Cursor<'_>) -> Result<(), ConnectProxyError> {
        let first = line(input, TEXT_LIMIT).map_err(|error| match error {
            LineError::TooLong { .. } => ConnectProxyError::ResponseTooLong,
            error => error.into(),
        })?;
        let status = first.strip_prefix(b"HTTP/").map(|rest| {
            rest.trim_start_with(|byte| byte.is_ascii_digit() || byte == '.')
                .trim_start_with(|byte| byte == ' ')
        });
        if !status.is_some_and(|status| status.starts_with(b"2")) {
            return Err(ConnectProxyError::BadResponse(first.into()));
        }
        for _ in 0..=MAX_HEADERS {
            let header = line(input, TEXT_LIMIT).map_err(|error| match error {
                LineError::TooLong { .. } => ConnectProxyError::HeaderTooLong,
                error => error.into(),
            })?;
            if header.is_empty() {
                return Ok(());
            }
        }
        Err(ConnectProxyError::TooManyHeaders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_is_split() {
        let proxy = ConnectProxy::parse(b"u:p@x:y@host:80").expect("proxy");
        assert_eq!(proxy.credentials, Some("u:p@x:y".into()));
        assert_eq!((proxy.host, proxy.port), ("host".into(), "80".into()));
        assert_eq!(ConnectProxy::parse(b"host"), Err(ConnectProxyError::NoPort));
        assert_eq!(ConnectProxy::parse(b"u@host:80"), Err(ConnectProxyError::NoPassword));
    }

    #[test]
    fn requests_are_those_of_the_c_rsync() {
        let proxy = ConnectProxy::parse(b"me:pw@proxy:3128").expect("proxy");
        let request = proxy.request(b"host", 873).expect("request");
        let expected = b"CONNECT host:873 HTTP/1.0\r\nProxy-Authorization: Basic bWU6cHc=\r\n\r\n";
        assert_eq!(request.as_bstr(), expected.as_bstr());
        assert_eq!(proxy.request(b"a\nb", 1), Err(ConnectProxyError::ControlCharacter));
        assert_eq!(proxy.request(&[b'x'; 1000], 1), Err(ConnectProxyError::RequestTooLong));
    }

    #[test]
    fn answers_are_read_to_their_empty_line() {
        let respond = |bytes: &[u8]| {
            let mut input = Cursor::new(bytes);
            ConnectProxy::response(&mut input).map(|()| input.position())
        };
        assert_eq!(respond(b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n@RSYNCD"), Ok(27));
        assert_eq!(
            respond(b"HTTP/1.0 407 no\r\n"),
            Err(ConnectProxyError::BadResponse("HTTP/1.0 407 no".into()))
        );
        assert!(respond(b"HTTP/1.0 200 ok\r\nVia").expect_err("open").missing().is_some());
        let long = [b"HTTP/1.0 200 ok\n".as_slice(), &[b'x'; 1024]].concat();
        assert_eq!(respond(&long), Err(ConnectProxyError::HeaderTooLong));
        assert_eq!(respond(&long[16..]), Err(ConnectProxyError::ResponseTooLong));
        let headers =
            |count| [b"HTTP/1.0 200 ok\n".to_vec(), b"X: y\n".repeat(count), b"\n".to_vec()].concat();
        assert!(respond(&headers(MAX_HEADERS)).is_ok());
        assert_eq!(respond(&headers(MAX_HEADERS + 1)), Err(ConnectProxyError::TooManyHeaders));
    }
}
