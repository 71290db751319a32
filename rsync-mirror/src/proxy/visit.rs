//! One client, from its connection to its end.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bstr::BString;
use jiff::Timestamp;
use rsync_daemon::{ClientStream, Peer, PeerError};
use rsync_proto::session::{
    Greeting, LONG_LINE_LIMIT, ModuleRequest, ProxiedClient, REQUEST_LINE_LIMIT, Refusal, line, proxy_header,
    request_lines,
};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::backend::{Backend, Place, Slot};
use super::doors::{Group, Seat};
use super::greeting::{forwarded, keeps};
use super::log::AccessLine;
use super::metrics::{OfModule, OfUpstream};
use super::policy::ClientKey;
use super::relay::{Limits, Traffic, relay};
use super::roster::Roster;
use super::shared::{Phase, Session, Shared};

/// Bytes that a client may send while it waits for a backend.
const AHEAD_LIMIT: usize = 8 << 10;
/// How often a client that waits is told its place, changed or not.
const POSITION_INTERVAL: Duration = Duration::from_secs(60);

/// Why a client is not served: what is counted, and the line it gets, if it gets one.
struct Turned {
    reason: &'static str,
    line: Option<Vec<u8>>,
}

impl Turned {
    fn silently(reason: &'static str) -> Self {
        Self { reason, line: None }
    }

    fn saying(reason: &'static str, text: impl std::fmt::Display) -> Self {
        Self { reason, line: Some(format!("@ERROR: {text}\n").into_bytes()) }
    }

    fn stopping() -> Self {
        Self::saying("stopping", "the proxy is about to stop -- try again later")
    }

    fn full(limit: usize) -> Self {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        Self { reason: "limit", line: Some(Refusal::MaxConnections(limit).line()) }
    }
}

impl From<PeerError> for Turned {
    fn from(error: PeerError) -> Self {
        Self::silently(match error {
            PeerError::Malformed(_) => "malformed",
            _ => "left",
        })
    }
}

impl From<Refusal> for Turned {
    fn from(refusal: Refusal) -> Self {
        Self { reason: "malformed", line: Some(refusal.line()) }
    }
}

/// What a client wants.
struct Asked {
    client: Greeting,
    promise: Greeting,
    early_input: Vec<u8>,
    module: BString,
}

/// A backend that has greeted.
struct Reached {
    backend: Arc<Backend>,
    peer: Peer,
    slot: Slot,
}

/// A client and where it is.
struct Visit {
    shared: Arc<Shared>,
    local: SocketAddr,
    remote: SocketAddr,
    /// The client behind a proxy that is trusted, else the socket's other end.
    client: IpAddr,
}

/// Serves one connection; `is_secure` says that TLS comes first.
pub(super) async fn serve(shared: Arc<Shared>, stream: TcpStream, remote: SocketAddr, is_secure: bool) {
    shared.metrics.accepted.inc();
    let Ok(local) = stream.local_addr() else { return };
    // Without these a session works too: lines wait a little, and dead clients are found by the limits.
    let _ = stream.set_nodelay(true);
    let _ = socket2::SockRef::from(&stream).set_keepalive(true);
    let client = remote.ip().to_canonical();
    let mut visit = Visit { shared: Arc::clone(&shared), local, remote, client };
    let roster = shared.roster();
    let front = &roster.config.proxy;
    let Some(seat) = shared.doors.enter(Group::Everybody, front.max_connections) else {
        // TLS would cost more than there is room for.
        let mut peer = (!is_secure).then(|| Peer::new(ClientStream::Socket(stream)));
        if let Some(peer) = &mut peer {
            // Whoever left needs no answer.
            let _ = peer.send(&roster.promise().render()).await;
        }
        return turn_away(&shared, peer, Turned::full(front.max_connections)).await;
    };
    let handshake = visit.shake_hands(stream, &roster, is_secure);
    let (mut peer, asked) = match timeout(front.handshake_timeout, handshake).await {
        Ok(Ok(heard)) => heard,
        Ok(Err((peer, turned))) => return turn_away(&shared, peer, turned).await,
        Err(_) => return turn_away(&shared, None, Turned::silently("handshake timeout")).await,
    };
    drop(roster);
    let Some((asked, client_seat)) = asked else { return peer.close().await };
    match visit.connect(&mut peer, &asked).await {
        Ok((reached, module_seat)) => {
            visit.carry(peer, reached, asked).await;
            drop(module_seat);
        }
        Err(turned) => turn_away(&shared, Some(peer), turned).await,
    }
    drop((seat, client_seat));
}

