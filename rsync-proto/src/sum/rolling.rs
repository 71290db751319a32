//! The weak checksum that slides over a file byte by byte (spec 05 §2).
//!
//! The matcher rolls it, the generator computes it block by block.

/// The weak checksum of a window of bytes, able to move by one byte.
///
/// Bytes count as signed. Both halves wrap at 32 bits and are masked when read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rolling {
    pub(crate) s1: u32,
    pub(crate) s2: u32,
}

/// Lanes of the block computation: two SSE2 registers of 16-bit sums.
const LANES: usize = 16;

impl Rolling {
    /// The checksum of `window`, which may have any length.
    #[must_use]
    pub fn of(window: &[u8]) -> Self {
        // Lane l keeps the sum of its bytes and the sum of that sum after every row, both modulo
        // 2^16, which is all the checksum shows. Row r of n weighs its bytes by n - r in the second.
        let mut plain = [0_u16; LANES];
        let mut weighted = [0_u16; LANES];
        let (rows, rest) = window.as_chunks::<LANES>();
        for row in rows {
            for lane in 0..LANES {
                plain[lane] = plain[lane].wrapping_add(signed(row[lane]) as u16);
                weighted[lane] = weighted[lane].wrapping_add(plain[lane]);
            }
        }
        let mut sum = Self::default();
        for lane in 0..LANES {
            let (lane_plain, lane_weighted) = (u32::from(plain[lane]), u32::from(weighted[lane]));
            sum.s1 = sum.s1.wrapping_add(lane_plain);
            sum.s2 = sum
                .s2
                .wrapping_add(lane_weighted.wrapping_mul(LANES as u32))
                .wrapping_sub(lane_plain.wrapping_mul(lane as u32));
        }
        for &byte in rest {
            sum.s1 = sum.s1.wrapping_add(signed(byte));
            sum.s2 = sum.s2.wrapping_add(sum.s1);
        }
        sum
    }

    /// The 32-bit value that goes over the wire.
    #[must_use]
    pub fn value(self) -> u32 {
        (self.s1 & 0xffff) | (self.s2 << 16)
    }

    /// Moves a window of `length` bytes one byte on: `leaving` was its first byte, `entering` is its last.
    #[inline]
    pub fn roll(&mut self, length: u32, leaving: u8, entering: u8) {
        self.s1 = self.s1.wrapping_sub(signed(leaving)).wrapping_add(signed(entering));
        self.s2 = self.s2.wrapping_sub(length.wrapping_mul(signed(leaving))).wrapping_add(self.s1);
    }

    /// Drops the first byte, `leaving`, of a window of `length` bytes: what happens at the end of a file.
    pub fn shrink(&mut self, length: u32, leaving: u8) {
        self.s1 = self.s1.wrapping_sub(signed(leaving));
        self.s2 = self.s2.wrapping_sub(length.wrapping_mul(signed(leaving)));
    }
}

#[inline]
fn signed(byte: u8) -> u32 {
    i32::from(byte as i8) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn weak_sums_have_the_golden_values() {
        let reference: Vec<u8> = (0..1000_u32).map(|i| (7 * i) as u8).collect();
        let all: Vec<u8> = (0..=255).collect();
        let golden: [(&[u8], u32); 9] = [
            (b"a", 0x0061_0061),
            (b"abc", 0x024a_0126),
            (&[0xff], 0xffff_ffff),
            (&[0x80, 0x80], 0xfe80_ff00),
            (&all, 0x6a80_ff80),
            (&[0; 700], 0),
            (&[0xff; 700], 0x419a_fd44),
            (b"The quick ", 0x13aa_037e),
            (&reference, 0x161c_0034),
        ];
        for (data, value) in golden {
            assert_eq!(Rolling::of(data).value(), value, "{data:02x?}");
        }
    }

    #[test]
    fn a_long_block_wraps_like_the_definition() {
        let data: Vec<u8> = (0..131_072_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        assert_eq!(Rolling::of(&data).value(), by_definition(&data));
    }

    fn by_definition(data: &[u8]) -> u32 {
        let (mut s1, mut s2) = (0_i64, 0_i64);
        for (index, &byte) in data.iter().enumerate() {
            s1 += i64::from(byte as i8);
            s2 += (data.len() - index) as i64 * i64::from(byte as i8);
        }
        (s1 as u32 & 0xffff) | ((s2 as u32 & 0xffff) << 16)
    }

    proptest! {
        #[test]
        fn rolling_and_shrinking_agree_with_computing_afresh(
            data in proptest::collection::vec(any::<u8>(), 1..200),
            length in 1_usize..100,
        ) {
            let mut length = length.min(data.len());
            let mut sum = Rolling::of(&data[..length]);
            for start in 1..data.len() {
                if start + length <= data.len() {
                    sum.roll(length as u32, data[start - 1], data[start + length - 1]);
                } else {
                    sum.shrink(length as u32, data[start - 1]);
                    length -= 1;
                }
                prop_assert_eq!(sum.value(), by_definition(&data[start..start + length]));
            }
        }
    }
}
