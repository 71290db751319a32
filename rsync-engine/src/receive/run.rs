//! The receiver: alone reads the link, hands file lists and outcomes to the generator, and writes
//! the content of files (spec 02 §6, §7; 07 §7).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bstr::ByteSlice;
use rsync_proto::delta::TokenDecoder;
use rsync_proto::exit::ExitCode;
use rsync_proto::flist::{EntryRef, FileList, Kind, NameGuard, Segment};
use rsync_proto::meta::{XattrAnswer, XattrAnswerReader, XattrError};
use rsync_proto::phase::{
    Answers, Event as PhaseEvent, FinalStatistics, ItemAttributes, ItemError, ItemFlags, ItemRules,
    LedgerError, decode_delete_stats,
};
use rsync_proto::text::{
    Direction, EntryKind, Event, KindCounts, Message as TextMessage, Moment, Progress, Role, Stage, Topic,
};
use rsync_proto::wire::{Message, Ndx, NdxDecoder};

use super::file::{Tokens, discard};
use super::lists::ListReader;
use super::shared::{Basis, Notice, Request, Shared};
use super::target::Target;
use crate::inbox::{Inbox, MessageSink};
use crate::item::{self, Moved};
use crate::{EngineError, Session};

/// Longest value of an extended attribute that Linux has, in bytes.
const LONGEST_XATTR: usize = 64 << 10;

/// The reading half of the receiving side.
pub(crate) struct Receiver<'a> {
    session: &'a Session,
    shared: &'a Shared,
    inbox: Inbox,
    peer: Peer<'a>,
    lists: ListReader<'a>,
    files: FileList,
    ndx: NdxDecoder,
    answers: Answers,
    tokens: TokenDecoder,
    target: Option<Target<'a>>,
    outcome: Outcome,
    /// The sender is a recording: it answers what was asked of it then, not what is asked now.
    replays: bool,
    /// A DONE was read that the generator cannot pass yet.
    held_done: bool,
    /// Start of the list that the last item was of.
    last_list: u32,
}

/// What the receiver learned by the end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// The sender's own numbers, where it is a server.
    pub(crate) statistics: Option<FinalStatistics>,
    /// Entries of all lists.
    pub(crate) listed: KindCounts,
    /// Entries that did not exist before.
    pub(crate) created: KindCounts,
    /// Bytes of all regular files and link targets of the lists.
    pub(crate) total_size: u64,
    /// Bytes of the lists on the wire.
    pub(crate) list_size: u64,
}

impl<'a> Receiver<'a> {
    /// Starts on a stream that is framed as the session demands.
    pub(crate) fn new(
        session: &'a Session,
        shared: &'a Shared,
        inbox: Inbox,
        guard: Option<Box<dyn NameGuard + Send>>,
    ) -> Result<Self, EngineError> {
        let negotiated = &session.negotiated;
        Ok(Self {
            session,
            shared,
            inbox,
            peer: Peer { session, shared },
            lists: ListReader::new(session, shared, guard)?,
            files: FileList::new(negotiated.incremental_recursion()),
            ndx: NdxDecoder::new(negotiated.is_modern()),
            answers: Answers::new(negotiated),
            tokens: TokenDecoder::new(negotiated)?,
            target: None,
            outcome: Outcome::default(),
            replays: false,
            held_done: false,
            last_list: 0,
        })
    }

    /// Reads a recording: see [`crate::batch`].
    pub(crate) fn replaying(mut self) -> Self {
        self.replays = true;
        self
    }

    /// What was learned so far.
    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Whether everything was read.
    pub(crate) fn is_over(&self) -> bool {
        self.answers.is_over()
    }

    /// Reads to the end of the session; failures go to the generator as well, which then ends too.
    pub(crate) fn run(mut self) -> Outcome {
        if let Err(error) = self.read_session() {
            self.shared.notify(Notice::Broken(self.blamed(error)));
        }
        self.outcome
    }

