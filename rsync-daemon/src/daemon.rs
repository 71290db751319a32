//! The daemon: configuration, listeners, sessions (spec 09 §1).

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bstr::BString;
use rsync_engine::{LinkControl, SystemIds, SystemOwners};
use socket2::Socket;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::builder::{DaemonBuilder, Source};
use crate::config::{Config, ConfigError, Finding, GlobalSettings};
use crate::host::Host;
use crate::http::{self, MetricsError};
use crate::listen::ListenError;
use crate::log::{Log, StyleError, now};
use crate::metered::Meters;
use crate::metrics::{Health, Metrics, Outcome};
use crate::pid_file::{PidFile, PidFileError};
use crate::places::{Places, counted_address};
use crate::room::{Room, RoomError, RoomPlan};
use crate::session::{Owners, ReadySession, Served, link};
use crate::stream::{ClientStream, Duplex};
use crate::tally::{Entry, Tally};
use crate::tls::{Certificate, TlsAcceptor, TlsError};
use crate::visit::{self, Arrival};
use crate::worker::{DirectorySession, Hatchling, Pool, Protections, WorkerCommand};

/// Connections of one address, or IPv6 network, that may be in their handshake.
const HANDSHAKES_PER_ADDRESS: u32 = 256;
/// How long a failed login takes.
const AUTH_DELAY: Duration = Duration::from_millis(500);
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
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Metrics cannot be had.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The log cannot look like that.
    #[error(transparent)]
    LogStyle(#[from] StyleError),
    /// The pid file is in use, or cannot be written.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    /// The runtime does not take a socket.
    #[error("cannot listen: {0}")]
    Runtime(#[from] std::io::Error),
}

/// A socket that listens.
#[derive(Debug)]
pub(crate) struct Door {
    listener: TcpListener,
    /// Clients speak TLS.
    is_secure: bool,
}

impl Door {
    pub(crate) fn new(listener: std::net::TcpListener, is_secure: bool) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { listener: TcpListener::from_std(listener)?, is_secure })
    }
}

/// A daemon that listens. It never writes to a module unless [`DaemonBuilder::uploads`] allows it.
#[derive(Debug)]
pub struct Daemon {
    shared: Arc<Shared>,
    doors: Vec<Door>,
    metrics: Option<TcpListener>,
    pid_file: Option<PidFile>,
    grace: Duration,
}

impl Daemon {
    /// A daemon of this configuration file, which is read anew for each connection.
    pub fn from_file(path: impl Into<PathBuf>) -> DaemonBuilder {
        DaemonBuilder::new(Source::File(path.into(), Vec::new()))
    }

    /// A daemon of this configuration.
    pub fn from_config(config: Config) -> DaemonBuilder {
        DaemonBuilder::new(Source::Given(Arc::new(config)))
    }

    /// A daemon of modules that are added one by one.
    ///
    /// ```no_run
    /// # use std::sync::Arc;
    /// # use rsync_daemon::{Daemon, LogTarget, Module, ModuleSettings};
    /// # use rsync_engine::tree::MemoryTree;
    /// # async fn example(tree: MemoryTree) -> Result<(), rsync_daemon::DaemonError> {
    /// let daemon = Daemon::builder()
    ///     .tree(Module::new("notes", ModuleSettings::default()), Arc::new(tree))
    ///     .address("127.0.0.1")
    ///     .port(8730)
    ///     .log(LogTarget::Nothing)
    ///     .bind()?;
    /// daemon.run(std::future::pending()).await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> DaemonBuilder {
        Self::from_config(Config::default())
    }

    pub(crate) fn new(
        shared: Shared,
        doors: Vec<Door>,
        metrics: Option<TcpListener>,
        pid_file: Option<PidFile>,
        grace: Duration,
    ) -> Self {
        Self { shared: Arc::new(shared), doors, metrics, pid_file, grace }
    }

    /// Where it listens: without TLS first.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.doors.iter().filter_map(|door| door.listener.local_addr().ok()).collect()
    }

    /// Another way in, for connections that the daemon does not accept itself.
    #[must_use]
    pub fn entrance(&self) -> Entrance {
        Entrance(Arc::clone(&self.shared))
    }

    /// Serves until `stop` is ready. Then nobody is let in any more, sessions may end in peace for the
    /// time of grace, and the rest is cut.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { shared, doors, metrics, pid_file, grace } = self;
        let listens = !doors.is_empty();
        if listens {
            shared.announce(&doors);
        }
        let mut accepting = JoinSet::new();
        for door in doors {
            accepting.spawn(accept(Arc::clone(&shared), door));
        }
        let mut answering = JoinSet::new();
        if let Some(listener) = metrics {
            let (metrics, health) = (Arc::clone(&shared.metrics), Arc::clone(&shared.health));
            answering.spawn(http::serve(listener, metrics, health));
        }
        stop.await;
        shared.health.stop();
        accepting.shutdown().await;
        shared.end(grace).await;
        if listens {
            shared.log.info("sent 0 bytes  received 0 bytes  total size 0");
        }
        shared.log.flush();
        drop(pid_file);
    }
}

