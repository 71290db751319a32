//! Copies a large file with several threads, piece by piece.
//!
//! One thread alone waits for memory most of the time: several of them copy nearly twice as fast even
//! on two processors.

use std::fs::File;
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::copy_file_range;
use rustix::io::Errno;

use crate::link::LinkControl;

/// What one thread copies before it takes the next piece, in bytes.
const PIECE: u64 = 8 << 20;
/// Bytes read and written at once where the kernel does not copy by itself.
const BUFFER_SIZE: usize = 256 << 10;
/// More threads than this find no more memory bandwidth to use.
const MOST_THREADS: usize = 4;

/// Whether a file of `size` bytes is worth several threads.
pub(super) fn is_worth_it(size: u64) -> bool {
    size >= 4 * PIECE && threads() > 1
}

/// Threads that work at once.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS)
}

struct Copying<'c> {
    source: &'c File,
    target: &'c File,
    size: u64,
    in_kernel: bool,
    control: &'c LinkControl,
    /// Where the next piece begins that nobody has taken.
    next: AtomicU64,
    /// Bytes copied.
    copied: AtomicU64,
    /// The first byte that could not be copied, as far as known.
    failed_at: AtomicU64,
    stop: AtomicBool,
}

/// Copies `size` bytes, as far as possible, `in_kernel` or through memory, and answers how many are there without a gap: if they are
/// not all, whoever continues after them meets the reason. `tell` hears now and then how many bytes were
/// copied.
pub(super) fn copy(
    (source, target): (&File, &File),
    (size, in_kernel): (u64, bool),
    control: &LinkControl,
    tell: &mut dyn FnMut(u64),
) -> u64 {
    let copying = Copying {
        source,
        target,
        size,
        in_kernel,
        control,
        next: AtomicU64::new(0),
        copied: AtomicU64::new(0),
        failed_at: AtomicU64::new(size),
        stop: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        for _ in 1..threads() {
            // Without this helper the others do its part.
            let _ = std::thread::Builder::new().spawn_scoped(scope, || copying.work(&mut |_| {}));
        }
        copying.work(tell);
    });
    let whole = copying.failed_at.into_inner();
    if whole < size && target.set_len(whole).is_err() {
        return 0;
    }
    whole
}

impl Copying<'_> {
    fn work(&self, tell: &mut dyn FnMut(u64)) {
        let mut buffer = Vec::new();
        loop {
            let start = self.next.fetch_add(PIECE, Ordering::Relaxed);
            if start >= self.size {
                return;
            }
            let end = self.size.min(start + PIECE);
            let reached = self.copy_piece(start, end, &mut buffer);
            let copied = self.copied.fetch_add(reached - start, Ordering::Relaxed) + reached - start;
            if reached < end {
                self.failed_at.fetch_min(reached, Ordering::Relaxed);
                self.stop.store(true, Ordering::Relaxed);
            }
            tell(copied);
        }
    }

    /// Copies what is between two offsets; answers how far it came.
    fn copy_piece(&self, start: u64, end: u64, buffer: &mut Vec<u8>) -> u64 {
        let mut at = start;
        while at < end && !self.stop.load(Ordering::Relaxed) && !self.control.is_aborted() {
            let (mut from, mut to) = (at, at);
            let length = (end - at) as usize;
            let copied = match self.in_kernel {
                true => copy_file_range(self.source, Some(&mut from), self.target, Some(&mut to), length),
                false => Err(Errno::OPNOTSUPP),
            };
            match copied {
                Ok(count) if count > 0 => at += count as u64,
                Err(Errno::INTR) => {}
                _ => {
                    buffer.resize(BUFFER_SIZE, 0);
                    let count = length.min(BUFFER_SIZE);
                    match self.source.read_at(&mut buffer[..count], at) {
                        Ok(count) if count > 0 && self.target.write_all_at(&buffer[..count], at).is_ok() => {
                            at += count as u64;
                        }
                        _ => break,
                    }
                }
            }
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(length: usize) -> (File, Vec<u8>) {
        let content: Vec<u8> = (0..length).map(|at| (at / 4096 + at) as u8).collect();
        let file = tempfile::tempfile().expect("file");
        file.write_all_at(&content, 0).expect("write");
        (file, content)
    }

    fn content_of(file: &File) -> Vec<u8> {
        let mut content = vec![0; file.metadata().expect("stat").len() as usize];
        file.read_exact_at(&mut content, 0).expect("read");
        content
    }

    #[test]
    fn all_pieces_arrive_at_their_places() {
        let (source, content) = file_of(4 * PIECE as usize + 12_345);
        let control = LinkControl::new().expect("control");
        let size = content.len() as u64;
        for in_kernel in [true, false] {
            let target = tempfile::tempfile().expect("file");
            let mut told = Vec::new();
            let mut tell = |bytes| told.push(bytes);
            assert_eq!(copy((&source, &target), (size, in_kernel), &control, &mut tell), size);
            assert!(content_of(&target) == content);
            assert!(!told.is_empty() && told.is_sorted());
        }
    }

    #[test]
    fn what_comes_after_a_gap_is_cut_off() {
        let (source, content) = file_of(2 * PIECE as usize + 777);
        let target = tempfile::tempfile().expect("file");
        let control = LinkControl::new().expect("control");
        let claimed = 5 * PIECE;
        let copied = copy((&source, &target), (claimed, true), &control, &mut |_| {});
        assert!(copied <= content.len() as u64);
        assert!(content_of(&target) == content[..copied as usize]);
    }

    #[test]
    fn nothing_is_copied_any_more_after_an_abort() {
        let (source, content) = file_of(PIECE as usize);
        let target = tempfile::tempfile().expect("file");
        let control = LinkControl::new().expect("control");
        control.abort();
        assert_eq!(copy((&source, &target), (content.len() as u64, true), &control, &mut |_| {}), 0);
        assert_eq!(target.metadata().expect("stat").len(), 0);
    }
}
