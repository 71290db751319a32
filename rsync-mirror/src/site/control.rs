//! What people and programs tell a site to do.

use std::sync::Arc;

use super::notify::Condition;
use super::state::zone;
use super::{Site, SiteEvent};
use crate::config::{Config, ConfigError};
use crate::job::{RunId, StopReason};
use crate::schedule::{Hold, Past, StartAnswer};
use crate::serve::{DaemonConfigError, write_daemon_config};
use crate::store::StoreError;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no such job.
    #[error("there is no job named {name:?}{}", hint.as_ref().map(|hint| format!("; did you mean {hint:?}?")).unwrap_or_default())]
    Unknown {
        /// The name.
        name: String,
        /// One that is nearly the same.
        hint: Option<String>,
    },
    /// The job is disabled.
    #[error("{0} is disabled; enable it first")]
    Disabled(String),
    /// The process ends.
    #[error("the site is stopping")]
    Stopping,
    /// The new configuration cannot be used, so the old one stays.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The site's rsync daemon could not serve the new jobs.
    #[error(transparent)]
    Serve(#[from] DaemonConfigError),
    /// The site has no file to read again.
    #[error("this site was not made from a file")]
    NoFile,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Site {
    pub(crate) fn unknown(&self, name: &str) -> CommandError {
        let state = self.state();
        let near = |known: &&String| strsim::damerau_levenshtein(known, name);
        let hint = state.jobs.keys().min_by_key(near).filter(|known| near(known) <= 2).cloned();
        CommandError::Unknown { name: name.to_owned(), hint }
    }

    /// Runs a job as soon as the limits allow, or past them with `is_forced`. A stopped job goes on.
    /// `accept` names the run whose refusal is passed over this time. `false` means that it is running.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn start(&self, name: &str, is_forced: bool, accept: Option<RunId>) -> Result<bool, CommandError> {
        let mut state = self.state();
        if state.stopping.is_some() {
            return Err(CommandError::Stopping);
        }
        let answer = state.scheduler.start(name, is_forced, self.now());
        if let (StartAnswer::Queued, Some(job)) = (answer, state.jobs.get_mut(name)) {
            job.accept = accept;
            if job.record.hold.take().is_some() {
                state.epoch += 1;
                self.store().hold(name, None)?;
            }
        }
        drop(state);
        self.shared.changed.notify_all();
        match answer {
            StartAnswer::Unknown => Err(self.unknown(name)),
            StartAnswer::Disabled => Err(CommandError::Disabled(name.to_owned())),
            StartAnswer::Running => Ok(false),
            StartAnswer::Queued | StartAnswer::Again => Ok(true),
        }
    }

    /// The upstream has news: the job runs now, or once more after its current run.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn push(&self, name: &str) -> Result<(), CommandError> {
        let mut state = self.state();
        if state.stopping.is_some() {
            return Err(CommandError::Stopping);
        }
        let answer = state.scheduler.push(name, self.now());
        drop(state);
        self.shared.changed.notify_all();
        match answer {
            StartAnswer::Unknown => Err(self.unknown(name)),
            StartAnswer::Disabled => Err(CommandError::Disabled(name.to_owned())),
            _ => Ok(()),
        }
    }

    /// Ends the job's run, and starts none until somebody does.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn pause(&self, name: &str) -> Result<(), CommandError> {
        self.hold(name, Hold::Paused)
    }

    /// Takes a job out of service; its run is ended.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn disable(&self, name: &str) -> Result<(), CommandError> {
        self.hold(name, Hold::Disabled)
    }

    fn hold(&self, name: &str, hold: Hold) -> Result<(), CommandError> {
        let mut state = self.state();
        if !state.scheduler.hold(name, Some(hold), self.now()) {
            drop(state);
            return Err(self.unknown(name));
        }
        state.epoch += 1;
        // Before the run hears of it, whose end is entered as one that is made up for otherwise.
        let stored = self.store().hold(name, Some(hold));
        if let Some(job) = state.jobs.get_mut(name) {
            job.record.hold = Some(hold);
            if let Some(run) = &job.run {
                run.cancel.cancel(StopReason::Requested);
            }
        }
        drop(state);
        self.shared.changed.notify_all();
        Ok(stored?)
    }

    /// Lets a job that was stopped or disabled go on by its schedule.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn enable(&self, name: &str) -> Result<(), CommandError> {
        let mut state = self.state();
        if !state.scheduler.hold(name, None, self.now()) {
            drop(state);
            return Err(self.unknown(name));
        }
        if let Some(job) = state.jobs.get_mut(name) {
            job.record.hold = None;
        }
        state.epoch += 1;
        let stored = self.store().hold(name, None);
        drop(state);
        self.shared.changed.notify_all();
        Ok(stored?)
    }

    /// Ends the job's run, if there is one, and begins another.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn restart(&self, name: &str) -> Result<(), CommandError> {
        let mut state = self.state();
        if state.jobs.get(name).is_some_and(|job| job.elsewhere.is_some()) {
            state.scheduler.push(name, self.now());
            return Ok(self.store().interrupt(name)?);
        }
        if state.jobs.get(name).is_some_and(|job| job.run.is_some()) {
            state.scheduler.push(name, self.now());
            if let Some(run) = state.jobs.get(name).and_then(|job| job.run.as_ref()) {
                run.cancel.cancel(StopReason::Requested);
            }
            return Ok(());
        }
        drop(state);
        self.start(name, false, None).map(drop)
    }

    /// Says what the size of a mirror is, until its next good run knows better.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn set_size(&self, name: &str, text: &str) -> Result<(), CommandError> {
        let mut state = self.state();
        let Some(job) = state.jobs.get_mut(name) else {
            drop(state);
            return Err(self.unknown(name));
        };
        self.store().set_size(name, text)?;
        job.record.size_text = Some(text.to_owned());
        state.epoch += 1;
        Ok(())
    }

    /// Reads the configuration again. It is used as a whole or not at all. Jobs that are gone are ended,
    /// changed ones have their new settings from their next run on, and others notice nothing.
    ///
    /// # Errors
    /// [`CommandError::Config`] if it cannot be used; nothing changed then.
    pub fn reload(&self) -> Result<(), CommandError> {
        let read = self.shared.reader.as_ref().ok_or(CommandError::NoFile)?;
        let config = read()?;
        write_daemon_config(&config)?;
        self.take_over(config)
    }

    pub(super) fn take_over(&self, config: Config) -> Result<(), CommandError> {
        let now = self.now();
        let mut state = self.state();
        // What the store knows of new jobs is asked first: it may fail, and nothing has changed yet.
        let mut records = Vec::new();
        for job in config.jobs.iter().filter(|job| !state.jobs.contains_key(&job.job.name)) {
            records.push((job.clone(), self.store().job(&job.job.name, now)?));
        }
        let (old, new) = (&state.config.site, &config.site);
        let fixed = old.state_dir != new.state_dir
            || old.database != new.database
            || old.worker != new.worker
            || old.listen != new.listen
            || old.socket != new.socket
            || old.serve != new.serve;
        state.zone = zone(&config);
        state.scheduler.set_limits(config.limits.clone());
        for job in &config.jobs {
            let name = &job.job.name;
            let Some(known) = state.jobs.get_mut(name) else { continue };
            if *known.config != *job {
                if known.config.health != job.health || known.config.job.upstreams != job.job.upstreams {
                    known.upstreams = Arc::new(self.check_upstreams(job));
                }
                known.config = Arc::new(job.clone());
            }
            state.scheduler.insert(name, job.rules.clone(), Past::default(), None, now);
        }
        let gone: Vec<String> =
            state.jobs.keys().filter(|name| config.job(name).is_none()).cloned().collect();
        for name in gone {
            state.scheduler.remove(&name);
            match state.jobs.get(&name).and_then(|job| job.run.as_ref()) {
                Some(run) => run.cancel.cancel(StopReason::Requested),
                None => drop(state.jobs.remove(&name)),
            }
        }
        for (job, record) in records {
            let upstreams = self.check_upstreams(&job);
            state.add(&job, record, upstreams, now);
        }
        let count = config.jobs.len();
        state.config = Arc::new(config);
        drop(state);
        self.shared.changed.notify_all();
        self.event(&SiteEvent::Note(format!("the configuration was read again: {count} jobs")));
        if fixed {
            let what = "\"state_dir\", \"database\", \"worker\", \"listen\", \"socket\" and \"serve\"";
            self.event(&SiteEvent::Note(format!("changes of {what} need a restart of the process")));
        }
        Ok(())
    }

    /// Whether a job is well, failing or stale.
    #[must_use]
    pub fn condition(&self, name: &str) -> Option<Condition> {
        self.state().jobs.get(name).map(|job| job.condition)
    }
}