    /// Texts name the receiver as the process it was in C: before its first list, and after.
    pub(crate) fn blamed(&self, error: EngineError) -> EngineError {
        let is_early = self.files.lists().len() == 0 && self.answers.seen().is_none();
        let role = if is_early { Role::EarlyReceiver } else { Role::Receiver };
        error.rejected_by(role, self.session.negotiated.incremental_recursion())
    }

    fn read_session(&mut self) -> Result<(), EngineError> {
        if self.begin()? {
            return Ok(());
        }
        while !self.answers.is_over() {
            self.step()?;
        }
        Ok(())
    }

    /// Reads the first list; answers whether the session ends with it.
    pub(crate) fn begin(&mut self) -> Result<bool, EngineError> {
        let first = self.read_list(None)?;
        self.session.note_first_list();
        let empty = first.is_empty();
        self.shared.notify(Notice::List(first));
        if self.files.is_complete() {
            self.shared.notify(Notice::ListsEnd);
        }
        if empty && !self.session.server {
            return self.finish_empty().map(|()| true);
        }
        Ok(false)
    }

    /// Reads one thing: an item with its content, a list, or the end of something.
    pub(crate) fn step(&mut self) -> Result<(), EngineError> {
        let next = match std::mem::take(&mut self.held_done) {
            true => Ndx::Done,
            false => self.inbox.decode(&mut self.peer, |input| self.ndx.decode(input))?,
        };
        match next {
            Ndx::Item(index) => self.item(index)?,
            Ndx::Done => self.done()?,
            Ndx::DeleteStats => self.delete_stats()?,
            Ndx::SubList { dir } => {
                let list = self.read_list(Some(dir))?;
                self.shared.notify(Notice::List(list));
            }
            Ndx::FileListEof => {
                self.expect_incremental(Ndx::FileListEof)?;
                self.files.complete();
                self.shared.notify(Notice::ListsEnd);
            }
        }
        if self.answers.is_over() {
            self.count_received();
        }
        Ok(())
    }

    /// An empty list on a pull is all there is: the sender closes without phases (spec 02 §7.1).
    fn finish_empty(&mut self) -> Result<(), EngineError> {
        while !self.files.is_complete() {
            match self.inbox.decode(&mut self.peer, |input| self.ndx.decode(input))? {
                Ndx::FileListEof => self.files.complete(),
                ndx => return Err(self.invalid_index(ndx)),
            }
        }
        self.count_received();
        self.shared.notify(Notice::EmptyTransfer);
        Ok(())
    }

    fn count_received(&self) {
        self.session.counters.bytes_read.store(self.inbox.received(), Ordering::Relaxed);
    }

    fn read_list(&mut self, dir: Option<u32>) -> Result<Arc<Segment>, EngineError> {
        let head = match dir {
            None => None,
            Some(dir) => {
                self.expect_incremental(Ndx::SubList { dir })?;
                Some(self.files.announce(Ndx::SubList { dir }.value())?)
            }
        };
        let before = self.inbox.received();
        let list = self.lists.read(head, self.files.next_start(), &mut self.inbox, &mut self.peer)?;
        self.outcome.list_size += self.inbox.received() - before;
        let list = Arc::new(list);
        for entry in list.iter().filter(|entry| entry.is_active()) {
            self.outcome.listed.add(EntryKind::from_mode(entry.mode()));
            if matches!(entry.kind(), Kind::File | Kind::Symlink) {
                self.outcome.total_size += entry.size();
            }
        }
        self.files.append(Arc::clone(&list))?;
        Ok(list)
    }

    fn expect_incremental(&self, ndx: Ndx) -> Result<(), EngineError> {
        let legal = self.session.negotiated.incremental_recursion() && !self.files.is_complete();
        if legal { Ok(()) } else { Err(self.invalid_index(ndx)) }
    }

    fn invalid_index(&self, ndx: Ndx) -> EngineError {
        let last = self.files.range().map_or(-1, |(_, last)| i64::from(last));
        EngineError::protocol(format!("Invalid file index: {} (-1 - {last}) [receiver]", ndx.value()))
    }

