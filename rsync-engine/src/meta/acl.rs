//! POSIX ACLs as Linux keeps them, in two extended attributes (spec 04 §2; 10 §4).

use std::io;
use std::sync::Arc;

use rsync_proto::meta::{Acl, AclKind, AclName, acl_from_attribute, acl_to_attribute};
use rsync_proto::options::SuperUser;

use super::fake_super;
use crate::confine::{Dir, Pinned};

/// Where Linux keeps the access ACL.
pub(crate) const ACCESS: &[u8] = b"system.posix_acl_access";
/// Where Linux keeps the default ACL of a directory.
pub(crate) const DEFAULT: &[u8] = b"system.posix_acl_default";

/// First word of the attribute.
const VERSION: u32 = 2;
/// Bytes of an entry: tag, permissions, id.
const ENTRY: usize = 8;
/// The id of entries that have none.
const NO_ID: u32 = u32::MAX;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
/// setuid, setgid, sticky.
const SPECIAL: u32 = 0o7000;

/// Reads the value of [`ACCESS`] or [`DEFAULT`].
fn parse(value: &[u8]) -> io::Result<Acl> {
    let corrupt = || io::Error::new(io::ErrorKind::InvalidData, "malformed ACL");
    let (version, entries) = value.split_first_chunk::<4>().ok_or_else(corrupt)?;
    if u32::from_le_bytes(*version) != VERSION || entries.len() % ENTRY != 0 {
        return Err(corrupt());
    }
    let mut acl = Acl::default();
    for entry in entries.chunks_exact(ENTRY) {
        let perms = entry[2] & 7;
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        match u16::from_le_bytes([entry[0], entry[1]]) {
            USER_OBJ => acl.user_obj = Some(perms),
            GROUP_OBJ => acl.group_obj = Some(perms),
            MASK => acl.mask = Some(perms),
            OTHER => acl.other = Some(perms),
            USER => acl.names.push(AclName { is_group: false, id, perms }),
            GROUP => acl.names.push(AclName { is_group: true, id, perms }),
            _ => return Err(corrupt()),
        }
    }
    acl.names.sort_unstable();
    Ok(acl)
}

/// The value that stands for `acl`, whose names must be sorted.
fn format(acl: &Acl) -> Vec<u8> {
    let mut value = VERSION.to_le_bytes().to_vec();
    let mut put = |tag: u16, perms: u8, id: u32| {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&u16::from(perms).to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    };
    let object = |put: &mut dyn FnMut(u16, u8, u32), tag, perms: Option<u8>| {
        if let Some(perms) = perms {
            put(tag, perms, NO_ID);
        }
    };
    let (groups, users): (Vec<&AclName>, Vec<&AclName>) = acl.names.iter().partition(|name| name.is_group);
    object(&mut put, USER_OBJ, acl.user_obj);
    users.iter().for_each(|name| put(USER, name.perms, name.id));
    object(&mut put, GROUP_OBJ, acl.group_obj);
    groups.iter().for_each(|name| put(GROUP, name.perms, name.id));
    object(&mut put, MASK, acl.mask);
    object(&mut put, OTHER, acl.other);
    value
}

/// Where the ACLs of files are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AclStore {
    /// By the kernel, which obeys them.
    #[default]
    Kernel,
    /// In attributes of this program (`--fake-super`).
    Fake,
}

impl AclStore {
    /// Where a process of these rights keeps them.
    pub(crate) fn of(super_user: SuperUser) -> Self {
        if super_user == SuperUser::Fake { Self::Fake } else { Self::Kernel }
    }

    /// The attribute that holds ACLs of this kind.
    fn key(self, kind: AclKind) -> &'static [u8] {
        match (self, kind) {
            (Self::Kernel, AclKind::Access) => ACCESS,
            (Self::Kernel, AclKind::Default) => DEFAULT,
            (Self::Fake, AclKind::Access) => fake_super::ACCESS,
            (Self::Fake, AclKind::Default) => fake_super::DEFAULT,
        }
    }

    fn parse(self, value: &[u8]) -> io::Result<Acl> {
        match self {
            Self::Kernel => parse(value),
            Self::Fake => acl_from_attribute(value)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "malformed ACL attribute")),
        }
    }

    fn format(self, acl: &Acl) -> Vec<u8> {
        match self {
            Self::Kernel => format(acl),
            Self::Fake => acl_to_attribute(acl),
        }
    }

    /// The access ACL of a file with permissions `mode`, whose attributes `read` answers; a file without
    /// one has the ACL that its permissions are.
    pub(crate) fn access(
        self,
        mode: u32,
        read: impl FnOnce(&[u8]) -> io::Result<Option<Vec<u8>>>,
    ) -> io::Result<Acl> {
        let plain = Acl::of_mode(mode);
        let Some(value) = read(self.key(AclKind::Access))? else { return Ok(plain) };
        let acl = self.parse(&value)?;
        Ok(match self {
            Self::Kernel => acl,
            // What the permissions say is left out there.
            Self::Fake => Acl {
                user_obj: acl.user_obj.or(plain.user_obj),
                group_obj: acl.group_obj.or(plain.group_obj),
                other: acl.other.or(plain.other),
                ..acl
            },
        })
    }

    /// The default ACL of a directory, whose attributes `read` answers; an empty one where there is none.
    pub(crate) fn default(self, read: impl FnOnce(&[u8]) -> io::Result<Option<Vec<u8>>>) -> io::Result<Acl> {
        read(self.key(AclKind::Default))?.map_or_else(|| Ok(Acl::default()), |value| self.parse(&value))
    }
}

