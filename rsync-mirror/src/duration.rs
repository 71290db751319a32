//! Spans of time as people write them: a whole number and a unit.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// Units, the largest first, in milliseconds.
const UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads `90s`, `15m`, `2h`, `1d`, `1w` or `500ms`; a number alone is of seconds.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = if unit.is_empty() { "s" } else { unit };
    let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*scale).map(Duration::from_millis)
}

/// Writes a span so that [`parse`] reads it, in the largest unit that leaves a whole number.
pub(crate) fn text(span: Duration) -> String {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let (name, scale) =
        UNITS.iter().find(|(_, scale)| millis != 0 && millis.is_multiple_of(*scale)).unwrap_or(&("s", 1000));
    format!("{}{name}", millis / scale)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Seconds(u64),
    Text(String),
}

/// A field that holds a number of seconds or a text for [`parse`].
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let expected = "a span of time is a number of seconds, or a number with ms, s, m, h, d or w";
    match Written::deserialize(deserializer).map_err(|_| serde::de::Error::custom(expected))? {
        Written::Seconds(seconds) => Ok(Duration::from_secs(seconds)),
        Written::Text(text) => {
            parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?}: {expected}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written_alike() {
        for (read, millis, written) in [
            ("90", 90_000, "90s"),
            ("500ms", 500, "500ms"),
            ("60s", 60_000, "1m"),
            ("36h", 129_600_000, "36h"),
            ("2d", 172_800_000, "2d"),
            ("7d", 604_800_000, "1w"),
            ("0", 0, "0s"),
        ] {
            let span = parse(read).expect(read);
            assert_eq!((span.as_millis(), text(span).as_str()), (millis, written));
            assert_eq!(parse(written), Some(span));
        }
        for wrong in ["", "s", "-1s", "1.5h", "5 s", "5y", "99999999999999999999", "99999999999999999w"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
