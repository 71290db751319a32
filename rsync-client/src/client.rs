//! The client: what it is set up with, and how it reaches an endpoint.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bstr::{BString, ByteSlice};
use rsync_engine::{LinkControl, SocketOption};
use rsync_proto::options::{Debug, Operand, Remote, RemoteKind, TransferOptions};
use rsync_proto::session::ConnectProxy;
use rsync_proto::text::{Event, EventSink, Role, Severity, Topic};

use crate::connect::{
    ConnectRequest, Connector, ShellCommand, TcpOptions, Tls, Told, Transport, connect_program, connect_tcp,
    default_blocking_io,
};
use crate::password::AskPassword;
use crate::{ClientEnvironment, ClientError};

/// Port of a daemon where nothing else is said.
const DAEMON_PORT: u16 = 873;

/// Port of a daemon behind TLS where nothing else is said.
const TLS_PORT: u16 = 874;

/// Talks to rsync daemons and, through remote shells, to other rsyncs.
///
/// Every call makes a connection of its own. All calls block; [`AsyncClient`](crate::AsyncClient) does not.
#[derive(Clone)]
pub struct Client {
    pub(crate) options: Arc<TransferOptions>,
    pub(crate) environment: Arc<ClientEnvironment>,
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) password: Option<AskPassword>,
    pub(crate) cancel: CancelHandle,
    pub(crate) command_line: Arc<[BString]>,
    pub(crate) connector: Option<Connector>,
}

/// Sets up a [`Client`].
pub struct ClientBuilder {
    options: TransferOptions,
    environment: ClientEnvironment,
    events: Arc<dyn EventSink>,
    password: Option<AskPassword>,
    cancel: CancelHandle,
    command_line: Vec<BString>,
    connector: Option<Connector>,
}

/// Takes nothing.
struct Silent;

impl EventSink for Silent {
    fn wants(&self, _: Topic) -> bool {
        false
    }

    fn emit(&self, _: Event<'_>) {}
}

impl Client {
    /// A client with default options, no environment and nobody listening.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            options: TransferOptions::default(),
            environment: ClientEnvironment::default(),
            events: Arc::new(Silent),
            password: None,
            cancel: CancelHandle::default(),
            command_line: Vec::new(),
            connector: None,
        }
    }

    /// Ends the calls of this client and its clones from any thread.
    #[must_use]
    pub fn canceller(&self) -> CancelHandle {
        self.cancel.clone()
    }

    /// Lets the handle, and the time that is granted, end `link` until the guard is dropped.
    pub(crate) fn watch(&self, link: &LinkControl) -> CancelGuard {
        if let Some(limit) = self.options.stop_at {
            let limit = UNIX_EPOCH + Duration::from_secs(u64::try_from(limit).unwrap_or(0));
            link.stop_in(limit.duration_since(SystemTime::now()).unwrap_or_default());
        }
        self.cancel.watch(link)
    }

    /// Connects to a daemon, by whatever way the options say; `role` is who speaks of it.
    pub(crate) fn connect_daemon(&self, remote: &Remote, role: Role) -> Result<Transport, ClientError> {
        let options = &self.options;
        if let Some(connector) = &self.connector {
            return connect_by(connector, &ConnectRequest { remote, server: None });
        }
        if options.rsh.is_some() {
            let mut command = self.shell_command(remote)?;
            command.args(["--server", "--daemon", "."].map(BString::from));
            let port = remote.port.map_or(options.port, i32::from).to_string();
            return self.spawn(&command, &[("RSYNC_PORT", &port)]);
        }
        let settings = &self.environment.tls;
        let tls = remote.tls.then(|| Tls::prepare(&remote.host, settings)).transpose()?;
        let default = if remote.tls { settings.port.unwrap_or(TLS_PORT) } else { DAEMON_PORT };
        let configured = u16::try_from(options.port).unwrap_or(0);
        let port = [remote.port.unwrap_or(0), configured].into_iter().find(|&port| port != 0);
        let port = port.unwrap_or(default);
        if let Some(program) = &self.environment.connect_program {
            let host = &remote.host;
            self.tell(
                Topic::Debug(Debug::Connect, 1),
                &format!("Using RSYNC_CONNECT_PROG instead of opening tcp connection to {host} port {port}"),
            );
            let shell = self.environment.shell.as_ref().map_or(&b"/bin/sh"[..], |shell| shell);
            return Ok(Transport { tls, ..connect_program(program, shell, host)? });
        }
        let (socket_options, complaints) =
            SocketOption::parse_list(options.sockopts.as_ref().map_or(b"", |list| list));
        for complaint in complaints {
            let text = format!("{complaint}\n");
            self.events.emit(Event::PeerText { severity: Severity::Error, text: text.as_bytes() });
        }
        let tcp = TcpOptions {
            family: options.family,
            bind: options.address.clone(),
            timeout: (options.contimeout > 0).then(|| Duration::from_secs(options.contimeout.into())),
            socket_options,
            proxy: self.environment.proxy.as_ref().map(|text| ConnectProxy::parse(text)).transpose()?,
        };
        let tell = |told: Told<'_>| match told {
            Told::Step(level, text) => self.tell(Topic::Debug(Debug::Connect, level), text),
            Told::Skipped(error) => {
                let text = error.render(role) + "\n";
                self.events.emit(Event::PeerText { severity: Severity::Error, text: text.as_bytes() });
            }
        };
        Ok(Transport { tls, ..connect_tcp(&remote.host, port, &tcp, &tell)? })
    }

    /// Says a line about the way to the other side, if somebody wants it.
    fn tell(&self, topic: Topic, line: &str) {
        if self.events.wants(topic) {
            let text = format!("{line}\n");
            self.events.emit(Event::PeerText { severity: Severity::Client, text: text.as_bytes() });
        }
    }

    /// Starts a server through the remote shell, with these words behind the program's name.
    pub(crate) fn connect_shell(
        &self,
        remote: &Remote,
        words: impl IntoIterator<Item = BString>,
    ) -> Result<Transport, ClientError> {
        if let Some(connector) = &self.connector {
            let words: Vec<BString> = words.into_iter().collect();
            return connect_by(connector, &ConnectRequest { remote, server: Some(&words) });
        }
        let mut command = self.shell_command(remote)?;
        command.args(words);
        self.spawn(&command, &[])
    }

    fn shell(&self) -> &[u8] {
        let named = self.options.rsh.as_ref().or(self.environment.rsh.as_ref());
        named.map_or(b"ssh", |shell| shell)
    }

    fn shell_command(&self, remote: &Remote) -> Result<ShellCommand, ClientError> {
        ShellCommand::new(
            self.shell(),
            remote.user.as_ref().map(|user| user.as_bytes()),
            self.options.family,
            &remote.host,
            self.options.rsync_path.as_ref().map_or(b"rsync", |path| path),
            remote.kind == RemoteKind::Daemon,
        )
    }

    fn spawn(&self, command: &ShellCommand, variables: &[(&str, &str)]) -> Result<Transport, ClientError> {
        if self.events.wants(Topic::Debug(Debug::Cmd, 1)) {
            let text = [b"opening connection using: ", &command.shown()[..], b"\n"].concat();
            self.events.emit(Event::PeerText { severity: Severity::Client, text: &text });
        }
        let blocking = self.options.blocking_io.unwrap_or_else(|| default_blocking_io(self.shell()));
        command.spawn(variables, blocking)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("options", &self.options).finish_non_exhaustive()
    }
}

