//! Copies one file: opens the source, and puts its content in place as that of an entry.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rsync_proto::flist::{EntryRef, Segment, split_path};
use rsync_proto::options::{Append, TransferOptions};
use rsync_proto::phase::ItemAttributes;
use rsync_proto::sum::{Digest, SumBytes};
use rsync_proto::text::{Direction, LineFormat, Message, Place, Progress, Stage};

use super::content::{Copier, Source};
use crate::confine::Stat;
use crate::item::{self, Moved};
use crate::receive::shared::{Request, Shared};
use crate::receive::target::{Outcome, Target};
use crate::scan::follows_links;
use crate::send::{say, say_unopened};
use crate::tree::{ReadAt, TreeDir};
use crate::{EngineError, Session};

/// What the request of a file takes on a wire beside its index, about.
pub(super) const REQUEST_COST: u64 = 16;
/// What the answer to it takes beside the data: item, sum head, end, and digest.
const ANSWER_COST: u64 = 39;
/// Data travels in pieces of so many bytes, each behind its length.
const PIECE: u64 = 32 << 10;

/// Where entries of a list come from.
pub(super) struct SourceDir {
    pub(super) origin: u32,
    /// The path of the directory in the transfer.
    pub(super) path: Vec<u8>,
    pub(super) dir: io::Result<Arc<dyn TreeDir>>,
    /// The absolute directory that paths in the transfer are relative to, for messages.
    pub(super) root: Vec<u8>,
    /// The same as it was written, for lines.
    pub(super) written: Vec<u8>,
}

impl SourceDir {
    fn open(&self, name: &[u8], follows: bool) -> io::Result<(Box<dyn ReadAt>, Stat)> {
        let dir = self.dir.as_ref().map_err(|error| match error.raw_os_error() {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => error.kind().into(),
        })?;
        let content = dir.open(name, follows)?;
        let stat = content.stat()?;
        Ok((content, stat))
    }
}

/// What an entry is called at the source, where names are converted (`--iconv`).
pub(super) struct SourceNames {
    pub(super) path: Vec<u8>,
    /// Target of the link.
    pub(super) target: Option<Vec<u8>>,
}

/// An entry of a list that the generator has named.
pub(super) struct Asked {
    pub(super) list: Arc<Segment>,
    /// The place of the entry in it.
    pub(super) place: usize,
    pub(super) attributes: ItemAttributes,
    pub(super) source: Arc<SourceDir>,
    /// What the entry is called there, where names are converted.
    pub(super) named: Option<SourceNames>,
    /// Its content is wanted.
    pub(super) request: Option<Request>,
}

impl Asked {
    pub(super) fn entry(&self) -> Result<EntryRef<'_>, EngineError> {
        self.list.get(self.place).ok_or(EngineError::ReceiverGone)
    }

    /// The path of the entry at the source.
    fn source_path<'a>(&'a self, entry: EntryRef<'a>) -> Cow<'a, [u8]> {
        match &self.named {
            Some(named) => named.path.as_slice().into(),
            None => entry.path().into(),
        }
    }
}

/// What became of a file.
pub(super) struct Copied {
    /// The source was opened: lines say when that happened, and when the copy was done.
    pub(super) opened: bool,
    pub(super) outcome: Outcome,
    /// Bytes copied.
    pub(super) data: u64,
    /// Where lines show it.
    pub(super) digest: Option<SumBytes>,
}

impl Copied {
    /// About what the answer of a sender would have taken on a wire, in bytes.
    pub(super) fn cost(&self) -> u64 {
        if self.opened { ANSWER_COST + self.data + self.data.div_ceil(PIECE) * 4 } else { 0 }
    }

    const UNOPENED: Self = Self { opened: false, outcome: Outcome::Failed, data: 0, digest: None };
}

