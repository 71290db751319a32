//! What this process may set, found out once per session (spec 04 §0 "PRIV").

use rsync_proto::meta::{Chmod, ChmodError};
use rsync_proto::options::{SuperUser, TransferOptions};

use crate::scan::ChangeMode;

/// The rights of this process.
#[derive(Clone, Debug)]
pub(crate) struct Privilege {
    /// Owners may be set and devices made: root, or `--super`.
    pub(crate) privileged: bool,
    /// The effective user is root.
    pub(crate) root: bool,
    /// Privileged attributes are only told, not set: `--fake-super`.
    pub(crate) fake: bool,
    /// The process's umask.
    pub(crate) umask: u32,
    groups: Vec<u32>,
}

impl Privilege {
    /// Asks the system.
    pub(crate) fn of_process(options: &TransferOptions) -> Self {
        let root = rustix::process::geteuid().is_root();
        let mut groups = vec![rustix::process::getegid().as_raw()];
        let others = rustix::process::getgroups().unwrap_or_default();
        groups.extend(others.into_iter().map(rustix::process::Gid::as_raw));
        let privileged = match options.super_user {
            SuperUser::Auto => root,
            SuperUser::Off => false,
            SuperUser::On | SuperUser::Fake => true,
        };
        let fake = options.super_user == SuperUser::Fake;
        Self { privileged, root, fake, umask: umask(), groups }
    }

    /// Whether files can be given to group `gid`.
    pub(crate) fn may_set_group(&self, gid: u32) -> bool {
        self.privileged || self.groups.contains(&gid)
    }
}

/// What `--chmod` makes of the modes that a client sends; `None` where nothing was given.
///
/// # Errors
/// A text that is no mode change.
pub fn mode_change(options: &TransferOptions) -> Result<Option<ChangeMode>, ChmodError> {
    let mut chmod = Chmod::default();
    options.chmod.iter().try_for_each(|text| chmod.append(text))?;
    let umask = umask();
    Ok((!chmod.is_empty()).then(|| Box::new(move |mode| chmod.apply(mode, umask)) as ChangeMode))
}

/// The umask, read without changing it.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|digits| u32::from_str_radix(digits.trim(), 8).ok()).unwrap_or(0o022)
}
