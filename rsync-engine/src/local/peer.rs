//! Answers a generator in its own thread: scans when it waits for lists, copies when it asks for
//! content (spec 02 §5 to §7).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rsync_proto::exit::ExitCode;
use rsync_proto::flist::{EntryRef, FileList, Segment};
use rsync_proto::options::{Append, TransferOptions};
use rsync_proto::phase::{Answers, Event as PhaseEvent, ItemAttributes, ItemFlags};
use rsync_proto::sum::{Digest, SumHead};
use rsync_proto::text::{Direction, Event, KindCounts, LineFormat, Message, Moment, Progress, Stage, Topic};

use super::content::{Copier, Source};
use super::lists::LocalLists;
use crate::generate::Peer;
use crate::receive::shared::{Notice, Request, Shared};
use crate::receive::target::{Outcome, Target};
use crate::send::item::{self, Moved};
use crate::send::{count_of, remove_source, say, say_unopened};
use crate::{EngineError, SendReport, Session};

/// So many entries are known beyond what the generator works on, while there are more (spec 03 §8.5).
const LOOKAHEAD: u32 = 1000;
/// About what an item takes on a wire, in bytes.
const ITEM_COST: u64 = 5;
/// What the request of a file takes beyond that.
const REQUEST_COST: u64 = 16;
/// What the answer to it takes beside the data: item, sum head, end, and digest.
const ANSWER_COST: u64 = 39;
/// Data travels in pieces of so many bytes, each behind its length.
const PIECE: u64 = 32 << 10;

/// The sender and the receiver of a local copy.
pub(super) struct LocalPeer<'a> {
    session: &'a Session,
    shared: &'a Shared,
    lists: LocalLists<'a>,
    files: FileList,
    started: Instant,
    scanned_first: bool,
    answers: Answers,
    target: Option<Target<'a>>,
    copier: Copier,
    /// Lines show the digest of what was copied.
    shows_digests: bool,
    items: u64,
    /// About what the answers to requests would have taken on a wire.
    moved: u64,
    report: SendReport,
}

impl<'a> LocalPeer<'a> {
    pub(super) fn new(
        session: &'a Session,
        shared: &'a Shared,
        lists: LocalLists<'a>,
        started: Instant,
    ) -> Self {
        Self {
            session,
            shared,
            lists,
            files: FileList::new(session.negotiated.incremental_recursion()),
            started,
            scanned_first: false,
            answers: Answers::new(&session.negotiated),
            target: None,
            copier: Copier::new(session.options.bwlimit),
            shows_digests: shows_digests(&session.options),
            items: 0,
            moved: 0,
            report: SendReport::default(),
        }
    }

    /// What the sender of a session would report, except for deletions.
    pub(super) fn into_report(self) -> SendReport {
        let totals = self.lists.totals;
        let (listed, total_size, list_size) = (totals.listed, totals.total_size, totals.list_size);
        SendReport { listed, total_size, list_size, ..self.report }
    }

    /// About what the generator would have written to a wire, in bytes.
    pub(super) fn asked(&self) -> u64 {
        let files = self.session.counters.transferred_files.load(Ordering::Relaxed);
        self.items * ITEM_COST + files * REQUEST_COST
    }

    /// Makes the next list, if there is one.
    fn scan(&mut self) -> Result<(), EngineError> {
        let start = self.files.next_start();
        let list = if self.scanned_first {
            self.lists.next(start)?
        } else {
            self.scanned_first = true;
            let first = self.lists.first(start)?;
            self.report.list_build_ms = (self.started.elapsed().as_millis() as u64).max(1);
            Some(first)
        };
        let found = list.is_some();
        if let Some(list) = list.map(Arc::new) {
            self.files.append(Arc::clone(&list))?;
            self.shared.notify(Notice::List(list));
        }
        if !found {
            self.files.complete();
        }
        if self.files.is_complete() {
            self.shared.notify(Notice::ListsEnd);
        }
        Ok(())
    }

