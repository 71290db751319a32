//! Every command of `docs/mirror.md`, in its order, and those of the README for mirrors, against daemons in
//! place of those they name.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use rsync_e2e::daemon::Module;
use rsync_e2e::{Daemon, Side, Tree, Work, program, run};

/// The commands of all `sh` blocks; lines that end with a backslash go on.
fn commands(document: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(document);
    let text = fs::read_to_string(path).expect("the document").replace("\\\n", "");
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

#[test]
fn the_commands_of_the_tutorial_work_one_after_the_other() {
    let work = Work::new();
    let alpine = Tree::new().file("last-updated", "1\n").file("edge/a.apk", "a").file("v3.11/b.apk", "b");
    alpine.write(&work.join("alpine"));
    let debian = Tree::new().file("pool/a.deb", "a").file("dists/stable/Release", "stable");
    debian.write(&work.join("debian"));
    let modules = [Module::new("alpine", &work.join("alpine")), Module::new("debian", &work.join("debian"))];
    let daemon = Daemon::start(Side::C, "", &modules);
    let spare = Daemon::start(Side::Ours, "", &modules);
    fs::create_dir(work.join("bin")).unwrap();
    std::os::unix::fs::symlink(program::mirror(), work.join("bin/rsync-mirror")).unwrap();
    let path = format!("{}:{}", work.join("bin").display(), std::env::var("PATH").unwrap());
    let mut commands = commands("docs/mirror.md");
    assert!(commands.len() >= 7, "{commands:?}");
    commands.extend(self::commands("README.md").into_iter().filter(|line| line.starts_with("rsync-mirror ")));
    for command in commands {
        let line = command
            .replace("mirror.example.org", &format!("127.0.0.1:{}", daemon.port()))
            .replace("spare.example.org", &format!("127.0.0.1:{}", spare.port()))
            .replace("/srv", work.join("srv").to_str().unwrap())
            .replace("/run/lock", work.join("bin").to_str().unwrap())
            .replace("logger -t mirror", "echo")
            .replace("--user=www-data", "--user=65533")
            .replacen(" rsync://", &format!(" --state-dir={} rsync://", work.join("state").display()), 1);
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).env("PATH", &path);
        run(&mut shell).expect_ok();
    }
    let has = |path: &str| work.join("srv/mirror").join(path).exists();
    assert!(has("alpine/edge/a.apk") && !has("alpine/v3.12") && has("whole/current/edge/a.apk"));
    assert!(
        has("debian/dists/stable/Release")
            && has("debian/project/trace/mirror.example.net")
            && has("log/latest")
    );
}
