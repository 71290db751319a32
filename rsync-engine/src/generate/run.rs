//! The generator: walks the file lists, asks for what is needed, and ends the phases (spec 07 §1;
//! 02 §6). It alone writes the link on the receiving side.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant, SystemTime};

use rsync_proto::flist::{FileList, Segment};
use rsync_proto::phase::{
    Event as PhaseEvent, ItemAttributes, Ledger, ScriptOptions, Step, generator_script,
};
use rsync_proto::text::{KindCounts, Message, Role, VERSION, exit_line};
use rsync_proto::wire::{Message as WireMessage, MessageCode};

use super::delete::Deleter;
use super::dirs::Directories;
use super::entry::At;
use super::links::LinkGroups;
use super::peer::Peer;
use super::renamed::Renamed;
use super::similar::Similar;
use crate::backup::Backups;
use crate::companions::Alternate;
use crate::confine::DirStack;
use crate::destination::Destination;
use crate::meta::Attributes;
use crate::partial::PartialDir;
use crate::receive::shared::{Notice, Shared};
use crate::{EngineError, Session};

/// Requests in flight at most; what the receiver reports is bounded by it.
const MAX_IN_FLIGHT: u64 = 8192;
/// After so many entries the generator looks at what the receiver reports.
const LOOK_EVERY: usize = 64;
/// Without incremental recursion items wait for so many entries at most (spec 07 §24.1).
const ROUND: usize = 200;
/// How long the peer's reason for closing is waited for.
const PATIENCE_WITH_LEAVING_PEER: Duration = Duration::from_secs(5);
/// With `--hard-links`, so many entries are known before a list is walked (spec 07 §1).
const KNOWN_FOR_LINKS: usize = 500;

/// The deciding half of the receiving side.
pub(crate) struct Generator<'a> {
    pub(super) session: &'a Session,
    pub(super) shared: &'a Shared,
    pub(super) peer: &'a mut (dyn Peer + 'a),
    notices: Receiver<Notice>,
    /// The live lists, and the directories they belong to.
    pub(super) files: FileList,
    pub(super) ledger: Ledger,
    /// Entries that keep their list unfinished without being requested: hard links that wait.
    pub(super) held: u64,
    /// Verified files that wait for the end of the transfer, and hard links for them.
    pub(super) delayed: HashSet<u32>,
    /// Lists that were not walked yet.
    unwalked: VecDeque<Arc<Segment>>,
    /// Number of lists walked.
    walked: usize,
    /// When this side started, in seconds since 1970: what is newer was changed by this run.
    pub(super) started: i64,
    passed: Option<PhaseEvent>,
    redo: VecDeque<u32>,
    /// The entry at hand is requested again after a failed verification.
    pub(super) in_redo: bool,
    /// The entry at hand must not be postponed in favour of another hard link.
    pub(super) forced: bool,
    pub(super) links: LinkGroups,
    /// The last member of each hard-link group that came up: start of its list, and place.
    pub(super) last_members: HashMap<u32, (u32, usize)>,
    pub(super) destination: Option<&'a Destination>,
    /// Directories near the entry at hand.
    pub(super) dirs: DirStack,
    pub(super) attributes: Attributes,
    pub(super) partial: Option<PartialDir>,
    pub(super) backups: Option<Backups<'a>>,
    /// Directories of the alternate destinations, by number.
    pub(super) alternates: Vec<Option<DirStack>>,
    /// Files near the entry at hand that may serve as basis.
    pub(super) similar: Similar,
    /// Files anywhere in the destination that may serve as basis.
    pub(super) renamed: Renamed,
    pub(super) directories: Directories,
    pub(super) deleter: Deleter,
}

/// How a generator's run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All phases were run.
    Complete,
    /// The sender had nothing to send and closed.
    Empty,
}

