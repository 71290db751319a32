//! `refuse options` beside the C daemon: every option, refused by its name, by wildcards and negations.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, thread};

use bstr::ByteSlice;
use rsync_e2e::daemon::Module;
use rsync_e2e::{Daemon, Side, Work};

/// Every option as `docs/spec/data/options.tsv` has it: its name, and what stands for its value.
fn options() -> Vec<(String, &'static str)> {
    let table = include_str!("../../docs/spec/data/options.tsv");
    let rows = table.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    let options = rows.map(|fields| {
        let value = match (fields[0], fields[4]) {
            (_, "none") => "",
            ("--protocol", _) => "30",
            ("--checksum-choice" | "--cc", _) => "md5",
            ("--compress-choice" | "--zc", _) => "zlib",
            (_, kind) if kind.starts_with("INT") || kind.starts_with("SIZE") => "7",
            _ => "x",
        };
        (fields[0].to_owned(), value)
    });
    options.filter(|(name, _)| !UNLIKE.contains(&name.as_str())).collect()
}

/// The C rsync cannot refuse two of them, and knows no times of creation on this system.
const UNLIKE: [&str; 6] =
    ["--delete-missing-args", "--ignore-missing-args", "--crtimes", "-N", "--no-crtimes", "--no-N"];

/// The words of a client that uses an option.
fn words(option: &str, value: &str, sends: bool) -> Vec<String> {
    let mut words = vec!["--server".to_owned()];
    if sends {
        words.push("--sender".into());
    }
    words.push("-re.iLsfxCIu".into());
    words.push(match (value, option.starts_with("--")) {
        ("", _) => option.to_owned(),
        (value, true) => format!("{option}={value}"),
        (value, false) => format!("{option}{value}"),
    });
    words
}

/// What a daemon answers to a client with these words: what it refuses, or another complaint, or nothing.
fn answer(port: u16, module: &str, words: &[String]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut request = format!("@RSYNCD: 30.0\n{module}\n").into_bytes();
    for word in words {
        request.extend(word.as_bytes());
        request.push(0);
    }
    request.extend(format!(".\0{module}/\0\0").as_bytes());
    stream.write_all(&request).unwrap();
    // Who is accepted has nothing more to say.
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let (mut heard, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        // A daemon may close before it has read everything.
        let count = stream.read(&mut piece).unwrap_or(0);
        heard.extend_from_slice(&piece[..count]);
        let said = heard.find("rsync: ").map(|at| &heard[at..]);
        if let Some(line) =
            said.and_then(|said| said.lines_with_terminator().next()).filter(|line| line.ends_with(b"\n"))
        {
            // What has no long name the C rsync calls `--(null) (-P)`.
            let line = line.trim_end().to_str_lossy();
            return line.replace("--(null) (", "").replace(|byte| byte == ')' && line.contains("(null)"), "");
        }
        if count == 0 {
            return String::new();
        }
    }
}

/// Lists of refused options, with the clients that each of them is asked by.
struct Table {
    lists: Vec<String>,
    clients: Vec<(usize, Vec<String>)>,
}

/// Asks both daemons everything; answers how many clients were refused.
#[track_caller]
fn compare(table: &Table) -> usize {
    let work = Work::new();
    fs::create_dir(work.join("empty")).unwrap();
    let modules: Vec<Module> = (0..)
        .zip(&table.lists)
        .map(|(number, list): (usize, _)| {
            let refused = format!("refuse options = {list}");
            Module::new(&format!("m{number}"), &work.join("empty")).line("read only = no").line(&refused)
        })
        .collect();
    let globals = "reverse lookup = no\nlisten backlog = 100";
    let daemons = [Side::C, Side::Ours].map(|side| Daemon::uploading(side, globals, &modules));
    let (next, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        let asking: Vec<_> = (0..24)
            .map(|_| {
                scope.spawn(|| {
                    while let Some((list, words)) = table.clients.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let module = format!("m{list}");
                        let [theirs, ours] =
                            [0, 1].map(|daemon| answer(daemons[daemon].port(), &module, words));
                        assert_eq!(ours, theirs, "refuse options = {}, {words:?}", table.lists[*list]);
                        refused.fetch_add(usize::from(ours.contains("refuse")), Ordering::Relaxed);
                    }
                })
            })
            .collect();
        asking.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let unmatched = daemons.map(|daemon| {
        let log = daemon.log();
        let lines = log.lines().filter_map(|line| line.split_once("No match for "));
        lines.map(|(_, rest)| rest.to_owned()).collect::<BTreeSet<_>>()
    });
    assert_eq!(unmatched[1], unmatched[0]);
    refused.into_inner()
}

#[test]
fn every_option_is_refused_by_its_own_name() {
    const TOGETHER: usize = 40;
    let options = options();
    let names = |options: &[(String, &str)]| {
        let names = options.iter().map(|(name, _)| name.trim_start_matches('-'));
        names.collect::<Vec<_>>().join(" ")
    };
    let clients = options.iter().enumerate();
    let clients =
        clients.map(|(number, (name, value))| (number / TOGETHER, words(name, value, number % 2 == 0)));
    let table = Table { lists: options.chunks(TOGETHER).map(names).collect(), clients: clients.collect() };
    assert!(compare(&table) > 200);
}

#[test]
fn wildcards_and_negations_mean_the_same() {
    let lists = [
        "*",
        "!*",
        "* !*",
        "* !a",
        "* !a !v",
        "a",
        "archive",
        "archive*",
        "delete",
        "delete-*",
        "delete !delete-after",
        "* !delete*",
        "compress",
        "*compress*",
        "compress-*",
        "z",
        "zc",
        "[a-z]",
        "[!a]",
        "?",
        "no-*",
        "*-dest",
        "max-*",
        "append*",
        "inplace",
        "partial",
        "backup",
        "x*y nosuch delete,compress --delete DELETE",
        "write-devices !write-devices",
        "!write-devices",
        "!write*",
        "!log-file !insecure-links",
        "log*",
        "s",
        "secluded-args",
        "dry-run",
        "e",
        "iconv",
    ];
    let options = [
        "-logDtprze.iLsfxCIu",
        "-ne.iLsfxCIu",
        "-vvre.iLsfxCIu",
        "-ce.iLsfxCIu",
        "--delete-after",
        "--delete-excluded",
        "--del",
        "--remove-source-files",
        "--new-compress",
        "--compress-level=3",
        "--append",
        "--partial-dir=.",
        "--backup",
        "--write-devices",
        "--insecure-links",
        "--iconv=utf8",
        "--log-format=%i",
        "--numeric-ids",
        "--link-dest=/x",
    ];
    let words = |option: &str| match option.strip_prefix('-').filter(|rest| rest.contains("e.i")) {
        Some(_) => vec!["--server".to_owned(), option.to_owned()],
        None => words(option, "", false),
    };
    // Each list is asked by every third of them.
    let clients = (0..lists.len())
        .flat_map(|list| options.iter().skip(list % 3).step_by(3).map(move |option| (list, words(option))));
    let clients = clients.collect();
    assert!(compare(&Table { lists: lists.map(str::to_owned).into(), clients }) > 40);
}
