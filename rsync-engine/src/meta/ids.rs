//! What the sender's owners and groups are here (spec 04 §1.2, §1.3).

use std::collections::HashMap;
use std::sync::Arc;

use nix::unistd::{Group, User};
use rsync_proto::flist::{IdMap, IdNames, Owner};
use rsync_proto::text::{Event, Message};

use super::Privilege;
use crate::{EngineError, Session};

/// Finds the ids of users and groups by their names.
pub trait OwnerIds: Send + Sync {
    /// The id of a user; `None` where there is none, and the sender's id counts.
    fn user(&self, name: &[u8]) -> Option<u32>;

    /// The id of a group.
    fn group(&self, name: &[u8]) -> Option<u32>;
}

/// Maps ids and names of the sender to local ids.
pub(crate) struct LocalIds {
    privilege: Privilege,
    /// The sender's names do not count.
    numeric: bool,
    users: IdMap,
    groups: IdMap,
    known_users: HashMap<Vec<u8>, Option<u32>>,
    known_groups: HashMap<Vec<u8>, Option<u32>>,
    find: Arc<dyn OwnerIds>,
}

impl LocalIds {
    /// Reads the maps of `--usermap`, `--groupmap` and `--chown`.
    pub(crate) fn new(session: &Session, privilege: Privilege) -> Result<Self, EngineError> {
        let options = &session.options;
        let find = session.owner_ids();
        let map = |text: &Option<bstr::BString>, owner| {
            let Some(text) = text else { return Ok(IdMap::default()) };
            let resolve = |name: &[u8]| match owner {
                Owner::User => find.user(name),
                Owner::Group => find.group(name),
            };
            let (map, unknown) = IdMap::parse(text, owner, resolve)?;
            let option = if owner == Owner::User { "usermap" } else { "groupmap" };
            for name in unknown {
                session.events.emit(Event::Message(Message::UnknownMapName(option, &name)));
            }
            Ok::<_, EngineError>(map)
        };
        Ok(Self {
            privilege,
            numeric: options.numeric_ids || session.module.as_ref().is_some_and(|module| module.numeric_ids),
            users: map(&options.usermap, Owner::User)?,
            groups: map(&options.groupmap, Owner::Group)?,
            known_users: HashMap::new(),
            known_groups: HashMap::new(),
            find,
        })
    }

    /// What the sender calls an owner; empty for nothing, or nothing that counts.
    fn name<'a>(&self, names: &'a IdNames, owner: Owner, id: u32) -> &'a [u8] {
        match names.get(owner, id).unwrap_or_default() {
            _ if self.numeric => b"",
            // Old senders do not say what everybody knows.
            b"" if id == 0 => b"root",
            name => name,
        }
    }

    /// The local owner and group of an entry, and whether the group cannot be set.
    pub(crate) fn map(&mut self, names: &IdNames, uid: u32, gid: u32) -> (u32, u32, bool) {
        let (user, group) = (self.name(names, Owner::User, uid), self.name(names, Owner::Group, gid));
        let local_uid = self.users.target(uid, user).unwrap_or_else(|| {
            let named = uid != 0 && !user.is_empty();
            let cached =
                named.then(|| lookup(&mut self.known_users, user, |name| self.find.user(name))).flatten();
            cached.unwrap_or(uid)
        });
        let local_gid = self.groups.target(gid, group).unwrap_or_else(|| {
            let named = gid != 0 && !group.is_empty();
            let cached =
                named.then(|| lookup(&mut self.known_groups, group, |name| self.find.group(name))).flatten();
            cached.unwrap_or(gid)
        });
        (local_uid, local_gid, !self.privilege.may_set_group(local_gid))
    }
}

fn lookup(
    known: &mut HashMap<Vec<u8>, Option<u32>>,
    name: &[u8],
    find: impl Fn(&[u8]) -> Option<u32>,
) -> Option<u32> {
    if let Some(id) = known.get(name) {
        return *id;
    }
    let id = find(name);
    known.insert(name.to_vec(), id);
    id
}

/// The ids in the system's databases.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemIds;

impl OwnerIds for SystemIds {
    fn user(&self, name: &[u8]) -> Option<u32> {
        let name = std::str::from_utf8(name).ok()?;
        User::from_name(name).ok()?.map(|user| user.uid.as_raw())
    }

    fn group(&self, name: &[u8]) -> Option<u32> {
        let name = std::str::from_utf8(name).ok()?;
        Group::from_name(name).ok()?.map(|group| group.gid.as_raw())
    }
}

#[cfg(test)]
mod tests {
    use rsync_proto::options::TransferOptions;

    use super::*;

    /// Knows `joe` and `staff`.
    struct Few;

    impl OwnerIds for Few {
        fn user(&self, name: &[u8]) -> Option<u32> {
            (name == b"joe").then_some(7)
        }

        fn group(&self, name: &[u8]) -> Option<u32> {
            (name == b"staff").then_some(8)
        }
    }

    fn ids(numeric: bool) -> LocalIds {
        LocalIds {
            privilege: Privilege::of_process(&TransferOptions::default()),
            numeric,
            users: IdMap::default(),
            groups: IdMap::default(),
            known_users: HashMap::new(),
            known_groups: HashMap::new(),
            find: Arc::new(Few),
        }
    }

    fn owners(ids: &mut LocalIds, names: &IdNames, uid: u32, gid: u32) -> (u32, u32) {
        let (uid, gid, _) = ids.map(names, uid, gid);
        (uid, gid)
    }

    /// SEC-055.
    #[test]
    fn a_name_that_nobody_has_here_is_never_root() {
        let mut names = IdNames::default();
        for (id, name) in [(1000, &b"joe"[..]), (1001, b"nobody here"), (1002, b""), (1003, b"jo\ne")] {
            names.learn(Owner::User, id, name);
            names.learn(Owner::Group, id, name);
        }
        names.learn(Owner::Group, 50, b"staff");
        names.learn(Owner::User, 0, b"joe");
        let mut ids = ids(false);
        assert_eq!(owners(&mut ids, &names, 1000, 50), (7, 8));
        for id in [1001, 1002, 1003, 1004] {
            assert_eq!(owners(&mut ids, &names, id, id), (id, id));
        }
        assert_eq!(owners(&mut ids, &names, 0, 0), (0, 0), "root keeps its number whatever it is called");
    }

    #[test]
    fn numbers_count_where_names_are_not_wanted() {
        let mut names = IdNames::default();
        names.learn(Owner::User, 1000, b"joe");
        assert_eq!(owners(&mut ids(true), &names, 1000, 50), (1000, 50));
    }
}
