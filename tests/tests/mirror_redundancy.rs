//! Redundancy: checks, balancing, and two fronts with one address (spec 11 §1.4, whose points are the tests).
//! The table of point 1 is in `mirror_health.rs`, the twenty clients of point 2 in `mirror_proxy.rs`.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rsync_e2e::front::Visitor;
use rsync_e2e::outcome::Running;
use rsync_e2e::pair::FLOATING;
use rsync_e2e::site::wait;
use rsync_e2e::{Front, Servers, Side, run, wait_until};

/// A backend that only greets, with its name, and lets clients have its module.
struct Backend {
    name: &'static str,
    port: u16,
    /// Clients that it has let have the module.
    sessions: Arc<AtomicUsize>,
}

impl Backend {
    /// One that says nothing to every connection whose number this divides.
    fn start(name: &'static str, silent: Option<usize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sessions = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&sessions);
        // It lives as long as the test's process.
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                if silent.is_some_and(|each| number.is_multiple_of(each)) {
                    continue;
                }
                let counted = Arc::clone(&counted);
                thread::spawn(move || greet(stream, name, &counted));
            }
        });
        Self { name, port, sessions }
    }

    fn section(&self, lines: &str) -> String {
        format!(
            "[upstreams.{}]\naddress = \"127.0.0.1:{}\"\nmodules = [\"m\"]\n{lines}\n",
            self.name, self.port
        )
    }
}

fn greet(mut stream: TcpStream, name: &str, sessions: &AtomicUsize) {
    // Who leaves early is no session.
    let _ = stream.write_all(b"@RSYNCD: 31.0 sha512 sha256 sha1 md5 md4\n");
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    match lines.nth(1).as_deref() {
        Some("m") => {
            sessions.fetch_add(1, Ordering::Relaxed);
            let _ = stream.write_all(format!("I am {name}\n@RSYNCD: OK\n").as_bytes());
            lines.by_ref().for_each(drop);
        }
        Some(_) => {
            let _ = stream.write_all(b"m              \tcomment\n@RSYNCD: EXIT\n");
        }
        None => {}
    }
}

/// Claims the module; the name of the backend that gave it.
fn claim(visitor: &mut Visitor) -> String {
    visitor.say("@RSYNCD: 31.0\nm\n");
    visitor.line()
}

/// Checks that come once, so that they disturb no count.
const QUIET: &str = "[check]\ninterval = \"1h\"\ntimeout = \"30s\"\n";

#[test]
fn point_2_a_check_that_fails_one_time_in_three_changes_nothing() {
    let backends = [Backend::start("steady", None), Backend::start("shaky", Some(3))];
    let rest = backends.each_ref().map(|backend| backend.section("")).concat();
    let checks = "[check]\nl7 = \"greeting\"\ninterval = \"20ms\"\ntimeout = \"30s\"\nfall = 2\nrise = 2\n";
    let front = Front::start("policy = \"first\"", &(rest + checks));
    wait_until("both", || ["steady", "shaky"].iter().all(|name| front.state(name) == "up"));
    let before = front.text("error");
    let looks = AtomicUsize::new(0);
    wait_until("many checks", || {
        assert_eq!(front.state("shaky"), "up");
        looks.fetch_add(1, Ordering::Relaxed) >= 60
    });
    assert_eq!(front.text("error"), before);
}

#[test]
fn point_3_weights_hold_over_a_thousand_sessions() {
    let backends = ["b1", "b2", "b3"].map(|name| Backend::start(name, None));
    let weights = [10, 10, 20];
    let rest: String = backends
        .iter()
        .zip(weights)
        .map(|(backend, weight)| backend.section(&format!("weight = {weight}")))
        .collect();
    let front = Front::start("policy = \"weighted\"", &(rest + QUIET));
    let mut counts = BTreeMap::new();
    for _ in 0..1000 {
        *counts.entry(claim(&mut front.visit())).or_insert(0) += 1;
    }
    assert_eq!(counts.values().sum::<i32>(), 1000, "{counts:?}");
    for (name, percent) in [("I am b1", 25), ("I am b2", 25), ("I am b3", 50)] {
        let share = counts.get(name).copied().unwrap_or_default();
        assert!((10 * percent - 50..=10 * percent + 50).contains(&share), "{counts:?}");
    }
}

