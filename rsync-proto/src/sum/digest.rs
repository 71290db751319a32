//! Strong checksums: of blocks, of whole files and of the file list (spec 05 §3).

use std::fmt;
use std::ops::Deref;

use md4::Md4;
use md5::Md5;
use sha1::Sha1;
use sha1::digest::Digest as _;
use xxhash_rust::xxh3::{self, Xxh3};
use xxhash_rust::xxh64::{Xxh64, xxh64};

use super::Checksum;

/// A strong checksum as it goes over the wire: 1 to 20 bytes, kept inline.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SumBytes {
    bytes: [u8; Self::MAX_LEN],
    length: u8,
}

impl SumBytes {
    /// Length in bytes of the longest checksum.
    pub const MAX_LEN: usize = 20;

    fn new(sum: &[u8]) -> Self {
        let mut bytes = [0; Self::MAX_LEN];
        bytes[..sum.len()].copy_from_slice(sum);
        Self { bytes, length: sum.len() as u8 }
    }

    /// What the sender sends instead of this sum after a read error, so that the file is asked for
    /// again: zeros, or zeros and a one where the true sum is zero (spec 05 §11b).
    #[must_use]
    pub fn spoiled(&self) -> Self {
        let mut spoiled = Self { bytes: [0; Self::MAX_LEN], length: self.length };
        if spoiled == *self {
            spoiled.bytes[usize::from(self.length).saturating_sub(1)] = 1;
        }
        spoiled
    }
}

impl Deref for SumBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl fmt::Debug for SumBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Computes the strong checksum of data that arrives in pieces.
#[derive(Clone)]
pub struct Digest(State);

#[derive(Clone)]
enum State {
    Md4(Md4),
    Md5(Md5),
    Sha1(Sha1),
    Xxh64(Box<Xxh64>),
    Xxh3(Box<Xxh3>),
    Xxh128(Box<Xxh3>),
    None,
}

impl Digest {
    /// Starts the sum that follows the tokens of a file. `seed` is the session's; only the MD4 of old
    /// protocols hashes it here, even when it is 0.
    #[must_use]
    pub fn whole_file(kind: Checksum, seed: i32) -> Self {
        let mut digest = Self::pre_transfer(kind);
        if kind == Checksum::OldMd4 {
            digest.update(&seed.to_le_bytes());
        }
        digest
    }

    /// Starts an unseeded sum, as `--checksum` puts it into the file list.
    #[must_use]
    pub fn pre_transfer(kind: Checksum) -> Self {
        Self(match kind {
            Checksum::OldMd4 | Checksum::Md4 => State::Md4(Md4::new()),
            Checksum::Md5SeedLast | Checksum::Md5 => State::Md5(Md5::new()),
            Checksum::Sha1 => State::Sha1(Sha1::new()),
            Checksum::Xxh64 => State::Xxh64(Box::new(Xxh64::new(0))),
            Checksum::Xxh3 => State::Xxh3(Box::new(Xxh3::new())),
            Checksum::Xxh128 => State::Xxh128(Box::new(Xxh3::new())),
            Checksum::None => State::None,
        })
    }

    /// Hashes `data` after everything hashed before.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.0 {
            State::Md4(state) => state.update(data),
            State::Md5(state) => state.update(data),
            State::Sha1(state) => state.update(data),
            State::Xxh64(state) => state.update(data),
            State::Xxh3(state) | State::Xxh128(state) => state.update(data),
            State::None => {}
        }
    }

    /// The checksum of everything hashed.
    #[must_use]
    pub fn finish(self) -> SumBytes {
        match self.0 {
            State::Md4(state) => SumBytes::new(&state.finalize()),
            State::Md5(state) => SumBytes::new(&state.finalize()),
            State::Sha1(state) => SumBytes::new(&state.finalize()),
            State::Xxh64(state) => SumBytes::new(&state.digest().to_le_bytes()),
            State::Xxh3(state) => SumBytes::new(&state.digest().to_le_bytes()),
            State::Xxh128(state) => SumBytes::new(&state.digest128().to_le_bytes()),
            State::None => SumBytes::new(&[0]),
        }
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            State::Md4(_) => "md4",
            State::Md5(_) => "md5",
            State::Sha1(_) => "sha1",
            State::Xxh64(_) => "xxh64",
            State::Xxh3(_) => "xxh3",
            State::Xxh128(_) => "xxh128",
            State::None => "none",
        };
        f.debug_tuple("Digest").field(&name).finish()
    }
}

