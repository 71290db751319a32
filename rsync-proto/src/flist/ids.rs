//! Names of users and groups: inline at first use, or as lists after the entries (spec 03 §6, 04 §1).

use std::collections::{HashMap, HashSet};

use super::error::FileListError;
use crate::wire::{Cursor, put_varint30, varint30};

/// Longest name on the wire, in bytes; longer ones are cut.
const MAX_NAME: usize = 255;
/// Most ids accepted in one list; a limit of ours, the C rsync has none.
const MAX_IDS: usize = 1 << 20;

/// The sender's user and group database.
pub trait OwnerNames {
    /// Name of the user `uid`, if it has one.
    fn user(&mut self, uid: u32) -> Option<Vec<u8>>;
    /// Name of the group `gid`, if it has one.
    fn group(&mut self, gid: u32) -> Option<Vec<u8>>;
}

/// A database without names.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoNames;

impl OwnerNames for NoNames {
    fn user(&mut self, _: u32) -> Option<Vec<u8>> {
        None
    }

    fn group(&mut self, _: u32) -> Option<Vec<u8>> {
        None
    }
}

/// Which of the two kinds of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// User ids.
    User,
    /// Group ids.
    Group,
}

/// The ids a sender has used, shared by entries and ACLs.
pub(crate) struct UsedIds {
    source: Box<dyn OwnerNames + Send>,
    users: Used,
    groups: Used,
}

#[derive(Default)]
struct Used {
    seen: HashSet<u32>,
    /// In order of first use.
    named: Vec<(u32, Vec<u8>)>,
}

impl UsedIds {
    pub(crate) fn new(source: Box<dyn OwnerNames + Send>) -> Self {
        Self { source, users: Used::default(), groups: Used::default() }
    }

    /// Notes a use of `id`; answers its name if this is the first one and it has a name.
    pub(crate) fn first_use(&mut self, owner: Owner, id: u32) -> Option<&[u8]> {
        let used = match owner {
            Owner::User => &mut self.users,
            Owner::Group => &mut self.groups,
        };
        if !used.seen.insert(id) {
            return None;
        }
        let name = lookup(self.source.as_mut(), owner, id)?;
        used.named.push((id, name));
        used.named.last().map(|(_, name)| name.as_slice())
    }

    /// The name of the id whose first use was noted last.
    pub(super) fn last_name(&self, owner: Owner) -> &[u8] {
        let used = match owner {
            Owner::User => &self.users,
            Owner::Group => &self.groups,
        };
        used.named.last().map_or(b"", |(_, name)| name)
    }

    /// Writes the list of `owner`: the used ids with a name, last used first, then the end, then
    /// the name of id 0 where `id0_names`.
    pub(super) fn put_list(&mut self, out: &mut Vec<u8>, owner: Owner, modern: bool, id0_names: bool) {
        let used = match owner {
            Owner::User => &self.users,
            Owner::Group => &self.groups,
        };
        for (id, name) in used.named.iter().rev().filter(|(id, _)| *id != 0) {
            put_varint30(out, id.cast_signed(), modern);
            put_name(out, name);
        }
        put_varint30(out, 0, modern);
        if id0_names {
            put_name(out, &lookup(self.source.as_mut(), owner, 0).unwrap_or_default());
        }
    }
}

fn lookup(source: &mut dyn OwnerNames, owner: Owner, id: u32) -> Option<Vec<u8>> {
    let name = match owner {
        Owner::User => source.user(id),
        Owner::Group => source.group(id),
    };
    name.filter(|name| !name.is_empty())
}

/// Writes a name after its length byte.
pub(crate) fn put_name(out: &mut Vec<u8>, name: &[u8]) {
    let name = &name[..name.len().min(MAX_NAME)];
    out.push(name.len() as u8);
    out.extend_from_slice(name);
}

/// The names a receiver has learnt; an empty name counts as none.
#[derive(Clone, Debug, Default)]
pub struct IdNames {
    users: HashMap<u32, Vec<u8>>,
    groups: HashMap<u32, Vec<u8>>,
}

impl IdNames {
    /// The sender's name for an id, if it sent one.
    #[must_use]
    pub fn get(&self, owner: Owner, id: u32) -> Option<&[u8]> {
        match owner {
            Owner::User => self.users.get(&id),
            Owner::Group => self.groups.get(&id),
        }
        .map(Vec::as_slice)
    }

    /// Records the sender's name for an id, cut at a NUL byte; a later one replaces it. A name with
    /// other control characters counts as none.
    pub fn learn(&mut self, owner: Owner, id: u32, name: &[u8]) {
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        if name.is_empty() || name.iter().any(u8::is_ascii_control) {
            return;
        }
        match owner {
            Owner::User => self.users.insert(id, name.to_vec()),
            Owner::Group => self.groups.insert(id, name.to_vec()),
        };
    }
}

/// Reads the id lists that follow a whole file list.
#[derive(Debug, Default)]
pub(super) struct IdListReader {
    users_read: bool,
    groups_read: bool,
    count: usize,
}

impl IdListReader {
    /// Reads what is there of the lists; consumed parts stay consumed when input runs out.
    pub(super) fn read(
        &mut self,
        input: &mut Cursor<'_>,
        wanted: [bool; 2],
        modern: bool,
        id0_names: bool,
        names: &mut IdNames,
    ) -> Result<(), FileListError> {
        if wanted[0] && !self.users_read {
            self.list(input, Owner::User, modern, id0_names, names)?;
            self.users_read = true;
        }
        if wanted[1] && !self.groups_read {
            self.list(input, Owner::Group, modern, id0_names, names)?;
            self.groups_read = true;
        }
        Ok(())
    }

    fn list(
        &mut self,
        input: &mut Cursor<'_>,
        owner: Owner,
        modern: bool,
        id0_names: bool,
        names: &mut IdNames,
    ) -> Result<(), FileListError> {
        loop {
            let mut item = input.clone();
            let id = varint30(&mut item, modern)?.cast_unsigned();
            if id != 0 || id0_names {
                let name = name(&mut item)?;
                names.learn(owner, id, name);
            }
            *input = item;
            if id == 0 {
                self.count = 0;
                return Ok(());
            }
            self.count += 1;
            if self.count > MAX_IDS {
                return Err(FileListError::TooManyIds { limit: MAX_IDS });
            }
        }
    }
}

/// Reads a name after its length byte.
pub(crate) fn name<'a>(input: &mut Cursor<'a>) -> Result<&'a [u8], crate::wire::WireError> {
    let length = input.u8()?;
    input.take(usize::from(length))
}
