//! Which checksum algorithms a session uses (spec 05 §3.2, §3.3).

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
