//! The four numbers that describe the blocks of a basis, and how they are chosen (spec 05 §4).

use crate::exit::ExitCode;
use crate::session::Negotiated;
use crate::text::Role;
use crate::wire::{Cursor, NeedsInput, WireError};

/// Describes the block sums of one basis file (SUMHEAD, 16 bytes on the wire).
///
/// All zero ([`SumHead::NULL`]) says that there is no basis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SumHead {
    /// Number of blocks.
    pub count: u32,
    /// Length of a block in bytes; not 0 if there are blocks.
    pub block_len: u32,
    /// Bytes of the strong sum sent for each block.
    pub strong_len: u32,
    /// Length of the last block in bytes; 0 says that it is as long as the others.
    pub remainder: u32,
}

/// What a [`SumHead`] from a peer is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SumHeadLimits {
    /// Longest block in bytes.
    pub block_len: u32,
    /// Length in bytes of a full strong sum.
    pub digest_len: u32,
    /// Largest number of blocks the reader keeps sums of.
    pub count: u32,
    /// Who reads, for the error text.
    pub role: Role,
}

impl SumHeadLimits {
    /// The number of blocks whose sums fit the default `--max-alloc` of 1 GiB in the C rsync.
    pub const DEFAULT_COUNT: u32 = 33_554_432;

    /// The limits of a session, with the default limit on the number of blocks.
    #[must_use]
    pub fn new(negotiated: &Negotiated, role: Role) -> Self {
        Self {
            block_len: negotiated.max_block_len(),
            digest_len: negotiated.checksum.transfer.len() as u32,
            count: Self::DEFAULT_COUNT,
            role,
        }
    }
}

/// Why a [`SumHead`] was refused; the texts are those of the C rsync.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SumHeadError {
    /// The head is not there completely.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The number of blocks is negative.
    #[error("Invalid checksum count {count} [{}]", role.name())]
    Count {
        /// The value received.
        count: i32,
        /// Who reads.
        role: Role,
    },
    /// The block length is negative or above the limit of the protocol.
    #[error("Invalid block length {block_len} [{}]", role.name())]
    BlockLen {
        /// The value received.
        block_len: i32,
        /// Who reads.
        role: Role,
    },
    /// There are blocks, but of no length.
    #[error("Invalid zero block length [{}]", role.name())]
    ZeroBlockLen {
        /// Who reads.
        role: Role,
    },
    /// The strong sums are negative or longer than the algorithm's.
    #[error("Invalid checksum length {strong_len} [{}]", role.name())]
    StrongLen {
        /// The value received.
        strong_len: i32,
        /// Who reads.
        role: Role,
    },
    /// The last block is negative or longer than the others.
    #[error("Invalid remainder length {remainder} [{}]", role.name())]
    Remainder {
        /// The value received.
        remainder: i32,
        /// Who reads.
        role: Role,
    },
    /// There are more blocks than the reader may keep sums of.
    #[error("[{}] exceeded --max-alloc={} setting ({count} block sums)", role.name(), u64::from(*.limit) * 32)]
    TooManyBlocks {
        /// The value received.
        count: u32,
        /// The limit that is in force.
        limit: u32,
        /// Who reads.
        role: Role,
    },
}

impl SumHeadError {
    /// What rsync calls this error.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::TooManyBlocks { .. } => ExitCode::MEMORY,
            _ => ExitCode::PROTOCOL,
        }
    }
}

impl NeedsInput for SumHeadError {
    fn missing(&self) -> Option<usize> {
        match self {
            Self::Wire(error) => error.missing(),
            _ => None,
        }
    }
}

/// What decides the block length and the length of the strong sums of a basis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SumHeadSizing {
    /// `--block-size` in bytes, or 0 to derive it from the length of the basis.
    pub block_size: u32,
    /// Longest block in bytes ([`Negotiated::max_block_len`]).
    pub max_block_len: u32,
    /// Length in bytes of a full strong sum.
    pub digest_len: u32,
    /// The file is asked for again after its verification failed: strong sums are sent in full.
    pub redo: bool,
}

impl SumHead {
    /// No basis.
    pub const NULL: Self = Self { count: 0, block_len: 0, strong_len: 0, remainder: 0 };

