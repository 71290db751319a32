//! The record layer that all compressions share: runs of tokens and data records (spec 05 §9.1).

use std::fmt;

use crate::session::Negotiated;
use crate::wire::{Cursor, WireError};

use super::deflate::{Deflater, Inflater};
use super::lz4::{Lz4Compressor, Lz4Decompressor};
use super::token::{Token, TokenError};
use super::zstd::{ZstdCompressor, ZstdDecompressor};
use super::{Compression, CompressionKind};

/// Most bytes of one data record.
pub(super) const MAX_DATA_LEN: usize = 0x3fff;
/// Largest token number of a compressed stream.
const MAX_TOKEN: u32 = 0x7fff_fffe;

const END: u8 = 0;
const SINGLE: u8 = 0x20;
const RUN: u8 = 0x21;
const DATA: u8 = 0x40;
const RELATIVE_SINGLE: u8 = 0x80;
const RELATIVE_RUN: u8 = 0xc0;
const LOW_BITS: u8 = 0x3f;

/// Writes `data` as data records.
pub(super) fn put_data(data: &[u8], out: &mut Vec<u8>) {
    for piece in data.chunks(MAX_DATA_LEN) {
        out.push(DATA | (piece.len() >> 8) as u8);
        out.push(piece.len() as u8);
        out.extend_from_slice(piece);
    }
}

/// Turns literal data into data records.
pub(super) trait Compressor: fmt::Debug + Send {
    fn start_file(&mut self);
    /// Compresses `data`, writing the records that are full.
    fn literal(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), TokenError>;
    /// Writes whatever the literal data before a token still owes.
    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), TokenError>;
    /// Notes the content of a matched block.
    fn insert_history(&mut self, _block: &[u8]) -> Result<(), TokenError> {
        Ok(())
    }
}

/// Turns data records into literal data.
pub(super) trait Decompressor: fmt::Debug + Send {
    fn start_file(&mut self, discard: bool);
    /// Decompresses the front of `input`, a part of a data record that misses `missing` bytes at its
    /// end, into `out`; says how much was consumed and produced. Called again with an empty input
    /// whenever `out` was filled.
    fn decompress(
        &mut self,
        input: &[u8],
        missing: usize,
        out: &mut [u8],
    ) -> Result<(usize, usize), TokenError>;
    /// The first token after data records was reached.
    fn finish_data(&mut self) -> Result<(), TokenError> {
        Ok(())
    }
    fn wants_history(&self) -> bool {
        false
    }
    fn insert_history(&mut self, _block: &[u8]) -> Result<(), TokenError> {
        Ok(())
    }
}

/// Collects block tokens into runs.
#[derive(Debug, Default)]
struct Runs {
    /// Last token number of the record before.
    base: u32,
    /// First token and number of further tokens of the run that is not written yet.
    pending: Option<(u32, u16)>,
}

impl Runs {
    fn push(&mut self, token: u32, out: &mut Vec<u8>) {
        if let Some((first, more)) = &mut self.pending
            && *more < u16::MAX
            && u64::from(*first) + u64::from(*more) + 1 == u64::from(token)
        {
            *more += 1;
            return;
        }
        self.finish(out);
        self.pending = Some((token, 0));
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        let Some((first, more)) = self.pending.take() else { return };
        match first.checked_sub(self.base) {
            Some(ahead) if ahead <= u32::from(LOW_BITS) => {
                out.push(if more == 0 { RELATIVE_SINGLE } else { RELATIVE_RUN } | ahead as u8);
            }
            _ => {
                out.push(if more == 0 { SINGLE } else { RUN });
                out.extend_from_slice(&first.to_le_bytes());
            }
        }
        if more > 0 {
            out.extend_from_slice(&more.to_le_bytes());
        }
        self.base = first + u32::from(more);
    }
}

/// Writes compressed token streams.
#[derive(Debug)]
pub(super) struct RecordWriter {
    runs: Runs,
    compressor: Box<dyn Compressor>,
}

impl RecordWriter {
    pub(super) fn new(compression: Compression, negotiated: &Negotiated) -> Result<Self, TokenError> {
        let compressor: Box<dyn Compressor> = match compression.kind {
            CompressionKind::Zlib => Box::new(Deflater::with_history(compression.level, negotiated)),
            CompressionKind::Zlibx => Box::new(Deflater::new(compression.level)),
            CompressionKind::Lz4 => Box::new(Lz4Compressor::default()),
            CompressionKind::Zstd => Box::new(ZstdCompressor::new(compression.level)?),
        };
        Ok(Self { runs: Runs::default(), compressor })
    }

    pub(super) fn start_file(&mut self) {
        self.runs = Runs::default();
        self.compressor.start_file();
    }

    pub(super) fn literal(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), TokenError> {
        if data.is_empty() {
            return Ok(());
        }
        self.runs.finish(out);
        self.compressor.literal(data, out)
    }

    pub(super) fn block(&mut self, index: u32, block: &[u8], out: &mut Vec<u8>) -> Result<(), TokenError> {
        self.compressor.flush(out)?;
        self.runs.push(index, out);
        self.compressor.insert_history(block)
    }

    pub(super) fn end(&mut self, out: &mut Vec<u8>) -> Result<(), TokenError> {
        self.runs.finish(out);
        self.compressor.flush(out)?;
        out.push(END);
        Ok(())
    }
}

