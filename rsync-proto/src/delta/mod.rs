//! Matching and token streams (spec 05 §6 to §9).

mod compression;

pub use compression::{Compression, CompressionKind};
