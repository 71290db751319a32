//! Two processes that share a PostgreSQL database: each job runs once, what died is taken over, and what is
//! told to one is obeyed by the other.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::path::Path;

use rsync_e2e::site::wait;
use rsync_e2e::{Postgres, Site, Work};
use rustix::process::Signal;

/// A job that notes when it begins and ends, and whether another run of it is alive, and lasts until its gate
/// exists.
fn job(work: &Work, name: &str, schedule: &str) -> String {
    let path = |name: &str| work.join(name).display().to_string();
    let script = format!(
        "[ -s {own} ] && kill -0 $(cat {own}) && echo {name} >> {twice}; echo $$ > {own}; \
         echo begin {name} >> {log}; while [ -e {log} -a ! -e {gate} ]; do sleep 0.05; done; sleep 0.2; \
         echo end {name} >> {log}; rm {own}",
        own = path(&format!("running-{name}")),
        twice = path("twice"),
        log = path("log"),
        gate = path(&format!("gate-{name}"))
    );
    format!(
        "[[job]]\nname = '{name}'\nschedule = {schedule}\n\
         method = {{ command = {{ program = ['sh', '-c', '{script}'] }} }}\n"
    )
}

/// A site with this lease, which is short where somebody waits for its end.
fn site(server: &Postgres, worker: &str, lease: &str, jobs: &str) -> Site {
    Site::new(&format!("database = '{}'\nworker = '{worker}'\nlease = '{lease}'", server.url()), jobs)
}

