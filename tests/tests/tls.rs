//! `rsyncs://` of our client, with the C rsync's daemon behind `openssl s_server`.

use std::process::Command;

use rsync_e2e::daemon::Module;
use rsync_e2e::outcome::Outcome;
use rsync_e2e::tls::{Certificates, TlsDaemon};
use rsync_e2e::{Compare, Daemon, Proxy, ProxyPlan, Side, Snapshot, Tree, Work, run};

/// Runs our client with `variables` and nothing else that concerns TLS.
fn rsync(variables: &[(&str, &str)], words: &[&str]) -> Outcome {
    let mut command = Command::new(Side::Ours.rsync());
    command.args(words).envs(variables.iter().copied());
    run(&mut command)
}

fn source() -> Tree {
    Tree::new().random("large", 3 << 20, 7).file("d/small", "small\n").symlink("link", "d/small")
}

struct Place {
    certificates: Certificates,
    work: Work,
}

impl Place {
    fn new() -> Self {
        let work = Work::new();
        source().write(&work.join("source"));
        Self { certificates: Certificates::new(), work }
    }

    fn daemon(&self, options: &[&str]) -> TlsDaemon {
        TlsDaemon::start(&self.certificates, &[Module::new("m", &self.work.join("source"))], options)
    }

    fn file(&self, name: &str) -> String {
        self.certificates.file(name).display().to_string()
    }

    fn destination(&self) -> String {
        format!("{}/", self.work.join("destination").display())
    }

    /// Pulls the module from `host` with these variables.
    fn pull(&self, daemon: &TlsDaemon, host: &str, variables: &[(&str, &str)]) -> Outcome {
        rsync(variables, &["-a", &daemon.url(host, "m/"), &self.destination()])
    }

    #[track_caller]
    fn assert_pulled(&self, outcome: &Outcome) {
        outcome.expect_ok();
        assert_eq!(outcome.stderr, "");
        let copied = Snapshot::take(&self.work.join("destination"));
        Snapshot::take(&self.work.join("source")).assert_same(&copied, Compare::ALL);
    }

    #[track_caller]
    fn assert_refused(&self, outcome: &Outcome, reason: &str) {
        outcome.expect_code(10).expect_error_text(reason);
        assert!(!self.work.join("destination").exists());
    }
}

#[test]
fn a_module_is_pulled_from_a_daemon_that_the_given_authority_vouches_for() {
    let place = Place::new();
    let ca = place.file("authority.pem");
    for host in ["localhost", "127.0.0.1"] {
        let daemon = place.daemon(&[]);
        let outcome = place.pull(&daemon, host, &[("RSYNC_SSL_CA_CERT", &ca)]);
        place.assert_pulled(&outcome);
    }
}

#[test]
fn a_module_is_pushed_to_with_the_older_tls_and_an_older_protocol() {
    let place = Place::new();
    let target = place.work.join("destination");
    std::fs::create_dir(&target).unwrap();
    let module = Module::new("m", &target).line("read only = no");
    for (options, protocol) in [(&["-tls1_2"][..], "--protocol=29"), (&[], "--protocol=32")] {
        let daemon = TlsDaemon::start(&place.certificates, std::slice::from_ref(&module), options);
        let from = format!("{}/", place.work.join("source").display());
        let ca = place.file("authority.pem");
        let words = ["-a", "--ignore-times", protocol, &from, &daemon.url("localhost", "m/")];
        place.assert_pulled(&rsync(&[("RSYNC_SSL_CA_CERT", &ca)], &words));
    }
}

#[test]
fn the_modules_are_listed() {
    let place = Place::new();
    let daemon = place.daemon(&[]);
    let ca = place.file("authority.pem");
    let outcome = rsync(&[("RSYNC_SSL_CA_CERT", &ca)], &[&daemon.url("localhost", "")]);
    outcome.expect_ok();
    assert_eq!(outcome.stdout, "m              \t\n");
}

#[test]
fn a_daemon_that_nobody_vouches_for_hears_nothing() {
    let place = Place::new();
    let other = place.file("other.pem");
    // Neither another authority nor those of the system have ever seen it.
    for variables in [&[("RSYNC_SSL_CA_CERT", other.as_str())][..], &[]] {
        let daemon = place.daemon(&[]);
        let outcome = place.pull(&daemon, "localhost", variables);
        place.assert_refused(&outcome, "TLS with localhost failed: invalid peer certificate: UnknownIssuer");
    }
}

