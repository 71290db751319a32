//! Options: the table, the parser, the checks, the server arguments (spec 08, 01 §3).

mod argv;
mod choice;
mod conflicts;
mod daemon_line;
mod error;
mod help;
mod manual;
mod manual_texts;
mod model;
mod operands;
mod parse;
mod refuse;
mod replay;
mod restricted;
mod rows;
mod scan;
mod stop;
mod table;
mod value;
mod verbosity;

pub use argv::{Direction, ServerWords, Wire};
pub use choice::{
    AddressFamily, Append, BasisDirs, BasisKind, Batch, ChecksumNames, Compress, DeleteTiming, FilesFrom,
    FilterArg, Iconv, MissingArgs, OutputBuffer, Reflink, RemoveSource, StderrMode, SuperUser,
};
pub use daemon_line::DaemonLine;
pub use error::OptionError;
pub use help::{VersionFacts, daemon_help, debug_help, help, info_help, version, version_json};
pub use manual::{OptionDoc, older_spellings, option_docs};
pub use model::{DEFAULT_MAX_ALLOC, Forwarding, TransferOptions};
pub use operands::{Endpoints, Operand, Remote, RemoteKind, endpoints};
pub use parse::{Command, Environment, Pending, Rejected, Request, parse, parse_daemon_request};
pub use refuse::Refusals;
pub use replay::{ReplayScript, ReplayScriptError};
pub use restricted::{
    RESTRICTED_HELP, RestrictedCommand, RestrictedError, RestrictedLine, RestrictedWord, Restriction,
};
pub use stop::LocalClock;
pub use verbosity::{Debug, DebugLevels, Info, InfoLevels};