/// What one thread that copies files holds.
pub(super) struct Worker<'a> {
    session: &'a Session,
    shared: &'a Shared,
    copier: Copier,
    target: Option<Target<'a>>,
    shows_digests: bool,
    follows: bool,
}

impl<'a> Worker<'a> {
    pub(super) fn new(session: &'a Session, shared: &'a Shared) -> Self {
        let options = &session.options;
        Self {
            session,
            shared,
            copier: Copier::new(options.bwlimit),
            target: None,
            shows_digests: shows_digests(options),
            follows: follows_links(options),
        }
    }

    /// The writing side, made when the destination is known.
    pub(super) fn target(&mut self) -> Result<&mut Target<'a>, EngineError> {
        let (session, shared) = (self.session, self.shared);
        let destination = shared.destination().ok_or(EngineError::ReceiverGone)?;
        Ok(self.target.get_or_insert_with(|| Target::new(session, shared, destination)))
    }

    /// Copies the content of what was `asked` for. `opened` is told the size of the source before the
    /// copy starts.
    ///
    /// # Errors
    /// What ends the whole run.
    pub(super) fn copy(
        &mut self,
        asked: &Asked,
        progress: Progress<'static>,
        opened: impl FnOnce(u64),
    ) -> Result<Copied, EngineError> {
        let session = self.session;
        let entry = asked.entry()?;
        let Some(request) = asked.request else { return Err(EngineError::ReceiverGone) };
        let name = asked.source_path(entry);
        let place = Place::new(&asked.source.root, &name);
        let (content, stat) = match asked.source.open(split_path(&name).1, self.follows) {
            Ok(opened) => opened,
            Err(error) => {
                say_unopened(session, place, &error);
                return Ok(Copied::UNOPENED);
            }
        };
        if session.options.append != Append::Off && !request.redo && stat.size < entry.size() {
            say(session, Message::DiminishedFile(place));
            return Ok(Copied::UNOPENED);
        }
        opened(stat.size);
        self.target()?;
        let negotiated = &session.negotiated;
        let digest =
            self.shows_digests.then(|| Digest::whole_file(negotiated.checksum.transfer, negotiated.seed));
        let mut source = Source {
            session,
            copier: &mut self.copier,
            content: &*content,
            size: stat.size,
            dev: stat.dev,
            place,
            name: &name,
            digest,
            progress,
            copied: 0,
        };
        let Some(target) = &mut self.target else { return Err(EngineError::ReceiverGone) };
        let (outcome, digest) = target.receive(&asked.list, entry, (request, progress), &mut source)?;
        let digest = digest.filter(|_| self.shows_digests);
        let counters = &session.counters;
        counters.transferred_files.fetch_add(1, Ordering::Relaxed);
        counters.transferred_size.fetch_add(stat.size, Ordering::Relaxed);
        Ok(Copied { opened: true, outcome, data: source.copied, digest })
    }
}

/// Says that what was `asked` for begins or is done, with what was copied.
pub(super) fn tell(session: &Session, stage: Stage, asked: &Asked, copied: Option<&Copied>) {
    let Ok(entry) = asked.entry() else { return };
    if copied.is_some_and(|copied| !copied.opened) {
        return;
    }
    let moved = Moved {
        data_bytes: copied.map_or(0, Copied::cost),
        sum_bytes: if asked.request.is_some() { REQUEST_COST } else { 0 },
        digest: copied.and_then(|copied| copied.digest.as_deref()),
        target: asked.named.as_ref().and_then(|named| named.target.as_deref()),
    };
    let way = (stage, Direction::Received);
    item::emit(
        session,
        way,
        (entry, &asked.source_path(entry), &asked.source.written),
        &asked.attributes,
        moved,
    );
}

/// Whether a line of the user or of the log has a digest in it.
fn shows_digests(options: &TransferOptions) -> bool {
    let formats = [&options.out_format, &options.log_file_format];
    formats.into_iter().flatten().any(|format| LineFormat::parse(format).uses(b'C'))
}
