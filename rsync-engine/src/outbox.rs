//! Writes to the peer: gathers data and messages into frames, limits the rate, keeps the link alive.

use std::io::Write;
use std::time::{Duration, Instant};

use rsync_proto::wire::{Message, Mux};

use crate::EngineError;
use crate::batch::Recorder;
use crate::inbox::link_error;
use crate::link::LinkControl;
use crate::rate::RateLimit;

/// The writing half of a session.
pub(crate) struct Outbox {
    writer: Box<dyn Write + Send>,
    mux: Mux,
    control: LinkControl,
    rate: Option<RateLimit>,
    last_write: Instant,
    tape: Option<Tape>,
    /// Bytes of data that were encoded.
    encoded: u64,
}

/// What is recorded of the data, and whether the peer gets it too.
struct Tape {
    recorder: Recorder,
    diverted: bool,
    bytes: Vec<u8>,
}

/// Data is written when this much has gathered.
const WRITE_SIZE: usize = 64 << 10;

impl Outbox {
    /// Writes to `writer` as fast as it takes.
    pub(crate) fn new(writer: Box<dyn Write + Send>, mux: Mux, control: LinkControl) -> Self {
        Self { writer, mux, control, rate: None, last_write: Instant::now(), tape: None, encoded: 0 }
    }

    /// Gives the link's half back.
    #[cfg(feature = "tls")]
    pub(crate) fn into_writer(self) -> Box<dyn Write + Send> {
        self.writer
    }

    /// Writes at most `kib_per_second` from now on, where that is not 0 (`--bwlimit`).
    pub(crate) fn limit_rate(&mut self, kib_per_second: u64) {
        self.rate =
            (kib_per_second > 0).then(|| RateLimit::new(u32::try_from(kib_per_second).unwrap_or(u32::MAX)));
    }

    /// The multiplexer, to switch framing on and off.
    pub(crate) fn mux(&mut self) -> &mut Mux {
        &mut self.mux
    }

    /// Bytes written or gathered since framing began.
    pub(crate) fn sent(&self) -> u64 {
        self.mux.queued()
    }

    /// Bytes of data so far, frames and messages apart.
    pub(crate) fn encoded(&self) -> u64 {
        self.encoded
    }

    /// Appends data that `encode` writes, and sends what has gathered when it is enough.
    pub(crate) fn data<E>(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), EngineError>
    where
        EngineError: From<E>,
    {
        match &mut self.tape {
            None => {
                let encoded = &mut self.encoded;
                self.mux.encode(|out| {
                    let before = out.len();
                    encode(out)?;
                    *encoded += out.len().saturating_sub(before) as u64;
                    Ok::<(), E>(())
                })?;
            }
            Some(tape) => {
                tape.bytes.clear();
                encode(&mut tape.bytes)?;
                self.encoded += tape.bytes.len() as u64;
                tape.recorder.record(&tape.bytes)?;
                if !tape.diverted {
                    self.mux.data(&tape.bytes);
                }
            }
        }
        if self.mux.pending().len() >= WRITE_SIZE { self.flush() } else { Ok(()) }
    }

    /// Records the data from here on.
    pub(crate) fn record(&mut self, recorder: Recorder) {
        self.tape = Some(Tape { recorder, diverted: false, bytes: Vec::new() });
    }

    /// Keeps data from the peer, or not: it is only recorded. Nothing changes where nothing is recorded.
    pub(crate) fn divert(&mut self, diverted: bool) {
        if let Some(tape) = &mut self.tape {
            tape.diverted = diverted;
        }
    }

    /// Whether data is recorded.
    pub(crate) fn is_recording(&self) -> bool {
        self.tape.is_some()
    }

    /// Appends a message; where the peer cannot see it, nothing happens.
    pub(crate) fn message(&mut self, message: &Message) -> Result<(), EngineError> {
        self.mux.message(message);
        if self.mux.pending().len() >= WRITE_SIZE { self.flush() } else { Ok(()) }
    }

    /// Sends everything that has gathered.
    pub(crate) fn flush(&mut self) -> Result<(), EngineError> {
        self.write_pending(true)
    }

    /// Writes what has gathered; whether that `counts` as activity.
    fn write_pending(&mut self, counts: bool) -> Result<(), EngineError> {
        while !self.mux.pending().is_empty() {
            let pending = self.mux.pending();
            let limit = self.rate.as_ref().map_or(pending.len(), RateLimit::max_write);
            let count = self
                .writer
                .write(&pending[..pending.len().min(limit)])
                .map_err(|error| link_error(error, "write error", &self.control))?;
            if counts {
                self.control.touch();
            }
            self.mux.advance(count);
            self.last_write = Instant::now();
            self.obey_rate(count);
        }
        Ok(())
    }

    fn obey_rate(&mut self, written: usize) {
        let Some(rate) = &mut self.rate else { return };
        let asleep = Instant::now();
        if let Some(sleep) = rate.after_write(written, asleep) {
            std::thread::sleep(sleep);
            rate.slept(sleep, asleep, Instant::now());
        }
    }

    /// How long the writer may stay idle before [`Outbox::keep_alive`] is due: half the timeout.
    pub(crate) fn keep_alive_interval(&self) -> Option<Duration> {
        self.control.timeout().map(|timeout| Duration::from_secs(timeout.as_secs().div_ceil(2).max(1)))
    }

    /// If nothing was written for half the timeout, sends what has gathered or else an empty frame
    /// (spec 02 §3.1).
    pub(crate) fn keep_alive(&mut self) -> Result<(), EngineError> {
        let due = self.keep_alive_interval().is_some_and(|interval| self.last_write.elapsed() >= interval);
        if !due {
            return Ok(());
        }
        if !self.mux.pending().is_empty() {
            return self.flush();
        }
        if self.mux.keep_alive() { self.write_pending(false) } else { Ok(()) }
    }

    /// [`Outbox::keep_alive`] amid local work, which is no silence of the peer: it owes nothing now.
    pub(crate) fn keep_alive_at_work(&mut self) -> Result<(), EngineError> {
        self.control.touch();
        self.keep_alive()
    }
}
