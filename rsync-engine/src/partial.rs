//! `--partial-dir`: where unfinished files wait for the next run, and `--delay-updates` files for
//! the end of this one (spec 07 §7.1).

use std::io;

use bstr::BString;
use rsync_proto::options::TransferOptions;

use crate::confine::{Dir, Trust, make_operator_dir, open_operator_dir};

/// Where partial files are: a directory inside each directory of the destination, or one for all,
/// where files of one name collide.
#[derive(Clone, Debug)]
pub(crate) struct PartialDir {
    name: BString,
    trust: Trust,
}

impl PartialDir {
    /// The directory that the options ask for.
    pub(crate) fn of(options: &TransferOptions) -> Option<Self> {
        let trust = Trust::of(options);
        options.partial_dir.clone().map(|name| Self { name, trust })
    }

    fn is_shared(&self) -> bool {
        self.name.starts_with(b"/")
    }

    /// Opens the partial directory inside `dir`.
    pub(crate) fn open(&self, dir: &Dir) -> io::Result<Dir> {
        match self.is_shared() {
            true => open_operator_dir(dir, &self.name, self.trust),
            false => dir.open_beneath(&self.name),
        }
    }

    /// Opens it, making it where it is missing and removing what else has its name.
    pub(crate) fn make(&self, dir: &Dir) -> io::Result<Dir> {
        if self.is_shared() {
            return make_operator_dir(dir, &self.name, 0o700, self.trust).map(|(made, _)| made);
        }
        let error = match self.open(dir) {
            Ok(opened) => return Ok(opened),
            Err(error) => error,
        };
        if error.kind() != io::ErrorKind::NotFound {
            dir.unlink(&self.name)?;
        }
        dir.mkdir(&self.name, 0o700)?;
        self.open(dir)
    }

    /// Removes the partial file `name`, if there is one: the file is complete elsewhere.
    pub(crate) fn discard(&self, dir: &Dir, name: &[u8]) {
        if let Ok(partial) = self.open(dir)
            && partial.unlink(name).is_ok()
        {
            self.remove_if_empty(dir);
        }
    }

    /// Removes the directory when its last file has left.
    pub(crate) fn remove_if_empty(&self, dir: &Dir) {
        if !self.is_shared() {
            // Other files may still wait in it.
            let _ = dir.rmdir(&self.name);
        }
    }
}
