//! A site with the C daemon as upstream: what it mirrors, shows, survives and obeys.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;

use rsync_e2e::daemon::Module;
use rsync_e2e::site::wait;
use rsync_e2e::{Compare, Daemon, Side, Site, Snapshot, Tree, Work, run};
use rustix::process::Signal;

/// An upstream with module `m`, and one that is slow to copy at the rate that jobs have here.
fn upstream() -> (Work, Daemon) {
    let work = Work::new();
    Tree::new()
        .file("a.txt", "one\n")
        .random("dir/b.bin", 70_000, 7)
        .symlink("link", "a.txt")
        .write(&work.join("m"));
    Tree::new().random("large.bin", 30_000_000, 1).write(&work.join("slow"));
    let modules = [Module::new("m", &work.join("m")), Module::new("slow", &work.join("slow"))];
    let daemon = Daemon::start(Side::C, "", &modules);
    (work, daemon)
}

fn job(name: &str, daemon: &Daemon, module: &str, more: &str) -> String {
    format!("[[job]]\nname = '{name}'\nupstream = '{}/'\n{more}\n", daemon.url(module))
}

/// A rate at which the large file takes minutes, which no test waits for.
const SLOW: &str = "bandwidth = 150";

fn same(work: &Work, module: &str, site: &Site, job: &str) {
    let (theirs, ours) = (Snapshot::take(&work.join(module)), Snapshot::take(&site.file("srv").join(job)));
    ours.assert_same(&theirs, Compare { owners: false, ..Compare::ALL });
}

#[test]
fn a_site_mirrors_its_jobs_and_shows_them_in_every_way() {
    let (work, daemon) = upstream();
    let generations = "publish = { generation = { keep = 2 } }\ndescription = 'Trees'\n";
    let jobs = job("plain", &daemon, "m", "")
        + &job("whole", &daemon, "m", generations)
        + &job("gone", &daemon, "nowhere", "retry = { attempts = 1 }");
    let mut site = Site::new("serve = { http = ['127.0.0.1:0'] }", &jobs);
    site.start();
    site.wait_status("plain", "success");
    site.wait_status("whole", "success");
    let gone = site.wait_status("gone", "failed");
    assert!(gone["message"].as_str().unwrap().contains("Unknown module 'nowhere'"), "{gone}");
    same(&work, "m", &site, "plain");

    // Nothing changes by itself for hours; a push makes the job run.
    fs::write(work.join("m/new.txt"), "news\n").unwrap();
    site.control("trigger", &["whole"]).expect_ok();
    let tree = site.file("srv/whole/current");
    wait(|| tree.join("new.txt").exists(), || site.log());
    site.wait_status("whole", "success");

    let listed = site.control("list", &[]).expect_ok().stdout.clone();
    let listed = String::from_utf8_lossy(&listed).into_owned();
    assert!(listed.starts_with("MIRROR") && listed.contains("whole   success"), "{listed}");
    let log = site.control("logs", &["whole"]).expect_ok().stdout.clone();
    assert!(!log.is_empty());

    let (head, page) = site.get(0, "/", "");
    assert!(head.starts_with("HTTP/1.1 200") && page.contains("3 mirrors · 1 failing"), "{head}\n{page}");
    let (_, page) = site.get(0, "/mirrors/whole", "");
    assert!(page.contains("<svg class=\"plot\""), "two runs make a plot: {page}");
    let (_, metrics) = site.get(0, "/metrics", "");
    assert!(metrics.contains("rsync_mirror_job_status{job=\"gone\",status=\"failed\"} 1"), "{metrics}");
    let (_, jobs) = site.get(0, "/jobs", "");
    let jobs: serde_json::Value = serde_json::from_str(&jobs).unwrap();
    assert_eq!((&jobs[1]["name"], &jobs[1]["status"]), (&"plain".into(), &"success".into()));
    let (head, _) = site.get(0, "/mirrors/whole/log", "");
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");

    let (head, index) = site.get(1, "/whole/", "");
    assert!(head.starts_with("HTTP/1.1 200") && index.contains("href=\"./new.txt\""), "{head}\n{index}");
    let (head, part) = site.get(1, "/whole/new.txt", "Range: bytes=1-2\r\n");
    assert!(head.starts_with("HTTP/1.1 206") && part == "ew", "{head}\n{part}");
    let modified = head.lines().find_map(|line| line.strip_prefix("last-modified: ")).expect("a time");
    let (head, _) = site.get(1, "/whole/new.txt", &format!("If-Modified-Since: {modified}\r\n"));
    assert!(head.starts_with("HTTP/1.1 304"), "{head}");
    for outside in
        ["/whole/../../../mirrors.toml", "/whole/%2e%2e/%2e%2e/mirrors.toml", "/whole/.hidden", "/etc/"]
    {
        let (head, _) = site.get(1, outside, "");
        assert!(head.starts_with("HTTP/1.1 404"), "{outside}: {head}");
    }
}

