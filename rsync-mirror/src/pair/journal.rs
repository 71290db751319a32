//! What a server must not forget: its role, and where in a procedure it is.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::procedure::Procedure;
use crate::job::Lock;
use crate::{Clock, MirrorError, durable};

/// Whether a server serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It holds the floating address.
    Serving,
    /// It waits for the other to fail.
    #[default]
    Standby,
}

impl Role {
    /// Its name: `serving` or `standby`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Standby => "standby",
        }
    }
}

/// A procedure that has begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// Which one.
    pub procedure: Procedure,
    /// Why it was begun, which hooks get as `REASON`.
    pub reason: String,
    /// So many of its steps are done.
    pub done: usize,
    /// Why the next one failed, if it did.
    #[serde(default)]
    pub failure: Option<String>,
}

/// The state of a server, as JSON in the file that the configuration names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Its role; during a procedure, the one it had before.
    pub role: Role,
    /// What is under way.
    #[serde(default)]
    pub unfinished: Option<Unfinished>,
    /// Which start of the machine this is about: what steps have done to the machine ends with it.
    #[serde(default)]
    pub boot: String,
}

impl Journal {
    /// The role that the server has, or is about to have.
    #[must_use]
    pub fn heading(&self) -> Role {
        self.unfinished.as_ref().map_or(self.role, |unfinished| unfinished.procedure.leads_to())
    }

    /// What the other server should know: who is about to serve counts, unless it cannot; who gives up serves
    /// until that is done.
    #[must_use]
    pub fn told_role(&self) -> Role {
        match &self.unfinished {
            Some(Unfinished { procedure, failure: None, .. }) if procedure.leads_to() == Role::Serving => {
                Role::Serving
            }
            _ => self.role,
        }
    }

    /// Reads the state of a server that another process may be working with; one that was never in a pair
    /// is on standby.
    ///
    /// # Errors
    /// [`MirrorError::File`], also for a file that holds something else.
    pub fn read(path: &Path) -> Result<Self, MirrorError> {
        Ok(durable::read_json(path)?.unwrap_or_default())
    }
}

/// The file of a [`Journal`], which only one process may write.
#[derive(Debug)]
pub(super) struct JournalFile {
    path: PathBuf,
    _lock: Lock,
}

impl JournalFile {
    /// Takes the journal at `path`, which need not exist yet.
    ///
    /// # Errors
    /// [`MirrorError::Locked`] while another process has it; [`MirrorError::File`].
    pub(super) fn take(path: &Path, clock: &dyn Clock) -> Result<Self, MirrorError> {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(MirrorError::file("make", parent))?;
        }
        Ok(Self { path: path.to_owned(), _lock: Lock::of_job(&beside(path, ".lock"), clock.now())? })
    }

    /// Replaces what it holds. When this returns, a crash does not undo it.
    ///
    /// # Errors
    /// [`MirrorError::File`].
    pub(super) fn write(&self, journal: &Journal) -> Result<(), MirrorError> {
        durable::write_json(&self.path, journal)
    }
}

/// A path that differs at its end.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemClock;

    #[test]
    fn a_journal_is_written_by_one_process_and_read_by_all() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("new/pair.json");
        let clock = SystemClock::default();
        let file = JournalFile::take(&path, &clock).expect("free");
        assert_eq!(Journal::read(&path).expect("read"), Journal::default());
        assert!(matches!(JournalFile::take(&path, &clock), Err(MirrorError::Locked { .. })));
        let unfinished = Unfinished {
            procedure: Procedure::Takeover,
            reason: "down (no answer)".into(),
            done: 2,
            failure: Some("arping: no such file".into()),
        };
        let journal = Journal { role: Role::Standby, unfinished: Some(unfinished), boot: "first".into() };
        file.write(&journal).expect("written");
        assert_eq!(Journal::read(&path).expect("read"), journal);
        drop(file);
        JournalFile::take(&path, &clock).expect("free again");
    }

    #[test]
    fn who_is_about_to_serve_says_so_unless_it_cannot() {
        let told = |role, procedure, failure: Option<&str>| {
            let failure = failure.map(str::to_owned);
            let unfinished = Some(Unfinished { procedure, reason: String::new(), done: 0, failure });
            Journal { role, unfinished, boot: String::new() }.told_role()
        };
        assert_eq!(told(Role::Standby, Procedure::Takeover, None), Role::Serving);
        assert_eq!(told(Role::Standby, Procedure::Takeover, Some("no")), Role::Standby);
        assert_eq!(told(Role::Serving, Procedure::Yield, None), Role::Serving);
        assert_eq!(Journal::default().told_role(), Role::Standby);
    }

    #[test]
    fn a_file_that_holds_something_else_is_told() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("pair.json");
        fs::write(&path, "{\"role\": \"king\"}").expect("written");
        let error = Journal::read(&path).expect_err("no role").to_string();
        assert!(error.contains("cannot read") && error.contains("king"), "{error}");
    }
}
