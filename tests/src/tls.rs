//! TLS in front of the C rsync's daemon: certificates, and `openssl s_server` as the other end.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::daemon::{Module, configuration, free_port};
use crate::program::Side;
use crate::work::Work;

/// PEM files in a directory: an authority, a server for `localhost` and `127.0.0.1`, one for another
/// machine, a client, and an authority that vouched for nobody.
#[derive(Debug)]
pub struct Certificates {
    work: Work,
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

impl Certificates {
    /// Makes them anew.
    #[must_use]
    pub fn new() -> Self {
        let work = Work::new();
        let authority = authority(&work, "authority.pem");
        let _of_nobody = self::authority(&work, "other.pem");
        signed(&work, &authority, "server", &["localhost", "127.0.0.1"]);
        signed(&work, &authority, "elsewhere", &["elsewhere.invalid"]);
        signed(&work, &authority, "client", &["a client"]);
        Self { work }
    }

    /// `authority.pem`, `other.pem`, or a `.pem` or `.key` of `server`, `elsewhere` or `client`.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }
}

fn authority(work: &Work, file: &str) -> Issuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, file);
    let key = KeyPair::generate().unwrap();
    fs::write(work.join(file), params.self_signed(&key).unwrap().pem()).unwrap();
    Issuer::new(params, key)
}

fn signed(work: &Work, authority: &Issuer<'_, KeyPair>, name: &str, hosts: &[&str]) {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(hosts).unwrap().signed_by(&key, authority).unwrap();
    fs::write(work.join(format!("{name}.pem")), certificate.pem()).unwrap();
    fs::write(work.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

/// A daemon of the C rsync that serves one connection behind `openssl s_server`.
#[derive(Debug)]
pub struct TlsDaemon {
    openssl: Child,
    daemon: Child,
    port: u16,
    _work: Work,
}

impl TlsDaemon {
    /// Serves `modules`; `options` are more words for `openssl s_server`.
    ///
    /// # Panics
    /// If it does not listen within a minute.
    #[must_use]
    pub fn start(certificates: &Certificates, modules: &[Module], options: &[&str]) -> Self {
        let work = Work::new();
        let config = work.join("rsyncd.conf");
        fs::write(&config, configuration(&work, "", modules)).unwrap();
        let mut daemon = Command::new(Side::C.rsync())
            .args(["--server", "--daemon", &format!("--config={}", config.display()), "."])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let port = free_port();
        let openssl = Command::new("openssl")
            .args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}")])
            .args(["-cert", path(&certificates.file("server.pem"))])
            .args(["-key", path(&certificates.file("server.key"))])
            .args(options)
            .stdin(daemon.stdout.take().unwrap())
            .stdout(daemon.stdin.take().unwrap())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let started = Self { openssl, daemon, port, _work: work };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_listening(port) {
            assert!(Instant::now() < deadline, "openssl s_server does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        started
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of `path`, starting with a module, with this name of the host.
    #[must_use]
    pub fn url(&self, host: &str, path: &str) -> String {
        format!("rsyncs://{host}:{}/{path}", self.port)
    }
}

impl Drop for TlsDaemon {
    fn drop(&mut self) {
        for child in [&mut self.openssl, &mut self.daemon] {
            // It may have ended by itself.
            let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
            let _ = child.wait();
        }
    }
}

/// Whether somebody listens on a loopback port, without connecting: `s_server` would hand the daemon's
/// greeting to whoever comes first.
fn is_listening(port: u16) -> bool {
    let listening = format!("0100007F:{port:04X} 00000000:0000 0A ");
    fs::read_to_string("/proc/net/tcp").unwrap().contains(&listening)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
