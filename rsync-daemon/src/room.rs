//! Where, and as whom, connections touch files and run commands: of `daemon chroot`, `daemon uid` and
//! `daemon gid` (spec 09 §3, §4.1).
//!
//! The process that listens keeps its rights, because it reads the configuration, certificates and keys
//! anew and starts workers of other identities. What it does for a connection happens in a thread that
//! has given them up for good; so do the threads and processes that this one starts.

use std::io;
use std::sync::mpsc::{Sender, channel};

use bstr::BString;
use nix::sched::{CloneFlags, unshare};
use rsync_proto::text::describe_errno;
use rustix::process::{Gid, Uid, chroot};
use tokio::sync::oneshot;

use crate::config::{GlobalSettings, expand};
use crate::files::to_path;
use crate::identity::{Own, group_number, user_number};
use crate::visit::environment;

type Job = Box<dyn FnOnce() + Send>;

/// What the parameters of the whole daemon say about rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RoomPlan {
    chroot: Option<BString>,
    uid: Option<BString>,
    gid: Option<BString>,
}

impl RoomPlan {
    pub(crate) fn new(globals: &GlobalSettings) -> Self {
        let expanded = |text: &Option<BString>| {
            let text = text.as_ref()?;
            // What grows too long names nothing, which is found out when the room is entered.
            Some(expand(text, &environment).unwrap_or_else(|_| text.clone()))
        };
        Self {
            chroot: expanded(&globals.daemon_chroot),
            uid: expanded(&globals.daemon_uid),
            gid: expanded(&globals.daemon_gid),
        }
    }

    fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a room cannot be entered; the texts are lines for the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoomError {
    #[error("Invalid daemon uid: {0}")]
    User(BString),
    #[error("Invalid daemon gid: {0}")]
    Group(BString),
    #[error("rsync: [Receiver] {what} failed: {}", describe_errno(source.raw_os_error().unwrap_or_default()))]
    Chroot { what: String, source: io::Error },
    #[error("rsync: [Receiver] {what}: {}", describe_errno(source.raw_os_error().unwrap_or_default()))]
    Identity { what: String, source: io::Error },
    #[error("no thread for connections can be started: {0}")]
    Thread(#[from] io::Error),
}

impl RoomError {
    /// The parameter that is to blame.
    pub(crate) fn parameter(&self) -> &'static str {
        match self {
            Self::User(_) => "daemon uid",
            Self::Group(_) => "daemon gid",
            Self::Identity { what, .. } if what.contains("gid") => "daemon gid",
            Self::Identity { .. } => "daemon uid",
            Self::Chroot { .. } | Self::Thread(_) => "daemon chroot",
        }
    }
}

/// A place to do something for a connection.
pub(crate) struct Room {
    plan: RoomPlan,
    own: Own,
    /// The thread that has given up what the plan says; `None` where there is nothing to give up.
    jobs: Option<Sender<Job>>,
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Room").field(&self.plan).finish()
    }
}

impl Room {
    /// Where, and who, the daemon is.
    pub(crate) fn premises() -> Self {
        Self { plan: RoomPlan::default(), own: Own::of_thread(), jobs: None }
    }

    /// Enters the room that `plan` describes. It may block.
    pub(crate) fn enter(plan: &RoomPlan) -> Result<Self, RoomError> {
        if plan.is_plain() {
            return Ok(Self::premises());
        }
        // Names are looked up where the daemon is: a chroot need not have a list of users.
        let group = |name: &BString| group_number(name).ok_or_else(|| RoomError::Group(name.clone()));
        let user = |name: &BString| user_number(name).ok_or_else(|| RoomError::User(name.clone()));
        let gid = plan.gid.as_ref().map(group).transpose()?;
        let uid = plan.uid.as_ref().map(user).transpose()?;
        let root = plan.chroot.clone();
        let (jobs, orders) = channel::<Job>();
        let (entered, own) = channel();
        std::thread::Builder::new().name("room".into()).spawn(move || {
            let result = give_up(root.as_ref(), uid, gid);
            let is_there = result.is_ok();
            // Whoever enters waits for the answer.
            let _ = entered.send(result);
            if !is_there {
                return;
            }
            for job in orders {
                // They inherit what this thread is. One that cannot start drops its job, which is noticed.
                let _ = std::thread::Builder::new().name("visit".into()).spawn(job);
            }
        })?;
        let own = own.recv().map_err(|_| io::Error::other("it ended"))??;
        Ok(Self { plan: plan.clone(), own, jobs: Some(jobs) })
    }

    /// Whether it is the room of `plan`.
    pub(crate) fn is_of(&self, plan: &RoomPlan) -> bool {
        self.plan == *plan
    }

    /// Who is in it.
    pub(crate) fn own(&self) -> Own {
        self.own
    }

