//! What a worker obeys: commands of a manager, posted to `/` (spec 11 §3.1).

use axum::body::Bytes;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::manager::has_token;
use super::records::{Command, WORDS};
use crate::Secret;
use crate::api::{Refused, obey};
use crate::site::Site;

#[derive(Clone)]
struct Worker {
    site: Site,
    token: Option<Secret>,
}

/// The address of a worker. With a `token`, whoever commands must have it as a bearer. Needs a tokio runtime.
pub fn worker_router(site: Site, token: Option<Secret>) -> Router {
    Router::new().route("/", post(command)).with_state(Worker { site, token })
}

struct Allowed;

impl FromRequestParts<Worker> for Allowed {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, worker: &Worker) -> Result<Self, Refused> {
        if has_token(parts, worker.token.as_ref()) {
            return Ok(Self);
        }
        Err(Refused(StatusCode::UNAUTHORIZED, "this needs the worker's token, as a bearer".to_owned()))
    }
}

async fn command(_: Allowed, State(worker): State<Worker>, body: Bytes) -> Result<Json<Value>, Refused> {
    let invalid = |_| Refused(StatusCode::BAD_REQUEST, "Invalid request".to_owned());
    let command: Command = serde_json::from_slice(&body).map_err(invalid)?;
    if !WORDS.contains(&command.cmd.as_str()) {
        return Err(Refused(StatusCode::NOT_ACCEPTABLE, "Invalid Command".to_owned()));
    }
    // A configuration is read, or a store is asked.
    let done = tokio::task::spawn_blocking(move || obey(&worker.site, &command)).await;
    done.map_err(|error| Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))??;
    Ok(Json(json!({ "msg": "OK" })))
}
