//! S: makes lists ahead of the requests, answers these in order, and ends the phases (spec 02 §6, §7;
//! 03 §8).

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rsync_proto::delta::{MatchStats, TokenEncoder};
use rsync_proto::exit::IoErrorFlags;
use rsync_proto::flist::{FileList, Kind, Segment};
use rsync_proto::phase::{DoneReply, FinalStatistics, Ledger, encode_delete_stats};
use rsync_proto::text::{Event, KindCounts, Message, Moment, Progress, Topic};
use rsync_proto::wire::{self, Ndx, NdxEncoder, NdxError};

use super::lists::{ListWire, Lists};
use super::queue::{Queue, Request};
use super::reader::ListTotal;
use super::{SendReport, answer, file};
use crate::outbox::Outbox;
use crate::{EngineError, Session};

/// So many entries lie beyond the list that is worked on, while there are more (spec 03 §8.5).
const LOOKAHEAD: usize = 1000;
/// So many are sent while nothing is requested: a receiver that finds all up to date asks for nothing
/// but the next lists, and would be waited for after each.
const IDLE_LOOKAHEAD: usize = 10_000;
/// S looks after the link so often while nothing is requested.
const PATIENCE: Duration = Duration::from_secs(60);

/// The writing half of a sender.
pub(super) struct Sender<'a, L> {
    pub(super) session: &'a Session,
    pub(super) outbox: &'a mut Outbox,
    pub(super) lists: L,
    queue: &'a Queue,
    total: &'a ListTotal,
    pub(super) ndx: NdxEncoder,
    pub(super) tokens: TokenEncoder,
    pub(super) files: FileList,
    pub(super) ledger: Ledger,
    /// Number of the list that is worked on.
    pub(super) current: usize,
    /// Error flags that the receiving side knows of.
    reported: IoErrorFlags,
    /// The window that files are read through.
    pub(super) buffer: file::Buffer,
    pub(super) matches: MatchStats,
    pub(super) report: SendReport,
}

/// How a run ended.
pub(super) struct Ended {
    pub(super) report: SendReport,
    /// A server had nothing to send: there were no phases, and the reader still waits.
    pub(super) was_empty_pull: bool,
}

impl<'a, L: Lists> Sender<'a, L> {
    /// Before the first list.
    pub(super) fn new(
        session: &'a Session,
        outbox: &'a mut Outbox,
        lists: L,
        queue: &'a Queue,
        total: &'a ListTotal,
    ) -> Result<Self, EngineError> {
        let negotiated = &session.negotiated;
        let incremental = negotiated.incremental_recursion();
        if !incremental {
            total.set(1);
        }
        Ok(Self {
            session,
            outbox,
            lists,
            queue,
            total,
            ndx: NdxEncoder::new(negotiated.is_modern()),
            tokens: TokenEncoder::new(negotiated)?,
            files: FileList::new(incremental),
            ledger: Ledger::new(incremental),
            current: 0,
            reported: IoErrorFlags::NONE,
            buffer: file::Buffer::default(),
            matches: MatchStats::default(),
            report: SendReport::default(),
        })
    }

    /// Runs to the last DONE.
    pub(super) fn run(&mut self) -> Result<Ended, EngineError> {
        let is_empty = self.send_first_list()?;
        if is_empty && self.session.server {
            self.top_up()?;
            self.flush()?;
            return Ok(self.ended(true));
        }
        loop {
            self.top_up()?;
            match self.next_request()? {
                Request::Item(item) => self.answer(*item)?,
                Request::Done(reply, received) => {
                    if self.done(reply, received)? {
                        break;
                    }
                }
                Request::DeleteStats(counts) => self.delete_stats(counts)?,
                Request::Success(index) => self.remove_source(index)?,
                Request::Failed(EngineError::Index(NdxError::Invalid { value })) => {
                    let last = self.files.range().map_or(-1, |(_, last)| i64::from(last));
                    let text = format!("Invalid file index: {value} (-1 - {last}) [sender]");
                    return Err(EngineError::protocol(text));
                }
                Request::Failed(error) => return Err(error),
            }
        }
        self.flush()?;
        Ok(self.ended(false))
    }

    fn ended(&self, was_empty_pull: bool) -> Ended {
        self.session.counters.bytes_written.store(self.outbox.sent(), Ordering::Relaxed);
        Ended { report: self.report, was_empty_pull }
    }

    /// Emits `message` if it is wanted.
    pub(super) fn say(&self, message: Message<'_>) {
        answer::say(self.session, message);
    }

