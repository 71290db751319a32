//! What a daemon is told before it listens.

use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bstr::{BStr, BString, ByteSlice};
use rsync_engine::tree::Tree;
use rsync_proto::text::{Utc, Zone};

use crate::config::{Config, ConfigError, GlobalSettings, Module};
use crate::daemon::{Daemon, DaemonError, Door, Limits, Shared};
use crate::files::open_log;
use crate::host::{Caller, Host};
use crate::http;
use crate::listen::{ListenAddress, bind};
use crate::log::{Log, LogTarget, Style};
use crate::pid_file::PidFile;
use crate::worker::WorkerCommand;

/// Port of a daemon that names none.
const DEFAULT_PORT: u16 = 873;
/// The same for TLS.
const DEFAULT_TLS_PORT: u16 = 874;
/// How long a worker without sessions is kept.
const WORKER_IDLE: Duration = Duration::from_secs(60);
/// How long sessions may go on after the daemon was told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    File(PathBuf, Vec<BString>),
    Given(Arc<Config>),
}

impl Source {
    /// The configuration, which may have modules that can be written to only if there are `uploads`.
    pub(crate) fn read(&self, uploads: bool) -> Result<Arc<Config>, ConfigError> {
        let config = match self {
            Self::File(path, overrides) => Arc::new(Config::load(path, overrides)?),
            Self::Given(config) => Arc::clone(config),
        };
        if !uploads {
            config.is_never_written()?;
        }
        Ok(config)
    }
}

/// Settings of a [`Daemon`] before it listens.
#[derive(Debug)]
#[must_use]
pub struct DaemonBuilder {
    source: Source,
    addresses: Vec<String>,
    port: Option<u16>,
    ip_version: Option<u8>,
    doors: Option<Vec<(TcpListener, bool)>>,
    log: Option<LogTarget>,
    default_log: Option<LogTarget>,
    zone: ZoneOption,
    grace: Duration,
    worker: Option<WorkerCommand>,
    worker_idle: Duration,
    limits: Limits,
    host: Host,
}

struct ZoneOption(Arc<dyn Zone + Send + Sync>);

impl std::fmt::Debug for ZoneOption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Zone")
    }
}

impl DaemonBuilder {
    pub(crate) fn new(source: Source) -> Self {
        Self {
            source,
            addresses: Vec::new(),
            port: None,
            ip_version: None,
            doors: None,
            log: None,
            default_log: None,
            zone: ZoneOption(Arc::new(Utc)),
            grace: GRACE,
            worker: None,
            worker_idle: WORKER_IDLE,
            limits: Limits::default(),
            host: Host::default(),
        }
    }

    /// `NAME=VALUE` assignments that stand at the end of the first global section of the file.
    pub fn overrides(mut self, assignments: impl IntoIterator<Item = BString>) -> Self {
        if let Source::File(_, overrides) = &mut self.source {
            overrides.extend(assignments);
        }
        self
    }

    /// Adds a module, which comes after those of the configuration that was given. A daemon of a file
    /// has the modules of the file only.
    pub fn module(mut self, module: Module) -> Self {
        if let Source::Given(config) = &mut self.source {
            Arc::make_mut(config).modules.push(module);
        }
        self
    }

    /// Adds a module that serves `tree` instead of a directory. Its sessions are threads of this process.
    pub fn tree(mut self, module: Module, tree: Arc<dyn Tree>) -> Self {
        self.host.trees.insert(module.name.clone(), tree);
        self.module(module)
    }

    /// Asks this for every client that the lists of hosts let in; `false` sends it away.
    pub fn access(mut self, check: impl Fn(&Caller) -> bool + Send + Sync + 'static) -> Self {
        self.host.access = Some(Arc::new(check));
        self
    }

    /// Asks this for users' passwords instead of reading files of secrets; `None` is an unknown user.
    /// `auth users` still says which users may log in to a module. The call may block.
    pub fn passwords(
        mut self,
        find: impl Fn(&Caller, &BStr) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        self.host.passwords = Some(Arc::new(find));
        self
    }

