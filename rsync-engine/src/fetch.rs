//! Reads a peer's file list, and the content of chosen files, without any destination
//! (design decision 6): the receiving side of listings and of files that are wanted in memory.

use std::collections::VecDeque;

use rsync_proto::delta::{Token, TokenDecoder, TokenError};
use rsync_proto::exit::IoErrorFlags;
use rsync_proto::filter::{Dialect, Filters};
use rsync_proto::flist::{FileListDecoder, Finish, Item, Order, Segment, SegmentBuilder};
use rsync_proto::phase::{
    Answers, Event, FinalStatistics, ItemAttributes, ItemFlags, ItemRules, PhaseError, ScriptOptions, Step,
    decode_delete_stats, generator_script,
};
use rsync_proto::sum::{Digest, SumHead, SumHeadLimits};
use rsync_proto::text::Role;
use rsync_proto::wire::{Legal, Message, Ndx, NdxDecoder, NdxEncoder};

use crate::inbox::{Inbox, MessageSink};
use crate::outbox::Outbox;
use crate::{Connection, EngineError, Session};

/// Requests that may be under way where every one of them is answered: few enough to fit any buffer.
const REQUESTS_UNDER_WAY: usize = 256;

/// Who wants to know what a peer has.
pub trait Collector {
    /// Sees the whole file list, and answers the indexes of the regular files whose content is wanted.
    fn choose(&mut self, list: &Segment) -> Vec<u32>;

    /// Takes the next piece of a file's content. Files come one after the other.
    ///
    /// # Errors
    /// Whatever shall end the session, for instance content beyond a limit.
    fn data(&mut self, index: u32, data: &[u8]) -> Result<(), EngineError>;

    /// A file is complete; `verified` says that its digest is the sender's. Files that the sender
    /// cannot send are passed over.
    fn done(&mut self, index: u32, verified: bool);
}

/// Runs a whole session of a client that pulls, with its lists in one piece, on behalf of `collector`.
///
/// The options must not ask for extended attributes, ACLs or deletions.
///
/// # Errors
/// Whatever ended the session early.
pub fn fetch(
    connection: Connection,
    session: &Session,
    filters: &Filters,
    collector: &mut dyn Collector,
) -> Result<(), EngineError> {
    let Connection { mut inbox, mut outbox, .. } = connection;
    let negotiated = &session.negotiated;
    if negotiated.incremental_recursion() {
        return Err(EngineError::protocol("a file list in pieces was agreed on where one is needed"));
    }
    let legal = Legal::new(negotiated, true, false, false);
    inbox.demux().start_counting();
    inbox.demux().start_framing(legal);
    outbox.mux().start_counting();
    if negotiated.is_modern() {
        outbox.mux().start_framing(legal.of_peer());
    }
    outbox.data(|out| Dialect { negotiated, client_is_sender: false }.encode(filters, out))?;
    outbox.flush()?;

    let mut requester = Requester {
        session,
        outbox,
        ndx: NdxEncoder::new(negotiated.is_modern()),
        wanted: VecDeque::new(),
        under_way: 0,
    };
    let list = read_list(&mut inbox, &mut requester)?;
    if list.is_empty() {
        return Ok(());
    }
    requester.wanted = collector.choose(&list).into();
    let mut fetch = Fetch {
        inbox,
        requester,
        collector,
        list: &list,
        ndx: NdxDecoder::new(negotiated.is_modern()),
        tokens: TokenDecoder::new(negotiated)?,
        answers: Answers::new(negotiated),
    };
    fetch.run()
}

/// The writing half: keeps so many requests under way.
struct Requester<'a> {
    session: &'a Session,
    outbox: Outbox,
    ndx: NdxEncoder,
    wanted: VecDeque<u32>,
    under_way: usize,
}

impl Requester<'_> {
    /// Requests more files. Old senders pass over files in silence, so all are requested at once.
    fn top_up(&mut self) -> Result<(), EngineError> {
        let negotiated = &self.session.negotiated;
        let limit = if negotiated.is_modern() { REQUESTS_UNDER_WAY } else { usize::MAX };
        while self.under_way < limit
            && let Some(index) = self.wanted.pop_front()
        {
            self.outbox.data(|out| {
                self.ndx.encode(out, Ndx::Item(index));
                ItemAttributes::new(ItemFlags::TRANSFER | ItemFlags::IS_NEW).encode(out, negotiated)?;
                SumHead::NULL.encode(out);
                Ok::<(), EngineError>(())
            })?;
            self.under_way += 1;
        }
        self.outbox.flush()
    }

    fn answered(&mut self) -> Result<(), EngineError> {
        self.under_way = self.under_way.saturating_sub(1);
        self.top_up()
    }

    fn done(&mut self) -> Result<(), EngineError> {
        self.outbox.data(|out| {
            self.ndx.encode(out, Ndx::Done);
            Ok::<(), EngineError>(())
        })?;
        self.outbox.flush()
    }
}

