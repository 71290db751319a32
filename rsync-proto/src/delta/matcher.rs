//! What the sender does with block sums: finds the blocks of the basis in its own file (spec 05 §6).

use crate::sum::{Checksum, Rolling, SumBytes, block_sum};

use super::SumTable;
use super::index::WeakIndex;

/// Most blocks of equal weak sum that are compared at one position.
const MAX_CANDIDATES: usize = 1024;
/// Bytes a window holds beyond the block that is looked at.
const STRIDE: usize = 262_144;

/// The file that is sent, seen through a window that only moves forward.
pub trait Source {
    /// Why reading may fail for good.
    type Error;

    /// The `length` bytes from `offset` on. Offsets never decrease from call to call; the range never
    /// passes the length that was announced.
    ///
    /// # Errors
    /// Only what shall end the transfer: data that cannot be read is replaced by zeros (spec 05 §11b).
    fn window(&mut self, offset: u64, length: usize) -> Result<&[u8], Self::Error>;
}

/// Receives the file in order, as literal data and blocks.
pub trait Sink<E> {
    /// The next bytes of the file are literal data.
    ///
    /// # Errors
    /// Whatever shall end the transfer.
    fn literal(&mut self, data: &[u8]) -> Result<(), E>;

    /// The next bytes of the file are block `index`, whose content is `block`.
    ///
    /// # Errors
    /// Whatever shall end the transfer.
    fn block(&mut self, index: u32, block: &[u8]) -> Result<(), E>;
}

/// How blocks are compared and which may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchRules {
    /// The algorithm of the strong sums.
    pub checksum: Checksum,
    /// The session's seed.
    pub seed: i32,
    /// The basis is the file being overwritten: blocks that were overwritten already are not used.
    pub in_place: bool,
}

/// What `-vv` says about matching.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MatchStats {
    /// Blocks found.
    pub matches: u64,
    /// Positions whose weak sum some block has.
    pub hash_hits: u64,
    /// Of these, the ones where no strong sum agreed.
    pub false_alarms: u64,
    /// Bytes of literal data.
    pub literal_data: u64,
    /// Bytes of the blocks found.
    pub matched_data: u64,
}

/// Passes the bytes from `start` to `end` of `source` on as literal data.
///
/// # Errors
/// The first error of either side.
pub fn send_literals<S: Source>(
    source: &mut S,
    start: u64,
    end: u64,
    sink: &mut impl Sink<S::Error>,
) -> Result<(), S::Error> {
    let mut offset = start;
    while offset < end {
        let length = STRIDE.min((end - offset).try_into().unwrap_or(STRIDE));
        sink.literal(source.window(offset, length)?)?;
        offset += length as u64;
    }
    Ok(())
}

/// Finds the blocks of one basis in one file.
#[derive(Debug)]
pub struct Matcher {
    table: SumTable,
    rules: MatchRules,
    index: WeakIndex,
    /// Number of blocks of full length: all, or all but the last.
    full_count: u32,
    /// In place: the blocks that were found at their own offset, one bit each.
    pinned: Vec<u64>,
    /// The block that is preferred: the one after the last match.
    expected: u32,
    stats: MatchStats,
}

impl Matcher {
    /// Prepares the search for the blocks of `table`, which must be complete.
    #[must_use]
    pub fn new(table: SumTable, rules: MatchRules) -> Self {
        let head = *table.head();
        let short_last = head.count > 0 && head.last_len() < head.block_len;
        let full_count = (head.count - u32::from(short_last)).min(table.weak().len() as u32);
        let index = WeakIndex::new(&table.weak()[..full_count as usize]);
        let pinned = if rules.in_place { vec![0; head.count as usize / 64 + 1] } else { Vec::new() };
        Self { table, rules, index, full_count, pinned, expected: 0, stats: MatchStats::default() }
    }

    /// Passes the `source` of `length` bytes on to `sink` as literal data and blocks.
    ///
    /// Memory is bounded by one window: the block length and 256 KiB.
    ///
    /// # Errors
    /// The first error of either side.
    pub fn run<S: Source>(
        mut self,
        source: &mut S,
        length: u64,
        sink: &mut impl Sink<S::Error>,
    ) -> Result<MatchStats, S::Error> {
        let mut position = 0;
        if self.full_count > 0 {
            position = self.find_full_blocks(source, length, sink)?;
        }
        self.find_short_block(source, position, length, sink)?;
        self.stats.literal_data = length - self.stats.matched_data;
        Ok(self.stats)
    }

