//! `tunasync` and `tunasynctl`: a manager, a worker, and what is said to them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rsync_mirror::SystemClock;
use rsync_mirror::api::{Door, ServeError, serve};
use rsync_mirror::compat::tunasync::{
    Command, ControlClient, ControlConfig, ControlError, Ledger, LedgerError, ManagerConfig,
    ManagerOverrides, MirrorStatus, Reporter, Template, WorkerConfig, manager_router, worker_router,
};
use rsync_mirror::config::{ConfigError, Finding};
use rsync_mirror::site::{InProcess, Site, SiteError, SiteLock, Surroundings};
use sd_notify::NotifyState;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{
    CheckFile, Common, Import, ListMirrors, Manager, OfMirror, Process, SetSize, Tunasync, Tunasynctl, Worker,
};
use crate::service::{BAD_CONFIG, NO_SOCKET, fail, tell_manager};
use crate::{say, site};

/// What tunasync's programs end with when something goes wrong.
const FAILED: u8 = 1;
/// A file or the database cannot be used (EX_IOERR).
const FILE: u8 = 74;

/// Why a manager does not begin.
#[derive(Debug, thiserror::Error)]
enum ManagerError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
}

impl ManagerError {
    fn code(&self) -> u8 {
        match self {
            Self::Config(_) => BAD_CONFIG,
            Self::Serve(_) => NO_SOCKET,
            Self::Control(_) | Self::Start(_) => FAILED,
            Self::Ledger(_) | Self::File { .. } => FILE,
        }
    }
}

/// A manager, a worker, or something about their configurations.
pub(crate) fn tunasync(command: &Tunasync) -> u8 {
    let done = match command {
        Tunasync::Manager(arguments) => manager(arguments),
        Tunasync::Import(arguments) => import(arguments),
        Tunasync::Worker(arguments) => return worker(arguments),
        Tunasync::Check(arguments) => return check(arguments),
    };
    match done {
        Ok(()) => 0,
        Err(error) => fail(error.code(), error),
    }
}

fn warn(warnings: &[Finding]) {
    warnings.iter().for_each(|warning| say(&format!("warning: {warning}")));
}

fn write_pid(process: &Process) -> Result<(), ManagerError> {
    let Some(path) = &process.pidfile else { return Ok(()) };
    let failed = |source| ManagerError::File { path: path.clone(), source };
    std::fs::write(path, format!("{}\n", std::process::id())).map_err(failed)
}

