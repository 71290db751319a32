//! The books about live file lists: which indexes are valid, what is requested and unanswered, what
//! was requested before (spec 02 §4 numbering, §6.2 last part).
//!
//! Sender and receiving side keep one each; lists leave in order, as their DONEs pass.

use std::collections::VecDeque;

use crate::exit::ExitCode;

/// Where an index points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slot {
    /// Entry `position` of list number `list`; both count from 0 over the whole session.
    Entry {
        /// Number of the list.
        list: usize,
        /// Position of the entry in it.
        position: usize,
    },
    /// The directory that list number `list` belongs to.
    Directory {
        /// Number of the list.
        list: usize,
    },
}

/// Why an index was refused; all exit 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The index is in no live list.
    #[error("File-list index {index} not in {first} - {last} ({place})")]
    NotInLists {
        /// The index received.
        index: u32,
        /// Smallest valid index.
        first: i64,
        /// Largest valid index.
        last: i64,
        /// What looked for it.
        place: &'static str,
    },
    /// An answer to something that was not requested, or is answered already.
    #[error("File-list index {index} is not outstanding ({place})")]
    NotOutstanding {
        /// The index received.
        index: u32,
        /// What looked for it.
        place: &'static str,
    },
    /// More entries than indexes.
    #[error("file list index overflow: {count} entries after index {start}")]
    TooManyEntries {
        /// First index of the list.
        start: u32,
        /// Its number of entries.
        count: usize,
    },
}

impl LedgerError {
    /// What rsync's process would exit with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::PROTOCOL
    }
}

/// A set of positions in one list: no memory until the first is added, then one bit for each entry.
#[derive(Clone, Debug, Default)]
struct Marks(Vec<u64>);

impl Marks {
    /// Adds `position` out of `size`; answers whether it is new.
    fn insert(&mut self, position: usize, size: usize) -> bool {
        if self.0.is_empty() {
            self.0.resize(size.div_ceil(64), 0);
        }
        let (word, bit) = (position / 64, 1 << (position % 64));
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }

    /// Removes `position`; answers whether it was there.
    fn remove(&mut self, position: usize) -> bool {
        let was_there = self.contains(position);
        if was_there {
            self.0[position / 64] &= !(1 << (position % 64));
        }
        was_there
    }

    fn contains(&self, position: usize) -> bool {
        self.0.get(position / 64).is_some_and(|word| word & 1 << (position % 64) != 0)
    }
}

#[derive(Clone, Debug)]
struct List {
    start: u32,
    count: u32,
    outstanding: u32,
    requested: Marks,
    repeated: Marks,
}

/// The live lists of one session.
#[derive(Clone, Debug)]
pub struct Ledger {
    incremental: bool,
    lists: VecDeque<List>,
    released: usize,
    next_start: u32,
}

impl Ledger {
    /// Without lists; `incremental` says whether lists arrive piecewise and number their directories.
    #[must_use]
    pub fn new(incremental: bool) -> Self {
        Self { incremental, lists: VecDeque::new(), released: 0, next_start: u32::from(incremental) }
    }

    /// Adds the next list with `count` entries (dropped duplicates included) and answers the index
    /// of its first entry.
    ///
    /// # Errors
    /// [`LedgerError::TooManyEntries`] when indexes would exceed 2^31 - 1.
    pub fn add(&mut self, count: usize) -> Result<u32, LedgerError> {
        let start = self.next_start;
        let next = u32::try_from(count)
            .ok()
            .and_then(|count| start.checked_add(count)?.checked_add(u32::from(self.incremental)))
            .filter(|next| *next <= i32::MAX as u32)
            .ok_or(LedgerError::TooManyEntries { start, count })?;
        self.next_start = next;
        self.lists.push_back(List {
            start,
            count: count as u32,
            outstanding: 0,
            requested: Marks::default(),
            repeated: Marks::default(),
        });
        Ok(start)
    }

    /// Number of all lists so far, released ones included.
    #[must_use]
    pub fn lists(&self) -> usize {
        self.released + self.lists.len()
    }

    /// Number of lists released so far, which is also the number of the oldest live one.
    #[must_use]
    pub fn released(&self) -> usize {
        self.released
    }

    /// Index of the first entry of live list number `list`.
    #[must_use]
    pub fn start_of(&self, list: usize) -> Option<u32> {
        self.lists.get(list.checked_sub(self.released)?).map(|list| list.start)
    }

    /// Number of entries in the live lists behind list number `list`: how far the sender is ahead.
    #[must_use]
    pub fn entries_beyond(&self, list: usize) -> usize {
        let behind = (list + 1).saturating_sub(self.released);
        self.lists.get(behind).map_or(0, |first| {
            let gaps = if self.incremental { self.lists.len() - behind } else { 0 };
            (self.next_start - first.start) as usize - gaps
        })
    }

    /// Finds what `index` points to; `place` is named in the error.
    ///
    /// # Errors
    /// [`LedgerError::NotInLists`].
    pub fn find(&self, index: u32, place: &'static str) -> Result<Slot, LedgerError> {
        let (number, offset) = self.locate(index, place)?;
        let list = self.released + number;
        Ok(match offset.checked_sub(usize::from(self.incremental)) {
            Some(position) => Slot::Entry { list, position },
            None => Slot::Directory { list },
        })
    }

