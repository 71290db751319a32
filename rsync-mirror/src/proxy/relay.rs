//! Copying between a client and its backend: counted, in constant memory, and not for ever.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rsync_daemon::ClientStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::Instant;

use super::config::FrontConfig;

/// Bytes under way from a client to its backend, and the other way.
const INBOUND: usize = 16 << 10;
const OUTBOUND: usize = 64 << 10;
/// How often limits are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long a client may keep a connection whose backend is gone.
const LINGER: Duration = Duration::from_secs(10);

/// Bytes of one session.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// To the client.
    pub(super) sent: AtomicU64,
    /// From the client.
    pub(super) received: AtomicU64,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Ending {
    /// Both sides closed.
    Closed,
    /// One side broke the connection.
    Broken,
    /// Nothing came for too long.
    Idle,
    /// It was as long as a session may be.
    TooLong,
    /// Too little came.
    TooSlow,
}

impl Ending {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Broken => "broken",
            Self::Idle => "idle",
            Self::TooLong => "too long",
            Self::TooSlow => "too slow",
        }
    }
}

/// The limits of a session; zero is none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    idle: Duration,
    longest: Duration,
    rate: u64,
    /// What the rate is measured over.
    span: Duration,
}

impl Limits {
    pub(super) fn of(front: &FrontConfig) -> Self {
        Self {
            idle: front.idle_timeout,
            longest: front.max_session,
            rate: front.min_rate,
            span: front.min_rate_span,
        }
    }
}

/// Looks at a session's progress now and then; pure over the times it is given.
struct Guard {
    limits: Limits,
    start: Instant,
    /// Bytes so far, and when they last grew.
    bytes: u64,
    moved: Instant,
    /// Begin of the span over which the rate is measured, and the bytes then.
    span: (Instant, u64),
    ended: Option<Instant>,
}

impl Guard {
    fn new(limits: Limits, now: Instant) -> Self {
        Self { limits, start: now, bytes: 0, moved: now, span: (now, 0), ended: None }
    }

    fn look(&mut self, now: Instant, bytes: u64, has_ended: bool) -> Option<Ending> {
        let over = |limit: Duration, since: Instant| !limit.is_zero() && now - since >= limit;
        if bytes != self.bytes {
            (self.bytes, self.moved) = (bytes, now);
        }
        if has_ended && now - *self.ended.get_or_insert(now) >= LINGER {
            return Some(Ending::Closed);
        }
        if over(self.limits.longest, self.start) {
            return Some(Ending::TooLong);
        }
        if over(self.limits.idle, self.moved) {
            return Some(Ending::Idle);
        }
        if self.limits.rate != 0 && over(self.limits.span, self.span.0) {
            let millis = u64::try_from((now - self.span.0).as_millis()).unwrap_or(u64::MAX).max(1);
            let rate = bytes.saturating_sub(self.span.1).saturating_mul(1000) / millis;
            self.span = (now, bytes);
            if rate < self.limits.rate {
                return Some(Ending::TooSlow);
            }
        }
        None
    }
}

/// Copies both ways until both sides have ended or a limit is reached. Beside each stream stands what was
/// read ahead of it; `tick` is called each second.
pub(super) async fn relay(
    client: (ClientStream, Vec<u8>),
    backend: (ClientStream, Vec<u8>),
    traffic: &Traffic,
    limits: Limits,
    mut tick: impl FnMut(),
) -> Ending {
    let (client_reader, client_writer) = tokio::io::split(client.0);
    let (backend_reader, backend_writer) = tokio::io::split(backend.0);
    let has_ended = AtomicBool::new(false);
    let copying = async {
        let inbound = copy(client_reader, client.1, backend_writer, INBOUND, &traffic.received);
        let outbound = async {
            let copied = copy(backend_reader, backend.1, client_writer, OUTBOUND, &traffic.sent).await;
            has_ended.store(true, Ordering::Relaxed);
            copied
        };
        // A side that cannot be written to may still have something to say.
        match tokio::join!(inbound, outbound) {
            (Ok(()), Ok(())) => Ending::Closed,
            _ => Ending::Broken,
        }
    };
    let guarding = async {
        let mut guard = Guard::new(limits, Instant::now());
        loop {
            tokio::time::sleep(TICK).await;
            tick();
            let bytes = traffic.sent.load(Ordering::Relaxed) + traffic.received.load(Ordering::Relaxed);
            if let Some(ending) = guard.look(Instant::now(), bytes, has_ended.load(Ordering::Relaxed)) {
                return ending;
            }
        }
    };
    tokio::select! {
        ending = copying => ending,
        ending = guarding => ending,
    }
}

