//! The user and the groups that a session reads files as (spec 09 §9).
//!
//! They belong to a thread: on Linux each has its own, and the threads it starts inherit them. A worker
//! process takes its identity before it starts any.

use std::ffi::CString;
use std::io;

use bstr::{BString, ByteSlice};
use nix::unistd::{Group, User, getgrouplist};
use rsync_proto::session::Refusal;
use rustix::process::{Gid, Uid};

use crate::auth::names;
use crate::packed::packed_struct;

/// Ids to take; `None` keeps those of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    uid: Option<u32>,
    /// The first is the primary group.
    gids: Vec<u32>,
}

packed_struct!(Identity { uid, gids });

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let uid = self.uid.unwrap_or_else(|| rustix::process::geteuid().as_raw());
        let gid = self.gids.first().copied().unwrap_or_else(|| rustix::process::getegid().as_raw());
        write!(f, "uid {uid}, gid {gid}")
    }
}

/// The identity that there is to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Own {
    /// That of this thread.
    pub(crate) fn of_thread() -> Self {
        Self { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
    }

    /// Whether it may become another.
    pub(crate) fn is_root(self) -> bool {
        self.uid == 0
    }
}

/// An identity that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rsync: [Receiver] {what} failed: Operation not permitted (1)")]
pub(crate) struct IdentityError {
    /// The system call, as its client is told.
    pub(crate) call: &'static str,
    what: String,
}

impl Identity {
    /// Resolves the parameters `uid` and `gid`; root's defaults are nobody and nogroup.
    pub(crate) fn resolve(uid: Option<&BString>, gid: Option<&BString>, own: Own) -> Result<Self, Refusal> {
        let user = match uid {
            Some(name) => Some(name.clone()),
            None => own.is_root().then(|| "nobody".into()),
        };
        let uid = user.as_ref().map(user_id).transpose()?;
        let gids = match gid {
            Some(list) => group_ids(list, uid.unwrap_or(own.uid))?,
            None if own.is_root() => vec![group_id(b"nogroup").or_else(|_| group_id(b"nobody"))?],
            None => Vec::new(),
        };
        Ok(Self { uid, gids })
    }

    /// The same, complete; `own` must be allowed to take it.
    ///
    /// # Errors
    /// [`IdentityError`] where it is not root's, and another, or asks for groups: only root sets those.
    pub(crate) fn of(self, own: Own) -> Result<Self, IdentityError> {
        let Self { uid, gids } = self;
        if !own.is_root() {
            let refused = |call, what| Err(IdentityError { call, what });
            match gids.first() {
                Some(&gid) if gid != own.gid => return refused("setgid", format!("setgid {gid}")),
                Some(_) => return refused("setgroups", "setgroups".into()),
                None => {}
            }
            if let Some(uid) = uid.filter(|&uid| uid != own.uid) {
                return refused("setuid", format!("setuid {uid}"));
            }
        }
        let gids = if gids.is_empty() { vec![own.gid] } else { gids };
        Ok(Self { uid: uid.or(Some(own.uid)), gids })
    }

    /// Makes this thread, and those it starts from now on, act as this identity for good.
    pub(crate) fn take(&self) -> io::Result<()> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        if let Some(&primary) = self.gids.first() {
            let gid = Gid::from_raw(primary);
            let groups: Vec<Gid> = self.gids.iter().map(|&gid| Gid::from_raw(gid)).collect();
            rustix::thread::set_thread_groups(&groups)?;
            rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        }
        if let Some(uid) = self.uid {
            let uid = Uid::from_raw(uid);
            rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        }
        Ok(())
    }
}

fn user_id(name: &BString) -> Result<u32, Refusal> {
    user_number(name).ok_or_else(|| Refusal::InvalidUid(name.clone()))
}

fn group_id(name: &[u8]) -> Result<u32, Refusal> {
    group_number(name).ok_or_else(|| Refusal::InvalidGid(name.into()))
}

