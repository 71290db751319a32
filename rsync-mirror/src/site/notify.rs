//! Tells people that a job fails, is stale, or is well again: once for each change.

use std::fmt;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Serialize;

use super::{Site, SiteEvent};
use crate::job::{Program, RunResult};

/// How long the program of a notification may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How a job does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// Its last run was good, or it has not run yet.
    #[default]
    Well,
    /// Its last run failed.
    Failing,
    /// Its last good run is too long ago.
    Stale,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Well => "well",
            Self::Failing => "failing",
            Self::Stale => "stale",
        })
    }
}

/// A job changed from one condition to another.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) job: String,
    pub(super) before: Condition,
    pub(super) after: Condition,
    pub(super) message: String,
}

impl Change {
    /// What a run says about a job that was in condition `before`, if that is a change.
    pub(super) fn of_run(before: Condition, is_stale: bool, result: &RunResult) -> Option<Self> {
        let after = match (result.class.is_good(), is_stale) {
            (true, _) => Condition::Well,
            _ if result.class == crate::job::Class::Cancelled => return None,
            (false, true) => Condition::Stale,
            (false, false) => Condition::Failing,
        };
        (after != before).then(|| Self {
            job: result.job.clone(),
            before,
            after,
            message: result.message.clone(),
        })
    }
}

impl Site {
    /// Tells whoever is configured, without waiting for them.
    pub(super) fn tell(&self, change: Change) {
        self.event(&SiteEvent::Changed { job: change.job.clone(), condition: change.after });
        let Some(program) = self.config().site.notify.command.clone() else { return };
        let site = self.clone();
        let told = std::thread::Builder::new().name("notification".to_owned()).spawn(move || {
            if let Err(reason) = send(&program, &change) {
                let name = program.words().first().map_or("", String::as_str);
                site.event(&SiteEvent::Trouble(format!("notification by {name}: {reason}")));
            }
        });
        if let Err(error) = told {
            self.event(&SiteEvent::Trouble(format!("notification: no thread for it: {error}")));
        }
    }
}

fn send(program: &Program, change: &Change) -> Result<(), String> {
    let [name, arguments @ ..] = program.words() else { return Err("it has no name".to_owned()) };
    let Change { job, before, after, message } = change;
    let mut child = Command::new(name)
        .args(arguments)
        .env("RSYNC_MIRROR_JOB", job)
        .env("RSYNC_MIRROR_STATE", after.to_string())
        .env("RSYNC_MIRROR_BEFORE", before.to_string())
        .env("RSYNC_MIRROR_MESSAGE", message)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    if let Some(mut input) = child.stdin.take() {
        // A program that does not read its input is content with its environment.
        let _ = writeln!(input, "{job} is {after}, it was {before}. {message}");
    }
    let mut waited = Duration::ZERO;
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("it ended with {status}")),
            None if waited >= LIMIT => {
                // It may end just now.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it took longer than {} s", LIMIT.as_secs()));
            }
            None => {
                std::thread::sleep(LOOK);
                waited += LOOK;
            }
        }
    }
}
