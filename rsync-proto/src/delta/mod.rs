//! Matching and token streams (spec 05 §6 to §9).

mod compression;
mod deflate;
mod index;
mod lz4;
mod matcher;
mod plain;
mod records;
mod table;
mod token;
mod zstd;

pub use compression::{Compression, CompressionKind};
pub use matcher::{MatchRules, MatchStats, Matcher, Sink, Source, send_literals};
pub use table::SumTable;
pub use token::{Token, TokenDecoder, TokenEncoder, TokenError};
