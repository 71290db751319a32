//! The worker's side.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use rsync_engine::Dir;
use rsync_proto::text::Zone;
use socket2::Socket;

use super::front_line::{FrontIds, FrontLine, FrontOwners};
use super::{Charter, MESSAGE_LIMIT, Ready, handover, sandbox};
use crate::log::Log;
use crate::metered::Meters;
use crate::metrics::Outcome;
use crate::packed::{read_frame, write_frame};
use crate::session::{Owners, Served, link};

/// How long a session waits for its order.
const ORDER_TIMEOUT: Duration = Duration::from_secs(30);

/// Is a worker process of the daemon at the other end of standard input, until that ends.
///
/// For programs that gave their own command to [`crate::DaemonBuilder::worker_command`]. It has to be
/// called before the process has other threads. Log lines are the daemon's; `zone` is the one of times
/// within them.
///
/// # Errors
/// When standard input is not from a daemon, or the worker cannot become what it shall be. The daemon
/// has been told.
pub fn run_worker(zone: Arc<dyn Zone + Send + Sync>) -> io::Result<()> {
    // The daemon says when to stop; a terminal or a service manager tells all processes of a group.
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let mut front = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let malformed = || io::Error::new(io::ErrorKind::InvalidInput, "standard input is not from a daemon");
    let root = handover::receive(&front)?.and_then(|mut fds| fds.pop()).ok_or_else(malformed)?;
    let charter: Charter = read_frame(&mut front, MESSAGE_LIMIT)?;
    let entered = sandbox::enter(&charter.identity, &root, charter.writes);
    let ready = match &entered {
        Ok(protections) => Ready { works: true, text: protections.to_string() },
        Err(error) => Ready { works: false, text: error.to_string() },
    };
    write_frame(&mut front, &ready, MESSAGE_LIMIT)?;
    entered?;
    let root = Dir::from_fd(root);
    let mut sessions: Vec<JoinHandle<()>> = Vec::new();
    while let Some(fds) = handover::receive(&front)? {
        sessions.retain(|session| !session.is_finished());
        // A session that does not start closes its line, which the front notices. It may be for want of
        // descriptors or threads, which is no reason to end the others.
        let Ok(root) = root.try_clone() else { continue };
        let zone = Arc::clone(&zone);
        let session = std::thread::Builder::new().name("session".into());
        sessions.extend(session.spawn(move || serve(fds, root, zone)));
    }
    for session in sessions {
        // One that panicked has closed its line.
        let _ = session.join();
    }
    Ok(())
}

/// Runs one session: its descriptors are the client, the line to the front, and its slot if it has one.
fn serve(fds: Vec<OwnedFd>, root: Dir, zone: Arc<dyn Zone + Send + Sync>) {
    let mut fds = fds.into_iter();
    let (Some(client), Some(line), slot) = (fds.next(), fds.next(), fds.next()) else { return };
    let (stream, line) = (Socket::from(client), UnixStream::from(line));
    // Without a limit the session would wait as long as the front lives.
    let _ = line.set_read_timeout(Some(ORDER_TIMEOUT));
    let line = Arc::new(FrontLine::new(line));
    let log = Log::of_front(Arc::clone(&line), zone);
    let started = line.order().and_then(|order| Ok((link(&stream, &order.ahead)?, order)));
    let meters = Meters::default();
    let outcome = match started {
        Ok((link, order)) => {
            line.ends_by(&link.control);
            let owners = Owners {
                names: Box::new(FrontOwners::new(Arc::clone(&line))),
                ids: Arc::new(FrontIds(Arc::clone(&line))),
            };
            let code = order.run(meters.measure(link), &stream, Served::Directory(root), log, owners);
            meters.outcome(code)
        }
        Err(error) => {
            log.warning(format!("cannot serve a connection: {error}"));
            Outcome::LOST
        }
    };
    drop((stream, slot));
    line.end(outcome);
}
