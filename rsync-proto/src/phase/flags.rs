//! The flags of an item: what differs about an entry and what follows its index (spec 02 §5).

use std::ops::{BitOr, BitOrAssign};

/// The 16 flag bits of an item, decided by the generator and echoed by the sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ItemFlags(u16);

impl ItemFlags {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// The access time differs.
    pub const REPORT_ATIME: Self = Self(0x0001);
    /// The content differs (`--checksum`), or a link, device or special file is made or replaced.
    pub const REPORT_CHANGE: Self = Self(0x0002);
    /// The size of a regular file differs.
    pub const REPORT_SIZE: Self = Self(0x0004);
    /// The time of a symbolic link cannot be set; the bit of [`Self::REPORT_SIZE`].
    pub const REPORT_TIME_FAIL: Self = Self(0x0004);
    /// The modification time differs, or will be the present.
    pub const REPORT_TIME: Self = Self(0x0008);
    /// The permissions differ.
    pub const REPORT_PERMS: Self = Self(0x0010);
    /// The owner differs.
    pub const REPORT_OWNER: Self = Self(0x0020);
    /// The group differs.
    pub const REPORT_GROUP: Self = Self(0x0040);
    /// The access control list differs.
    pub const REPORT_ACL: Self = Self(0x0080);
    /// The extended attributes differ; an xattr exchange follows.
    pub const REPORT_XATTR: Self = Self(0x0100);
    /// The creation time differs.
    pub const REPORT_CRTIME: Self = Self(0x0400);
    /// A basis type byte follows.
    pub const BASIS_TYPE_FOLLOWS: Self = Self(0x0800);
    /// A name follows.
    pub const XNAME_FOLLOWS: Self = Self(0x1000);
    /// The entry did not exist.
    pub const IS_NEW: Self = Self(0x2000);
    /// The generator did it without data.
    pub const LOCAL_CHANGE: Self = Self(0x4000);
    /// The content is requested.
    pub const TRANSFER: Self = Self(0x8000);

    /// The flags as they travel.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Takes all bits from the wire; unknown ones are echoed.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Whether every flag of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether some flag of `other` is set.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// These flags without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether anything but the three bits that only accompany others is set.
    #[must_use]
    pub const fn is_significant(self) -> bool {
        self.0 & !(Self::BASIS_TYPE_FOLLOWS.0 | Self::XNAME_FOLLOWS.0 | Self::LOCAL_CHANGE.0) != 0
    }
}

impl BitOr for ItemFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for ItemFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reasons_worth_telling_are_significant() {
        assert!(!ItemFlags::from_bits(0x5800).is_significant());
        assert!(ItemFlags::IS_NEW.is_significant() && ItemFlags::REPORT_TIME.is_significant());
    }
}
