//! Regular files: up to date, or requested with the block sums of what is there (spec 07 §3 to §5).

use std::fs::File;
use std::io::{self, Read};

use rsync_proto::flist::Kind;
use rsync_proto::options::Append;
use rsync_proto::phase::{Basis as WireBasis, ItemAttributes, ItemFlags};
use rsync_proto::sum::{Digest, SumHead, SumHeadSizing};
use rsync_proto::text::{ExistsDetail, Failure, Message};

use super::alternate::{Candidate, Consulted};
use super::entry::At;
use super::judge::{Passed, QuickCheck, item_flags, nothing_to_append, passed_over, quick_check};
use super::nodes::class;
use super::run::Generator;
use super::similar::Found;
use crate::EngineError;
use crate::backup::Purpose;
use crate::confine::{Dir, Stat, length_of};
use crate::meta::Times;
use crate::receive::shared::{Basis, Request};

/// What a request is made against.
struct Offer {
    basis: Basis,
    /// The basis, opened, and its length.
    file: Option<(File, u64)>,
    /// What is at the destination cannot be read.
    unreadable: bool,
}

/// A basis that is not the file itself.
enum Elsewhere {
    /// The file of the same path in an alternate destination.
    Alternate(Candidate),
    /// A file of a similar name.
    Similar(Found),
    /// A file of the destination at this path, which has most likely the same content.
    Renamed(Vec<u8>),
}

