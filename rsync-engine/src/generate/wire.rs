//! A sender behind a link, as its generator speaks to it.

use std::time::Duration;

use rsync_proto::exit::ExitCode;
use rsync_proto::meta::put_xattr_requests;
use rsync_proto::phase::{ItemAttributes, encode_delete_stats};
use rsync_proto::sum::SumHead;
use rsync_proto::text::KindCounts;
use rsync_proto::wire::{Message, Ndx, NdxEncoder, WireError};

use super::peer::Peer;
use crate::outbox::Outbox;
use crate::{EngineError, Session};

/// The writing half of the receiving side's link.
pub(crate) struct Wire<'a> {
    session: &'a Session,
    outbox: Outbox,
    ndx: NdxEncoder,
}

impl<'a> Wire<'a> {
    /// Starts on a stream that is framed as the session demands, everything before the first
    /// request already sent.
    pub(crate) fn new(session: &'a Session, outbox: Outbox) -> Self {
        Self { session, outbox, ndx: NdxEncoder::new(session.negotiated.is_modern()) }
    }

    /// Sends an index, and before it what our event sink had to say meanwhile, in that order.
    fn index(&mut self, index: Ndx) -> Result<(), EngineError> {
        let Self { session, outbox, ndx } = self;
        session.outgoing.drain(|message| outbox.message(message))?;
        outbox.data::<WireError>(|out| {
            ndx.encode(out, index);
            Ok(())
        })
    }

    fn data(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), EngineError> {
        self.outbox.data::<EngineError>(|out| {
            encode(out);
            Ok(())
        })
    }
}

impl Peer for Wire<'_> {
    fn item(
        &mut self,
        index: u32,
        attributes: &ItemAttributes,
        wanted: Option<&[u32]>,
    ) -> Result<(), EngineError> {
        self.index(Ndx::Item(index))?;
        let negotiated = &self.session.negotiated;
        self.outbox.data(|out| attributes.encode(out, negotiated))?;
        match wanted {
            Some(wanted) => self.data(|out| put_xattr_requests(out, wanted)),
            None => Ok(()),
        }
    }

    fn sum_head(&mut self, head: &SumHead) -> Result<bool, EngineError> {
        self.data(|out| head.encode(out))?;
        Ok(true)
    }

    fn block_sums(&mut self, head: &SumHead, block: &[u8]) -> Result<(), EngineError> {
        let negotiated = &self.session.negotiated;
        let (checksum, seed) = (negotiated.checksum.transfer, negotiated.seed);
        self.data(|out| head.put_block_sums(checksum, seed, block, out))
    }

    fn done(&mut self) -> Result<(), EngineError> {
        self.index(Ndx::Done)
    }

    fn delete_stats(&mut self, counts: &KindCounts) -> Result<(), EngineError> {
        self.index(Ndx::DeleteStats)?;
        self.data(|out| encode_delete_stats(out, counts))
    }

    fn success(&mut self, index: u32) -> Result<(), EngineError> {
        self.outbox.message(&Message::Success(index))
    }

    fn end_round(&mut self) -> Result<(), EngineError> {
        self.flush()
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        let Self { session, outbox, .. } = self;
        session.outgoing.drain(|message| outbox.message(message))?;
        outbox.flush()
    }

    fn keep_alive(&mut self) -> Result<(), EngineError> {
        self.outbox.keep_alive()
    }

    fn keep_alive_at_work(&mut self) -> Result<(), EngineError> {
        self.outbox.keep_alive_at_work()
    }

    fn keep_alive_interval(&self) -> Option<Duration> {
        self.outbox.keep_alive_interval()
    }

    fn work(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn leaves_when_empty(&self) -> bool {
        !self.session.server
    }

    fn leave(&mut self, code: ExitCode) {
        if self.session.negotiated.has_long_goodbye() && code.is_announced() {
            self.session.outgoing.push(Message::ErrorExit(Some(i32::from(code.code()))));
        }
        if self.session.module.is_some() || code.is_announced() {
            // The peer may be gone; the error at hand is the one to report.
            let _ = self.flush();
        }
    }

    fn sent(&self) -> u64 {
        self.outbox.sent()
    }
}
