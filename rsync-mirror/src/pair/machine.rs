//! What an agent asks the machine it runs on.

use std::fs;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use super::journal::Role;
use super::neighbours;
use crate::health::{Answer, Checks, Connected, Endpoint, Target};

/// Most bytes of an agent's answer.
const LONGEST_ANSWER: u64 = 64;
/// How often a listener looks whether it is still wanted.
const PAUSE: Duration = Duration::from_millis(200);

/// The network and the machine, as an agent sees them; a test has its own.
pub trait Machine: Send + Sync {
    /// Makes the checks of a service; blocks for at most their timeout.
    fn examine(&self, target: &Target, checks: &Checks) -> Answer;

    /// Asks the agent of the other server for its role; blocks for at most `limit`.
    ///
    /// # Errors
    /// There is no agent, or no answer that makes sense.
    fn role_at(&self, agent: &Endpoint, limit: Duration) -> io::Result<Role>;

    /// Tells whoever connects to `listen` the role, for as long as somebody else holds it.
    ///
    /// # Errors
    /// The address cannot be listened on.
    fn tell_role(&self, listen: SocketAddr, role: &Arc<Mutex<Role>>) -> io::Result<()>;

    /// Whether a network device is up and connected to something.
    fn has_carrier(&self, device: &str) -> bool;

    /// What is another text after each start of the machine.
    ///
    /// # Errors
    /// The system does not tell.
    fn boot(&self) -> io::Result<String>;

    /// Tells the neighbours on a device that it has an IPv6 address now.
    ///
    /// # Errors
    /// What the system refuses.
    fn advertise(&self, address: Ipv6Addr, device: &str) -> io::Result<()>;
}

/// The machine that this process runs on.
#[derive(Debug)]
pub struct ThisMachine {
    runtime: Runtime,
}

impl ThisMachine {
    /// Prepares for checks.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn new() -> io::Result<Self> {
        Ok(Self { runtime: Builder::new_multi_thread().worker_threads(1).enable_all().build()? })
    }
}

impl Machine for ThisMachine {
    fn examine(&self, target: &Target, checks: &Checks) -> Answer {
        self.runtime.block_on(target.examine(checks))
    }

    fn role_at(&self, agent: &Endpoint, limit: Duration) -> io::Result<Role> {
        let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
        self.runtime.block_on(async {
            tokio::time::timeout(limit, ask_role(agent, limit)).await.unwrap_or_else(late)
        })
    }

    fn tell_role(&self, listen: SocketAddr, role: &Arc<Mutex<Role>>) -> io::Result<()> {
        let listener = self.runtime.block_on(TcpListener::bind(listen))?;
        self.runtime.spawn(answer(listener, Arc::downgrade(role)));
        Ok(())
    }

    fn has_carrier(&self, device: &str) -> bool {
        // The file cannot be read while the device is down.
        fs::read_to_string(format!("/sys/class/net/{device}/carrier")).is_ok_and(|text| text.trim() == "1")
    }

    fn boot(&self) -> io::Result<String> {
        Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
    }

    fn advertise(&self, address: Ipv6Addr, device: &str) -> io::Result<()> {
        neighbours::advertise(address, device)
    }
}

async fn ask_role(agent: &Endpoint, limit: Duration) -> io::Result<Role> {
    let mut text = Vec::new();
    let mut stream = match agent.connect(limit).await? {
        Connected::Tcp(stream) => stream.take(LONGEST_ANSWER),
        Connected::Unix(_) => return Err(io::Error::other("an agent listens at a HOST:PORT")),
    };
    stream.read_to_end(&mut text).await?;
    let known =
        [Role::Serving, Role::Standby].into_iter().find(|role| role.name().as_bytes() == text.trim_ascii());
    known.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "that is no agent of a pair"))
}

/// Answers until nobody holds the role any more.
async fn answer(listener: TcpListener, role: Weak<Mutex<Role>>) {
    loop {
        let accepted = tokio::time::timeout(PAUSE, listener.accept()).await;
        let Some(role) = role.upgrade() else { return };
        match accepted {
            Ok(Ok((mut stream, _))) => {
                let role = *role.lock().unwrap_or_else(PoisonError::into_inner);
                // A line fits into the buffer of a new connection; who does not want it is no loss.
                let _ = stream.write_all(format!("{}\n", role.name()).as_bytes()).await;
            }
            // There may be no descriptors for now.
            Ok(Err(_)) => tokio::time::sleep(PAUSE).await,
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_tells_its_role_as_long_as_it_lives() {
        let machine = ThisMachine::new().expect("a machine");
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let listen = free.expect("a port");
        let role = Arc::new(Mutex::new(Role::Standby));
        machine.tell_role(listen, &role).expect("listens");
        let agent: Endpoint = listen.to_string().parse().expect("a place");
        let ask = || machine.role_at(&agent, Duration::from_secs(60));
        assert_eq!(ask().expect("an answer"), Role::Standby);
        *role.lock().expect("a role") = Role::Serving;
        assert_eq!(ask().expect("an answer"), Role::Serving);
        drop(role);
        while ask().is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn who_says_something_else_is_no_agent() {
        let machine = ThisMachine::new().expect("a machine");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let agent: Endpoint =
            listener.local_addr().expect("an address").to_string().parse().expect("a place");
        std::thread::spawn(move || {
            use std::io::Write;
            let (mut stream, _) = listener.accept().expect("a client");
            // The client has heard enough before the end.
            while stream.write_all(b"@RSYNCD: 31.0\n").is_ok() {}
        });
        let error = machine.role_at(&agent, Duration::from_secs(60)).expect_err("no role");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_device_that_is_not_there_has_no_carrier_and_a_boot_has_one_name() {
        let machine = ThisMachine::new().expect("a machine");
        assert!(machine.has_carrier("lo") && !machine.has_carrier("nosuchdev"));
        let boot = machine.boot().expect("a name");
        assert!(!boot.is_empty() && machine.boot().is_ok_and(|again| again == boot));
    }
}
