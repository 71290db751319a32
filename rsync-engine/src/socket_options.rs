//! `--sockopts` and the daemon's `socket options` (spec 01 §1.2), used by whoever opens sockets.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt::{self, Timeout};

/// One item of a list of socket options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOption {
    name: Name,
    value: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    KeepAlive,
    ReuseAddr,
    Broadcast,
    NoDelay,
    SendBuffer,
    ReceiveBuffer,
    SendLowWater,
    ReceiveLowWater,
    SendTimeout,
    ReceiveTimeout,
    LowDelay,
    Throughput,
}

/// The C names, and whether the option takes a value.
const NAMES: [(&str, Name, bool); 12] = [
    ("SO_KEEPALIVE", Name::KeepAlive, true),
    ("SO_REUSEADDR", Name::ReuseAddr, true),
    ("SO_BROADCAST", Name::Broadcast, true),
    ("TCP_NODELAY", Name::NoDelay, true),
    ("SO_SNDBUF", Name::SendBuffer, true),
    ("SO_RCVBUF", Name::ReceiveBuffer, true),
    ("SO_SNDLOWAT", Name::SendLowWater, true),
    ("SO_RCVLOWAT", Name::ReceiveLowWater, true),
    ("SO_SNDTIMEO", Name::SendTimeout, true),
    ("SO_RCVTIMEO", Name::ReceiveTimeout, true),
    ("IPTOS_LOWDELAY", Name::LowDelay, false),
    ("IPTOS_THROUGHPUT", Name::Throughput, false),
];

impl SocketOption {
    /// Reads a list of options, and says what is wrong with the items that are left out.
    #[must_use]
    pub fn parse_list(list: &[u8]) -> (Vec<Self>, Vec<String>) {
        let mut options = Vec::new();
        let mut complaints = Vec::new();
        for item in list.split(|byte| b" \t,".contains(byte)).filter(|item| !item.is_empty()) {
            let text = String::from_utf8_lossy(item);
            let (word, value) =
                text.split_once('=').map_or((&*text, None), |(word, value)| (word, Some(value)));
            let Some(&(_, name, takes_value)) = NAMES.iter().find(|known| known.0 == word) else {
                complaints.push(format!("Unknown socket option {word}"));
                continue;
            };
            if value.is_some() && !takes_value {
                complaints.push(format!("syntax error -- {word} does not take a value"));
                continue;
            }
            let value = value.map_or(1, |value| value.trim().parse().unwrap_or(0));
            options.push(Self { name, value });
        }
        (options, complaints)
    }

    /// Sets the option.
    ///
    /// # Errors
    /// A text for the user, when the system refuses; the connection can be used all the same.
    pub fn apply(self, socket: impl AsFd) -> Result<(), String> {
        /// Minimise delay, as an IP type of service.
        const LOW_DELAY: u8 = 0x10;
        /// Maximise throughput, as an IP type of service.
        const THROUGHPUT: u8 = 0x08;
        let on = self.value != 0;
        let timeout = on.then(|| Duration::from_secs(self.value.into()));
        let result = match self.name {
            Name::KeepAlive => sockopt::set_socket_keepalive(socket, on),
            Name::ReuseAddr => sockopt::set_socket_reuseaddr(socket, on),
            Name::Broadcast => sockopt::set_socket_broadcast(socket, on),
            Name::NoDelay => sockopt::set_tcp_nodelay(socket, on),
            Name::SendBuffer => sockopt::set_socket_send_buffer_size(socket, self.value as usize),
            Name::ReceiveBuffer => sockopt::set_socket_recv_buffer_size(socket, self.value as usize),
            Name::SendTimeout => sockopt::set_socket_timeout(socket, Timeout::Send, timeout),
            Name::ReceiveTimeout => sockopt::set_socket_timeout(socket, Timeout::Recv, timeout),
            Name::LowDelay => sockopt::set_ip_tos(socket, LOW_DELAY),
            Name::Throughput => sockopt::set_ip_tos(socket, THROUGHPUT),
            // Linux has no other low-water mark than 1.
            Name::SendLowWater | Name::ReceiveLowWater if self.value == 1 => Ok(()),
            Name::SendLowWater | Name::ReceiveLowWater => Err(rustix::io::Errno::NOPROTOOPT),
        };
        result.map_err(|error| {
            let word = NAMES.iter().find(|known| known.1 == self.name).map_or("", |known| known.0);
            format!("failed to set socket option {word}: {error}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_bad_items_are_named() {
        let (options, complaints) =
            SocketOption::parse_list(b"SO_KEEPALIVE,TCP_NODELAY=0\tSO_SNDBUF=65536 FOO IPTOS_LOWDELAY=3");
        assert_eq!(options.iter().map(|option| option.value).collect::<Vec<_>>(), [1, 0, 65536]);
        assert_eq!(
            complaints,
            ["Unknown socket option FOO", "syntax error -- IPTOS_LOWDELAY does not take a value"]
        );
    }

    #[test]
    fn options_are_set_on_a_socket() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
        let (options, _) =
            SocketOption::parse_list(b"SO_KEEPALIVE TCP_NODELAY SO_RCVTIMEO=7 IPTOS_THROUGHPUT");
        for option in options {
            option.apply(&socket).expect("set");
        }
        assert!(sockopt::socket_keepalive(&socket).expect("get"));
        let (options, _) = SocketOption::parse_list(b"SO_SNDLOWAT=5");
        assert!(options[0].apply(&socket).expect_err("refused").contains("SO_SNDLOWAT"));
    }
}
