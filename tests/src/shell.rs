//! Remote shells that do not leave the machine.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::program::helper;
use crate::work::Work;

/// Drops options and the host, and gives the rest to `sh`, as a real remote shell does.
const SCRIPT: &str = r#"#!/bin/sh
while :; do
  case "$1" in
    -l) shift 2 ;;
    -*) shift ;;
    *) break ;;
  esac
done
shift
exec sh -c "$*"
"#;

/// Writes the plain remote shell into `work` and returns its path, the value of `-e`.
#[must_use]
pub fn plain(work: &Work) -> PathBuf {
    let path = work.join("remote-shell");
    std::fs::write(&path, SCRIPT).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The value of `-e` for a remote shell that hands bytes on in pieces of at most `piece`.
#[must_use]
pub fn chunked(piece: usize) -> String {
    format!("{} {piece}", helper("e2e-remote-shell").display())
}
