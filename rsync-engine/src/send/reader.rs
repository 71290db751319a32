//! The reader of a sending side: decodes requests and messages, and queues them for S.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rsync_proto::delta::SumTable;
use rsync_proto::exit::ExitCode;
use rsync_proto::options::Append;
use rsync_proto::phase::{
    DoneReply, ItemAttributes, ItemFlags, PhaseError, SenderPhases, decode_delete_stats,
};
use rsync_proto::sum::{SumHead, SumHeadLimits};
use rsync_proto::text::Role;
use rsync_proto::wire::{Message, Ndx, NdxDecoder, NdxError, put_varint, varint};

use super::queue::{Item, Queue, Request};
use crate::inbox::{Inbox, MessageSink};
use crate::{EngineError, Session};

/// Longest request for extended attribute values of one item, in bytes.
const MAX_XATTR_BLOCK: usize = 1 << 18;
/// How long a failed sender listens for the peer's last words without a timeout of its own.
const LAST_WORDS: Duration = Duration::from_secs(60);

/// How many lists there are in all; 0 while more will follow. S sets it, the reader counts DONEs by it.
#[derive(Debug, Default)]
pub(super) struct ListTotal(AtomicUsize);

impl ListTotal {
    /// Says that `lists` lists are all.
    pub(super) fn set(&self, lists: usize) {
        self.0.store(lists, Ordering::SeqCst);
    }

    fn get(&self) -> Option<usize> {
        Some(self.0.load(Ordering::SeqCst)).filter(|&lists| lists > 0)
    }
}

/// The reading thread.
pub(super) struct Reader<'a> {
    inbox: Inbox,
    mail: Mail<'a>,
    total: &'a ListTotal,
    ndx: NdxDecoder,
    phases: SenderPhases,
    /// With `--append`: what was requested before, so that sums follow the second time.
    requested: HashSet<u32>,
}

impl<'a> Reader<'a> {
    /// Reads from `inbox`, which is past the filter list and the names.
    pub(super) fn new(inbox: Inbox, session: &'a Session, queue: &'a Queue, total: &'a ListTotal) -> Self {
        Self {
            inbox,
            mail: Mail { session, queue },
            total,
            ndx: NdxDecoder::new(session.negotiated.is_modern()),
            phases: SenderPhases::new(&session.negotiated),
            requested: HashSet::new(),
        }
    }

    /// Reads to the last DONE, or until S closes the queue: then to the end of the stream, because the
    /// peer may be blocked in writing and its last words may say why.
    pub(super) fn run(mut self) {
        let ended = loop {
            match self.next() {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let Err(error) = ended else { return self.mail.queue.announce() };
        self.mail.queue.push(Request::Failed(error), 0);
        self.mail.queue.until_closed();
        self.listen();
    }

    fn listen(mut self) {
        let control = &self.mail.session.control;
        control.touch();
        control.set_timeout(Some(control.timeout().unwrap_or(LAST_WORDS)));
        let _ = self.inbox.drain_to_end(&mut self.mail);
    }

    /// Queues the next request; answers whether another can follow.
    fn next(&mut self) -> Result<bool, EngineError> {
        let index = self.inbox.decode(&mut self.mail, |input| self.ndx.decode(input))?;
        let received = self.inbox.received();
        self.mail.session.counters.bytes_read.store(received, Ordering::Relaxed);
        let (request, charge) = match index {
            Ndx::Item(index) if self.phases.in_goodbye() => {
                return Err(PhaseError::InvalidEnd(index.into()).into());
            }
            Ndx::Item(index) => {
                let item = self.item(index)?;
                let charge = item.charge();
                (Request::Item(Box::new(item)), charge)
            }
            Ndx::Done => (Request::Done(self.phases.on_done(self.total.get())?, received), 64),
            Ndx::DeleteStats => {
                self.phases.on_delete_stats()?;
                let counts = self.inbox.decode(&mut self.mail, decode_delete_stats)?;
                (Request::DeleteStats(counts), 64)
            }
            Ndx::FileListEof | Ndx::SubList { .. } => {
                return Err(NdxError::Invalid { value: index.value() }.into());
            }
        };
        let is_last = matches!(request, Request::Done(DoneReply::End, _));
        if !self.mail.queue.push(request, charge) {
            return Err(EngineError::Cancelled);
        }
        Ok(!is_last)
    }

    fn item(&mut self, index: u32) -> Result<Item, EngineError> {
        let negotiated = &self.mail.session.negotiated;
        let attributes =
            self.inbox.decode(&mut self.mail, |input| ItemAttributes::decode(input, negotiated))?;
        let flags = attributes.flags;
        let exchanges_xattrs = self.mail.session.exchanges_xattrs(flags);
        let xattrs = exchanges_xattrs.then(|| self.wanted_xattrs()).transpose()?;
        let has_sums = flags.contains(ItemFlags::TRANSFER) && self.mail.session.exchanges_data();
        let sums = has_sums.then(|| self.sums(index)).transpose()?;
        Ok(Item { index, attributes, in_phase_2: self.phases.in_phase_2(), xattrs, sums })
    }

    /// Reads the block of wanted attribute values, up to its zero; S, which knows the lists, takes it
    /// apart (spec 04 §3.3).
    fn wanted_xattrs(&mut self) -> Result<Vec<u8>, EngineError> {
        let mut block = Vec::new();
        loop {
            let difference = self.inbox.decode(&mut self.mail, varint)?;
            put_varint(&mut block, difference);
            if difference == 0 {
                return Ok(block);
            }
            if block.len() > MAX_XATTR_BLOCK {
                return Err(EngineError::protocol("too many xattr values requested [sender]"));
            }
        }
    }

    fn sums(&mut self, index: u32) -> Result<SumTable, EngineError> {
        let Session { negotiated, options, .. } = self.mail.session;
        let limits = SumHeadLimits::new(negotiated, Role::Sender);
        let head = self.inbox.decode(&mut self.mail, |input| SumHead::decode(input, &limits))?;
        let mut table = SumTable::new(head);
        if options.append != Append::Off && self.requested.insert(index) {
            return Ok(table);
        }
        while !self.inbox.decode(&mut self.mail, |input| table.read(input))? {}
        Ok(table)
    }
}

/// Handles what arrives between requests.
struct Mail<'a> {
    session: &'a Session,
    queue: &'a Queue,
}

impl MessageSink for Mail<'_> {
    fn before_waiting(&mut self) {
        self.queue.announce();
    }

    fn message(&mut self, message: Message) -> Result<(), EngineError> {
        match message {
            Message::Success(index) => {
                self.queue.push(Request::Success(index), 64);
            }
            Message::ErrorExit(Some(code)) => {
                return Err(EngineError::PeerExit(ExitCode::from_peer(Some(code))));
            }
            Message::ErrorExit(None) => return Err(EngineError::PeerExit(ExitCode::from_peer(None))),
            other => self.session.take_message(other),
        }
        Ok(())
    }
}
