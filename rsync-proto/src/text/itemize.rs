//! The eleven columns of `%i` (spec 07 §16.1).

use super::event::{Direction, EntryKind, Item};
use crate::phase::ItemFlags;

/// What `%i` shows for a deletion.
pub const DELETING: &[u8; 11] = b"*deleting  ";

/// The `%i` columns of an item. `keeps_times` says that modification times are transferred (`-t`).
#[must_use]
pub fn itemize(item: &Item<'_>, keeps_times: bool) -> [u8; 11] {
    let flags = item.flags;
    let kind = item.entry.kind();
    let mut columns = [b'.'; 11];
    columns[0] = if flags.contains(ItemFlags::LOCAL_CHANGE) {
        if flags.contains(ItemFlags::XNAME_FOLLOWS) { b'h' } else { b'c' }
    } else if !flags.contains(ItemFlags::TRANSFER) {
        b'.'
    } else {
        match item.direction {
            Direction::Sent => b'<',
            Direction::Received => b'>',
        }
    };
    columns[1] = match kind {
        EntryKind::File => b'f',
        EntryKind::Dir => b'd',
        EntryKind::Symlink => b'L',
        EntryKind::Device => b'D',
        EntryKind::Special => b'S',
    };
    if !item.detailed || flags.contains(ItemFlags::IS_NEW) {
        columns[2..].fill(if item.detailed { b'+' } else { b'?' });
        return columns;
    }
    let is_symlink = kind == EntryKind::Symlink;
    let time_lost = !keeps_times || (is_symlink && flags.contains(ItemFlags::REPORT_TIME_FAIL));
    let mut set = |column: usize, flag: ItemFlags, letter: u8| {
        if flags.contains(flag) {
            columns[column] = letter;
        }
    };
    set(2, ItemFlags::REPORT_CHANGE, b'c');
    if !is_symlink {
        set(3, ItemFlags::REPORT_SIZE, b's');
    }
    set(4, ItemFlags::REPORT_TIME, if time_lost { b'T' } else { b't' });
    set(5, ItemFlags::REPORT_PERMS, b'p');
    set(6, ItemFlags::REPORT_OWNER, b'o');
    set(7, ItemFlags::REPORT_GROUP, b'g');
    set(8, ItemFlags::REPORT_ATIME, b'u');
    set(8, ItemFlags::REPORT_CRTIME, b'n');
    set(8, ItemFlags::REPORT_ATIME | ItemFlags::REPORT_CRTIME, b'b');
    set(9, ItemFlags::REPORT_ACL, b'a');
    set(10, ItemFlags::REPORT_XATTR, b'x');
    if matches!(columns[0], b'.' | b'h' | b'c') && columns[2..].iter().all(|&column| column == b'.') {
        columns[2..].fill(b' ');
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::testing::item;
    use bstr::BString;

    fn columns(flags: u16, mode: u32, keeps_times: bool) -> BString {
        itemize(&item(flags, mode), keeps_times).to_vec().into()
    }

    const FILE: u32 = 0o100_644;
    const DIR: u32 = 0o040_755;
    const LINK: u32 = 0o120_777;

    #[test]
    fn the_golden_push_shows_as_the_specification_says() {
        for (flags, mode, expected) in [
            (0x0008, DIR, ".d..t......"),
            (0x8004, FILE, "<f.s......."),
            (0xa000, FILE, "<f+++++++++"),
            (0x6002, LINK, "cL+++++++++"),
            (0x7000, FILE, "hf+++++++++"),
        ] {
            let item = Item { direction: Direction::Sent, ..item(flags, mode) };
            assert_eq!(BString::from(itemize(&item, true).to_vec()), expected);
        }
    }

    #[test]
    fn every_flag_has_its_column() {
        for (flags, mode, expected) in [
            (0x8002, FILE, ">fc........"),
            (0x8008, FILE, ">f..t......"),
            (0x0010, FILE, ".f...p....."),
            (0x0020, FILE, ".f....o...."),
            (0x0040, FILE, ".f.....g..."),
            (0x0001, FILE, ".f......u.."),
            (0x0400, FILE, ".f......n.."),
            (0x0401, FILE, ".f......b.."),
            (0x0080, FILE, ".f.......a."),
            (0x0100, FILE, ".f........x"),
            (0x4010, FILE, "cf...p....."),
            (0x4002, 0o020_600, "cDc........"),
            (0x4002, 0o010_600, "cSc........"),
            (0x6000, 0o140_600, "cS+++++++++"),
        ] {
            assert_eq!(columns(flags, mode, true), expected);
        }
    }

    #[test]
    fn nothing_changed_shows_blanks_unless_data_flows() {
        assert_eq!(columns(0x0000, DIR, true), ".d         ");
        assert_eq!(columns(0x5000, FILE, true), "hf         ");
        assert_eq!(columns(0x4000, DIR, true), "cd         ");
        assert_eq!(columns(0x8000, FILE, true), ">f.........");
    }

    #[test]
    fn a_time_that_is_not_kept_shows_as_a_capital() {
        assert_eq!(columns(0x8008, FILE, false), ">f..T......");
        assert_eq!(columns(0x400a, LINK, false), "cLc.T......");
        assert_eq!(columns(0x400e, LINK, true), "cLc.T......");
        assert_eq!(columns(0x400a, LINK, true), "cLc.t......");
    }

    #[test]
    fn below_protocol_29_the_columns_are_unknown() {
        let item = Item { detailed: false, direction: Direction::Sent, ..item(0x8000, FILE) };
        assert_eq!(BString::from(itemize(&item, true).to_vec()), "<f?????????");
    }
}
