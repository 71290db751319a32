//! Every address that is answered, once: the router and the description of the API are made from it.

use axum::routing::{MethodRouter, delete, get, post};

use super::{Api, json, live, metrics, mirrorz, openapi, page, tunasync};

/// One address.
pub(super) struct Route {
    pub(super) path: &'static str,
    pub(super) handler: MethodRouter<Api>,
    /// What the description of the API says about its methods.
    pub(super) about: &'static [Operation],
}

/// What one method does.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) summary: &'static str,
    /// The schema of the answer.
    pub(super) answer: &'static str,
    pub(super) access: Access,
}

/// Who may call it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Everybody,
    Token,
    Signature,
}

const fn reading(summary: &'static str, answer: &'static str) -> Operation {
    Operation { method: "get", summary, answer, access: Access::Everybody }
}

const fn changing(summary: &'static str) -> Operation {
    Operation { method: "post", summary, answer: "Done", access: Access::Token }
}

fn route(path: &'static str, handler: MethodRouter<Api>, about: &'static [Operation]) -> Route {
    Route { path, handler, about }
}

pub(super) fn all() -> Vec<Route> {
    const SITE: &[Operation] = &[reading("The site with all jobs", "Site")];
    const JOBS: &[Operation] = &[reading("All jobs", "Jobs")];
    const JOB: &[Operation] = &[reading("One job", "Job")];
    const RUNS: &[Operation] =
        &[reading("The last runs of a job, the newest first; at most `limit`", "Runs")];
    const LOG: &[Operation] = &[Operation {
        method: "get",
        summary: "The log of the run `run`, or of the current or last one, as text",
        answer: "Text",
        access: Access::Token,
    }];
    const EVENTS: &[Operation] = &[reading("Rows of the page that changed, as server-sent events", "Text")];
    const START: &[Operation] = &[changing("Runs a job as soon as the limits allow; a stopped one goes on")];
    const STOP: &[Operation] = &[changing("Ends the run, and starts none until somebody does")];
    const DISABLE: &[Operation] = &[changing("Takes a job out of service")];
    const ENABLE: &[Operation] = &[changing("Lets a job go on by its schedule")];
    const RESTART: &[Operation] = &[changing("Ends the run and begins another")];
    const RELOAD: &[Operation] = &[changing("Reads the configuration again, as a whole or not at all")];
    const PUSH: &[Operation] = &[Operation {
        method: "post",
        summary: "The upstream has news. `X-Hub-Signature-256` holds `sha256=` and the HMAC of the body",
        answer: "Done",
        access: Access::Signature,
    }];
    const DESCRIPTION: &[Operation] = &[reading("This description", "Text")];
    const METRICS: &[Operation] = &[reading("Numbers for Prometheus", "Text")];
    const HEALTH: &[Operation] = &[reading("`ok`, or 503 while the site stops", "Text")];
    const MIRRORZ: &[Operation] = &[reading("The site for mirrorz", "Text")];
    vec![
        route("/api/v1/site", get(json::site), SITE),
        route("/api/v1/jobs", get(json::jobs), JOBS),
        route("/api/v1/jobs/{job}", get(json::job), JOB),
        route("/api/v1/jobs/{job}/runs", get(json::runs), RUNS),
        route("/api/v1/jobs/{job}/log", get(json::log), LOG),
        route("/api/v1/jobs/{job}/start", post(json::start), START),
        route("/api/v1/jobs/{job}/stop", post(json::stop), STOP),
        route("/api/v1/jobs/{job}/disable", post(json::disable), DISABLE),
        route("/api/v1/jobs/{job}/enable", post(json::enable), ENABLE),
        route("/api/v1/jobs/{job}/restart", post(json::restart), RESTART),
        route("/api/v1/jobs/{job}/push", post(json::push), PUSH),
        route("/api/v1/reload", post(json::reload), RELOAD),
        route("/api/v1/events", get(live::events), EVENTS),
        route("/api/v1/openapi.json", get(openapi::document), DESCRIPTION),
        route("/metrics", get(metrics::metrics), METRICS),
        route("/healthz", get(json::health), HEALTH),
        route("/mirrorz.json", get(mirrorz::document), MIRRORZ),
        route("/", get(page::index), &[]),
        route("/mirrors/{job}", get(page::job), &[]),
        route("/mirrors/{job}/log", get(page::log), &[]),
        route("/mirrors/{job}/{action}", post(page::act), &[]),
        route("/login", get(page::login).post(page::log_in), &[]),
        route("/logout", post(page::log_out), &[]),
        route("/assets/style.css", get(page::style), &[]),
        route("/assets/page.js", get(page::script), &[]),
        route("/ping", get(tunasync::ping), &[]),
        route("/jobs", get(tunasync::jobs), &[]),
        route("/jobs/disabled", delete(tunasync::flush), &[]),
        route("/workers", get(tunasync::workers), &[]),
        route("/workers/{worker}/jobs", get(tunasync::worker_jobs), &[]),
        route("/workers/{worker}/jobs/{job}/size", post(tunasync::set_size), &[]),
        route("/cmd", post(tunasync::command), &[]),
    ]
}
