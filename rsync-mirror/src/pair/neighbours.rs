//! Unsolicited neighbour advertisements: what gratuitous ARP is for IPv4 (RFC 4861 §7.2.6).

use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// How often an address is announced.
pub(super) const ANNOUNCEMENTS: u8 = 3;
/// Time between two announcements.
const PAUSE: Duration = Duration::from_millis(300);
/// Neighbours believe only packets that no router has forwarded.
const FULL_HOP_LIMIT: u32 = 255;

/// Tells all neighbours on `device` that it has `address` now.
pub(super) fn advertise(address: Ipv6Addr, device: &str) -> io::Result<()> {
    let hardware = hardware_address(device)?;
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    let index = rustix::net::netdevice::name_to_index(&socket, device)?;
    socket.set_multicast_hops_v6(FULL_HOP_LIMIT)?;
    socket.set_multicast_if_v6(index)?;
    socket.bind(&SockAddr::from(SocketAddrV6::new(address, 0, 0, index)))?;
    let all_nodes = SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 0, 0, index);
    for count in 0..ANNOUNCEMENTS {
        if count > 0 {
            std::thread::sleep(PAUSE);
        }
        socket.send_to(&advertisement(address, hardware), &SockAddr::from(all_nodes))?;
    }
    Ok(())
}

/// The message; the system fills in its checksum.
fn advertisement(address: Ipv6Addr, hardware: [u8; 6]) -> Vec<u8> {
    const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    const OVERRIDE: u8 = 0x20;
    const TARGET_LINK_LAYER: u8 = 2;
    let mut message = vec![NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0];
    message.extend(address.octets());
    message.extend([TARGET_LINK_LAYER, 1]);
    message.extend(hardware);
    message
}

fn hardware_address(device: &str) -> io::Result<[u8; 6]> {
    let text = std::fs::read_to_string(format!("/sys/class/net/{device}/address"))?;
    parse_hardware_address(text.trim())
        .ok_or_else(|| io::Error::other(format!("{device} has no Ethernet address: {text:?}")))
}

fn parse_hardware_address(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertisement_names_the_address_and_the_device() {
        let hardware = parse_hardware_address("02:00:5e:10:00:ff").expect("an address");
        let message = advertisement("2001:db8::1".parse().expect("an address"), hardware);
        assert_eq!((message.len(), message[0], message[4]), (32, 136, 0x20));
        assert_eq!(message[8..12], [0x20, 0x01, 0x0d, 0xb8]);
        assert_eq!(message[24..], [2, 1, 0x02, 0, 0x5e, 0x10, 0, 0xff]);
    }

    #[test]
    fn what_is_no_ethernet_address_is_refused() {
        for text in ["", "00:00", "00:00:00:00:00:00:00:00", "0g:00:00:00:00:00"] {
            assert_eq!(parse_hardware_address(text), None, "{text}");
        }
    }
}