/// A way into a running daemon.
#[derive(Clone, Debug)]
pub struct Entrance(Arc<Shared>);

impl Entrance {
    /// Serves a client at any stream of bytes; `address` is what lists of hosts and the log know it by.
    ///
    /// Answers when the client has said what it wants, or was sent away; its session goes on.
    pub async fn admit(&self, stream: impl Duplex + 'static, address: IpAddr) {
        let stream = ClientStream::Other(Box::new(stream));
        receive(Arc::clone(&self.0), Arrival { stream, address, is_secure: false }).await;
    }

    /// The same for a connection that was accepted elsewhere; `is_secure` says that it speaks TLS.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub async fn admit_socket(&self, socket: std::net::TcpStream, is_secure: bool) -> std::io::Result<()> {
        // One that is no internet socket has no address.
        let address = socket.peer_addr().map_or(IpAddr::from([0, 0, 0, 0]), |address| address.ip());
        self.admit_socket_of(socket, address, is_secure).await
    }

    /// The same where lists of hosts and the log know the client by `address`.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub async fn admit_socket_of(
        &self,
        socket: std::net::TcpStream,
        address: IpAddr,
        is_secure: bool,
    ) -> std::io::Result<()> {
        socket.set_nonblocking(true)?;
        let stream = ClientStream::Socket(tokio::net::TcpStream::from_std(socket)?);
        receive(Arc::clone(&self.0), Arrival { stream, address, is_secure }).await;
        Ok(())
    }

    /// Waits until no session is under way and everything is logged.
    pub async fn sessions_ended(&self) {
        self.0.running.zero().await;
        self.0.log.flush();
    }

    /// Reads the configuration and the certificate now, and logs what is wrong with them.
    pub fn reload(&self) {
        self.0.log.info("reading the configuration again");
        let config = self.0.config();
        if let Err(error) = self.0.acceptor(&config)
            && config.globals.tls_certificate.is_some()
        {
            self.0.log.warning(error.to_string());
        }
    }
}

async fn receive(shared: Arc<Shared>, arrival: Arrival) {
    let address = arrival.address;
    let _handshaking = shared.metrics.connection();
    match shared.handshakes.take(counted_address(address), HANDSHAKES_PER_ADDRESS) {
        Some(_handshake) => visit::receive(shared, arrival).await,
        None => {
            shared.metrics.refusal("too many handshakes");
            shared.log.warning(format!("too many handshakes from {address}"));
        }
    }
}

