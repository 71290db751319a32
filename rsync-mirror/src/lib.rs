//! Mirrors as library calls: one job run under a lock with guards and publication, many of them on a
//! schedule with a store, an API and a status page, a front for several rsync daemons, and the takeover
//! of one server by another (spec 11).
//!
//! A [`Job`](job::Job) is plain data. A [`RunContext`](job::RunContext) is what a run gets from whoever starts
//! it: directories, time, chance, a handle that ends it, a board that shows how far it is. A
//! [`RunResult`](job::RunResult) is what it answers.

pub mod api;
mod clock;
pub mod compat;
pub mod config;
mod durable;
mod duration;
mod error;
pub mod health;
pub mod job;
mod markup;
pub mod pair;
pub mod proxy;
pub mod publish;
pub mod schedule;
mod secret;
pub mod serve;
mod serving_check;
pub mod site;
pub mod store;
pub mod upstream;
mod web;

pub use clock::{Chance, Clock, FixedChance, ManualClock, RandomChance, SystemClock};
pub use error::MirrorError;
pub use secret::Secret;
pub use serving_check::{ServingUser, Unreadable};
