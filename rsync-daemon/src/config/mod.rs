//! `rsyncd.conf` (spec 09 §2, §3).

mod check;
mod expand;
mod finding;
mod grammar;
mod load;
mod manual;
mod parameters;
mod rows;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bstr::{BString, ByteSlice};

use crate::auth;

pub use check::ConfigReport;
pub use expand::ExpansionOverflow;
pub(crate) use expand::expand;
pub use finding::{Finding, Gravity, Place};
pub use manual::rsyncd_conf_manual;
pub use parameters::{GlobalSettings, ModuleSettings};

/// A daemon's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Parameters of the whole daemon.
    pub globals: GlobalSettings,
    /// What module parameters say in global scope: it counts before a module is known.
    pub defaults: ModuleSettings,
    /// The modules, in the order of their first sections.
    pub modules: Vec<Module>,
    /// What was ignored; the texts are lines for the log.
    pub notes: Vec<Finding>,
}

/// A module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The name clients use.
    pub name: BString,
    /// The name of its section.
    section: BString,
    /// Its parameters.
    pub settings: ModuleSettings,
}

impl ModuleSettings {
    /// Replaces `%NAME%` by what `lookup` knows, in everything but commands.
    ///
    /// # Errors
    /// [`ExpansionOverflow`] when a value grows too long.
    pub(crate) fn expand(
        &mut self,
        lookup: &dyn Fn(&str) -> Option<BString>,
    ) -> Result<(), ExpansionOverflow> {
        rows::MODULE_ROWS.iter().try_for_each(|row| row.expand(self, lookup))
    }
}

impl Module {
    /// A module made by hand.
    #[must_use]
    pub fn new(name: impl Into<BString>, settings: ModuleSettings) -> Self {
        let name = name.into();
        Self { section: name.clone(), name, settings }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("unable to open config file \"{}\": {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is malformed.
    #[error("{place}: {text}")]
    Grammar {
        /// Where.
        place: Place,
        /// The C daemon's text.
        text: String,
    },
    /// Files include each other without end.
    #[error("{}: more than {limit} files include each other", path.display())]
    TooDeep {
        /// The file that is one too many.
        path: PathBuf,
        /// Most files allowed.
        limit: usize,
    },
    /// A parameter asks for what this daemon does not do.
    #[error("{place}: parameter \"{name}\" in section [{module}] is not supported by this daemon")]
    Unsupported {
        /// Where.
        place: Place,
        /// The parameter.
        name: &'static str,
        /// The section.
        module: BString,
    },
    /// A module can be written to, and this daemon never writes.
    #[error(
        "module {module}: \"{parameter}\" cannot be honoured, because this daemon never writes: serve the \
         module by rsync --daemon"
    )]
    Writable {
        /// The module.
        module: BString,
        /// What makes it so.
        parameter: BString,
    },
    /// The command line assigns a parameter that does not exist.
    #[error("Unknown parameter \"{name}\"")]
    UnknownOverride {
        /// Its name.
        name: BString,
    },
}

impl Config {
    /// Reads the file `path` and what it includes, then the command line's `overrides`
    /// (`NAME=VALUE`).
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that makes it useless.
    pub fn load(path: &Path, overrides: &[BString]) -> Result<Self, ConfigError> {
        let loaded = load::load(path, overrides, &Disk);
        loaded.errors.into_iter().next().map_or(Ok(loaded.config), Err)
    }

    /// Reads like [`Config::load`], finds everything that is wrong, also with what the parameters name on
    /// this system, and answers it with the parameters in effect.
    #[must_use]
    pub fn check(path: &Path, overrides: &[BString]) -> ConfigReport {
        check::check(load::load(path, overrides, &Disk))
    }

    /// Whether no module can be written to, by nobody.
    ///
    /// # Errors
    /// [`ConfigError::Writable`] for the first that can.
    pub(crate) fn is_never_written(&self) -> Result<(), ConfigError> {
        self.modules.iter().try_for_each(|module| {
            let parameter: BString = match &module.settings {
                settings if !settings.read_only => "read only = no".into(),
                settings => match settings.auth_users.as_deref().and_then(|list| auth::writer(list)) {
                    Some(term) => format!("auth users = {}", term.as_bstr()).into(),
                    None => return Ok(()),
                },
            };
            Err(ConfigError::Writable { module: module.name.clone(), parameter })
        })
    }

    /// The module a client asks for, by its exact name; the last of several.
    #[must_use]
    pub fn module(&self, name: &[u8]) -> Option<&Module> {
        self.modules.iter().rev().find(|module| module.name == name)
    }
}

/// Where configuration files are.
trait Sources {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// `path` itself, or the sorted files with this extension if it is a directory.
    fn expand_directory(&self, path: &Path, extension: &str) -> io::Result<Vec<PathBuf>>;
}

struct Disk;

impl Sources for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        crate::files::read_trusted(path, crate::files::CONFIG_LIMIT)
    }

    fn expand_directory(&self, path: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
        if !fs::metadata(path)?.is_dir() {
            return Ok(vec![path.into()]);
        }
        let mut found = Vec::new();
        for entry in fs::read_dir(path)? {
            let path = entry?.path();
            if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }
}
