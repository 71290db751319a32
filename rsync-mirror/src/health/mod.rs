//! Whether a daemon is worth being asked (spec 11 §1.4): checks of three depths, and the thresholds that
//! turn their answers into a state without flapping.
//!
//! [`Checks`] say what is tried against a [`Target`], [`Monitor`] is the pure state machine, [`Watch`]
//! runs the one by the clock of the other. The proxy uses them for its backends, pairs for their
//! partners, jobs for their upstreams.

mod check;
mod endpoint;
mod monitor;
mod ping;
mod probe;
mod watch;

pub use check::{CheckError, Checks, ServiceCheck};
pub(crate) use endpoint::Connected;
pub use endpoint::{Endpoint, EndpointError};
pub use monitor::{Answer, Change, Monitor, State, Thresholds};
pub use probe::Target;
pub(crate) use probe::{Failure, describe};
pub use watch::Watch;
