//! A connection during its handshake, before the engine takes it over.

use rsync_proto::wire::{Cursor, Demux, Message, Mux, NeedsInput};

use crate::EngineError;
use crate::inbox::{Inbox, MessageSink};
use crate::link::{Link, LinkControl};
use crate::outbox::Outbox;

/// A link with its buffers: the text phase and the negotiation read and write through it, then
/// [`send`](crate::send) or [`receive`](crate::receive) takes it over with whatever it has read ahead.
pub struct Connection {
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox,
    control: LinkControl,
}

/// No messages travel before framing begins.
struct Unframed;

impl MessageSink for Unframed {
    fn message(&mut self, _: Message) -> Result<(), EngineError> {
        Ok(())
    }
}

impl Connection {
    /// Starts with an unframed stream in both directions.
    #[must_use]
    pub fn new(link: Link) -> Self {
        let Link { reader, writer, control } = link;
        Self {
            inbox: Inbox::new(reader, Demux::new(), control.clone()),
            outbox: Outbox::new(writer, Mux::new(), control.clone()),
            control,
        }
    }

    /// Protects the connection by TLS from here on; see [`Link::secure`].
    ///
    /// # Errors
    /// Those of the handshake, and [`io::ErrorKind::InvalidData`](std::io::ErrorKind::InvalidData) when the
    /// peer has spoken already: what it said is not protected.
    #[cfg(feature = "tls")]
    pub fn secure(self, tls: impl Into<rustls::Connection>) -> std::io::Result<Self> {
        let reader = self.inbox.into_reader().ok_or(std::io::ErrorKind::InvalidData)?;
        let link = Link { reader, writer: self.outbox.into_writer(), control: self.control };
        link.secure(tls).map(Self::new)
    }

    /// Ends the connection from any thread, and holds its timeout.
    #[must_use]
    pub fn control(&self) -> &LinkControl {
        &self.control
    }

    /// Decodes one value of the handshake, reading as much as it needs; what is written goes first.
    ///
    /// # Errors
    /// Those of the decoder and of the link; [`EngineError::UnexpectedEnd`] when the peer closes.
    pub fn decode<T, E>(
        &mut self,
        step: impl FnMut(&mut Cursor<'_>) -> Result<T, E>,
    ) -> Result<T, EngineError>
    where
        E: NeedsInput,
        EngineError: From<E>,
    {
        self.flush()?;
        self.inbox.decode(&mut Unframed, step)
    }

    /// Queues bytes of the handshake; [`Connection::decode`] and [`Connection::flush`] send them.
    ///
    /// # Errors
    /// Those of the link; [`EngineError::UnexpectedEnd`] when the peer has closed it.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        let queued = self.outbox.data::<EngineError>(|out| {
            out.extend_from_slice(bytes);
            Ok(())
        });
        queued.map_err(|error| self.met(error))
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// Those of the link; [`EngineError::UnexpectedEnd`] when the peer has closed it.
    pub fn flush(&mut self) -> Result<(), EngineError> {
        self.outbox.flush().map_err(|error| self.met(error))
    }

    /// A peer that has left already is the same to a writer as to a reader: whether the end or the broken
    /// pipe is met first is chance.
    fn met(&self, error: EngineError) -> EngineError {
        match error {
            EngineError::Link { source, .. } if source.kind() == std::io::ErrorKind::BrokenPipe => {
                EngineError::UnexpectedEnd { received: self.inbox.received() }
            }
            _ => error,
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("control", &self.control).finish_non_exhaustive()
    }
}
