//! What S needs from whoever makes the file lists.

use std::io;
use std::sync::Arc;

use rsync_proto::flist::{EntryRef, Segment};
use rsync_proto::text::Place;
use rsync_proto::wire::{Ndx, NdxEncoder};

use crate::EngineError;
use crate::Outgoing;
use crate::outbox::Outbox;
use crate::tree::{ReadAt, TreeDir};

/// Makes the file lists of a sender, one after the other, and finds the files of their entries.
pub trait Lists {
    /// Makes the first list (without incremental recursion: the only one) and writes its entries, the
    /// end marker, id lists and error flags to `wire`.
    ///
    /// # Errors
    /// Those that end the transfer; entries that cannot be read are events.
    fn first(&mut self, wire: &mut ListWire<'_>) -> Result<Arc<Segment>, EngineError>;

    /// Makes the next list of incremental recursion: announces it to `wire`, then writes it.
    /// `None` when there is none.
    ///
    /// # Errors
    /// Those that end the transfer.
    fn next(&mut self, wire: &mut ListWire<'_>) -> Result<Option<Arc<Segment>>, EngineError>;

    /// Opens the content of `entry`.
    ///
    /// # Errors
    /// What the source says.
    fn open(&mut self, entry: EntryRef<'_>) -> io::Result<Box<dyn ReadAt>>;

    /// The directory that holds `entry`.
    ///
    /// # Errors
    /// What the source says.
    fn dir_of(&mut self, entry: EntryRef<'_>) -> io::Result<Arc<dyn TreeDir>>;

    /// Where `name`, the path of an entry of source directory number `origin`, is for messages.
    fn place<'a>(&'a self, origin: u32, name: &'a [u8]) -> Place<'a>;

    /// What stands in front of the name in `%f`.
    fn source_dir(&self, origin: u32) -> &[u8];

    /// Appends the values of extended attributes that `request` asks for, with the end mark; both are
    /// blocks of spec 04 §3.3.
    ///
    /// # Errors
    /// [`EngineError::Xattr`] for a number that is unknown or was asked for before.
    fn xattr_values(
        &mut self,
        entry: EntryRef<'_>,
        request: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), EngineError>;
}

/// Where lists are written to.
pub struct ListWire<'a> {
    pub(super) outbox: &'a mut Outbox,
    pub(super) ndx: &'a mut NdxEncoder,
    pub(super) outgoing: &'a Outgoing,
}

impl ListWire<'_> {
    /// Says that the content of directory number `dir` follows.
    ///
    /// # Errors
    /// Those of the link.
    pub fn announce(&mut self, dir: u32) -> Result<(), EngineError> {
        self.outbox.data::<EngineError>(|out| {
            self.ndx.encode(out, Ndx::SubList { dir });
            Ok(())
        })
    }

    /// Sends the next bytes of the list, after what was said while it was made: a client that gets an
    /// empty list listens no further.
    ///
    /// # Errors
    /// Those of the link.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        let Self { outbox, outgoing, .. } = self;
        outgoing.drain(|message| outbox.message(message))?;
        self.outbox.data::<EngineError>(|out| {
            out.extend_from_slice(bytes);
            Ok(())
        })
    }

    /// Keeps the connection alive while a long scan produces nothing.
    ///
    /// # Errors
    /// Those of the link.
    pub fn keep_alive(&mut self) -> Result<(), EngineError> {
        self.outbox.keep_alive_at_work()
    }
}

impl std::fmt::Debug for ListWire<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ListWire").finish_non_exhaustive()
    }
}