async fn turn_away(shared: &Shared, peer: Option<Peer>, turned: Turned) {
    shared.metrics.refused(turned.reason);
    if let (Some(mut peer), Some(line)) = (peer, turned.line)
        && peer.send(&line).await.is_ok()
    {
        peer.close().await;
    }
}

/// The client, and what it wants; nothing when it only wanted the list of modules, and has it.
type Heard = (Peer, Option<(Asked, Seat)>);

impl Visit {
    /// Everything up to the name of a module.
    async fn shake_hands(
        &mut self,
        stream: TcpStream,
        roster: &Roster,
        is_secure: bool,
    ) -> Result<Heard, (Option<Peer>, Turned)> {
        let shared = Arc::clone(&self.shared);
        let admitted = tokio::select! {
            admitted = self.admit(stream, roster, is_secure) => admitted,
            () = shared.reaches(Phase::Draining) => Err(Turned::silently("stopping")),
        };
        let mut peer = admitted.map_err(|turned| (None, turned))?;
        let heard = tokio::select! {
            heard = hear(&mut peer, roster) => heard,
            () = shared.reaches(Phase::Draining) => Err(Turned::stopping()),
        };
        let asked = match heard {
            Ok(asked) => asked,
            Err(turned) => return Err((Some(peer), turned)),
        };
        let Some(asked) = asked else { return Ok((peer, None)) };
        let limit = roster.config.proxy.max_connections_per_client;
        match self.shared.doors.enter(Group::Client(ClientKey::of(self.client)), limit) {
            Some(seat) => Ok((peer, Some((asked, seat)))),
            None => Err((Some(peer), Turned::full(limit))),
        }
    }

    /// Learns who the client is, and begins TLS.
    async fn admit(&mut self, stream: TcpStream, roster: &Roster, is_secure: bool) -> Result<Peer, Turned> {
        let mut peer = Peer::new(ClientStream::Socket(stream));
        if roster.config.proxy.proxy_protocol_from.iter().any(|proxy| proxy.matches(self.client))
            && let ProxiedClient::Address(address) = peer.decode(proxy_header).await?
        {
            self.client = address.to_canonical();
        }
        if is_secure {
            let acceptor = self.shared.acceptor(roster).ok_or_else(|| Turned::silently("TLS"))?;
            peer = peer.secure(&acceptor).await.map_err(|_| Turned::silently("TLS"))?;
        }
        Ok(peer)
    }

    /// Finds a backend for the client, which may have to wait for one.
    async fn connect(&self, peer: &mut Peer, asked: &Asked) -> Result<(Reached, Seat), Turned> {
        let Shared { logs, metrics, .. } = &*self.shared;
        let roster = self.shared.roster();
        let module = &asked.module;
        if !roster.has(module) {
            metrics.unknown_module.inc();
            logs.access(self.client, &AccessLine::Unknown(module));
            return Err(Turned {
                reason: "unknown module",
                line: Some(Refusal::UnknownModule(module.clone()).line()),
            });
        }
        metrics.module_accepted.get_or_create(&OfModule::named(module)).inc();
        let limit = roster.module_limit(module);
        let seat = self.shared.doors.enter(Group::Module(module.clone()), limit);
        let seat = seat.ok_or_else(|| Turned::full(limit))?;
        let wait = roster.config.proxy.queue_timeout;
        drop(roster);
        let reached = tokio::select! {
            reached = self.find(peer, asked, wait) => reached?,
            () = self.shared.reaches(Phase::Draining) => return Err(Turned::stopping()),
        };
        Ok((reached, seat))
    }

