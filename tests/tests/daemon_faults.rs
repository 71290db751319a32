//! What happens beneath a daemon, and beside it: files that change while they are sent, full disks, no
//! descriptors left, clients that misbehave. The daemon lives on; where it can be compared, as C's does.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bstr::BStr;
use rsync_e2e::daemon::{Module, end, url};
use rsync_e2e::program::is_root;
use rsync_e2e::tree::random;
use rsync_e2e::{Compare, Daemon, Proxy, ProxyPlan, Side, Snapshot, Work, wait_until};
use rustix::fs::{CWD, RenameFlags, renameat_with};

/// Of the first file: more than sockets between a daemon and a client that does not read take in.
const BIG: u64 = 16 << 20;

/// Something that happens beneath a daemon while it sends the first file, and what both daemons' clients see.
struct Fault {
    name: &'static str,
    happens: fn(&Path),
    code: i32,
    /// Part of what the client is told; empty for nothing at all.
    told: &'static str,
}

/// The files of a module are sent in this order: `a`, `changed`, `dir/inner`, `z`.
static FAULTS: &[Fault] = &[
    Fault { name: "nothing", happens: |_| {}, code: 0, told: "" },
    Fault {
        name: "a file vanishes",
        happens: |root| fs::remove_file(root.join("changed")).unwrap(),
        code: 24,
        told: "file has vanished: ",
    },
    Fault {
        name: "a file becomes unreadable",
        happens: |root| {
            fs::set_permissions(root.join("changed"), fs::Permissions::from_mode(0o000)).unwrap();
        },
        code: 23,
        told: "Permission denied (13)",
    },
    Fault {
        name: "a file shrinks before it is read",
        happens: |root| resize(&root.join("changed"), 3),
        code: 0,
        told: "",
    },
    Fault {
        name: "a file shrinks while it is read",
        happens: |root| resize(&root.join("a"), BIG - (1 << 20)),
        code: 23,
        told: "read errors mapping ",
    },
    Fault {
        name: "a file grows before it is read",
        happens: |root| resize(&root.join("changed"), 100_000),
        code: 0,
        told: "",
    },
    Fault {
        name: "a file grows while it is read",
        happens: |root| resize(&root.join("a"), BIG + 100_000),
        code: 0,
        told: "",
    },
    Fault {
        name: "a file is replaced by a link out of the module",
        happens: |root| {
            fs::remove_file(root.join("changed")).unwrap();
            symlink(root.with_file_name("outside").join("inner"), root.join("changed")).unwrap();
        },
        code: 23,
        told: "Too many levels of symbolic links (40)",
    },
    Fault {
        name: "a directory is replaced by a link out of the module",
        happens: |root| {
            fs::rename(root.join("dir"), root.with_file_name("gone")).unwrap();
            symlink(root.with_file_name("outside"), root.join("dir")).unwrap();
        },
        code: 23,
        told: "Too many levels of symbolic links (40)",
    },
    Fault {
        name: "a directory vanishes",
        happens: |root| fs::remove_dir_all(root.join("dir")).unwrap(),
        code: 24,
        told: "file has vanished: ",
    },
    Fault {
        name: "a directory becomes unreadable",
        happens: |root| fs::set_permissions(root.join("dir"), fs::Permissions::from_mode(0o000)).unwrap(),
        code: 23,
        told: "Permission denied (13)",
    },
];

fn resize(file: &Path, size: u64) {
    fs::OpenOptions::new().write(true).open(file).unwrap().set_len(size).unwrap();
}

/// Files of a module and what lies beside it.
fn served() -> Work {
    let work = Work::new();
    fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (name, text) in [
        ("root/changed", "changed"),
        ("root/dir/inner", "inside"),
        ("root/z", "z"),
        ("outside/inner", "secret"),
    ] {
        fs::create_dir_all(work.join(name).parent().unwrap()).unwrap();
        fs::write(work.join(name), text).unwrap();
    }
    fs::File::create(work.join("root/a")).unwrap().set_len(BIG).unwrap();
    work
}

