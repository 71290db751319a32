//! The JSON API of a site.

use std::io::Read;
use std::path::Path as FilePath;

use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Api;
use super::access::{self, Visitor};
use super::server::Admission;
use crate::job::{RunId, RunResult};
use crate::site::{CommandError, JobView, SiteView};

/// Most bytes of a log that are sent: its end.
const LOG_BYTES: u64 = 1 << 20;
/// Most runs that are sent.
const MOST_RUNS: u32 = 1000;

/// An answer that is an error: `{"error": TEXT}`.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) StatusCode, pub(crate) String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<CommandError> for Refused {
    fn from(error: CommandError) -> Self {
        let status = match error {
            CommandError::Unknown { .. } => StatusCode::NOT_FOUND,
            CommandError::Disabled(_) => StatusCode::CONFLICT,
            CommandError::Config(_) | CommandError::Serve(_) => StatusCode::UNPROCESSABLE_ENTITY,
            CommandError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error.to_string())
    }
}

/// Somebody who may change things; not a session of the page, which a browser brings along unasked.
pub(super) struct Operator;

impl FromRequestParts<Api> for Operator {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Refused> {
        match visitor(parts, api) {
            Visitor::Operator => Ok(Self),
            _ => Err(refused(api)),
        }
    }
}

/// Somebody who may see what is not for everybody.
pub(super) struct Known;

impl FromRequestParts<Api> for Known {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Refused> {
        if visitor(parts, api).is_known() { Ok(Self) } else { Err(refused(api)) }
    }
}

fn visitor(parts: &Parts, api: &Api) -> Visitor {
    let admission = parts.extensions.get::<Admission>().copied().unwrap_or(Admission::Public);
    Visitor::of(&parts.headers, admission, api.site.config().site.token.as_ref())
}

fn refused(api: &Api) -> Refused {
    let (status, text) = access::refusal(api.site.config().site.token.as_ref());
    Refused(status, text)
}

/// A run as it is shown: without paths of this machine.
fn run_view(result: &RunResult) -> Value {
    let mut view = json!(result);
    if let Some(fields) = view.as_object_mut() {
        fields.remove("log");
        fields.insert("has_log".to_owned(), json!(result.log.is_some()));
    }
    view
}

pub(super) async fn site(State(api): State<Api>) -> Json<SiteView> {
    Json(api.site.view())
}

pub(super) async fn jobs(State(api): State<Api>) -> Json<Vec<JobView>> {
    Json(api.site.view().jobs)
}

pub(super) async fn job(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<JobView>, Refused> {
    match api.site.job(&name) {
        Some(job) => Ok(Json(job)),
        None => Err(api.site.unknown(&name).into()),
    }
}

#[derive(Deserialize)]
pub(super) struct RunsQuery {
    limit: Option<u32>,
}

pub(super) async fn runs(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(query): Query<RunsQuery>,
) -> Result<Json<Vec<Value>>, Refused> {
    let runs = api.site.runs(&name, query.limit.unwrap_or(50).min(MOST_RUNS))?;
    Ok(Json(runs.iter().map(run_view).collect()))
}

#[derive(Deserialize)]
pub(super) struct LogQuery {
    run: Option<RunId>,
}

pub(super) async fn log(
    _: Known,
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(query): Query<LogQuery>,
) -> Result<impl IntoResponse, Refused> {
    let text = log_text(&api, &name, query.run.as_ref())?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text))
}

/// The log of a run, or of the current run, or of the last one.
pub(super) fn log_text(api: &Api, name: &str, run: Option<&RunId>) -> Result<String, Refused> {
    if run.is_none()
        && let Some(lines) = api.site.live_lines(name)
    {
        return Ok(lines.iter().map(|line| format!("{}\n", line.text)).collect());
    }
    let found = match run {
        Some(id) => api.site.store().run(id).map_err(CommandError::from)?.filter(|run| run.job == name),
        None => api.site.runs(name, 1)?.into_iter().next(),
    };
    let missing = |text: &str| Refused(StatusCode::NOT_FOUND, text.to_owned());
    let run = found.ok_or_else(|| missing("there is no such run"))?;
    let path = run.log.ok_or_else(|| missing("this run has no log"))?;
    read_log(&path).map_err(|_| missing("the log of this run is gone; old ones are removed"))
}

