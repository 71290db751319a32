//! Checksums: rolling, strong and whole-file, and block sizing (spec 05 §2 to §4).

mod choice;

pub use choice::{Checksum, ChecksumChoice};
