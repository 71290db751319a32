//! `--json`: every line is what `docs/json.md` promises, whatever is done and with whom; and
//! `--progress=bar` on a terminal.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use bstr::ByteSlice;
use rsync_e2e::matrix::{attribute_source, source, stale_destination};
use rsync_e2e::program::is_root;
use rsync_e2e::{Daemon, Outcome, Side, Snapshot, Tree, Work, run, shell};
use serde_json::Value;

/// Fields of an event: type, and whether it is always there.
type Fields = BTreeMap<String, (String, bool)>;

/// What the contract says about each event.
fn contract() -> BTreeMap<String, Fields> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/json.md")).unwrap();
    let mut events: BTreeMap<String, Fields> = BTreeMap::new();
    let mut event = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("### ") {
            event = name.trim_matches('`').to_owned();
            events.insert(event.clone(), Fields::new());
        }
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", field, kind, there, ..] = columns[..]
            && field.starts_with('`')
        {
            let field = field.trim_matches('`').to_owned();
            events.get_mut(&event).unwrap().insert(field, (kind.to_owned(), there == "always"));
        }
    }
    assert_eq!(events.len(), 9);
    events
}

fn has_type(value: &Value, kind: &str) -> bool {
    kind.split(" or ").any(|kind| match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("{other:?} is no type"),
    })
}

/// The events of a run, each of them checked.
#[track_caller]
fn events(outcome: &Outcome) -> Vec<Value> {
    let contract = contract();
    let text = std::str::from_utf8(&outcome.stdout).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    for event in &events {
        let name = event["event"].as_str().unwrap();
        let fields = &contract[name];
        for (field, value) in event.as_object().unwrap().iter().filter(|(field, _)| *field != "event") {
            let (kind, _) = fields.get(field).unwrap_or_else(|| panic!("{name}.{field} is not documented"));
            assert!(has_type(value, kind), "{name}.{field} is {value}");
        }
        for (field, _) in fields.iter().filter(|(_, (_, always))| *always) {
            assert!(event.get(field).is_some(), "{event} has no {field}");
        }
    }
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["exit_code"]), (&"end".into(), &outcome.code.into()));
    assert!(events[..events.len() - 1].iter().all(|event| event["event"] != "end"));
    events
}

fn of<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

/// A name's exact bytes: what is no UTF-8 is decoded by `base64 -d`.
fn bytes(event: &Value, field: &str) -> Vec<u8> {
    match event[format!("{field}_base64")].as_str() {
        None => event[field].as_str().unwrap().as_bytes().to_vec(),
        Some(text) => run(Command::new("sh").args(["-c", &format!("echo {text} | base64 -d")])).stdout.into(),
    }
}

fn rsync(work: &Work, words: &[&str]) -> Outcome {
    run(Command::new(Side::Ours.rsync()).current_dir(work.path()).args(words))
}

/// Runs every way to transfer with `options`; the work directory has `source/`.
fn each_way(options: &[&str], check: impl Fn(&str, &Work, &Outcome)) {
    let prepare = || {
        let work = Work::new();
        let tree = if is_root() { attribute_source() } else { source() };
        tree.then(Tree::new().file(b"not \xff utf8", "x").symlink("odd", b"to \xfe"))
            .write(&work.join("source"));
        stale_destination().write(&work.join("destination"));
        work
    };
    let run = |way: &str, before: &[&str], from: &str, to: &str, work: &Work| {
        let outcome = rsync(work, &[before, options, &["--json", from, to]].concat());
        check(way, work, &outcome);
    };
    let work = prepare();
    run("local", &[], "source/", "destination/", &work);
    for protocol in ["--protocol=32", "--protocol=29"] {
        let c = format!("--rsync-path={}", Side::C.rsync().display());
        let work = prepare();
        let shell = shell::plain(&work);
        let before = ["-e", shell.to_str().unwrap(), &c, protocol];
        let there = format!("h:{}", work.join("destination/").display());
        run("push", &before, "source/", &there, &work);
        let work = prepare();
        let from = format!("h:{}", work.join("source/").display());
        run("pull", &before, &from, "destination/", &work);
        let work = prepare();
        let daemon = Daemon::serving(Side::C, &work.join("source"));
        run("daemon", &[protocol], &daemon.url("m/"), "destination/", &work);
    }
}

#[test]
fn every_way_to_transfer_says_what_it_did() {
    each_way(&["-a", "--delete"], |way, work, outcome| {
        outcome.expect_ok();
        let events = events(outcome);
        assert_eq!(events[0]["event"], "start", "{way}");
        let names = Snapshot::take(&work.join("destination"));
        let changed: Vec<Vec<u8>> = of(&events, "item").iter().map(|item| bytes(item, "path")).collect();
        assert!(changed.iter().any(|name| name == b"not \xff utf8"), "{way}");
        assert!(changed.iter().all(|name| name == b"." || names.names().any(|it| it == name)), "{way}");
        let link = of(&events, "item").into_iter().find(|item| item["path"] == "odd").unwrap();
        assert_eq!(bytes(link, "target"), b"to \xfe", "{way}");
        assert!(!of(&events, "deleted").is_empty(), "{way}");
        let totals = &events.last().unwrap()["totals"];
        let transferred = of(&events, "item").iter().filter(|item| item["action"] == "transfer").count();
        assert_eq!(totals["transferred_files"], transferred, "{way}");
    });
}

