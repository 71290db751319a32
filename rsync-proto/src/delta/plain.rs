//! Tokens without compression (spec 05 §8).

use crate::wire::{Cursor, WireError};

use super::token::{Token, TokenError};

/// Longest literal run written, in bytes; any length is read.
const LITERAL_LEN: usize = 32_768;

/// Writes literal data as runs.
pub(super) fn put_literal(data: &[u8], out: &mut Vec<u8>) {
    for piece in data.chunks(LITERAL_LEN) {
        out.extend_from_slice(&(piece.len() as u32).to_le_bytes());
        out.extend_from_slice(piece);
    }
}

/// Writes a block reference.
pub(super) fn put_block(index: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&(!index).to_le_bytes());
}

/// Writes the end mark.
pub(super) fn put_end(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; 4]);
}

/// Reads plain tokens; literal data is handed out as it lies in the input.
#[derive(Debug, Default)]
pub(super) struct PlainReader {
    block_count: u32,
    /// Bytes of the current literal run that are still to come.
    literal_left: usize,
}

impl PlainReader {
    pub(super) fn start_file(&mut self, block_count: u32) {
        *self = Self { block_count, literal_left: 0 };
    }

    pub(super) fn next<'a>(&mut self, input: &mut Cursor<'a>) -> Result<Token<'a>, TokenError> {
        if self.literal_left == 0 {
            let word = input.i32()?;
            if word == 0 {
                return Ok(Token::End);
            }
            if word < 0 {
                // -1 is block 0: the complement, also for -2^31.
                let (index, count) = (!word as u32, self.block_count);
                if index >= count {
                    return Err(TokenError::BlockIndex { index, count });
                }
                return Ok(Token::Block(index));
            }
            self.literal_left = word as usize;
        } else if input.rest().is_empty() {
            return Err(WireError::Incomplete { missing: 1 }.into());
        }
        let piece = input.take(self.literal_left.min(input.rest().len()))?;
        self.literal_left -= piece.len();
        Ok(Token::Literal(piece))
    }
}
