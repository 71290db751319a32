//! Filter rules: parsing, matching, per-directory merges and their wire form (spec 06).
//!
//! Nothing here touches a file: rule files are read through the caller's [`RuleFiles`], and the text
//! of `$HOME/.cvsignore` and `$CVSIGNORE` is given. A [`Filters`] value is one ordered rule list (the
//! user's, or a daemon module's); a [`DirRules`] value says which per-directory rules apply in one
//! directory and is cheap to copy, so that a scan may visit directories in any order.

mod cvs;
mod error;
mod filters;
mod implied;
mod list;
mod merge;
mod names;
mod pattern;
mod rule;
mod text;
#[cfg(test)]
mod vectors;
mod wildcard;
mod wire;

pub use cvs::{DEFAULT_CVS_PATTERNS, cvs_rules};
pub use error::{FilterError, FilterNote};
pub use filters::Filters;
pub use implied::{ImpliedNames, RequestShape};
pub use list::{Decision, Rule, RuleKind, RuleList, Subject};
#[cfg(test)]
pub(crate) use merge::NoFiles;
pub use merge::{DirRules, OpenFailure, RuleFile, RuleFiles};
pub use names::{NameReader, RequestForwarder, RequestReader, sanitize};
pub use pattern::Pattern;
pub use rule::{Grammar, Modifiers};
pub use wildcard::Wildcard;
pub use wire::{Dialect, MAX_RECEIVED_RULES, ReceivedRules, list_is_sent};

/// Names and patterns are shorter than this many bytes (spec 06, introduction).
pub const MAX_PATH: usize = 4096;
/// A rule line is shorter than this many bytes (spec 06, introduction).
pub const MAX_LINE: usize = 5120;

/// What a matching rule says about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The name takes part: shown to the sender, at risk of deletion on the receiver.
    Include,
    /// The name does not: hidden from the sender, protected on the receiver.
    Exclude,
}

/// The end of the transfer that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Hide and show: which names enter the file list.
    Sender,
    /// Protect and risk: which names a deletion may remove.
    Receiver,
}
