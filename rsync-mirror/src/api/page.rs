//! The status page: HTML made here, so that it can be read without a script.

use std::fmt::Write as _;

use askama::Template;
use axum::Form;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::access::{self, COOKIE, Visitor, proof};
use super::json::{Refused, log_text};
use super::server::Admission;
use super::svg::{Bar, bars};
use super::{Api, words};
use crate::job::{Class, Phase, RunId, RunResult, Status};
use crate::site::{CommandError, Condition, JobView, ProgressView, Site, SiteView, UpstreamView};

/// Runs that are plotted and listed.
const RUNS: u32 = 60;
/// How long a session lasts, in seconds.
const SESSION: u32 = 30 * 86_400;

#[derive(Template)]
#[template(path = "index.html")]
struct IndexPage<'a> {
    site: &'a str,
    is_known: bool,
    summary: String,
    rows: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "row.html")]
struct Row<'a> {
    job: &'a JobView,
    link: String,
    badge: Badge,
    size: String,
    last: Option<Moment>,
    next: Option<Moment>,
    progress: Option<Progress>,
}

#[derive(Template)]
#[template(path = "job.html")]
struct JobPage<'a> {
    site: &'a str,
    is_known: bool,
    can_log_in: bool,
    proof: String,
    job: &'a JobView,
    link: String,
    badge: Badge,
    size: String,
    last: Option<Moment>,
    started: Option<Moment>,
    next: Option<Moment>,
    progress: Option<Progress>,
    shows_upstreams: bool,
    upstreams: Vec<Source<'a>>,
    plots: Vec<Plot>,
    runs: Vec<Run>,
}

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage<'a> {
    site: &'a str,
    is_known: bool,
    name: &'a str,
    encoded: String,
    run: String,
    is_live: bool,
    text: String,
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage<'a> {
    site: &'a str,
    is_known: bool,
    title: &'a str,
    text: String,
    asks_token: bool,
}

/// A state as a word with a colour.
struct Badge {
    class: &'static str,
    word: &'static str,
}

/// A time for a program, and for people near and far.
struct Moment {
    stamp: String,
    distance: String,
    full: String,
}

struct Progress {
    percent: Option<u8>,
    phase: &'static str,
    text: String,
    file: String,
}

/// An upstream of a job.
struct Source<'a> {
    url: &'a str,
    class: &'static str,
    state: &'static str,
    reason: Option<&'a str>,
    priority: u32,
    weight: u32,
    date: Option<Moment>,
}

struct Plot {
    name: &'static str,
    top: String,
    svg: String,
}

struct Run {
    id: String,
    started: Moment,
    length: String,
    class: &'static str,
    end: &'static str,
    message: String,
    transferred: u64,
    deleted: u64,
    received: String,
    upstream: String,
    has_log: bool,
}

impl Badge {
    fn of(job: &JobView) -> Self {
        let (class, word) = match (job.status, job.condition) {
            (Status::PreSyncing, _) => ("busy", "preparing"),
            (Status::Syncing, _) => ("busy", "syncing"),
            (Status::Paused, _) => ("idle", "stopped"),
            (Status::Disabled, _) => ("idle", "disabled"),
            (_, Condition::Stale) => ("warn", "stale"),
            (Status::Failed, _) => ("bad", "failed"),
            (Status::Success, _) => ("good", "in sync"),
            (Status::None, _) if job.queued_since.is_some() => ("idle", "waiting"),
            (Status::None, _) => ("idle", "new"),
        };
        Self { class, word }
    }
}

impl Moment {
    fn new(time: Timestamp, now: Timestamp, zone: &TimeZone) -> Self {
        Self {
            stamp: time.to_string(),
            distance: words::distance(time, now),
            full: words::moment(time, zone),
        }
    }
}

impl<'a> Source<'a> {
    fn of(view: &'a UpstreamView, now: Timestamp, zone: &TimeZone) -> Self {
        let class = match view.state {
            "up" => "good",
            "busy" => "warn",
            "down" => "bad",
            _ => "idle",
        };
        Self {
            url: &view.url,
            class,
            state: view.state,
            reason: view.reason.as_deref(),
            priority: view.priority,
            weight: view.weight,
            date: view.date.map(|date| Moment::new(date, now, zone)),
        }
    }
}

