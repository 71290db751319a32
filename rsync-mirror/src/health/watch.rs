//! A monitor that is fed by its checks.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::check::Checks;
use super::monitor::{Change, Monitor, State};
use super::probe::Target;

/// The state of one daemon, shared by those who check it and those who use it.
#[derive(Debug)]
pub struct Watch {
    monitor: Mutex<Monitor>,
    /// The date of what the daemon serves, as its last check saw it.
    date: Mutex<Option<i64>>,
    /// The next check may be due earlier than it was.
    hastened: Notify,
}

impl Watch {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(checks: &Checks) -> Self {
        Self::since(checks, Instant::now())
    }

    /// Nothing is known, and the first check is due at `first`.
    pub(crate) fn since(checks: &Checks, first: Instant) -> Self {
        Self {
            monitor: Mutex::new(Monitor::new(checks.thresholds(), first)),
            date: Mutex::default(),
            hastened: Notify::new(),
        }
    }

    /// Whether a check has been made.
    pub(crate) fn is_known(&self) -> bool {
        self.monitor().is_known()
    }

    /// The date of what the daemon serves, in seconds since 1970, where a check looks for it.
    pub(crate) fn date(&self) -> Option<i64> {
        *self.date.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn monitor(&self) -> MutexGuard<'_, Monitor> {
        self.monitor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known now.
    #[must_use]
    pub fn state(&self) -> State {
        self.monitor().state()
    }

    /// Takes a failure met in use: see [`Monitor::blame`].
    pub fn blame(&self, reason: String) -> Option<Change> {
        let change = self.monitor().blame(Instant::now(), reason);
        self.hastened.notify_one();
        change
    }

    /// Says whether the daemon shall get nothing new.
    pub fn set_draining(&self, draining: bool) -> Option<Change> {
        self.monitor().set_draining(draining)
    }

    /// Makes one check now.
    pub async fn check(&self, target: &Target, checks: &Checks) -> Option<Change> {
        let started = Instant::now();
        let (answer, date) = target.examine_dated(checks).await;
        if date.is_some() {
            *self.date.lock().unwrap_or_else(PoisonError::into_inner) = date;
        }
        self.monitor().record(started, answer)
    }

    /// Makes every check when it is due, until it is dropped; `changed` hears of every change.
    pub async fn run(&self, target: &Target, checks: &Checks, changed: impl Fn(&Change)) {
        loop {
            let due = self.monitor().due();
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                () = self.hastened.notified() => continue,
            }
            if let Some(change) = self.check(target, checks).await {
                changed(&change);
            }
        }
    }
}
