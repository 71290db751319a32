//! `rsync-mirror proxy` in front of C daemons and ours, with C clients and ours (spec 11 §4, §1.4).

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rsync_e2e::daemon::Module;
use rsync_e2e::front::Visitor;
use rsync_e2e::tls::Certificates;
use rsync_e2e::{Compare, Daemon, Front, Outcome, Side, Snapshot, Tree, Work, run, wait_until};
use rustix::process::Signal;

/// A section for a daemon that has module `m`; a later line wins over none.
fn upstream(name: &str, daemon: &Daemon, lines: &str) -> String {
    format!("[upstreams.{name}]\naddress = \"127.0.0.1:{}\"\nmodules = [\"m\"]\n{lines}\n", daemon.port())
}

/// Three daemons that serve `path` as `m`, and greet with their names.
fn three(work: &Work, path: &Path) -> BTreeMap<&'static str, Daemon> {
    let sides = [("b1", Side::C), ("b2", Side::Ours), ("b3", Side::C)];
    sides.map(|(name, side)| (name, named(work, name, side, path))).into()
}

fn named(work: &Work, name: &str, side: Side, path: &Path) -> Daemon {
    let motd = work.join(format!("{name}.motd"));
    fs::write(&motd, format!("I am {name}\n")).unwrap();
    let globals = format!("motd file = {}", motd.display());
    Daemon::start(side, &globals, &[Module::new("m", path).line("comment = of all")])
}

fn pull(side: Side, url: &str, destination: &Path) -> Outcome {
    run(Command::new(side.rsync()).arg("-a").arg(url).arg(destination))
}

fn tree(work: &Work) -> std::path::PathBuf {
    let path = work.join("served");
    Tree::new().file("a", "hello").file("d/big", vec![7; 300_000]).deep("x", 5).write(&path);
    path
}

/// Claims module `m`; the name of the daemon that opened it.
fn claim(visitor: &mut Visitor) -> String {
    visitor.say("@RSYNCD: 31.0\nm\n");
    let mut name = String::new();
    loop {
        match visitor.line() {
            line if line.starts_with("I am ") => line[5..].clone_into(&mut name),
            line if line == "@RSYNCD: OK" => return name,
            line if line.starts_with("@ERROR") => return line,
            line => assert!(!line.is_empty() || !name.is_empty(), "the connection ends"),
        }
    }
}

#[test]
fn both_clients_pull_list_and_are_refused_through_the_proxy() {
    let work = Work::new();
    let path = tree(&work);
    let mut backends = three(&work, &path);
    let extra = [
        Module::new("zoo", &path).line("comment = animals"),
        Module::new("m", &path).line("comment = of the fourth"),
        Module::new("secret", &path).line("list = no"),
    ];
    backends.insert("b4", Daemon::start(Side::C, "", &extra));
    let mut rest: String = ["b1", "b2", "b3"].map(|name| upstream(name, &backends[name], "")).concat();
    rest += &format!(
        "[upstreams.b4]\naddress = \"127.0.0.1:{}\"\nmodules = [\"secret\"]\ndiscover_modules = true\n",
        backends["b4"].port()
    );
    let front = Front::start("motd = \"Welcome\\nto all\"\npolicy = \"weighted\"", &rest);
    for side in [Side::C, Side::Ours] {
        // The turn comes round to each backend.
        for turn in 0..4 {
            let copy = work.join(format!("{side:?}{turn}"));
            let outcome = pull(side, &front.url("m/"), &copy);
            outcome.expect_ok();
            assert!(outcome.stdout.to_string().starts_with("Welcome\nto all\n\n"), "{}", outcome.stdout);
            Snapshot::take(&path).assert_same(&Snapshot::take(&copy), Compare::ALL);
        }
        let listing = run(Command::new(side.rsync()).arg("--no-motd").arg(front.url("")));
        listing.expect_ok();
        let listing = run(Command::new(side.rsync()).arg(front.url("")));
        let expected = "Welcome\nto all\n\nm              \tof all\nzoo            \tanimals\n";
        assert_eq!(listing.stdout, expected);
        pull(side, &front.url("secret/"), &work.join("hidden")).expect_ok();
        let outcome = pull(side, &front.url("nosuch/"), &work.join("none"));
        outcome.expect_code(5).expect_error_text("@ERROR: Unknown module 'nosuch'");
    }
    let mut visitor = front.visit();
    visitor.say("@RSYNCD: 31.0\n#list\n");
    assert!(visitor.rest().ends_with("zoo            \tanimals\n@RSYNCD: EXIT\n"));

    let log = front.text("access");
    for line in [
        "client 127.0.0.1 starts requesting module m",
        "client 127.0.0.1 requests non-existing module nosuch",
    ] {
        assert!(log.lines().any(|found| found.ends_with(line)), "{line}\n{log}");
    }
    assert!(log.contains("client 127.0.0.1 finishes module m (sent: "), "{log}");
    wait_until("the end of all sessions", || front.metric("rsync_proxy_completed_connections_total") == 10);
    assert_eq!(front.metric("rsync_proxy_unknown_module_requests_total"), 2);
    assert_eq!(front.metric("rsync_proxy_module_completed_connections_total{module=\"m\"}"), 8);
    assert!(front.metric("rsync_proxy_sent_bytes_total") > 8 * 300_000);
    let modules: serde_json::Value =
        serde_json::from_str(&front.http("GET", "/upstream-modules?name=b4").1).unwrap();
    assert_eq!(modules, serde_json::json!({ "b4": ["m", "secret", "zoo"] }));
    assert_eq!(front.http("GET", "/healthz"), (200, "ok\n".into()));
}

