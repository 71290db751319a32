//! The queue of a site: which jobs run, wait, are held, and who is next.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::limits::{Limits, Obstacle, Usage};
use super::when::{Past, Timetable};

/// What the scheduler must know of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// When it is due.
    pub timetable: Timetable,
    /// The host of its first upstream, which is what limits per host count.
    pub host: Option<String>,
    /// Groups it shares with jobs that must not run beside it.
    pub groups: Vec<String>,
    /// Higher goes first; equal ones go by how long they have been due.
    pub priority: i32,
    /// Whether it is stopped when another job of one of its groups is due, as a loop of passes wants it.
    pub yields: bool,
}

/// Why a job does not run on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hold {
    /// Stopped by somebody; a start takes it up again.
    Paused,
    /// Out of service until it is enabled.
    Disabled,
}

/// What the site must do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start this job; the scheduler counts it as running.
    Start(String),
    /// End this run, because another job needs the group.
    Yield(String),
}

/// What became of a wish to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAnswer {
    /// It starts as soon as the limits let it.
    Queued,
    /// It is running; nothing changes.
    Running,
    /// It is running and will run once more.
    Again,
    /// It is disabled.
    Disabled,
    /// There is no such job.
    Unknown,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planned {
    /// Running now.
    Running,
    /// Due since then, waiting for a place.
    Queued(Timestamp),
    /// Due then; `None` is when somebody asks.
    Next(Option<Timestamp>),
    /// Held.
    Held(Hold),
}

#[derive(Clone, Copy, Debug)]
struct Request {
    since: Timestamp,
    is_forced: bool,
}

#[derive(Debug)]
struct Entry {
    rules: Rules,
    past: Past,
    due: Option<Timestamp>,
    hold: Option<Hold>,
    /// Asked for by somebody, whatever the timetable says.
    request: Option<Request>,
    /// The wish that the current start fulfils.
    granted: Option<Request>,
    is_running: bool,
    /// Another process runs it.
    is_elsewhere: bool,
    is_yielding: bool,
    /// No longer configured; it goes when its run has ended.
    is_leaving: bool,
}

impl Entry {
    fn plan(&mut self, name: &str, now: Timestamp) {
        self.due = self.rules.timetable.due(name, self.past, now);
    }

    /// Since when the job waits for a place, if it does.
    fn waits(&self, now: Timestamp) -> Option<Request> {
        if self.is_running || self.is_elsewhere || self.hold.is_some() || self.is_leaving {
            return None;
        }
        let due = self.due.filter(|&due| due <= now).map(|since| Request { since, is_forced: false });
        self.request.or(due)
    }
}

/// Decides which jobs of a site run.
#[derive(Debug, Default)]
pub struct Scheduler {
    limits: Limits,
    jobs: BTreeMap<String, Entry>,
}

