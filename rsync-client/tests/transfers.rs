//! Pulls and pushes against the C rsync: a remote shell, every compression, a basis at the other end.

mod support;

use std::fs;
use std::path::Path;

use bstr::BString;
use rsync_client::{AsyncClient, Client, ClientEnvironment, TransferReport};
use rsync_proto::options::{Compress, TransferOptions};
use support::Daemon;

/// Drops the host's name and runs what follows.
const SHELL: &str = "/bin/sh -c 'shift; exec \"$@\"' sh";

const COMPRESSIONS: [Compress; 6] =
    [Compress::Off, Compress::Negotiate, Compress::Zlib, Compress::Zlibx, Compress::Lz4, Compress::Zstd];

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed * 2 + 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(step).collect()
}

/// A file and an older version of it, with insertions, text and noise.
fn versions() -> (Vec<u8>, Vec<u8>) {
    let old = [noise(1, 400_000), b"some text that repeats ".repeat(9_000), noise(2, 300_000)].concat();
    let mut new = old.clone();
    new.splice(500_000..500_000, b"inserted, and some text that repeats".iter().copied());
    new.splice(100_000..100_100, noise(3, 40_000));
    new.extend_from_slice(&old[..70_000]);
    new.extend_from_slice(b"the end");
    (new, old)
}

fn shell_options(protocol: i32, compress: Compress) -> TransferOptions {
    TransferOptions {
        rsh: Some(SHELL.into()),
        rsync_path: Some("/usr/bin/rsync".into()),
        protocol: Some(protocol),
        compress,
        ignore_times: true,
        ..TransferOptions::archive()
    }
}

fn client(options: TransferOptions) -> Client {
    Client::builder().options(options).build()
}

fn remote(path: &Path) -> BString {
    format!("somewhere:{}/", path.display()).into()
}

fn assert_delta(report: &TransferReport, what: &str) {
    assert!(report.is_complete(), "{what}: {report:?}");
    assert!(report.totals.matched > 800_000, "{what}: {report:?}");
    assert!(report.totals.literal < 200_000, "{what}: {report:?}");
}

#[test]
fn changed_files_are_pulled_with_every_compression() {
    let (new, old) = versions();
    let source = tempfile::tempdir().expect("temporary directory");
    fs::write(source.path().join("f"), &new).expect("write");
    fs::write(source.path().join("g"), &new[..3000]).expect("write");
    for protocol in [27, 29, 30, 31, 32] {
        for compress in COMPRESSIONS {
            let target = tempfile::tempdir().expect("temporary directory");
            fs::write(target.path().join("f"), &old).expect("write");
            let what = format!("{protocol} {compress:?}");
            let report = client(shell_options(protocol, compress))
                .pull(remote(source.path()), target.path())
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_delta(&report, &what);
            assert!(fs::read(target.path().join("f")).expect("read") == new, "{what}");
            assert!(fs::read(target.path().join("g")).expect("read") == new[..3000], "{what}");
        }
    }
}

#[test]
fn changed_files_are_pushed_with_every_compression() {
    let (new, old) = versions();
    let source = tempfile::tempdir().expect("temporary directory");
    fs::write(source.path().join("f"), &new).expect("write");
    fs::write(source.path().join("g"), &new[..3000]).expect("write");
    let from = format!("{}/", source.path().display());
    for protocol in [27, 29, 30, 31, 32] {
        for compress in COMPRESSIONS {
            let target = tempfile::tempdir().expect("temporary directory");
            fs::write(target.path().join("f"), &old).expect("write");
            let what = format!("{protocol} {compress:?}");
            let report = client(shell_options(protocol, compress))
                .push(&[&from], remote(target.path()))
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_delta(&report, &what);
            assert!(fs::read(target.path().join("f")).expect("read") == new, "{what}");
            assert!(fs::read(target.path().join("g")).expect("read") == new[..3000], "{what}");
        }
    }
}

#[test]
fn large_blocks_enter_the_zlib_history_of_both_ends() {
    let (new, old) = versions();
    for protocol in [29, 30, 31] {
        let source = tempfile::tempdir().expect("temporary directory");
        let target = tempfile::tempdir().expect("temporary directory");
        fs::write(source.path().join("f"), &new).expect("write");
        fs::write(target.path().join("f"), &old).expect("write");
        let mut options = shell_options(protocol, Compress::Zlib);
        options.block_size = 100_000;
        let report = client(options.clone()).pull(remote(source.path()), target.path()).expect("pulls");
        assert!(report.is_complete() && report.totals.matched > 0, "{protocol} {report:?}");
        assert!(fs::read(target.path().join("f")).expect("read") == new, "{protocol}");

        fs::write(target.path().join("f"), &old).expect("write");
        let from = format!("{}/", source.path().display());
        let report = client(options).push(&[from], remote(target.path())).expect("pushes");
        assert!(report.is_complete() && report.totals.matched > 0, "{protocol} {report:?}");
        assert!(fs::read(target.path().join("f")).expect("read") == new, "{protocol}");
    }
}

