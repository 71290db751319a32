//! Asking for long attribute values and answering, during the transfer (spec 04 §3.3).

use std::collections::HashSet;

use super::xattr::{SentXattr, XattrValue};
use super::xattr_wire::{MAX_XATTR_VALUE, XattrError, XattrTable};
use crate::wire::{Cursor, put_varint, varint};

/// Writes the generator's block: the numbers it wants, in its order; an empty block is one byte.
pub fn put_xattr_requests(out: &mut Vec<u8>, numbers: &[u32]) {
    let mut previous = 0;
    for &number in numbers {
        put_varint(out, number.wrapping_sub(previous).cast_signed());
        previous = number;
    }
    out.push(0);
}

/// Writes the head of one answer; `len` bytes of value must follow. `previous` is the number of the
/// answer before it in the same block, 0 for the first. End the block with [`put_xattr_end`].
pub fn put_xattr_answer(out: &mut Vec<u8>, previous: u32, number: u32, len: u32) {
    put_varint(out, number.wrapping_sub(previous).cast_signed());
    put_varint(out, len.cast_signed());
}

/// Ends a block of answers.
pub fn put_xattr_end(out: &mut Vec<u8>) {
    out.push(0);
}

/// Reads the blocks of requests on the sender, and holds receivers to asking once per value.
#[derive(Debug, Default)]
pub struct XattrRequests {
    answered: HashSet<(u32, u32)>,
    number: i64,
    wanted: Vec<u32>,
}

impl XattrRequests {
    /// Reads the block for an entry with attribute list `list` of `table`, called `file` in errors;
    /// answers the wanted places in the list, ascending, as numbers counted from 1. When input
    /// runs out, what was consumed stays consumed: call again with what follows.
    ///
    /// # Errors
    /// [`XattrError::UnknownNumber`], [`XattrError::NotAbbreviated`],
    /// [`XattrError::NumberOverflow`], [`XattrError::Wire`].
    pub fn read(
        &mut self,
        input: &mut Cursor<'_>,
        table: &XattrTable,
        list: u32,
        file: &[u8],
    ) -> Result<Vec<u32>, XattrError> {
        loop {
            let delta = varint(input)?;
            if delta == 0 {
                self.number = 0;
                let mut wanted = std::mem::take(&mut self.wanted);
                wanted.sort_unstable();
                return Ok(wanted);
            }
            self.number = add(self.number, delta)?;
            let unknown = XattrError::UnknownNumber { number: self.number, file: file.into() };
            let item = usize::try_from(self.number - 1).ok().and_then(|place| table.get(list)?.get(place));
            let Some(SentXattr { name, value, .. }) = item else { return Err(unknown) };
            let number = self.number as u32;
            if matches!(value, XattrValue::Known(_)) || !self.answered.insert((list, number)) {
                return Err(XattrError::NotAbbreviated {
                    file: file.into(),
                    name: name.as_slice().into(),
                    length: value.len(),
                });
            }
            self.wanted.push(number);
        }
    }
}

fn add(number: i64, delta: i32) -> Result<i64, XattrError> {
    let sum = number + i64::from(delta);
    i32::try_from(sum).map(i64::from).map_err(|_| XattrError::NumberOverflow)
}

/// A piece of a block of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrAnswer<'a> {
    /// The value of this number follows.
    Value {
        /// Place of the attribute in its list, counted from 1.
        number: u32,
        /// Length of the value in bytes, at most [`MAX_XATTR_VALUE`].
        len: u32,
    },
    /// The next bytes of the value.
    Bytes(&'a [u8]),
    /// The block is over.
    End,
}

/// Reads a block of answers piece by piece, so that no value has to arrive at once.
#[derive(Debug, Default)]
pub struct XattrAnswerReader {
    number: i64,
    left: u32,
}

