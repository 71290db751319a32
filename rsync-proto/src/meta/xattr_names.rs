//! Which attribute names travel, and under which name, on Linux (spec 04 §3.1).

use std::borrow::Cow;

use crate::options::SuperUser;

const USER: &[u8] = b"user.";
const SYSTEM: &[u8] = b"system.";
/// What is not `user.` lives behind this prefix where only `user.` can be set.
const RSYNC: &[u8] = b"user.rsync.";
/// Names that rsync keeps to itself.
const HIDDEN: &[u8] = b"user.rsync.%";
/// The attributes of `--fake-super`.
const FAKE: [&[u8]; 3] = [b"user.rsync.%stat", b"user.rsync.%aacl", b"user.rsync.%dacl"];

/// The rules for names on one side of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XattrNames {
    /// What this process may set: [`SuperUser::Off`] is an ordinary user, [`SuperUser::Auto`] and
    /// [`SuperUser::On`] are privileged. Resolve `Auto` by the effective uid before.
    pub privilege: SuperUser,
    /// rsync's own names travel too (`-XX`).
    pub hidden: bool,
    /// Filter rules for attributes exist: they replace the rules about namespaces, and the caller
    /// asks them about local names before sending, comparing and removing, about wire names before
    /// [`XattrNames::received`]. What is `system.` on a destination stays untouched nevertheless.
    pub filtered: bool,
}

impl XattrNames {
    /// The wire name of the local attribute `name`, or `None` if it is not sent.
    #[must_use]
    pub fn sent<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        let fake = self.privilege == SuperUser::Fake;
        if !self.filtered && name.starts_with(SYSTEM)
            || fake && FAKE.contains(&name)
            || !self.hidden && name.starts_with(HIDDEN)
        {
            return None;
        }
        match name.strip_prefix(RSYNC) {
            Some(original) if fake && !original.starts_with(b"%") => Some(original),
            _ => Some(name),
        }
    }

    /// The local name of the attribute received as `name`, or `None` if it is dropped.
    #[must_use]
    pub fn received<'n>(&self, name: &'n [u8]) -> Option<Cow<'n, [u8]>> {
        let local = match self.privilege {
            SuperUser::Fake if name.starts_with(SYSTEM) => Cow::Owned([RSYNC, name].concat()),
            _ if name.starts_with(SYSTEM) => return None,
            SuperUser::Off if !name.starts_with(USER) && !self.filtered => return None,
            SuperUser::Off | SuperUser::Fake if !name.starts_with(USER) => Cow::Owned([RSYNC, name].concat()),
            _ => Cow::Borrowed(name),
        };
        (self.hidden || !local.starts_with(HIDDEN)).then_some(local)
    }

    /// Whether the local attribute `name` of a destination is compared with the received ones.
    #[must_use]
    pub fn compared(&self, name: &[u8]) -> bool {
        self.concerns(name, self.privilege == SuperUser::Off)
    }

    /// Whether the local attribute `name` is removed if it was not received.
    #[must_use]
    pub fn removed(&self, name: &[u8]) -> bool {
        self.concerns(name, matches!(self.privilege, SuperUser::Off | SuperUser::Fake))
    }

    fn concerns(&self, name: &[u8], only_user: bool) -> bool {
        let fake = self.privilege == SuperUser::Fake;
        if name.starts_with(SYSTEM) || fake && FAKE.contains(&name) {
            return false;
        }
        self.filtered || !only_user || name.starts_with(USER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(privilege: SuperUser) -> XattrNames {
        XattrNames { privilege, hidden: false, filtered: false }
    }

    #[test]
    fn a_fake_super_sender_restores_the_namespace() {
        let fake = names(SuperUser::Fake);
        assert_eq!(fake.sent(b"user.rsync.trusted.t"), Some(&b"trusted.t"[..]));
        assert_eq!(fake.sent(b"user.rsync.%stat"), None);
        assert_eq!(names(SuperUser::On).sent(b"user.rsync.trusted.t"), Some(&b"user.rsync.trusted.t"[..]));
        assert_eq!(names(SuperUser::On).sent(b"system.posix_acl_access"), None);
        let everything = XattrNames { hidden: true, ..names(SuperUser::On) };
        assert_eq!(everything.sent(b"user.rsync.%stat"), Some(&b"user.rsync.%stat"[..]));
    }

    #[test]
    fn a_receiver_keeps_what_it_may_set() {
        let user = names(SuperUser::Off);
        assert_eq!(user.received(b"trusted.t"), None);
        assert_eq!(user.received(b"user.rsync.%stat"), None);
        let filtered = XattrNames { filtered: true, ..user };
        assert_eq!(filtered.received(b"trusted.t").as_deref(), Some(&b"user.rsync.trusted.t"[..]));
        let fake = names(SuperUser::Fake);
        assert_eq!(fake.received(b"security.x").as_deref(), Some(&b"user.rsync.security.x"[..]));
        let root = names(SuperUser::On);
        assert_eq!(root.received(b"security.x").as_deref(), Some(&b"security.x"[..]));
        assert_eq!(root.received(b"system.posix_acl_access"), None, "ACLs travel as ACLs");
    }

    #[test]
    fn fake_super_never_removes_its_own_names() {
        let fake = names(SuperUser::Fake);
        assert!(!fake.removed(b"user.rsync.%aacl") && !fake.compared(b"user.rsync.%stat"));
        assert!(!fake.removed(b"trusted.t") && fake.removed(b"user.a"));
        assert!(
            names(SuperUser::On).removed(b"user.rsync.%stat"),
            "as the C rsync does without --fake-super"
        );
        assert!(!names(SuperUser::Off).compared(b"trusted.t"));
    }

    #[test]
    fn filters_never_expose_the_acls_of_a_destination() {
        let filtered = XattrNames { filtered: true, ..names(SuperUser::On) };
        assert!(!filtered.compared(b"system.posix_acl_access"));
        assert!(!filtered.removed(b"system.posix_acl_access"));
        assert_eq!(filtered.received(b"system.posix_acl_access"), None);
        let user = XattrNames { privilege: SuperUser::Off, ..filtered };
        assert_eq!(user.received(b"system.posix_acl_access"), None);
        assert!(filtered.compared(b"security.x") && filtered.removed(b"security.x"));
    }
}
