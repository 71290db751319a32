//! The C client against our daemon.

mod common;

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use common::TestDaemon;

const CONFIG: &str = "
[pub]
path = DIR/srv
[auth]
path = DIR/srv
auth users = alice
secrets file = DIR/secrets
[filtered]
path = DIR/srv
exclude = /sub
[closed]
path = DIR/srv
max connections = -1
[logged]
path = DIR/srv
transfer logging = yes
log format = %o|%h|%a|%m|%u|%f|%l|%P
log file = DIR/log
[readable]
path = DIR/srv
ignore nonreadable = yes
[chmod]
path = DIR/srv
outgoing chmod = go=
";

/// Runs the C client in `dir`, in which URLs name modules by `::`.
fn rsync(daemon: &TestDaemon, words: &[&str]) -> Output {
    let port = format!("--port={}", daemon.address.port());
    let words = words.iter().map(|word| word.replace("@@", "127.0.0.1::"));
    Command::new("/usr/bin/rsync")
        .arg(port)
        .args(words)
        .env("RSYNC_PASSWORD", "secret")
        .current_dir(daemon.place.path())
        .output()
        .expect("the C client runs")
}

fn is_installed() -> bool {
    Path::new("/usr/bin/rsync").exists()
}

fn succeeds(daemon: &TestDaemon, words: &[&str]) -> String {
    let output = rsync(daemon, words);
    assert!(output.status.success(), "{words:?}: {output:?}\n{}", daemon.log());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn fails(daemon: &TestDaemon, words: &[&str], code: i32) -> String {
    let output = rsync(daemon, words);
    assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn assert_same(left: &Path, right: impl AsRef<OsStr>) {
    let output = Command::new("diff").arg("-r").arg("--no-dereference").arg(left).arg(right).output();
    let output = output.expect("diff runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn every_protocol_pulls_the_whole_module() {
    if !is_installed() {
        return;
    }
    let daemon = TestDaemon::start(CONFIG);
    for protocol in 27..=32 {
        for compress in ["--no-z", "-z"] {
            let (option, dest) = (format!("--protocol={protocol}"), format!("d{protocol}{compress}/"));
            succeeds(&daemon, &["-a", compress, &option, "@@pub/", &dest]);
            assert_same(&daemon.root(), daemon.place.path().join(&dest));
            let again = succeeds(&daemon, &["-ai", "--delete", compress, &option, "@@pub/", &dest]);
            assert_eq!(again, "", "a second run changes nothing");
        }
    }
}

#[test]
fn modules_are_listed_and_explored() {
    if !is_installed() {
        return;
    }
    let daemon = TestDaemon::start(CONFIG);
    let modules = succeeds(&daemon, &["@@"]);
    assert!(modules.starts_with("pub            \t\nauth           \t\n"), "{modules}");
    let files = succeeds(&daemon, &["-r", "@@pub/"]);
    assert!(files.contains(" sub/.hidden/c\n") && files.contains(" a 2\n"), "{files}");
}

#[test]
fn paths_are_expanded_split_and_secluded() {
    if !is_installed() {
        return;
    }
    let daemon = TestDaemon::start(CONFIG);
    let names = |words: &[&str]| -> Vec<String> {
        let listing = succeeds(&daemon, words);
        let mut names: Vec<String> =
            listing.lines().filter_map(|line| line.get(46..).map(str::to_owned)).collect();
        names.sort();
        names
    };
    assert_eq!(names(&["@@pub/a*"]), ["a 2", "a1"]);
    assert_eq!(names(&["@@pub/a 2"]), ["a 2"]);
    assert_eq!(names(&["-s", "--list-only", "@@pub/a 2", "::pub/a1"]), ["a 2", "a1"]);
    assert_eq!(names(&["--old-args", "@@pub/a1 pub/sub/b"]), ["a1", "b"]);
    assert_eq!(names(&["-R", "@@pub/./sub/b"]).last().map(String::as_str), Some("sub/b"));
    assert_eq!(names(&["@@pub/sub/../../../a1"]), ["a1"]);
}

#[test]
fn names_of_files_from_are_served() {
    if !is_installed() {
        return;
    }
    let daemon = TestDaemon::start(CONFIG);
    std::fs::write(daemon.place.path().join("list"), "sub/b\na1\n").expect("list");
    for protocol in ["29", "30", "32"] {
        let option = format!("--protocol={protocol}");
        succeeds(&daemon, &["-a", &option, "--files-from=list", "@@pub/", protocol]);
        assert!(daemon.place.path().join(protocol).join("sub/b").exists(), "{protocol}");
    }
}

#[test]
fn passwords_and_filters_are_honoured() {
    if !is_installed() {
        return;
    }
    let daemon = TestDaemon::start(CONFIG);
    let port = daemon.address.port();
    succeeds(&daemon, &["-a", &format!("rsync://alice@127.0.0.1:{port}/auth/"), "in/"]);
    assert_same(&daemon.root(), daemon.place.path().join("in"));
    let error = fails(&daemon, &["-a", &format!("rsync://bob@127.0.0.1:{port}/auth/"), "out/"], 5);
    assert!(error.contains("@ERROR: auth failed on module auth"), "{error}");
    let error = fails(&daemon, &["-a", "@@filtered/sub", "filtered/"], 23);
    assert!(error.contains("link_stat \"/sub\" (in filtered) failed: No such file"), "{error}");
    succeeds(&daemon, &["-a", "@@filtered/", "filtered/"]);
    assert!(!daemon.place.path().join("filtered/sub").exists());
}

#[test]
fn nothing_can_be_written() {
    if !is_installed() {
        return;
    }
    let daemon = TestDaemon::start(CONFIG);
    std::fs::write(daemon.place.path().join("new"), "x").expect("file");
    let error = fails(&daemon, &["-a", "new", "@@pub/"], 1);
    assert!(error.contains("ERROR: module is read only"), "{error}");
    let error = fails(&daemon, &["-a", "--remove-source-files", "@@pub/a1", "got"], 1);
    assert!(error.contains("--remove-source-files cannot be used with a read-only module"), "{error}");
    assert!(daemon.root().join("a1").exists() && !daemon.root().join("new").exists());
}

#[test]
fn files_that_are_sent_are_logged_by_the_daemon() {
    if !is_installed() {
        return;
    }
    let daemon = TestDaemon::start(CONFIG);
    succeeds(&daemon, &["-a", "@@logged/a1", "got"]);
    let expected = format!("] send|UNDETERMINED|127.0.0.1|logged||a1|6|{}\n", daemon.root().display());
    let mut log = String::new();
    for _ in 0..100 {
        log = std::fs::read_to_string(daemon.place.path().join("log")).unwrap_or_default();
        if log.contains("total size") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(log.contains(&expected) && log.contains("rsync on logged/a1 from"), "{log}");
}

#[test]
fn what_cannot_be_read_is_an_error_or_left_out() {
    if !is_installed() {
        return;
    }
    let daemon = TestDaemon::start(CONFIG);
    let secret = daemon.root().join("sub/secret");
    std::fs::write(&secret, "x").expect("file");
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("mode");
    let is_root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&secret).expect("file")) == 0;
    if is_root {
        let error = fails(&daemon, &["-a", "@@pub/sub", "all/"], 23);
        assert!(error.contains("send_files failed to open"), "{error}");
        succeeds(&daemon, &["-a", "@@readable/sub", "some/"]);
        assert!(!daemon.place.path().join("some/sub/secret").exists());
    }
}

#[test]
fn permissions_change_on_their_way_out() {
    if !is_installed() {
        return;
    }
    let daemon = TestDaemon::start(CONFIG);
    succeeds(&daemon, &["-a", "@@chmod/a1", "private"]);
    let facts = std::fs::metadata(daemon.place.path().join("private")).expect("file");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&facts.permissions()) & 0o77, 0);
}

#[test]
fn links_out_of_the_module_lead_nowhere() {
    if !is_installed() {
        return;
    }
    let daemon = TestDaemon::start(CONFIG);
    std::os::unix::fs::symlink("/etc", daemon.root().join("out")).expect("link");
    std::os::unix::fs::symlink("../secrets", daemon.root().join("up")).expect("link");
    std::os::unix::fs::symlink("sub/../a1", daemon.root().join("in")).expect("link");
    let output = rsync(&daemon, &["-rL", "@@pub/", "followed/"]);
    assert_eq!(output.status.code(), Some(23), "{output:?}");
    let got = daemon.place.path().join("followed");
    assert!(got.join("in").exists() && !got.join("out").exists() && !got.join("up").exists());
    fails(&daemon, &["-r", "@@pub/out/passwd", "followed/"], 23);
}
