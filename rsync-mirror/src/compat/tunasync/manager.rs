//! The manager: takes the reports of workers, shows them, and passes commands on (spec 11 §3.1).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::ledger::{Ledger, LedgerError};
use super::records::{Command, GoTime, MirrorStatus, WORDS, WebStatus, WorkerRecord};
use crate::Secret;
use crate::api::{Refused, is_token};
use crate::job::Status;
use crate::web::{WebClient, host_and_port};

/// How often workers with runs under way are looked for.
const LOOK: Duration = Duration::from_secs(2);
/// How long a worker may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// So many looks in vain in a row, and a worker counts as gone.
const MISSES: u32 = 2;

/// A manager; clones are the same one.
#[derive(Clone)]
pub struct Manager {
    shared: Arc<Shared>,
}

struct Shared {
    ledger: Ledger,
    client: WebClient,
    token: Option<Secret>,
    /// Looks in vain for each worker since it was heard of.
    missed: Mutex<BTreeMap<String, u32>>,
    tell: Box<dyn Fn(&str) + Send + Sync>,
}

impl std::fmt::Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manager").field("ledger", &self.shared.ledger).finish_non_exhaustive()
    }
}

impl Manager {
    /// A manager that remembers in `ledger`. Workers behind TLS must have certificates of the authorities in
    /// `ca_cert`, or of the system's. With a `token`, whoever changes something must have it as a bearer. `tell`
    /// hears what somebody should know.
    #[must_use]
    pub fn new(
        ledger: Ledger,
        ca_cert: Option<&std::path::Path>,
        token: Option<Secret>,
        tell: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        let client = with_token(WebClient::new(ca_cert), token.as_ref());
        let shared = Shared { ledger, client, token, missed: Mutex::default(), tell: Box::new(tell) };
        Self { shared: Arc::new(shared) }
    }

