//! The receive buffer: takes bytes as a socket gives them, hands out the data stream without frame
//! headers, and collects the messages between frames (spec 02 §2).
//!
//! A driver loops: [`Demux::need`], take messages, decode [`Demux::payload`], [`Demux::consume`];
//! when `need` answers `false` it reads into [`Demux::spare`] and reports with [`Demux::filled`].

use std::collections::VecDeque;

use super::{Cursor, FrameError, FrameHeader, Legal, Message, MessageCode};

/// Capacity that an empty buffer keeps, in bytes.
const KEPT_CAPACITY: usize = 256 * 1024;

/// Demultiplexes one incoming direction.
///
/// The buffer holds, in this order: bytes done with, `start..end` the payload, a gap left by
/// stripped headers, `raw..filled` bytes not looked at yet, free space. While the payload ends
/// inside a frame there is no gap and nothing raw, so that a large frame streams without a copy.
#[derive(Debug)]
pub struct Demux {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    raw: usize,
    filled: usize,
    /// Bytes of the current DATA frame that are not payload yet.
    frame_left: usize,
    /// The rule of the framed stream; `None` while the stream is raw.
    framing: Option<Legal>,
    messages: VecDeque<Message>,
    received: u64,
}

impl Default for Demux {
    fn default() -> Self {
        Self::new()
    }
}

