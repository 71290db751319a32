//! Hard-link groups by identity on disk, and the prefix of unusable symlinks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// What stands in front of the target of a symlink that shall lead nowhere (`--munge-links`, spec 04
/// §7.2): a receiver puts it there, a sender takes it away.
pub const MUNGE_PREFIX: &[u8] = b"/rsyncd-munged/";

/// Numbers the hard-link groups of a session by the first member seen (spec 03 §3 "Hard links").
#[derive(Debug, Default)]
pub struct LinkGroups {
    groups: HashMap<(u64, u64), u32>,
}

impl LinkGroups {
    /// The group of the file (`dev`, `ino`), and whether it was opened by this call: the group's
    /// number is then `index`, the list start plus wire position of the entry.
    pub fn join(&mut self, dev: u64, ino: u64, index: u32) -> (u32, bool) {
        match self.groups.entry((dev, ino)) {
            Entry::Occupied(group) => (*group.get(), false),
            Entry::Vacant(slot) => (*slot.insert(index), true),
        }
    }
}