    /// Sends everything, texts of other threads included.
    pub(super) fn flush(&mut self) -> Result<(), EngineError> {
        self.send_messages()?;
        self.outbox.flush()
    }

    /// Queues the messages that others have left.
    pub(super) fn send_messages(&mut self) -> Result<(), EngineError> {
        let Self { session, outbox, .. } = self;
        session.outgoing.drain(|message| outbox.message(message))
    }

    /// Makes the first list; answers whether it is empty.
    fn send_first_list(&mut self) -> Result<bool, EngineError> {
        let negotiated = &self.session.negotiated;
        let started = Instant::now();
        let before = self.outbox.sent();
        let outgoing = &self.session.outgoing;
        let mut wire = ListWire { outbox: self.outbox, ndx: &mut self.ndx, outgoing };
        let list = self.lists.first(&mut wire)?;
        self.report.list_build_ms = (started.elapsed().as_millis() as u64).max(1);
        self.report.list_size += self.outbox.sent() - before;
        let is_empty = list.is_empty();
        self.add_list(list)?;
        let flags = self.session.errors.io_error();
        if negotiated.is_modern() && !negotiated.safe_file_list() && !flags.is_empty() {
            self.outbox.message(&wire::Message::IoError(flags))?;
        }
        self.reported = flags;
        Ok(is_empty)
    }

    fn add_list(&mut self, list: std::sync::Arc<Segment>) -> Result<(), EngineError> {
        let start = self.ledger.add(list.len())?;
        debug_assert_eq!(start, list.start(), "the scan numbers lists as the wire does");
        for entry in list.iter() {
            let listed = &mut self.report.listed;
            let (count, has_size) = count_of(listed, entry.kind());
            *count += 1;
            if has_size {
                self.report.total_size += entry.size();
            }
        }
        self.files.append(list)?;
        Ok(())
    }

    /// Sends lists until enough entries lie ahead, or all are sent.
    fn top_up(&mut self) -> Result<(), EngineError> {
        while self.lists_are_due(LOOKAHEAD) {
            self.send_next_list()?;
        }
        Ok(())
    }

    /// Whether lists are left, and fewer than `lookahead` entries lie beyond the list that is worked on.
    fn lists_are_due(&self, lookahead: usize) -> bool {
        !self.files.is_complete() && self.ledger.entries_beyond(self.current) < lookahead
    }

    /// Sends the next list, or that there is none.
    fn send_next_list(&mut self) -> Result<(), EngineError> {
        let before = self.outbox.sent();
        let outgoing = &self.session.outgoing;
        let mut wire = ListWire { outbox: self.outbox, ndx: &mut self.ndx, outgoing };
        let Some(list) = self.lists.next(&mut wire)? else {
            self.files.complete();
            self.total.set(self.ledger.lists());
            return self.put_ndx(Ndx::FileListEof);
        };
        self.report.list_size += self.outbox.sent() - before;
        self.add_list(list)?;
        self.report_list_errors()
    }

    /// Tells a receiver that cannot find them in the list about errors of its scan.
    fn report_list_errors(&mut self) -> Result<(), EngineError> {
        let flags = self.session.errors.io_error();
        if flags == self.reported {
            return Ok(());
        }
        self.reported = flags;
        if self.session.negotiated.announces_sub_list_errors() {
            self.outbox.message(&wire::Message::IoError(flags))?;
        }
        Ok(())
    }

    /// The next request. While there is none, further lists are sent; before waiting everything is sent;
    /// while waiting the link is kept alive.
    fn next_request(&mut self) -> Result<Request, EngineError> {
        if let Some(request) = self.queue.take() {
            return Ok(request);
        }
        self.flush()?;
        while self.lists_are_due(IDLE_LOOKAHEAD) {
            self.send_next_list()?;
            if let Some(request) = self.queue.take() {
                return Ok(request);
            }
        }
        loop {
            self.flush()?;
            let patience = self.outbox.keep_alive_interval().unwrap_or(PATIENCE).min(PATIENCE);
            if let Some(request) = self.queue.wait(patience) {
                return Ok(request);
            }
            self.outbox.keep_alive()?;
        }
    }

    pub(super) fn put_ndx(&mut self, ndx: Ndx) -> Result<(), EngineError> {
        self.outbox.data::<EngineError>(|out| {
            self.ndx.encode(out, ndx);
            Ok(())
        })
    }

