//! From connect to the first byte of the file list (spec 01).

mod negotiated;

pub use negotiated::{CompatFlags, NEWEST_PROTOCOL, Negotiated, OLDEST_PROTOCOL};
