//! The rsync daemon of a site, in this process; its sessions run in processes of their own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use rsync_daemon::{Daemon, DaemonError, allow_many_files, run_worker};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::local_zone::LocalZone;

/// This program, even if its file was replaced.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// The only argument of a process that serves clients.
pub(crate) const WORKER: &str = "--rsync-worker";

/// Why the daemon does not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RsyncServerError {
    /// Its configuration is wrong, or something that this names cannot be had.
    #[error("the rsync daemon of the site: {0}")]
    Daemon(#[from] DaemonError),
    /// An address cannot be listened on.
    #[error("cannot serve rsync at {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// A daemon that serves.
pub(crate) struct RsyncServer {
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
    /// Where it listens.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl RsyncServer {
    /// Starts it in the runtime that was entered.
    pub(crate) fn start(config: &Path, addresses: &[SocketAddr]) -> Result<Self, RsyncServerError> {
        let mut builder = Daemon::from_file(config)
            .zone(Arc::new(LocalZone::new()))
            .worker_command(OWN_PROGRAM, [WORKER.into()]);
        for &address in addresses {
            let listener =
                TcpListener::bind(address).map_err(|source| RsyncServerError::Listen { address, source })?;
            builder = builder.listener(listener, false);
        }
        allow_many_files();
        let daemon = builder.bind()?;
        let addresses = daemon.local_addresses();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(daemon.run(async {
            // Who lets go of the other end wants the same.
            let _ = stopped.await;
        }));
        Ok(Self { stop, served, addresses })
    }

    /// Lets sessions end in peace for a moment, and cuts the rest.
    pub(crate) async fn end(self) {
        // It may have ended.
        let _ = self.stop.send(());
        let _ = self.served.await;
    }
}

/// Is a process that serves clients of the daemon.
pub(crate) fn work() -> ExitCode {
    // The daemon was told what went wrong.
    run_worker(Arc::new(LocalZone::new())).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}