    /// Looks for workers that should be running something, until it is dropped. Needs a tokio runtime.
    pub async fn watch(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(error) = self.look().await {
                (self.shared.tell)(&error.to_string());
            }
        }
    }

    async fn look(&self) -> Result<(), LedgerError> {
        let mirrors = self.shared.ledger.mirrors(None)?;
        for worker in self.shared.ledger.workers()? {
            if !mirrors.iter().any(|mirror| mirror.worker == worker.id && mirror.is_active()) {
                continue;
            }
            let Ok(place) = host_and_port(&worker.url) else { continue };
            let connecting = tokio::time::timeout(CONNECT, TcpStream::connect(place)).await;
            if matches!(connecting, Ok(Ok(_))) {
                self.heard_of(&worker.id);
                continue;
            }
            let mut missed = self.shared.missed.lock().unwrap_or_else(PoisonError::into_inner);
            let count = missed.entry(worker.id.clone()).or_default();
            *count = count.saturating_add(1);
            if *count == MISSES {
                (self.shared.tell)(&format!("worker {} does not answer at {}", worker.id, worker.url));
            }
        }
        Ok(())
    }

    fn heard_of(&self, worker: &str) {
        let mut missed = self.shared.missed.lock().unwrap_or_else(PoisonError::into_inner);
        if missed.remove(worker).is_some_and(|count| count >= MISSES) {
            (self.shared.tell)(&format!("worker {worker} answers again"));
        }
    }

    /// What is known of mirrors, and whether it is stale.
    fn mirrors(&self, worker: Option<&str>) -> Result<Vec<MirrorStatus>, LedgerError> {
        let mut mirrors = self.shared.ledger.mirrors(worker)?;
        let missed = self.shared.missed.lock().unwrap_or_else(PoisonError::into_inner);
        for mirror in &mut mirrors {
            let is_gone = missed.get(&mirror.worker).is_some_and(|&count| count >= MISSES);
            mirror.stale = is_gone && mirror.is_active();
        }
        Ok(mirrors)
    }

    /// The worker of a path, which has been heard of now.
    fn known(&self, id: &str) -> Result<WorkerRecord, Refused> {
        let invalid = || Refused(StatusCode::BAD_REQUEST, format!("invalid workerID {id}"));
        self.shared.ledger.worker(id)?.ok_or_else(invalid)
    }

    fn online(&self, id: &str) -> Result<(), Refused> {
        let worker = self.known(id)?;
        self.heard_of(id);
        let last_online = GoTime(Some(Timestamp::now()));
        Ok(self.shared.ledger.set_worker(&WorkerRecord { last_online, ..worker })?)
    }

    /// Passes a command on to its worker.
    async fn command(&self, command: Command) -> Result<String, Refused> {
        let Command { worker_id: id, mirror_id: mirror, .. } = &command;
        if id.is_empty() {
            return Err(Refused(StatusCode::INTERNAL_SERVER_ERROR, String::new()));
        }
        let unknown = || Refused(StatusCode::BAD_REQUEST, format!("worker {id} is not registered yet"));
        let worker = self.shared.ledger.worker(id)?.ok_or_else(unknown)?;
        if !WORDS.contains(&command.cmd.as_str()) {
            let text = format!("{:?} is no command: {}", command.cmd, WORDS.join(", "));
            return Err(Refused(StatusCode::BAD_REQUEST, text));
        }
        let held = match command.cmd.as_str() {
            "disable" => Some(Status::Disabled),
            "stop" => Some(Status::Paused),
            _ => None,
        };
        if let (Some(status), Some(known)) = (held, self.shared.ledger.mirror(id, mirror)?) {
            self.shared.ledger.set_mirror(&MirrorStatus { status, ..known })?;
        }
        let body = json!({
            "cmd": command.cmd, "mirror_id": mirror, "args": command.args, "options": command.options,
        });
        let failed = |reason: String| {
            let text = format!("post command to worker {id}({}) fail: {reason}", worker.url);
            Refused(StatusCode::INTERNAL_SERVER_ERROR, text)
        };
        match self.shared.client.call(Method::POST, &worker.url, body.to_string()).await {
            Ok(reply) if reply.status == 200 => Ok(format!("successfully send command to worker {id}")),
            // tunasync's workers reload, and answer so.
            Ok(reply) if reply.status == 404 && command.cmd == "reload" && mirror.is_empty() => {
                Ok(format!("successfully send command to worker {id}"))
            }
            Ok(reply) => Err(failed(format!("{} {}", reply.status, reply.text.trim()))),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

/// Sends a token along, if there is one.
pub(super) fn with_token(client: WebClient, token: Option<&Secret>) -> WebClient {
    match token {
        Some(token) => client.with(header::AUTHORIZATION, format!("Bearer {}", token.reveal())),
        None => client,
    }
}

impl From<LedgerError> for Refused {
    fn from(error: LedgerError) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

/// Somebody who may change things: anybody, where there is no token.
struct Allowed;

impl FromRequestParts<Manager> for Allowed {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, manager: &Manager) -> Result<Self, Refused> {
        if has_token(parts, manager.shared.token.as_ref()) {
            return Ok(Self);
        }
        Err(Refused(StatusCode::UNAUTHORIZED, "this needs the manager's token, as a bearer".to_owned()))
    }
}

/// Whether a request has the token, if one is needed.
pub(super) fn has_token(parts: &Parts, token: Option<&Secret>) -> bool {
    let given = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer "));
    token.is_none_or(|token| given.is_some_and(|given| is_token(token, given)))
}

/// The addresses of a manager. Needs a tokio runtime.
pub fn manager_router(manager: Manager) -> Router {
    Router::new()
        .route("/ping", get(async || Json(json!({ "message": "pong" }))))
        .route("/jobs", get(jobs))
        .route("/jobs/disabled", delete(flush))
        .route("/workers", get(workers).post(register))
        .route("/workers/{id}", delete(remove))
        .route("/workers/{id}/jobs", get(worker_jobs))
        .route("/workers/{id}/jobs/{job}", post(report))
        .route("/workers/{id}/jobs/{job}/size", post(set_size))
        .route("/workers/{id}/schedules", post(schedules))
        .route("/cmd", post(command))
        .with_state(manager)
}

pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused(StatusCode::BAD_REQUEST, error.to_string()))
}

/// A list, or `null` where Go has none.
fn list_or_null<T: serde::Serialize>(list: &[T]) -> Json<Value> {
    Json(if list.is_empty() { Value::Null } else { json!(list) })
}