/// Copies one way, `ahead` first, and closes what was written to: it hears of the end also when that was a
/// broken connection, and so ends too.
async fn copy(
    mut reader: ReadHalf<ClientStream>,
    ahead: Vec<u8>,
    mut writer: WriteHalf<ClientStream>,
    piece: usize,
    count: &AtomicU64,
) -> io::Result<()> {
    let copied = copy_all(&mut reader, ahead, &mut writer, piece, count).await;
    let closed = writer.shutdown().await;
    copied.and(closed)
}

async fn copy_all(
    reader: &mut ReadHalf<ClientStream>,
    ahead: Vec<u8>,
    writer: &mut WriteHalf<ClientStream>,
    piece: usize,
    count: &AtomicU64,
) -> io::Result<()> {
    writer.write_all(&ahead).await?;
    count.fetch_add(ahead.len() as u64, Ordering::Relaxed);
    drop(ahead);
    let mut buffer = vec![0; piece];
    loop {
        // TLS keeps what it could not write at once.
        writer.flush().await?;
        let read = reader.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        writer.write_all(&buffer[..read]).await?;
        count.fetch_add(read as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::DuplexStream;

    const NONE: Limits =
        Limits { idle: Duration::ZERO, longest: Duration::ZERO, rate: 0, span: Duration::from_secs(60) };

    fn pair() -> (DuplexStream, (ClientStream, Vec<u8>)) {
        let (far, near) = tokio::io::duplex(4096);
        (far, (ClientStream::Other(Box::new(near)), Vec::new()))
    }

    #[tokio::test]
    async fn what_was_read_ahead_comes_first_and_everything_is_counted() {
        let ((mut client, mut near), (mut backend, behind)) = (pair(), pair());
        near.1 = b"module\n".to_vec();
        let traffic = Traffic::default();
        let sides = async {
            client.write_all(b"more").await.expect("written");
            client.shutdown().await.expect("closed");
            let mut heard = Vec::new();
            backend.read_to_end(&mut heard).await.expect("read");
            backend.write_all(&[7; 1000]).await.expect("written");
            drop(backend);
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.expect("read");
            (heard, answer.len())
        };
        let (ending, heard) = tokio::join!(relay(near, behind, &traffic, NONE, || ()), sides);
        assert_eq!((ending, heard), (Ending::Closed, (b"module\nmore".to_vec(), 1000)));
        let counted = (traffic.sent.into_inner(), traffic.received.into_inner());
        assert_eq!(counted, (1000, 11));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_close_is_let_go_after_its_backend() {
        let ((_client, near), (backend, behind)) = (pair(), pair());
        drop(backend);
        let traffic = Traffic::default();
        assert_eq!(relay(near, behind, &traffic, NONE, || ()).await, Ending::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_ended_by_the_idle_limit() {
        let ((_client, near), (_backend, behind)) = (pair(), pair());
        let start = Instant::now();
        let limits = Limits { idle: Duration::from_secs(30), ..NONE };
        assert_eq!(relay(near, behind, &Traffic::default(), limits, || ()).await, Ending::Idle);
        assert_eq!(start.elapsed().as_secs(), 30);
    }

    #[test]
    fn each_limit_has_its_ending() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut guard = Guard::new(Limits { longest: Duration::from_secs(100), ..NONE }, start);
        assert_eq!(guard.look(at(99), 5, false), None);
        assert_eq!(guard.look(at(100), 6, false), Some(Ending::TooLong));
        let mut guard = Guard::new(Limits { idle: Duration::from_secs(10), ..NONE }, start);
        assert_eq!(guard.look(at(9), 1, false), None);
        assert_eq!(guard.look(at(18), 1, false), None);
        assert_eq!(guard.look(at(19), 1, false), Some(Ending::Idle));
        let mut guard = Guard::new(Limits { rate: 100, ..NONE }, start);
        assert_eq!(guard.look(at(59), 0, false), None, "the span is not over");
        assert_eq!(guard.look(at(60), 6000, false), None);
        assert_eq!(guard.look(at(120), 11_999, false), Some(Ending::TooSlow));
        let mut guard = Guard::new(NONE, start);
        assert_eq!(guard.look(at(1_000_000), 0, false), None);
        assert_eq!(guard.look(at(1_000_000), 0, true), None);
        assert_eq!(guard.look(at(1_000_010), 0, true), Some(Ending::Closed));
    }
}
