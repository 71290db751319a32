//! Answers a generator in its own thread: scans when it waits for lists, copies, or has copied, when
//! it asks for content (spec 02 §5 to §7).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rsync_proto::exit::ExitCode;
use rsync_proto::flist::{EntryRef, FileList, Segment, split_path};
use rsync_proto::phase::{Answers, Event as PhaseEvent, ItemAttributes, ItemFlags};
use rsync_proto::sum::SumHead;
use rsync_proto::text::{Event, KindCounts, Message, Moment, Progress, Stage, Topic};

use super::backlog::{Backlog, Due, Later};
use super::lists::LocalLists;
use super::pipeline::Pipeline;
use super::worker::{Asked, Copied, REQUEST_COST, SourceDir, Worker, tell};
use crate::generate::Peer;
use crate::receive::shared::{Notice, Shared};
use crate::send::{count_of, remove_source, say};
use crate::{EngineError, ErrorState, SendReport, Session};

/// So many entries are known beyond what the generator works on, while there are more (spec 03 §8.5).
const LOOKAHEAD: u32 = 1000;
/// About what an item takes on a wire, in bytes.
const ITEM_COST: u64 = 5;

/// Where files are copied.
pub(super) enum Workshop<'a> {
    /// In the generator's thread, one after the other.
    Here(Backlog),
    /// By a crew, which is started with the first file if that is possible.
    Crew(Arc<Pipeline>, Option<Box<dyn FnOnce() -> bool + 'a>>),
}

