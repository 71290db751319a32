//! Lines of the daemon's text phase (spec 01 §2.1).

use crate::wire::{Cursor, NeedsInput, WireError};

/// Longest greeting or request a daemon reads, in bytes without line ending.
pub const REQUEST_LINE_LIMIT: usize = 1022;
/// Longest line a client reads, and longest auth response a daemon reads, in bytes without line ending.
pub const LONG_LINE_LIMIT: usize = 5118;

/// Why a line cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The line has not ended yet.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A NUL byte is in the line.
    #[error("the line contains a NUL byte")]
    Nul,
    /// The line does not end in time.
    #[error("the line is longer than {limit} bytes")]
    TooLong {
        /// Most bytes allowed, without CR and LF.
        limit: usize,
    },
}

impl NeedsInput for LineError {
    fn missing(&self) -> Option<usize> {
        match self {
            Self::Wire(error) => error.missing(),
            _ => None,
        }
    }
}

/// Decodes one line of at most `limit` bytes; the LF and every CR are dropped. As many CRs as bytes
/// allowed may be among them.
///
/// # Errors
/// [`LineError::Nul`]; [`LineError::TooLong`]; [`WireError::Incomplete`] before the LF has come.
pub fn line(input: &mut Cursor<'_>, limit: usize) -> Result<Vec<u8>, LineError> {
    let rest = input.rest();
    let end = rest.iter().position(|&byte| byte == b'\n');
    let body = &rest[..end.unwrap_or(rest.len())];
    if body.contains(&0) {
        return Err(LineError::Nul);
    }
    let kept = body.iter().filter(|&&byte| byte != b'\r').count();
    if kept > limit || body.len() - kept > limit {
        return Err(LineError::TooLong { limit });
    }
    if end.is_none() {
        return Err(WireError::Incomplete { missing: 1 }.into());
    }
    let line = body.iter().copied().filter(|&byte| byte != b'\r').collect();
    input.take(body.len() + 1)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], limit: usize) -> Result<(Vec<u8>, usize), LineError> {
        let mut input = Cursor::new(bytes);
        line(&mut input, limit).map(|line| (line, input.position()))
    }

    #[test]
    fn carriage_returns_vanish_and_the_rest_stays() {
        assert_eq!(read(b"a\rb\r\nrest", 8), Ok((b"ab".to_vec(), 5)));
        assert_eq!(read(b"\nx", 8), Ok((Vec::new(), 1)));
    }

    #[test]
    fn nul_and_overflow_end_the_connection() {
        assert_eq!(read(b"a\0", 8), Err(LineError::Nul));
        assert_eq!(read(&[b'x'; 9], 8), Err(LineError::TooLong { limit: 8 }));
        assert_eq!(read(b"12345678\r\n", 8), Ok((b"12345678".to_vec(), 10)));
        assert_eq!(read(&[b'\r'; 9], 8), Err(LineError::TooLong { limit: 8 }));
    }

    #[test]
    fn an_open_line_waits() {
        assert_eq!(read(b"abc", 8).expect_err("no LF").missing(), Some(1));
    }
}