#[test]
fn point_3_a_client_keeps_its_backend_even_when_others_come_and_go() {
    let backends = ["b1", "b2", "b3"].map(|name| Backend::start(name, None));
    let sections = |backends: &[Backend]| -> String {
        backends.iter().map(|backend| backend.section("")).collect::<String>() + QUIET
    };
    let settings = "policy = \"client-ip\"\nproxy_protocol_from = [\"127.0.0.1\"]";
    let front = Front::start(settings, &sections(&backends));
    let visit = |client: u32| {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + client * 257);
        let header = format!("PROXY TCP4 {address} 127.0.0.1 1000 873\r\n");
        claim(&mut front.visit_with(&header))
    };
    let chosen: Vec<String> = (0..60).map(visit).collect();
    assert_eq!((0..60).map(visit).collect::<Vec<_>>(), chosen);
    let different: BTreeSet<_> = chosen.iter().collect();
    assert_eq!(different.len(), 3, "{different:?}: {}", front.text("error"));
    // Without one of them, only its own clients move.
    front.rewrite(settings, &sections(&backends[..2]));
    assert_eq!(front.http("POST", "/reload").0, 200);
    for (client, before) in (0..60).zip(&chosen) {
        let now = visit(client);
        assert!(now == *before || before == "I am b3", "{client}: {before}, {now}");
    }
    front.rewrite(settings, &sections(&backends));
    assert_eq!(front.http("POST", "/reload").0, 200);
    assert_eq!((0..60).map(visit).collect::<Vec<_>>(), chosen);
    assert_eq!(backends.iter().map(|backend| backend.sessions.load(Ordering::Relaxed)).sum::<usize>(), 240);
}

/// The hosts of the network: two fronts, the one backend they share, and a client.
const P1: usize = 1;
const P2: usize = 2;
const BACKEND: usize = 3;
const CLIENT: usize = 4;

/// Two fronts with one address; `vip` are lines for both agents.
struct Fronts {
    servers: Servers,
    fronts: [Option<Running>; 2],
    backend: Running,
}

