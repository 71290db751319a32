//! File lists: their storage, order and numbering, and the codec of their bytes (spec 03).
//!
//! A list is an immutable [`Segment`]: the sender's scanner and the [`FileListDecoder`] fill a
//! [`SegmentBuilder`] in wire order, [`SegmentBuilder::finish`] sorts it, and a [`FileList`] holds
//! the live ones and answers file indexes.

mod builder;
mod clean;
mod columns;
mod dirs;
mod entry;
mod error;
mod links;
mod list;
mod order;
mod segment;

pub use builder::{Finish, SegmentBuilder};
pub use columns::Columns;
pub use dirs::DirTable;
pub use entry::{DeviceNumber, Entry, EntryFlags, Inode, Kind, Link};
pub use error::FileListError;
pub use links::LinkGroups;
pub use list::{FileList, ListHead};
pub use order::{Order, PathKey, split_path};
pub use segment::{EntryRef, Segment};