#[test]
fn a_receiver_that_itemizes_nothing_leaves_a_push_with_its_transfers() {
    let work = Work::new();
    Tree::new().file("f", "abc").symlink("l", "f").write(&work.join("s"));
    let (shell, there) = (shell::plain(&work), format!("h:{}", work.join("d/").display()));
    let c = format!("--rsync-path={}", Side::C.rsync().display());
    let words = ["-a", "--json", "--protocol=28", "-e", shell.to_str().unwrap(), &c, "s/", &there];
    let events = events(rsync(&work, &words).expect_ok());
    let items = of(&events, "item");
    assert_eq!((items.len(), &items[0]["path"], &items[0]["itemize"]), (1, &"f".into(), &Value::Null));
}

#[test]
fn a_dry_run_tells_what_the_run_will_do_and_changes_nothing() {
    each_way(&["-an", "--delete"], |way, work, outcome| {
        outcome.expect_ok();
        let events = events(outcome);
        assert_eq!(events[0]["dry_run"], true, "{way}");
        assert!(!of(&events, "item").is_empty() && !of(&events, "deleted").is_empty(), "{way}");
        assert!(!Path::exists(&work.join("destination/odd")), "{way}");
    });
}

#[test]
fn listings_are_entries() {
    let work = Work::new();
    Tree::new().file("d/f", "abc").symlink("l", "d/f").time("d/f", 1_000_000_000, 0).write(&work.join("s"));
    let daemon = Daemon::serving(Side::C, &work.join("s"));
    for from in ["s/".to_owned(), daemon.url("m/")] {
        let events = events(rsync(&work, &["-rl", "--json", &from]).expect_ok());
        assert_eq!(events[0]["list_only"], true);
        let entries = of(&events, "entry");
        let paths: Vec<_> = entries.iter().map(|entry| entry["path"].as_str().unwrap()).collect();
        assert_eq!(paths, [".", "l", "d", "d/f"]);
        assert_eq!((&entries[3]["size"], &entries[3]["mtime"]), (&3.into(), &1_000_000_000.into()));
        assert_eq!(entries[1]["target"], "d/f");
    }
    let listing = rsync(&work, &["--json", &daemon.url("")]);
    let events = events(listing.expect_ok());
    assert_eq!(of(&events, "module")[0]["name"], "m");
}

#[test]
fn failures_are_events_and_stay_on_standard_error() {
    let work = Work::new();
    Tree::new().file("f", "abc").write(&work.join("s"));
    let daemon = Daemon::serving(Side::C, &work.join("s"));
    let nowhere = format!("rsync://127.0.0.1:{}/m/", rsync_e2e::daemon::free_port());
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--foo", "a", "b"], 1, "--foo: unknown option"),
        (&["h:a", "h:b"], 1, "cannot both be remote"),
        (&["-r", "missing", "d/"], 23, "link_stat"),
        (&["-r", &daemon.url("m/missing"), "d/"], 23, "link_stat"),
        (&["-r", &daemon.url("none/"), "d/"], 5, "@ERROR: Unknown module 'none'"),
        (&["-r", &nowhere, "d/"], 10, "Connection refused"),
    ];
    for (words, code, text) in cases {
        let outcome = rsync(&work, &[&["--json"], *words].concat());
        outcome.expect_code(*code).expect_error_text(text);
        let events = events(&outcome);
        let told = of(&events, "message")
            .into_iter()
            .any(|message| message["severity"] != "info" && message["text"].as_str().unwrap().contains(text));
        assert!(told, "{words:?}: {}", outcome.stdout);
    }
}

/// Runs our rsync on a terminal of its own and answers what it wrote there.
fn on_terminal(work: &Work, words: &str) -> String {
    let line = format!("stty cols 100; exec {} {words}", Side::Ours.rsync().display());
    let mut command = Command::new("script");
    command.current_dir(work.path()).env("TERM", "xterm").env_remove("NO_COLOR");
    let outcome = run(command.args(["-qec", &line, "/dev/null"]));
    outcome.expect_ok();
    outcome.stdout.to_string()
}

#[test]
fn the_bar_lives_on_one_line_of_a_terminal_and_goes_away() {
    let work = Work::new();
    Tree::new().random("large", 3 << 20, 1).file("small", "x").write(&work.join("s"));
    let shell = shell::plain(&work);
    let there = format!("h:{}", work.join("d/").display());
    let words = format!(
        "-av --bwlimit=3000 --progress=bar -e {} --rsync-path={} s/ {there}",
        shell.display(),
        Side::C.rsync().display()
    );
    let shown = on_terminal(&work, &words);
    assert!(
        shown.contains(" of 3.00 MiB  ") && shown.contains("MiB/s  ") && shown.contains(" left  "),
        "{shown}"
    );
    // Names stand on lines of their own, and the line is erased before anything else is written.
    assert!(shown.contains("\x1b[2Ksmall\r\n") || shown.contains("\nsmall\r\n"), "{shown:?}");
    let after = shown.rsplit("left").next().unwrap();
    assert!(
        after.contains("\x1b[2K") && after.contains("\r\ntotal size is 3,145,729  speedup is"),
        "{after:?}"
    );
}

#[test]
fn away_from_a_terminal_the_bar_is_not_there() {
    let work = Work::new();
    Tree::new().random("large", 3 << 20, 1).write(&work.join("s"));
    let with = rsync(&work, &["-av", "--progress=bar", "s/", "d1/"]);
    let without = rsync(&work, &["-av", "s/", "d2/"]);
    let names = |outcome: &Outcome| {
        outcome.stdout.to_string().replace("d1/", "d2/").lines().next().map(str::to_owned)
    };
    assert_eq!(names(with.expect_ok()), names(&without));
    assert!(!with.stdout.contains(&b'\r') && with.stderr.is_empty());
    assert_eq!(with.stdout.lines().count(), without.stdout.lines().count());
}