    /// Answers a DONE; says whether it was the last.
    fn done(&mut self, reply: DoneReply, received: u64) -> Result<bool, EngineError> {
        self.send_messages()?;
        match reply {
            DoneReply::ReleaseList => {
                if self.session.negotiated.incremental_recursion() {
                    self.release_list()?;
                }
                self.list_done();
                self.put_ndx(Ndx::Done)?;
            }
            DoneReply::Echo => {
                self.phase_done();
                self.put_ndx(Ndx::Done)?;
            }
            DoneReply::Goodbye => self.put_ndx(Ndx::Done)?,
            DoneReply::Final => {
                self.phase_done();
                self.finish(received)?;
            }
            DoneReply::End => return Ok(true),
        }
        Ok(false)
    }

    /// Drops the oldest list. Without incremental recursion the only one stays, for redo requests.
    fn release_list(&mut self) -> Result<(), EngineError> {
        if self.files.release().is_none() || self.ledger.release().is_none() {
            return Err(EngineError::protocol("DONE for a file list that was not sent [sender]"));
        }
        self.current = self.current.max(self.ledger.released());
        Ok(())
    }

    /// The final DONE, and the statistics where the client needs them.
    fn finish(&mut self, received: u64) -> Result<(), EngineError> {
        let MatchStats { matches, hash_hits, false_alarms, literal_data, .. } = self.matches;
        self.say(Message::MatchTotals { matches, hash_hits, false_alarms, data: literal_data });
        self.send_messages()?;
        let negotiated = &self.session.negotiated;
        let flags = self.session.errors.io_error();
        if negotiated.is_modern() && flags != self.reported {
            self.outbox.message(&wire::Message::IoError(flags))?;
        }
        self.put_ndx(Ndx::Done)?;
        // A receiving server counts for itself, but the reader of a batch cannot.
        if self.session.server || self.outbox.is_recording() {
            let statistics = FinalStatistics {
                read: received,
                written: self.outbox.sent(),
                total_size: self.report.total_size,
                list_build_ms: self.report.list_build_ms,
                list_transfer_ms: self.report.list_transfer_ms,
            };
            self.outbox.divert(!self.session.server);
            self.outbox.data::<EngineError>(|out| {
                statistics.encode(out, negotiated);
                Ok(())
            })?;
            self.outbox.divert(false);
        }
        Ok(())
    }

    fn delete_stats(&mut self, counts: KindCounts) -> Result<(), EngineError> {
        self.report.deleted = Some(counts);
        if self.session.server {
            self.put_ndx(Ndx::DeleteStats)?;
            self.outbox.data::<EngineError>(|out| {
                encode_delete_stats(out, &counts);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The only list of all phases is done once more.
    fn phase_done(&self) {
        if !self.session.negotiated.incremental_recursion() {
            self.list_done();
        }
    }

    fn list_done(&self) {
        if self.session.events.wants(Topic::Progress) {
            self.session.events.emit(Event::Progress(Progress {
                name: b"",
                offset: 0,
                size: 0,
                ..self.progress(Moment::ListDone, None)
            }));
        }
    }

    /// A progress report without its file, when the entry at `index` is worked on.
    pub(super) fn progress(&self, moment: Moment, index: Option<u32>) -> Progress<'static> {
        let counters = &self.session.counters;
        let known = self.report.listed.total();
        let remaining = match index {
            Some(index) => {
                let lists = self.files.lists().filter(|list| list.start() > index);
                let here =
                    self.files.list_of(index).map_or(0, |list| list.start() + list.len() as u32 - 1 - index);
                u64::from(here) + lists.map(|list| list.len() as u64).sum::<u64>()
            }
            None => self.ledger.entries_beyond(self.current) as u64,
        };
        Progress {
            moment,
            name: b"",
            offset: 0,
            size: 0,
            transfers: counters.transferred_files.load(Ordering::Relaxed),
            remaining,
            known,
            lists_pending: !self.files.is_complete(),
            total_offset: counters.transferred_size.load(Ordering::Relaxed),
            total_size: self.report.total_size,
        }
    }
}

/// The counter of a kind, and whether its size counts in the total.
pub(crate) fn count_of(counts: &mut KindCounts, kind: Kind) -> (&mut u64, bool) {
    match kind {
        Kind::Dir => (&mut counts.dirs, false),
        Kind::Symlink => (&mut counts.symlinks, true),
        Kind::CharDevice | Kind::BlockDevice => (&mut counts.devices, false),
        Kind::Fifo | Kind::Socket => (&mut counts.specials, false),
        Kind::File => (&mut counts.files, true),
        Kind::Missing => (&mut counts.files, false),
    }
}
