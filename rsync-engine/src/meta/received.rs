//! The ACLs and extended attributes that entries of received lists refer to, shared by the receiver,
//! which reads lists and values, and the generator, which compares and asks (spec 04 §2.3, §3.3).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rsync_proto::flist::{EntryRef, FileListDecoder};
use rsync_proto::meta::{Acl, AclName, ReceivedXattrs, XattrValue};

use super::acl::WantedAcls;

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

    /// The ACLs of an entry.
    pub(crate) fn acls(&self, entry: &EntryRef<'_>) -> WantedAcls {
        let tables = self.lock();
        let find = |table: &[Arc<Acl>], number: Option<u32>| table.get(number? as usize).cloned();
        WantedAcls {
            access: find(&tables.access, entry.access_acl()),
            default: find(&tables.default, entry.default_acl()),
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

    /// Takes a value that was asked for, or `None` if it is unusable; answers whether it was awaited.
    pub(crate) fn learn(&self, entry: &EntryRef<'_>, number: u32, value: Option<Vec<u8>>) -> bool {
        let learnt = self.with_xattrs(entry, |list| match list.awaited(number) {
            Some(item) if item.requested => {
                if let Some(value) = value {
                    item.value = XattrValue::Known(value);
                }
                true
            }
            _ => false,
        });
        learnt.unwrap_or(false)
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // Every change of the tables is complete in itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
