//! Puts received content in place: temporary file, attributes, rename; partial and delayed files
//! (spec 07 §6, §7, §8).

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::sync::Arc;

use rsync_proto::flist::{EntryRef, Segment};
use rsync_proto::phase::{Event as PhaseEvent, ItemFlags};
use rsync_proto::sum::SumBytes;
use rsync_proto::text::{Failure, Kept, Message, Place, Progress, Role};

use super::file::{Assembly, Content, Received, discard};
use super::output::FileOutput;
use super::shared::{Basis, Request, Shared};
use crate::backup::{Backups, Purpose};
use crate::companions::Alternate;
use crate::confine::{Dir, DirStack, Pinned, Stat};
use crate::destination::Destination;
use crate::generate::open_renamed;
use crate::meta::{Attributes, Change, Step, Times, XattrProblem, apply_xattrs};
use crate::partial::PartialDir;
use crate::{EngineError, Session};

/// What became of a requested file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Verified, and in place (or delayed without anybody waiting for it).
    Finished,
    /// Verified, but only in place at the end; hard links wait for it.
    Delayed,
    /// To be requested again.
    Redo,
    /// Given up.
    Failed,
}

/// The writing side of a receiver, once the destination is known.
pub(crate) struct Target<'a> {
    session: &'a Session,
    shared: &'a Shared,
    destination: &'a Destination,
    dirs: DirStack,
    attributes: Attributes,
    partial: Option<PartialDir>,
    backups: Option<Backups<'a>>,
    /// Directories of the alternate destinations, by number.
    alternates: Vec<Option<DirStack>>,
    /// Verified files that wait in their partial directories (`--delay-updates`).
    delayed: Vec<(Arc<Segment>, usize)>,
}

/// A file that is being written.
struct Draft {
    output: FileOutput,
    /// Its temporary name; `None` when the file is updated in place.
    temp: Option<Vec<u8>>,
    /// In place in the partial directory rather than at the destination.
    in_partial_dir: bool,
}

impl<'a> Target<'a> {
    /// Writes beneath `destination`.
    pub(crate) fn new(session: &'a Session, shared: &'a Shared, destination: &'a Destination) -> Self {
        Self {
            session,
            shared,
            destination,
            dirs: destination.dirs(session),
            attributes: Attributes::new(&session.options),
            partial: PartialDir::of(session),
            backups: Backups::new(session, destination, Role::Receiver),
            alternates: destination.alternates.iter().map(Alternate::stack).collect(),
            delayed: Vec::new(),
        }
    }

