//! The floating address as one role sees it: from answers of checks to procedures, without doing anything.

use std::time::{Duration, Instant};

use super::config::VipConfig;
use super::journal::Role;
use super::procedure::Procedure;
use crate::health::{Answer, Monitor, State, Thresholds};

/// After a change of roles and until the first good answer, services get so many times the usual number of
/// checks to come up, and the other server so much time to go first.
const PATIENCE: u32 = 3;

/// What came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// The agent has started.
    Start,
    /// A procedure is complete.
    Change,
}

/// What is known of the floating address.
#[derive(Debug)]
pub(super) struct Watched {
    /// When the agent's clock began.
    base: Instant,
    /// With more patience than usual until the first good answer.
    thresholds: Thresholds,
    usual_fall: u32,
    role: Role,
    device: String,
    presumes: bool,
    monitor: Monitor,
    /// Good answers in a row that are still needed to take the address back; `None` for who never does.
    until_back: Option<u32>,
}

impl Watched {
    /// Nothing is known yet. The first check is due at `now`, or later where the other is to go first.
    pub(super) fn new(config: &VipConfig, role: Role, beginning: Beginning, now: Duration) -> Self {
        let mut thresholds = config.checks().thresholds();
        let usual_fall = thresholds.fall;
        if beginning == Beginning::Change {
            thresholds.fall = thresholds.fall.saturating_mul(PATIENCE);
        }
        // Only a primary that has just started takes an address at once that nobody has.
        let presumes = !(beginning == Beginning::Start && role == Role::Standby && config.primary);
        let base = Instant::now();
        // The other may need all of its time for each of its checks.
        let goes_first = beginning == Beginning::Change && role == Role::Standby;
        let now = if goes_first { now + thresholds.timeout.saturating_mul(usual_fall) } else { now };
        Self {
            base,
            thresholds,
            usual_fall,
            role,
            device: config.dev.clone(),
            presumes,
            monitor: monitor(thresholds, presumes, base + now),
            until_back: (config.primary && config.preempt).then_some(thresholds.rise),
        }
    }

    /// When to check next.
    pub(super) fn due(&self) -> Duration {
        self.monitor.due().saturating_duration_since(self.base)
    }

    /// What the last answers say, for people.
    pub(super) fn reason(&self) -> String {
        self.monitor.state().to_string()
    }

    /// Takes the answer of a check that began at `started`, `None` if our own device is connected to
    /// nothing; tells what follows from it.
    pub(super) fn hear(&mut self, started: Duration, answer: Option<Answer>) -> Option<Procedure> {
        let started = self.base + started;
        let (answer, role) = match (answer, self.role) {
            // Who is cut off knows nothing of the other.
            (None, Role::Standby) => {
                self.monitor = monitor(self.thresholds, self.presumes, started + self.thresholds.interval);
                return None;
            }
            (None, Role::Serving) => (Answer::Bad(format!("{} has no carrier", self.device)), Role::Serving),
            (Some(answer), role) => (answer, role),
        };
        let is_bad = matches!(answer, Answer::Bad(_));
        if !is_bad && self.thresholds.fall != self.usual_fall {
            self.thresholds.fall = self.usual_fall;
            self.monitor = monitor(self.thresholds, true, started);
        }
        self.monitor.record(started, answer);
        let is_down = matches!(self.monitor.state(), State::Down(_));
        match role {
            Role::Serving => is_down.then_some(Procedure::Yield),
            Role::Standby if is_bad => {
                self.until_back = self.until_back.map(|_| self.thresholds.rise);
                is_down.then_some(Procedure::Takeover)
            }
            Role::Standby => {
                let left = self.until_back.as_mut()?;
                *left = left.saturating_sub(1);
                (*left == 0).then_some(Procedure::Failback)
            }
        }
    }
}

