//! The PROXY protocol's header, versions 1 and 2, in front of a daemon's greeting (spec 01 §1.5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::wire::{Cursor, NeedsInput, WireError};

/// Whom a proxy speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxiedClient {
    /// The proxy itself: the socket's address counts.
    Socket,
    /// This client.
    Address(IpAddr),
}

/// The two forms of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeaderVersion {
    /// A line of text.
    One,
    /// Bytes.
    Two,
}

impl ProxyHeaderVersion {
    /// The header with which a proxy speaks for the client at `source`, who connected to `destination`;
    /// without them it speaks for itself, as for the checks it makes. Addresses of two families are both
    /// told as those of IPv6.
    #[must_use]
    pub fn render(self, client: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
        let client = client.map(|(source, destination)| {
            let (from, to) = (source.ip().to_canonical(), destination.ip().to_canonical());
            let (from, to) = match (from, to) {
                (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => (from, to),
                (from, to) => (as_ipv6(from), as_ipv6(to)),
            };
            (from, source.port(), to, destination.port())
        });
        match (self, client) {
            (Self::One, None) => b"PROXY UNKNOWN\r\n".to_vec(),
            (Self::One, Some((from, from_port, to, to_port))) => {
                let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
                format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n").into_bytes()
            }
            (Self::Two, None) => [&SIGNATURE[..], &[VERSION_2 << 4, 0, 0, 0]].concat(),
            (Self::Two, Some((from, from_port, to, to_port))) => {
                let (family, addresses) = match (from, to) {
                    (IpAddr::V4(from), IpAddr::V4(to)) => (IPV4, [from.octets(), to.octets()].concat()),
                    (from, to) => (IPV6, [from, to].map(ipv6_octets).concat()),
                };
                let mut header = SIGNATURE.to_vec();
                header.extend([VERSION_2 << 4 | PROXIED, family, 0, addresses.len() as u8 + 4]);
                header.extend(addresses);
                header.extend(from_port.to_be_bytes());
                header.extend(to_port.to_be_bytes());
                header
            }
        }
    }
}

fn as_ipv6(address: IpAddr) -> IpAddr {
    ipv6_octets(address).into()
}

fn ipv6_octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Why a header is not accepted; the connection is closed without a byte.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyHeaderError {
    /// The header is not complete yet.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// It breaks the rules.
    #[error("malformed PROXY protocol header")]
    Malformed,
}

impl NeedsInput for ProxyHeaderError {
    fn missing(&self) -> Option<usize> {
        match self {
            Self::Wire(error) => error.missing(),
            Self::Malformed => None,
        }
    }
}

/// First bytes of version 2.
const SIGNATURE: [u8; 12] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
/// What the high half of the byte after the signature says.
const VERSION_2: u8 = 2;
/// What its low half says when a client is told.
const PROXIED: u8 = 1;
/// TCP over IPv4 and over IPv6.
const IPV4: u8 = 0x11;
const IPV6: u8 = 0x21;
/// Most bytes of a version 1 line, with its CR and LF.
const LINE_LIMIT: usize = 107;
/// Most bytes behind the fixed part of version 2.
const DATA_LIMIT: usize = 216;

/// Decodes the header.
///
/// # Errors
/// [`ProxyHeaderError::Malformed`]; [`WireError::Incomplete`].
pub fn proxy_header(input: &mut Cursor<'_>) -> Result<ProxiedClient, ProxyHeaderError> {
    let start: [u8; 12] = input.array()?;
    if start == SIGNATURE {
        return version_2(input);
    }
    let tail = start.strip_prefix(b"PROXY").ok_or(ProxyHeaderError::Malformed)?;
    let mut line = tail.to_vec();
    while line.last() != Some(&b'\n') {
        if line.len() + b"PROXY".len() >= LINE_LIMIT {
            return Err(ProxyHeaderError::Malformed);
        }
        line.push(input.u8()?);
    }
    let line = line.strip_suffix(b"\r\n").ok_or(ProxyHeaderError::Malformed)?;
    std::str::from_utf8(line).ok().and_then(version_1).ok_or(ProxyHeaderError::Malformed)
}

fn version_1(line: &str) -> Option<ProxiedClient> {
    let line = line.strip_prefix(|first: char| first.is_ascii_whitespace())?;
    if line.starts_with("UNKNOWN") {
        return Some(ProxiedClient::Socket);
    }
    let line = line.strip_prefix("TCP4").or_else(|| line.strip_prefix("TCP6"))?.strip_prefix(' ')?;
    let fields: Vec<&str> = line.split(' ').collect();
    let [source, destination, source_port, destination_port] = fields[..] else { return None };
    let is_port = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && text.bytes().any(|byte| byte != b'0')
    };
    destination.parse::<IpAddr>().ok()?;
    (is_port(source_port) && is_port(destination_port)).then_some(())?;
    source.parse().ok().map(ProxiedClient::Address)
}

