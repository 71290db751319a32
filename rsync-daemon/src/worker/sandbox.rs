//! What a worker gives up before it serves anybody (spec 10 §4).

use std::io;
use std::os::fd::AsFd;

use nix::libc;
use rsync_engine::{Enforced, Sandbox};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::CapabilitySet;

use super::syscalls;
use crate::identity::Identity;

/// What is left to a worker that stays root: reading, without access times, any attribute.
const READING: CapabilitySet = CapabilitySet::DAC_OVERRIDE
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::SYS_ADMIN);

/// The same for one whose sessions also write: any owner, mode and device.
const WRITING: CapabilitySet =
    READING.union(CapabilitySet::CHOWN).union(CapabilitySet::FSETID).union(CapabilitySet::MKNOD);

/// What the kernel enforces on those who serve clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protections {
    /// How far Landlock keeps them from every file that they are not to read.
    pub landlock: Enforced,
    /// System calls that serving does not need are refused.
    pub system_calls_are_filtered: bool,
}

impl std::fmt::Display for Protections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.landlock.describe())?;
        f.write_str(if self.system_calls_are_filtered {
            ", system calls are filtered"
        } else {
            ", the kernel does not filter system calls"
        })
    }
}

impl Protections {
    /// What a worker process would be protected by on this system; a thread tries it out.
    ///
    /// # Errors
    /// When the kernel has a protection and does not grant it.
    pub fn of_this_system() -> io::Result<Self> {
        let root = rsync_engine::Dir::open(std::path::Path::new("/"))?;
        let tried =
            std::thread::Builder::new().name("protections".into()).spawn(move || protect(root, false))?;
        tried.join().map_err(|_| io::Error::other("the kernel's protections cannot be tried out"))?
    }
}

/// Becomes `identity` for good and can then open nothing but what is beneath `root`, for reading unless
/// it also `writes`.
///
/// Called while the process has one thread. Answers what the kernel enforces.
///
/// # Errors
/// When the identity cannot be taken, or the kernel has a protection and does not grant it.
pub(super) fn enter(identity: &Identity, root: impl AsFd, writes: bool) -> io::Result<Protections> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    identity.take()?;
    let mut capabilities = rustix::thread::capabilities(None)?;
    let kept = if writes { WRITING } else { READING };
    capabilities.permitted &= kept;
    capabilities.effective &= kept;
    capabilities.inheritable = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, capabilities)?;
    protect(root, writes)
}

/// Gives up every file but those beneath `root`, and every system call but those that serve them.
fn protect(root: impl AsFd, writes: bool) -> io::Result<Protections> {
    let sandbox = if writes { Sandbox::new().write(root)? } else { Sandbox::new().read(root)? };
    let landlock = sandbox.enter()?;
    let filtered =
        if writes { syscalls::filter_deadly() } else { syscalls::filter(landlock != Enforced::Nothing) };
    let system_calls_are_filtered = match filtered {
        Ok(()) => true,
        Err(error) if is_unknown(&error) => false,
        Err(error) => return Err(io::Error::other(error)),
    };
    Ok(Protections { landlock, system_calls_are_filtered })
}

/// Whether there are no filters, or none for this processor.
fn is_unknown(error: &seccompiler::Error) -> bool {
    match error {
        seccompiler::Error::Backend(seccompiler::BackendError::InvalidTargetArch(_)) => true,
        seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => {
            matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS))
        }
        _ => false,
    }
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
        let identity = Identity::resolve(None, None, crate::identity::Own::of_thread()).expect("nobody");
        // Identity and sandbox are a thread's, until it starts others.
        let thread = std::thread::spawn(move || {
            let status = enter(&identity, Dir::open(&root).expect("root"), false).expect("entered");
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
        if status.landlock == Enforced::Fully {
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

    #[test]
    fn without_landlock_a_filter_of_calls_keeps_sessions_from_changing_anything() {
        let place = tempfile::tempdir().expect("a directory");
        let file = place.path().join("file");
        fs::write(&file, "x").expect("file");
        let path = place.path().to_owned();
        let thread = std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).expect("no new privileges");
            syscalls::filter(false).expect("a filter");
            assert_eq!(fs::read(&file).expect("read"), b"x");
            assert_eq!(fs::read_dir(&path).expect("listed").count(), 1);
            let dir = Dir::open(&path).expect("opened");
            assert!(dir.open_beneath(b".").is_ok(), "without openat2");
            std::thread::spawn(|| ()).join().expect("threads start");
            let calls: [(&str, io::Result<()>); 9] = [
                ("open", OpenOptions::new().write(true).open(&file).map(drop)),
                ("truncate", OpenOptions::new().read(true).append(true).open(&file).map(drop)),
                ("create", File::create(path.join("new")).map(drop)),
                ("mkdir", fs::create_dir(path.join("new"))),
                ("unlink", fs::remove_file(&file)),
                ("rename", fs::rename(&file, path.join("other"))),
                ("link", fs::hard_link(&file, path.join("other"))),
                ("chmod", fs::set_permissions(&file, fs::Permissions::from_mode(0o777))),
                ("socket", TcpListener::bind("127.0.0.1:0").map(drop)),
            ];
            let refused = |result: &io::Result<()>| {
                result.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EPERM))
            };
            calls.iter().filter(|(_, result)| !refused(result)).map(|(name, _)| *name).collect::<Vec<_>>()
        });
        assert_eq!(thread.join().expect("a thread"), [""; 0]);
    }

    #[test]
    fn protections_are_tried_out_by_a_thread_of_their_own() {
        let protections = Protections::of_this_system().expect("tried");
        assert!(protections.to_string().contains("Landlock"));
        assert!(File::create(tempfile::tempdir().expect("a directory").path().join("x")).is_ok());
    }
}