impl Generator<'_> {
    /// Decides about a regular file (spec 07 §3 "Regular file").
    pub(super) fn process_file(&mut self, at: At<'_>, stat: Option<Stat>) -> Result<(), EngineError> {
        let options = &self.session.options;
        let regular = stat.filter(Stat::is_file);
        let passed = passed_over(&at.entry, regular.as_ref(), options);
        let regular = regular.or_else(|| self.writable_device(&at, stat?));
        if !self.in_redo
            && let Some(passed) = passed
        {
            match passed {
                Passed::OverMaxSize => self.session.say(Message::OverMaxSize(at.path)),
                Passed::UnderMinSize => self.session.say(Message::UnderMinSize(at.path)),
                Passed::Newer => self.session.say(Message::IsNewer(at.path)),
            }
            return self.drop_member(&at);
        }
        if stat.is_some() && regular.is_none() && !self.make_room(&at)? {
            return self.drop_member(&at);
        }
        let alternate = match self.consult_alternates(&at, regular.as_ref())? {
            Consulted::Settled => return Ok(()),
            Consulted::Basis(candidate) => Some(candidate),
            Consulted::Nothing => None,
        };
        if let Some(stat) = &regular
            && !self.in_redo
            && self.is_up_to_date(&at, stat)
        {
            return self.keep_file(&at, stat);
        }
        if !self.in_redo && regular.is_some_and(|stat| nothing_to_append(&at.entry, &stat, options)) {
            return self.drop_member(&at);
        }
        let partial = self.open_partial(&at);
        let is_missing = regular.is_none() && partial.is_none() && alternate.is_none();
        let similar = if is_missing { self.find_similar(&at) } else { None };
        if is_missing && similar.is_none() && self.may_postpone(&at) {
            return self.postpone_member(&at);
        }
        let is_missing = is_missing && similar.is_none();
        let renamed = if is_missing { self.find_renamed(&at) } else { None };
        if let (Some(path), true) = (&renamed, options.checksum)
            && self.copy_renamed(&at, path)?
        {
            return Ok(());
        }
        let elsewhere = alternate.map(Elsewhere::Alternate).or(similar.map(Elsewhere::Similar));
        let elsewhere = elsewhere.or(renamed.map(Elsewhere::Renamed));
        self.request(&at, regular.as_ref(), partial, elsewhere)
    }

    /// `--write-devices`: a device takes content like a regular file.
    fn writable_device(&mut self, at: &At<'_>, stat: Stat) -> Option<Stat> {
        let takes = self.session.options.write_devices && stat.kind().is_device();
        let size = takes.then(|| self.in_place(at, Dir::device_size));
        // One that cannot be opened is reported when its content comes.
        size.map(|size| Stat { size: size.unwrap_or_default(), ..stat })
    }

    fn is_up_to_date(&mut self, at: &At<'_>, stat: &Stat) -> bool {
        match quick_check(&at.entry, stat, &self.session.options) {
            QuickCheck::Same => true,
            QuickCheck::Differs => false,
            QuickCheck::CompareDigests => {
                self.open_destination(at).is_ok_and(|file| self.has_digest(at, file))
            }
        }
    }

    /// Whether the content of `file` has the `--checksum` digest that was listed.
    pub(super) fn has_digest(&self, at: &At<'_>, file: File) -> bool {
        self.digest_of(file).is_ok_and(|ours| Some(&ours[..]) == at.entry.digest())
    }

    fn digest_of(&self, mut file: File) -> io::Result<Vec<u8>> {
        let mut digest = Digest::pre_transfer(self.session.negotiated.checksum.pre_transfer);
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(digest.finish().to_vec()),
                count => digest.update(&buffer[..count]),
            }
        }
    }

    fn open_destination(&mut self, at: &At<'_>) -> io::Result<File> {
        let Some(destination) = self.destination else { return Err(io::ErrorKind::NotFound.into()) };
        let (dir, name) = destination.place_of(&at.entry);
        let dir = self.dirs.dir(dir)?;
        match self.session.options.write_devices {
            true => dir.open_content_and_stat(name).map(|(file, _)| file),
            false => dir.open_read(name),
        }
    }

    /// What an interrupted transfer left for this file.
    fn open_partial(&mut self, at: &At<'_>) -> Option<File> {
        let (dir, name) = self.destination?.place_of(&at.entry);
        let partial = self.partial.as_ref()?.open(self.dirs.dir(dir).ok()?).ok()?;
        partial.open_read(name).ok()
    }

    /// The content is right already: attributes only.
    fn keep_file(&mut self, at: &At<'_>, stat: &Stat) -> Result<(), EngineError> {
        let options = &self.session.options;
        let wanted = self.wanted(at, Some(stat));
        let flags = item_flags(&at.entry, Some(stat), &wanted, ItemFlags::default(), options)
            | self.extended_flags(at, Some(stat), &wanted);
        self.discard_partial(at);
        let times = if options.checksum { Times::Exact } else { Times::Window };
        let changed = match options.dry_run {
            true => flags.is_significant(),
            false => self.apply(at, stat, &wanted, times),
        };
        self.say_kept(at, changed);
        self.itemize(at, flags, None)?;
        self.succeed_unsent(at.index)?;
        self.member_in_place(at)
    }

    /// The content is right without a transfer: what an interrupted one left is of no use.
    pub(super) fn discard_partial(&mut self, at: &At<'_>) {
        let dry_run = self.session.options.dry_run;
        if let (Some(destination), Some(partial), false) = (self.destination, &self.partial, dry_run) {
            let (dir, name) = destination.place_of(&at.entry);
            if let Ok(dir) = self.dirs.dir(dir) {
                partial.discard(dir, name);
            }
        }
    }

    /// Says (where names are printed even if nothing travels) what became of an entry that stays.
    pub(super) fn say_kept(&self, at: &At<'_>, changed: bool) {
        let local_name = self.destination.and_then(|destination| destination.local_name.as_deref());
        let name = local_name.unwrap_or(at.path);
        self.session.say(match changed {
            true => Message::AttributesChanged(name),
            false => Message::UpToDate(name),
        });
    }

    /// How an existing entry differs, for those who ask why `--ignore-existing` leaves it alone.
    pub(super) fn exists_detail(&mut self, at: &At<'_>, stat: &Stat) -> ExistsDetail {
        let options = &self.session.options;
        if at.entry.is_dir() || class(at.entry.kind()) != class(stat.kind()) {
            return ExistsDetail::TypeChange;
        }
        let same = match at.entry.kind() {
            Kind::File => self.is_up_to_date(at, stat),
            _ => self.is_equal_node(at, stat),
        };
        if !same {
            let sums = options.checksum && at.entry.kind() == Kind::File && stat.size == at.entry.size();
            return if sums { ExistsDetail::SumChange } else { ExistsDetail::FileChange };
        }
        let wanted = self.wanted(at, Some(stat));
        match item_flags(&at.entry, Some(stat), &wanted, ItemFlags::default(), options).is_significant() {
            true => ExistsDetail::AttributeChange,
            false => ExistsDetail::UpToDate,
        }
    }

    /// Asks the sender for the content.
    fn request(
        &mut self,
        at: &At<'_>,
        regular: Option<&Stat>,
        partial: Option<File>,
        elsewhere: Option<Elsewhere>,
    ) -> Result<(), EngineError> {
        let session = self.session;
        let options = &session.options;
        let mut offer = self.offer(at, regular, partial, elsewhere.as_ref());
        if offer.basis == Basis::Destination && self.keep_overwritten(at, &mut offer).is_err() {
            session.errors.transfer_error();
            return self.drop_member(at);
        }
        let wanted = self.wanted(at, regular);
        let change = if options.checksum && regular.is_some() {
            ItemFlags::TRANSFER | ItemFlags::REPORT_CHANGE
        } else {
            ItemFlags::TRANSFER
        };
        let flags = match &elsewhere {
            Some(Elsewhere::Alternate(candidate)) => self.flags_against(at, candidate, &wanted, change),
            _ => {
                let known = regular.filter(|_| !offer.unreadable);
                item_flags(&at.entry, known, &wanted, change, options)
                    | self.extended_flags(at, known, &wanted)
            }
        };
        let appends = options.append != Append::Off && !self.in_redo && offer.basis == Basis::Destination;
        let (head, append_at) = self.head(at, &offer, appends);
        self.ledger.request(at.index, "generator")?;
        self.leave_to_itself(at);
        self.member_requested(at);
        self.shared
            .requests
            .insert(at.index, Request { flags, basis: offer.basis, redo: self.in_redo, append_at });
        let basis = match offer.basis {
            // The sender cannot name it, and need not.
            Basis::None | Basis::Destination | Basis::Renamed => WireBasis::Destination,
            Basis::Backup => WireBasis::Backup,
            Basis::Partial => WireBasis::PartialDir,
            Basis::Alternate(number) => WireBasis::AlternateDir(number),
            Basis::Similar(None) => WireBasis::Fuzzy,
            Basis::Similar(Some(number)) => WireBasis::FuzzyAlternateDir(number),
        };
        let xname = match elsewhere {
            Some(Elsewhere::Similar(found)) if matches!(offer.basis, Basis::Similar(_)) => {
                self.shared.requests.offer_similar(at.index, found.name.clone());
                Some(found.name)
            }
            Some(Elsewhere::Renamed(path)) if offer.basis == Basis::Renamed => {
                self.shared.requests.offer_similar(at.index, path);
                None
            }
            _ => None,
        };
        self.send_item(at, &ItemAttributes { basis, xname, ..ItemAttributes::new(flags) })?;
        if !session.exchanges_data() {
            return Ok(());
        }
        let wants_sums = self.peer.sum_head(&head)? && head.count > 0 && append_at.is_none();
        match offer.file {
            Some((file, _)) if wants_sums => self.send_sums(file, &head),
            _ => Ok(()),
        }
    }

    fn offer(
        &mut self,
        at: &At<'_>,
        regular: Option<&Stat>,
        partial: Option<File>,
        elsewhere: Option<&Elsewhere>,
    ) -> Offer {
        let length = length_of;
        if let Some(file) = partial
            && let Ok(length) = length(&file)
        {
            return Offer { basis: Basis::Partial, file: Some((file, length)), unreadable: false };
        }
        let opened = elsewhere.map(|elsewhere| match elsewhere {
            Elsewhere::Alternate(Candidate { number, .. }) => {
                (Basis::Alternate(*number), self.open_alternate(at, *number))
            }
            Elsewhere::Similar(found) => (Basis::Similar(found.alternate), self.open_similar(at, found)),
            Elsewhere::Renamed(path) => {
                let root = self.destination.map(|destination| &destination.root);
                let missing = || Err(io::ErrorKind::NotFound.into());
                (Basis::Renamed, root.map_or_else(missing, |root| super::renamed::open(root, path)))
            }
        });
        if let Some((basis, Ok(file))) = opened
            && let Ok(length) = length(&file)
        {
            return Offer { basis, file: Some((file, length)), unreadable: false };
        }
        if regular.is_none() || !self.session.exchanges_data() {
            return Offer { basis: Basis::None, file: None, unreadable: false };
        }
        match self.open_destination(at).and_then(|file| length(&file).map(|length| (file, length))) {
            Ok(file) => Offer { basis: Basis::Destination, file: Some(file), unreadable: false },
            // Nobody would have looked at it.
            Err(_) if self.session.sends_whole_files() => {
                Offer { basis: Basis::None, file: None, unreadable: false }
            }
            Err(error) => {
                self.report(Failure::OpenBasis(self.full_path(at.path)), &error);
                Offer { basis: Basis::None, file: None, unreadable: true }
            }
        }
    }

    /// Keeps what is about to be written in place, where that is wanted. A delta is then made of the copy, whose
    /// blocks stay where they are (spec 05 §5.2).
    fn keep_overwritten(&mut self, at: &At<'_>, offer: &mut Offer) -> io::Result<()> {
        let options = &self.session.options;
        let (Some(backups), Some(destination)) = (&self.backups, self.destination) else { return Ok(()) };
        if !options.inplace || options.dry_run || self.in_redo {
            return Ok(());
        }
        let (dir_path, name) = destination.place_of(&at.entry);
        let dir = self.dirs.dir(dir_path)?;
        backups.keep(dir, dir_path, name, Purpose::Overwrite)?;
        if options.append != Append::Off || options.write_devices || self.session.sends_whole_files() {
            return Ok(());
        }
        let file = backups.open(dir, dir_path, name)?;
        let length = length_of(&file)?;
        *offer = Offer { basis: Basis::Backup, file: Some((file, length)), unreadable: false };
        Ok(())
    }

    /// The head of the sums, and where an append starts.
    fn head(&self, at: &At<'_>, offer: &Offer, appends: bool) -> (SumHead, Option<u64>) {
        let session = self.session;
        let Some((_, length)) = &offer.file else { return (SumHead::NULL, None) };
        let checksum = session.negotiated.checksum.transfer;
        if session.sends_whole_files() {
            return (SumHead::NULL, None);
        }
        let sizing = SumHeadSizing {
            block_size: session.options.block_size,
            max_block_len: session.negotiated.max_block_len(),
            digest_len: checksum.len() as u32,
            redo: self.in_redo,
        };
        match SumHead::for_basis(*length, &sizing) {
            Some(head) => (head, (appends && head.count > 0).then_some(*length)),
            None => {
                session.say(Message::TooLargeForSums(at.path));
                (SumHead::NULL, None)
            }
        }
    }

    /// Sends the sums of all blocks; what cannot be read counts as zeros, which matches nothing that
    /// the whole-file digest would not catch.
    fn send_sums(&mut self, mut file: File, head: &SumHead) -> Result<(), EngineError> {
        let blocks_at_once = ((256 << 10) / head.block_len.max(1)).max(1);
        let mut buffer = vec![0; blocks_at_once as usize * head.block_len as usize];
        let mut index = 0;
        while index < head.count {
            let upto = head.count.min(index.saturating_add(blocks_at_once));
            let length: usize = (index..upto).map(|block| head.len_of(block) as usize).sum();
            let read = read_full(&mut file, &mut buffer[..length]).unwrap_or(0);
            buffer[read..length].fill(0);
            let mut start = 0;
            for block in index..upto {
                let length = head.len_of(block) as usize;
                let data = &buffer[start..start + length];
                self.peer.block_sums(head, data)?;
                start += length;
            }
            index = upto;
            self.look()?;
        }
        Ok(())
    }
}

/// Fills as much of `buffer` as the file has.
fn read_full(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read(&mut buffer[done..]) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
