//! The rsync wire protocol, versions 27 to 32, without any I/O.
#![forbid(unsafe_code)]

pub mod charset;
pub mod delta;
pub mod exit;
pub mod filter;
pub mod flist;
pub mod meta;
pub mod options;
pub mod phase;
pub mod session;
pub mod sum;
pub mod text;
pub mod wire;