#[test]
fn a_certificate_for_another_name_is_accepted_only_on_demand() {
    let place = Place::new();
    let (cert, key) = (place.file("elsewhere.pem"), place.file("elsewhere.key"));
    let start = || place.daemon(&["-cert", &cert, "-key", &key]);
    let (ca, other) = (place.file("authority.pem"), place.file("other.pem"));
    let refused = place.pull(&start(), "localhost", &[("RSYNC_SSL_CA_CERT", &ca)]);
    place.assert_refused(&refused, "certificate not valid for name \"localhost\"");
    let lenient = |ca: &str| {
        place.pull(
            &start(),
            "localhost",
            &[("RSYNC_SSL_CA_CERT", ca), ("RSYNC_SSL_SKIP_HOSTNAME_CHECK", "1")],
        )
    };
    place.assert_refused(&lenient(&other), "UnknownIssuer");
    place.assert_pulled(&lenient(&ca));
}

#[test]
fn a_certificate_in_the_file_of_authorities_needs_no_authority() {
    let place = Place::new();
    let own = place.file("server.pem");
    place.assert_pulled(&place.pull(&place.daemon(&[]), "localhost", &[("RSYNC_SSL_CA_CERT", &own)]));
    let (cert, key) = (place.file("elsewhere.pem"), place.file("elsewhere.key"));
    let daemon = place.daemon(&["-cert", &cert, "-key", &key]);
    std::fs::remove_dir_all(place.work.join("destination")).unwrap();
    let refused = place.pull(&daemon, "localhost", &[("RSYNC_SSL_CA_CERT", &cert)]);
    place.assert_refused(&refused, "certificate not valid for name");
}

#[test]
fn an_empty_authority_accepts_any_certificate() {
    let place = Place::new();
    let daemon = place.daemon(&[]);
    place.assert_pulled(&place.pull(&daemon, "localhost", &[("RSYNC_SSL_CA_CERT", "")]));
}

#[test]
fn a_daemon_that_wants_to_know_its_client_is_shown_a_certificate() {
    let place = Place::new();
    let ca = place.file("authority.pem");
    let (cert, key) = (place.file("client.pem"), place.file("client.key"));
    let start = || place.daemon(&["-Verify", "1", "-verify_return_error", "-CAfile", &ca]);
    let shown = [("RSYNC_SSL_CA_CERT", ca.as_str()), ("RSYNC_SSL_CERT", &cert), ("RSYNC_SSL_KEY", &key)];
    place.assert_pulled(&place.pull(&start(), "localhost", &shown));
    let unknown = place.pull(&start(), "localhost", &shown[..1]);
    assert_ne!(unknown.code, 0);
    unknown.expect_error_text("CertificateRequired");
}

#[test]
fn files_that_hold_no_certificate_are_named() {
    let place = Place::new();
    let daemon = place.daemon(&[]);
    let missing = place.file("missing.pem");
    let outcome = place.pull(&daemon, "localhost", &[("RSYNC_SSL_CA_CERT", &missing)]);
    outcome.expect_code(11).expect_error_text(&format!("failed to open {missing}: No such file"));
    let key = place.file("client.key");
    let outcome = place.pull(&daemon, "localhost", &[("RSYNC_SSL_CA_CERT", &key)]);
    outcome.expect_code(11).expect_error_text(&format!("cannot use {key} for TLS: it holds no PEM block"));
}

#[test]
fn a_daemon_without_tls_is_no_daemon_behind_tls() {
    let place = Place::new();
    let daemon = Daemon::serving(Side::C, &place.work.join("source"));
    let url = format!("rsyncs://localhost:{}/m/", daemon.port());
    place.assert_refused(&rsync(&[], &["-a", &url, &place.destination()]), "TLS with localhost failed");
}

#[test]
fn a_connection_cut_off_is_never_taken_for_its_end() {
    let place = Place::new();
    let daemon = place.daemon(&[]);
    let proxy = Proxy::start(daemon.port(), ProxyPlan { cut_after: Some(2 << 20), ..ProxyPlan::default() });
    let ca = place.file("authority.pem");
    let url = format!("rsyncs://localhost:{}/m/", proxy.port());
    let outcome = rsync(&[("RSYNC_SSL_CA_CERT", &ca)], &["-a", &url, &place.destination()]);
    outcome.expect_code(12).expect_error_text("connection unexpectedly closed");
}

#[test]
fn the_default_port_is_that_of_rsync_ssl() {
    let place = Place::new();
    for (variables, port) in [(&[][..], "874"), (&[("RSYNC_SSL_PORT", "1")], "1")] {
        let outcome = rsync(variables, &["rsyncs://no.such.host.invalid/m/", &place.destination()]);
        outcome.expect_code(10).expect_error_text(&format!("getaddrinfo: no.such.host.invalid {port}: "));
    }
}