#[test]
fn a_run_that_died_with_the_process_is_made_again_by_the_next_one() {
    let (work, daemon) = upstream();
    let mut site = Site::new("", &job("slow", &daemon, "slow", SLOW));
    site.start();
    site.wait_for("slow", |job| job["progress"]["done"].as_u64() > Some(0));
    site.signal(Signal::KILL);
    let _ = site.ended();
    assert!(!site.file("srv/slow/large.bin").exists(), "nothing is half there");
    site.configure("", &job("slow", &daemon, "slow", ""));
    site.start();
    site.wait_status("slow", "success");
    same(&work, "slow", &site, "slow");
}

#[test]
fn a_site_that_is_told_to_end_cuts_off_runs_at_the_deadline_and_goes_on_later() {
    let (work, daemon) = upstream();
    let settings = "drain = '100ms'";
    let mut site = Site::new(settings, &job("slow", &daemon, "slow", SLOW));
    site.start();
    site.wait_for("slow", |job| job["progress"]["done"].as_u64() > Some(0));
    site.signal(Signal::TERM);
    assert_eq!(site.ended(), Some(0), "{}", site.log());
    assert!(!site.file("state/control.sock").exists());
    site.configure(settings, &job("slow", &daemon, "slow", ""));
    site.start();
    site.wait_status("slow", "success");
    same(&work, "slow", &site, "slow");
}

#[test]
fn a_new_configuration_is_used_as_a_whole_or_not_at_all() {
    let (_work, daemon) = upstream();
    let first = job("slow", &daemon, "slow", SLOW);
    let mut site = Site::new("", &first);
    site.start();
    let before = site.wait_for("slow", |job| job["progress"]["done"].as_u64() > Some(0));
    site.configure("", &(first.clone() + &job("m", &daemon, "m", "shedule = 'on-demand'")));
    site.signal(Signal::HUP);
    wait(|| site.log().contains("did you mean \"schedule\"?"), || site.log());
    assert!(site.log().contains("the old configuration stays in effect"));
    site.control("reload", &[])
        .expect_code(1)
        .expect_error_text("mirrors.toml:15:1: unknown key \"shedule\"");
    site.configure("", &(first + &job("m", &daemon, "m", "")));
    site.control("reload", &[]).expect_ok();
    site.wait_status("m", "success");
    let after = site.job("slow");
    assert_eq!(before["progress"]["started"], after["progress"]["started"], "its run goes on");
    site.configure("", &job("m", &daemon, "m", ""));
    site.signal(Signal::HUP);
    wait(|| !String::from_utf8_lossy(&site.control("list", &[]).stdout).contains("slow"), || site.log());
}