impl XattrAnswerReader {
    /// The next piece; `file` is for errors. After [`XattrAnswer::Value`] come its bytes (none if
    /// it is empty), in pieces of any length.
    ///
    /// # Errors
    /// [`XattrError::UnknownNumber`], [`XattrError::SizeOutOfRange`],
    /// [`XattrError::ValueTooLong`], [`XattrError::NumberOverflow`], [`XattrError::Wire`].
    pub fn next<'a>(&mut self, input: &mut Cursor<'a>, file: &[u8]) -> Result<XattrAnswer<'a>, XattrError> {
        if self.left > 0 {
            let there = input.rest().len().clamp(1, self.left as usize);
            let bytes = input.take(there)?;
            self.left -= there as u32;
            return Ok(XattrAnswer::Bytes(bytes));
        }
        let mut item = input.clone();
        let delta = varint(&mut item)?;
        if delta == 0 {
            self.number = 0;
            *input = item;
            return Ok(XattrAnswer::End);
        }
        let number = add(self.number, delta)?;
        let unknown = XattrError::UnknownNumber { number, file: file.into() };
        let named = u32::try_from(number).ok().filter(|number| *number > 0).ok_or(unknown)?;
        let size = varint(&mut item)?;
        let max = i32::MAX;
        let negative = XattrError::SizeOutOfRange { field: "xattr datum_len", size, max };
        let len = u32::try_from(size).map_err(|_| negative)?;
        if size > MAX_XATTR_VALUE {
            return Err(XattrError::ValueTooLong);
        }
        *input = item;
        (self.number, self.left) = (number, len);
        Ok(XattrAnswer::Value { number: named, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> XattrTable {
        let item = |name: &str, len| SentXattr {
            local: name.into(),
            name: name.into(),
            value: XattrValue::abbreviated(vec![7; len]),
        };
        let mut table = XattrTable::default();
        table.intern(vec![
            item("security.big", 41),
            item("trusted.big", 41),
            item("user.a", 41),
            item("user.b", 2),
        ]);
        table
    }

    /// Spec 04 §9.3.
    #[test]
    fn requests_may_run_backwards_and_are_answered_in_order() {
        let mut out = Vec::new();
        put_xattr_requests(&mut out, &[3, 1, 2]);
        assert_eq!(out, [3, 0xf0, 0xfe, 0xff, 0xff, 0xff, 1, 0]);
        let mut requests = XattrRequests::default();
        let mut input = Cursor::new(&out);
        assert_eq!(requests.read(&mut input, &table(), 0, b"f"), Ok(vec![1, 2, 3]));
        let again = requests.read(&mut Cursor::new(&[1, 0]), &table(), 0, b"f").expect_err("asked before");
        assert_eq!(again.to_string(), "internal abbrev error on f (security.big, len=41)!");
        let short = XattrRequests::default().read(&mut Cursor::new(&[4, 0]), &table(), 0, b"f");
        assert!(matches!(short, Err(XattrError::NotAbbreviated { .. })));
        let unknown = XattrRequests::default().read(&mut Cursor::new(&[9, 0]), &table(), 0, b"f");
        assert_eq!(unknown.expect_err("only 4").to_string(), "could not find xattr #9 for f");
    }

    #[test]
    fn a_value_arrives_in_any_pieces() {
        let mut bytes = Vec::new();
        put_xattr_answer(&mut bytes, 0, 1, 3);
        bytes.extend_from_slice(b"abc");
        put_xattr_answer(&mut bytes, 1, 2, 0);
        put_xattr_end(&mut bytes);
        assert_eq!(bytes, [1, 3, b'a', b'b', b'c', 1, 0, 0]);
        let mut reader = XattrAnswerReader::default();
        let mut input = Cursor::new(&bytes[..4]);
        assert_eq!(reader.next(&mut input, b"f"), Ok(XattrAnswer::Value { number: 1, len: 3 }));
        assert_eq!(reader.next(&mut input, b"f"), Ok(XattrAnswer::Bytes(b"ab")));
        assert!(matches!(reader.next(&mut input, b"f"), Err(XattrError::Wire(_))));
        let mut input = Cursor::new(&bytes[4..]);
        assert_eq!(reader.next(&mut input, b"f"), Ok(XattrAnswer::Bytes(b"c")));
        assert_eq!(reader.next(&mut input, b"f"), Ok(XattrAnswer::Value { number: 2, len: 0 }));
        assert_eq!(reader.next(&mut input, b"f"), Ok(XattrAnswer::End));
    }

    #[test]
    fn hostile_answers_are_refused() {
        let next =
            |bytes: &[u8]| XattrAnswerReader::default().next(&mut Cursor::new(bytes), b"f").map(|_| ());
        assert!(matches!(
            next(&[0xf0, 255, 255, 255, 255, 1]),
            Err(XattrError::UnknownNumber { number: -1, .. })
        ));
        assert_eq!(next(&[1, 0xf0, 0, 0, 0, 0x10]), Err(XattrError::ValueTooLong));
        let mut reader = XattrAnswerReader { number: 5, left: 0 };
        let huge = [0xf0, 255, 255, 255, 0x7f, 0];
        assert_eq!(reader.next(&mut Cursor::new(&huge), b"f"), Err(XattrError::NumberOverflow));
    }
}
