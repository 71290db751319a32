//! The page while it is open: rows that change, as server-sent events.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Api, page};
use crate::site::{JobView, Site};

/// Pages that are kept up to date at a time.
const WATCHERS: usize = 64;
/// How often they are.
const PERIOD: Duration = Duration::from_secs(1);

/// Who watches the site.
#[derive(Debug)]
pub(crate) struct Live {
    site: Site,
    places: Arc<Semaphore>,
}

impl Live {
    pub(crate) fn new(site: Site) -> Self {
        Self { site, places: Arc::new(Semaphore::new(WATCHERS)) }
    }
}

/// What one page has seen.
struct Watcher {
    site: Site,
    seen: HashMap<String, JobView>,
    summary: String,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn events(State(api): State<Api>) -> Response {
    let live = &api.live;
    let Ok(place) = Arc::clone(&live.places).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many pages are open; reload to see news\n")
            .into_response();
    };
    let watcher =
        Watcher { site: live.site.clone(), seen: HashMap::new(), summary: String::new(), _place: place };
    let stream = unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await;
        Some((Ok::<_, Infallible>(event), watcher))
    });
    Sse::new(stream).keep_alive(KeepAlive::default()).into_response()
}

impl Watcher {
    /// Waits for a change, and tells it.
    async fn next(&mut self) -> Event {
        loop {
            let view = self.site.view();
            let summary = page::summary(&view);
            let mut rows = Vec::new();
            let zone = page::zone(&self.site);
            for job in &view.jobs {
                if self.seen.get(&job.name) != Some(job) {
                    rows.push(json!({ "name": job.name, "html": page::row(job, view.now, &zone) }));
                    self.seen.insert(job.name.clone(), job.clone());
                }
            }
            let gone: Vec<String> = self
                .seen
                .keys()
                .filter(|name| !view.jobs.iter().any(|job| job.name == **name))
                .cloned()
                .collect();
            gone.iter().for_each(|name| drop(self.seen.remove(name)));
            if !rows.is_empty() || !gone.is_empty() || summary != self.summary {
                self.summary.clone_from(&summary);
                let news = json!({ "rows": rows, "gone": gone, "summary": summary });
                return Event::default().event("news").data(news.to_string());
            }
            tokio::time::sleep(PERIOD).await;
        }
    }
}
