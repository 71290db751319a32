//! Clients that want to hold a daemon, fill it, or deceive it (spec 10 §3.7 to §3.12).

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use bstr::ByteSlice;
use rsync_e2e::daemon::{Module, free_port};
use rsync_e2e::hostile::{RawClient, data_frame};
use rsync_e2e::outcome::PATIENCE;
use rsync_e2e::tls::Certificates;
use rsync_e2e::{Daemon, Side, Tree, Work, wait_until};

const GREETING: &[u8] = b"@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\n";

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything until the daemon closes.
#[track_caller]
fn heard(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        // What it had no interest in resets the connection.
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the daemon stays: {:?}", bytes.as_bstr());
    }
    bytes
}

/// Says bytes at once; a daemon that has closed already does not hear all of them.
fn say(mut stream: &TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}

fn served() -> Work {
    let work = Work::new();
    Tree::new().file("root/file", "content").write(work.path());
    work
}

/// Words of a client's argument list.
fn words(words: &[&str]) -> Vec<u8> {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
    bytes.push(0);
    bytes
}

/// Says `first`, then one byte of `drops` after the other, until the daemon closes.
#[track_caller]
fn drip(phase: &str, port: u16, first: &[u8], drops: &[u8]) {
    let mut stream = connect(port);
    say(&stream, first);
    let deadline = Instant::now() + PATIENCE;
    for drop in drops.iter().cycle() {
        if stream.write_all(&[*drop]).is_err() {
            return;
        }
        assert!(Instant::now() < deadline, "a client may stay in its {phase}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_client_that_drips_stays_in_no_phase() {
    let (work, certificates, tls) = (served(), Certificates::new(), free_port());
    let secrets = work.join("secrets");
    fs::write(&secrets, "alice:secret\n").unwrap();
    fs::set_permissions(&secrets, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let globals = format!(
        "reverse lookup = no\ntimeout = 2\ntls port = {tls}\ntls certificate = {}\ntls key = {}",
        certificates.file("server.pem").display(),
        certificates.file("server.key").display()
    );
    let module = Module::new("m", &work.join("root"));
    let closed = Module::new("closed", &work.join("root"))
        .line("auth users = alice")
        .line(&format!("secrets file = {}", secrets.display()));
    let daemon = Daemon::start(Side::Ours, &globals, &[module.clone(), closed]);
    wait_until("TLS", || TcpStream::connect(("127.0.0.1", tls)).is_ok());
    let proxied = "reverse lookup = no\ntimeout = 2\nproxy protocol = yes\nproxy protocol hosts = 127.0.0.1";
    let proxied = Daemon::start(Side::Ours, proxied, &[module]);

    let after = |request: &[u8]| [GREETING, request].concat();
    let secluded = words(&["--server", "--sender", "-se.LsfxCIu", "."]);
    let setup = words(&["--server", "--sender", "-re.LsfxCIvu", ".", "m/"]);
    let phases: [(&str, u16, Vec<u8>, &[u8]); 10] = [
        ("greeting", daemon.port(), b"@RSYNCD:".to_vec(), b" "),
        ("module", daemon.port(), GREETING.to_vec(), b"m"),
        ("early input", daemon.port(), after(b"#early_input=5120\n"), b"x"),
        ("early inputs", daemon.port(), GREETING.to_vec(), b"#early_input=1\nx"),
        ("login", daemon.port(), after(b"closed\n"), b"a"),
        ("arguments", daemon.port(), after(b"m\n"), b"x\0"),
        ("second list", daemon.port(), [after(b"m\n"), secluded].concat(), b"x\0"),
        ("negotiation", daemon.port(), [after(b"m\n"), setup, b"\x7f".to_vec()].concat(), b"x"),
        ("TLS", tls, b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03".to_vec(), b"\0"),
        ("PROXY", proxied.port(), b"PROXY TCP4 1".to_vec(), b"2"),
    ];
    thread::scope(|scope| {
        for (phase, port, first, drops) in &phases {
            scope.spawn(move || drip(phase, *port, first, drops));
        }
        // Silence is no better.
        for port in [daemon.port(), tls, proxied.port()] {
            scope.spawn(move || heard(connect(port)));
        }
        assert!(daemon.lists(), "others are served meanwhile");
    });
    for (daemon, phases) in [(&daemon, 11), (&proxied, 2)] {
        let cut = || daemon.log().matches("daemon handshake timeout -- exiting").count();
        let deadline = Instant::now() + Duration::from_secs(20);
        while cut() < phases && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(cut(), phases, "{}", daemon.log());
    }
}

#[test]
fn silence_after_the_handshake_ends_with_the_module_s_timeout() {
    let work = served();
    let lock = format!("lock file = {}", work.join("lock").display());
    let module =
        Module::new("m", &work.join("root")).line("timeout = 2").line("max connections = 2").line(&lock);
    let daemon = Daemon::start(Side::Ours, "reverse lookup = no", &[module]);
    // One says nothing where its rules are awaited, one where its requests are.
    let mut clients = [&b""[..], &data_frame(&[0; 4])].map(|said| {
        let mut client = RawClient::pulling(daemon.port(), "m/");
        client.send(said);
        client
    });
    assert!(!daemon.lists(), "they hold both slots");
    wait_until("the end of silence", || daemon.lists());
    wait_until("the last line", || daemon.log().matches("io timeout after").count() == 2);
    // They were not gone.
    clients.iter_mut().for_each(|client| client.send(b"x"));
}

#[test]
fn floods_end_the_session_and_take_no_memory() {
    let work = served();
    let daemon = Daemon::start(Side::Ours, "reverse lookup = no", &[Module::new("m", &work.join("root"))]);
    assert!(daemon.lists());
    let peak = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let before = peak();
    let long_argument = [&[b'x'; 5000][..], b"\0"].concat();
    let floods: [(&str, &[u8], &[u8]); 6] = [
        ("a greeting", b"", b"@RSYNCD: 32.0 sha512 "),
        ("a module", GREETING, b"mmmmmmmmmm"),
        ("an argument", b"", b"x"),
        ("many arguments", b"", b"x\0"),
        ("long arguments", b"", &long_argument),
        ("lines", b"", b"@RSYNCD: 32.0 md5\n#list\n\n\n"),
    ];
    for (what, first, flood) in floods {
        let stream = connect(daemon.port());
        let in_arguments = flood.first() == Some(&b'x');
        say(&stream, if in_arguments { b"@RSYNCD: 32.0 md5\nm\n" } else { first });
        let flood = flood.repeat((256 << 10) / flood.len() + 1);
        let deadline = Instant::now() + PATIENCE;
        while (&stream).write_all(&flood).is_ok() {
            assert!(Instant::now() < deadline, "{what} without end");
        }
    }
    assert!(peak() < before + (24 << 10), "from {before} to {} KiB", peak());
    for (limit, floods) in [
        ("longer than 1022 bytes", 2),
        ("longer than 5119 bytes", 1),
        ("too many daemon arguments", 1),
        ("longer than 4194304 bytes", 1),
    ] {
        assert_eq!(daemon.log().matches(limit).count(), floods, "{limit}\n{}", daemon.log());
    }
    assert!(daemon.lists());
}

#[test]
fn one_address_does_not_take_every_place() {
    let work = served();
    let globals = "reverse lookup = no\nlisten backlog = 300";
    let daemon = Daemon::start(Side::Ours, globals, &[Module::new("m", &work.join("root"))]);
    let greeted = || daemon.log().matches("connect from").count();
    wait_until("the end of the first look", || greeted() == 1);
    let held: Vec<TcpStream> = (0..256).map(|_| connect(daemon.port())).collect();
    wait_until("greetings", || greeted() > 256);
    assert_eq!(heard(connect(daemon.port())), b"");
    wait_until("the log", || daemon.log().contains("too many handshakes from 127.0.0.1"));
    let mut other = Command::new("/usr/bin/rsync");
    other.arg("--address=127.0.0.2").arg(daemon.url("m/"));
    rsync_e2e::run(&mut other).expect_ok();
    drop(held);
    wait_until("places", || daemon.lists());
}

#[test]
fn one_address_does_not_take_every_session_of_a_module() {
    let work = served();
    let root = work.join("root");
    let two = "max connections per address = 2";
    let modules = [
        Module::new("m", &root),
        Module::new("few", &root).line(two),
        Module::new("none", &root).line("max connections per address = -1"),
    ];
    let daemon = Daemon::start(Side::Ours, "reverse lookup = no", &modules);
    let held = [RawClient::pulling(daemon.port(), "few/"), RawClient::pulling(daemon.port(), "few/")];
    let third = connect(daemon.port());
    say(&third, &[GREETING, b"few\n"].concat());
    assert!(heard(third).ends_with(b"@ERROR: max connections (2) reached -- try again later\n"));
    wait_until("the log", || daemon.log().contains("max connections per address (2) reached by 127.0.0.1"));
    let mut other = Command::new("/usr/bin/rsync");
    other.arg("--address=127.0.0.2").arg(daemon.url("few/"));
    rsync_e2e::run(&mut other).expect_ok();
    assert!(daemon.lists(), "the other module is not concerned");
    let mut closed = Command::new("/usr/bin/rsync");
    rsync_e2e::run(closed.arg(daemon.url("none/"))).expect_error_text("max connections (-1) reached");
    drop(held);
    wait_until("places", || {
        let mut client = Command::new("/usr/bin/rsync");
        rsync_e2e::run(client.arg(daemon.url("few/"))).code == 0
    });
}

#[test]
fn an_argument_list_that_is_cut_is_none() {
    let work = served();
    let status = work.join("status");
    let before = format!("pre-xfer exec = echo $RSYNC_REQUEST >> {}", work.join("before").display());
    let after = format!("post-xfer exec = echo $RSYNC_EXIT_STATUS >> {}", status.display());
    let module = Module::new("m", &work.join("root")).line(&before).line(&after);
    let daemon = Daemon::start(Side::Ours, "reverse lookup = no", &[module]);
    let cuts: [&[u8]; 5] = [
        b"",
        b"--server\0",
        b"--server\0--sen",
        b"--server\0--sender\0-r\0.\0m/",
        b"--server\0--sender\0-r\0.\0m/\0",
    ];
    for (number, cut) in cuts.iter().enumerate() {
        let stream = connect(daemon.port());
        say(&stream, &[GREETING, b"m\n", cut].concat());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        assert!(heard(stream).ends_with(b"@RSYNCD: OK\n"), "{:?}", cut.as_bstr());
        let told = || fs::read_to_string(&status).is_ok_and(|text| text == "12\n".repeat(number + 1));
        wait_until("the end of a visit", told);
    }
    assert!(!work.join("before").exists(), "nobody asked for anything");
    let lost = || daemon.log().matches("connection unexpectedly closed (0 bytes").count();
    wait_until("the last line", || lost() == cuts.len());
}

#[test]
fn rules_without_end_are_not_taken_in() {
    let work = served();
    let daemon = Daemon::start(Side::Ours, "reverse lookup = no", &[Module::new("m", &work.join("root"))]);
    let rule = |text: &[u8]| [&u32::try_from(text.len()).unwrap().to_le_bytes(), text].concat();
    let long = [b"- ".as_slice(), &[b'x'; 4000]].concat();
    for (rules, text) in [
        (rule(b"- x").repeat(260_000), "the filter rules received exceed 16777216 bytes"),
        (rule(&long).repeat(4200), "the filter rules received exceed 16777216 bytes"),
        (5120_u32.to_le_bytes().to_vec(), "recv_rules"),
        ((-1_i32).to_le_bytes().to_vec(), "recv_rules"),
    ] {
        let before = daemon.log().matches(text).count();
        let mut client = RawClient::pulling(daemon.port(), "m/");
        for piece in rules.chunks(1 << 20) {
            client.send(&data_frame(piece));
        }
        wait_until(text, || daemon.log().matches(text).count() > before);
    }
    assert!(daemon.log().contains("(code 22)"), "{}", daemon.log());
    assert!(daemon.lists());
    assert_eq!(daemon.log().matches(" started with ").count(), 1, "the worker lives on: {}", daemon.log());
}

#[test]
fn patterns_that_could_match_in_many_ways_take_no_time() {
    let work = served();
    for number in 0..40 {
        fs::write(work.join("root").join("a".repeat(240) + &number.to_string()), "").unwrap();
    }
    let daemon = Daemon::start(Side::Ours, "reverse lookup = no", &[Module::new("m", &work.join("root"))]);
    let bomb = "*a".repeat(1500) + "b";
    let lists = |words: &[&str]| {
        let mut command = Command::new("/usr/bin/rsync");
        rsync_e2e::run(command.args(words))
    };
    let listing = lists(&["-r", &format!("--exclude={bomb}"), &daemon.url("m/")]);
    assert_eq!(listing.expect_ok().stdout.lines().count(), 42);
    lists(&["-r", &daemon.url(&format!("m/{bomb}"))]).expect_code(23);
    lists(&["-r", &daemon.url("m/*/../*/../*/../*/../*/../*/../*/../*/../*/../*/../f*")]).expect_ok();
}

#[test]
fn who_speaks_no_tls_takes_nothing_from_those_who_do() {
    let (work, certificates, tls) = (served(), Certificates::new(), free_port());
    let globals = format!(
        "reverse lookup = no\ntls port = {tls}\ntls certificate = {}\ntls key = {}",
        certificates.file("server.pem").display(),
        certificates.file("server.key").display()
    );
    let daemon = Daemon::start(Side::Ours, &globals, &[Module::new("m", &work.join("root"))]);
    wait_until("TLS", || TcpStream::connect(("127.0.0.1", tls)).is_ok());
    let hello = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00";
    let garbage: [Vec<u8>; 6] = [
        GREETING.to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        rsync_e2e::tree::random(100_000, 5),
        b"\x16\x03\x01\xff\xff".repeat(20_000),
        hello.repeat(10_000),
        [b"\x15\x03\x01\x00\x02\x01\x00".repeat(5000), hello.to_vec()].concat(),
    ];
    let connections = garbage.map(|bytes| {
        let stream = connect(tls);
        say(&stream, &bytes);
        stream
    });
    let pulled = Command::new(Side::Ours.rsync())
        .arg(format!("rsyncs://localhost:{tls}/m/file"))
        .arg(work.path())
        .env("RSYNC_SSL_CA_CERT", certificates.file("authority.pem"))
        .status()
        .unwrap();
    assert!(pulled.success(), "{}", daemon.log());
    for stream in connections {
        let answer = heard(stream);
        assert!(!answer.contains_str("RSYNCD"), "{:?}", answer.as_bstr());
    }
}

#[test]
fn nobody_is_believed_to_be_a_proxy() {
    let work = served();
    let module = Module::new("m", &work.join("root")).line("hosts allow = 192.0.2.7");
    let spoof = b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 873\r\n";
    let request = [spoof.as_slice(), GREETING, b"m\n"].concat();
    let ask = |daemon: &Daemon, bytes: &[u8]| {
        let stream = connect(daemon.port());
        say(&stream, bytes);
        // Whoever has nothing more to say may still listen.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        heard(stream)
    };
    let start = |globals: &str| {
        Daemon::start(Side::Ours, &format!("reverse lookup = no\n{globals}"), std::slice::from_ref(&module))
    };
    // Where no proxy is expected, its header is no greeting.
    let without = start("");
    assert!(ask(&without, &request).ends_with(b"@ERROR: protocol startup error\n"));
    let denied = ask(&without, &[GREETING, b"m\n"].concat());
    assert!(denied.ends_with(b"@ERROR: access denied to m from UNDETERMINED (127.0.0.1)\n"));
    // Where others are proxies, or none is, it is not even greeted.
    for hosts in ["proxy protocol hosts = 192.0.2.0/24", "", "proxy protocol hosts = nosuch.invalid"] {
        let daemon = start(&format!("proxy protocol = yes\n{hosts}"));
        assert_eq!(ask(&daemon, &request), b"", "{hosts}");
        let line = "proxy protocol rejected from untrusted peer UNDETERMINED (127.0.0.1)";
        wait_until(line, || daemon.log().contains(line));
        assert!(!daemon.log().contains("192.0.2.7"), "{}", daemon.log());
    }
    // A proxy that makes no sense is not greeted either.
    let trusting = start("proxy protocol = yes\nproxy protocol hosts = 127.0.0.1");
    assert!(ask(&trusting, &request).ends_with(b"@RSYNCD: OK\n"));
    let second = |command: u8, family: u8, data: &[u8]| {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        header.extend([command, family]);
        header.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        [&header, data, GREETING, b"m\n"].concat()
    };
    let addresses = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0x03, 0x69];
    assert!(ask(&trusting, &second(0x21, 0x11, &addresses)).ends_with(b"@RSYNCD: OK\n"));
    // A health check of the proxy itself is from the proxy's address.
    assert!(ask(&trusting, &second(0x20, 0, &[])).ends_with(b"denied to m from UNDETERMINED (127.0.0.1)\n"));
    for header in [
        GREETING.to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 0 873\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7  10.0.0.1 1 873\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 1 873\n".to_vec(),
        b"PROXY TCP4 192.0.2.7\x0010.0.0.1 1 873\r\n".to_vec(),
        [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100], b"\r\n"].concat(),
        second(0x11, 0x11, &addresses),
        second(0x22, 0x11, &addresses),
        second(0x21, 0x11, &addresses[..11]),
        second(0x21, 0x11, &[0; 217]),
        second(0x21, 0x21, &addresses),
    ] {
        assert_eq!(ask(&trusting, &header), b"", "{:?}", header.as_bstr());
    }
}

#[test]
fn what_clients_call_things_forges_no_line_of_the_log() {
    let work = served();
    let forged = "\n2026/01/01 00:00:00 [1] rsync allowed access on module m from admin (10.0.0.1)";
    let name = format!("evil\x1b[31m{}", forged.replace('/', "-"));
    fs::write(work.join("root").join(&name), "x").unwrap();
    let secrets = work.join("secrets");
    fs::write(&secrets, "alice:secret\n").unwrap();
    for style in ["text", "json"] {
        let module = Module::new("m", &work.join("root")).line("transfer logging = yes");
        let closed = Module::new("closed", &work.join("root"))
            .line("auth users = alice")
            .line(&format!("secrets file = {}", secrets.display()));
        let globals = format!("reverse lookup = no\nlog style = {style}");
        let daemon = Daemon::start(Side::Ours, &globals, &[module, closed]);
        for request in [
            [GREETING, b"no\x1b[2J\x9b\x07such\r\n"].concat(),
            [GREETING, b"closed\nali\x1bce response\n"].concat(),
            [b"@RSYNCD: 3\x1b\n".as_slice(), b"m\n"].concat(),
            [GREETING, b"m\n", &words(&["--server", "--sender", "-r", ".", &format!("m/{name}")])].concat(),
            [GREETING, b"m\n", &words(&["--server", "--nosuch\x1b", ".", &format!("m/{forged}")])].concat(),
        ] {
            let stream = connect(daemon.port());
            say(&stream, &request);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            heard(stream);
        }
        let pulled =
            Command::new("/usr/bin/rsync").arg("-r").arg(daemon.url("m/")).arg(work.join(style)).status();
        assert!(pulled.unwrap().success());
        wait_until("the last line", || daemon.log().contains("sent "));
        let log = fs::read(daemon.file("log")).unwrap();
        let is_unsafe = |byte: &u8| (*byte < 0x20 && !matches!(*byte, b'\n' | b'\t')) || *byte == 0x7f;
        assert!(!log.iter().any(is_unsafe), "{:?}", log.as_bstr());
        assert!(!log.contains_str(b"\x9b"), "{:?}", log.as_bstr());
        assert!(log.contains_str(r"033[2J"), "{:?}", log.as_bstr());
        for line in log.lines() {
            assert!(
                !line.starts_with_str("2026/01/01 ") && !line.starts_with_str("2026-01-01 "),
                "{:?}",
                line.as_bstr()
            );
            if style == "json" {
                serde_json::from_slice::<serde_json::Value>(line).unwrap();
            }
        }
    }
}

/// The challenge of a module that wants a password, and the connection.
fn challenged(port: u16) -> (String, TcpStream) {
    let mut stream = connect(port);
    say(&stream, &[GREETING, b"closed\n"].concat());
    let mut text = Vec::new();
    while text.iter().filter(|&&byte| byte == b'\n').count() < 2 {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    let line = text.lines().next_back().unwrap().to_str().unwrap();
    (line.strip_prefix("@RSYNCD: AUTHREQD ").unwrap().to_owned(), stream)
}

/// What proves the password `secret` to whoever sent a challenge.
fn proof(challenge: &str) -> String {
    let script = format!("printf %s 'secret{challenge}' | openssl dgst -sha512 -binary | base64 -w0");
    let output = Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim_end_matches('=').to_owned()
}

#[test]
fn guessing_passwords_takes_its_time_and_tells_nothing() {
    let work = served();
    let secrets = work.join("secrets");
    fs::write(&secrets, "alice:secret\nbob:other\n").unwrap();
    fs::set_permissions(&secrets, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let module = Module::new("m", &work.join("root"));
    let closed = Module::new("closed", &work.join("root"))
        .line("auth users = alice, bob:deny")
        .line(&format!("secrets file = {}", secrets.display()));
    let daemon = Daemon::start(Side::Ours, "reverse lookup = no", &[module, closed]);
    let guesses = ["alice", "nobody", "bob", "#alice", "alice:", ""];
    let response = "A".repeat(86);
    let mut challenges = HashSet::new();
    thread::scope(|scope| {
        let mut answers = Vec::new();
        for number in 0..30 {
            let (challenge, stream) = challenged(daemon.port());
            assert!(challenge.len() == 86 && challenges.insert(challenge), "a challenge is used once");
            let line = format!("{} {response}\n", guesses[number % guesses.len()]);
            answers.push(scope.spawn(move || {
                let started = Instant::now();
                say(&stream, line.as_bytes());
                (heard(stream), started.elapsed())
            }));
        }
        assert!(daemon.lists(), "others are served meanwhile");
        for answer in answers {
            let (text, time) = answer.join().unwrap();
            assert_eq!(text.as_bstr(), b"@ERROR: auth failed on module closed\n".as_bstr());
            assert!(time >= Duration::from_millis(450), "{time:?}");
        }
    });
    // The answer to another connection's challenge is none.
    let (old, _stream) = challenged(daemon.port());
    let (_, stream) = challenged(daemon.port());
    say(&stream, format!("alice {}\n", proof(&old)).as_bytes());
    assert!(heard(stream).starts_with(b"@ERROR: auth failed"));
    let (own, stream) = challenged(daemon.port());
    say(&stream, format!("alice {}\n", proof(&own)).as_bytes());
    let _ = stream.shutdown(std::net::Shutdown::Write);
    assert_eq!(heard(stream), b"@RSYNCD: OK\n");
}
