//! One connection, from accept to the end of the argument list (spec 09 §4).

mod admit;
mod enter;
mod greet;
mod login;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bstr::BString;
use rsync_proto::exit::ExitCode;
use rsync_proto::session::{Greeting, Refusal};
use rsync_proto::text::{Role, VERSION, describe_errno, exit_line};
use tokio::time::timeout;

use crate::access::HostName;
use crate::auth::Suffix;
use crate::config::{Config, Module};
use crate::daemon::Shared;
use crate::log::{About, Log};
use crate::order::{SessionOrder, Visitor};
use crate::peer::{Peer, PeerError};
use crate::room::Room;
use crate::session::ReadySession;
use crate::stream::ClientStream;

use enter::Stay;

/// Longest handshake, in seconds.
const HANDSHAKE_LIMIT: i32 = 60;

/// Why a visit ends without a session.
enum Stop {
    /// The client is told why.
    Refused(Refusal),
    /// The process of the C daemon ends with this code. The log has why; the client may be told.
    Failed(ExitCode, Option<Refusal>),
    /// The connection is closed without a word.
    Silent(String),
    /// The connection was lost.
    Lost(String),
    /// All was said.
    Done,
}

impl Stop {
    /// What `post-xfer exec` is told.
    fn status(&self) -> ExitCode {
        match self {
            Self::Refused(_) => REFUSED,
            Self::Failed(code, _) => *code,
            Self::Silent(_) | Self::Lost(_) => ExitCode::STREAM,
            Self::Done => ExitCode::OK,
        }
    }
}

/// The status of a process of the C daemon that refused its client.
const REFUSED: ExitCode = ExitCode::new(255);

