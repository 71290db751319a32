//! Files the operator named: links on the way count only if root or we made them (spec 10 §2).

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rsync_engine::{Dir, open_operator_file, open_operator_log, open_operator_state};

/// Most bytes of a configuration file.
pub(crate) const CONFIG_LIMIT: u64 = 16 << 20;
/// Most bytes of a message of the day.
pub(crate) const MOTD_LIMIT: u64 = 1 << 20;

/// A path of the configuration.
pub(crate) fn to_path(text: &[u8]) -> PathBuf {
    std::ffi::OsStr::from_bytes(text).into()
}

/// Opens a file for reading.
pub(crate) fn open_trusted(path: &Path) -> io::Result<File> {
    open_operator_file(&Dir::open(Path::new("."))?, path.as_os_str().as_bytes())
}

/// The content of a file, which must not be longer than `limit` bytes.
pub(crate) fn read_trusted(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    open_trusted(path)?.take(limit + 1).read_to_end(&mut text)?;
    if text.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is too large"));
    }
    Ok(text)
}

/// Opens a file for writing over what it has, making it with `mode` less the umask.
pub(crate) fn open_own(path: &Path, mode: u32) -> io::Result<File> {
    open_operator_state(&Dir::open(Path::new("."))?, path.as_os_str().as_bytes(), mode)
}

/// Opens a log for writing at its end, making it.
pub(crate) fn open_log(path: &Path) -> io::Result<File> {
    open_operator_log(&Dir::open(Path::new("."))?, path.as_os_str().as_bytes(), false)
}
