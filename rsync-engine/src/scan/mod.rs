//! Building file lists: from source arguments to entries in the sender's order (spec 03 §4, §8; 06 §9).
//!
//! A [`Scan`] makes one list after the other when it is asked to: the first from the arguments, each
//! later one from a directory, depth first. Entries go to a [`ListSink`] as they are found (that is
//! their order on the wire) and come back as a sorted [`Segment`](rsync_proto::flist::Segment).

mod args;
mod attributes;
mod facts;
mod files;
mod links;
pub(crate) use links::is_unsafe;
mod lists;
mod request;
#[cfg(test)]
mod tests;
mod walk;
mod wildcards;

pub use args::{ArgForm, DotDotInName, SourceArg};
pub(crate) use attributes::{AttributeSource, SentTables, SourceAttributes, follows_links};
pub use facts::{ChangeMode, ReadAttributes};
pub use lists::{ListSink, Scan, ScanRequest, ScannedList};
pub use wildcards::{TooManyNames, expand_anywhere, expand_wildcards};