/// The strong checksum of one block, in full; a seed of 0 is not hashed (spec 05 §3.3).
///
/// [`Checksum::None`] has no block sums: it forces whole files. The answer for it is the zero byte.
#[must_use]
pub fn block_sum(kind: Checksum, seed: i32, block: &[u8]) -> SumBytes {
    match kind {
        Checksum::OldMd4 | Checksum::Md4 => seed_last::<Md4>(seed, block),
        Checksum::Md5SeedLast => seed_last::<Md5>(seed, block),
        Checksum::Md5 => seed_first::<Md5>(seed, block),
        Checksum::Sha1 => seed_first::<Sha1>(seed, block),
        Checksum::Xxh64 => SumBytes::new(&xxh64(block, wide(seed)).to_le_bytes()),
        Checksum::Xxh3 => SumBytes::new(&xxh3::xxh3_64_with_seed(block, wide(seed)).to_le_bytes()),
        Checksum::Xxh128 => SumBytes::new(&xxh3::xxh3_128_with_seed(block, wide(seed)).to_le_bytes()),
        Checksum::None => SumBytes::new(&[0]),
    }
}

fn seed_first<H: sha1::Digest>(seed: i32, block: &[u8]) -> SumBytes {
    let mut hash = H::new();
    if seed != 0 {
        hash.update(seed.to_le_bytes());
    }
    hash.update(block);
    SumBytes::new(&hash.finalize())
}

fn seed_last<H: sha1::Digest>(seed: i32, block: &[u8]) -> SumBytes {
    let mut hash = H::new();
    hash.update(block);
    if seed != 0 {
        hash.update(seed.to_le_bytes());
    }
    SumBytes::new(&hash.finalize())
}

