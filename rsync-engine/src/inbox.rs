//! Drives decoders over what the peer sends: reads, unframes, and handles messages on the way.

use std::io::{self, Read};

use rsync_proto::wire::{Cursor, Demux, Message, NeedsInput};

use crate::EngineError;
use crate::batch::Recorder;
use crate::link::LinkControl;

/// Takes the messages that arrive between data.
pub(crate) trait MessageSink {
    /// Handles one message, already checked to be legal in this direction.
    fn message(&mut self, message: Message) -> Result<(), EngineError>;

    /// The link may be silent for a while now.
    fn before_waiting(&mut self) {}
}

/// The reading half of a session.
pub(crate) struct Inbox {
    reader: Box<dyn Read + Send>,
    demux: Demux,
    control: LinkControl,
    recorder: Option<Recorder>,
    /// Bytes of data that were decoded.
    decoded: u64,
}

/// How much is asked of the system at once.
const READ_SIZE: usize = 64 << 10;

impl Inbox {
    /// Reads from `reader`; `demux` may already hold bytes that came with the handshake.
    pub(crate) fn new(reader: Box<dyn Read + Send>, demux: Demux, control: LinkControl) -> Self {
        Self { reader, demux, control, recorder: None, decoded: 0 }
    }

    /// Records the data of the stream from here on.
    pub(crate) fn record(&mut self, recorder: Recorder) {
        self.recorder = Some(recorder);
    }

    /// Gives the link's half back, unless bytes of it were read ahead.
    #[cfg(feature = "tls")]
    pub(crate) fn into_reader(self) -> Option<Box<dyn Read + Send>> {
        self.demux.payload().is_empty().then_some(self.reader)
    }

    /// Bytes received since framing began.
    pub(crate) fn received(&self) -> u64 {
        self.demux.received()
    }

    /// Bytes of data decoded so far, frames and messages apart.
    pub(crate) fn decoded(&self) -> u64 {
        self.decoded
    }

    /// The demultiplexer, to switch framing on and off.
    pub(crate) fn demux(&mut self) -> &mut Demux {
        &mut self.demux
    }

    /// Runs `step` on the data at hand, and again whenever as much more as it asked for has come.
    pub(crate) fn decode<T, E>(
        &mut self,
        sink: &mut dyn MessageSink,
        mut step: impl FnMut(&mut Cursor<'_>) -> Result<T, E>,
    ) -> Result<T, EngineError>
    where
        E: NeedsInput,
        EngineError: From<E>,
    {
        loop {
            let payload = self.demux.payload();
            let have = payload.len();
            let mut cursor = Cursor::new(payload);
            match step(&mut cursor) {
                Ok(value) => {
                    let used = cursor.position();
                    if let Some(recorder) = &self.recorder {
                        recorder.record(&self.demux.payload()[..used])?;
                    }
                    self.demux.consume(used);
                    self.decoded += used as u64;
                    return Ok(value);
                }
                Err(error) => match error.missing() {
                    Some(missing) => self.fill(have + missing, sink)?,
                    None => return Err(error.into()),
                },
            }
        }
    }

    /// Reads until `wanted` bytes of data are at hand.
    fn fill(&mut self, wanted: usize, sink: &mut dyn MessageSink) -> Result<(), EngineError> {
        while !self.advance(wanted, sink)? {
            sink.before_waiting();
            self.read_some()?;
        }
        Ok(())
    }

    /// Unframes what has come, handles its messages, and answers whether `wanted` bytes are there.
    fn advance(&mut self, wanted: usize, sink: &mut dyn MessageSink) -> Result<bool, EngineError> {
        let there = self.demux.need(wanted);
        while let Some(message) = self.demux.next_message() {
            sink.message(message)?;
        }
        Ok(there?)
    }

    fn read_some(&mut self) -> Result<(), EngineError> {
        let received = self.demux.received();
        let count = self
            .reader
            .read(self.demux.spare(READ_SIZE))
            .map_err(|error| link_error(error, "read error", &self.control))?;
        if count == 0 {
            return Err(EngineError::UnexpectedEnd { received });
        }
        self.demux.filled(count);
        Ok(())
    }

    /// Reads until the peer closes, for at most as long as the timeout allows; handles messages.
    pub(crate) fn drain_to_end(&mut self, sink: &mut dyn MessageSink) -> Result<(), EngineError> {
        loop {
            while self.advance(1, sink)? {
                let count = self.demux.payload().len();
                self.demux.consume(count);
            }
            match self.read_some() {
                Ok(()) => {}
                Err(EngineError::UnexpectedEnd { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Says what a failed read or write means.
pub(crate) fn link_error(source: io::Error, context: &'static str, control: &LinkControl) -> EngineError {
    match source.kind() {
        io::ErrorKind::TimedOut => {
            EngineError::Timeout { seconds: control.timeout().map_or(0, |timeout| timeout.as_secs()) }
        }
        _ if control.is_aborted() => control.reason(),
        _ => EngineError::Link { context, source },
    }
}
