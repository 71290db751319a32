//! What a process gives up before it serves somebody it does not trust: by Landlock every file but those
//! beneath given directories, and all of the network (spec 10 §4).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

/// The newest rights of Landlock that are given up where the kernel knows them.
const NEWEST: ABI = ABI::V6;

/// What the calling thread, and all it will start, can still open. It is for good once it is entered.
///
/// Descriptors that are open already stay as they are.
#[derive(Debug, Default)]
#[must_use = "nothing is given up before `enter`"]
pub struct Sandbox {
    beneath: Vec<(OwnedFd, BitFlags<AccessFs>)>,
}

/// What the kernel enforces of a [`Sandbox`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforced {
    /// All of it.
    Fully,
    /// What this kernel knows.
    Partly,
    /// Nothing: the kernel has no Landlock.
    Nothing,
}

impl Sandbox {
    /// Nothing can be opened.
    pub fn new() -> Self {
        Self::default()
    }

    /// Files at or beneath `place`, an open directory or file, can be read.
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated.
    pub fn read(self, place: impl AsFd) -> io::Result<Self> {
        self.add(place, AccessFs::ReadFile | AccessFs::ReadDir)
    }

    /// Files beneath `place`, an open directory, can be read, made, changed and removed, but not executed.
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated.
    pub fn write(self, place: impl AsFd) -> io::Result<Self> {
        self.add(place, AccessFs::from_all(NEWEST) & !AccessFs::Execute)
    }

    fn add(mut self, place: impl AsFd, rights: BitFlags<AccessFs>) -> io::Result<Self> {
        self.beneath.push((place.as_fd().try_clone_to_owned()?, rights));
        Ok(self)
    }

    /// Gives everything else up, and new privileges of executed files with it.
    ///
    /// # Errors
    /// When the kernel has Landlock but does not enforce it.
    pub fn enter(self) -> io::Result<Enforced> {
        rustix::thread::set_no_new_privs(true)?;
        Ok(match self.restrict().map_err(io::Error::other)? {
            RulesetStatus::FullyEnforced => Enforced::Fully,
            RulesetStatus::PartiallyEnforced => Enforced::Partly,
            RulesetStatus::NotEnforced => Enforced::Nothing,
        })
    }

    fn restrict(self) -> Result<RulesetStatus, RulesetError> {
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::from_all(NEWEST))?
            .create()?;
        for (place, rights) in &self.beneath {
            rules = rules.add_rule(PathBeneath::new(place, *rights))?;
        }
        Ok(rules.restrict_self()?.ruleset)
    }
}

impl Enforced {
    /// A sentence for a log.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Fully => "Landlock is in force",
            Self::Partly => "Landlock is in force as far as the kernel has it",
            Self::Nothing => "the kernel has no Landlock",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::net::TcpListener;
    use std::path::Path;

    /// Whether a file can be read, changed and made in a directory.
    fn rights(dir: &Path) -> (bool, bool, bool) {
        let file = dir.join("file");
        let changed = File::options().append(true).open(&file).is_ok();
        (File::open(&file).is_ok(), changed, File::create_new(dir.join("new")).is_ok())
    }

    #[test]
    fn only_what_lies_beneath_is_left() {
        let place = tempfile::tempdir().expect("a directory");
        let dirs = ["read", "written", "outside"].map(|name| place.path().join(name));
        for dir in &dirs {
            fs::create_dir(dir).expect("a directory");
            fs::write(dir.join("file"), "x").expect("a file");
        }
        let [read, written, outside] = dirs;
        // The sandbox is a thread's, until it starts others.
        let found = std::thread::spawn(move || {
            let sandbox = Sandbox::new().read(File::open(&read).expect("open")).expect("read");
            let sandbox = sandbox.write(File::open(&written).expect("open")).expect("written");
            let enforced = sandbox.enter().expect("entered");
            let listens = TcpListener::bind("127.0.0.1:0").is_ok();
            (enforced, rights(&read), rights(&written), rights(&outside), listens)
        });
        let (enforced, read, written, outside, listens) = found.join().expect("a thread");
        assert_eq!(written, (true, true, true));
        if enforced == Enforced::Fully {
            assert_eq!((read, outside), ((true, false, false), (false, false, false)));
            assert!(!listens);
        }
    }
}
