//! The strings in which both ends list their checksums and compressions (spec 01 §4.3).

use bstr::{BString, ByteSlice};

use crate::delta::CompressionKind;
use crate::sum::Checksum;
use crate::wire::{Cursor, WireError, put_vstring, vstring};

/// Longest list either side takes, in bytes.
const LIST_LIMIT: usize = 255;
/// What is sent in place of a list that names only unknown algorithms.
const INVALID: &str = "INVALID";

/// What is being agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlgorithmKind {
    /// Block and file sums.
    Checksum,
    /// Token streams.
    Compress,
}

impl AlgorithmKind {
    /// The word in messages and option names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Checksum => "checksum",
            Self::Compress => "compress",
        }
    }

    fn defaults(self) -> &'static [&'static str] {
        match self {
            Self::Checksum => &["xxh128", "xxh3", "xxh64", "md5", "md4", "sha1"],
            Self::Compress => &["zstd", "lz4", "zlibx", "zlib"],
        }
    }

    /// The main name of an algorithm, if `name` is one that we have; `none` is.
    fn canonical(self, name: &[u8]) -> Option<&'static str> {
        match self {
            Self::Checksum => Checksum::from_name(name).map(Checksum::name),
            Self::Compress if name.eq_ignore_ascii_case(b"none") => Some("none"),
            Self::Compress => CompressionKind::from_name(name).map(CompressionKind::name),
        }
    }
}

/// One side's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AlgorithmList {
    kind: AlgorithmKind,
    names: Vec<&'static str>,
    /// The environment asked for another order or choice than the usual one.
    pub(super) is_custom: bool,
}

impl AlgorithmList {
    /// Our list, where `variable` is the environment's `RSYNC_CHECKSUM_LIST` or `RSYNC_COMPRESS_LIST`.
    pub(super) fn ours(kind: AlgorithmKind, variable: Option<&[u8]>, is_server: bool) -> Self {
        let variable = variable.unwrap_or_default();
        let text = match variable.split_once_str("&") {
            Some((client, server)) => {
                if is_server {
                    server
                } else {
                    client
                }
            }
            None => variable,
        };
        if text.trim().is_empty() {
            let none = is_server.then_some("none");
            let names = kind.defaults().iter().copied().chain(none).collect();
            return Self { kind, names, is_custom: false };
        }
        let mut names = Vec::new();
        for name in text.fields().filter_map(|name| kind.canonical(name)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Self { kind, names, is_custom: true }
    }

    /// A list of one name.
    pub(super) fn only(kind: AlgorithmKind, name: &'static str) -> Self {
        Self { kind, names: vec![name], is_custom: true }
    }

    /// Whether `name` is in it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(&name)
    }

    /// The text that is sent and shown.
    pub(super) fn text(&self) -> String {
        if self.names.is_empty() { INVALID.to_owned() } else { self.names.join(" ") }
    }

    /// Appends the list as it travels.
    pub(super) fn put(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        put_vstring(out, self.text().as_bytes())
    }

    /// The first name of ours that the peer lists too.
    pub(super) fn first_of_ours(&self, peer: &[u8]) -> Option<&'static str> {
        let theirs: Vec<_> = names(peer).filter_map(|name| self.kind.canonical(name)).collect();
        self.names.iter().copied().find(|name| theirs.contains(name))
    }

    /// The first name of the peer's that we list too.
    pub(super) fn first_of_theirs(&self, peer: &[u8]) -> Option<&'static str> {
        names(peer).filter_map(|name| self.kind.canonical(name)).find(|name| self.has(name))
    }
}

fn names(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split_str(" ").filter(|name| !name.is_empty())
}

/// Decodes a peer's list.
pub(super) fn peer_list(input: &mut Cursor<'_>) -> Result<BString, WireError> {
    vstring(input, LIST_LIMIT).map(BString::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(kind: AlgorithmKind, variable: &str, is_server: bool) -> AlgorithmList {
        AlgorithmList::ours(kind, Some(variable.as_bytes()), is_server)
    }

    #[test]
    fn usual_lists_are_sent_as_recorded() {
        let mut out = Vec::new();
        for (is_server, kind) in [
            (true, AlgorithmKind::Checksum),
            (true, AlgorithmKind::Compress),
            (false, AlgorithmKind::Checksum),
            (false, AlgorithmKind::Compress),
        ] {
            AlgorithmList::ours(kind, None, is_server).put(&mut out).expect("short");
        }
        let expected = b"\x23xxh128 xxh3 xxh64 md5 md4 sha1 none\x18zstd lz4 zlibx zlib none\
            \x1exxh128 xxh3 xxh64 md5 md4 sha1\x13zstd lz4 zlibx zlib";
        assert_eq!(out.as_bstr(), expected.as_bstr());
    }

    #[test]
    fn the_environment_chooses_and_orders() {
        use AlgorithmKind::{Checksum, Compress};
        for (kind, variable, is_server, expected) in [
            (Checksum, "md5 foo XXHASH\tmd5", false, "md5 xxh64"),
            (Checksum, "md5&md4 none", false, "md5"),
            (Checksum, "md5&md4 none", true, "md4 none"),
            (Checksum, " ", false, "xxh128 xxh3 xxh64 md5 md4 sha1"),
            (Checksum, "foo", false, "INVALID"),
            (Compress, "foo&", true, "zstd lz4 zlibx zlib none"),
        ] {
            assert_eq!(list(kind, variable, is_server).text(), expected, "{variable}");
        }
    }

    #[test]
    fn choices_follow_the_asked_order() {
        let ours = list(AlgorithmKind::Checksum, "md5 xxh64", false);
        assert_eq!(ours.first_of_ours(b"  XXHASH md5"), Some("md5"));
        assert_eq!(ours.first_of_theirs(b"sha1 XXHASH md5"), Some("xxh64"));
        assert_eq!(ours.first_of_ours(b"xxh64\tmd5"), None);
    }
}
