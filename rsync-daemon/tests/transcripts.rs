//! The captured sessions of spec 09 §18 and 01 §6, replayed by clients made by hand.

mod common;

use std::time::Instant;

use common::{GREETING, RawClient, TestDaemon};
use rsync_proto::session::AuthDigest;

const CONFIG: &str = "
[pub]
path = DIR/srv
comment = Public   area
[nocomment]
path = DIR/srv
[A very long module name here]
path = DIR/srv
[auth]
path = DIR/srv
auth users = alice, bob:deny
secrets file = DIR/secrets
[floor]
path = DIR/srv
auth users = alice
secrets file = DIR/secrets
auth digest = sha256
[denied]
path = DIR/srv
hosts deny = *
[hidden]
path = DIR/srv
list = no
hosts deny = *
[none]
path = DIR/srv
max connections = -1
[one]
path = DIR/srv
max connections = 1
lock file = DIR/lock
auth users = alice
secrets file = DIR/secrets
[badlock]
path = DIR/srv
max connections = 1
lock file = DIR/nowhere/lock
[pathless]
[gone]
path = DIR/gone
[nobody]
path = DIR/srv
uid = no such user
[ref]
path = DIR/srv
refuse options = c delete
[short]
path = DIR/srv
timeout = 1
";

const CLIENT_LIST: &[u8] = b"\x1exxh128 xxh3 xxh64 md5 md4 sha1";
const SERVER_LIST: &[u8] = b"\x23xxh128 xxh3 xxh64 md5 md4 sha1 none";

fn words(words: &[&str]) -> Vec<u8> {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
    bytes.push(0);
    bytes
}

#[test]
fn a_listing_follows_the_message_of_the_day() {
    let daemon = TestDaemon::start(&format!("motd file = DIR/motd\n{CONFIG}"));
    std::fs::write(daemon.place.path().join("motd"), "Welcome\nto demo\n").expect("motd");
    for request in ["\n", "#list\n"] {
        let mut client = daemon.raw();
        client.greets(GREETING).hears("Welcome\nto demo\n\n").says(request);
        let listing = String::from_utf8(client.reads_to_end()).expect("text");
        assert!(listing.starts_with(
            "pub            \tPublic   area\nnocomment      \t\nA very long module name here\t\n"
        ));
        assert!(listing.ends_with("\n@RSYNCD: EXIT\n") && !listing.contains("hidden"), "{listing}");
    }
    daemon.expect_log("module-list request from UNDETERMINED (127.0.0.1)");
}

#[test]
fn an_old_client_gets_its_listing_without_a_last_line() {
    let daemon = TestDaemon::start("[pub]\npath = DIR/srv\n");
    daemon.raw().greets("@RSYNCD: 19\n").says("\n").hears("pub            \t\n").hears_the_end();
}

#[test]
fn refusals_are_those_of_the_c_daemon() {
    let daemon = TestDaemon::start(CONFIG);
    for (module, error) in [
        ("nosuch", "Unknown module 'nosuch'"),
        ("pub/", "Unknown module 'pub/'"),
        ("PUB", "Unknown module 'PUB'"),
        ("../m", "Unknown module '../m'"),
        ("hidden", "Unknown module 'hidden'"),
        ("denied", "access denied to denied from UNDETERMINED (127.0.0.1)"),
        ("none", "max connections (-1) reached -- try again later"),
        ("badlock", "failed to open lock file"),
        ("pathless", "no path setting."),
        ("gone", "chroot failed"),
        ("nobody", "invalid uid no such user"),
        ("#foo", "Unknown command '#foo'"),
        ("#early_input=0", "invalid early_input length"),
        ("#early_input=5121", "invalid early_input length"),
    ] {
        if module == "gone" && !is_root() {
            continue;
        }
        daemon.raw().asks_for(module).hears(format!("@ERROR: {error}\n")).hears_the_end();
    }
    daemon.expect_log("unknown module 'nosuch' tried from UNDETERMINED (127.0.0.1)");
    daemon.expect_log("rsync denied on module denied from UNDETERMINED (127.0.0.1)");
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|facts| std::os::unix::fs::MetadataExt::uid(&facts) == 0)
}