    async fn find(&self, peer: &mut Peer, asked: &Asked, patience: Duration) -> Result<Reached, Turned> {
        let mut failed: Vec<String> = Vec::new();
        let mut queue: Option<Queue> = None;
        let deadline = (!patience.is_zero()).then(|| Instant::now() + patience);
        loop {
            let roster = self.shared.roster();
            let mut choices = roster.choices(&asked.module, ClientKey::of(self.client));
            choices.retain(|choice| !failed.contains(&choice.backend.name));
            let Some(best) = choices.first() else {
                return Err(Turned::saying(
                    "no backend",
                    format_args!("no server for module '{}' can be reached -- try again later", asked.module),
                ));
            };
            let claimed = choices.iter().find_map(|choice| {
                let place = queue.as_ref().map(|queue| &queue.place);
                let place = place.filter(|place| Arc::ptr_eq(place.backend(), choice.backend));
                let slot = choice.backend.claim(choice.settings.max_active_connections, place)?;
                Some((Arc::clone(choice.backend), slot))
            });
            if let Some((backend, slot)) = claimed {
                queue = None;
                let limit = roster.config.proxy.dial_timeout;
                match timeout(limit, self.dial(&backend, &asked.promise, limit)).await {
                    Ok(Ok(peer)) => return Ok(Reached { backend, peer, slot }),
                    Ok(Err(Undialled::Unsuitable)) => backend.doubted.notify_one(),
                    Ok(Err(Undialled::Failed(reason))) => self.blame(&backend, reason),
                    Err(_) => self.blame(&backend, "no greeting in time".into()),
                }
                failed.push(backend.name.clone());
                continue;
            }
            let still_there = |queue: &Queue| {
                choices.iter().any(|choice| Arc::ptr_eq(choice.backend, queue.place.backend()))
            };
            if !queue.as_ref().is_some_and(still_there) {
                queue = Some(self.enqueue(peer, &asked.module, best.backend, best.settings).await?);
                continue;
            }
            drop(choices);
            drop(roster);
            if let Some(queue) = &mut queue {
                queue.wait(peer, deadline).await?;
            }
        }
    }

    fn blame(&self, backend: &Backend, reason: String) {
        self.shared.metrics.dial_errors.get_or_create(&OfUpstream::named(&backend.name)).inc();
        self.shared
            .logs
            .error(format_args!("upstream {}: cannot be used for {}: {reason}", backend.name, self.client));
        if let Some(change) = backend.watch.blame(reason) {
            self.shared.logs.error(format_args!(
                "upstream {}: {} -> {}",
                backend.name,
                change.from.name(),
                change.to
            ));
            backend.stir();
        }
    }

    async fn enqueue(
        &self,
        peer: &mut Peer,
        module: &BString,
        backend: &Arc<Backend>,
        settings: &super::config::UpstreamConfig,
    ) -> Result<Queue, Turned> {
        let Some(place) = backend.wait(settings.max_queued_connections) else {
            self.shared.metrics.queue_full.get_or_create(&OfUpstream::named(&backend.name)).inc();
            self.shared.logs.access(self.client, &AccessLine::QueueFull(module));
            return Err(Turned::saying(
                "queue full",
                "Server queue is full for this upstream. Please retry later.",
            ));
        };
        let changes = backend.changes();
        self.shared.logs.access(self.client, &AccessLine::Queues(module));
        let text = format!(
            "Upstream {} has reached the maximum number of {} connections. Your request is being queued.\n",
            backend.name, settings.max_active_connections
        );
        peer.send(text.as_bytes()).await?;
        Ok(Queue { place, changes, told: None })
    }

    /// Connects to a backend, and hears its greeting.
    async fn dial(&self, backend: &Backend, promise: &Greeting, limit: Duration) -> Result<Peer, Undialled> {
        let failed = |error: &dyn std::fmt::Display| Undialled::Failed(error.to_string());
        let connected = backend.target.endpoint.connect(limit).await.map_err(|error| failed(&error))?;
        let mut peer = Peer::new(connected.into_stream());
        if let Some(version) = backend.target.proxy_header {
            let client = SocketAddr::new(self.client, self.remote.port());
            peer.send(&version.render(Some((client, self.local)))).await.map_err(|error| failed(&error))?;
        }
        let text = match peer.decode(|input| line(input, LONG_LINE_LIMIT)).await {
            Ok(text) => text,
            Err(PeerError::Closed) => return Err(Undialled::Failed("it closed the connection".into())),
            Err(error) => return Err(failed(&error)),
        };
        let greeting = Greeting::parse(&text).map_err(|error| failed(&error))?;
        if keeps(&greeting, promise) { Ok(peer) } else { Err(Undialled::Unsuitable) }
    }

