//! The send buffer: cuts the data stream into DATA frames and puts messages between them
//! (spec 02 §2).

use super::{FrameHeader, Legal, Message, MessageCode};

/// Longest DATA frame written, in bytes; the C rsync's own size.
const MAX_DATA: usize = 65532;
/// Bytes already sent are cut off the front when there are at least so many.
const COMPACT_AT: usize = 64 * 1024;

/// Multiplexes one outgoing direction.
#[derive(Debug, Default)]
pub struct Mux {
    buffer: Vec<u8>,
    /// Bytes at the front of `buffer` that are sent already.
    sent: usize,
    /// Where the header of a DATA frame that may still grow begins.
    open: Option<usize>,
    /// What the peer may receive; `None` while the stream is raw.
    framing: Option<Legal>,
    /// Bytes cut off the front of `buffer` since counting began.
    dropped: u64,
    /// Bytes to subtract, queued before counting began.
    uncounted: u64,
}

impl Mux {
    /// Starts with an unframed stream, as every connection does.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Frames what follows; `peer` says which messages the other side may receive.
    pub fn start_framing(&mut self, peer: Legal) {
        self.framing = Some(peer);
        self.open = None;
    }

    /// Sends what follows without frames: a `--files-from` window (spec 02 §2.2).
    pub fn start_raw(&mut self) {
        self.framing = None;
        self.open = None;
    }

    /// Whether the stream is framed now.
    #[must_use]
    pub fn is_framed(&self) -> bool {
        self.framing.is_some()
    }

    /// Makes [`Mux::queued`] count from here.
    pub fn start_counting(&mut self) {
        self.uncounted = self.dropped + self.buffer.len() as u64;
    }

