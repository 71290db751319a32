//! Values as bytes, for messages between the processes of one daemon.
//!
//! Both ends are the same executable, so there are no versions; [`read_frame`] limits what the less
//! trusted end can make the other allocate.

use std::io::{self, Read, Write};
use std::net::IpAddr;

use bstr::BString;
use rsync_proto::wire::{Cursor, WireError};

/// Bytes are not a value of the type that is wanted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackedError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("a message between processes holds no {0}")]
    Malformed(&'static str),
    #[error("a message between processes goes on after its end")]
    Trailing,
    #[error("a message between processes has {0} bytes")]
    TooLong(usize),
}

impl From<PackedError> for io::Error {
    fn from(error: PackedError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// A value that can be written down and read again.
pub(crate) trait Packed: Sized {
    /// Appends it to `out`.
    fn pack(&self, out: &mut Vec<u8>);

    /// Reads one.
    fn unpack(input: &mut Cursor<'_>) -> Result<Self, PackedError>;
}

/// A structure, field by field.
macro_rules! packed_struct {
    ($name:ident { $($field:ident),* $(,)? } $(, ..$rest:expr)?) => {
        impl $crate::packed::Packed for $name {
            fn pack(&self, out: &mut Vec<u8>) {
                $($crate::packed::Packed::pack(&self.$field, out);)*
            }

            fn unpack(
                input: &mut rsync_proto::wire::Cursor<'_>,
            ) -> Result<Self, $crate::packed::PackedError> {
                Ok(Self { $($field: $crate::packed::Packed::unpack(input)?,)* $(..$rest)? })
            }
        }
    };
}
pub(crate) use packed_struct;

impl Packed for u8 {
    fn pack(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn unpack(input: &mut Cursor<'_>) -> Result<Self, PackedError> {
        Ok(input.u8()?)
    }
}

impl Packed for bool {
    fn pack(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn unpack(input: &mut Cursor<'_>) -> Result<Self, PackedError> {
        match input.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(PackedError::Malformed("truth value")),
        }
    }
}

impl Packed for u32 {
    fn pack(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn unpack(input: &mut Cursor<'_>) -> Result<Self, PackedError> {
        Ok(input.u32()?)
    }
}

impl Packed for u64 {
    fn pack(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn unpack(input: &mut Cursor<'_>) -> Result<Self, PackedError> {
        Ok(Self::from_le_bytes(input.array()?))
    }
}

impl Packed for i32 {
    fn pack(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn unpack(input: &mut Cursor<'_>) -> Result<Self, PackedError> {
        Ok(input.i32()?)
    }
}

impl Packed for BString {
    fn pack(&self, out: &mut Vec<u8>) {
        put_length(self.len(), out);
        out.extend_from_slice(self);
    }

    fn unpack(input: &mut Cursor<'_>) -> Result<Self, PackedError> {
        let length = input.u32()? as usize;
        Ok(input.take(length)?.into())
    }
}

impl Packed for String {
    fn pack(&self, out: &mut Vec<u8>) {
        put_length(self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }

    fn unpack(input: &mut Cursor<'_>) -> Result<Self, PackedError> {
        let text: Vec<u8> = BString::unpack(input)?.into();
        Self::from_utf8(text).map_err(|_| PackedError::Malformed("text"))
    }
}

impl Packed for IpAddr {
    fn pack(&self, out: &mut Vec<u8>) {
        self.to_string().pack(out);
    }

    fn unpack(input: &mut Cursor<'_>) -> Result<Self, PackedError> {
        String::unpack(input)?.parse().map_err(|_| PackedError::Malformed("address"))
    }
}

impl<T: Packed> Packed for Option<T> {
    fn pack(&self, out: &mut Vec<u8>) {
        self.is_some().pack(out);
        if let Some(value) = self {
            value.pack(out);
        }
    }

    fn unpack(input: &mut Cursor<'_>) -> Result<Self, PackedError> {
        if bool::unpack(input)? { T::unpack(input).map(Some) } else { Ok(None) }
    }
}

impl<T: Packed> Packed for Vec<T> {
    fn pack(&self, out: &mut Vec<u8>) {
        put_length(self.len(), out);
        self.iter().for_each(|value| value.pack(out));
    }

    fn unpack(input: &mut Cursor<'_>) -> Result<Self, PackedError> {
        let count = input.u32()?;
        (0..count).map(|_| T::unpack(input)).collect()
    }
}

impl<A: Packed, B: Packed> Packed for (A, B) {
    fn pack(&self, out: &mut Vec<u8>) {
        self.0.pack(out);
        self.1.pack(out);
    }

    fn unpack(input: &mut Cursor<'_>) -> Result<Self, PackedError> {
        Ok((A::unpack(input)?, B::unpack(input)?))
    }
}

fn put_length(length: usize, out: &mut Vec<u8>) {
    // No frame is that long, so what would not fit is refused where it is sent.
    u32::try_from(length).unwrap_or(u32::MAX).pack(out);
}

/// Bytes in front of a frame: the length of the rest, little-endian.
pub(crate) const FRAME_HEADER: usize = 4;

/// `value` as a frame.
pub(crate) fn frame(value: &impl Packed, limit: usize) -> Result<Vec<u8>, PackedError> {
    let mut out = vec![0; FRAME_HEADER];
    value.pack(&mut out);
    let length = out.len() - FRAME_HEADER;
    let header = u32::try_from(length).ok().filter(|_| length <= limit);
    out[..FRAME_HEADER].copy_from_slice(&header.ok_or(PackedError::TooLong(length))?.to_le_bytes());
    Ok(out)
}

/// The length that a frame's header announces, if `limit` allows it.
pub(crate) fn frame_length(header: [u8; FRAME_HEADER], limit: usize) -> Result<usize, PackedError> {
    let length = u32::from_le_bytes(header) as usize;
    if length > limit { Err(PackedError::TooLong(length)) } else { Ok(length) }
}

/// The value of a whole frame without its header.
pub(crate) fn unframe<T: Packed>(body: &[u8]) -> Result<T, PackedError> {
    let mut input = Cursor::new(body);
    let value = T::unpack(&mut input)?;
    if input.rest().is_empty() { Ok(value) } else { Err(PackedError::Trailing) }
}

/// Sends a value.
pub(crate) fn write_frame(out: &mut impl Write, value: &impl Packed, limit: usize) -> io::Result<()> {
    out.write_all(&frame(value, limit)?)
}

/// Receives a value.
pub(crate) fn read_frame<T: Packed>(input: &mut impl Read, limit: usize) -> io::Result<T> {
    let mut header = [0; FRAME_HEADER];
    input.read_exact(&mut header)?;
    let mut body = vec![0; frame_length(header, limit)?];
    input.read_exact(&mut body)?;
    Ok(unframe(&body)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Example {
        list: Vec<(BString, bool)>,
        number: Option<i32>,
        address: IpAddr,
    }
    packed_struct!(Example { list, number, address });

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(
            list: Vec<(Vec<u8>, bool)>, number: Option<i32>, address: IpAddr
        ) {
            let list = list.into_iter().map(|(text, flag)| (text.into(), flag)).collect();
            let value = Example { list, number, address };
            let mut out = Vec::new();
            write_frame(&mut out, &value, 1 << 20).expect("short");
            prop_assert_eq!(read_frame::<Example>(&mut out.as_slice(), 1 << 20).expect("whole"), value);
        }

        #[test]
        fn anything_else_is_an_error_or_a_value(bytes: Vec<u8>) {
            let _ = unframe::<Example>(&bytes);
        }
    }

    #[test]
    fn a_long_frame_is_refused_at_both_ends() {
        let text = BString::from(vec![b'x'; 100]);
        assert!(frame(&text, 103).is_err());
        let whole = frame(&text, 104).expect("short");
        assert!(read_frame::<BString>(&mut whole.as_slice(), 103).is_err());
        let more = [&whole[FRAME_HEADER..], b"y"].concat();
        assert!(matches!(unframe::<BString>(&more), Err(PackedError::Trailing)));
    }
}
