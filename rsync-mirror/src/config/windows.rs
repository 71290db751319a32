//! Times of day at which a job is slower, or does not start at all.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Deserialize;

/// A time of day with a bandwidth.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Its beginning, as `08:00`.
    pub from: Time,
    /// Its end; one that is not later than the beginning is on the next day.
    pub to: Time,
    /// The days on which it begins; every day if empty.
    #[serde(default)]
    pub days: Vec<Day>,
    /// KiB per second of runs that start then; 0 starts nothing, and ends what is running.
    pub rate: u64,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    fn weekday(self) -> Weekday {
        match self {
            Self::Mon => Weekday::Monday,
            Self::Tue => Weekday::Tuesday,
            Self::Wed => Weekday::Wednesday,
            Self::Thu => Weekday::Thursday,
            Self::Fri => Weekday::Friday,
            Self::Sat => Weekday::Saturday,
            Self::Sun => Weekday::Sunday,
        }
    }
}

/// What the windows of a job allow at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// Everything.
    Full,
    /// So many KiB per second.
    Rate(u64),
    /// Nothing before that time.
    Nothing(Timestamp),
}

impl Allowance {
    /// What `windows` allow `now`; the strictest of those that are open.
    #[must_use]
    pub fn of(windows: &[Window], zone: &TimeZone, now: Timestamp) -> Self {
        let open = windows.iter().filter_map(|window| Some((window.rate, window.open_until(zone, now)?)));
        let mut allowance = Self::Full;
        for (rate, until) in open {
            allowance = match (allowance, rate) {
                (Self::Nothing(before), 0) => Self::Nothing(before.max(until)),
                (Self::Nothing(before), _) => Self::Nothing(before),
                (_, 0) => Self::Nothing(until),
                (Self::Rate(before), rate) => Self::Rate(before.min(rate)),
                (Self::Full, rate) => Self::Rate(rate),
            };
        }
        allowance
    }
}

impl Window {
    fn open_until(&self, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
        let local = now.to_zoned(zone.clone()).datetime();
        let crosses = self.to <= self.from;
        // A window that crosses midnight may have begun yesterday.
        for begins in [Some(local.date()), local.date().yesterday().ok()].into_iter().flatten() {
            let is_day =
                self.days.is_empty() || self.days.iter().any(|day| day.weekday() == begins.weekday());
            let ends = if crosses { begins.checked_add(1.day()).ok()? } else { begins };
            let (from, to) = (begins.to_datetime(self.from), ends.to_datetime(self.to));
            if is_day && from <= local && local < to {
                return to.to_zoned(zone.clone()).ok().map(|end| end.timestamp());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: &str) -> Window {
        toml::from_str(text).unwrap()
    }

    fn allowed(windows: &[Window], now: &str) -> Allowance {
        Allowance::of(windows, &TimeZone::UTC, now.parse().unwrap())
    }

    #[test]
    fn the_strictest_open_window_counts() {
        let day = window("from = '08:00'\nto = '18:00'\nrate = 1000");
        let noon = window("from = '12:00'\nto = '13:00'\nrate = 10");
        let windows = [day, noon];
        assert_eq!(allowed(&windows, "2026-03-10T07:59:59Z"), Allowance::Full);
        assert_eq!(allowed(&windows, "2026-03-10T08:00:00Z"), Allowance::Rate(1000));
        assert_eq!(allowed(&windows, "2026-03-10T12:30:00Z"), Allowance::Rate(10));
        assert_eq!(allowed(&windows, "2026-03-10T18:00:00Z"), Allowance::Full);
    }

    #[test]
    fn a_window_past_midnight_belongs_to_the_day_it_begins_on() {
        // 13 March 2026 is a Friday.
        let night = [window("from = '22:00'\nto = '06:00'\ndays = ['fri']\nrate = 0")];
        let end: Timestamp = "2026-03-14T06:00:00Z".parse().unwrap();
        assert_eq!(allowed(&night, "2026-03-13T05:00:00Z"), Allowance::Full);
        assert_eq!(allowed(&night, "2026-03-13T23:00:00Z"), Allowance::Nothing(end));
        assert_eq!(allowed(&night, "2026-03-14T05:00:00Z"), Allowance::Nothing(end));
        assert_eq!(allowed(&night, "2026-03-14T23:00:00Z"), Allowance::Full);
    }
}