/// Lets a fault happen while a C client pulls from a daemon: how the client ends, what it is told, and what
/// it has.
fn seen(side: Side, fault: &Fault, protocol: u8) -> (i32, String, Snapshot) {
    let work = served();
    let mut module = Module::new("m", &work.join("root"));
    if is_root() {
        module = module.line("uid = nobody").line("gid = nogroup");
    }
    let daemon = Daemon::start(side, "reverse lookup = no", &[module]);
    let plan = ProxyPlan { stall_after: Some(1 << 20), ..ProxyPlan::default() };
    let proxy = Proxy::start(daemon.port(), plan);
    let client = Command::new(Side::C.rsync())
        .arg("-r")
        .arg(format!("--protocol={protocol}"))
        .arg(url(proxy.port(), "m/"))
        .arg(work.join("got"))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("a transfer", || proxy.downstream() >= 1 << 20);
    (fault.happens)(&work.join("root"));
    proxy.go_on();
    let (code, errors) = end(client);
    assert!(daemon.lists(), "{}\n{}", fault.name, daemon.log());
    // Without a chroot the C daemon shows paths of a sender without the slash.
    let errors = errors.replace(": \"/", ": \"").replace("open \"/", "open \"");
    let lines: Vec<&str> =
        errors.lines().map(|line| line.split(") at ").next().unwrap_or_default()).collect();
    (code, lines.join("\n"), Snapshot::take(&work.join("got")))
}

#[test]
fn what_happens_to_files_while_they_are_sent_is_told_as_the_c_daemon_tells_it() {
    for (number, fault) in FAULTS.iter().enumerate() {
        let protocol = [32, 30, 29, 31, 27][number % 5];
        let (expected, ours) = thread::scope(|scope| {
            let theirs = scope.spawn(|| seen(Side::C, fault, protocol));
            let ours = seen(Side::Ours, fault, protocol);
            (theirs.join().unwrap(), ours)
        });
        let name = fault.name;
        assert_eq!((ours.0, &ours.1), (expected.0, &expected.1), "{name}, protocol {protocol}");
        ours.2.assert_same(&expected.2, Compare::CONTENT);
        // Older clients do not learn of everything.
        if protocol >= 30 {
            assert!(ours.0 == fault.code && ours.1.contains(fault.told), "{name}: {} {}", ours.0, ours.1);
        }
    }
}

#[test]
fn a_file_that_becomes_a_directory_is_not_read() {
    let fault = Fault {
        name: "a file is replaced by a directory",
        happens: |root| {
            fs::remove_file(root.join("changed")).unwrap();
            fs::create_dir(root.join("changed")).unwrap();
        },
        code: 23,
        told: "Is a directory (21)",
    };
    // C tries to read it twice before it says so.
    for side in [Side::C, Side::Ours] {
        let (code, told, got) = seen(side, &fault, 32);
        assert!(code == fault.code && told.contains(fault.told), "{side:?}: {code} {told}");
        let names: Vec<&BStr> = got.names().collect();
        assert!(!names.contains(&"changed".into()) && names.contains(&"z".into()), "{side:?}: {names:?}");
    }
}

