//! File lists: their storage, order and numbering, and the codec of their bytes (spec 03).
//!
//! A list is an immutable [`Segment`]: the sender's scanner and the [`FileListDecoder`] fill a
//! [`SegmentBuilder`] in wire order, [`SegmentBuilder::finish`] sorts it, and a [`FileList`] holds
//! the live ones and answers file indexes.

mod builder;
mod clean;
mod codec;
mod columns;
mod decode;
mod dirs;
mod encode;
mod entry;
mod error;
mod guard;
mod idmap;
pub(crate) mod ids;
mod links;
mod list;
mod name;
mod order;
mod segment;

pub use builder::{Finish, SegmentBuilder};
pub use columns::Columns;
pub use decode::{FileListDecoder, Item, XattrNaming};
pub use dirs::DirTable;
pub use encode::FileListEncoder;
pub use entry::{DeviceNumber, Entry, EntryFlags, Inode, Kind, Link};
pub use error::FileListError;
pub use guard::{Admission, Conversion, Excluded, NameGuard, RequestGuard, Unconverted};
pub use idmap::{IdMap, IdMapError};
pub use ids::{IdNames, NoNames, Owner, OwnerNames};
pub use links::{LinkGroups, LinkTargets, MUNGE_PREFIX, target_inside};
pub use list::{FileList, ListHead};
pub use order::{Order, PathKey, split_path};
pub use segment::{EntryRef, Segment};

#[cfg(test)]
mod tests;
