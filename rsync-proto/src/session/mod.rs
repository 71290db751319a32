//! From connect to the first byte of the file list (spec 01).
//!
//! A daemon connection begins with lines: [`Greeting`], [`ModuleRequest`], authentication
//! ([`AuthDigest`]), the argument list ([`ArgumentReader`]). Every connection then runs a
//! [`ClientSetup`] against a [`ServerSetup`], which end in one [`Negotiated`].

mod agreement;
mod algorithms;
mod arguments;
mod auth;
mod batch;
mod capabilities;
mod connect_proxy;
mod error;
mod greeting;
mod line;
mod local;
mod negotiated;
mod proxy_header;
mod request;
mod setup;
mod version;

pub use agreement::{AlgorithmVariables, Entry};
pub use algorithms::AlgorithmKind;
pub use arguments::{
    ArgumentError, ArgumentReader, module_paths, put_daemon_arguments, put_secluded_arguments,
    unescape_options,
};
pub use auth::{AuthDigest, NoCommonDigest, auth_answer, parse_auth_answer};
pub use batch::{BatchChange, BatchError, BatchFlags, BatchHead};
pub use capabilities::Capabilities;
pub use connect_proxy::{ConnectProxy, ConnectProxyError};
pub use error::SetupError;
pub use greeting::{Greeting, GreetingError};
pub use line::{LONG_LINE_LIMIT, LineError, REQUEST_LINE_LIMIT, line};
pub use local::agree_locally;
pub use negotiated::{CompatFlags, NEWEST_PROTOCOL, Negotiated, OLDEST_PROTOCOL};
pub use proxy_header::{ProxiedClient, ProxyHeaderError, ProxyHeaderVersion, proxy_header};
pub use request::{
    EARLY_INPUT_LIMIT, EXIT_LINE, EarlyInputTooLong, ModuleRequest, OK_LINE, Refusal, Reply,
    auth_required_line, listing_line, parse_listing_line, request_lines,
};
pub use setup::{ClientSetup, Progress, ServerSetup, shortened_timeout};
pub use version::ProtocolNumber;
