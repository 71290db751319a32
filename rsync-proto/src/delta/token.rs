//! The token stream of a file: literal data, references to blocks, the end (spec 05 §8, §9).
//!
//! The sender writes it with a [`TokenEncoder`], the receiver reads it with a [`TokenDecoder`]; one of
//! each lives as long as the session, because a Zstandard stream does.

use crate::exit::ExitCode;
use crate::session::Negotiated;
use crate::wire::{Cursor, NeedsInput, WireError};

use super::Compression;
use super::plain::{self, PlainReader};
use super::records::{RecordReader, RecordWriter};

/// One step of a token stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// A piece of literal data; it may be empty, when input was used up that produced nothing yet.
    Literal(&'a [u8]),
    /// The block of the basis with this index, below the number of blocks.
    Block(u32),
    /// No more data; the whole-file digest follows.
    End,
}

/// Why a token stream is refused, or could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The next token is not there completely.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A compressed stream numbers a token outside 0 to 0x7ffffffe, or a run is empty.
    #[error("invalid token number in compressed stream")]
    TokenNumber,
    /// A block that the basis does not have.
    #[error("Invalid block index {index} (count={count}) [receiver]")]
    BlockIndex {
        /// The index received.
        index: u32,
        /// Number of blocks of the basis.
        count: u32,
    },
    /// A record begins with a byte that has no meaning.
    #[error("compressed stream: no record begins with byte {byte:#04x}")]
    UnknownRecord {
        /// The byte received.
        byte: u8,
    },
    /// The data records do not end where the compressor flushed.
    #[error("decompressor lost sync!")]
    LostSync,
    /// A data record cannot be decompressed.
    #[error("compressed stream: corrupt {codec} data")]
    Corrupt {
        /// The compression algorithm.
        codec: &'static str,
    },
    /// The compressor or decompressor itself failed.
    #[error("{codec} failed: {reason}")]
    Codec {
        /// The compression algorithm.
        codec: &'static str,
        /// What it said.
        reason: String,
    },
}

impl TokenError {
    /// What rsync calls this error.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::TokenNumber | Self::BlockIndex { .. } | Self::UnknownRecord { .. } => ExitCode::PROTOCOL,
            Self::Wire(_) | Self::LostSync | Self::Corrupt { .. } | Self::Codec { .. } => ExitCode::STREAM,
        }
    }
}

impl NeedsInput for TokenError {
    fn missing(&self) -> Option<usize> {
        match self {
            Self::Wire(error) => error.missing(),
            _ => None,
        }
    }
}

/// Writes the token streams of a session's files, one after the other.
#[derive(Debug)]
pub struct TokenEncoder(Writer);

#[derive(Debug)]
enum Writer {
    Plain,
    Records(Box<RecordWriter>),
}

impl TokenEncoder {
    /// Writes what `negotiated` says: plain tokens, or records of its compression.
    ///
    /// # Errors
    /// [`TokenError::Codec`] when the compressor refuses to start.
    pub fn new(negotiated: &Negotiated) -> Result<Self, TokenError> {
        Self::with_compression(negotiated.compression, negotiated)
    }

    /// Like [`TokenEncoder::new`] with a `compression` of the caller's: a daemon that shall not compress
    /// passes a deflate of level 0, which the receiver cannot tell from others (spec 05 §9.5).
    ///
    /// # Errors
    /// [`TokenError::Codec`] when the compressor refuses to start.
    pub fn with_compression(
        compression: Option<Compression>,
        negotiated: &Negotiated,
    ) -> Result<Self, TokenError> {
        Ok(Self(match compression {
            None => Writer::Plain,
            Some(compression) => Writer::Records(Box::new(RecordWriter::new(compression, negotiated)?)),
        }))
    }

    /// Begins the stream of a file; call it before its first token.
    pub fn start_file(&mut self) {
        if let Writer::Records(writer) = &mut self.0 {
            writer.start_file();
        }
    }

    /// Writes literal data of any length.
    ///
    /// # Errors
    /// [`TokenError::Codec`] when the compressor fails.
    pub fn literal(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), TokenError> {
        match &mut self.0 {
            Writer::Plain => plain::put_literal(data, out),
            Writer::Records(writer) => writer.literal(data, out)?,
        }
        Ok(())
    }

    /// Writes a reference to block `index`, whose content is `block`.
    ///
    /// # Errors
    /// [`TokenError::Codec`] when the compressor fails.
    pub fn block(&mut self, index: u32, block: &[u8], out: &mut Vec<u8>) -> Result<(), TokenError> {
        match &mut self.0 {
            Writer::Plain => plain::put_block(index, out),
            Writer::Records(writer) => writer.block(index, block, out)?,
        }
        Ok(())
    }

    /// Ends the stream of the file.
    ///
    /// # Errors
    /// [`TokenError::Codec`] when the compressor fails.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<(), TokenError> {
        match &mut self.0 {
            Writer::Plain => plain::put_end(out),
            Writer::Records(writer) => writer.end(out)?,
        }
        Ok(())
    }
}

/// Reads the token streams of a session's files, one after the other.
#[derive(Debug)]
pub struct TokenDecoder(Reader);

#[derive(Debug)]
enum Reader {
    Plain(PlainReader),
    Records(Box<RecordReader>),
}

impl TokenDecoder {
    /// Reads what `negotiated` says: plain tokens, or records of its compression.
    ///
    /// # Errors
    /// [`TokenError::Codec`] when the decompressor refuses to start.
    pub fn new(negotiated: &Negotiated) -> Result<Self, TokenError> {
        Ok(Self(match negotiated.compression {
            None => Reader::Plain(PlainReader::default()),
            Some(compression) => Reader::Records(Box::new(RecordReader::new(compression, negotiated)?)),
        }))
    }

    /// Begins the stream of a file whose basis has `block_count` blocks.
    ///
    /// `discard` says that its data is thrown away: block tokens then need no
    /// [`TokenDecoder::insert_history`], and literal data that could not be decoded without is left out.
    pub fn start_file(&mut self, block_count: u32, discard: bool) {
        match &mut self.0 {
            Reader::Plain(reader) => reader.start_file(block_count),
            Reader::Records(reader) => reader.start_file(block_count, discard),
        }
    }

    /// Decodes the next token, or the next piece of literal data. Every success may have used up input.
    ///
    /// # Errors
    /// [`WireError::Incomplete`] when there is too little input to get further, with nothing consumed;
    /// else what is wrong with the stream.
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut Cursor<'i>) -> Result<Token<'a>, TokenError> {
        match &mut self.0 {
            Reader::Plain(reader) => reader.next(input),
            Reader::Records(reader) => reader.next(input),
        }
    }

    /// Whether every block token must be answered by [`TokenDecoder::insert_history`] before the next.
    #[must_use]
    pub fn wants_history(&self) -> bool {
        match &self.0 {
            Reader::Plain(_) => false,
            Reader::Records(reader) => reader.wants_history(),
        }
    }

    /// Tells the decompressor the content of the block that was referred to; without effect unless
    /// [`TokenDecoder::wants_history`].
    ///
    /// # Errors
    /// [`TokenError::LostSync`] when the decompressor is inside a compressed block.
    pub fn insert_history(&mut self, block: &[u8]) -> Result<(), TokenError> {
        match &mut self.0 {
            Reader::Plain(_) => Ok(()),
            Reader::Records(reader) => reader.insert_history(block),
        }
    }
}

#[cfg(test)]
mod tests;
