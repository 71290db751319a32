//! The bytes of extended attributes in file lists (spec 04 §3.2).

use std::collections::HashMap;
use std::sync::Arc;

use bstr::BString;

use super::xattr::{ReceivedXattr, ReceivedXattrs, SentXattrs, XattrValue};
use crate::exit::ExitCode;
use crate::wire::{Cursor, NeedsInput, WireError, put_varint, varint};

/// Longest value in bytes.
pub const MAX_XATTR_VALUE: i32 = 128 << 20;
/// Most bytes of names and values in one list.
const MAX_LIST: u64 = 512 << 20;
/// Most attributes in one list.
const MAX_COUNT: i32 = 65536;
/// Longest name in bytes, its NUL included.
const MAX_NAME: i32 = 4096;

/// Why extended attributes were rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XattrError {
    /// A primitive is malformed or out of range, or merely incomplete.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A reference names no list received before.
    #[error("receive_xattr: xa index {index} out of range for {file}")]
    IndexOutOfRange {
        /// The reference.
        index: i32,
        /// The entry.
        file: BString,
    },
    /// A length is negative or too large.
    #[error("wire size {field} out of range: {size} > {max}")]
    SizeOutOfRange {
        /// The C rsync's name of the field.
        field: &'static str,
        /// The length received.
        size: i32,
        /// The longest allowed.
        max: i32,
    },
    /// A value is longer than [`MAX_XATTR_VALUE`].
    #[error("xattr datum_len exceeds per-value limit")]
    ValueTooLong,
    /// One entry has more than 512 MiB of attributes.
    #[error("xattr list exceeds per-file limit")]
    ListTooLong,
    /// A name does not end in NUL.
    #[error("Invalid xattr name received (missing trailing \\0).")]
    NameWithoutNul,
    /// A name contains a NUL or is empty.
    #[error("Invalid xattr name received: {name:?}")]
    InvalidName {
        /// The name.
        name: BString,
    },
    /// The distances between numbers add up to more than 32 bits.
    #[error("xattr rel_pos accumulation overflow")]
    NumberOverflow,
    /// A number names no attribute of the entry.
    #[error("could not find xattr #{number} for {file}")]
    UnknownNumber {
        /// The number.
        number: i64,
        /// The entry.
        file: BString,
    },
    /// A value is not abbreviated, or was asked for before.
    #[error("internal abbrev error on {file} ({name}, len={length})!")]
    NotAbbreviated {
        /// The entry.
        file: BString,
        /// The attribute.
        name: BString,
        /// Length of its value in bytes.
        length: usize,
    },
}

impl XattrError {
    /// The status rsync ends with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Wire(error) => error.exit_code(),
            Self::IndexOutOfRange { .. } => ExitCode::STREAM,
            Self::NameWithoutNul | Self::InvalidName { .. } => ExitCode::FILE_IO,
            Self::SizeOutOfRange { .. }
            | Self::ValueTooLong
            | Self::ListTooLong
            | Self::NumberOverflow
            | Self::UnknownNumber { .. }
            | Self::NotAbbreviated { .. } => ExitCode::PROTOCOL,
        }
    }
}

impl NeedsInput for XattrError {
    fn missing(&self) -> Option<usize> {
        match self {
            Self::Wire(error) => error.missing(),
            _ => None,
        }
    }
}

/// Distinct attribute lists of a sender by number; the scanner fills it.
#[derive(Debug, Default)]
pub struct XattrTable {
    lists: Vec<Arc<SentXattrs>>,
    numbers: HashMap<Arc<SentXattrs>, u32>,
}

impl XattrTable {
    /// The number of `list`, which is added if it is new.
    pub fn intern(&mut self, list: SentXattrs) -> u32 {
        if let Some(&number) = self.numbers.get(&list) {
            return number;
        }
        let (list, number) = (Arc::new(list), self.lists.len() as u32);
        self.lists.push(Arc::clone(&list));
        self.numbers.insert(list, number);
        number
    }

