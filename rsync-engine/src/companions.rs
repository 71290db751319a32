//! Directories beside the destination that the operator named: alternate destinations
//! (spec 07 §2.1, §5), and the one for temporary files (§6.3).
//!
//! Each is opened once; links in its path count only if they are trusted (spec 10 §2.1). What is
//! looked up beneath it follows none.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bstr::BString;
use rsync_proto::options::BasisKind;
use rsync_proto::text::{Message, OptionDir};

use crate::confine::{Dir, DirStack};
use crate::destination::Destination;
use crate::{EngineError, Session};

/// One `--compare-dest`, `--copy-dest` or `--link-dest` directory.
#[derive(Clone, Debug)]
pub(crate) struct Alternate {
    /// `None` if it is missing; it keeps its number.
    dir: Option<Arc<Dir>>,
    /// Its path, for messages.
    pub(crate) path: BString,
}

impl Alternate {
    /// Opens all that the options name, and says which cannot be used.
    pub(crate) fn open_all(session: &Session, destination: &Destination) -> Vec<Self> {
        let Some(basis) = &session.options.basis_dirs else { return Vec::new() };
        let option = match basis.kind {
            BasisKind::Compare => "compare-dest",
            BasisKind::Copy => "copy-dest",
            BasisKind::Link => "link-dest",
        };
        let open = |path: &BString| {
            let shown = session.shown_path(&destination.path, path);
            // An empty name is that of the destination itself.
            let beside = if path.is_empty() { b"." } else { path.as_slice() };
            let dir = match open_beside(destination, beside) {
                Ok(dir) => Some(Arc::new(dir)),
                Err(error) => {
                    session.say(match error.kind() {
                        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
                            Message::BasisDirMissing(option, &shown)
                        }
                        _ => Message::BasisDirNotDirectory(option, &shown),
                    });
                    None
                }
            };
            Self { dir, path: shown }
        };
        basis.dirs.iter().map(open).collect()
    }

    /// A way to look things up in it.
    pub(crate) fn stack(&self) -> Option<DirStack> {
        self.dir.clone().map(DirStack::new)
    }
}

/// Opens `--temp-dir`, and says why it cannot be used.
///
/// # Errors
/// [`EngineError::BadOptionDir`] if it is missing or something else (exit 1).
pub(crate) fn open_temp_dir(
    session: &Session,
    destination: &Destination,
) -> Result<Option<Dir>, EngineError> {
    let Some(path) = &session.options.temp_dir else { return Ok(None) };
    if destination.imagined {
        return Ok(None);
    }
    open_beside(destination, path).map(Some).map_err(|error| {
        let path = &session.shown_path(b"", path);
        session.say(match error.kind() {
            io::ErrorKind::NotFound => Message::TempDirMissing(path),
            _ => Message::OptionDirNotDirectory(OptionDir::Temp, path),
        });
        EngineError::BadOptionDir
    })
}

/// Opens a directory that is relative to the destination. A root that a dry run only imagines has a
/// parent nevertheless.
fn open_beside(destination: &Destination, path: &[u8]) -> io::Result<Dir> {
    if path.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    if !destination.imagined || path.starts_with(b"/") {
        return destination.bounds.open_dir(&destination.root, path);
    }
    let Some(beside) = path.strip_prefix(b"../") else { return Err(io::ErrorKind::NotFound.into()) };
    let root = destination.path.as_slice();
    let parent = match root.iter().rposition(|&byte| byte == b'/') {
        Some(0) => &b"/"[..],
        Some(slash) => &root[..slash],
        None => b".",
    };
    let parent = destination.bounds.open_dir(&Dir::open(Path::new("."))?, parent)?;
    destination.bounds.open_dir(&parent, beside)
}
