//! A read-only rsync daemon as a library: `rsyncd.conf`, access, authentication, modules.
//!
//! A tokio front listens and runs the text phase of every connection ([`Daemon`]). A session then runs
//! in a thread with the module's identity, either of this process or of a worker process that is confined
//! to the module ([`DaemonBuilder::worker_command`]); there the engine's sender reads a tree that does
//! not reach out of the module. Nothing here writes to a module.
//!
//! The feature `tls` adds a listener for clients that speak TLS, `http` metrics and health over HTTP. Without
//! them, configurations that want such a thing are errors.

mod access;
mod auth;
mod builder;
mod config;
mod converter;
mod daemon;
mod files;
mod hooks;
mod host;
#[cfg_attr(not(feature = "http"), path = "no_http.rs")]
mod http;
mod identity;
mod limits;
mod listen;
mod log;
mod metered;
mod metrics;
mod module_root;
mod order;
mod packed;
mod peer;
mod pid_file;
mod places;
mod readable;
mod request;
mod room;
mod rules;
mod serve;
mod session;
mod stream;
mod tally;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
mod visit;
mod voice;
mod worker;

pub use access::AddressPattern;
pub use builder::DaemonBuilder;
pub use config::{
    Config, ConfigError, ConfigReport, ExpansionOverflow, Finding, GlobalSettings, Gravity, Module,
    ModuleSettings, Place, rsyncd_conf_manual,
};
pub use daemon::{Daemon, DaemonError, Entrance};
pub use host::Caller;
pub use http::MetricsError;
pub use listen::{ListenError, allow_many_files};
pub use log::{LogTarget, StyleError};
pub use peer::{Peer, PeerError};
pub use pid_file::PidFileError;
pub use stream::{ClientStream, Duplex};
pub use tls::TlsError;
#[cfg(feature = "tls")]
pub use tls::{Certificate, TlsFiles};
pub use worker::{Protections, run_worker};
