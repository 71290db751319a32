//! The client against the C rsync's daemon.

mod support;

use std::io;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use bstr::BString;
use rsync_client::{Client, ClientEnvironment, ClientError, Module};
use rsync_proto::options::TransferOptions;
use rsync_proto::text::{Event, EventSink, Topic};
use support::Daemon;

const MODULES: &str = "
[pub]
    path = ROOT/pub
    comment = public stuff
[hidden]
    path = ROOT/pub
    list = no
[auth]
    path = ROOT/pub
    auth users = bob
    secrets file = ROOT/secrets
    comment = members only
[denied]
    path = ROOT/pub
    hosts deny = *
";

fn daemon() -> Daemon {
    let daemon = Daemon::prepare(MODULES);
    daemon.write("secrets", b"bob:s3 cret\n", 0o600);
    daemon.write("pub/a.txt", b"hello\n", 0o644);
    daemon.write("pub/sub/b.bin", &[7; 100_000], 0o644);
    daemon.start()
}

fn client(options: TransferOptions) -> Client {
    Client::builder().options(options).build()
}

fn with_password(password: &'static str) -> Client {
    Client::builder()
        .options(TransferOptions::archive())
        .ask_password(Arc::new(move |request| {
            assert_eq!((request.user, request.module), (&b"bob"[..], &b"auth"[..]));
            Ok(password.into())
        }))
        .build()
}

fn as_bob(daemon: &Daemon) -> String {
    daemon.url("auth/").replace("rsync://", "rsync://bob@")
}

fn lines(result: Result<impl std::fmt::Debug, ClientError>) -> (Vec<String>, u8) {
    let error = result.expect_err("the daemon refuses");
    (error.to_string().lines().map(str::to_owned).collect(), error.exit_code().code())
}

#[test]
fn modules_are_listed_in_order_without_the_hidden_ones() {
    let daemon = daemon();
    let modules = client(TransferOptions::default()).list_modules(daemon.url("")).expect("lists");
    let module = |name: &str, comment: &str| Module { name: name.into(), comment: comment.into() };
    let expected = [module("pub", "public stuff"), module("auth", "members only"), module("denied", "")];
    assert_eq!(modules, expected);
}

#[test]
fn the_message_of_the_day_is_heard_and_no_module() {
    let daemon = Daemon::prepare(&format!("motd file = ROOT/motd\n{MODULES}"));
    daemon.write("motd", b"Welcome to\nthe daemon\n", 0o644);
    let daemon = daemon.start();
    let heard = Arc::new(Heard::default());
    let client = Client::builder().events(heard.clone()).build();
    assert_eq!(client.list_modules(daemon.url("")).expect("lists").len(), 3);
    let texts = heard.texts();
    assert_eq!(texts[..3], ["Welcome to\n", "the daemon\n", "\n"]);
}

#[test]
fn old_protocols_list_modules_too() {
    let daemon = daemon();
    for protocol in 27..=32 {
        let options = TransferOptions { protocol: Some(protocol), ..TransferOptions::default() };
        assert_eq!(client(options).list_modules(daemon.url("")).expect("lists").len(), 3, "{protocol}");
    }
}

#[test]
fn a_listing_shows_what_is_there() {
    let daemon = daemon();
    for protocol in [27, 28, 29, 30, 31, 32] {
        let options = TransferOptions { protocol: Some(protocol), ..TransferOptions::archive() };
        let listed = client(options).list(daemon.url("pub/")).expect("lists").entries;
        let names: Vec<String> = listed.iter().map(|entry| entry.name.to_string()).collect();
        assert_eq!(names, [".", "a.txt", "sub", "sub/b.bin"], "{protocol}");
        assert_eq!((listed[3].size, listed[3].mode), (100_000, 0o100_644));
    }
}

#[test]
fn a_password_opens_a_module_at_every_protocol() {
    let daemon = daemon();
    for protocol in [27, 29, 30, 31, 32] {
        let options = TransferOptions { protocol: Some(protocol), ..TransferOptions::archive() };
        let environment = ClientEnvironment {
            user: Some("bob".into()),
            password: Some("s3 cret".into()),
            ..ClientEnvironment::default()
        };
        let client = Client::builder().options(options).environment(environment).build();
        assert_eq!(client.list(daemon.url("auth/")).expect("lists").entries.len(), 4, "{protocol}");
    }
    let listed = with_password("s3 cret").list(as_bob(&daemon));
    assert_eq!(listed.expect("lists").entries.len(), 4);
}

#[test]
fn refusals_are_told_in_the_words_of_the_daemon() {
    let daemon = daemon();
    let refused = |text: &str| (vec![text.to_owned()], 5);
    let anonymous = client(TransferOptions::archive());
    assert_eq!(
        lines(with_password("wrong").list(as_bob(&daemon))),
        refused("@ERROR: auth failed on module auth")
    );
    assert_eq!(lines(anonymous.list(daemon.url("none/"))), refused("@ERROR: Unknown module 'none'"));
    let (text, code) = lines(anonymous.list(daemon.url("denied/")));
    assert!(text[0].starts_with("@ERROR: access denied to denied from "), "{text:?}");
    assert_eq!(code, 5);
}

