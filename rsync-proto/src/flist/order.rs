//! The order of a file list (spec 03 §7.1) and the sorting of a segment.

use std::cmp::Ordering;

use super::Kind;
use super::segment::Segment;
use crate::session::Negotiated;

/// How paths compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Bytes of the whole path (protocols below 29).
    ByPath,
    /// Component by component, files before directories (protocol 29 and later).
    #[default]
    ByComponent,
}

/// A path as the order sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathKey<'a> {
    /// Directory part: empty at the top, `/` for a name whose only slash is the leading one.
    pub dir: &'a [u8],
    /// Last component.
    pub base: &'a [u8],
    /// The path names a directory.
    pub is_dir: bool,
}

/// Splits a path at its last slash into directory part and base name, as [`PathKey`] wants them.
#[must_use]
pub fn split_path(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        None => (b"", path),
        Some(0) => (&path[..1], &path[1..]),
        Some(slash) => (&path[..slash], &path[slash + 1..]),
    }
}

impl<'a> PathKey<'a> {
    /// The key of a whole path.
    #[must_use]
    pub fn new(path: &'a [u8], is_dir: bool) -> Self {
        let (dir, base) = split_path(path);
        Self { dir, base, is_dir }
    }

    /// A directory that sorts among its siblings as one; the top `.` sorts as an empty file name.
    fn is_node(self) -> bool {
        self.is_dir && self.base != b"."
    }

    /// The directory the entry is sorted into, each component followed by a slash: a directory
    /// heads its own content.
    fn node(self) -> impl Iterator<Item = u8> + 'a {
        let own: [&[u8]; 2] = if self.is_node() { [self.base, b"/"] } else { [b"", b""] };
        self.dir.iter().chain(slash_after(self.dir)).chain(own[0]).chain(own[1]).copied()
    }

    /// The name within [`PathKey::node`]; `None` for the directory that heads it.
    fn leaf(self) -> Option<&'a [u8]> {
        match (self.is_node(), self.is_dir) {
            (true, _) => None,
            (false, true) => Some(b""),
            (false, false) => Some(self.base),
        }
    }

    fn path(self) -> impl Iterator<Item = u8> + 'a {
        self.dir.iter().chain(slash_after(self.dir)).chain(self.base).copied()
    }
}

fn slash_after(dir: &[u8]) -> &'static [u8] {
    if dir.is_empty() || dir == b"/" { b"" } else { b"/" }
}

impl Order {
    /// The order of the session's protocol.
    #[must_use]
    pub fn of(negotiated: &Negotiated) -> Self {
        if negotiated.sorts_by_component() { Self::ByComponent } else { Self::ByPath }
    }

    /// Compares two paths.
    #[must_use]
    pub fn compare(self, a: PathKey<'_>, b: PathKey<'_>) -> Ordering {
        match self {
            Self::ByPath if a.dir == b.dir => a.base.cmp(b.base),
            Self::ByPath => a.path().cmp(b.path()),
            Self::ByComponent if a.dir == b.dir && !a.is_node() && !b.is_node() => a.leaf().cmp(&b.leaf()),
            Self::ByComponent => a.node().cmp(b.node()).then_with(|| a.leaf().cmp(&b.leaf())),
        }
    }
}

/// For each place of the sorted list the wire position of its entry; equal ones keep wire order.
pub(super) fn sorted_positions(segment: &Segment, order: Order) -> Vec<u32> {
    match order {
        Order::ByPath => {
            let mut positions: Vec<u32> = (0..segment.len() as u32).collect();
            positions.sort_by(|&a, &b| order.compare(segment.key(a), segment.key(b)));
            positions
        }
        Order::ByComponent => by_component(segment),
    }
}

/// The sort key of one entry: rank of its node, its leaf's first bytes, its wire position.
struct Key {
    /// Twice the rank of the node, plus one if there is a leaf.
    node: u64,
    prefix: u64,
    position: u32,
}

/// Sorts the directories once and the entries by the rank of theirs: whole paths are never compared.
fn by_component(segment: &Segment) -> Vec<u32> {
    let nodes = NodeRanks::new(segment);
    let mut keys: Vec<Key> = (0..segment.len() as u32)
        .map(|position| {
            let key = segment.key(position);
            if key.is_node() {
                Key { node: 2 * u64::from(nodes.entries[&position]), prefix: 0, position }
            } else {
                let rank = nodes.dirs[segment.dir_number(position) as usize];
                Key { node: 2 * u64::from(rank) + 1, prefix: first_bytes(key.leaf()), position }
            }
        })
        .collect();
    let compare = |a: &Key, b: &Key| {
        (a.node, a.prefix)
            .cmp(&(b.node, b.prefix))
            .then_with(|| segment.key(a.position).leaf().cmp(&segment.key(b.position).leaf()))
            .then(a.position.cmp(&b.position))
    };
    if !keys.is_sorted_by(|a, b| compare(a, b).is_le()) {
        keys.sort_unstable_by(compare);
    }
    keys.into_iter().map(|key| key.position).collect()
}

fn first_bytes(leaf: Option<&[u8]>) -> u64 {
    let leaf = leaf.unwrap_or_default();
    let mut bytes = [0; 8];
    let count = leaf.len().min(8);
    bytes[..count].copy_from_slice(&leaf[..count]);
    u64::from_be_bytes(bytes)
}

/// The ranks of all directories of a segment, listed or only part of a name.
struct NodeRanks {
    /// By place in the segment's table of directory parts.
    dirs: Vec<u32>,
    /// By position of a directory entry.
    entries: std::collections::HashMap<u32, u32>,
}

impl NodeRanks {
    fn new(segment: &Segment) -> Self {
        let dir_count = segment.dir_count();
        let mut text = Vec::new();
        let mut nodes: Vec<(usize, usize, usize)> = Vec::new();
        for number in 0..dir_count {
            let start = text.len();
            let dir = segment.dir_name(number as u32);
            text.extend_from_slice(dir);
            text.extend_from_slice(slash_after(dir));
            nodes.push((start, text.len(), number));
        }
        for position in 0..segment.len() as u32 {
            if segment.kind_at(position) != Kind::Dir {
                continue;
            }
            let key = segment.key(position);
            if key.is_node() {
                let start = text.len();
                text.extend(key.node());
                nodes.push((start, text.len(), dir_count + position as usize));
            }
        }
        nodes.sort_unstable_by(|a, b| text[a.0..a.1].cmp(&text[b.0..b.1]));
        let mut ranks = Self { dirs: vec![0; dir_count], entries: Default::default() };
        let mut rank = 0;
        let mut previous: Option<&[u8]> = None;
        for (start, end, owner) in nodes {
            let node = &text[start..end];
            rank += u32::from(previous.is_some_and(|previous| previous != node));
            previous = Some(node);
            match owner.checked_sub(dir_count) {
                None => ranks.dirs[owner] = rank,
                Some(position) => {
                    ranks.entries.insert(position as u32, rank);
                }
            }
        }
        ranks
    }
}