impl<'a> Generator<'a> {
    /// Starts before the first list.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub(crate) fn new(
        session: &'a Session,
        shared: &'a Shared,
        peer: &'a mut (dyn Peer + 'a),
        notices: Receiver<Notice>,
        deleter: Deleter,
    ) -> io::Result<Self> {
        let negotiated = &session.negotiated;
        let incremental = negotiated.incremental_recursion();
        Ok(Self {
            session,
            shared,
            peer,
            notices,
            files: FileList::new(incremental),
            ledger: Ledger::new(incremental),
            held: 0,
            delayed: HashSet::new(),
            unwalked: VecDeque::new(),
            walked: 0,
            started: seconds_now(),
            passed: None,
            redo: VecDeque::new(),
            in_redo: false,
            forced: false,
            links: LinkGroups::default(),
            last_members: HashMap::new(),
            destination: None,
            dirs: DirStack::new(Arc::new(session.start_dir()?)),
            attributes: Attributes::new(&session.options),
            partial: PartialDir::of(session),
            backups: None,
            alternates: Vec::new(),
            similar: Similar::default(),
            renamed: Renamed::default(),
            directories: Directories::default(),
            deleter,
        })
    }

    /// Runs to the goodbye; answers how it ended and what was deleted.
    pub(crate) fn run(mut self, argument: &[u8]) -> Result<(Ended, KindCounts), EngineError> {
        let result = self.run_session(argument).map_err(|error| self.explain(error));
        if let Err(error) = &result {
            self.leave(error);
        }
        self.session.counters.bytes_written.store(self.peer.sent(), Ordering::Relaxed);
        result.map(|ended| (ended, self.deleter.counts()))
    }

    fn run_session(&mut self, argument: &[u8]) -> Result<Ended, EngineError> {
        while self.unwalked.is_empty() {
            self.wait()?;
        }
        while self.needs_second_list() {
            self.wait()?;
        }
        let first = Arc::clone(&self.unwalked[0]);
        if !self.session.options.list_only {
            let count = self.unwalked.iter().map(|list| list.len()).sum();
            let entry = first.iter().find(|entry| entry.is_active());
            let destination =
                Destination::resolve(self.session, argument, count, entry)?.with_companions(self.session)?;
            let destination = self.shared.set_destination(destination);
            self.dirs = destination.dirs(self.session);
            if destination.created {
                self.directories.made_early(b".");
            }
            Backups::check(self.session, destination)?;
            self.backups = Backups::new(self.session, destination, Role::Generator);
            self.alternates = destination.alternates.iter().map(Alternate::stack).collect();
            self.destination = Some(destination);
        }
        if first.is_empty() && self.peer.leaves_when_empty() {
            while !self.shared.is_empty_transfer() {
                self.wait()?;
            }
            return Ok(Ended::Empty);
        }
        self.delete_before(&first)?;
        self.session.say(Message::DeltaTransmission(!self.session.sends_whole_files()));
        while let Some(list) = self.next_list()? {
            self.walk(&list)?;
            self.walked += 1;
            self.release_lists()?;
        }
        self.finish_phases()?;
        Ok(Ended::Complete)
    }

    /// One entry alone does not tell whether the destination is a directory (spec 07 §2).
    fn needs_second_list(&self) -> bool {
        self.unwalked.len() == 1 && self.unwalked[0].len() == 1 && !self.files.is_complete()
    }

    /// The next list to walk, waiting for it; `None` when all are walked.
    fn next_list(&mut self) -> Result<Option<Arc<Segment>>, EngineError> {
        loop {
            let known: usize = self.unwalked.iter().map(|list| list.len()).sum();
            let enough =
                self.session.options.hard_links == 0 || self.files.is_complete() || known >= KNOWN_FOR_LINKS;
            if enough && let Some(list) = self.unwalked.pop_front() {
                return Ok(Some(list));
            }
            if self.files.is_complete() {
                return Ok(None);
            }
            self.release_lists()?;
            self.wait()?;
        }
    }

    fn walk(&mut self, list: &Arc<Segment>) -> Result<(), EngineError> {
        let incremental = self.session.negotiated.incremental_recursion();
        if incremental && !self.session.options.list_only {
            self.enter_listed_directory(list)?;
        }
        let mut path = Vec::new();
        for (count, entry) in list.iter().filter(|entry| entry.is_active()).enumerate() {
            path.clear();
            entry.put_path(&mut path);
            let at = At { list, entry, index: entry.index(), path: &path };
            if incremental && entry.is_dir() && !self.session.options.list_only {
                self.prepare_directory(at)?;
            } else {
                self.process(at)?;
            }
            if !incremental && count % ROUND == 0 {
                self.peer.end_round()?;
            }
            if count % LOOK_EVERY == 0 {
                self.look()?;
                self.release_lists()?;
            }
            let limit = if self.peer.limits_requests() { MAX_IN_FLIGHT } else { u64::MAX };
            while self.ledger.outstanding() - self.held >= limit {
                self.wait()?;
            }
        }
        Ok(())
    }

    /// Takes what the receiver reports without waiting.
    pub(super) fn look(&mut self) -> Result<(), EngineError> {
        loop {
            match self.notices.try_recv() {
                Ok(notice) => self.take(notice)?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(EngineError::ReceiverGone),
            }
        }
        self.peer.keep_alive_at_work()
    }

    /// Sends what is pending and waits for the next report.
    fn wait(&mut self) -> Result<(), EngineError> {
        self.peer.flush()?;
        let notice = match self.notices.try_recv() {
            Err(TryRecvError::Empty) => {
                self.peer.work()?;
                let interval = self.peer.keep_alive_interval().unwrap_or(Duration::from_secs(60));
                self.notices.recv_timeout(interval)
            }
            Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
            Ok(notice) => Ok(notice),
        };
        match notice {
            Ok(notice) => self.take(notice)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(EngineError::ReceiverGone),
        }
        self.peer.keep_alive()
    }

    fn take(&mut self, notice: Notice) -> Result<(), EngineError> {
        match notice {
            Notice::List(list) => {
                self.ledger.add(list.len())?;
                self.note_members(&list);
                self.files.append(Arc::clone(&list))?;
                self.unwalked.push_back(list);
            }
            Notice::ListsEnd => self.files.complete(),
            Notice::Finished(indexes) => indexes.into_iter().try_for_each(|index| self.finished(index))?,
            Notice::Delayed(index) => {
                if self.delayed.insert(index) {
                    self.held += 1;
                }
            }
            Notice::Redo(index) if self.session.negotiated.incremental_recursion() => {
                self.request_again(index)?
            }
            Notice::Redo(index) => self.redo.push_back(index),
            Notice::Failed(index) => self.failed(index)?,
            Notice::Passed(passed) => self.passed = Some(passed),
            Notice::EmptyTransfer => {}
            Notice::Broken(error) => return Err(error),
        }
        Ok(())
    }

    /// Remembers which member of each hard-link group is the last known.
    fn note_members(&mut self, list: &Segment) {
        if self.session.options.hard_links > 0 {
            let active = list.iter().filter(|entry| entry.is_active());
            let members =
                active.filter_map(|entry| Some((entry.link()?.group, (list.start(), entry.place()))));
            self.last_members.extend(members);
        }
    }

    /// Reports lists that nothing is in flight of, oldest first; a list is only let go when it is
    /// known what follows it (spec 03 §8.5).
    fn release_lists(&mut self) -> Result<(), EngineError> {
        if !self.session.negotiated.incremental_recursion() {
            return Ok(());
        }
        loop {
            let oldest = self.ledger.released();
            let followed = oldest + 1 < self.ledger.lists() || self.files.is_complete();
            if oldest >= self.walked || !followed || self.ledger.outstanding_in_oldest() != Some(0) {
                return Ok(());
            }
            let Some(list) = self.files.lists().next().cloned() else { return Ok(()) };
            self.touch_up_list(&list);
            self.ledger.release();
            self.files.release();
            self.send_done()?;
        }
    }

    /// Walks the script of phase ends (spec 02 §6.2).
    fn finish_phases(&mut self) -> Result<(), EngineError> {
        let late_deletion = self.deletes_late();
        let options = ScriptOptions {
            delay_updates: self.session.options.delay_updates,
            late_deletion,
            sends_delete_stats: self.session.options.deletes() || self.session.options.force,
        };
        let mut settled = false;
        let script = generator_script(&self.session.negotiated, options);
        let last = script.len() - 1;
        for (index, step) in script.into_iter().enumerate() {
            match step {
                Step::ListDones => self.end_lists()?,
                Step::Done => {
                    if !settled && self.is_last_chance(late_deletion) {
                        settled = true;
                        self.touch_up_rest();
                        self.end_deletions();
                    }
                    if index == last {
                        // An old client does not listen any more after this.
                        self.end_deletions();
                    }
                    self.send_done()?;
                }
                Step::Await(event) => self.wait_until(event)?,
                Step::Redo => self.redo_phase()?,
                Step::LateDeletions => self.delete_late()?,
                Step::DeleteStats => {
                    let counts = self.deleter.counts();
                    self.peer.delete_stats(&counts)?;
                }
            }
        }
        if !settled {
            self.touch_up_rest();
        }
        self.peer.flush()
    }

    /// Whether nothing changes directories any more: the last wait is behind us.
    fn is_last_chance(&self, late_deletion: bool) -> bool {
        let last = if late_deletion { PhaseEvent::FinalDone } else { PhaseEvent::GoodbyeAnswered };
        self.passed >= Some(last)
    }

    fn end_lists(&mut self) -> Result<(), EngineError> {
        if !self.session.negotiated.incremental_recursion() {
            return self.send_done();
        }
        while self.ledger.released() < self.ledger.lists() {
            self.release_lists()?;
            if self.ledger.released() < self.ledger.lists() {
                self.wait()?;
            }
        }
        Ok(())
    }

    fn wait_until(&mut self, event: PhaseEvent) -> Result<(), EngineError> {
        while self.passed < Some(event) {
            self.wait()?;
        }
        Ok(())
    }

    fn redo_phase(&mut self) -> Result<(), EngineError> {
        while let Some(index) = self.redo.pop_front() {
            self.request_again(index)?;
        }
        Ok(())
    }

    /// Asks for a file again whose verification failed.
    fn request_again(&mut self, index: u32) -> Result<(), EngineError> {
        self.ledger.resolve(index, "redo")?;
        self.with_entry(index, |generator, at| {
            generator.in_redo = true;
            let result = generator.process(at);
            generator.in_redo = false;
            result
        })
    }

    /// Ends a list or a phase.
    fn send_done(&mut self) -> Result<(), EngineError> {
        self.shared.sends_done();
        self.peer.done()
    }

    /// Sends index and attributes of an item; what belongs to a transfer follows separately.
    pub(super) fn send_item(&mut self, at: &At<'_>, attributes: &ItemAttributes) -> Result<(), EngineError> {
        let wanted = self.wanted_xattrs(at, attributes.flags);
        self.peer.item(at.index, attributes, wanted.as_deref())
    }

    /// A write that fails says little: the peer's own reason may still be on its way to the receiver.
    fn explain(&mut self, error: EngineError) -> EngineError {
        if !matches!(error, EngineError::Link { .. }) {
            return error;
        }
        let deadline = Instant::now() + PATIENCE_WITH_LEAVING_PEER;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.notices.recv_timeout(left) {
                Ok(Notice::Broken(reason)) => return reason,
                Ok(_) => {}
                Err(_) => return error,
            }
        }
    }

    /// The client of a daemon learns why its files cannot be placed; the user of any other server sees
    /// that on standard error.
    fn tell_client(&mut self, error: &EngineError) {
        let texts = match error {
            EngineError::Destination { .. } | EngineError::FileIo { .. } => Some(error.to_string()),
            EngineError::Refused | EngineError::BadOptionDir => None,
            _ => return,
        };
        if self.session.module.is_none() {
            return;
        }
        let last = exit_line(error.exit_code(), Role::EarlyReceiver, (file!(), line!()), VERSION);
        for text in texts.into_iter().chain(last) {
            self.session
                .outgoing
                .push(WireMessage::Text { code: MessageCode::Error, bytes: (text + "\n").into_bytes() });
        }
    }

    /// Says goodbye after a failure of our own, where the protocol knows how (spec 02 §9.3).
    fn leave(&mut self, error: &EngineError) {
        self.tell_client(error);
        self.peer.leave(error.exit_code());
        self.session.control.abort();
    }
}

fn seconds_now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
