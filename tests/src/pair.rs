//! Two servers with a floating address, on a network of their own (spec 11 §1.2, §1.4).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::network::Lan;
use crate::outcome::{Running, run};
use crate::program::mirror;
use crate::work::Work;

/// The floating address.
pub const FLOATING: &str = "192.0.2.10";

/// Hosts 1 and 2 with an agent each, and others beside them.
#[derive(Debug)]
pub struct Servers {
    agents: [Option<Running>; 2],
    /// The network.
    pub lan: Lan,
    /// Where everything of theirs is.
    pub work: Work,
}

impl Servers {
    /// So many hosts.
    ///
    /// # Panics
    /// If we may not make networks, as root may.
    #[must_use]
    #[track_caller]
    pub fn on(hosts: usize) -> Self {
        let lan = Lan::of(hosts);
        // The others find the address as any client does.
        [1, 2].into_iter().for_each(|host| lan.set_impatient(host));
        Self { agents: [None, None], lan, work: Work::new() }
    }

    /// A file of a host.
    #[must_use]
    pub fn file(&self, host: usize, name: &str) -> PathBuf {
        self.work.join(format!("m{host}.{name}"))
    }

    /// Writes a program that steps can run; it begins with `#!/bin/bash`.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.work.join(name);
        fs::write(&path, format!("#!/bin/bash\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Writes a server's configuration; host 1 comes first. `vip` are more lines for that section.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn configure(&self, host: usize, vip: &str, rest: &str) {
        // Checks may take long on a machine that has much to do; a host that is gone is noticed earlier.
        let mut text = format!(
            "[vip]\naddress = \"{FLOATING}/24\"\ndev = \"eth0\"\nstate = {:?}\ninterval = \"300ms\"\n\
             timeout = \"20s\"\nfall = 2\nprimary = {}\n{vip}\n",
            self.file(host, "state"),
            host == 1,
        );
        let _ = write!(text, "{rest}");
        fs::write(self.config(host), text).unwrap();
    }

    /// Lines for `[vip]`, the last of them: each agent is the witness of the other, by the link between them.
    #[must_use]
    pub fn witness(host: usize) -> String {
        let other = 3 - host;
        format!("listen = \"10.1.0.{host}:8730\"\n[vip.witness]\nagent = \"10.1.0.{other}:8730\"\n")
    }

    fn config(&self, host: usize) -> PathBuf {
        self.file(host, "toml")
    }

    /// Starts a server's agent under a supervisor, so that it comes back when it dies.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start_agent(&mut self, host: usize) {
        let mut command = self.lan.command(host, Path::new("sh"));
        let script = "exec 2>>\"$2\"; while :; do \"$0\" pair --config \"$1\"; sleep 0.05; done";
        command.args(["-c", script]).arg(mirror()).arg(self.config(host)).arg(self.file(host, "log"));
        self.agents[host - 1] = Some(Running::start(&mut command));
    }

    /// Kills a server's agent and its supervisor.
    pub fn kill_agent(&mut self, host: usize) {
        if let Some(agent) = self.agents[host - 1].take() {
            agent.kill();
            agent.finish();
        }
    }

    /// Cuts a host off, with all that runs there.
    pub fn power_off(&mut self, host: usize) {
        self.kill_agent(host);
        self.lan.kill_all(host);
        for device in ["eth0", "eth1"] {
            self.lan.ip(host, &["link", "set", device, "down"]);
        }
        self.forget_neighbours(3 - host);
    }

    /// Lets a host ask for its neighbours anew, instead of finding out bit by bit that one is gone.
    pub fn forget_neighbours(&self, host: usize) {
        for device in ["eth0", "eth1"] {
            self.lan.ip(host, &["neigh", "flush", "dev", device]);
        }
    }

    /// Brings a host back; nothing runs there, and what was set by hand is gone.
    pub fn power_on(&mut self, host: usize) {
        if self.holds(host) {
            self.lan.ip(host, &["addr", "del", &format!("{FLOATING}/24"), "dev", "eth0"]);
        }
        for device in ["eth0", "eth1"] {
            self.lan.ip(host, &["link", "set", device, "up"]);
        }
    }

    /// `rsync-mirror WORDS --config FILE` in a host.
    #[must_use]
    pub fn command(&self, host: usize, words: &[&str]) -> Command {
        let mut command = self.lan.command(host, &mirror());
        command.args(words).arg("--config").arg(self.config(host));
        command
    }

    /// The same as a list of words for a step.
    #[must_use]
    pub fn step_words(&self, host: usize, words: &[&str]) -> String {
        let (program, config) = (mirror(), self.config(host));
        let mut all = vec!["ip", "netns", "exec", self.lan.name(host), program.to_str().unwrap()];
        all.extend(words);
        all.extend(["--config", config.to_str().unwrap()]);
        format!("{all:?}")
    }

    /// What an agent has said.
    #[must_use]
    pub fn log(&self, host: usize) -> String {
        fs::read_to_string(self.file(host, "log")).unwrap_or_default()
    }

    /// What both have said, for messages of failed tests.
    #[must_use]
    pub fn logs(&self) -> String {
        format!("m1:\n{}\nm2:\n{}", self.log(1), self.log(2))
    }

    /// What a server remembers.
    #[must_use]
    pub fn state(&self, host: usize) -> Value {
        let text = fs::read(self.file(host, "state")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or(Value::Null)
    }

    /// Whether a server has this role (`serving` or `standby`), and nothing is under way.
    #[must_use]
    pub fn is(&self, host: usize, role: &str) -> bool {
        let state = self.state(host);
        state["role"] == role && state["unfinished"].is_null()
    }

    /// Whether a host has the floating address.
    #[must_use]
    pub fn holds(&self, host: usize) -> bool {
        self.lan.ip(host, &["-o", "addr", "show", "dev", "eth0"]).contains(&format!("{FLOATING}/"))
    }

    /// Whether `client` has found a host at the floating address: its neighbour entry.
    #[must_use]
    pub fn is_found_at(&self, client: usize, host: usize) -> bool {
        self.lan.ip(client, &["neigh", "show", FLOATING]).contains(&self.hardware(host))
    }

    /// Which hosts answer when `client` asks who has the floating address.
    #[must_use]
    pub fn answering(&self, client: usize) -> BTreeSet<usize> {
        let mut ask = self.lan.command(client, Path::new("arping"));
        let heard = run(ask.args(["-b", "-c", "2", "-w", "10", "-I", "eth0", FLOATING])).stdout.to_string();
        [1, 2].into_iter().filter(|&host| heard.contains(&self.hardware(host).to_uppercase())).collect()
    }

    fn hardware(&self, host: usize) -> String {
        let shown = self.lan.ip(host, &["-o", "link", "show", "dev", "eth0"]);
        shown.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.kill_agent(1);
        self.kill_agent(2);
    }
}
