//! Whom a generator works with: a sender behind a link, or a copier in the same process (design
//! decision 8).

use std::time::Duration;

use rsync_proto::exit::ExitCode;
use rsync_proto::phase::ItemAttributes;
use rsync_proto::sum::SumHead;
use rsync_proto::text::KindCounts;

use crate::EngineError;

/// What a generator says. Answers come as [`Notice`](crate::receive::shared::Notice)s.
pub(crate) trait Peer {
    /// Names an item. `wanted` are the numbers of the extended attribute values that are to come with
    /// the answer, `None` where the item exchanges none.
    fn item(
        &mut self,
        index: u32,
        attributes: &ItemAttributes,
        wanted: Option<&[u32]>,
    ) -> Result<(), EngineError>;

    /// Completes the item of a transfer with the head of its block sums; answers whether the sums
    /// themselves are wanted.
    fn sum_head(&mut self, head: &SumHead) -> Result<bool, EngineError>;

    /// The sums of the block with these bytes.
    fn block_sums(&mut self, head: &SumHead, block: &[u8]) -> Result<(), EngineError>;

    /// A list, or a phase, is done.
    fn done(&mut self) -> Result<(), EngineError>;

    /// What was deleted.
    fn delete_stats(&mut self, counts: &KindCounts) -> Result<(), EngineError>;

    /// The source of this index is not needed any more (`--remove-source-files`).
    fn success(&mut self, index: u32) -> Result<(), EngineError>;

    /// Items named so far need not wait for more: texts that are said from now on come after them.
    fn end_round(&mut self) -> Result<(), EngineError>;

    /// Lets everything said so far take effect.
    fn flush(&mut self) -> Result<(), EngineError>;

    /// Shows that this side lives, if nothing was said for a while.
    fn keep_alive(&mut self) -> Result<(), EngineError>;

    /// The same from a generator that has enough to do.
    fn keep_alive_at_work(&mut self) -> Result<(), EngineError>;

    /// How long the generator may wait before [`Peer::keep_alive`] is due.
    fn keep_alive_interval(&self) -> Option<Duration>;

    /// The generator can do nothing before the next notice: a peer without a thread of its own makes it.
    fn work(&mut self) -> Result<(), EngineError>;

    /// Whether the session is over when the first list is empty.
    fn leaves_when_empty(&self) -> bool;

    /// Whether only so many requests may be unanswered.
    fn limits_requests(&self) -> bool {
        true
    }

    /// Whether it is in the same process, and the user sees both as one.
    fn is_local(&self) -> bool {
        false
    }

    /// The generator fails with this code and says nothing more.
    fn leave(&mut self, code: ExitCode);

    /// Bytes that crossed the link, or would have.
    fn sent(&self) -> u64;
}