    fn delete_stats(&mut self) -> Result<(), EngineError> {
        if self.answers.seen().is_none() || self.session.server {
            return Err(self.invalid_index(Ndx::DeleteStats));
        }
        // The generator counted them itself; a server only repeats its numbers.
        self.inbox.decode(&mut self.peer, decode_delete_stats).map(drop)
    }

    /// Gives up, before a list or a phase of a recording ends, what is wanted and was not recorded.
    /// Answers whether there was any: the generator shall hear of it first.
    fn misses_recorded(&mut self) -> bool {
        let oldest = self.files.lists().next().filter(|_| self.answers.seen().is_none());
        let incremental = self.session.negotiated.incremental_recursion();
        let missing = match oldest.filter(|_| incremental) {
            Some(list) => self.shared.requests.take_unanswered(..=list.start() + list.len() as u32),
            None => self.shared.requests.take_unanswered(..),
        };
        for (index, request) in &missing {
            if let Some(entry) = self.files.get(*index) {
                self.session.say(TextMessage::BatchMissing(&entry.path(), request.redo));
            }
            self.shared.notify(Notice::Failed(*index));
        }
        self.held_done = !missing.is_empty();
        self.held_done
    }

    fn done(&mut self) -> Result<(), EngineError> {
        if self.replays && self.misses_recorded() {
            return Ok(());
        }
        // Whoever answers what was not said would leave the generator waiting for what never comes.
        if !self.shared.answered_done() {
            return Err(EngineError::protocol("the sender ends a phase that goes on here [receiver]"));
        }
        let live = self.files.lists().len();
        let ends_list = self.answers.seen().is_none();
        let more_lists = live > 1 || !self.files.is_complete();
        if ends_list && more_lists && live <= 1 {
            return Err(EngineError::protocol("the sender ends a list that is still needed [receiver]"));
        }
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
        if let Some(target) = &mut self.target {
            target.end_phase(event);
        }
        let unanswered = self.shared.requests.unanswered();
        if event == PhaseEvent::FinalDone && self.session.negotiated.is_modern() && unanswered > 0 {
            let text = format!("{unanswered} requested files were neither sent nor refused [receiver]");
            return Err(EngineError::protocol(text));
        }
        if self.answers.precedes_statistics(event) {
            self.count_received();
            if !self.session.server {
                let negotiated = &self.session.negotiated;
                let statistics =
                    self.inbox.decode(&mut self.peer, |input| FinalStatistics::decode(input, negotiated))?;
                self.outcome.statistics = Some(statistics);
            }
        }
        self.shared.notify(Notice::Passed(event));
        Ok(())
    }
}

/// The writing side, made when the destination is known.
fn target_of<'t, 'a>(
    target: &'t mut Option<Target<'a>>,
    session: &'a Session,
    shared: &'a Shared,
) -> Result<&'t mut Target<'a>, EngineError> {
    let destination = shared.destination().ok_or(EngineError::ReceiverGone)?;
    Ok(target.get_or_insert_with(|| Target::new(session, shared, destination)))
}

