//! Listening sockets (spec 09 §1).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use rsync_engine::SocketOption;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

/// Lets this process, and the workers it starts, open as many files as the system lets it have: every
/// connection takes some. For programs that are a daemon and nothing else.
pub fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    // What we have already has to do then.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Where to listen.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListenAddress {
    /// Names or addresses; every address without one.
    pub(crate) hosts: Vec<String>,
    /// Only addresses of this version of IP.
    pub(crate) ip_version: Option<u8>,
    pub(crate) port: u16,
    pub(crate) backlog: i32,
    pub(crate) socket_options: Vec<u8>,
}

/// Why the daemon cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is none.
    #[error("rsync: getaddrinfo: bind address {address}: {source}")]
    Resolve {
        /// What was given.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// No address can be bound.
    #[error("unable to bind any inbound sockets on port {port}")]
    NoSocket {
        /// The port.
        port: u16,
    },
}

/// Binds every address; `note` takes lines for the log.
pub(crate) fn bind(
    address: &ListenAddress,
    note: &mut dyn FnMut(String),
) -> Result<Vec<std::net::TcpListener>, ListenError> {
    let mut addresses = Vec::new();
    if address.hosts.is_empty() {
        let every = [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)];
        addresses.extend(every.map(|ip| SocketAddr::new(ip, address.port)));
    }
    for host in &address.hosts {
        // A name stands for addresses of both families.
        let found = (host.as_str(), address.port).to_socket_addrs();
        addresses.extend(found.map_err(|source| ListenError::Resolve { address: host.clone(), source })?);
    }
    addresses.retain(|found| address.ip_version.is_none_or(|version| found.is_ipv4() == (version == 4)));
    let mut listeners = Vec::new();
    for socket_address in addresses {
        match bind_one(socket_address, address, note) {
            Ok(listener) => listeners.push(listener),
            Err(error) => note(format!(
                "bind() failed: {error} (address-family {})",
                if socket_address.is_ipv4() { 2 } else { 10 }
            )),
        }
    }
    if listeners.is_empty() { Err(ListenError::NoSocket { port: address.port }) } else { Ok(listeners) }
}

fn bind_one(
    socket_address: SocketAddr,
    address: &ListenAddress,
    note: &mut dyn FnMut(String),
) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(socket_address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    set_options(&socket, &address.socket_options, note);
    if socket_address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&socket_address.into())?;
    socket.listen(if address.backlog > 0 { address.backlog } else { 5 })?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Sets the options of a list such as `SO_KEEPALIVE,SO_SNDBUF=65536`.
fn set_options(socket: &Socket, list: &[u8], note: &mut dyn FnMut(String)) {
    let (options, complaints) = SocketOption::parse_list(list);
    let failures = options.into_iter().filter_map(|option| option.apply(socket).err());
    complaints.into_iter().chain(failures).for_each(note);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_are_bound_side_by_side() {
        let mut notes = Vec::new();
        let address =
            ListenAddress { socket_options: b"SO_KEEPALIVE, FOO".to_vec(), ..ListenAddress::default() };
        let listeners = bind(&address, &mut |note| notes.push(note)).expect("bound");
        assert!(!listeners.is_empty());
        assert!(notes.iter().any(|note| note == "Unknown socket option FOO"));
    }

    #[test]
    fn a_name_that_is_none_is_an_error() {
        let address = ListenAddress { hosts: vec!["nosuch.invalid".into()], ..ListenAddress::default() };
        let error = bind(&address, &mut |_| {}).expect_err("no address");
        assert!(error.to_string().starts_with("rsync: getaddrinfo: bind address nosuch.invalid:"));
    }

    #[test]
    fn every_address_of_several_is_bound() {
        let address =
            ListenAddress { hosts: vec!["127.0.0.1".into(), "127.0.0.2".into()], ..ListenAddress::default() };
        let listeners = bind(&address, &mut |_| {}).expect("bound");
        let bound: Vec<_> = listeners.iter().map(|one| one.local_addr().expect("an address").ip()).collect();
        assert_eq!(bound, [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)]);
    }
}
