//! The client against the C rsync's daemon.

mod support;

use std::io;
use std::sync::Arc;

use bstr::BString;
use rsync_client::{Client, ClientEnvironment, ClientError, Module};
use rsync_proto::options::TransferOptions;
use support::{Daemon, Heard};

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
    daemon.write("pub/sub/b.bin", &[7; 100_000], 0o600);
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

fn lines(result: Result<impl std::fmt::Debug, ClientError>) -> (Vec<String>, u8) {
    let error = result.expect_err("the daemon refuses");
    (error.to_string().lines().map(str::to_owned).collect(), error.exit_code().code())
}

#[test]
fn modules_are_listed_in_order_without_the_hidden_ones() {
    let daemon = daemon();
    let modules = client(TransferOptions::default()).list_modules(&daemon.url("")).expect("lists");
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
    assert_eq!(client.list_modules(&daemon.url("")).expect("lists").len(), 3);
    let texts = heard.texts();
    assert_eq!(texts[..3], ["Welcome to\n", "the daemon\n", "\n"]);
}

#[test]
fn old_protocols_list_modules_too() {
    let daemon = daemon();
    for protocol in 27..=32 {
        let options = TransferOptions { protocol: Some(protocol), ..TransferOptions::default() };
        assert_eq!(client(options).list_modules(&daemon.url("")).expect("lists").len(), 3, "{protocol}");
    }
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
