//! Lists of requested names: `--files-from` text, its wire form, and what a sender makes of a name
//! (spec 06 §10).

use super::MAX_PATH;
use crate::wire::{Cursor, WireError};

/// Splits the text of a files-from file into names, in pieces of any size.
#[derive(Clone, Debug)]
pub struct NameReader {
    nul: bool,
    partial: Vec<u8>,
}

impl NameReader {
    /// Names end at LF or CR, or with `nul` at NUL only.
    #[must_use]
    pub fn new(nul: bool) -> Self {
        Self { nul, partial: Vec::new() }
    }

    /// Takes the next piece of text and gives `sink` every name it completes. Empty names and those
    /// that start with `#` or `;` are left out, long ones are cut to 4095 bytes.
    pub fn push(&mut self, piece: &[u8], mut sink: impl FnMut(&[u8])) {
        let nul = self.nul;
        let mut parts =
            piece.split(|&byte| if nul { byte == 0 } else { matches!(byte, b'\n' | b'\r') }).peekable();
        while let Some(part) = parts.next() {
            let room = (MAX_PATH - 1).saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&part[..part.len().min(room)]);
            if parts.peek().is_some() {
                self.flush(&mut sink);
            }
        }
    }

    /// Gives `sink` the last name, which needs no terminator.
    pub fn finish(mut self, mut sink: impl FnMut(&[u8])) {
        self.flush(&mut sink);
    }

    fn flush(&mut self, sink: &mut impl FnMut(&[u8])) {
        if !matches!(&self.partial[..], [] | [b'#' | b';', ..]) {
            sink(&self.partial);
        }
        self.partial.clear();
    }
}

/// Turns files-from text into the bytes sent to the sender. Comments are sent as names.
#[derive(Clone, Debug)]
pub struct RequestForwarder {
    nul: bool,
    inside_name: bool,
}

impl RequestForwarder {
    /// Line ends become NUL, unless names already end at NUL.
    #[must_use]
    pub fn new(nul: bool) -> Self {
        Self { nul, inside_name: false }
    }

    /// Appends the wire form of the next piece of text to `out`.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for &byte in piece {
            let ends = byte == 0 || (!self.nul && matches!(byte, b'\n' | b'\r'));
            if !ends {
                out.push(byte);
            } else if self.inside_name {
                out.push(0);
            }
            self.inside_name = !ends;
        }
    }

    /// Appends the end marker to `out`.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.inside_name {
            out.push(0);
        }
        out.push(0);
    }
}

/// Decodes forwarded names.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestReader;

impl RequestReader {
    /// The next name, cut to 4095 bytes, or `None` at the end marker.
    ///
    /// # Errors
    /// [`WireError::Incomplete`] until the name's NUL is there; [`WireError::OutOfRange`] for a name
    /// longer than 64 KiB.
    pub fn decode<'a>(input: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, WireError> {
        const LONGEST: usize = 64 << 10;
        let rest = input.rest();
        let Some(end) = rest.iter().take(LONGEST).position(|&byte| byte == 0) else {
            if rest.len() < LONGEST {
                return Err(WireError::Incomplete { missing: 1 });
            }
            let (value, max) = (rest.len() as i64, LONGEST as i64);
            return Err(WireError::OutOfRange { field: "files-from name", value, min: 0, max });
        };
        let name = &input.take(end + 1)?[..end];
        Ok((!name.is_empty()).then(|| &name[..name.len().min(MAX_PATH - 1)]))
    }
}

/// A path confined to the directory it is relative to, as a sender treats requested names (spec 06 §10)
/// and a daemon its arguments: leading slashes go, `..` never climbs above it.
/// `.` components are kept when `keep_dots`, because
/// `--relative` gives `/./` a meaning; a trailing slash is kept. An empty result is `.`.
#[must_use]
pub fn sanitize(path: &[u8], keep_dots: bool) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" => {}
            b"." if !keep_dots => {}
            b".." => while parts.pop().is_some_and(|popped| popped == b".") {},
            _ => parts.push(part),
        }
    }
    let mut out = parts.join(&b'/');
    if out.is_empty() {
        out.push(b'.');
    }
    let ends_in_dot = !keep_dots && path.ends_with(b"/.");
    if (path.ends_with(b"/") || ends_in_dot) && out != b"." {
        out.push(b'/');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = b"a\r\n\n#c\n;s\n/b\n../a\nd/e/g\n./dd/\nnone\n";

    #[test]
    fn a_direct_reader_skips_comments_whatever_the_pieces() {
        for size in 1..LIST.len() {
            let mut reader = NameReader::new(false);
            let mut names: Vec<Vec<u8>> = Vec::new();
            LIST.chunks(size).for_each(|piece| reader.push(piece, |name| names.push(name.to_vec())));
            reader.finish(|name| names.push(name.to_vec()));
            assert_eq!(names, [&b"a"[..], b"/b", b"../a", b"d/e/g", b"./dd/", b"none"]);
        }
    }

    #[test]
    fn a_forwarded_list_keeps_comments_and_ends_with_an_empty_name() {
        let mut out = Vec::new();
        let mut forwarder = RequestForwarder::new(false);
        LIST.chunks(3).for_each(|piece| forwarder.push(piece, &mut out));
        forwarder.finish(&mut out);
        assert_eq!(out, b"a\0#c\0;s\0/b\0../a\0d/e/g\0./dd/\0none\0\0");
        let mut input = Cursor::new(&out);
        let mut count = 0;
        while RequestReader::decode(&mut input).unwrap().is_some() {
            count += 1;
        }
        assert_eq!((count, input.rest().len()), (8, 0));
    }

    #[test]
    fn a_list_without_a_last_line_end_still_ends_twice() {
        let mut out = Vec::new();
        let mut forwarder = RequestForwarder::new(true);
        forwarder.push(b"\0\0a\nb", &mut out);
        forwarder.finish(&mut out);
        assert_eq!(out, b"a\nb\0\0");
    }

    #[test]
    fn names_never_climb_above_their_base() {
        assert_eq!(sanitize(b"../a", false), b"a");
        assert_eq!(sanitize(b"//x/../../y//z/", false), b"y/z/");
        assert_eq!(sanitize(b"d/./e/g", true), b"d/./e/g");
        assert_eq!(sanitize(b"d/./../g", true), b"g");
        assert_eq!(sanitize(b"/", false), b".");
        assert_eq!(sanitize(b"a/..", false), b".");
    }
}
