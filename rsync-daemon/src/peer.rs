//! A client during the text phase: decoders over an asynchronous socket.

use std::io;
use std::time::Duration;

use rsync_proto::wire::{Cursor, NeedsInput};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::stream::ClientStream;

/// A socket with what was read ahead.
pub(crate) struct Peer {
    stream: ClientStream,
    buffer: Vec<u8>,
}

/// Why a client cannot be understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("the client closed the connection")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    Malformed(String),
}

/// Bytes asked of the system at once.
const READ_SIZE: usize = 4096;
/// How long a refused client may take to read why, and how many bytes it may still send.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;

impl Peer {
    pub(crate) fn new(stream: ClientStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Speaks TLS from now on.
    pub(crate) async fn secure(self, acceptor: &TlsAcceptor) -> io::Result<Self> {
        let stream = acceptor.accept(self.stream.after(self.buffer)).await?;
        Ok(Self::new(ClientStream::Other(Box::new(stream))))
    }

    /// Decodes one value, reading as much as it needs.
    pub(crate) async fn decode<T, E>(
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

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), PeerError> {
        self.stream.write_all(bytes).await?;
        // TLS keeps what it could not write at once.
        Ok(self.stream.flush().await?)
    }

    /// Closes so that the client can read what was sent last, though it may still be sending.
    pub(crate) async fn close(mut self) {
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
    pub(crate) fn into_parts(self) -> (ClientStream, Vec<u8>) {
        (self.stream, self.buffer)
    }
}
