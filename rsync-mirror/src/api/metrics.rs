//! Numbers about the jobs for Prometheus (spec 11 §2.5).

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
struct OfEnd {
    job: String,
    code: u8,
    class: String,
}

pub(super) async fn metrics(State(api): State<Api>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], render(&api.site))
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
        for status in STATUSES {
            let label = InStatus { job: job.name.clone(), status: word(&status) };
            statuses.get_or_create(&label).set(i64::from(status == job.status));
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
