//! The texts of `--fake-super`: `user.rsync.%stat`, `%aacl` and `%dacl` (spec 04 §4).

use super::acl::{Acl, AclName};
use crate::flist::DeviceNumber;

/// What `user.rsync.%stat` says instead of the real stat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FakeStat {
    /// Mode with type bits; symlinks are 0120000 on every platform.
    pub mode: u32,
    /// Device number; zero unless the mode is a device's.
    pub rdev: DeviceNumber,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl FakeStat {
    /// The value of the attribute.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { mode, rdev: DeviceNumber { major, minor }, uid, gid } = self;
        format!("{mode:o} {major},{minor} {uid}:{gid}")
    }

    /// Reads the value as a `scanf` of octal, then `%d,%d %d:%d` does: blanks before numbers are
    /// skipped, what follows is ignored. `None` if the attribute is corrupt.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > 255 {
            return None;
        }
        let mut rest = text;
        let mode = number(&mut rest, 8)?;
        let major = number(&mut rest, 10)?;
        literal(&mut rest, b',')?;
        let minor = number(&mut rest, 10)?;
        let uid = number(&mut rest, 10)?;
        literal(&mut rest, b':')?;
        let gid = number(&mut rest, 10)?;
        Some(Self { mode, rdev: DeviceNumber { major, minor }, uid, gid })
    }
}

fn literal(rest: &mut &[u8], byte: u8) -> Option<()> {
    *rest = rest.strip_prefix(&[byte])?;
    Some(())
}

/// A number after blanks, modulo 2^32; ids above 2^31 may have been written as negative ones.
fn number(rest: &mut &[u8], radix: u32) -> Option<u32> {
    let trimmed = rest.trim_ascii_start();
    let (negative, digits) = match trimmed {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let count = digits.iter().take_while(|byte| char::from(**byte).is_digit(radix)).count();
    if count == 0 {
        return None;
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(radix).unwrap_or(0);
    let value =
        digits[..count].iter().fold(0_u32, |value, byte| value.wrapping_mul(radix).wrapping_add(digit(byte)));
    *rest = &digits[count..];
    Some(if negative { value.wrapping_neg() } else { value })
}

const ABSENT: u32 = 0x80;
const IS_USER: u32 = 1 << 31;

/// The value of `%aacl` or `%dacl`.
#[must_use]
pub fn acl_to_attribute(acl: &Acl) -> Vec<u8> {
    let objects = [acl.user_obj, acl.group_obj, acl.mask, acl.other];
    let objects = objects.iter().map(|bits| bits.map_or(ABSENT, u32::from));
    let names = acl
        .names
        .iter()
        .flat_map(|name| [name.id, u32::from(name.perms) | if name.is_group { 0 } else { IS_USER }]);
    objects.chain(names).flat_map(u32::to_le_bytes).collect()
}

/// Reads the value of `%aacl` or `%dacl`; `None` if its length is impossible.
#[must_use]
pub fn acl_from_attribute(value: &[u8]) -> Option<Acl> {
    let words: Vec<u32> = value
        .chunks_exact(4)
        .map(|word| word.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
        .collect();
    let (objects, names) = words.split_first_chunk::<4>()?;
    if !value.len().is_multiple_of(8) {
        return None;
    }
    let [user_obj, group_obj, mask, other] =
        objects.map(|bits| (bits & ABSENT == 0).then_some((bits & 7) as u8));
    let names = names
        .chunks_exact(2)
        .map(|pair| AclName { id: pair[0], perms: (pair[1] & 7) as u8, is_group: pair[1] & IS_USER == 0 })
        .collect();
    Some(Acl { user_obj, group_obj, mask, other, names })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats_have_the_golden_form() {
        let device = FakeStat { mode: 0o20644, rdev: DeviceNumber { major: 5, minor: 7 }, uid: 0, gid: 0 };
        for (text, stat) in [
            ("20644 5,7 0:0", device),
            (
                "104755 0,0 12:34",
                FakeStat { mode: 0o104_755, rdev: DeviceNumber::default(), uid: 12, gid: 34 },
            ),
        ] {
            assert_eq!(stat.text(), text);
            assert_eq!(FakeStat::parse(text.as_bytes()), Some(stat));
        }
        assert_eq!(FakeStat::parse(b"  20644   5,7 0:0 trailing"), Some(device));
        assert_eq!(FakeStat::parse(b"20644 5;7 0:0"), None);
        assert_eq!(FakeStat::parse(b""), None);
    }

    #[test]
    fn acls_have_the_golden_form() {
        let acl = Acl {
            user_obj: None,
            group_obj: Some(4),
            mask: Some(5),
            other: None,
            names: vec![
                AclName { is_group: false, id: 1001, perms: 6 },
                AclName { is_group: true, id: 4, perms: 4 },
            ],
        };
        let bytes = [
            0x80, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 0x80, 0, 0, 0, 0xe9, 3, 0, 0, 6, 0, 0, 0x80, 4, 0, 0, 0,
            4, 0, 0, 0,
        ];
        assert_eq!(acl_to_attribute(&acl), bytes);
        assert_eq!(acl_from_attribute(&bytes), Some(acl));
        assert_eq!(acl_from_attribute(&bytes[..20]), None);
        assert_eq!(acl_from_attribute(&[]), None);
    }
}
