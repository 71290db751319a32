//! The content of one file, from its source: shared blocks, copies inside the kernel, or large reads
//! (spec 07 §6).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rsync_proto::options::{Append, Reflink};
use rsync_proto::sum::{Checksum, Digest};
use rsync_proto::text::{Event, Failure, Moment, Place, Progress, Topic};
use rustix::fs::{copy_file_range, ioctl_ficlone};
use rustix::io::Errno;

use super::pieces;
use crate::item::FIRST_PROGRESS;
use crate::rate::RateLimit;
use crate::receive::file::{Assembly, Content, Output, Received};
use crate::send::failed;
use crate::tree::ReadAt;
use crate::{EngineError, Session};

/// Bytes read and written at once.
const BUFFER_SIZE: usize = 256 << 10;
/// Bytes that the kernel copies before this side looks up.
const KERNEL_SIZE: usize = 8 << 20;
/// Progress is reported each time so many bytes were copied.
const SAY_EVERY: u64 = 256 << 10;

/// What lasts from file to file.
pub(super) struct Copier {
    buffer: Vec<u8>,
    rate: Option<RateLimit>,
    /// The file system that shared no blocks when it was last tried.
    unshared: Option<u64>,
}

impl Copier {
    pub(super) fn new(kib_per_second: u64) -> Self {
        let rate =
            (kib_per_second > 0).then(|| RateLimit::new(u32::try_from(kib_per_second).unwrap_or(u32::MAX)));
        Self { buffer: Vec::new(), rate, unshared: None }
    }

    /// How much may be copied at once, when at most `limit` bytes are.
    fn piece(&self, limit: usize) -> usize {
        self.rate.as_ref().map_or(limit, |rate| rate.max_write().min(limit))
    }

    fn obey_rate(&mut self, copied: usize) {
        let Some(rate) = &mut self.rate else { return };
        let asleep = Instant::now();
        if let Some(sleep) = rate.after_write(copied, asleep) {
            std::thread::sleep(sleep);
            rate.slept(sleep, asleep, Instant::now());
        }
    }
}

/// The source of one file.
pub(super) struct Source<'s> {
    pub(super) session: &'s Session,
    pub(super) copier: &'s mut Copier,
    pub(super) content: &'s dyn ReadAt,
    /// Bytes to copy.
    pub(super) size: u64,
    /// The file system it is on.
    pub(super) dev: u64,
    pub(super) place: Place<'s>,
    pub(super) name: &'s [u8],
    /// Set where somebody wants to see the digest of the content.
    pub(super) digest: Option<Digest>,
    /// The state of the transfer when this file starts.
    pub(super) progress: Progress<'static>,
    /// Bytes copied in the end.
    pub(super) copied: u64,
}

/// How far a copy came.
struct Copied {
    offset: u64,
    /// The last progress; none was said yet.
    said: Option<u64>,
    read_error: Option<io::Error>,
    write_error: Option<io::Error>,
}

impl Content for Source<'_> {
    fn assemble(&mut self, assembly: Assembly<'_>) -> Result<Received, EngineError> {
        let start = assembly.request.append_at.unwrap_or(0).min(self.size);
        let mut copied = Copied { offset: start, said: None, read_error: None, write_error: None };
        let is_fresh = assembly.new_file && start == 0;
        let extends_another = assembly.basis.is_some_and(|basis| self.begins_differently(basis, start));
        if let Some(output) = assembly.output {
            let result = self.copy(output, is_fresh, &mut copied);
            // What a cancelled copy leaves may be worth keeping (`--partial`).
            assembly.has_data.set(copied.offset > start);
            result?;
        }
        self.copied = copied.offset - start;
        self.session.counters.literal.fetch_add(self.copied, Ordering::Relaxed);
        if let Some(error) = &copied.read_error {
            failed(self.session, Failure::ReadSource(self.place), error);
        }
        if copied.said.is_none() && start < self.size {
            self.tell(Moment::Running, self.size.min(start + FIRST_PROGRESS));
        }
        self.tell(Moment::FileDone, self.size);
        Ok(Received {
            length: copied.offset,
            verified: copied.read_error.is_none() && copied.write_error.is_none() && !extends_another,
            has_data: copied.offset > start,
            write_error: copied.write_error,
            digest: self.digest.take().unwrap_or_else(|| Digest::whole_file(Checksum::None, 0)).finish(),
        })
    }
}

