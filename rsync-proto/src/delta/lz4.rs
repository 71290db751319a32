//! Data records of `lz4`: every record is one block of its own (spec 05 §9.3).

use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

use crate::wire::WireError;

use super::records::{Compressor, Decompressor, MAX_DATA_LEN, put_data};
use super::token::TokenError;

/// Compresses literal data block by block.
#[derive(Debug, Default)]
pub(super) struct Lz4Compressor {
    scratch: Vec<u8>,
}

impl Compressor for Lz4Compressor {
    fn start_file(&mut self) {}

    fn literal(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), TokenError> {
        self.scratch.resize(get_maximum_output_size(MAX_DATA_LEN), 0);
        let mut rest = data;
        while !rest.is_empty() {
            let mut piece = &rest[..rest.len().min(MAX_DATA_LEN)];
            loop {
                let length = compress_into(piece, &mut self.scratch)
                    .map_err(|error| TokenError::Codec { codec: "lz4", reason: error.to_string() })?;
                if length <= MAX_DATA_LEN {
                    put_data(&self.scratch[..length], out);
                    break;
                }
                piece = &piece[..piece.len() / 2];
            }
            rest = &rest[piece.len()..];
        }
        Ok(())
    }

    fn flush(&mut self, _out: &mut Vec<u8>) -> Result<(), TokenError> {
        Ok(())
    }
}

/// Decompresses records, each of which must be in the input as a whole.
#[derive(Debug)]
pub(super) struct Lz4Decompressor;

impl Lz4Decompressor {
    /// Most bytes one record may decompress to.
    pub(super) const MAX_OUTPUT_LEN: usize = 32_912;
}

impl Decompressor for Lz4Decompressor {
    fn start_file(&mut self, _discard: bool) {}

    fn decompress(
        &mut self,
        input: &[u8],
        missing: usize,
        out: &mut [u8],
    ) -> Result<(usize, usize), TokenError> {
        if input.is_empty() {
            return Ok((0, 0));
        }
        if missing > 0 {
            return Err(WireError::Incomplete { missing }.into());
        }
        match decompress_into(input, out) {
            Ok(produced) if produced > 0 => Ok((input.len(), produced)),
            _ => Err(TokenError::Corrupt { codec: "lz4" }),
        }
    }
}
