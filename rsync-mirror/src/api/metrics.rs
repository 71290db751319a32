//! Numbers about the jobs for Prometheus (spec 11 §2.5).

use std::path::Path;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Api;
use crate::job::Status;
use crate::site::Site;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfJob {
    job: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InStatus {
    job: String,
    status: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfKind {
    job: String,
    op: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfUpstream {
    job: String,
    upstream: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfEnd {
    job: String,
    code: u8,
    class: String,
}

pub(super) async fn metrics(State(api): State<Api>) -> impl IntoResponse {
    // File systems are asked, which may be slow.
    let rendered = tokio::task::spawn_blocking(move || render(&api.site)).await;
    ([(header::CONTENT_TYPE, OPEN_METRICS)], rendered.unwrap_or_default())
}

/// Counts from what the site knows, so that no number is kept twice.
fn render(site: &Site) -> String {
    let view = site.view();
    let mut registry = Registry::with_prefix("rsync_mirror");
    let gauge = |registry: &mut Registry, name: &str, help: &str| {
        let family = Family::<OfJob, Gauge>::default();
        registry.register(name, help, family.clone());
        family
    };
    let success = gauge(&mut registry, "job_last_success_timestamp_seconds", "End of the last good run");
    let duration = gauge(&mut registry, "job_duration_seconds", "Length of the last run");
    let size = gauge(&mut registry, "job_size_bytes", "Bytes of the mirror");
    let generation = gauge(&mut registry, "publish_generation", "The tree that readers see");
    let free = gauge(&mut registry, "free_bytes", "Bytes that are free where the mirror is");
    let upstream_gauge = |registry: &mut Registry, name: &str, help: &str| {
        let family = Family::<OfUpstream, Gauge>::default();
        registry.register(name, help, family.clone());
        family
    };
    let up = upstream_gauge(&mut registry, "upstream_up", "1 for an upstream that its checks find well");
    let help = "Age of what the upstream serves, where a check looks for a date";
    let lag = upstream_gauge(&mut registry, "upstream_lag_seconds", help);
    let statuses = Family::<InStatus, Gauge>::default();
    registry.register("job_status", "1 for the status the job is in", statuses.clone());
    let queue: Gauge = Gauge::default();
    registry.register("queue_length", "Jobs that are due and wait for a place", queue.clone());
    queue.set(i64::try_from(view.queued).unwrap_or(i64::MAX));
    let received = Family::<OfJob, Counter>::default();
    registry.register("job_bytes_received", "Bytes received since the process began", received.clone());
    let retries = Family::<OfJob, Counter>::default();
    registry.register("job_retries", "Attempts beyond the first", retries.clone());
    let files = Family::<OfKind, Counter>::default();
    registry.register("job_files", "Entries made, transferred and deleted", files.clone());
    let exits = Family::<OfEnd, Counter>::default();
    registry.register("job_exit", "Runs by exit code and its meaning", exits.clone());

    for job in &view.jobs {
        let label = OfJob { job: job.name.clone() };
        let set = |family: &Family<OfJob, Gauge>, value: Option<u64>| {
            if let Some(value) = value {
                family.get_or_create(&label).set(i64::try_from(value).unwrap_or(i64::MAX));
            }
        };
        set(&success, job.last_update.and_then(|time| u64::try_from(time.as_second()).ok()));
        set(&size, job.size);
        set(&generation, job.generation);
        let length = job.last_ended.zip(job.last_started).map(|(end, start)| end.duration_since(start));
        if job.progress.is_none() {
            set(&duration, length.and_then(|length| u64::try_from(length.as_secs()).ok()));
        }
        for upstream in job.upstreams.iter().filter(|one| !matches!(one.state, "unchecked" | "unknown")) {
            let label = OfUpstream { job: job.name.clone(), upstream: upstream.url.clone() };
            up.get_or_create(&label).set(i64::from(upstream.state == "up"));
            if let Some(date) = upstream.date {
                lag.get_or_create(&label).set(view.now.duration_since(date).as_secs().max(0));
            }
        }
        for status in STATUSES {
            let label = InStatus { job: job.name.clone(), status: word(&status) };
            statuses.get_or_create(&label).set(i64::from(status == job.status));
        }
    }
    for job in &site.config().jobs {
        if let Some(bytes) = free_bytes(&job.job.destination) {
            let label = OfJob { job: job.job.name.clone() };
            free.get_or_create(&label).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }
    for (job, counts) in site.counts() {
        let label = OfJob { job: job.clone() };
        received.get_or_create(&label).inc_by(counts.received);
        retries.get_or_create(&label).inc_by(counts.retries);
        let kinds =
            [("created", counts.created), ("transferred", counts.transferred), ("deleted", counts.deleted)];
        for (op, count) in kinds {
            files.get_or_create(&OfKind { job: job.clone(), op }).inc_by(count);
        }
        for ((code, class), count) in &counts.exits {
            let label = OfEnd { job: job.clone(), code: *code, class: word(class) };
            exits.get_or_create(&label).inc_by(*count);
        }
    }
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &registry);
    text
}

/// What is free where `path` is, or will be.
fn free_bytes(path: &Path) -> Option<u64> {
    let facts = path.ancestors().find_map(|path| rustix::fs::statvfs(path).ok())?;
    Some(facts.f_bavail.saturating_mul(facts.f_frsize))
}

const STATUSES: [Status; 7] = [
    Status::None,
    Status::PreSyncing,
    Status::Syncing,
    Status::Success,
    Status::Failed,
    Status::Paused,
    Status::Disabled,
];

/// The word that JSON has for a value.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
