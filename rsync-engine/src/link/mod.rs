//! The connection to the peer, as two blocking halves that can be cancelled (design decision 4).
//!
//! A descriptor link polls its data, the I/O deadline and a cancel eventfd. Both halves share one
//! activity clock, so that a side which only writes does not time out while the peer accepts data
//! (spec 02 §3.1). Who writes says what counts: our own keep-alives do not prove that the peer lives.

mod streams;
#[cfg(feature = "tls")]
mod tls;

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::EngineError;

/// A bidirectional byte stream to the peer.
pub struct Link {
    /// What the peer sends.
    pub reader: Box<dyn Read + Send>,
    /// What the peer receives.
    pub writer: Box<dyn Write + Send>,
    /// Ends both halves from any thread.
    pub control: LinkControl,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("control", &self.control).finish_non_exhaustive()
    }
}

/// The shared state of a link: cancellation, and the activity clock of the I/O timeout.
#[derive(Clone, Debug)]
pub struct LinkControl {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    started: Instant,
    /// Milliseconds after `started` of the last byte read or written.
    last_activity: AtomicU64,
    /// The I/O timeout in milliseconds, 0 for none.
    timeout: AtomicU64,
    aborted: AtomicBool,
    /// Milliseconds after `started` at which the link ends by itself; 0 for never.
    stops_at: AtomicU64,
    /// The last bytes are written if the peer takes them at once.
    parting: AtomicBool,
    wake: OwnedFd,
}

impl LinkControl {
    /// Makes the control of a new link.
    ///
    /// # Errors
    /// When the system has no eventfd left to give.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            shared: Arc::new(Shared {
                started: Instant::now(),
                last_activity: AtomicU64::new(0),
                timeout: AtomicU64::new(0),
                aborted: AtomicBool::new(false),
                stops_at: AtomicU64::new(0),
                parting: AtomicBool::new(false),
                wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            }),
        })
    }

    /// Unblocks both halves: every later read or write fails with [`io::ErrorKind::Interrupted`]'s
    /// final sibling, [`io::ErrorKind::ConnectionAborted`].
    pub fn abort(&self) {
        self.shared.aborted.store(true, Ordering::SeqCst);
        // A full eventfd already wakes everybody, so the result does not matter.
        let _ = rustix::io::write(&self.shared.wake, &1_u64.to_ne_bytes());
    }

    /// Whether [`LinkControl::abort`] was called, or the time of [`LinkControl::stop_in`] is over.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.shared.aborted.load(Ordering::SeqCst) || self.is_stopped()
    }

    /// Ends the link when so much time has passed from now (`--stop-at`), as [`LinkControl::abort`] does.
    pub fn stop_in(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.shared.stops_at.store(self.now().saturating_add(millis).max(1), Ordering::Relaxed);
    }

    /// Takes the time of [`LinkControl::stop_in`] back.
    pub fn go_on(&self) {
        self.shared.stops_at.store(0, Ordering::Relaxed);
    }

    /// Whether the time of [`LinkControl::stop_in`] is over.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.time_to_stop().is_some_and(|left| left.is_zero())
    }

    fn time_to_stop(&self) -> Option<Duration> {
        match self.shared.stops_at.load(Ordering::Relaxed) {
            0 => None,
            limit => Some(Duration::from_millis(limit.saturating_sub(self.now()))),
        }
    }

    /// Why a link that is aborted ended.
    pub(crate) fn reason(&self) -> EngineError {
        if self.is_stopped() { EngineError::Stopped } else { EngineError::Cancelled }
    }

    /// From now on a write that the peer does not take at once fails.
    #[cfg(feature = "tls")]
    fn part(&self) {
        self.shared.parting.store(true, Ordering::SeqCst);
    }

    /// Whether both control one link.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Sets the I/O timeout (`--timeout`); `None` waits for ever.
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        let millis = timeout.map_or(0, |time| time.as_millis() as u64);
        self.shared.timeout.store(millis, Ordering::Relaxed);
    }

    /// The I/O timeout in force.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        match self.shared.timeout.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(Duration::from_millis(millis)),
        }
    }

    /// Records that bytes moved, which postpones the timeout.
    pub fn touch(&self) {
        self.shared.last_activity.store(self.now(), Ordering::Relaxed);
    }

    /// Time left until the I/O timeout expires: `None` without a timeout, zero when it has expired.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        let limit = self.shared.last_activity.load(Ordering::Relaxed)
            + self.timeout().map(|time| time.as_millis() as u64)?;
        Some(Duration::from_millis(limit.saturating_sub(self.now())))
    }

    fn now(&self) -> u64 {
        self.shared.started.elapsed().as_millis() as u64
    }

    /// Waits until `fd` is ready for `events`.
    fn wait(&self, fd: &OwnedFd, events: PollFlags) -> io::Result<()> {
        loop {
            if self.is_aborted() {
                return Err(aborted());
            }
            if events == PollFlags::OUT && self.shared.parting.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let left = self.time_left();
            if left.is_some_and(|left| left.is_zero()) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let wait = left.into_iter().chain(self.time_to_stop()).min();
            let timeout = wait.map(|left| Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            });
            let mut fds =
                [PollFd::from_borrowed_fd(fd.as_fd(), events), PollFd::new(&self.shared.wake, PollFlags::IN)];
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) if !fds[0].revents().is_empty() => return Ok(()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn aborted() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the transfer was cancelled")
}

