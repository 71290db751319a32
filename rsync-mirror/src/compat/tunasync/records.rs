//! What manager, workers and control programs tell each other, as JSON (spec 11 §3.1).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::job::Status;
use crate::site::JobView;

/// The time that Go means by none: the beginning of the year 1, in seconds since 1970.
const NEVER: i64 = -62_135_596_800;

/// A time, or none, which Go writes as the beginning of the year 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoTime(pub Option<Timestamp>);

impl GoTime {
    fn of(time: Timestamp) -> Self {
        Self(Some(time).filter(|time| time.as_second() > NEVER))
    }

    /// As `/jobs` shows it.
    fn text(self) -> String {
        match self.0 {
            Some(time) => time.strftime("%Y-%m-%d %H:%M:%S +0000").to_string(),
            None => "0001-01-01 00:00:00 +0000".to_owned(),
        }
    }

    fn stamp(self) -> i64 {
        self.0.map_or(NEVER, Timestamp::as_second)
    }
}

impl Serialize for GoTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(time) => serializer.collect_str(&time),
            None => serializer.serialize_str("0001-01-01T00:00:00Z"),
        }
    }
}

impl<'de> Deserialize<'de> for GoTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Timestamp::deserialize(deserializer).map(Self::of)
    }
}

/// The state of one mirror of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MirrorStatus {
    /// The mirror.
    pub name: String,
    /// The worker.
    pub worker: String,
    /// Whether others may mirror it from here.
    pub is_master: bool,
    /// What it is doing, or how its last run ended.
    pub status: Status,
    /// End of its last good run.
    pub last_update: GoTime,
    /// Begin of its last run.
    pub last_started: GoTime,
    /// End of its last run.
    pub last_ended: GoTime,
    /// When it runs next.
    #[serde(rename = "next_schedule")]
    pub scheduled: GoTime,
    /// Where it comes from.
    pub upstream: String,
    /// Its size in words, `unknown` or empty.
    pub size: String,
    /// What was wrong with the last run.
    pub error_msg: String,
    /// The worker does not answer, though a run of it should be under way. Ours; tunasync does not tell.
    #[serde(skip_serializing_if = "is_false")]
    pub stale: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_false(value: &bool) -> bool {
    !value
}

impl MirrorStatus {
    /// What a site that calls itself `worker` says of a job.
    #[must_use]
    pub fn of(job: &JobView, worker: &str) -> Self {
        Self {
            name: job.name.clone(),
            worker: worker.to_owned(),
            is_master: !job.is_secondary,
            status: job.status,
            last_update: GoTime(job.last_update),
            last_started: GoTime(job.last_started),
            last_ended: GoTime(job.last_ended),
            scheduled: GoTime(job.next),
            upstream: job.upstream.clone(),
            size: job.size_text.clone().unwrap_or_else(|| crate::api::tuna_size(job.size)),
            error_msg: job.message.clone(),
            stale: false,
        }
    }

    /// Whether a run is under way.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        matches!(self.status, Status::PreSyncing | Status::Syncing)
    }
}

/// The same for pages of others: `/jobs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "they are those of MirrorStatus, as text and in seconds since 1970")]
pub struct WebStatus {
    pub name: String,
    pub is_master: bool,
    pub status: Status,
    pub last_update: String,
    pub last_update_ts: i64,
    pub last_started: String,
    pub last_started_ts: i64,
    pub last_ended: String,
    pub last_ended_ts: i64,
    pub next_schedule: String,
    pub next_schedule_ts: i64,
    pub upstream: String,
    pub size: String,
    #[serde(skip_serializing_if = "is_false")]
    pub stale: bool,
}

impl From<&MirrorStatus> for WebStatus {
    fn from(status: &MirrorStatus) -> Self {
        Self {
            name: status.name.clone(),
            is_master: status.is_master,
            status: status.status,
            last_update: status.last_update.text(),
            last_update_ts: status.last_update.stamp(),
            last_started: status.last_started.text(),
            last_started_ts: status.last_started.stamp(),
            last_ended: status.last_ended.text(),
            last_ended_ts: status.last_ended.stamp(),
            next_schedule: status.scheduled.text(),
            next_schedule_ts: status.scheduled.stamp(),
            upstream: status.upstream.clone(),
            size: status.size.clone(),
            stale: status.stale,
        }
    }
}

/// A worker, as it registers and as it is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerRecord {
    /// Its name.
    pub id: String,
    /// Where it takes commands.
    pub url: String,
    /// Without effect today.
    pub token: String,
    /// When it was heard of last.
    pub last_online: GoTime,
    /// When it registered.
    pub last_register: GoTime,
}

/// A command: to a manager with the worker it is for, to a worker without.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Command {
    /// `start`, `stop`, `disable`, `restart`, `ping` or `reload`.
    pub cmd: String,
    /// The mirror; empty where the worker as a whole is meant.
    pub mirror_id: String,
    /// The worker.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub worker_id: String,
    /// Without effect.
    #[serde(deserialize_with = "list_or_null")]
    pub args: Vec<String>,
    /// `force` passes over limits.
    #[serde(deserialize_with = "map_or_null")]
    pub options: BTreeMap<String, bool>,
}

/// Go writes an empty list as `null`.
fn list_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn map_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, bool>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The words of [`Command::cmd`].
pub(super) const WORDS: [&str; 6] = ["start", "stop", "disable", "restart", "ping", "reload"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_writes_is_read_and_written_alike() {
        let text = r#"{"name":"a","worker":"w","is_master":true,"status":"pre-syncing","last_update":"0001-01-01T00:00:00Z","last_started":"2026-03-10T20:00:00.123456789+08:00","last_ended":"0001-01-01T00:00:00Z","next_schedule":"0001-01-01T00:00:00Z","upstream":"rsync://a/a/","size":"unknown","error_msg":""}"#;
        let status: MirrorStatus = serde_json::from_str(text).unwrap();
        assert_eq!((status.last_update, status.status), (GoTime(None), Status::PreSyncing));
        let written = serde_json::to_string(&status).unwrap();
        assert!(written.contains(r#""last_started":"2026-03-10T12:00:00.123456789Z""#), "{written}");
        assert!(written.contains(r#""last_update":"0001-01-01T00:00:00Z""#) && !written.contains("stale"));
        assert_eq!(serde_json::from_str::<MirrorStatus>(&written).unwrap(), status);
        let web = WebStatus::from(&status);
        assert_eq!((web.last_update_ts, web.last_started_ts), (NEVER, 1_773_144_000));
        assert_eq!(web.last_update, "0001-01-01 00:00:00 +0000");
        assert_eq!(web.last_started, "2026-03-10 12:00:00 +0000");
    }

    #[test]
    fn a_command_without_arguments_may_have_null_for_them() {
        let text = r#"{"cmd":"start","mirror_id":"a","worker_id":"w","args":null,"options":null}"#;
        let command: Command = serde_json::from_str(text).unwrap();
        assert_eq!((command.cmd.as_str(), command.args.len(), command.options.len()), ("start", 0, 0));
    }
}