    fn target(&mut self) -> Result<&mut Target<'a>, EngineError> {
        let (session, shared) = (self.session, self.shared);
        let destination = shared.destination().ok_or(EngineError::ReceiverGone)?;
        Ok(self.target.get_or_insert_with(|| Target::new(session, shared, destination)))
    }

    fn emit(&self, stage: Stage, entry: EntryRef<'_>, attributes: &ItemAttributes, moved: Moved<'_>) {
        let source_dir = self.lists.source_dir(entry.origin());
        let way = (stage, Direction::Received);
        item::emit(self.session, way, (entry, &entry.path(), source_dir), attributes, moved);
    }

    fn count_transfer(&self, size: u64) {
        let counters = &self.session.counters;
        counters.transferred_files.fetch_add(1, Ordering::Relaxed);
        counters.transferred_size.fetch_add(size, Ordering::Relaxed);
    }

    /// Copies a file that the generator asks for.
    fn transfer(
        &mut self,
        list: &Arc<Segment>,
        entry: EntryRef<'_>,
        attributes: &ItemAttributes,
        request: Request,
    ) -> Result<Notice, EngineError> {
        let session = self.session;
        let index = entry.index();
        let name = entry.path();
        let opened = self.lists.open(entry).and_then(|content| content.stat().map(|stat| (content, stat)));
        let (content, stat) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                say_unopened(session, self.lists.place(entry.origin(), &name), &error);
                return Ok(Notice::Failed(index));
            }
        };
        if session.options.append != Append::Off && !request.redo && stat.size < entry.size() {
            say(session, Message::DiminishedFile(self.lists.place(entry.origin(), &name)));
            return Ok(Notice::Failed(index));
        }
        let moved = Moved { sum_bytes: REQUEST_COST, ..Moved::default() };
        self.emit(Stage::Begins, entry, attributes, moved);
        let before = session.counters.literal.load(Ordering::Relaxed);
        let progress = self.progress(Moment::Running, Some((list, entry)));
        self.target()?;
        let negotiated = &session.negotiated;
        let checksum = negotiated.checksum.transfer;
        let shows_digests = self.shows_digests;
        let Self { target, copier, lists, .. } = self;
        let mut source = Source {
            session,
            copier,
            content: &*content,
            size: stat.size,
            dev: stat.dev,
            place: lists.place(entry.origin(), &name),
            name: &name,
            digest: shows_digests.then(|| Digest::whole_file(checksum, negotiated.seed)),
            progress,
        };
        let Some(target) = target else { return Err(EngineError::ReceiverGone) };
        let (outcome, digest) = target.receive(list, entry, (request, progress), &mut source)?;
        let digest = digest.filter(|_| shows_digests);
        self.count_transfer(stat.size);
        let data = session.counters.literal.load(Ordering::Relaxed) - before;
        let data_bytes = ANSWER_COST + data + data.div_ceil(PIECE) * 4;
        self.moved += data_bytes;
        self.emit(Stage::Done, entry, attributes, Moved { data_bytes, digest: digest.as_deref(), ..moved });
        Ok(match outcome {
            Outcome::Finished => Notice::Finished(vec![index]),
            Outcome::Delayed => Notice::Delayed(index),
            Outcome::Redo => Notice::Redo(index),
            Outcome::Failed => Notice::Failed(index),
        })
    }

    /// A progress report without its file, when an entry is worked on.
    fn progress(&self, moment: Moment, at: Option<(&Segment, EntryRef<'_>)>) -> Progress<'static> {
        let counters = &self.session.counters;
        let totals = &self.lists.totals;
        let remaining = at.map_or(0, |(list, entry)| {
            let later = self.files.lists().filter(|other| other.start() > list.start());
            (list.len() - 1 - entry.place()) as u64 + later.map(|list| list.len() as u64).sum::<u64>()
        });
        Progress {
            moment,
            name: b"",
            offset: 0,
            size: 0,
            transfers: counters.transferred_files.load(Ordering::Relaxed),
            remaining,
            known: totals.listed.total(),
            lists_pending: !self.files.is_complete(),
            total_offset: counters.transferred_size.load(Ordering::Relaxed),
            total_size: totals.total_size,
        }
    }
}

/// Whether a line of the user or of the log has a digest in it.
fn shows_digests(options: &TransferOptions) -> bool {
    let formats = [&options.out_format, &options.log_file_format];
    formats.into_iter().flatten().any(|format| LineFormat::parse(format).uses(b'C'))
}

impl Peer for LocalPeer<'_> {
    fn item(
        &mut self,
        index: u32,
        attributes: &ItemAttributes,
        wanted: Option<&[u32]>,
    ) -> Result<(), EngineError> {
        if self.session.control.is_aborted() {
            return Err(EngineError::Cancelled);
        }
        self.items += 1;
        let Some((list, place)) = self.files.holder(index) else { return Err(EngineError::ReceiverGone) };
        let Some(entry) = list.get(place) else { return Err(EngineError::ReceiverGone) };
        if let Some(wanted) = wanted {
            self.lists.learn_xattrs(entry, wanted);
        }
        if attributes.flags.contains(ItemFlags::IS_NEW) {
            *count_of(&mut self.report.created, entry.kind()).0 += 1;
        }
        if !attributes.flags.contains(ItemFlags::TRANSFER) {
            let linked = attributes.flags.contains(ItemFlags::XNAME_FOLLOWS | ItemFlags::LOCAL_CHANGE);
            if wanted.is_some() && !linked {
                self.target()?.set_xattrs(entry);
            }
            self.emit(Stage::Done, entry, attributes, Moved::default());
            return Ok(());
        }
        let Some(request) = self.shared.requests.take(index) else { return Err(EngineError::ReceiverGone) };
        if self.session.options.dry_run {
            self.count_transfer(entry.size());
            for stage in [Stage::Begins, Stage::Done] {
                self.emit(stage, entry, attributes, Moved::default());
            }
            self.shared.finished(index);
            return Ok(());
        }
        match self.transfer(&list, entry, attributes, request)? {
            Notice::Finished(_) => self.shared.finished(index),
            other => self.shared.notify(other),
        }
        Ok(())
    }

    fn sum_head(&mut self, _: &SumHead) -> Result<bool, EngineError> {
        Ok(false)
    }

    fn block_sums(&mut self, _: &SumHead, _: &[u8]) -> Result<(), EngineError> {
        Ok(())
    }

    fn done(&mut self) -> Result<(), EngineError> {
        if self.answers.is_over() {
            return Ok(());
        }
        let ends_list = self.answers.seen().is_none();
        let more_lists = self.files.lists().len() > 1 || !self.files.is_complete();
        let event = self.answers.on_done(more_lists)?;
        let incremental = self.session.negotiated.incremental_recursion();
        if ends_list && incremental {
            self.files.release();
        }
        let shows = ends_list || !incremental && event <= Some(PhaseEvent::FinalDone);
        if shows && self.session.events.wants(Topic::Progress) {
            self.session.events.emit(Event::Progress(self.progress(Moment::ListDone, None)));
        }
        let Some(event) = event else { return Ok(()) };
        if event == PhaseEvent::RedoAnswered
            && let Some(target) = &mut self.target
        {
            let shared = self.shared;
            target.place_delayed(|index, ok| {
                if ok { shared.finished(index) } else { shared.notify(Notice::Failed(index)) }
            });
        }
        self.shared.notify(Notice::Passed(event));
        Ok(())
    }

    fn delete_stats(&mut self, _: &KindCounts) -> Result<(), EngineError> {
        Ok(())
    }

    fn success(&mut self, index: u32) -> Result<(), EngineError> {
        let Some((list, place)) = self.files.holder(index) else { return Ok(()) };
        let Some(entry) = list.get(place) else { return Ok(()) };
        let destination = self.target()?.stat(entry).ok();
        remove_source(self.session, entry, self.lists.dir_of(entry), destination);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn keep_alive(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn keep_alive_at_work(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn keep_alive_interval(&self) -> Option<Duration> {
        None
    }

    fn work(&mut self) -> Result<(), EngineError> {
        if self.session.control.is_aborted() {
            return Err(EngineError::Cancelled);
        }
        if self.shared.tell_finished() {
            return Ok(());
        }
        if self.scanned_first && self.files.is_complete() {
            return Err(EngineError::ReceiverGone);
        }
        let before = self.files.next_start();
        loop {
            self.scan()?;
            if self.files.is_complete() || self.files.next_start() - before > LOOKAHEAD {
                return Ok(());
            }
        }
    }

    fn leaves_when_empty(&self) -> bool {
        false
    }

    fn leave(&mut self, _: ExitCode) {}

    fn sent(&self) -> u64 {
        self.lists.totals.list_size + self.moved + self.items * ITEM_COST
    }
}
