//! The rule files that a scan meets on its way (spec 06 §2.5, §5).

use std::io::{self, Read};
use std::sync::Arc;

use rsync_proto::filter::{FilterNote, OpenFailure, RuleFile, RuleFiles};
use rsync_proto::text::{Event, Severity, describe_errno};
use rustix::io::Errno;

use super::facts::is_errno;
use crate::session::Session;
use crate::tree::{ReadAt, Tree, TreeDir};

/// Reads rule files on behalf of one directory.
pub(super) struct DirectoryFiles<'a> {
    pub(super) session: &'a Session,
    pub(super) tree: &'a dyn Tree,
    /// The directory being entered and its absolute path, unless it cannot be opened.
    pub(super) dir: Option<Arc<dyn TreeDir>>,
    pub(super) directory: &'a [u8],
    /// Absolute path of the transfer root, where names without a slash start.
    pub(super) root: &'a [u8],
}

impl DirectoryFiles<'_> {
    fn read_per_directory(&self, directory: &[u8], name: &[u8]) -> io::Result<Vec<u8>> {
        if let Some(dir) = self.dir.as_ref().filter(|_| directory == self.directory) {
            match dir.open(name, false) {
                Ok(file) => return read_all(&*file),
                Err(error) if is_errno(&error, Errno::LOOP) => {}
                Err(error) => return Err(error),
            }
        }
        self.tree.read_operator_file(&join(directory, name))
    }
}

impl RuleFiles for DirectoryFiles<'_> {
    fn read(&mut self, file: RuleFile<'_>) -> Result<Vec<u8>, OpenFailure> {
        let text = match file {
            RuleFile::PerDirectory { directory, name } => self.read_per_directory(directory, name),
            RuleFile::Named(path) => self.tree.read_operator_file(&join(self.root, path)),
        };
        text.map_err(|error| OpenFailure { reason: describe_errno(error.raw_os_error().unwrap_or_default()) })
    }

    fn note(&mut self, note: FilterNote) {
        if let FilterNote::OverLong { .. } = note {
            let text = format!("{note}\n");
            self.session.events.emit(Event::PeerText { severity: Severity::Error, text: text.as_bytes() });
        }
    }
}

/// `name` seen from the absolute path `directory`.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if name.first() == Some(&b'/') || directory.is_empty() {
        return name.to_vec();
    }
    [directory.strip_suffix(b"/").unwrap_or(directory), b"/", name].concat()
}

fn read_all(file: &dyn ReadAt) -> io::Result<Vec<u8>> {
    /// Longest rule file that is read, in bytes.
    const LONGEST: u64 = 64 << 20;
    let mut text = Vec::new();
    Sequential { file, offset: 0 }.take(LONGEST).read_to_end(&mut text)?;
    Ok(text)
}

struct Sequential<'a> {
    file: &'a dyn ReadAt,
    offset: u64,
}

impl Read for Sequential<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.offset)?;
        self.offset += length as u64;
        Ok(length)
    }
}
