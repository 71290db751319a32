//! Random trees, and random changes of them.

use std::collections::BTreeMap;

use super::dice::Dice;
use crate::program::is_root;
use crate::tree::{Tree, random};

/// A tree that can be changed; entries by path.
#[derive(Clone, Debug, Default)]
pub struct World {
    entries: BTreeMap<Vec<u8>, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    kind: Kind,
    mode: Option<u32>,
    time: Option<(i64, u32)>,
    owner: Option<(u32, u32)>,
    xattrs: Vec<(String, Vec<u8>)>,
    restricted: bool,
    /// Permissions that keep even the owner out.
    closed: Option<u32>,
}

#[derive(Clone, Debug)]
enum Kind {
    Dir,
    File(Vec<u8>),
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    Fifo,
    Device(u32),
}

/// Components of names: what sorts oddly, needs escaping, looks like an option or like our own names.
const NAMES: [&[u8]; 24] = [
    b"a",
    b"b",
    b"c",
    b"sub",
    b"sub.d",
    b"sub-x",
    b"Sub",
    b"a b",
    b"-v",
    b".hidden",
    b"new\nline",
    b"\xff\xfe",
    b"*",
    b"[x]",
    b"x~",
    b"z.bak",
    b"core",
    b"main.o",
    b"~",
    b"\\#011",
    b"..x",
    b"caf\xc3\xa9",
    b"00",
    b"a.txt",
];

/// Sizes around everything that has a limit.
const SIZES: [usize; 14] =
    [0, 1, 31, 699, 700, 701, 1400, 4096, 16_385, 32_768, 65_537, 131_072, 262_145, 700_000];

const TARGETS: [&[u8]; 6] = [b"a", b"../a", b"sub/a", b"/etc/passwd", b"../../../escape", b"dangling"];

impl World {
    /// A tree of a few to a few dozen entries.
    #[must_use]
    pub fn random(dice: &mut Dice) -> Self {
        let mut world = Self::default();
        for _ in 0..dice.below(50) + 2 {
            world.add(dice);
        }
        world
    }

    /// The same after a few changes.
    #[must_use]
    pub fn changed(&self, dice: &mut Dice) -> Self {
        let mut world = self.clone();
        for _ in 0..dice.below(15) {
            world.change(dice);
        }
        world
    }

    /// The same with files in place of further names of files.
    #[must_use]
    pub fn unlinked(mut self) -> Self {
        for entry in self.entries.values_mut().filter(|entry| matches!(entry.kind, Kind::HardLink(_))) {
            entry.kind = Kind::File(b"alone".to_vec());
        }
        self
    }

    /// Puts files of rules into a few directories.
    pub fn rule(&mut self, dice: &mut Dice) {
        for _ in 0..3 {
            let dir = self.some_path(dice);
            let is_dir = self.entries.get(&dir).is_some_and(|entry| matches!(entry.kind, Kind::Dir));
            let name = *dice.pick(&[&b".rules"[..], b".rsync-filter"]);
            let path = if is_dir { [&dir[..], b"/", name].concat() } else { name.to_vec() };
            let rules = Kind::File(super::wide::rules(dice));
            self.entries.insert(path, entry(rules, dice));
        }
    }

    /// Takes away permissions that the owner of a few things needs.
    pub fn close(&mut self, dice: &mut Dice) {
        for entry in self.entries.values_mut() {
            // The C rsync lets an owner enter a directory that it may write to but neither read nor search.
            let modes: &[u32] = match entry.kind {
                Kind::File(_) => &[0, 0o100, 0o200, 0o300, 0o400, 0o444, 0o500, 0o555],
                Kind::Dir => &[0, 0o100, 0o400, 0o444, 0o500, 0o555],
                _ => continue,
            };
            if dice.once_in(8) {
                entry.closed = Some(*dice.pick(modes));
            }
        }
    }

