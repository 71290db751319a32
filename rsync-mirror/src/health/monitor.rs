//! From answers to a state: a pure machine over a clock that the caller brings.

use std::fmt;
use std::time::{Duration, Instant};

/// How often a daemon is checked, and how many answers in a row change its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Time between two checks.
    pub interval: Duration,
    /// How long one check may take.
    pub timeout: Duration,
    /// So many good answers in a row bring a daemon back.
    pub rise: u32,
    /// So many bad answers in a row take it away.
    pub fall: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { interval: Duration::from_secs(5), timeout: Duration::from_secs(3), rise: 2, fall: 3 }
    }
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All is well.
    Good,
    /// The daemon lives and takes nobody more for now (`max connections`); it holds its words.
    Busy(String),
    /// It cannot be used; it holds why.
    Bad(String),
}

/// What is known of a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It may be used.
    Up,
    /// It lives and takes nobody more for now; it holds its words.
    Busy(String),
    /// It shall get nothing new, whatever the checks say.
    Draining,
    /// It must not be used; it holds why.
    Down(String),
}

impl State {
    /// Its name: `up`, `busy`, `draining` or `down`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Busy(_) => "busy",
            Self::Draining => "draining",
            Self::Down(_) => "down",
        }
    }

    /// Why it is not up.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Busy(reason) | Self::Down(reason) => Some(reason),
            Self::Up | Self::Draining => None,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            Some(reason) => write!(f, "{} ({reason})", self.name()),
            None => f.write_str(self.name()),
        }
    }
}

/// A daemon's state has become another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it was.
    pub from: State,
    /// What it is.
    pub to: State,
}

/// The state of one daemon. The first answer decides at once; from then on, answers must agree as often
/// as [`Thresholds`] say, so that a check that fails now and then changes nothing.
#[derive(Clone, Debug)]
pub struct Monitor {
    thresholds: Thresholds,
    /// Whether the daemon lives; nothing before the first answer.
    alive: Option<bool>,
    /// Answers in a row that contradict `alive`.
    streak: u32,
    /// What the last answer complained about.
    complaint: Option<String>,
    /// Whether the last answer was that the daemon is busy.
    busy: bool,
    draining: bool,
    due: Instant,
    /// A failure in use was counted since the last check.
    blamed: bool,
}

impl Monitor {
    /// Nothing is known, and the first check is due.
    #[must_use]
    pub fn new(thresholds: Thresholds, now: Instant) -> Self {
        Self {
            thresholds,
            alive: None,
            streak: 0,
            complaint: None,
            busy: false,
            draining: false,
            due: now,
            blamed: false,
        }
    }

    /// Takes it for granted that the daemon lives, so that even the first bad answers are counted.
    pub fn presume_up(&mut self) {
        self.alive = Some(true);
    }

    /// Whether there was an answer.
    pub(crate) fn is_known(&self) -> bool {
        self.alive.is_some()
    }

