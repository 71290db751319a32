//! Which job runs when: pure decisions about given moments, without a clock, thread or store of their own.
//!
//! [`Timetable`] says when one job is due, [`Scheduler`] which of the due jobs may start within the limits.
//! The site asks it after every event and obeys.

mod limits;
mod queue;
mod when;

pub use limits::Limits;
pub use queue::{Decision, Hold, Planned, Rules, Scheduler, StartAnswer};
pub use when::{CronError, CronTimes, Past, Timetable, When};
