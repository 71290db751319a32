//! The names of clients' addresses, checked in both directions.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use super::hosts::Resolve;

/// A client's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostName {
    /// It was not looked up.
    Undetermined,
    /// It has none, or one that is not its own.
    Unknown,
    /// Its name.
    Known(String),
}

impl HostName {
    /// The text in lists and messages.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Undetermined => "UNDETERMINED",
            Self::Unknown => "UNKNOWN",
            Self::Known(name) => name,
        }
    }
}

/// The system's resolver. Its calls block.
pub(crate) struct Resolver;

impl Resolver {
    /// The name of `address`, and why there is none for the log.
    pub(crate) fn name_of(&self, address: IpAddr) -> (HostName, Option<String>) {
        let service = SocketAddr::new(address, 0);
        let name = match dns_lookup::getnameinfo(&service, NAME_REQUIRED) {
            Ok((name, _)) => name,
            Err(error) => {
                let why = std::io::Error::from(error);
                return (HostName::Unknown, Some(format!("name lookup failed for {address}: {why}")));
            }
        };
        let found = self.addresses(&name);
        if found.is_empty() {
            return (HostName::Unknown, Some(format!("forward name lookup for {name} failed")));
        }
        if !found.contains(&address) {
            let why = format!("{address} is not a known address for \"{name}\": spoofed address?");
            return (HostName::Unknown, Some(why));
        }
        (HostName::Known(name), None)
    }
}

/// `NI_NAMEREQD`: an address without a name is an error.
const NAME_REQUIRED: i32 = nix::libc::NI_NAMEREQD;

impl Resolve for Resolver {
    fn addresses(&self, name: &str) -> Vec<IpAddr> {
        (name, 0).to_socket_addrs().map(|found| found.map(|found| found.ip()).collect()).unwrap_or_default()
    }
}
