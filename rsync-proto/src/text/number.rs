//! Numbers and times as rsync prints them (spec 07 §18).

/// How byte counts are shown: digits, grouped digits, or units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Human {
    /// `--no-human-readable`: plain digits.
    Plain,
    /// The default: digits in groups of three.
    #[default]
    Grouped,
    /// `-h`: from 1000 on with a unit, powers of 1000.
    Decimal,
    /// `-hh`: from 1024 on with a unit, powers of 1024.
    Binary,
}

impl Human {
    /// The style for a count of `-h`, where `--no-h` is 0 and the default 1; more than 3 is as 3.
    #[must_use]
    pub fn from_level(level: u8) -> Self {
        match level {
            0 => Self::Plain,
            1 => Self::Grouped,
            2 => Self::Decimal,
            _ => Self::Binary,
        }
    }
}

/// How numbers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The style of byte counts.
    pub human: Human,
    /// The thousands separator: `,`, or `.` where the locale's decimal point is a comma.
    pub separator: char,
}

impl Default for Numbers {
    fn default() -> Self {
        Self { human: Human::default(), separator: ',' }
    }
}

impl Numbers {
    /// Numbers in `human` style with a comma as separator.
    #[must_use]
    pub fn new(human: Human) -> Self {
        Self { human, separator: ',' }
    }

    /// A count of entries: grouped unless plain digits are wanted, never with a unit.
    #[must_use]
    pub fn count(&self, value: u64) -> String {
        match self.human {
            Human::Plain => value.to_string(),
            _ => self.group(&value.to_string()),
        }
    }

    /// A ratio with two decimals: grouped unless plain digits are wanted.
    #[must_use]
    pub fn ratio(&self, value: f64) -> String {
        let digits = format!("{value:.2}");
        if self.human == Human::Plain { digits } else { self.group(&digits) }
    }

    /// A number of bytes.
    #[must_use]
    pub fn bytes(&self, value: u64) -> String {
        self.with_unit(value as f64).unwrap_or_else(|| self.count(value))
    }

    /// Bytes per second with two decimals.
    #[must_use]
    pub fn rate(&self, value: f64) -> String {
        self.with_unit(value).unwrap_or_else(|| self.ratio(value))
    }

    fn with_unit(&self, value: f64) -> Option<String> {
        let base = match self.human {
            Human::Plain | Human::Grouped => return None,
            Human::Decimal => 1000.0,
            Human::Binary => 1024.0,
        };
        let mut scaled = value;
        let mut unit = None;
        for letter in ['K', 'M', 'G', 'T', 'P'] {
            if scaled < base {
                break;
            }
            scaled /= base;
            unit = Some(letter);
        }
        unit.map(|letter| format!("{scaled:.2}{letter}"))
    }

    fn group(&self, digits: &str) -> String {
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let mut out = String::with_capacity(digits.len() + whole.len() / 3);
        for (position, digit) in whole.chars().enumerate() {
            if position > 0 && (whole.len() - position).is_multiple_of(3) {
                out.push(self.separator);
            }
            out.push(digit);
        }
        if !fraction.is_empty() {
            out.push(if self.separator == '.' { ',' } else { '.' });
            out.push_str(fraction);
        }
        out
    }
}

/// The local time zone; asked for every moment, since offsets change over the year.
pub trait Zone {
    /// Seconds to add to UTC at this moment (seconds since 1970).
    fn offset(&self, unix: i64) -> i32;
}

/// Universal time, for tests and whoever wants it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utc;

impl Zone for Utc {
    fn offset(&self, _unix: i64) -> i32 {
        0
    }
}

/// A moment in `zone` as `YYYY/MM/DD`, `joint`, `HH:MM:SS`; or the text for a year that does not fit.
#[must_use]
pub fn date_time(unix: i64, zone: &dyn Zone, joint: char) -> String {
    let local = unix.saturating_add(i64::from(zone.offset(unix)));
    let (days, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    if i32::try_from(year).is_err() {
        return "(time out of range)".to_owned();
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}/{month:02}/{day:02}{joint}{hour:02}:{minute:02}:{second:02}")
}

/// Year, month and day of a day counted from 1970, in the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    // Counted from March, the leap day is the last of the year and drops out of the month lengths.
    let from_march = days + 719_468;
    let era = from_march.div_euclid(DAYS_PER_ERA);
    let day_of_era = from_march.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_plain_grouped_or_with_a_unit() {
        let rows = [
            (0, "0", "0", "0", "0"),
            (999, "999", "999", "999", "999"),
            (1010, "1010", "1,010", "1.01K", "1,010"),
            (1023, "1023", "1,023", "1.02K", "1,023"),
            (4096, "4096", "4,096", "4.10K", "4.00K"),
            (999_999, "999999", "999,999", "1000.00K", "976.56K"),
            (1_048_575, "1048575", "1,048,575", "1.05M", "1024.00K"),
            (1_234_567, "1234567", "1,234,567", "1.23M", "1.18M"),
            (5_000_000_000_000, "5000000000000", "5,000,000,000,000", "5.00T", "4.55T"),
        ];
        for (value, plain, grouped, decimal, binary) in rows {
            for (level, expected) in [plain, grouped, decimal, binary].into_iter().enumerate() {
                let numbers = Numbers::new(Human::from_level(u8::try_from(level).unwrap()));
                assert_eq!(numbers.bytes(value), expected);
            }
        }
    }

    #[test]
    fn counts_and_ratios_never_have_units() {
        let numbers = Numbers::new(Human::Decimal);
        assert_eq!(numbers.count(1_234_567), "1,234,567");
        assert_eq!(numbers.ratio(2696.974), "2,696.97");
        assert_eq!(Numbers::new(Human::Plain).ratio(2696.974), "2696.97");
    }

    #[test]
    fn rates_have_two_decimals_in_every_style() {
        assert_eq!(Numbers::default().rate(854.0), "854.00");
        assert_eq!(Numbers::default().rate(123_456.0), "123,456.00");
        assert_eq!(Numbers::new(Human::Decimal).rate(1234.5), "1.23K");
        assert_eq!(Numbers::new(Human::Plain).rate(1234.5), "1234.50");
    }

    #[test]
    fn a_decimal_comma_makes_the_separator_a_point() {
        let numbers = Numbers { human: Human::Grouped, separator: '.' };
        assert_eq!(numbers.bytes(1_234_567), "1.234.567");
        assert_eq!(numbers.ratio(1234.5), "1.234,50");
    }

    #[test]
    fn moments_before_1970_and_far_away_are_dates_too() {
        let rows = [
            (1_000_000_000, "2001/09/09 01:46:40"),
            (0, "1970/01/01 00:00:00"),
            (-1, "1969/12/31 23:59:59"),
            (951_782_400, "2000/02/29 00:00:00"),
            (253_402_300_800, "10000/01/01 00:00:00"),
            (i64::MAX, "(time out of range)"),
            (i64::MIN, "(time out of range)"),
        ];
        for (unix, expected) in rows {
            assert_eq!(date_time(unix, &Utc, ' '), expected);
        }
    }
}
