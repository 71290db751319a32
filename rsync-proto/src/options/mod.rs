//! Options: the table, the parser, the checks, the server arguments (spec 08, 01 §3).

mod argv;
mod conflicts;
mod daemon_line;
mod error;
mod model;
mod operands;
mod parse;
mod refuse;
mod rows;
mod scan;
mod stop;
mod table;
mod value;
mod verbosity;

pub use argv::{Direction, ServerWords, Wire};
pub use daemon_line::DaemonLine;
pub use error::OptionError;
pub use model::{
    AddressFamily, Append, BasisDirs, BasisKind, Batch, ChecksumNames, Compress, DEFAULT_MAX_ALLOC,
    DeleteTiming, FilesFrom, FilterArg, Forwarding, Iconv, MissingArgs, OutputBuffer, RemoveSource,
    StderrMode, SuperUser, TransferOptions,
};
pub use operands::{Endpoints, Operand, Remote, RemoteKind, endpoints};
pub use parse::{Command, Environment, Pending, Rejected, Request, parse, parse_daemon_request};
pub use refuse::Refusals;
pub use stop::LocalClock;
pub use verbosity::{Debug, DebugLevels, Info, InfoLevels};
