//! `run` and `check`: a whole site in this process.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use rsync_mirror::SystemClock;
use rsync_mirror::api::{Door, ServeError, router, serve};
use rsync_mirror::config::{Config, Site as SiteSettings};
use rsync_mirror::serve::{DaemonConfigError, file_server, write_daemon_config};
use rsync_mirror::site::{InProcess, Site, SiteError, SiteLock, Surroundings};
use sd_notify::NotifyState;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{Check, Run};
use crate::rsync_server::{RsyncServer, RsyncServerError};
use crate::say;

/// A configuration that cannot be used (EX_CONFIG).
const CONFIG: u8 = 78;
/// Somebody else runs the site (EX_TEMPFAIL).
const LOCKED: u8 = 75;
/// A file or the database cannot be used (EX_IOERR).
const FILE: u8 = 74;
/// An address cannot be listened on, with rsync's code for sockets.
const SOCKET: u8 = 10;

/// Why a site does not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    DaemonConfig(#[from] DaemonConfigError),
    #[error(transparent)]
    Rsync(#[from] RsyncServerError),
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
}

impl RunError {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Site(SiteError::Config(_)) => CONFIG,
            Self::Site(SiteError::Locked(_)) => LOCKED,
            Self::DaemonConfig(DaemonConfigError::Line { .. }) => CONFIG,
            Self::Serve(_) | Self::Rsync(_) => SOCKET,
            _ => FILE,
        }
    }
}

/// Says whether a configuration can be used, and what is wrong with it.
pub(crate) fn check(arguments: &Check) -> u8 {
    // Whoever does not read on has read enough.
    let print = |line: &str| drop(writeln!(std::io::stdout(), "{line}"));
    match Config::load(&arguments.config) {
        Ok(config) if arguments.json => {
            let jobs: Vec<_> = config.jobs.iter().map(about).collect();
            print(&json!({ "jobs": jobs, "errors": [] }).to_string());
            0
        }
        Ok(config) => {
            let lines = config.jobs.iter().map(|job| (&job.job.name, from(job), &job.timetable().when));
            lines.for_each(|(name, from, when)| print(&format!("{name}: {from}, {when}")));
            0
        }
        Err(error) => {
            match arguments.json {
                true => print(&json!({ "jobs": [], "errors": error.findings }).to_string()),
                false => say(&error.to_string()),
            }
            CONFIG
        }
    }
}

/// A job for programs, without its passwords.
fn about(job: &rsync_mirror::config::SiteJob) -> Value {
    let upstreams: Vec<&str> = job.job.upstreams.iter().map(|upstream| upstream.url.as_str()).collect();
    let schedule = job.timetable().when.to_string();
    json!({ "name": job.job.name, "upstreams": upstreams, "destination": job.job.destination, "schedule": schedule })
}

fn from(job: &rsync_mirror::config::SiteJob) -> String {
    match job.job.upstreams.as_slice() {
        [] => "by a command".to_owned(),
        [one] => format!("from {}", one.url),
        [first, rest @ ..] => format!("from {} and {} more", first.url, rest.len()),
    }
}

/// Runs a site until a signal ends it.
pub(crate) fn run(arguments: &Run) -> u8 {
    match begin(&arguments.config) {
        Ok(()) => 0,
        Err(error) => {
            say(&error.to_string());
            error.code()
        }
    }
}

fn begin(path: &Path) -> Result<(), RunError> {
    let config = Config::load(path).map_err(SiteError::Config)?;
    let _lock = SiteLock::take(&config)?;
    let settings = config.site.clone();
    let store = settings.database().open().map_err(SiteError::Store)?;
    if store.is_shared() {
        say(&format!("this is the worker {:?} of a shared database", settings.worker()));
    }
    let surroundings = Surroundings {
        store,
        runner: Arc::new(InProcess),
        clock: Arc::new(SystemClock::default()),
        events: Arc::new(|event| say(&event.to_string())),
    };
    let site = Site::new(config, Some(path.to_owned()), surroundings)?;
    serve_site(&site, &settings, |_| Ok(()))
}

/// Opens the doors of a site, and runs it until a signal ends it. `before` may open more, while nothing runs
/// yet.
pub(crate) fn serve_site(
    site: &Site,
    settings: &SiteSettings,
    before: impl FnOnce(&Runtime) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let inside = runtime.enter();
    let socket = settings.socket();
    let mut doors = vec![(Door::trusted(&socket)?, router(site.clone()))];
    for &address in &settings.listen {
        doors.push((Door::public(address, None)?, router(site.clone())));
    }
    for &address in &settings.serve.http {
        let limit = Some(settings.serve.connections_per_client);
        doors.push((Door::public(address, limit)?, file_server(site.clone())));
    }
    before(&runtime)?;
    for (door, router) in doors {
        if let Some(address) = door.local_address() {
            say(&format!("listening on http://{address}/"));
        }
        runtime.spawn(serve(door, router));
    }
    let rsync = write_daemon_config(&site.config())?;
    let rsync = rsync.map(|path| RsyncServer::start(&path, &settings.serve.rsync)).transpose()?;
    for address in rsync.iter().flat_map(|rsync| &rsync.addresses) {
        say(&format!("listening on rsync://{address}/"));
    }
    obey_signals(&runtime, site)?;
    drop(inside);
    // Nobody may have asked to be told.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    site.run();
    // It is of no use any more, and a new process makes its own.
    let _ = std::fs::remove_file(&socket);
    if let Some(rsync) = rsync {
        runtime.block_on(rsync.end());
    }
    runtime.shutdown_background();
    say("the site has ended");
    Ok(())
}

/// SIGHUP reads the configuration again; SIGTERM and SIGINT end the site, the second one at once.
fn obey_signals(runtime: &Runtime, site: &Site) -> Result<(), RunError> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let site = site.clone();
    runtime.spawn(async move {
        loop {
            tokio::select! {
                _ = hangup.recv() => {
                    let site = site.clone();
                    let reloaded = tokio::task::spawn_blocking(move || site.reload()).await;
                    if let Ok(Err(error)) = reloaded {
                        say(&format!("the old configuration stays in effect:\n{error}"));
                    }
                }
                _ = terminate.recv() => end(&site),
                _ = interrupt.recv() => end(&site),
            }
        }
    });
    Ok(())
}

fn end(site: &Site) {
    say("ending: no run is started any more; another signal cuts off those that go on");
    // Nobody may have asked to be told.
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    site.stop();
}
