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

impl Identity {
    /// Resolves the parameters `uid` and `gid`; root's defaults are nobody and nogroup.
    pub(crate) fn resolve(uid: Option<&BString>, gid: Option<&BString>) -> Result<Self, Refusal> {
        let is_root = rustix::process::geteuid().is_root();
        let user = match uid {
            Some(name) => Some(name.clone()),
            None => is_root.then(|| "nobody".into()),
        };
        let uid = user.as_ref().map(|name| user_id(name)).transpose()?;
        let gids = match gid {
            Some(list) => group_ids(list, uid)?,
            None if is_root => vec![group_id(b"nogroup").or_else(|_| group_id(b"nobody"))?],
            None => Vec::new(),
        };
        let identity = Self { uid, gids };
        if !is_root {
            identity.check_own()?;
        }
        Ok(identity)
    }

    /// Without root, only the identity that we have can be taken.
    fn check_own(&self) -> Result<(), Refusal> {
        if self.gids.first().is_some_and(|&gid| gid != rustix::process::getegid().as_raw()) {
            return Err(Refusal::Identity("setgid"));
        }
        if self.uid.is_some_and(|uid| uid != rustix::process::geteuid().as_raw()) {
            return Err(Refusal::Identity("setuid"));
        }
        Ok(())
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

fn user_id(name: &[u8]) -> Result<u32, Refusal> {
    let invalid = || Refusal::InvalidUid(name.into());
    if let Some(id) = number(name) {
        return Ok(id);
    }
    let found = name.to_str().ok().and_then(|name| User::from_name(name).ok().flatten());
    found.map(|user| user.uid.as_raw()).ok_or_else(invalid)
}

fn group_id(name: &[u8]) -> Result<u32, Refusal> {
    let invalid = || Refusal::InvalidGid(name.into());
    if let Some(id) = number(name) {
        return Ok(id);
    }
    let found = name.to_str().ok().and_then(|name| Group::from_name(name).ok().flatten());
    found.map(|group| group.gid.as_raw()).ok_or_else(invalid)
}

/// The groups of a list; `*` in front stands for all groups of the user.
fn group_ids(list: &[u8], uid: Option<u32>) -> Result<Vec<u32>, Refusal> {
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

fn groups_of(uid: Option<u32>) -> Option<Vec<u32>> {
    let uid = uid.unwrap_or_else(|| rustix::process::geteuid().as_raw());
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

    #[test]
    fn unknown_names_are_refused() {
        let resolve = |uid: &str, gid: &str| {
            Identity::resolve(Some(&uid.into()), Some(&gid.into())).map_err(|refusal| refusal.to_string())
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