#[test]
fn passwords_and_protocols_are_agreed_upon_with_backends_of_different_versions() {
    let work = Work::new();
    let path = tree(&work);
    let secrets = work.join("secrets");
    fs::write(&secrets, "alice:s3cret\n").unwrap();
    fs::set_permissions(&secrets, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let module = Module::new("m", &path)
        .line("auth users = alice")
        .line(&format!("secrets file = {}", secrets.display()));
    let modules = [module];
    for (protocol, greeting) in [
        ("31", "@RSYNCD: 31.0 sha512 sha256 sha1 md5 md4"),
        ("29", "@RSYNCD: 29.0 sha512 sha256 sha1 md5 md4"),
    ] {
        let old = Daemon::start_with(Side::C, &[&format!("--protocol={protocol}")], "", &modules);
        let new = Daemon::start(Side::C, "", &modules);
        let ours = Daemon::start(Side::Ours, "", &modules);
        let rest = upstream("b1", &old, "") + &upstream("b2", &new, "") + &upstream("b3", &ours, "");
        let front = Front::start("policy = \"weighted\"", &rest);
        assert_eq!(front.visit().greeting, greeting);
        for side in [Side::C, Side::Ours] {
            for turn in 0..3 {
                let copy = work.join(format!("{protocol}{side:?}{turn}"));
                let url = front.url("m/").replace("127.0.0.1", "alice@127.0.0.1");
                let mut command = Command::new(side.rsync());
                command.arg("-a").arg(&url).arg(&copy).env("RSYNC_PASSWORD", "s3cret");
                run(&mut command).expect_ok();
                Snapshot::take(&path).assert_same(&Snapshot::take(&copy), Compare::ALL);
                run(command.env("RSYNC_PASSWORD", "wrong"))
                    .expect_code(5)
                    .expect_error_text("@ERROR: auth failed on module m");
            }
            let old = work.join(format!("{protocol}{side:?}old"));
            let url = front.url("m/").replace("127.0.0.1", "alice@127.0.0.1");
            let mut command = Command::new(side.rsync());
            run(command.args(["-a", "--protocol=28", &url]).arg(&old).env("RSYNC_PASSWORD", "s3cret"))
                .expect_ok();
        }
    }
}

#[test]
fn sessions_are_shared_by_weight_and_a_client_keeps_its_backend() {
    let work = Work::new();
    let backends = three(&work, &tree(&work));
    let rest: String = [("b1", 10), ("b2", 10), ("b3", 20)]
        .map(|(name, weight)| upstream(name, &backends[name], &format!("weight = {weight}")))
        .concat();
    for (policy, expected) in [("weighted", vec![20, 20, 40]), ("client-ip", vec![80]), ("first", vec![80])] {
        let front = Front::start(&format!("policy = \"{policy}\""), &rest);
        let mut counts = BTreeMap::new();
        for _ in 0..80 {
            *counts.entry(claim(&mut front.visit())).or_insert(0) += 1;
        }
        assert_eq!(counts.values().copied().collect::<Vec<_>>(), expected, "{policy}: {counts:?}");
    }
    let front = Front::start("policy = \"least-conn\"", &rest);
    let mut visitors: Vec<_> = (0..8).map(|_| front.visit()).collect();
    let mut counts = BTreeMap::new();
    for visitor in &mut visitors {
        *counts.entry(claim(visitor)).or_insert(0) += 1;
    }
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [2, 2, 4], "{counts:?}");
}

