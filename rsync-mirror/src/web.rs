//! Requests to other programs over HTTP, one connection each: webhooks, and managers and workers as tunasync
//! has them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, Method, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Most bytes of an answer.
const LARGEST: usize = 64 << 20;
/// How long a request may take, with its answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebError {
    /// The address is none.
    #[error("{url:?} is no address of HTTP: {reason}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody can be trusted.
    #[error("the authorities in {} cannot be used: {reason}", path.as_ref().map_or_else(|| "the system's store".to_owned(), |path| path.display().to_string()))]
    Authorities {
        /// The file; the system's where there is none.
        path: Option<PathBuf>,
        /// What is wrong with it.
        reason: String,
    },
    /// There was no answer.
    #[error("{place}: {reason}")]
    NoAnswer {
        /// Who was asked.
        place: String,
        /// What went wrong.
        reason: String,
    },
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    host: String,
    port: u16,
    is_secure: bool,
    path: String,
}

impl Place {
    fn parse(url: &str) -> Result<Self, WebError> {
        let wrong = |reason: &str| WebError::Address { url: shown(url), reason: reason.to_owned() };
        let uri: Uri = url.parse().map_err(|error: axum::http::uri::InvalidUri| wrong(&error.to_string()))?;
        let is_secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("it begins with http:// or https://")),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("it names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("it holds a user, which is not supported"));
        }
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let path = uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        Ok(Self { host, port, is_secure, path })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// An address without what may be secret in it: users and queries.
pub(crate) fn shown(url: &str) -> String {
    let url = url.split('?').next().unwrap_or(url);
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => url.to_owned(),
    }
}

/// Whether an address can be one.
///
/// # Errors
/// [`WebError::Address`].
pub(crate) fn check_address(url: &str) -> Result<(), WebError> {
    Place::parse(url).map(drop)
}

/// Host and port of an address.
///
/// # Errors
/// [`WebError::Address`].
pub(crate) fn host_and_port(url: &str) -> Result<(String, u16), WebError> {
    Place::parse(url).map(|place| (place.host, place.port))
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) text: String,
}

/// Makes requests, and trusts the authorities of a file or those of the system. Needs a tokio runtime with time
/// and I/O.
#[derive(Clone, Default)]
pub(crate) struct WebClient {
    ca_cert: Option<PathBuf>,
    headers: Vec<(HeaderName, String)>,
}

impl fmt::Debug for WebClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebClient").field("ca_cert", &self.ca_cert).finish_non_exhaustive()
    }
}

impl WebClient {
    /// Trusts the authorities in the PEM file `ca_cert`, or the system's.
    pub(crate) fn new(ca_cert: Option<&Path>) -> Self {
        Self { ca_cert: ca_cert.map(Path::to_owned), headers: Vec::new() }
    }

    /// Sends this header too.
    pub(crate) fn with(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Makes a request and waits for the answer, whatever its status is.
    ///
    /// # Errors
    /// [`WebError`] if there is none.
    pub(crate) async fn call(&self, method: Method, url: &str, body: String) -> Result<Reply, WebError> {
        let place = Place::parse(url)?;
        let failed = |reason: String| WebError::NoAnswer { place: place.to_string(), reason };
        let asking = async {
            let stream = TcpStream::connect((place.host.as_str(), place.port));
            let stream = stream.await.map_err(|error| failed(plain(&error)))?;
            if !place.is_secure {
                return self.exchange(stream, method, &place, body).await;
            }
            let name = ServerName::try_from(place.host.clone()).map_err(|error| failed(error.to_string()))?;
            let config = ClientConfig::builder().with_root_certificates(self.authorities()?);
            let connector = TlsConnector::from(Arc::new(config.with_no_client_auth()));
            let stream = connector.connect(name, stream).await.map_err(|error| failed(plain(&error)))?;
            self.exchange(stream, method, &place, body).await
        };
        let late = || Err(failed(format!("no answer within {}", crate::duration::text(LIMIT))));
        tokio::time::timeout(LIMIT, asking).await.unwrap_or_else(|_| late())
    }

    fn authorities(&self) -> Result<RootCertStore, WebError> {
        let path = &self.ca_cert;
        let wrong = |reason: String| WebError::Authorities { path: path.clone(), reason };
        let mut roots = RootCertStore::empty();
        match path {
            Some(file) => {
                let listed = CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
                for certificate in listed {
                    let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                    roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if roots.is_empty() { Err(wrong("there is no certificate".to_owned())) } else { Ok(roots) }
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        method: Method,
        place: &Place,
        body: String,
    ) -> Result<Reply, WebError> {
        let failed = |reason: String| WebError::NoAnswer { place: place.to_string(), reason };
        let host = if place.host.contains(':') { format!("[{}]", place.host) } else { place.host.clone() };
        let mut request = Request::builder()
            .method(method)
            .uri(&place.path)
            .header("host", format!("{host}:{}", place.port))
            .header("connection", "close")
            .header("user-agent", concat!("rsync-mirror/", env!("CARGO_PKG_VERSION")))
            .header("content-type", "application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request =
            request.body(Full::new(Bytes::from(body))).map_err(|error| failed(error.to_string()))?;
        let (mut sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| failed(error.to_string()))?;
        // It ends with the answer, or with an error that the answer has too.
        let driver = tokio::spawn(connection);
        let answered = async {
            let response = sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), LARGEST).collect().await;
            let body = body.map_err(|error| failed(error.to_string()))?.to_bytes();
            Ok(Reply { status, text: String::from_utf8_lossy(&body).into_owned() })
        };
        let answered = answered.await;
        driver.abort();
        answered
    }
}

/// What the system said, without its number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let place = |url| Place::parse(url).map(|place| (place.host, place.port, place.path));
        let plain = ("host".to_owned(), 80, "/".to_owned());
        assert_eq!(place("http://host").unwrap(), plain);
        let secure = ("::1".to_owned(), 8443, "/a/b?c=d".to_owned());
        assert_eq!(place("https://[::1]:8443/a/b?c=d").unwrap(), secure);
        assert_eq!(place("https://host/").unwrap().1, 443);
    }

    #[test]
    fn what_is_no_address_is_told_without_its_secrets() {
        for url in ["", "host", "ftp://host/", "http://", "http://me:s3cret@host/?token=s3cret"] {
            let error = Place::parse(url).unwrap_err().to_string();
            assert!(!error.contains("s3cret") && error.contains("no address of HTTP"), "{error}");
        }
    }
}
