//! The time of `--stop-at` (spec 08 §2).

use time::{Date, Duration, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// The clock of the caller: the present, and the local zone.
#[derive(Clone, Copy, Debug)]
pub struct LocalClock {
    /// Seconds since 1970.
    pub now: i64,
    /// Seconds east of Greenwich at a time in seconds since 1970.
    pub offset_at: fn(i64) -> i32,
}

impl Default for LocalClock {
    fn default() -> Self {
        Self { now: 0, offset_at: |_| 0 }
    }
}

impl LocalClock {
    fn local_now(self) -> PrimitiveDateTime {
        let seconds = self.now.saturating_add(i64::from((self.offset_at)(self.now)));
        let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        PrimitiveDateTime::new(time.date(), time.time())
    }

    fn unix_time(self, local: PrimitiveDateTime) -> i64 {
        let naive = local.assume_utc().unix_timestamp();
        let guess = naive - i64::from((self.offset_at)(naive));
        naive - i64::from((self.offset_at)(guess))
    }
}

/// Fields as typed; what is `None` was left out.
#[derive(Default)]
struct Fields {
    year: Option<i32>,
    month: Option<u8>,
    day: Option<u8>,
    hour: Option<u8>,
    minute: Option<u8>,
}

/// Reads `text` as the next matching moment, in seconds since 1970; `None` if it is malformed.
pub(super) fn parse(text: &[u8], clock: LocalClock) -> Option<i64> {
    let fields = read_fields(std::str::from_utf8(text).ok()?)?;
    Some(clock.unix_time(next_match(&fields, clock.local_now())?))
}

fn read_fields(text: &str) -> Option<Fields> {
    let mut fields = Fields::default();
    let (date, time) = match text.find(['T', 't']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None if text.contains(':') => ("", Some(text)),
        None => (text, None),
    };
    if !date.is_empty() {
        let parts: Vec<&str> = date.split(['-', '/']).collect();
        let (day, rest) = parts.split_last()?;
        fields.day =
            Some(number(day)?).filter(|day| (1..=31).contains(day)).and_then(|day| u8::try_from(day).ok());
        fields.day?;
        match rest {
            [] => {}
            [month] => fields.month = Some(month_number(month)?),
            [year, month] => {
                fields.year = Some(i32::try_from(number(year)?).ok()?);
                fields.month = Some(month_number(month)?);
            }
            _ => return None,
        }
    }
    match time {
        Some("") if !date.is_empty() => {}
        Some(time) => {
            let (hour, minute) = time.split_once(':')?;
            if hour.is_empty() && !date.is_empty() {
                return None;
            }
            if !hour.is_empty() {
                fields.hour = Some(u8::try_from(number(hour)?).ok().filter(|&hour| hour < 24)?);
            }
            fields.minute = Some(u8::try_from(number(minute)?).ok().filter(|&minute| minute < 60)?);
        }
        None if date.is_empty() => return None,
        None => {}
    }
    Some(fields)
}

fn number(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn month_number(text: &str) -> Option<u8> {
    u8::try_from(number(text)?).ok().filter(|month| (1..=12).contains(month))
}

/// A date whose day may lie beyond the end of its month, as the calendar of C normalises it.
fn normalised(year: i32, month: u8, day: u8) -> Option<Date> {
    let first = Date::from_calendar_date(year, Month::try_from(month).ok()?, 1).ok()?;
    first.checked_add(Duration::days(i64::from(day) - 1))
}

fn next_match(fields: &Fields, now: PrimitiveDateTime) -> Option<PrimitiveDateTime> {
    let minute = fields.minute.unwrap_or(0);
    let Some(day) = fields.day else {
        let hour = fields.hour.unwrap_or(now.hour());
        let candidate = now.replace_time(Time::from_hms(hour, minute, 0).ok()?);
        let step = if fields.hour.is_some() { Duration::DAY } else { Duration::HOUR };
        return if candidate > now { Some(candidate) } else { candidate.checked_add(step) };
    };
    let time = Time::from_hms(fields.hour.unwrap_or(0), minute, 0).ok()?;
    let at = |year: i32, month: u8| Some(PrimitiveDateTime::new(normalised(year, month, day)?, time));
    match (fields.year, fields.month) {
        (Some(year), Some(month)) => {
            let year = if year < 100 {
                let century = now.year() - now.year().rem_euclid(100);
                let year = century + year;
                if year < now.year() { year + 100 } else { year }
            } else {
                year
            };
            at(year, month)
        }
        (None, Some(month)) => {
            let candidate = at(now.year(), month)?;
            if candidate > now { Some(candidate) } else { at(now.year() + 1, month) }
        }
        (_, None) => {
            let month = u8::from(now.month());
            let candidate = at(now.year(), month)?;
            if candidate > now {
                Some(candidate)
            } else if month == 12 {
                at(now.year() + 1, 1)
            } else {
                at(now.year(), month + 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn at(text: &str) -> Option<String> {
        let clock = LocalClock { now: datetime!(2026-11-21 10:30:15 UTC).unix_timestamp(), offset_at: |_| 0 };
        let time = OffsetDateTime::from_unix_timestamp(parse(text.as_bytes(), clock)?).expect("in range");
        Some(format!(
            "{}-{:02}-{:02} {:02}:{:02}",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute()
        ))
    }

    #[test]
    fn missing_leading_fields_mean_the_next_match() {
        for (text, expected) in [
            ("30-1-1", "2030-01-01 00:00"),
            ("2030/2/30", "2030-03-02 00:00"),
            ("2027-01-02T3:04", "2027-01-02 03:04"),
            ("2027-01-02t", "2027-01-02 00:00"),
            ("22", "2026-11-22 00:00"),
            ("21", "2026-12-21 00:00"),
            ("11-21", "2027-11-21 00:00"),
            ("12-01", "2026-12-01 00:00"),
            ("T11:00", "2026-11-21 11:00"),
            ("09:00", "2026-11-22 09:00"),
            (":45", "2026-11-21 10:45"),
            (":15", "2026-11-21 11:15"),
        ] {
            assert_eq!(at(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn malformed_times_are_refused() {
        for text in
            ["", "T", "T12", "24:00", "12:60", "0-1", "13-1", "1-32", "12:00:00", "12 :00", "1T:30", "x"]
        {
            assert_eq!(at(text), None, "{text}");
        }
    }
}
