//! Tells managers what a worker does: registers, posts each change of a mirror in the order in which it
//! happened, and goes on when a manager that was away is back (spec 11 §3.1).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{ControlClient, ControlError};
use super::records::{GoTime, MirrorStatus, WorkerRecord};
use super::worker_conf::WorkerSettings;
use crate::job::Status;
use crate::markup::encode;
use crate::site::{JobView, Site};

/// How often the site is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// The pause before a manager that is away is asked again.
const REST: Duration = Duration::from_secs(1);
/// A manager hears of the worker at least so often.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Tells the managers of a worker.
#[derive(Clone)]
pub struct Reporter {
    settings: WorkerSettings,
    tell: Arc<dyn Fn(&str) + Send + Sync>,
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reporter").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Reporter {
    /// For the worker that `settings` describe; `tell` hears what somebody should know.
    #[must_use]
    pub fn new(settings: WorkerSettings, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { settings, tell: Arc::new(tell) }
    }

    fn links(&self) -> impl Iterator<Item = Link> {
        self.settings.managers.iter().map(|base| {
            let client =
                ControlClient::new(base, self.settings.ca_cert.as_deref(), self.settings.token.as_ref());
            Link {
                reporter: self.clone(),
                base: base.clone(),
                client,
                is_registered: false,
                was_away: false,
                mirrors: BTreeMap::new(),
                scheduled: BTreeMap::new(),
                heard: None,
            }
        })
    }

    /// Before the site runs: what a manager that is there knows to be stopped or disabled stays so, where the
    /// site has no memory of its own.
    pub async fn adopt(&self, site: &Site) {
        for link in self.links() {
            let Ok(known) = link.register().await else { continue };
            for status in known {
                let is_new = site
                    .job(&status.name)
                    .is_some_and(|job| job.last_started.is_none() && job.status == Status::None);
                let held = match status.status {
                    Status::Disabled if is_new => site.disable(&status.name),
                    Status::Paused if is_new => site.pause(&status.name),
                    _ => continue,
                };
                if let Err(error) = held {
                    (self.tell)(&format!("{}: {error}", status.name));
                }
            }
        }
    }

    /// Tells all managers until it is dropped. Needs a tokio runtime.
    pub async fn run(&self, site: Site) {
        let links = self.links().map(|link| link.run(site.clone()));
        futures_util::future::join_all(links).await;
    }
}

/// What one manager was told.
struct Link {
    reporter: Reporter,
    base: String,
    client: ControlClient,
    is_registered: bool,
    was_away: bool,
    mirrors: BTreeMap<String, Told>,
    scheduled: BTreeMap<String, Timestamp>,
    heard: Option<tokio::time::Instant>,
}

/// What was noticed of a mirror, and what of that the manager has not been told.
#[derive(Debug, Default, PartialEq)]
struct Told {
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    status: Option<Status>,
    queue: VecDeque<MirrorStatus>,
}

impl Told {
    /// Takes notice of a moment; every state that a run went through is told, even if it was too short to be
    /// seen.
    fn notice(&mut self, job: &JobView, worker: &str) {
        let mut status = MirrorStatus::of(job, worker);
        // What is told of a run before its end says nothing about its result, and a size is news of a good one.
        let under_way = |status: &MirrorStatus, now| MirrorStatus {
            status: now,
            size: "unknown".to_owned(),
            error_msg: String::new(),
            ..status.clone()
        };
        if status.status != Status::Success {
            "unknown".clone_into(&mut status.size);
        }
        let is_new_run = job.last_started.is_some() && job.last_started != self.started;
        if is_new_run {
            // What was not told of runs before is old; that one of them was good is not.
            let good = self.queue.iter().rposition(|told| told.status == Status::Success);
            let good = good.and_then(|index| self.queue.remove(index));
            self.queue = good.into_iter().collect();
            self.started = job.last_started;
            self.push(under_way(&status, Status::PreSyncing));
        }
        let is_over = matches!(status.status, Status::Success | Status::Failed);
        if is_over && self.status == Some(Status::PreSyncing) {
            self.push(under_way(&status, Status::Syncing));
        }
        if self.status != Some(status.status) || (is_over && self.ended != job.last_ended) {
            self.ended = job.last_ended;
            self.push(status);
        }
    }

    fn push(&mut self, status: MirrorStatus) {
        self.status = Some(status.status);
        self.queue.push_back(status);
    }
}

impl Link {
    async fn run(mut self, site: Site) {
        loop {
            if !self.is_registered {
                match self.register().await {
                    Ok(known) => self.begin(&site, &known),
                    Err(error) => self.is_away(&error),
                }
            }
            for job in &site.view().jobs {
                self.mirrors.entry(job.name.clone()).or_default().notice(job, &self.reporter.settings.name);
            }
            if self.is_registered
                && let Err(error) = self.deliver(&site).await
            {
                self.is_away(&error);
            }
            tokio::time::sleep(if self.is_registered { LOOK } else { REST }).await;
        }
    }

