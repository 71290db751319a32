//! Every command of `docs/mirror.md` and `docs/site.md`, in its order, and those of the README for mirrors,
//! against daemons in place of those they name.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use rsync_e2e::daemon::{Module, free_port};
use rsync_e2e::outcome::Running;
use rsync_e2e::site::wait;
use rsync_e2e::{Daemon, Side, Tree, Work, program, run};
use rustix::process::Signal;

/// The blocks of a language.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(document);
    let text = fs::read_to_string(path).expect("the document");
    let start = format!("```{language}\n");
    let parts = text.split(&start).skip(1).filter_map(|rest| rest.split("```").next());
    parts.map(str::to_owned).collect()
}

/// The commands of all `sh` blocks; lines that end with a backslash go on.
fn commands(document: &str) -> Vec<String> {
    let blocks = blocks(document, "sh").concat().replace("\\\n", "");
    blocks.lines().map(str::to_owned).collect()
}

/// `PATH` with our command in front.
fn path(work: &Work) -> String {
    fs::create_dir(work.join("bin")).unwrap();
    std::os::unix::fs::symlink(program::mirror(), work.join("bin/rsync-mirror")).unwrap();
    format!("{}:{}", work.join("bin").display(), std::env::var("PATH").unwrap())
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
    let path = path(&work);
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

#[test]
fn a_site_is_set_up_from_nothing_by_the_commands_of_its_page() {
    let work = Work::new();
    Tree::new().file("last-updated", "1\n").file("edge/a.apk", "a").write(&work.join("alpine"));
    Tree::new().file("pool/a.deb", "a").file("dists/stable/Release", "r").write(&work.join("debian"));
    let modules = ["alpine", "debian"].map(|name| Module::new(name, &work.join(name)));
    let daemon = Daemon::start(Side::C, "", &modules);
    let (path, port) = (path(&work), free_port());
    let here = |text: &str| {
        text.replace("rsync.alpinelinux.org", &format!("127.0.0.1:{}", daemon.port()))
            .replace("ftp.de.debian.org", &format!("127.0.0.1:{}", daemon.port()))
            .replace("/etc/", &format!("{}/etc/", work.path().display()))
            .replace("/srv/", &format!("{}/srv/", work.path().display()))
            .replace("127.0.0.1:14242", &format!("127.0.0.1:{port}"))
    };
    let shell = |line: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).env("PATH", &path);
        shell
    };
    let config = work.join("etc/rsync-mirror/mirrors.toml");
    let mut site = None;
    let mut said = String::new();
    for line in commands("docs/site.md") {
        if line == "rsync-mirror check" {
            let state = format!("[site]\nstate_dir = \"{}\"", work.join("state").display());
            let text = here(&blocks("docs/site.md", "toml")[0]).replacen("[site]", &state, 1);
            fs::write(&config, text).unwrap();
        }
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let line = match words[..] {
            ["rsync-mirror", word, rest] => {
                format!("rsync-mirror {word} --config {} {rest}", config.display())
            }
            ["rsync-mirror", word] => format!("rsync-mirror {word} --config {}", config.display()),
            _ => here(&line),
        };
        if let Some(line) = line.strip_suffix(" &") {
            site = Some(Running::start(&mut shell(&format!("exec {line}"))));
            let list = format!("rsync-mirror list --config {}", config.display());
            let list = || run(&mut shell(&list)).stdout.to_string();
            wait(|| list().contains("alpine  success"), list);
            continue;
        }
        said += &run(&mut shell(&line)).expect_ok().stdout.to_string();
    }
    for part in ["alpine: from rsync://", "debian: from", "\"status\":\"success\"", "last-updated", "debian"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let site = site.expect("the page runs a site");
    site.signal_leader(Signal::TERM);
    site.finish().expect_ok();
}
