//! Answers to items: echoes, files, and refusals (spec 02 §5; 05 §6, §7, §11b, §12).

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rsync_proto::delta::{MatchRules, Matcher, Source, SumTable, send_literals};
use rsync_proto::exit::IoErrorFlags;
use rsync_proto::flist::{EntryRef, Kind};
use rsync_proto::options::Append;
use rsync_proto::phase::{Basis, ItemAttributes, ItemFlags, ItemRules};
use rsync_proto::sum::Digest;
use rsync_proto::text::{
    Direction, Event, Failure, Message, Moment, Place, Progress, Role, Stage, SystemFailure, Topic,
};
use rsync_proto::wire::{self, Ndx};

use super::file::{FileSink, Window};
use super::lists::Lists;
use super::queue::{Item, sum_bytes};
use super::run::{Sender, count_of};
use crate::item::{self, FIRST_PROGRESS, Moved};
use crate::tree::ReadAt;
use crate::{EngineError, Session};

/// Named in errors about indexes.
const PLACE: &str = "read_ndx_and_attrs";
/// Pieces of a file that need not be looked at separately.
const HASH_SIZE: u64 = 256 << 10;

/// What became of the content of one file.
struct Sent {
    digest: Box<[u8]>,
    size: u64,
    failure: Option<io::Error>,
}

