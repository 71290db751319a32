//! The front's side: which workers there are, and what they are given.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rsync_engine::Dir;
use socket2::Socket;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::{Charter, MESSAGE_LIMIT, Ready, handover, relay};
use crate::converter::Converter;
use crate::hooks::Hooks;
use crate::identity::Identity;
use crate::limits::{ModulePlace, Slot};
use crate::log::Log;
use crate::metrics::{Metrics, Outcome};
use crate::order::SessionOrder;
use crate::packed::write_frame;
use crate::tally::{Entry, Tally};

/// How long a worker may take to start.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The command of a worker process.
#[derive(Clone, Debug)]
pub(crate) struct WorkerCommand {
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
}

/// Workers with the same can take each other's sessions.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Profile {
    identity: Identity,
    /// File system and number of the root.
    root: (u64, u64),
    /// Sessions may write.
    writes: bool,
}

impl Profile {
    fn new(identity: Identity, root: &Dir, writes: bool) -> io::Result<Self> {
        let stat = root.stat_self()?;
        Ok(Self { identity, root: (stat.dev, stat.ino), writes })
    }
}

/// A worker that takes sessions.
struct Worker {
    pid: u32,
    deliveries: mpsc::UnboundedSender<Delivery>,
    sessions: Tally,
}

/// What a session's thread in the worker is given.
struct Delivery {
    client: Socket,
    line: OwnedFd,
    slot: Option<Slot>,
}

/// A session of a directory, which a worker can serve.
pub(crate) struct DirectorySession {
    pub(crate) order: SessionOrder,
    pub(crate) root: Dir,
    pub(crate) identity: Identity,
    pub(crate) log: Log,
    pub(crate) slot: Option<Slot>,
    pub(crate) place: Option<ModulePlace>,
    pub(crate) hooks: Hooks,
    pub(crate) converter: Option<Converter>,
    /// A worker for this session alone.
    pub(crate) worker: Option<Hatchling>,
}

/// A worker process that does not know yet what it is for. It ends when this is dropped.
pub(crate) struct Hatchling {
    child: Child,
    channel: std::os::unix::net::UnixStream,
}

impl Hatchling {
    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }
}

/// The workers.
pub(crate) struct Pool {
    command: WorkerCommand,
    log: Log,
    metrics: Arc<Metrics>,
    idle_limit: Duration,
    workers: Mutex<HashMap<Profile, Worker>>,
    /// Workers that have not ended.
    alive: Tally,
    killed: watch::Sender<bool>,
}

impl Pool {
    /// Workers of `command`; one without sessions is kept for `idle_limit`.
    pub(crate) fn new(command: WorkerCommand, idle_limit: Duration, log: Log, metrics: Arc<Metrics>) -> Self {
        Self {
            command,
            log,
            metrics,
            idle_limit,
            workers: Mutex::default(),
            alive: Tally::default(),
            killed: watch::Sender::new(false),
        }
    }

    /// Has a worker run a session; `running` is dropped when it is over.
    ///
    /// # Errors
    /// When no worker can be started.
    pub(crate) fn start(
        self: &Arc<Self>,
        session: DirectorySession,
        client: Socket,
        running: Entry,
    ) -> io::Result<()> {
        let DirectorySession { order, root, identity, log, slot, place, hooks, converter, worker } = session;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let line = UnixStream::from_std(ours)?;
        let delivery = Delivery { client, line: theirs.into(), slot };
        let writes = order.access.writes;
        let (worker, entry) = match worker {
            Some(hatchling) => {
                let profile = Profile::new(identity, &root, writes)?;
                let worker = self.start_worker(hatchling, profile, &root)?;
                // Nobody else can give it a session, so it ends with this one.
                let _ = worker.deliveries.send(delivery);
                (worker.pid, worker.sessions.enter())
            }
            None => self.deliver(identity, &root, writes, delivery)?,
        };
        let visitor = order.visitor.clone();
        let metrics = Arc::clone(&self.metrics);
        metrics.session_began(visitor.module.as_ref());
        tokio::spawn(async move {
            let ended = relay::attend(line, order, &log, worker, converter).await;
            let outcome = *ended.as_ref().unwrap_or(&Outcome::LOST);
            metrics.session_ended(visitor.module.as_ref(), outcome);
            if let Err(error) = ended {
                let (host, address) = (&visitor.host, visitor.address);
                log.warning(format!(
                    "worker process {worker} lost the session of {host} ({address}): {error}"
                ));
            }
            drop((entry, place));
            hooks.after(outcome.exit_code()).await;
            drop(running);
        });
        Ok(())
    }

    /// Lets the workers end with their last sessions.
    pub(crate) fn drain(&self) {
        self.lock().clear();
    }

    /// Ends the workers at once.
    pub(crate) fn kill(&self) {
        self.killed.send_replace(true);
    }

