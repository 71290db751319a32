//! Options: the table, the parser, the checks, the server arguments (spec 08, 01 §3).

mod model;
mod verbosity;

pub use model::{
    AddressFamily, Append, BasisDirs, BasisKind, Batch, ChecksumNames, Compress, DEFAULT_MAX_ALLOC,
    DeleteTiming, FilesFrom, FilterArg, Forwarding, Iconv, MissingArgs, OutputBuffer, RemoveSource,
    StderrMode, SuperUser, TransferOptions,
};
pub use verbosity::{Debug, DebugLevels, Info, InfoLevels};