/// The seed of the xxh family: sign-extended to 64 bits.
fn wide(seed: i32) -> u64 {
    i64::from(seed) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NEW: &[u8] = b"The quick brown fox suddenly jumps over the lazy dog.\n";

    fn reference() -> Vec<u8> {
        (0..1000_u32).map(|i| (7 * i) as u8).collect()
    }

    fn hex(sum: SumBytes) -> String {
        format!("{sum:?}")
    }

    #[test]
    fn block_sums_have_the_golden_values() {
        let golden = [
            (
                Checksum::Md4,
                "f554a8c72e129c3b9e7f239cf542dd1d",
                "52ac6923c9a57db62230e2540c17c674",
                "6e1f82c5e369a2d82aafcbd71dd13561",
            ),
            (
                Checksum::OldMd4,
                "f554a8c72e129c3b9e7f239cf542dd1d",
                "52ac6923c9a57db62230e2540c17c674",
                "6e1f82c5e369a2d82aafcbd71dd13561",
            ),
            (
                Checksum::Md5,
                "7c5cca6f5f9255de7713f8130dae6420",
                "38d40b2cd0d055214901192eb35c8a19",
                "03c729679ca3252a4735c4148b7c11e3",
            ),
            (
                Checksum::Md5SeedLast,
                "4ddfb1b585bf4034c95b14b0d2e90645",
                "5af909f873ed8610d0e17a75ef7d250b",
                "03c729679ca3252a4735c4148b7c11e3",
            ),
            (
                Checksum::Sha1,
                "15b9288ea706b4a1442cf7de6e66d633037b4d64",
                "45e280acff52b8a02e88012a18b4affb207e8705",
                "4d39faadbf264f3fb59268228994276c36fc3172",
            ),
            (Checksum::Xxh64, "976b46cb357efc9e", "00c8e1059af1cb3d", "22cfb15a471939db"),
            (Checksum::Xxh3, "dbbb04c33911eea8", "ba2e8f968627cb09", "f71912eb9e9bbdf4"),
            (
                Checksum::Xxh128,
                "be5ffec97d9cbb9e75ea57c2d0cffa0c",
                "da0821c3551fc0a2a9338ede6ec367de",
                "0e73d4b8fae73775fa1822548138f660",
            ),
        ];
        for (kind, positive, negative, unseeded) in golden {
            for (seed, want) in [(12345, positive), (-12345, negative), (0, unseeded)] {
                let sum = block_sum(kind, seed, b"The quick ");
                assert_eq!(hex(sum), want, "{kind:?} seed {seed}");
                assert_eq!(sum.len(), kind.len());
            }
        }
    }

    #[test]
    fn block_sums_of_the_long_reference_have_the_golden_values() {
        let golden = [
            (Checksum::Md4, "76ff11ae383cf8954d616af771131471"),
            (Checksum::Md5, "6b319c1283e811d5f67f48bb86ffdbeb"),
            (Checksum::Sha1, "1f0c484f38b165ea2175a72b33ee8f24227a4eef"),
            (Checksum::Xxh64, "3c51332ed23bd229"),
            (Checksum::Xxh3, "1d0793db5c218856"),
            (Checksum::Xxh128, "1d0793db5c21885611f3ddf6f27dcc3a"),
        ];
        for (kind, want) in golden {
            assert_eq!(hex(block_sum(kind, 12345, &reference())), want, "{kind:?}");
        }
    }

    #[test]
    fn whole_file_sums_have_the_golden_values() {
        let golden = [
            (
                Checksum::OldMd4,
                12345,
                "688022c841e2813519ad28a82013eea9",
                "e75579e37f8b101855bb9f7b1dc8f56a",
                "c5b3019c24f4a85fc973504cffbe41d2",
            ),
            (
                Checksum::OldMd4,
                0,
                "1b06b0037d44bcc91f0b2653e4e5ccd5",
                "e32922912b4c9c49f84ce58a57f33686",
                "999ddf324c55ec5a39232640cf1f42c4",
            ),
            (
                Checksum::Md4,
                12345,
                "31d6cfe0d16ae931b73c59d7e0c089c0",
                "cf0a1b4332b4cc8d806f19fd1e93440f",
                "73f9361598e07d54af56b96de7a98213",
            ),
            (
                Checksum::Md5,
                12345,
                "d41d8cd98f00b204e9800998ecf8427e",
                "680bc2064e20d9d55981bb594b28cc5d",
                "de809ff794e91b68f9e91a2b7030bcb0",
            ),
            (
                Checksum::Md5SeedLast,
                12345,
                "d41d8cd98f00b204e9800998ecf8427e",
                "680bc2064e20d9d55981bb594b28cc5d",
                "de809ff794e91b68f9e91a2b7030bcb0",
            ),
            (
                Checksum::Sha1,
                12345,
                "da39a3ee5e6b4b0d3255bfef95601890afd80709",
                "ad0714fdffb951c91c464845f303d8ce30dcbb8e",
                "38f3aa587f4aa04965a359f9151092759b3a4c2a",
            ),
            (Checksum::Xxh64, 12345, "99e9d85137db46ef", "e9d92d234731815f", "68c1cfa908562725"),
            (Checksum::Xxh3, 12345, "c294d3380580062d", "20104b414c701a64", "30c826442630ad10"),
            (
                Checksum::Xxh128,
                12345,
                "7f498d4624c30160d8984701d306aa99",
                "845be856c75089121e19801dece44d63",
                "30c826442630ad106dd7dada9c22eeab",
            ),
            (Checksum::None, 12345, "00", "00", "00"),
        ];
        for (kind, seed, empty, new, long) in golden {
            for (data, want) in [(&b""[..], empty), (NEW, new), (&reference()[..], long)] {
                let mut digest = Digest::whole_file(kind, seed);
                digest.update(data);
                assert_eq!(hex(digest.finish()), want, "{kind:?} seed {seed}");
            }
        }
    }

    #[test]
    fn a_spoiled_sum_never_equals_the_true_one() {
        let sum = block_sum(Checksum::Md5, 0, b"x");
        assert_eq!(*sum.spoiled(), [0; 16]);
        let zero = SumBytes::new(&[0; 8]);
        assert_eq!(*zero.spoiled(), [0, 0, 0, 0, 0, 0, 0, 1]);
    }

    proptest! {
        #[test]
        fn hashing_in_pieces_equals_hashing_at_once(
            data in proptest::collection::vec(any::<u8>(), 0..2000),
            cut in any::<prop::sample::Index>(),
        ) {
            let cut = cut.index(data.len() + 1);
            for kind in Checksum::ALL {
                let mut whole = Digest::pre_transfer(kind);
                whole.update(&data);
                let mut pieces = Digest::pre_transfer(kind);
                pieces.update(&data[..cut]);
                pieces.update(&data[cut..]);
                prop_assert_eq!(whole.clone().finish(), pieces.finish());
                prop_assert_eq!(whole.finish(), block_sum(kind, 0, &data));
            }
        }
    }
}