fn ledger(config: &ManagerConfig) -> Result<Ledger, ManagerError> {
    if let Some(directory) = config.database.parent() {
        let failed = |source| ManagerError::File { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    Ok(Ledger::open(&config.database)?)
}

fn manager(arguments: &Manager) -> Result<(), ManagerError> {
    let overrides = ManagerOverrides {
        address: arguments.addr.clone(),
        port: arguments.port,
        cert: arguments.cert.clone(),
        key: arguments.key.clone(),
        db_file: arguments.db_file.clone(),
        db_type: arguments.db_type.clone(),
    };
    let config = ManagerConfig::load(arguments.config.as_deref(), &overrides)?;
    warn(&config.warnings);
    write_pid(&arguments.process)?;
    let manager = rsync_mirror::compat::tunasync::Manager::new(
        ledger(&config)?,
        config.ca_cert.as_deref(),
        config.token.clone(),
        say,
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let door = match &config.tls {
            Some(files) => Door::secure(config.listen, files.clone())?,
            None => Door::public(config.listen, None)?,
        };
        if let Some(address) = door.local_address() {
            let scheme = if config.tls.is_some() { "https" } else { "http" };
            say(&format!("listening on {scheme}://{address}/"));
        }
        tell_manager(&[NotifyState::Ready]);
        let serving = serve(door, manager_router(manager.clone()));
        let watching = manager.watch();
        let hearing = async {
            // There is nothing to read again, and nothing to end for.
            while hangup.recv().await.is_some() {}
        };
        tokio::select! {
            () = serving => {}
            () = watching => {}
            () = hearing => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tell_manager(&[NotifyState::Stopping]);
        Ok(())
    })
}

fn import(arguments: &Import) -> Result<(), ManagerError> {
    let config = ManagerConfig::load(Some(&arguments.config), &ManagerOverrides::default())?;
    let ledger = ledger(&config)?;
    let client =
        ControlClient::new(&arguments.from_manager, config.ca_cert.as_deref(), config.token.as_ref());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (workers, mirrors) = runtime.block_on(client.import_into(&ledger))?;
    print(&format!("{workers} workers and {mirrors} mirrors are taken over"));
    Ok(())
}

fn check(arguments: &CheckFile) -> u8 {
    let warnings = if arguments.manager {
        ManagerConfig::load(Some(&arguments.file), &ManagerOverrides::default()).map(|config| config.warnings)
    } else {
        WorkerConfig::load(&arguments.file).map(|config| config.warnings)
    };
    let (errors, warnings) = match warnings {
        Ok(warnings) => (Vec::new(), warnings),
        Err(error) => (error.findings, Vec::new()),
    };
    if arguments.json {
        print(&json!({ "errors": errors, "warnings": warnings }).to_string());
    } else {
        warn(&warnings);
        errors.iter().for_each(|error| say(&error.to_string()));
    }
    if errors.is_empty() { 0 } else { BAD_CONFIG }
}

fn worker(arguments: &Worker) -> u8 {
    let begun = || -> Result<(), site::RunError> {
        let config = WorkerConfig::load(&arguments.config).map_err(SiteError::Config)?;
        warn(&config.warnings);
        let _lock = SiteLock::take(&config.site)?;
        write_pid(&arguments.process).map_err(|error| std::io::Error::other(error.to_string()))?;
        let settings = config.site.site.clone();
        let surroundings = Surroundings {
            store: settings.database().open().map_err(SiteError::Store)?,
            runner: Arc::new(InProcess),
            clock: Arc::new(SystemClock::default()),
            events: Arc::new(|event| say(&event.to_string())),
        };
        let path = arguments.config.clone();
        let reader = move || {
            let config = WorkerConfig::load(&path)?;
            warn(&config.warnings);
            Ok(config.site)
        };
        let site = Site::with_reader(config.site, Some(Box::new(reader)), surroundings)?;
        let worker = config.worker;
        let reporter = Reporter::new(worker.clone(), say);
        site::serve_site(&site, &settings, |runtime: &Runtime| {
            let door = match &worker.tls {
                Some(files) => Door::secure(worker.listen, files.clone())?,
                None => Door::public(worker.listen, None)?,
            };
            if let Some(address) = door.local_address() {
                say(&format!("taking commands at {address}, which managers reach as {}", worker.url));
            }
            runtime.block_on(reporter.adopt(&site));
            runtime.spawn(serve(door, worker_router(site.clone(), worker.token.clone())));
            let site = site.clone();
            runtime.spawn(async move { reporter.run(site).await });
            Ok(())
        })
    };
    match begun() {
        Ok(()) => 0,
        Err(error) => fail(error.code(), error),
    }
}

/// The manager that a command line means.
fn control(common: &Common) -> Result<ControlClient, String> {
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".config/tunasync/ctl.conf"));
    let known = [Some(PathBuf::from("/etc/tunasync/ctl.conf")), home].into_iter().flatten();
    let files: Vec<PathBuf> = known.filter(|path| path.exists()).chain(common.config.clone()).collect();
    let own = ControlConfig {
        host: common.manager.clone(),
        port: common.port,
        ca_cert: common.ca_cert.clone(),
        token: None,
    };
    let known = ControlConfig::load(&files).map_err(|error| error.to_string())?;
    Ok(own.or(known).client())
}

/// One of tunasynctl's words.
pub(crate) fn tunasynctl(command: &Tunasynctl) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(FAILED, error),
    };
    match runtime.block_on(obey(command)) {
        Ok(text) => {
            print(&text);
            0
        }
        Err(error) => {
            say(&error);
            FAILED
        }
    }
}