#[test]
fn who_finds_no_room_waits_in_a_queue_and_who_finds_that_full_is_refused() {
    let work = Work::new();
    let daemon = named(&work, "b1", Side::C, &tree(&work));
    let rest = upstream("b1", &daemon, "max_active_connections = 1\nmax_queued_connections = 2");
    let front = Front::start("", &rest);
    let queued = || front.status()["upstreams"][0]["queued"].as_u64().unwrap();
    let mut holder = front.visit();
    assert_eq!(claim(&mut holder), "b1");
    let mut waiting = [front.visit(), front.visit()];
    for (index, visitor) in waiting.iter_mut().enumerate() {
        visitor.say("@RSYNCD: 31.0\nm\n");
        let text =
            "Upstream b1 has reached the maximum number of 1 connections. Your request is being queued.";
        assert_eq!(visitor.line(), text);
        assert_eq!(visitor.line(), format!("Your position: {0}, Total queued: {0}", index + 1));
    }
    assert_eq!(waiting[0].line(), "Your position: 1, Total queued: 2");
    for side in [Side::C, Side::Ours] {
        pull(side, &front.url("m/"), &work.join("full"))
            .expect_code(5)
            .expect_error_text("@ERROR: Server queue is full for this upstream. Please retry later.");
    }
    assert_eq!(front.metric("rsync_proxy_queue_full_rejected_total{upstream=\"b1\"}"), 2);
    assert_eq!(front.metric("rsync_proxy_queued_connections{upstream=\"b1\"}"), 2);
    let [first, mut second] = waiting;
    // Who leaves, leaves the queue.
    drop(first);
    assert_eq!(second.line(), "Your position: 1, Total queued: 1");
    drop(holder);
    assert_eq!(second.line(), "I am b1");
    assert_eq!(queued(), 0);
    drop(second);
    wait_until("an idle daemon", || front.status()["upstreams"][0]["active"] == 0);
    for line in ["starts queueing for module m", "queue full for module m"] {
        assert!(front.text("access").contains(line), "{line}");
    }
    front.rewrite("queue_timeout = \"200ms\"", &rest);
    assert_eq!(front.http("POST", "/reload").0, 200);
    let mut holder = front.visit();
    assert_eq!(claim(&mut holder), "b1");
    let mut late = front.visit();
    late.say("@RSYNCD: 31.0\nm\n");
    assert!(late.rest().ends_with("@ERROR: no server was free in time -- try again later\n"));
}

#[test]
fn who_breaks_a_connection_holds_no_place() {
    let work = Work::new();
    let daemon = named(&work, "b1", Side::C, &tree(&work));
    let front = Front::start("", &upstream("b1", &daemon, "max_active_connections = 1"));
    for _ in 0..3 {
        let mut visitor = front.visit();
        assert_eq!(claim(&mut visitor), "b1");
        visitor.reset();
        wait_until("the end of the session", || front.status()["upstreams"][0]["active"] == 0);
    }
}

#[test]
fn limits_hold_for_clients_modules_and_altogether() {
    let work = Work::new();
    let daemon = named(&work, "b1", Side::C, &tree(&work));
    let full = |count| format!("@ERROR: max connections ({count}) reached -- try again later");
    for (lines, module) in [
        ("max_connections_per_client = 2", ""),
        ("", "[modules.m]\nmax_connections = 2"),
        ("max_connections = 2", ""),
    ] {
        let front = Front::start(lines, &(upstream("b1", &daemon, "") + module));
        // The connection that found it listening may still count.
        let mut holders = Vec::new();
        wait_until("room for two", || {
            let mut visitor = front.visit();
            let is_in = claim(&mut visitor) == "b1";
            holders.extend(is_in.then_some(visitor));
            holders.len() == 2
        });
        let mut third = front.visit();
        assert_eq!(claim(&mut third), full(2), "{lines}");
        let refused = pull(Side::C, &front.url("m/"), &work.join("full"));
        refused.expect_code(5).expect_error_text(&full(2));
        drop(holders);
        wait_until("room again", || claim(&mut front.visit()) == "b1");
    }
}

