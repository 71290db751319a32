//! Two servers, one of which serves (spec 11 §1.2, §1.4): a floating address that is checked from both
//! sides, takeover and fail-back in steps that survive a crash at any moment.
//!
//! [`PairConfig`] is what an operator writes. A [`Journal`] is what is on the disk: the role of this server,
//! and how far a [`Procedure`] is. [`Agent`] watches the floating address, asks the witness (the other agent), starts
//! procedures, and does one step at a time; each step can be repeated. [`Vip`] is the address. Time,
//! programs and the network come from [`Surroundings`].

mod agent;
mod config;
mod journal;
mod machine;
mod neighbours;
mod procedure;
mod request;
#[cfg(test)]
mod tests;
mod vip;
mod watched;

pub use agent::{Agent, Note, Surroundings};
pub use config::{PairConfig, PairConfigError, VipConfig, WitnessConfig};
pub use journal::{Journal, Role, Unfinished};
pub use machine::{Machine, ThisMachine};
pub use procedure::{Procedure, Step};
pub use request::request;
pub use vip::{StepFailure, Vip};
