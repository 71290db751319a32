//! The names of clients' addresses, checked in both directions.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::process::{Command, Stdio};

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
                let why = plain(&io::Error::from(error));
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

/// What the resolver said, as the C daemon puts it.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
}

/// `NI_NAMEREQD`: an address without a name is an error.
const NAME_REQUIRED: i32 = nix::libc::NI_NAMEREQD;

/// What the system's table of names answers last: whether its triples have the host.
const IS_MEMBER: &[u8] = b"= 1\n";
const IS_NO_MEMBER: &[u8] = b"= 0\n";
/// What stands for any host in a question.
const ANY: &str = "*";

impl Resolve for Resolver {
    fn is_in_netgroup(&self, group: &str, host: &str) -> io::Result<bool> {
        if host == ANY {
            return Ok(false);
        }
        // The C library's own call is out of reach of safe code; its program makes it for us.
        let mut question = Command::new("getent");
        question.args(["netgroup", "--", group, host, ANY, ANY]).stdin(Stdio::null());
        let answer = question.output()?.stdout;
        match (answer.ends_with(IS_MEMBER), answer.ends_with(IS_NO_MEMBER)) {
            (true, _) => Ok(true),
            (_, true) => Ok(false),
            _ => Err(io::Error::other("getent does not know netgroups")),
        }
    }

    fn addresses(&self, name: &str) -> Vec<IpAddr> {
        (name, 0).to_socket_addrs().map(|found| found.map(|found| found.ip()).collect()).unwrap_or_default()
    }
}
