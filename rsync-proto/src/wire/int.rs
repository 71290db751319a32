//! Variable-length integers and strings (spec 02 §1).

use super::{Cursor, WireError};

/// Number of bytes that follow a first byte `first` of a varint or varlong.
fn extra_bytes(first: u8) -> usize {
    match first.leading_ones() {
        ones @ 0..=4 => ones as usize,
        5 => 5,
        _ => 6,
    }
}

/// The payload bits of the first byte when `extra` bytes follow.
fn payload(first: u8, extra: usize) -> u8 {
    if extra >= 6 { first & 3 } else { first & ((1u16 << (8 - extra)) - 1) as u8 }
}

/// Decodes a varint: signed 32 bits in 1 to 5 bytes (spec 02 §1.2).
///
/// # Errors
/// [`WireError::VarintOverflow`] for a first byte above `f7`; [`WireError::Incomplete`].
pub fn varint(input: &mut Cursor<'_>) -> Result<i32, WireError> {
    let first = input.u8()?;
    let extra = extra_bytes(first);
    if extra > 4 {
        return Err(WireError::VarintOverflow);
    }
    let mut bytes = [0; 5];
    bytes[..extra].copy_from_slice(input.take(extra)?);
    bytes[extra] = payload(first, extra);
    Ok(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// Encodes `value` in its shortest varint form.
pub fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_minimal(out, &value.to_le_bytes(), 1);
}

/// Decodes a varlong of at least `min` bytes: signed 64 bits (spec 02 §1.3).
///
/// # Errors
/// [`WireError::VarlongOverflow`] when more than nine bytes are announced; [`WireError::Incomplete`].
pub fn varlong(input: &mut Cursor<'_>, min: usize) -> Result<i64, WireError> {
    debug_assert!((1..=8).contains(&min), "varlong minimum {min}");
    let first = input.u8()?;
    let extra = extra_bytes(first);
    if min + extra > 9 {
        return Err(WireError::VarlongOverflow);
    }
    let low = min - 1 + extra;
    let mut bytes = [0; 9];
    bytes[..low].copy_from_slice(input.take(low)?);
    bytes[low] = payload(first, extra);
    let [b0, b1, b2, b3, b4, b5, b6, b7, _] = bytes;
    Ok(i64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]))
}

/// Encodes `value` in its shortest varlong form of at least `min` bytes (1 to 8).
pub fn put_varlong(out: &mut Vec<u8>, value: i64, min: usize) {
    debug_assert!((1..=8).contains(&min), "varlong minimum {min}");
    put_minimal(out, &value.to_le_bytes(), min);
}

/// The common form of both: the top byte first, merged into the length prefix where it fits.
fn put_minimal(out: &mut Vec<u8>, bytes: &[u8], min: usize) {
    let mut count = bytes.len();
    while count > min && bytes[count - 1] == 0 {
        count -= 1;
    }
    let extra = count - min;
    let top = bytes[count - 1];
    if u16::from(top) < 1 << (7 - extra) {
        out.push(prefix(extra) | top);
        out.extend_from_slice(&bytes[..count - 1]);
    } else {
        out.push(prefix(extra + 1));
        out.extend_from_slice(&bytes[..count]);
    }
}

/// `ones` leading one-bits.
fn prefix(ones: usize) -> u8 {
    !(0xff_u16 >> ones) as u8
}

/// Decodes a longint: an int, or `ff ff ff ff` and eight bytes (spec 02 §1.1).
///
/// # Errors
/// [`WireError::Incomplete`].
pub fn longint(input: &mut Cursor<'_>) -> Result<i64, WireError> {
    match input.i32()? {
        -1 => Ok(i64::from_le_bytes(input.array()?)),
        value => Ok(i64::from(value)),
    }
}

/// Encodes a longint.
pub fn put_longint(out: &mut Vec<u8>, value: i64) {
    match i32::try_from(value) {
        Ok(small) if small >= 0 => out.extend_from_slice(&small.to_le_bytes()),
        _ => {
            out.extend_from_slice(&[0xff; 4]);
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
}

/// Decodes an int or, where `modern` (protocol 30 and later), a varint (spec 02 §1.4).
///
/// # Errors
/// Those of [`varint`].
pub fn varint30(input: &mut Cursor<'_>, modern: bool) -> Result<i32, WireError> {
    if modern { varint(input) } else { input.i32() }
}

/// Encodes what [`varint30`] decodes.
pub fn put_varint30(out: &mut Vec<u8>, value: i32, modern: bool) {
    if modern { put_varint(out, value) } else { out.extend_from_slice(&value.to_le_bytes()) }
}

/// Decodes a longint or, where `modern` (protocol 30 and later), a varlong.
///
/// # Errors
/// Those of [`varlong`].
pub fn varlong30(input: &mut Cursor<'_>, min: usize, modern: bool) -> Result<i64, WireError> {
    if modern { varlong(input, min) } else { longint(input) }
}

/// Encodes what [`varlong30`] decodes.
pub fn put_varlong30(out: &mut Vec<u8>, value: i64, min: usize, modern: bool) {
    if modern { put_varlong(out, value, min) } else { put_longint(out, value) }
}

/// Decodes a vstring of at most `limit` bytes (spec 02 §1.4).
///
/// # Errors
/// [`WireError::VstringTooLong`]; [`WireError::Incomplete`].
pub fn vstring<'a>(input: &mut Cursor<'a>, limit: usize) -> Result<&'a [u8], WireError> {
    let mut length = usize::from(input.u8()?);
    if length > 0x7f {
        length = (length & 0x7f) << 8 | usize::from(input.u8()?);
    }
    if length > limit {
        return Err(WireError::VstringTooLong { length, limit });
    }
    input.take(length)
}