    /// Puts `content` in place as that of `entry`.
    ///
    /// # Errors
    /// What ends the whole run: the stream broke, or the disk is full.
    pub(crate) fn receive(
        &mut self,
        list: &Arc<Segment>,
        entry: EntryRef<'_>,
        (request, progress): (Request, Progress<'static>),
        content: &mut dyn Content,
    ) -> Result<(Outcome, Option<SumBytes>), EngineError> {
        let path = entry.path();
        let (dir_path, name) = self.destination.place_of(&entry);
        let place = self.session.place(&self.destination.path, &path);
        let session = self.session;
        let partial = self.partial.as_ref();
        let discard = |content: &mut dyn Content| {
            discard(session, &path, (request, progress), content).map(|()| (Outcome::Failed, None))
        };
        let dir = match self.dirs.dir(dir_path) {
            Ok(dir) => dir,
            Err(error) => {
                session.failed(Role::Receiver, Failure::Mkstemp(place), &error);
                return discard(content);
            }
        };
        // What the generator found missing is not looked for again: a directory made there meanwhile
        // does not let itself be replaced.
        let is_new = request.flags.contains(ItemFlags::IS_NEW);
        let existing = if is_new { None } else { self.attributes.stat_in(dir, name).ok() };
        if existing.is_some_and(|stat| stat.is_dir()) {
            session.say(Message::IsDirectory(place));
            return discard(content);
        }
        let devices = session.options.write_devices;
        let existing = existing.filter(|stat| stat.is_file() || devices && stat.kind().is_device());
        let temps = self.destination.temps.as_ref().unwrap_or(dir);
        let basis = match request.basis {
            Basis::None => None,
            Basis::Destination if devices => dir.open_content_and_stat(name).ok().map(|(file, _)| file),
            Basis::Destination => dir.open_read(name).ok(),
            Basis::Backup => self.backups.as_ref().and_then(|backups| backups.open(dir, dir_path, name).ok()),
            Basis::Partial => partial.and_then(|partial| partial.open(dir).ok()?.open_read(name).ok()),
            Basis::Alternate(number) => open_alternate(&mut self.alternates, number, dir_path, name),
            Basis::Renamed => {
                let path = self.shared.requests.take_similar(entry.index());
                path.and_then(|path| open_renamed(&self.destination.root, &path).ok())
            }
            Basis::Similar(number) => {
                self.shared.requests.take_similar(entry.index()).and_then(|similar| match number {
                    Some(number) => open_alternate(&mut self.alternates, number, dir_path, &similar),
                    None => dir.open_read(&similar).ok(),
                })
            }
        };
        // Without -p a new file has the permissions of the file it was made from (spec 04 §5.1).
        let model = match request.basis {
            Basis::Alternate(_) | Basis::Similar(_) => {
                basis.as_ref().and_then(|basis| self.attributes.stat_of(&Pinned::of(basis)).ok())
            }
            _ => None,
        };
        let mut draft = match Draft::open(session, (dir, temps), name, &request, basis.as_ref(), partial) {
            Ok(draft) => draft,
            Err(DraftError::Open(error)) => {
                session.failed(Role::Receiver, Failure::OpenTarget(place), &error);
                return discard(content);
            }
            Err(DraftError::Temp(temp, error)) => {
                let temp = path_of_temp(session, dir_path, &temp);
                let place = Place { name: &temp, ..place };
                session.failed(Role::Receiver, Failure::Mkstemp(place), &error);
                return discard(content);
            }
        };
        if session.options.preallocate
            && !session.options.sparse
            && let Err(error) = draft.output.reserve(entry.size())
        {
            session.failed(Role::Receiver, Failure::Preallocate(place), &error);
        }
        let has_data = Cell::new(false);
        let assembly = Assembly {
            session,
            name: &path,
            place,
            request,
            progress,
            basis: basis.as_ref(),
            in_place: draft.temp.is_none()
                && matches!(request.basis, Basis::Destination | Basis::Backup | Basis::Partial),
            new_file: draft.temp.is_some(),
            output: Some(&mut draft.output),
            has_data: &has_data,
        };
        let mut received = content.assemble(assembly);
        // Whatever became of it, what has come is in the file.
        if let (Err(error), Ok(received)) = (draft.output.flush(), &mut received) {
            received.verified = false;
            received.write_error.get_or_insert(error);
        }
        let finish = Finish {
            session,
            shared: self.shared,
            basis: basis.as_ref(),
            attributes: &self.attributes,
            partial,
            backups: self.backups.as_ref().filter(|_| !request.redo),
            dir,
            temps,
            dir_path,
            name,
            entry,
            place,
            existing: existing.or(model),
            redo: request.redo,
        };
        match received {
            Err(error) => {
                finish.interrupted(draft, has_data.get());
                Err(error)
            }
            Ok(received) if received.write_error.is_some() => Err(finish.write_failed(draft, received)),
            Ok(received) if received.verified => {
                let digest = received.digest;
                let outcome = finish.verified(draft, received)?;
                if session.options.delay_updates && outcome == Outcome::Finished {
                    self.delayed.push((Arc::clone(list), entry.place()));
                    if entry.link().is_some() {
                        return Ok((Outcome::Delayed, Some(digest)));
                    }
                }
                Ok((outcome, Some(digest)))
            }
            Ok(_) => Ok((finish.unverified(draft), None)),
        }
    }

    /// What is at the place of an entry.
    pub(crate) fn stat(&mut self, entry: EntryRef<'_>) -> io::Result<Stat> {
        let (dir, name) = self.destination.place_of(&entry);
        self.dirs.dir(dir)?.stat(name)
    }

    /// Sets the extended attributes of an entry that is in place (spec 04 §3.3).
    pub(crate) fn set_xattrs(&mut self, entry: EntryRef<'_>) {
        let path = entry.path();
        let place = self.session.place(&self.destination.path, &path);
        let (dir, name) = self.destination.place_of(&entry);
        match self.dirs.dir(dir).and_then(|dir| dir.pin(name)) {
            Ok(file) => {
                set_xattrs(self.session, self.shared, entry, place, &file, None);
            }
            Err(error) => self.session.failed(Role::Receiver, Failure::Stat(place), &error),
        }
    }

    /// Does what is due when the sender has passed `event`.
    pub(crate) fn end_phase(&mut self, event: PhaseEvent) {
        if event == PhaseEvent::RedoAnswered {
            self.place_delayed();
        }
    }

    /// `--delay-updates`: renames everything that waits into place, in list order, and tells the
    /// generator about files that hard links wait for.
    fn place_delayed(&mut self) {
        let Some(partial) = &self.partial else { return };
        for (list, at) in std::mem::take(&mut self.delayed) {
            let Some(entry) = list.get(at) else { continue };
            let (dir_path, name) = self.destination.place_of(&entry);
            let backups = self.backups.as_ref();
            let moved = self.dirs.dir(dir_path).and_then(|dir| {
                if let Some(backups) = backups {
                    backups.keep(dir, dir_path, name, Purpose::Replace)?;
                }
                partial.open(dir)?.rename(name, dir, name)?;
                partial.remove_if_empty(dir);
                Ok(())
            });
            if entry.link().is_some() {
                let outcome = if moved.is_ok() { Outcome::Finished } else { Outcome::Failed };
                self.shared.ended(entry.index(), outcome);
            }
            if let Err(error) = moved {
                let path = entry.path();
                let place = self.session.place(&self.destination.path, &path);
                let from = partial.path_of(dir_path, name);
                self.session.failed(Role::Receiver, Failure::RenameDelayed(place, &from), &error);
            }
        }
    }
}

/// What messages call a temporary file.
fn path_of_temp(session: &Session, dir_path: &[u8], temp: &[u8]) -> Vec<u8> {
    match &session.options.temp_dir {
        Some(temps) => [temps, &b"/"[..], temp].concat(),
        None if dir_path.is_empty() => temp.to_owned(),
        None => [dir_path, b"/", temp].concat(),
    }
}

/// The file of the same path in an alternate destination.
fn open_alternate(
    alternates: &mut [Option<DirStack>],
    number: u8,
    dir_path: &[u8],
    name: &[u8],
) -> Option<File> {
    let stack = alternates.get_mut(usize::from(number))?.as_mut()?;
    stack.dir(dir_path).ok()?.open_read(name).ok()
}

/// Why there is nothing to write to.
enum DraftError {
    /// The file to update cannot be opened.
    Open(io::Error),
    /// The file of this temporary name cannot be made.
    Temp(Vec<u8>, io::Error),
}

impl From<io::Error> for DraftError {
    fn from(error: io::Error) -> Self {
        Self::Open(error)
    }
}

impl Draft {
    fn open(
        session: &Session,
        (dir, temps): (&Dir, &Dir),
        name: &[u8],
        request: &Request,
        basis: Option<&File>,
        partial: Option<&PartialDir>,
    ) -> Result<Self, DraftError> {
        let options = &session.options;
        if options.inplace {
            let file = match options.write_devices {
                true => dir.open_in_place_or_device(name)?,
                false => dir.open_in_place(name)?,
            };
            let output = FileOutput::new(file, options.sparse);
            return Ok(Self { output, temp: None, in_partial_dir: false });
        }
        let updates_partial =
            request.basis == Basis::Partial && basis.is_some() && session.negotiated.inplace_partial_dir();
        if let (true, Some(partial)) = (updates_partial, partial) {
            let file = partial.open(dir)?.open_in_place(name)?;
            let output = FileOutput::new(file, options.sparse);
            return Ok(Self { output, temp: None, in_partial_dir: true });
        }
        let hidden = std::ptr::eq(dir, temps);
        let (file, temp) = temps
            .create_temp_as(name, hidden, &mut rand::random)
            .map_err(|(temp, error)| DraftError::Temp(temp, error))?;
        let output = FileOutput::new_file(file, options.sparse);
        Ok(Self { output, temp: Some(temp), in_partial_dir: false })
    }
}

/// Everything that finishing one file needs.
struct Finish<'f> {
    session: &'f Session,
    shared: &'f Shared,
    /// The file that block tokens, and attributes that did not travel, came from.
    basis: Option<&'f File>,
    attributes: &'f Attributes,
    partial: Option<&'f PartialDir>,
    backups: Option<&'f Backups<'f>>,
    dir: &'f Dir,
    /// Where temporary files are: `dir`, or the directory of `--temp-dir`.
    temps: &'f Dir,
    dir_path: &'f [u8],
    name: &'f [u8],
    entry: EntryRef<'f>,
    place: Place<'f>,
    /// The regular file that was at the destination, or elsewhere and served as basis.
    existing: Option<Stat>,
    redo: bool,
}