    /// Lets client and backend speak with each other until one of them, or a limit, ends it.
    async fn carry(&self, client: Peer, mut reached: Reached, asked: Asked) {
        let Shared { logs, metrics, .. } = &*self.shared;
        let module = asked.module;
        logs.access(self.client, &AccessLine::Starts(&module));
        let session = Arc::new(Session {
            local: self.local,
            remote: SocketAddr::new(self.client, self.remote.port()),
            connected: Timestamp::now(),
            module: module.clone(),
            upstream: reached.backend.name.clone(),
            traffic: Traffic::default(),
        });
        let listed = self.shared.list(Arc::clone(&session));
        let mut lines = forwarded(&asked.client, &asked.promise).render();
        // Its length was checked when it was heard.
        lines.extend(request_lines(&module, &asked.early_input, b"").unwrap_or_default());
        let started = Instant::now();
        let meter = Meter::new(metrics, &module);
        let limits = Limits::of(&self.shared.roster().config.proxy);
        if reached.peer.send(&lines).await.is_ok() {
            let mut meter_tick = meter.ticker(&session.traffic);
            let relayed = relay(
                client.into_parts(),
                reached.peer.into_parts(),
                &session.traffic,
                limits,
                &mut meter_tick,
            );
            let ending = tokio::select! {
                ending = relayed => Some(ending),
                () = self.shared.reaches(Phase::Ending) => None,
            };
            meter_tick();
            match ending {
                Some(ending) => metrics.ended(ending),
                None => metrics.refused("stopping"),
            }
        }
        drop((listed, reached.slot));
        metrics.completed.inc();
        metrics.module_completed.get_or_create(&OfModule::named(&module)).inc();
        let (sent, received) =
            (session.traffic.sent.load(Ordering::Relaxed), session.traffic.received.load(Ordering::Relaxed));
        logs.access(
            self.client,
            &AccessLine::Finishes { module: &module, sent, received, duration: started.elapsed() },
        );
    }
}

/// Why a backend cannot have a session.
enum Undialled {
    /// It promises less than clients were told.
    Unsuitable,
    Failed(String),
}

/// Greets, and hears what the client wants; nothing when that was the list of modules.
async fn hear(peer: &mut Peer, roster: &Roster) -> Result<Option<Asked>, Turned> {
    let promise = roster.promise();
    peer.send(&promise.render()).await?;
    peer.send(&roster.motd).await?;
    let text = peer.decode(|input| line(input, REQUEST_LINE_LIMIT)).await?;
    let client = Greeting::parse(&text).map_err(|error| Refusal::Startup(error.daemon_text()))?;
    let mut early_input = Vec::new();
    loop {
        let text = peer.decode(|input| line(input, REQUEST_LINE_LIMIT)).await?;
        match ModuleRequest::parse(&text)? {
            ModuleRequest::EarlyInput(length) => {
                early_input = peer.decode(|input| input.take(length).map(<[u8]>::to_vec)).await?;
            }
            ModuleRequest::Listing => {
                peer.send(&roster.listing()).await?;
                return Ok(None);
            }
            ModuleRequest::Module(module) => return Ok(Some(Asked { client, promise, early_input, module })),
        }
    }
}

/// A client in a backend's queue.
struct Queue {
    place: Place,
    changes: tokio::sync::watch::Receiver<()>,
    /// The place it was told last.
    told: Option<(usize, usize)>,
}

impl Queue {
    /// Tells the client its place, and waits until there is reason to look again.
    async fn wait(&mut self, peer: &mut Peer, deadline: Option<Instant>) -> Result<(), Turned> {
        let position = self.place.position();
        if self.told != Some(position) {
            let text = format!("Your position: {}, Total queued: {}\n", position.0, position.1);
            peer.send(text.as_bytes()).await?;
            self.told = Some(position);
        }
        let patience = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.changes.changed() => Ok(()),
            () = tokio::time::sleep(POSITION_INTERVAL) => {
                self.told = None;
                Ok(())
            }
            () = patience => Err(Turned::saying("queue timeout", "no server was free in time -- try again later")),
            () = peer.gone(AHEAD_LIMIT) => Err(Turned::silently("left the queue")),
        }
    }
}

/// Hands what a session carries on to the counters while it goes on.
struct Meter {
    sent: [prometheus_client::metrics::counter::Counter; 2],
    received: [prometheus_client::metrics::counter::Counter; 2],
}

impl Meter {
    fn new(metrics: &super::metrics::Metrics, module: &[u8]) -> Self {
        let label = OfModule::named(module);
        Self {
            sent: [metrics.sent.clone(), metrics.module_sent.get_or_create(&label).clone()],
            received: [metrics.received.clone(), metrics.module_received.get_or_create(&label).clone()],
        }
    }

    /// Counts what came since the last call.
    fn ticker<'a>(&'a self, traffic: &'a Traffic) -> impl FnMut() + 'a {
        let mut counted = (0, 0);
        move || {
            let now = (traffic.sent.load(Ordering::Relaxed), traffic.received.load(Ordering::Relaxed));
            for counter in &self.sent {
                counter.inc_by(now.0 - counted.0);
            }
            for counter in &self.received {
                counter.inc_by(now.1 - counted.1);
            }
            counted = now;
        }
    }
}
