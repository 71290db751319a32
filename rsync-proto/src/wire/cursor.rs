//! The input of every binary decoder: a view of the bytes received so far.
//!
//! A decoder reads through a [`Cursor`] and answers a value, "need n more bytes"
//! ([`WireError::Incomplete`]) or another error. Nothing is consumed from the caller's buffer until
//! the decoder succeeded: the driver then advances by [`Cursor::position`].

use super::WireError;

/// Reads scalars and slices from the front of a byte slice, without copying.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Number of bytes consumed so far.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// The bytes not yet consumed.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.position..]
    }

    /// Consumes exactly `count` bytes.
    ///
    /// # Errors
    /// [`WireError::Incomplete`] with the number of bytes that are missing.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let rest = self.rest();
        match rest.get(..count) {
            Some(taken) => {
                self.position += count;
                Ok(taken)
            }
            None => Err(WireError::Incomplete { missing: count - rest.len() }),
        }
    }

    /// Consumes `N` bytes into an array.
    ///
    /// # Errors
    /// [`WireError::Incomplete`] when fewer are there.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// Consumes one byte.
    ///
    /// # Errors
    /// [`WireError::Incomplete`] at the end of the input.
    pub fn u8(&mut self) -> Result<u8, WireError> {
        Ok(self.array::<1>()?[0])
    }

    /// Consumes a "short": two bytes, little-endian (spec 02 §1.1).
    ///
    /// # Errors
    /// [`WireError::Incomplete`] when fewer than two bytes are there.
    pub fn u16(&mut self) -> Result<u16, WireError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Consumes an unsigned 32-bit little-endian word.
    ///
    /// # Errors
    /// [`WireError::Incomplete`] when fewer than four bytes are there.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Consumes an "int": a signed 32-bit little-endian word (spec 02 §1.1).
    ///
    /// # Errors
    /// [`WireError::Incomplete`] when fewer than four bytes are there.
    pub fn i32(&mut self) -> Result<i32, WireError> {
        Ok(i32::from_le_bytes(self.array()?))
    }
}