    /// The list with `number`.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&Arc<SentXattrs>> {
        self.lists.get(number as usize)
    }
}

/// Remembers which lists the receiver knows, and by which number.
#[derive(Debug, Default)]
pub struct XattrEncoder {
    /// By number in the sender's table: number on the wire plus 1, 0 for not sent yet.
    sent: Vec<u32>,
    count: u32,
}

impl XattrEncoder {
    /// Writes list `number` of `table`: in full the first time, then as a reference.
    pub fn put(&mut self, out: &mut Vec<u8>, table: &XattrTable, number: u32) {
        let Some(list) = table.get(number) else {
            debug_assert!(false, "xattr list {number} is not in the table");
            return;
        };
        let slot = number as usize;
        if slot >= self.sent.len() {
            self.sent.resize(slot + 1, 0);
        }
        put_varint(out, self.sent[slot].cast_signed());
        if self.sent[slot] != 0 {
            return;
        }
        self.count += 1;
        self.sent[slot] = self.count;
        put_varint(out, list.len() as i32);
        for item in list.iter() {
            put_varint(out, item.name.len() as i32 + 1);
            put_varint(out, item.value.len() as i32);
            out.extend_from_slice(&item.name);
            out.push(0);
            match &item.value {
                XattrValue::Known(value) => out.extend_from_slice(value),
                XattrValue::Digest { md5, .. } => out.extend_from_slice(md5),
            }
        }
    }
}

/// Reads the attribute lists of a session; a long one may arrive in pieces.
#[derive(Debug, Default)]
pub struct XattrReader {
    lists: Vec<ReceivedXattrs>,
    partial: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    list: ReceivedXattrs,
    count: u32,
    read: u32,
    bytes: u64,
}

impl XattrReader {
    /// The list with `number`.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&ReceivedXattrs> {
        self.lists.get(number as usize)
    }

    /// The list with `number`, to note requests and values in.
    #[must_use]
    pub fn get_mut(&mut self, number: u32) -> Option<&mut ReceivedXattrs> {
        self.lists.get_mut(number as usize)
    }

    /// The lists received so far, by number.
    #[must_use]
    pub fn lists(&self) -> &[ReceivedXattrs] {
        &self.lists
    }

    /// Reads the list of `file` and answers its number. When input runs out, what was consumed
    /// stays consumed: call again with what follows.
    ///
    /// `local_name` answers the name to keep an attribute under, or `None` to drop it; a dropped
    /// one still counts in the numbers.
    ///
    /// # Errors
    /// Those of [`XattrError`].
    pub fn read(
        &mut self,
        input: &mut Cursor<'_>,
        file: &[u8],
        local_name: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<u32, XattrError> {
        let mut partial = match self.partial.take() {
            Some(partial) => partial,
            None => {
                let mut item = input.clone();
                let index = varint(&mut item)?;
                if index != 0 {
                    *input = item;
                    let known = usize::try_from(index).is_ok_and(|index| index <= self.lists.len());
                    let out_of_range = || XattrError::IndexOutOfRange { index, file: file.into() };
                    return if known { Ok(index as u32 - 1) } else { Err(out_of_range()) };
                }
                let count = varint(&mut item)?;
                if !(0..=MAX_COUNT).contains(&count) {
                    let (value, max) = (count.into(), MAX_COUNT.into());
                    return Err(WireError::OutOfRange { field: "xattr count", value, min: 0, max }.into());
                }
                *input = item;
                Partial { list: ReceivedXattrs::default(), count: count as u32, read: 0, bytes: 0 }
            }
        };
        while partial.read < partial.count {
            if let Err(error) = partial.attribute(input, local_name) {
                self.partial = Some(partial);
                return Err(error);
            }
        }
        partial.list.items.sort_by(|a, b| a.name.cmp(&b.name));
        self.lists.push(partial.list);
        Ok(self.lists.len() as u32 - 1)
    }
}

