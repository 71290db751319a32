//! File indexes and the special values that travel in their place (spec 02 §4).
//!
//! Each direction of a connection has one encoder and one decoder, from its first index to its
//! last: list headers, requests and phases share the memories.

use super::{Cursor, NeedsInput, WireError};
use crate::exit::ExitCode;

/// Offset of list headers: directory `d` travels as `-101 - d`.
const LIST_OFFSET: i64 = -101;

/// What an index on the wire can mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ndx {
    /// Entry number, 0 to 2^31 - 1.
    Item(u32),
    /// NDX_DONE: a list or a phase is complete.
    Done,
    /// NDX_FLIST_EOF: no more lists follow (incremental recursion).
    FileListEof,
    /// NDX_DEL_STATS: a deletion statistics block follows.
    DeleteStats,
    /// The list of a directory's content follows (incremental recursion).
    SubList {
        /// Number of the directory among all directories, at most 2^31 - 102.
        dir: u32,
    },
}

impl Ndx {
    /// The signed number that stands for it.
    #[must_use]
    pub fn value(self) -> i64 {
        match self {
            Self::Item(index) => i64::from(index),
            Self::Done => -1,
            Self::FileListEof => -2,
            Self::DeleteStats => -3,
            Self::SubList { dir } => LIST_OFFSET - i64::from(dir),
        }
    }

    fn from_value(value: i64) -> Result<Self, NdxError> {
        match value {
            0.. => Ok(Self::Item(u32::try_from(value).map_err(|_| NdxError::Invalid { value })?)),
            -1 => Ok(Self::Done),
            -2 => Ok(Self::FileListEof),
            -3 => Ok(Self::DeleteStats),
            ..=LIST_OFFSET => {
                let dir = u32::try_from(LIST_OFFSET - value).map_err(|_| NdxError::Invalid { value })?;
                Ok(Self::SubList { dir })
            }
            _ => Err(NdxError::Invalid { value }),
        }
    }
}

/// Why no index could be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NdxError {
    /// The number is too large, or negative and without a meaning (exit 2).
    #[error("Invalid file index: {value}")]
    Invalid {
        /// The number received.
        value: i64,
    },
    /// The bytes are not there.
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl NdxError {
    /// What rsync's process would exit with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Invalid { .. } => ExitCode::PROTOCOL,
            Self::Wire(error) => error.exit_code(),
        }
    }
}

impl NeedsInput for NdxError {
    fn missing(&self) -> Option<usize> {
        match self {
            Self::Wire(error) => error.missing(),
            Self::Invalid { .. } => None,
        }
    }
}

/// The last index of each sign; deltas are relative to it. Negative ones are kept as magnitudes.
#[derive(Clone, Copy, Debug)]
struct Memories {
    positive: i64,
    negative: i64,
}

impl Default for Memories {
    fn default() -> Self {
        Self { positive: -1, negative: 1 }
    }
}

/// Decodes the indexes of one direction.
#[derive(Clone, Debug)]
pub struct NdxDecoder {
    modern: bool,
    memories: Memories,
}

impl NdxDecoder {
    /// Starts a direction; `modern` is [`Negotiated::is_modern`](crate::session::Negotiated::is_modern).
    #[must_use]
    pub fn new(modern: bool) -> Self {
        Self { modern, memories: Memories::default() }
    }

    /// Decodes the index at the front of `input`; after an error the decoder is as it was.
    ///
    /// # Errors
    /// [`NdxError::Invalid`] for a number without a meaning; [`WireError::Incomplete`].
    pub fn decode(&mut self, input: &mut Cursor<'_>) -> Result<Ndx, NdxError> {
        if !self.modern {
            let value = input.i32()?;
            return match value {
                -1.. => Ndx::from_value(i64::from(value)),
                _ => Err(NdxError::Invalid { value: i64::from(value) }),
            };
        }
        match input.u8()? {
            0 => Ok(Ndx::Done),
            0xff => {
                let first = input.u8()?;
                let magnitude = body(input, first, self.memories.negative)?;
                if magnitude < 2 {
                    return Err(NdxError::Invalid { value: -magnitude });
                }
                let ndx = Ndx::from_value(-magnitude)?;
                self.memories.negative = magnitude;
                Ok(ndx)
            }
            first => {
                let value = body(input, first, self.memories.positive)?;
                if value < 0 {
                    return Err(NdxError::Invalid { value });
                }
                self.memories.positive = value;
                Ndx::from_value(value)
            }
        }
    }
}