impl<'a> Receiver<'a> {
    /// An item: the sender's echo of what the generator sent (spec 02 §5).
    fn item(&mut self, index: u32) -> Result<(), EngineError> {
        let session = self.session;
        let negotiated = &session.negotiated;
        let attributes =
            self.inbox.decode(&mut self.peer, |input| ItemAttributes::decode(input, negotiated))?;
        let Some((list, place)) = self.files.holder(index) else {
            return Err(self.not_in_lists(index));
        };
        let Some(entry) = list.get(place).filter(|entry| entry.is_active()) else {
            let text = format!("rsync: refusing transfer of cleared file index {index}");
            return Err(EngineError::protocol(text));
        };
        let rules = ItemRules {
            is_regular: entry.kind() == Kind::File && index >= list.start(),
            in_phase_2: self.answers.seen() >= Some(PhaseEvent::RedoAnswered),
            basis_dirs: session.options.basis_dirs.as_ref().map_or(0, |basis| basis.dirs.len()),
            fuzzy: session.options.fuzzy > 0,
        };
        self.last_list = list.start();
        let path = entry.path();
        attributes.check(index, rules).map_err(|error| match error {
            ItemError::InvalidFuzzyBasis { .. } => {
                EngineError::protocol(format!("refusing malicious fuzzy operation for {}", path.as_bstr()))
            }
            error => error.into(),
        })?;
        let takes_xattrs = session.exchanges_xattrs(attributes.flags);
        if takes_xattrs {
            self.xattr_values(&entry, &path)?;
        }
        if attributes.flags.contains(ItemFlags::IS_NEW) {
            self.outcome.created.add(EntryKind::from_mode(entry.mode()));
        }
        if !attributes.flags.contains(ItemFlags::TRANSFER) {
            let linked = attributes.flags.contains(ItemFlags::XNAME_FOLLOWS | ItemFlags::LOCAL_CHANGE);
            if takes_xattrs && !linked && !session.options.dry_run {
                self.target()?.set_xattrs(entry);
            }
            self.emit(entry, &path, &attributes, Stage::Done);
            return Ok(());
        }
        let Some(request) = self.shared.requests.take(index) else {
            if self.replays {
                let resend = self.answers.seen() >= Some(PhaseEvent::ListsAnswered);
                self.session.say(TextMessage::BatchSkipped(&path, resend));
                self.count_transfer(entry.size());
                return self.discard(&path);
            }
            let text =
                format!("the sender answers a request for index {index} that was never made [receiver]");
            return Err(EngineError::protocol(text));
        };
        if session.options.dry_run {
            self.emit(entry, &path, &attributes, Stage::Begins);
            if self.replays || session.only_records() {
                self.discard(&path)?;
            }
            self.emit(entry, &path, &attributes, Stage::Done);
            self.count_transfer(entry.size());
            self.shared.finished(index);
            return Ok(());
        }
        self.emit(entry, &path, &attributes, Stage::Begins);
        self.count_transfer(entry.size());
        let before = self.inbox.decoded();
        let progress = self.progress(Moment::Running, Some((&list, entry)));
        let target = target_of(&mut self.target, session, self.shared)?;
        let mut content = Tokens { inbox: &mut self.inbox, sink: &mut self.peer, decoder: &mut self.tokens };
        let (outcome, digest) = target.receive(&list, entry, (request, progress), &mut content)?;
        let data_bytes = self.inbox.decoded() - before;
        let moved = Moved { data_bytes, digest: digest.as_deref(), ..Moved::default() };
        let way = (Stage::Done, Direction::Received);
        item::emit(session, way, (entry, &path, b""), &attributes, moved);
        self.shared.ended(index, outcome);
        Ok(())
    }

    fn count_transfer(&self, size: u64) {
        let counters = &self.session.counters;
        counters.transferred_files.fetch_add(1, Ordering::Relaxed);
        counters.transferred_size.fetch_add(size, Ordering::Relaxed);
    }

    /// Reads the content of a file that is not written.
    fn discard(&mut self, path: &[u8]) -> Result<(), EngineError> {
        let progress = Progress { name: b"", ..self.progress(Moment::Running, None) };
        let mut content = Tokens { inbox: &mut self.inbox, sink: &mut self.peer, decoder: &mut self.tokens };
        let nothing =
            Request { flags: ItemFlags::default(), basis: Basis::None, redo: false, append_at: None };
        discard(self.session, path, (nothing, progress), &mut content)
    }