#[test]
fn bad_greetings_are_refused() {
    let daemon = TestDaemon::start(CONFIG);
    for (greeting, error) in [
        ("GET / HTTP/1.0", "protocol startup error"),
        ("@RSYNCD: 30", "your client omitted the subprotocol value: @RSYNCD: 30"),
        ("@RSYNCD: 32.0", "your client omitted the digest name list: @RSYNCD: 32.0"),
    ] {
        daemon.raw().greets(&format!("{greeting}\n")).hears(format!("@ERROR: {error}\n")).hears_the_end();
    }
}

#[test]
fn lines_that_are_too_long_or_hold_nul_close_the_connection() {
    let daemon = TestDaemon::start(CONFIG);
    daemon.raw().hears(GREETING).says([b'x'; 1023]).hears_the_end();
    daemon.raw().hears(GREETING).says("@RSYNCD: 29\0\n").hears_the_end();
}

#[test]
fn early_input_is_read_and_passed_over() {
    let daemon = TestDaemon::start(CONFIG);
    daemon
        .raw()
        .asks_for("#early_input=4")
        .says("a\0\nb")
        .says("nosuch\n")
        .hears("@ERROR: Unknown module 'nosuch'\n");
}

/// Logs in with the digest that these greetings lead to.
fn log_in(client: &mut RawClient, greeting: &str, digest: AuthDigest, user: &str, password: &str) {
    client.greets(greeting).says("auth\n");
    let line = client.reads_line();
    let challenge = line.strip_prefix("@RSYNCD: AUTHREQD ").expect("a challenge").trim_end();
    let response = digest.response(password.as_bytes(), challenge.as_bytes());
    client.says(format!("{user} {response}\n"));
}

#[test]
fn every_digest_lets_in_who_knows_the_password() {
    let daemon = TestDaemon::start(CONFIG);
    for (greeting, digest) in [
        (GREETING, AuthDigest::Sha512),
        ("@RSYNCD: 31.0\n", AuthDigest::Md5),
        ("@RSYNCD: 29\n", AuthDigest::UnlistedMd4),
        ("@RSYNCD: 31.0 md4 sha1\n", AuthDigest::Sha1),
        ("@RSYNCD: 29.0 MD4\n", AuthDigest::Md4),
    ] {
        let mut client = daemon.raw();
        log_in(&mut client, greeting, digest, "alice", "secret");
        client.hears("@RSYNCD: OK\n");
    }
}

#[test]
fn failures_of_authentication_all_look_alike() {
    let daemon = TestDaemon::start(CONFIG);
    for (user, password, reason) in [
        ("alice", "wrong", "password mismatch"),
        ("bob", "other", "denied by rule"),
        ("carol", "x", "no matching rule"),
        ("#x", "x", "invalid username"),
    ] {
        let mut client = daemon.raw();
        log_in(&mut client, GREETING, AuthDigest::Sha512, user, password);
        client.hears("@ERROR: auth failed on module auth\n").hears_the_end();
        daemon.expect_log(&format!(
            "auth failed on module auth from UNDETERMINED (127.0.0.1) for {user}: {reason}"
        ));
    }
    let mut client = daemon.raw();
    client.asks_for("auth").reads_line();
    client.says("nospace\n").hears("@ERROR: auth failed on module auth\n").hears_the_end();
    daemon.expect_log("invalid challenge response");
}

#[test]
fn a_weak_or_unknown_digest_is_refused() {
    let daemon = TestDaemon::start(CONFIG);
    daemon
        .raw()
        .greets("@RSYNCD: 31.0\n")
        .says("floor\n")
        .hears("@ERROR: auth failed on module floor\n")
        .hears_the_end();
    daemon.expect_log("negotiated auth digest md5 is weaker than the required 'auth digest = sha256'");
    daemon.raw().greets("@RSYNCD: 32.0 foo\n").says("auth\n").hears(
        "@ERROR: your client does not support one of our daemon-auth checksums: sha512 sha256 sha1 md5 md4\n",
    );
    daemon.raw().greets("@RSYNCD: 32.0 foo\n").says("pub\n").hears("@RSYNCD: OK\n");
}

