//! Lines of `--list-only` (spec 07 §19).

use super::event::{EntryFacts, EntryKind};
use super::number::{Human, Numbers, Zone, date_time};

/// How a listing looks.
#[derive(Clone, Copy)]
pub struct ListStyle<'a> {
    /// How sizes are shown.
    pub numbers: Numbers,
    /// The local zone.
    pub zone: &'a dyn Zone,
    /// Access times have a column (`-U`).
    pub atimes: bool,
    /// Creation times have a column (`-N`).
    pub crtimes: bool,
}

/// Width of a moment with a blank before it.
const TIME_COLUMN: usize = 20;

impl ListStyle<'_> {
    /// Appends the line of an entry, without a line feed and with its name unescaped.
    pub fn render(&self, entry: &EntryFacts<'_>, out: &mut Vec<u8>) {
        let width = if self.numbers.human == Human::Plain { 11 } else { 14 };
        if entry.mode == 0 {
            let columns = 10 + 1 + width + TIME_COLUMN;
            let columns = columns + TIME_COLUMN * (usize::from(self.atimes) + usize::from(self.crtimes));
            out.extend_from_slice(format!("{:<columns$} ", "*missing").as_bytes());
            out.extend_from_slice(entry.name);
            return;
        }
        out.extend_from_slice(&mode_letters(entry.mode));
        let size = self.numbers.bytes(entry.size);
        let mtime = date_time(entry.mtime, self.zone, ' ');
        out.extend_from_slice(format!(" {size:>width$} {mtime}").as_bytes());
        if self.atimes {
            // Directories never have one, whatever the list says.
            self.render_time(entry.atime.filter(|_| entry.kind() != EntryKind::Dir), out);
        }
        if self.crtimes {
            self.render_time(entry.crtime, out);
        }
        out.push(b' ');
        out.extend_from_slice(entry.name);
        if let Some(target) = entry.target {
            out.extend_from_slice(b" -> ");
            out.extend_from_slice(target);
        }
    }

    fn render_time(&self, moment: Option<i64>, out: &mut Vec<u8>) {
        let text = moment.map(|unix| date_time(unix, self.zone, ' ')).unwrap_or_default();
        out.extend_from_slice(format!(" {text:<width$}", width = TIME_COLUMN - 1).as_bytes());
    }
}

/// The ten letters of a mode: type and permissions.
#[must_use]
pub fn mode_letters(mode: u32) -> [u8; 10] {
    let mut letters = [b'-'; 10];
    letters[0] = match mode & 0o170_000 {
        0o040_000 => b'd',
        0o120_000 => b'l',
        0o060_000 => b'b',
        0o020_000 => b'c',
        0o010_000 => b'p',
        0o140_000 => b's',
        _ => b'-',
    };
    letters[1..].copy_from_slice(&permission_letters(mode));
    letters
}

/// The nine letters of the permissions in a mode, with `s`, `S`, `t` and `T` for the special bits.
#[must_use]
pub fn permission_letters(mode: u32) -> [u8; 9] {
    let mut letters = *b"rwxrwxrwx";
    for (position, letter) in letters.iter_mut().enumerate() {
        if mode & (0o400 >> position) == 0 {
            *letter = b'-';
        }
    }
    for (bit, position, set, unset) in
        [(0o4000, 2, b's', b'S'), (0o2000, 5, b's', b'S'), (0o1000, 8, b't', b'T')]
    {
        if mode & bit != 0 {
            letters[position] = if letters[position] == b'x' { set } else { unset };
        }
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::number::Utc;
    use bstr::BString;

    fn entry(mode: u32, size: u64, name: &[u8]) -> EntryFacts<'_> {
        EntryFacts {
            name,
            source_dir: b"",
            mode,
            size,
            mtime: 1_000_000_000,
            atime: None,
            crtime: None,
            uid: 0,
            gid: None,
            target: None,
        }
    }

    fn line(human: Human, atimes: bool, entry: &EntryFacts<'_>) -> BString {
        let style = ListStyle { numbers: Numbers::new(human), zone: &Utc, atimes, crtimes: false };
        let mut out = Vec::new();
        style.render(entry, &mut out);
        out.into()
    }

    #[test]
    fn the_size_column_is_narrower_without_grouping() {
        let big = EntryFacts { mtime: 0, ..entry(0o100_644, 1_234_567, b"big") };
        assert_eq!(line(Human::Grouped, false, &big), "-rw-r--r--      1,234,567 1970/01/01 00:00:00 big");
        assert_eq!(line(Human::Plain, false, &big), "-rw-r--r--     1234567 1970/01/01 00:00:00 big");
        assert_eq!(line(Human::Decimal, false, &big), "-rw-r--r--          1.23M 1970/01/01 00:00:00 big");
        let huge = entry(0o100_644, 5_000_000_000_000, b"f");
        assert_eq!(line(Human::Grouped, false, &huge), "-rw-r--r-- 5,000,000,000,000 2001/09/09 01:46:40 f");
    }

    #[test]
    fn every_type_and_special_bit_has_its_letter() {
        for (mode, letters) in [
            (0o104_755, "-rwsr-xr-x"),
            (0o104_644, "-rwSr--r--"),
            (0o102_745, "-rwxr-Sr-x"),
            (0o041_777, "drwxrwxrwt"),
            (0o041_776, "drwxrwxrwT"),
            (0o010_644, "prw-r--r--"),
            (0o140_600, "srw-------"),
            (0o020_600, "crw-------"),
            (0o060_600, "brw-------"),
            (0o120_777, "lrwxrwxrwx"),
        ] {
            assert_eq!(BString::from(mode_letters(mode).to_vec()), letters);
        }
    }

    #[test]
    fn a_link_shows_its_target_if_links_are_transferred() {
        let link = entry(0o120_777, 1, b"l");
        assert_eq!(line(Human::Grouped, false, &link), "lrwxrwxrwx              1 2001/09/09 01:46:40 l");
        let link = EntryFacts { target: Some(b"a"), ..link };
        assert_eq!(
            line(Human::Grouped, false, &link),
            "lrwxrwxrwx              1 2001/09/09 01:46:40 l -> a"
        );
    }

    #[test]
    fn access_times_have_a_column_that_directories_leave_blank() {
        let file = EntryFacts { atime: Some(0), ..entry(0o100_755, 1, b"a") };
        assert_eq!(
            line(Human::Grouped, true, &file),
            "-rwxr-xr-x              1 2001/09/09 01:46:40 1970/01/01 00:00:00 a"
        );
        let dir = EntryFacts { atime: Some(0), ..entry(0o040_755, 4096, b".") };
        assert_eq!(
            line(Human::Grouped, true, &dir),
            "drwxr-xr-x          4,096 2001/09/09 01:46:40                     ."
        );
    }

    #[test]
    fn a_missing_argument_is_padded_to_the_name_column() {
        let missing = entry(0, 0, b"nope");
        assert_eq!(
            line(Human::Grouped, false, &missing),
            "*missing                                      nope"
        );
    }
}