    /// Position among the live lists, and offset among the indexes of that list, its directory's
    /// included.
    fn locate(&self, index: u32, place: &'static str) -> Result<(usize, usize), LedgerError> {
        let below = u32::from(self.incremental);
        let number = self.lists.partition_point(|list| list.start - below <= index).checked_sub(1);
        let found = number.and_then(|number| {
            let list = self.lists.get(number)?;
            let offset = index - (list.start - below);
            (offset < list.count + below).then_some((number, offset as usize))
        });
        found.ok_or_else(|| LedgerError::NotInLists {
            index,
            first: self.lists.front().map_or(i64::from(self.next_start), |list| i64::from(list.start)) - 1,
            last: self.lists.back().map_or(-1, |list| i64::from(list.start) + i64::from(list.count) - 1),
            place,
        })
    }

    /// Notes that `index` was requested. Answers whether it is a repetition: it was requested
    /// before, so that this is its redo.
    ///
    /// # Errors
    /// [`LedgerError::NotInLists`].
    pub fn request(&mut self, index: u32, place: &'static str) -> Result<bool, LedgerError> {
        let (number, offset) = self.locate(index, place)?;
        let list = &mut self.lists[number];
        let size = list.count as usize + 1;
        if list.requested.insert(offset, size) {
            list.outstanding += 1;
        }
        Ok(!list.repeated.insert(offset, size))
    }

    /// Whether `index` is requested and not answered; `false` for an index in no live list.
    #[must_use]
    pub fn is_outstanding(&self, index: u32) -> bool {
        self.locate(index, "").is_ok_and(|(number, offset)| self.lists[number].requested.contains(offset))
    }

    /// Notes the answer to a request: received, failed for good, or NO_SEND.
    ///
    /// # Errors
    /// [`LedgerError::NotInLists`]; [`LedgerError::NotOutstanding`].
    pub fn resolve(&mut self, index: u32, place: &'static str) -> Result<(), LedgerError> {
        let (number, offset) = self.locate(index, place)?;
        let list = &mut self.lists[number];
        if !list.requested.remove(offset) {
            return Err(LedgerError::NotOutstanding { index, place });
        }
        list.outstanding -= 1;
        Ok(())
    }

    /// Number of requests of the oldest live list that are not answered; `None` without a list.
    #[must_use]
    pub fn outstanding_in_oldest(&self) -> Option<u32> {
        self.lists.front().map(|list| list.outstanding)
    }

    /// Number of requests of all live lists that are not answered.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.lists.iter().map(|list| u64::from(list.outstanding)).sum()
    }

    /// Releases the oldest live list and answers its number, `None` without one.
    pub fn release(&mut self) -> Option<usize> {
        self.lists.pop_front()?;
        self.released += 1;
        Some(self.released - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incremental(counts: &[usize]) -> Ledger {
        let mut ledger = Ledger::new(true);
        counts.iter().for_each(|count| {
            ledger.add(*count).expect("small");
        });
        ledger
    }

    #[test]
    fn lists_are_numbered_as_in_the_golden_session() {
        let mut ledger = Ledger::new(true);
        let starts = [3, 1, 1, 1].map(|count| ledger.add(count).expect("small"));
        assert_eq!(starts, [1, 5, 7, 9]);
        assert_eq!(ledger.find(0, "x"), Ok(Slot::Directory { list: 0 }));
        assert_eq!(ledger.find(4, "x"), Ok(Slot::Directory { list: 1 }));
        assert_eq!(ledger.find(7, "x"), Ok(Slot::Entry { list: 2, position: 0 }));
        assert_eq!(ledger.entries_beyond(1), 2);
    }

    #[test]
    fn a_released_list_is_no_longer_valid() {
        let mut ledger = incremental(&[3, 1]);
        assert_eq!(ledger.release(), Some(0));
        let error = ledger.find(3, "recv_files").expect_err("released");
        assert_eq!(error.to_string(), "File-list index 3 not in 4 - 5 (recv_files)");
        assert_eq!(ledger.find(5, "x"), Ok(Slot::Entry { list: 1, position: 0 }));
        assert!(ledger.find(6, "x").is_err());
        assert_eq!((ledger.release(), ledger.release()), (Some(1), None));
        assert!(ledger.find(5, "x").is_err());
    }

    #[test]
    fn a_single_list_starts_at_zero_and_has_no_directory() {
        let mut ledger = Ledger::new(false);
        assert_eq!(ledger.add(2), Ok(0));
        assert_eq!(ledger.find(1, "x"), Ok(Slot::Entry { list: 0, position: 1 }));
        assert_eq!(
            ledger.find(2, "f").expect_err("beyond").to_string(),
            "File-list index 2 not in -1 - 1 (f)"
        );
    }

    #[test]
    fn only_outstanding_requests_are_resolved() {
        let mut ledger = incremental(&[100, 0]);
        assert_eq!(ledger.request(100, "x"), Ok(false));
        assert!(ledger.is_outstanding(100) && !ledger.is_outstanding(99));
        assert_eq!(ledger.outstanding_in_oldest(), Some(1));
        assert_eq!(ledger.resolve(100, "x"), Ok(()));
        assert_eq!(ledger.resolve(100, "x"), Err(LedgerError::NotOutstanding { index: 100, place: "x" }));
        assert_eq!(ledger.request(100, "x"), Ok(true));
        assert_eq!(ledger.outstanding(), 1);
    }

    #[test]
    fn indexes_do_not_overflow() {
        let mut ledger = incremental(&[i32::MAX as usize - 2]);
        assert!(ledger.add(1).is_err());
        assert!(Ledger::new(false).add(usize::MAX).is_err());
    }
}
