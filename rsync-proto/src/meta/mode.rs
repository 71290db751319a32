//! Which permissions an entry finally gets (spec 04 §5.1, §5.3).

use super::acl::Acl;

const PERMISSIONS: u32 = 0o7777;
const TYPE: u32 = 0o170_000;
const EXECUTE: u32 = 0o111;

/// What was at the destination before this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Nothing that counts.
    No {
        /// The inode just created for a directory inherited its setgid bit.
        inherited_setgid: bool,
    },
    /// An item of the kind the entry needs, with this mode.
    Yes(u32),
}

/// The permissions that new items are bounded by: the umask's, or those of the default ACL of the
/// directory they are in.
#[must_use]
pub fn default_permissions(umask: u32, default_acl: Option<&Acl>) -> u32 {
    match default_acl {
        Some(acl) if acl.user_obj.is_some() => {
            let bits = |class: Option<u8>| u32::from(class.unwrap_or(0) & 7);
            bits(acl.user_obj) << 6 | bits(acl.mask.or(acl.group_obj)) << 3 | bits(acl.other)
        }
        _ => 0o777 & !umask,
    }
}

/// The mode to give an item whose list entry (after `--chmod`) says `wanted`.
///
/// `perms` is `-p`, `executable` is `-E` for a regular file, `defaults` come from
/// [`default_permissions`].
#[must_use]
pub fn final_mode(wanted: u32, existing: Existing, perms: bool, executable: bool, defaults: u32) -> u32 {
    let kind = wanted & TYPE;
    match existing {
        _ if perms => wanted,
        Existing::Yes(current) if executable => kind | executability(current & PERMISSIONS, wanted),
        Existing::Yes(current) => kind | current & PERMISSIONS,
        Existing::No { inherited_setgid } => {
            kind | wanted & defaults & 0o777 | if inherited_setgid { 0o2000 } else { 0 }
        }
    }
}

/// `current` made executable as `wanted` is: without any x if it has none, else, if `current` has
/// none, with x wherever it has r (`-E`).
#[must_use]
pub fn executability(current: u32, wanted: u32) -> u32 {
    if wanted & EXECUTE == 0 {
        current & !EXECUTE
    } else if current & EXECUTE == 0 {
        current | current >> 2 & EXECUTE
    } else {
        current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Existing = Existing::No { inherited_setgid: false };

    #[test]
    fn permissions_come_from_the_list_the_item_or_the_umask() {
        assert_eq!(final_mode(0o104_755, NEW, true, false, 0o755), 0o104_755);
        assert_eq!(final_mode(0o104_777, NEW, false, false, 0o755), 0o100_755);
        assert_eq!(final_mode(0o100_644, Existing::Yes(0o104_600), false, false, 0o755), 0o104_600);
        let inherited = Existing::No { inherited_setgid: true };
        assert_eq!(final_mode(0o040_777, inherited, false, false, 0o755), 0o042_755);
        assert_eq!(final_mode(0o040_777, inherited, true, false, 0o755), 0o040_777);
    }

    #[test]
    fn executability_follows_the_list() {
        let current = Existing::Yes(0o100_640);
        assert_eq!(final_mode(0o100_755, current, false, true, 0), 0o100_750);
        assert_eq!(final_mode(0o100_644, Existing::Yes(0o100_751), false, true, 0), 0o100_640);
        assert_eq!(final_mode(0o100_755, Existing::Yes(0o100_610), false, true, 0), 0o100_610);
    }

    #[test]
    fn a_default_acl_replaces_the_umask() {
        let acl = Acl { user_obj: Some(7), group_obj: Some(5), mask: Some(7), other: Some(0), names: vec![] };
        assert_eq!(default_permissions(0o077, Some(&acl)), 0o770);
        assert_eq!(default_permissions(0o027, Some(&Acl::default())), 0o750);
        assert_eq!(default_permissions(0o022, None), 0o755);
    }
}