    /// Listens on this name or address instead of the configured ones; may be called several times.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// Listens on this port instead of the configured one; 0 takes a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Accepts from this socket, which listens already, and from no address of the configuration. With
    /// `is_secure` its clients speak TLS.
    pub fn listener(mut self, listener: TcpListener, is_secure: bool) -> Self {
        self.doors.get_or_insert_default().push((listener, is_secure));
        self
    }

    /// Listens nowhere: clients come through [`Entrance::admit`](crate::Entrance::admit) only.
    pub fn without_listeners(mut self) -> Self {
        self.doors.get_or_insert_default();
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

    /// How long sessions may go on after the daemon was told to stop; 10 seconds, unless this says
    /// something else.
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

    /// Lets clients write to modules that are not `read only`. Without it a configuration that has such
    /// modules is an error.
    pub fn uploads(mut self) -> Self {
        self.limits.uploads = true;
        self
    }

    /// Limits every session to so many bytes a second; 0 is no limit.
    pub fn bwlimit(mut self, bytes: u64) -> Self {
        self.limits.bwlimit = bytes;
        self
    }

    /// Speaks no version of the protocol newer than this one.
    pub fn protocol(mut self, newest: u8) -> Self {
        self.limits.protocol = Some(newest);
        self
    }

    /// Where temporary files are in modules whose parameters and clients name no directory for them.
    pub fn temp_dir(mut self, path: impl Into<BString>) -> Self {
        self.limits.temp_dir = Some(path.into());
        self
    }

    /// Listens on addresses of this version of IP only, 4 or 6.
    pub fn ip_version(mut self, version: u8) -> Self {
        self.ip_version = Some(version);
        self
    }

    /// Logs every file in this format, whatever the configuration says about it.
    pub fn log_format(mut self, format: impl Into<BString>) -> Self {
        self.limits.log_format = Some(format.into());
        self
    }

    /// Only reads the configuration.
    ///
    /// # Errors
    /// [`DaemonError::Config`] if it cannot be used.
    pub fn check(&self) -> Result<(), DaemonError> {
        self.source.read(self.limits.uploads)?;
        Ok(())
    }

    /// Reads the configuration and binds the sockets. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`DaemonError`] for what makes it impossible; the log has it as well.
    pub fn bind(self) -> Result<Daemon, DaemonError> {
        let config = self.source.read(self.limits.uploads)?;
        let configured = config.defaults.log_file.as_ref();
        let configured = configured.map(|path| LogTarget::File(PathBuf::from(path.to_string())));
        let keeps_log = self.log.is_some() || (configured.is_none() && self.default_log.is_some());
        let target = self.log.or(configured).or(self.default_log);
        let target = target.unwrap_or_else(|| LogTarget::syslog_of(&config.defaults));
        let (target, lost) = writable(target, &config);
        let log = Log::new(target, self.zone.0, Style::named(config.globals.log_style.as_ref())?)?;
        if let Some((path, error)) = lost {
            log.instead_of(&path, &error);
        }
        for note in &config.notes {
            log.warning(&note.text);
        }
        let place = Place { addresses: self.addresses, port: self.port, ip_version: self.ip_version };
        let opened = open(self.doors, place, &config.globals, &log);
        let Opened { doors, metrics, pid_file } = opened.inspect_err(|error| {
            log.warning(error.to_string());
            log.flush();
        })?;
        let workers = self.worker.map(|command| (command, self.worker_idle));
        let shared = Shared::new(self.source, config, log, keeps_log, workers, self.limits, self.host);
        Ok(Daemon::new(shared, doors, metrics, pid_file, self.grace))
    }
}

/// A log that can be written to: the system log instead of a file that cannot be opened, with the file and the
/// reason.
fn writable(target: LogTarget, config: &Config) -> (LogTarget, Option<(PathBuf, io::Error)>) {
    let LogTarget::File(path) = &target else { return (target, None) };
    match open_log(path) {
        Ok(_) => (target, None),
        Err(error) => (LogTarget::syslog_of(&config.defaults), Some((path.clone(), error))),
    }
}

struct Opened {
    doors: Vec<Door>,
    metrics: Option<tokio::net::TcpListener>,
    pid_file: Option<PidFile>,
}

fn open(
    given: Option<Vec<(TcpListener, bool)>>,
    place: Place,
    globals: &GlobalSettings,
    log: &Log,
) -> Result<Opened, DaemonError> {
    let sockets = match given {
        Some(given) => given,
        None => listen(place, globals, log)?,
    };
    let doors = sockets.into_iter().map(|(socket, is_secure)| Door::new(socket, is_secure));
    let doors = doors.collect::<Result<Vec<_>, _>>()?;
    let metrics = match &globals.metrics_address {
        Some(address) if !doors.is_empty() => Some(http::bind(http::address(&address.to_string())?)?),
        _ => None,
    };
    let pid_file = match &globals.pid_file {
        // Who serves a connection that somebody else accepted is not the daemon.
        Some(path) if !doors.is_empty() => Some(PidFile::create(PathBuf::from(path.to_string()).as_path())?),
        _ => None,
    };
    Ok(Opened { doors, metrics, pid_file })
}

/// Where the program that hosts the daemon wants it to listen.
struct Place {
    addresses: Vec<String>,
    port: Option<u16>,
    ip_version: Option<u8>,
}

fn listen(
    place: Place,
    globals: &GlobalSettings,
    log: &Log,
) -> Result<Vec<(TcpListener, bool)>, DaemonError> {
    let configured = |port: i32| u16::try_from(port).ok().filter(|&port| port != 0);
    let hosts = if place.addresses.is_empty() { globals.addresses() } else { place.addresses };
    let mut address = ListenAddress {
        hosts,
        ip_version: place.ip_version,
        port: place.port.or(configured(globals.port)).unwrap_or(DEFAULT_PORT),
        backlog: globals.listen_backlog,
        socket_options: globals.socket_options.clone().map(Vec::from).unwrap_or_default(),
    };
    let mut note = |note: String| log.warning(note);
    let mut sockets: Vec<_> = bind(&address, &mut note)?.into_iter().map(|socket| (socket, false)).collect();
    if let Some(files) = globals.tls_files()? {
        // A daemon that cannot speak TLS had better not start than let clients down.
        files.load()?;
        address.port = configured(globals.tls_port).unwrap_or(DEFAULT_TLS_PORT);
        sockets.extend(bind(&address, &mut note)?.into_iter().map(|socket| (socket, true)));
    }
    Ok(sockets)
}

impl GlobalSettings {
    /// The addresses to listen on.
    fn addresses(&self) -> Vec<String> {
        let list = self.address.as_ref().map(|list| list.to_str_lossy().into_owned()).unwrap_or_default();
        list.split([' ', ',', '\t']).filter(|host| !host.is_empty()).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_cannot_be_opened_is_replaced_by_the_system_log() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("nosuch/log");
        let mut config = Config::default();
        config.defaults.syslog_facility = "local5".into();
        config.defaults.syslog_tag = "mirror".into();
        let (target, lost) = writable(LogTarget::File(path.clone()), &config);
        let LogTarget::Syslog { facility, tag } = target else { panic!("{target:?}") };
        assert_eq!((facility, tag), ("local5".into(), "mirror".into()));
        let (at, error) = lost.expect("a reason");
        assert_eq!((at, error.kind()), (path, io::ErrorKind::NotFound));
        let (target, lost) = writable(LogTarget::File(place.path().join("log")), &config);
        assert!(matches!(target, LogTarget::File(_)) && lost.is_none());
    }
}
