//! A watch over one attempt: it ends a transfer that stands still, takes too long, or fills the disk.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::context::RunContext;
use super::guard::Space;
use super::spec::{Guard, Timeouts};

/// How often the watch looks.
const LOOK: Duration = Duration::from_millis(250);

/// Why the watch ended an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing moved for so long.
    NoProgress(Duration),
    /// The run took so long.
    TooLong(Duration),
    /// Less space is left than must be.
    LowSpace,
}

/// What is watched for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    /// The longest time without an event.
    pub(crate) no_progress: Option<Duration>,
    /// The clock's time at which the run is over, and how long that is after its start.
    pub(crate) deadline: Option<(Duration, Duration)>,
    /// What must be left where.
    pub(crate) space: Option<(PathBuf, Guard)>,
}

impl Limits {
    pub(crate) fn new(timeouts: &Timeouts, guard: &Guard, started: Duration, path: PathBuf) -> Self {
        let guards_space = guard.min_free.is_some() || guard.min_free_inodes.is_some();
        Self {
            no_progress: timeouts.no_progress,
            deadline: timeouts.total.map(|total| (started + total, total)),
            space: guards_space.then(|| (path, guard.clone())),
        }
    }

    fn look(&self, context: &RunContext, begun: Duration) -> Option<Verdict> {
        let now = context.clock.elapsed();
        if let Some((_, total)) = self.deadline.filter(|&(deadline, _)| now >= deadline) {
            return Some(Verdict::TooLong(total));
        }
        if let Some(limit) = self.no_progress {
            let last = context.progress.snapshot().last_event.max(begun);
            if now.saturating_sub(last) >= limit {
                return Some(Verdict::NoProgress(limit));
            }
        }
        let (path, guard) = self.space.as_ref()?;
        let space = Space::of(path)?;
        let low = guard.min_free.is_some_and(|keep| space.bytes < keep.of(space.whole));
        let few = guard.min_free_inodes.zip(space.inodes).is_some_and(|(keep, free)| free < keep);
        (low || few).then_some(Verdict::LowSpace)
    }
}

impl Space {
    /// What is free where `path` is, as far as the system tells.
    pub(crate) fn of(path: &std::path::Path) -> Option<Self> {
        let facts = rustix::fs::statvfs(path).ok()?;
        Some(Self {
            bytes: facts.f_bavail.saturating_mul(facts.f_frsize),
            whole: facts.f_blocks.saturating_mul(facts.f_frsize),
            inodes: (facts.f_files > 0).then_some(facts.f_favail),
        })
    }
}

/// Watches until it is dropped.
pub(crate) struct Watch {
    shared: Arc<(Mutex<State>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    over: bool,
    verdict: Option<Verdict>,
}

impl Watch {
    /// Calls `end` when one of the limits is passed.
    pub(crate) fn begin(limits: Limits, context: &RunContext, end: impl Fn() + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let (watched, context) = (Arc::clone(&shared), context.clone());
        let begun = context.clock.elapsed();
        let watching = move || {
            let (state, changed) = &*watched;
            loop {
                let state = state.lock().unwrap_or_else(PoisonError::into_inner);
                let waited = changed.wait_timeout_while(state, LOOK, |state| !state.over);
                let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
                if state.over {
                    return;
                }
                if let Some(verdict) = limits.look(&context, begun) {
                    state.verdict = Some(verdict);
                    drop(state);
                    return end();
                }
            }
        };
        // Without a thread there is no watch, and the transfer's own timeouts remain.
        let thread = std::thread::Builder::new().name("watch".into()).spawn(watching).ok();
        Self { shared, thread }
    }

    /// Ends the watch; answers why it ended the attempt, if it did.
    pub(crate) fn end(mut self) -> Option<Verdict> {
        self.stop();
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).verdict
    }

    fn stop(&mut self) {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).over = true;
        self.shared.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;
    use jiff::Timestamp;

    fn context() -> (RunContext, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let mut context = RunContext::new("/nowhere");
        context.clock = clock.clone();
        (context, clock)
    }

    #[test]
    fn silence_is_measured_from_the_last_event() {
        let (context, clock) = context();
        let limits = Limits { no_progress: Some(Duration::from_secs(10)), ..Limits::default() };
        clock.advance(Duration::from_secs(9));
        context.progress.update(clock.as_ref(), |_| {});
        clock.advance(Duration::from_secs(9));
        assert_eq!(limits.look(&context, Duration::ZERO), None);
        clock.advance(Duration::from_secs(1));
        assert_eq!(limits.look(&context, Duration::ZERO), Some(Verdict::NoProgress(Duration::from_secs(10))));
    }

    #[test]
    fn the_end_of_the_run_is_that_of_all_attempts() {
        let (context, clock) = context();
        let total = Duration::from_secs(60);
        let timeouts = Timeouts { total: Some(total), ..Timeouts::default() };
        let limits = Limits::new(&timeouts, &Guard::default(), Duration::from_secs(5), "/".into());
        clock.advance(Duration::from_secs(64));
        assert_eq!(limits.look(&context, Duration::ZERO), None);
        clock.advance(Duration::from_secs(1));
        assert_eq!(limits.look(&context, Duration::ZERO), Some(Verdict::TooLong(total)));
    }

    #[test]
    fn a_disk_that_fills_up_is_noticed() {
        let (context, _) = context();
        let guard = Guard { min_free: Some(crate::job::Amount::Count(u64::MAX)), ..Guard::default() };
        let limits = Limits::new(&Timeouts::default(), &guard, Duration::ZERO, std::env::temp_dir());
        assert_eq!(limits.look(&context, Duration::ZERO), Some(Verdict::LowSpace));
        let (sender, ended) = std::sync::mpsc::channel();
        let watch = Watch::begin(limits, &context, move || {
            let _ = sender.send(());
        });
        ended.recv_timeout(Duration::from_secs(60)).expect("the watch acts");
        assert_eq!(watch.end(), Some(Verdict::LowSpace));
    }
}
