//! Hosts of their own: network namespaces with a link to us.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::program::is_root;

/// Namespaces of this process so far.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A host that is a network namespace; it goes away with the test.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    /// Its end of the link to us.
    link: String,
    ours: Ipv4Addr,
    address: Ipv4Addr,
}

impl Namespace {
    /// A host with one link to us. `None` if we may not make one.
    #[must_use]
    pub fn linked() -> Option<Self> {
        let id = std::process::id();
        let count = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e-{id}-{count}");
        if !is_root() || !try_ip(&["netns", "add", &name]) {
            return None;
        }
        // Names of links have at most 15 bytes; a network of four addresses is ours alone.
        let outer = format!("e{id}x{count}");
        let link = format!("i{id}x{count}");
        let network = (id.wrapping_mul(8).wrapping_add(count) % (1 << 14)) * 4;
        let base = u32::from(Ipv4Addr::new(10, 199, 0, 0)) + network;
        let (ours, address) = (Ipv4Addr::from(base + 1), Ipv4Addr::from(base + 2));
        let made = Self { name, link, ours, address };
        ip(&["link", "add", &outer, "type", "veth", "peer", "name", &made.link, "netns", &made.name]);
        ip(&["addr", "add", &format!("{ours}/30"), "dev", &outer]);
        ip(&["link", "set", &outer, "up"]);
        made.ip(&["addr", "add", &format!("{address}/30"), "dev", &made.link]);
        made.ip(&["link", "set", &made.link, "up"]);
        made.ip(&["link", "set", "lo", "up"]);
        Some(made)
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Our address on its link.
    #[must_use]
    pub fn our_address(&self) -> Ipv4Addr {
        self.ours
    }

    /// Takes its end of the link down, or up again.
    pub fn set_link(&self, up: bool) {
        self.ip(&["link", "set", &self.link, if up { "up" } else { "down" }]);
    }

    /// Runs `ip` in it.
    ///
    /// # Panics
    /// If it fails.
    pub fn ip(&self, words: &[&str]) {
        ip(&[&["-n", self.name.as_str()], words].concat());
    }

    /// A command that will run in it.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The link goes with its other end.
        try_ip(&["netns", "del", &self.name]);
    }
}

fn try_ip(words: &[&str]) -> bool {
    Command::new("ip").args(words).output().is_ok_and(|output| output.status.success())
}

#[track_caller]
fn ip(words: &[&str]) {
    let output = Command::new("ip").args(words).output().unwrap();
    assert!(output.status.success(), "ip {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}