    /// Waits until no worker is left.
    pub(crate) async fn ended(&self) {
        self.alive.zero().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Profile, Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(
        self: &Arc<Self>,
        identity: Identity,
        root: &Dir,
        writes: bool,
        delivery: Delivery,
    ) -> io::Result<(u32, Entry)> {
        let profile = Profile::new(identity, root, writes)?;
        let mut workers = self.lock();
        let worker = match workers.entry(profile) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                let worker = self.start_worker(self.hatch()?, place.key().clone(), root)?;
                place.insert(worker)
            }
        };
        // A worker that has just died loses its deliveries, and with them their clients.
        let _ = worker.deliveries.send(delivery);
        Ok((worker.pid, worker.sessions.enter()))
    }

    /// Starts a worker process that waits to be told what it is for.
    pub(crate) fn hatch(&self) -> io::Result<Hatchling> {
        let (channel, theirs) = std::os::unix::net::UnixStream::pair()?;
        let child = Command::new(&self.command.program)
            .arg0(std::env::args_os().next().unwrap_or_else(|| self.command.program.clone()))
            .args(&self.command.arguments)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Hatchling { child, channel })
    }

    fn start_worker(
        self: &Arc<Self>,
        hatchling: Hatchling,
        profile: Profile,
        root: &Dir,
    ) -> io::Result<Worker> {
        let Hatchling { child, channel: mut ours } = hatchling;
        handover::send(&ours, &[root.as_fd()])?;
        write_frame(
            &mut ours,
            &Charter { identity: profile.identity.clone(), writes: profile.writes },
            MESSAGE_LIMIT,
        )?;
        ours.set_nonblocking(true)?;
        let channel = UnixStream::from_std(ours)?;
        let (deliveries, received) = mpsc::unbounded_channel();
        let sessions = Tally::default();
        let pid = child.id().unwrap_or_default();
        let keeper = Keeper {
            pool: Arc::clone(self),
            profile,
            pid,
            child,
            channel,
            deliveries: received,
            sessions: sessions.clone(),
        };
        tokio::spawn(keeper.run(self.alive.enter()));
        Ok(Worker { pid, deliveries, sessions })
    }

    /// Forgets a worker, if `condition` holds while nobody can give it a session.
    fn forget(&self, profile: &Profile, pid: u32, condition: impl FnOnce() -> bool) -> bool {
        let mut workers = self.lock();
        let forgets = condition();
        if forgets && workers.get(profile).is_some_and(|known| known.pid == pid) {
            workers.remove(profile);
        }
        forgets
    }
}

/// Looks after one worker process.
struct Keeper {
    pool: Arc<Pool>,
    profile: Profile,
    pid: u32,
    child: Child,
    channel: UnixStream,
    deliveries: mpsc::UnboundedReceiver<Delivery>,
    sessions: Tally,
}

impl Keeper {
    async fn run(mut self, _alive: Entry) {
        let mut killed = self.pool.killed.subscribe();
        let supplied = tokio::select! {
            supplied = self.supply() => supplied,
            _ = killed.wait_for(|&killed| killed) => Ok(()),
        };
        let Self { pool, profile, pid, mut child, channel, deliveries, .. } = self;
        pool.forget(&profile, pid, || true);
        if let Err(error) = supplied {
            pool.log.warning(format!("worker process {pid} failed: {error}"));
            // It may have ended.
            let _ = child.start_kill();
        }
        drop((channel, deliveries));
        let has_ended = tokio::select! {
            _ = child.wait() => true,
            _ = killed.wait_for(|&killed| killed) => false,
        };
        if !has_ended {
            // It may have, just now.
            let _ = child.kill().await;
        }
    }

    /// Gives the worker its sessions, until there will be no more.
    async fn supply(&mut self) -> io::Result<()> {
        let ready: Ready = timeout(START_LIMIT, relay::receive(&mut self.channel)).await??;
        if !ready.works {
            return Err(io::Error::other(ready.text));
        }
        let (pid, identity) = (self.pid, &self.profile.identity);
        self.pool.log.info(format!("worker process {pid} started with {identity}; {}", ready.text));
        loop {
            tokio::select! {
                delivery = self.deliveries.recv() => match delivery {
                    Some(delivery) => hand_over(&self.channel, &delivery).await?,
                    None => return Ok(()),
                },
                status = self.child.wait() => return Err(ended(status?)),
                () = idle(&self.sessions, self.pool.idle_limit) => {
                    if self.pool.forget(&self.profile, self.pid, || self.sessions.is_zero()) {
                        return Ok(());
                    }
                }
            }
        }
    }
}

async fn hand_over(channel: &UnixStream, delivery: &Delivery) -> io::Result<()> {
    let mut fds = vec![delivery.client.as_fd(), delivery.line.as_fd()];
    fds.extend(delivery.slot.as_ref().map(AsFd::as_fd));
    channel.async_io(Interest::WRITABLE, || handover::send(channel, &fds)).await
}

fn ended(status: ExitStatus) -> io::Error {
    io::Error::other(format!("it ended with {status}"))
}

/// Waits until nothing was under way for the time of `limit`.
async fn idle(sessions: &Tally, limit: Duration) {
    loop {
        sessions.zero().await;
        if timeout(limit, sessions.change()).await.is_err() {
            return;
        }
    }
}