impl MessageSink for Requester<'_> {
    fn message(&mut self, message: Message) -> Result<(), EngineError> {
        match message {
            Message::NoSend(_) => {
                self.session.errors.transfer_error();
                self.answered()
            }
            other => self.session.take_message_or_exit(other),
        }
    }
}

fn read_list(inbox: &mut Inbox, requester: &mut Requester<'_>) -> Result<Segment, EngineError> {
    let session = requester.session;
    let columns = session.columns();
    let limit = session.options.max_alloc;
    let mut builder = SegmentBuilder::new(0, &columns).max_alloc(if limit == 0 { u64::MAX } else { limit });
    let number_by_wire = columns.iconv;
    let mut decoder = FileListDecoder::new(&session.negotiated, columns).converting(session.conversion());
    loop {
        let item = inbox.decode(requester, |input| decoder.next(input, &mut builder))?;
        if let Item::End { io_error } = item {
            session.errors.add_io_error(IoErrorFlags::from_wire(io_error));
            break;
        }
    }
    Ok(builder.finish(Finish {
        order: Order::of(&session.negotiated),
        clean: true,
        number_by_wire,
        number_directories: false,
    }))
}

struct Fetch<'a> {
    inbox: Inbox,
    requester: Requester<'a>,
    collector: &'a mut dyn Collector,
    list: &'a Segment,
    ndx: NdxDecoder,
    tokens: TokenDecoder,
    answers: Answers,
}

impl Fetch<'_> {
    /// Walks the generator's script, reading answers wherever it waits for them.
    fn run(&mut self) -> Result<(), EngineError> {
        self.requester.top_up()?;
        while !self.requester.wanted.is_empty() {
            self.answer()?;
        }
        for step in generator_script(&self.requester.session.negotiated, ScriptOptions::default()) {
            match step {
                Step::ListDones | Step::Done => self.requester.done()?,
                Step::Await(event) => {
                    while self.answers.seen() < Some(event) {
                        self.answer()?;
                    }
                }
                Step::Redo | Step::DeleteStats | Step::LateDeletions => {}
            }
        }
        Ok(())
    }

    /// Reads one answer of the sender.
    fn answer(&mut self) -> Result<(), EngineError> {
        match self.inbox.decode(&mut self.requester, |input| self.ndx.decode(input))? {
            Ndx::Item(index) => self.item(index),
            Ndx::Done => self.phase_ended(),
            Ndx::DeleteStats => {
                self.inbox.decode(&mut self.requester, decode_delete_stats)?;
                Ok(())
            }
            other @ (Ndx::FileListEof | Ndx::SubList { .. }) => {
                Err(PhaseError::InvalidEnd(other.value()).into())
            }
        }
    }

    fn phase_ended(&mut self) -> Result<(), EngineError> {
        let negotiated = &self.requester.session.negotiated;
        if let Some(event) = self.answers.on_done(false)?
            && self.answers.precedes_statistics(event)
        {
            self.inbox.decode(&mut self.requester, |input| FinalStatistics::decode(input, negotiated))?;
        }
        Ok(())
    }

    fn item(&mut self, index: u32) -> Result<(), EngineError> {
        let session = self.requester.session;
        let negotiated = &session.negotiated;
        let attributes =
            self.inbox.decode(&mut self.requester, |input| ItemAttributes::decode(input, negotiated))?;
        let entry = self.list.by_index(index).filter(|_| self.requester.under_way > 0);
        let is_regular = entry.is_some_and(|entry| entry.kind() == rsync_proto::flist::Kind::File);
        let in_phase_2 = self.answers.seen() > Some(Event::ListsAnswered);
        attributes.check(index, ItemRules { is_regular, in_phase_2, basis_dirs: 0, fuzzy: false })?;
        if !attributes.flags.contains(ItemFlags::TRANSFER) {
            return Ok(());
        }
        let limits = SumHeadLimits::new(negotiated, Role::Receiver);
        let head = self.inbox.decode(&mut self.requester, |input| SumHead::decode(input, &limits))?;
        if !head.is_null() {
            return Err(EngineError::protocol("the sender describes a basis that it was not told of"));
        }
        let verified = self.content(index)?;
        self.collector.done(index, verified);
        self.requester.answered()
    }

    /// Reads the tokens and the digest of a file; answers whether they agree.
    fn content(&mut self, index: u32) -> Result<bool, EngineError> {
        let Self { inbox, requester, collector, tokens, .. } = self;
        let negotiated = &requester.session.negotiated;
        let kind = negotiated.checksum.transfer;
        let mut digest = Digest::whole_file(kind, negotiated.seed);
        tokens.start_file(0, false);
        loop {
            let mut taken = Ok(());
            let is_end = inbox.decode(requester, |input| {
                if let Token::Literal(data) = tokens.next(input)? {
                    digest.update(data);
                    taken = collector.data(index, data);
                    return Ok::<_, TokenError>(false);
                }
                // Without blocks no block token passes the decoder.
                Ok(true)
            })?;
            taken?;
            if is_end {
                break;
            }
        }
        let ours = digest.finish();
        inbox.decode(requester, |input| input.take(kind.len()).map(|theirs| *theirs == *ours))
    }
}
