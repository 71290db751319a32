//! Hard-link groups by identity on disk, and the prefix of unusable symlinks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// What stands in front of the target of a symlink that shall lead nowhere (`--munge-links`, spec 04
/// §7.2): a receiver puts it there, a sender takes it away.
pub const MUNGE_PREFIX: &[u8] = b"/rsyncd-munged/";

/// What becomes of the targets of received symlinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkTargets {
    /// They are stored as they are.
    #[default]
    Kept,
    /// [`MUNGE_PREFIX`] is put in front.
    Munged,
    /// They lead nowhere but beneath the top of the transfer, as [`target_inside`] has it.
    Inside,
}

/// The target of the symlink `link`, without what leads out of the top of the transfer: a slash in front, and
/// more `..` than the link lies deep. Other `..` take away what they follow, and `.` goes (spec 04 §7.2). An
/// empty result is `.`.
#[must_use]
pub fn target_inside(target: &[u8], link: &[u8]) -> Vec<u8> {
    fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
        path.split(|&byte| byte == b'/').filter(|&part| !matches!(part, b"" | b"."))
    }
    let mut depth = parts(link).count().saturating_sub(1);
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut climbs = 0;
    let mut ends_in_name = false;
    for part in parts(target) {
        ends_in_name = part != b"..";
        if ends_in_name {
            kept.push(part);
        } else if kept.pop().is_none() && depth > 0 {
            depth -= 1;
            climbs += 1;
        }
    }
    let is_climb = kept.is_empty() && climbs > 0;
    let last = target.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let ends_in_slash = matches!(last, b"" | b".") || !ends_in_name;
    kept.splice(..0, std::iter::repeat_n(b"..".as_slice(), climbs));
    let mut out = kept.join(&b'/');
    match out.is_empty() {
        true => out.push(b'.'),
        false if ends_in_slash && !(is_climb && last == b"..") => out.push(b'/'),
        false => {}
    }
    out
}

/// Numbers the hard-link groups of a session by the first member seen (spec 03 §3 "Hard links").
#[derive(Debug, Default)]
pub struct LinkGroups {
    groups: HashMap<(u64, u64), u32>,
}

impl LinkGroups {
    /// The group of the file (`dev`, `ino`), and whether it was opened by this call: the group's
    /// number is then `index`, the list start plus wire position of the entry.
    pub fn join(&mut self, dev: u64, ino: u64, index: u32) -> (u32, bool) {
        match self.groups.entry((dev, ino)) {
            Entry::Occupied(group) => (*group.get(), false),
            Entry::Vacant(slot) => (*slot.insert(index), true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn targets_are_kept_inside_as_the_c_daemon_does() {
        for (target, top, deep, deeper) in [
            ("/etc/passwd", "etc/passwd", "etc/passwd", "etc/passwd"),
            ("../../../x", "x", "../x", "../../x"),
            ("a/../b", "b", "b", "b"),
            ("a/../../b", "b", "../b", "../b"),
            ("./a", "a", "a", "a"),
            ("a//b", "a/b", "a/b", "a/b"),
            ("a/", "a/", "a/", "a/"),
            ("..", ".", "..", ".."),
            ("../", ".", "../", "../"),
            ("/", ".", ".", "."),
            ("a/..", ".", ".", "."),
            ("../a", "a", "../a", "../a"),
            ("../../a", "a", "../a", "../../a"),
            (".", ".", ".", "."),
            ("/..", ".", "..", ".."),
            ("../a/../../b", "b", "../b", "../../b"),
            ("///a/b//", "a/b/", "a/b/", "a/b/"),
            ("a/b/../..", ".", ".", "."),
            ("./../a", "a", "../a", "../a"),
            ("x/../y/../../z", "z", "../z", "../z"),
            ("a/b/..", "a/", "a/", "a/"),
            ("a/.", "a/", "a/", "a/"),
            ("a/b/../", "a/", "a/", "a/"),
            ("...", "...", "...", "..."),
            ("..a/b", "..a/b", "..a/b", "..a/b"),
        ] {
            for (link, expected) in [("l", top), ("d/l", deep), ("d/e/l", deeper), ("./d//l", deep)] {
                let inside = target_inside(target.as_bytes(), link.as_bytes());
                assert_eq!(inside.escape_ascii().to_string(), expected, "{link} -> {target}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_target_leads_out(target in "[a./]{0,12}", link in "[a-c]{1,2}(/[a-c]{1,2}){0,3}") {
            let inside = target_inside(target.as_bytes(), link.as_bytes());
            let climbs = inside.split(|&byte| byte == b'/').take_while(|part| *part == b"..").count();
            let deep = link.matches('/').count();
            prop_assert!(!inside.starts_with(b"/") && climbs <= deep, "{link} -> {target}");
            let rest = inside.split(|&byte| byte == b'/').skip(climbs);
            prop_assert!(rest.into_iter().all(|part| part != b".."));
            prop_assert_eq!(target_inside(&inside, link.as_bytes()), inside);
        }
    }
}