impl ClientBuilder {
    /// What transfers shall do, and how connections are made.
    #[must_use]
    pub fn options(mut self, options: TransferOptions) -> Self {
        self.options = options;
        self
    }

    /// Proxy, shells, user, password: see [`ClientEnvironment::from_env`].
    #[must_use]
    pub fn environment(mut self, environment: ClientEnvironment) -> Self {
        self.environment = environment;
        self
    }

    /// Who takes the events of all calls.
    #[must_use]
    pub fn events(mut self, events: Arc<dyn EventSink>) -> Self {
        self.events = events;
        self
    }

    /// Who is asked for a daemon's password, where neither a file nor the environment gives one.
    #[must_use]
    pub fn ask_password(mut self, ask: AskPassword) -> Self {
        self.password = Some(ask);
        self
    }

    /// Uses a handle that exists already, to end several clients at once.
    #[must_use]
    pub fn canceller(mut self, cancel: CancelHandle) -> Self {
        self.cancel = cancel;
        self
    }

    /// Who makes the connections of all calls, instead of this library.
    #[must_use]
    pub fn connector(mut self, connector: Connector) -> Self {
        self.connector = Some(connector);
        self
    }

    /// The words that the script beside a batch file repeats, the program's name first; without them no
    /// script is written.
    #[must_use]
    pub fn command_line(mut self, words: impl IntoIterator<Item = BString>) -> Self {
        self.command_line = words.into_iter().collect();
        self
    }

    /// The client.
    #[must_use]
    pub fn build(self) -> Client {
        Client {
            options: Arc::new(self.options),
            environment: Arc::new(self.environment),
            events: self.events,
            password: self.password,
            cancel: self.cancel,
            command_line: self.command_line.into(),
            connector: self.connector,
        }
    }
}

impl std::fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientBuilder").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Ends the calls of a client; clones end the same ones.
#[derive(Clone, Debug, Default)]
pub struct CancelHandle {
    state: Arc<Mutex<CancelState>>,
}

#[derive(Debug, Default)]
struct CancelState {
    cancelled: bool,
    links: Vec<LinkControl>,
}

impl CancelHandle {
    /// Ends every running call, and every later one as soon as it is connected.
    pub fn cancel(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.cancelled = true;
        for link in state.links.drain(..) {
            link.abort();
        }
    }

    /// Whether [`CancelHandle::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).cancelled
    }

    /// Lets the handle end `link` until the guard is dropped.
    pub(crate) fn watch(&self, link: &LinkControl) -> CancelGuard {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.cancelled {
            link.abort();
        }
        state.links.push(link.clone());
        CancelGuard { handle: self.clone(), link: link.clone() }
    }
}

/// Forgets a link when the call that used it ends.
#[derive(Debug)]
pub(crate) struct CancelGuard {
    handle: CancelHandle,
    link: LinkControl,
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        let mut state = self.handle.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = state.links.iter().position(|link| link.is_same(&self.link)) {
            state.links.swap_remove(at);
        }
    }
}

fn connect_by(connector: &Connector, request: &ConnectRequest<'_>) -> Result<Transport, ClientError> {
    connector(request).map(Transport::of_link).map_err(ClientError::socket("make the connection"))
}

/// Reads an endpoint such as `host:path`, `host::module/path` or `rsync://host/module/path`.
pub(crate) fn parse_remote(text: &[u8]) -> Result<(Remote, BString), ClientError> {
    match Operand::parse(text)? {
        Operand::Remote(remote, path) => Ok((remote, path)),
        Operand::Local(path) => Err(ClientError::NotRemote { path }),
    }
}
