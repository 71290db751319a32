//! Which compression the token streams use (spec 05 §9.6).

use std::fmt;

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

impl CompressionKind {
    /// Every algorithm, the preferred first.
    pub const ALL: [Self; 4] = [Self::Zstd, Self::Lz4, Self::Zlibx, Self::Zlib];

    /// The algorithm of a name given by `--compress-choice` or a peer's list, in any case.
    /// `none` and `auto` are no algorithm.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The name in peers' lists and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Zlib => "zlib",
            Self::Zlibx => "zlibx",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for CompressionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Algorithm and level of the token streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// The algorithm.
    pub kind: CompressionKind,
    /// Its level, already clamped to the algorithm's range.
    pub level: i32,
}

impl Compression {
    /// The compression of a session that agreed on `kind`, with the level of `--compress-level` if one
    /// was given; levels are clamped silently. `None` when the level turns compression off: then both
    /// ends use plain tokens.
    #[must_use]
    pub fn new(kind: CompressionKind, level: Option<i32>) -> Option<Self> {
        let level = match (kind, level) {
            (CompressionKind::Zlib | CompressionKind::Zlibx, Some(0)) => return None,
            (CompressionKind::Zlib | CompressionKind::Zlibx, None | Some(-1)) => 6,
            (CompressionKind::Zlib | CompressionKind::Zlibx, Some(level)) => level.clamp(1, 9),
            (CompressionKind::Lz4, _) => 0,
            (CompressionKind::Zstd, None | Some(0)) => 3,
            (CompressionKind::Zstd, Some(level)) => level.clamp(-131_072, 22),
        };
        Some(Self { kind, level })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        assert_eq!(CompressionKind::from_name(b"ZlibX"), Some(CompressionKind::Zlibx));
        assert_eq!(CompressionKind::from_name(b"none"), None);
    }

    #[test]
    fn levels_are_clamped_and_zero_turns_deflate_off() {
        let level = |kind, level| Compression::new(kind, level).map(|compression| compression.level);
        assert_eq!(level(CompressionKind::Zlib, Some(0)), None);
        assert_eq!(level(CompressionKind::Zlibx, None), Some(6));
        assert_eq!(level(CompressionKind::Zlibx, Some(99)), Some(9));
        assert_eq!(level(CompressionKind::Zstd, Some(0)), Some(3));
        assert_eq!(level(CompressionKind::Zstd, Some(99)), Some(22));
        assert_eq!(level(CompressionKind::Lz4, Some(5)), Some(0));
    }
}
