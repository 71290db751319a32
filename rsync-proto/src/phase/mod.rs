//! The course of a transfer after the file list: items, phases, statistics and the goodbye
//! (spec 02 §5 to §7).

mod flags;
mod item;
mod ledger;
mod script;
mod sender;
mod stats;

pub use flags::ItemFlags;
pub use item::{Basis, ItemAttributes, ItemError, ItemRules};
pub use ledger::{Ledger, LedgerError, Slot};
pub use script::{Answers, Event, ScriptOptions, Step, generator_script};
pub use sender::{DoneReply, SenderPhases};
pub use stats::{FinalStatistics, decode_delete_stats, encode_delete_stats};

use crate::exit::ExitCode;

/// The peer left the course of phases; all exit 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhaseError {
    /// Something other than the expected end (the number that stood for it).
    #[error("Invalid packet at end of run ({0})")]
    InvalidEnd(i64),
    /// Deletion statistics where none belong.
    #[error("deletion statistics at a place where none belong")]
    MisplacedDeleteStats,
}

impl PhaseError {
    /// What rsync's process would exit with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::PROTOCOL
    }
}
