//! An rsync client as a library: it reaches daemons and remote shells, logs in, lists and transfers.
//!
//! ```
//! use rsync_client::{Client, ClientEnvironment};
//! use rsync_proto::options::TransferOptions;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let work = tempfile::tempdir()?;
//! # let (files, settings) = (work.path().join("files"), work.path().join("rsyncd.conf"));
//! # std::fs::create_dir(&files)?;
//! # std::fs::write(files.join("hello.txt"), "hello\n")?;
//! # let module = format!("use chroot = no\nuid = 0\ngid = 0\n[pub]\npath = {}\n", files.display());
//! # std::fs::write(&settings, module + "comment = a module\n")?;
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # let inside = runtime.enter();
//! # let log = rsync_daemon::LogTarget::Nothing;
//! # let daemon = rsync_daemon::Daemon::from_file(settings).address("127.0.0.1").port(0).log(log).bind()?;
//! # let address = daemon.local_addresses()[0];
//! # runtime.spawn(daemon.run(std::future::pending()));
//! # drop(inside);
//! # let destination = work.path().join("mirror");
//! # let daemon = format!("rsync://{address}");
//! let client = Client::builder()
//!     .options(TransferOptions::archive())
//!     .environment(ClientEnvironment::from_env())
//!     .build();
//!
//! // The modules of a daemon, here at rsync://127.0.0.1:PORT.
//! for module in client.list_modules(format!("{daemon}/"))? {
//!     println!("{}: {}", module.name, module.comment);
//! }
//! // What a module holds.
//! let listing = client.list(format!("{daemon}/pub/"))?;
//! assert!(listing.entries.iter().any(|entry| entry.name == "hello.txt"));
//! // A mirror of it.
//! let report = client.pull(format!("{daemon}/pub/"), &destination)?;
//! assert!(report.is_complete());
//! assert_eq!(std::fs::read(destination.join("hello.txt"))?, b"hello\n");
//! // One file, without touching the disk.
//! assert_eq!(client.fetch(format!("{daemon}/pub/hello.txt"))?, b"hello\n");
//! # Ok(())
//! # }
//! ```
//!
//! What a transfer would do is a list of actions, before anything is changed:
//!
//! ```
//! use rsync_client::{Client, Operation};
//! use rsync_proto::options::TransferOptions;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let work = tempfile::tempdir()?;
//! # let (source, backup) = (work.path().join("source"), work.path().join("backup"));
//! # std::fs::create_dir(&source)?;
//! # std::fs::create_dir(&backup)?;
//! # std::fs::write(source.join("notes.txt"), "buy milk\n")?;
//! let client = Client::builder().options(TransferOptions::archive()).build();
//! let plan = client.dry_run(&[format!("{}/", source.display())], backup.display().to_string())?;
//! let created = plan.actions.iter().find(|action| action.operation == Operation::Create);
//! assert_eq!(created.map(|action| action.path.to_string()).as_deref(), Some("notes.txt"));
//! # Ok(())
//! # }
//! ```
//!
//! `examples/` has a small program for each kind of call.
//!
//! Nothing is printed and no variable is read behind the caller's back: texts and items are events for
//! the [`EventSink`](rsync_proto::text::EventSink) of the client, failures are [`ClientError`]s with the
//! exit code the C rsync would end with.

mod asynchronous;
mod batch;
mod call;
mod client;
mod connect;
mod copier;
mod daemon;
mod environment;
mod error;
mod local;
mod look;
mod pair;
mod password;
mod plan;
mod prepare;
mod pull;
mod push;
mod remedy;
mod report;
mod session;

pub use asynchronous::AsyncClient;
pub use batch::BatchFile;
pub use client::{CancelHandle, Client, ClientBuilder};
pub use connect::{ConnectRequest, Connector};
pub use environment::{ClientEnvironment, TlsSettings};
pub use error::ClientError;
pub use password::{AskPassword, PasswordError, PasswordRequest};
pub use plan::{Action, Changes, Operation, Plan};
pub use report::{Listed, Listing, Module, TransferReport};

/// The README's program compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
