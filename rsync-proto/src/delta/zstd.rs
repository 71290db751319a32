//! Data records of `zstd`: one stream for the whole session, flushed before tokens (spec 05 §9.4).

use std::fmt;
use std::io;

use zstd::stream::raw::{DParameter, Decoder, Encoder, InBuffer, Operation, OutBuffer};

use super::records::{Compressor, Decompressor, MAX_DATA_LEN, put_data};
use super::token::TokenError;

/// Largest window accepted, as a power of two in bytes.
const MAX_WINDOW_LOG: u32 = 27;

/// Compresses the literal data of all files into one stream.
pub(super) struct ZstdCompressor {
    stream: Encoder<'static>,
    /// Compressed bytes that make no full record yet.
    pending: Vec<u8>,
    scratch: Box<[u8]>,
    /// Literal data was written after the last flush.
    dirty: bool,
}

impl ZstdCompressor {
    pub(super) fn new(level: i32) -> Result<Self, TokenError> {
        Ok(Self {
            stream: Encoder::new(level).map_err(failed)?,
            pending: Vec::new(),
            scratch: vec![0; 131_072].into_boxed_slice(),
            dirty: false,
        })
    }
}

impl Compressor for ZstdCompressor {
    fn start_file(&mut self) {}

    fn literal(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), TokenError> {
        self.dirty = true;
        let mut input = InBuffer::around(data);
        while input.pos() < data.len() {
            let mut output = OutBuffer::around(&mut self.scratch[..]);
            self.stream.run(&mut input, &mut output).map_err(failed)?;
            self.pending.extend_from_slice(output.as_slice());
        }
        let full = self.pending.len() - self.pending.len() % MAX_DATA_LEN;
        put_data(&self.pending[..full], out);
        self.pending.drain(..full);
        Ok(())
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), TokenError> {
        while self.dirty {
            let mut output = OutBuffer::around(&mut self.scratch[..]);
            self.dirty = self.stream.flush(&mut output).map_err(failed)? > 0;
            self.pending.extend_from_slice(output.as_slice());
        }
        put_data(&self.pending, out);
        self.pending.clear();
        Ok(())
    }
}

impl fmt::Debug for ZstdCompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZstdCompressor").field("dirty", &self.dirty).finish_non_exhaustive()
    }
}

fn failed(error: io::Error) -> TokenError {
    TokenError::Codec { codec: "zstd", reason: error.to_string() }
}

/// Decompresses the one stream of a session, files that are thrown away included.
pub(super) struct ZstdDecompressor {
    stream: Decoder<'static>,
}

impl ZstdDecompressor {
    pub(super) fn new() -> Result<Self, TokenError> {
        let mut stream = Decoder::new().map_err(failed)?;
        stream.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG)).map_err(failed)?;
        Ok(Self { stream })
    }
}

impl Decompressor for ZstdDecompressor {
    fn start_file(&mut self, _discard: bool) {}

    fn decompress(
        &mut self,
        input: &[u8],
        _missing: usize,
        out: &mut [u8],
    ) -> Result<(usize, usize), TokenError> {
        let mut input = InBuffer::around(input);
        let mut output = OutBuffer::around(out);
        self.stream.run(&mut input, &mut output).map_err(|_| TokenError::Corrupt { codec: "zstd" })?;
        Ok((input.pos(), output.pos()))
    }
}

impl fmt::Debug for ZstdDecompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZstdDecompressor").finish_non_exhaustive()
    }
}