fn version_2(input: &mut Cursor<'_>) -> Result<ProxiedClient, ProxyHeaderError> {
    let [command, family, high, low] = input.array()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != VERSION_2 || length > DATA_LIMIT {
        return Err(ProxyHeaderError::Malformed);
    }
    let data = input.take(length)?;
    let mut data = Cursor::new(data);
    match (command & 0xf, family) {
        (PROXIED, IPV4) if length == 12 => {
            Ok(ProxiedClient::Address(Ipv4Addr::from(data.array::<4>()?).into()))
        }
        (PROXIED, IPV6) if length == 36 => {
            Ok(ProxiedClient::Address(Ipv6Addr::from(data.array::<16>()?).into()))
        }
        (PROXIED, IPV4 | IPV6) => Err(ProxyHeaderError::Malformed),
        (0 | PROXIED, _) => Ok(ProxiedClient::Socket),
        _ => Err(ProxyHeaderError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<(ProxiedClient, usize), ProxyHeaderError> {
        let mut input = Cursor::new(bytes);
        proxy_header(&mut input).map(|client| (client, input.position()))
    }

    fn version_2_bytes(command: u8, family: u8, data: &[u8]) -> Vec<u8> {
        let length = (data.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, data].concat()
    }

    #[test]
    fn what_a_proxy_says_is_understood() {
        let socket = |text: &str| -> SocketAddr { text.parse().expect("an address") };
        for version in [ProxyHeaderVersion::One, ProxyHeaderVersion::Two] {
            let itself = version.render(None);
            assert_eq!(read(&itself), Ok((ProxiedClient::Socket, itself.len())), "{version:?}");
            for (source, destination, told) in [
                ("10.1.2.3:4000", "10.0.0.1:873", "10.1.2.3"),
                ("[fd00::1]:4000", "[fd00::2]:873", "fd00::1"),
                ("[::ffff:10.1.2.3]:4000", "10.0.0.1:873", "10.1.2.3"),
                ("10.1.2.3:4000", "[fd00::2]:873", "::ffff:10.1.2.3"),
            ] {
                let header = version.render(Some((socket(source), socket(destination))));
                let client = ProxiedClient::Address(told.parse().expect("an address"));
                assert_eq!(read(&header), Ok((client, header.len())), "{version:?} {source}");
            }
        }
        let line = ProxyHeaderVersion::One.render(Some((socket("10.1.2.3:4000"), socket("10.0.0.1:873"))));
        assert_eq!(line, b"PROXY TCP4 10.1.2.3 10.0.0.1 4000 873\r\n");
    }

    #[test]
    fn lines_of_version_1_are_checked() {
        let address = |text: &str| Some(ProxiedClient::Address(text.parse().expect("address")));
        for (line, expected) in [
            ("PROXY TCP4 10.1.2.3 10.0.0.1 1234 873\r\n", address("10.1.2.3")),
            ("PROXY TCP6 fd00::1 fd00::2 1234 99999\r\n", address("fd00::1")),
            ("PROXY TCP4 fd00::1 10.0.0.1 1 2\r\n", address("fd00::1")),
            ("PROXY UNKNOWN whatever\r\n", Some(ProxiedClient::Socket)),
            ("PROXY TCP4 10.1.2.3 10.0.0.1 0 873\r\n", None),
            ("PROXY TCP4 10.1.2.3 10.0.0.1 1 873x\r\n", None),
            ("PROXY TCP4 10.1.2.3 10.0.0.1 1 873 \r\n", None),
            ("PROXY TCP4 10.1.2.3  10.0.0.1 1 873\r\n", None),
            ("PROXY TCP4 10.1.2.300 10.0.0.1 1 873\r\n", None),
            ("PROXY UDP4 10.1.2.3 10.0.0.1 1 873\r\n", None),
            ("PROXY TCP4 10.1.2.3 10.0.0.1 1 873\n", None),
            ("GET / HTTP/1.0\r\n\r\n", None),
        ] {
            assert_eq!(read(line.as_bytes()).ok(), expected.map(|client| (client, line.len())), "{line}");
        }
        let line = |length: usize| format!("PROXY UNKNOWN{}\r\n", "x".repeat(length - 15));
        assert!(read(line(107).as_bytes()).is_ok());
        assert_eq!(read(line(108).as_bytes()), Err(ProxyHeaderError::Malformed));
    }

    #[test]
    fn version_2_takes_exact_lengths_only() {
        let ipv4 = [10, 1, 2, 3, 10, 0, 0, 1, 4, 210, 3, 105];
        let bytes = version_2_bytes(0x21, 0x11, &ipv4);
        let client = ProxiedClient::Address(Ipv4Addr::new(10, 1, 2, 3).into());
        assert_eq!(read(&bytes), Ok((client, 28)));
        assert_eq!(read(&bytes[..20]).expect_err("open").missing(), Some(8));
        let with_extra = [&ipv4[..], &[0; 5]].concat();
        for (bytes, is_socket) in [
            (version_2_bytes(0x21, 0x11, &with_extra), false),
            (version_2_bytes(0x21, 0x21, &ipv4), false),
            (version_2_bytes(0x11, 0x11, &ipv4), false),
            (version_2_bytes(0x22, 0x11, &ipv4), false),
            (version_2_bytes(0x20, 0x11, &[0; 217]), false),
            (version_2_bytes(0x20, 0x11, &[0; 216]), true),
            (version_2_bytes(0x21, 0x12, &ipv4), true),
        ] {
            let expected = is_socket.then_some((ProxiedClient::Socket, bytes.len()));
            assert_eq!(read(&bytes).ok(), expected);
        }
        let ipv6 = version_2_bytes(0x21, 0x21, &[1; 36]);
        assert_eq!(read(&ipv6), Ok((ProxiedClient::Address(Ipv6Addr::from([1; 16]).into()), 52)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0..3) {
            let bytes = match kind {
                0 => bytes,
                1 => [b"PROXY ".as_slice(), &bytes].concat(),
                _ => [&SIGNATURE[..], &bytes].concat(),
            };
            let _ = read(&bytes);
        }
    }
}
