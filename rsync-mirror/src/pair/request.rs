//! Asking a server of a pair for something: its agent does it, or whoever asks where none runs.

use super::agent::{Agent, POLL, Surroundings};
use super::config::PairConfig;
use super::journal::Journal;
use super::procedure::{Procedure, Step};
use crate::{MirrorError, durable};

/// Has a procedure done on this machine, and returns when it is: by the agent that runs here, which tries
/// steps that fail again and again, or right here without one. A server that has the role already that the
/// procedure leads to has nothing to do.
///
/// # Errors
/// [`MirrorError::Program`] for a step that failed where no agent runs, and for a procedure that the agent
/// has undone since; [`MirrorError::Stopped`]; [`MirrorError::File`]. A second call goes on where the first
/// stood still.
pub fn request(
    config: &PairConfig,
    surroundings: &Surroundings,
    procedure: Procedure,
) -> Result<(), MirrorError> {
    let path = Agent::request_path(config);
    let mut is_posted = false;
    let mut told = String::new();
    loop {
        match Agent::open(config.clone(), surroundings.clone()) {
            Ok(mut agent) => return agent.carry_out(procedure),
            Err(MirrorError::Locked { .. }) => {}
            Err(error) => return Err(error),
        }
        if !is_posted {
            durable::replace(&path, procedure.name().as_bytes())
                .map_err(MirrorError::file("write", &path))?;
            is_posted = true;
        }
        if let Some(reason) = surroundings.cancel.reason() {
            return Err(MirrorError::Stopped(reason));
        }
        let is_taken = !path.exists();
        let journal = Journal::read(&config.vip.state)?;
        if is_taken && journal.heading() != procedure.leads_to() {
            return Err(MirrorError::Program {
                program: procedure.to_string(),
                reason: "was undone since; the agent of this server has said why".to_owned(),
                code: MirrorError::HOOK,
            });
        }
        match progress(config, &journal) {
            Some(progress) if progress != told => {
                (surroundings.note)(&progress);
                told = progress;
            }
            None if is_taken => return Ok(()),
            _ => {}
        }
        let _ = surroundings.cancel.wait(POLL);
    }
}

/// How far the agent is, for people.
fn progress(config: &PairConfig, journal: &Journal) -> Option<String> {
    let unfinished = journal.unfinished.as_ref()?;
    let name = config.steps(unfinished.procedure).get(unfinished.done).map_or("", Step::name);
    let place = format!("{}, step {}: {name}", unfinished.procedure, unfinished.done + 1);
    Some(match &unfinished.failure {
        None => place,
        Some(failure) => format!("{place}: {failure}; the agent tries it again"),
    })
}