/// The sender and the receiver of a local copy.
pub(super) struct LocalPeer<'a> {
    session: &'a Session,
    shared: &'a Shared,
    lists: LocalLists<'a>,
    files: FileList,
    started: Instant,
    scanned_first: bool,
    /// Lists that the generator does not know yet, with the errors in making them: it gets the first alone,
    /// as over a wire.
    ahead: Vec<(Arc<Segment>, ErrorState)>,
    /// The errors in making the next list.
    found: &'a ErrorState,
    answers: Answers,
    workshop: Workshop<'a>,
    /// Does what is done in the generator's thread.
    worker: Worker<'a>,
    /// What that says about its work.
    later: &'a Later,
    /// Start of the list that the last item was of.
    last_list: u32,
    /// Where the last entries came from.
    source: Option<Arc<SourceDir>>,
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
        workshop: Workshop<'a>,
        (at_work, later): (&'a Session, &'a Later),
        found: &'a ErrorState,
    ) -> Self {
        Self {
            session,
            shared,
            lists,
            files: FileList::new(session.negotiated.incremental_recursion()),
            started,
            scanned_first: false,
            ahead: Vec::new(),
            found,
            answers: Answers::new(&session.negotiated),
            workshop,
            worker: Worker::new(at_work, shared),
            later,
            last_list: 0,
            source: None,
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
            let errors = ErrorState::default();
            errors.take_over(self.found);
            self.ahead.push((list, errors));
        }
        if !found {
            self.files.complete();
        }
        Ok(())
    }

    /// Makes lists until enough entries are known.
    fn scan_ahead(&mut self) -> Result<(), EngineError> {
        let before = self.files.next_start();
        while !self.files.is_complete() && self.files.next_start() - before <= LOOKAHEAD {
            self.scan()?;
        }
        Ok(())
    }

    /// Gives the generator the lists that it does not know yet.
    fn hand_over(&mut self) {
        for (list, errors) in self.ahead.drain(..) {
            self.session.errors.take_over(&errors);
            self.shared.notify(Notice::List(list));
        }
        if self.files.is_complete() {
            self.shared.notify(Notice::ListsEnd);
        }
    }

    /// Where `entry` comes from.
    fn source_of(&mut self, entry: EntryRef<'_>) -> Arc<SourceDir> {
        let path = self.lists.source_path(entry);
        let (dir, _) = split_path(&path);
        match &self.source {
            Some(source) if source.origin == entry.origin() && source.path == dir => Arc::clone(source),
            _ => Arc::clone(self.source.insert(Arc::new(self.lists.source_dir(entry.origin(), dir)))),
        }
    }

    /// Copies a file that the generator asks for, or has it copied.
    fn transfer(&mut self, asked: Asked, size: u64) -> Result<(), EngineError> {
        if let Workshop::Crew(_, start) = &mut self.workshop
            && start.take().is_some_and(|start| !start())
        {
            self.finish_all()?;
            self.workshop = Workshop::Here(Backlog::default());
        }
        if let Workshop::Crew(pipeline, _) = &self.workshop {
            pipeline.copy(asked, size);
            return self.report_settled().map(drop);
        }
        self.is_due(Due::Item(asked))
    }

    /// Does this later, in the generator's thread.
    fn is_due(&mut self, due: Due) -> Result<(), EngineError> {
        let Workshop::Here(backlog) = &mut self.workshop else { return Ok(()) };
        match backlog.push(due) {
            Some(left) => self.work_off(left).map(drop),
            None => Ok(()),
        }
    }

    /// Does what is due until at most so many files are left; answers whether there was a file.
    fn work_off(&mut self, left: usize) -> Result<bool, EngineError> {
        let mut has_copied = false;
        while let Workshop::Here(backlog) = &mut self.workshop
            && let Some(due) = backlog.pop(left)
        {
            if let Due::Item(asked) = &due {
                self.last_list = asked.list.start();
            }
            match due {
                Due::Item(asked) if asked.request.is_some() => {
                    has_copied = true;
                    self.copy(&asked)?;
                }
                Due::Item(asked) => {
                    if asked.attributes.flags.contains(ItemFlags::TRANSFER) {
                        tell(self.session, Stage::Begins, &asked, None);
                    }
                    tell(self.session, Stage::Done, &asked, None);
                }
                Due::ListDone(left) => {
                    let progress = self.progress(Moment::ListDone, None);
                    // Before the first item the end of the list itself is the place that counts.
                    let remaining = if self.last_list == 0 { left } else { progress.remaining };
                    self.session.events.emit(Event::Progress(Progress { remaining, ..progress }));
                }
            }
        }
        self.later.say();
        Ok(has_copied)
    }

    /// Copies a file.
    fn copy(&mut self, asked: &Asked) -> Result<(), EngineError> {
        let session = self.session;
        let entry = asked.entry()?;
        let progress = self.progress(Moment::Running, Some((&asked.list, entry)));
        let copied = self.worker.copy(asked, progress, |_| tell(session, Stage::Begins, asked, None))?;
        tell(session, Stage::Done, asked, Some(&copied));
        self.report_copied(entry.index(), &copied);
        Ok(())
    }

    fn report_copied(&mut self, index: u32, copied: &Copied) {
        self.moved += copied.cost();
        self.shared.ended(index, copied.outcome);
    }

    /// Tells the generator what the crew has done; answers whether there was anything.
    fn report_settled(&mut self) -> Result<bool, EngineError> {
        let Workshop::Crew(pipeline, _) = &self.workshop else { return Ok(false) };
        let settled = pipeline.settled()?;
        for (asked, copied) in &settled {
            self.report_copied(asked.entry()?.index(), copied);
        }
        Ok(!settled.is_empty())
    }

    /// Waits for everything that was asked for.
    fn finish_all(&mut self) -> Result<bool, EngineError> {
        match &self.workshop {
            Workshop::Here(_) => self.work_off(0),
            Workshop::Crew(pipeline, _) => {
                pipeline.drain();
                self.report_settled()
            }
        }
    }

    /// A progress report without its file, when an entry is worked on, or at the end of a list.
    fn progress(&self, moment: Moment, at: Option<(&Segment, EntryRef<'_>)>) -> Progress<'static> {
        let counters = &self.session.counters;
        let totals = &self.lists.totals;
        let start = at.map_or(self.last_list, |(list, _)| list.start());
        let later = self.files.lists().filter(|other| other.start() > start);
        let here = at.map_or(0, |(list, entry)| list.len() - 1 - entry.place());
        let remaining = here as u64 + later.map(|list| list.len() as u64).sum::<u64>();
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

impl Peer for LocalPeer<'_> {
    fn item(
        &mut self,
        index: u32,
        attributes: &ItemAttributes,
        wanted: Option<&[u32]>,
    ) -> Result<(), EngineError> {
        if self.session.control.is_aborted() {
            return Err(self.session.control.reason());
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
        let mut asked = Asked {
            list: Arc::clone(&list),
            place,
            attributes: attributes.clone(),
            source: self.source_of(entry),
            named: self.lists.source_names(entry),
            request: None,
        };
        if !attributes.flags.contains(ItemFlags::TRANSFER) {
            let linked = attributes.flags.contains(ItemFlags::XNAME_FOLLOWS | ItemFlags::LOCAL_CHANGE);
            if wanted.is_some() && !linked {
                self.worker.target()?.set_xattrs(entry);
            }
            return match &self.workshop {
                Workshop::Here(_) => self.is_due(Due::Item(asked)),
                Workshop::Crew(pipeline, _) => {
                    pipeline.say(asked);
                    Ok(())
                }
            };
        }
        let Some(request) = self.shared.requests.take(index) else { return Err(EngineError::ReceiverGone) };
        if self.session.options.dry_run {
            let counters = &self.session.counters;
            counters.transferred_files.fetch_add(1, Ordering::Relaxed);
            counters.transferred_size.fetch_add(entry.size(), Ordering::Relaxed);
            self.shared.finished(index);
            return self.is_due(Due::Item(asked));
        }
        asked.request = Some(request);
        self.transfer(asked, entry.size())
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
        let left = self.files.lists().skip(1).map(|list| list.len() as u64).sum();
        if ends_list && incremental {
            self.files.release();
        }
        let shows = ends_list || !incremental && event <= Some(PhaseEvent::FinalDone);
        if shows && self.session.events.wants(Topic::Progress) {
            self.is_due(Due::ListDone(left))?;
        }
        let Some(event) = event else { return Ok(()) };
        self.finish_all()?;
        if self.answers.precedes_statistics(event) {
            let data = self.session.counters.literal.load(Ordering::Relaxed);
            say(self.session, Message::MatchTotals { matches: 0, hash_hits: 0, false_alarms: 0, data });
        }
        if self.shared.destination().is_some() {
            self.worker.target()?.end_phase(event);
            self.later.say();
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
        let destination = self.worker.target()?.stat(entry).ok();
        let name = self.lists.source_path(entry);
        remove_source(self.session, entry, (&name, self.lists.dir_of(entry)), destination);
        Ok(())
    }

    fn end_round(&mut self) -> Result<(), EngineError> {
        match &self.workshop {
            Workshop::Here(_) => self.work_off(0).map(drop),
            Workshop::Crew(pipeline, _) => {
                pipeline.next_round();
                Ok(())
            }
        }
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        if let Workshop::Crew(pipeline, _) = &self.workshop {
            pipeline.flush();
        }
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
            return Err(self.session.control.reason());
        }
        let reported = match &self.workshop {
            Workshop::Here(_) => self.work_off(0)?,
            Workshop::Crew(..) => self.report_settled()?,
        };
        if self.shared.tell_finished() || reported {
            return Ok(());
        }
        if self.scanned_first && self.files.is_complete() && self.ahead.is_empty() {
            let reported = self.finish_all()?;
            self.shared.tell_finished();
            return if reported { Ok(()) } else { Err(EngineError::ReceiverGone) };
        }
        if let Workshop::Crew(pipeline, _) = &self.workshop {
            pipeline.next_round();
        }
        if self.scanned_first {
            if self.ahead.is_empty() {
                self.scan_ahead()?;
            }
            self.hand_over();
        } else {
            self.scan()?;
            if let Some((first, errors)) = self.ahead.pop() {
                self.session.errors.take_over(&errors);
                self.shared.notify(Notice::List(first));
            }
            self.scan_ahead()?;
            if self.files.is_complete() && self.ahead.is_empty() {
                self.shared.notify(Notice::ListsEnd);
            }
        }
        Ok(())
    }

    fn leaves_when_empty(&self) -> bool {
        false
    }

    fn is_local(&self) -> bool {
        true
    }

    fn leave(&mut self, _: ExitCode) {}

    fn sent(&self) -> u64 {
        self.lists.totals.list_size + self.moved + self.items * ITEM_COST
    }
}