    /// Chooses the blocks of a basis of `len` bytes, the null head if it is empty (spec 05 §4.2).
    ///
    /// `None` when the blocks cannot be counted in 31 bits; rsync then warns `file is too large for
    /// checksum sending` and sends the null head.
    #[must_use]
    pub fn for_basis(len: u64, sizing: &SumHeadSizing) -> Option<Self> {
        if len == 0 {
            return Some(Self::NULL);
        }
        let block_len = match sizing.block_size {
            0 if len <= 490_000 => 700,
            0 => (len.isqrt() / 8 * 8).clamp(700, u64::from(sizing.max_block_len)),
            given => u64::from(given),
        };
        let longest = sizing.digest_len.min(16);
        let strong_len = if sizing.redo {
            longest
        } else {
            let bits = (10 + 2 * len.ilog2()).saturating_sub(block_len.ilog2());
            (bits.saturating_sub(24) / 8).max(2).min(longest)
        };
        let count = i32::try_from(len.div_ceil(block_len)).ok()?;
        Some(Self {
            count: count as u32,
            block_len: block_len as u32,
            strong_len,
            remainder: (len % block_len) as u32,
        })
    }

    /// Decodes a head and checks it (spec 05 §4.3).
    ///
    /// # Errors
    /// [`WireError::Incomplete`] below 16 bytes, else the first rule the numbers break.
    pub fn decode(input: &mut Cursor<'_>, limits: &SumHeadLimits) -> Result<Self, SumHeadError> {
        let role = limits.role;
        let mut whole = Cursor::new(input.take(16)?);
        let [count, block_len, strong_len, remainder] =
            [whole.i32()?, whole.i32()?, whole.i32()?, whole.i32()?];
        let within = |value: i32, limit: u32| u32::try_from(value).ok().filter(|&value| value <= limit);
        let head = Self {
            count: within(count, u32::MAX).ok_or(SumHeadError::Count { count, role })?,
            block_len: within(block_len, limits.block_len)
                .filter(|&block_len| block_len > 0 || count == 0)
                .ok_or(match block_len {
                0 => SumHeadError::ZeroBlockLen { role },
                _ => SumHeadError::BlockLen { block_len, role },
            })?,
            strong_len: within(strong_len, limits.digest_len)
                .ok_or(SumHeadError::StrongLen { strong_len, role })?,
            remainder: within(remainder, block_len as u32)
                .ok_or(SumHeadError::Remainder { remainder, role })?,
        };
        if head.count > limits.count {
            return Err(SumHeadError::TooManyBlocks { count: head.count, limit: limits.count, role });
        }
        Ok(head)
    }