impl Finish<'_> {
    /// The content is right: attributes, then rename.
    fn verified(&self, mut draft: Draft, received: Received) -> Result<Outcome, EngineError> {
        let complete = draft.temp.is_some() && !self.session.options.sparse;
        if let Err(error) = draft.output.finish(received.length, complete, self.session.options.fsync) {
            return Err(self.write_failed(draft, Received { write_error: Some(error), ..received }));
        }
        let Some(temp) = &draft.temp else {
            if draft.in_partial_dir {
                if !self.session.options.delay_updates {
                    self.keep_replaced()?;
                }
                return Ok(self.place_updated_partial(&draft));
            }
            self.set_attributes(&draft, Times::Exact);
            return Ok(Outcome::Finished);
        };
        self.set_attributes(&draft, Times::Exact);
        let placed = match self.partial.filter(|_| self.session.options.delay_updates) {
            Some(partial) => {
                partial.make(self.dir).and_then(|delayed| self.move_temp(temp, &delayed, Some(Times::Exact)))
            }
            None => {
                if let Err(error) = self.keep_replaced() {
                    self.discard(temp);
                    return Err(error);
                }
                self.move_temp(temp, self.dir, Some(Times::Exact))
            }
        };
        if let Err(error) = placed {
            let from = path_of_temp(self.session, self.dir_path, temp);
            let from = Place { name: &from, ..self.place };
            self.session.failed(Role::Receiver, Failure::Rename(from, self.place.name), &error);
            self.discard(temp);
            return Ok(Outcome::Failed);
        }
        if let (Some(partial), false) = (self.partial, self.session.options.delay_updates) {
            partial.discard(self.dir, self.name);
        }
        Ok(Outcome::Finished)
    }

    /// `--backup`: keeps what the new file is about to replace.
    fn keep_replaced(&self) -> Result<(), EngineError> {
        let Some(backups) = self.backups else { return Ok(()) };
        match backups.keep(self.dir, self.dir_path, self.name, Purpose::Replace) {
            Ok(_) => Ok(()),
            Err(error) => Err(backups.failed(self.place, error)),
        }
    }

    /// The partial file was completed where it is.
    fn place_updated_partial(&self, draft: &Draft) -> Outcome {
        let Some(partial) = self.partial else { return Outcome::Failed };
        let moved = partial.open(self.dir).and_then(|from| {
            self.set_attributes(draft, Times::Exact);
            if !self.session.options.delay_updates {
                from.rename(self.name, self.dir, self.name)?;
                partial.remove_if_empty(self.dir);
            }
            Ok(())
        });
        match moved {
            Ok(()) => Outcome::Finished,
            Err(error) => {
                let from = partial.path_of(self.dir_path, self.name);
                let from = Place { name: &from, ..self.place };
                self.session.failed(Role::Receiver, Failure::Rename(from, self.place.name), &error);
                Outcome::Failed
            }
        }
    }

    /// The digest did not match (spec 07 §8).
    fn unverified(&self, draft: Draft) -> Outcome {
        let kept = match (&draft.temp, draft.in_partial_dir) {
            (None, true) => Kept::PartialDir,
            (None, false) => Kept::Retained,
            (Some(_), _) => Kept::Discarded,
        };
        if let Some(temp) = &draft.temp {
            self.keep_or_discard(temp, &draft, true, Times::Keep);
        }
        if self.redo {
            self.session.say(Message::VerificationFailed(self.place.name, kept));
            return Outcome::Failed;
        }
        self.session.say(Message::VerificationRetry {
            name: self.place.name,
            kept,
            batch: self.session.is_replay(),
        });
        Outcome::Redo
    }

    /// The stream broke off in the middle.
    fn interrupted(&self, draft: Draft, has_data: bool) {
        if let Some(temp) = &draft.temp {
            self.keep_or_discard(temp, &draft, has_data, Times::Keep);
        }
    }

    /// The disk did not take the content: the run is over.
    fn write_failed(&self, draft: Draft, received: Received) -> EngineError {
        if let Some(temp) = &draft.temp {
            self.keep_or_discard(temp, &draft, received.has_data, Times::Keep);
        }
        let mut text = b"rsync: [receiver] ".to_vec();
        Failure::Write(self.place).render(&mut text);
        let source = received.write_error.unwrap_or_else(|| io::ErrorKind::WriteZero.into());
        EngineError::FileIo { text: text.into(), source }
    }

    /// `--partial` and `--partial-dir`: what has come is kept for the next time.
    fn keep_or_discard(&self, temp: &[u8], draft: &Draft, has_data: bool, times: Times) {
        let options = &self.session.options;
        let kept = has_data
            && match self.partial {
                Some(partial) => {
                    let moved = partial.make(self.dir).and_then(|dir| self.move_temp(temp, &dir, None));
                    moved.is_ok()
                }
                None if options.partial => {
                    self.set_attributes(draft, times);
                    self.keep_replaced().is_ok() && self.move_temp(temp, self.dir, Some(times)).is_ok()
                }
                None => false,
            };
        if !kept {
            self.discard(temp);
        }
    }

    /// Gives the temporary file its place in `target`. Where that is on another file system, it is
    /// copied beside the place first, with the attributes of the entry if `times` says how its own are
    /// set, so that the name still shows the old file or the new (spec 10 SEC-012).
    fn move_temp(&self, temp: &[u8], target: &Dir, times: Option<Times>) -> io::Result<()> {
        match self.temps.rename(temp, target, self.name) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
            result => return result,
        }
        let mut from = self.temps.open_read(temp)?;
        let (mut to, copy) = target.create_temp(self.name, &mut rand::random)?;
        let placed = io::copy(&mut from, &mut to).and_then(|_| {
            if let Some(times) = times {
                self.set_attributes_of(&to, times);
            }
            if self.session.options.fsync {
                to.sync_all()?;
            }
            target.rename(&copy, target, self.name)
        });
        if placed.is_err() {
            // The first failure is the one to tell.
            let _ = target.unlink(&copy);
            return placed;
        }
        self.temps.unlink(temp)
    }

    fn discard(&self, temp: &[u8]) {
        if let Err(error) = self.temps.unlink(temp) {
            self.session.failed(Role::Receiver, Failure::Delete("unlink", temp), &error);
        }
    }

    fn set_attributes(&self, draft: &Draft, times: Times) {
        self.set_attributes_of(draft.output.file(), times);
    }

    fn set_attributes_of(&self, file: &File, times: Times) {
        let options = &self.session.options;
        let file = Pinned::of(file);
        let current = &match self.attributes.stat_of(&file) {
            Ok(current) => current,
            Err(error) => {
                return self.session.failed(Role::Receiver, Failure::Fstat(self.place), &error);
            }
        };
        let wanted = &self.attributes.wanted(&self.entry, self.existing.as_ref(), Some(self.dir));
        let acls = self.shared.acls(&self.entry, options);
        let change = Change { entry: &self.entry, current, wanted, acls, times };
        let set_xattrs = |file: &Pinned<'_>| {
            let basis = self.basis.map(Pinned::of);
            set_xattrs(self.session, self.shared, self.entry, self.place, file, basis.as_ref())
        };
        let mut report =
            |step: Step, error| self.session.failed(Role::Receiver, step.failure(self.place), &error);
        self.attributes.apply(&file, &change, options, set_xattrs, &mut report);
    }
}

/// Gives a file the extended attributes of its entry; answers whether any changed.
fn set_xattrs(
    session: &Session,
    shared: &Shared,
    entry: EntryRef<'_>,
    place: Place<'_>,
    file: &Pinned<'_>,
    basis: Option<&Pinned<'_>>,
) -> bool {
    if session.options.xattrs == 0 {
        return false;
    }
    let Some(wanted) = shared.received.xattrs(&entry) else { return false };
    let path = [place.root, b"/", place.name].concat();
    let mut report = |problem: XattrProblem<'_>| match problem {
        XattrProblem::Read(error) => session.failed(Role::Receiver, Failure::Stat(place), &error),
        XattrProblem::Set(name, error) => {
            session.failed(Role::Receiver, Failure::SetXattr(&path, name), &error);
        }
        XattrProblem::Remove(name, error) => {
            session.failed(Role::Receiver, Failure::RemoveXattr(&path, name), &error);
        }
        XattrProblem::Missing(name) => session.say(Message::MissingXattrValue(name, place.name)),
    };
    apply_xattrs(&shared.xattr_rules, file, basis, &wanted, &mut report)
}