    fn target(&mut self) -> Result<&mut Target<'a>, EngineError> {
        target_of(&mut self.target, self.session, self.shared)
    }

    /// Reads the values of extended attributes that come with an item (spec 04 §3.3). Values that no
    /// file can have are dropped.
    fn xattr_values(&mut self, entry: &EntryRef<'_>, path: &[u8]) -> Result<(), EngineError> {
        enum Piece {
            Head(u32, u32),
            Bytes,
            End,
        }
        let mut reader = XattrAnswerReader::default();
        let mut value = Vec::new();
        let mut awaited = None;
        loop {
            let piece = self.inbox.decode(&mut self.peer, |input| {
                reader.next(input, path).map(|piece| match piece {
                    XattrAnswer::Value { number, len } => Piece::Head(number, len),
                    XattrAnswer::Bytes(bytes) => {
                        if value.len() <= LONGEST_XATTR {
                            value.extend_from_slice(bytes);
                        }
                        Piece::Bytes
                    }
                    XattrAnswer::End => Piece::End,
                })
            })?;
            let next = match piece {
                Piece::Bytes => continue,
                Piece::Head(number, len) => Some((number, len)),
                Piece::End => None,
            };
            if let Some((number, len)) = std::mem::replace(&mut awaited, next) {
                let value = std::mem::take(&mut value);
                let usable = value.len() == len as usize && value.len() <= LONGEST_XATTR;
                self.learn_xattr(entry, path, number, usable.then_some(value))?;
            }
            if awaited.is_none() {
                return Ok(());
            }
        }
    }

    fn learn_xattr(
        &self,
        entry: &EntryRef<'_>,
        path: &[u8],
        number: u32,
        value: Option<Vec<u8>>,
    ) -> Result<(), EngineError> {
        if self.shared.received.learn(entry, number, value) {
            return Ok(());
        }
        Err(XattrError::UnknownNumber { number: number.into(), file: path.into() }.into())
    }

    /// Progress at the start of a file, which is counted as transferred already, or between files.
    fn progress(&self, moment: Moment, file: Option<(&Segment, EntryRef<'_>)>) -> Progress<'static> {
        let counters = &self.session.counters;
        let known = self.outcome.listed.total();
        let start = file.map_or(self.last_list, |(list, _)| list.start()) + 1;
        let later: usize = match self.session.events.wants(Topic::Progress) {
            true => self.files.lists().filter(|other| other.start() >= start).map(|other| other.len()).sum(),
            false => 0,
        };
        let here = file.map_or(0, |(list, entry)| list.len() - 1 - entry.place());
        let size = file.map_or(0, |(_, entry)| entry.size());
        Progress {
            moment,
            name: b"",
            offset: 0,
            size,
            transfers: counters.transferred_files.load(Ordering::Relaxed) - u64::from(file.is_some()),
            remaining: (here + later) as u64,
            known,
            lists_pending: !self.files.is_complete(),
            total_offset: counters.transferred_size.load(Ordering::Relaxed) - size,
            total_size: self.outcome.total_size,
        }
    }

    fn not_in_lists(&self, index: u32) -> EngineError {
        let (first, last) =
            self.files.range().map_or((-1, -1), |(first, last)| (i64::from(first), i64::from(last)));
        let first = if self.session.negotiated.incremental_recursion() { first } else { -1 };
        LedgerError::NotInLists { index, first, last, place: "read_ndx_and_attrs" }.into()
    }

    fn emit(&self, entry: EntryRef<'_>, path: &[u8], attributes: &ItemAttributes, stage: Stage) {
        let way = (stage, Direction::Received);
        item::emit(self.session, way, (entry, path, b""), attributes, Moved::default());
    }
}

/// Handles the messages of the sender.
struct Peer<'a> {
    session: &'a Session,
    shared: &'a Shared,
}

impl MessageSink for Peer<'_> {
    fn before_waiting(&mut self) {
        self.shared.tell_finished();
    }

    fn message(&mut self, message: Message) -> Result<(), EngineError> {
        match message {
            Message::NoSend(index) => match self.shared.requests.take(index) {
                Some(_) => self.shared.notify(Notice::Failed(index)),
                None => {
                    let text =
                        format!("the sender refuses index {index}, which was not requested [receiver]");
                    return Err(EngineError::protocol(text));
                }
            },
            Message::ErrorExit(code) => return Err(EngineError::PeerExit(ExitCode::from_peer(code))),
            other => self.session.take_message(other),
        }
        Ok(())
    }
}