impl<L: Lists> Sender<'_, L> {
    /// Answers one item.
    pub(super) fn answer(&mut self, mut item: Item) -> Result<(), EngineError> {
        let slot = self.ledger.find(item.index, PLACE)?;
        let (rsync_proto::phase::Slot::Entry { list, .. } | rsync_proto::phase::Slot::Directory { list }) =
            slot;
        self.current = self.current.max(list);
        let Some(entry) = self.files.get(item.index) else {
            let text = format!("File-list index {} names no directory ({PLACE}) [sender]", item.index);
            return Err(EngineError::protocol(text));
        };
        let rules = ItemRules {
            is_regular: entry.kind() == Kind::File,
            in_phase_2: item.in_phase_2,
            basis_dirs: usize::MAX,
            fuzzy: true,
        };
        item.attributes.check(item.index, rules)?;
        if item.attributes.flags.contains(ItemFlags::IS_NEW) {
            *count_of(&mut self.report.created, entry.kind()).0 += 1;
        }
        if item.attributes.flags.contains(ItemFlags::TRANSFER) {
            let is_redo = self.ledger.request(item.index, PLACE)?;
            let Some(list) = self.files.list_of(item.index).map(Arc::clone) else { return Ok(()) };
            let Some(entry) = list.by_index(item.index) else { return Ok(()) };
            return match item.sums.take() {
                Some(sums) => self.transfer(&item, entry, sums, is_redo),
                None => self.pretend(&item, entry),
            };
        }
        let name = entry.path();
        let source_dir = self.lists.source_dir(entry.origin());
        item::emit(
            self.session,
            (Stage::Done, Direction::Sent),
            (entry, &name, source_dir),
            &item.attributes,
            Moved::default(),
        );
        self.echo(&item)
    }

    /// Sends index, attributes and the wanted attribute values back.
    fn echo(&mut self, item: &Item) -> Result<(), EngineError> {
        let Self { session, outbox, ndx, lists, files, .. } = self;
        outbox.data::<EngineError>(|out| {
            ndx.encode(out, Ndx::Item(item.index));
            item.attributes.encode(out, &session.negotiated)?;
            if let (Some(request), Some(entry)) = (&item.xattrs, files.get(item.index)) {
                lists.xattr_values(entry, request, out)?;
            }
            Ok(())
        })
    }

    /// A transfer of a dry run.
    fn pretend(&mut self, item: &Item, entry: EntryRef<'_>) -> Result<(), EngineError> {
        self.count_transfer(entry.size());
        let name = entry.path();
        let source_dir = self.lists.source_dir(entry.origin());
        for stage in [Stage::Begins, Stage::Done] {
            item::emit(
                self.session,
                (stage, Direction::Sent),
                (entry, &name, source_dir),
                &item.attributes,
                Moved::default(),
            );
        }
        self.echo(item)
    }

    fn count_transfer(&self, size: u64) {
        let counters = &self.session.counters;
        counters.transferred_files.fetch_add(1, Ordering::Relaxed);
        counters.transferred_size.fetch_add(size, Ordering::Relaxed);
    }

    fn transfer(
        &mut self,
        item: &Item,
        entry: EntryRef<'_>,
        sums: SumTable,
        is_redo: bool,
    ) -> Result<(), EngineError> {
        let options = &self.session.options;
        let name = entry.path();
        let content = match self.lists.open(entry) {
            Ok(content) => content,
            Err(error) => {
                say_unopened(self.session, self.lists.place(entry.origin(), &name), &error);
                return self.no_send(item.index);
            }
        };
        let size = match content.stat() {
            Ok(stat) => stat.size,
            Err(source) => {
                let text = [b"fstat failed for ".as_slice(), &name].concat().into();
                return Err(EngineError::FileIo { text, source });
            }
        };
        let appends = options.append != Append::Off && !is_redo;
        if appends && size < entry.size() {
            self.say(Message::DiminishedFile(self.lists.place(entry.origin(), &name)));
            return self.no_send(item.index);
        }
        let source_dir = self.lists.source_dir(entry.origin());
        let moved = Moved { sum_bytes: sum_bytes(&sums), ..Moved::default() };
        item::emit(
            self.session,
            (Stage::Begins, Direction::Sent),
            (entry, &name, source_dir),
            &item.attributes,
            moved,
        );
        let before = self.outbox.encoded();
        self.echo(item)?;
        self.outbox.divert(self.session.only_records());
        self.outbox.data::<EngineError>(|out| {
            sums.head().encode(out);
            Ok(())
        })?;
        let sent = self.content(content.as_ref(), size, &name, item, sums, appends)?;
        self.outbox.divert(false);
        self.count_transfer(sent.size);
        if let Some(error) = &sent.failure {
            failed(self.session, Failure::ReadSource(self.lists.place(entry.origin(), &name)), error);
        }
        let data_bytes = self.outbox.encoded() - before;
        let moved = Moved { data_bytes, digest: Some(&sent.digest), ..moved };
        let source_dir = self.lists.source_dir(entry.origin());
        item::emit(
            self.session,
            (Stage::Done, Direction::Sent),
            (entry, &name, source_dir),
            &item.attributes,
            moved,
        );
        self.send_messages()
    }

    /// Sends tokens and digest of a file of `size` bytes.
    fn content(
        &mut self,
        content: &dyn ReadAt,
        size: u64,
        name: &[u8],
        item: &Item,
        sums: SumTable,
        appends: bool,
    ) -> Result<Sent, EngineError> {
        let progress = self.progress(Moment::Running, Some(item.index));
        let rules = self.match_rules(&item.attributes);
        let Self { session, outbox, tokens, buffer, .. } = self;
        let negotiated = &session.negotiated;
        let mut window = Window::new(content, size, buffer);
        let mut digest = Digest::whole_file(negotiated.checksum.transfer, negotiated.seed);
        let head = *sums.head();
        let prefix = if appends { head.basis_len().min(size) } else { 0 };
        if appends && (session.options.append == Append::Verify || !negotiated.is_modern()) {
            hash(&mut window, prefix, &mut digest)?;
        }
        let last_said = Cell::new(None);
        let tell = |offset: u64, searched: bool| {
            let said = last_said.get();
            if said.is_none_or(|said| offset.saturating_sub(said) >= HASH_SIZE) {
                last_said.set(Some(offset));
                let is_first_piece = said.is_none() && !searched;
                let offset = if is_first_piece { offset.min(prefix + FIRST_PROGRESS) } else { offset };
                session.events.emit(Event::Progress(Progress { name, offset, size, ..progress }));
            }
        };
        let shows_progress = session.events.wants(Topic::Progress);
        let tell = shows_progress.then_some(&tell as &dyn Fn(u64, bool));
        let mut sink = FileSink::new(outbox, tokens, digest, prefix, tell);
        if appends || head.is_null() {
            send_literals(&mut window, prefix, size, &mut sink)?;
        } else {
            sink.tells_matches(size, &head);
            let found = Matcher::new(sums, rules).run(&mut window, size, &mut sink)?;
            if size > 0 {
                sink.tell_searched();
            }
            self.matches.matches += found.matches;
            self.matches.hash_hits += found.hash_hits;
            self.matches.false_alarms += found.false_alarms;
        }
        let (literal, matched) = (sink.literal, sink.matched);
        self.matches.literal_data += literal;
        let digest = sink.end()?.finish();
        let failure = window.failure.take();
        let digest = if failure.is_some() { digest.spoiled() } else { digest };
        outbox.data::<EngineError>(|out| {
            out.extend_from_slice(&digest);
            Ok(())
        })?;
        session.counters.literal.fetch_add(literal, Ordering::Relaxed);
        session.counters.matched.fetch_add(matched, Ordering::Relaxed);
        if shows_progress {
            let done = Progress { moment: Moment::FileDone, name, offset: size, size, ..progress };
            session.events.emit(Event::Progress(Progress { transfers: progress.transfers + 1, ..done }));
        }
        Ok(Sent { digest: digest.to_vec().into(), size, failure })
    }

    /// How blocks are matched, with the in-place rule of spec 05 §6.
    fn match_rules(&self, attributes: &ItemAttributes) -> MatchRules {
        let (negotiated, options) = (&self.session.negotiated, &self.session.options);
        let in_place = match attributes.basis {
            Basis::PartialDir => negotiated.inplace_partial_dir(),
            _ if !negotiated.has_item_flags() => options.inplace && !options.backup,
            Basis::Destination => options.inplace || options.append != Append::Off,
            _ => false,
        };
        MatchRules { checksum: negotiated.checksum.transfer, seed: negotiated.seed, in_place }
    }

    /// Tells the receiving side that no answer to `index` will come.
    fn no_send(&mut self, index: u32) -> Result<(), EngineError> {
        self.send_messages()?;
        self.outbox.message(&wire::Message::NoSend(index))
    }
}

