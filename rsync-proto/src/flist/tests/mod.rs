//! Helpers of the file-list tests.

mod golden;
mod lists;
mod rejection;
mod roundtrip;

use super::*;
use crate::session::{CompatFlags, Negotiated};
use crate::wire::Cursor;

/// Compat flags of a modern session with incremental recursion; `INC - 1` is one without.
const INC: u32 = 0x1ff;
const NON_INC: u32 = 0x1fe;
/// Incremental, but without varint flags and id-0 names.
const INC_PLAIN: u32 = 0x7f;

fn session(protocol: u8, compat: u32) -> Negotiated {
    Negotiated::new(protocol, CompatFlags(compat))
}

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.lines().map(|line| line.split('#').next().unwrap_or("")).collect();
    let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ascii"), 16).expect("hex");
    digits.chunks(2).map(pair).collect()
}

/// The database of the machine the vectors were captured on.
struct Captured;

impl OwnerNames for Captured {
    fn user(&mut self, uid: u32) -> Option<Vec<u8>> {
        match uid {
            0 => Some(b"root".into()),
            1 => Some(b"daemon".into()),
            33 => Some(b"www-data".into()),
            _ => None,
        }
    }

    fn group(&mut self, gid: u32) -> Option<Vec<u8>> {
        match gid {
            100 => Some(b"users".into()),
            gid if gid < 33 => self.user(gid),
            _ => None,
        }
    }
}

/// `-a` without device numbers.
fn archive() -> Columns {
    Columns {
        uid: true,
        gid: true,
        links: true,
        recurse: true,
        devices: true,
        specials: true,
        ..Columns::default()
    }
}

fn entry(path: &str, mode: u32, size: u64, mtime: i64) -> Entry {
    let flags = if mode & 0o170_000 == 0o040_000 { EntryFlags::CONTENT_DIR } else { EntryFlags::NONE };
    Entry { path: path.into(), mode, size, mtime, flags, ..Entry::default() }
}

fn top(mut entry: Entry) -> Entry {
    entry.flags = entry.flags.with(EntryFlags::TOP_DIR);
    entry
}

fn dir(path: &str) -> Entry {
    entry(path, 0o040_755, 4096, 1_000_000_000)
}

fn file(path: &str, size: u64) -> Entry {
    entry(path, 0o100_644, size, 1_000_000_000)
}

/// One list: where it starts, whose content it is, its entries and the bytes of all of it.
struct List {
    start: u32,
    parent: Option<(u32, &'static str)>,
    entries: Vec<Entry>,
    io_error: i32,
    bytes: &'static str,
}

impl List {
    fn first(start: u32, entries: Vec<Entry>, bytes: &'static str) -> Self {
        Self { start, parent: None, entries, io_error: 0, bytes }
    }

    fn below(parent: u32, dir: &'static str, start: u32, entries: Vec<Entry>, bytes: &'static str) -> Self {
        Self { start, parent: Some((parent, dir)), entries, io_error: 0, bytes }
    }

    fn builder(&self, columns: &Columns) -> SegmentBuilder {
        match self.parent {
            None => SegmentBuilder::new(self.start, columns),
            Some((parent, dir)) => {
                SegmentBuilder::announced(ListHead { start: self.start, parent, dir: dir.into() }, columns)
            }
        }
    }
}

fn encoded(encoder: &mut FileListEncoder, list: &List) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin(list.start);
    for entry in &list.entries {
        encoder.put(&mut out, entry);
    }
    encoder.end(&mut out, list.io_error);
    out
}

/// Decodes a whole list whose bytes arrive in pieces of `piece`.
fn decode(
    decoder: &mut FileListDecoder,
    list: &mut SegmentBuilder,
    bytes: &[u8],
    piece: usize,
) -> Result<i32, FileListError> {
    let (mut start, mut end) = (0, piece.min(bytes.len()));
    loop {
        let mut input = Cursor::new(&bytes[start..end]);
        match decoder.next(&mut input, list) {
            Ok(Item::End { io_error }) => {
                assert_eq!(start + input.position(), bytes.len(), "bytes are left");
                return Ok(io_error);
            }
            Ok(_) => start += input.position(),
            Err(error) if crate::wire::NeedsInput::missing(&error).is_some() && end < bytes.len() => {
                end = (end + piece).min(bytes.len());
            }
            Err(error) => return Err(error),
        }
    }
}

/// What the receiver should hold of a sent entry: no identity on disk, no fields that did not travel.
fn received(sent: &Entry, columns: &Columns, negotiated: &Negotiated) -> Entry {
    let kind = sent.kind();
    let mut entry = Entry { inode: None, group: None, ..sent.clone() };
    if !negotiated.has_nanoseconds() {
        entry.nsec = 0;
    }
    if !negotiated.is_modern() {
        entry.mtime = i64::from(sent.mtime as u32);
    }
    if !columns.uid {
        entry.uid = 0;
    }
    if !columns.gid {
        entry.gid = 0;
    }
    if !columns.links || kind != Kind::Symlink {
        entry.target.clear();
    }
    if !columns.devices || !kind.is_device() {
        entry.rdev = DeviceNumber::default();
    }
    if !columns.atimes || kind == Kind::Dir {
        entry.atime = 0;
    }
    if !columns.crtimes {
        entry.crtime = 0;
    }
    match columns.checksum {
        Some(length) if kind == Kind::File => entry.digest.resize(length, 0),
        Some(length) => entry.digest = vec![0; length],
        None => entry.digest.clear(),
    }
    entry
}

/// Encodes the lists to their golden bytes, and decodes those to the entries, in one piece and in
/// single bytes.
fn check(negotiated: &Negotiated, columns: &Columns, lists: &[List]) {
    let mut encoder = FileListEncoder::new(negotiated, columns.clone(), Box::new(Captured));
    for list in lists {
        let bytes = hex(list.bytes);
        assert_eq!(
            hex_text(&encoded(&mut encoder, list)),
            hex_text(&bytes),
            "protocol {}",
            negotiated.protocol()
        );
    }
    for piece in [1, usize::MAX] {
        let mut decoder = FileListDecoder::new(negotiated, columns.clone());
        for list in lists {
            let mut builder = list.builder(columns);
            let io_error = decode(&mut decoder, &mut builder, &hex(list.bytes), piece).expect("valid");
            assert_eq!(io_error, list.io_error);
            assert_eq!(builder.len(), list.entries.len());
            for (position, sent) in list.entries.iter().enumerate() {
                let mut found = Entry::default();
                builder.get(position).expect("counted").load(&mut found);
                found.group = None;
                assert_eq!(found, received(sent, columns, negotiated), "protocol {}", negotiated.protocol());
            }
        }
    }
}

fn hex_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
