//! Snapshots of a tree by programs, for file systems that make them: btrfs, ZFS.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::shelf::Shelf;
use super::{Publisher, Staged};
use crate::MirrorError;
use crate::job::{Cancel, Program, ProgramCall, Snapshots, Spawn};

/// Publishes by a snapshot of the tree that runs change, and a link that is switched to it.
pub struct Snapshot<'a> {
    root: PathBuf,
    shelf: Shelf,
    settings: Snapshots,
    environment: BTreeMap<String, String>,
    spawn: &'a dyn Spawn,
    cancel: &'a Cancel,
}

impl<'a> Snapshot<'a> {
    /// Of the destination `root`, which is to hold `work`, `gen` and `current`.
    #[must_use]
    pub fn new(
        root: PathBuf,
        settings: Snapshots,
        environment: &BTreeMap<String, String>,
        spawn: &'a dyn Spawn,
        cancel: &'a Cancel,
    ) -> Self {
        let shelf = Shelf::new(root.clone());
        Self { root, shelf, settings, environment: environment.clone(), spawn, cancel }
    }

    fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// Its presence says that `work` was changed since the last snapshot.
    fn pending(&self) -> PathBuf {
        self.shelf.beside(".pending")
    }

    fn fill(&self, text: &str, number: u64) -> String {
        text.replace("{work}", &self.work().display().to_string())
            .replace("{snapshot}", &self.shelf.path(number).display().to_string())
            .replace("{number}", &number.to_string())
    }

    fn run(&self, program: &Program, number: u64) -> Result<(), MirrorError> {
        let words = program.words().iter().map(|word| self.fill(word, number));
        let Some(program) = Program::new(words) else { return Ok(()) };
        let call = ProgramCall {
            program: &program,
            environment: &self.environment,
            directory: None,
            output: None,
            timeout: None,
            cgroup: None,
        };
        let failed = |reason: String| MirrorError::Program {
            program: program.words().join(" "),
            reason,
            code: MirrorError::PUBLISH,
        };
        match self.spawn.run(call, self.cancel) {
            Ok(end) if end.is_ok() => Ok(()),
            Ok(end) => Err(failed(end.to_string())),
            Err(error) => Err(failed(format!("cannot be started: {error}"))),
        }
    }

    fn remove(&self, number: u64) -> Result<(), MirrorError> {
        let path = self.shelf.path(number);
        // A link whose snapshot never came about leads nowhere.
        if path.exists() {
            self.run(&self.settings.remove, number)?;
        }
        if self.settings.seen_at.is_some() {
            fs::remove_file(&path).map_err(MirrorError::file("remove", path))?;
        }
        Ok(())
    }
}

impl Publisher for Snapshot<'_> {
    fn stage(&self) -> Result<Staged, MirrorError> {
        self.shelf.prepare()?;
        let work = self.work();
        if !work.exists() {
            self.run(&self.settings.prepare, 0)?;
        }
        // What was not shown is perhaps not whole.
        let current = self.shelf.current().unwrap_or(0);
        let unseen = self.shelf.numbers()?.into_iter().filter(|&number| number > current);
        unseen.collect::<Vec<_>>().into_iter().try_for_each(|number| self.remove(number))?;
        Ok(Staged { seen: work.clone(), work, share: None, pending: self.pending().exists() })
    }

    fn begin(&self, _: &Staged) -> Result<(), MirrorError> {
        let path = self.pending();
        fs::write(&path, "").map_err(MirrorError::file("write", path))
    }

    fn commit(&self, _: &Staged, fence: Option<u64>) -> Result<Option<u64>, MirrorError> {
        let number =
            self.shelf.numbers()?.last().copied().unwrap_or(0).max(self.shelf.current().unwrap_or(0)) + 1;
        let path = self.shelf.path(number);
        let seen_at = self.settings.seen_at.as_ref().map(|text| PathBuf::from(self.fill(text, number)));
        if let Some(seen_at) = &seen_at {
            // The number is taken before the snapshot is, so that one that nobody sees is found again.
            symlink(seen_at, &path).map_err(MirrorError::file("make", &path))?;
        }
        self.run(&self.settings.create, number)?;
        check_dir(seen_at.as_ref().unwrap_or(&path))?;
        self.shelf.switch(number, fence)?;
        match fs::remove_file(self.pending()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(MirrorError::file("remove", self.pending())(error))
            }
            _ => Ok(Some(number)),
        }
    }

    fn rollback(&self, _: &Staged) -> Result<(), MirrorError> {
        Ok(())
    }

    fn gc(&self) -> Result<(), MirrorError> {
        let surplus = self.shelf.surplus(self.settings.keep.max(1))?;
        surplus.into_iter().try_for_each(|number| self.remove(number))
    }

    fn current(&self) -> Option<u64> {
        self.shelf.current()
    }
}

