//! When a job is due: pure arithmetic on the end of its last run (spec 11 §2, §3.2).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

/// What decides when a job runs next.
#[derive(Clone, Debug, PartialEq)]
pub enum When {
    /// So long after the end of the last run; a job that never ran is due at once.
    Interval(Duration),
    /// At the times of five fields of cron in a time zone. Times that pass during a run belong to it;
    /// however many passed while nothing could run, the job runs once for them.
    Cron(CronTimes),
    /// Again and again with at least this pause after each run.
    Continuous {
        /// The pause.
        min_pause: Duration,
    },
    /// Only when somebody asks.
    OnDemand,
}

/// What is wrong with a line of cron.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CronError {
    /// Not five fields that mean times.
    #[error("{text:?} is no schedule of cron: {reason}")]
    Unreadable {
        /// What was given.
        text: String,
        /// What the parser said.
        reason: String,
    },
    /// It means no time at all.
    #[error("{text:?} names no time that ever comes, such as the 30th of February")]
    Never {
        /// What was given.
        text: String,
    },
    /// The zone is unknown.
    #[error("time zone {0:?} is not in the system's database; names look like \"Europe/Berlin\" or \"UTC\"")]
    NoZone(String),
}

/// Five fields of cron, read in a time zone.
#[derive(Clone)]
pub struct CronTimes {
    cron: Arc<Cron>,
    zone: TimeZone,
}

impl CronTimes {
    /// Reads `minute hour day month weekday` (or `@daily` and its like); `zone` is a name of the system's
    /// database, `None` the system's zone.
    ///
    /// # Errors
    /// [`CronError`] if the text is none, never comes, or the zone is unknown.
    pub fn new(text: &str, zone: Option<&str>) -> Result<Self, CronError> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| CronError::Unreadable {
            text: text.to_owned(),
            reason: error.to_string().trim_end_matches('.').to_owned(),
        })?;
        let zone = match zone {
            Some(name) => TimeZone::get(name).map_err(|_| CronError::NoZone(name.to_owned()))?,
            None => TimeZone::system(),
        };
        let times = Self { cron: Arc::new(cron), zone };
        match times.after(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(times),
            None => Err(CronError::Never { text: text.to_owned() }),
        }
    }

    /// The first time after `moment`.
    #[must_use]
    pub fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        let start = moment.to_zoned(self.zone.clone());
        self.cron.find_next_occurrence(&start, false).ok().map(|next| next.timestamp())
    }
}

impl PartialEq for CronTimes {
    fn eq(&self, other: &Self) -> bool {
        self.cron.as_str() == other.cron.as_str() && self.zone == other.zone
    }
}

impl fmt::Debug for CronTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for CronTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.cron.as_str(), self.zone.iana_name().unwrap_or("local time"))
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interval(every) => write!(f, "{} after each run", Short(*every)),
            Self::Cron(times) => write!(f, "cron {times}"),
            Self::Continuous { min_pause } => write!(f, "continuously, {} between runs", Short(*min_pause)),
            Self::OnDemand => f.write_str("on demand"),
        }
    }
}

/// A duration in the units people say it in.
struct Short(Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0 => write!(f, "{} ms", self.0.as_millis()),
            s if s % 86_400 == 0 => write!(f, "{} d", s / 86_400),
            s if s % 3600 == 0 => write!(f, "{} h", s / 3600),
            s if s % 60 == 0 => write!(f, "{} min", s / 60),
            s => write!(f, "{s} s"),
        }
    }
}

/// What is known of a job's past when its next run is planned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// When its last run ended, whatever came of it.
    pub ended: Option<Timestamp>,
    /// When the job was first seen.
    pub known_since: Option<Timestamp>,
    /// Whether its last run was cut off by the end of the process.
    pub interrupted: bool,
}

/// A job's schedule with the spread that keeps jobs apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Timetable {
    /// When it runs.
    pub when: When,
    /// Each time is put off by up to this.
    pub jitter: Duration,
}

impl Timetable {
    /// When the job named `name` is due, which may be in the past; `None` for never.
    ///
    /// The spread is a function of the name and the time it is added to, so a restart of the process
    /// comes to the same answer and two mirrors of one archive to different ones.
    #[must_use]
    pub fn due(&self, name: &str, past: Past, now: Timestamp) -> Option<Timestamp> {
        if past.interrupted {
            return Some(now);
        }
        let time = match (&self.when, past.ended) {
            (When::OnDemand, _) => return None,
            (When::Interval(_) | When::Continuous { .. }, None) => past.known_since.unwrap_or(now),
            (When::Interval(pause) | When::Continuous { min_pause: pause }, Some(ended)) => {
                return Some(later(ended, *pause + self.spread(name, ended)));
            }
            (When::Cron(times), ended) => times.after(ended.or(past.known_since).unwrap_or(now))?,
        };
        Some(later(time, self.spread(name, time)))
    }

    fn spread(&self, name: &str, time: Timestamp) -> Duration {
        if self.jitter.is_zero() {
            return Duration::ZERO;
        }
        let digest = Sha256::new().chain_update(name).chain_update(time.as_second().to_le_bytes()).finalize();
        let (head, _) = digest.split_at(4);
        let dice = head.iter().fold(0u32, |sum, &byte| (sum << 8) | u32::from(byte));
        self.jitter.mul_f64(f64::from(dice) / f64::from(u32::MAX))
    }
}

