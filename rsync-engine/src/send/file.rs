//! The content of one file on its way: read through a window, hashed, written as tokens
//! (spec 05 §6 to §11).

use std::io;

use rsync_proto::delta::{self, TokenEncoder};
use rsync_proto::sum::{Digest, SumHead};

use crate::EngineError;
use crate::item::FIRST_PROGRESS;
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
    /// Told the offset that was reached, and whether more than a first piece of it was looked at at once.
    progress: Option<&'a dyn Fn(u64, bool)>,
    offset: u64,
    /// While blocks are searched for, literal data is told with what follows it, but for a long rest.
    untold: Option<Untold>,
    /// Bytes of literal data.
    pub(super) literal: u64,
    /// Bytes of blocks.
    pub(super) matched: u64,
}

/// When literal data is not told (spec 07 §17.1).
struct Untold {
    size: u64,
    /// Where the last match ended.
    since: u64,
    /// A rest of the file that is not longer is told at its end.
    rest: u64,
}

impl<'a> FileSink<'a> {
    /// Begins a token stream; `digest` may have hashed a prefix that the receiver has, of `offset` bytes.
    pub(super) fn new(
        outbox: &'a mut Outbox,
        tokens: &'a mut TokenEncoder,
        digest: Digest,
        offset: u64,
        progress: Option<&'a dyn Fn(u64, bool)>,
    ) -> Self {
        tokens.start_file();
        Self { outbox, tokens, digest, progress, offset, untold: None, literal: 0, matched: 0 }
    }

    /// Blocks of a basis are searched for in a file of `size` bytes.
    pub(super) fn tells_matches(&mut self, size: u64, basis: &SumHead) {
        let last = if basis.remainder == 0 { basis.block_len } else { basis.remainder };
        let rest = 2 * FIRST_PROGRESS + u64::from(basis.block_len) + u64::from(last) - 1;
        self.untold = Some(Untold { size, since: self.offset, rest });
    }

    /// Tells that the search has come so far.
    pub(super) fn tell_searched(&self) {
        if let Some(progress) = self.progress {
            progress(self.offset, true);
        }
    }

    /// Ends the token stream and answers the hash.
    pub(super) fn end(self) -> Result<Digest, EngineError> {
        self.outbox.data(|out| self.tokens.end(out))?;
        Ok(self.digest)
    }

    /// Literal data was written.
    fn tell_literal(&self) {
        let is_told = self.untold.as_ref().is_none_or(|it| {
            it.size.saturating_sub(it.since) > it.rest && self.offset - it.since >= FIRST_PROGRESS
        });
        if let Some(progress) = self.progress.filter(|_| is_told) {
            progress(self.offset, false);
        }
    }
}

impl delta::Sink<EngineError> for FileSink<'_> {
    fn literal(&mut self, data: &[u8]) -> Result<(), EngineError> {
        self.digest.update(data);
        self.literal += data.len() as u64;
        for piece in data.chunks(PIECE) {
            self.outbox.data(|out| self.tokens.literal(piece, out))?;
        }
        self.offset += data.len() as u64;
        self.tell_literal();
        self.outbox.keep_alive_at_work()
    }

    fn block(&mut self, index: u32, block: &[u8]) -> Result<(), EngineError> {
        self.digest.update(block);
        self.matched += block.len() as u64;
        self.outbox.data(|out| self.tokens.block(index, block, out))?;
        self.offset += block.len() as u64;
        if let Some(untold) = &mut self.untold {
            untold.since = self.offset;
        }
        self.tell_searched();
        self.outbox.keep_alive_at_work()
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