    /// Whether it is where, and who, the daemon is.
    pub(crate) fn is_plain(&self) -> bool {
        self.plan.is_plain()
    }

    /// Does something that may block, in the room.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let Some(jobs) = &self.jobs else {
            return tokio::task::spawn_blocking(task).await.map_err(io::Error::other);
        };
        let (done, result) = oneshot::channel();
        let job = move || {
            // Whoever asked may be gone.
            let _ = done.send(task());
        };
        let lost = || io::Error::other("no thread could be started");
        jobs.send(Box::new(job)).map_err(|_| lost())?;
        result.await.map_err(|_| lost())
    }

    /// The same for those who may wait.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn block<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let Some(jobs) = &self.jobs else { return Ok(task()) };
        let (done, result) = channel();
        let job = move || {
            // Whoever asked waits.
            let _ = done.send(task());
        };
        let lost = || io::Error::other("no thread could be started");
        jobs.send(Box::new(job)).map_err(|_| lost())?;
        result.recv().map_err(|_| lost())
    }

    /// Starts a process in the room.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) async fn spawn(
        &self,
        mut command: tokio::process::Command,
    ) -> io::Result<tokio::process::Child> {
        if self.jobs.is_none() {
            return command.spawn();
        }
        let runtime = tokio::runtime::Handle::current();
        self.run(move || {
            let _runtime = runtime.enter();
            command.spawn()
        })
        .await?
    }
}

/// Makes this thread, and whatever it starts, live in a room.
fn give_up(root: Option<&BString>, uid: Option<u32>, gid: Option<u32>) -> Result<Own, RoomError> {
    if let Some(root) = root {
        // Threads share their root and directory otherwise.
        unshare(CloneFlags::CLONE_FS).map_err(io::Error::from)?;
        let failed =
            |what: String| move |error: rustix::io::Errno| RoomError::Chroot { what, source: error.into() };
        let path = to_path(root);
        chroot(&path).map_err(failed(format!("daemon chroot(\"{root}\")")))?;
        rustix::process::chdir("/").map_err(failed("daemon chdir(\"/\")".into()))?;
    }
    let failed =
        |what: String| move |error: rustix::io::Errno| RoomError::Identity { what, source: error.into() };
    if let Some(gid) = gid {
        let id = Gid::from_raw(gid);
        let what = format!("Unable to set group to daemon gid {gid}");
        rustix::thread::set_thread_res_gid(id, id, id).map_err(failed(what))?;
    }
    if let Some(uid) = uid {
        if rustix::process::geteuid().is_root() {
            // The groups of root are not for others.
            let groups = [rustix::process::getegid()];
            rustix::thread::set_thread_groups(&groups)
                .map_err(failed("Unable to leave the groups of root".into()))?;
        }
        let id = Uid::from_raw(uid);
        let what = format!("Unable to set user to daemon uid {uid}");
        rustix::thread::set_thread_res_uid(id, id, id).map_err(failed(what))?;
    }
    Ok(Own::of_thread())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_happens_in_a_room_has_its_root_and_identity() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let place = tempfile::tempdir().expect("a directory");
        std::fs::write(place.path().join("here"), "x").expect("a file");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(place.path(), mode).expect("a mode");
        let root = BString::from(place.path().to_str().expect("text"));
        let plan = RoomPlan { chroot: Some(root), uid: Some("65534".into()), gid: Some("65533".into()) };
        let room = Room::enter(&plan).expect("entered");
        let look = || {
            let own = (Own::of_thread(), std::path::Path::new("/here").exists());
            (own, std::fs::read_dir("/").is_ok())
        };
        let ((own, sees_file), lists) = room.run(look).await.expect("done");
        assert_eq!((own, sees_file, lists), (Own { uid: 65_534, gid: 65_533 }, true, false));
        assert!(!std::path::Path::new("/here").exists() && rustix::process::geteuid().is_root());
    }

    #[test]
    fn a_room_that_cannot_be_entered_says_why() {
        let plan = |uid: &str, gid: &str| RoomPlan {
            uid: Some(uid.into()),
            gid: Some(gid.into()),
            ..RoomPlan::default()
        };
        let error = |plan: &RoomPlan| Room::enter(plan).expect_err("no room").to_string();
        assert_eq!(error(&plan("no such user", "0")), "Invalid daemon uid: no such user");
        assert_eq!(error(&plan("0", "a,b")), "Invalid daemon gid: a,b");
        if rustix::process::geteuid().is_root() {
            let plan = RoomPlan { chroot: Some("/nonexistent".into()), ..RoomPlan::default() };
            assert_eq!(
                error(&plan),
                "rsync: [Receiver] daemon chroot(\"/nonexistent\") failed: No such file or directory (2)"
            );
        }
    }
}
