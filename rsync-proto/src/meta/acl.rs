//! Access control lists as values: condensing, completing, comparing (spec 04 §2).

use std::collections::HashMap;
use std::sync::Arc;

/// A named user or group of an ACL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AclName {
    /// A group; users sort before groups.
    pub is_group: bool,
    /// Uid or gid.
    pub id: u32,
    /// `rwx` bits, 0 to 7.
    pub perms: u8,
}

/// An ACL; on the wire and in lists the access ACL is condensed (spec 04 §2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Acl {
    /// Bits of the owner; `None` is absent.
    pub user_obj: Option<u8>,
    /// Bits of the owning group.
    pub group_obj: Option<u8>,
    /// Upper bound for all but owner and others.
    pub mask: Option<u8>,
    /// Bits of everybody else.
    pub other: Option<u8>,
    /// Named entries: users by ascending id, then groups by ascending id.
    pub names: Vec<AclName>,
}

fn class(mode: u32, shift: u32) -> u8 {
    (mode >> shift & 7) as u8
}

impl Acl {
    /// The access ACL that a file without an extended one has.
    #[must_use]
    pub fn of_mode(mode: u32) -> Self {
        Self {
            user_obj: Some(class(mode, 6)),
            group_obj: Some(class(mode, 3)),
            mask: None,
            other: Some(class(mode, 0)),
            names: Vec::new(),
        }
    }

    /// Whether nothing is present, as in the default ACL of a directory without one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Drops from an access ACL what the permissions `mode` say already; default ACLs are sent as
    /// they are (spec 04 §2.2).
    #[must_use]
    pub fn condensed(mut self, mode: u32) -> Self {
        let group = class(mode, 3);
        self.user_obj = None;
        self.other = None;
        if self.mask.is_none() || self.group_obj == Some(group) {
            self.group_obj = None;
        }
        if !self.names.is_empty() && self.mask == Some(group) {
            self.mask = None;
        }
        self
    }

    /// A received condensed access ACL with its mask, for a file whose permissions become `mode`:
    /// names need a mask, and a mask always is the group class of the mode (spec 04 §2.4, §2.6).
    #[must_use]
    pub fn with_access_mask(mut self, mode: u32) -> Self {
        if self.mask.is_some() || !self.names.is_empty() {
            self.mask = Some(class(mode, 3));
        }
        self
    }

    /// A received default ACL with its mask: names need one, the sum of all it bounds.
    #[must_use]
    pub fn with_default_mask(mut self) -> Self {
        if self.mask.is_none() && !self.names.is_empty() {
            let group = self.group_obj.unwrap_or(0);
            self.mask = Some(self.names.iter().fold(group, |bits, name| bits | name.perms));
        }
        self
    }

    /// The complete ACL to set on a file whose permissions become `mode`; without names and mask
    /// it is the minimal one, which removes an extended ACL (spec 04 §2.6).
    #[must_use]
    pub fn completed(self, mode: u32) -> Self {
        let group_obj = self.group_obj.or(Some(class(mode, 3)));
        let bounded = self.with_access_mask(mode);
        Self { user_obj: Some(class(mode, 6)), other: Some(class(mode, 0)), group_obj, ..bounded }
    }

    /// Whether `self`, the complete access ACL on disk, differs from the condensed `wanted` one for
    /// a file whose permissions become `mode` (spec 04 §2.5).
    #[must_use]
    pub fn access_differs(&self, wanted: &Self, mode: u32) -> bool {
        let wanted_mask = wanted.mask.is_some() || !wanted.names.is_empty();
        if self.mask.is_some() != wanted_mask {
            return true;
        }
        wanted_mask
            && (self.group_obj.unwrap_or(0) != wanted.group_obj.unwrap_or(class(mode, 3))
                || self.names != wanted.names)
    }

    /// The same ACL with local ids: sorted again, and one entry per id (spec 04 §2.4).
    ///
    /// Where two ids become one, the bits of both are granted.
    #[must_use]
    pub fn mapped(mut self, mut map: impl FnMut(AclName) -> u32) -> Self {
        for name in &mut self.names {
            name.id = map(*name);
        }
        self.names.sort_by_key(|name| (name.is_group, name.id));
        self.names.dedup_by(|next, kept| {
            let same = (next.is_group, next.id) == (kept.is_group, kept.id);
            if same {
                kept.perms |= next.perms;
            }
            same
        });
        self
    }
}

/// Distinct ACLs by number; the scanner of a sender fills it.
#[derive(Debug, Default)]
pub struct AclTable {
    acls: Vec<Arc<Acl>>,
    numbers: HashMap<Arc<Acl>, u32>,
}

impl AclTable {
    /// The number of `acl`, which is added if it is new.
    pub fn intern(&mut self, acl: Acl) -> u32 {
        if let Some(&number) = self.numbers.get(&acl) {
            return number;
        }
        let (acl, number) = (Arc::new(acl), self.acls.len() as u32);
        self.acls.push(Arc::clone(&acl));
        self.numbers.insert(acl, number);
        number
    }

    /// The ACL with `number`.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&Arc<Acl>> {
        self.acls.get(number as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: u32, perms: u8) -> AclName {
        AclName { is_group: false, id, perms }
    }

    #[test]
    fn condensing_drops_what_the_mode_says() {
        let full = Acl { mask: Some(6), names: vec![user(33, 6)], ..Acl::of_mode(0o664) };
        let condensed = Acl { group_obj: None, names: vec![user(33, 6)], ..Acl::default() };
        assert_eq!(full.clone().condensed(0o664), condensed);
        let restricted = Acl { group_obj: Some(4), ..full };
        assert_eq!(restricted.condensed(0o664), Acl { group_obj: Some(4), ..condensed });
        assert!(Acl::of_mode(0o755).condensed(0o755).is_empty());
        let bare = Acl { mask: Some(4), group_obj: Some(6), ..Acl::of_mode(0o640) };
        assert_eq!(
            bare.condensed(0o640),
            Acl { group_obj: Some(6), mask: Some(4), ..Acl::default() },
            "a mask without names stays"
        );
    }

    #[test]
    fn a_completed_acl_has_the_mask_of_the_mode() {
        let wanted = Acl { names: vec![user(1001, 7)], ..Acl::default() };
        let complete = wanted.clone().completed(0o660);
        assert_eq!((complete.user_obj, complete.group_obj, complete.mask), (Some(6), Some(6), Some(6)));
        assert!(!complete.access_differs(&wanted, 0o660));
        assert!(Acl::of_mode(0o660).access_differs(&wanted, 0o660));
    }

    #[test]
    fn mapping_sorts_again_and_merges_equal_ids() {
        let group = AclName { is_group: true, id: 1, perms: 1 };
        let acl = Acl { names: vec![user(5, 4), user(9, 2), group], ..Acl::default() };
        let mapped = acl.mapped(|name| if name.is_group { 7 } else { 3 });
        assert_eq!(mapped.names, [user(3, 6), AclName { id: 7, ..group }]);
    }
}
