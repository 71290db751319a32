//! A front for rsync daemons (spec 11 §4): one address, behind it several daemons with modules, weights,
//! limits and queues.
//!
//! A client's text phase ends here: it is greeted with what every backend can keep, is told the merged list
//! of modules or names one, may wait in a queue, and is then connected to a backend that has the module.
//! From the backend's answer on, bytes are copied; passwords are a matter between the two.

use std::time::Duration;

mod backend;
mod config;
mod doors;
mod front;
mod greeting;
mod http;
mod log;
mod metrics;
mod policy;
mod relay;
mod roster;
mod shared;
mod visit;

pub use config::{
    FrontConfig, ListenAddress, ModuleConfig, Policy, ProxyConfig, ProxyConfigError, UpstreamConfig,
};
pub use front::{Order, Proxy};
pub use log::{ErrorSink, LogError};
pub use shared::ProxyError;

/// How often a backend is asked anew for its greeting and its modules.
const ASK_INTERVAL: Duration = Duration::from_secs(60);