    /// Encodes the head.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for value in [self.count, self.block_len, self.strong_len, self.remainder] {
            out.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// Whether there is no block.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.count == 0
    }

    /// Length in bytes of the last block.
    #[must_use]
    pub fn last_len(&self) -> u32 {
        if self.remainder == 0 { self.block_len } else { self.remainder }
    }

    /// Length in bytes of block `index`.
    #[must_use]
    pub fn len_of(&self, index: u32) -> u32 {
        if index + 1 == self.count { self.last_len() } else { self.block_len }
    }

    /// Where block `index` starts in the basis, in bytes.
    #[must_use]
    pub fn offset_of(&self, index: u32) -> u64 {
        u64::from(index) * u64::from(self.block_len)
    }

    /// Length in bytes of the basis that was described; in append mode the prefix that both ends have.
    #[must_use]
    pub fn basis_len(&self) -> u64 {
        match self.count.checked_sub(1) {
            Some(last) => self.offset_of(last) + u64::from(self.last_len()),
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::CompatFlags;
    use proptest::prelude::*;

    const MODERN: SumHeadSizing =
        SumHeadSizing { block_size: 0, max_block_len: 131_072, digest_len: 16, redo: false };

    fn limits() -> SumHeadLimits {
        SumHeadLimits {
            block_len: 131_072,
            digest_len: 16,
            count: SumHeadLimits::DEFAULT_COUNT,
            role: Role::Sender,
        }
    }

    fn decode(words: [i32; 4]) -> Result<SumHead, SumHeadError> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        SumHead::decode(&mut Cursor::new(&bytes), &limits())
    }

    #[test]
    fn blocks_are_sized_as_the_table_says() {
        let old = SumHeadSizing { max_block_len: 536_870_912, ..MODERN };
        let thousand = SumHeadSizing { block_size: 1000, ..MODERN };
        let golden = [
            (1, MODERN, (700, 2, 1, 1)),
            (700, MODERN, (700, 2, 0, 1)),
            (490_001, MODERN, (700, 2, 1, 701)),
            (500_000, MODERN, (704, 2, 160, 711)),
            (1_048_575, MODERN, (1016, 2, 63, 1033)),
            (123_456_789, MODERN, (11104, 3, 2517, 11119)),
            (4_294_967_301, MODERN, (65536, 4, 5, 65537)),
            (17_179_869_183, MODERN, (131_064, 4, 63, 131_081)),
            (17_179_869_185, MODERN, (131_072, 4, 1, 131_073)),
            (1_000_000_000_000, MODERN, (131_072, 5, 69632, 7_629_395)),
            (10_000_000_000_000, MODERN, (131_072, 6, 40960, 76_293_946)),
            (1_000_000_000_000, old, (1_000_000, 5, 0, 1_000_000)),
            (1_000_000_000, thousand, (1000, 4, 0, 1_000_000)),
        ];
        for (len, sizing, (block_len, strong_len, remainder, count)) in golden {
            let head = SumHead::for_basis(len, &sizing).expect("countable");
            assert_eq!(head, SumHead { count, block_len, strong_len, remainder }, "{len}");
            assert_eq!(head.basis_len(), len);
        }
    }

    #[test]
    fn a_redo_asks_for_full_sums() {
        let redo = SumHeadSizing { redo: true, ..MODERN };
        assert_eq!(SumHead::for_basis(45, &redo).expect("countable").strong_len, 16);
        let short = SumHeadSizing { digest_len: 8, ..redo };
        assert_eq!(SumHead::for_basis(45, &short).expect("countable").strong_len, 8);
        let long = SumHeadSizing { digest_len: 20, ..redo };
        assert_eq!(SumHead::for_basis(45, &long).expect("countable").strong_len, 16);
    }

    #[test]
    fn an_empty_basis_is_null_and_an_uncountable_one_is_refused() {
        assert_eq!(SumHead::for_basis(0, &MODERN), Some(SumHead::NULL));
        let tiny = SumHeadSizing { block_size: 1, ..MODERN };
        assert_eq!(SumHead::for_basis(1 << 31, &tiny), None);
        assert!(SumHead::for_basis((1 << 31) - 1, &tiny).is_some());
        assert_eq!(SumHead::for_basis(u64::MAX, &MODERN), None);
    }

    #[test]
    fn the_golden_head_survives_the_wire() {
        let head = SumHead { count: 5, block_len: 10, strong_len: 2, remainder: 5 };
        let mut out = Vec::new();
        head.encode(&mut out);
        assert_eq!(out, [5, 0, 0, 0, 10, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0]);
        assert_eq!(SumHead::decode(&mut Cursor::new(&out), &limits()), Ok(head));
        assert_eq!(head.basis_len(), 45);
    }

    #[test]
    fn broken_rules_are_told_in_the_words_of_rsync() {
        let golden = [
            ([-1, 10, 2, 5], "Invalid checksum count -1 [sender]"),
            ([5, -1, 2, 5], "Invalid block length -1 [sender]"),
            ([5, 131_073, 2, 5], "Invalid block length 131073 [sender]"),
            ([5, 0, 2, 5], "Invalid zero block length [sender]"),
            ([5, 10, -2, 5], "Invalid checksum length -2 [sender]"),
            ([5, 10, 17, 5], "Invalid checksum length 17 [sender]"),
            ([5, 10, 2, -5], "Invalid remainder length -5 [sender]"),
            ([5, 10, 2, 11], "Invalid remainder length 11 [sender]"),
        ];
        for (words, text) in golden {
            let error = decode(words).expect_err(text);
            assert_eq!(error.to_string(), text);
            assert_eq!(error.exit_code(), ExitCode::PROTOCOL);
        }
        let error = decode([33_554_433, 700, 2, 0]).expect_err("too many");
        assert_eq!(error.exit_code(), ExitCode::MEMORY);
    }

    #[test]
    fn a_full_remainder_and_a_null_count_with_other_fields_are_tolerated() {
        assert_eq!(decode([1, 10, 2, 10]).expect("tolerated").last_len(), 10);
        assert!(decode([0, 10, 2, 3]).expect("tolerated").is_null());
    }

    #[test]
    fn the_limits_follow_the_protocol() {
        let old = Negotiated::new(29, CompatFlags::default());
        assert_eq!(SumHeadLimits::new(&old, Role::Receiver).block_len, 536_870_912);
        let modern = Negotiated::new(31, CompatFlags::default());
        assert_eq!(SumHeadLimits::new(&modern, Role::Receiver).block_len, 131_072);
    }

    proptest! {
        #[test]
        fn every_accepted_head_describes_a_basis(words: [i32; 4]) {
            if let Ok(head) = decode(words) {
                prop_assert!(head.basis_len() <= u64::from(head.count) * u64::from(head.block_len));
            }
        }
    }
}
