//! Data records of `zlib` and `zlibx`: one raw deflate stream a file, cut at sync flushes (spec 05 §9.2).

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use crate::session::Negotiated;

use super::records::{Compressor, Decompressor, MAX_DATA_LEN, put_data};
use super::token::TokenError;

/// How a sync flush ends; not transmitted.
const SYNC_TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// The same, then an empty stored block: consumed without output only if the first was waited for.
const SYNC_PROBE: [u8; 9] = [0, 0, 0xff, 0xff, 0, 0, 0, 0xff, 0xff];
/// Deflate looks back this many bytes.
const WINDOW_LEN: usize = 32_768;
/// Longest piece of a block that enters the history at once.
const HISTORY_PIECE_LEN: usize = 65_535;

/// Whether and how matched blocks enter the history.
#[derive(Clone, Copy, Debug)]
enum History {
    /// They do not: zlibx.
    Unused,
    /// In consecutive pieces.
    Consecutive,
    /// In pieces that all start at the beginning of the block.
    Restarting,
}

impl History {
    fn of(negotiated: &Negotiated) -> Self {
        if negotiated.inserts_consecutive_history() { Self::Consecutive } else { Self::Restarting }
    }

    /// The part of each piece of `block` that a window can hold, in order.
    fn pieces(self, block: &[u8]) -> impl Iterator<Item = &[u8]> {
        let all = if matches!(self, Self::Unused) { &[] } else { block };
        all.chunks(HISTORY_PIECE_LEN).map(move |piece| {
            let piece = if matches!(self, Self::Restarting) { &all[..piece.len()] } else { piece };
            &piece[piece.len().saturating_sub(WINDOW_LEN)..]
        })
    }
}

/// Deflates literal data.
#[derive(Debug)]
pub(super) struct Deflater {
    stream: Compress,
    history: History,
    /// Compressed bytes that make no full record yet.
    pending: Vec<u8>,
    /// Literal data was written after the last flush.
    dirty: bool,
}

impl Deflater {
    pub(super) fn new(level: i32) -> Self {
        let level = flate2::Compression::new(level.clamp(0, 9) as u32);
        Self {
            stream: Compress::new(level, false),
            history: History::Unused,
            pending: Vec::new(),
            dirty: false,
        }
    }

    pub(super) fn with_history(level: i32, negotiated: &Negotiated) -> Self {
        Self { history: History::of(negotiated), ..Self::new(level) }
    }

    /// Compresses all of `data` into `pending`.
    fn run(&mut self, mut data: &[u8], flush: FlushCompress) -> Result<(), TokenError> {
        loop {
            // More room than a flush needs, so that it never ends exactly at the end of the buffer.
            self.pending.reserve(MAX_DATA_LEN + data.len() / 2);
            let before = self.stream.total_in();
            self.stream.compress_vec(data, &mut self.pending, flush).map_err(failed)?;
            data = &data[(self.stream.total_in() - before) as usize..];
            if data.is_empty() && self.pending.len() < self.pending.capacity() {
                return Ok(());
            }
        }
    }
}

impl Compressor for Deflater {
    fn start_file(&mut self) {
        self.stream.reset();
        self.pending.clear();
        self.dirty = false;
    }

    fn literal(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), TokenError> {
        self.dirty = true;
        self.run(data, FlushCompress::None)?;
        let full = self.pending.len() - self.pending.len() % MAX_DATA_LEN;
        put_data(&self.pending[..full], out);
        self.pending.drain(..full);
        Ok(())
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), TokenError> {
        if std::mem::take(&mut self.dirty) {
            self.run(&[], FlushCompress::Sync)?;
            let data = self.pending.strip_suffix(&SYNC_TAIL).unwrap_or(&self.pending);
            put_data(data, out);
            self.pending.clear();
        }
        Ok(())
    }

    fn insert_history(&mut self, block: &[u8]) -> Result<(), TokenError> {
        for piece in self.history.pieces(block) {
            self.stream.set_dictionary(piece).map_err(failed)?;
        }
        Ok(())
    }
}

fn failed(error: impl ToString) -> TokenError {
    TokenError::Codec { codec: "deflate", reason: error.to_string() }
}

/// Inflates data records.
#[derive(Debug)]
pub(super) struct Inflater {
    stream: Decompress,
    history: History,
    discard: bool,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { stream: Decompress::new(false), history: History::Unused, discard: false }
    }

    pub(super) fn with_history(negotiated: &Negotiated) -> Self {
        Self { history: History::of(negotiated), ..Self::new() }
    }

    fn run(&mut self, input: &[u8], out: &mut [u8]) -> Result<(usize, usize), TokenError> {
        let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
        match self.stream.decompress(input, out, FlushDecompress::None) {
            Ok(Status::Ok | Status::BufError) => {}
            Ok(Status::StreamEnd) | Err(_) => return Err(TokenError::Corrupt { codec: "deflate" }),
        }
        let consumed = self.stream.total_in() - before_in;
        Ok((consumed as usize, (self.stream.total_out() - before_out) as usize))
    }
}

impl Decompressor for Inflater {
    fn start_file(&mut self, discard: bool) {
        self.stream.reset(false);
        // Without the matched blocks in its history a `zlib` stream cannot be inflated.
        self.discard = discard && !matches!(self.history, History::Unused);
    }

    fn decompress(
        &mut self,
        input: &[u8],
        _missing: usize,
        out: &mut [u8],
    ) -> Result<(usize, usize), TokenError> {
        if self.discard {
            return Ok((input.len(), 0));
        }
        let (consumed, produced) = self.run(input, out)?;
        if consumed == 0 && produced == 0 && !input.is_empty() {
            return Err(TokenError::Corrupt { codec: "deflate" });
        }
        Ok((consumed, produced))
    }

    fn finish_data(&mut self) -> Result<(), TokenError> {
        if self.discard {
            return Ok(());
        }
        match self.run(&SYNC_PROBE, &mut [0; 1]) {
            Ok((consumed, 0)) if consumed == SYNC_PROBE.len() => Ok(()),
            _ => Err(TokenError::LostSync),
        }
    }

    fn wants_history(&self) -> bool {
        !self.discard && !matches!(self.history, History::Unused)
    }

    fn insert_history(&mut self, block: &[u8]) -> Result<(), TokenError> {
        if self.discard {
            return Ok(());
        }
        for piece in self.history.pieces(block) {
            self.stream.set_dictionary(piece).map_err(|_| TokenError::LostSync)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_blocks_enter_the_history_as_the_protocol_says() {
        let block: Vec<u8> = (0..100_000_u32).map(|i| (i >> 8) as u8).collect();
        let consecutive: Vec<&[u8]> = History::Consecutive.pieces(&block).collect();
        assert_eq!(consecutive, [&block[65_535 - WINDOW_LEN..65_535], &block[100_000 - WINDOW_LEN..]]);
        let restarting: Vec<&[u8]> = History::Restarting.pieces(&block).collect();
        assert_eq!(restarting, [&block[65_535 - WINDOW_LEN..65_535], &block[34_465 - WINDOW_LEN..34_465]]);
        assert_eq!(History::Unused.pieces(&block).count(), 0);
    }
}