impl Progress {
    fn of(view: &ProgressView) -> Self {
        let phase = match view.phase {
            Phase::Preparing => "getting ready",
            Phase::Surveying => "looking at what changed",
            Phase::Stage1 => "first stage",
            Phase::Transferring => "transferring",
            Phase::Publishing => "publishing",
            Phase::Pausing => "pausing before another attempt",
            Phase::Ended => "finishing",
        };
        let mut text = String::new();
        if view.total > 0 {
            let (done, total) = (words::size(view.done), words::size(view.total));
            let _ = write!(text, "{done} of {total}");
        }
        if view.entries > 0 {
            let separator = if text.is_empty() { "" } else { " · " };
            let _ = write!(text, "{separator}{} entries", view.entries);
        }
        if view.transfers > 0 {
            let _ = write!(text, " · {} transferred", view.transfers);
        }
        if view.attempt > 1 {
            let _ = write!(text, " · attempt {}", view.attempt);
        }
        Self { percent: view.percent, phase, text, file: view.file.clone() }
    }
}

/// The zone that the page shows times in.
pub(super) fn zone(site: &Site) -> TimeZone {
    let config = site.config();
    let named = config.site.zone.as_deref().and_then(|name| TimeZone::get(name).ok());
    named.unwrap_or_else(TimeZone::system)
}

/// How the site is, in a line.
pub(super) fn summary(view: &SiteView) -> String {
    let count = |condition| view.jobs.iter().filter(|job| job.condition == condition).count();
    let mut parts = vec![match view.jobs.len() {
        1 => "1 mirror".to_owned(),
        mirrors => format!("{mirrors} mirrors"),
    }];
    let named = [
        (view.running, "syncing"),
        (view.queued, "waiting"),
        (count(Condition::Failing), "failing"),
        (count(Condition::Stale), "stale"),
    ];
    parts.extend(named.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")));
    if view.stopping {
        parts.push("the site is stopping".to_owned());
    }
    parts.join(" · ")
}

/// The cells of a job in the table.
pub(super) fn row(job: &JobView, now: Timestamp, zone: &TimeZone) -> String {
    let row = Row {
        job,
        link: link(&job.name),
        badge: Badge::of(job),
        size: size(job),
        last: job.last_update.map(|time| Moment::new(time, now, zone)),
        next: job.next.map(|time| Moment::new(time.max(now), now, zone)),
        progress: job.progress.as_ref().map(Progress::of),
    };
    row.render().unwrap_or_default()
}

fn link(name: &str) -> String {
    format!("/mirrors/{}", crate::markup::encode(name.as_bytes()))
}

fn size(job: &JobView) -> String {
    job.size_text.clone().or_else(|| job.size.map(words::size)).unwrap_or_default()
}

/// Who looks at a page.
pub(super) struct Viewer(Visitor);

impl FromRequestParts<Api> for Viewer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Self::Rejection> {
        let admission = parts.extensions.get::<Admission>().copied().unwrap_or(Admission::Public);
        Ok(Self(Visitor::of(&parts.headers, admission, api.site.config().site.token.as_ref())))
    }
}

