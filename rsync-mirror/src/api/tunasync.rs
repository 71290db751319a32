//! The addresses of tunasync's manager, for programs that read it (spec 11 §3.1). The site is one worker.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::json::{Operator, Refused};
use super::{Api, words};
use crate::job::Status;
use crate::site::JobView;

/// The only worker.
const WORKER: &str = "rsync-mirror";
/// The time that Go means by none, in seconds since 1970.
const NEVER: i64 = -62_135_596_800;

pub(super) async fn ping() -> Json<Value> {
    Json(json!({ "message": "pong" }))
}

pub(super) async fn jobs(State(api): State<Api>) -> Json<Vec<Value>> {
    Json(api.site.view().jobs.iter().map(web_status).collect())
}

/// Jobs that are disabled stay configured here, so nothing is dropped.
pub(super) async fn flush(_: Operator) -> Json<Value> {
    Json(json!({ "message": "flushed" }))
}

pub(super) async fn workers(State(api): State<Api>) -> Json<Value> {
    let now = api.site.now().to_string();
    Json(json!([{
        "id": WORKER, "url": "", "token": "REDACTED", "last_online": now, "last_register": now,
    }]))
}

pub(super) async fn worker_jobs(
    State(api): State<Api>,
    Path(worker): Path<String>,
) -> Result<Json<Vec<Value>>, Refused> {
    is_worker(&worker)?;
    Ok(Json(api.site.view().jobs.iter().map(mirror_status).collect()))
}

#[derive(Deserialize)]
struct Size {
    name: String,
    size: String,
}

pub(super) async fn set_size(
    _: Operator,
    State(api): State<Api>,
    Path((worker, job)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    is_worker(&worker)?;
    let size: Size = read(&body)?;
    if size.name != job {
        return Err(Refused(StatusCode::BAD_REQUEST, "the names of the path and the body differ".to_owned()));
    }
    api.site.set_size(&job, &size.size)?;
    api.site.job(&job).map(|job| Json(mirror_status(&job))).ok_or_else(|| api.site.unknown(&job).into())
}

#[derive(Deserialize)]
struct Command {
    cmd: String,
    #[serde(default)]
    mirror_id: String,
    #[serde(default)]
    worker_id: String,
    #[serde(default)]
    options: std::collections::BTreeMap<String, bool>,
}

pub(super) async fn command(
    _: Operator,
    State(api): State<Api>,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    let command: Command = read(&body)?;
    if command.worker_id.is_empty() {
        return Err(Refused(StatusCode::INTERNAL_SERVER_ERROR, "there is no worker_id".to_owned()));
    }
    if command.worker_id != WORKER {
        let text = format!("worker {} is not registered yet", command.worker_id);
        return Err(Refused(StatusCode::BAD_REQUEST, text));
    }
    let (site, name) = (&api.site, command.mirror_id.as_str());
    match command.cmd.as_str() {
        "start" => {
            // There a start takes a disabled job back into service.
            if site.job(name).is_some_and(|job| job.status == Status::Disabled) {
                site.enable(name)?;
            }
            let is_forced = command.options.get("force").copied().unwrap_or(false);
            site.start(name, is_forced, None)?;
        }
        "stop" => site.pause(name)?,
        "disable" => site.disable(name)?,
        "restart" => site.restart(name)?,
        "ping" => drop(site.job(name).ok_or_else(|| site.unknown(name))?),
        "reload" => site.reload()?,
        other => {
            let text = format!("{other:?} is no command: start, stop, disable, restart, ping, reload");
            return Err(Refused(StatusCode::BAD_REQUEST, text));
        }
    }
    Ok(Json(json!({ "message": format!("successfully send command to worker {WORKER}") })))
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused(StatusCode::BAD_REQUEST, error.to_string()))
}

fn is_worker(worker: &str) -> Result<(), Refused> {
    match worker {
        WORKER => Ok(()),
        other => Err(Refused(StatusCode::BAD_REQUEST, format!("invalid workerID {other}"))),
    }
}

fn size(job: &JobView) -> String {
    job.size_text.clone().unwrap_or_else(|| words::tuna_size(job.size))
}

fn web_status(job: &JobView) -> Value {
    let text = |time: Option<Timestamp>| match time {
        Some(time) => time.strftime("%Y-%m-%d %H:%M:%S +0000").to_string(),
        None => "0001-01-01 00:00:00 +0000".to_owned(),
    };
    let stamp = |time: Option<Timestamp>| time.map_or(NEVER, Timestamp::as_second);
    json!({
        "name": job.name,
        "is_master": true,
        "status": job.status,
        "last_update": text(job.last_update),
        "last_update_ts": stamp(job.last_update),
        "last_started": text(job.last_started),
        "last_started_ts": stamp(job.last_started),
        "last_ended": text(job.last_ended),
        "last_ended_ts": stamp(job.last_ended),
        "next_schedule": text(job.next),
        "next_schedule_ts": stamp(job.next),
        "upstream": job.upstream,
        "size": size(job),
    })
}

fn mirror_status(job: &JobView) -> Value {
    let time = |time: Option<Timestamp>| {
        time.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |time| time.to_string())
    };
    json!({
        "name": job.name,
        "worker": WORKER,
        "is_master": true,
        "status": job.status,
        "last_update": time(job.last_update),
        "last_started": time(job.last_started),
        "last_ended": time(job.last_ended),
        "next_schedule": time(job.next),
        "upstream": job.upstream,
        "size": size(job),
        "error_msg": job.message,
    })
}
