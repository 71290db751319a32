//! The block sums of a basis, as the sender received them (spec 05 §4).

use crate::sum::{Checksum, Rolling, SumHead, block_sum};
use crate::wire::{Cursor, WireError};

/// Weak and strong sums of every block of a basis.
///
/// Memory grows with the sums that really arrived, 4 bytes and the length of a strong sum each.
#[derive(Clone, Debug)]
pub struct SumTable {
    head: SumHead,
    weak: Vec<u32>,
    strong: Vec<u8>,
}

impl SumTable {
    /// An empty table for the sums that follow `head`.
    #[must_use]
    pub fn new(head: SumHead) -> Self {
        Self { head, weak: Vec::new(), strong: Vec::new() }
    }

    /// Computes the table of `basis`, a file that is at hand.
    ///
    /// `head` must describe it.
    #[must_use]
    pub fn of_basis(head: SumHead, kind: Checksum, seed: i32, basis: &[u8]) -> Self {
        let mut table = Self::new(head);
        for block in basis.chunks(head.block_len.max(1) as usize) {
            table.weak.push(Rolling::of(block).value());
            table.strong.extend_from_slice(&block_sum(kind, seed, block)[..head.strong_len as usize]);
        }
        table
    }

    /// Reads as many sums as are there; says whether all have arrived.
    ///
    /// # Errors
    /// [`WireError::Incomplete`] when sums are missing and not one could be read.
    pub fn read(&mut self, input: &mut Cursor<'_>) -> Result<bool, WireError> {
        let strong_len = self.head.strong_len as usize;
        let sum_len = 4 + strong_len;
        let missing = self.head.count as usize - self.weak.len();
        let whole = missing.min(input.rest().len() / sum_len);
        if whole == 0 && missing > 0 {
            return Err(WireError::Incomplete { missing: sum_len - input.rest().len() });
        }
        for _ in 0..whole {
            self.weak.push(input.u32()?);
            self.strong.extend_from_slice(input.take(strong_len)?);
        }
        Ok(whole == missing)
    }

    /// The head the sums belong to.
    #[must_use]
    pub fn head(&self) -> &SumHead {
        &self.head
    }

    /// The weak sums received so far, in the order of the blocks.
    #[must_use]
    pub fn weak(&self) -> &[u32] {
        &self.weak
    }

    /// The strong sum of block `index`, cut to the length of the head; empty if it has not arrived.
    #[must_use]
    pub fn strong(&self, index: u32) -> &[u8] {
        let length = self.head.strong_len as usize;
        let start = index as usize * length;
        self.strong.get(start..start + length).unwrap_or_default()
    }

    /// Appends all sums as they go over the wire.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for (index, weak) in (0..).zip(&self.weak) {
            out.extend_from_slice(&weak.to_le_bytes());
            out.extend_from_slice(self.strong(index));
        }
    }
}

impl SumHead {
    /// Appends the sums of one block as they go over the wire.
    pub fn put_block_sums(&self, kind: Checksum, seed: i32, block: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&Rolling::of(block).value().to_le_bytes());
        out.extend_from_slice(&block_sum(kind, seed, block)[..self.strong_len as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &[u8] = b"The quick brown fox jumps over the lazy dog.\n";
    const HEAD: SumHead = SumHead { count: 5, block_len: 10, strong_len: 2, remainder: 5 };

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_sums_of_the_reference_text_have_the_golden_form() {
        let mut golden = Vec::new();
        SumTable::of_basis(HEAD, Checksum::Xxh128, 12345, OLD).encode(&mut golden);
        assert_eq!(
            hex(&golden),
            "7e03aa13be5fb503b815bebf0b0465167154\
             6103371288c572014b052b01"
        );
        let mut blocks = Vec::new();
        for block in OLD.chunks(10) {
            HEAD.put_block_sums(Checksum::Xxh128, 12345, block, &mut blocks);
        }
        assert_eq!(blocks, golden);
        let strong = |kind| -> String {
            let table = SumTable::of_basis(HEAD, kind, 12345, OLD);
            (0..5).map(|index| hex(table.strong(index))).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(strong(Checksum::OldMd4), "f554 0b81 78e2 6fa5 a515");
        assert_eq!(strong(Checksum::Md5SeedLast), "4ddf 6a13 d091 34cc 2819");
        assert_eq!(strong(Checksum::Md5), "7c5c 5b94 b298 1abb dd95");
    }

    #[test]
    fn the_sums_of_a_redo_are_sent_in_full() {
        let strong = |kind, strong_len| -> String {
            let table = SumTable::of_basis(SumHead { strong_len, ..HEAD }, kind, 12345, OLD);
            (0..5).map(|index| hex(table.strong(index))).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            strong(Checksum::OldMd4, 16),
            "f554a8c72e129c3b9e7f239cf542dd1d 0b81a82f6de4daacdf28682f4fd39dfb \
             78e2de4100533d4387a937e6f0943905 6fa50d0c1c34ea6f8960dd409862be12 \
             a515373dfee2b2adcfdcb43948d8851a"
        );
        assert_eq!(
            strong(Checksum::Xxh128, 16),
            "be5ffec97d9cbb9e75ea57c2d0cffa0c bebfee00c637891ef7cb11e274a1c19d \
             7154910a29738683879b65f29011bc9e 88c5a1d52434445b9153c0c74886e542 \
             2b01fedd4f0d33b07d6cb6f3d6ed66f1"
        );
        assert_eq!(
            strong(Checksum::Xxh64, 8),
            "976b46cb357efc9e 8e4fef356e0a1362 b7e9cceac8af3a34 ad15d99917e42ea2 bde8d9523236b62e"
        );
        assert_eq!(
            strong(Checksum::Xxh3, 8),
            "dbbb04c33911eea8 b4aacb17098efe2c 2d721fe171b83f18 8b992f03d65a5931 2a433f864fc2208e"
        );
    }

    #[test]
    fn sums_may_arrive_byte_by_byte() {
        let mut wire = Vec::new();
        let sent = SumTable::of_basis(HEAD, Checksum::Md5, 1, OLD);
        sent.encode(&mut wire);
        wire.push(0xee);
        let mut table = SumTable::new(HEAD);
        let (mut start, mut end) = (0, 0);
        loop {
            let mut input = Cursor::new(&wire[start..end]);
            match table.read(&mut input) {
                Ok(done) => {
                    start += input.position();
                    if done {
                        break;
                    }
                }
                Err(WireError::Incomplete { missing }) => {
                    assert_eq!(missing, 6 - (end - start));
                    end += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(start, wire.len() - 1);
        assert_eq!((table.weak(), table.strong(4)), (sent.weak(), sent.strong(4)));
    }

    #[test]
    fn a_null_head_is_followed_by_nothing() {
        assert_eq!(SumTable::new(SumHead::NULL).read(&mut Cursor::new(&[])), Ok(true));
    }
}
