//! The two statistics blocks: deletions and the sender's counters (spec 02 §7.2, §7.3).

use crate::session::Negotiated;
use crate::text::KindCounts;
use crate::wire::{Cursor, WireError, put_varint, put_varlong30, varint, varlong30};

/// Largest number of deletions of one kind that is believed.
const MAX_DELETED: i64 = 1 << 28;

/// Decodes the numbers behind a deletion statistics index.
///
/// # Errors
/// [`WireError::OutOfRange`] for a number below 0 or above 2^28; [`WireError::VarintOverflow`];
/// [`WireError::Incomplete`].
pub fn decode_delete_stats(input: &mut Cursor<'_>) -> Result<KindCounts, WireError> {
    let mut number = |field| {
        let value = i64::from(varint(input)?);
        match u64::try_from(value) {
            Ok(number) if value <= MAX_DELETED => Ok(number),
            _ => Err(WireError::OutOfRange { field, value, min: 0, max: MAX_DELETED }),
        }
    };
    Ok(KindCounts {
        files: number("deleted_files")?,
        dirs: number("deleted_dirs")?,
        symlinks: number("deleted_symlinks")?,
        devices: number("deleted_devices")?,
        specials: number("deleted_specials")?,
    })
}

/// Appends what [`decode_delete_stats`] decodes; numbers above 2^28 are sent as 2^28.
pub fn encode_delete_stats(out: &mut Vec<u8>, deleted: &KindCounts) {
    for number in [deleted.files, deleted.dirs, deleted.symlinks, deleted.devices, deleted.specials] {
        put_varint(out, number.min(MAX_DELETED as u64) as i32);
    }
}

/// What a server sender tells its client after the final DONE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FinalStatistics {
    /// Bytes the sender has read.
    pub read: u64,
    /// Bytes the sender has written.
    pub written: u64,
    /// Total size of the files in the list, in bytes.
    pub total_size: u64,
    /// Milliseconds to build the list; 0 below protocol 29.
    pub list_build_ms: u64,
    /// Milliseconds to transfer the list; 0 below protocol 29.
    pub list_transfer_ms: u64,
}

impl FinalStatistics {
    /// Decodes the block; negative numbers count as 0.
    ///
    /// # Errors
    /// [`WireError::VarlongOverflow`]; [`WireError::Incomplete`].
    pub fn decode(input: &mut Cursor<'_>, negotiated: &Negotiated) -> Result<Self, WireError> {
        let mut number =
            || Ok(u64::try_from(varlong30(input, 3, negotiated.is_modern())?).unwrap_or_default());
        let mut statistics =
            Self { read: number()?, written: number()?, total_size: number()?, ..Self::default() };
        if negotiated.has_item_flags() {
            statistics.list_build_ms = number()?;
            statistics.list_transfer_ms = number()?;
        }
        Ok(statistics)
    }

    /// Appends the block.
    pub fn encode(&self, out: &mut Vec<u8>, negotiated: &Negotiated) {
        let times = [self.list_build_ms, self.list_transfer_ms];
        let times = if negotiated.has_item_flags() { &times[..] } else { &[] };
        for number in [self.read, self.written, self.total_size].iter().chain(times) {
            let number = i64::try_from(*number).unwrap_or(i64::MAX);
            put_varlong30(out, number, 3, negotiated.is_modern());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::CompatFlags;

    #[test]
    fn deletion_statistics_have_the_golden_form() {
        let deleted = KindCounts { files: 1, dirs: 1, ..KindCounts::default() };
        let mut out = Vec::new();
        encode_delete_stats(&mut out, &deleted);
        assert_eq!(out, [1, 1, 0, 0, 0]);
        assert_eq!(decode_delete_stats(&mut Cursor::new(&out)), Ok(deleted));
    }

    #[test]
    fn impossible_deletion_statistics_are_refused() {
        let error = decode_delete_stats(&mut Cursor::new(&[0xf0, 0xff, 0xff, 0xff, 0xff])).expect_err("-1");
        let text = error.to_string();
        assert!(text.starts_with("wire value deleted_files out of range: -1 not in"), "{text}");
    }

    #[test]
    fn final_statistics_have_the_golden_form() {
        let (old, new) =
            (Negotiated::new(28, CompatFlags::default()), Negotiated::new(31, CompatFlags::default()));
        let statistics =
            FinalStatistics { read: 53, written: 94, total_size: 6, list_build_ms: 1, list_transfer_ms: 0 };
        let mut out = Vec::new();
        statistics.encode(&mut out, &new);
        assert_eq!(out, [0, 0x35, 0, 0, 0x5e, 0, 0, 6, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(FinalStatistics::decode(&mut Cursor::new(&out), &new), Ok(statistics));
        let old_bytes = [0x20, 0, 0, 0, 0x65, 0, 0, 0, 6, 0, 0, 0];
        let decoded = FinalStatistics::decode(&mut Cursor::new(&old_bytes), &old).expect("valid");
        assert_eq!((decoded.read, decoded.written, decoded.total_size), (32, 101, 6));
    }

    #[test]
    fn negative_statistics_count_as_nothing() {
        let bytes = [0xff; 60];
        let old = Negotiated::new(28, CompatFlags::default());
        let decoded = FinalStatistics::decode(&mut Cursor::new(&bytes), &old).expect("valid");
        assert_eq!(decoded, FinalStatistics::default());
    }
}