impl Demux {
    /// Starts with an unframed stream, as every connection does.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            end: 0,
            raw: 0,
            filled: 0,
            frame_left: 0,
            framing: None,
            messages: VecDeque::new(),
            received: 0,
        }
    }

    /// From the first byte not consumed on, the stream is framed and carries what `legal` allows.
    pub fn start_framing(&mut self, legal: Legal) {
        debug_assert!(self.framing.is_none(), "framing starts twice");
        self.raw = self.start;
        self.end = self.start;
        self.framing = Some(legal);
    }

    /// From the first byte not consumed on, the stream is raw: a `--files-from` window (spec 02 §2.2).
    ///
    /// # Errors
    /// [`FrameError::FrameInRawWindow`] if the current frame is not used up.
    pub fn start_raw(&mut self) -> Result<(), FrameError> {
        if self.framing.is_some() && (self.start != self.end || self.frame_left > 0) {
            return Err(FrameError::FrameInRawWindow);
        }
        self.framing = None;
        self.start = self.raw;
        self.end = self.raw;
        Ok(())
    }

    /// Whether the stream is framed now.
    #[must_use]
    pub fn is_framed(&self) -> bool {
        self.framing.is_some()
    }

    /// Makes [`Demux::received`] count from the first byte not consumed.
    pub fn start_counting(&mut self) {
        self.received = ((self.end - self.start) + (self.filled - self.raw)) as u64;
        if self.framing.is_none() {
            self.received = (self.filled - self.start) as u64;
        }
    }

    /// Bytes received since [`Demux::start_counting`] (or the beginning), frame headers, messages
    /// and bytes still in the buffer included.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Free space of at least `min` bytes to read into; more is there if it costs nothing.
    pub fn spare(&mut self, min: usize) -> &mut [u8] {
        if self.start == self.end && self.raw == self.filled {
            self.start = 0;
            self.end = 0;
            self.raw = 0;
            self.filled = 0;
            if self.buffer.len() > KEPT_CAPACITY.max(min) {
                self.buffer.truncate(KEPT_CAPACITY.max(min));
                self.buffer.shrink_to_fit();
            }
        }
        if self.buffer.len() - self.filled < min {
            self.make_room(min);
        }
        &mut self.buffer[self.filled..]
    }

    /// Moves what is in use to the front if the free space there pays for the move, else grows.
    fn make_room(&mut self, min: usize) {
        let first = if self.start == self.end { self.raw } else { self.start };
        let used = self.filled - first;
        if first >= used {
            self.buffer.copy_within(first..self.filled, 0);
            self.start -= self.start.min(first);
            self.end -= self.end.min(first);
            self.raw -= self.raw.min(first);
            self.filled = used;
        }
        if self.buffer.len() - self.filled < min {
            let doubled = self.filled.saturating_mul(2);
            self.buffer.resize(doubled.max(self.filled + min), 0);
        }
    }

    /// Says that the first `count` bytes of [`Demux::spare`] were read from the connection.
    pub fn filled(&mut self, count: usize) {
        debug_assert!(count <= self.buffer.len() - self.filled, "{count} bytes do not fit");
        self.filled = self.buffer.len().min(self.filled + count);
        self.received += count as u64;
    }

    /// Tries to make at least `want` bytes of the data stream contiguous in [`Demux::payload`], and
    /// collects the messages met on the way. Answers whether they are there.
    ///
    /// Never looks further than needed, because the stream may turn raw behind the wanted bytes.
    ///
    /// # Errors
    /// [`FrameError`] for a frame this side may not receive, before its payload is there.
    pub fn need(&mut self, want: usize) -> Result<bool, FrameError> {
        let Some(legal) = self.framing else {
            self.end = self.filled;
            self.raw = self.filled;
            return Ok(self.payload().len() >= want);
        };
        loop {
            self.extend_payload();
            if self.payload().len() >= want {
                return Ok(true);
            }
            if self.frame_left > 0 {
                return Ok(false);
            }
            let mut input = Cursor::new(&self.buffer[self.raw..self.filled]);
            if input.rest().len() < FrameHeader::SIZE {
                return Ok(false);
            }
            let header = FrameHeader::decode(&mut input)?;
            legal.check(header)?;
            if header.code == MessageCode::Data {
                self.raw += FrameHeader::SIZE;
                self.frame_left = header.len;
                continue;
            }
            let Ok(payload) = input.take(header.len) else { return Ok(false) };
            self.messages.push_back(Message::decode(header.code, payload)?);
            self.raw += FrameHeader::SIZE + header.len;
        }
    }

    /// Appends to the payload what has arrived of the current frame. Across a gap the smaller of
    /// the two parts is moved, which keeps the total cost linear.
    fn extend_payload(&mut self) {
        let count = self.frame_left.min(self.filled - self.raw);
        if count == 0 {
            return;
        }
        let held = self.end - self.start;
        if self.end != self.raw && held <= count {
            let start = self.raw - held;
            self.buffer.copy_within(self.start..self.end, start);
            self.start = start;
            self.end = self.raw;
        }
        if self.end != self.raw {
            self.buffer.copy_within(self.raw..self.raw + count, self.end);
        }
        self.end += count;
        self.raw += count;
        self.frame_left -= count;
        if self.raw == self.filled {
            self.raw = self.end;
            self.filled = self.end;
        }
    }

    /// The data stream from the first byte not consumed, as far as [`Demux::need`] prepared it.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// A lower bound of the bytes to read from the connection before `need(want)` can succeed.
    #[must_use]
    pub fn missing(&self, want: usize) -> usize {
        let short = want.saturating_sub(self.payload().len());
        let headers = if self.framing.is_some() && short > self.frame_left { FrameHeader::SIZE } else { 0 };
        (short + headers).saturating_sub(self.filled - self.raw)
    }

    /// Drops the first `count` bytes of the payload.
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.end - self.start, "{count} bytes are not there");
        self.start = self.end.min(self.start + count);
    }

    /// Moves as much of the payload as is there and fits into `out`; answers how many bytes.
    pub fn take_payload_into(&mut self, out: &mut [u8]) -> usize {
        let count = out.len().min(self.payload().len());
        out[..count].copy_from_slice(&self.payload()[..count]);
        self.consume(count);
        count
    }

    /// The oldest message not taken yet.
    pub fn next_message(&mut self) -> Option<Message> {
        self.messages.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{CompatFlags, Negotiated};

    fn legal() -> Legal {
        Legal::new(&Negotiated::new(31, CompatFlags::default()), true, false, false)
    }

    fn framed() -> Demux {
        let mut demux = Demux::new();
        demux.start_framing(legal());
        demux
    }

    fn feed(demux: &mut Demux, bytes: &[u8]) {
        demux.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        demux.filled(bytes.len());
    }

    #[test]
    fn a_value_across_frames_and_messages_becomes_contiguous() {
        let mut demux = framed();
        feed(&mut demux, &[3, 0, 0, 7, 1, 2, 3, 0, 0, 0, 7, 4, 0, 0, 0x1d, 2, 0, 0, 0, 2, 0, 0, 7, 4, 5]);
        assert_eq!(demux.need(1), Ok(true));
        assert_eq!(demux.payload(), [1, 2, 3]);
        assert_eq!(demux.next_message(), None);
        assert_eq!(demux.need(5), Ok(true));
        assert_eq!(demux.payload(), [1, 2, 3, 4, 5]);
        assert_eq!(demux.next_message(), Some(Message::IoError(crate::exit::IoErrorFlags::VANISHED)));
        assert_eq!(demux.need(6), Ok(false));
    }

    #[test]
    fn the_payload_of_a_partial_frame_is_there_at_once() {
        let mut demux = framed();
        feed(&mut demux, &[0xff, 0xff, 0xff, 7, 9]);
        assert_eq!(demux.need(1), Ok(true));
        demux.consume(1);
        feed(&mut demux, &[8; 1000]);
        assert_eq!(demux.need(1), Ok(true));
        assert_eq!(demux.payload(), [8; 1000]);
        assert_eq!(demux.missing(1001), 1);
    }

    #[test]
    fn framing_starts_in_the_middle_of_what_was_read() {
        let mut demux = Demux::new();
        feed(&mut demux, &[1, 0, 0, 0, 1, 0, 0, 7, 0x55]);
        assert_eq!(demux.need(4), Ok(true));
        demux.consume(4);
        demux.start_framing(legal());
        demux.start_counting();
        assert_eq!(demux.need(1), Ok(true));
        assert_eq!((demux.payload(), demux.received()), (&[0x55][..], 5));
    }

    #[test]
    fn names_may_travel_raw_between_frames() {
        let mut demux = framed();
        feed(&mut demux, b"\x04\0\0\x07\0\0\0\0a\0zz\0\0\x01\0\0\x07Q");
        assert_eq!(demux.need(4), Ok(true));
        demux.consume(4);
        demux.start_raw().expect("frame used up");
        assert_eq!(demux.need(6), Ok(true));
        assert_eq!(&demux.payload()[..6], b"a\0zz\0\0");
        demux.consume(6);
        demux.start_framing(legal());
        assert_eq!(demux.need(1), Ok(true));
        assert_eq!(demux.payload(), b"Q");
        assert_eq!(demux.start_raw(), Err(FrameError::FrameInRawWindow));
    }

    #[test]
    fn an_oversized_message_is_refused_before_its_payload() {
        let mut demux = framed();
        feed(&mut demux, &[0xff, 0xff, 0xff, 9]);
        assert_eq!(demux.need(1), Err(FrameError::Overflow { code: 2, len: 0xff_ffff }));
    }

    #[test]
    fn one_byte_frames_do_not_grow_the_buffer_beyond_what_is_wanted() {
        let mut demux = framed();
        for _ in 0..20_000 {
            feed(&mut demux, &[1, 0, 0, 7, 9]);
            if demux.need(1000).expect("valid") {
                demux.consume(1000);
            }
        }
        assert!(demux.buffer.len() < 8192, "{}", demux.buffer.len());
    }
}