#[test]
fn a_backend_that_dies_under_twenty_clients_gets_nothing_new_until_it_is_back() {
    let work = Work::new();
    let path = tree(&work);
    let mut backends = three(&work, &path);
    let rest: String = ["b1", "b2", "b3"].map(|name| upstream(name, &backends[name], "")).concat();
    let rest =
        rest + "[check]\nl7 = \"canary:m/a\"\ninterval = \"300ms\"\ntimeout = \"20s\"\nfall = 2\nrise = 2\n";
    let front = Front::start("policy = \"weighted\"", &rest);
    let is_over = AtomicBool::new(false);
    let failures = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..20)
            .map(|number| {
                let (front, is_over, work) = (&front, &is_over, &work);
                scope.spawn(move || {
                    let side = if number % 4 == 0 { Side::Ours } else { Side::C };
                    let mut failures = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        let copy = work.join(format!("client{number}"));
                        failures += usize::from(pull(side, &front.url("m/"), &copy).code != 0);
                    }
                    failures
                })
            })
            .collect();
        wait_until("twenty sessions", || front.metric("rsync_proxy_completed_connections_total") >= 20);
        backends["b1"].signal(Signal::KILL);
        wait_until("the fall of b1", || front.state("b1") == "down");
        let before = front.metric("rsync_proxy_completed_connections_total");
        wait_until("more sessions", || {
            front.metric("rsync_proxy_completed_connections_total") >= before + 20
        });
        is_over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
    });
    // Only who was on b1 when it died can have failed.
    assert!(failures <= 20, "{failures}");
    let before = front.metric("rsync_proxy_upstream_dial_errors_total{upstream=\"b1\"}");
    for _ in 0..8 {
        assert_ne!(claim(&mut front.visit()), "b1");
    }
    assert_eq!(front.metric("rsync_proxy_upstream_dial_errors_total{upstream=\"b1\"}"), before);
    backends.get_mut("b1").unwrap().restart();
    wait_until("the return of b1", || front.state("b1") == "up");
    wait_until("a session at b1", || claim(&mut front.visit()) == "b1");
    let log = front.text("error");
    assert!(log.contains("upstream b1: up -> down (") && log.contains("upstream b1: down -> up"), "{log}");
}

#[test]
fn a_backend_that_cannot_be_reached_costs_a_client_nothing() {
    let work = Work::new();
    let mut backends = three(&work, &tree(&work));
    let rest: String = ["b1", "b2"].map(|name| upstream(name, &backends[name], "")).concat();
    let front = Front::start("policy = \"first\"", &(rest + "[check]\ninterval = \"1h\"\n"));
    assert_eq!(claim(&mut front.visit()), "b1");
    drop(backends.remove("b1"));
    assert_eq!(claim(&mut front.visit()), "b2");
    assert!(front.metric("rsync_proxy_upstream_dial_errors_total{upstream=\"b1\"}") >= 1);
    drop(backends.remove("b2"));
    wait_until("the fall of both", || {
        let line = claim(&mut front.visit());
        assert!(line.starts_with("@ERROR: no server for module 'm' can be reached"), "{line}");
        front.state("b1") == "down" && front.state("b2") == "down"
    });
    assert_eq!(front.http("GET", "/healthz").0, 503);
}

