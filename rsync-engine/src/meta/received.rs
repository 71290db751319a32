//! The ACLs and extended attributes that entries of received lists refer to, shared by the receiver,
//! which reads lists and values, and the generator, which compares and asks (spec 04 §2.3, §3.3).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rsync_proto::flist::{EntryRef, FileListDecoder};
use rsync_proto::meta::{Acl, AclName, ReceivedXattr, ReceivedXattrs, SentXattr, XattrValue};

use super::acl::{AclStore, WantedAcls};
use super::xattr::XattrRules;
use crate::scan::SentTables;

/// The tables of one session.
#[derive(Debug, Default)]
pub(crate) struct ReceivedAttributes(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    access: Vec<Arc<Acl>>,
    default: Vec<Arc<Acl>>,
    xattrs: Vec<ReceivedXattrs>,
}

impl ReceivedAttributes {
    /// Takes over what `decoder` has read since the last time, with ids as `map` says: once per list,
    /// before anybody uses its entries.
    pub(crate) fn take(&self, decoder: &FileListDecoder, mut map: impl FnMut(AclName) -> u32) {
        let mut tables = self.lock();
        let known = tables.access.len();
        for acl in &decoder.access_acls.acls()[known..] {
            tables.access.push(Arc::new(acl.clone().mapped(&mut map)));
        }
        let known = tables.default.len();
        for acl in &decoder.default_acls.acls()[known..] {
            tables.default.push(Arc::new(acl.clone().mapped(&mut map).with_default_mask()));
        }
        let known = tables.xattrs.len();
        tables.xattrs.extend_from_slice(&decoder.xattrs.lists()[known..]);
    }

    /// Takes over what a scanner on this machine has found since the last time, ids as `map` says and
    /// names as `rules` do.
    pub(crate) fn take_scanned(
        &self,
        found: &SentTables,
        rules: &XattrRules,
        mut map: impl FnMut(AclName) -> u32,
    ) {
        let mut tables = self.lock();
        let (acls, lists) = found.since(tables.access.len(), tables.xattrs.len());
        for acl in acls {
            let acl = Acl::clone(&acl).mapped(&mut map);
            tables.default.push(Arc::new(acl.clone().with_default_mask()));
            tables.access.push(Arc::new(acl));
        }
        for list in lists {
            let item = |(number, sent): (u32, &SentXattr)| {
                let name = rules.received(&sent.name)?;
                Some(ReceivedXattr { name, number, value: sent.value.clone(), requested: false })
            };
            let mut items: Vec<_> = (1..).zip(list.iter()).filter_map(item).collect();
            items.sort_by(|a, b| a.name.cmp(&b.name));
            tables.xattrs.push(ReceivedXattrs { items });
        }
    }

    /// The ACLs of an entry.
    pub(crate) fn acls(&self, entry: &EntryRef<'_>, store: AclStore) -> WantedAcls {
        let tables = self.lock();
        let find = |table: &[Arc<Acl>], number: Option<u32>| table.get(number? as usize).cloned();
        WantedAcls {
            access: find(&tables.access, entry.access_acl()),
            default: find(&tables.default, entry.default_acl()),
            store,
        }
    }

    /// Works with the attributes of an entry; `None` if it has none.
    pub(crate) fn with_xattrs<T>(
        &self,
        entry: &EntryRef<'_>,
        work: impl FnOnce(&mut ReceivedXattrs) -> T,
    ) -> Option<T> {
        let number = entry.xattrs()?;
        self.lock().xattrs.get_mut(number as usize).map(work)
    }

    /// A copy of the attributes of an entry, to be set without holding anything.
    pub(crate) fn xattrs(&self, entry: &EntryRef<'_>) -> Option<ReceivedXattrs> {
        self.with_xattrs(entry, |list| list.clone())
    }

    /// Takes a value, or `None` if it is unusable; answers whether it was asked for and not answered.
    /// It may be known meanwhile from a file with the same list.
    pub(crate) fn learn(&self, entry: &EntryRef<'_>, number: u32, value: Option<Vec<u8>>) -> bool {
        self.with_xattrs(entry, |list| learn(list, number, value)).unwrap_or(false)
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // Every change of the tables is complete in itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn learn(list: &mut ReceivedXattrs, number: u32, value: Option<Vec<u8>>) -> bool {
    let Some(item) = list.items.iter_mut().find(|item| item.number == number && item.requested) else {
        return false;
    };
    if let Some(value) = value {
        item.value = XattrValue::Known(value);
        item.requested = false;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> ReceivedXattrs {
        let value = XattrValue::abbreviated(vec![7; 40]);
        ReceivedXattrs {
            items: vec![ReceivedXattr { name: b"user.a".to_vec(), number: 1, value, requested: false }],
        }
    }

    #[test]
    fn only_values_that_were_asked_for_are_taken_and_only_once() {
        let mut list = list();
        assert!(!learn(&mut list, 1, Some(vec![7; 40])), "nobody asked");
        assert_eq!(list.take_wanted(&[]), [1]);
        assert!(!learn(&mut list, 2, Some(Vec::new())));
        assert!(learn(&mut list, 1, Some(vec![7; 40])));
        assert!(!learn(&mut list, 1, Some(vec![8; 40])), "answered already");
        assert_eq!(list.items[0].value, XattrValue::Known(vec![7; 40]));
    }

    #[test]
    fn an_answer_is_welcome_although_another_file_told_the_value_meanwhile() {
        let mut list = list();
        assert_eq!(list.take_wanted(&[]), [1]);
        assert!(list.take_wanted(&[(b"user.a".to_vec(), vec![7; 40])]).is_empty());
        assert!(learn(&mut list, 1, Some(vec![7; 40])));
    }

    #[test]
    fn an_unusable_value_is_not_asked_for_again() {
        let mut list = list();
        assert_eq!(list.take_wanted(&[]), [1]);
        assert!(learn(&mut list, 1, None));
        assert!(list.take_wanted(&[]).is_empty(), "a sender ends the session when asked twice");
    }
}