/// The permissions that the default ACL of `dir` leaves to what is made there; `None` if it has none,
/// and the umask applies (spec 04 §5.1).
pub(crate) fn creation_limit(dir: &Dir) -> Option<u32> {
    let value = dir.pin(b".").ok()?.xattr(DEFAULT).ok()??;
    let acl = parse(&value).ok()?;
    let class = |perms: Option<u8>| u32::from(perms.unwrap_or_default());
    Some(class(acl.user_obj) << 6 | class(acl.mask.or(acl.group_obj)) << 3 | class(acl.other))
}

/// The ACLs an entry shall have, with local ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WantedAcls {
    /// Condensed, as it was received; `None` for a symlink, or without `-A`.
    pub(crate) access: Option<Arc<Acl>>,
    /// Complete; `None` for anything but a directory.
    pub(crate) default: Option<Arc<Acl>>,
    pub(crate) store: AclStore,
}

/// What could not be set, and why.
pub(crate) type AclError = (AclKind, io::Error);

impl WantedAcls {
    /// Whether `file`, whose permissions are `current`, has other ACLs than wanted for a file whose
    /// permissions become `mode` (spec 04 §2.5).
    pub(crate) fn differ(&self, file: &Pinned<'_>, current: u32, mode: u32) -> io::Result<bool> {
        Ok(self.access_differs(file, current, mode)? || self.default_differs(file)?)
    }

    fn access_differs(&self, file: &Pinned<'_>, current: u32, mode: u32) -> io::Result<bool> {
        let Some(wanted) = &self.access else { return Ok(false) };
        let now = self.store.access(current, |key| file.xattr(key))?;
        Ok(now.access_differs(wanted, mode))
    }

    fn default_differs(&self, file: &Pinned<'_>) -> io::Result<bool> {
        let Some(wanted) = &self.default else { return Ok(false) };
        Ok(self.store.default(|key| file.xattr(key))? != **wanted)
    }

    /// Sets what differs, and answers whether anything did: the permissions of `file` may have
    /// changed then. Special bits that still have to change do so first and with the permissions of
    /// group and others withheld, so that at no time more is allowed than before or after.
    ///
    /// # Errors
    /// The ACL that could not be read or set. A default ACL is still tried after the access ACL failed.
    pub(crate) fn apply(&self, file: &Pinned<'_>, current: u32, mode: u32) -> Result<bool, AclError> {
        let access = self.apply_access(file, current, mode).map_err(|error| (AclKind::Access, error));
        let default = self.apply_default(file).map_err(|error| (AclKind::Default, error));
        Ok(access? | default?)
    }

    fn apply_access(&self, file: &Pinned<'_>, current: u32, mode: u32) -> io::Result<bool> {
        let Some(wanted) = &self.access else { return Ok(false) };
        if !self.access_differs(file, current, mode)? {
            return Ok(false);
        }
        let key = self.store.key(AclKind::Access);
        let acl = Acl::clone(wanted);
        let acl = match self.store {
            AclStore::Fake => acl.with_access_mask(mode),
            AclStore::Kernel => {
                if (current ^ mode) & SPECIAL != 0 {
                    file.chmod(mode & (SPECIAL | 0o700))?;
                }
                acl.completed(mode)
            }
        };
        file.set_xattr(key, &self.store.format(&acl))?;
        Ok(true)
    }

