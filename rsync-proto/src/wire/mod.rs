//! Scalars, frames and file indexes: the alphabet of the binary protocol (spec 02).

mod cursor;
mod demux;
mod frame;
mod int;
mod mux;
mod ndx;

pub use cursor::Cursor;
pub use demux::Demux;
pub use frame::{FrameError, FrameHeader, Legal, Message, MessageCode};
pub use int::{
    longint, put_longint, put_varint, put_varint30, put_varlong, put_varlong30, put_vstring, varint,
    varint30, varlong, varlong30, vstring,
};
pub use mux::Mux;
pub use ndx::{Ndx, NdxDecoder, NdxEncoder, NdxError};

use crate::exit::ExitCode;

/// Why a binary decoder produced no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The input ends inside the value; call again when `missing` more bytes have arrived.
    #[error("the input ends {missing} bytes too early")]
    Incomplete {
        /// Number of bytes needed before another attempt can get further, at least 1.
        missing: usize,
    },
    /// A varint announced more than four extra bytes (exit 12).
    #[error("Overflow in read_varint()")]
    VarintOverflow,
    /// A varlong announced more bytes than 64 bits hold (exit 12).
    #[error("Overflow in read_varlong()")]
    VarlongOverflow,
    /// A vstring is longer than its use allows (exit 2).
    #[error("over-long vstring received ({length} > {limit})")]
    VstringTooLong {
        /// Announced length in bytes.
        length: usize,
        /// Largest length allowed here.
        limit: usize,
    },
    /// A bounded field is out of its range (exit 2).
    #[error("wire value {field} out of range: {value} not in [{min},{max}]")]
    OutOfRange {
        /// The C rsync's name of the field.
        field: &'static str,
        /// The value received.
        value: i64,
        /// Smallest legal value.
        min: i64,
        /// Largest legal value.
        max: i64,
    },
}

impl WireError {
    /// What rsync's process would exit with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Incomplete { .. } | Self::VarintOverflow | Self::VarlongOverflow => ExitCode::STREAM,
            Self::VstringTooLong { .. } | Self::OutOfRange { .. } => ExitCode::PROTOCOL,
        }
    }
}

/// Lets a driver ask any decoder error whether more input would help.
pub trait NeedsInput {
    /// The number of missing bytes when the decoder merely ran out of input, else `None`.
    fn missing(&self) -> Option<usize>;
}

impl NeedsInput for WireError {
    fn missing(&self) -> Option<usize> {
        match self {
            Self::Incomplete { missing } => Some(*missing),
            _ => None,
        }
    }
}
