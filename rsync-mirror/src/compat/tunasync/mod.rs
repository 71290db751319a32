//! tunasync 0.10 (spec 11 §3): its manager, its worker, and what its control program says to them.
//!
//! [`ManagerConfig`] and [`WorkerConfig`] read `manager.conf` and `worker.conf` as they are; what cannot be
//! honoured is refused with its file, line and key. A worker is a [`Site`](crate::site::Site) whose jobs come
//! from there, with a [`Reporter`] that tells managers and a [`worker_router`] that obeys them. A manager is a
//! [`Ledger`] of what workers report, behind a [`manager_router`].

mod client;
mod control_conf;
mod convert;
mod ledger;
mod manager;
mod manager_conf;
mod records;
mod reporter;
mod template;
mod worker;
mod worker_conf;

pub use client::{ControlClient, ControlError};
pub use control_conf::ControlConfig;
pub use ledger::{Ledger, LedgerError};
pub use manager::{Manager, manager_router};
pub use manager_conf::{ManagerConfig, ManagerOverrides};
pub use records::{Command, GoTime, MirrorStatus, WebStatus, WorkerRecord};
pub use reporter::Reporter;
pub use template::{Template, TemplateError};
pub use worker::worker_router;
pub use worker_conf::{WorkerConfig, WorkerSettings};

#[cfg(test)]
mod tests;
