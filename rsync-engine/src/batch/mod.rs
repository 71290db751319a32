//! Batch files: a transfer recorded while it runs, and applied again without its sender (spec 08 §12).

mod record;
mod replay;

use std::fs::File;
use std::io;
use std::path::Path;

use rsync_proto::options::TransferOptions;

use crate::confine::{Dir, Trust, create_operator_file};

pub use record::Recorder;
pub use replay::{ReplaySetup, replay};

/// Creates, or empties, a file that belongs to a batch; permissions are `mode` less the umask.
///
/// # Errors
/// What the system says; `ELOOP` for a link on the way that neither root nor this user made.
pub fn create_batch_file(path: &[u8], mode: u32, options: &TransferOptions) -> io::Result<File> {
    create_operator_file(&Dir::open(Path::new("."))?, path, mode, Trust::of(options))
}
