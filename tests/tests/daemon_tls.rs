//! Our daemon behind TLS: with the C rsync's `rsync-ssl` helper and with our client.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rsync_e2e::daemon::{Module, free_port};
use rsync_e2e::tls::Certificates;
use rsync_e2e::tree::random;
use rsync_e2e::{Compare, Daemon, Side, Snapshot, Tree, Work};

/// A daemon of one module that speaks TLS at another port.
struct Secure {
    daemon: Daemon,
    port: u16,
    work: Work,
    root: std::path::PathBuf,
}

impl Secure {
    fn start(certificates: &Certificates, globals: &str) -> Self {
        let work = Work::new();
        for (from, to) in [("server.pem", "cert"), ("server.key", "key")] {
            fs::copy(certificates.file(from), work.join(to)).unwrap();
        }
        let root = work.join("served");
        Tree::new().file("big", random(3 << 20, 1)).file("deep/small", "s").write(&root);
        let port = free_port();
        let globals = format!(
            "tls port = {port}\ntls certificate = {}\ntls key = {}\n{globals}",
            work.join("cert").display(),
            work.join("key").display()
        );
        let daemon = Daemon::start(Side::Ours, &globals, &[Module::new("m", &root)]);
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "{}", daemon.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { daemon, port, work, root }
    }

    /// Pulls with the C rsync, whose helper talks TLS by `openssl s_client`.
    fn pull_with_c(&self, authority: &Path, options: &[&str], destination: &Path) -> Output {
        Command::new("/usr/bin/rsync-ssl")
            .args(["--type=openssl", "-r"])
            .args(options)
            .arg(format!("rsync://localhost:{}/m/", self.port))
            .arg(destination)
            .env("RSYNC_SSL_CA_CERT", authority)
            .output()
            .unwrap()
    }

    fn pull_with_ours(&self, authority: &Path, destination: &Path) -> Output {
        Command::new(Side::Ours.rsync())
            .arg("-r")
            .arg(format!("rsyncs://localhost:{}/m/", self.port))
            .arg(destination)
            .env("RSYNC_SSL_CA_CERT", authority)
            .output()
            .unwrap()
    }

    #[track_caller]
    fn assert_pulled(&self, output: &Output, destination: &Path) {
        assert!(output.status.success(), "{output:?}\n{}", self.daemon.log());
        Snapshot::take(destination).assert_same(&Snapshot::take(&self.root), Compare::CONTENT);
    }
}

#[test]
fn the_c_client_pulls_through_its_helper() {
    let certificates = Certificates::new();
    let secure = Secure::start(&certificates, "");
    for protocol in ["29", "30", "31", "32"] {
        let destination = secure.work.join(protocol);
        let option = format!("--protocol={protocol}");
        let output = secure.pull_with_c(&certificates.file("authority.pem"), &[&option], &destination);
        secure.assert_pulled(&output, &destination);
    }
    let plain = Command::new("/usr/bin/rsync").arg(secure.daemon.url("m/")).output().unwrap();
    assert!(plain.status.success(), "the other port speaks no TLS: {plain:?}");
}

#[test]
fn our_client_pulls_and_checks_the_certificate() {
    let certificates = Certificates::new();
    let secure = Secure::start(&certificates, "");
    let destination = secure.work.join("got");
    let output = secure.pull_with_ours(&certificates.file("authority.pem"), &destination);
    secure.assert_pulled(&output, &destination);
    let output = secure.pull_with_ours(&certificates.file("other.pem"), &secure.work.join("none"));
    assert!(!output.status.success() && !secure.work.join("none/big").exists(), "{output:?}");
}

#[test]
fn a_new_certificate_counts_from_the_next_connection_and_a_broken_one_never() {
    let (first, second) = (Certificates::new(), Certificates::new());
    let secure = Secure::start(&first, "");
    let pull = |authority: &Certificates, name: &str| {
        secure.pull_with_ours(&authority.file("authority.pem"), &secure.work.join(name)).status.success()
    };
    assert!(pull(&first, "1") && !pull(&second, "2"));
    for (from, to) in [("server.pem", "cert"), ("server.key", "key")] {
        fs::copy(second.file(from), secure.work.join(to)).unwrap();
    }
    assert!(pull(&second, "3") && !pull(&first, "4"));
    fs::write(secure.work.join("key"), "no key").unwrap();
    assert!(pull(&second, "5"), "{}", secure.daemon.log());
    assert!(secure.daemon.log().contains("the last certificate stays in force"));
}

#[test]
fn whoever_speaks_no_tls_is_sent_away_and_others_are_served() {
    let certificates = Certificates::new();
    let secure = Secure::start(&certificates, "");
    let mut plain = TcpStream::connect(("127.0.0.1", secure.port)).unwrap();
    let _silent = TcpStream::connect(("127.0.0.1", secure.port)).unwrap();
    plain.write_all(b"@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\nm\n").unwrap();
    let mut heard = Vec::new();
    // An alert of TLS, or just the end.
    let _ = plain.read_to_end(&mut heard);
    assert!(!heard.starts_with(b"@RSYNCD"), "{heard:?}");
    let destination = secure.work.join("got");
    let output = secure.pull_with_ours(&certificates.file("authority.pem"), &destination);
    secure.assert_pulled(&output, &destination);
}

#[test]
fn a_proxy_speaks_before_tls() {
    let certificates = Certificates::new();
    let globals = "proxy protocol = yes\nproxy protocol hosts = 127.0.0.1";
    let secure = Secure::start(&certificates, globals);
    let mut stream = TcpStream::connect(("127.0.0.1", secure.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // The beginning of a TLS 1.2 client hello, in the same segment as the header.
    stream.write_all(b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 874\r\n\x16\x03\x01").unwrap();
    stream.write_all(&[0, 5, 1, 0, 0, 1, 0]).unwrap();
    let mut alert = [0; 7];
    stream.read_exact(&mut alert).unwrap();
    assert_eq!(alert[0], 0x15, "an alert about the malformed hello");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !secure.daemon.log().contains("TLS with 192.0.2.7 failed") {
        assert!(Instant::now() < deadline, "{}", secure.daemon.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}