fn monitor(thresholds: Thresholds, presumes: bool, due: Instant) -> Monitor {
    let mut monitor = Monitor::new(thresholds, due);
    if presumes {
        monitor.presume_up();
    }
    monitor
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEOVER: Option<Procedure> = Some(Procedure::Takeover);

    fn config(lines: &str) -> VipConfig {
        let text = format!(
            "address = \"192.0.2.10/24\"\ndev = \"e\"\nfall = 2\nrise = 2\ninterval = \"1s\"\n{lines}\n"
        );
        toml::from_str(&text).expect("a section")
    }

    /// What follows from each answer: `g`ood, `b`ad or `-` not connected.
    fn heard(lines: &str, role: Role, beginning: Beginning, answers: &str) -> Vec<Option<Procedure>> {
        let mut watched = Watched::new(&config(lines), role, beginning, Duration::ZERO);
        let answer = |letter| match letter {
            'g' => Some(Answer::Good),
            'b' => Some(Answer::Bad("no".into())),
            _ => None,
        };
        answers
            .chars()
            .map(|letter| {
                let now = watched.due();
                watched.hear(now, answer(letter))
            })
            .collect()
    }

    #[test]
    fn the_primary_begins_at_once_and_the_other_waits_for_it() {
        let heard = |lines, answers| heard(lines, Role::Standby, Beginning::Start, answers);
        assert_eq!(heard("primary = true", "b"), [TAKEOVER]);
        assert_eq!(heard("", "bb"), [None, TAKEOVER]);
        assert_eq!(heard("", "bgbg"), [None; 4]);
    }

    #[test]
    fn who_has_just_given_up_lets_the_other_go_first() {
        let heard = heard("primary = true", Role::Standby, Beginning::Change, "bbbbbb");
        assert_eq!(heard, [None, None, None, None, None, TAKEOVER]);
        // The other has gone first; from then on it is watched like any other.
        let heard = self::heard("primary = true", Role::Standby, Beginning::Change, "bbbgbb");
        assert_eq!(heard, [None, None, None, None, None, TAKEOVER]);
    }

    #[test]
    fn who_is_cut_off_takes_nothing_and_who_serves_lets_go() {
        assert_eq!(heard("", Role::Standby, Beginning::Start, "-----"), [None; 5]);
        // What it has heard before it was cut off is too old.
        assert_eq!(heard("", Role::Standby, Beginning::Start, "b-bb"), [None, None, None, TAKEOVER]);
        assert_eq!(heard("primary = true", Role::Standby, Beginning::Start, "--g"), [None; 3]);
        let serving = heard("", Role::Serving, Beginning::Start, "g--");
        assert_eq!(serving, [None, None, Some(Procedure::Yield)]);
    }

    #[test]
    fn one_good_answer_keeps_the_address_where_it_is() {
        let heard = heard("", Role::Standby, Beginning::Start, "bbg");
        assert_eq!(heard, [None, TAKEOVER, None]);
    }

    #[test]
    fn only_a_primary_that_may_takes_the_address_back() {
        let heard = |lines, answers| heard(lines, Role::Standby, Beginning::Start, answers);
        let back = Some(Procedure::Failback);
        assert_eq!(heard("primary = true\npreempt = true", "ggg")[..2], [None, back]);
        assert_eq!(heard("primary = true", "ggggg"), [None; 5]);
        assert_eq!(heard("preempt = true", "ggggg"), [None; 5]);
    }

    #[test]
    fn checks_are_due_by_the_interval() {
        let mut watched = Watched::new(&config(""), Role::Standby, Beginning::Start, Duration::from_secs(5));
        assert_eq!(watched.due(), Duration::from_secs(5));
        watched.hear(Duration::from_secs(5), Some(Answer::Good));
        assert_eq!(watched.due(), Duration::from_secs(6));
        watched.hear(Duration::from_secs(6), None);
        assert_eq!(watched.due(), Duration::from_secs(7));
        let patient = Watched::new(&config(""), Role::Standby, Beginning::Change, Duration::from_secs(5));
        assert_eq!(patient.due(), Duration::from_secs(7));
    }
}
