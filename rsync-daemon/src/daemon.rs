//! The daemon: configuration, listeners, sessions (spec 09 §1).

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bstr::BString;
use rsync_engine::LinkControl;
use rsync_proto::text::{Utc, Zone};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::{Config, ConfigError};
use crate::listen::{ListenAddress, ListenError, bind};
use crate::log::{Log, LogTarget};
use crate::pid_file::{PidFile, PidFileError};
use crate::session::{ReadySession, link};
use crate::visit;

/// Port of a daemon that names none.
const DEFAULT_PORT: u16 = 873;
/// Connections of one address that may be in their handshake.
const HANDSHAKES_PER_ADDRESS: u32 = 32;
/// How long a failed login takes.
const AUTH_DELAY: Duration = Duration::from_millis(500);
/// How long the daemon rests when it cannot accept.
const ACCEPT_REST: Duration = Duration::from_secs(2);

/// Why a daemon does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The pid file is in use, or cannot be written.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    /// The runtime does not take a socket.
    #[error("cannot listen: {0}")]
    Runtime(#[from] std::io::Error),
}

/// Where the configuration comes from.
#[derive(Clone, Debug)]
enum Source {
    File(PathBuf),
    Given(Arc<Config>),
}

/// Settings of a [`Daemon`] before it listens.
#[derive(Debug)]
#[must_use]
pub struct DaemonBuilder {
    source: Source,
    overrides: Vec<BString>,
    address: Option<String>,
    port: Option<u16>,
    log: Option<LogTarget>,
    default_log: Option<LogTarget>,
    zone: ZoneOption,
    grace: Duration,
}

struct ZoneOption(Arc<dyn Zone + Send + Sync>);

impl std::fmt::Debug for ZoneOption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Zone")
    }
}

impl DaemonBuilder {
    /// `NAME=VALUE` assignments that stand at the end of the first global section.
    pub fn overrides(mut self, assignments: impl IntoIterator<Item = BString>) -> Self {
        self.overrides.extend(assignments);
        self
    }

    /// Listens on this name or address instead of the configured one.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// Listens on this port instead of the configured one; 0 takes a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Logs here instead of where the configuration says, except for modules with logs of their own.
    pub fn log(mut self, target: LogTarget) -> Self {
        self.log = Some(target);
        self
    }

    /// Logs here where neither [`DaemonBuilder::log`] nor the configuration names a log; without it that
    /// is the system log.
    pub fn default_log(mut self, target: LogTarget) -> Self {
        self.default_log = Some(target);
        self
    }

    /// Times in the log are of this zone; without it they are universal.
    pub fn zone(mut self, zone: Arc<dyn Zone + Send + Sync>) -> Self {
        self.zone = ZoneOption(zone);
        self
    }

    /// How long sessions may go on after the daemon was told to stop.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Reads the configuration and binds the sockets. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`DaemonError`] for what makes it impossible.
    pub fn bind(self) -> Result<Daemon, DaemonError> {
        let config = self.source.read(&self.overrides)?;
        let globals = &config.globals;
        let configured = config.defaults.log_file.as_ref();
        let configured = configured.map(|path| LogTarget::File(PathBuf::from(path.to_string())));
        let keeps_log = self.log.is_some() || (configured.is_none() && self.default_log.is_some());
        let target = self.log.or(configured).or(self.default_log).unwrap_or_else(|| LogTarget::Syslog {
            facility: config.defaults.syslog_facility.clone(),
            tag: config.defaults.syslog_tag.clone(),
        });
        let log = Log::new(target, self.zone.0)?;
        for note in &config.notes {
            log.warning(note);
        }
        let configured = u16::try_from(globals.port).ok().filter(|&port| port != 0);
        let port = self.port.or(configured).unwrap_or(DEFAULT_PORT);
        let address = ListenAddress {
            host: self.address.or_else(|| globals.address.as_ref().map(ToString::to_string)),
            port,
            backlog: globals.listen_backlog,
            socket_options: globals.socket_options.clone().map(Vec::from).unwrap_or_default(),
        };
        let sockets = bind(&address, &mut |note| log.warning(note))?;
        let listeners = sockets.into_iter().map(TcpListener::from_std).collect::<Result<Vec<_>, _>>()?;
        let pid_file = match &globals.pid_file {
            Some(path) => Some(PidFile::create(PathBuf::from(path.to_string()).as_path())?),
            None => None,
        };
        let shared = Shared {
            source: self.source,
            overrides: self.overrides,
            log,
            keeps_log,
            handshakes: Mutex::default(),
            sessions: Mutex::default(),
            running: watch::Sender::new(0),
        };
        Ok(Daemon { shared: Arc::new(shared), listeners, pid_file, grace: self.grace })
    }
}

impl Source {
    fn read(&self, overrides: &[BString]) -> Result<Arc<Config>, ConfigError> {
        match self {
            Self::File(path) => Config::load(path, overrides).map(Arc::new),
            Self::Given(config) => Ok(Arc::clone(config)),
        }
    }
}

