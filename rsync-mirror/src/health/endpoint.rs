//! Where a daemon listens, and connecting to it.

use std::fmt;
use std::io;
use std::net::Ipv6Addr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use rsync_daemon::ClientStream;
use serde::{Deserialize, Deserializer};
use tokio::net::{TcpStream, UnixStream};

/// The port of daemons where nothing else is said.
const DAEMON_PORT: u16 = 873;

/// Where a daemon listens: `HOST[:PORT]`, where an IPv6 address stands in brackets if a port follows, or
/// the absolute path of a Unix socket. The port is 873 where none is given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A name or an address, and a port.
    Tcp {
        /// The name or address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A socket of this machine.
    Unix(PathBuf),
}

/// A text is no place where a daemon could listen; it holds the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither HOST, HOST:PORT, [IPV6]:PORT nor the absolute path of a Unix socket")]
pub struct EndpointError(pub String);

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let wrong = || EndpointError(text.to_owned());
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return Ok(Self::Tcp { host: text.to_owned(), port: DAEMON_PORT });
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
                host.parse::<Ipv6Addr>().map_err(|_| wrong())?;
                (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(wrong)?) })
            }
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Some(DAEMON_PORT), |port| port.parse().ok()).filter(|&port| port != 0);
        let is_host = !host.is_empty() && !host.contains(['/', ' ', '@']);
        port.filter(|_| is_host).map(|port| Self::Tcp { host: host.to_owned(), port }).ok_or_else(wrong)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A connection to a daemon.
pub(crate) enum Connected {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connected {
    /// For speaking with the daemon.
    pub(crate) fn into_stream(self) -> ClientStream {
        match self {
            Self::Tcp(stream) => ClientStream::Socket(stream),
            Self::Unix(stream) => ClientStream::Other(Box::new(stream)),
        }
    }

    /// The socket alone, which does not block.
    pub(crate) fn into_fd(self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(OwnedFd::from),
            Self::Unix(stream) => stream.into_std().map(OwnedFd::from),
        }
    }
}

impl Endpoint {
    /// Connects to the first of its addresses that answers, within `limit` altogether.
    ///
    /// # Errors
    /// What the last address said; [`io::ErrorKind::TimedOut`].
    pub(crate) async fn connect(&self, limit: Duration) -> io::Result<Connected> {
        let connecting = async {
            match self {
                Self::Tcp { host, port } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    // Lines of the text phase are small and are waited for.
                    stream.set_nodelay(true)?;
                    Ok(Connected::Tcp(stream))
                }
                Self::Unix(path) => UnixStream::connect(path).await.map(Connected::Unix),
            }
        };
        match tokio::time::timeout(limit, connecting).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer within {}", crate::duration::text(limit)),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written_alike() {
        for (text, written) in [
            ("mirror.example.org", "mirror.example.org:873"),
            ("mirror:1873", "mirror:1873"),
            ("10.0.0.1", "10.0.0.1:873"),
            ("fd00::1", "[fd00::1]:873"),
            ("[fd00::1]", "[fd00::1]:873"),
            ("[fd00::1]:1873", "[fd00::1]:1873"),
            ("/run/rsync.sock", "/run/rsync.sock"),
        ] {
            let endpoint: Endpoint = text.parse().expect(text);
            assert_eq!(endpoint.to_string(), written);
            assert_eq!(written.parse(), Ok(endpoint));
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in ["", ":873", "host:", "host:0", "host:65536", "host:x", "[fd00::1", "[x]:1", "a b", "u@h"]
        {
            assert_eq!(text.parse::<Endpoint>(), Err(EndpointError(text.to_owned())), "{text}");
        }
    }

    #[tokio::test]
    async fn nobody_at_a_port_is_an_error() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let endpoint = Endpoint::Tcp { host: "127.0.0.1".into(), port: port.expect("a port").port() };
        let error = endpoint.connect(Duration::from_secs(60)).await.err().expect("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