    /// When to check next.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.due
    }

    /// What is known now.
    #[must_use]
    pub fn state(&self) -> State {
        let complaint = || self.complaint.clone().unwrap_or_default();
        match self.alive {
            _ if self.draining => State::Draining,
            None => State::Down("not checked yet".into()),
            Some(false) => State::Down(complaint()),
            Some(true) if self.busy => State::Busy(complaint()),
            Some(true) => State::Up,
        }
    }

    /// Takes the answer of a check that began at `started`; tells if the state has become another. The next
    /// check is due one interval after that begin, so that checks without an answer come as often.
    pub fn record(&mut self, started: Instant, answer: Answer) -> Option<Change> {
        self.due = started + self.thresholds.interval;
        self.blamed = false;
        self.count(answer)
    }

    /// Takes a failure that somebody met who used the daemon. It counts like a bad answer, but only once
    /// between two checks, and makes the next check due at once: many who fail at the same moment are one
    /// witness.
    pub fn blame(&mut self, now: Instant, reason: String) -> Option<Change> {
        if std::mem::replace(&mut self.blamed, true) {
            return None;
        }
        self.due = self.due.min(now);
        self.count(Answer::Bad(reason))
    }

    /// Says whether the daemon shall get nothing new.
    pub fn set_draining(&mut self, draining: bool) -> Option<Change> {
        let from = self.state();
        self.draining = draining;
        self.changed(from)
    }

    fn count(&mut self, answer: Answer) -> Option<Change> {
        let from = self.state();
        let is_good = !matches!(answer, Answer::Bad(_));
        let threshold = match self.alive {
            None => 0,
            Some(true) => self.thresholds.fall,
            Some(false) => self.thresholds.rise,
        };
        if self.alive == Some(is_good) {
            self.streak = 0;
        } else {
            self.streak += 1;
            if self.streak >= threshold {
                (self.alive, self.streak) = (Some(is_good), 0);
            }
        }
        match answer {
            Answer::Good => self.busy = false,
            Answer::Busy(text) => (self.busy, self.complaint) = (true, Some(text)),
            Answer::Bad(text) => (self.busy, self.complaint) = (false, Some(text)),
        }
        self.changed(from)
    }

    fn changed(&self, from: State) -> Option<Change> {
        let to = self.state();
        (from.name() != to.name()).then_some(Change { from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    /// A monitor and the clock it is asked by.
    struct Clocked {
        monitor: Monitor,
        now: Instant,
    }

    impl Clocked {
        fn new(rise: u32, fall: u32) -> Self {
            let now = Instant::now();
            let thresholds = Thresholds { interval: INTERVAL, rise, fall, ..Thresholds::default() };
            Self { monitor: Monitor::new(thresholds, now), now }
        }

        /// Lets the next check come, and answers it; the state's name after it.
        fn answer(&mut self, answer: Answer) -> &'static str {
            self.now = self.now.max(self.monitor.due());
            self.monitor.record(self.now, answer);
            self.monitor.state().name()
        }

        fn good(&mut self) -> &'static str {
            self.answer(Answer::Good)
        }

        fn bad(&mut self) -> &'static str {
            self.answer(Answer::Bad("no".into()))
        }
    }

    #[test]
    fn the_first_answer_decides_at_once() {
        assert_eq!(Clocked::new(2, 3).monitor.state(), State::Down("not checked yet".into()));
        assert_eq!(Clocked::new(2, 3).good(), "up");
        assert_eq!(Clocked::new(2, 3).bad(), "down");
    }

    #[test]
    fn a_daemon_that_is_presumed_to_live_falls_like_any_other() {
        let mut clocked = Clocked::new(2, 2);
        clocked.monitor.presume_up();
        assert_eq!([clocked.bad(), clocked.bad()], ["up", "down"]);
    }

    #[test]
    fn a_daemon_falls_after_so_many_bad_answers_and_rises_after_so_many_good_ones() {
        let mut clocked = Clocked::new(2, 3);
        assert_eq!(clocked.good(), "up");
        assert_eq!([clocked.bad(), clocked.bad(), clocked.bad()], ["up", "up", "down"]);
        assert_eq!(
            [clocked.good(), clocked.bad(), clocked.good(), clocked.good()],
            ["down", "down", "down", "up"]
        );
    }

    #[test]
    fn a_check_that_fails_one_time_in_three_changes_nothing() {
        let mut clocked = Clocked::new(2, 2);
        clocked.good();
        for _ in 0..100 {
            assert_eq!([clocked.bad(), clocked.good(), clocked.good()], ["up"; 3]);
        }
    }

    #[test]
    fn checks_are_due_one_interval_after_the_other() {
        let mut clocked = Clocked::new(2, 3);
        let start = clocked.now;
        assert_eq!(clocked.monitor.due(), start);
        clocked.good();
        assert_eq!(clocked.monitor.due(), start + INTERVAL);
        clocked.bad();
        assert_eq!(clocked.monitor.due(), start + 2 * INTERVAL);
    }

    #[test]
    fn a_busy_daemon_lives() {
        let mut clocked = Clocked::new(2, 2);
        clocked.good();
        let busy = || Answer::Busy("max connections (1) reached".into());
        assert_eq!([clocked.bad(), clocked.answer(busy()), clocked.bad()], ["up", "busy", "up"]);
        assert_eq!(clocked.bad(), "down");
        assert_eq!([clocked.answer(busy()), clocked.answer(busy())], ["down", "busy"]);
        assert_eq!(clocked.monitor.state(), State::Busy("max connections (1) reached".into()));
        assert_eq!(clocked.good(), "up");
    }

    #[test]
    fn many_failures_in_use_are_one_witness_and_hasten_the_next_check() {
        let mut clocked = Clocked::new(2, 2);
        clocked.good();
        let later = clocked.now + Duration::from_secs(1);
        for _ in 0..20 {
            assert_eq!(clocked.monitor.blame(later, "refused".into()), None);
        }
        assert_eq!(clocked.monitor.due(), later);
        clocked.now = later;
        assert_eq!(clocked.bad(), "down");
        assert_eq!(clocked.monitor.due(), later + INTERVAL);
    }

    #[test]
    fn draining_hides_what_the_checks_say_until_it_ends() {
        let mut clocked = Clocked::new(1, 1);
        clocked.good();
        let change = clocked.monitor.set_draining(true).expect("a change");
        assert_eq!((change.from, change.to), (State::Up, State::Draining));
        assert_eq!(clocked.bad(), "draining");
        let change = clocked.monitor.set_draining(false).expect("a change");
        assert_eq!(change.to, State::Down("no".into()));
    }

    proptest! {
        /// Whatever the answers are, the state changes only after a run of answers of one kind.
        #[test]
        fn no_change_without_a_run_of_equal_answers(
            answers in proptest::collection::vec(any::<bool>(), 1..200), rise in 1_u32..5, fall in 1_u32..5,
        ) {
            let mut clocked = Clocked::new(rise, fall);
            let mut before = clocked.answer(if answers[0] { Answer::Good } else { Answer::Bad("no".into()) });
            for at in 1..answers.len() {
                let after = if answers[at] { clocked.good() } else { clocked.bad() };
                if after != before {
                    let needed = if answers[at] { rise } else { fall } as usize;
                    prop_assert!(at + 1 >= needed);
                    prop_assert!(answers[at + 1 - needed..=at].iter().all(|answer| *answer == answers[at]));
                }
                before = after;
            }
        }
    }
}
