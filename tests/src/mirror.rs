//! The command `rsync-mirror` in a place of its own.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use crate::work::Work;

/// A place with a state directory, logs and a tree.
#[derive(Debug, Default)]
pub struct Mirror {
    work: Work,
}

impl Mirror {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Something in the place.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// The mirror's directory.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.work.join("tree")
    }

    /// `rsync-mirror sync URL TREE` with `words` behind.
    #[must_use]
    pub fn sync<S: AsRef<OsStr>>(&self, url: &str, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.command("sync", url);
        command.args(words);
        command
    }

    /// `rsync-mirror plan URL TREE` with `words` behind.
    #[must_use]
    pub fn plan<S: AsRef<OsStr>>(&self, url: &str, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.command("plan", url);
        command.args(words);
        command
    }

    fn command(&self, word: &str, url: &str) -> Command {
        let mut command = Command::new(crate::program::mirror());
        command.arg(word).arg(url).arg(self.tree());
        command.arg("--state-dir").arg(self.file("state")).arg("--pause=10ms");
        command
    }
}
