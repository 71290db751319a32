//! What sessions, checks and the administration share.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bstr::BString;
use jiff::Timestamp;
use rsync_daemon::{Certificate, TlsError};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use super::backend::Backend;
use super::config::{ProxyConfig, ProxyConfigError};
use super::doors::Doors;
use super::log::{LogError, Logs};
use super::metrics::Metrics;
use super::relay::Traffic;
use super::roster::Roster;

/// What the proxy is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// It serves.
    Serving,
    /// Who has a backend may finish; nobody else is served.
    Draining,
    /// Everybody has to go.
    Ending,
}

/// A session at a backend.
pub(super) struct Session {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) connected: Timestamp,
    pub(super) module: BString,
    pub(super) upstream: String,
    pub(super) traffic: Traffic,
}

/// Why the proxy cannot start, or keeps its old configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ProxyConfigError),
    /// A log cannot be opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// TLS cannot be spoken.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address cannot be bound.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A backend that is to be asked for its modules does not tell.
    #[error("upstream {upstream} cannot be asked for its modules (discover_modules = true): {reason}")]
    Discovery {
        /// Its name.
        upstream: String,
        /// Why not.
        reason: String,
    },
    /// What only a restart can change was changed.
    #[error("{key} has changed, which needs a restart; the old configuration stays in force")]
    NeedsRestart {
        /// The key.
        key: &'static str,
    },
}

/// Everything that sessions see.
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) logs: Logs,
    pub(super) metrics: Metrics,
    pub(super) doors: Arc<Doors>,
    pub(super) phase: watch::Sender<Phase>,
    roster: Mutex<Arc<Roster>>,
    certificate: Certificate,
    sessions: Mutex<BTreeMap<u64, Arc<Session>>>,
    next_session: AtomicU64,
    /// Who checks each backend of the roster.
    watchers: Mutex<HashMap<String, (Arc<Backend>, AbortHandle)>>,
}

impl Shared {
    pub(super) fn new(path: PathBuf, logs: Logs, roster: Roster) -> Self {
        Self {
            path,
            logs,
            metrics: Metrics::default(),
            doors: Arc::default(),
            phase: watch::channel(Phase::Serving).0,
            roster: Mutex::new(Arc::new(roster)),
            certificate: Certificate::default(),
            sessions: Mutex::default(),
            next_session: AtomicU64::new(1),
            watchers: Mutex::default(),
        }
    }

    /// What is in force now.
    pub(super) fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for a phase that is at least this one.
    pub(super) async fn reaches(&self, phase: Phase) {
        // The sender lives as long as this.
        let _ = self.phase.subscribe().wait_for(|current| *current >= phase).await;
    }

    pub(super) fn sessions(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists a session until the guard is dropped.
    pub(super) fn list(self: &Arc<Self>, session: Arc<Session>) -> Listed {
        let index = self.next_session.fetch_add(1, Ordering::Relaxed);
        self.sessions().insert(index, session);
        Listed { shared: Arc::clone(self), index }
    }

    /// The certificate as it is now; a broken one leaves the last in force.
    pub(super) fn acceptor(&self, roster: &Roster) -> Option<TlsAcceptor> {
        let (acceptor, error) = self.certificate.current(&roster.config.proxy.tls_files()?);
        if let Some(error) = error {
            self.logs.error(format_args!("TLS: {error}"));
        }
        acceptor
    }

    /// Reads the configuration anew, all of it or nothing. Sessions are not touched, and backends that are
    /// the same keep what is known of them.
    pub(super) async fn reload(self: &Arc<Self>) -> Result<(), ProxyError> {
        let config = ProxyConfig::load(&self.path)?;
        let old = self.roster();
        let (before, after) = (&old.config.proxy, &config.proxy);
        let unchangeable = [
            ("listen", before.listen == after.listen),
            ("listen_tls", before.listen_tls == after.listen_tls),
            ("listen_http", before.listen_http == after.listen_http),
            ("access_log", before.access_log == after.access_log),
            ("error_log", before.error_log == after.error_log),
        ];
        if let Some((key, _)) = unchangeable.into_iter().find(|(_, same)| !same) {
            return Err(ProxyError::NeedsRestart { key });
        }
        let roster = Roster::new(config, Some(&old));
        check_tls(&roster)?;
        ask_all(&roster).await?;
        self.logs.reopen()?;
        *self.roster.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(roster);
        self.attend();
        Ok(())
    }

    /// Sees to it that every backend of the roster is checked, and no other.
    pub(super) fn attend(self: &Arc<Self>) {
        let roster = self.roster();
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|name, (backend, task)| {
            let stays = roster.backends.get(name).is_some_and(|current| Arc::ptr_eq(current, backend));
            if !stays {
                task.abort();
                backend.watch.set_draining(true);
                backend.stir();
            }
            stays
        });
        for (name, backend) in &roster.backends {
            let drain = roster.config.upstreams.get(name).is_some_and(|upstream| upstream.drain);
            backend.watch.set_draining(drain);
            backend.stir();
            watchers.entry(name.clone()).or_insert_with(|| {
                let task = tokio::spawn(attend(Arc::clone(self), Arc::clone(backend)));
                (Arc::clone(backend), task.abort_handle())
            });
        }
    }
}

/// Checks one backend, and asks it anew when it comes back, when it is doubted, and now and then.
async fn attend(shared: Arc<Shared>, backend: Arc<Backend>) {
    let watching = backend.watch.run(&backend.target, &backend.checks, |change| {
        shared.logs.error(format_args!("upstream {}: {} -> {}", backend.name, change.from.name(), change.to));
        backend.doubted.notify_one();
        backend.stir();
    });
    let asking = async {
        loop {
            tokio::select! {
                () = tokio::time::sleep(super::ASK_INTERVAL) => {}
                () = backend.doubted.notified() => {}
            }
            if backend.usable().is_some() {
                // Whether it can be reached is for the checks to say.
                let _ = backend.ask(shared.roster().config.proxy.dial_timeout).await;
            }
        }
    };
    tokio::join!(watching, asking);
}

/// Whether the certificate can be used, if there is to be one.
pub(super) fn check_tls(roster: &Roster) -> Result<(), ProxyError> {
    match (&roster.config.proxy.listen_tls, roster.config.proxy.tls_files()) {
        (Some(_), Some(files)) => Ok(files.load().map(drop)?),
        _ => Ok(()),
    }
}

/// Asks and checks all backends at once. One that must tell its modules and does not is an error.
pub(super) async fn ask_all(roster: &Roster) -> Result<(), ProxyError> {
    let mut asked = Vec::new();
    for (name, backend) in &roster.backends {
        let (backend, limit) = (Arc::clone(backend), roster.config.proxy.dial_timeout);
        let discovers = roster.config.upstreams.get(name).is_some_and(|upstream| upstream.discover_modules);
        asked.push(tokio::spawn(async move {
            let (told, _) =
                tokio::join!(backend.ask(limit), backend.watch.check(&backend.target, &backend.checks));
            told.map_err(|failure| (backend.name.clone(), failure.into_text(), discovers))
        }));
    }
    for task in asked {
        if let Ok(Err((upstream, reason, true))) = task.await {
            return Err(ProxyError::Discovery { upstream, reason });
        }
    }
    Ok(())
}

/// A session's line in the list of sessions, until it is dropped.
pub(super) struct Listed {
    shared: Arc<Shared>,
    index: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.shared.sessions().remove(&self.index);
    }
}
