//! Building file lists: from source arguments to entries in the sender's order (spec 03 §4, §8; 06 §9).

mod args;
mod links;

pub use args::{ArgForm, DotDotInName, SourceArg};