#[test]
fn jobs_are_stopped_started_and_disabled_by_commands() {
    let (_work, daemon) = upstream();
    let jobs = job("slow", &daemon, "slow", SLOW) + &job("m", &daemon, "m", "schedule = 'on-demand'");
    let mut site = Site::new("", &jobs);
    site.start();
    site.wait_for("slow", |job| job["status"] == "syncing");
    site.control("stop", &["slow"]).expect_ok();
    site.wait_for("slow", |job| job["status"] == "paused" && job["progress"].is_null());
    site.control("start", &["slow"]).expect_ok();
    site.wait_for("slow", |job| job["status"] == "syncing");
    site.control("disable", &["slow"]).expect_ok();
    site.wait_for("slow", |job| job["status"] == "disabled" && job["progress"].is_null());
    site.control("start", &["slow"]).expect_code(1).expect_error_text("slow is disabled; enable it first");
    assert_eq!(site.job("m")["status"], "none");
    site.control("start", &["--force", "m"]).expect_ok();
    site.wait_status("m", "success");
    site.control("start", &["mm"]).expect_code(1).expect_error_text("did you mean \"m\"?");
    // Disabled is what it stays.
    site.signal(Signal::TERM);
    assert_eq!(site.ended(), Some(0));
    site.start();
    assert_eq!(site.job("slow")["status"], "disabled");
    site.control("enable", &["slow"]).expect_ok();
    // It goes on by its schedule, which is hours away.
    let enabled = site.wait_for("slow", |job| job["status"] == "none");
    assert!(enabled["next"].is_string(), "{enabled}");
    site.control("start", &["slow"]).expect_ok();
    site.wait_for("slow", |job| job["status"] == "syncing");
}

#[test]
fn an_upstream_pushes_over_ssh_in_the_words_of_ftpsync() {
    let (work, daemon) = upstream();
    let mut site = Site::new("", &job("m", &daemon, "m", "schedule = 'on-demand'"));
    site.start();
    let mut push = site.command("trigger", &["--ssh", "--allow", "m"]);
    run(push.env("SSH_ORIGINAL_COMMAND", "sync:all sync:archive:m")).expect_ok();
    site.wait_status("m", "success");
    same(&work, "m", &site, "m");
    let mut wrong = site.command("trigger", &["--ssh", "--allow", "m"]);
    run(wrong.env("SSH_ORIGINAL_COMMAND", "rm -rf /")).expect_code(78).expect_error_text("no word of a push");
    let mut other = site.command("trigger", &["--ssh", "--allow", "m"]);
    run(other.env("SSH_ORIGINAL_COMMAND", "sync:archive:n"))
        .expect_code(78)
        .expect_error_text("may not trigger");
}

#[test]
fn a_site_runs_once_and_whoever_asks_nobody_is_told_so() {
    let (_work, daemon) = upstream();
    let mut site = Site::new("", &job("m", &daemon, "m", ""));
    site.control("ping", &[]).expect_code(69).expect_error_text("is \"rsync-mirror run\" running?");
    site.start();
    let mut second = std::process::Command::new(rsync_e2e::program::mirror());
    second.arg("run").arg("--config").arg(site.file("mirrors.toml"));
    run(&mut second).expect_code(75).expect_error_text("another process runs this site");
    site.control("ping", &[]).expect_ok();
}

#[test]
fn a_configuration_is_checked_with_every_mistake_at_its_place() {
    let site = Site::new("histery = 3", "[[job]]\nname = 'a'\nupstream = 'rsync://h/m/'\nbandwith = 5\n");
    let check = || {
        let mut command = std::process::Command::new(rsync_e2e::program::mirror());
        run(command.arg("check").arg("--config").arg(site.file("mirrors.toml")))
    };
    let found = check();
    found
        .expect_code(78)
        .expect_error_text("mirrors.toml:7:1: unknown key \"histery\"; did you mean \"history\"?");
    found.expect_error_text("mirrors.toml:11:1: unknown key \"bandwith\"; did you mean \"bandwidth\"?");
    site.configure("", "[[job]]\nname = 'a'\nupstream = 'rsync://h/m/'\n");
    let good = check();
    let text = String::from_utf8_lossy(&good.expect_ok().stdout).into_owned();
    assert_eq!(text, "a: from rsync://h/m/, 6 h after each run\n");
}

