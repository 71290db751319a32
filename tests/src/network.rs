//! Hosts of their own: network namespaces with a link to us.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use crate::program::require_root;

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
    /// A host with one link to us.
    ///
    /// # Panics
    /// If it cannot be made; root can.
    #[must_use]
    #[track_caller]
    pub fn linked() -> Self {
        require_root();
        let id = std::process::id();
        let count = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e-{id}-{count}");
        ip(&["netns", "add", &name]);
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
        made
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
        command_in(&self.name, program)
    }

    /// Lets programs in it ask the server at `address` for names.
    ///
    /// # Panics
    /// If `/etc` cannot be written.
    pub fn set_name_server(&self, address: Ipv4Addr) {
        let place = self.settings();
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("resolv.conf"), format!("nameserver {address}\n")).unwrap();
    }

    /// Files that stand in for those of `/etc`, for programs in it.
    fn settings(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Not all have some.
        let _ = std::fs::remove_dir_all(self.settings());
        // The link goes with its other end.
        try_ip(&["netns", "del", &self.name]);
    }
}

/// Hosts on one switch: each is a namespace whose `eth0` has the address 192.0.2.N, N from 1; the first two
/// have a link of their own, `eth1` with 10.1.0.N. They go away with the test.
#[derive(Debug)]
pub struct Lan {
    /// The switch first.
    names: Vec<String>,
}

impl Lan {
    /// Makes them.
    ///
    /// # Panics
    /// If they cannot be made; root can.
    #[must_use]
    #[track_caller]
    pub fn of(hosts: usize) -> Self {
        require_root();
        let (id, count) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let mut lan = Self { names: Vec::new() };
        for index in 0..=hosts {
            let name = format!("e2e-{id}-{count}-{index}");
            ip(&["netns", "add", &name]);
            lan.names.push(name);
        }
        let switch = lan.names[0].clone();
        ip(&["-n", &switch, "link", "add", "br0", "up", "type", "bridge"]);
        for (index, name) in lan.names.iter().enumerate().skip(1) {
            let port = format!("port{index}");
            ip(&["-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", name]);
            ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"]);
            lan.ip(index, &["addr", "add", &format!("192.0.2.{index}/24"), "dev", "eth0"]);
            lan.ip(index, &["link", "set", "eth0", "up"]);
            lan.ip(index, &["link", "set", "lo", "up"]);
        }
        lan.ip(1, &["link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", &lan.names[2]]);
        for index in [1, 2] {
            lan.ip(index, &["addr", "add", &format!("10.1.0.{index}/24"), "dev", "eth1"]);
            lan.ip(index, &["link", "set", "eth1", "up"]);
        }
        lan
    }

    /// The name of a host's namespace.
    #[must_use]
    pub fn name(&self, host: usize) -> &str {
        &self.names[host]
    }

    /// Makes one of the first two hosts give up soon on neighbours that do not answer, however long its
    /// programs wait. Where the system does not let us, it takes longer.
    pub fn set_impatient(&self, host: usize) {
        let mut command = self.command(host, Path::new("sysctl"));
        command.args(["-q", "-w"]);
        for device in ["eth0", "eth1"] {
            for setting in ["base_reachable_time_ms=500", "delay_first_probe_time=1", "retrans_time_ms=200"] {
                command.arg(format!("net.ipv4.neigh.{device}.{setting}"));
            }
        }
        let _ = command.output();
    }

    /// Kills every program in a host.
    pub fn kill_all(&self, host: usize) {
        let found = Command::new("ip").args(["netns", "pids", &self.names[host]]).output();
        let text = found.map(|output| output.stdout).unwrap_or_default();
        for pid in String::from_utf8_lossy(&text).split_whitespace().filter_map(|pid| pid.parse().ok()) {
            // It may have ended by itself.
            let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
        }
    }

    /// Runs `ip` in a host.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn ip(&self, host: usize, words: &[&str]) -> String {
        ip(&[&["-n", self.names[host].as_str()], words].concat())
    }

    /// Lets frames of a host pass the switch, or drops them; its link stays up.
    ///
    /// # Panics
    /// If the switch refuses.
    pub fn set_port(&self, host: usize, open: bool) {
        const DISABLED: &str = "0";
        const FORWARDING: &str = "3";
        let state = if open { FORWARDING } else { DISABLED };
        let mut command = self.command(0, Path::new("bridge"));
        command.args(["link", "set", "dev", &format!("port{host}"), "state", state]);
        assert!(command.status().unwrap().success());
    }

    /// A command that will run in a host.
    #[must_use]
    pub fn command(&self, host: usize, program: &Path) -> Command {
        command_in(&self.names[host], program)
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for (host, name) in self.names.iter().enumerate() {
            // A namespace lives as long as a program in it.
            self.kill_all(host);
            try_ip(&["netns", "del", name]);
        }
    }
}

fn command_in(namespace: &str, program: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

fn try_ip(words: &[&str]) -> bool {
    Command::new("ip").args(words).output().is_ok_and(|output| output.status.success())
}

#[track_caller]
fn ip(words: &[&str]) -> String {
    let output = Command::new("ip").args(words).output().unwrap();
    assert!(output.status.success(), "ip {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