    /// Bytes of all files.
    #[must_use]
    pub fn size(&self) -> usize {
        let size = |entry: &Entry| if let Kind::File(content) = &entry.kind { content.len() } else { 0 };
        self.entries.values().map(size).sum()
    }

    /// The path of one entry; empty if there is none.
    pub fn some_path(&self, dice: &mut Dice) -> Vec<u8> {
        let paths: Vec<&Vec<u8>> = self.entries.keys().collect();
        if paths.is_empty() { Vec::new() } else { (*dice.pick(&paths)).clone() }
    }

    /// What the harness writes.
    #[must_use]
    pub fn tree(&self) -> Tree {
        let made = self.entries.iter().fold(Tree::new(), |tree, (path, entry)| match &entry.kind {
            Kind::HardLink(_) => tree,
            kind => attributes(make(tree, path, kind), path, entry),
        });
        let linked = self.entries.iter().fold(made, |tree, (path, entry)| match &entry.kind {
            Kind::HardLink(old) if self.is_file(old) => tree.hard_link(path, old),
            Kind::HardLink(_) => tree.file(path, "alone"),
            _ => tree,
        });
        self.entries.iter().fold(linked, |tree, (path, entry)| match entry.closed {
            Some(mode) => tree.closed(path, mode),
            None => tree,
        })
    }

    fn is_file(&self, path: &[u8]) -> bool {
        self.entries.get(path).is_some_and(|entry| matches!(entry.kind, Kind::File(_)))
    }

    fn add(&mut self, dice: &mut Dice) {
        let path = self.new_path(dice);
        if self.entries.contains_key(&path) {
            return;
        }
        let kind = self.new_kind(dice);
        self.entries.insert(path, entry(kind, dice));
    }

    /// A name in the root or in one of the directories.
    fn new_path(&self, dice: &mut Dice) -> Vec<u8> {
        let dirs: Vec<&Vec<u8>> = self
            .entries
            .iter()
            .filter(|(_, entry)| matches!(entry.kind, Kind::Dir))
            .map(|(path, _)| path)
            .collect();
        let name = *dice.pick(&NAMES);
        if dirs.is_empty() || dice.once_in(3) {
            return name.to_vec();
        }
        [dice.pick(&dirs).as_slice(), b"/", name].concat()
    }

    fn new_kind(&self, dice: &mut Dice) -> Kind {
        match dice.below(12) {
            0..=3 => Kind::Dir,
            4 => Kind::Symlink(dice.pick(&TARGETS).to_vec()),
            5 => {
                let files: Vec<&Vec<u8>> = self.entries.keys().filter(|path| self.is_file(path)).collect();
                match files.is_empty() {
                    true => Kind::Fifo,
                    false => Kind::HardLink(dice.pick(&files).to_vec()),
                }
            }
            6 if is_root() && dice.once_in(2) => Kind::Device(dice.below(300) as u32),
            6 => Kind::Fifo,
            _ => Kind::File(content(dice)),
        }
    }

    fn change(&mut self, dice: &mut Dice) {
        let paths: Vec<Vec<u8>> = self.entries.keys().cloned().collect();
        if paths.is_empty() || dice.once_in(4) {
            return self.add(dice);
        }
        let path = dice.pick(&paths);
        match dice.below(6) {
            0 => self.remove(path),
            1 => {
                self.remove(path);
                let kind = self.new_kind(dice);
                self.entries.insert(path.clone(), entry(kind, dice));
            }
            2 | 3 => {
                if let Some(Entry { kind: Kind::File(content), time, .. }) = self.entries.get_mut(path) {
                    edit(content, dice);
                    *time = Some(a_time(dice));
                }
            }
            _ => {
                let kind = self.entries.get(path).map(|entry| entry.kind.clone());
                if let Some(kind) = kind {
                    self.entries.insert(path.clone(), entry(kind, dice));
                }
            }
        }
    }