async fn accept(shared: Arc<Shared>, door: Door) {
    let mut visits = JoinSet::new();
    loop {
        while visits.try_join_next().is_some() {}
        match door.listener.accept().await {
            Ok((stream, address)) => {
                // A socket whose keep-alive cannot be set works as well.
                let _ = socket2::SockRef::from(&stream).set_keepalive(true);
                let arrival = Arrival {
                    stream: ClientStream::Socket(stream),
                    address: address.ip(),
                    is_secure: door.is_secure,
                };
                visits.spawn(receive(Arc::clone(&shared), arrival));
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
    kept: Mutex<Kept>,
    log: Log,
    keeps_log: bool,
    limits: Limits,
    host: Host,
    certificate: Certificate,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    visits: AtomicU64,
    handshakes: Places<IpAddr>,
    places: Places<(BString, IpAddr)>,
    /// Those that are threads.
    sessions: Mutex<HashMap<u64, LinkControl>>,
    running: Tally,
    premises: Arc<Room>,
    /// The last room that a connection was served in.
    room: Mutex<Option<Arc<Room>>>,
    /// Workers, if sessions run in processes.
    pool: Option<Arc<Pool>>,
}

/// What all sessions may do at most.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    /// Modules may be written to where they say so.
    pub(crate) uploads: bool,
    /// Most bytes a second of each session; 0 is no limit.
    pub(crate) bwlimit: u64,
    /// The newest version of the protocol, if not of this program.
    pub(crate) protocol: Option<u8>,
    /// Where temporary files are, if neither module nor client say so.
    pub(crate) temp_dir: Option<BString>,
    /// The line of each file in the log, if it does not depend on the module.
    pub(crate) log_format: Option<BString>,
}

/// The last usable configuration.
struct Kept {
    config: Arc<Config>,
    /// What is wrong with the one on disk.
    trouble: Option<String>,
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
    pub(crate) fn new(
        source: Source,
        config: Arc<Config>,
        log: Log,
        keeps_log: bool,
        workers: Option<(WorkerCommand, Duration)>,
        limits: Limits,
        host: Host,
    ) -> Self {
        let metrics = Arc::new(Metrics::new(now()));
        let pool = workers
            .map(|(command, idle)| Arc::new(Pool::new(command, idle, log.clone(), Arc::clone(&metrics))));
        Self {
            source,
            kept: Mutex::new(Kept { config, trouble: None }),
            log,
            keeps_log,
            limits,
            host,
            certificate: Certificate::default(),
            metrics,
            health: Arc::default(),
            visits: AtomicU64::new(0),
            handshakes: Places::default(),
            places: Places::default(),
            sessions: Mutex::default(),
            running: Tally::default(),
            premises: Arc::new(Room::premises()),
            room: Mutex::default(),
            pool,
        }
    }

    /// Logs how the daemon starts.
    fn announce(&self, doors: &[Door]) {
        for (index, door) in doors.iter().enumerate() {
            let port = door.listener.local_addr().map_or(0, |address| address.port());
            if index == 0 {
                self.log.info(format!("rsyncd version 3.5.0 starting, listening on port {port}"));
            }
            if door.is_secure {
                self.log.info(format!("listening for TLS on port {port}"));
            }
        }
        self.log.info(self.confinement());
    }

    /// Ends all sessions, by force when the time of grace is over.
    async fn end(&self, grace: Duration) {
        if let Some(pool) = &self.pool {
            pool.drain();
        }
        if tokio::time::timeout(grace, self.running.zero()).await.is_err() {
            for control in lock(&self.sessions).values() {
                control.abort();
            }
            if let Some(pool) = &self.pool {
                pool.kill();
            }
        }
        if let Some(pool) = &self.pool {
            // Workers without sessions end by themselves.
            if tokio::time::timeout(LAST_WORKER, pool.ended()).await.is_err() {
                pool.kill();
                pool.ended().await;
            }
        }
    }

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

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// A number for one more connection.
    pub(crate) fn number_visit(&self) -> u64 {
        self.visits.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether the log was chosen by whoever started the daemon.
    pub(crate) fn keeps_log(&self) -> bool {
        self.keeps_log
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn auth_delay(&self) -> Duration {
        AUTH_DELAY
    }

    /// What the program that hosts the daemon decides itself.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// The configuration as it is now. One that cannot be used leaves the last one in force; the log has
    /// that once for each change, and what is ignored every time, as with the C daemon.
    pub(crate) fn config(&self) -> Arc<Config> {
        let read = self.source.read(self.limits.uploads);
        let mut kept = lock(&self.kept);
        self.metrics.config(read.is_ok());
        match read {
            Ok(config) => {
                if kept.trouble.take().is_some() {
                    self.log.info("the configuration can be used again");
                }
                config.notes.iter().for_each(|Finding { text, .. }| self.log.warning(text));
                kept.config = config;
            }
            Err(error) => {
                let trouble = error.to_string();
                if kept.trouble.as_ref() != Some(&trouble) {
                    self.log.warning(&trouble);
                    self.log.warning("the configuration cannot be used; the last usable one stays in force");
                }
                kept.trouble = Some(trouble);
            }
        }
        Arc::clone(&kept.config)
    }

    /// Where the daemon itself is.
    pub(crate) fn premises(&self) -> Arc<Room> {
        Arc::clone(&self.premises)
    }

    /// Where files are touched for connections, as the configuration says now.
    pub(crate) async fn room(&self, globals: &GlobalSettings) -> Result<Arc<Room>, RoomError> {
        let plan = RoomPlan::new(globals);
        if self.premises.is_of(&plan) {
            return Ok(self.premises());
        }
        if let Some(room) = lock(&self.room).as_ref().filter(|room| room.is_of(&plan)) {
            return Ok(Arc::clone(room));
        }
        let entered = tokio::task::spawn_blocking(move || Room::enter(&plan)).await;
        let room = Arc::new(entered.map_err(std::io::Error::other)??);
        *lock(&self.room) = Some(Arc::clone(&room));
        Ok(room)
    }

    /// Speaks TLS with the certificate as it is now.
    pub(crate) fn acceptor(&self, config: &Config) -> Result<TlsAcceptor, TlsError> {
        let files = config.globals.tls_files()?.ok_or(TlsError::MISSING)?;
        let (acceptor, error) = self.certificate.current(&files);
        match (acceptor, error) {
            (Some(acceptor), error) => {
                if let Some(error) = error {
                    self.log.warning(format!("{error}; the last certificate stays in force"));
                }
                Ok(acceptor)
            }
            (None, error) => Err(error.unwrap_or(TlsError::MISSING)),
        }
    }

    /// The places of addresses in modules.
    pub(crate) fn places(&self) -> &Places<(BString, IpAddr)> {
        &self.places
    }

    /// A worker process that waits for its only session; `None` where sessions are threads.
    pub(crate) fn hatch(&self) -> std::io::Result<Option<Hatchling>> {
        self.pool.as_ref().map(|pool| pool.hatch()).transpose()
    }

    /// Has a session run, in a worker process or a thread of its own.
    pub(crate) fn start(self: &Arc<Self>, session: ReadySession, stream: ClientStream) {
        let started = stream.into_socket(self.running.enter()).and_then(|socket| {
            let ReadySession { order, served, identity, log, slot, place, hooks, converter, worker } =
                session;
            match (&self.pool, served) {
                (Some(pool), Served::Directory(root)) => {
                    let session = DirectorySession {
                        order,
                        root,
                        identity,
                        log,
                        slot,
                        place,
                        hooks,
                        converter,
                        worker,
                    };
                    pool.start(session, socket, self.running.enter())
                }
                (_, served) => {
                    let worker = None;
                    let session =
                        ReadySession { order, served, identity, log, slot, place, hooks, converter, worker };
                    self.start_thread(session, socket)
                }
            }
        });
        if let Err(error) = started {
            self.log.warning(format!("could not create child server process: {error}"));
        }
    }

    fn start_thread(self: &Arc<Self>, session: ReadySession, socket: Socket) -> std::io::Result<()> {
        let ReadySession { order, served, identity, log, slot, place, hooks, converter, .. } = session;
        let meters = Meters::default();
        let link = meters.measure(link(&socket, &order.ahead)?);
        let running = Running::new(self, &link.control);
        let (metrics, module) = (Arc::clone(&self.metrics), order.visitor.module.clone());
        metrics.session_began(module.as_ref());
        let (ended, end) = tokio::sync::oneshot::channel();
        // The thread has not the rights that hooks have.
        tokio::spawn(async move {
            let outcome: Outcome = end.await.unwrap_or(Outcome::LOST);
            metrics.session_ended(module.as_ref(), outcome);
            drop(place);
            hooks.after(outcome.exit_code()).await;
            drop(running);
        });
        std::thread::Builder::new().name("session".into()).spawn(move || {
            let _slot = slot;
            if let Err(error) = identity.take() {
                log.warning(format!("cannot take the identity of module {}: {error}", order.visitor.module));
                // The session's end is noticed in any case.
                let _ = ended.send(Outcome::LOST);
                return;
            }
            let owners = match converter.map(|converter| converter.for_session(link.control.clone())) {
                Some(converted) => Owners { names: Box::new(converted.clone()), ids: Arc::new(converted) },
                None => Owners { names: Box::new(SystemOwners::default()), ids: Arc::new(SystemIds) },
            };
            let code = order.run(link, &socket, served, log, owners);
            // As above.
            let _ = ended.send(meters.outcome(code));
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
