//! Tells people that a job fails, is stale, or is well again: once for each change, by a program and by a
//! request over HTTP.

use std::fmt;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use axum::http::{HeaderName, Method};
use serde::Serialize;
use serde_json::json;

use super::{Site, SiteEvent};
use crate::Secret;
use crate::job::{Program, RunResult};
use crate::web::{WebClient, shown};

/// How long the program of a notification may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The pauses between attempts to post.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(15)];
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

impl Condition {
    /// What the end of a run makes of a job.
    pub(super) fn after(has_failed: bool, is_stale: bool) -> Self {
        match (has_failed, is_stale) {
            (false, _) => Self::Well,
            (true, true) => Self::Stale,
            (true, false) => Self::Failing,
        }
    }
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
        if result.class == crate::job::Class::Cancelled {
            return None;
        }
        let after = Condition::after(!result.class.is_good(), is_stale);
        (after != before).then(|| Self {
            job: result.job.clone(),
            before,
            after,
            message: result.message.clone(),
        })
    }
}

impl Change {
    /// What is posted.
    fn as_json(&self, site: &Site) -> String {
        let Self { job, before, after, message } = self;
        let name = &site.config().site.name;
        let time = site.now();
        json!({ "site": name, "job": job, "state": after, "before": before, "message": message, "time": time })
            .to_string()
    }
}

impl Site {
    /// Tells whoever is configured, without waiting for them.
    pub(super) fn tell(&self, change: Change) {
        self.event(&SiteEvent::Changed { job: change.job.clone(), condition: change.after });
        let notify = self.config().site.notify.clone();
        if notify.command.is_none() && notify.url.is_none() {
            return;
        }
        let site = self.clone();
        let told = std::thread::Builder::new().name("notification".to_owned()).spawn(move || {
            let trouble = |how: &str, reason: String| {
                site.event(&SiteEvent::Trouble(format!("notification by {how}: {reason}")));
            };
            if let Some(program) = &notify.command
                && let Err(reason) = send(program, &change)
            {
                trouble(program.words().first().map_or("", String::as_str), reason);
            }
            if let Some(url) = &notify.url
                && let Err(reason) = post(url, notify.secret.as_ref(), &change.as_json(&site))
            {
                trouble("HTTP", reason);
            }
        });
        if let Err(error) = told {
            self.event(&SiteEvent::Trouble(format!("notification: no thread for it: {error}")));
        }
    }
}

/// Posts a message; an address that does not answer, or answers that it cannot now, is asked again.
fn post(url: &str, secret: Option<&Secret>, body: &str) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let mut client = WebClient::default();
    if let Some(secret) = secret {
        let signature = format!("sha256={}", crate::api::signature(secret, body.as_bytes()));
        client = client.with(HeaderName::from_static("x-hub-signature-256"), signature);
    }
    let mut pauses = PAUSES.iter();
    loop {
        let reason = match runtime.block_on(client.call(Method::POST, url, body.to_owned())) {
            Ok(reply) if (200..300).contains(&reply.status) => return Ok(()),
            // What it does not want now it will not want later.
            Ok(reply) if reply.status < 500 => {
                return Err(format!("{} answered {}", shown(url), reply.status));
            }
            Ok(reply) => format!("{} answered {}", shown(url), reply.status),
            Err(error) => error.to_string(),
        };
        match pauses.next() {
            Some(pause) => std::thread::sleep(*pause),
            None => return Err(reason),
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
