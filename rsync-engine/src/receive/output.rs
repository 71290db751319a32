//! Writes file data, with holes where that is wanted (spec 07 §6.3).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::file::Output;

/// Runs of zeros at least this long inside a write become holes (`--sparse`).
const SHORTEST_HOLE: usize = 1024;

/// What arrives in smaller pieces is written so many bytes at once: pieces end anywhere in a page.
const WRITE_SIZE: usize = 128 << 10;

/// A file that is written from front to back.
#[derive(Debug)]
pub(super) struct FileOutput {
    file: File,
    sparse: bool,
    /// It is a device, which has the length it has.
    device: bool,
    /// Nobody reads the file before it is whole: what arrives may be gathered.
    gathers: bool,
    /// What was gathered, and where it belongs.
    gathered: Vec<u8>,
    gathered_at: u64,
    /// Disk space reserved, in bytes from the start.
    reserved: u64,
}

impl FileOutput {
    pub(super) fn new(file: File, sparse: bool) -> Self {
        let device = file.metadata().is_ok_and(|metadata| !metadata.is_file());
        let sparse = sparse && !device;
        Self { file, sparse, device, gathers: false, gathered: Vec::new(), gathered_at: 0, reserved: 0 }
    }

    /// Writes to a file that was just made. What arrives may be gathered until [`FileOutput::flush`].
    pub(super) fn new_file(file: File, sparse: bool) -> Self {
        let (gathers, gathered) = (!sparse, Vec::new());
        Self { file, sparse, device: false, gathers, gathered, gathered_at: 0, reserved: 0 }
    }