impl Partial {
    fn attribute(
        &mut self,
        input: &mut Cursor<'_>,
        local_name: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<(), XattrError> {
        let mut item = input.clone();
        let name_len = size(&mut item, "xattr name_len", MAX_NAME)?;
        let value_len = size(&mut item, "xattr datum_len", i32::MAX)?;
        if value_len > MAX_XATTR_VALUE as usize {
            return Err(XattrError::ValueTooLong);
        }
        let bytes = self.bytes + name_len as u64 + value_len as u64;
        if bytes > MAX_LIST {
            return Err(XattrError::ListTooLong);
        }
        let name = item.take(name_len)?.strip_suffix(b"\0").ok_or(XattrError::NameWithoutNul)?;
        if name.is_empty() || name.contains(&0) {
            return Err(XattrError::InvalidName { name: name.into() });
        }
        let value = if XattrValue::is_abbreviated(value_len) {
            XattrValue::Digest { len: value_len as u32, md5: item.array()? }
        } else {
            XattrValue::Known(item.take(value_len)?.to_vec())
        };
        self.read += 1;
        self.bytes = bytes;
        if let Some(name) = local_name(name) {
            self.list.items.push(ReceivedXattr { name, number: self.read, value, requested: false });
        }
        *input = item;
        Ok(())
    }
}

fn size(input: &mut Cursor<'_>, field: &'static str, max: i32) -> Result<usize, XattrError> {
    let size = varint(input)?;
    if size > max {
        return Err(XattrError::SizeOutOfRange { field, size, max });
    }
    usize::try_from(size).map_err(|_| XattrError::SizeOutOfRange { field, size, max })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::SentXattr;
    use proptest::prelude::*;

    fn attribute(name: &str, value: &[u8]) -> SentXattr {
        let name = name.as_bytes().to_vec();
        SentXattr { local: name.clone(), name, value: XattrValue::abbreviated(value.to_vec()) }
    }

    fn read(bytes: &[u8]) -> Result<ReceivedXattrs, XattrError> {
        let mut reader = XattrReader::default();
        let number = reader.read(&mut Cursor::new(bytes), b".", &mut |name| Some(name.to_vec()))?;
        Ok(reader.get(number).expect("just read").clone())
    }

    /// Spec 04 §9.2.
    #[test]
    fn lists_have_the_golden_form() {
        let long: Vec<u8> = b"ABCD".iter().flat_map(|byte| [*byte; 10]).collect();
        let mut table = XattrTable::default();
        let big = table.intern(vec![attribute("user.big", &long), attribute("user.small", b"hi")]);
        let empty = table.intern(vec![]);
        let c = table.intern(vec![
            attribute("trusted.t", b"tt"),
            attribute("user.e32", &[b'1'; 32]),
            attribute("user.e33", &[b'1'; 33]),
        ]);
        let (mut encoder, mut out) = (XattrEncoder::default(), Vec::new());
        for number in [empty, big, c, big] {
            encoder.put(&mut out, &table, number);
        }
        let hex = "0000 0002 0928757365722e62696700389b2834eab0a92b75e90c1a7fd49b3a 0b02757365722e736d616c6c006869 \
            0003 0a02747275737465642e74007474 0920757365722e65333200"
            .replace([' ', '\n'], "");
        let start: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
            .collect();
        assert_eq!(out[..start.len()], start);
        assert_eq!(out.last(), Some(&2));

        let mut reader = XattrReader::default();
        let mut input = Cursor::new(&out);
        let mut next = || reader.read(&mut input, b"f", &mut |name| Some(name.to_vec()));
        assert_eq!([next(), next(), next(), next()], [Ok(0), Ok(1), Ok(2), Ok(1)]);
        assert!(
            !reader.lists()[1]
                .differs_from(&[(b"user.big".to_vec(), long), (b"user.small".to_vec(), b"hi".to_vec())])
        );
        assert_eq!(reader.lists()[2].items.len(), 3);
    }

    #[test]
    fn dropped_names_count_and_the_rest_is_sorted() {
        let bytes = b"\x00\x03\x02\x01b\x001\x02\x01x\x002\x02\x01a\x003";
        let mut reader = XattrReader::default();
        let mut local = |name: &[u8]| (name != b"x").then(|| name.to_vec());
        assert_eq!(reader.read(&mut Cursor::new(bytes), b"f", &mut local), Ok(0));
        let found: Vec<_> = reader.lists()[0].items.iter().map(|item| (item.name[0], item.number)).collect();
        assert_eq!(found, [(b'a', 3), (b'b', 1)]);
    }

    #[test]
    fn hostile_lists_are_refused_in_the_words_of_the_c_rsync() {
        let cases: [(&[u8], &str, ExitCode); 9] = [
            (&[5], "receive_xattr: xa index 5 out of range for .", ExitCode::STREAM),
            (&[0xf0, 255, 255, 255, 255], "receive_xattr: xa index -1 out of range for .", ExitCode::STREAM),
            (
                &[0, 0xc1, 1, 0],
                "wire value xattr count out of range: 65537 not in [0,65536]",
                ExitCode::PROTOCOL,
            ),
            (&[0, 1, 0x90, 1, 0], "wire size xattr name_len out of range: 4097 > 4096", ExitCode::PROTOCOL),
            (
                &[0, 1, 0xf0, 255, 255, 255, 255, 0],
                "wire size xattr name_len out of range: -1 > 4096",
                ExitCode::PROTOCOL,
            ),
            (
                &[0, 1, 5, 0xf0, 255, 255, 255, 255],
                "wire size xattr datum_len out of range: -1 > 2147483647",
                ExitCode::PROTOCOL,
            ),
            (&[0, 1, 5, 0xf0, 0, 0, 0, 0x10], "xattr datum_len exceeds per-value limit", ExitCode::PROTOCOL),
            (
                b"\x00\x01\x04\x00abcd",
                "Invalid xattr name received (missing trailing \\0).",
                ExitCode::FILE_IO,
            ),
            (b"\x00\x01\x00\x00", "Invalid xattr name received (missing trailing \\0).", ExitCode::FILE_IO),
        ];
        for (bytes, words, code) in cases {
            let error = read(bytes).expect_err(words);
            assert_eq!((error.to_string().as_str(), error.exit_code()), (words, code));
        }
        let large = b"\x05\xf0\x00\x00\x00\x08abcd\x000123456789abcdef";
        let bytes = [&[0, 5][..], &large.repeat(5)].concat();
        assert_eq!(read(&bytes), Err(XattrError::ListTooLong));
    }

    proptest! {
        #[test]
        fn lists_survive_the_wire_in_any_pieces(
            lists in prop::collection::vec(
                prop::collection::btree_map("[a-z.]{1,20}", prop::collection::vec(any::<u8>(), 0..40), 0..6), 1..5),
            piece in 1_usize..50,
        ) {
            let mut table = XattrTable::default();
            let (mut encoder, mut out) = (XattrEncoder::default(), Vec::new());
            for list in &lists {
                let number = table.intern(list.iter().map(|(name, value)| attribute(name, value)).collect());
                encoder.put(&mut out, &table, number);
            }
            let mut reader = XattrReader::default();
            let (mut start, mut end, mut numbers) = (0, piece.min(out.len()), Vec::new());
            while numbers.len() < lists.len() {
                let mut input = Cursor::new(&out[start..end]);
                match reader.read(&mut input, b"f", &mut |name| Some(name.to_vec())) {
                    Ok(number) => numbers.push(number),
                    Err(error) => {
                        prop_assert!(error.missing().is_some() && end < out.len());
                        end = (end + piece).min(out.len());
                    }
                }
                start += input.position();
            }
            for (number, list) in numbers.iter().zip(&lists) {
                let local: Vec<_> = list.iter().map(|(n, v)| (n.as_bytes().to_vec(), v.clone())).collect();
                prop_assert!(!reader.get(*number).expect("known").differs_from(&local));
            }
        }
    }
}
