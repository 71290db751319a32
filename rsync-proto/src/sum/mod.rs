//! Checksums: rolling, strong and whole-file, and block sizing (spec 05 §2 to §4).

mod choice;
mod digest;
mod head;
mod rolling;

pub use choice::{Checksum, ChecksumChoice};
pub use digest::{Digest, SumBytes, block_sum};
pub use head::{SumHead, SumHeadError, SumHeadLimits, SumHeadSizing};
pub use rolling::Rolling;
