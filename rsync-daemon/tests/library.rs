//! The daemon as a part of another program: trees, access, passwords and connections of its own.

mod common;
#[path = "../examples/memory.rs"]
#[allow(dead_code, reason = "the example is a program")]
mod memory;

use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bstr::ByteSlice;
use common::{GREETING, TestDaemon};
use rsync_daemon::{Daemon, DaemonBuilder, DaemonError, LogTarget, Module, ModuleSettings};
use rsync_engine::tree::MemoryTree;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A module named `notes` with one file, for nobody but alice.
fn notes() -> DaemonBuilder {
    let mut tree = MemoryTree::new();
    tree.insert(b"hello", 0o100_644, b"from memory\n");
    let settings = ModuleSettings {
        auth_users: Some("alice".into()),
        reverse_lookup: false,
        ..ModuleSettings::default()
    };
    Daemon::builder()
        .tree(Module::new("notes", settings), Arc::new(tree))
        .address("127.0.0.1")
        .port(0)
        .log(LogTarget::Nothing)
        .grace(Duration::from_millis(100))
}

/// Runs a daemon on a free port; `client` blocks.
fn with_daemon<T: Send + 'static>(
    bind: impl FnOnce() -> Result<Daemon, DaemonError>,
    client: impl FnOnce(u16) -> T + Send + 'static,
) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let daemon = bind().expect("a daemon");
        let port = daemon.local_addresses()[0].port();
        let (ended, stop) = tokio::sync::oneshot::channel::<()>();
        let client = tokio::task::spawn_blocking(move || {
            let result = client(port);
            drop(ended);
            result
        });
        daemon.run(async { drop(stop.await) }).await;
        client.await.expect("the client ends in order")
    })
}

/// What the C client prints for `url`, and its exit code.
fn rsync(url: String, password: &str) -> (Option<i32>, String) {
    let output =
        Command::new("/usr/bin/rsync").arg(url).env("RSYNC_PASSWORD", password).output().expect("started");
    (output.status.code(), output.stdout.to_str_lossy().into_owned() + &output.stderr.to_str_lossy())
}

#[test]
fn the_example_serves_a_tree_from_memory_to_the_c_client() {
    let destination = tempfile::tempdir().expect("a directory");
    let copy = destination.path().to_owned();
    let pulled = with_daemon(memory::daemon, move |port| {
        let url = format!("rsync://127.0.0.1:{port}/notes/");
        Command::new("/usr/bin/rsync").arg("-r").arg(url).arg(copy).status().expect("started")
    });
    assert!(pulled.success());
    let read = |name| std::fs::read(destination.path().join(name)).expect("a file");
    assert_eq!((read("hello"), read("deep/down/below").len()), (b"from memory\n".to_vec(), 100_000));
}

#[test]
fn the_host_knows_the_passwords() {
    let builder = notes()
        .passwords(|caller, user| (caller.module == "notes" && user == "alice").then(|| b"secret".to_vec()));
    with_daemon(
        || builder.bind(),
        |port| {
            let listed =
                |user: &str, password| rsync(format!("rsync://{user}@127.0.0.1:{port}/notes/"), password);
            let (code, text) = listed("alice", "secret");
            assert!(code == Some(0) && text.contains("hello"), "{text}");
            for (user, password) in [("alice", "wrong"), ("bob", "secret")] {
                let (code, text) = listed(user, password);
                assert!(code == Some(5) && text.contains("@ERROR: auth failed on module notes"), "{text}");
            }
        },
    );
}

#[test]
fn the_host_turns_clients_away() {
    let builder = notes().access(|caller| caller.module != "notes" || !caller.address.is_loopback());
    let (code, text) =
        with_daemon(|| builder.bind(), |port| rsync(format!("rsync://127.0.0.1:{port}/notes/"), ""));
    assert_eq!(code, Some(5));
    // Names are looked up for the whole daemon, whatever the module says; that of this machine may vary.
    assert!(text.contains("@ERROR: access denied to notes from ") && text.contains("(127.0.0.1)"), "{text}");
}

