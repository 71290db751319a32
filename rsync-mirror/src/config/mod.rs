//! `mirrors.toml`: the tables `[site]`, `[limits]`, `[defaults]`, `[profile.NAME]` and `[[job]]`.
//!
//! A job has the keys of its table, then those of the profiles it names with `inherit`, then those of
//! `[defaults]`; tables within are merged key by key, but for those that choose one of several things.
//! Everything that is wrong is told at once, each with its file, line and column.

mod database;
pub(crate) mod load;
mod settings;
pub(crate) mod source;
mod windows;

use std::path::Path;

pub use database::Database;
pub use settings::{About, Mirrorz, Notify, Serve, Site, SiteJob};
pub use source::Finding;
pub use windows::{Allowance, Day, Window};

use crate::schedule::Limits;

/// A site with its jobs.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The table `[site]`.
    pub site: Site,
    /// The table `[limits]`.
    pub limits: Limits,
    /// The jobs, by name.
    pub jobs: Vec<SiteJob>,
}

/// Why a configuration cannot be used: everything that is wrong with it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}", .findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError {
    /// What is wrong, by file and place; at least one.
    pub findings: Vec<Finding>,
}

impl Config {
    /// Reads a configuration and the files that it includes.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        load::load(path).map_err(|findings| ConfigError { findings })
    }

    /// The job of this name.
    #[must_use]
    pub fn job(&self, name: &str) -> Option<&SiteJob> {
        self.jobs.iter().find(|job| job.job.name == name)
    }
}

#[cfg(test)]
mod tests;
