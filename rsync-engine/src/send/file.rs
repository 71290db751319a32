//! The content of one file on its way: read through a window, hashed, written as tokens
//! (spec 05 §6 to §11).

use std::io;

use rsync_proto::delta::{self, TokenEncoder};
use rsync_proto::sum::Digest;

use crate::EngineError;
use crate::outbox::Outbox;
use crate::tree::ReadAt;

/// Bytes read at once, if the matcher does not want more.
const READ_SIZE: usize = 128 << 10;
/// Literal data is written in pieces of so many bytes.
const PIECE: usize = 32 << 10;

/// The memory of a window, kept from file to file.
#[derive(Debug, Default)]
pub(super) struct Buffer(Vec<u8>);

/// A file seen through a window that moves forward. What cannot be read is zeros.
pub(super) struct Window<'a> {
    content: &'a dyn ReadAt,
    buffer: &'a mut Vec<u8>,
    /// The part of the file that `buffer` holds begins here.
    start: u64,
    filled: usize,
    size: u64,
    /// Why reading failed first.
    pub(super) failure: Option<io::Error>,
}

impl<'a> Window<'a> {
    /// Opens a window on the first `size` bytes of `content`.
    pub(super) fn new(content: &'a dyn ReadAt, size: u64, buffer: &'a mut Buffer) -> Self {
        Self { content, buffer: &mut buffer.0, start: 0, filled: 0, size, failure: None }
    }

    /// Makes `length` bytes from `offset` on available, which are not all there.
    fn slide(&mut self, offset: u64, length: usize) {
        let skip = usize::try_from(offset - self.start).unwrap_or(usize::MAX).min(self.filled);
        self.buffer.copy_within(skip..self.filled, 0);
        self.filled -= skip;
        if self.filled == 0 {
            self.start = offset;
        } else {
            self.start += skip as u64;
        }
        let left = usize::try_from(self.size - self.start).unwrap_or(usize::MAX);
        let wanted = length.max(READ_SIZE).min(left);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        while self.filled < length {
            match self.read(self.filled, wanted) {
                Ok(0) => self.give_up(wanted, io::Error::from_raw_os_error(ENODATA)),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.give_up(wanted, error),
            }
        }
    }

    fn read(&mut self, from: usize, to: usize) -> io::Result<usize> {
        if self.failure.is_some() {
            return Ok(0);
        }
        self.content.read_at(&mut self.buffer[from..to], self.start + from as u64)
    }

    fn give_up(&mut self, wanted: usize, error: io::Error) {
        self.failure.get_or_insert(error);
        self.buffer[self.filled..wanted].fill(0);
        self.filled = wanted;
    }
}

/// What C reports when a file is shorter than it was.
const ENODATA: i32 = rustix::io::Errno::NODATA.raw_os_error();

impl delta::Source for Window<'_> {
    type Error = EngineError;

    fn window(&mut self, offset: u64, length: usize) -> Result<&[u8], EngineError> {
        let end = offset + length as u64;
        if offset < self.start || end > self.start + self.filled as u64 {
            self.slide(offset, length);
        }
        let from = (offset - self.start) as usize;
        Ok(&self.buffer[from..from + length])
    }
}

/// Hashes what passes and writes it as tokens.
pub(super) struct FileSink<'a> {
    outbox: &'a mut Outbox,
    tokens: &'a mut TokenEncoder,
    digest: Digest,
    /// Told the offset that was reached.
    progress: Option<&'a dyn Fn(u64)>,
    offset: u64,
    /// Bytes of literal data.
    pub(super) literal: u64,
    /// Bytes of blocks.
    pub(super) matched: u64,
}

impl<'a> FileSink<'a> {
    /// Begins a token stream; `digest` may have hashed a prefix that the receiver has, of `offset` bytes.
    pub(super) fn new(
        outbox: &'a mut Outbox,
        tokens: &'a mut TokenEncoder,
        digest: Digest,
        offset: u64,
        progress: Option<&'a dyn Fn(u64)>,
    ) -> Self {
        tokens.start_file();
        Self { outbox, tokens, digest, progress, offset, literal: 0, matched: 0 }
    }

    /// Ends the token stream and answers the hash.
    pub(super) fn end(self) -> Result<Digest, EngineError> {
        self.outbox.data(|out| self.tokens.end(out))?;
        Ok(self.digest)
    }

    fn passed(&mut self, length: usize) -> Result<(), EngineError> {
        self.offset += length as u64;
        if let Some(progress) = self.progress {
            progress(self.offset);
        }
        self.outbox.keep_alive_at_work()
    }
}

impl delta::Sink<EngineError> for FileSink<'_> {
    fn literal(&mut self, data: &[u8]) -> Result<(), EngineError> {
        self.digest.update(data);
        self.literal += data.len() as u64;
        for piece in data.chunks(PIECE) {
            self.outbox.data(|out| self.tokens.literal(piece, out))?;
        }
        self.passed(data.len())
    }

    fn block(&mut self, index: u32, block: &[u8]) -> Result<(), EngineError> {
        self.digest.update(block);
        self.matched += block.len() as u64;
        self.outbox.data(|out| self.tokens.block(index, block, out))?;
        self.passed(block.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stat;
    use delta::Source;

    struct Text(&'static [u8]);

    impl ReadAt for Text {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let rest = &self.0[(offset as usize).min(self.0.len())..];
            let count = rest.len().min(buffer.len()).min(2);
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }

        fn stat(&self) -> io::Result<Stat> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    #[test]
    fn a_window_moves_forward_over_short_reads() {
        let (text, mut buffer) = (Text(b"0123456789"), Buffer::default());
        let mut window = Window::new(&text, 10, &mut buffer);
        assert_eq!(window.window(0, 3).expect("data"), b"012");
        assert_eq!(window.window(2, 4).expect("data"), b"2345");
        assert_eq!(window.window(9, 1).expect("data"), b"9");
        assert!(window.failure.is_none());
    }

    #[test]
    fn a_file_that_shrank_goes_on_as_zeros() {
        let (text, mut buffer) = (Text(b"012"), Buffer::default());
        let mut window = Window::new(&text, 6, &mut buffer);
        assert_eq!(window.window(0, 6).expect("data"), b"012\0\0\0");
        assert_eq!(window.failure.and_then(|error| error.raw_os_error()), Some(61));
    }

    #[test]
    fn a_window_may_skip_what_was_not_looked_at() {
        let (text, mut buffer) = (Text(b"0123456789"), Buffer::default());
        let mut window = Window::new(&text, 10, &mut buffer);
        assert_eq!(window.window(7, 2).expect("data"), b"78");
    }
}
