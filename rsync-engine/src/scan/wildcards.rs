//! Wildcards in requested paths, expanded inside a module or a directory (spec 09 §10).

use std::io;

use rsync_proto::filter::{Filters, Side, Wildcard, sanitize};

use crate::tree::Tree;

/// Most names that one request may stand for.
const NAME_LIMIT: usize = 100_000;

/// Most names that are compared with the wildcards of one request.
const LOOK_LIMIT: usize = 20_000_000;

/// Too many names match, or had to be looked at.
#[derive(Debug, thiserror::Error)]
pub enum TooManyNames {
    /// They match.
    #[error("the requested wildcards match more than {NAME_LIMIT} names")]
    Matching,
    /// They were compared with the wildcards.
    #[error("more than {LOOK_LIMIT} names have to be compared with the requested wildcards")]
    Compared,
}

/// Replaces each path that has wildcards by what it matches in `tree` and `filters` do not hide; one that
/// matches nothing stays. All of them lie beneath the top of the tree: a slash in front means the top, and
/// `..` does not lead above it. `relative` keeps the `/./` of `-R`.
///
/// # Errors
/// When the paths stand for more than 100,000 names, or 20,000,000 had to be looked at.
pub fn expand_wildcards(
    tree: &dyn Tree,
    filters: &Filters,
    paths: &[Vec<u8>],
    relative: bool,
) -> Result<Vec<Vec<u8>>, TooManyNames> {
    let mut out = Vec::new();
    let mut budget = LOOK_LIMIT;
    for path in paths {
        let path = sanitize(path, relative);
        if !Wildcard::is_wild(&path) {
            out.push(path);
            continue;
        }
        let found = matches(tree, filters, &path, &mut budget)?;
        if found.is_empty() {
            out.push(path);
        } else {
            out.extend(found);
        }
        if out.len() > NAME_LIMIT {
            return Err(TooManyNames::Matching);
        }
    }
    Ok(out)
}

