//! `--remove-source-files`: removes what the receiving side reports to be in place (spec 07 §13).

use std::io;
use std::sync::Arc;

use rsync_proto::flist::{EntryRef, Kind, split_path};
use rsync_proto::options::RemoveSource;
use rsync_proto::text::{Failure, Message};

use super::answer;
use super::lists::Lists;
use super::run::Sender;
use crate::confine::Stat;
use crate::tree::TreeDir;
use crate::{EngineError, Session};

impl<L: Lists> Sender<'_, L> {
    /// Removes the source of `index`, unless it changed since it was listed.
    pub(super) fn remove_source(&mut self, index: u32) -> Result<(), EngineError> {
        self.ledger.find(index, "successful_send")?;
        let Some(list) = self.files.list_of(index).cloned() else { return Ok(()) };
        let Some(entry) = list.by_index(index) else { return Ok(()) };
        let landing = self.session.landing.get();
        let destination = landing.and_then(|landing| landing.stat(self.session, entry).ok());
        remove_source(self.session, entry, (&entry.path(), self.lists.dir_of(entry)), destination);
        self.send_messages()
    }
}

/// Removes the source of `entry`, `name` in `dir`, where the options say so, unless it changed since it was
/// listed or is the file at the `destination` itself.
pub(crate) fn remove_source(
    session: &Session,
    entry: EntryRef<'_>,
    (name, dir): (&[u8], io::Result<Arc<dyn TreeDir>>),
    destination: Option<Stat>,
) {
    let options = &session.options;
    if options.remove_source == RemoveSource::No || options.dry_run || entry.is_dir() {
        return;
    }
    let dir = dir.map_err(|error| ("secure-open-parent", error));
    match dir.and_then(|dir| unlink(session, entry, (split_path(name).1, &*dir), destination)) {
        Ok(Removal::Done) => answer::say(session, Message::SenderRemoved(name)),
        Ok(Removal::Changed) => {
            session.errors.transfer_error();
            answer::say(session, Message::RemoveChanged(name));
        }
        Ok(Removal::IsDestination) => {
            session.errors.transfer_error();
            answer::say(session, Message::RemoveDestination(name));
        }
        Err((_, error)) if error.kind() == io::ErrorKind::NotFound => {
            answer::say(session, Message::SenderAlreadyRemoved(name));
        }
        Err((verb, error)) => answer::failed(session, Failure::RemoveSource(verb, name), &error),
    }
}

/// What became of a source.
enum Removal {
    Done,
    /// It is not the file that was listed.
    Changed,
    /// It is what was copied to.
    IsDestination,
}

fn unlink(
    session: &Session,
    entry: EntryRef<'_>,
    (name, dir): (&[u8], &dyn TreeDir),
    destination: Option<Stat>,
) -> Result<Removal, (&'static str, io::Error)> {
    let Some(local) = dir.local() else {
        return Err(("remove", io::ErrorKind::Unsupported.into()));
    };
    let follow = session.options.copy_links && entry.kind() == Kind::File;
    let stat = dir.stat(name, follow).map_err(|error| ("re-lstat", error))?.stat;
    let nsec_differs = entry.nsec() != 0 && stat.mtime.1 != entry.nsec();
    let size_differs = entry.kind() == Kind::File && stat.size != entry.size();
    if size_differs || stat.mtime.0 != entry.mtime() || nsec_differs {
        return Ok(Removal::Changed);
    }
    if destination.is_some_and(|destination| destination.same_file(&stat)) {
        return Ok(Removal::IsDestination);
    }
    local.unlink(name).map_err(|error| ("remove", error))?;
    Ok(Removal::Done)
}
