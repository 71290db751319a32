//! Which programs the tests run.

use std::path::{Path, PathBuf};

/// One of the two implementations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The C rsync.
    C,
    /// The one under test.
    Ours,
}

impl Side {
    /// The program that acts as client and as remote shell server.
    #[must_use]
    pub fn rsync(self) -> PathBuf {
        match self {
            Self::C => PathBuf::from("/usr/bin/rsync"),
            Self::Ours => under_test("rsync", "E2E_RSYNC"),
        }
    }

    /// The daemon program with the words that make it one.
    #[must_use]
    pub fn daemon(self) -> Vec<PathBuf> {
        match self {
            Self::C => vec![PathBuf::from("/usr/bin/rsync"), PathBuf::from("--daemon")],
            Self::Ours => match std::env::var_os("E2E_RSYNCD") {
                Some(words) => words.to_str().unwrap().split(' ').map(PathBuf::from).collect(),
                None => vec![under_test("rsyncd", "E2E_RSYNCD")],
            },
        }
    }
}

/// The program that keeps mirrors.
#[must_use]
pub fn mirror() -> PathBuf {
    under_test("rsync-mirror", "E2E_RSYNC_MIRROR")
}

/// A helper program of this package.
#[must_use]
pub fn helper(name: &str) -> PathBuf {
    let path = build_directory().join(name);
    assert!(path.exists(), "{} is missing: cargo build -p rsync-e2e --bins", path.display());
    path
}

/// Whether the tests run as root; devices, owners and mounts need it.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Fails unless the tests run as root. The file `tests/need-root` names the tests that call it, so that those
/// who run the tests as somebody else leave them out by name, and none passes without having looked.
///
/// # Panics
/// Then.
#[track_caller]
pub fn require_root() {
    assert!(is_root(), "only root can see this: leave it out, as scripts/test-unprivileged does");
}

fn under_test(name: &str, variable: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return PathBuf::from(path);
    }
    let path = build_directory().join(name);
    assert!(path.exists(), "{} is missing: cargo build -p rsync-cli", path.display());
    path
}

/// `target/PROFILE`, from the test executable in `target/PROFILE/deps`.
fn build_directory() -> PathBuf {
    let executable = std::env::current_exe().unwrap();
    let directory = executable.parent().unwrap();
    if directory.ends_with("deps") {
        directory.parent().unwrap_or(Path::new("/")).to_owned()
    } else {
        directory.to_owned()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tests_that_need_root_are_there() {
        let package = concat!(env!("CARGO_MANIFEST_DIR"), "/");
        let files = std::fs::read_dir(format!("{package}tests")).unwrap();
        let texts: Vec<String> =
            files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
        let list = std::fs::read_to_string(format!("{package}need-root")).unwrap();
        for name in list.lines().filter(|line| !line.starts_with('#')) {
            let function = format!("fn {name}() {{");
            assert!(texts.iter().any(|text| text.contains(&function)), "no test is called {name}");
        }
    }
}