/// The end of a log, which may have been compressed since.
fn read_log(path: &FilePath) -> std::io::Result<String> {
    let mut packed = path.as_os_str().to_owned();
    packed.push(".gz");
    let mut bytes = Vec::new();
    match std::fs::File::open(path) {
        Ok(mut file) => {
            let length = file.metadata()?.len();
            std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(length.saturating_sub(LOG_BYTES)))?;
            file.take(LOG_BYTES).read_to_end(&mut bytes)?;
        }
        Err(_) => {
            let file = std::fs::File::open(packed)?;
            flate2::read::GzDecoder::new(file).take(LOG_BYTES).read_to_end(&mut bytes)?;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What was done.
#[derive(Serialize)]
pub(super) struct Done {
    message: String,
}

fn done(message: impl Into<String>) -> Json<Done> {
    Json(Done { message: message.into() })
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StartBody {
    force: bool,
    accept: Option<RunId>,
}

pub(super) async fn start(
    _: Operator,
    State(api): State<Api>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Done>, Refused> {
    let body: StartBody = if body.is_empty() {
        StartBody::default()
    } else {
        serde_json::from_slice(&body)
            .map_err(|error| Refused(StatusCode::BAD_REQUEST, format!("the body: {error}")))?
    };
    let starts = api.site.start(&name, body.force, body.accept)?;
    Ok(done(if starts { format!("{name} starts") } else { format!("{name} is running") }))
}

pub(super) async fn stop(_: Operator, api: State<Api>, name: Path<String>) -> Result<Json<Done>, Refused> {
    api.site.pause(&name)?;
    Ok(done(format!("{} is stopped", *name)))
}

pub(super) async fn disable(_: Operator, api: State<Api>, name: Path<String>) -> Result<Json<Done>, Refused> {
    api.site.disable(&name)?;
    Ok(done(format!("{} is disabled", *name)))
}

pub(super) async fn enable(_: Operator, api: State<Api>, name: Path<String>) -> Result<Json<Done>, Refused> {
    api.site.enable(&name)?;
    Ok(done(format!("{} is enabled", *name)))
}

pub(super) async fn restart(_: Operator, api: State<Api>, name: Path<String>) -> Result<Json<Done>, Refused> {
    api.site.restart(&name)?;
    Ok(done(format!("{} starts again", *name)))
}

pub(super) async fn reload(_: Operator, State(api): State<Api>) -> Result<Json<Done>, Refused> {
    // Files are read, which may be slow.
    let reloaded = tokio::task::spawn_blocking(move || api.site.reload()).await;
    reloaded.map_err(|error| Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))??;
    Ok(done("the configuration was read again"))
}

pub(super) async fn push(
    State(api): State<Api>,
    Extension(admission): Extension<Admission>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Done>, Refused> {
    let config = api.site.config();
    let is_signed = || {
        let secret = config.job(&name)?.push_secret.as_ref()?;
        let signature = headers.get("x-hub-signature-256")?.to_str().ok()?.strip_prefix("sha256=")?;
        Some(access::verify(secret, &body, signature))
    };
    let visitor = Visitor::of(&headers, admission, config.site.token.as_ref());
    if visitor != Visitor::Operator && is_signed() != Some(true) {
        // The same answer whether or not there is such a job.
        let text = "the signature in X-Hub-Signature-256 is missing or wrong";
        return Err(Refused(StatusCode::FORBIDDEN, text.to_owned()));
    }
    api.site.push(&name)?;
    Ok(done(format!("{name} was told")))
}

pub(super) async fn health(State(api): State<Api>) -> (StatusCode, &'static str) {
    match api.site.view().stopping {
        true => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        false => (StatusCode::OK, "ok\n"),
    }
}
