//! The proxy as a whole: starting, listening, orders, stopping.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::config::{ListenAddress, ProxyConfig};
use super::log::{ErrorSink, Logs};
use super::roster::Roster;
use super::shared::{Phase, ProxyError, Shared, ask_all, check_tls};
use super::{http, visit};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// How long to rest when no connection can be accepted.
const ACCEPT_REST: Duration = Duration::from_millis(500);

/// What a running proxy is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Read the configuration, the certificate and the logs' names anew.
    Reload,
    /// Take nobody new, let sessions finish, end.
    Drain,
    /// End now.
    Stop,
}

/// A front for rsync daemons that listens, and serves when it is [run](Proxy::run).
pub struct Proxy {
    shared: Arc<Shared>,
    plain: Vec<TcpListener>,
    secure: Vec<TcpListener>,
    http: Vec<TcpListener>,
}

impl Proxy {
    /// Reads the configuration at `path`, asks every backend, and listens. `errors` gets what goes wrong
    /// later, if the configuration names no file for it.
    ///
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// [`ProxyError`].
    pub async fn start(path: impl Into<PathBuf>, errors: ErrorSink) -> Result<Self, ProxyError> {
        let path = path.into();
        let roster = Roster::new(ProxyConfig::load(&path)?, None);
        check_tls(&roster)?;
        ask_all(&roster).await?;
        let front = &roster.config.proxy;
        let plain = bind(&front.listen)?;
        let secure = front.listen_tls.as_ref().map(bind).transpose()?.unwrap_or_default();
        let http = front.listen_http.as_ref().map(bind).transpose()?.unwrap_or_default();
        let logs = Logs::open(front.access_log.as_deref(), front.error_log.as_deref(), errors)?;
        let shared = Arc::new(Shared::new(path, logs, roster));
        for (name, backend) in &shared.roster().backends {
            let state = backend.watch.state();
            if state.reason().is_some() {
                shared.logs.error(format_args!("upstream {name}: {state}"));
            }
        }
        Ok(Self { shared, plain, secure, http })
    }

    /// Where it listens: for clients, for clients with TLS, for administration.
    #[must_use]
    pub fn local_addresses(&self) -> [Vec<SocketAddr>; 3] {
        [&self.plain, &self.secure, &self.http]
            .map(|listeners| listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect())
    }

    /// Serves until it is told to stop. When nobody can give orders any more, it drains.
    pub async fn run(self, mut orders: mpsc::Receiver<Order>) {
        let Self { shared, plain, secure, http } = self;
        shared.attend();
        let mut tasks = tokio::task::JoinSet::new();
        for (listeners, is_secure) in [(plain, false), (secure, true)] {
            for listener in listeners {
                tasks.spawn(accept(listener, Arc::clone(&shared), is_secure));
            }
        }
        for listener in http {
            let shared = Arc::clone(&shared);
            // It stays to say that the proxy is about to stop.
            tokio::spawn(async move { http::serve(listener, shared).await });
        }
        loop {
            match orders.recv().await {
                Some(Order::Reload) => match shared.reload().await {
                    Ok(()) => shared.logs.error("the configuration is reloaded"),
                    Err(error) => shared.logs.error(format_args!("not reloaded: {error}")),
                },
                Some(Order::Drain) | None => break,
                Some(Order::Stop) => {
                    shared.phase.send_replace(Phase::Ending);
                    break;
                }
            }
        }
        tasks.shutdown().await;
        shared.phase.send_modify(|phase| *phase = Phase::Draining.max(*phase));
        let limit = shared.roster().config.proxy.drain_timeout;
        let patience = async {
            if limit.is_zero() { std::future::pending().await } else { tokio::time::sleep(limit).await }
        };
        let told_to_stop = async {
            loop {
                match orders.recv().await {
                    Some(Order::Stop) => return,
                    Some(_) => {}
                    None => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            () = shared.doors.empty() => {}
            () = patience => {}
            () = told_to_stop => {}
        }
        shared.phase.send_replace(Phase::Ending);
        shared.doors.empty().await;
    }
}

fn bind(listen: &ListenAddress) -> Result<Vec<TcpListener>, ProxyError> {
    listen
        .0
        .iter()
        .map(|&address| bind_one(address).map_err(|source| ProxyError::Listen { address, source }))
        .collect()
}

fn bind_one(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, is_secure: bool) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                tokio::spawn(visit::serve(Arc::clone(&shared), stream, remote, is_secure));
            }
            Err(error) => {
                shared.logs.error(format_args!("cannot accept a connection: {error}"));
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}
