//! Every command the documents show works, or exists and is run by CI.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rsync_e2e::daemon::Module;
use rsync_e2e::{Compare, Daemon, Side, Snapshot, Tree, Work};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The lines of all `sh` blocks of a document.
fn commands(document: &str) -> Vec<String> {
    let text = std::fs::read_to_string(project().join(document)).expect("the document");
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

#[test]
fn scripts_that_the_documents_name_exist_and_ci_runs_them() {
    let ci = std::fs::read_to_string(project().join(".ci/run")).expect(".ci/run");
    let all = ["README.md", "CONTRIBUTING.md", "docs/performance.md"].map(commands).concat();
    let scripts: Vec<&String> =
        all.iter().filter(|line| line.starts_with("scripts/") || line.starts_with(".ci/")).collect();
    assert!(scripts.len() >= 3, "{all:?}");
    for script in scripts {
        let name = script.split(' ').next().expect("a word");
        let mode = std::fs::metadata(project().join(name)).expect(name).permissions().mode();
        assert!(mode & 0o111 != 0, "{name} cannot be run");
        assert!(name == ".ci/run" || ci.contains(name), "CI does not run {name}");
    }
}

#[test]
fn the_rsync_commands_of_the_readme_work() {
    let work = Work::new();
    let source = work.join("debian");
    Tree::new().file("pool/a", "hello").hard_link("pool/b", "pool/a").deep("d", 9).write(&source);
    let destination = work.join("srv");
    let daemon = Daemon::start(Side::Ours, "", &[Module::new("debian", &source)]);
    let lines = commands("README.md");
    let mirror = lines.iter().find(|line| line.starts_with("rsync -aH")).expect("the mirror command");
    let address = format!("127.0.0.1:{}", daemon.port());
    let line = mirror
        .replace("mirror.example.org", &address)
        .replace("/srv/debian/", destination.to_str().expect("a plain path"));
    let words: Vec<&str> = line.split(' ').skip(1).collect();
    let status = Command::new(Side::Ours.rsync()).args(words).status().expect("rsync");
    assert!(status.success(), "{line}");
    Snapshot::take(&source).assert_same(&Snapshot::take(&destination), Compare::ALL);
}

#[test]
fn the_daemon_options_of_the_readme_exist() {
    let lines = commands("README.md");
    let line = lines.iter().find(|line| line.starts_with("rsyncd ")).expect("the daemon command");
    let help = Command::new(&Side::Ours.daemon()[0]).arg("--help").output().expect("rsyncd --help");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for option in line.split(' ').filter(|word| word.starts_with("--")) {
        assert!(help.contains(option), "{option} is not in:\n{help}");
    }
}
