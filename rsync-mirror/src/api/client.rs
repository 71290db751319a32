//! Speaks to a running site: over its socket, or over HTTP with the token.

use std::path::PathBuf;

use axum::http::{Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::Secret;
use crate::markup::encode;

/// Most bytes of an answer.
const LARGEST: usize = 64 << 20;

/// Where a site is reached.
#[derive(Clone, Debug)]
pub enum SiteAddress {
    /// The socket in its state directory.
    Socket(PathBuf),
    /// `HOST:PORT` of its API, and the token.
    Http(String, Option<Secret>),
}

/// Why a site did not do what it was told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody is there.
    #[error("no site answers at {address}: {source}; is \"rsync-mirror run\" running?")]
    Unreachable {
        /// Where.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The answer was none.
    #[error("the site at {address} did not answer as one: {reason}")]
    Broken {
        /// Where.
        address: String,
        /// What was wrong.
        reason: String,
    },
    /// It refused.
    #[error("{message}")]
    Refused {
        /// The status of the answer.
        status: u16,
        /// What the site said.
        message: String,
    },
}

/// Commands for a running site. Needs a tokio runtime.
#[derive(Clone, Debug)]
pub struct SiteClient {
    address: SiteAddress,
}

impl SiteClient {
    /// A client of the site at `address`.
    #[must_use]
    pub fn new(address: SiteAddress) -> Self {
        Self { address }
    }

    /// Asks for something of the API, such as `["jobs", "alpine"]`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get(&self, path: &[&str]) -> Result<Value, ClientError> {
        let text = self.call(Method::GET, path, None).await?;
        serde_json::from_str(&text).map_err(|error| self.broken(&error.to_string()))
    }

    /// Asks for a text of the API.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn text(&self, path: &[&str]) -> Result<String, ClientError> {
        self.call(Method::GET, path, None).await
    }

    /// Tells the site to do something, and returns what it said.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post(&self, path: &[&str], body: Option<&Value>) -> Result<String, ClientError> {
        let text = self.call(Method::POST, path, body).await?;
        let answer: Value = serde_json::from_str(&text).map_err(|error| self.broken(&error.to_string()))?;
        Ok(answer["message"].as_str().unwrap_or_default().to_owned())
    }

    fn name(&self) -> String {
        match &self.address {
            SiteAddress::Socket(path) => path.display().to_string(),
            SiteAddress::Http(host, _) => host.clone(),
        }
    }

    fn broken(&self, reason: &str) -> ClientError {
        ClientError::Broken { address: self.name(), reason: reason.to_owned() }
    }

    fn unreachable(&self, source: std::io::Error) -> ClientError {
        ClientError::Unreachable { address: self.name(), source }
    }

    async fn call(&self, method: Method, path: &[&str], body: Option<&Value>) -> Result<String, ClientError> {
        let parts: Vec<String> = path.iter().map(|part| encode_part(part)).collect();
        let uri = format!("/api/v1/{}", parts.join("/"));
        let body = body.map(ToString::to_string).unwrap_or_default();
        let request = Request::builder().method(method).uri(uri).header("connection", "close");
        match &self.address {
            SiteAddress::Socket(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| self.unreachable(error))?;
                self.exchange(stream, request.header("host", "localhost"), body).await
            }
            SiteAddress::Http(host, token) => {
                let stream = TcpStream::connect(host).await.map_err(|error| self.unreachable(error))?;
                let mut request = request.header("host", host);
                if let Some(token) = token {
                    request = request.header("authorization", format!("Bearer {}", token.reveal()));
                }
                self.exchange(stream, request, body).await
            }
        }
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: hyper::http::request::Builder,
        body: String,
    ) -> Result<String, ClientError> {
        let broken = |error: &dyn std::fmt::Display| self.broken(&error.to_string());
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| broken(&error))?;
        let (mut sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        // It ends with the answer, or with an error that the answer has too.
        let driver = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = response.status();
        let limited = http_body_util::Limited::new(response.into_body(), LARGEST);
        let bytes = limited.collect().await.map_err(|error| broken(&error))?.to_bytes();
        driver.abort();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if status == StatusCode::OK {
            return Ok(text);
        }
        let error: Option<Value> = serde_json::from_str(&text).ok();
        let said = error.as_ref().and_then(|error| error["error"].as_str()).unwrap_or(text.trim());
        Err(ClientError::Refused { status: status.as_u16(), message: said.to_owned() })
    }
}

/// A part of a path, with its query if it has one.
fn encode_part(part: &str) -> String {
    match part.split_once('?') {
        Some((path, query)) => format!("{}?{query}", encode(path.as_bytes())),
        None => encode(part.as_bytes()),
    }
}
