//! The end-to-end harness: trees, real peers, transports that misbehave, and comparison.
//!
//! Tests live in `tests/tests`. They run the binaries of `rsync-cli` that lie beside the test executable
//! (`cargo build -p rsync-cli` makes them) against the C rsync in `/usr/bin/rsync`. A test writes a
//! [`Tree`], lets a [`Pull`] carry it over, and compares [`Snapshot`]s; what the C pair does on the same
//! trees is the reference. `E2E_RSYNC` and `E2E_RSYNCD` name other programs to test, which is how the
//! harness is checked against the C rsync itself.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a harness fails by panicking")]

pub mod browser;
pub mod daemon;
pub mod dns;
pub mod fed;
pub mod front;
pub mod hostile;
pub mod immutable;
pub mod inetd;
pub mod long;
pub mod loop_device;
pub mod matrix;
pub mod mirror;
pub mod mixed;
pub mod mount;
pub mod network;
pub mod outcome;
pub mod pair;
pub mod postgres;
pub mod program;
pub mod proxy;
pub mod pull;
pub mod race;
pub mod scenario;
pub mod script;
pub mod shell;
pub mod side_by_side;
pub mod site;
pub mod snapshot;
pub mod soak;
pub mod tls;
pub mod tree;
pub mod twins;
pub mod ways;
pub mod web;
pub mod work;

pub use daemon::Daemon;
pub use front::Front;
pub use inetd::Inetd;
pub use mirror::Mirror;
pub use network::Namespace;
pub use outcome::{Outcome, run, run_for, wait_until};
pub use pair::Servers;
pub use postgres::Postgres;
pub use program::Side;
pub use proxy::{Proxy, ProxyPlan};
pub use pull::{Pull, Transport};
pub use site::Site;
pub use snapshot::{Compare, Snapshot};
pub use tree::Tree;
pub use twins::{Twin, Twins};
pub use ways::{Copied, Copying, Way};
pub use work::Work;