impl Fronts {
    fn start(vip: &str) -> Self {
        let servers = Servers::on(4);
        let served = servers.file(BACKEND, "served");
        fs::create_dir(&served).unwrap();
        fs::write(served.join("f"), "content").unwrap();
        let config = servers.file(BACKEND, "rsyncd.conf");
        let text = format!(
            "use chroot = no\nuid = 0\ngid = 0\nreverse lookup = no\n[m]\npath = {}\n",
            served.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = servers.lan.command(BACKEND, Path::new("/usr/bin/rsync"));
        command.args(["--daemon", "--no-detach"]).arg(format!("--config={}", config.display()));
        let backend = Running::start(&mut command);
        let mut fronts = Self { servers, fronts: [None, None], backend };
        for host in [P1, P2] {
            fronts.servers.configure(host, &format!("{vip}\n{}", Servers::witness(host)), "");
            fronts.start_front(host);
        }
        fronts
    }

    fn start_front(&mut self, host: usize) {
        let config = self.servers.file(host, "proxy.toml");
        let text = format!(
            "[proxy]\nlisten = \":873\"\nmotd = \"I am p{host}\"\n\
             [upstreams.b]\naddress = \"192.0.2.{BACKEND}\"\nmodules = [\"m\"]\n[check]\ntimeout = \"30s\"\n"
        );
        fs::write(&config, text).unwrap();
        let mut command = self.servers.lan.command(host, &rsync_e2e::program::mirror());
        self.fronts[host - 1] = Some(Running::start(command.arg("proxy").arg("--config").arg(config)));
        let url = format!("rsync://192.0.2.{host}/");
        wait_until("the front", || self.list(host, &url).is_some());
    }

    /// The first line of a listing that `host` gets.
    fn list(&self, host: usize, url: &str) -> Option<String> {
        let mut command = self.servers.lan.command(host, Path::new("/usr/bin/rsync"));
        let outcome = run(command.args(["--contimeout=2", "--timeout=20", url]));
        (outcome.code == 0).then(|| outcome.stdout.to_string().lines().next().unwrap_or_default().to_owned())
    }

    #[track_caller]
    fn wait_for(&self, host: usize) {
        let url = format!("rsync://{FLOATING}/");
        let is_found = || {
            self.list(CLIENT, &url).is_some_and(|line| line == format!("I am p{host}"))
                && self.servers.is_found_at(CLIENT, host)
                && self.servers.is(host, "serving")
        };
        wait(is_found, || format!("p{host} is not at the floating address: {}", self.servers.logs()));
        // It is a front for the real thing.
        let copy = self.servers.file(CLIENT, "copy");
        // One that has just started may not know its backend yet.
        wait_until("the backend", || {
            let mut pull = self.servers.lan.command(CLIENT, &Side::Ours.rsync());
            run(pull.arg("-t").arg(format!("rsync://{FLOATING}/m/f")).arg(&copy)).code == 0
        });
        assert_eq!(fs::read_to_string(copy).unwrap(), "content");
    }

    /// Starts both agents; the first serves.
    fn watch(&mut self) {
        self.servers.start_agent(P1);
        self.wait_for(P1);
        self.servers.start_agent(P2);
        wait_until("p2 on standby", || self.servers.is(P2, "standby"));
    }
}

impl Drop for Fronts {
    fn drop(&mut self) {
        self.fronts.iter().flatten().for_each(Running::kill);
        self.backend.kill();
    }
}

#[test]
fn point_4_the_address_moves_to_the_other_front_and_stays_there() {
    let mut fronts = Fronts::start("preempt = false");
    fronts.watch();
    fronts.servers.power_off(P1);
    fronts.wait_for(P2);
    fronts.servers.power_on(P1);
    fronts.start_front(P1);
    fronts.servers.start_agent(P1);
    wait_until("p1 on standby", || fronts.servers.is(P1, "standby"));
    fronts.wait_for(P2);
    assert_eq!(fronts.servers.answering(CLIENT), [P2].into(), "{}", fronts.servers.logs());
    // It comes back when the other gives it up. As it has just given up itself, it would be patient first.
    fronts.servers.kill_agent(P1);
    fronts.servers.start_agent(P1);
    run(&mut fronts.servers.command(P2, &["pair", "--yield"])).expect_ok();
    fronts.servers.forget_neighbours(P1);
    fronts.wait_for(P1);
}

#[test]
fn point_4_a_front_that_comes_first_takes_the_address_back() {
    let mut fronts = Fronts::start("preempt = true\nown = \"127.0.0.1\"");
    fronts.watch();
    // The proxy dies, and its host does not.
    let front = fronts.fronts[0].take().unwrap();
    front.kill();
    front.finish();
    fronts.wait_for(P2);
    assert!(!fronts.servers.holds(P1), "{}", fronts.servers.logs());
    fronts.start_front(P1);
    // Who has just given up is patient; a new agent is not.
    fronts.servers.kill_agent(P1);
    fronts.servers.start_agent(P1);
    fronts.wait_for(P1);
    wait_until("p2 lets go", || fronts.servers.is(P2, "standby") && !fronts.servers.holds(P2));
    assert_eq!(fronts.servers.answering(CLIENT), [P1].into(), "{}", fronts.servers.logs());
}

#[test]
fn point_4_an_address_of_ipv6_is_found_at_its_new_place() {
    let mut fronts = Fronts::start("");
    let floating = "2001:db8::10";
    for host in [P1, P2, CLIENT] {
        let own = format!("2001:db8::{host}/64");
        fronts.servers.lan.ip(host, &["addr", "add", &own, "dev", "eth0", "nodad"]);
    }
    for host in [P1, P2] {
        let config = fronts.servers.file(host, "toml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text.replace(&format!("{FLOATING}/24"), &format!("{floating}/64"))).unwrap();
        // Without an agent, the address is moved by hand.
        run(&mut fronts.servers.command(host, &["failback"])).expect_ok();
        let ping = |client: usize| {
            let mut ask = fronts.servers.lan.command(client, &Side::C.rsync());
            run(ask.args(["--contimeout=5", &format!("rsync://[{floating}]/")])).stdout.to_string()
        };
        wait_until("the new place", || ping(CLIENT).starts_with(&format!("I am p{host}\n")));
    }
    run(&mut fronts.servers.command(P1, &["pair", "--yield"])).expect_ok();
    let shown = fronts.servers.lan.ip(P1, &["-6", "addr", "show", "dev", "eth0"]);
    assert!(!shown.contains(floating), "{shown}");
    fronts.servers.kill_agent(P1);
}

#[test]
fn point_4_the_sample_script_moves_the_address_too() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/rsync-mirror/vip");
    let program = |word: &str| format!("{word} = [{:?}, \"{word}\"]\n", script.display().to_string());
    let vip = ["acquire", "release", "announce"].map(program).concat();
    let mut fronts = Fronts::start(&vip);
    fronts.watch();
    run(&mut fronts.servers.command(P1, &["pair", "--yield"])).expect_ok();
    fronts.servers.forget_neighbours(P2);
    fronts.wait_for(P2);
    assert!(!fronts.servers.holds(P1));
    // Doing it again changes nothing.
    for _ in 0..2 {
        let mut acquire = fronts.servers.lan.command(P2, &script);
        run(acquire.arg("acquire").env("VIP", format!("{FLOATING}/24")).env("DEV", "eth0")).expect_ok();
    }
    assert_eq!(fronts.servers.answering(CLIENT), [P2].into(), "{}", fronts.servers.logs());
}
