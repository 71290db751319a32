//! `pair` and `failback`: one server of two.

use std::sync::Arc;

use rsync_mirror::job::{Cancel, Processes, StopReason};
use rsync_mirror::pair::{Agent, PairConfig, Procedure, Surroundings, ThisMachine, request};
use rsync_mirror::{MirrorError, SystemClock};
use sd_notify::NotifyState;

use crate::arguments::{Failback, Pair};
use crate::service::{BAD_CONFIG, fail, note, tell_manager};
use crate::signals;

/// Watches until a signal says to stop, or has this server give up; answers the exit code.
pub(crate) fn pair(arguments: &Pair) -> u8 {
    let config = match PairConfig::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => return fail(BAD_CONFIG, error),
    };
    if arguments.check {
        config.warnings().into_iter().for_each(note);
        return 0;
    }
    let done = surroundings().and_then(|surroundings| {
        if arguments.give_up {
            return request(&config, &surroundings, Procedure::Yield);
        }
        let mut agent = Agent::open(config, surroundings)?;
        tell_manager(&[NotifyState::Ready]);
        agent.run()
    });
    code_of(done)
}

/// Has this server serve again; answers the exit code.
pub(crate) fn failback(arguments: &Failback) -> u8 {
    match PairConfig::load(&arguments.config) {
        Ok(config) => code_of(
            surroundings().and_then(|surroundings| request(&config, &surroundings, Procedure::Failback)),
        ),
        Err(error) => fail(BAD_CONFIG, error),
    }
}

fn code_of(done: Result<(), MirrorError>) -> u8 {
    done.map_or_else(|error| fail(error.exit_code(), error), |()| 0)
}

/// This machine, until a signal comes.
fn surroundings() -> Result<Surroundings, MirrorError> {
    let cancel = Cancel::default();
    let end = cancel.clone();
    signals::on_termination(move || end.cancel(StopReason::Shutdown));
    let machine = ThisMachine::new().map_err(|source| MirrorError::File {
        action: "start",
        path: "the threads for checks".into(),
        source,
    })?;
    Ok(Surroundings {
        clock: Arc::new(SystemClock::default()),
        spawn: Arc::new(Processes),
        machine: Arc::new(machine),
        note: Arc::new(note),
        cancel,
    })
}