    fn remove(&mut self, path: &[u8]) {
        let below = [path, b"/"].concat();
        self.entries.retain(|other, _| other != path && !other.starts_with(&below));
    }
}

fn make(tree: Tree, path: &[u8], kind: &Kind) -> Tree {
    match kind {
        Kind::Dir => tree.dir(path),
        Kind::File(content) => tree.file(path, content.clone()),
        Kind::Symlink(target) => tree.symlink(path, target),
        Kind::Fifo => tree.fifo(path),
        Kind::Device(minor) => tree.char_device(path, 1, *minor),
        Kind::HardLink(old) => tree.hard_link(path, old),
    }
}

fn attributes(tree: Tree, path: &[u8], entry: &Entry) -> Tree {
    let is_link = matches!(entry.kind, Kind::Symlink(_));
    let owned = entry.owner.iter().fold(tree, |tree, &(uid, gid)| tree.owner(path, uid, gid));
    let modes = entry.mode.iter().filter(|_| !is_link).fold(owned, |tree, &mode| tree.mode(path, mode));
    let takes_xattrs = matches!(entry.kind, Kind::File(_) | Kind::Dir);
    let named = entry
        .xattrs
        .iter()
        .filter(|_| takes_xattrs)
        .fold(modes, |tree, (name, value)| tree.xattr(path, name, value.clone()));
    let restricted = match entry.restricted && takes_xattrs {
        true => named.acl(
            path,
            // Whoever is not root has to be able to fill a directory.
            &[
                (1, if is_root() { 6 } else { 7 }, u32::MAX),
                (2, 4, 99),
                (4, 4, u32::MAX),
                (16, 5, u32::MAX),
                (32, 0, u32::MAX),
            ],
        ),
        false => named,
    };
    entry.time.iter().fold(restricted, |tree, &(seconds, nanoseconds)| tree.time(path, seconds, nanoseconds))
}

fn entry(kind: Kind, dice: &mut Dice) -> Entry {
    let usable = if matches!(kind, Kind::Dir) { 0o700 } else { 0o600 };
    let mut xattrs = Vec::new();
    if dice.once_in(8) {
        let length = *dice.pick(&[0, 3, 32, 33, 500]);
        xattrs.push(("user.one".to_owned(), random(length, dice.below(3))));
    }
    if dice.once_in(20) {
        xattrs.push(("user.two".to_owned(), b"2".to_vec()));
    }
    Entry {
        kind,
        mode: dice.once_in(3).then(|| dice.below(0o2000) as u32 | usable),
        time: dice.once_in(2).then(|| a_time(dice)),
        owner: (is_root() && dice.once_in(6)).then(|| (dice.below(3000) as u32, dice.below(3000) as u32)),
        xattrs,
        restricted: dice.once_in(15),
        closed: None,
    }
}

fn a_time(dice: &mut Dice) -> (i64, u32) {
    let nanoseconds = if dice.once_in(2) { dice.below(1_000_000_000) as u32 } else { 0 };
    (1_000_000_000 + dice.below(600_000_000) as i64, nanoseconds)
}

fn content(dice: &mut Dice) -> Vec<u8> {
    let size = *dice.pick(&SIZES);
    match dice.below(4) {
        0 => vec![0; size],
        1 => b"the same line again and again\n".iter().copied().cycle().take(size).collect(),
        _ => random(size, dice.below(5)),
    }
}

/// Overwrites, inserts, removes or appends something.
fn edit(content: &mut Vec<u8>, dice: &mut Dice) {
    let at = dice.below(content.len() as u64 + 1) as usize;
    let piece = random(dice.below(3000) as usize + 1, dice.any());
    match dice.below(5) {
        0 => drop(content.splice(at..at, piece)),
        1 => content.truncate(at),
        2 => content.extend(piece),
        3 => {
            let end = content.len().min(at + piece.len());
            content.drain(at..end);
        }
        _ => content.iter_mut().skip(at).take(5).for_each(|byte| *byte ^= 0x55),
    }
}
