//! Numbers and times as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Bytes with a unit of 1024 and three digits.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 => 0,
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {}", UNITS.get(unit).unwrap_or(&"B"))
}

/// Bytes as tunasync writes them, such as `1.46T`; `unknown` for none.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn tuna_size(bytes: Option<u64>) -> String {
    let Some(bytes) = bytes else { return "unknown".to_owned() };
    let mut value = bytes as f64;
    for unit in ["", "K", "M", "G", "T"] {
        if value < 1000.0 {
            return if unit.is_empty() { format!("{bytes}") } else { format!("{value:.2}{unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.2}P")
}

/// How far `time` is from `now`, in the largest unit.
pub(super) fn distance(time: Timestamp, now: Timestamp) -> String {
    let seconds = time.duration_since(now).as_secs();
    let length = span(seconds.unsigned_abs());
    match seconds {
        -4..=4 => "now".to_owned(),
        s if s > 0 => format!("in {length}"),
        _ => format!("{length} ago"),
    }
}

/// A time in its largest unit.
pub(super) fn span(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..60 => (seconds, "s"),
        60..3600 => (seconds / 60, "min"),
        3600..172_800 => (seconds / 3600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{count} {unit}")
}

/// A time in a zone, to the minute.
pub(super) fn moment(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "0.98 KiB"),
            (1536, "1.50 KiB"),
            (10_240, "10.0 KiB"),
            (1_048_575, "1.00 MiB"),
            (123_456_789, "118 MiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(tuna_size(Some(1_463_000_000_000)), "1.46T");
        assert_eq!((tuna_size(Some(999)), tuna_size(None)), ("999".to_owned(), "unknown".to_owned()));
    }

    #[test]
    fn distances_are_in_their_largest_unit() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let at = |second| distance(Timestamp::from_second(second).unwrap(), now);
        assert_eq!(at(1_000_000), "now");
        assert_eq!(at(1_000_090), "in 1 min");
        assert_eq!(at(996_399), "1 h ago");
        assert_eq!(at(700_000), "3 days ago");
    }
}
