//! Daemons started by a super-server, copied by cron, chosen by DNS (spec 11 §1.5, whose points are the tests).

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rsync_e2e::dns::NameServer;
use rsync_e2e::outcome::{PATIENCE, Running};
use rsync_e2e::{Compare, Inetd, Namespace, Outcome, Side, Snapshot, Tree, Work, program, run, wait_until};

const SIDES: [Side; 2] = [Side::C, Side::Ours];

/// The module of the article, in a place of its own.
struct Place {
    work: Work,
}

impl Place {
    /// `hosts` may ask for the module.
    fn new(hosts: &str) -> Self {
        let work = Work::new();
        Tree::new()
            .file("index.html", "<p>one\n")
            .file("img/logo", "logo")
            .symlink("current", "index.html")
            .write(&work.join("www"));
        fs::write(work.join("motd"), "Welcome.\n").unwrap();
        let owner = if program::is_root() {
            "uid = root\ngid = root\nuse chroot = yes\n"
        } else {
            "use chroot = no\n"
        };
        let text = format!(
            "log file = {0}/log\nlock file = {0}/lock\npid file = {0}/pid\nmotd file = {0}/motd\nreverse lookup = no\n\
             [www]\npath = {0}/www\ncomment = webservice-dir\n{owner}read only = yes\nhosts allow = {hosts}\n\
             max connections = 1\ntimeout = 300\n",
            work.path().display(),
        );
        fs::write(work.join("rsyncd.conf"), text).unwrap();
        Self { work }
    }

    /// The super-server of the article: `server = .../rsync`, `server_args = --daemon`.
    fn inetd(&self, side: Side) -> Inetd {
        let config = format!("--config={}", self.work.join("rsyncd.conf").display());
        Inetd::start(vec![side.rsync(), "--daemon".into(), config.into()])
    }
}

/// A client of a side at a port of this machine, with the words of the article.
fn client(side: Side, port: u16, words: &[&str]) -> Outcome {
    run(Command::new(side.rsync()).arg(format!("--port={port}")).args(words))
}

/// Hears what a daemon says before it is told anything, up to the empty line behind the message of the day.
fn greeting(stream: &TcpStream) -> Vec<String> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines.take_while(|line| !line.is_empty()).collect()
}

/// Connects, claims the module, and stays; tells the answer.
fn claim(port: u16) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_eq!(greeting(&stream).len(), 2);
    stream.write_all(b"@RSYNCD: 31.0 sha512 sha256 sha1 md5 md4\nwww\n").unwrap();
    let answer = BufReader::new(&stream).lines().next().unwrap().unwrap();
    (stream, answer)
}

#[test]
fn point_1_a_super_server_starts_a_daemon_for_each_session() {
    for side in SIDES {
        let place = Place::new("127.0.0.1");
        let inetd = place.inetd(side);
        let copy = place.work.join("copy/");
        for by in SIDES {
            client(by, inetd.port(), &["-a", "127.0.0.1::www", copy.to_str().unwrap()]).expect_ok();
        }
        assert!(!place.work.join("pid").exists(), "{side:?}");
        assert_eq!(inetd.codes(), [Some(0); 2], "{side:?}: each ends with its session");
    }
}

#[test]
fn point_2_the_server_speaks_first() {
    for side in SIDES {
        let place = Place::new("127.0.0.1");
        let inetd = place.inetd(side);
        let stream = TcpStream::connect(("127.0.0.1", inetd.port())).unwrap();
        assert_eq!(greeting(&stream), ["@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4", "Welcome."], "{side:?}");
    }
}