/// The id of a user's name, or of an id.
pub(crate) fn user_number(name: &[u8]) -> Option<u32> {
    let found = || Some(User::from_name(name.to_str().ok()?).ok()??.uid.as_raw());
    number(name).or_else(found)
}

/// The id of a group's name, or of an id.
pub(crate) fn group_number(name: &[u8]) -> Option<u32> {
    let found = || Some(Group::from_name(name.to_str().ok()?).ok()??.gid.as_raw());
    number(name).or_else(found)
}

/// The groups of a list; `*` in front stands for all groups of the user.
fn group_ids(list: &[u8], uid: u32) -> Result<Vec<u32>, Refusal> {
    let mut gids = Vec::new();
    for (position, name) in names(list).into_iter().enumerate() {
        if name == b"*" && position == 0 {
            gids.extend(groups_of(uid).ok_or_else(|| Refusal::InvalidGid(name.into()))?);
        } else {
            gids.push(group_id(name)?);
        }
    }
    if gids.is_empty() { Err(Refusal::InvalidGidSetting) } else { Ok(gids) }
}

fn groups_of(uid: u32) -> Option<Vec<u32>> {
    let user = User::from_uid(uid.into()).ok()??;
    let name = CString::new(user.name).ok()?;
    let mut gids = vec![user.gid.as_raw()];
    for gid in getgrouplist(&name, user.gid).ok()? {
        if !gids.contains(&gid.as_raw()) {
            gids.push(gid.as_raw());
        }
    }
    Some(gids)
}

fn number(name: &[u8]) -> Option<u32> {
    name.iter().all(u8::is_ascii_digit).then(|| name.to_str().ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Own = Own { uid: 0, gid: 0 };

    #[test]
    fn only_root_becomes_somebody_else() {
        let nobody = Own { uid: 65_534, gid: 65_534 };
        let taken = |uid: Option<u32>, gids: &[u32], own| {
            Identity { uid, gids: gids.into() }.of(own).map_err(|error| error.to_string())
        };
        let complete = |uid, gid| Ok(Identity { uid: Some(uid), gids: vec![gid] });
        assert_eq!(taken(Some(1), &[2], ROOT), complete(1, 2));
        assert_eq!(taken(None, &[], nobody), complete(65_534, 65_534));
        assert_eq!(taken(Some(65_534), &[], nobody), complete(65_534, 65_534));
        for (uid, gids, call) in
            [(Some(1), &[][..], "setuid 1"), (Some(1), &[1], "setgid 1"), (None, &[65_534], "setgroups")]
        {
            let text = format!("rsync: [Receiver] {call} failed: Operation not permitted (1)");
            assert_eq!(taken(uid, gids, nobody), Err(text));
        }
    }

    #[test]
    fn unknown_names_are_refused() {
        let resolve = |uid: &str, gid: &str| {
            Identity::resolve(Some(&uid.into()), Some(&gid.into()), ROOT)
                .map_err(|refusal| refusal.to_string())
        };
        assert_eq!(resolve("no such user", "0"), Err("invalid uid no such user".into()));
        assert_eq!(resolve("0", "no such,0"), Err("invalid gid no".into()));
        assert_eq!(resolve("0", ","), Err("invalid gid setting.".into()));
    }

    #[test]
    fn a_thread_takes_an_identity_of_its_own() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let identity = Identity { uid: Some(65_534), gids: vec![65_534] };
        let place = tempfile::tempdir().expect("a directory");
        let secret = place.path().join("secret");
        std::fs::write(&secret, b"x").expect("write");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&secret, mode).expect("mode");
        let path = secret.clone();
        let read = std::thread::spawn(move || {
            identity.take().expect("identity");
            std::thread::spawn(move || std::fs::read(path).is_ok()).join().expect("inner")
        });
        assert!(!read.join().expect("thread"), "a thread of nobody's thread is nobody");
        assert!(std::fs::read(&secret).is_ok(), "others keep theirs");
    }
}
