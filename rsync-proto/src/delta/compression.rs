//! Which compression the token streams use (spec 05 §9.6).

/// A compression algorithm of the token streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompressionKind {
    /// Deflate with matched data inserted into the history ("old").
    Zlib,
    /// Deflate of the literal data alone.
    Zlibx,
    /// One LZ4 block a record.
    Lz4,
    /// One Zstandard stream a session.
    Zstd,
}

/// Algorithm and level of the token streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// The algorithm.
    pub kind: CompressionKind,
    /// Its level, already clamped to the algorithm's range.
    pub level: i32,
}
