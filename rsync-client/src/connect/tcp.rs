//! Direct TCP connections to a daemon (spec 01 §1.2).

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use bstr::{BString, ByteSlice};
use rsync_engine::SocketOption;
use rsync_proto::options::AddressFamily;
use rsync_proto::session::{ConnectProxy, ConnectProxyError};
use socket2::{Domain, Protocol, Socket, Type};

use super::Transport;
use crate::ClientError;

/// How a TCP connection is made.
#[derive(Clone, Debug, Default)]
pub(crate) struct TcpOptions {
    /// Addresses of this family only.
    pub(crate) family: AddressFamily,
    /// Local address to bind.
    pub(crate) bind: Option<BString>,
    /// Longest wait for one address.
    pub(crate) timeout: Option<Duration>,
    /// Applied before connecting.
    pub(crate) socket_options: Vec<SocketOption>,
    /// Goes through this proxy.
    pub(crate) proxy: Option<ConnectProxy>,
}

/// Something about how a connection is made.
#[derive(Debug)]
pub(crate) enum Told<'a> {
    /// A line of `--debug=CONNECT`, with its level.
    Step(u8, &'a str),
    /// Addresses that did not answer, though a later one did; a [`ClientError::Connect`].
    Skipped(ClientError),
}

/// Hears how a connection is made.
pub(crate) type Tell<'a> = &'a dyn Fn(Told<'_>);

/// Connects to the first address of `host` that answers, or through the proxy.
pub(crate) fn connect_tcp(
    host: &[u8],
    port: u16,
    options: &TcpOptions,
    tell: Tell<'_>,
) -> Result<Transport, ClientError> {
    tell(Told::Step(1, &format!("opening tcp connection to {} port {port}", host.as_bstr())));
    let Some(proxy) = &options.proxy else {
        return Transport::of_socket(connect_any(host, port, options, tell)?.into(), None);
    };
    let request = proxy.request(host, port)?;
    tell(Told::Step(1, &format!("connection via http proxy {} port {}", proxy.host, proxy.port)));
    let proxy_port = proxy.port.to_str().ok().and_then(|port| port.parse().ok());
    let socket = connect_any(&proxy.host, proxy_port.ok_or(ConnectProxyError::NoPort)?, options, tell)?;
    Ok(Transport { proxy_request: Some(request), ..Transport::of_socket(socket.into(), None)? })
}

fn connect_any(host: &[u8], port: u16, options: &TcpOptions, tell: Tell<'_>) -> Result<Socket, ClientError> {
    let mut failures = Vec::new();
    for address in resolve(host, port, options.family)? {
        match connect_one(address, own_address(address, options)?, options) {
            Ok(socket) => {
                if !failures.is_empty() {
                    tell(Told::Skipped(ClientError::Connect { host: host.into(), failures }));
                }
                tell(Told::Step(2, &format!("Connected to {} ({})", host.as_bstr(), address.ip())));
                return Ok(socket);
            }
            Err(error) if options.timeout.is_some() && error.kind() == io::ErrorKind::TimedOut => {
                return Err(ClientError::ConnectTimeout { host: host.into() });
            }
            Err(error) => failures.push((address.ip(), error)),
        }
    }
    Err(ClientError::Connect { host: host.into(), failures })
}

/// The address of `--address` that a connection to `address` gets.
fn own_address(address: SocketAddr, options: &TcpOptions) -> Result<Option<SocketAddr>, ClientError> {
    let Some(bind) = &options.bind else { return Ok(None) };
    let family = if address.is_ipv4() { AddressFamily::V4 } else { AddressFamily::V6 };
    match resolve(bind, 0, family) {
        Ok(found) => Ok(found.first().copied()),
        Err(ClientError::Resolve { host, reason, .. }) => {
            Err(ClientError::ResolveOwn { address: host, reason })
        }
        Err(error) => Err(error),
    }
}

fn connect_one(address: SocketAddr, own: Option<SocketAddr>, options: &TcpOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    for option in &options.socket_options {
        // What the system refuses was never promised; the connection works without.
        let _ = option.apply(&socket);
    }
    if let Some(own) = own {
        socket.bind(&own.into())?;
    }
    match options.timeout {
        Some(timeout) => socket.connect_timeout(&address.into(), timeout)?,
        None => socket.connect(&address.into())?,
    }
    Ok(socket)
}

fn resolve(host: &[u8], port: u16, family: AddressFamily) -> Result<Vec<SocketAddr>, ClientError> {
    let failed = |reason: String| ClientError::Resolve { host: host.into(), port, reason };
    let name = host.to_str().map_err(|_| failed("Name or service not known".into()))?;
    let found = (name, port).to_socket_addrs().map_err(|error| failed(resolver_text(&error)))?;
    let wanted: Vec<SocketAddr> = found
        .filter(|address| match family {
            AddressFamily::Any => true,
            AddressFamily::V4 => address.is_ipv4(),
            AddressFamily::V6 => address.is_ipv6(),
        })
        .collect();
    if wanted.is_empty() {
        return Err(failed("Address family for hostname not supported".into()));
    }
    Ok(wanted)
}

/// The resolver's own words, without what the standard library puts in front.
fn resolver_text(error: &io::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(": ").map_or(text.clone(), |(_, reason)| reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsync_proto::text::Role;
    use std::net::TcpListener;

    #[test]
    fn a_refused_connection_names_every_address() {
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("port").port();
        let error =
            connect_tcp(b"127.0.0.1", port, &TcpOptions::default(), &|_| ()).expect_err("nobody listens");
        assert_eq!(
            error.render(Role::EarlyReceiver),
            "rsync: [Receiver] failed to connect to 127.0.0.1 (127.0.0.1): Connection refused (111)"
        );
        assert_eq!(error.exit_code().code(), 10);
    }

    #[test]
    fn an_unknown_host_is_a_resolver_error() {
        let error =
            connect_tcp(b"no.such.host.invalid", 1, &TcpOptions::default(), &|_| ()).expect_err("unknown");
        assert!(error.to_string().starts_with("rsync: getaddrinfo: no.such.host.invalid 1: "), "{error}");
    }

    #[test]
    fn an_unknown_address_of_our_own_is_a_resolver_error_too() {
        let bound = TcpOptions { bind: Some("no.such.host.invalid".into()), ..TcpOptions::default() };
        let error = connect_tcp(b"127.0.0.1", 1, &bound, &|_| ()).expect_err("unknown");
        assert!(error.to_string().starts_with("rsync: getaddrinfo no.such.host.invalid: "), "{error}");
        assert_eq!(error.exit_code().code(), 10);
    }

    #[test]
    fn the_address_family_and_the_local_address_are_obeyed() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let port = listener.local_addr().expect("address").port();
        let v6 = TcpOptions { family: AddressFamily::V6, ..TcpOptions::default() };
        connect_tcp(b"127.0.0.1", port, &v6, &|_| ()).expect_err("no IPv6 address");
        let bound = TcpOptions { bind: Some("127.0.0.3".into()), ..TcpOptions::default() };
        let told = std::cell::RefCell::new(Vec::new());
        let tell = |what: Told<'_>| told.borrow_mut().push(format!("{what:?}"));
        let _transport = connect_tcp(b"127.0.0.1", port, &bound, &tell).expect("connects");
        let opening = format!("Step(1, \"opening tcp connection to 127.0.0.1 port {port}\")");
        assert_eq!(told.take(), [opening, "Step(2, \"Connected to 127.0.0.1 (127.0.0.1)\")".to_owned()]);
        let (_, from) = listener.accept().expect("accepts");
        assert_eq!(from.ip().to_string(), "127.0.0.3");
    }
}
