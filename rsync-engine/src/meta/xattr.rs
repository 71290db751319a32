//! Extended attributes on this side: which take part, and bringing a file's to what was received
//! (spec 04 §3.1, §3.4).

use std::io;
use std::sync::Arc;

use rsync_proto::filter::{Filters, Side, Subject};
use rsync_proto::flist::Kind;
use rsync_proto::meta::{ReceivedXattrs, SentXattr, SentXattrs, XattrNames, XattrValue};
use rsync_proto::options::SuperUser;

use super::AclStore;
use crate::confine::Pinned;

/// Names and values on disk, in the order of names.
pub(crate) type LocalXattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Which attributes take part on one side of a session.
#[derive(Clone, Debug)]
pub(crate) struct XattrRules {
    names: XattrNames,
    /// Rules of the user's about names of attributes, where there are any.
    filters: Option<(Arc<Filters>, Side)>,
}

impl XattrRules {
    /// The rules for a process of these rights, for `-X` given `xattrs` times, and of the user's `filters`
    /// as seen from `side`.
    pub(crate) fn new(super_user: SuperUser, xattrs: u8, filters: &Arc<Filters>, side: Side) -> Self {
        let privilege = match super_user {
            SuperUser::Auto if rustix::process::geteuid().is_root() => SuperUser::On,
            SuperUser::Auto => SuperUser::Off,
            decided => decided,
        };
        let filtered = filters.has_xattr_rules();
        Self {
            names: XattrNames { privilege, hidden: xattrs > 1, filtered },
            filters: filtered.then(|| (Arc::clone(filters), side)),
        }
    }

    /// Where ACLs are kept by the same rights.
    pub(crate) fn acl_store(&self) -> AclStore {
        AclStore::of(self.names.privilege)
    }

    fn excludes(&self, name: &[u8]) -> bool {
        self.filters
            .as_ref()
            .is_some_and(|(filters, side)| filters.excludes(&filters.start(b""), Subject::xattr(name), *side))
    }

    /// The local name for the received `name`, or `None` to drop it.
    pub(crate) fn received(&self, name: &[u8]) -> Option<Vec<u8>> {
        if self.excludes(name) { None } else { self.names.received(name).map(std::borrow::Cow::into_owned) }
    }

    /// The attributes of a source file, from its names and a way to read values.
    pub(crate) fn sent(
        &self,
        mut names: Vec<Vec<u8>>,
        mut read: impl FnMut(&[u8]) -> io::Result<Option<Vec<u8>>>,
    ) -> io::Result<SentXattrs> {
        names.sort_unstable();
        let mut attributes = Vec::new();
        for local in names {
            let Some(name) = self.names.sent(&local).map(<[u8]>::to_vec) else { continue };
            if self.excludes(&local) {
                continue;
            }
            // One that went away meanwhile is none.
            let Some(value) = read(&local)? else { continue };
            attributes.push(SentXattr { local, name, value: XattrValue::abbreviated(value) });
        }
        Ok(attributes)
    }

    /// The attributes of a destination file that are compared with received ones.
    pub(crate) fn local(&self, file: &Pinned<'_>) -> io::Result<LocalXattrs> {
        let mut names = file.xattr_names()?;
        names.retain(|name| self.names.compared(name) && !self.excludes(name));
        names.sort_unstable();
        let mut attributes = Vec::with_capacity(names.len());
        for name in names {
            if let Some(value) = file.xattr(&name)? {
                attributes.push((name, value));
            }
        }
        Ok(attributes)
    }

    fn removes(&self, name: &[u8]) -> bool {
        self.names.removed(name) && !self.excludes(name)
    }
}