impl From<PeerError> for Stop {
    fn from(error: PeerError) -> Self {
        match error {
            PeerError::Closed => Self::Silent(String::new()),
            PeerError::Io(error) => {
                let reason = describe_errno(error.raw_os_error().unwrap_or_default());
                Self::Lost(format!("rsync: [Receiver] safe_read failed to read 1 bytes: {reason}"))
            }
            error => Self::Silent(error.to_string()),
        }
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Somebody at the door.
pub(crate) struct Arrival {
    pub(crate) stream: ClientStream,
    pub(crate) address: IpAddr,
    /// TLS is spoken, after the header of a proxy.
    pub(crate) is_secure: bool,
}

/// Serves one connection until its session has a thread of its own.
pub(crate) async fn receive(shared: Arc<Shared>, arrival: Arrival) {
    let connection = Some(shared.number_visit());
    let config = shared.config();
    let Arrival { stream, address, is_secure } = arrival;
    let mut visit = Visit {
        shared: &shared,
        config: &config,
        log: shared.log().about(About { connection, address: Some(unmapped(address)), ..About::default() }),
        connection,
        address: unmapped(address),
        is_secure,
        host: HostName::Undetermined,
        looked_up: false,
        early_input: Vec::new(),
        room: shared.premises(),
        peer: Some(Peer::new(stream)),
    };
    let outcome = visit.run().await;
    match &outcome {
        Err(Stop::Silent(why) | Stop::Lost(why)) if !why.is_empty() => visit.log.warning(why),
        _ => {}
    }
    if let Err(stop @ (Stop::Failed(..) | Stop::Lost(_))) = &outcome {
        let line = exit_line(stop.status(), Role::EarlyReceiver, (file!(), line!()), VERSION);
        visit.log.warning(line.unwrap_or_default());
    }
    // It is away only when it could not be secured.
    let Some(mut peer) = visit.peer else { return };
    match outcome {
        Ok(session) => {
            let (stream, ahead) = peer.into_parts();
            let order = SessionOrder { ahead: ahead.into(), ..session.order };
            shared.start(ReadySession { order, ..session }, stream);
        }
        Err(Stop::Refused(refusal) | Stop::Failed(_, Some(refusal))) => {
            shared.metrics().refusal(reason(&refusal));
            let told = timeout(Duration::from_secs(10), peer.send(&refusal.line())).await;
            if matches!(told, Ok(Ok(()))) {
                peer.close().await;
            }
        }
        Err(Stop::Silent(_) | Stop::Lost(_) | Stop::Failed(_, None)) => {}
        Err(Stop::Done) => peer.close().await,
    }
}

fn unmapped(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// How long a part of the handshake may take, where `timeout` is a parameter's value.
pub(crate) fn handshake_limit(timeout: i32) -> Duration {
    let seconds = if (1..HANDSHAKE_LIMIT).contains(&timeout) { timeout } else { HANDSHAKE_LIMIT };
    Duration::from_secs(seconds.unsigned_abs().into())
}

/// What a refusal is counted as.
fn reason(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::UnknownModule(_) => "unknown module",
        Refusal::AccessDenied { .. } => "access denied",
        Refusal::AuthFailed(_) => "login failed",
        Refusal::MaxConnections(_) => "max connections",
        Refusal::Startup(_) => "not understood",
        _ => "module unusable",
    }
}

/// Limits a part of the handshake; nothing is sent when it takes too long.
async fn within<T>(
    log: Log,
    limit: Duration,
    step: impl Future<Output = Result<T, Stop>>,
) -> Result<T, Stop> {
    timeout(limit, step).await.unwrap_or_else(|_| {
        log.warning("[Receiver] daemon handshake timeout -- exiting");
        Err(Stop::Failed(ExitCode::TIMEOUT, None))
    })
}

struct Visit<'a> {
    shared: &'a Arc<Shared>,
    config: &'a Config,
    log: Log,
    connection: Option<u64>,
    address: IpAddr,
    host: HostName,
    looked_up: bool,
    early_input: Vec<u8>,
    is_secure: bool,
    /// Where files are touched for it.
    room: Arc<Room>,
    /// Away only while TLS is being agreed on.
    peer: Option<Peer>,
}

/// What the two greetings led to.
struct Greeted {
    greeting: Greeting,
    agreed: i32,
}

impl Visit<'_> {
    async fn run(&mut self) -> Result<ReadySession, Stop> {
        let globals = handshake_limit(self.config.defaults.timeout);
        let (greeted, name) = within(self.log.clone(), globals, self.greet_and_ask()).await?;
        let Some(module) = self.config.module(&name) else {
            let from = format!("' tried from {}", self.client(&self.host));
            self.log.info([b"unknown module '", name.as_slice(), from.as_bytes()].concat());
            return Err(Refusal::UnknownModule(name).into());
        };
        let settings = &module.settings;
        self.check_charset(module)?;
        let mut host = self.host_for(settings.reverse_lookup).await;
        self.check_access(module, &mut host).await?;
        let place = self.take_place(module)?;
        let slot = self.claim_slot(module).await?;
        let limit = handshake_limit(settings.timeout).min(globals);
        let (user, suffix) = within(self.log.clone(), limit, self.log_in(module, &host, &greeted)).await?;
        let may_write = match suffix {
            Some(Suffix::ReadWrite) => true,
            Some(Suffix::ReadOnly) => false,
            _ => !settings.read_only,
        };
        let visitor = Visitor {
            user,
            host: host.text().to_owned(),
            address: self.address,
            module: module.name.clone(),
        };
        self.enter(&greeted, Stay { module, visitor, slot, place, may_write, limit }).await
    }

    fn peer(&mut self) -> Result<&mut Peer, Stop> {
        self.peer.as_mut().ok_or_else(|| PeerError::Closed.into())
    }
}

pub(crate) fn environment(name: &str) -> Option<BString> {
    std::env::var_os(name).map(|value| std::os::unix::ffi::OsStringExt::into_vec(value).into())
}

/// What `%NAME%` stands for in a module's parameters.
fn variable(name: &str, module: &Module, visitor: Option<&Visitor>) -> Option<BString> {
    let visitor = visitor?;
    match name {
        "RSYNC_MODULE_NAME" => Some(module.name.clone()),
        "RSYNC_HOST_ADDR" => Some(visitor.address.to_string().into()),
        "RSYNC_HOST_NAME" if !visitor.host.is_empty() => Some(visitor.host.as_str().into()),
        "RSYNC_USER_NAME" => Some(visitor.user.clone()),
        "RSYNC_MODULE_PATH" => module.settings.path.clone(),
        _ => environment(name),
    }
}