async fn obey(command: &Tunasynctl) -> Result<String, String> {
    let said = |error: ControlError| error.to_string();
    match command {
        Tunasynctl::List(arguments) => list(arguments).await,
        Tunasynctl::Flush(common) => {
            control(common)?.flush().await.map_err(said)?;
            Ok("Successfully flushed disabled jobs".to_owned())
        }
        Tunasynctl::Workers(common) => {
            let workers = control(common)?.workers().await.map_err(said)?;
            Ok(format!("{:#}", json!(workers)))
        }
        Tunasynctl::RmWorker(arguments) => {
            control(&arguments.common)?.remove_worker(&arguments.worker).await.map_err(said)?;
            Ok("Successfully removed the worker".to_owned())
        }
        Tunasynctl::SetSize(SetSize { common, worker, mirror, size }) => {
            let size = control(common)?.set_size(worker, mirror, size).await.map_err(said)?;
            Ok(format!("Successfully updated mirror size to {size}"))
        }
        Tunasynctl::Start(arguments) => send(&arguments.mirror, "start", arguments.force).await,
        Tunasynctl::Stop(arguments) => send(arguments, "stop", false).await,
        Tunasynctl::Disable(arguments) => send(arguments, "disable", false).await,
        Tunasynctl::Restart(arguments) => send(arguments, "restart", false).await,
        Tunasynctl::Ping(arguments) => send(arguments, "ping", false).await,
        Tunasynctl::Reload(arguments) => {
            let command = Command {
                cmd: "reload".to_owned(),
                worker_id: arguments.worker.clone(),
                ..Command::default()
            };
            control(&arguments.common)?.command(&command).await.map_err(said)?;
            Ok("Successfully send the command".to_owned())
        }
    }
}

async fn send(arguments: &OfMirror, word: &str, is_forced: bool) -> Result<String, String> {
    let command = Command {
        cmd: word.to_owned(),
        mirror_id: arguments.mirror.clone(),
        worker_id: arguments.worker.clone(),
        args: arguments.arguments.clone(),
        options: is_forced.then(|| ("force".to_owned(), true)).into_iter().collect(),
    };
    let client = control(&arguments.common)?;
    client.command(&command).await.map_err(|error| error.to_string())?;
    Ok("Successfully send the command".to_owned())
}

async fn list(arguments: &ListMirrors) -> Result<String, String> {
    let client = control(&arguments.common)?;
    let said = |error: ControlError| error.to_string();
    let mut mirrors = Vec::new();
    if arguments.all {
        mirrors = client.jobs().await.map_err(said)?;
    } else {
        for worker in &arguments.workers {
            let jobs: Vec<MirrorStatus> = client.worker_jobs(worker).await.map_err(said)?;
            mirrors.extend(jobs.iter().map(|job| json!(job)));
        }
    }
    if !arguments.status.is_empty() {
        mirrors.retain(|mirror| arguments.status.iter().any(|status| mirror["status"] == **status));
    }
    let Some(format) = &arguments.format else { return Ok(format!("{:#}", Value::Array(mirrors))) };
    let template = Template::parse(format).map_err(|error| format!("--format: {error}"))?;
    let lines = mirrors.iter().map(|mirror| template.render(&fields(mirror)));
    lines
        .collect::<Result<Vec<_>, _>>()
        .map(|lines| lines.join("\n"))
        .map_err(|error| format!("--format: {error}"))
}

/// The fields of a mirror, by the names that templates have for them.
fn fields(mirror: &Value) -> Vec<(&'static str, String)> {
    let names = [
        ("Name", "name"),
        ("Worker", "worker"),
        ("IsMaster", "is_master"),
        ("Status", "status"),
        ("LastUpdate", "last_update"),
        ("LastStarted", "last_started"),
        ("LastEnded", "last_ended"),
        ("Scheduled", "next_schedule"),
        ("Upstream", "upstream"),
        ("Size", "size"),
        ("ErrorMsg", "error_msg"),
    ];
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    names.iter().filter_map(|(name, key)| Some((*name, text(mirror.get(key)?)))).collect()
}

fn print(text: &str) {
    // Whoever does not read on has read enough.
    let _ = writeln!(std::io::stdout(), "{text}");
}