#[test]
fn every_word_says_what_it_says_as_json_too() {
    let (_work, daemon) = upstream();
    let mut site = Site::new("", &job("a", &daemon, "m", "log = { events = true }\nschedule = 'on-demand'"));
    site.start();
    let json = |word: &str, words: &[&str]| {
        let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
        let said = site.control(word, &words).expect_ok().stdout.clone();
        serde_json::from_slice::<serde_json::Value>(&said).unwrap()
    };
    assert_eq!(json("ping", &[])["jobs"], 1);
    assert_eq!(json("start", &["a"])[0]["message"], "a starts");
    site.wait_status("a", "success");

    // The events of the run, one a line.
    let mut logs = fs::read_dir(site.file("state/log")).unwrap().map(|entry| entry.unwrap().path());
    let events = logs.find(|path| path.to_string_lossy().ends_with(".events.jsonl"));
    let events: Vec<serde_json::Value> = fs::read_to_string(events.unwrap())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert!(
        ["begin", "attempt", "phase", "line", "end"].iter().all(|kind| kinds.contains(kind)),
        "{kinds:?}"
    );
    let end = events.iter().find(|event| event["event"] == "end").unwrap();
    assert_eq!((&end["result"]["job"], &end["result"]["exit"]), (&"a".into(), &0.into()));
    let log = json("logs", &["a"]);
    assert!(log["lines"].as_array().unwrap().len() > 2, "{log}");
    for word in ["trigger", "stop", "disable", "enable", "restart"] {
        assert_eq!(json(word, &["a"])[0]["job"], "a", "{word}");
    }
    assert!(json("reload", &[])["message"].is_string());
    let config = site.file("mirrors.toml");
    let mut check = std::process::Command::new(rsync_e2e::program::mirror());
    let said = run(check.arg("check").arg("--json").arg("--config").arg(&config)).expect_ok().stdout.clone();
    let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
    assert_eq!((&said["jobs"][0]["name"], &said["jobs"][0]["schedule"]), (&"a".into(), &"on demand".into()));
    fs::write(&config, "[sit]\n").unwrap();
    let mut check = std::process::Command::new(rsync_e2e::program::mirror());
    let said =
        run(check.arg("check").arg("--json").arg("--config").arg(&config)).expect_code(78).stdout.clone();
    let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
    assert_eq!((&said["errors"][0]["line"], &said["errors"][0]["column"]), (&1.into(), &2.into()));
}

#[test]
fn what_was_published_last_is_served_to_rsync_clients() {
    let (work, daemon) = upstream();
    let serve = "serve = { rsync = ['127.0.0.1:0'], rsync_settings = { uid = '0', gid = '0' } }";
    let first = job("plain", &daemon, "m", "description = '100 % plain'")
        + &job("whole", &daemon, "m", "publish = { generation = { keep = 2 } }");
    let mut site = Site::new(serve, &first);
    site.start();
    let pull = |side: Side, site: &Site, name: &str| {
        let got = Work::new();
        let mut client = std::process::Command::new(side.rsync());
        client.arg("-aH").arg(site.rsync_url(&format!("{name}/"))).arg(got.join("x"));
        run(&mut client).expect_ok();
        // Times of directories are not set again within a second.
        let respects = Compare { directory_times: false, ..Compare::ALL };
        Snapshot::take(&got.join("x")).assert_same(&Snapshot::take(&work.join("m")), respects);
    };
    site.wait_status("plain", "success");
    site.wait_status("whole", "success");
    for side in [Side::C, Side::Ours] {
        pull(side, &site, "plain");
        pull(side, &site, "whole");
        let modules = run(std::process::Command::new(side.rsync()).arg(site.rsync_url("")));
        assert_eq!(
            modules.expect_ok().stdout.to_string(),
            "plain          \t100  plain\nwhole          \t\n"
        );
        let mut push = std::process::Command::new(side.rsync());
        push.arg("-r").arg(work.join("m/")).arg(site.rsync_url("whole/"));
        run(&mut push).expect_code(1).expect_error_text("ERROR: module is read only");
    }
    fs::write(work.join("m/new.txt"), "news\n").unwrap();
    site.control("trigger", &["whole"]).expect_ok();
    wait(|| site.file("srv/whole/current/new.txt").exists(), || site.log());
    pull(Side::C, &site, "whole");

    // A job that comes is a module, and one that cannot be keeps all as it was.
    site.configure(serve, &(first.clone() + &job("more", &daemon, "m", "")));
    site.control("reload", &[]).expect_ok();
    site.wait_status("more", "success");
    pull(Side::C, &site, "more");
    site.configure(serve, &(first + &job("a]b", &daemon, "m", "")));
    site.control("reload", &[])
        .expect_code(1)
        .expect_error_text("a]b cannot be in the rsyncd.conf of the site");
    pull(Side::C, &site, "more");
    site.signal(Signal::TERM);
    assert_eq!(site.ended(), Some(0), "{}", site.log());
}