/// What went wrong with one attribute.
#[derive(Debug)]
pub(crate) enum XattrProblem<'a> {
    /// The attributes of the file cannot be read.
    Read(io::Error),
    /// This attribute cannot be set.
    Set(&'a [u8], io::Error),
    /// This attribute cannot be removed.
    Remove(&'a [u8], io::Error),
    /// The value was never sent, and no basis has it.
    Missing(&'a [u8]),
}

/// Gives `file` the attributes of `wanted` and takes away others; values that did not travel come
/// from `basis`. Answers whether anything was changed; problems go to `report`, and the rest is done.
///
/// A file that its owner may not write takes no attributes from an ordinary user: it is made writable
/// meanwhile.
pub(crate) fn apply(
    rules: &XattrRules,
    file: &Pinned<'_>,
    basis: Option<&Pinned<'_>>,
    wanted: &ReceivedXattrs,
    report: &mut dyn FnMut(XattrProblem<'_>),
) -> bool {
    let local = match rules.local(file) {
        Ok(local) => local,
        Err(error) => {
            report(XattrProblem::Read(error));
            return false;
        }
    };
    if !wanted.differs_from(&local) {
        return false;
    }
    let opened = if rules.names.privilege == SuperUser::Off { make_writable(file) } else { None };
    for item in &wanted.items {
        let has = local.iter().any(|(name, value)| *name == item.name && item.value.matches(value));
        if has {
            continue;
        }
        let value = match &item.value {
            XattrValue::Known(value) => Some(value.clone()),
            digest @ XattrValue::Digest { .. } => basis
                .and_then(|basis| basis.xattr(&item.name).ok().flatten())
                .filter(|value| digest.matches(value)),
        };
        match value {
            None => report(XattrProblem::Missing(&item.name)),
            Some(value) => {
                if let Err(error) = file.set_xattr(&item.name, &value) {
                    report(XattrProblem::Set(&item.name, error));
                }
            }
        }
    }
    for (name, _) in &local {
        let kept = wanted.items.iter().any(|item| item.name == *name);
        if !kept
            && rules.removes(name)
            && let Err(error) = file.remove_xattr(name)
        {
            report(XattrProblem::Remove(name, error));
        }
    }
    if let Some(mode) = opened {
        // Setting the permissions, which is checked, comes after this.
        let _ = file.chmod(mode);
    }
    true
}

/// Lets the owner write to a file; answers the permissions to restore.
fn make_writable(file: &Pinned<'_>) -> Option<u32> {
    let stat = file.stat().ok()?;
    let closed = stat.kind() != Kind::Symlink && stat.mode & 0o200 == 0;
    (closed && file.chmod(stat.mode | 0o200).is_ok()).then_some(stat.mode)
}

#[cfg(test)]
mod tests {
    use rsync_proto::meta::ReceivedXattr;

    use super::*;
    use crate::confine::Dir;

    fn rules(super_user: SuperUser) -> XattrRules {
        XattrRules::new(super_user, 1, &Arc::new(Filters::new()), Side::Receiver)
    }

    fn scratch(attributes: &[(&str, &[u8])]) -> (tempfile::TempDir, Dir) {
        let place = tempfile::tempdir().expect("a directory");
        std::fs::write(place.path().join("f"), b"x").expect("file");
        std::fs::write(place.path().join("basis"), b"x").expect("file");
        let dir = Dir::open(place.path()).expect("open");
        for (name, value) in attributes {
            dir.set_xattr(b"f", name.as_bytes(), value).expect("set");
        }
        (place, dir)
    }

    fn list(attributes: &[(&str, XattrValue)]) -> ReceivedXattrs {
        let item = |(number, (name, value)): (usize, &(&str, XattrValue))| ReceivedXattr {
            name: name.as_bytes().to_vec(),
            number: number as u32 + 1,
            value: value.clone(),
            requested: false,
        };
        ReceivedXattrs { items: attributes.iter().enumerate().map(item).collect() }
    }

    fn known(value: &[u8]) -> XattrValue {
        XattrValue::Known(value.to_vec())
    }

    #[test]
    fn attributes_become_those_received_and_others_go() {
        let (_place, dir) = scratch(&[("user.same", b"1"), ("user.old", b"2"), ("user.gone", b"3")]);
        let file = dir.pin(b"f").expect("pin");
        let wanted =
            list(&[("user.new", known(b"4")), ("user.old", known(b"5")), ("user.same", known(b"1"))]);
        let rules = rules(SuperUser::Off);
        let mut report = |problem: XattrProblem<'_>| panic!("{problem:?}");
        assert!(apply(&rules, &file, None, &wanted, &mut report));
        let expected: LocalXattrs = [("user.new", b"4"), ("user.old", b"5"), ("user.same", b"1")]
            .map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()))
            .to_vec();
        assert_eq!(rules.local(&file).expect("list"), expected);
        assert!(!apply(&rules, &file, None, &wanted, &mut report), "nothing is left to do");
    }

    #[test]
    fn a_value_known_by_its_digest_comes_from_the_basis_or_is_missed() {
        let (_place, dir) = scratch(&[]);
        dir.set_xattr(b"basis", b"user.big", &[7; 100]).expect("set");
        let (file, basis) = (dir.pin(b"f").expect("pin"), dir.pin(b"basis").expect("pin"));
        let wanted = list(&[
            ("user.big", XattrValue::abbreviated(vec![7; 100])),
            ("user.other", XattrValue::abbreviated(vec![8; 100])),
        ]);
        let mut missing = Vec::new();
        let mut report = |problem: XattrProblem<'_>| match problem {
            XattrProblem::Missing(name) => missing.push(name.to_vec()),
            other => panic!("{other:?}"),
        };
        assert!(apply(&rules(SuperUser::Off), &file, Some(&basis), &wanted, &mut report));
        assert_eq!(file.xattr(b"user.big").expect("get"), Some(vec![7; 100]));
        assert_eq!(missing, [b"user.other"]);
    }

    #[test]
    fn acls_and_foreign_namespaces_are_neither_compared_nor_removed() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let (_place, dir) = scratch(&[("trusted.t", b"1"), ("user.u", b"2")]);
        let file = dir.pin(b"f").expect("pin");
        let acl = crate::meta::WantedAcls {
            access: Some(Arc::new(rsync_proto::meta::Acl {
                names: vec![rsync_proto::meta::AclName { is_group: false, id: 7, perms: 4 }],
                ..rsync_proto::meta::Acl::default()
            })),
            ..crate::meta::WantedAcls::default()
        };
        acl.apply(&file, 0o644, 0o644).expect("ACL");
        let mut report = |problem: XattrProblem<'_>| panic!("{problem:?}");
        assert!(apply(&rules(SuperUser::Off), &file, None, &list(&[]), &mut report));
        assert_eq!(file.xattr(b"trusted.t").expect("get").as_deref(), Some(&b"1"[..]));
        assert!(apply(&rules(SuperUser::On), &file, None, &list(&[]), &mut report));
        assert_eq!(file.xattr(b"trusted.t").expect("get"), None);
        assert!(!acl.differ(&file, 0o644, 0o644).expect("the ACL stays"));
    }

    #[test]
    fn problems_are_reported_and_the_rest_is_done() {
        let (_place, dir) = scratch(&[]);
        let file = dir.pin(b"f").expect("pin");
        let wanted = list(&[("nonsense", known(b"1")), ("user.fine", known(b"2"))]);
        let mut failed = 0;
        apply(&rules(SuperUser::Off), &file, None, &wanted, &mut |problem| {
            assert!(matches!(problem, XattrProblem::Set(b"nonsense", _)));
            failed += 1;
        });
        assert_eq!(failed, 1);
        assert_eq!(file.xattr(b"user.fine").expect("get").as_deref(), Some(&b"2"[..]));
    }

    #[test]
    fn what_is_sent_is_sorted_and_named_for_the_wire() {
        let names = ["user.z", "user.rsync.%stat", "system.posix_acl_access", "user.a"];
        let names = names.map(|name| name.as_bytes().to_vec()).to_vec();
        let sent = rules(SuperUser::On).sent(names, |name| Ok(Some(name.to_vec()))).expect("read");
        let sent: Vec<&[u8]> = sent.iter().map(|attribute| &attribute.name[..]).collect();
        assert_eq!(sent, [&b"user.a"[..], b"user.z"]);
    }
}