    fn tell(&self, text: &str) {
        (self.reporter.tell)(text);
    }

    fn is_away(&mut self, error: &ControlError) {
        self.is_registered = false;
        if !std::mem::replace(&mut self.was_away, true) {
            self.tell(&format!("manager {}: {error}; it is told later", self.base));
        }
    }

    /// Registers, and answers what the manager knows.
    async fn register(&self) -> Result<Vec<MirrorStatus>, ControlError> {
        let settings = &self.reporter.settings;
        let record =
            WorkerRecord { id: settings.name.clone(), url: settings.url.clone(), ..WorkerRecord::default() };
        self.client.call(Method::POST, "/workers", &json!(record)).await?;
        self.client.worker_jobs(&settings.name).await
    }

    fn begin(&mut self, site: &Site, known: &[MirrorStatus]) {
        self.is_registered = true;
        self.was_away = false;
        self.scheduled.clear();
        self.heard = Some(tokio::time::Instant::now());
        self.tell(&format!("registered with the manager {}", self.base));
        for job in &site.view().jobs {
            let theirs = known.iter().find(|status| status.name == job.name).map(|status| status.status);
            match self.mirrors.get_mut(&job.name) {
                // What it missed waits in the queue; what it forgot is told again.
                Some(told) if theirs.is_some() || !told.queue.is_empty() => {}
                Some(told) => told.status = None,
                None => {
                    let told = Told {
                        // Of a run under way everything is told.
                        started: job.last_started.filter(|_| job.progress.is_none()),
                        ended: job.last_ended,
                        status: theirs,
                        queue: VecDeque::new(),
                    };
                    self.mirrors.insert(job.name.clone(), told);
                }
            }
        }
    }

    /// Tells what is not told yet.
    async fn deliver(&mut self, site: &Site) -> Result<(), ControlError> {
        let worker = encode(self.reporter.settings.name.as_bytes());
        for (name, told) in &mut self.mirrors {
            while let Some(status) = told.queue.front() {
                let path = format!("/workers/{worker}/jobs/{}", encode(name.as_bytes()));
                self.client.call(Method::POST, &path, &json!(status)).await?;
                told.queue.pop_front();
            }
        }
        let mut news = Vec::new();
        for job in &site.view().jobs {
            if let Some(next) = job.next
                && self.scheduled.get(&job.name) != Some(&next)
            {
                news.push((job.name.clone(), next));
            }
        }
        let is_due = self.heard.is_none_or(|heard| heard.elapsed() >= HEARTBEAT);
        if news.is_empty() && !is_due {
            return Ok(());
        }
        let schedules: Vec<Value> = news
            .iter()
            .map(|(name, next)| json!({ "name": name, "next_schedule": GoTime(Some(*next)) }))
            .collect();
        let path = format!("/workers/{worker}/schedules");
        self.client.call(Method::POST, &path, &json!({ "schedules": schedules })).await?;
        self.scheduled.extend(news);
        self.heard = Some(tokio::time::Instant::now());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Class;
    use crate::site::tests::{World, job};

    fn told(told: &Told) -> Vec<Status> {
        told.queue.iter().map(|status| status.status).collect()
    }

    #[test]
    fn every_state_of_a_run_is_told_in_order_however_short_it_was() {
        let world = World::new(&job("a"));
        let mut link = Told::default();
        let notice = |link: &mut Told| link.notice(&world.site.job("a").unwrap(), "w");
        notice(&mut link);
        assert_eq!(told(&link), [Status::None]);
        world.step();
        world.end("a", Class::Good);
        notice(&mut link);
        notice(&mut link);
        assert_eq!(told(&link), [Status::PreSyncing, Status::Syncing, Status::Success]);
        let sizes: Vec<&str> = link.queue.iter().map(|status| status.size.as_str()).collect();
        assert_eq!(sizes, ["unknown", "unknown", "4.10K"]);
    }

    #[test]
    fn of_runs_that_nobody_was_told_of_the_last_one_and_the_last_good_one_are() {
        let world = World::new(&job("a"));
        let mut link = Told::default();
        for class in [Class::Good, Class::Good, Class::Permanent] {
            world.pass(3600);
            world.end("a", class);
            link.notice(&world.site.job("a").unwrap(), "w");
        }
        assert_eq!(told(&link), [Status::Success, Status::PreSyncing, Status::Syncing, Status::Failed]);
        assert_eq!(link.queue.back().map(|status| status.error_msg.as_str()), Some("it went wrong"));
    }
}
