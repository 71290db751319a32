//! `--detect-renamed`: a file that is missing may be in the destination under another name, and then
//! serves as basis, or is copied (not in the C rsync).
//!
//! Which file that is, size and time tell, or size and digest with `-c`. A wrong guess costs a transfer,
//! never content: what is made of a basis is verified as a whole, and what is copied has the digest of
//! the list.

use std::fs::File;
use std::io;
use std::sync::Arc;

use rsync_proto::phase::ItemFlags;
use rustix::fs::ioctl_ficlone;

use super::entry::At;
use super::judge::item_flags;
use super::run::Generator;
use crate::EngineError;
use crate::confine::{Dir, DirStack};

/// A smaller file travels as fast as its block sums, in bytes.
const SMALLEST: u64 = 1024;
/// Files known at most; beyond them nothing is detected.
const MOST_FILES: usize = 1 << 20;
/// Bytes of their paths at most.
const MOST_TEXT: usize = 64 << 20;
/// Directories nested deeper than this are not looked into.
const MAX_DEPTH: usize = 256;
/// So many files of the same size are hashed in search of one.
const MOST_HASHED: usize = 8;

/// The files of the destination as they were when the first was missing.
#[derive(Debug, Default)]
pub(super) struct Renamed(Option<Places>);

#[derive(Debug, Default)]
struct Places {
    /// Sorted by size, time and path.
    files: Vec<Known>,
    /// All paths, one after the other.
    text: Vec<u8>,
}

#[derive(Debug)]
struct Known {
    size: u64,
    /// Seconds since 1970.
    mtime: i64,
    start: u32,
    length: u16,
}

impl Places {
    /// Looks at everything beneath `root`. No link is followed, and what cannot be read is left out.
    fn of(root: &Dir) -> Self {
        let mut places = Self::default();
        if let Ok(root) = root.try_clone() {
            places.add(&root, &mut Vec::new(), 0);
        }
        let text = &places.text;
        places.files.sort_by(|a, b| (a.size, a.mtime, a.path(text)).cmp(&(b.size, b.mtime, b.path(text))));
        places
    }

    fn add(&mut self, dir: &Dir, path: &mut Vec<u8>, depth: usize) {
        for name in dir.names().unwrap_or_default() {
            let room = self.files.len() < MOST_FILES && self.text.len() + path.len() < MOST_TEXT;
            let Ok(stat) = dir.stat(&name) else { continue };
            let above = path.len();
            if above > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            if stat.is_dir() && depth < MAX_DEPTH && room {
                if let Ok(inner) = dir.open_dir(&name) {
                    self.add(&inner, path, depth + 1);
                }
            } else if stat.is_file() && stat.size >= SMALLEST && room {
                let place = (u32::try_from(self.text.len()), u16::try_from(path.len()));
                if let (Ok(start), Ok(length)) = place {
                    self.files.push(Known { size: stat.size, mtime: stat.mtime.0, start, length });
                    self.text.extend_from_slice(path);
                }
            }
            path.truncate(above);
        }
    }

    /// The files of this size, and of this time if one is given.
    fn like(&self, size: u64, mtime: Option<i64>) -> impl Iterator<Item = &[u8]> {
        let key = move |known: &Known| (known.size, mtime.map(|_| known.mtime));
        let first = self.files.partition_point(|known| key(known) < (size, mtime));
        let files = self.files[first..].iter().take_while(move |known| key(known) == (size, mtime));
        files.map(|known| known.path(&self.text))
    }
}

impl Known {
    fn path<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        &text[self.start as usize..self.start as usize + usize::from(self.length)]
    }
}

/// Opens the regular file at `path` beneath `root`; no link is followed.
///
/// # Errors
/// What the system says.
pub(crate) fn open(root: &Arc<Dir>, path: &[u8]) -> io::Result<File> {
    let (dir, name) = split(path);
    DirStack::new(Arc::clone(root)).dir(dir)?.open_read(name)
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

impl Generator<'_> {
    /// The path of a file of the destination that a missing one most likely was; of several, one that
    /// has its name.
    pub(super) fn find_renamed(&mut self, at: &At<'_>) -> Option<Vec<u8>> {
        let options = &self.session.options;
        let entry = &at.entry;
        if !options.detect_renamed
            || self.in_redo
            || !self.session.exchanges_data()
            || entry.size() < SMALLEST
        {
            return None;
        }
        let root = &self.destination?.root;
        let places = self.renamed.0.get_or_insert_with(|| Places::of(root));
        if options.checksum {
            let found = places.like(entry.size(), None).take(MOST_HASHED);
            let mut found = found.map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter();
            return found.find(|path| open(root, path).is_ok_and(|file| self.has_digest(at, file)));
        }
        if self.session.sends_whole_files() {
            return None;
        }
        let mut found = places.like(entry.size(), Some(entry.mtime()));
        let first = found.next()?;
        let named = std::iter::once(first).chain(found).find(|path| split(path).1 == entry.name());
        Some(named.unwrap_or(first).to_vec())
    }

    /// With `-c` the content of the file at `path` is known to be right: copies it, and answers whether
    /// that worked.
    pub(super) fn copy_renamed(&mut self, at: &At<'_>, path: &[u8]) -> Result<bool, EngineError> {
        let wanted = self.wanted(at, None);
        let flags = item_flags(&at.entry, None, &wanted, ItemFlags::LOCAL_CHANGE, &self.session.options)
            | self.extended_flags(at, None, &wanted);
        let Some(destination) = self.destination else { return Ok(false) };
        let copied = open(&destination.root, path).and_then(|from| self.copy_from(at, &from, &wanted));
        if copied.is_err() {
            return Ok(false);
        }
        self.discard_partial(at);
        self.itemize(at, flags, None)?;
        self.succeed_unsent(at.index)?;
        self.member_in_place(at)?;
        Ok(true)
    }
}

/// Gives `to` the content of `from`: the same blocks where the file system can.
///
/// # Errors
/// What the system says.
pub(super) fn copy_content(from: &mut &File, to: &mut File) -> io::Result<()> {
    match ioctl_ficlone(&*to, *from) {
        Ok(()) => Ok(()),
        Err(_) => io::copy(from, to).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_size_and_time_wherever_they_are() {
        let place = tempfile::tempdir().expect("a directory");
        let dir = Dir::open(place.path()).expect("open");
        std::fs::create_dir_all(place.path().join("a/b")).expect("dirs");
        for (path, size, mtime) in
            [("x", 2000, 5), ("a/y", 2000, 5), ("a/b/z", 2000, 6), ("a/b/w", 3000, 5), ("small", 10, 5)]
        {
            std::fs::write(place.path().join(path), vec![0; size]).expect("file");
            let (parent, name) = split(path.as_bytes());
            let parent = dir.open_beneath(parent).expect("parent");
            parent.set_times(name, Some((mtime, 7)), None).expect("times");
        }
        std::os::unix::fs::symlink("/", place.path().join("out")).expect("link");
        let places = Places::of(&dir);
        let like = |size, mtime| places.like(size, mtime).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(like(2000, Some(5)), [b"a/y".to_vec(), b"x".to_vec()]);
        assert_eq!(like(2000, None).len(), 3);
        assert_eq!(like(3000, Some(5)), [b"a/b/w"]);
        assert!(like(10, Some(5)).is_empty() && like(2000, Some(4)).is_empty());
        assert_eq!(places.files.len(), 4);
    }
}