fn html(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn message(api: &Api, viewer: &Viewer, status: StatusCode, title: &str, text: String) -> Response {
    let config = api.site.config();
    let asks_token = status == StatusCode::UNAUTHORIZED && config.site.token.is_some();
    let is_known = viewer.0.is_known();
    html(status, &MessagePage { site: &config.site.name, is_known, title, text, asks_token })
}

pub(super) async fn index(State(api): State<Api>, viewer: Viewer) -> Response {
    let view = api.site.view();
    let zone = zone(&api.site);
    let rows = view.jobs.iter().map(|job| (job.name.clone(), row(job, view.now, &zone))).collect();
    let page = IndexPage { site: &view.name, is_known: viewer.0.is_known(), summary: summary(&view), rows };
    html(StatusCode::OK, &page)
}

pub(super) async fn job(State(api): State<Api>, viewer: Viewer, Path(name): Path<String>) -> Response {
    let config = api.site.config();
    let (Some(job), Ok(runs)) = (api.site.job(&name), api.site.runs(&name, RUNS)) else {
        let text = format!("There is no mirror named {name}.");
        return message(&api, &viewer, StatusCode::NOT_FOUND, "Not here", text);
    };
    let (now, zone) = (api.site.now(), zone(&api.site));
    let token = config.site.token.as_ref();
    let at = |time: Option<Timestamp>| time.map(|time| Moment::new(time, now, &zone));
    let page = JobPage {
        site: &config.site.name,
        is_known: viewer.0.is_known(),
        can_log_in: token.is_some(),
        proof: match (viewer.0, token) {
            (Visitor::Session, Some(token)) => proof(token, b"form"),
            _ => String::new(),
        },
        link: link(&job.name),
        badge: Badge::of(&job),
        size: size(&job),
        last: at(job.last_update),
        started: at(job.last_started),
        next: at(job.next.map(|next| next.max(now))),
        progress: job.progress.as_ref().map(Progress::of),
        // One that nobody checks says nothing that the line above does not.
        shows_upstreams: job.upstreams.len() > 1 || job.upstreams.iter().any(|one| one.state != "unchecked"),
        upstreams: job.upstreams.iter().map(|one| Source::of(one, now, &zone)).collect(),
        plots: plots(&runs, &zone),
        runs: runs.iter().map(|result| run(result, now, &zone)).collect(),
        job: &job,
    };
    html(StatusCode::OK, &page)
}

fn class(result: &RunResult) -> &'static str {
    match result.class {
        Class::Good => "good",
        Class::Notes => "warn",
        Class::Cancelled => "idle",
        _ => "bad",
    }
}

fn seconds(result: &RunResult) -> u64 {
    u64::try_from(result.ended.duration_since(result.started).as_secs()).unwrap_or(0)
}

fn plots(runs: &[RunResult], zone: &TimeZone) -> Vec<Plot> {
    if runs.len() < 2 {
        return Vec::new();
    }
    let plot = |name, value: fn(&RunResult) -> u64, text: fn(u64) -> String| {
        let bar = |result: &RunResult| Bar {
            value: value(result),
            class: class(result),
            title: format!("{}: {}", words::moment(result.started, zone), text(value(result))),
        };
        let list: Vec<Bar> = runs.iter().rev().map(bar).collect();
        let highest = list.iter().map(|bar| bar.value).max().unwrap_or(0);
        Plot { name, top: text(highest), svg: bars(&format!("{name} of the last runs"), &list) }
    };
    vec![
        plot("Duration", seconds, words::span),
        plot("Received", |result| result.stats.received, words::size),
        plot("Size", |result| result.stats.size, words::size),
    ]
}

fn run(result: &RunResult, now: Timestamp, zone: &TimeZone) -> Run {
    Run {
        id: result.id.to_string(),
        started: Moment::new(result.started, now, zone),
        length: words::span(seconds(result)),
        class: class(result),
        end: match result.class {
            Class::Good if result.unchanged => "nothing to do",
            Class::Good => "good",
            Class::Notes => "good, with notes",
            Class::Refused => "refused",
            Class::Locked => "locked",
            Class::Cancelled => "stopped",
            Class::Transient | Class::Once | Class::Permanent | Class::Immutable => "failed",
        },
        message: result.message.clone(),
        transferred: result.stats.transferred,
        deleted: result.stats.deleted,
        received: words::size(result.stats.received),
        upstream: result.upstream.clone().unwrap_or_default(),
        has_log: result.log.is_some(),
    }
}

#[derive(Deserialize)]
pub(super) struct LogQuery {
    run: Option<RunId>,
}

