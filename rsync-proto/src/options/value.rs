//! Values of options: integers, sizes, minutes (spec 08 §2). Pure text to number.

use super::error::{OptionError, shown};

/// Why a text is no INT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IntError {
    Invalid,
    Range,
}

/// Reads an INT as C does: blanks, sign, `0x` hex or `0` octal or decimal; empty is 0.
pub(super) fn parse_int(text: &[u8]) -> Result<i32, IntError> {
    let mut rest = text.trim_ascii_start();
    if text.is_empty() {
        return Ok(0);
    }
    let negative = match rest.first() {
        Some(b'-') => {
            rest = &rest[1..];
            true
        }
        Some(b'+') => {
            rest = &rest[1..];
            false
        }
        _ => false,
    };
    let (radix, digits) = match rest {
        [b'0', b'x' | b'X', digits @ ..] if !digits.is_empty() => (16, digits),
        [b'0', digits @ ..] if !digits.is_empty() => (8, digits),
        digits => (10, digits),
    };
    if digits.is_empty() {
        return Err(IntError::Invalid);
    }
    let mut value: i64 = 0;
    let mut overflow = false;
    for &byte in digits {
        let digit = char::from(byte).to_digit(radix).ok_or(IntError::Invalid)?;
        value = value * i64::from(radix) + i64::from(digit);
        if value > 1 << 40 {
            overflow = true;
            value = 1 << 40;
        }
    }
    if negative {
        value = -value;
    }
    if overflow {
        return Err(IntError::Range);
    }
    i32::try_from(value).map_err(|_| IntError::Range)
}

/// The unit and the bounds of a SIZE option.
#[derive(Clone, Copy, Debug)]
pub(super) struct SizeRule {
    /// Long name, without dashes.
    pub(super) name: &'static str,
    /// Letter that applies when none is typed.
    pub(super) unit: u8,
    /// Least value, with its text; 0 is always allowed.
    pub(super) min: Option<(u64, &'static str)>,
    /// Greatest value, with its text.
    pub(super) max: Option<(u64, &'static str)>,
}

impl SizeRule {
    /// Reads a SIZE in bytes.
    pub(super) fn parse(self, text: &[u8]) -> Result<u64, OptionError> {
        let typed = || format!("--{}={}", self.name, shown(text));
        let Some(value) = parse_size(text, self.unit) else {
            return Err(OptionError::syntax(format!("{} is invalid", typed())));
        };
        let too_large = || {
            let limit = self.max.map(|(_, text)| format!(" (max: {text})")).unwrap_or_default();
            OptionError::syntax(format!("{} is too large{limit}", typed()))
        };
        let value = value.ok_or_else(too_large)?;
        if self.max.is_some_and(|(max, _)| value > max) {
            return Err(too_large());
        }
        if let Some((min, text)) = self.min
            && value != 0
            && value < min
        {
            return Err(OptionError::syntax(format!(
                "{} is too small (min: {text} or 0 for unlimited)",
                typed()
            )));
        }
        Ok(value)
    }
}

/// `None`: not a size; `Some(None)`: out of range. A double carries the value, as in C.
fn parse_size(text: &[u8], default_unit: u8) -> Option<Option<u64>> {
    if let Some(positive) = text.strip_prefix(b"-") {
        // A number below 0 is out of range, whatever follows it.
        let mut number = positive.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.');
        return number.any(|byte| matches!(byte, b'1'..=b'9')).then_some(None);
    }
    let mut end = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if text.get(end) == Some(&b'.') {
        end += 1;
        end += text[end..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    }
    let (number, mut rest) = text.split_at(end);
    let mut unit = default_unit.to_ascii_lowercase();
    let mut base = 1024.0_f64;
    if let Some(letter) = rest.first().map(u8::to_ascii_lowercase)
        && b"bkmgtp".contains(&letter)
    {
        unit = letter;
        rest = &rest[1..];
        if rest.len() >= 2 && rest[..2].eq_ignore_ascii_case(b"ib") {
            rest = &rest[2..];
        } else if rest.first().is_some_and(|byte| byte.eq_ignore_ascii_case(&b'b')) {
            base = 1000.0;
            rest = &rest[1..];
        }
    }
    let adjust = match rest {
        b"" => 0,
        b"+1" if rest.len() != text.len() => 1,
        b"-1" if rest.len() != text.len() => -1,
        _ => return None,
    };
    let power = i32::try_from(b"bkmgtp".iter().position(|&letter| letter == unit)?).ok()?;
    let number = std::str::from_utf8(number).ok()?;
    let number: f64 = match number {
        "" | "." => 0.0,
        number => number.parse().ok()?,
    };
    let value = (number * base.powi(power)).trunc() + f64::from(adjust);
    if !(0.0..9_223_372_036_854_775_808.0).contains(&value) {
        return Some(None);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range was checked above"
    )]
    let bytes = value as u64;
    Some(Some(bytes))
}

/// Reads MINUTES: a leading integer above 0, the rest is ignored.
pub(super) fn parse_minutes(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii_start();
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let minutes: i64 = std::str::from_utf8(&text[..digits]).ok()?.parse().ok()?;
    (minutes > 0).then_some(minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_c_reads_them() {
        for (text, expected) in [
            ("10", Ok(10)),
            ("010", Ok(8)),
            ("0x1f", Ok(31)),
            ("", Ok(0)),
            ("0", Ok(0)),
            (" -7", Ok(-7)),
            ("+7", Ok(7)),
            ("09", Err(IntError::Invalid)),
            ("x", Err(IntError::Invalid)),
            ("5x", Err(IntError::Invalid)),
            ("2147483647", Ok(i32::MAX)),
            ("-2147483648", Ok(i32::MIN)),
            ("2147483648", Err(IntError::Range)),
            ("99999999999999999999999999", Err(IntError::Range)),
        ] {
            assert_eq!(parse_int(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn sizes_follow_their_grammar() {
        for (text, expected) in [
            ("1KB", 1000),
            ("1kIb", 1024),
            ("1.5K", 1536),
            (".5K", 512),
            ("1K-1", 1023),
            ("1KB-1", 999),
            ("1+1", 2),
            ("1MiB-1", 1_048_575),
            ("2.5gb", 2_500_000_000),
            ("1.9", 1),
            ("K", 0),
            (".", 0),
            ("", 0),
            ("4611686018427387904", 4_611_686_018_427_387_904),
            ("8191P", 8191 << 50),
        ] {
            assert_eq!(parse_size(text.as_bytes(), b'b'), Some(Some(expected)), "{text:?}");
        }
        for text in ["8192P", "9223372036854775807", "-1", "0-1", "-2", "-5x", "-0.5k", "-.5", "-05"] {
            assert_eq!(parse_size(text.as_bytes(), b'b'), Some(None), "{text:?}");
        }
        for text in ["1bi", "1K+2", "+1", "-0", "-k", "--5", "-", "-0+1", " 1", "1e3", "0x10", "1 K", "K1"] {
            assert_eq!(parse_size(text.as_bytes(), b'b'), None, "{text:?}");
        }
    }

    #[test]
    fn minutes_ignore_what_follows_the_number() {
        assert_eq!(parse_minutes(b"5x"), Some(5));
        for text in ["0", "-3", "", "x", "99999999999999999999"] {
            assert_eq!(parse_minutes(text.as_bytes()), None, "{text:?}");
        }
    }
}