/// Encodes a vstring.
///
/// # Errors
/// [`WireError::VstringTooLong`] above 32767 bytes, the most its length can say.
pub fn put_vstring(out: &mut Vec<u8>, text: &[u8]) -> Result<(), WireError> {
    const LIMIT: usize = 0x7fff;
    let length = text.len();
    if length > LIMIT {
        return Err(WireError::VstringTooLong { length, limit: LIMIT });
    }
    if length > 0x7f {
        out.push(0x80 | (length >> 8) as u8);
    }
    out.push(length as u8);
    out.extend_from_slice(text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn varints_have_the_golden_form() {
        let golden: [(i32, &[u8]); 12] = [
            (0, &[0]),
            (127, &[0x7f]),
            (128, &[0x80, 0x80]),
            (256, &[0x81, 0]),
            (16383, &[0xbf, 0xff]),
            (16384, &[0xc0, 0, 0x40]),
            (65536, &[0xc1, 0, 0]),
            (0xff_ffff, &[0xe0, 0xff, 0xff, 0xff]),
            (0x100_0000, &[0xe1, 0, 0, 0]),
            (0x1000_0000, &[0xf0, 0, 0, 0, 0x10]),
            (-1, &[0xf0, 0xff, 0xff, 0xff, 0xff]),
            (i32::MIN, &[0xf0, 0, 0, 0, 0x80]),
        ];
        for (value, bytes) in golden {
            assert_eq!(encoded(|out| put_varint(out, value)), bytes, "{value}");
            assert_eq!(varint(&mut Cursor::new(bytes)), Ok(value));
        }
        assert_eq!(varint(&mut Cursor::new(&[0x80, 5])), Ok(5));
        assert_eq!(varint(&mut Cursor::new(&[0xf8])), Err(WireError::VarintOverflow));
    }

    #[test]
    fn varlongs_have_the_golden_form() {
        let golden: [(i64, &[u8], &[u8]); 7] = [
            (53, &[0, 0x35, 0], &[0, 0x35, 0, 0]),
            (0x800000, &[0x80, 0, 0, 0x80], &[0, 0, 0, 0x80]),
            (1577836800, &[0xc0, 0, 0xe1, 0x0b, 0x5e], &[0x5e, 0, 0xe1, 0x0b]),
            (1 << 32, &[0xc1, 0, 0, 0, 0], &[0x81, 0, 0, 0, 0]),
            (1 << 51, &[0xf8, 0, 0, 0, 0, 0, 0, 8], &[0xe8, 0, 0, 0, 0, 0, 0]),
            (
                i64::MAX,
                &[0xfc, 255, 255, 255, 255, 255, 255, 255, 0x7f],
                &[0xf8, 255, 255, 255, 255, 255, 255, 255, 0x7f],
            ),
            (
                -1,
                &[0xfc, 255, 255, 255, 255, 255, 255, 255, 255],
                &[0xf8, 255, 255, 255, 255, 255, 255, 255, 255],
            ),
        ];
        for (value, three, four) in golden {
            assert_eq!(encoded(|out| put_varlong(out, value, 3)), three, "{value}");
            assert_eq!(encoded(|out| put_varlong(out, value, 4)), four, "{value}");
        }
        assert_eq!(varlong(&mut Cursor::new(&[0xfc]), 4), Err(WireError::VarlongOverflow));
    }

    proptest! {
        #[test]
        fn integers_survive_the_wire(value: i64, small: i32, min in 3_usize..=4) {
            let bytes = encoded(|out| {
                put_varlong(out, value, min);
                put_longint(out, value);
                put_varint(out, small);
            });
            let mut input = Cursor::new(&bytes);
            prop_assert_eq!(varlong(&mut input, min), Ok(value));
            prop_assert_eq!(longint(&mut input), Ok(value));
            prop_assert_eq!(varint(&mut input), Ok(small));
            prop_assert!(input.rest().is_empty());
        }

        #[test]
        fn vstrings_survive_the_wire(text: Vec<u8>) {
            let bytes = encoded(|out| put_vstring(out, &text).expect("short"));
            prop_assert_eq!(vstring(&mut Cursor::new(&bytes), 4095), Ok(&text[..]));
        }
    }
}