impl Source<'_> {
    /// Copies all of it, in the cheapest way that works.
    fn copy(
        &mut self,
        output: &mut dyn Output,
        is_fresh: bool,
        copied: &mut Copied,
    ) -> Result<(), EngineError> {
        match (output.plain_file(), self.content.file()) {
            (Some(target), Some(source)) => {
                if copied.offset == 0 && self.may_share() {
                    self.share(source, target, copied)?;
                }
                if self.digest.is_none() {
                    if is_fresh && copied.offset == 0 {
                        self.copy_by_pieces(source, target, copied)?;
                    }
                    self.copy_in_kernel(source, target, copied)?;
                }
            }
            _ if self.reflink() == Reflink::Always => return Err(self.unshared(Errno::OPNOTSUPP)),
            _ => {}
        }
        self.copy_through_memory(output, copied)
    }

    /// Whether the first `length` bytes are not those of `basis` (`--append-verify`).
    fn begins_differently(&mut self, basis: &File, length: u64) -> bool {
        if self.session.options.append != Append::Verify {
            return false;
        }
        let (mut ours, mut theirs) = (vec![0; BUFFER_SIZE], vec![0; BUFFER_SIZE]);
        let mut offset = 0;
        while offset < length {
            let count = (length - offset).min(BUFFER_SIZE as u64) as usize;
            let read = self.content.read_at(&mut ours[..count], offset).unwrap_or(0);
            if read == 0 || basis.read_exact_at(&mut theirs[..read], offset).is_err() {
                return true;
            }
            if ours[..read] != theirs[..read] {
                return true;
            }
            offset += read as u64;
        }
        false
    }

    fn reflink(&self) -> Reflink {
        self.session.options.reflink
    }

    /// Whether sharing blocks is worth a try, or is demanded.
    fn may_share(&self) -> bool {
        match self.reflink() {
            Reflink::Auto => {
                let is_known = self.copier.unshared == Some(self.dev);
                self.size > 0 && !is_known && self.copier.rate.is_none() && self.digest.is_none()
            }
            Reflink::Always => self.size > 0,
            Reflink::Never => false,
        }
    }

    /// Lets the target have the blocks of the source, where the file system can.
    ///
    /// # Errors
    /// [`EngineError::FileIo`] where it cannot, if that is demanded.
    fn share(&mut self, source: &File, target: &File, copied: &mut Copied) -> Result<(), EngineError> {
        match ioctl_ficlone(target, source) {
            // What grew meanwhile has more than was listed; the end is cut off later.
            Ok(()) => match target.metadata() {
                Ok(metadata) => copied.offset = metadata.len().min(self.size),
                Err(error) => copied.write_error = Some(error),
            },
            Err(errno) if self.reflink() == Reflink::Always => return Err(self.unshared(errno)),
            Err(_) => self.copier.unshared = Some(self.dev),
        }
        self.hash_shared(copied)
    }

    /// Where somebody wants to see the digest, what was shared is read for it.
    fn hash_shared(&mut self, copied: &mut Copied) -> Result<(), EngineError> {
        let Some(mut digest) = self.digest.take() else { return Ok(()) };
        let mut buffer = vec![0; BUFFER_SIZE];
        let mut offset = 0;
        while offset < copied.offset && copied.read_error.is_none() {
            self.check()?;
            let length = (copied.offset - offset).min(BUFFER_SIZE as u64) as usize;
            match self.content.read_at(&mut buffer[..length], offset) {
                Ok(0) => copied.read_error = Some(Errno::NODATA.into()),
                Ok(count) => {
                    digest.update(&buffer[..count]);
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => copied.read_error = Some(error),
            }
        }
        self.digest = Some(digest);
        Ok(())
    }

    /// The failure of `--reflink=always`.
    fn unshared(&self, errno: Errno) -> EngineError {
        let path = [self.place.root, b"/", self.place.name].concat();
        let path = if self.place.name.starts_with(b"/") { self.place.name } else { &path };
        let text = [
            b"rsync: [receiver] --reflink=always: no copy can share the blocks of \"",
            path,
            b"\"; that needs one file system that can share blocks, such as Btrfs or XFS, and \
              --reflink=auto copies elsewhere",
        ];
        EngineError::FileIo { text: text.concat().into(), source: errno.into() }
    }

    /// Copies a large file with several threads, unless its rate is limited.
    fn copy_by_pieces(
        &mut self,
        source: &File,
        target: &File,
        copied: &mut Copied,
    ) -> Result<(), EngineError> {
        if self.copier.rate.is_none() && pieces::is_worth_it(self.size) {
            let mut is_first = true;
            let mut tell = |offset: u64| {
                let most = if std::mem::take(&mut is_first) { FIRST_PROGRESS } else { offset };
                self.tell(Moment::Running, offset.min(most));
            };
            let in_kernel = self.reflink() != Reflink::Never;
            copied.offset =
                pieces::copy((source, target), (self.size, in_kernel), &self.session.control, &mut tell);
            copied.said = (copied.offset > 0).then_some(copied.offset);
        }
        self.check()
    }

    /// Lets the kernel copy; it stops at the first error, whose side only a read and a write tell.
    fn copy_in_kernel(
        &mut self,
        source: &File,
        target: &File,
        copied: &mut Copied,
    ) -> Result<(), EngineError> {
        // The kernel shares blocks where it can.
        while copied.offset < self.size && copied.write_error.is_none() && self.reflink() != Reflink::Never {
            self.check()?;
            let limit = if self.session.events.wants(Topic::Progress) { BUFFER_SIZE } else { KERNEL_SIZE };
            let length = (self.size - copied.offset).min(self.copier.piece(limit) as u64) as usize;
            let (mut from, mut to) = (copied.offset, copied.offset);
            match copy_file_range(source, Some(&mut from), target, Some(&mut to), length) {
                Ok(0) => return Ok(()),
                Ok(count) => self.advance(copied, count),
                Err(Errno::INTR) => {}
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    fn copy_through_memory(
        &mut self,
        output: &mut dyn Output,
        copied: &mut Copied,
    ) -> Result<(), EngineError> {
        while copied.offset < self.size && copied.write_error.is_none() {
            self.check()?;
            let mut buffer = std::mem::take(&mut self.copier.buffer);
            buffer.resize(BUFFER_SIZE, 0);
            let length = (self.size - copied.offset).min(self.copier.piece(BUFFER_SIZE) as u64) as usize;
            let read = self.content.read_at(&mut buffer[..length], copied.offset);
            match read {
                Ok(0) => copied.read_error = Some(Errno::NODATA.into()),
                Ok(count) => match output.write(copied.offset, &buffer[..count]) {
                    Ok(()) => {
                        if let Some(digest) = &mut self.digest {
                            digest.update(&buffer[..count]);
                        }
                        self.advance(copied, count);
                    }
                    Err(error) => copied.write_error = Some(error),
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => copied.read_error = Some(error),
            }
            self.copier.buffer = buffer;
            if copied.read_error.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), EngineError> {
        if self.session.control.is_aborted() { Err(self.session.control.reason()) } else { Ok(()) }
    }

    fn advance(&mut self, copied: &mut Copied, count: usize) {
        copied.offset += count as u64;
        self.copier.obey_rate(count);
        match copied.said {
            None => {
                let before = copied.offset - count as u64;
                self.tell(Moment::Running, copied.offset.min(before + FIRST_PROGRESS));
            }
            Some(said) if copied.offset - said >= SAY_EVERY => self.tell(Moment::Running, copied.offset),
            Some(_) => return,
        }
        copied.said = Some(copied.offset);
    }

    fn tell(&self, moment: Moment, offset: u64) {
        if self.session.events.wants(Topic::Progress) {
            let transfers = self.progress.transfers + u64::from(moment == Moment::FileDone);
            let (name, size) = (self.name, self.size);
            let progress = Progress { moment, name, offset, size, transfers, ..self.progress };
            self.session.events.emit(Event::Progress(progress));
        }
    }
}
