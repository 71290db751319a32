//! ACLs and extended attributes of source files (spec 04 §2.1, §3.1).

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rsync_proto::flist::{Entry, FileListEncoder, Kind};
use rsync_proto::meta::{Acl, AclTable, SentXattrs, XattrTable};
use rsync_proto::options::TransferOptions;

use super::facts::ReadAttributes;
use crate::confine::Pinned;
use crate::meta::{AclStore, XattrRules};
use crate::tree::{ReadAt, TreeDir};

/// The distinct ACLs and attribute lists of a sender: the scanner fills them while the encoder, whose
/// tables they are, waits for the next entry.
#[derive(Clone, Default)]
pub(crate) struct SentTables(Arc<Mutex<Tables>>);

#[derive(Default)]
struct Tables {
    acls: AclTable,
    xattrs: XattrTable,
}

impl SentTables {
    /// Works with `encoder`, which has the tables meanwhile.
    pub(crate) fn lend<T>(
        &self,
        encoder: &mut FileListEncoder,
        work: impl FnOnce(&mut FileListEncoder) -> T,
    ) -> T {
        let swap = |encoder: &mut FileListEncoder| {
            let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut tables.acls, &mut encoder.acls);
            std::mem::swap(&mut tables.xattrs, &mut encoder.xattrs);
        };
        swap(encoder);
        let result = work(encoder);
        swap(encoder);
        result
    }

    /// The ACLs from number `acls` on and the attribute lists from number `lists` on.
    pub(crate) fn since(&self, acls: usize, lists: usize) -> (Vec<Arc<Acl>>, Vec<Arc<SentXattrs>>) {
        let tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let acls = (acls as u32..).map_while(|number| tables.acls.get(number).cloned());
        let lists = (lists as u32..).map_while(|number| tables.xattrs.get(number).cloned());
        (acls.collect(), lists.collect())
    }

    /// The local name of attribute `number` of list `list`, both as the wire counts them.
    pub(crate) fn local_name(&self, list: u32, number: u32) -> Option<Vec<u8>> {
        let tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tables.xattrs.get(list)?.get((number as usize).checked_sub(1)?).map(|item| item.local.clone())
    }
}

/// Reads what the options ask for.
pub(crate) struct SourceAttributes {
    tables: SentTables,
    acls: Option<AclStore>,
    xattrs: Option<XattrRules>,
    links: bool,
    devices: bool,
    specials: bool,
    follows: bool,
}

impl SourceAttributes {
    /// `None` if the options ask for neither ACLs nor attributes.
    pub(crate) fn new(options: &TransferOptions, rules: XattrRules, tables: SentTables) -> Option<Self> {
        let acls = options.acls.then(|| rules.acl_store());
        let xattrs = (options.xattrs > 0).then_some(rules);
        (acls.is_some() || xattrs.is_some()).then(|| Self {
            tables,
            acls,
            xattrs,
            links: options.links,
            devices: options.devices,
            specials: options.specials,
            follows: follows_links(options),
        })
    }

    /// Whether attributes of this kind of file are read at all.
    fn covers(&self, kind: Kind) -> bool {
        match kind {
            Kind::File | Kind::Dir => true,
            Kind::Symlink => self.links,
            kind if kind.is_device() => self.devices,
            kind => kind.is_special() && self.specials,
        }
    }
}

impl ReadAttributes for SourceAttributes {
    fn read(&mut self, dir: &dyn TreeDir, name: &[u8], entry: &mut Entry) -> io::Result<()> {
        let kind = entry.kind();
        if !self.covers(kind) {
            return Ok(());
        }
        let source = AttributeSource::of(dir, name, kind, self.follows)?;
        if let Some(store) = self.acls.filter(|_| kind != Kind::Symlink) {
            let access = store.access(entry.mode, |key| source.xattr(key))?;
            let default = match kind {
                Kind::Dir => Some(store.default(|key| source.xattr(key))?),
                _ => None,
            };
            let mut tables = self.tables.0.lock().unwrap_or_else(PoisonError::into_inner);
            entry.access_acl = Some(tables.acls.intern(access.condensed(entry.mode)));
            entry.default_acl = default.map(|acl| tables.acls.intern(acl));
        }
        if let Some(rules) = &self.xattrs {
            let list = rules.sent(source.xattr_names()?, |name| source.xattr(name))?;
            let mut tables = self.tables.0.lock().unwrap_or_else(PoisonError::into_inner);
            entry.xattrs = Some(tables.xattrs.intern(list));
        }
        Ok(())
    }
}

/// Whether a name in a source may stand for what a link there leads to.
pub(crate) fn follows_links(options: &TransferOptions) -> bool {
    options.copy_links || options.copy_unsafe_links || options.copy_dirlinks
}