impl Link {
    /// Makes a link of two descriptors (they may be clones of one socket), which become
    /// non-blocking.
    ///
    /// # Errors
    /// When a descriptor cannot be made non-blocking.
    pub fn from_fds(reader: OwnedFd, writer: OwnedFd) -> io::Result<Self> {
        let control = LinkControl::new()?;
        for fd in [&reader, &writer] {
            fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
        }
        Ok(Self {
            reader: Box::new(FdHalf { fd: reader, control: control.clone() }),
            writer: Box::new(FdHalf { fd: writer, control: control.clone() }),
            control,
        })
    }
}

/// One direction of a descriptor link.
struct FdHalf {
    fd: OwnedFd,
    control: LinkControl,
}

impl FdHalf {
    fn retry(
        &self,
        events: PollFlags,
        mut attempt: impl FnMut(&OwnedFd) -> rustix::io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            if self.control.is_aborted() {
                return Err(aborted());
            }
            match attempt(&self.fd) {
                Ok(count) => return Ok(count),
                Err(rustix::io::Errno::AGAIN) => self.control.wait(&self.fd, events)?,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Read for FdHalf {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.retry(PollFlags::IN, |fd| rustix::io::read(fd, &mut *buffer))?;
        self.control.touch();
        Ok(count)
    }
}

impl Write for FdHalf {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.retry(PollFlags::OUT, |fd| rustix::io::write(fd, buffer))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn link() -> (Link, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        let writer = ours.try_clone().expect("clone");
        (Link::from_fds(ours.into(), writer.into()).expect("link"), theirs)
    }

    #[test]
    fn abort_unblocks_a_waiting_reader() {
        let (mut link, _peer) = link();
        let control = link.control.clone();
        let reader = std::thread::spawn(move || link.reader.read(&mut [0; 8]).map_err(|error| error.kind()));
        control.abort();
        assert_eq!(reader.join().expect("reader"), Err(io::ErrorKind::ConnectionAborted));
    }

    #[test]
    fn a_link_ends_when_its_time_is_over() {
        let (mut link, _peer) = link();
        link.control.stop_in(Duration::from_secs(3600));
        assert!(!link.control.is_aborted());
        link.control.stop_in(Duration::ZERO);
        link.control.go_on();
        assert!(!link.control.is_aborted());
        link.control.stop_in(Duration::from_millis(30));
        let error = link.reader.read(&mut [0; 8]).expect_err("no data");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        assert!(matches!(link.control.reason(), EngineError::Stopped));
    }

    #[test]
    fn a_silent_peer_times_out() {
        let (mut link, _peer) = link();
        link.control.set_timeout(Some(Duration::from_millis(30)));
        let error = link.reader.read(&mut [0; 8]).expect_err("no data");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn bytes_pass_in_both_directions() {
        let (mut link, mut peer) = link();
        link.writer.write_all(b"ping").expect("write");
        let mut buffer = [0; 4];
        peer.read_exact(&mut buffer).expect("peer reads");
        peer.write_all(&buffer).expect("peer writes");
        link.reader.read_exact(&mut buffer).expect("read");
        assert_eq!(&buffer, b"ping");
    }
}
