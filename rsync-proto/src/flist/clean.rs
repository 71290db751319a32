//! What a receiver drops from a sorted list, and who leads a hard-link group (spec 03 §7.3, §3).

use std::collections::HashSet;

use super::builder::mark_leader;
use super::entry::{EntryFlags, Kind};
use super::error::FileListError;
use super::order::{Order, PathKey, split_path};
use super::segment::{EntryRef, NO_INDEX, Segment};

/// Deactivates all but one of the entries with the same path.
///
/// The first wins; of a directory and something else the directory does; of two directories the
/// first also gets the marks of the second.
pub(super) fn drop_duplicates(segment: &mut Segment) {
    let mut kept: Option<u32> = None;
    for place in 0..segment.len() as u32 {
        if !is_active(segment, place) {
            continue;
        }
        let Some(first) = kept.filter(|&first| same_path(segment, first, place)) else {
            kept = Some(place);
            continue;
        };
        match (segment.kind_at(first) == Kind::Dir, segment.kind_at(place) == Kind::Dir) {
            (true, true) => {
                let marks = segment.attributes_at(place).flags;
                segment.merge_flags(first, marks);
                segment.deactivate(place);
            }
            (false, true) => {
                segment.deactivate(first);
                kept = Some(place);
            }
            (_, false) => segment.deactivate(place),
        }
    }
    if segment.order() == Order::ByComponent {
        drop_shadowed_files(segment);
    }
}

/// Drops what has the path of a directory where the two sort apart.
fn drop_shadowed_files(segment: &mut Segment) {
    let shadowed: Vec<u32> = segment
        .iter()
        .filter(|entry| entry.is_dir() && entry.is_active() && entry.name() != b".")
        .filter_map(|entry| segment.find(PathKey { is_dir: false, ..entry.key() }))
        .map(|entry| entry.place() as u32)
        .collect();
    for place in shadowed {
        segment.deactivate(place);
    }
}

fn is_active(segment: &Segment, place: u32) -> bool {
    segment.get(place as usize).is_some_and(EntryRef::is_active)
}

/// Adjacent entries with one path; in the order by component also of one kind, directory or not.
fn same_path(segment: &Segment, a: u32, b: u32) -> bool {
    let (x, y) = (segment.key(a), segment.key(b));
    segment.dir_number(a) == segment.dir_number(b)
        && x.base == y.base
        && (x.is_dir == y.is_dir || segment.order() == Order::ByPath)
}

impl Segment {
    fn merge_flags(&mut self, place: u32, marks: EntryFlags) {
        let mut attributes = self.attributes_at(place);
        let merged = attributes.flags.merged(marks);
        if merged != attributes.flags {
            attributes.flags = merged;
            self.attributes.push(attributes);
            self.records[place as usize].attributes = self.attributes.len() as u32 - 1;
        }
    }

    /// Checks that the directory of every active entry is listed, as the receiver of a whole list
    /// must (spec 03 §10). Entries of mode 0 are exempt.
    ///
    /// # Errors
    /// [`FileListError::ParentMissing`] for the first entry without one.
    pub fn check_parents(&self) -> Result<(), FileListError> {
        let mut known: HashSet<u32> = HashSet::new();
        for entry in self.iter().filter(|entry| entry.is_active() && entry.kind() != Kind::Missing) {
            let number = self.dir_number(entry.place() as u32);
            let dir = self.dir_name(number);
            if matches!(dir, b"" | b"/") || known.contains(&number) {
                continue;
            }
            let parent = self.find(PathKey::new(dir, true)).filter(|parent| parent.is_dir());
            if parent.is_none() {
                return Err(FileListError::ParentMissing {
                    dir: entry.dir().into(),
                    name: entry.name().into(),
                });
            }
            known.insert(number);
        }
        Ok(())
    }

    /// Deactivates directories that hold nothing but directories (`--prune-empty-dirs`, spec 06).
    ///
    /// A directory for which `keep` says so counts as something; the top `.` always stays.
    pub fn prune_empty_dirs(&mut self, mut keep: impl FnMut(EntryRef<'_>) -> bool) {
        let mut used: HashSet<Vec<u8>> = HashSet::new();
        for entry in self.iter().filter(|entry| entry.is_active()) {
            if entry.is_dir() && !keep(entry) {
                continue;
            }
            if entry.is_dir() {
                used.insert(full_path(entry));
            }
            let mut dir = entry.key().dir;
            while !matches!(dir, b"" | b"/") && used.insert(dir.to_vec()) {
                dir = split_path(dir).0;
            }
        }
        let empty: Vec<u32> = self
            .iter()
            .filter(|entry| entry.is_dir() && entry.name() != b"." && !used.contains(&full_path(*entry)))
            .map(|entry| entry.place() as u32)
            .collect();
        for place in empty {
            self.deactivate(place);
        }
    }
}

/// The path with a leading slash, if it has one.
fn full_path(entry: EntryRef<'_>) -> Vec<u8> {
    let slash: &[u8] = if entry.key().dir.starts_with(b"/") { b"/" } else { b"" };
    [slash, &entry.path()].concat()
}

/// Marks the first active member of each hard-link group.
pub(super) fn elect_leaders(segment: &mut Segment) {
    let mut led: HashSet<u32> = HashSet::new();
    for place in 0..segment.columns.links.len() as u32 {
        let group = segment.columns.links[place as usize];
        if group != NO_INDEX && is_active(segment, place) && led.insert(group) {
            mark_leader(&mut segment.columns.links[place as usize]);
        }
    }
}