    fn apply_default(&self, file: &Pinned<'_>) -> io::Result<bool> {
        let Some(wanted) = &self.default else { return Ok(false) };
        if !self.default_differs(file)? {
            return Ok(false);
        }
        let key = self.store.key(AclKind::Default);
        if wanted.user_obj.is_none() {
            file.remove_xattr(key)?;
        } else {
            file.set_xattr(key, &self.store.format(wanted))?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scratch() -> (tempfile::TempDir, Dir) {
        let place = tempfile::tempdir().expect("a directory");
        std::fs::write(place.path().join("f"), b"x").expect("file");
        std::fs::create_dir(place.path().join("d")).expect("dir");
        let dir = Dir::open(place.path()).expect("open");
        (place, dir)
    }

    fn user(id: u32, perms: u8) -> AclName {
        AclName { is_group: false, id, perms }
    }

    fn wanted(acl: Acl) -> WantedAcls {
        WantedAcls { access: Some(Arc::new(acl)), ..WantedAcls::default() }
    }

    fn mode_of(file: &Pinned<'_>) -> u32 {
        file.stat().expect("stat").mode & 0o7777
    }

    #[test]
    fn the_kernels_form_is_the_one_it_shows() {
        let acl = Acl { mask: Some(6), names: vec![user(1001, 4)], ..Acl::of_mode(0o664) };
        let golden =
            "0200000001000600ffffffff02000400e903000004000600ffffffff10000600ffffffff20000400ffffffff";
        let hex: String = format(&acl).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            objects in prop::array::uniform4(prop::option::of(0_u8..8)),
            names in prop::collection::btree_map((any::<bool>(), 0_u32..50), 0_u8..8, 0..8),
        ) {
            let [user_obj, group_obj, mask, other] = objects;
            let names = names.into_iter().map(|((is_group, id), perms)| AclName { is_group, id, perms });
            let acl = Acl { user_obj, group_obj, mask, other, names: names.collect() };
            prop_assert_eq!(parse(&format(&acl)).expect("valid"), acl);
        }

        #[test]
        fn any_bytes_are_an_acl_or_an_error(value in prop::collection::vec(any::<u8>(), 0..64)) {
            // Reaching the end is the proof.
            let _ = parse(&value);
        }
    }

    #[test]
    fn an_extended_acl_is_set_once_and_sets_the_permissions() {
        let (_place, dir) = scratch();
        let file = dir.pin(b"f").expect("pin");
        file.chmod(0o600).expect("chmod");
        let acls = wanted(Acl { group_obj: Some(4), names: vec![user(1001, 6)], ..Acl::default() });
        assert!(acls.apply(&file, 0o600, 0o664).expect("set"));
        assert_eq!(mode_of(&file), 0o664);
        let now = AclStore::Kernel.access(0o664, |key| file.xattr(key)).expect("valid");
        assert_eq!((now.group_obj, now.mask, &now.names[..]), (Some(4), Some(6), &[user(1001, 6)][..]));
        assert!(!acls.differ(&file, 0o664, 0o664).expect("compare"));
        assert!(!acls.apply(&file, 0o664, 0o664).expect("nothing to do"));
    }

    #[test]
    fn a_minimal_acl_removes_an_extended_one() {
        let (_place, dir) = scratch();
        let file = dir.pin(b"f").expect("pin");
        let extended = wanted(Acl { names: vec![user(7, 7)], ..Acl::default() });
        extended.apply(&file, 0o644, 0o660).expect("set");
        assert!(wanted(Acl::default()).apply(&file, 0o660, 0o640).expect("set"));
        assert_eq!(file.xattr(ACCESS).expect("get"), None);
        assert_eq!(mode_of(&file), 0o640);
    }

    #[test]
    fn special_bits_change_without_losing_the_group() {
        let (_place, dir) = scratch();
        let file = dir.pin(b"f").expect("pin");
        file.chmod(0o4755).expect("chmod");
        let acls = wanted(Acl { names: vec![user(7, 5)], ..Acl::default() });
        assert!(acls.apply(&file, 0o4755, 0o755).expect("set"));
        assert_eq!(mode_of(&file), 0o755, "3.5.0 leaves the group without permissions until the next run");
        let now = AclStore::Kernel.access(0o755, |key| file.xattr(key)).expect("valid");
        assert_eq!(now.group_obj, Some(5));
    }

    #[test]
    fn a_default_acl_is_set_compared_and_removed() {
        let (_place, dir) = scratch();
        let file = dir.pin(b"d").expect("pin");
        let acl = Acl { mask: Some(5), names: vec![user(9, 7)], ..Acl::of_mode(0o755) };
        let acls = WantedAcls { default: Some(Arc::new(acl)), ..WantedAcls::default() };
        assert!(acls.apply(&file, 0o755, 0o755).expect("set"));
        assert!(!acls.differ(&file, 0o755, 0o755).expect("compare"));
        let none = WantedAcls { default: Some(Arc::default()), ..WantedAcls::default() };
        assert!(none.apply(&file, 0o755, 0o755).expect("remove"));
        assert_eq!(file.xattr(DEFAULT).expect("get"), None);
    }

    #[test]
    fn a_default_acl_limits_what_is_made_in_its_directory() {
        let (_place, dir) = scratch();
        assert_eq!(creation_limit(&dir), None);
        let plain = Acl::of_mode(0o674);
        let extended = Acl { mask: Some(5), names: vec![user(9, 7)], ..Acl::of_mode(0o771) };
        for (acl, limit) in [(plain, 0o674), (extended, 0o751)] {
            dir.set_xattr(b".", DEFAULT, &format(&acl)).expect("set");
            assert_eq!(creation_limit(&dir), Some(limit));
        }
    }
}