impl Scheduler {
    /// A scheduler without jobs.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, jobs: BTreeMap::new() }
    }

    /// Other limits from now on; running jobs go on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Adds a job, or gives one new rules; then `past` and `hold` are known already and not looked at.
    pub fn insert(&mut self, name: &str, rules: Rules, past: Past, hold: Option<Hold>, now: Timestamp) {
        let entry = self.jobs.entry(name.to_owned()).or_insert_with(|| Entry {
            rules: rules.clone(),
            past: Past { known_since: past.known_since.or(Some(now)), ..past },
            due: None,
            hold,
            request: None,
            granted: None,
            is_running: false,
            is_elsewhere: false,
            is_yielding: false,
            is_leaving: false,
        });
        entry.rules = rules;
        entry.is_leaving = false;
        entry.plan(name, now);
    }

    /// Takes a job out. One that runs counts until [`Scheduler::ended`].
    pub fn remove(&mut self, name: &str) {
        match self.jobs.get_mut(name) {
            Some(entry) if entry.is_running => entry.is_leaving = true,
            _ => drop(self.jobs.remove(name)),
        }
    }

    /// Somebody wants the job to run now. `is_forced` passes over the limits, except groups.
    pub fn start(&mut self, name: &str, is_forced: bool, now: Timestamp) -> StartAnswer {
        self.request(name, is_forced, false, now)
    }

    /// The upstream says that it has news: the job runs now, or exactly once more after its current run.
    pub fn push(&mut self, name: &str, now: Timestamp) -> StartAnswer {
        self.request(name, false, true, now)
    }

    fn request(&mut self, name: &str, is_forced: bool, again: bool, now: Timestamp) -> StartAnswer {
        let Some(entry) = self.jobs.get_mut(name).filter(|entry| !entry.is_leaving) else {
            return StartAnswer::Unknown;
        };
        if entry.hold == Some(Hold::Disabled) {
            return StartAnswer::Disabled;
        }
        let is_running = entry.is_running || entry.is_elsewhere;
        if is_running && !again {
            return StartAnswer::Running;
        }
        // A push does not wake what somebody stopped; it is remembered for when it goes on.
        if !again {
            entry.hold = None;
        }
        let request = entry.request.get_or_insert(Request { since: now, is_forced });
        request.is_forced |= is_forced;
        if is_running { StartAnswer::Again } else { StartAnswer::Queued }
    }

    /// Holds a job, or lets it go on by its timetable; `false` if there is none. A run under way is not
    /// touched; wishes to run are forgotten when the job is held.
    pub fn hold(&mut self, name: &str, hold: Option<Hold>, now: Timestamp) -> bool {
        let Some(entry) = self.jobs.get_mut(name) else { return false };
        entry.hold = hold;
        if hold.is_some() {
            entry.request = None;
        } else {
            entry.plan(name, now);
        }
        true
    }

    /// The job's run is over, whatever came of it.
    pub fn ended(&mut self, name: &str, now: Timestamp) {
        let Some(entry) = self.jobs.get_mut(name) else { return };
        if entry.is_leaving {
            self.jobs.remove(name);
            return;
        }
        entry.is_running = false;
        entry.is_yielding = false;
        entry.past = Past { ended: Some(now), interrupted: false, ..entry.past };
        if let Some(request) = &mut entry.request {
            request.since = now;
        }
        entry.plan(name, now);
    }

    /// Another process that shares the store runs the job, or does no longer: what is known of its past is
    /// `past` then.
    pub fn elsewhere(&mut self, name: &str, is_elsewhere: bool, past: Past, now: Timestamp) {
        let Some(entry) = self.jobs.get_mut(name) else { return };
        entry.is_elsewhere = is_elsewhere;
        entry.past = past;
        if !is_elsewhere {
            entry.plan(name, now);
        }
    }

    /// A job that was to start could not, and is due again at that time.
    pub fn put_off(&mut self, name: &str, until: Timestamp) {
        if let Some(entry) = self.jobs.get_mut(name) {
            entry.is_running = false;
            entry.due = Some(until);
        }
    }

    /// A job that was to start may have been taken by another process: who wished it to run still does.
    pub fn not_taken(&mut self, name: &str, until: Timestamp) {
        self.put_off(name, until);
        if let Some(entry) = self.jobs.get_mut(name) {
            entry.request = entry.granted.take().or(entry.request);
        }
    }

    /// What to do at this moment. Call it again after every change and at [`Scheduler::wake`].
    pub fn decide(&mut self, now: Timestamp) -> Vec<Decision> {
        let mut decisions = Vec::new();
        let mut start = Vec::new();
        let mut usage = Usage::default();
        for entry in self.jobs.values() {
            match (entry.is_running, entry.is_elsewhere) {
                (true, _) => usage.add(&entry.rules),
                // It takes no place here; the upstream and the disk may be the same.
                (false, true) => usage.reserve(&entry.rules),
                (false, false) => {}
            }
        }
        let mut wanted = Vec::new();
        for (name, entry, request) in self.line(now) {
            match usage.obstacle(&self.limits, &entry.rules, request.is_forced) {
                None => {
                    usage.add(&entry.rules);
                    start.push(name.to_owned());
                }
                Some(obstacle) => {
                    if let Obstacle::Group(group) = obstacle {
                        wanted.push(group.to_owned());
                    }
                    usage.reserve(&entry.rules);
                }
            }
        }
        for name in start {
            if let Some(entry) = self.jobs.get_mut(&name) {
                entry.is_running = true;
                entry.granted = entry.request.take();
                decisions.push(Decision::Start(name));
            }
        }
        for (name, entry) in &mut self.jobs {
            let is_in_the_way = entry.rules.groups.iter().any(|group| wanted.contains(group));
            if entry.is_running && entry.rules.yields && !entry.is_yielding && is_in_the_way {
                entry.is_yielding = true;
                decisions.push(Decision::Yield(name.clone()));
            }
        }
        decisions
    }

    /// When something is due that is not due `now`; jobs that wait for a place need an event, not time.
    #[must_use]
    pub fn wake(&self, now: Timestamp) -> Option<Timestamp> {
        let idle = self.jobs.values();
        let idle = idle.filter(|entry| !entry.is_running && !entry.is_elsewhere && entry.hold.is_none());
        idle.filter_map(|entry| entry.due).filter(|&due| due > now).min()
    }

    /// Where a job stands.
    #[must_use]
    pub fn planned(&self, name: &str, now: Timestamp) -> Option<Planned> {
        let entry = self.jobs.get(name)?;
        Some(match (entry.is_running || entry.is_elsewhere, entry.hold, entry.waits(now)) {
            (true, ..) => Planned::Running,
            (_, Some(hold), _) => Planned::Held(hold),
            (.., Some(request)) => Planned::Queued(request.since),
            _ => Planned::Next(entry.due),
        })
    }

    /// Jobs that are due and wait for a place.
    #[must_use]
    pub fn queue_length(&self, now: Timestamp) -> usize {
        self.jobs.values().filter(|entry| entry.waits(now).is_some()).count()
    }

    /// The jobs that wait, first one first.
    fn line(&self, now: Timestamp) -> Vec<(&str, &Entry, Request)> {
        let waiting = self.jobs.iter().filter_map(|(name, entry)| {
            let request = entry.waits(now)?;
            Some((name.as_str(), entry, request))
        });
        let mut line: Vec<_> = waiting.collect();
        line.sort_by_key(|&(name, entry, request)| (Reverse(entry.rules.priority), request.since, name));
        line
    }
}

#[cfg(test)]
mod tests;