#[test]
fn addresses_of_clients_pass_by_the_proxy_protocol_in_and_out() {
    let work = Work::new();
    let path = tree(&work);
    for side in [Side::C, Side::Ours] {
        let globals = "proxy protocol = yes\nproxy protocol hosts = 127.0.0.1\nreverse lookup = no";
        let module = Module::new("m", &path).line("hosts allow = 10.1.2.3 2001:db8::1");
        let daemon = Daemon::start(side, globals, &[module]);
        for version in ["use_proxy_protocol = true", "proxy_protocol = 2"] {
            let front = Front::start("", &upstream("b1", &daemon, version));
            assert_eq!(front.state("b1"), "up");
            let refused = pull(Side::C, &front.url("m/"), &work.join("refused"));
            refused.expect_code(5).expect_error_text("access denied to m from UNDETERMINED (127.0.0.1)");
            let trusting = "proxy_protocol_from = [\"127.0.0.0/8\"]";
            // Who only looks whether it listens sends no header.
            let front = Front::start(trusting, &upstream("b1", &daemon, version));
            for header in ["TCP4 10.1.2.3 10.0.0.1", "TCP6 2001:db8::1 2001:db8::2"] {
                let mut visitor = front.visit_with(&format!("PROXY {header} 1234 873\r\n"));
                visitor.say("@RSYNCD: 31.0\nm\n");
                assert_eq!(visitor.line(), "@RSYNCD: OK", "{side:?} {version} {header}");
            }
            assert!(front.text("access").contains("client 10.1.2.3 starts requesting module m"));
        }
    }
}

#[test]
fn clients_come_by_tls_and_a_renewed_certificate_is_used() {
    let work = Work::new();
    let path = tree(&work);
    let certificates = Certificates::new();
    for (from, to) in [("elsewhere.pem", "cert"), ("elsewhere.key", "key")] {
        fs::copy(certificates.file(from), work.join(to)).unwrap();
    }
    let daemon = named(&work, "b1", Side::Ours, &path);
    let port = rsync_e2e::daemon::free_port();
    let lines = format!(
        "listen_tls = \"127.0.0.1:{port}\"\ntls_cert_file = {:?}\ntls_key_file = {:?}",
        work.join("cert"),
        work.join("key")
    );
    let _front = Front::start(&lines, &upstream("b1", &daemon, ""));
    let pull = |side: Side, copy: &Path| {
        let authority = certificates.file("authority.pem");
        let mut command = match side {
            Side::C => {
                let mut command = Command::new("/usr/bin/rsync-ssl");
                command.args(["--type=openssl", "-a"]).arg(format!("rsync://localhost:{port}/m/"));
                command
            }
            Side::Ours => {
                let mut command = Command::new(side.rsync());
                command.arg("-a").arg(format!("rsyncs://localhost:{port}/m/"));
                command
            }
        };
        run(command.arg(copy).env("RSYNC_SSL_CA_CERT", authority))
    };
    assert_ne!(pull(Side::Ours, &work.join("early")).code, 0, "a certificate for another host");
    for (from, to) in [("server.pem", "cert"), ("server.key", "key")] {
        fs::copy(certificates.file(from), work.join(to)).unwrap();
    }
    for side in [Side::C, Side::Ours] {
        let copy = work.join(format!("{side:?}"));
        pull(side, &copy).expect_ok();
        Snapshot::take(&path).assert_same(&Snapshot::take(&copy), Compare::ALL);
    }
}

#[test]
fn a_reload_is_whole_or_nothing_and_touches_no_session() {
    let work = Work::new();
    let backends = three(&work, &tree(&work));
    let section = |name: &str| upstream(name, &backends[name], "");
    let front = Front::start("policy = \"first\"", &section("b1"));
    let mut session = front.visit();
    assert_eq!(claim(&mut session), "b1");

    for (lines, rest, complaint) in [
        ("policy = \"best\"", section("b2"), "unknown variant `best`"),
        (
            "policy = \"first\"",
            "[upstreams.b2]\naddress = \"127.0.0.1:1\"\ndiscover_modules = true\n".into(),
            "discover_modules",
        ),
    ] {
        front.rewrite(lines, &rest);
        let (status, answer) = front.http("POST", "/reload");
        assert!(status == 400 && answer.contains(complaint), "{status} {answer}");
        assert_eq!(claim(&mut front.visit()), "b1");
    }
    front.rewrite("policy = \"first\"", &section("b2"));
    front.signal(Signal::HUP);
    wait_until("the reload", || claim(&mut front.visit()) == "b2");
    assert_eq!(front.status()["connections"][0]["upstream"], "b1", "the session goes on");
    // The daemon refuses an option, so the session is alive.
    session.say("--server\0--sender\0--bogus\0.\0m/\0\0");
    assert!(!session.rest().is_empty());
    front.rewrite("policy = \"first\"", &(section("b2") + "drain = true\n" + &section("b3")));
    assert_eq!(front.http("POST", "/reload").0, 200);
    assert_eq!((front.state("b2"), claim(&mut front.visit())), ("draining".into(), "b3".into()));
}

