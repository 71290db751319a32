//! What a receiver does with names before it accepts them: conversion and trust (spec 03 §5, §9).

use super::error::FileListError;
use super::name::MAX_PATH;
use crate::charset::{Charset, Unconvertible};
use crate::filter::ImpliedNames;

/// How far a name was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It was.
    Requested,
    /// Only something below the directory was: nothing may be deleted in it, whatever the sender says.
    ParentOnly,
}

/// Decides whether a received name may be in the list.
pub trait NameGuard {
    /// Judges a normalised path without a leading slash.
    ///
    /// # Errors
    /// [`FileListError::Excluded`] or [`FileListError::Unrequested`].
    fn admit(&mut self, path: &[u8], is_dir: bool) -> Result<Admission, FileListError>;
}

/// Whether the client's own sender-side rules exclude a path (of a directory, if the flag is set).
pub type Excluded = Box<dyn FnMut(&[u8], bool) -> bool + Send>;

/// The guard of a client that pulls: names must have been asked for and not be excluded.
pub struct RequestGuard {
    /// The patterns of the source arguments; `None` where they cannot be known (`--old-args`, names
    /// from a remote file).
    pub requested: Option<ImpliedNames>,
    /// The client's rules; `None` if some are merged per directory.
    pub excluded: Option<Excluded>,
}

impl NameGuard for RequestGuard {
    fn admit(&mut self, path: &[u8], is_dir: bool) -> Result<Admission, FileListError> {
        let exempt = path == b".";
        if !exempt && self.excluded.as_mut().is_some_and(|excluded| excluded(path, is_dir)) {
            return Err(FileListError::Excluded { name: path.into() });
        }
        let Some(requested) = &self.requested else { return Ok(Admission::Requested) };
        if !exempt && !requested.covers(path, is_dir) {
            return Err(FileListError::Unrequested { name: path.into() });
        }
        let parent_only = is_dir && requested.is_only_parent(path);
        Ok(if parent_only { Admission::ParentOnly } else { Admission::Requested })
    }
}

/// How the text of entries is converted between the wire and this side (`--iconv`; spec 03 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// The charset of this side.
    pub charset: Charset,
    /// Targets of symbolic links are converted too
    /// ([`Negotiated::converts_targets`](crate::session::Negotiated::converts_targets)).
    pub targets: bool,
}

impl Conversion {
    /// The name and the target (empty if there is none) of an entry as they travel.
    ///
    /// # Errors
    /// What cannot be converted.
    pub fn to_wire(self, path: &[u8], target: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Unconverted> {
        let path = bounded(self.charset.to_wire(path)).map_err(Unconverted::Name)?;
        if !self.targets {
            return Ok((path, target.to_vec()));
        }
        let target = bounded(self.charset.to_wire(target)).map_err(Unconverted::Target)?;
        Ok((path, target))
    }

    /// A received name.
    ///
    /// # Errors
    /// [`Unconverted::Name`]
    pub fn name_from_wire(self, name: &[u8]) -> Result<Vec<u8>, Unconverted> {
        bounded(self.charset.from_wire(name)).map_err(Unconverted::Name)
    }

    /// A received target.
    ///
    /// # Errors
    /// [`Unconverted::Target`]
    pub fn target_from_wire(self, target: &[u8]) -> Result<Vec<u8>, Unconverted> {
        if !self.targets {
            return Ok(target.to_vec());
        }
        bounded(self.charset.from_wire(target)).map_err(Unconverted::Target)
    }
}

fn bounded(converted: Result<Vec<u8>, Unconvertible>) -> Result<Vec<u8>, Unconvertible> {
    converted.and_then(|text| if text.len() > MAX_PATH { Err(Unconvertible::TooLong) } else { Ok(text) })
}

/// What of an entry could not be converted, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconverted {
    /// Its name.
    Name(Unconvertible),
    /// The target of the symbolic link.
    Target(Unconvertible),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::RequestShape;

    fn guard(relative: bool) -> RequestGuard {
        let mut names = ImpliedNames::default();
        names.add(b"a/b", RequestShape { relative, recursive: true, dirs: true });
        RequestGuard { requested: Some(names), excluded: Some(Box::new(|path, _| path == b"b/no")) }
    }

    #[test]
    fn only_what_was_asked_for_is_admitted() {
        let mut guard = guard(false);
        assert_eq!(guard.admit(b"b/c", false), Ok(Admission::Requested));
        let error = guard.admit(b"other", false).expect_err("not asked for");
        assert_eq!(error.to_string(), "ERROR: rejecting unrequested file-list name: other");
        let error = guard.admit(b"b/no", false).expect_err("excluded");
        assert_eq!(error.to_string(), "ERROR: rejecting excluded file-list name: b/no");
        assert_eq!(error.exit_code(), crate::exit::ExitCode::UNSUPPORTED);
    }

    #[test]
    fn parents_of_requests_are_only_parents() {
        let mut guard = guard(true);
        assert_eq!(guard.admit(b"a", true), Ok(Admission::ParentOnly));
        assert_eq!(guard.admit(b".", true), Ok(Admission::ParentOnly));
        assert_eq!(guard.admit(b"a/b", true), Ok(Admission::Requested));
    }
}
