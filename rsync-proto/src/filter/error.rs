//! What can be wrong with rules, in rsync's words (spec 06 §2.3, §2.5, §6).

use bstr::BString;

use crate::exit::ExitCode;
use crate::wire::{NeedsInput, WireError};

/// Why rules could not be read, sent or received.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The rule's kind is not known.
    #[error("Unknown filter rule: {rule}")]
    UnknownRule {
        /// The rule, or its place in a file.
        rule: BString,
    },
    /// A character is no modifier of this rule.
    #[error("invalid modifier '{modifier}' at position {position} in filter rule: {rule}")]
    InvalidModifier {
        /// The character.
        modifier: BString,
        /// Its byte offset in the rule.
        position: usize,
        /// The rule.
        rule: BString,
    },
    /// The same in a rule file, whose text is not shown.
    #[error("invalid modifier in filter rule: {rule}")]
    InvalidModifierInFile {
        /// The rule's place.
        rule: BString,
    },
    /// The rule needs a pattern or file name and has none.
    #[error("unexpected end of filter rule: {rule}")]
    UnexpectedEnd {
        /// The rule, or its place in a file.
        rule: BString,
    },
    /// Something follows a `!`.
    #[error("'!' rule has trailing characters: {rule}")]
    TrailingCharacters {
        /// The rule, or its place in a file.
        rule: BString,
    },
    /// Both a merge rule and a rule of its file name a side.
    #[error("specified-side merge file contains specified-side filter: {rule}")]
    SideInSidedMerge {
        /// The inner rule, or its place in a file.
        rule: BString,
    },
    /// A rule file that must exist could not be opened (exit 11).
    #[error("failed to open {} file {name}{}", if *.include { "include" } else { "exclude" }, with_colon(.reason))]
    CannotOpen {
        /// Whether its rules would have been includes.
        include: bool,
        /// The file's name, or where it was named.
        name: BString,
        /// The system's reason; `None` when the name is not shown either.
        reason: Option<String>,
    },
    /// Rule files name each other more than 32 deep (exit 11).
    #[error("merge-file include depth limit (32) exceeded at {place}")]
    TooDeep {
        /// The file that was not read.
        place: BString,
    },
    /// A rule cannot be said in the negotiated protocol (exit 2).
    #[error("filter rules are too modern for remote rsync.")]
    TooModern,
    /// A received rule announced an impossible length (exit 22).
    #[error("buffer overflow: recv_rules")]
    ReceivedRuleLength {
        /// The length announced.
        length: i32,
    },
    /// The peer sent more rule text than is accepted (exit 22).
    #[error("the filter rules received exceed {limit} bytes")]
    TooManyReceived {
        /// Largest sum of rule lengths.
        limit: usize,
    },
    /// The bytes of a received rule are not all there yet, or no integer.
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl FilterError {
    /// The status rsync exits with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::CannotOpen { .. } | Self::TooDeep { .. } => ExitCode::FILE_IO,
            Self::TooModern => ExitCode::PROTOCOL,
            Self::ReceivedRuleLength { .. } | Self::TooManyReceived { .. } => ExitCode::MEMORY,
            Self::Wire(_) => ExitCode::STREAM,
            _ => ExitCode::SYNTAX,
        }
    }
}

impl NeedsInput for FilterError {
    fn missing(&self) -> Option<usize> {
        match self {
            Self::Wire(error) => error.missing(),
            _ => None,
        }
    }
}

fn with_colon(reason: &Option<String>) -> String {
    reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default()
}

/// Something worth saying that does not stop the run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterNote {
    /// A rule was dropped for its length.
    #[error("discarding over-long filter: {rule}")]
    OverLong {
        /// The rule, or its place in a file.
        rule: BString,
    },
    /// A rule ends in white space, which is part of its pattern (`--debug=FILTER`).
    #[error("add_rule({rule}) -- CAUTION: trailing whitespace!")]
    TrailingWhitespace {
        /// The rule as it would be sent.
        rule: BString,
    },
}