#[test]
fn point_3_a_listing_has_the_name_and_the_comment() {
    for side in SIDES {
        let place = Place::new("127.0.0.1");
        let inetd = place.inetd(side);
        for by in SIDES {
            let listing = client(by, inetd.port(), &["127.0.0.1::"]);
            assert_eq!(
                listing.expect_ok().stdout,
                "Welcome.\n\nwww            \twebservice-dir\n",
                "{side:?} {by:?}"
            );
        }
        let mut stream = TcpStream::connect(("127.0.0.1", inetd.port())).unwrap();
        stream.write_all(b"@RSYNCD: 31.0\n\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.ends_with("www            \twebservice-dir\n@RSYNCD: EXIT\n"), "{side:?}: {text}");
    }
}

#[test]
fn point_4_the_command_of_the_article_copies_and_deletes() {
    for side in SIDES {
        let place = Place::new("127.0.0.1");
        let inetd = place.inetd(side);
        for by in SIDES {
            let copy = place.work.join(format!("local{by:?}"));
            Tree::new().file("extra", "x").file("index.html", "<p>old one\n").write(&copy);
            let copy_words = format!("{}/", copy.display());
            client(by, inetd.port(), &["-avzrt", "--delete", "127.0.0.1::www", &copy_words]).expect_ok();
            Snapshot::take(&copy).assert_same(&Snapshot::take(&place.work.join("www")), Compare::ALL);
        }
    }
}

#[test]
fn point_5_strangers_and_strange_modules_are_refused() {
    for side in SIDES {
        let place = Place::new("192.168.1.2");
        let inetd = place.inetd(side);
        for by in SIDES {
            let copy = place.work.join("copy/");
            let refused = |module: &str, text: &str| {
                let outcome = client(
                    by,
                    inetd.port(),
                    &["-a", &format!("127.0.0.1::{module}"), copy.to_str().unwrap()],
                );
                outcome.expect_code(5).expect_error_text(text);
            };
            refused("www", "@ERROR: access denied to www from UNDETERMINED (127.0.0.1)\n");
            refused("nowhere", "@ERROR: Unknown module 'nowhere'\n");
        }
    }
}

#[test]
fn point_6_one_connection_is_one_across_all_processes_of_both_daemons() {
    let full = "@ERROR: max connections (1) reached -- try again later";
    for (holding, asking) in [(Side::C, Side::Ours), (Side::Ours, Side::C), (Side::Ours, Side::Ours)] {
        let place = Place::new("127.0.0.1");
        let (holders, askers) = (place.inetd(holding), place.inetd(asking));
        // Who has claimed the module and says nothing holds the slot.
        let (_idle, answer) = claim(holders.port());
        assert_eq!(answer, "@RSYNCD: OK", "{holding:?}");
        let copy = place.work.join("copy/");
        for (inetd, by) in [(&askers, Side::C), (&holders, Side::Ours)] {
            let outcome = client(by, inetd.port(), &["-a", "127.0.0.1::www", copy.to_str().unwrap()]);
            outcome.expect_code(5).expect_error_text(full);
        }
        // A server that is killed frees it.
        holders.kill_servers();
        client(Side::C, askers.port(), &["-a", "127.0.0.1::www", copy.to_str().unwrap()]).expect_ok();
        let (_again, answer) = claim(holders.port());
        assert_eq!(answer, "@RSYNCD: OK", "{holding:?}");
    }
}

/// A page, whose size tells versions apart that are made in one second.
fn page(version: u8) -> Vec<u8> {
    vec![version; 400_000 + usize::from(version)]
}

#[test]
fn point_7_pages_are_whole_while_cron_copies_them() {
    for by in SIDES {
        let place = Place::new("127.0.0.1");
        let inetd = place.inetd(Side::C);
        let copy = place.work.join("local");
        // What cron runs is a script.
        let script = place.work.join("mirror.sh");
        let text = format!(
            "#!/bin/sh\n{} --port={} -avzrt --delete 127.0.0.1::www {}/ >>{}/cron.log 2>&1\n",
            by.rsync().display(),
            inetd.port(),
            copy.display(),
            place.work.path().display(),
        );
        fs::write(&script, text).unwrap();
        let cron = || run(Command::new("sh").arg(&script)).expect_ok().clone();
        cron();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let page = fs::read(copy.join("page")).unwrap_or_default();
                    let Some(&version) = page.first() else { continue };
                    assert!(page == self::page(version), "{} bytes of a page", page.len());
                }
            });
            for version in b'a'..=b'h' {
                fs::write(place.work.join("page.new"), page(version)).unwrap();
                fs::rename(place.work.join("page.new"), place.work.join("www/page")).unwrap();
                cron();
            }
            is_over.store(true, Ordering::Relaxed);
        });
        assert_eq!(fs::read(copy.join("page")).unwrap(), page(b'h'), "{by:?}");
    }
}

/// A daemon at the standard port of an address, as its command starts it.
fn daemon(mut command: Command, address: &str, config: &Path) -> Running {
    command.args(["--daemon", "--no-detach", "--port=8730"]).arg(format!("--address={address}"));
    Running::start(command.arg(format!("--config={}", config.display())))
}

#[test]
fn point_7_of_two_addresses_of_a_name_the_one_that_answers_is_used_and_told() {
    let host = Namespace::linked();
    let place = Place::new("10.199.0.0/16 127.0.0.1");
    let (there, here) = (host.address(), host.our_address());
    let _names = NameServer::start(here, vec![there, here]);
    host.set_name_server(here);
    let config = place.work.join("rsyncd.conf");
    // The order of the addresses is not ours to choose, so each of them is once the one that answers.
    for (number, (address, command)) in
        [(here, Command::new("/usr/bin/rsync")), (there, host.command(Path::new("/usr/bin/rsync")))]
            .into_iter()
            .enumerate()
    {
        let served = daemon(command, &address.to_string(), &config);
        let url = "rsync://mirror.test:8730/www/";
        let told = format!("Connected to mirror.test ({address})\n");
        let outcomes = SIDES.map(|side| {
            let copy = place.work.join(format!("copy{number}{side:?}/"));
            let mut outcome = None;
            wait_until("the daemon", || {
                let mut command = host.command(&side.rsync());
                let done = run(command.args(["-a", "--debug=CONNECT2", url]).arg(&copy));
                let is_served = done.code == 0;
                outcome = is_served.then_some(done);
                is_served
            });
            let outcome = outcome.unwrap();
            assert!(outcome.stdout.to_string().contains(&told), "{side:?}: {}", outcome.stdout);
            (outcome.stdout.to_string(), outcome.stderr.to_string())
        });
        assert_eq!(outcomes[0], outcomes[1]);
        let state = place.work.join(format!("state{number}"));
        let mut mirror = host.command(&program::mirror());
        mirror.args(["sync", "--verbose", url]).arg(place.work.join(format!("mirror{number}")));
        let outcome = run(mirror.arg("--state-dir").arg(state));
        let text = format!("{}{}", outcome.expect_ok().stdout, outcome.stderr);
        assert!(text.contains(told.trim_end()), "{text}");
        served.kill();
        served.finish();
    }
    // Nobody answers any more.
    let copy: PathBuf = place.work.join("nothing/");
    for side in SIDES {
        let mut command = host.command(&side.rsync());
        let outcome = run(command.arg("-a").arg("rsync://mirror.test:8730/www/").arg(&copy));
        for address in [here, there] {
            let text = format!("failed to connect to mirror.test ({address}): Connection refused (111)");
            outcome.expect_code(10).expect_error_text(&text);
        }
    }
}