#[test]
fn every_checksum_works_in_both_directions() {
    let (new, old) = versions();
    for name in ["xxh128", "xxh3", "xxh64", "md5", "md4", "sha1", "none"] {
        let source = tempfile::tempdir().expect("temporary directory");
        let target = tempfile::tempdir().expect("temporary directory");
        fs::write(source.path().join("f"), &new).expect("write");
        fs::write(target.path().join("f"), &old).expect("write");
        let mut options = shell_options(31, Compress::Off);
        options.checksum_choice = Some(rsync_proto::options::ChecksumNames {
            text: name.into(),
            transfer: name.into(),
            pre_transfer: name.into(),
        });
        let report = client(options.clone()).pull(remote(source.path()), target.path()).expect("pulls");
        assert!(report.is_complete(), "{name} {report:?}");
        assert_eq!(report.totals.matched > 0, name != "none", "{name} {report:?}");
        assert!(fs::read(target.path().join("f")).expect("read") == new, "{name}");
        fs::write(target.path().join("f"), &old).expect("write");
        let from = format!("{}/", source.path().display());
        let report = client(options).push(&[from], remote(target.path())).expect("pushes");
        assert!(report.is_complete(), "{name} {report:?}");
        assert_eq!(report.totals.matched > 0, name != "none", "{name} {report:?}");
        assert!(fs::read(target.path().join("f")).expect("read") == new, "{name}");
    }
}

#[test]
fn a_module_is_pushed_to() {
    let daemon = Daemon::prepare(
        "uid = root\ngid = root\n[in]\n path = ROOT/pub\n read only = no\n[ro]\n path = ROOT/pub\n",
    );
    let daemon = daemon.start();
    let source = tempfile::tempdir().expect("temporary directory");
    fs::write(source.path().join("f"), b"content").expect("write");
    let from = format!("{}/", source.path().display());
    for protocol in [27, 28, 29, 30, 31, 32] {
        let options = TransferOptions { protocol: Some(protocol), ..TransferOptions::archive() };
        let report = client(options).push(&[&from], daemon.url("in/deep")).expect("pushes");
        assert!(report.is_complete(), "{protocol} {report:?}");
        let fetched = client(TransferOptions::default()).fetch(daemon.url("in/deep/f")).expect("fetches");
        assert_eq!(fetched, b"content");
    }
    let error = client(TransferOptions::archive()).push(&[&from], daemon.url("ro/")).expect_err("read only");
    assert_eq!(error.exit_code().code(), 1);
}

#[test]
fn a_shell_that_cannot_run_rsync_decides_the_exit_code() {
    let mut options = shell_options(32, Compress::Off);
    options.rsync_path = Some("/no/such/rsync".into());
    let error = client(options).pull("somewhere:/tmp/", "/tmp/never").expect_err("no rsync there");
    assert!(matches!(error.exit_code().code(), 127 | 12), "{error:?}");
}

#[test]
fn the_shell_of_the_environment_is_used_for_single_colons() {
    let source = tempfile::tempdir().expect("temporary directory");
    fs::write(source.path().join("f"), b"content").expect("write");
    let environment = ClientEnvironment { rsh: Some(SHELL.into()), ..ClientEnvironment::default() };
    let client = Client::builder().environment(environment).build();
    let file = format!("somewhere:{}/f", source.path().display());
    assert_eq!(client.fetch(&file).expect("fetches"), b"content");
    let listing = client.list(remote(source.path())).expect("lists");
    let names: Vec<String> = listing.entries.iter().map(|entry| entry.name.to_string()).collect();
    assert_eq!(names, [".", "f"]);
    let missing = client.fetch(format!("{file}.none")).expect_err("missing");
    assert_eq!(missing.exit_code().code(), 23);
}

#[test]
fn async_calls_do_what_blocking_ones_do() {
    let daemon = Daemon::prepare("[pub]\n path = ROOT/pub\n");
    daemon.write("pub/f", b"content", 0o644);
    let daemon = daemon.start();
    let runtime = tokio::runtime::Builder::new_multi_thread().build().expect("runtime");
    let client = AsyncClient::new(client(TransferOptions::archive()));
    let target = tempfile::tempdir().expect("temporary directory");
    runtime.block_on(async {
        let (modules, content) =
            tokio::join!(client.list_modules(daemon.url("")), client.fetch(daemon.url("pub/f")));
        assert_eq!(modules.expect("lists").len(), 1);
        assert_eq!(content.expect("fetches"), b"content");
        assert_eq!(client.list(daemon.url("pub/")).await.expect("lists").entries.len(), 2);
        assert!(client.pull(daemon.url("pub/"), target.path()).await.expect("pulls").is_complete());
    });
    assert_eq!(fs::read(target.path().join("f")).expect("read"), b"content");
}
