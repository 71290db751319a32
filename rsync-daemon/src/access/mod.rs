//! Who may connect: host lists and the names of clients (spec 09 §4.2, §6).

mod hosts;
mod names;

pub use hosts::AddressPattern;
pub(crate) use hosts::{HostLists, Verdict, misspelt_hosts};
pub(crate) use names::{HostName, Resolver};
