//! `/metrics` and `/health` over HTTP, at an address of this machine only.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::metrics::{Health, Metrics};

/// Connections at a time; more wait.
const CONNECTIONS: usize = 16;
/// How long a request may take to arrive.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection may last.
const CONNECTION_LIMIT: Duration = Duration::from_secs(60);
/// How long to rest when no connection can be accepted.
const ACCEPT_REST: Duration = Duration::from_secs(2);
/// What [`Metrics::render`] makes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Why there is no HTTP.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// The address is none.
    #[error("\"metrics address\" is no address with a port: {0}")]
    NoAddress(String),
    /// Others could connect.
    #[error("\"metrics address\" must be one of this machine only, such as 127.0.0.1: {0}")]
    NotLoopback(SocketAddr),
    /// It cannot be bound.
    #[error("cannot listen on {address} for metrics: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Reads `ADDRESS:PORT`, which must not be reached from other machines.
pub(crate) fn address(text: &str) -> Result<SocketAddr, MetricsError> {
    let address: SocketAddr = text.trim().parse().map_err(|_| MetricsError::NoAddress(text.to_owned()))?;
    if address.ip().is_loopback() { Ok(address) } else { Err(MetricsError::NotLoopback(address)) }
}

/// Listens at an address that [`address`] accepted.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, MetricsError> {
    let bound = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    });
    bound.map_err(|source| MetricsError::Bind { address, source })
}

/// Answers requests until it is dropped.
pub(crate) async fn serve(listener: TcpListener, metrics: Arc<Metrics>, health: Arc<Health>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_REST).await;
            continue;
        };
        let (metrics, health) = (Arc::clone(&metrics), Arc::clone(&health));
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let answer = answer(request.method(), request.uri().path(), &metrics, &health);
                async { Ok::<_, Infallible>(answer) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(REQUEST_LIMIT)
                .serve_connection(TokioIo::new(stream), service);
            // Whoever asks badly or leaves is not worth a line.
            let _ = tokio::time::timeout(CONNECTION_LIMIT, connection).await;
            drop(place);
        });
    }
}

fn answer(method: &Method, path: &str, metrics: &Metrics, health: &Health) -> Response<Full<Bytes>> {
    let (status, kind, text) = match (path, health.is_good()) {
        ("/metrics" | "/health", _) if !matches!(*method, Method::GET | Method::HEAD) => {
            (StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD are answered\n".to_owned())
        }
        ("/metrics", _) => (StatusCode::OK, OPEN_METRICS, metrics.render()),
        ("/health", true) => (StatusCode::OK, PLAIN, "ok\n".to_owned()),
        ("/health", false) => (StatusCode::SERVICE_UNAVAILABLE, PLAIN, "stopping\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, PLAIN, "there are /metrics and /health\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_may_ask() {
        assert!(address("127.0.0.1:9100").is_ok() && address("[::1]:9100").is_ok());
        assert!(matches!(address("0.0.0.0:9100"), Err(MetricsError::NotLoopback(_))));
        assert!(matches!(address("localhost"), Err(MetricsError::NoAddress(_))));
    }

    #[test]
    fn requests_have_their_answers() {
        let (metrics, health) = (Metrics::new(0), Health::default());
        let status = |method: &Method, path| answer(method, path, &metrics, &health).status().as_u16();
        assert_eq!(status(&Method::GET, "/metrics"), 200);
        assert_eq!(status(&Method::HEAD, "/health"), 200);
        assert_eq!(status(&Method::POST, "/metrics"), 405);
        assert_eq!(status(&Method::GET, "/"), 404);
        health.stop();
        assert_eq!(status(&Method::GET, "/health"), 503);
        assert_eq!(status(&Method::GET, "/metrics"), 200);
    }
}