#[test]
fn asking_for_a_password_may_fail() {
    let daemon = daemon();
    let (text, code) = lines(client(TransferOptions::archive()).list(daemon.url("auth/")));
    assert_eq!((&*text[0], code), ("the daemon asks for a password, and none is given", 1));
    let client = Client::builder().ask_password(Arc::new(|_| Err(io::Error::other("no terminal")))).build();
    let (text, _) = lines(client.list(daemon.url("auth/")));
    assert_eq!(text, ["failed to read a password: no terminal"]);
}

#[test]
fn files_are_fetched_into_memory() {
    let daemon = daemon();
    let client = client(TransferOptions::default());
    assert_eq!(client.fetch(daemon.url("pub/a.txt")).expect("fetches"), b"hello\n");
    assert_eq!(client.fetch(daemon.url("pub/sub/b.bin")).expect("fetches"), [7; 100_000]);
}

#[test]
fn a_module_is_pulled() {
    let daemon = daemon();
    for protocol in [27, 28, 29, 30, 31, 32] {
        let target = tempfile::tempdir().expect("temporary directory");
        let options = TransferOptions { protocol: Some(protocol), ..TransferOptions::archive() };
        let report = client(options).pull(daemon.url("pub/"), target.path()).expect("pulls");
        assert!(report.is_complete(), "{protocol} {report:?}");
        assert_eq!(std::fs::read(target.path().join("a.txt")).expect("exists"), b"hello\n");
        assert_eq!(std::fs::read(target.path().join("sub/b.bin")).expect("exists"), [7; 100_000]);
    }
}

/// Serves one CONNECT request and answers what it said.
fn proxy() -> (u16, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
    let port = listener.local_addr().expect("address").port();
    let serve = move || {
        let (mut client, _) = listener.accept().expect("accepts");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).expect("reads");
            request.extend_from_slice(&byte);
        }
        let request = String::from_utf8(request).expect("text");
        let target = request.split(' ').nth(1).expect("a target").to_owned();
        let mut server = TcpStream::connect(target).expect("connects");
        client.write_all(b"HTTP/1.0 200 yes\r\nVia: test\r\n\r\n").expect("writes");
        let (mut from, mut to) = (client.try_clone().expect("clone"), server.try_clone().expect("clone"));
        let forward = std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        let _ = std::io::copy(&mut server, &mut client);
        let _ = client.shutdown(Shutdown::Both);
        forward.join().expect("forwards");
        request
    };
    (port, std::thread::spawn(serve))
}

#[test]
fn a_proxy_leads_to_the_daemon() {
    let daemon = daemon();
    let (port, serving) = proxy();
    let environment = ClientEnvironment {
        proxy: Some(format!("al:pa@127.0.0.1:{port}").into()),
        ..ClientEnvironment::default()
    };
    let client = Client::builder().environment(environment).build();
    assert_eq!(client.fetch(daemon.url("pub/a.txt")).expect("fetches"), b"hello\n");
    let request = serving.join().expect("the proxy ends");
    assert!(request.contains("\r\nProxy-Authorization: Basic YWw6cGE=\r\n"), "{request}");
}

#[test]
fn a_program_may_stand_in_for_the_connection() {
    let daemon = daemon();
    let script = format!("exec /usr/bin/rsync --server --daemon --config={} .", daemon.config().display());
    let environment =
        ClientEnvironment { connect_program: Some(script.into()), ..ClientEnvironment::default() };
    let client = Client::builder().environment(environment).build();
    assert_eq!(client.list_modules("rsync://anywhere/").expect("lists").len(), 3);
}

#[test]
fn a_daemon_is_reached_through_a_remote_shell() {
    let daemon = daemon();
    // The words behind `sh` are the host, the program's name, and what the server is asked.
    let shell = format!(
        "/bin/sh -c 'test \"$*\" = \"somewhere rsync --server --daemon .\" &&
            exec /usr/bin/rsync --server --daemon --config={} .' sh",
        daemon.config().display()
    );
    let options = TransferOptions { rsh: Some(BString::from(shell)), ..TransferOptions::archive() };
    let modules = client(options).list_modules("somewhere::").expect("lists");
    assert_eq!(modules.len(), 3);
}

#[test]
fn a_cancelled_client_stops_at_once() {
    let daemon = daemon();
    let client = client(TransferOptions::archive());
    client.canceller().cancel();
    let error = client.list(daemon.url("pub/")).expect_err("cancelled");
    assert_eq!(error.exit_code().code(), 20);
}

/// Keeps the texts of the peer.
#[derive(Default)]
struct Heard {
    texts: Mutex<Vec<String>>,
}

impl Heard {
    fn texts(&self) -> Vec<String> {
        self.texts.lock().expect("unpoisoned").clone()
    }
}

impl EventSink for Heard {
    fn wants(&self, topic: Topic) -> bool {
        !matches!(topic, Topic::Debug(..))
    }

    fn emit(&self, event: Event<'_>) {
        if let Event::PeerText { text, .. } = event {
            self.texts.lock().expect("unpoisoned").push(String::from_utf8_lossy(text).into_owned());
        }
    }
}
