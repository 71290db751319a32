//! Procedures: what a server can set out to do, and of which steps that consists.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::journal::Role;
use crate::job::Program;

/// What a server can set out to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Procedure {
    /// Serve, because the other does not.
    Takeover,
    /// Serve again, while the other still does.
    Failback,
    /// Stop serving.
    Yield,
}

impl Procedure {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Takeover, Self::Failback, Self::Yield];

    /// The role after it.
    #[must_use]
    pub fn leads_to(self) -> Role {
        match self {
            Self::Takeover | Self::Failback => Role::Serving,
            Self::Yield => Role::Standby,
        }
    }

    /// Its name, which hooks get as `STATE`: `takeover`, `failback` or `yield`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Takeover => "takeover",
            Self::Failback => "failback",
            Self::Yield => "yield",
        }
    }
}

impl fmt::Display for Procedure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One step of a procedure. Doing it again changes nothing: a step that a crash has met is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Hold the floating address.
    Acquire,
    /// Tell the network who holds it.
    Announce,
    /// Hold it no more.
    Release,
    /// Run a program.
    Hook {
        /// What it is called in messages.
        name: String,
        /// The program and its arguments.
        program: Program,
        /// How long it may take.
        timeout: Duration,
        /// Without it, the steps behind it make no sense.
        required: bool,
    },
}

impl Step {
    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Acquire => "acquire the address",
            Self::Announce => "announce the address",
            Self::Release => "release the address",
            Self::Hook { name, .. } => name,
        }
    }

    /// Whether a failure of it stops the procedure.
    #[must_use]
    pub fn is_required(&self) -> bool {
        match self {
            Self::Acquire | Self::Release => true,
            Self::Announce => false,
            Self::Hook { required, .. } => *required,
        }
    }
}