/// Where the attributes of an entry are: with its name, or behind a link of that name.
pub(crate) enum AttributeSource<'d> {
    Name(&'d dyn TreeDir, Vec<u8>),
    Dir(Arc<dyn TreeDir>),
    File(Box<dyn ReadAt>),
}

impl<'d> AttributeSource<'d> {
    /// Of the entry `name` of this `kind`; `follows` if it may stand for what a link leads to.
    pub(crate) fn of(dir: &'d dyn TreeDir, name: &[u8], kind: Kind, follows: bool) -> io::Result<Self> {
        let behind_link = follows && kind != Kind::Symlink && {
            let found = dir.stat(name, false)?;
            found.stat.kind() == Kind::Symlink
        };
        Ok(match kind {
            Kind::Dir if behind_link => Self::Dir(dir.open_dir(name, true)?),
            Kind::File if behind_link => Self::File(dir.open(name, true)?),
            _ => Self::Name(dir, name.to_vec()),
        })
    }

    fn xattr_names(&self) -> io::Result<Vec<Vec<u8>>> {
        match self {
            Self::Name(dir, name) => dir.xattr_names(name),
            Self::Dir(dir) => dir.xattr_names(b"."),
            Self::File(content) => {
                content.file().map_or(Ok(Vec::new()), |file| Pinned::of(file).xattr_names())
            }
        }
    }

    /// The value of an attribute, if there is one.
    pub(crate) fn xattr(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Name(dir, name) => dir.xattr(name, key),
            Self::Dir(dir) => dir.xattr(b".", key),
            Self::File(content) => content.file().map_or(Ok(None), |file| Pinned::of(file).xattr(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use rsync_proto::filter::{Filters, Side};

    use super::*;
    use crate::Dir;
    use crate::tree::{LocalTree, Tree};

    fn reader(options: TransferOptions) -> SourceAttributes {
        let rules =
            XattrRules::new(options.super_user, options.xattrs, &Arc::new(Filters::new()), Side::Sender);
        SourceAttributes::new(&options, rules, SentTables::default()).expect("something to read")
    }

    fn read(reader: &mut SourceAttributes, place: &Path, name: &str, mode: u32) -> Entry {
        let tree = LocalTree::new(Dir::open(place).expect("open"));
        let base = tree.open_base(b"").expect("base");
        let mut entry = Entry { mode, ..Entry::default() };
        reader.read(&*base, name.as_bytes(), &mut entry).expect("read");
        entry
    }

    fn place() -> tempfile::TempDir {
        let place = tempfile::tempdir().expect("a directory");
        let dir = Dir::open(place.path()).expect("open");
        for name in ["a", "b", "other"] {
            std::fs::write(place.path().join(name), b"").expect("file");
        }
        dir.set_xattr(b"a", b"user.x", b"1").expect("set");
        dir.set_xattr(b"b", b"user.x", b"1").expect("set");
        dir.set_xattr(b".", b"user.top", b"1").expect("set");
        place
    }

    #[test]
    fn equal_lists_share_a_number_and_the_top_directory_has_its_own() {
        let place = place();
        let mut reader = reader(TransferOptions { xattrs: 1, ..TransferOptions::default() });
        let numbers = [("a", 0o100_644), ("b", 0o100_644), ("other", 0o100_644), (".", 0o040_755)]
            .map(|(name, mode)| read(&mut reader, place.path(), name, mode).xattrs);
        assert_eq!(numbers, [Some(0), Some(0), Some(1), Some(2)]);
    }

    #[test]
    fn a_followed_link_has_the_attributes_of_its_target() {
        let place = place();
        symlink("a", place.path().join("link")).expect("link");
        symlink(".", place.path().join("dirlink")).expect("link");
        let options =
            TransferOptions { xattrs: 1, copy_links: true, links: true, ..TransferOptions::default() };
        let mut reader = reader(options);
        let target = read(&mut reader, place.path(), "a", 0o100_644).xattrs;
        assert_eq!(read(&mut reader, place.path(), "link", 0o100_644).xattrs, target);
        let top = read(&mut reader, place.path(), ".", 0o040_755).xattrs;
        assert_eq!(read(&mut reader, place.path(), "dirlink", 0o040_755).xattrs, top);
    }

    #[test]
    fn plain_acls_are_condensed_to_nothing() {
        let place = place();
        let mut reader = reader(TransferOptions { acls: true, ..TransferOptions::default() });
        let file = read(&mut reader, place.path(), "a", 0o100_644);
        assert_eq!((file.access_acl, file.default_acl), (Some(0), None));
        let dir = read(&mut reader, place.path(), ".", 0o040_755);
        assert_eq!((dir.access_acl, dir.default_acl), (Some(0), Some(0)));
        let tables = reader.tables.0.lock().expect("tables");
        assert!(tables.acls.get(0).expect("interned").is_empty());
    }
}
