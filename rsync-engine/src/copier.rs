//! `--copy-as`: the user and the groups that a copy is made as (spec 04 §1.4).

use std::ffi::CString;
use std::io;

use bstr::{BStr, BString, ByteSlice};
use nix::unistd::{Group, User, getgrouplist};
use rustix::process::{Gid, Uid};

/// Whom `--copy-as=USER[:GROUP]` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copier {
    uid: u32,
    /// The first is the primary group.
    gids: Vec<u32>,
}

/// Why a copy cannot be made as somebody; all end with exit code 1.
#[derive(Debug, thiserror::Error)]
pub enum CopierError {
    /// There is no such user.
    #[error("Invalid copy-as user: {0}")]
    User(BString),
    /// There is no such group.
    #[error("Invalid copy-as group: {0}")]
    Group(BString),
    /// The system refuses.
    #[error("{call} failed: {}", crate::error::reason(.source))]
    Refused {
        /// The call that was refused.
        call: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Copier {
    /// Looks up `USER` or `USER:GROUP`, names or numbers. Without a group it is all groups of the user,
    /// who must be known then.
    ///
    /// # Errors
    /// [`CopierError`] for somebody unknown.
    pub fn find(text: &[u8]) -> Result<Self, CopierError> {
        let (user, group) = match text.split_once_str(":") {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let uid = number(user).or_else(|| Some(named_user(user)?.uid.as_raw()));
        let uid = uid.ok_or_else(|| CopierError::User(user.into()))?;
        let gids = match group {
            Some(group) => {
                let named = || Some(Group::from_name(group.to_str().ok()?).ok()??.gid.as_raw());
                vec![number(group).or_else(named).ok_or_else(|| CopierError::Group(group.into()))?]
            }
            None => groups_of(uid)?,
        };
        Ok(Self { uid, gids })
    }

    /// Makes this thread, and every one it starts from now on, act as this user for good. Other threads
    /// of the process keep what they are: on Linux an identity belongs to a thread.
    ///
    /// # Errors
    /// [`CopierError::Refused`], for anybody but root.
    pub fn take(&self) -> Result<(), CopierError> {
        let refused =
            |call| move |errno: rustix::io::Errno| CopierError::Refused { call, source: errno.into() };
        let groups: Vec<Gid> = self.gids.iter().map(|&gid| Gid::from_raw(gid)).collect();
        let [primary, ..] = groups[..] else { return Err(CopierError::Group(BString::default())) };
        rustix::thread::set_thread_res_gid(primary, primary, primary).map_err(refused("setgid"))?;
        rustix::thread::set_thread_groups(&groups).map_err(refused("setgroups"))?;
        let uid = Uid::from_raw(self.uid);
        rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(refused("setuid"))
    }
}

fn number(text: &[u8]) -> Option<u32> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| BStr::new(text).to_str().ok()?.parse().ok())?
}

fn named_user(name: &[u8]) -> Option<User> {
    User::from_name(name.to_str().ok()?).ok()?
}

/// The primary group of a user and all others.
fn groups_of(uid: u32) -> Result<Vec<u32>, CopierError> {
    let unknown = |source| CopierError::Refused { call: "getpwuid", source };
    let user = User::from_uid(uid.into()).map_err(|errno| unknown(errno.into()))?;
    let user = user.ok_or_else(|| unknown(io::Error::from_raw_os_error(0)))?;
    let name = CString::new(user.name).map_err(|error| unknown(error.into()))?;
    let mut gids = vec![user.gid.as_raw()];
    let others = getgrouplist(&name, user.gid).map_err(|errno| unknown(errno.into()))?;
    gids.extend(others.into_iter().map(nix::unistd::Gid::as_raw).filter(|&gid| gid != user.gid.as_raw()));
    Ok(gids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_names_or_numbers() {
        let find = |text: &str| Copier::find(text.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(find("root:0"), Ok(Copier { uid: 0, gids: vec![0] }));
        assert_eq!(find("0:12345"), Ok(Copier { uid: 0, gids: vec![12345] }));
        assert_eq!(find("root").map(|copier| (copier.uid, copier.gids[0])), Ok((0, 0)));
        assert_eq!(find("no such"), Err("Invalid copy-as user: no such".into()));
        assert_eq!(find(""), Err("Invalid copy-as user: ".into()));
        assert_eq!(find("root:"), Err("Invalid copy-as group: ".into()));
        assert_eq!(find("root:no such"), Err("Invalid copy-as group: no such".into()));
        assert!(find("4000000000").is_err_and(|text| text.starts_with("getpwuid failed")));
    }

    #[test]
    fn a_thread_becomes_the_copier_and_others_do_not() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let copier = Copier { uid: 65_534, gids: vec![65_533] };
        let ids = || (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let inner = std::thread::spawn(move || {
            copier.take().expect("root may");
            assert!(Copier { uid: 0, gids: vec![0] }.take().is_err(), "there is no way back");
            std::thread::spawn(ids).join().expect("thread")
        });
        assert_eq!(inner.join().expect("thread"), (65_534, 65_533));
        assert_eq!(ids().0, 0);
    }
}
