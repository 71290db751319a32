//! The other end during the text phase: decoders over an asynchronous stream.

use std::io;
use std::time::Duration;

use rsync_proto::wire::{Cursor, NeedsInput};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stream::ClientStream;

/// The other end of a connection during the text phase (spec 09 §4): a stream, and what was read ahead.
///
/// The daemon speaks with its clients so; what stands in front of daemons speaks so with both sides.
pub struct Peer {
    stream: ClientStream,
    buffer: Vec<u8>,
}

/// Why the other end cannot be understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// It left.
    #[error("the client closed the connection")]
    Closed,
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What it sent is no value of the kind that was expected; it holds why.
    #[error("{0}")]
    Malformed(String),
}

/// Bytes asked of the system at once.
const READ_SIZE: usize = 4096;
/// How long a refused client may take to read why, and how many bytes it may still send.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;

impl Peer {
    /// Nothing was read from `stream` yet.
    #[must_use]
    pub fn new(stream: ClientStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Decodes one value, reading as much as it needs; `step` bounds how much that can be.
    ///
    /// Dropping the future loses nothing: what was read stays.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn decode<T, E>(
        &mut self,
        mut step: impl FnMut(&mut Cursor<'_>) -> Result<T, E>,
    ) -> Result<T, PeerError>
    where
        E: NeedsInput + std::fmt::Display,
    {
        loop {
            let mut input = Cursor::new(&self.buffer);
            match step(&mut input) {
                Ok(value) => {
                    let used = input.position();
                    self.buffer.drain(..used);
                    return Ok(value);
                }
                Err(error) if error.missing().is_none() => {
                    return Err(PeerError::Malformed(error.to_string()));
                }
                Err(_) => {}
            }
            let mut piece = [0; READ_SIZE];
            match self.stream.read(&mut piece).await? {
                0 => return Err(PeerError::Closed),
                count => self.buffer.extend_from_slice(&piece[..count]),
            }
        }
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// [`PeerError::Io`].
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), PeerError> {
        self.stream.write_all(bytes).await?;
        // TLS keeps what it could not write at once.
        Ok(self.stream.flush().await?)
    }

    /// Waits until the other end has left, or has sent more than `limit` bytes ahead of what it is asked
    /// for. What it sends until then is kept.
    pub async fn gone(&mut self, limit: usize) {
        let mut piece = [0; READ_SIZE];
        while self.buffer.len() <= limit {
            match self.stream.read(&mut piece).await {
                Ok(count @ 1..) => self.buffer.extend_from_slice(&piece[..count]),
                Ok(0) | Err(_) => return,
            }
        }
    }

    /// Closes so that the client can read what was sent last, though it may still be sending.
    pub async fn close(mut self) {
        let linger = async {
            self.stream.shutdown().await?;
            let mut piece = [0; READ_SIZE];
            let mut received = 0;
            while received < LINGER_BYTES {
                match self.stream.read(&mut piece).await? {
                    0 => break,
                    count => received += count,
                }
            }
            Ok::<_, io::Error>(())
        };
        // The client is gone or has had its time.
        let _ = tokio::time::timeout(LINGER, linger).await;
    }

    /// The connection, and what was read ahead.
    #[must_use]
    pub fn into_parts(self) -> (ClientStream, Vec<u8>) {
        (self.stream, self.buffer)
    }
}
