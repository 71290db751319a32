//! What rsync says: typed events, and their rendering to text without printing any of it.
//!
//! The engine emits borrowed [`Event`]s to an [`EventSink`]; a program renders them with the parts of
//! this module and decides the stream, a server puts the same text into messages for its client.
//! Every text exists once: fixed ones in [`message`] and [`failure`], lines made of numbers in
//! [`summary`], [`progress`], [`list`], and per-item lines in [`itemize`] and [`format`]
//! (spec 07 §3, §15 to §21).

pub mod event;
pub mod failure;
pub mod message;
pub mod place;
pub mod summary;

pub use event::{
    Direction, EntryFacts, EntryKind, Event, EventSink, Item, Progress, Role, Severity, Stage, Topic,
};
pub use failure::{Failure, SystemFailure};
pub use message::{ExistsDetail, Kept, Message, OptionDir};
pub use place::Place;
pub use summary::{KindCounts, Totals};
