//! Which checksum algorithms a session uses (spec 05 §3.2, §3.3).

use std::fmt;

/// A strong checksum algorithm, with the seed placement that distinguishes its wire forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// MD4 as protocols 27 to 29 use it without a choice: the whole-file sum is seeded too.
    OldMd4,
    /// MD4 chosen by name.
    Md4,
    /// MD5 with the seed after the data: protocol 30 and later, nothing negotiated, no seed fix.
    Md5SeedLast,
    /// MD5 with the seed before the data.
    Md5,
    /// SHA-1.
    Sha1,
    /// XXH64.
    Xxh64,
    /// XXH3, 64 bits.
    Xxh3,
    /// XXH3, 128 bits.
    Xxh128,
    /// No checksum: whole files only, a single zero byte as their sum.
    None,
}

impl Checksum {
    /// Every algorithm.
    pub const ALL: [Self; 9] = [
        Self::OldMd4,
        Self::Md4,
        Self::Md5SeedLast,
        Self::Md5,
        Self::Sha1,
        Self::Xxh64,
        Self::Xxh3,
        Self::Xxh128,
        Self::None,
    ];

    /// A digest as people write it: the XXH family is shown as numbers, its bytes travel the other way
    /// round.
    #[must_use]
    pub fn shown(self, digest: &[u8]) -> Vec<u8> {
        let mut shown = digest.to_vec();
        if matches!(self, Self::Xxh64 | Self::Xxh3 | Self::Xxh128) {
            shown.reverse();
        }
        shown
    }

    /// The algorithm of a name given by `--checksum-choice` or a peer's list, in any case; `xxhash` is
    /// another name of xxh64. `auto` is no algorithm.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        const NAMES: [(&str, Checksum); 8] = [
            ("xxh128", Checksum::Xxh128),
            ("xxh3", Checksum::Xxh3),
            ("xxh64", Checksum::Xxh64),
            ("xxhash", Checksum::Xxh64),
            ("md5", Checksum::Md5),
            ("md4", Checksum::Md4),
            ("sha1", Checksum::Sha1),
            ("none", Checksum::None),
        ];
        NAMES.iter().find(|known| known.0.as_bytes().eq_ignore_ascii_case(name)).map(|known| known.1)
    }

    /// The name in peers' lists and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OldMd4 | Self::Md4 => "md4",
            Self::Md5SeedLast | Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Xxh64 => "xxh64",
            Self::Xxh3 => "xxh3",
            Self::Xxh128 => "xxh128",
            Self::None => "none",
        }
    }

    /// Length in bytes of a sum on the wire, 1 to 20.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no sum is empty")]
    pub fn len(self) -> usize {
        match self {
            Self::OldMd4 | Self::Md4 | Self::Md5SeedLast | Self::Md5 | Self::Xxh128 => 16,
            Self::Sha1 => 20,
            Self::Xxh64 | Self::Xxh3 => 8,
            Self::None => 1,
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The algorithms of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChecksumChoice {
    /// Block and whole-file sums of transfers.
    pub transfer: Checksum,
    /// The sums of `--checksum` in the file list.
    pub pre_transfer: Checksum,
}

impl ChecksumChoice {
    /// What is used when nothing was chosen or negotiated (spec 05 §3.2).
    #[must_use]
    pub fn implicit(modern: bool, seed_fix: bool) -> Self {
        match (modern, seed_fix) {
            (false, _) => Self { transfer: Checksum::OldMd4, pre_transfer: Checksum::Md4 },
            (true, false) => Self { transfer: Checksum::Md5SeedLast, pre_transfer: Checksum::Md5 },
            (true, true) => Self { transfer: Checksum::Md5, pre_transfer: Checksum::Md5 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case_and_lead_back() {
        assert_eq!(Checksum::from_name(b"XXHash"), Some(Checksum::Xxh64));
        assert_eq!(Checksum::from_name(b"auto"), None);
        for kind in Checksum::ALL {
            let found = Checksum::from_name(kind.to_string().to_uppercase().as_bytes());
            assert_eq!(found.map(Checksum::name), Some(kind.name()));
        }
    }
}