async fn jobs(State(manager): State<Manager>) -> Result<Json<Vec<WebStatus>>, Refused> {
    Ok(Json(manager.mirrors(None)?.iter().map(WebStatus::from).collect()))
}

async fn flush(_: Allowed, State(manager): State<Manager>) -> Result<Json<Value>, Refused> {
    manager.shared.ledger.flush()?;
    Ok(Json(json!({ "message": "flushed" })))
}

async fn workers(State(manager): State<Manager>) -> Result<Json<Value>, Refused> {
    let mut workers = manager.shared.ledger.workers()?;
    workers.iter_mut().for_each(|worker| "REDACTED".clone_into(&mut worker.token));
    Ok(list_or_null(&workers))
}

async fn register(
    _: Allowed,
    State(manager): State<Manager>,
    body: Bytes,
) -> Result<Json<WorkerRecord>, Refused> {
    let now = GoTime(Some(Timestamp::now()));
    let worker = WorkerRecord { last_online: now, last_register: now, ..read(&body)? };
    if worker.id.is_empty() {
        return Err(Refused(StatusCode::BAD_REQUEST, "the worker has no id".to_owned()));
    }
    manager.shared.ledger.set_worker(&worker)?;
    manager.heard_of(&worker.id);
    (manager.shared.tell)(&format!("worker {} is registered at {}", worker.id, worker.url));
    Ok(Json(worker))
}

async fn remove(
    _: Allowed,
    State(manager): State<Manager>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refused> {
    manager.known(&id)?;
    manager.shared.ledger.remove_worker(&id)?;
    Ok(Json(json!({ "message": "deleted" })))
}

async fn worker_jobs(State(manager): State<Manager>, Path(id): Path<String>) -> Result<Json<Value>, Refused> {
    manager.known(&id)?;
    Ok(list_or_null(&manager.mirrors(Some(&id))?))
}

async fn report(
    _: Allowed,
    State(manager): State<Manager>,
    Path((id, _)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<MirrorStatus>, Refused> {
    manager.online(&id)?;
    let status: MirrorStatus = read(&body)?;
    if status.name.is_empty() {
        return Err(Refused(StatusCode::BAD_REQUEST, "mirror Name should not be empty".to_owned()));
    }
    if status.name.contains('/') {
        return Err(Refused(StatusCode::BAD_REQUEST, "the name of a mirror has no \"/\"".to_owned()));
    }
    let status = MirrorStatus { worker: id, stale: false, ..status };
    Ok(Json(manager.shared.ledger.merge(status, Timestamp::now())?))
}

#[derive(Deserialize)]
struct Size {
    name: String,
    size: String,
}

async fn set_size(
    _: Allowed,
    State(manager): State<Manager>,
    Path((id, job)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<MirrorStatus>, Refused> {
    manager.known(&id)?;
    let size: Size = read(&body)?;
    let name = if size.name.is_empty() { &job } else { &size.name };
    let Some(known) = manager.shared.ledger.mirror(&id, name)? else {
        let text = format!("worker {id} has no mirror {name}");
        return Err(Refused(StatusCode::INTERNAL_SERVER_ERROR, text));
    };
    let known = MirrorStatus { size: size.size, ..known };
    manager.shared.ledger.set_mirror(&known)?;
    Ok(Json(known))
}

#[derive(Deserialize)]
struct Schedules {
    schedules: Vec<Schedule>,
}

#[derive(Deserialize)]
struct Schedule {
    name: String,
    next_schedule: GoTime,
}

async fn schedules(
    _: Allowed,
    State(manager): State<Manager>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    manager.online(&id)?;
    let news: Schedules = read(&body)?;
    for Schedule { name, next_schedule } in news.schedules {
        if let Some(known) = manager.shared.ledger.mirror(&id, &name)? {
            manager.shared.ledger.set_mirror(&MirrorStatus { scheduled: next_schedule, ..known })?;
        }
    }
    Ok(Json(json!({})))
}

async fn command(_: Allowed, State(manager): State<Manager>, body: Bytes) -> Result<Json<Value>, Refused> {
    let message = manager.command(read(&body)?).await?;
    Ok(Json(json!({ "message": message })))
}
