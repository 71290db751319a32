//! The generator: decides what happens to each entry, asks for content, and does what needs none
//! (spec 07).

mod alternate;
mod attributes;
mod delete;
mod dirs;
mod entry;
mod file;
mod fuzzy;
pub(crate) mod judge;
mod links;
mod nodes;
mod peer;
mod renamed;
mod run;
mod similar;
mod wire;

pub(crate) use delete::Deleter;
pub(crate) use peer::Peer;
pub(crate) use renamed::open as open_renamed;
pub(crate) use run::{Ended, Generator};
pub(crate) use wire::Wire;