#[test]
fn who_is_served_may_finish_when_the_proxy_is_told_to_stop_and_nobody_else_is_served() {
    let work = Work::new();
    let daemon = named(&work, "b1", Side::C, &tree(&work));
    let mut front = Front::start("", &upstream("b1", &daemon, "max_active_connections = 1"));
    let (mut session, mut queued, mut idle) = (front.visit(), front.visit(), front.visit());
    assert_eq!(claim(&mut session), "b1");
    queued.say("@RSYNCD: 31.0\nm\n");
    assert!(queued.line().starts_with("Upstream b1 has reached"));
    front.signal(Signal::TERM);
    let stopping = "@ERROR: the proxy is about to stop -- try again later\n";
    assert!(queued.rest().ends_with(stopping));
    assert!(idle.rest().ends_with(stopping));
    assert!(front.is_running(), "the session is not over");
    assert_eq!(front.http("GET", "/healthz").0, 503);
    pull(Side::C, &front.url("m/"), &work.join("late")).expect_code(10);
    drop(session);
    front.finish().expect_ok();

    let mut front = Front::start("", &upstream("b1", &daemon, ""));
    let mut session = front.visit();
    assert_eq!(claim(&mut session), "b1");
    front.signal(Signal::TERM);
    wait_until("the drain", || front.http("GET", "/healthz").0 == 503);
    front.signal(Signal::TERM);
    front.finish().expect_ok();
    session.rest();
}

#[test]
fn hostile_clients_are_turned_away_and_others_do_not_notice() {
    let work = Work::new();
    let daemon = named(&work, "b1", Side::C, &tree(&work));
    let front = Front::start("handshake_timeout = \"2s\"", &upstream("b1", &daemon, ""));
    let long = "x".repeat(2000);
    for (said, answered) in [
        ("GET / HTTP/1.0\r\n\r\n", "@ERROR: protocol startup error\n"),
        ("@RSYNCD: 32.0\nm\n", "@ERROR: your client omitted the digest name list: @RSYNCD: 32.0\n"),
        ("@RSYNCD: 31.0\n#foo\n", "@ERROR: Unknown command '#foo'\n"),
        ("@RSYNCD: 31.0\n#early_input=9999\n", "@ERROR: invalid early_input length\n"),
        ("@RSYNCD: 31.0\nm\0\n", ""),
        (&format!("@RSYNCD: 31.0\n{long}\n"), ""),
        (&long, ""),
        // Says nothing more, and is let go by the deadline.
        ("@RSYNCD: 31.0\n", ""),
    ] {
        let mut visitor = front.visit();
        visitor.say(said);
        assert_eq!(visitor.rest(), answered, "{said:?}");
    }
    let module = "y".repeat(1000);
    let mut visitor = front.visit();
    visitor.say(&format!("@RSYNCD: 31.0\n#early_input=3\nabc{module}\n"));
    assert_eq!(visitor.rest(), format!("@ERROR: Unknown module '{module}'\n"));
    assert_eq!(front.metric("rsync_proxy_refused_connections_total{reason=\"handshake timeout\"}"), 1);
    assert_eq!(claim(&mut front.visit()), "b1");
}

#[test]
fn a_session_without_a_byte_is_ended_and_counted() {
    let work = Work::new();
    let daemon = named(&work, "b1", Side::C, &tree(&work));
    let front = Front::start("idle_timeout = \"1s\"", &upstream("b1", &daemon, ""));
    let mut visitor = front.visit();
    assert_eq!(claim(&mut visitor), "b1");
    visitor.rest();
    wait_until("the count", || front.metric("rsync_proxy_sessions_ended_total{reason=\"idle\"}") == 1);
}

