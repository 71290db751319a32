//! The live lists of a session and their indexes (spec 03 §8).

use std::collections::VecDeque;
use std::sync::Arc;

use super::dirs::DirTable;
use super::error::FileListError;
use super::segment::{EntryRef, Segment};

/// What a builder needs to know to receive or make the next list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListHead {
    /// Index of its first entry.
    pub start: u32,
    /// Number of the directory whose content it is.
    pub parent: u32,
    /// Path of that directory, which is the directory part of every entry.
    pub dir: Vec<u8>,
}

/// The lists of a session that were not released yet.
#[derive(Debug)]
pub struct FileList {
    lists: VecDeque<Arc<Segment>>,
    dirs: DirTable,
    next_start: u32,
    incremental: bool,
    complete: bool,
}

impl FileList {
    /// No lists; `incremental` recursion counts from 1 and leaves a gap before each list.
    #[must_use]
    pub fn new(incremental: bool) -> Self {
        Self {
            lists: VecDeque::new(),
            dirs: DirTable::default(),
            next_start: u32::from(incremental),
            incremental,
            complete: !incremental,
        }
    }

    /// Index of the first entry of the list to come.
    #[must_use]
    pub fn next_start(&self) -> u32 {
        self.next_start
    }

    /// The directories by number.
    #[must_use]
    pub fn dirs(&self) -> &DirTable {
        &self.dirs
    }

    /// Checks the announcement `index` (-101 and below) of a list (spec 03 §8.7).
    ///
    /// # Errors
    /// [`FileListError::AfterFinalList`] and those of [`DirTable::announce`].
    pub fn announce(&mut self, index: i64) -> Result<ListHead, FileListError> {
        if self.complete && self.lists.is_empty() {
            return Err(FileListError::AfterFinalList);
        }
        let parent = self.dirs.announce(index)?;
        let dir = self.dirs.get(parent).map(EntryRef::path).unwrap_or_default();
        Ok(ListHead { start: self.next_start, parent, dir })
    }

    /// Appends the list that starts at [`FileList::next_start`].
    ///
    /// # Errors
    /// [`FileListError::TooLarge`] if indexes run out.
    pub fn append(&mut self, segment: Arc<Segment>) -> Result<(), FileListError> {
        debug_assert_eq!(segment.start(), self.next_start);
        let count = u32::try_from(segment.len()).map_err(|_| FileListError::TooLarge)?;
        let next = self.next_start.checked_add(count).and_then(|next| next.checked_add(1));
        self.next_start = next.filter(|&next| next < i32::MAX as u32).ok_or(FileListError::TooLarge)?;
        if let Some(directories) = segment.directories() {
            self.dirs.append(directories);
        }
        self.lists.push_back(segment);
        Ok(())
    }

    /// Notes that no further list comes.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// Whether no further list comes.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Drops the oldest list: its indexes are invalid from now on (spec 03 §8.6).
    pub fn release(&mut self) -> Option<Arc<Segment>> {
        let released = self.lists.pop_front()?;
        if let Some(parent) = released.parent() {
            self.dirs.forget(parent);
        }
        Some(released)
    }

    /// The live lists, oldest first.
    pub fn lists(&self) -> impl DoubleEndedIterator<Item = &Arc<Segment>> + ExactSizeIterator {
        self.lists.iter()
    }

    /// The list that `index` belongs to, the gap index of its directory included.
    #[must_use]
    pub fn list_of(&self, index: u32) -> Option<&Arc<Segment>> {
        let gap = u32::from(self.incremental);
        let after = self.lists.partition_point(|list| list.start() - gap <= index);
        let list = self.lists.get(after.checked_sub(1)?)?;
        let offset = index - (list.start() - gap);
        ((offset as usize) < list.len() + gap as usize).then_some(list)
    }

    /// The entry that `index` names; the index before a list's first names the list's directory.
    ///
    /// For the first list that is the top directory, if it was sent (spec 03 §8.2).
    #[must_use]
    pub fn get(&self, index: u32) -> Option<EntryRef<'_>> {
        let list = self.list_of(index)?;
        if index >= list.start() {
            return list.by_index(index);
        }
        match list.parent() {
            Some(parent) => self.dirs.get(parent),
            None => list.get(0).filter(|top| top.is_dir() && top.path() == b"."),
        }
    }

    /// What [`FileList::get`] finds, as a list and the place in it, to be held while lists change.
    #[must_use]
    pub fn holder(&self, index: u32) -> Option<(Arc<Segment>, usize)> {
        let list = self.list_of(index)?;
        match list.parent() {
            Some(parent) if index < list.start() => self.dirs.holder(parent),
            _ => Some((Arc::clone(list), self.get(index)?.place())),
        }
    }

    /// The indexes in use, for messages: the first and last of all live lists.
    #[must_use]
    pub fn range(&self) -> Option<(u32, u32)> {
        let (first, last) = (self.lists.front()?, self.lists.back()?);
        let gap = u32::from(self.incremental);
        Some((first.start() - gap, (last.start() + last.len() as u32).saturating_sub(1)))
    }
}