fn log(work: &Work) -> Vec<String> {
    let text = fs::read_to_string(work.join("log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits until a run has begun; how many lines it and those before have noted.
fn begun(work: &Work) -> usize {
    wait(|| log(work).last().is_some_and(|line| line.starts_with("begin")), || "nothing begins".to_owned());
    log(work).len()
}

fn open(path: &Path) {
    fs::write(path, "").unwrap();
}

#[test]
fn a_job_runs_at_one_of_two_workers_and_is_taken_over_when_that_one_dies() {
    let (server, work) = (Postgres::start(), Work::new());
    let jobs = job(&work, "a", "{ interval = '1h' }");
    let (mut one, mut two) = (site(&server, "one", "3s", &jobs), site(&server, "two", "3s", &jobs));
    one.start();
    one.wait_status("a", "syncing");
    two.start();
    let seen = two.wait_status("a", "syncing");
    assert_eq!(seen["elsewhere"], "one", "both know who runs it: {seen}");
    assert_eq!(one.job("a")["elsewhere"], serde_json::Value::Null);
    let listed = two.control("list", &[]).expect_ok().stdout.clone();
    assert!(String::from_utf8_lossy(&listed).contains("syncing at one"));
    let told = two.control("start", &["a"]).expect_ok().stdout.clone();
    assert_eq!(String::from_utf8_lossy(&told), "a is running\n");

    let before = begun(&work);
    one.signal(Signal::KILL);
    let _ = one.ended();
    wait(|| log(&work).len() > before, || format!("{:?}\n{}", log(&work), two.log()));
    two.wait_for("a", |job| job["elsewhere"].is_null() && job["status"] == "syncing");
    assert!(two.log().contains("a: one is gone, and its run is made again"), "{}", two.log());
    open(&work.join("gate-a"));
    let done = two.wait_status("a", "success");

    // The one that comes back knows what happened meanwhile, and has nothing to do.
    one.start();
    let known = one.wait_status("a", "success");
    assert_eq!((&known["last_ended"], &known["next"]), (&done["last_ended"], &done["next"]));
}

#[test]
fn a_worker_that_was_frozen_learns_that_it_lost_its_job_and_writes_nothing() {
    let (server, work) = (Postgres::start(), Work::new());
    let jobs = job(&work, "a", "{ interval = '1h' }");
    let (mut one, mut two) = (site(&server, "one", "3s", &jobs), site(&server, "two", "3s", &jobs));
    one.start();
    one.wait_status("a", "syncing");
    let before = begun(&work);
    one.signal(Signal::STOP);
    two.start();
    wait(|| log(&work).len() > before, || format!("{:?}\n{}", log(&work), two.log()));
    one.signal(Signal::CONT);
    wait(|| one.log().contains("taken over by somebody else"), || one.log());
    one.wait_for("a", |job| job["elsewhere"] == "two");
    assert!(two.job("a")["elsewhere"].is_null());
    open(&work.join("gate-a"));
    let (first, second) = (one.wait_status("a", "success"), two.wait_status("a", "success"));
    assert_eq!(first["last_ended"], second["last_ended"], "the run that counts is one");
}

#[test]
fn what_one_worker_is_told_the_other_obeys() {
    let (server, work) = (Postgres::start(), Work::new());
    let jobs = job(&work, "a", "{ interval = '1h' }");
    let (mut one, mut two) = (site(&server, "one", "6s", &jobs), site(&server, "two", "6s", &jobs));
    one.start();
    one.wait_status("a", "syncing");
    two.start();
    two.wait_for("a", |job| job["elsewhere"] == "one");
    let before = begun(&work);
    two.control("restart", &["a"]).expect_ok();
    wait(|| log(&work).len() > before, || format!("{:?}\n{}", log(&work), two.log()));
    two.control("stop", &["a"]).expect_ok();
    one.wait_status("a", "paused");
    two.wait_status("a", "paused");
    one.control("start", &["a"]).expect_ok();
    one.wait_status("a", "syncing");
    two.wait_for("a", |job| job["status"] == "syncing" && job["elsewhere"] == "one");
    open(&work.join("gate-a"));
    for site in [&one, &two] {
        site.wait_status("a", "success");
    }
    assert_eq!(log(&work).iter().filter(|line| *line == "end a").count(), 1, "{:?}", log(&work));
    assert!(!work.join("twice").exists());
}

#[test]
fn two_workers_share_many_jobs_and_none_of_them_runs_twice_at_a_time() {
    let (server, work) = (Postgres::start(), Work::new());
    let names: Vec<String> = (0..6).map(|number| format!("j{number}")).collect();
    names.iter().for_each(|name| open(&work.join(format!("gate-{name}"))));
    let jobs: String = names.iter().map(|name| job(&work, name, "{ continuous = '1s' }")).collect();
    let jobs = format!("[limits]\ntotal = 3\n{jobs}");
    let (mut one, mut two) = (site(&server, "one", "6s", &jobs), site(&server, "two", "6s", &jobs));
    one.start();
    two.start();
    let at = |site: &Site| site.log().matches(": started").count();
    wait(
        || log(&work).len() > 40 && at(&one) > 2 && at(&two) > 2,
        || format!("{}\n{}", one.log(), two.log()),
    );
    for site in [&mut one, &mut two] {
        site.signal(Signal::TERM);
        assert_eq!(site.ended(), Some(0), "{}", site.log());
    }
    for name in &names {
        let ended = format!("end {name}");
        assert!(log(&work).iter().filter(|line| **line == ended).count() > 1, "{name} ran");
    }
    assert!(!work.join("twice").exists(), "{}", fs::read_to_string(work.join("twice")).unwrap_or_default());
}

#[test]
fn a_database_that_cannot_be_used_is_told_without_its_password() {
    let site = Site::new("database = 'postgres://me:s3cret@127.0.0.1:1/mirror'", "");
    let config = site.file("mirrors.toml");
    let mut command = std::process::Command::new(rsync_e2e::program::mirror());
    let outcome = rsync_e2e::run(command.arg("run").arg("--config").arg(&config));
    outcome.expect_code(74).expect_error_text("database mirror at 127.0.0.1");
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert!(!said.contains("s3cret"), "{said}");
    let site = Site::new("database = 'mysql://me:s3cret@host/mirror'", "");
    let mut command = std::process::Command::new(rsync_e2e::program::mirror());
    let outcome = rsync_e2e::run(command.arg("check").arg("--config").arg(site.file("mirrors.toml")));
    outcome.expect_code(78).expect_error_text("mysql:// is no database");
}
