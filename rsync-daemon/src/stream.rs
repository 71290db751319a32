//! What a client is connected by: a socket, which its session gets, or anything else, which is copied to a
//! socket that its session gets.

use std::io::{self, Cursor};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::Socket;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::tally::Entry;

/// A stream of bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A client's connection.
pub enum ClientStream {
    /// A socket, which a session can have as it is.
    Socket(TcpStream),
    /// Anything else, such as TLS.
    Other(Box<dyn Duplex>),
}

/// Bytes copied at once.
const PIECE: usize = 64 << 10;
/// How long a client whose session is over may take to close.
const LINGER: Duration = Duration::from_secs(5);

impl ClientStream {
    /// The same stream with `ahead` in front of what is still to be read.
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "only TLS begins behind what was read"))]
    pub(crate) fn after(self, ahead: Vec<u8>) -> Self {
        if ahead.is_empty() {
            return self;
        }
        let (reader, writer) = tokio::io::split(self);
        Self::Other(Box::new(tokio::io::join(Cursor::new(ahead).chain(reader), writer)))
    }

    /// A socket for a session, which blocks; `relayed` is kept as long as there is something to copy.
    pub(crate) fn into_socket(self, relayed: Entry) -> io::Result<Socket> {
        match self {
            Self::Socket(stream) => {
                let stream = stream.into_std()?;
                stream.set_nonblocking(false)?;
                Ok(stream.into())
            }
            Self::Other(stream) => {
                let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
                ours.set_nonblocking(true)?;
                let ours = UnixStream::from_std(ours)?;
                tokio::spawn(async move {
                    relay(stream, ours).await;
                    drop(relayed);
                });
                Ok(OwnedFd::from(theirs).into())
            }
        }
    }
}

/// Copies both ways until the session is over and its client has all of its bytes.
async fn relay(client: Box<dyn Duplex>, session: UnixStream) {
    let (client_reader, client_writer) = tokio::io::split(client);
    let (session_reader, session_writer) = session.into_split();
    let inbound = copy(client_reader, session_writer);
    let outbound = copy(session_reader, client_writer);
    tokio::pin!(inbound);
    tokio::pin!(outbound);
    tokio::select! {
        // A client that has nothing more to say may still listen.
        _ = &mut inbound => drop(outbound.await),
        _ = &mut outbound => drop(tokio::time::timeout(LINGER, inbound).await),
    }
}

async fn copy(reader: impl AsyncRead + Unpin, mut writer: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut reader = tokio::io::BufReader::with_capacity(PIECE, reader);
    tokio::io::copy_buf(&mut reader, &mut writer).await?;
    writer.shutdown().await
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Other(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Socket(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Other(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(stream) => Pin::new(stream).poll_flush(context),
            Self::Other(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Other(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Tally;
    use std::io::{Read, Write};

    #[tokio::test]
    async fn a_session_has_a_socket_whatever_its_client_is_connected_by() {
        let (mut client, ours) = tokio::io::duplex(16);
        let running = Tally::default();
        let stream = ClientStream::Other(Box::new(ours)).after(b"ahead ".to_vec());
        let mut socket = stream.into_socket(running.enter()).expect("a socket");
        let session = std::thread::spawn(move || {
            let mut heard = [0; 11];
            socket.read_exact(&mut heard).expect("read");
            socket.write_all(&vec![b'x'; 200_000]).expect("written");
            heard
        });
        client.write_all(b"hello").await.expect("written");
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.expect("read");
        assert_eq!((received.len(), &session.join().expect("a session")), (200_000, b"ahead hello"));
        drop(client);
        running.zero().await;
    }
}