#[test]
fn a_slot_is_taken_before_authentication_and_given_back() {
    let daemon = TestDaemon::start(CONFIG);
    let mut first = daemon.raw();
    first.asks_for("one").reads_line();
    daemon
        .raw()
        .asks_for("one")
        .hears("@ERROR: max connections (1) reached -- try again later\n")
        .hears_the_end();
    daemon.expect_log("max connections (1) reached");
    drop(first);
    for attempt in 0.. {
        let mut next = daemon.raw();
        if next.asks_for("one").reads_line().starts_with("@RSYNCD: AUTHREQD") {
            break;
        }
        assert!(attempt < 100, "the slot never comes back");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_pull_is_set_up_as_captured() {
    let daemon = TestDaemon::start(CONFIG);
    let mut client = daemon.raw();
    client.asks_for("pub").hears("@RSYNCD: OK\n");
    client.says(words(&["--server", "--sender", "-de.LsfxCIvu", ".", "pub/"]));
    client.hears([b"\x81\xfe", SERVER_LIST].concat());
    client.says(CLIENT_LIST).reads(4);
    client.says(b"\x04\0\0\x07\0\0\0\0");
    let frame = client.reads(4);
    assert_eq!(frame[3], 7, "the file list is data");
    daemon.expect_log("rsync on pub/ from UNDETERMINED (127.0.0.1)");
}

#[test]
fn an_old_pull_has_only_a_seed() {
    let daemon = TestDaemon::start(CONFIG);
    let mut client = daemon.raw();
    client.greets("@RSYNCD: 29\n").says("pub\n").hears("@RSYNCD: OK\n");
    client.says("--server\n--sender\n-d\n.\npub/\n\n").reads(4);
    client.says([0; 4]);
    assert_eq!(client.reads(4)[3], 7);
}

#[test]
fn an_announced_timeout_comes_first() {
    let daemon = TestDaemon::start("[pub]\npath = DIR/srv\ntimeout = 77\n");
    let mut client = daemon.raw();
    client.asks_for("pub").hears("@RSYNCD: OK\n");
    client.says(words(&["--server", "--sender", "-de.LsfxCIvu", ".", "pub/"]));
    client.hears([b"\x81\xfe", SERVER_LIST].concat()).says(CLIENT_LIST).reads(4);
    client.hears(b"\x04\0\0\x28\x4d\0\0\0");
}

#[test]
fn a_push_is_refused_inside_the_protocol() {
    let daemon = TestDaemon::start(CONFIG);
    let mut client = daemon.raw();
    client.asks_for("pub").hears("@RSYNCD: OK\n");
    client.says(words(&["--server", "-re.iLsfxCIvu", ".", "pub/"]));
    client.hears([b"\x81\xff", SERVER_LIST].concat()).says(CLIENT_LIST).reads(4);
    client.hears(b"\x1b\0\0\x0aERROR: module is read only\n");
    let rest = client.reads_to_end();
    assert!(rest.ends_with(b"\x04\0\0\x5d\x01\0\0\0"), "{}", rest.escape_ascii());
}

#[test]
fn an_old_push_is_refused_without_an_exit_code() {
    let daemon = TestDaemon::start(CONFIG);
    let mut client = daemon.raw();
    client.greets("@RSYNCD: 29\n").says("pub\n").hears("@RSYNCD: OK\n");
    client.says("--server\n-r\n.\npub/\n\n").reads(4);
    client.hears(b"\x1b\0\0\x08ERROR: module is read only\n");
    assert!(client.reads_to_end().ends_with(b"[Receiver=3.5.0]\n"));
}

#[test]
fn a_refused_option_ends_the_scan_and_so_the_flags() {
    let daemon = TestDaemon::start(CONFIG);
    let mut client = daemon.raw();
    client.asks_for("ref").hears("@RSYNCD: OK\n");
    client.says(words(&["--server", "--sender", "-rce.iLsfxCIvu", ".", "ref/"]));
    client.hears(b"\x06").reads(4);
    client.hears(b"\x3a\0\0\x0arsync: The server is configured to refuse --checksum (-c)\n").hears_the_end();
}

#[test]
fn a_refused_deletion_is_told_after_the_lists() {
    let daemon = TestDaemon::start(CONFIG);
    let mut client = daemon.raw();
    client.asks_for("ref").hears("@RSYNCD: OK\n");
    client.says(words(&["--server", "-re.iLsfxCIvu", "--delete", ".", "ref/"]));
    client.hears([b"\x81\xff", SERVER_LIST].concat()).says(CLIENT_LIST).reads(4);
    client.hears(b"\x33\0\0\x0arsync: The server is configured to refuse --delete\n");
    assert!(client.reads_to_end().ends_with(b"\x04\0\0\x5d\x04\0\0\0"));
}

#[test]
fn hostile_arguments_close_the_connection() {
    let daemon = TestDaemon::start(CONFIG);
    for bytes in [
        words(&["--sender", "--server", "-r", ".", "pub/"]),
        [b"--server\0".as_slice(), &[b'x'; 5120], b"\0\0"].concat(),
        b"x\0".repeat(16_000),
    ] {
        let mut client = daemon.raw();
        client.asks_for("pub").hears("@RSYNCD: OK\n").says(bytes);
        // What was sent beyond the limit may reset the connection; nothing is answered.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client.reads_to_end()))
            .map(|rest| assert!(rest.is_empty()));
    }
    let mut client = daemon.raw();
    client
        .asks_for("pub")
        .hears("@RSYNCD: OK\n")
        .says(words(&["--server", "--sender", "-re.v", "--daemon", ".", "pub/"]));
    client.hears([b"\x80\x86", SERVER_LIST].concat()).says(CLIENT_LIST).reads(4);
    client.hears(b"\x27\0\0\x0arsync: Attempt to hack rsync thwarted!\n");
}

#[test]
fn a_slow_client_has_an_absolute_deadline() {
    let daemon = TestDaemon::start(CONFIG);
    let mut client = daemon.raw();
    let started = Instant::now();
    client.asks_for("short").hears("@RSYNCD: OK\n");
    client.hears_the_end();
    assert!(started.elapsed().as_millis() >= 900, "{:?}", started.elapsed());
    daemon.expect_log("[Receiver] daemon handshake timeout -- exiting");
}

#[test]
fn a_proxy_speaks_for_its_clients() {
    let daemon = TestDaemon::start(
        "proxy protocol = yes\nproxy protocol hosts = 127.0.0.0/8\n[pub]\npath = DIR/srv\nhosts allow = 10.1.2.3\n",
    );
    let mut client = daemon.raw();
    client.says("PROXY TCP4 10.1.2.3 10.0.0.1 1234 873\r\n").asks_for("pub").hears("@RSYNCD: OK\n");
    let mut client = daemon.raw();
    client.says("PROXY TCP4 10.1.2.4 10.0.0.1 1234 873\r\n").asks_for("pub");
    client.hears("@ERROR: access denied to pub from UNDETERMINED (10.1.2.4)\n");
    let mut client = daemon.raw();
    client.says("PROXY what is this?\r\n").hears_the_end();
}

#[test]
fn an_untrusted_proxy_hears_nothing() {
    let daemon = TestDaemon::start("proxy protocol = yes\n[pub]\npath = DIR/srv\n");
    daemon.raw().hears_the_end();
    daemon.expect_log("proxy protocol rejected from untrusted peer UNDETERMINED (127.0.0.1)");
}

#[test]
fn stopping_cuts_the_sessions_that_do_not_end() {
    let mut daemon = TestDaemon::start(CONFIG);
    let mut client = daemon.raw();
    client.asks_for("pub").hears("@RSYNCD: OK\n");
    client.says(words(&["--server", "--sender", "-de.LsfxCIvu", ".", "pub/"]));
    client.hears([b"\x81\xfe", SERVER_LIST].concat()).says(CLIENT_LIST).reads(4);
    let started = Instant::now();
    daemon.stop();
    assert!(started.elapsed().as_secs() < 60);
    daemon.expect_log("sent 0 bytes  received 0 bytes  total size 0");
}