#[test]
fn a_session_that_is_too_slow_is_ended_and_counted_and_a_faster_one_is_not() {
    let work = Work::new();
    let daemon = named(&work, "b1", Side::C, &tree(&work));
    let front = Front::start("min_rate = 1\nmin_rate_span = \"1s\"", &upstream("b1", &daemon, ""));
    let mut visitor = front.visit();
    assert_eq!(claim(&mut visitor), "b1");
    visitor.rest();
    wait_until("the count", || front.metric("rsync_proxy_sessions_ended_total{reason=\"too slow\"}") == 1);
    pull(Side::C, &front.url("m/"), &work.join("pulled")).expect_ok();
    assert_eq!(front.metric("rsync_proxy_sessions_ended_total{reason=\"too slow\"}"), 1);
}

#[test]
fn sessions_are_cut_off_when_the_drain_takes_too_long() {
    let work = Work::new();
    let daemon = named(&work, "b1", Side::C, &tree(&work));
    let mut front = Front::start("drain_timeout = \"300ms\"", &upstream("b1", &daemon, ""));
    let mut session = front.visit();
    assert_eq!(claim(&mut session), "b1");
    front.signal(Signal::TERM);
    front.finish().expect_ok();
    session.rest();
}

#[test]
fn what_cannot_be_used_is_refused_at_the_start() {
    let work = Work::new();
    let daemon = named(&work, "b1", Side::C, &tree(&work));
    Front::refused("lisn = 1", &upstream("b1", &daemon, ""))
        .expect_code(78)
        .expect_error_text("unknown field `lisn`");
    let undiscovered = "[upstreams.b1]\naddress = \"127.0.0.1:1\"\ndiscover_modules = true\n";
    Front::refused("", undiscovered).expect_code(1).expect_error_text(
        "upstream b1 cannot be asked for its modules (discover_modules = true): cannot connect",
    );
}

#[test]
fn the_sample_is_a_configuration() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/rsync-mirror/proxy.toml");
    let mut command = Command::new(rsync_e2e::program::mirror());
    run(command.args(["proxy", "--check", "--config"]).arg(sample)).expect_ok();
}

#[test]
fn the_commands_of_the_document_work() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/mirror-proxy.md");
    let document = fs::read_to_string(document).unwrap();
    let blocks = |kind: &str| -> Vec<String> {
        let opening = format!("```{kind}\n");
        let blocks = document.split(&opening).skip(1);
        blocks.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
    };
    let work = Work::new();
    let served = work.join("served");
    Tree::new().file("dists/stable/Release", "Suite: stable\n").file("pool/p", "p").write(&served);
    let release = fs::File::open(served.join("dists/stable/Release")).unwrap();
    release.set_modified(std::time::SystemTime::now()).unwrap();
    let daemons =
        [Side::C, Side::Ours].map(|side| Daemon::start(side, "", &[Module::new("debian", &served)]));
    let ports = [
        ("8730", rsync_e2e::daemon::free_port()),
        ("9528", rsync_e2e::daemon::free_port()),
        ("8731", daemons[0].port()),
        ("8732", daemons[1].port()),
    ];
    let adapted = |text: &str| {
        ports.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, &to.to_string()))
    };
    fs::write(work.join("proxy.toml"), adapted(&blocks("toml")[0])).unwrap();
    let [start, visit] = &blocks("sh")[..] else { panic!("two blocks of commands") };
    let script = format!(
        "set -e\n{start}\npid=$!\ntrap 'kill $pid' EXIT\n\
         until rsync rsync://127.0.0.1:8730/ >/dev/null 2>&1; do kill -0 $pid; sleep 0.05; done\n\
         {visit}\ntrap - EXIT\nkill $pid\nwait $pid\n"
    );
    let programs = rsync_e2e::program::mirror();
    let path = format!("{}:{}", programs.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let outcome =
        run(Command::new("sh").args(["-c", &adapted(&script)]).current_dir(work.path()).env("PATH", path));
    outcome.expect_ok();
    assert!(outcome.stdout.to_string().contains("Welcome to the mirror.\n\ndebian"), "{}", outcome.stdout);
    assert_eq!(fs::read_to_string(work.join("dists/stable/Release")).unwrap(), "Suite: stable\n");
}
