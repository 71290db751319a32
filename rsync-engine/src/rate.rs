//! `--bwlimit`: how long a writer sleeps after each write (spec 02 §3.5).

use std::time::{Duration, Instant};

/// Sleeps shorter than this are saved up.
const SHORTEST_SLEEP_MICROS: i64 = 100_000;

/// Limits a writer to a number of KiB per second, with the C rsync's integer arithmetic.
#[derive(Debug)]
pub(crate) struct RateLimit {
    kib_per_second: i64,
    /// Bytes written and not yet slept for; negative after a sleep that took too long.
    debt: i64,
    last: Option<Instant>,
}

impl RateLimit {
    /// A limit of `kib_per_second` KiB (1024 bytes) each second.
    #[must_use]
    pub(crate) fn new(kib_per_second: u32) -> Self {
        Self { kib_per_second: i64::from(kib_per_second.max(1)), debt: 0, last: None }
    }

    /// The largest write allowed, in bytes.
    #[must_use]
    pub(crate) fn max_write(&self) -> usize {
        (128 * self.kib_per_second as usize).max(512)
    }

    /// Accounts for `written` bytes and answers how long to sleep before the next write, if at all.
    /// Call [`RateLimit::slept`] after the sleep.
    pub(crate) fn after_write(&mut self, written: usize, now: Instant) -> Option<Duration> {
        self.debt += written as i64;
        if let Some(last) = self.last {
            let elapsed = now.saturating_duration_since(last).as_micros() as i64;
            self.debt = (self.debt - elapsed.saturating_mul(self.kib_per_second) / 976).max(0);
        }
        let sleep = self.debt.saturating_mul(976) / self.kib_per_second;
        if sleep < SHORTEST_SLEEP_MICROS {
            self.last = Some(now);
            return None;
        }
        Some(Duration::from_micros(sleep as u64))
    }

    /// Records that the writer slept from `asleep` to `awake` when `wanted` was asked for.
    pub(crate) fn slept(&mut self, wanted: Duration, asleep: Instant, awake: Instant) {
        let missing = wanted.as_micros() as i64 - (awake - asleep).as_micros() as i64;
        self.debt = missing * self.kib_per_second / 976;
        self.last = Some(awake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kib_per_second_writes_half_a_kib_every_half_second() {
        let mut rate = RateLimit::new(1);
        assert_eq!(rate.max_write(), 512);
        let start = Instant::now();
        let sleep = rate.after_write(512, start).expect("must sleep");
        assert_eq!(sleep, Duration::from_micros(499_712));
        rate.slept(sleep, start, start + sleep);
        assert!(rate.after_write(512, start + sleep).is_some());
    }

    #[test]
    fn small_writes_are_saved_up() {
        let mut rate = RateLimit::new(1024);
        let start = Instant::now();
        assert_eq!(rate.after_write(1000, start), None);
        assert!(rate.after_write(200_000, start).is_some());
    }
}
