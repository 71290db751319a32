//! The file system side of rsync: scan, send, generate and receive, over a [`Link`] to any peer.
//!
//! The engine blocks, prints nothing and parses no options: it takes a [`Session`], emits events to
//! its sink, and answers a report or an [`EngineError`]. `docs/architecture.md` shows its threads.

mod backup;
mod batch;
mod companions;
mod confine;
mod connection;
mod copier;
mod destination;
mod error;
mod fetch;
mod generate;
mod inbox;
mod item;
mod link;
mod local;
mod meta;
mod operator_files;
mod outbox;
mod outgoing;
mod partial;
mod rate;
mod receive;
mod sandbox;
pub mod scan;
mod send;
mod session;
mod socket_options;
pub mod tree;
mod voice;

pub use batch::{Recorder, ReplaySetup, create_batch_file, replay};
pub use confine::{Dir, DirStack, Pinned, Stat};
pub use confine::{open_operator_file, open_operator_log, open_operator_state, open_users_file};
pub use connection::Connection;
pub use copier::{Copier, CopierError};
pub use error::EngineError;
pub use fetch::{Collector, fetch};
pub use link::{Link, LinkControl};
pub use local::{LocalSetup, copy};
pub use meta::{OwnerIds, SystemIds, SystemOwners, mode_change};
pub use operator_files::OperatorFiles;
pub use outgoing::Outgoing;
pub use receive::{ReceiveReport, ReceiveSetup, receive};
/// TLS, as the methods of a link take it: connections of clients and servers are made with this crate.
#[cfg(feature = "tls")]
pub use rustls;
pub use sandbox::{Enforced, Sandbox};
pub use send::{Agreed, ListWire, Lists, ScannedLists, SendReport, SendSetup, send};
pub use session::{Counters, ErrorState, ServedModule, Session};
pub use socket_options::SocketOption;
pub use voice::ServerVoice;