    /// Writes what was gathered.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let result = self.file.write_all_at(&self.gathered, self.gathered_at);
        self.gathered.clear();
        result
    }

    fn gather(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let follows = offset == self.gathered_at + self.gathered.len() as u64;
        if !follows || self.gathered.len() + data.len() > WRITE_SIZE {
            self.flush()?;
        }
        if data.len() >= WRITE_SIZE {
            return self.file.write_all_at(data, offset);
        }
        if self.gathered.is_empty() {
            self.gathered_at = offset;
        } else {
            // There is more than one piece, so that there may be many.
            self.gathered.reserve_exact(WRITE_SIZE - self.gathered.len());
        }
        self.gathered.extend_from_slice(data);
        Ok(())
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Reserves disk space for `length` bytes without changing the length (`--preallocate`).
    ///
    /// # Errors
    /// What the system says; nothing is lost then.
    pub(super) fn reserve(&mut self, length: u64) -> io::Result<()> {
        if length > 0 && !self.device {
            rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, length)?;
            self.reserved = length;
        }
        Ok(())
    }

    /// Gives the file its final length, which it has if it was `written_whole`, and puts it on the disk
    /// if `sync`. What was reserved beyond is given back.
    pub(super) fn finish(&mut self, length: u64, written_whole: bool, sync: bool) -> io::Result<()> {
        let has_length = written_whole || self.device || self.file.metadata()?.len() == length;
        if !has_length || self.reserved > length {
            self.file.set_len(length)?;
        }
        if sync { self.file.sync_all() } else { Ok(()) }
    }

    /// Writes what is not zero; where zeros stand the file must have none of its old bytes.
    fn write_sparse(&mut self, mut offset: u64, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let zeros = data.iter().take_while(|byte| **byte == 0).count();
            if zeros >= SHORTEST_HOLE || zeros == data.len() {
                self.punch(offset, zeros as u64)?;
                offset += zeros as u64;
                data = &data[zeros..];
                continue;
            }
            let length = length_before_hole(data, zeros);
            self.file.write_all_at(&data[..length], offset)?;
            offset += length as u64;
            data = &data[length..];
        }
        Ok(())
    }

    /// Makes a hole where the file already has bytes; beyond its end there is one anyway.
    fn punch(&mut self, offset: u64, length: u64) -> io::Result<()> {
        if offset >= self.file.metadata()?.len() {
            return Ok(());
        }
        let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.file, flags, offset, length) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP) => {
                self.file.write_all_at(&vec![0; length.min(1 << 20) as usize], offset)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// How much of `data` to write before the next run of zeros that is worth a hole.
fn length_before_hole(data: &[u8], start: usize) -> usize {
    let mut zeros = 0;
    for (at, &byte) in data.iter().enumerate().skip(start) {
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        if zeros == SHORTEST_HOLE {
            return at + 1 - SHORTEST_HOLE;
        }
    }
    data.len()
}

impl Output for FileOutput {
    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        match (self.sparse, self.gathers) {
            (true, _) => self.write_sparse(offset, data),
            (_, true) => self.gather(offset, data),
            _ => self.file.write_all_at(data, offset),
        }
    }

    fn plain_file(&self) -> Option<&File> {
        (!self.sparse).then_some(&self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(pieces: &[Vec<u8>]) -> Vec<u8> {
        let mut output = FileOutput::new(tempfile::tempfile().expect("file"), true);
        let mut offset = 0;
        for piece in pieces {
            output.write(offset, piece).expect("write");
            offset += piece.len() as u64;
        }
        output.finish(offset, false, false).expect("finish");
        let mut content = vec![1; offset as usize];
        output.file().read_exact_at(&mut content, 0).expect("read");
        content
    }

    proptest! {
        #[test]
        fn holes_read_as_the_zeros_they_replace(
            pieces in prop::collection::vec((0_usize..5000, 0_usize..5000, any::<u8>()), 0..6)
        ) {
            let pieces: Vec<Vec<u8>> = pieces.into_iter()
                .map(|(zeros, bytes, value)| [vec![0; zeros], vec![value; bytes], vec![0; zeros]].concat())
                .collect();
            prop_assert_eq!(written(&pieces), pieces.concat());
        }
    }

    #[test]
    fn what_is_gathered_arrives_in_its_place_whatever_the_pieces() {
        let mut output = FileOutput::new_file(tempfile::tempfile().expect("file"), false);
        let content: Vec<u8> = (0..WRITE_SIZE * 5).map(|at| (at ^ (at >> 8)) as u8).collect();
        let lengths = [1, 9_996, 32_768, WRITE_SIZE - 1, WRITE_SIZE, WRITE_SIZE + 1, 7, 70_000];
        let mut at = 0;
        for length in lengths.into_iter().cycle() {
            let end = content.len().min(at + length);
            output.write(at as u64, &content[at..end]).expect("write");
            at = end;
            if at == content.len() {
                break;
            }
        }
        output.write(3, b"back").expect("write");
        output.flush().expect("write");
        output.finish(content.len() as u64, true, false).expect("finish");
        let mut written = vec![0; content.len()];
        output.file().read_exact_at(&mut written, 0).expect("read");
        assert_eq!(&written[3..7], b"back");
        assert!(written[7..] == content[7..] && written[..3] == content[..3]);
    }

    #[test]
    fn reserved_space_that_was_not_needed_is_given_back() {
        use std::os::unix::fs::MetadataExt;
        let mut output = FileOutput::new(tempfile::tempfile().expect("file"), false);
        if output.reserve(10 << 20).is_err() {
            return;
        }
        output.write(0, b"short").expect("write");
        assert!(output.file().metadata().expect("stat").blocks() >= 20 << 10);
        output.finish(5, true, false).expect("finish");
        let metadata = output.file().metadata().expect("stat");
        assert!(metadata.len() == 5 && metadata.blocks() < 1 << 10, "{}", metadata.blocks());
    }

    #[test]
    fn long_runs_of_zeros_take_no_space() {
        use std::os::unix::fs::MetadataExt;
        let mut output = FileOutput::new(tempfile::tempfile().expect("file"), true);
        output.write(0, &vec![0; 10 << 20]).expect("write");
        output.finish(10 << 20, false, false).expect("finish");
        let metadata = output.file().metadata().expect("stat");
        assert_eq!((metadata.len(), metadata.blocks()), (10 << 20, 0));
    }
}
