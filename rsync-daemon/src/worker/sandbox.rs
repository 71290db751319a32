//! What a worker gives up before it serves anybody (spec 10 §4).

use std::io;
use std::os::fd::AsFd;

use rsync_engine::Sandbox;
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::CapabilitySet;

use crate::identity::Identity;

/// What is left to a worker that stays root: reading, without access times, any attribute.
const READING: CapabilitySet = CapabilitySet::DAC_OVERRIDE
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::SYS_ADMIN);

/// Becomes `identity` for good and can then open nothing but what is beneath `root`, for reading.
///
/// Called while the process has one thread. Answers what the kernel enforces.
///
/// # Errors
/// When the identity cannot be taken, or the kernel has Landlock but does not enforce it.
pub(super) fn enter(identity: &Identity, root: impl AsFd) -> io::Result<String> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    identity.take()?;
    let mut capabilities = rustix::thread::capabilities(None)?;
    capabilities.permitted &= READING;
    capabilities.effective &= READING;
    capabilities.inheritable = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, capabilities)?;
    Ok(Sandbox::new().read(root)?.enter()?.describe().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsync_engine::Dir;
    use std::fs::{self, File, OpenOptions};
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt;

    /// What a thread can do after it gave everything else up.
    #[derive(Debug, PartialEq)]
    struct Rights {
        reads_inside: bool,
        lists_inside: bool,
        writes_inside: bool,
        reads_outside: bool,
        listens: bool,
        becomes_root: bool,
    }

    #[test]
    fn nothing_outside_of_the_module_can_be_opened_any_more() {
        let place = tempfile::tempdir().expect("a directory");
        let root = place.path().join("root");
        fs::create_dir(&root).expect("a directory");
        for (path, mode) in [(place.path(), 0o755), (&root, 0o777)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
        }
        let (inside, outside) = (root.join("inside"), place.path().join("outside"));
        for path in [&inside, &outside] {
            fs::write(path, "x").expect("file");
            fs::set_permissions(path, fs::Permissions::from_mode(0o666)).expect("mode");
        }
        let is_root = rustix::process::geteuid().is_root();
        let identity = Identity::resolve(None, None).expect("nobody");
        // Identity and sandbox are a thread's, until it starts others.
        let thread = std::thread::spawn(move || {
            let status = enter(&identity, Dir::open(&root).expect("root")).expect("entered");
            let rights = Rights {
                reads_inside: File::open(&inside).is_ok(),
                lists_inside: fs::read_dir(&root).is_ok(),
                writes_inside: OpenOptions::new().write(true).open(&inside).is_ok(),
                reads_outside: File::open(&outside).is_ok(),
                listens: TcpListener::bind("127.0.0.1:0").is_ok(),
                becomes_root: rustix::thread::set_thread_uid(rustix::process::Uid::ROOT).is_ok(),
            };
            (status, rights)
        });
        let (status, rights) = thread.join().expect("a thread");
        if status == "Landlock is in force" {
            let expected = Rights {
                reads_inside: true,
                lists_inside: true,
                writes_inside: false,
                reads_outside: false,
                listens: false,
                becomes_root: false,
            };
            assert_eq!(rights, expected);
        }
        assert!(rights.reads_inside && !(is_root && rights.becomes_root));
    }
}
