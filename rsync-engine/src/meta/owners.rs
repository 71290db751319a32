//! The names of this system's users and groups, for file lists that are sent (spec 03 §6).

use std::collections::HashMap;

use nix::unistd::{Gid, Group, Uid, User};
use rsync_proto::flist::OwnerNames;

/// Looks names up in the system's databases, each id once.
#[derive(Debug, Default)]
pub struct SystemOwners {
    users: HashMap<u32, Option<Vec<u8>>>,
    groups: HashMap<u32, Option<Vec<u8>>>,
}

impl OwnerNames for SystemOwners {
    fn user(&mut self, uid: u32) -> Option<Vec<u8>> {
        let find = || User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name.into_bytes());
        self.users.entry(uid).or_insert_with(find).clone()
    }

    fn group(&mut self, gid: u32) -> Option<Vec<u8>> {
        let find = || Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name.into_bytes());
        self.groups.entry(gid).or_insert_with(find).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_names() {
        let mut owners = SystemOwners::default();
        assert_eq!(owners.user(0), Some(b"root".to_vec()));
        assert_eq!(owners.group(0), owners.group(0));
    }
}
