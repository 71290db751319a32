//! One ICMP echo request, from a ping socket or, where the system has none for us, from a raw one.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Types of messages of ICMP and ICMPv6.
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
/// Bytes of an echo message before its payload: type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;

/// Asks `host` for an echo and waits for it; blocks for at most `limit`, the name's resolution aside.
///
/// # Errors
/// When the host has no address, cannot be reached, or does not answer; when this process may not ask.
pub(super) fn ping(host: &str, limit: Duration) -> io::Result<()> {
    let address = (host, 0).to_socket_addrs()?.next();
    let address =
        address.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host has no address"))?;
    let mut socket = EchoSocket::open(address.ip())?;
    // What tells our request from those of others is the payload.
    let request = message(address.ip(), &rand::random::<[u8; 16]>());
    socket.socket.send_to(&request, &SockAddr::from(SocketAddr::new(address.ip(), 0)))?;
    socket.wait_for(&request[HEADER..], Instant::now() + limit)
}

struct EchoSocket {
    socket: Socket,
    is_v6: bool,
    /// Replies come with their IP header.
    has_ip_header: bool,
}

impl EchoSocket {
    fn open(address: IpAddr) -> io::Result<Self> {
        let (domain, protocol) = match address {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let is_v6 = address.is_ipv6();
        match Socket::new(domain, Type::DGRAM, Some(protocol)) {
            Ok(socket) => Ok(Self { socket, is_v6, has_ip_header: false }),
            Err(_) => {
                let socket = Socket::new(domain, Type::RAW, Some(protocol)).map_err(|error| {
                    let text = "this process may not ping: it needs its group in net.ipv4.ping_group_range, or CAP_NET_RAW";
                    io::Error::new(error.kind(), text)
                })?;
                Ok(Self { socket, is_v6, has_ip_header: !is_v6 })
            }
        }
    }

    fn wait_for(&mut self, payload: &[u8], deadline: Instant) -> io::Result<()> {
        let expected = if self.is_v6 { ECHO_REPLY_V6 } else { ECHO_REPLY };
        let mut packet = [0; 1500];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no echo in time"));
            }
            self.socket.set_read_timeout(Some(left))?;
            let count = match self.socket.read(&mut packet) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            let packet = &packet[..count];
            let start = if self.has_ip_header {
                packet.first().map_or(0, |byte| usize::from(byte & 0xf) * 4)
            } else {
                0
            };
            let message = packet.get(start..).unwrap_or_default();
            if message.first() == Some(&expected) && message.get(HEADER..) == Some(payload) {
                return Ok(());
            }
        }
    }
}

/// An echo request. The system fills in what differs between kinds of sockets, but for the checksum of
/// ICMP from a raw socket.
fn message(address: IpAddr, payload: &[u8]) -> Vec<u8> {
    let kind = if address.is_ipv4() { ECHO_REQUEST } else { ECHO_REQUEST_V6 };
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 1];
    message.extend(payload);
    if address.is_ipv4() {
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    message
}

/// The Internet checksum of a message whose checksum field is zero.
fn checksum(message: &[u8]) -> u16 {
    let words =
        message.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_a_known_packet() {
        // Type 8, identifier 1, sequence number 1, "abcd".
        assert_eq!(checksum(&[8, 0, 0, 0, 0, 1, 0, 1, b'a', b'b', b'c', b'd']), 0x3337);
    }

    #[test]
    fn a_message_with_its_checksum_sums_to_nothing() {
        let message = message(IpAddr::from([127, 0, 0, 1]), b"odd");
        assert_eq!(checksum(&message), 0);
    }

    #[test]
    fn a_host_without_an_address_is_an_error() {
        assert!(ping("no.such.host.invalid", Duration::from_secs(1)).is_err());
    }
}
