//! Directory numbers of incremental recursion (spec 03 §8.3).

use std::sync::Arc;

use super::error::FileListError;
use super::segment::{EntryRef, Segment};

/// Base of the indexes that announce lists: directory number `n` is `-101 - n`.
const ANNOUNCE: i64 = -101;

/// All directories of a session by number, with what is needed until their list is released.
#[derive(Debug, Default)]
pub struct DirTable {
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    /// The directories of one list, this one at `place`; dropped once its own list is.
    directory: Option<(Arc<Segment>, u32)>,
    listed: bool,
    active: bool,
}

impl DirTable {
    /// Number of directories so far; the next one gets this number.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no directory was numbered yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Numbers the directories of one list.
    pub fn append(&mut self, directories: &Arc<Segment>) {
        self.slots.extend(directories.iter().map(|entry| Slot {
            directory: Some((Arc::clone(directories), entry.place() as u32)),
            listed: false,
            active: entry.is_active(),
        }));
    }

    /// The directory with `number`, until [`DirTable::forget`].
    #[must_use]
    pub fn get(&self, number: u32) -> Option<EntryRef<'_>> {
        let (segment, place) = self.slots.get(number as usize)?.directory.as_ref()?;
        segment.get(*place as usize)
    }

    /// The same as a list and the place in it, to be held while the table changes.
    #[must_use]
    pub fn holder(&self, number: u32) -> Option<(Arc<Segment>, usize)> {
        let (segment, place) = self.slots.get(number as usize)?.directory.as_ref()?;
        Some((Arc::clone(segment), *place as usize))
    }

    /// Whether a list was announced for the directory.
    #[must_use]
    pub fn is_listed(&self, number: u32) -> bool {
        self.slots.get(number as usize).is_some_and(|slot| slot.listed)
    }

    /// The index that announces the list of directory `number` (spec 03 §8.4).
    #[must_use]
    pub fn announcement(number: u32) -> i64 {
        ANNOUNCE - i64::from(number)
    }

    /// Reads a received `index` below -100 as the directory whose list follows, at most once each.
    ///
    /// # Errors
    /// [`FileListError::InvalidDirectory`], [`FileListError::DuplicateList`],
    /// [`FileListError::ClearedDirectory`].
    pub fn announce(&mut self, index: i64) -> Result<u32, FileListError> {
        let last = ANNOUNCE - self.slots.len() as i64 + 1;
        let invalid = FileListError::InvalidDirectory { index, last };
        let Ok(number) = u32::try_from(ANNOUNCE - index) else { return Err(invalid) };
        let Some(slot) = self.slots.get_mut(number as usize) else { return Err(invalid) };
        if slot.listed {
            return Err(FileListError::DuplicateList { number });
        }
        if !slot.active {
            return Err(FileListError::ClearedDirectory { number });
        }
        slot.listed = true;
        Ok(number)
    }

    /// Drops what is known of the directory, after its list was released.
    pub fn forget(&mut self, number: u32) {
        if let Some(slot) = self.slots.get_mut(number as usize) {
            slot.directory = None;
        }
    }
}
