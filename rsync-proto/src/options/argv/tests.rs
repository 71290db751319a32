//! `server-args.tsv`: every captured client line gives the captured server words.

use std::collections::BTreeMap;

use super::*;
use crate::options::{Command, Endpoints, Environment, Request, endpoints, parse};

/// Reads a JSON array of strings, the only JSON of the data file's word columns.
fn json_strings(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut chars = text.chars();
    while let Some(letter) = chars.next() {
        if letter != '"' {
            continue;
        }
        let mut word = String::new();
        while let Some(letter) = chars.next() {
            match letter {
                '"' => break,
                '\\' => match chars.next() {
                    Some('n') => word.push('\n'),
                    Some('t') => word.push('\t'),
                    Some('r') => word.push('\r'),
                    Some('u') => {
                        let code: String = chars.by_ref().take(4).collect();
                        let code = u32::from_str_radix(&code, 16).expect("four hex digits");
                        word.push(char::from_u32(code).expect("a character"));
                    }
                    Some(other) => word.push(other),
                    None => panic!("unfinished escape"),
                },
                other => word.push(other),
            }
        }
        out.push(word);
    }
    out
}

fn field<'t>(extra: &'t str, name: &str) -> Option<&'t str> {
    let start = extra.find(&format!("\"{name}\": "))? + name.len() + 4;
    Some(&extra[start..])
}

fn request(words: &[String], environment: &Environment) -> Request {
    let words: Vec<BString> = words[1..].iter().map(|word| word.as_str().into()).collect();
    match parse(&words, environment) {
        Ok(Command::Transfer(request)) => *request,
        other => panic!("{words:?}: {other:?}"),
    }
}

fn first_error(words: &[String]) -> String {
    let words: Vec<BString> = words[1..].iter().map(|word| word.as_str().into()).collect();
    let error = match parse(&words, &Environment::default()) {
        Ok(Command::Transfer(request)) => {
            endpoints(&request.operands, &request.options).expect_err("must fail")
        }
        Ok(other) => panic!("{other:?}"),
        Err(rejected) => rejected.error,
    };
    error.message().lines().next().unwrap_or_default().to_owned()
}

fn environment(column: &str) -> Environment {
    let variables: BTreeMap<&str, &str> = column.split(' ').filter_map(|pair| pair.split_once('=')).collect();
    Environment::from_variables(crate::options::LocalClock::default(), |name| {
        variables.get(name).map(|&value| value.into())
    })
}

/// Rows of faults of 3.5.0 that are not imitated (spec 08 §17), with the words from `--server` on that are
/// sent instead.
const MENDED: &[(&str, &[&str])] = &[
    // Servers of 3.5.0 refuse `--use-qsort` as an unknown option, and the order is the same without it.
    ("A407", &["--server", "-re.LsfxCIvu", ".", "dst/"]),
    ("A408", &["--server", "--sender", "-re.LsfxCIvu", ".", "src/"]),
    // `(null)` is how the C library shows a missing word; the first list ends in front of it.
    ("A661", &["--server", "-slogDtpr"]),
    ("A662", &["--server", "--sender", "-slogDtpr"]),
];

#[test]
fn every_captured_line_gives_the_captured_words() {
    let tsv = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/spec/data/server-args.tsv"));
    let mut tested = 0;
    let mut failed_lines = 0;
    let mut tunnelled = 0;
    let mut mended = 0;
    let mut wrong = Vec::new();
    for line in tsv.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [id, mode, env, client, remote, extra] = columns[..] else { panic!("{line}") };
        if remote == "-" {
            let expected = json_strings(&extra[extra.find("\"stderr\": ").expect("a text") + 10..]).remove(0);
            // An exec failure is the remote shell's business.
            if !expected.contains("Failed to exec") {
                assert_eq!(first_error(&json_strings(client)), expected, "{id}");
            }
            failed_lines += 1;
            continue;
        }
        let remote = json_strings(remote);
        if remote.ends_with(&["--server".into(), "--daemon".into(), ".".into()]) {
            tunnelled += 1;
            continue;
        }
        let request = request(&json_strings(client), &environment(env));
        let (direction, paths) = match endpoints(&request.operands, &request.options).expect(id) {
            Endpoints::Push { destination, .. } => (Direction::Push, vec![destination]),
            Endpoints::Pull { sources, .. } => (Direction::Pull, sources),
            Endpoints::Local { .. } | Endpoints::Replay { .. } => panic!("{id} is local"),
        };
        assert_eq!(mode.starts_with("push"), direction == Direction::Push, "{id}");
        let module = field(extra, "module_line")
            .map(|rest| json_strings(&rest[..rest[1..].find('"').expect("closed") + 2]).remove(0));
        let greeting = field(extra, "server_greeting").unwrap_or("\"@RSYNCD: 32");
        let offered: u8 = greeting["\"@RSYNCD: ".len()..]
            .split(|letter: char| !letter.is_ascii_digit())
            .next()
            .and_then(|digits| digits.parse().ok())
            .expect("a version");
        let protocol = u8::try_from(request.options.protocol.unwrap_or(32)).expect("small").min(offered);
        let wire = module.as_ref().map_or(Wire::Shell, |module| Wire::Daemon { module: module.as_bytes() });
        let words = request.options.server_words(direction, wire, protocol, &paths);
        let start = remote.iter().position(|word| word == "--server").expect("--server");
        let shown = |words: &[BString]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let second = field(extra, "stdin_args")
            .or(field(extra, "round2"))
            .map(|rest| json_strings(&rest[..=rest.find(']').expect("closed")]));
        let actual = (shown(&words.first), words.second.as_deref().map(shown));
        let mut expected = (remote[start..].to_vec(), second);
        if let Some((_, words)) = MENDED.iter().find(|(row, _)| *row == id) {
            expected.0 = words.iter().map(ToString::to_string).collect();
            mended += 1;
        }
        if actual != expected {
            wrong.push(format!("{id} {client}\n  expected {expected:?}\n  actual   {actual:?}"));
        }
        tested += 1;
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!((tested, failed_lines, tunnelled, mended), (803, 12, 5, MENDED.len()));
}

#[test]
fn options_built_by_hand_forward_like_their_command_line() {
    let mut options = TransferOptions::archive();
    options.delete = DeleteTiming::Unspecified;
    options.compress = Compress::Zstd;
    let words = options.server_words(Direction::Push, Wire::Shell, 32, &["d st".into()]);
    let expected = ["--server", "-logDtpre.iLsfxCIvu", "--compress-choice=zstd", "--delete", ".", "d\\ st"];
    assert_eq!(words.first, expected.map(BString::from));
    let listing = TransferOptions { dirs: true, list_only: true, ..TransferOptions::default() };
    let words = listing.server_words(Direction::Pull, Wire::Daemon { module: b"m" }, 32, &["m".into()]);
    assert_eq!(words.first, ["--server", "--sender", "-de.LsfxCIvu", ".", "m/"].map(BString::from));
}

#[test]
fn escapes_in_formats_are_found() {
    for (format, found) in
        [("%i", true), ("%%i", false), ("%-10i", true), ("%'i", true), ("%n%L", false), ("%", false)]
    {
        assert_eq!(has_escape(format.as_bytes(), b'i'), found, "{format}");
    }
}
