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
    /// The next check may be due earlier than it was.
    hastened: Notify,
}

impl Watch {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(checks: &Checks) -> Self {
        Self {
            monitor: Mutex::new(Monitor::new(checks.thresholds(), Instant::now())),
            hastened: Notify::new(),
        }
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
        let answer = target.examine(checks).await;
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