#[tokio::test]
async fn clients_come_through_any_stream() {
    let daemon = notes().without_listeners().bind().expect("a daemon");
    assert!(daemon.local_addresses().is_empty());
    let entrance = daemon.entrance();
    let (mut client, served) = tokio::io::duplex(64);
    let visit = tokio::spawn(async move { entrance.admit(served, IpAddr::from([192, 0, 2, 1])).await });
    client.write_all(format!("{GREETING}\n").as_bytes()).await.expect("written");
    let mut heard = String::new();
    client.read_to_string(&mut heard).await.expect("read");
    assert_eq!(heard, format!("{GREETING}notes          \t\n@RSYNCD: EXIT\n"));
    drop(client);
    visit.await.expect("a visit");
}

#[test]
fn a_broken_configuration_leaves_the_last_usable_one_in_force() {
    let daemon = TestDaemon::start("[m]\npath = DIR/srv\n");
    let config = daemon.place.path().join("rsyncd.conf");
    let lists = |expected: &str| {
        daemon.raw().greets(GREETING).says("\n").hears(expected).hears("@RSYNCD: EXIT\n").hears_the_end();
    };
    lists("m              \t\n");
    std::fs::write(&config, "[broken\n").expect("written");
    lists("m              \t\n");
    lists("m              \t\n");
    let told = "params.c:Section() - Badly formed line in config file: broken";
    daemon.expect_log("the last usable one stays in force");
    assert_eq!(daemon.log().matches(told).count(), 1, "told once:\n{}", daemon.log());
    std::fs::write(&config, "[n]\npath = /\n").expect("written");
    lists("n              \t\n");
    daemon.expect_log("the configuration can be used again");
}

#[test]
fn a_trusted_proxy_says_who_the_client_is() {
    let config = "proxy protocol = yes\nproxy protocol hosts = 127.0.0.1\n\
                  [m]\npath = DIR/srv\nhosts allow = 192.0.2.7 2001:db8::7\n";
    let daemon = TestDaemon::start(config);
    let denied = |address: &str| format!("@ERROR: access denied to m from UNDETERMINED ({address})\n");
    let version_2 = |command: u8, family: u8, data: &[u8]| {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        header.extend([0x20 | command, family, 0, data.len() as u8]);
        [header.as_slice(), data].concat()
    };
    let v4 = |last| [192, 0, 2, last, 10, 0, 0, 1, 0x30, 0x39, 0x03, 0x69];
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    v6[15] = 7;
    for (header, answer) in [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 873\r\n".to_vec(), "@RSYNCD: OK\n".to_owned()),
        (b"PROXY TCP4 192.0.2.8 10.0.0.1 12345 873\r\n".to_vec(), denied("192.0.2.8")),
        (b"PROXY UNKNOWN\r\n".to_vec(), denied("127.0.0.1")),
        (version_2(1, 0x11, &v4(7)), "@RSYNCD: OK\n".to_owned()),
        (version_2(1, 0x11, &v4(9)), denied("192.0.2.9")),
        (version_2(1, 0x21, &v6), "@RSYNCD: OK\n".to_owned()),
        (version_2(0, 0, &[]), denied("127.0.0.1")),
    ] {
        daemon.raw().says(&header).asks_for("m").hears(answer);
    }
    for header in [
        b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 0\r\n".to_vec(),
        format!("PROXY TCP4 192.0.2.7 10.0.0.1 12345 {}\r\n", "9".repeat(90)).into_bytes(),
        b"@RSYNCD: 32.0 sha512\n".to_vec(),
        version_2(1, 0x11, &[v4(7).as_slice(), &[4, 0, 1, 0]].concat()),
        version_2(3, 0x11, &v4(7)),
    ] {
        daemon.raw().says(&header).hears_the_end();
    }
}
