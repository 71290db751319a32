//! A tree in the lines of spec 07 §22.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use bstr::BString;
use rustix::fs::{major, minor};

/// The lines of `name` below `root`; times from `started` on are `now`.
pub(super) fn of(root: &Path, name: &str, started: i64) -> Vec<BString> {
    let mut lister = Lister { started, first_names: HashMap::new(), lines: Vec::new() };
    let path = root.join(name);
    if path.symlink_metadata().is_ok() {
        lister.visit(&path, BString::from(name));
    }
    lister.lines
}

struct Lister {
    started: i64,
    first_names: HashMap<u64, BString>,
    lines: Vec<BString>,
}

impl Lister {
    fn visit(&mut self, path: &Path, name: BString) {
        let facts = path.symlink_metadata().unwrap();
        let kind = facts.file_type();
        let mode = facts.mode() & 0o7777;
        let time = if facts.mtime() >= self.started { "now".to_owned() } else { facts.mtime().to_string() };
        let rest = if kind.is_dir() {
            format!("/ {mode:o} {time}")
        } else if kind.is_symlink() {
            let target = fs::read_link(path).unwrap();
            format!(" -> {} {time}", target.display())
        } else if kind.is_file() {
            let sum = crc32(&fs::read(path).unwrap_or_default());
            format!(" {mode:o} {} {time} {sum:08x}{}", facts.size(), self.links(&facts, &name))
        } else if kind.is_char_device() || kind.is_block_device() {
            let letter = if kind.is_char_device() { 'c' } else { 'b' };
            let device = facts.rdev();
            format!(" {letter} {mode:o} {},{} {time}", major(device), minor(device))
        } else {
            let word = if kind.is_fifo() { "fifo" } else { "sock" };
            format!(" {word} {mode:o} {time}")
        };
        let mut line = name.clone();
        line.extend_from_slice(rest.as_bytes());
        self.lines.push(line);
        if kind.is_dir() {
            let mut children: Vec<_> =
                fs::read_dir(path).into_iter().flatten().map(|child| child.unwrap().file_name()).collect();
            children.sort_unstable();
            for child in children {
                let mut child_name = name.clone();
                child_name.push(b'/');
                child_name.extend_from_slice(child.as_bytes());
                self.visit(&path.join(&child), child_name);
            }
        }
    }

    fn links(&mut self, facts: &fs::Metadata, name: &BString) -> String {
        if facts.nlink() < 2 {
            return String::new();
        }
        match self.first_names.get(&facts.ino()) {
            Some(first) => format!(" ={first}"),
            None => {
                self.first_names.insert(facts.ino(), name.clone());
                format!(" links={}", facts.nlink())
            }
        }
    }
}

/// The CRC of zip files.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_crc_is_the_usual_one() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
    }
}