/// The same for paths of a whole machine, which may be absolute and lead anywhere: a server expands those
/// that did not pass through a shell (spec 01 §3.6).
///
/// # Errors
/// When the paths stand for more than 100,000 names, or 20,000,000 had to be looked at.
pub fn expand_anywhere(tree: &dyn Tree, paths: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, TooManyNames> {
    let mut out = Vec::new();
    let mut budget = LOOK_LIMIT;
    for path in paths {
        let found = if Wildcard::is_wild(path) {
            matches(tree, &Filters::default(), path, &mut budget)?
        } else {
            Vec::new()
        };
        if found.is_empty() {
            out.push(path.clone());
        }
        out.extend(found);
        if out.len() > NAME_LIMIT {
            return Err(TooManyNames::Matching);
        }
    }
    Ok(out)
}

/// What `path` matches; `budget` is how many more names may be looked at.
fn matches(
    tree: &dyn Tree,
    filters: &Filters,
    path: &[u8],
    budget: &mut usize,
) -> Result<Vec<Vec<u8>>, TooManyNames> {
    let slashes = path.iter().take_while(|&&byte| byte == b'/').count();
    let mut found: Vec<Vec<u8>> = vec![path[..slashes.min(1)].to_vec()];
    let components: Vec<&[u8]> = path[slashes..].split(|&byte| byte == b'/').collect();
    for (position, component) in components.iter().enumerate() {
        let is_last = position + 1 == components.len();
        let mut next = Vec::new();
        for prefix in &found {
            if Wildcard::is_wild(component) {
                // A directory that cannot be read has nothing that matches.
                let _ = list(tree, filters, prefix, &Wildcard::compile(component), &mut next, budget);
            } else {
                let joined = join(prefix, component);
                if !is_last || component.is_empty() || exists(tree, prefix, component) {
                    next.push(joined);
                }
            }
            *budget = budget.saturating_sub(1);
            if *budget == 0 {
                return Err(TooManyNames::Compared);
            }
            if next.len() > NAME_LIMIT {
                return Err(TooManyNames::Matching);
            }
        }
        found = next;
    }
    Ok(found)
}

fn list(
    tree: &dyn Tree,
    filters: &Filters,
    prefix: &[u8],
    pattern: &Wildcard,
    out: &mut Vec<Vec<u8>>,
    budget: &mut usize,
) -> io::Result<()> {
    let rules = filters.start(b"");
    tree.open_base(prefix)?.names(&mut |name, _| {
        if *budget == 0 {
            return;
        }
        *budget -= 1;
        let path = join(prefix, name);
        if pattern.matches(name)
            && out.len() <= NAME_LIMIT
            && !filters.excludes_path(&rules, &path, false, Side::Sender)
        {
            out.push(path);
        }
    })
}

fn exists(tree: &dyn Tree, prefix: &[u8], name: &[u8]) -> bool {
    tree.open_base(prefix).and_then(|dir| dir.stat(name, false)).is_ok()
}

fn join(prefix: &[u8], name: &[u8]) -> Vec<u8> {
    match prefix {
        b"" => name.to_vec(),
        b"/" => [prefix, name].concat(),
        _ => [prefix, b"/", name].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dir;
    use crate::tree::LocalTree;

    #[test]
    fn wildcards_stand_for_names_inside_the_module() {
        let place = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(place.path().join("d1")).expect("dir");
        std::fs::create_dir_all(place.path().join("d2")).expect("dir");
        for name in ["d1/a", "d1/.b", "d2/a", "x[y"] {
            std::fs::write(place.path().join(name), b"").expect("file");
        }
        let tree = LocalTree::confined(Dir::open(place.path()).expect("open"));
        let expand = |path: &str| {
            let mut found =
                expand_wildcards(&tree, &Filters::for_module(), &[path.into()], false).expect("few");
            found.sort();
            found.into_iter().map(|name| String::from_utf8(name).expect("text")).collect::<Vec<_>>()
        };
        assert_eq!(expand("d*/a"), ["d1/a", "d2/a"]);
        assert_eq!(expand("/d1/*"), ["d1/.b", "d1/a"]);
        assert_eq!(expand("d?"), ["d1", "d2"]);
        assert_eq!(expand("nothing*"), ["nothing*"]);
        assert_eq!(expand("../../d[1]"), ["d1"]);
        assert_eq!(expand("x[[]y"), ["x[y"]);
    }

    #[test]
    fn patterns_that_match_nothing_are_not_looked_for_without_end() {
        let place = tempfile::tempdir().expect("a directory");
        for name in 0..10 {
            std::fs::write(place.path().join(name.to_string()), b"").expect("file");
        }
        let tree = LocalTree::confined(Dir::open(place.path()).expect("open"));
        let mut budget = 35;
        let mut look = || matches(&tree, &Filters::default(), b"no*such", &mut budget);
        for _ in 0..3 {
            assert!(look().is_ok_and(|found| found.is_empty()));
        }
        assert!(matches!(look(), Err(TooManyNames::Compared)));
    }

    #[test]
    fn absolute_paths_stay_absolute_and_nothing_is_taken_for_the_top() {
        let place = tempfile::tempdir().expect("a directory");
        for name in ["a1", "a2", "b"] {
            std::fs::write(place.path().join(name), b"").expect("file");
        }
        let tree = LocalTree::new(Dir::open(place.path()).expect("open"));
        let base = place.path().display().to_string();
        let expand = |path: String| {
            let mut found = expand_anywhere(&tree, &[path.into_bytes()]).expect("few");
            found.sort();
            found.into_iter().map(|name| String::from_utf8(name).expect("text")).collect::<Vec<_>>()
        };
        assert_eq!(expand(format!("{base}/a*")), [format!("{base}/a1"), format!("{base}/a2")]);
        assert_eq!(expand("[b]".to_owned()), ["b"]);
        assert_eq!(expand(format!("{base}/none*")), [format!("{base}/none*")]);
        assert_eq!(expand(format!("{base}/../x y")), [format!("{base}/../x y")]);
    }
}
