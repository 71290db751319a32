//! One connection, from accept to the end of the argument list (spec 09 §4).

mod admit;
mod greet;
mod login;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bstr::{BString, ByteSlice};
use rsync_proto::exit::ExitCode;
use rsync_proto::session::{ArgumentReader, Greeting, OK_LINE, Refusal};
use tokio::time::timeout;

use crate::access::HostName;
use crate::auth::Suffix;
use crate::config::{Config, Module, ModuleSettings, expand};
use crate::daemon::Shared;
use crate::hooks::Hooks;
use crate::limits::Slot;
use crate::log::{About, Log, LogTarget};
use crate::module_root::ModuleRoot;
use crate::order::{Access, SessionOrder, Visitor};
use crate::peer::{Peer, PeerError};
use crate::request::{Arguments, Parsed, Words};
use crate::session::ReadySession;
use crate::stream::ClientStream;
use crate::worker::Hatchling;

/// Longest handshake, in seconds.
const HANDSHAKE_LIMIT: i32 = 60;

/// Why a visit ends without a session.
enum Stop {
    /// The client is told why.
    Refused(Refusal),
    /// The connection is closed without a word.
    Silent(String),
    /// All was said.
    Done,
}

impl From<PeerError> for Stop {
    fn from(error: PeerError) -> Self {
        Self::Silent(match error {
            PeerError::Closed => String::new(),
            error => error.to_string(),
        })
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
        peer: Some(Peer::new(stream)),
    };
    let outcome = visit.run().await;
    if let Err(Stop::Silent(why)) = &outcome
        && !why.is_empty()
    {
        visit.log.warning(why);
    }
    // It is away only when it could not be secured.
    let Some(mut peer) = visit.peer else { return };
    match outcome {
        Ok(session) => {
            let (stream, ahead) = peer.into_parts();
            let order = SessionOrder { ahead: ahead.into(), ..session.order };
            shared.start(ReadySession { order, ..session }, stream);
        }
        Err(Stop::Refused(refusal)) => {
            shared.metrics().refusal(reason(&refusal));
            let told = timeout(Duration::from_secs(10), peer.send(&refusal.line())).await;
            if matches!(told, Ok(Ok(()))) {
                peer.close().await;
            }
        }
        Err(Stop::Silent(_)) => {}
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
        Err(Stop::Silent(String::new()))
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
    /// Away only while TLS is being agreed on.
    peer: Option<Peer>,
}

/// What is known of a client that was let in.
struct Stay<'a> {
    module: &'a Module,
    /// Those of its session.
    settings: ModuleSettings,
    visitor: Visitor,
    slot: Option<Slot>,
    may_write: bool,
    /// How long it may take to send its arguments.
    limit: Duration,
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
            self.log.info(format!("unknown module '{name}' tried from {}", self.client(&self.host)));
            return Err(Refusal::UnknownModule(name).into());
        };
        let settings = &module.settings;
        let host = self.host_for(settings.reverse_lookup).await;
        self.check_access(module, &host).await?;
        let slot = self.claim_slot(module)?;
        let limit = handshake_limit(settings.timeout).min(globals);
        let (user, suffix) = within(self.log.clone(), limit, self.log_in(module, &host, &greeted)).await?;
        let may_write = match suffix {
            Some(Suffix::ReadWrite) => true,
            Some(Suffix::ReadOnly) => false,
            _ => !settings.read_only,
        };
        let limits = self.shared.limits();
        let mut session_settings = settings.clone();
        if let Some(format) = &limits.log_format {
            session_settings.transfer_logging = true;
            session_settings.log_format.clone_from(format);
        }
        let visitor = Visitor {
            user,
            host: host.text().to_owned(),
            address: self.address,
            module: module.name.clone(),
        };
        let worker = if Hooks::are_there(settings) {
            self.shared.hatch().map_err(|error| {
                self.log.warning(format!("could not create child server process: {error}"));
                Refusal::Fork
            })?
        } else {
            None
        };
        let pid = worker.as_ref().map_or_else(std::process::id, Hatchling::pid);
        let variables = |name: &str| variable(name, module, Some(&visitor));
        let path = expand(settings.path.as_ref().map_or(b"".as_bstr(), |path| path.as_bstr()), &variables)
            .map_err(|error| Stop::Silent(error.to_string()))?;
        let hooks = Hooks::new(settings, &visitor, path.as_bstr(), pid)
            .map_err(|error| Stop::Silent(error.to_string()))?;
        let stay = Stay { module, settings: session_settings, visitor, slot, may_write, limit };
        match self.enter(&greeted, stay, &hooks).await {
            Ok(session) => Ok(ReadySession { hooks, worker, ..session }),
            Err(stop) => {
                hooks.after(Some(ExitCode::START_CLIENT)).await;
                Err(stop)
            }
        }
    }

    /// From the login to the end of the argument list.
    async fn enter(
        &mut self,
        greeted: &Greeted,
        stay: Stay<'_>,
        hooks: &Hooks,
    ) -> Result<ReadySession, Stop> {
        let Stay { module, settings, visitor, slot, may_write, limit } = stay;
        let limits = self.shared.limits();
        match hooks.early(&self.early_input).await {
            Ok(true) => {}
            Ok(false) => {
                self.log.warning("early exec failed");
                return Err(Refusal::EarlyExec.into());
            }
            Err(error) => {
                self.log.warning(format!("early exec preparation failed: {error}"));
                return Err(Refusal::Preparation("early exec").into());
            }
        }
        let variables = |name: &str| variable(name, module, Some(&visitor));
        let tree = self.shared.host().trees.get(&module.name).cloned();
        let root = ModuleRoot::open(module, tree, &variables).map_err(|error| {
            self.log.warning(error.log_text());
            error.refusal.map_or_else(|| Stop::Silent(String::new()), Stop::Refused)
        })?;
        let log = self.module_log(module, &variables).about(About {
            connection: self.connection,
            address: Some(self.address),
            host: Some(visitor.host.clone()),
            module: Some(module.name.clone()),
            user: Some(visitor.user.clone()),
        });
        let front_log = self.log.clone();
        let arguments = self.read_arguments(greeted, module);
        let (arguments, words, parsed) = within(front_log, limit, arguments).await?;
        let refusal = match parsed {
            Parsed::Request(_) => hooks.before(words.shown().as_bstr(), words.all()).await,
            _ => Ok(None),
        };
        let refusal = refusal.unwrap_or_else(|error| {
            log.warning(format!("pre-xfer exec preparation failed: {error}"));
            Some("pre-xfer exec preparation failed".into())
        });
        log.info(format!(
            "rsync {} {} from {}{} ({})",
            if parsed.options().sender { "on" } else { "to" },
            words.shown(),
            if visitor.user.is_empty() { String::new() } else { format!("{}@", visitor.user) },
            visitor.host,
            visitor.address
        ));
        Ok(ReadySession {
            order: SessionOrder {
                peer: greeted.greeting.version,
                agreed: greeted.agreed,
                arguments,
                settings,
                visitor,
                path: root.path,
                rules: root.rules,
                munges_links: root.munges_links,
                keeps_links_inside: root.keeps_links_inside,
                seems_root: root.seems_root,
                numeric_ids: root.numeric_ids,
                access: Access { reads: !module.settings.write_only, writes: may_write && limits.uploads },
                bwlimit: limits.bwlimit,
                refusal,
                ahead: BString::default(),
            },
            served: root.served,
            identity: root.identity,
            log,
            slot,
            hooks: hooks.clone(),
            worker: None,
        })
    }

    fn peer(&mut self) -> Result<&mut Peer, Stop> {
        self.peer.as_mut().ok_or_else(|| PeerError::Closed.into())
    }

    fn module_log(&self, module: &Module, variables: &dyn Fn(&str) -> Option<BString>) -> Log {
        let settings = &module.settings;
        let expanded = |text: &BString| expand(text, variables).unwrap_or_else(|_| text.clone());
        match &settings.log_file {
            Some(path) => {
                let path = expanded(path);
                self.log.with_target(LogTarget::File(path.to_os_str_lossy().into_owned().into()))
            }
            None if self.shared.keeps_log() => self.log.clone(),
            None => self.log.with_target(LogTarget::Syslog {
                facility: expanded(&settings.syslog_facility),
                tag: expanded(&settings.syslog_tag),
            }),
        }
    }

    async fn read_arguments(
        &mut self,
        greeted: &Greeted,
        module: &Module,
    ) -> Result<(Arguments, Words, Parsed), Stop> {
        self.peer()?.send(OK_LINE).await?;
        let first = self.read_list(&mut ArgumentReader::first(greeted.agreed)).await?;
        let mut arguments = Arguments { first, second: None };
        let (mut words, mut parsed) = arguments.parse(&module.name, &module.settings);
        if matches!(parsed, Parsed::AwaitsSecondList(_)) {
            arguments.second = Some(self.read_list(&mut ArgumentReader::secluded()).await?);
            (words, parsed) = arguments.parse(&module.name, &module.settings);
        }
        match parsed {
            Parsed::Unusable => Err(Stop::Silent(String::new())),
            parsed => Ok((arguments, words, parsed)),
        }
    }

    async fn read_list(&mut self, reader: &mut ArgumentReader) -> Result<Vec<BString>, Stop> {
        let mut words = Vec::new();
        while let Some(word) = self.peer()?.decode(|input| reader.next(input)).await? {
            words.push(word);
        }
        Ok(words)
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
