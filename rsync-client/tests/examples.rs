//! Runs every example.
#![allow(dead_code, reason = "nobody calls the main functions of the examples")]

mod support;

#[path = "../examples/cancel.rs"]
mod cancel;
#[path = "../examples/list_modules.rs"]
mod list_modules;
#[path = "../examples/list_path.rs"]
mod list_path;
#[path = "../examples/mirror.rs"]
mod mirror;
#[path = "../examples/plan.rs"]
mod plan;
#[path = "../examples/push_memory.rs"]
mod push_memory;
#[path = "../examples/read_file.rs"]
mod read_file;
#[path = "../examples/unix_stream.rs"]
mod unix_stream;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rsync_client::{AsyncClient, Client, ClientError, Operation};
use rsync_engine::EngineError;
use rsync_engine::tree::MemoryTree;
use rsync_proto::options::{Batch, TransferOptions};
use rsync_proto::text::EntryKind;
use support::Daemon;

/// Drops the host's name and runs what follows.
const SHELL: &str = "/bin/sh -c 'shift; exec \"$@\"' sh";

fn daemon() -> Daemon {
    let daemon = Daemon::prepare("[pub]\npath = ROOT/pub\ncomment = some files\n");
    daemon.write("pub/sub/hello", b"hello\n", 0o644);
    daemon.start()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn modules_are_listed() {
    let daemon = daemon();
    let modules = list_modules::run(&daemon.url("")).expect("listed");
    assert_eq!(
        (modules[0].name.as_slice(), modules[0].comment.as_slice()),
        (&b"pub"[..], &b"some files"[..])
    );
}

#[test]
fn a_path_is_listed() {
    let daemon = daemon();
    let listing = list_path::run(&daemon.url("pub/")).expect("listed");
    let names: Vec<_> = listing.entries.iter().map(|entry| entry.name.to_string()).collect();
    assert_eq!(names, [".", "sub", "sub/hello"]);
}

#[test]
fn a_mirror_is_made_and_cleaned() {
    let (daemon, work) = (daemon(), tempfile::tempdir().expect("temporary directory"));
    fs::write(work.path().join("stale"), "").expect("written");
    let report = mirror::run(&daemon.url("pub/"), &text(work.path())).expect("mirrored");
    assert!(report.is_complete() && !work.path().join("stale").exists());
    assert_eq!(fs::read(work.path().join("sub/hello")).expect("there"), b"hello\n");
}

#[test]
fn a_file_is_read() {
    let daemon = daemon();
    assert_eq!(read_file::run(&daemon.url("pub/sub/hello")).expect("read"), b"hello\n");
}

#[test]
fn files_in_memory_are_pushed() {
    let work = tempfile::tempdir().expect("temporary directory");
    let options = TransferOptions { rsh: Some(SHELL.into()), ..TransferOptions::archive() };
    let report = push_memory::run(options, &format!("anywhere:{}/", text(work.path()))).expect("pushed");
    assert_eq!(report.totals.transferred, 2);
    assert_eq!(fs::read(work.path().join("robots.txt")).expect("there"), b"User-agent: *\n");
}

#[test]
fn a_plan_tells_what_would_be_done_and_does_nothing() {
    let work = tempfile::tempdir().expect("temporary directory");
    let (source, destination) = (work.path().join("s"), work.path().join("d"));
    for dir in [&source, &destination] {
        fs::create_dir(dir).expect("made");
        fs::write(dir.join("same"), "same").expect("written");
        fs::write(dir.join("changed"), "old").expect("written");
        let time = UNIX_EPOCH + Duration::from_secs(1_500_000_000);
        fs::File::options()
            .write(true)
            .open(dir.join("same"))
            .and_then(|file| file.set_modified(time))
            .expect("dated");
    }
    fs::write(source.join("changed"), "newer").expect("written");
    fs::write(source.join("new"), "1234567").expect("written");
    fs::write(destination.join("extra"), "").expect("written");
    let plan = plan::run(&format!("{}/", text(&source)), &text(&destination)).expect("planned");
    let actions: Vec<_> = plan.actions.iter().filter(|action| action.path != ".").collect();
    let of = |name: &str| {
        let found: Vec<_> = actions.iter().filter(|action| action.path == name).collect();
        assert_eq!(found.len(), 1, "{name}: {plan:?}");
        found[0]
    };
    assert_eq!(actions.len(), 3, "{plan:?}");
    assert_eq!(
        (&of("new").operation, of("new").size, of("new").kind),
        (&Operation::Create, 7, EntryKind::File)
    );
    assert!(
        matches!(&of("changed").operation, Operation::Update(changes) if changes.size && !changes.content)
    );
    assert_eq!(of("extra").operation, Operation::Delete);
    assert_eq!(plan.totals.transferred_size, 12);
    assert!(destination.join("extra").exists() && !destination.join("new").exists());
    assert_eq!(fs::read(destination.join("changed")).expect("there"), b"old");
}

#[test]
fn a_plan_of_a_push_and_of_a_pull_is_that_of_a_copy() {
    let work = tempfile::tempdir().expect("temporary directory");
    let (source, destination) = (work.path().join("s"), work.path().join("d"));
    fs::create_dir_all(source.join("sub")).expect("made");
    fs::create_dir(&destination).expect("made");
    fs::write(source.join("sub/f"), "1").expect("written");
    fs::hard_link(source.join("sub/f"), source.join("sub/g")).expect("linked");
    fs::write(destination.join("extra"), "").expect("written");
    let options = TransferOptions {
        delete: rsync_proto::options::DeleteTiming::After,
        hard_links: 1,
        rsh: Some(SHELL.into()),
        ..TransferOptions::archive()
    };
    let client = Client::builder().options(options).build();
    let plan = |from: String, to: String| {
        let mut actions = client.dry_run(&[from], to).expect("planned").actions;
        actions.sort_by(|one, other| one.path.cmp(&other.path));
        actions
    };
    let (from, to) = (format!("{}/", text(&source)), text(&destination));
    let local = plan(from.clone(), to.clone());
    assert!(local.iter().any(|action| matches!(&action.operation, Operation::Link { .. })), "{local:?}");
    assert_eq!(plan(from.clone(), format!("h:{to}")), local);
    assert_eq!(plan(format!("h:{from}"), to), local);
}

#[test]
fn a_transfer_is_cancelled_from_another_thread() {
    let (daemon, work) = (daemon(), tempfile::tempdir().expect("temporary directory"));
    daemon.write("pub/big", &vec![7; 4 << 20], 0o644);
    let options = TransferOptions { bwlimit: 1, ..TransferOptions::archive() };
    let started = Instant::now();
    let slow = work.path().join("slow");
    let result = cancel::run(options, &daemon.url("pub/"), &text(&slow), Duration::ZERO);
    assert!(matches!(result, Err(ClientError::Engine(EngineError::Cancelled))), "{result:?}");
    assert!(started.elapsed() < Duration::from_secs(20) && !slow.join("big").exists());
}

#[test]
fn a_far_end_is_reached_over_a_pair_of_sockets() {
    let work = tempfile::tempdir().expect("temporary directory");
    let source = work.path().join("s");
    fs::create_dir(&source).expect("made");
    fs::write(source.join("f"), "hello\n").expect("written");
    let copy = work.path().join("d");
    let report = unix_stream::run(&format!("anywhere:{}/", text(&source)), &text(&copy)).expect("copied");
    assert!(report.is_complete());
    assert_eq!(fs::read(copy.join("f")).expect("there"), b"hello\n");
}

#[test]
fn a_transfer_stops_at_its_time() {
    let work = tempfile::tempdir().expect("temporary directory");
    fs::write(work.path().join("big"), vec![7; 1 << 20]).expect("written");
    let soon = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() + 1;
    let options = TransferOptions {
        stop_at: i64::try_from(soon).ok(),
        bwlimit: 20,
        rsh: Some(SHELL.into()),
        ..TransferOptions::archive()
    };
    let client = Client::builder().options(options).build();
    let (from, to) = (text(&work.path().join("big")), text(&work.path().join("d/")));
    let error = client.push(&[from.as_str()], format!("h:{to}")).expect_err("stopped");
    assert_eq!((error.to_string().as_str(), error.exit_code().code()), ("stopping at requested limit", 30));
    let late = client.copy(&[from], &to).expect_err("too late");
    assert_eq!(late.exit_code().code(), 30);
}

#[test]
fn a_batch_is_written_and_applied_by_calls() {
    let work = tempfile::tempdir().expect("temporary directory");
    let mut tree = MemoryTree::new();
    tree.insert(b"f", 0o100_644, b"hello\n");
    let batch = work.path().join("batch");
    let options =
        TransferOptions { batch: Some(Batch::Write(text(&batch).into())), ..TransferOptions::archive() };
    let client = Client::builder().options(options).build();
    client.copy_tree(std::sync::Arc::new(tree), &["f"], work.path().join("d/")).expect("copied");
    assert!(!work.path().join("batch.sh").exists(), "no command line was given");
    let reader = Client::builder().options(TransferOptions::archive()).build();
    reader.replay(&batch, work.path().join("e/")).expect("applied");
    let stream = fs::File::open(&batch).expect("opened");
    reader.replay_stream(stream, work.path().join("g/")).expect("applied");
    for place in ["d/f", "e/f", "g/f"] {
        assert_eq!(fs::read(work.path().join(place)).expect("there"), b"hello\n");
    }
}

#[test]
fn the_async_twin_has_every_call() {
    let work = tempfile::tempdir().expect("temporary directory");
    fs::create_dir(work.path().join("s")).expect("made");
    fs::write(work.path().join("s/f"), "hello\n").expect("written");
    let options = TransferOptions { rsh: Some(SHELL.into()), ..TransferOptions::archive() };
    let client = AsyncClient::new(Client::builder().options(options).build());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (from, to) = (format!("{}/", text(&work.path().join("s"))), work.path().join("d"));
    runtime.block_on(async {
        let plan = client.dry_run(&[&from], text(&to)).await.expect("planned");
        assert!(!plan.is_empty() && !to.exists());
        client.copy(&[&from], &to).await.expect("copied");
        client.push(&[&from], format!("h:{}/", text(&work.path().join("p")))).await.expect("pushed");
        client.pull(format!("h:{from}"), work.path().join("q")).await.expect("pulled");
        assert_eq!(client.fetch(format!("h:{from}f")).await.expect("read"), b"hello\n");
        assert!(client.dry_run(&[&from], text(&to)).await.expect("planned").is_empty());
    });
    for place in ["d/f", "p/f", "q/f"] {
        assert_eq!(fs::read(work.path().join(place)).expect("there"), b"hello\n");
    }
}
