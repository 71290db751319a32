//! The dialogues of spec 09 §18, byte by byte, with everything on that a daemon of ours has beyond the C
//! daemon: worker processes, JSON logs, metrics, TLS, a proxy in front, a socket on standard input.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bstr::ByteSlice;
use rsync_e2e::daemon::{Module, free_port};
use rsync_e2e::tls::Certificates;
use rsync_e2e::{Daemon, Side, Tree, Work};

const GREETING: &[u8] = b"@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\n";
const MOTD: &[u8] = b"Welcome\nto demo\n\n";
const CLIENT_LIST: &[u8] = b"\x1exxh128 xxh3 xxh64 md5 md4 sha1";
const SERVER_LIST: &[u8] = b"\x23xxh128 xxh3 xxh64 md5 md4 sha1 none";
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens next in a dialogue.
#[derive(Clone)]
enum Step {
    /// The client says this.
    C(&'static [u8]),
    /// The daemon says this, and nothing in between.
    S(&'static [u8]),
    /// The daemon says so many bytes of its own choice.
    Any(usize),
    /// A challenge comes; the user proves a password with this digest.
    Login(&'static str, &'static str, &'static str),
    /// The daemon says something that ends like this, and closes.
    End(&'static [u8]),
}

use Step::{Any, C, End, Login, S};

/// Names and steps, after the daemon's greeting and message of the day.
fn dialogues() -> Vec<(&'static str, Vec<Step>)> {
    let modules = b"pub            \tPublic   area\nnocomment      \t\nA very long module name here\t\n\
                    auth           \t\nfloor          \t\ndenied         \t\nfull           \t\nref            \t\n\
                    @RSYNCD: EXIT\n";
    vec![
        ("a listing", vec![C(GREETING), C(b"\n"), S(modules), End(b"")]),
        ("a listing by name", vec![C(GREETING), C(b"#list\n"), S(modules), End(b"")]),
        ("an unknown module", vec![C(GREETING), C(b"nosuch\n"), End(b"@ERROR: Unknown module 'nosuch'\n")]),
        ("a hidden module", vec![C(GREETING), C(b"hidden\n"), End(b"@ERROR: Unknown module 'hidden'\n")]),
        (
            "a closed module",
            vec![
                C(GREETING),
                C(b"denied\n"),
                End(b"@ERROR: access denied to denied from UNDETERMINED (127.0.0.1)\n"),
            ],
        ),
        (
            "a full module",
            vec![
                C(GREETING),
                C(b"full\n"),
                End(b"@ERROR: max connections (-1) reached -- try again later\n"),
            ],
        ),
        ("an unknown command", vec![C(GREETING), C(b"#foo\n"), End(b"@ERROR: Unknown command '#foo'\n")]),
        ("no greeting", vec![C(b"GET / HTTP/1.0\n"), End(b"@ERROR: protocol startup error\n")]),
        (
            "no subprotocol",
            vec![
                C(b"@RSYNCD: 30\n"),
                End(b"@ERROR: your client omitted the subprotocol value: @RSYNCD: 30\n"),
            ],
        ),
        (
            "no digests",
            vec![
                C(b"@RSYNCD: 32.0\n"),
                End(b"@ERROR: your client omitted the digest name list: @RSYNCD: 32.0\n"),
            ],
        ),
        ("early input", vec![C(GREETING), C(b"#early_input=4\na\0\nbpub\n"), S(b"@RSYNCD: OK\n")]),
        (
            "a login",
            vec![
                C(GREETING),
                C(b"auth\n"),
                Login("alice", "secret", "sha512"),
                S(b"@RSYNCD: OK\n"),
                C(b"--server\0--sender\0-de.LsfxCIvu\0.\0auth/\0\0"),
                S(b"\x81\xfe"),
                S(SERVER_LIST),
                C(CLIENT_LIST),
                Any(4),
                C(b"\x04\0\0\x07\0\0\0\0"),
                Any(3),
                S(b"\x07"),
            ],
        ),
        (
            "a login without a list",
            vec![C(b"@RSYNCD: 31.0\n"), C(b"auth\n"), Login("alice", "secret", "md5"), S(b"@RSYNCD: OK\n")],
        ),
        (
            "a login with the best of a short list",
            vec![
                C(b"@RSYNCD: 31.0 md4 sha1\n"),
                C(b"auth\n"),
                Login("alice", "secret", "sha1"),
                S(b"@RSYNCD: OK\n"),
            ],
        ),
        (
            "a wrong password",
            vec![
                C(GREETING),
                C(b"auth\n"),
                Login("alice", "wrong", "sha512"),
                End(b"@ERROR: auth failed on module auth\n"),
            ],
        ),
        (
            "a weak digest",
            vec![C(b"@RSYNCD: 31.0\n"), C(b"floor\n"), End(b"@ERROR: auth failed on module floor\n")],
        ),
        (
            "an old pull",
            vec![
                C(b"@RSYNCD: 29\n"),
                C(b"auth\n"),
                Login("alice", "secret", "old md4"),
                S(b"@RSYNCD: OK\n"),
                C(b"--server\n--sender\n-d\n.\nauth/\n\n"),
                Any(4),
                C(&[0; 4]),
                Any(3),
                S(b"\x07"),
            ],
        ),
        (
            "a push",
            vec![
                C(GREETING),
                C(b"pub\n"),
                S(b"@RSYNCD: OK\n"),
                C(b"--server\0-re.iLsfxCIvu\0.\0pub/\0\0"),
                S(b"\x81\xff"),
                S(SERVER_LIST),
                C(CLIENT_LIST),
                Any(4),
                S(b"\x1b\0\0\x0aERROR: module is read only\n"),
                End(b"[Receiver=3.5.0]\n\x04\0\0\x5d\x01\0\0\0"),
            ],
        ),
        (
            "an old push",
            vec![
                C(b"@RSYNCD: 29\n"),
                C(b"pub\n"),
                S(b"@RSYNCD: OK\n"),
                C(b"--server\n-r\n.\npub/\n\n"),
                Any(4),
                S(b"\x1b\0\0\x08ERROR: module is read only\n"),
                End(b"[Receiver=3.5.0]\n"),
            ],
        ),
        (
            "a refused pull",
            vec![
                C(GREETING),
                C(b"ref\n"),
                S(b"@RSYNCD: OK\n"),
                C(b"--server\0--sender\0-rce.iLsfxCIvu\0.\0ref/\0\0"),
                S(b"\x06"),
                Any(4),
                S(b"\x3a\0\0\x0arsync: The server is configured to refuse --checksum (-c)\n"),
                End(b""),
            ],
        ),
        (
            "a refused push",
            vec![
                C(GREETING),
                C(b"ref\n"),
                S(b"@RSYNCD: OK\n"),
                C(b"--server\0-re.iLsfxCIvu\0--delete\0.\0ref/\0\0"),
                S(b"\x81\xff"),
                S(SERVER_LIST),
                C(CLIENT_LIST),
                Any(4),
                S(b"\x33\0\0\x0arsync: The server is configured to refuse --delete\n"),
                End(b"\x04\0\0\x5d\x04\0\0\0"),
            ],
        ),
    ]
}

/// A client's two halves of a connection; what else it took ends with it.
struct Connection {
    reader: Box<dyn Read>,
    writer: Box<dyn Write>,
    processes: Vec<Child>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Connection {
    fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let writer = stream.try_clone().unwrap();
        Self { reader: Box::new(stream), writer: Box::new(writer), processes: Vec::new() }
    }

    fn reads(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes
    }

    #[track_caller]
    fn play(mut self, name: &str, steps: &[Step]) {
        for step in steps {
            match step {
                C(bytes) => {
                    self.writer.write_all(bytes).unwrap();
                    self.writer.flush().unwrap();
                }
                S(bytes) => assert_eq!(self.reads(bytes.len()).as_bstr(), bytes.as_bstr(), "{name}"),
                Any(count) => drop(self.reads(*count)),
                Login(user, password, digest) => {
                    let mut line = Vec::new();
                    while line.last() != Some(&b'\n') {
                        line.extend(self.reads(1));
                    }
                    let line = line.to_str().unwrap().trim_end().to_owned();
                    let challenge = line.strip_prefix("@RSYNCD: AUTHREQD ").unwrap();
                    let answer = format!("{user} {}\n", proof(password, challenge, digest));
                    self.writer.write_all(answer.as_bytes()).unwrap();
                    self.writer.flush().unwrap();
                }
                End(bytes) => {
                    let mut rest = Vec::new();
                    self.reader.read_to_end(&mut rest).unwrap();
                    assert!(rest.ends_with(bytes), "{name}: {:?}", rest.as_bstr());
                    assert!(!bytes.is_empty() || rest.is_empty(), "{name}: {:?}", rest.as_bstr());
                }
            }
        }
    }
}

/// What proves a password, as `openssl` computes it.
fn proof(password: &str, challenge: &str, digest: &str) -> String {
    let (zeros, digest) = digest.strip_prefix("old ").map_or(("", digest), |name| (r"\0\0\0\0", name));
    let script = format!(
        "printf '{zeros}%s' '{password}{challenge}' | \
         openssl dgst -provider default -provider legacy -{digest} -binary | base64 -w0"
    );
    let output = Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim_end_matches('=').to_owned()
}

/// Modules, their parameters, and the globals of the message of the day.
fn setting() -> (Work, Vec<Module>, String) {
    let work = Work::new();
    Tree::new()
        .file("root/file", "content")
        .file("secrets", "alice:secret\n")
        .file("motd", "Welcome\nto demo\n")
        .write(work.path());
    fs::set_permissions(work.join("secrets"), fs::Permissions::from_mode(0o600)).unwrap();
    let secrets = format!("secrets file = {}", work.join("secrets").display());
    let module = |name: &str, lines: &[&str]| {
        lines.iter().fold(Module::new(name, &work.join("root")), |module, line| module.line(line))
    };
    let modules = vec![
        module("pub", &["comment = Public   area"]),
        module("nocomment", &[]),
        module("A very long module name here", &[]),
        module("auth", &["auth users = alice", &secrets]),
        module("floor", &["auth users = alice", "auth digest = sha256", &secrets]),
        module("denied", &["hosts deny = *"]),
        module("hidden", &["hosts deny = *", "list = no"]),
        module("full", &["max connections = -1"]),
        module("ref", &["refuse options = c delete"]),
    ];
    let globals = format!("reverse lookup = no\nmotd file = {}", work.join("motd").display());
    (work, modules, globals)
}

#[track_caller]
fn play_all(connect: impl Fn() -> Connection) {
    for (name, steps) in dialogues() {
        connect().play(name, &[vec![S(GREETING), S(MOTD)], steps].concat());
    }
}

#[test]
fn at_a_port() {
    let (_work, modules, globals) = setting();
    let globals = format!("{globals}\nlog style = json\nmetrics address = 127.0.0.1:{}", free_port());
    let daemon = Daemon::start(Side::Ours, &globals, &modules);
    play_all(|| Connection::of(TcpStream::connect(("127.0.0.1", daemon.port())).unwrap()));
}

#[test]
fn with_a_daemon_that_takes_uploads() {
    let (_work, modules, globals) = setting();
    let daemon = Daemon::uploading(Side::Ours, &globals, &modules);
    play_all(|| Connection::of(TcpStream::connect(("127.0.0.1", daemon.port())).unwrap()));
}

#[test]
fn behind_a_proxy() {
    let (_work, modules, globals) = setting();
    let globals = format!("{globals}\nproxy protocol = yes\nproxy protocol hosts = 127.0.0.1");
    let daemon = Daemon::start(Side::Ours, &globals, &modules);
    play_all(|| {
        let mut connection = Connection::of(TcpStream::connect(("127.0.0.1", daemon.port())).unwrap());
        connection.writer.write_all(b"PROXY TCP4 127.0.0.1 127.0.0.1 12345 873\r\n").unwrap();
        connection
    });
}

#[test]
fn through_tls() {
    let (_work, modules, globals) = setting();
    let (certificates, port) = (Certificates::new(), free_port());
    let globals = format!(
        "{globals}\ntls port = {port}\ntls certificate = {}\ntls key = {}",
        certificates.file("server.pem").display(),
        certificates.file("server.key").display()
    );
    let _daemon = Daemon::start(Side::Ours, &globals, &modules);
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "no TLS");
        std::thread::sleep(Duration::from_millis(10));
    }
    play_all(|| {
        let mut process = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_quiet", "-connect", &format!("127.0.0.1:{port}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Connection {
            reader: Box::new(process.stdout.take().unwrap()),
            writer: Box::new(process.stdin.take().unwrap()),
            processes: vec![process],
        }
    });
}

#[test]
fn at_standard_input() {
    let (work, modules, globals) = setting();
    // A daemon that listens writes the configuration for those that do not.
    let daemon = Daemon::start(Side::Ours, &globals, &modules);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    for words in [Side::Ours.daemon(), vec![Side::Ours.rsync(), "--daemon".into()]] {
        play_all(|| {
            let client = TcpStream::connect(address).unwrap();
            let (served, _) = listener.accept().unwrap();
            let process = Command::new(&words[0])
                .args(&words[1..])
                .arg(format!("--config={}", daemon.file("rsyncd.conf").display()))
                .stdin(OwnedFd::from(served))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut connection = Connection::of(client);
            connection.processes.push(process);
            connection
        });
    }
    drop(work);
}
