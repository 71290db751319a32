//! The administration over HTTP: status, modules, metrics, health, reload.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bstr::ByteSlice;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use super::shared::{Phase, Shared};

/// What [`super::metrics::Metrics::render`] makes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers requests until it is dropped.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) -> std::io::Result<()> {
    let router = Router::new()
        .route("/status", get(status))
        .route("/upstream-modules", get(upstream_modules))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/reload", post(reload))
        .with_state(shared);
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await
}

#[derive(Serialize)]
struct Status {
    count: usize,
    connections: Vec<Connection>,
    upstreams: Vec<Upstream>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Connection {
    index: u64,
    local: String,
    remote: String,
    connected: String,
    module: String,
    upstream: String,
    sent_bytes: u64,
    received_bytes: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Upstream {
    name: String,
    address: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<i32>,
    active: usize,
    queued: usize,
}

async fn status(State(shared): State<Arc<Shared>>) -> Json<Status> {
    let connections: Vec<Connection> = shared
        .sessions()
        .iter()
        .map(|(index, session)| Connection {
            index: *index,
            local: session.local.to_string(),
            remote: session.remote.to_string(),
            connected: format!("{:.0}", session.connected),
            module: session.module.to_string(),
            upstream: session.upstream.clone(),
            sent_bytes: session.traffic.sent.load(Ordering::Relaxed),
            received_bytes: session.traffic.received.load(Ordering::Relaxed),
        })
        .collect();
    let roster = shared.roster();
    let upstreams = roster.backends.values().map(|backend| {
        let (state, (active, queued)) = (backend.watch.state(), backend.counts());
        Upstream {
            name: backend.name.clone(),
            address: backend.target.endpoint.to_string(),
            state: state.name(),
            reason: state.reason().map(str::to_owned),
            protocol: backend.known().as_ref().map(|known| known.greeting.version),
            active,
            queued,
        }
    });
    Json(Status { count: connections.len(), connections, upstreams: upstreams.collect() })
}

#[derive(Deserialize)]
struct Which {
    name: Option<String>,
    #[serde(default)]
    force_discover: Option<String>,
}

/// The modules of each upstream, as the configuration and the upstream itself tell them.
async fn upstream_modules(State(shared): State<Arc<Shared>>, Query(which): Query<Which>) -> Response {
    let roster = shared.roster();
    let forced = which.force_discover.is_some_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    let mut modules = BTreeMap::new();
    for (name, backend) in &roster.backends {
        if which.name.as_ref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        if forced && let Err(failure) = backend.ask(roster.config.proxy.dial_timeout).await {
            let text = format!("upstream {name} cannot be asked for its modules: {}", failure.into_text());
            return error(StatusCode::BAD_GATEWAY, text);
        }
        modules.insert(name.clone(), roster.modules_of(name));
    }
    match which.name {
        Some(name) if modules.is_empty() => {
            error(StatusCode::NOT_FOUND, format!("there is no upstream {name}"))
        }
        _ => Json(modules).into_response(),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let modules: Vec<_> = shared.sessions().values().map(|session| session.module.clone()).collect();
    let text = shared.metrics.render(&shared.roster(), modules.iter().map(|module| module.as_bytes()));
    ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response()
}

/// Good as long as a new client could be served; for keepalived and its like.
async fn healthz(State(shared): State<Arc<Shared>>) -> Response {
    if *shared.phase.borrow() != Phase::Serving {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    if shared.roster().backends.values().any(|backend| backend.usable().is_some()) {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no upstream is up\n").into_response()
    }
}

async fn reload(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let given =
        headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let is_allowed = match &shared.roster().config.proxy.http_token {
        Some(token) => given.is_some_and(|given| same(given, token.reveal())),
        None => peer.ip().to_canonical().is_loopback(),
    };
    if !is_allowed {
        return error(StatusCode::FORBIDDEN, "only this machine, or who knows http_token, may reload".into());
    }
    match shared.reload().await {
        Ok(()) => Json(serde_json::json!({ "message": "reloaded" })).into_response(),
        Err(failure) => error(StatusCode::BAD_REQUEST, failure.to_string()),
    }
}

fn error(status: StatusCode, text: String) -> Response {
    (status, Json(serde_json::json!({ "error": text }))).into_response()
}

/// Compares in a time that does not depend on where the texts differ.
fn same(left: &str, right: &str) -> bool {
    let differ = left.bytes().zip(right.bytes()).fold(0, |differ, (left, right)| differ | (left ^ right));
    std::hint::black_box(differ) == 0 && left.len() == right.len()
}
