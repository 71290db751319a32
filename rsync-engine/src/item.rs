//! Items as events: what lines and logs say about an entry.

use rsync_proto::flist::{EntryRef, Kind};
use rsync_proto::phase::{ItemAttributes, ItemFlags};
use rsync_proto::text::{Direction, EntryFacts, Event, Item, Stage, Topic};

use crate::Session;

/// The first progress of a file that is sent or copied says no more bytes than this, which the C rsync
/// reads at once (spec 07 §17.1).
pub(crate) const FIRST_PROGRESS: u64 = 32 << 10;

/// What an item line shows besides the entry.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved<'a> {
    /// Bytes that the file took on the wire: at a sender with its item, at a receiver without.
    pub(crate) data_bytes: u64,
    /// Bytes of block sums that came.
    pub(crate) sum_bytes: u64,
    /// The whole-file digest.
    pub(crate) digest: Option<&'a [u8]>,
    /// The target of a link, where it is not that of the entry.
    pub(crate) target: Option<&'a [u8]>,
}

/// Says the item of `entry`, whose path is `name`, on its way in `direction`.
pub(crate) fn emit(
    session: &Session,
    (stage, direction): (Stage, Direction),
    (entry, name, source_dir): (EntryRef<'_>, &[u8], &[u8]),
    attributes: &ItemAttributes,
    moved: Moved<'_>,
) {
    let detailed = session.negotiated.has_item_flags();
    emit_known(session, detailed, (stage, direction), (entry, name, source_dir), attributes, moved);
}

/// [`emit`], where the flags of `attributes` are `detailed` whatever the protocol says.
pub(crate) fn emit_known(
    session: &Session,
    detailed: bool,
    (stage, direction): (Stage, Direction),
    (entry, name, source_dir): (EntryRef<'_>, &[u8], &[u8]),
    attributes: &ItemAttributes,
    moved: Moved<'_>,
) {
    if !session.events.wants(Topic::Items) {
        return;
    }
    // Old receivers do not say that they cannot set times of links, and a sender shows what it must assume.
    let lost = direction == Direction::Sent
        && !session.negotiated.is_modern()
        && entry.kind() == Kind::Symlink
        && attributes.flags.contains(ItemFlags::REPORT_TIME);
    let flags = if lost { attributes.flags | ItemFlags::REPORT_TIME_FAIL } else { attributes.flags };
    let digest = moved.digest.filter(|_| session.negotiated.shows_digests());
    let digest = digest.map(|digest| session.negotiated.checksum.transfer.shown(digest));
    let facts = session.facts(entry, name, source_dir);
    let item = Item {
        flags,
        detailed,
        xname: attributes.xname.as_deref(),
        direction,
        entry: EntryFacts { target: facts.target.map(|target| moved.target.unwrap_or(target)), ..facts },
        data_bytes: moved.data_bytes,
        sum_bytes: moved.sum_bytes,
        digest: digest.as_deref(),
    };
    session.events.emit(Event::Item { stage, item: &item });
}