pub(super) async fn log(
    State(api): State<Api>,
    viewer: Viewer,
    Path(name): Path<String>,
    Query(query): Query<LogQuery>,
) -> Response {
    if !viewer.0.is_known() {
        let text = "Logs name paths of the machine, so they are for those who have the site's token.";
        return message(&api, &viewer, StatusCode::UNAUTHORIZED, "Logs", text.to_owned());
    }
    let config = api.site.config();
    match log_text(&api, &name, query.run.as_ref()) {
        Ok(text) => {
            let page = LogPage {
                site: &config.site.name,
                is_known: true,
                name: &name,
                encoded: crate::markup::encode(name.as_bytes()),
                is_live: query.run.is_none() && api.site.live_lines(&name).is_some(),
                run: query.run.map(|run| run.to_string()).unwrap_or_default(),
                text,
            };
            html(StatusCode::OK, &page)
        }
        Err(Refused(status, text)) => message(&api, &viewer, status, "No log", text),
    }
}

#[derive(Deserialize)]
pub(super) struct ActForm {
    proof: String,
}

/// A button of the page. Only the page knows the proof that it sends along, so no other site can press it.
pub(super) async fn act(
    State(api): State<Api>,
    viewer: Viewer,
    Path((name, action)): Path<(String, String)>,
    Form(form): Form<ActForm>,
) -> Response {
    let config = api.site.config();
    let token = config.site.token.as_ref();
    let proven = token.is_some_and(|token| access::verify(token, b"form", &form.proof));
    if viewer.0 != Visitor::Session || !proven {
        let (_, text) = access::refusal(token);
        return message(&api, &viewer, StatusCode::UNAUTHORIZED, "Log in first", text);
    }
    let site = &api.site;
    let done = match action.as_str() {
        "start" => site.start(&name, false, None).map(drop),
        "stop" => site.pause(&name),
        "disable" => site.disable(&name),
        "enable" => site.enable(&name),
        "restart" => site.restart(&name),
        _ => {
            let text = format!("{action} is nothing that a mirror can be told.");
            return message(&api, &viewer, StatusCode::NOT_FOUND, "Not here", text);
        }
    };
    match done {
        Ok(()) => Redirect::to(&link(&name)).into_response(),
        Err(error) => {
            let status = match error {
                CommandError::Unknown { .. } => StatusCode::NOT_FOUND,
                _ => StatusCode::CONFLICT,
            };
            message(&api, &viewer, status, "It was not done", error.to_string())
        }
    }
}

pub(super) async fn login(State(api): State<Api>, viewer: Viewer) -> Response {
    let status = StatusCode::UNAUTHORIZED;
    let text = match api.site.config().site.token {
        Some(_) => "Whoever has the site's token may start, stop and disable mirrors, and read logs.",
        None => "This site has no token, so mirrors can be controlled on its machine only.",
    };
    message(&api, &viewer, status, "Log in", text.to_owned())
}

#[derive(Deserialize)]
pub(super) struct LoginForm {
    token: String,
}

pub(super) async fn log_in(State(api): State<Api>, viewer: Viewer, Form(form): Form<LoginForm>) -> Response {
    let config = api.site.config();
    let Some(token) = config.site.token.as_ref().filter(|token| access::is_token(token, form.token.trim()))
    else {
        let text = "This is not the site's token.".to_owned();
        return message(&api, &viewer, StatusCode::UNAUTHORIZED, "Log in", text);
    };
    let is_secure = config.site.url.as_ref().is_some_and(|url| url.starts_with("https://"));
    let cookie = cookie(&proof(token, b"session"), SESSION, is_secure);
    ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
}

pub(super) async fn log_out() -> Response {
    ([(header::SET_COOKIE, cookie("", 0, false))], Redirect::to("/")).into_response()
}

fn cookie(value: &str, age: u32, is_secure: bool) -> HeaderValue {
    let secure = if is_secure { "; Secure" } else { "" };
    let text = format!("{COOKIE}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

pub(super) async fn not_found(State(api): State<Api>, viewer: Viewer) -> Response {
    message(&api, &viewer, StatusCode::NOT_FOUND, "Not here", "There is no such page.".to_owned())
}

pub(super) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../../templates/style.css"))
}

pub(super) async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("../../templates/page.js"))
}