/// Reads compressed token streams.
#[derive(Debug)]
pub(super) struct RecordReader {
    block_count: u32,
    base: u32,
    /// Next token and number of tokens of the run that is being handed out.
    run: (u32, u32),
    /// Bytes of the current data record that are still to come.
    data_left: usize,
    /// The last output filled the buffer: there may be more without further input.
    output_pending: bool,
    /// Data records came after the last token.
    after_data: bool,
    decompressor: Box<dyn Decompressor>,
    buffer: Box<[u8]>,
}

impl RecordReader {
    pub(super) fn new(compression: Compression, negotiated: &Negotiated) -> Result<Self, TokenError> {
        let (decompressor, buffer_len): (Box<dyn Decompressor>, usize) = match compression.kind {
            CompressionKind::Zlib => (Box::new(Inflater::with_history(negotiated)), 65_536),
            CompressionKind::Zlibx => (Box::new(Inflater::new()), 65_536),
            CompressionKind::Lz4 => (Box::new(Lz4Decompressor), Lz4Decompressor::MAX_OUTPUT_LEN),
            CompressionKind::Zstd => (Box::new(ZstdDecompressor::new()?), 131_072),
        };
        Ok(Self {
            block_count: 0,
            base: 0,
            run: (0, 0),
            data_left: 0,
            output_pending: false,
            after_data: false,
            decompressor,
            buffer: vec![0; buffer_len].into_boxed_slice(),
        })
    }

    pub(super) fn start_file(&mut self, block_count: u32, discard: bool) {
        self.block_count = block_count;
        self.base = 0;
        self.run = (0, 0);
        self.data_left = 0;
        self.output_pending = false;
        self.after_data = false;
        self.decompressor.start_file(discard);
    }

    pub(super) fn next<'a>(&'a mut self, input: &mut Cursor<'_>) -> Result<Token<'a>, TokenError> {
        let start = input.position();
        loop {
            if self.run.1 > 0 {
                return self.next_of_run();
            }
            let step = if self.data_left > 0 || self.output_pending {
                self.decompress(input)
            } else {
                self.record(input)
            };
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Literal(length)) => return Ok(Token::Literal(&self.buffer[..length])),
                Ok(Step::End) => return Ok(Token::End),
                Err(TokenError::Wire(WireError::Incomplete { .. })) if input.position() > start => {
                    return Ok(Token::Literal(&[]));
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn wants_history(&self) -> bool {
        self.decompressor.wants_history()
    }

    pub(super) fn insert_history(&mut self, block: &[u8]) -> Result<(), TokenError> {
        self.decompressor.insert_history(block)
    }

    fn next_of_run(&mut self) -> Result<Token<'static>, TokenError> {
        let index = self.run.0;
        if index >= self.block_count {
            return Err(TokenError::BlockIndex { index, count: self.block_count });
        }
        self.run = (index + 1, self.run.1 - 1);
        Ok(Token::Block(index))
    }

    fn decompress(&mut self, input: &mut Cursor<'_>) -> Result<Step, TokenError> {
        let rest = input.rest();
        let available = &rest[..rest.len().min(self.data_left)];
        if available.is_empty() && !self.output_pending {
            return Err(WireError::Incomplete { missing: 1 }.into());
        }
        let missing = self.data_left - available.len();
        let (consumed, produced) = self.decompressor.decompress(available, missing, &mut self.buffer)?;
        input.take(consumed)?;
        self.data_left -= consumed;
        self.output_pending = produced == self.buffer.len();
        Ok(if produced > 0 { Step::Literal(produced) } else { Step::Again })
    }

    fn record(&mut self, input: &mut Cursor<'_>) -> Result<Step, TokenError> {
        let mut ahead = input.clone();
        let first = ahead.u8()?;
        if first & 0xc0 == DATA {
            self.data_left = usize::from(first & LOW_BITS) << 8 | usize::from(ahead.u8()?);
            if self.data_left == 0 {
                return Err(TokenError::Corrupt { codec: "empty" });
            }
            self.after_data = true;
            *input = ahead;
            return Ok(Step::Again);
        }
        let token = match first {
            END => None,
            SINGLE | RUN => Some(u32::try_from(ahead.i32()?).map_err(|_| TokenError::TokenNumber)?),
            RELATIVE_SINGLE.. => Some(self.base + u32::from(first & LOW_BITS)),
            byte => return Err(TokenError::UnknownRecord { byte }),
        };
        let more = match first {
            RUN | RELATIVE_RUN.. => match ahead.u16()? {
                0 => return Err(TokenError::TokenNumber),
                more => u32::from(more),
            },
            _ => 0,
        };
        if std::mem::take(&mut self.after_data) {
            self.decompressor.finish_data()?;
        }
        *input = ahead;
        let Some(token) = token else { return Ok(Step::End) };
        // Neither sum overflows: base is at most MAX_TOKEN, the increments are below 2^16.
        if token > MAX_TOKEN || token + more > MAX_TOKEN {
            return Err(TokenError::TokenNumber);
        }
        self.base = token + more;
        self.run = (token, more + 1);
        Ok(Step::Again)
    }
}

enum Step {
    Again,
    Literal(usize),
    End,
}