/// Says that a requested file cannot be opened, and why.
pub(crate) fn say_unopened(session: &Session, place: Place<'_>, error: &io::Error) {
    if error.kind() == io::ErrorKind::NotFound {
        session.errors.add_io_error(IoErrorFlags::VANISHED);
        say(session, Message::FileVanished(place));
    } else {
        failed(session, Failure::OpenSource(place), error);
    }
}

/// Says and records what went wrong with one file.
pub(crate) fn failed(session: &Session, failure: Failure<'_>, error: &io::Error) {
    session.errors.add_io_error(IoErrorFlags::GENERAL);
    session.errors.transfer_error();
    let errno = error.raw_os_error().unwrap_or(rustix::io::Errno::IO.raw_os_error());
    say(session, Message::Failed(SystemFailure { role: Role::Sender, failure, errno }));
}

/// Emits `message` if it is wanted.
pub(crate) fn say(session: &Session, message: Message<'_>) {
    if session.events.wants(message.topic()) {
        session.events.emit(Event::Message(message));
    }
}

/// Hashes the first `length` bytes of `window`.
fn hash(window: &mut Window<'_>, length: u64, digest: &mut Digest) -> Result<(), EngineError> {
    let mut offset = 0;
    while offset < length {
        let count = HASH_SIZE.min(length - offset);
        digest.update(window.window(offset, count as usize)?);
        offset += count;
    }
    Ok(())
}