/// The end of time rather than an overflow.
fn later(time: Timestamp, pause: Duration) -> Timestamp {
    SignedDuration::try_from(pause)
        .ok()
        .and_then(|pause| time.checked_add(pause).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn plain(when: When) -> Timetable {
        Timetable { when, jitter: Duration::ZERO }
    }

    fn ended(time: &str) -> Past {
        Past { ended: Some(at(time)), ..Past::default() }
    }

    fn cron(text: &str, zone: &str) -> Timetable {
        plain(When::Cron(CronTimes::new(text, Some(zone)).unwrap()))
    }

    const NOW: &str = "2026-03-10T12:00:00Z";

    #[test]
    fn an_interval_counts_from_the_end_of_the_last_run() {
        let table = plain(When::Interval(Duration::from_secs(3600)));
        assert_eq!(table.due("a", ended("2026-03-10T11:30:00Z"), at(NOW)), Some(at("2026-03-10T12:30:00Z")));
        assert_eq!(table.due("a", Past::default(), at(NOW)), Some(at(NOW)), "a new job is due at once");
    }

    #[test]
    fn times_missed_while_nothing_ran_make_the_job_due_once() {
        let table = cron("0 * * * *", "UTC");
        let due = table.due("a", ended("2026-03-10T02:10:00Z"), at(NOW)).unwrap();
        assert_eq!(due, at("2026-03-10T03:00:00Z"), "long past, so it starts now");
        let next = table.due("a", ended("2026-03-10T12:05:00Z"), at("2026-03-10T12:05:00Z"));
        assert_eq!(next, Some(at("2026-03-10T13:00:00Z")), "and the nine other hours are forgotten");
    }

    #[test]
    fn a_new_job_of_cron_waits_for_its_time() {
        let past = Past { known_since: Some(at(NOW)), ..Past::default() };
        assert_eq!(cron("30 4 * * *", "UTC").due("a", past, at(NOW)), Some(at("2026-03-11T04:30:00Z")));
    }

    #[test]
    fn cron_is_read_in_its_zone() {
        let due = cron("30 4 * * *", "Asia/Shanghai").due("a", ended(NOW), at(NOW));
        assert_eq!(due, Some(at("2026-03-10T20:30:00Z")));
    }

    #[test]
    fn a_time_that_the_change_of_clocks_skips_still_comes_that_day() {
        // On 29 March 2026 Berlin goes from 02:00 to 03:00.
        let due =
            cron("30 2 * * *", "Europe/Berlin").due("a", ended("2026-03-28T12:00:00Z"), at(NOW)).unwrap();
        assert!(due >= at("2026-03-29T00:30:00Z") && due <= at("2026-03-29T01:30:00Z"), "{due}");
    }

    #[test]
    fn a_time_that_the_change_of_clocks_repeats_comes_once() {
        // On 25 October 2026 Berlin goes from 03:00 back to 02:00.
        let table = cron("30 2 * * *", "Europe/Berlin");
        let first = table.due("a", ended("2026-10-24T12:00:00Z"), at(NOW)).unwrap();
        let second = table.due("a", Past { ended: Some(first), ..Past::default() }, first).unwrap();
        assert_eq!(second, at("2026-10-26T01:30:00Z"), "after {first}");
    }

    #[test]
    fn schedules_that_are_none_are_refused_with_a_reason() {
        assert!(matches!(CronTimes::new("* * * *", None), Err(CronError::Unreadable { .. })));
        assert!(matches!(CronTimes::new("0 0 * * * *", None), Err(CronError::Unreadable { .. })));
        assert!(matches!(CronTimes::new("61 * * * *", None), Err(CronError::Unreadable { .. })));
        assert!(matches!(CronTimes::new("0 0 30 2 *", Some("UTC")), Err(CronError::Never { .. })));
        assert!(matches!(CronTimes::new("0 0 * * *", Some("Mars/Base")), Err(CronError::NoZone(_))));
    }

    #[test]
    fn an_interrupted_job_is_due_at_once_and_one_on_demand_never() {
        let cut = Past { interrupted: true, ..ended("2026-03-10T11:59:00Z") };
        assert_eq!(plain(When::Interval(Duration::from_secs(3600))).due("a", cut, at(NOW)), Some(at(NOW)));
        assert_eq!(plain(When::OnDemand).due("a", ended(NOW), at(NOW)), None);
    }

    proptest! {
        #[test]
        fn the_spread_stays_within_the_jitter_and_is_the_same_each_time(
            name in "[a-z]{1,12}", jitter in 0u64..100_000, second in 0i64..4_000_000_000
        ) {
            let table = Timetable {
                when: When::Interval(Duration::from_secs(60)),
                jitter: Duration::from_secs(jitter),
            };
            let end = Timestamp::from_second(second).unwrap();
            let past = Past { ended: Some(end), ..Past::default() };
            let due = table.due(&name, past, end).unwrap();
            let wait = due.duration_since(end).as_secs_f64();
            prop_assert!((60.0..=60.0 + jitter as f64).contains(&wait));
            prop_assert_eq!(table.due(&name, past, due), Some(due));
        }

        #[test]
        fn no_time_and_no_pause_overflow(second in i64::MIN..i64::MAX, pause in 0u64..u64::MAX) {
            if let Ok(end) = Timestamp::from_second(second) {
                let past = Past { ended: Some(end), ..Past::default() };
                let table = plain(When::Interval(Duration::from_secs(pause)));
                prop_assert!(table.due("a", past, end).unwrap() >= end);
            }
        }

        #[test]
        fn any_text_is_a_schedule_or_an_error(text in "[-0-9*/,LW#a-z@ ]{0,24}") {
            if let Ok(times) = CronTimes::new(&text, Some("UTC")) {
                let now = at(NOW);
                prop_assert!(times.after(now).is_none_or(|next| next > now));
            }
        }
    }
}
