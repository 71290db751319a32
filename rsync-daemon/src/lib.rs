//! A read-only rsync daemon as a library: `rsyncd.conf`, access, authentication, modules.
//!
//! A tokio front listens and runs the text phase of every connection ([`Daemon`]); each session then
//! gets a blocking thread with the module's identity, which runs the engine's sender over a tree that
//! is confined to the module. Nothing here writes to a module.

mod access;
mod auth;
mod config;
mod daemon;
mod files;
mod glob;
mod identity;
mod limits;
mod listen;
mod log;
mod module_root;
mod peer;
mod pid_file;
mod readable;
mod request;
mod serve;
mod session;
mod visit;
mod voice;

pub use config::{Config, ConfigError, ExpansionOverflow, GlobalSettings, Module, ModuleSettings};
pub use daemon::{Daemon, DaemonBuilder, DaemonError};
pub use listen::ListenError;
pub use log::LogTarget;
pub use pid_file::PidFileError;