    /// Bytes queued since [`Mux::start_counting`] (or the beginning), headers and messages and
    /// what is still pending included.
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.dropped + self.buffer.len() as u64 - self.uncounted
    }

    /// Appends `bytes` to the data stream.
    pub fn data(&mut self, mut bytes: &[u8]) {
        if self.framing.is_none() {
            self.buffer.extend_from_slice(bytes);
            return;
        }
        while !bytes.is_empty() {
            let header = self.open_frame();
            let room = MAX_DATA - (self.buffer.len() - header - FrameHeader::SIZE);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            self.patch(header);
            bytes = later;
        }
    }

    /// Appends to the data stream what `encode` pushes; it must only append. If it fails, nothing
    /// is sent.
    ///
    /// # Errors
    /// Those of `encode`.
    pub fn encode<E>(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let (before, was_open) = (self.buffer.len(), self.open);
        let header = self.framing.map(|_| self.open_frame());
        let start = self.buffer.len();
        let result = encode(&mut self.buffer);
        debug_assert!(self.buffer.len() >= start, "an encoder must only append");
        if result.is_err() || self.buffer.len() <= start {
            self.buffer.truncate(before);
            self.open = was_open;
            return result;
        }
        if let Some(header) = header {
            let fits = header + FrameHeader::SIZE + MAX_DATA;
            if self.buffer.len() > fits {
                let rest = self.buffer.split_off(fits);
                self.patch(header);
                self.data(&rest);
            } else {
                self.patch(header);
            }
        }
        Ok(())
    }

    /// The offset of the header of a DATA frame that has room.
    fn open_frame(&mut self) -> usize {
        if let Some(header) = self.open
            && self.buffer.len() < header + FrameHeader::SIZE + MAX_DATA
        {
            return header;
        }
        let header = self.buffer.len();
        self.buffer.extend_from_slice(&FrameHeader { code: MessageCode::Data, len: 0 }.encode());
        self.open = Some(header);
        header
    }

    /// Sets the length of the last frame, whose header is at `header`, to all that follows it.
    fn patch(&mut self, header: usize) {
        let len = self.buffer.len() - header - FrameHeader::SIZE;
        let bytes = FrameHeader { code: MessageCode::Data, len }.encode();
        self.buffer[header..header + FrameHeader::SIZE].copy_from_slice(&bytes);
    }

    /// Queues `message` behind the data so far, long texts in several frames, and answers whether
    /// the peer will see it: a raw stream carries none, and older peers do not know all.
    ///
    /// Below protocol 30 ERROR becomes ERROR_XFER and WARNING becomes INFO.
    pub fn message(&mut self, message: &Message) -> bool {
        let Some(peer) = self.framing else { return false };
        let code = match message.code() {
            MessageCode::Error if !peer.has_fine_severities() => MessageCode::ErrorXfer,
            MessageCode::Warning if !peer.has_fine_severities() => MessageCode::Info,
            code => code,
        };
        if !peer.allows(code) {
            return false;
        }
        self.open = None;
        if let Message::Text { bytes, .. } = message {
            for part in bytes.chunks(peer.text_limit()) {
                self.buffer.extend_from_slice(&FrameHeader { code, len: part.len() }.encode());
                self.buffer.extend_from_slice(part);
            }
            return true;
        }
        let header = self.buffer.len();
        self.buffer.extend_from_slice(&[0; FrameHeader::SIZE]);
        message.encode_payload(&mut self.buffer);
        let len = self.buffer.len() - header - FrameHeader::SIZE;
        let bytes = FrameHeader { code, len }.encode();
        self.buffer[header..header + FrameHeader::SIZE].copy_from_slice(&bytes);
        true
    }

    /// Queues an empty DATA frame; answers `false` on a raw stream, which has no keep-alives.
    pub fn keep_alive(&mut self) -> bool {
        if self.framing.is_none() {
            return false;
        }
        self.open = None;
        self.buffer.extend_from_slice(&FrameHeader { code: MessageCode::Data, len: 0 }.encode());
        true
    }

    /// The bytes to write to the connection now.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.buffer[self.sent..]
    }

    /// Says that the first `count` bytes of [`Mux::pending`] were written.
    pub fn advance(&mut self, count: usize) {
        debug_assert!(count <= self.pending().len(), "{count} bytes are not pending");
        self.sent = self.buffer.len().min(self.sent + count);
        if self.open.is_some_and(|header| self.sent > header) {
            self.open = None;
        }
        if self.sent == self.buffer.len() || self.sent >= COMPACT_AT.max(self.buffer.len() / 2) {
            self.buffer.drain(..self.sent);
            self.dropped += self.sent as u64;
            self.open = self.open.map(|header| header - self.sent);
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{CompatFlags, Negotiated};
    use crate::wire::Demux;
    use proptest::prelude::*;

    fn peer(protocol: u8) -> Legal {
        Legal::new(&Negotiated::new(protocol, CompatFlags::default()), true, false, false)
    }

    fn framed(protocol: u8) -> Mux {
        let mut mux = Mux::new();
        mux.start_framing(peer(protocol));
        mux
    }

    fn text(code: MessageCode, bytes: &[u8]) -> Message {
        Message::Text { code, bytes: bytes.to_vec() }
    }

    #[test]
    fn messages_stand_between_data_frames() {
        let mut mux = framed(31);
        mux.data(&[0, 0]);
        mux.data(&[0]);
        assert!(mux.message(&Message::NoSend(2)));
        mux.data(&[1]);
        assert!(mux.keep_alive());
        let golden = [3, 0, 0, 7, 0, 0, 0, 4, 0, 0, 0x6d, 2, 0, 0, 0, 1, 0, 0, 7, 1, 0, 0, 0, 7];
        assert_eq!(mux.pending(), golden);
        assert_eq!(mux.queued(), golden.len() as u64);
    }

    #[test]
    fn a_frame_whose_header_is_partly_written_grows_no_more() {
        let mut mux = framed(31);
        mux.data(&[1]);
        mux.advance(1);
        mux.data(&[2]);
        assert_eq!(mux.pending(), [0, 0, 7, 1, 1, 0, 0, 7, 2]);
        mux.start_counting();
        mux.advance(9);
        assert!(mux.pending().is_empty());
        assert_eq!(mux.queued(), 0);
    }

    #[test]
    fn long_data_is_cut_into_frames_however_it_is_appended() {
        let long = vec![7; 70_000];
        let (mut whole, mut encoded) = (framed(31), framed(31));
        whole.data(&long);
        encoded
            .encode(|out| {
                out.extend_from_slice(&long);
                Ok::<(), ()>(())
            })
            .expect("no error");
        assert_eq!(&whole.pending()[..4], [0xfc, 0xff, 0, 7]);
        assert_eq!(whole.pending().len(), 70_008);
        assert_eq!(whole.pending(), encoded.pending());
    }

    #[test]
    fn a_failed_encoder_leaves_no_trace() {
        let mut mux = framed(31);
        mux.encode(|out| {
            out.push(1);
            Err(())
        })
        .expect_err("fails");
        assert!(mux.pending().is_empty());
    }

    #[test]
    fn old_clients_get_texts_they_know() {
        let mut mux = framed(29);
        assert!(mux.message(&text(MessageCode::Error, b"e")));
        assert!(mux.message(&text(MessageCode::Warning, b"w")));
        assert!(!mux.message(&Message::ErrorExit(None)));
        assert!(!mux.message(&Message::NoSend(1)));
        assert_eq!(mux.pending(), [1, 0, 0, 8, b'e', 1, 0, 0, 9, b'w']);
        let mut mux = framed(28);
        assert!(mux.message(&text(MessageCode::Info, &[b'x'; 1000])));
        assert_eq!(mux.pending().len(), 1008);
    }

    #[test]
    fn a_raw_stream_carries_data_only() {
        let mut mux = Mux::new();
        mux.data(b"a\0\0");
        assert!(!mux.message(&text(MessageCode::Info, b"lost")));
        assert!(!mux.keep_alive());
        mux.start_framing(peer(30));
        mux.data(b"b");
        assert_eq!(mux.pending(), b"a\0\0\x01\0\0\x07b");
    }

    proptest! {
        #[test]
        fn both_streams_survive_any_chunking(
            parts in prop::collection::vec((0..4, prop::collection::vec(any::<u8>(), 0..300)), 0..30),
            writes in prop::collection::vec(1_usize..200, 1..20),
            wants in prop::collection::vec(1_usize..64, 1..20),
        ) {
            let (mut mux, mut demux) = (framed(31), Demux::new());
            demux.start_framing(peer(31));
            let (mut data, mut messages, mut wire) = (Vec::new(), Vec::new(), Vec::new());
            for ((kind, bytes), count) in parts.iter().zip(writes.iter().cycle()) {
                match kind {
                    0 => {
                        let message = text(MessageCode::Info, bytes);
                        mux.message(&message);
                        if !bytes.is_empty() {
                            messages.push(message);
                        }
                    }
                    1 => {
                        mux.keep_alive();
                    }
                    _ => {
                        mux.data(bytes);
                        data.extend_from_slice(bytes);
                    }
                }
                let count = (*count).min(mux.pending().len());
                wire.extend_from_slice(&mux.pending()[..count]);
                mux.advance(count);
            }
            wire.extend_from_slice(mux.pending());
            prop_assert_eq!(mux.queued(), wire.len() as u64);

            let (mut got, mut got_messages, mut rest) = (Vec::new(), Vec::new(), &wire[..]);
            let mut sizes = writes.iter().cycle();
            for want in wants.iter().cycle() {
                if demux.need(*want).expect("valid") {
                    got.extend_from_slice(&demux.payload()[..*want]);
                    demux.consume(*want);
                } else if rest.is_empty() {
                    got.extend_from_slice(demux.payload());
                    let all = demux.payload().len();
                    demux.consume(all);
                    break;
                } else {
                    let count = (*sizes.next().expect("cycle")).min(rest.len());
                    demux.spare(count)[..count].copy_from_slice(&rest[..count]);
                    demux.filled(count);
                    rest = &rest[count..];
                }
                got_messages.extend(std::iter::from_fn(|| demux.next_message()));
            }
            got_messages.extend(std::iter::from_fn(|| demux.next_message()));
            prop_assert_eq!(got, data);
            prop_assert_eq!(got_messages, messages);
            prop_assert_eq!(demux.received(), wire.len() as u64);
        }

        #[test]
        fn any_bytes_give_an_answer(chunks: Vec<Vec<u8>>) {
            let mut demux = Demux::new();
            demux.start_framing(peer(31));
            for chunk in chunks {
                demux.spare(chunk.len())[..chunk.len()].copy_from_slice(&chunk);
                demux.filled(chunk.len());
                if demux.need(7).is_err() {
                    break;
                }
            }
        }
    }
}
