//! Reads file lists and gives their entries local owners and modes (spec 03; 04 §1.2, §5.1).

use rsync_proto::exit::IoErrorFlags;
use rsync_proto::flist::{
    Columns, FileListDecoder, Finish, Item, LinkTargets, ListHead, NameGuard, Order, Segment, SegmentBuilder,
    Unconverted,
};
use rsync_proto::meta::Chmod;
use rsync_proto::text::{Event, Message, Place, Role};

use super::shared::Shared;
use crate::inbox::{Inbox, MessageSink};
use crate::meta::{LocalIds, Privilege};
use crate::{EngineError, Session};

/// Says that an entry, `name` on the wire, is left out.
pub(crate) fn report_unconverted(session: &Session, name: &[u8], what: Unconverted, is_early: bool) {
    let role = if is_early { Role::EarlyReceiver } else { Role::Receiver };
    session.errors.add_io_error(IoErrorFlags::GENERAL);
    let local = session.text_from_wire(name);
    session.say(match what {
        // A server's client converts it: it can have more of the characters.
        Unconverted::Name(why) if session.server => Message::UnconvertibleName(role, name, why),
        Unconverted::Name(why) => Message::UnconvertibleName(role, &local, why),
        Unconverted::Target(why) => Message::UnconvertibleTarget(role, Place::new(b"", &local), why),
    });
}

/// How often growth is reported, in entries.
const REPORT_EVERY: u64 = 100;

/// The file list side of a receiver.
pub(super) struct ListReader<'a> {
    session: &'a Session,
    shared: &'a Shared,
    columns: Columns,
    decoder: FileListDecoder,
    ids: LocalIds,
    chmod: Chmod,
    umask: u32,
}

impl<'a> ListReader<'a> {
    /// `guard` refuses names that were not requested; servers have none.
    pub(super) fn new(
        session: &'a Session,
        shared: &'a Shared,
        guard: Option<Box<dyn NameGuard + Send>>,
    ) -> Result<Self, EngineError> {
        let options = &session.options;
        let columns = session.columns();
        let rules = shared.xattr_rules.clone();
        let decoder = FileListDecoder::new(&session.negotiated, columns.clone())
            .converting(session.conversion())
            .naming_xattrs(Box::new(move |name| rules.received(name)))
            .link_targets(match &session.module {
                _ if options.munge_links == Some(true) => LinkTargets::Munged,
                Some(module) if module.keeps_links_inside => LinkTargets::Inside,
                _ => LinkTargets::Kept,
            });
        let decoder = match guard {
            Some(guard) => decoder.guarded(guard),
            None => decoder,
        };
        let privilege = Privilege::of_process(options);
        let umask = privilege.umask;
        let mut chmod = Chmod::default();
        options.chmod.iter().try_for_each(|text| chmod.append(text))?;
        Ok(Self { session, shared, columns, decoder, ids: LocalIds::new(session, privilege)?, chmod, umask })
    }

    /// Reads one list to its end.
    pub(super) fn read(
        &mut self,
        head: Option<ListHead>,
        start: u32,
        inbox: &mut Inbox,
        sink: &mut dyn MessageSink,
    ) -> Result<Segment, EngineError> {
        let session = self.session;
        let incremental = session.negotiated.incremental_recursion();
        let (first, whole) = (head.is_none(), head.is_none() && !incremental);
        let mut entries = 0;
        if first {
            let directories = session.options.recurse || session.options.dirs;
            session.events.emit(Event::FileListStarted { sending: false, incremental, directories });
        }
        let list = match head {
            Some(head) => SegmentBuilder::announced(head, &self.columns),
            None => SegmentBuilder::new(start, &self.columns),
        };
        let mut list = list.max_alloc(session.options.max_alloc);
        let decoder = &mut self.decoder;
        loop {
            match inbox.decode(sink, |input| decoder.next(input, &mut list))? {
                Item::Entry if first => {
                    if entries > 0 && entries % REPORT_EVERY == 0 {
                        session.events.emit(Event::FileListGrown { entries });
                    }
                    entries += 1;
                }
                Item::Entry | Item::Part => {}
                Item::Unconverted(what) => {
                    report_unconverted(session, decoder.wire_name(), what, first);
                }
                Item::End { io_error } => {
                    if !session.options.ignore_errors {
                        session.errors.add_io_error(IoErrorFlags::from_wire(io_error));
                    }
                    break;
                }
            }
        }
        if first {
            session.events.emit(Event::FileListFinished { entries });
        }
        let names = &self.decoder.names;
        let ids = &mut self.ids;
        list.map_owners(|uid, gid| ids.map(names, uid, gid));
        self.shared.received.take(&self.decoder, |name| match name.is_group {
            true => ids.map(names, 0, name.id).1,
            false => ids.map(names, name.id, 0).0,
        });
        if !self.chmod.is_empty() {
            list.map_modes(|mode| self.chmod.apply(mode, self.umask));
        }
        let negotiated = &session.negotiated;
        let mut list = list.finish(Finish {
            order: Order::of(negotiated),
            clean: true,
            number_by_wire: self.columns.iconv,
            number_directories: negotiated.incremental_recursion(),
        });
        if whole && (!session.options.relative || session.options.implied_dirs) {
            list.check_parents()?;
        }
        if session.options.prune_empty_dirs {
            list.prune_empty_dirs(|_| false);
        }
        Ok(list)
    }
}
