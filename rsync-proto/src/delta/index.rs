//! Finds blocks by their weak sum, fast where there are none.

use crate::sum::Rolling;

/// Odd, so that the product with a 32-bit weak sum has the sum's identity in different bits.
const SPREAD: u32 = 0x9e37_79b1;

/// A filter over the weak sums of a basis and the sorted sums behind it.
#[derive(Debug)]
pub(super) struct WeakIndex {
    /// One bit for every value of the first bits of a spread sum: whether a block has them.
    filter: Vec<u64>,
    /// How far to shift a spread sum to see the bits that number the filter.
    filter_shift: u32,
    /// Where the entries with the same first bits begin; one more at the end.
    starts: Vec<u32>,
    starts_shift: u32,
    /// Spread sum in the high half, complement of the block index in the low half; sorted, so that
    /// blocks of equal sums stand together with the highest index first.
    entries: Vec<u64>,
}

impl WeakIndex {
    /// Indexes the blocks 0, 1, ... with the sums `weak`.
    pub(super) fn new(weak: &[u32]) -> Self {
        let starts_bits = weak.len().max(2).next_power_of_two().ilog2().min(31);
        let filter_bits = (starts_bits + 5).clamp(16, 27);
        let (starts_shift, filter_shift) = (32 - starts_bits, 32 - filter_bits);

        let mut filter = vec![0_u64; 1 << (filter_bits - 6)];
        let mut starts = vec![0_u32; (1 << starts_bits) + 1];
        let mut entries = Vec::with_capacity(weak.len());
        for (index, &sum) in (0_u32..).zip(weak) {
            let spread = sum.wrapping_mul(SPREAD);
            filter[(spread >> filter_shift >> 6) as usize] |= 1 << (spread >> filter_shift & 63);
            starts[(spread >> starts_shift) as usize + 1] += 1;
            entries.push(u64::from(spread) << 32 | u64::from(!index));
        }
        for bucket in 1..starts.len() {
            starts[bucket] += starts[bucket - 1];
        }
        entries.sort_unstable();
        Self { filter, filter_shift, starts, starts_shift, entries }
    }

    /// The blocks whose weak sum is `sum`, the highest index first.
    pub(super) fn blocks(&self, sum: u32) -> impl Iterator<Item = u32> {
        self.matches(sum.wrapping_mul(SPREAD)).iter().map(|&entry| !(entry as u32))
    }

    /// Rolls `sum`, which covers the first `length` bytes of `window`, on to the next position whose sum
    /// some block has, or to the last position of the window. Says how far it went, and whether a block
    /// was found there.
    pub(super) fn scan(&self, sum: &mut Rolling, window: &[u8], length: usize) -> (usize, bool) {
        let entering = &window[length..];
        let mut rolling = *sum;
        for (steps, (&old, &new)) in window.iter().zip(entering).enumerate() {
            rolling.roll(length as u32, old, new);
            let spread = rolling.value().wrapping_mul(SPREAD);
            let bit = spread >> self.filter_shift;
            if self.filter[(bit >> 6) as usize] >> (bit & 63) & 1 != 0 && !self.matches(spread).is_empty() {
                *sum = rolling;
                return (steps + 1, true);
            }
        }
        *sum = rolling;
        (entering.len(), false)
    }

    fn matches(&self, spread: u32) -> &[u64] {
        let bucket = (spread >> self.starts_shift) as usize;
        let entries = &self.entries[self.starts[bucket] as usize..self.starts[bucket + 1] as usize];
        let begin = entries.partition_point(|&entry| ((entry >> 32) as u32) < spread);
        let end = begin + entries[begin..].partition_point(|&entry| (entry >> 32) as u32 == spread);
        &entries[begin..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exactly_the_blocks_of_a_sum_are_found(
            weak in proptest::collection::vec(prop_oneof![any::<u32>(), 0_u32..5], 0..300),
            absent: u32,
        ) {
            let index = WeakIndex::new(&weak);
            for &sum in weak.iter().chain([&absent]) {
                let found: Vec<u32> = index.blocks(sum).collect();
                let expected: Vec<u32> =
                    (0..weak.len() as u32).rev().filter(|&block| weak[block as usize] == sum).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
