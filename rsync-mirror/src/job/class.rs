//! What an exit code means: whether a run was good, and whether another attempt makes sense (spec 11 §2.1).

use rsync_proto::exit::ExitCode;
use serde::{Deserialize, Serialize};

/// The kind of end a run or an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Everything was transferred.
    Good,
    /// Good, with something to say: files vanished, or immutable ones stayed as expected.
    Notes,
    /// It may work the next time: the network, the upstream's load, its files changing.
    Transient,
    /// It may work once more, and hardly after that.
    Once,
    /// It will not work until somebody changes something.
    Permanent,
    /// All that failed are files of this machine that cannot be changed.
    Immutable,
    /// A guard refused; only [`RunContext::accept`](super::RunContext::accept) goes past it.
    Refused,
    /// Somebody else holds the lock.
    Locked,
    /// It was stopped from outside.
    Cancelled,
}

/// Why one path failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathClass {
    /// It went away at the upstream.
    Vanished,
    /// The upstream may not, or cannot, read it.
    Upstream,
    /// It is immutable or append-only on this machine.
    Immutable,
    /// This process may not change it.
    Permission,
    /// There is no space for it.
    NoSpace,
    /// Something else.
    Other,
}

/// Changes of the default meanings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClassRules {
    /// Codes that are good too.
    pub good: Vec<u8>,
    /// Codes that are failures and never tried again, whatever the defaults say.
    pub permanent: Vec<u8>,
}

/// What is known about an end besides its code.
#[derive(Clone, Copy, Debug, Default)]
pub struct EndFacts<'a> {
    /// Why paths failed; empty where nothing is known.
    pub failed: &'a [PathClass],
    /// What the peer refused with, as `@ERROR...`.
    pub refusal: &'a [u8],
    /// A file system was full.
    pub no_space: bool,
}

impl ClassRules {
    /// Whether a code is good by these rules alone.
    #[must_use]
    pub fn is_good(&self, code: u8) -> bool {
        self.good.contains(&code) && !self.permanent.contains(&code)
    }
}

impl Class {
    /// Whether the mirror is as it should be.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Good | Self::Notes)
    }

    /// Whether another attempt makes sense after so many with this end.
    #[must_use]
    pub const fn may_retry(self, attempts: u32) -> bool {
        match self {
            Self::Transient => true,
            Self::Once => attempts < 2,
            _ => false,
        }
    }

    /// What `code` means with these facts, as `rules` change it.
    #[must_use]
    pub fn of(code: ExitCode, facts: EndFacts<'_>, rules: &ClassRules) -> Self {
        if rules.permanent.contains(&code.code()) {
            return Self::Permanent;
        }
        if rules.is_good(code.code()) {
            return if code.is_ok() { Self::Good } else { Self::Notes };
        }
        match code.code() {
            0 => Self::Good,
            24 => Self::Notes,
            23 => of_partial(facts),
            25 => Self::Refused,
            5 if is_busy(facts.refusal) => Self::Transient,
            10 | 12 | 19 | 20 | 30 | 35 => Self::Transient,
            11 if facts.no_space => Self::Permanent,
            11 | 13..=16 | 21 | 22 => Self::Once,
            _ => Self::Permanent,
        }
    }
}

fn of_partial(facts: EndFacts<'_>) -> Class {
    let all = |wanted: &[PathClass]| {
        !facts.failed.is_empty() && facts.failed.iter().all(|class| wanted.contains(class))
    };
    if all(&[PathClass::Immutable]) {
        Class::Immutable
    } else if facts.no_space || all(&[PathClass::Immutable, PathClass::Permission, PathClass::Upstream]) {
        Class::Permanent
    } else {
        Class::Transient
    }
}

/// Whether a daemon refuses only because it has too much to do.
fn is_busy(refusal: &[u8]) -> bool {
    let text = String::from_utf8_lossy(refusal);
    (text.contains("max connections") && text.contains("reached")) || text.contains("queue is full")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(code: u8, facts: EndFacts<'_>) -> Class {
        Class::of(ExitCode::new(code), facts, &ClassRules::default())
    }

    #[test]
    fn codes_without_more_facts_mean_what_the_table_says() {
        let none = EndFacts::default();
        for (codes, expected) in [
            (&[0][..], Class::Good),
            (&[24], Class::Notes),
            (&[10, 12, 19, 20, 23, 30, 35], Class::Transient),
            (&[11, 13, 14, 15, 16, 21, 22], Class::Once),
            (&[1, 2, 3, 4, 5, 6, 124, 127, 255], Class::Permanent),
            (&[25], Class::Refused),
        ] {
            for &code in codes {
                assert_eq!(class(code, none), expected, "{code}");
            }
        }
    }

    #[test]
    fn a_refusal_is_worth_another_attempt_only_if_the_daemon_is_busy() {
        let refused = |text: &str| class(5, EndFacts { refusal: text.as_bytes(), ..EndFacts::default() });
        assert_eq!(refused("@ERROR: max connections (4) reached -- try again later"), Class::Transient);
        assert_eq!(refused("@ERROR: Unknown module 'x'"), Class::Permanent);
    }

    #[test]
    fn partial_transfers_are_judged_by_what_failed() {
        let partial = |failed: &[PathClass]| class(23, EndFacts { failed, ..EndFacts::default() });
        assert_eq!(partial(&[PathClass::Immutable; 2]), Class::Immutable);
        assert_eq!(partial(&[PathClass::Immutable, PathClass::Permission]), Class::Permanent);
        assert_eq!(partial(&[PathClass::Permission, PathClass::Other]), Class::Transient);
    }

    #[test]
    fn a_full_disk_is_not_tried_again() {
        assert_eq!(class(11, EndFacts { no_space: true, ..EndFacts::default() }), Class::Permanent);
    }

    #[test]
    fn rules_of_a_job_come_first() {
        let rules = ClassRules { good: vec![23], permanent: vec![24] };
        let of = |code| Class::of(ExitCode::new(code), EndFacts::default(), &rules);
        assert_eq!((of(23), of(24)), (Class::Notes, Class::Permanent));
    }
}