#[test]
fn a_directory_that_becomes_a_link_while_it_is_scanned_leads_nowhere() {
    for side in [Side::C, Side::Ours] {
        let work = Work::new();
        let (root, outside) = (work.join("root"), work.join("outside"));
        for dir in [&root.join("dir"), &outside] {
            fs::create_dir_all(dir).unwrap();
        }
        for number in 0..50 {
            fs::write(root.join(format!("dir/{number}")), "inside").unwrap();
            fs::write(outside.join(number.to_string()), "secret").unwrap();
        }
        symlink(&outside, root.join("link")).unwrap();
        let daemon = Daemon::start(side, "reverse lookup = no", &[Module::new("m", &root)]);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    renameat_with(CWD, root.join("dir"), CWD, root.join("link"), RenameFlags::EXCHANGE)
                        .unwrap();
                }
            });
            for number in 0..8 {
                let destination = work.join(format!("got{number}"));
                let (code, errors) = end(daemon.pull("m/", &[], &destination));
                assert!(matches!(code, 0 | 23 | 24), "{side:?}: {code} {errors}");
                let dirs = ["dir", "link"].map(|name| fs::read_dir(destination.join(name)));
                for file in dirs.into_iter().flatten().flatten() {
                    assert_eq!(fs::read(file.unwrap().path()).unwrap(), b"inside", "{side:?}");
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn a_full_disk_of_the_log_stops_nobody() {
    let seen = [Side::C, Side::Ours].map(|side| {
        let work = served();
        let module =
            Module::new("m", &work.join("root")).line("log file = /dev/full").line("transfer logging = yes");
        let daemon = Daemon::start(side, "reverse lookup = no\nlog file = /dev/full", &[module]);
        let ends = [0, 1].map(|number| end(daemon.pull("m/", &[], &work.join(format!("got{number}")))));
        assert_eq!(fs::read(work.join("got1/z")).unwrap(), b"z", "{side:?}");
        ends
    });
    assert_eq!(seen, [[(0, String::new()), (0, String::new())], [(0, String::new()), (0, String::new())]]);
}

#[test]
fn without_descriptors_clients_wait_and_are_served_when_there_are_some() {
    for side in [Side::C, Side::Ours] {
        let work = served();
        let root = work.join("root");
        let limit = ["/bin/sh", "-c", "ulimit -n 60; exec \"$@\"", "sh"].map(PathBuf::from);
        let words = [limit.as_slice(), &side.daemon()].concat();
        let globals = "reverse lookup = no\nlisten backlog = 128";
        let daemon = Daemon::started_by(&words, globals, &[Module::new("m", &root)]);
        let held: Vec<TcpStream> =
            (0..80).map(|_| TcpStream::connect(("127.0.0.1", daemon.port())).unwrap()).collect();
        if side == Side::Ours {
            // The C daemon has a process for each of them.
            wait_until("the end of descriptors", || {
                daemon.log().contains("accept failed: Too many open files")
            });
        }
        drop(held);
        let got = end(daemon.pull("m/", &[], &work.join("got")));
        assert_eq!(got, (0, String::new()), "{side:?}: {}", daemon.log());
    }
}

#[test]
fn clients_that_misbehave_do_not_disturb_the_others() {
    let work = Work::new();
    fs::write(work.join("big"), random(4 << 20, 1)).unwrap();
    let daemon = Daemon::start(Side::Ours, "reverse lookup = no", &[Module::new("m", work.path())]);
    let connect = || TcpStream::connect(("127.0.0.1", daemon.port())).unwrap();
    let done = AtomicBool::new(false);
    let request = b"@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\nm\n";
    // Half-open: what they wanted is gone, and they say nothing more.
    let _half_open: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = connect();
            stream.write_all(request).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            stream
        })
        .collect();
    // They ask for a large file and never read it.
    let deaf: Vec<Child> = (0..10)
        .map(|_| {
            Command::new("/usr/bin/rsync")
                .args(["--bwlimit=1", "--inplace"])
                .arg(daemon.url("m/big"))
                .arg(work.join("never"))
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut garbage = random(64 << 10, 7);
    garbage[..3].copy_from_slice(b"@R\n");
    thread::scope(|scope| {
        for number in 0..10 {
            let (connect, done, garbage) = (&connect, &done, &garbage);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let mut stream = connect();
                    let bytes: &[u8] = if number % 2 == 0 { garbage } else { request };
                    let size = if number % 2 == 0 { bytes.len() } else { 1 };
                    for piece in bytes.chunks(size) {
                        // The daemon closes when it has had enough.
                        if done.load(Ordering::Relaxed) || stream.write_all(piece).is_err() {
                            break;
                        }
                        thread::sleep(Duration::from_millis(5));
                    }
                }
            });
        }
        for number in 0..3 {
            let client = Command::new("/usr/bin/rsync")
                .arg(daemon.url("m/big"))
                .arg(work.join(format!("got{number}")))
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            assert_eq!(end(client), (0, String::new()), "{}", daemon.log());
            assert!(fs::read(work.join(format!("got{number}"))).unwrap() == random(4 << 20, 1));
        }
        done.store(true, Ordering::Relaxed);
    });
    for mut client in deaf {
        client.kill().unwrap();
        client.wait().unwrap();
    }
    let mut last = connect();
    last.write_all(b"@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\n\n").unwrap();
    let mut heard = String::new();
    last.read_to_string(&mut heard).unwrap();
    assert!(heard.ends_with("@RSYNCD: EXIT\n"), "{heard}");
}
