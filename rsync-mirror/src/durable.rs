//! Small files that are there whole or not at all, whatever happens meanwhile.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::MirrorError;

/// Replaces the file at `path` by one that holds `content`; it is on the disk afterwards.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = File::create(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_parent(path)
}

/// Makes what happened to the name of `path` last.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Replaces a file by a value as JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), MirrorError> {
    let written = serde_json::to_vec_pretty(value).map_err(io::Error::from).and_then(|mut text| {
        text.push(b'\n');
        replace(path, &text)
    });
    written.map_err(MirrorError::file("write", path))
}

/// Reads a value; none where there is no file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, MirrorError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => {
            let value = text.and_then(|text| serde_json::from_slice(&text).map_err(io::Error::from));
            value.map(Some).map_err(MirrorError::file("read", path))
        }
    }
}
