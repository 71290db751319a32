//! The daemon: configuration, listeners, sessions (spec 09 §1).

use std::collections::HashMap;
use std::ffi::OsString;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bstr::BString;
use rsync_engine::{LinkControl, SystemOwners};
use rsync_proto::text::{Utc, Zone};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::config::{Config, ConfigError};
use crate::listen::{ListenAddress, ListenError, bind};
use crate::log::{Log, LogTarget};
use crate::pid_file::{PidFile, PidFileError};
use crate::session::{ReadySession, link};
use crate::tally::{Entry, Tally};
use crate::visit;
use crate::worker::{Pool, Protections, WorkerCommand};

/// Port of a daemon that names none.
const DEFAULT_PORT: u16 = 873;
/// Connections of one address that may be in their handshake.
const HANDSHAKES_PER_ADDRESS: u32 = 256;
/// How long a failed login takes.
const AUTH_DELAY: Duration = Duration::from_millis(500);
/// How long a worker without sessions is kept.
const WORKER_IDLE: Duration = Duration::from_secs(60);
/// How long a worker may take to end when all sessions have.
const LAST_WORKER: Duration = Duration::from_secs(2);
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
    worker: Option<WorkerCommand>,
    worker_idle: Duration,
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

    /// Runs sessions in worker processes of this command, which calls [`crate::run_worker`]: one for each
    /// identity and root that modules have, confined to both. A crash then costs the sessions of one
    /// worker.
    ///
    /// Without it sessions are threads of this process, because a library cannot know how to start its
    /// host again.
    pub fn worker_command(
        mut self,
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Self {
        let arguments = arguments.into_iter().collect();
        self.worker = Some(WorkerCommand { program: program.into(), arguments });
        self
    }

    /// How long a worker process without sessions is kept; a minute, unless this says something else.
    pub fn worker_idle(mut self, idle: Duration) -> Self {
        self.worker_idle = idle;
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
            log.warning(&note.text);
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
            pool: self.worker.map(|command| Arc::new(Pool::new(command, self.worker_idle, log.clone()))),
            log,
            keeps_log,
            handshakes: Mutex::default(),
            sessions: Mutex::default(),
            running: Tally::default(),
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
            worker: None,
            worker_idle: WORKER_IDLE,
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
        shared.log.info(shared.confinement());
        let mut accepting = JoinSet::new();
        for listener in listeners {
            accepting.spawn(accept(Arc::clone(&shared), listener));
        }
        stop.await;
        accepting.shutdown().await;
        if let Some(pool) = &shared.pool {
            pool.drain();
        }
        if tokio::time::timeout(grace, shared.running.zero()).await.is_err() {
            for control in lock(&shared.sessions).values() {
                control.abort();
            }
            if let Some(pool) = &shared.pool {
                pool.kill();
            }
        }
        if let Some(pool) = &shared.pool {
            // Workers without sessions end by themselves.
            if tokio::time::timeout(LAST_WORKER, pool.ended()).await.is_err() {
                pool.kill();
                pool.ended().await;
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
    /// Those that are threads.
    sessions: Mutex<HashMap<u64, LinkControl>>,
    running: Tally,
    /// Workers, if sessions run in processes.
    pool: Option<Arc<Pool>>,
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
    /// What keeps sessions where they belong, for the log.
    fn confinement(&self) -> String {
        if self.pool.is_none() {
            return "sessions are threads of this process, which the kernel does not confine".into();
        }
        match Protections::of_this_system() {
            Ok(protections) => format!("sessions run in worker processes; {protections}"),
            Err(error) => format!("worker processes cannot be confined: {error}"),
        }
    }

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

    /// Has a session run, in a worker process or a thread of its own.
    pub(crate) fn start(self: &Arc<Self>, session: ReadySession, stream: std::net::TcpStream) {
        let started = match &self.pool {
            Some(pool) => pool.start(session, stream, self.running.enter()),
            None => self.start_thread(session, stream),
        };
        if let Err(error) = started {
            self.log.warning(format!("could not create child server process: {error}"));
        }
    }

    fn start_thread(
        self: &Arc<Self>,
        session: ReadySession,
        stream: std::net::TcpStream,
    ) -> std::io::Result<()> {
        let ReadySession { order, root, identity, log, slot } = session;
        let link = link(&stream, &order.ahead)?;
        let running = Running::new(self, &link.control);
        std::thread::Builder::new().name("session".into()).spawn(move || {
            let _held = (running, slot);
            if let Err(error) = identity.take() {
                log.warning(format!("cannot take the identity of module {}: {error}", order.visitor.module));
                return;
            }
            order.run(link, &stream, root, log, Box::new(SystemOwners::default()));
        })?;
        Ok(())
    }
}

/// A session in a thread of ours, until it is dropped.
struct Running {
    shared: Arc<Shared>,
    number: u64,
    _entry: Entry,
}

impl Running {
    fn new(shared: &Arc<Shared>, control: &LinkControl) -> Self {
        let mut sessions = lock(&shared.sessions);
        let number = sessions.keys().max().map_or(0, |last| last + 1);
        sessions.insert(number, control.clone());
        Self { shared: Arc::clone(shared), number, _entry: shared.running.enter() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.shared.sessions).remove(&self.number);
    }
}
