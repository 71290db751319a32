//! The addresses of tunasync's manager, for programs that read it (spec 11 §3.1). The site is one worker.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::json::{Operator, Refused};
use crate::compat::tunasync::{Command, MirrorStatus, WebStatus};
use crate::job::Status;
use crate::site::Site;

/// The only worker.
const WORKER: &str = "rsync-mirror";

pub(super) async fn ping() -> Json<Value> {
    Json(json!({ "message": "pong" }))
}

pub(super) async fn jobs(State(api): State<Api>) -> Json<Vec<WebStatus>> {
    let jobs = api.site.view().jobs;
    Json(jobs.iter().map(|job| WebStatus::from(&MirrorStatus::of(job, WORKER))).collect())
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
) -> Result<Json<Vec<MirrorStatus>>, Refused> {
    is_worker(&worker)?;
    Ok(Json(api.site.view().jobs.iter().map(|job| MirrorStatus::of(job, WORKER)).collect()))
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
) -> Result<Json<MirrorStatus>, Refused> {
    is_worker(&worker)?;
    let size: Size = read(&body)?;
    if size.name != job {
        return Err(Refused(StatusCode::BAD_REQUEST, "the names of the path and the body differ".to_owned()));
    }
    api.site.set_size(&job, &size.size)?;
    let view = api.site.job(&job).ok_or_else(|| api.site.unknown(&job))?;
    Ok(Json(MirrorStatus::of(&view, WORKER)))
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
    obey(&api.site, &command)?;
    Ok(Json(json!({ "message": format!("successfully send command to worker {WORKER}") })))
}

/// Does what a command says (spec 11 §3.1).
pub(crate) fn obey(site: &Site, command: &Command) -> Result<(), Refused> {
    let name = command.mirror_id.as_str();
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
    Ok(())
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