/// The number behind the sign byte: a delta to `previous` or an absolute value.
fn body(input: &mut Cursor<'_>, first: u8, previous: i64) -> Result<i64, NdxError> {
    let value = match first {
        0xfe => match input.array::<2>()? {
            [high, low] if high & 0x80 == 0 => previous + i64::from(u16::from_be_bytes([high, low])),
            [top, low] => {
                let [second, third] = input.array()?;
                i64::from(u32::from_le_bytes([low, second, third, top & 0x7f]))
            }
        },
        delta => previous + i64::from(delta),
    };
    if value > i64::from(i32::MAX) { Err(NdxError::Invalid { value }) } else { Ok(value) }
}

/// Encodes the indexes of one direction.
#[derive(Clone, Debug)]
pub struct NdxEncoder {
    modern: bool,
    memories: Memories,
}

impl NdxEncoder {
    /// Starts a direction; `modern` is [`Negotiated::is_modern`](crate::session::Negotiated::is_modern).
    #[must_use]
    pub fn new(modern: bool) -> Self {
        Self { modern, memories: Memories::default() }
    }

    /// Appends `ndx`, whose number must be within the limits [`Ndx`] states.
    pub fn encode(&mut self, out: &mut Vec<u8>, ndx: Ndx) {
        let value = ndx.value();
        debug_assert!(value.unsigned_abs() <= i32::MAX as u64, "index {value}");
        if !self.modern {
            debug_assert!(value >= -1, "index {value} below protocol 30");
            out.extend_from_slice(&(value as i32).to_le_bytes());
            return;
        }
        let (memory, magnitude) = match value {
            -1 => {
                out.push(0);
                return;
            }
            0.. => (&mut self.memories.positive, value),
            _ => {
                out.push(0xff);
                (&mut self.memories.negative, -value)
            }
        };
        let delta = magnitude - *memory;
        *memory = magnitude;
        match delta {
            1..=253 => out.push(delta as u8),
            0 | 254..=32767 => {
                out.push(0xfe);
                out.extend_from_slice(&(delta as u16).to_be_bytes());
            }
            _ => {
                let [low, second, third, top] = (magnitude as u32).to_le_bytes();
                out.extend_from_slice(&[0xfe, 0x80 | top, low, second, third]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dir(dir: u32) -> Ndx {
        Ndx::SubList { dir }
    }

    fn check(steps: &[(Ndx, &[u8])]) {
        let (mut encoder, mut decoder) = (NdxEncoder::new(true), NdxDecoder::new(true));
        for (ndx, bytes) in steps {
            let mut out = Vec::new();
            encoder.encode(&mut out, *ndx);
            assert_eq!(out, *bytes, "{ndx:?}");
            for cut in 0..bytes.len() {
                let error = decoder.decode(&mut Cursor::new(&bytes[..cut])).expect_err("cut");
                assert!(error.missing().is_some());
            }
            assert_eq!(decoder.decode(&mut Cursor::new(bytes)), Ok(*ndx));
        }
    }

    #[test]
    fn indexes_have_the_golden_form() {
        use Ndx::*;
        check(&[
            (Item(0), &[1]),
            (Item(1), &[1]),
            (Item(2), &[1]),
            (Item(5), &[3]),
            (Item(5), &[0xfe, 0, 0]),
            (Item(4), &[0xfe, 0x80, 4, 0, 0]),
            (Done, &[0]),
            (Item(258), &[0xfe, 0, 0xfe]),
            (FileListEof, &[0xff, 1]),
            (dir(0), &[0xff, 0x63]),
            (dir(1), &[0xff, 1]),
            (FileListEof, &[0xff, 0xfe, 0x80, 2, 0, 0]),
            (DeleteStats, &[0xff, 1]),
        ]);
        check(&[(dir(0), &[0xff, 0x64])]);
        check(&[(dir(1), &[0xff, 0x65])]);
        check(&[(DeleteStats, &[0xff, 2])]);
        check(&[
            (Item(252), &[0xfd]),
            (Item(506), &[0xfe, 0, 0xfe]),
            (Item(33273), &[0xfe, 0x7f, 0xff]),
            (Item(66041), &[0xfe, 0x80, 0xf9, 1, 1]),
            (Item(66042), &[1]),
            (Item(i32::MAX as u32), &[0xfe, 0xff, 0xff, 0xff, 0xff]),
        ]);
    }

    #[test]
    fn a_golden_list_header_sequence_of_incremental_recursion_decodes() {
        let bytes = [0xff, 0x65, 0xff, 2, 0xff, 0xfe, 0x80, 0x67, 0, 0, 0xff, 0xfe, 0x80, 2, 0, 0];
        let (mut decoder, mut input) = (NdxDecoder::new(true), Cursor::new(&bytes));
        let got = std::array::from_fn::<_, 4, _>(|_| decoder.decode(&mut input).expect("valid"));
        assert_eq!(got, [dir(1), dir(3), dir(2), Ndx::FileListEof]);
    }

    #[test]
    fn below_protocol_30_an_index_is_an_int() {
        let mut out = Vec::new();
        let mut encoder = NdxEncoder::new(false);
        encoder.encode(&mut out, Ndx::Item(1));
        encoder.encode(&mut out, Ndx::Done);
        assert_eq!(out, [1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        let (mut decoder, mut input) = (NdxDecoder::new(false), Cursor::new(&out));
        assert_eq!(decoder.decode(&mut input), Ok(Ndx::Item(1)));
        assert_eq!(decoder.decode(&mut input), Ok(Ndx::Done));
        let minus_two = (-2_i32).to_le_bytes();
        assert_eq!(decoder.decode(&mut Cursor::new(&minus_two)), Err(NdxError::Invalid { value: -2 }));
    }

    #[test]
    fn numbers_without_a_meaning_are_refused() {
        let refused: [&[u8]; 6] = [
            &[0xfe, 0, 0],
            &[0xff, 0],
            &[0xff, 0xfe, 0x80, 0, 0, 0],
            &[0xff, 3],
            &[0xff, 99],
            &[0xff, 0xfe, 0, 0],
        ];
        for bytes in refused {
            let error = NdxDecoder::new(true).decode(&mut Cursor::new(bytes)).expect_err("invalid");
            assert_eq!(error.exit_code(), ExitCode::PROTOCOL, "{bytes:?}");
        }
        let mut decoder = NdxDecoder::new(true);
        decoder.decode(&mut Cursor::new(&[0xfe, 0xff, 0xff, 0xff, 0xff])).expect("largest");
        let error = decoder.decode(&mut Cursor::new(&[1])).expect_err("too large");
        assert_eq!(error.to_string(), "Invalid file index: 2147483648");
    }

    proptest! {
        #[test]
        fn indexes_survive_the_wire(
            numbers in prop::collection::vec((0_u32..=i32::MAX as u32 - 101, 0..5), 0..50),
        ) {
            let all: Vec<Ndx> = numbers
                .into_iter()
                .map(|(number, kind)| match kind {
                    0 => Ndx::Done,
                    1 => Ndx::FileListEof,
                    2 => Ndx::DeleteStats,
                    3 => dir(number),
                    _ => Ndx::Item(number),
                })
                .collect();
            let (mut encoder, mut out) = (NdxEncoder::new(true), Vec::new());
            all.iter().for_each(|ndx| encoder.encode(&mut out, *ndx));
            let (mut decoder, mut input) = (NdxDecoder::new(true), Cursor::new(&out));
            for ndx in all {
                prop_assert_eq!(decoder.decode(&mut input), Ok(ndx));
            }
            prop_assert!(input.rest().is_empty());
        }

        #[test]
        fn hostile_bytes_never_panic(bytes: Vec<u8>) {
            let (mut decoder, mut input) = (NdxDecoder::new(true), Cursor::new(&bytes));
            while decoder.decode(&mut input).is_ok() {}
        }
    }
}