    /// Searches everything but the end of the file that is shorter than a block; says where that begins.
    fn find_full_blocks<S: Source>(
        &mut self,
        source: &mut S,
        length: u64,
        sink: &mut impl Sink<S::Error>,
    ) -> Result<u64, S::Error> {
        let block_len = self.table.head().block_len as usize;
        let mut position = 0;
        // The sum at `position`, if it is known because its block was looked for in vain.
        let mut tried: Option<Rolling> = None;
        while position + block_len as u64 <= length {
            let begin = position;
            let window_len = (block_len + STRIDE).min((length - begin).try_into().unwrap_or(usize::MAX));
            let window = source.window(begin, window_len)?;
            let mut literal = 0;
            let mut at = 0;
            while let Some(block) = window.get(at..at + block_len) {
                let mut sum = match tried {
                    Some(sum) => sum,
                    None => {
                        let sum = Rolling::of(block);
                        if let Some(index) = self.find(sum.value(), begin + at as u64, block) {
                            self.emit(index, &window[literal..at], block, sink)?;
                            at += block_len;
                            literal = at;
                            continue;
                        }
                        sum
                    }
                };
                // Roll on past positions that look promising but are none.
                let found = loop {
                    let (steps, hit) = self.index.scan(&mut sum, &window[at..], block_len);
                    at += steps;
                    if !hit {
                        break None;
                    }
                    let block = &window[at..at + block_len];
                    if let Some(index) = self.find(sum.value(), begin + at as u64, block) {
                        break Some((index, block));
                    }
                };
                match found {
                    Some((index, block)) => {
                        self.emit(index, &window[literal..at], block, sink)?;
                        at += block_len;
                        literal = at;
                        tried = None;
                    }
                    None => {
                        tried = Some(sum);
                        break;
                    }
                }
            }
            if at > literal {
                sink.literal(&window[literal..at])?;
            }
            position = begin + at as u64;
            if tried.is_some() && position + block_len as u64 == length {
                break;
            }
        }
        Ok(position)
    }

    /// Passes the rest from `position` on: the last block, if it is short and fits, after literal data.
    fn find_short_block<S: Source>(
        &mut self,
        source: &mut S,
        position: u64,
        length: u64,
        sink: &mut impl Sink<S::Error>,
    ) -> Result<(), S::Error> {
        let head = *self.table.head();
        let last_len = head.last_len();
        let last_start = length.checked_sub(u64::from(last_len)).filter(|&start| start >= position);
        let (Some(last_start), true) = (last_start, head.count > self.full_count) else {
            return send_literals(source, position, length, sink);
        };
        send_literals(source, position, last_start, sink)?;
        let block = source.window(last_start, last_len as usize)?;
        let last = self.full_count;
        if self.table.weak().get(last as usize) == Some(&Rolling::of(block).value())
            && self.is_usable(last, last_start)
        {
            self.stats.hash_hits += 1;
            if self.agrees(last, block, &mut None) {
                return self.emit(last, &[], block, sink);
            }
            self.stats.false_alarms += 1;
        }
        sink.literal(block)
    }

    /// The best block for the bytes `block` at `position`, whose weak sum is `weak`.
    fn find(&mut self, weak: u32, position: u64, block: &[u8]) -> Option<u32> {
        let mut strong = None;
        let block_len = u64::from(self.table.head().block_len);
        let own = (self.rules.in_place && position.is_multiple_of(block_len))
            .then(|| u32::try_from(position / block_len).ok())
            .flatten();
        let preferred = [own, Some(self.expected)]
            .into_iter()
            .flatten()
            .filter(|&index| index < self.full_count && self.table.weak().get(index as usize) == Some(&weak));
        let candidates = preferred.chain(self.index.blocks(weak).take(MAX_CANDIDATES));
        let mut weak_hit = false;
        let found = candidates
            .inspect(|_| weak_hit = true)
            .find(|&index| self.is_usable(index, position) && self.agrees(index, block, &mut strong));
        if weak_hit {
            self.stats.hash_hits += 1;
            self.stats.false_alarms += u64::from(found.is_none());
        }
        if let Some(index) = found
            && self.rules.in_place
            && self.table.head().offset_of(index) == position
        {
            self.pinned[index as usize / 64] |= 1 << (index % 64);
        }
        found
    }

    /// Whether the basis still has the block when the output is at `position`.
    fn is_usable(&self, index: u32, position: u64) -> bool {
        !self.rules.in_place
            || self.table.head().offset_of(index) >= position
            || self.pinned[index as usize / 64] >> (index % 64) & 1 != 0
    }

    /// Whether the strong sums agree; `strong` keeps the one of `block` once it is computed.
    fn agrees(&self, index: u32, block: &[u8], strong: &mut Option<SumBytes>) -> bool {
        let rules = self.rules;
        let strong = strong.get_or_insert_with(|| block_sum(rules.checksum, rules.seed, block));
        strong.starts_with(self.table.strong(index))
    }

    fn emit<E>(
        &mut self,
        index: u32,
        literal: &[u8],
        block: &[u8],
        sink: &mut impl Sink<E>,
    ) -> Result<(), E> {
        self.stats.matches += 1;
        self.stats.matched_data += block.len() as u64;
        self.expected = index.saturating_add(1);
        if !literal.is_empty() {
            sink.literal(literal)?;
        }
        sink.block(index, block)
    }
}

#[cfg(test)]
mod tests;
