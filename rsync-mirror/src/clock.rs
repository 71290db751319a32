//! Time and chance, as whoever runs jobs provides them: the system's, or a test's.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// Tells the time. Waiting is not a clock's business, since what is waited for may be cancelled.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time of day.
    fn now(&self) -> Timestamp;

    /// Time that only grows, from an arbitrary beginning.
    fn elapsed(&self) -> Duration;
}

/// The system's clock.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {
    start: Timestamp,
    moved: Mutex<Duration>,
}

impl ManualClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self { start, moved: Mutex::default() }
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.start.saturating_add(self.elapsed()).unwrap_or(Timestamp::MAX)
    }

    fn elapsed(&self) -> Duration {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Throws dice.
pub trait Chance: Send + Sync + fmt::Debug {
    /// Any number.
    fn number(&self) -> u64;

    /// A number from 0 up to 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn share(&self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Numbers that nobody foresees.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomChance;

impl Chance for RandomChance {
    fn number(&self) -> u64 {
        rand::random()
    }
}

/// The same number each time.
#[derive(Clone, Copy, Debug)]
pub struct FixedChance(pub u64);

impl Chance for FixedChance {
    fn number(&self) -> u64 {
        self.0
    }
}
