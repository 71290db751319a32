//! An rsync client as a library: it reaches daemons and remote shells, logs in, lists and transfers.
//!
//! ```no_run
//! use rsync_client::{Client, ClientEnvironment};
//! use rsync_proto::options::TransferOptions;
//!
//! # fn main() -> Result<(), rsync_client::ClientError> {
//! let client = Client::builder()
//!     .options(TransferOptions::archive())
//!     .environment(ClientEnvironment::from_env())
//!     .build();
//! for module in client.list_modules("rsync://mirror.example.org/")? {
//!     println!("{}: {}", module.name, module.comment);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Nothing is printed and no variable is read behind the caller's back: texts and items are events for
//! the [`EventSink`](rsync_proto::text::EventSink) of the client, failures are [`ClientError`]s with the
//! exit code the C rsync would end with.

mod asynchronous;
mod call;
mod client;
mod connect;
mod daemon;
mod environment;
mod error;
mod look;
mod password;
mod pull;
mod push;
mod report;
mod rules;
mod session;

pub use asynchronous::AsyncClient;
pub use client::{CancelHandle, Client, ClientBuilder};
pub use environment::ClientEnvironment;
pub use error::ClientError;
pub use password::{AskPassword, PasswordError, PasswordRequest};
pub use report::{Listed, Listing, Module, TransferReport};
