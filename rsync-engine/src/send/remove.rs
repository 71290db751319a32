//! `--remove-source-files`: removes what the receiving side reports to be in place (spec 07 §13).

use std::io;

use rsync_proto::flist::{EntryRef, Kind};
use rsync_proto::options::RemoveSource;
use rsync_proto::text::{Failure, Message};

use super::lists::Lists;
use super::run::Sender;
use crate::EngineError;

impl<L: Lists> Sender<'_, L> {
    /// Removes the source of `index`, unless it changed since it was listed.
    pub(super) fn remove_source(&mut self, index: u32) -> Result<(), EngineError> {
        self.ledger.find(index, "successful_send")?;
        let Some(list) = self.files.list_of(index).cloned() else { return Ok(()) };
        let Some(entry) = list.by_index(index) else { return Ok(()) };
        let options = &self.session.options;
        if options.remove_source == RemoveSource::No || options.dry_run || entry.is_dir() {
            return Ok(());
        }
        let name = entry.path();
        match self.unlink(entry) {
            Ok(true) => self.say(Message::SenderRemoved(&name)),
            Ok(false) => {
                self.session.errors.transfer_error();
                self.say(Message::RemoveChanged(&name));
            }
            Err((_, error)) if error.kind() == io::ErrorKind::NotFound => {
                self.say(Message::SenderAlreadyRemoved(&name));
            }
            Err((verb, error)) => self.failed(Failure::RemoveSource(verb, &name), &error),
        }
        self.send_messages()
    }

    /// Removes a file; answers `false` if it is not the one that was listed.
    fn unlink(&mut self, entry: EntryRef<'_>) -> Result<bool, (&'static str, io::Error)> {
        let dir = self.lists.dir_of(entry).map_err(|error| ("secure-open-parent", error))?;
        let Some(local) = dir.local() else {
            return Err(("remove", io::ErrorKind::Unsupported.into()));
        };
        let follow = self.session.options.copy_links && entry.kind() == Kind::File;
        let stat = dir.stat(entry.name(), follow).map_err(|error| ("re-lstat", error))?.stat;
        let nsec_differs = entry.nsec() != 0 && stat.mtime.1 != entry.nsec();
        let size_differs = entry.kind() == Kind::File && stat.size != entry.size();
        if size_differs || stat.mtime.0 != entry.mtime() || nsec_differs {
            return Ok(false);
        }
        local.unlink(entry.name()).map_err(|error| ("remove", error))?;
        Ok(true)
    }
}