/// A daemon that listens. It never writes to a module.
#[derive(Debug)]
pub struct Daemon {
    shared: Arc<Shared>,
    listeners: Vec<TcpListener>,
    pid_file: Option<PidFile>,
    grace: Duration,
}

impl Daemon {
    /// A daemon of this configuration file, which is read anew for each connection.
    pub fn from_file(path: impl Into<PathBuf>) -> DaemonBuilder {
        Self::builder(Source::File(path.into()))
    }

    /// A daemon of this configuration.
    pub fn from_config(config: Config) -> DaemonBuilder {
        Self::builder(Source::Given(Arc::new(config)))
    }

    fn builder(source: Source) -> DaemonBuilder {
        DaemonBuilder {
            source,
            overrides: Vec::new(),
            address: None,
            port: None,
            log: None,
            default_log: None,
            zone: ZoneOption(Arc::new(Utc)),
            grace: Duration::from_secs(10),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Serves until `stop` is ready. Then nobody is let in any more, sessions may end in peace for the
    /// time of grace, and the rest is cut.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { shared, listeners, pid_file, grace } = self;
        let port = listeners.first().and_then(|listener| listener.local_addr().ok()).map_or(0, |a| a.port());
        shared.log.info(format!("rsyncd version 3.5.0 starting, listening on port {port}"));
        let mut accepting = JoinSet::new();
        for listener in listeners {
            accepting.spawn(accept(Arc::clone(&shared), listener));
        }
        stop.await;
        accepting.shutdown().await;
        let mut running = shared.running.subscribe();
        let ended = async {
            // The sender lives as long as `shared`.
            let _ = running.wait_for(|&count| count == 0).await;
        };
        if tokio::time::timeout(grace, ended).await.is_err() {
            for control in lock(&shared.sessions).values() {
                control.abort();
            }
        }
        shared.log.info("sent 0 bytes  received 0 bytes  total size 0");
        shared.log.flush();
        drop(pid_file);
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut visits = JoinSet::new();
    loop {
        while visits.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, address)) => {
                let shared = Arc::clone(&shared);
                visits.spawn(async move {
                    let ip = address.ip();
                    if shared.begin_handshake(ip) {
                        visit::receive(Arc::clone(&shared), stream, address).await;
                        shared.end_handshake(ip);
                    } else {
                        shared.log.warning(format!("too many handshakes from {ip}"));
                    }
                });
            }
            Err(error) => {
                shared.log.warning(format!("accept failed: {error}"));
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

/// What all connections share.
pub(crate) struct Shared {
    source: Source,
    overrides: Vec<BString>,
    log: Log,
    keeps_log: bool,
    handshakes: Mutex<HashMap<IpAddr, u32>>,
    sessions: Mutex<HashMap<u64, LinkControl>>,
    /// Number of sessions.
    running: watch::Sender<usize>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("source", &self.source).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Whether the log was chosen by whoever started the daemon.
    pub(crate) fn keeps_log(&self) -> bool {
        self.keeps_log
    }

    pub(crate) fn auth_delay(&self) -> Duration {
        AUTH_DELAY
    }

    /// The configuration as it is now.
    pub(crate) fn config(&self) -> Result<Arc<Config>, ConfigError> {
        self.source.read(&self.overrides)
    }

    fn begin_handshake(&self, address: IpAddr) -> bool {
        let mut handshakes = lock(&self.handshakes);
        let count = handshakes.entry(address).or_default();
        if *count >= HANDSHAKES_PER_ADDRESS {
            return false;
        }
        *count += 1;
        true
    }

    fn end_handshake(&self, address: IpAddr) {
        let mut handshakes = lock(&self.handshakes);
        if let Some(count) = handshakes.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                handshakes.remove(&address);
            }
        }
    }

    /// Gives a session a thread of its own.
    pub(crate) fn start(
        self: &Arc<Self>,
        session: ReadySession,
        stream: std::net::TcpStream,
        ahead: Vec<u8>,
    ) {
        let link = match link(&stream, ahead) {
            Ok(link) => link,
            Err(error) => return self.log.warning(format!("cannot serve a connection: {error}")),
        };
        let running = Running::new(self, &link.control);
        let thread = std::thread::Builder::new().name("session".into()).spawn(move || {
            let _running = running;
            session.run(link, &stream);
        });
        if let Err(error) = thread {
            self.log.warning(format!("could not create child server process: {error}"));
        }
    }
}

/// A session that is counted, until it is dropped.
struct Running {
    shared: Arc<Shared>,
    number: u64,
}

impl Running {
    fn new(shared: &Arc<Shared>, control: &LinkControl) -> Self {
        let mut sessions = lock(&shared.sessions);
        let number = sessions.keys().max().map_or(0, |last| last + 1);
        sessions.insert(number, control.clone());
        shared.running.send_modify(|count| *count += 1);
        Self { shared: Arc::clone(shared), number }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.shared.sessions).remove(&self.number);
        self.shared.running.send_modify(|count| *count -= 1);
    }
}
