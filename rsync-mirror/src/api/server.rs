//! Listens and answers: limits of time and number for connections, whoever they come from.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rsync_daemon::{Certificate, TlsError, TlsFiles};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tower_service::Service;

/// Connections of one listener at a time; more wait to be accepted.
const CONNECTIONS: usize = 1024;
/// How long a request may take to arrive.
const REQUEST_LIMIT: Duration = Duration::from_secs(15);
/// How long to rest when no connection can be accepted.
const ACCEPT_REST: Duration = Duration::from_secs(1);

/// How a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Over the socket of the commands, which only the site's user can open.
    Trusted,
    /// From anywhere else.
    Public,
}

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(TlsError),
    /// The socket cannot be made.
    #[error("cannot make the socket {path}: {source}")]
    Socket {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A place where connections come in.
#[derive(Debug)]
pub enum Door {
    /// From the network, so many connections at a time from one address.
    Public(TcpListener, Option<usize>),
    /// From the network, behind TLS.
    Secure(TcpListener, Arc<Protection>),
    /// From commands on this machine.
    Trusted(UnixListener),
}

/// The certificate of a listener, which is read again when its files change.
pub struct Protection {
    files: TlsFiles,
    certificate: Certificate,
}

impl std::fmt::Debug for Protection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Protection").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Door {
    /// Listens on a network address. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`ServeError::Bind`].
    pub fn public(address: SocketAddr, per_client: Option<usize>) -> Result<Self, ServeError> {
        let bound = std::net::TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        });
        match bound {
            Ok(listener) => Ok(Self::Public(listener, per_client)),
            Err(source) => Err(ServeError::Bind { address, source }),
        }
    }

    /// Listens on a network address, and speaks TLS there. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`ServeError::Bind`], and [`ServeError::Tls`] if the certificate cannot be used.
    pub fn secure(address: SocketAddr, files: TlsFiles) -> Result<Self, ServeError> {
        let certificate = Certificate::default();
        if let (None, Some(error)) = certificate.current(&files) {
            return Err(ServeError::Tls(error));
        }
        match Self::public(address, None)? {
            Self::Public(listener, _) => {
                Ok(Self::Secure(listener, Arc::new(Protection { files, certificate })))
            }
            other => Ok(other),
        }
    }

    /// Makes a socket that only this user can open. One that is there already belongs to a process that
    /// is gone, since the state directory is locked. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`ServeError::Socket`].
    pub fn trusted(path: &Path) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Socket { path: path.to_owned(), source };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        // Nobody else can open it before it has its mode, because nobody can find it.
        let hidden = path.with_extension(format!("{}", std::process::id()));
        let _ = std::fs::remove_file(&hidden);
        let listener = UnixListener::bind(&hidden).map_err(failed)?;
        let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
        std::fs::set_permissions(&hidden, mode).map_err(failed)?;
        std::fs::rename(&hidden, path).map_err(failed)?;
        Ok(Self::Trusted(listener))
    }

    /// The address of a network listener.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Public(listener, _) | Self::Secure(listener, _) => listener.local_addr().ok(),
            Self::Trusted(_) => None,
        }
    }
}

/// Answers what comes in by a door until it is dropped.
pub async fn serve(door: Door, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let clients = Arc::new(Clients::default());
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match &door {
            Door::Public(listener, per_client) => {
                let Ok((stream, peer)) = listener.accept().await else {
                    tokio::time::sleep(ACCEPT_REST).await;
                    continue;
                };
                let seat = Arc::clone(&clients).sit(peer.ip(), *per_client);
                let router = router.clone();
                tokio::spawn(async move {
                    match seat {
                        Some(_seat) => answer(stream, router, Admission::Public).await,
                        None => answer(stream, crowded(), Admission::Public).await,
                    }
                    drop(place);
                });
            }
            Door::Secure(listener, protection) => {
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(ACCEPT_REST).await;
                    continue;
                };
                // One that cannot be used any more leaves the last one in force.
                let (Some(acceptor), _) = protection.certificate.current(&protection.files) else { continue };
                let router = router.clone();
                tokio::spawn(async move {
                    if let Ok(Ok(stream)) = tokio::time::timeout(REQUEST_LIMIT, acceptor.accept(stream)).await
                    {
                        answer(stream, router, Admission::Public).await;
                    }
                    drop(place);
                });
            }
            Door::Trusted(listener) => {
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(ACCEPT_REST).await;
                    continue;
                };
                let router = router.clone();
                tokio::spawn(async move {
                    answer(stream, router, Admission::Trusted).await;
                    drop(place);
                });
            }
        }
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    admission: Admission,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(admission);
        let mut router = router.clone();
        async move { Ok::<Response, Infallible>(router.call(request).await.into_response()) }
    });
    // Whoever asks badly or leaves is not worth a line.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_LIMIT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Answers a client that has too many connections.
fn crowded() -> Router {
    Router::new().fallback(|| async {
        let text = "too many connections from your address; close one and try again\n";
        (StatusCode::SERVICE_UNAVAILABLE, [(header::CONNECTION, "close"), (header::RETRY_AFTER, "30")], text)
    })
}

/// How many connections each client has. Addresses of one IPv6 network of 64 bits are one client.
#[derive(Debug, Default)]
struct Clients(Mutex<HashMap<IpAddr, usize>>);

/// A connection of a client, until it is dropped.
struct Seat {
    clients: Arc<Clients>,
    client: IpAddr,
}

impl Clients {
    fn sit(self: Arc<Self>, address: IpAddr, limit: Option<usize>) -> Option<Seat> {
        let client = match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                IpAddr::V6(network.into())
            }
            address => address,
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client).or_default();
        if limit.is_some_and(|limit| *count >= limit) {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Seat { clients: self, client })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.clients.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_connections_and_gets_places_back() {
        let clients = Arc::new(Clients::default());
        let sit = |address: &str| Arc::clone(&clients).sit(address.parse().unwrap(), Some(2));
        let first = sit("192.0.2.1").unwrap();
        let _second = sit("::ffff:192.0.2.1").unwrap();
        assert!(sit("192.0.2.1").is_none());
        assert!(sit("192.0.2.2").is_some());
        drop(first);
        assert!(sit("192.0.2.1").is_some());
        let _third = sit("2001:db8::1").unwrap();
        let _fourth = sit("2001:db8::2").unwrap();
        assert!(sit("2001:db8::3").is_none(), "one network");
    }
}
