//! What subcommands that serve have in common: exit codes, signals, the service manager.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;

use crate::say;

/// The configuration cannot be used (`EX_CONFIG`).
pub(crate) const BAD_CONFIG: u8 = 78;
/// No socket could be had, as rsync says it.
pub(crate) const NO_SOCKET: u8 = 10;

/// Says what is wrong, and answers the exit code.
pub(crate) fn fail(code: u8, error: impl std::fmt::Display) -> u8 {
    note(&error.to_string());
    code
}

/// Says something about a service.
pub(crate) fn note(text: &str) {
    say(&format!("rsync-mirror: {text}"));
}

/// Every connection takes open files: as many are allowed as the system lets us have.
pub(crate) fn open_many_files() {
    let limit = getrlimit(Resource::Nofile);
    // What we have already has to do then.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Tells the service manager, if there is one that listens.
pub(crate) fn tell_manager(states: &[NotifyState<'_>]) {
    // One that does not hear us will ask the system.
    let _ = sd_notify::notify(states);
}