/// The program said that all went well; now it is looked at.
fn check_dir(path: &Path) -> Result<(), MirrorError> {
    match fs::metadata(path) {
        Ok(facts) if facts.is_dir() => Ok(()),
        Ok(_) => Err(MirrorError::file("publish", path)(io::ErrorKind::NotADirectory.into())),
        Err(error) => Err(MirrorError::file("publish", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Processes;

    fn copies() -> Snapshots {
        let program = |text| Program::parse(text).expect("a program");
        Snapshots {
            keep: 2,
            prepare: program("mkdir {work}"),
            create: program("cp -a {work} {snapshot}"),
            remove: program("rm -r {snapshot}"),
            seen_at: None,
        }
    }

    fn publish(root: &Path, settings: &Snapshots, content: &str) -> Result<Option<u64>, MirrorError> {
        let (environment, cancel) = (BTreeMap::new(), Cancel::default());
        let snapshot = Snapshot::new(root.to_owned(), settings.clone(), &environment, &Processes, &cancel);
        let staged = snapshot.stage()?;
        snapshot.begin(&staged)?;
        fs::write(staged.work.join("file"), content).expect("is written");
        let number = snapshot.commit(&staged, None)?;
        snapshot.gc()?;
        Ok(number)
    }

    #[test]
    fn snapshots_are_shown_one_after_the_other_and_old_ones_removed() {
        let place = tempfile::tempdir().expect("a place");
        for (number, content) in (1..).zip(["a", "b", "c"]) {
            assert_eq!(publish(place.path(), &copies(), content).expect("publishes"), Some(number));
            let seen = fs::read_to_string(place.path().join("current/file"));
            assert_eq!(seen.expect("is seen"), content);
        }
        assert!(!place.path().join("gen/1").exists() && place.path().join("gen/2").exists());
    }

    #[test]
    fn a_snapshot_that_fails_half_way_is_not_shown_and_goes() {
        let place = tempfile::tempdir().expect("a place");
        publish(place.path(), &copies(), "old").expect("publishes");
        let fails = Snapshots {
            create: Program::parse("sh -c 'mkdir {snapshot}; exit 3'").expect("a program"),
            ..copies()
        };
        let error = publish(place.path(), &fails, "new").expect_err("fails");
        assert_eq!((error.exit_code(), error.to_string().contains("exit code 3")), (74, true));
        assert_eq!(fs::read_to_string(place.path().join("current/file")).expect("is seen"), "old");
        let (environment, cancel) = (BTreeMap::new(), Cancel::default());
        let again = Snapshot::new(place.path().to_owned(), copies(), &environment, &Processes, &cancel);
        assert!(again.stage().expect("stages").pending, "what was brought is still to be shown");
        assert!(!place.path().join("gen/2").exists());
    }

    #[test]
    fn snapshots_that_are_seen_elsewhere_are_linked() {
        let place = tempfile::tempdir().expect("a place");
        let program = |text| Program::parse(text).expect("a program");
        let elsewhere = Snapshots {
            create: program("cp -a {work} {work}-{number}"),
            remove: program("rm -r {work}-{number}"),
            seen_at: Some("{work}-{number}".to_owned()),
            ..copies()
        };
        for content in ["a", "b", "c"] {
            publish(place.path(), &elsewhere, content).expect("publishes");
        }
        assert_eq!(fs::read_to_string(place.path().join("current/file")).expect("is seen"), "c");
        assert!(!place.path().join("work-1").exists() && place.path().join("work-2").exists());
    }
}
