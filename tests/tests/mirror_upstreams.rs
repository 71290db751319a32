//! Upstreams of a site's jobs: checked between runs, left when they are not well, and taken again when they
//! are; and who is told of what becomes of a job.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rsync_e2e::daemon::Module;
use rsync_e2e::{Daemon, Side, Site, Tree, Work};
use rustix::process::Signal;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon that serves a tree with a trace file of this date.
fn upstream(work: &Work, name: &str, date: &str) -> Daemon {
    Tree::new()
        .file("trace", format!("{date}\n"))
        .file("from", name.repeat(1 + usize::from(name == "spare")))
        .write(&work.join(name));
    Daemon::start(Side::C, "", &[Module::new("m", &work.join(name))])
}

fn state(job: &Value, number: usize) -> &str {
    job["upstreams"][number]["state"].as_str().unwrap_or_default()
}

/// Runs the job once more, and waits for its end.
fn run_again(site: &Site, name: &str) -> Value {
    let before = site.job(name)["last_ended"].clone();
    site.control("start", &[name]).expect_ok();
    site.wait_for(name, |job| job["last_ended"] != before && job["progress"].is_null())
}

#[test]
fn an_upstream_that_is_ill_is_left_and_taken_again_when_it_is_well() {
    let work = Work::new();
    let now = "2100-01-01T00:00:00Z";
    let (mut first, spare) = (upstream(&work, "first", now), upstream(&work, "spare", now));
    let jobs = format!(
        "[[job]]\nname = 'a'\nschedule = 'on-demand'\nretry = {{ attempts = 1 }}\n\
         upstreams = [{{ url = '{}/' }}, {{ url = '{}/', priority = 1 }}]\n\
         health = {{ l7 = 'trace:m/trace:2h', interval = '300ms', timeout = '60s', fall = 2, rise = 2 }}\n",
        first.url("m"),
        spare.url("m"),
    );
    let mut site = Site::new("", &jobs);
    site.start();
    site.wait_for("a", |job| state(job, 0) == "up" && state(job, 1) == "up");
    let run = run_again(&site, "a");
    assert_eq!(
        (&run["status"], &run["upstream"]),
        (&"success".into(), &format!("{}/", first.url("m")).into())
    );

    first.signal(Signal::KILL);
    let ill = site.wait_for("a", |job| state(job, 0) == "down");
    assert!(ill["upstreams"][0]["reason"].as_str().unwrap().contains("cannot connect"), "{ill}");
    let run = run_again(&site, "a");
    assert_eq!(
        (&run["status"], &run["upstream"]),
        (&"success".into(), &format!("{}/", spare.url("m")).into())
    );
    assert_eq!(fs::read_to_string(site.file("srv/a/from")).unwrap(), "sparespare");
    let listed = site.control("list", &[]).expect_ok().stdout.clone();
    assert!(String::from_utf8_lossy(&listed).contains("is down (cannot connect"), "the list says why");
    let (_, metrics) = site.get(0, "/metrics", "");
    let up = |daemon: &Daemon| format!("upstream_up{{job=\"a\",upstream=\"{}/\"}}", daemon.url("m"));
    assert!(metrics.contains(&format!("{} 0", up(&first))), "{metrics}");
    assert!(metrics.contains(&format!("{} 1", up(&spare))), "{metrics}");
    assert!(metrics.contains("upstream_lag_seconds{job=\"a\"") && metrics.contains("free_bytes{job=\"a\"}"));
    let (_, page) = site.get(0, "/mirrors/a", "");
    assert!(page.contains("<h2>Upstreams</h2>") && page.contains(">down</span>"), "{page}");

    first.restart();
    site.wait_for("a", |job| state(job, 0) == "up");
    let run = run_again(&site, "a");
    assert_eq!(run["upstream"], Value::from(format!("{}/", first.url("m"))), "back to the better one");

    // It answers, and what it serves is old.
    fs::write(work.join("first/trace"), "2001-01-01T00:00:00Z\n").unwrap();
    let stale = site.wait_for("a", |job| state(job, 0) == "down");
    assert!(stale["upstreams"][0]["reason"].as_str().unwrap().contains("old, the limit is 2h"), "{stale}");
    assert_eq!(stale["upstreams"][0]["date"], "2001-01-01T00:00:00Z");
}

#[test]
fn an_upstream_of_which_nothing_can_be_listed_is_left_for_the_next_one() {
    let work = Work::new();
    let (first, spare) = (upstream(&work, "first", "0"), upstream(&work, "spare", "0"));
    let jobs = format!(
        "[[job]]\nname = 'a'\nretry = {{ attempts = 1 }}\n\
         upstreams = [{{ url = '{}/' }}, {{ url = '{}/', priority = 1 }}]\n",
        first.url("m/gone"),
        spare.url("m"),
    );
    let mut site = Site::new("", &jobs);
    site.start();
    let run = site.wait_status("a", "success");
    assert_eq!(run["upstream"], Value::from(format!("{}/", spare.url("m"))));
    let log = site.control("logs", &["a"]).expect_ok().stdout.clone();
    let log = String::from_utf8_lossy(&log).into_owned();
    assert!(log.contains("nothing of it can be read") && log.contains("the next upstream is tried"), "{log}");
}

/// Takes one request after the other, and answers each with the next status.
fn receiver(statuses: &'static [u16]) -> (String, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, requests) = channel();
    std::thread::spawn(move || {
        for status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            sender.send(read_request(&mut stream)).unwrap();
            write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        }
    });
    (url, requests)
}

fn read_request(stream: &mut TcpStream) -> (String, String) {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.unwrap().parse().unwrap() {
                return (head.to_owned(), body.to_owned());
            }
        }
        let count = stream.read(&mut part).unwrap();
        assert_ne!(count, 0, "{text}");
        bytes.extend(&part[..count]);
    }
}

/// What another program computes.
fn signature(secret: &str, body: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["dgst", "-sha256", "-hex", "-hmac", secret]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    said.trim().rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn changes_are_told_by_a_signed_request_and_by_a_program() {
    let work = Work::new();
    let daemon = upstream(&work, "first", "0");
    // The first one fails and is made again.
    let (url, requests) = receiver(&[503, 200, 200, 200]);
    let settings = format!(
        "notify = {{ url = '{url}', secret = 's3cret', command = ['sh', '-c', 'cat >> {}'] }}",
        work.join("told").display()
    );
    let job = |module: &str, more: &str| {
        format!(
            "[[job]]\nname = 'a'\nupstream = '{}/'\nschedule = 'on-demand'\nretry = {{ attempts = 1 }}\n{more}",
            daemon.url(module)
        )
    };
    let mut site = Site::new(&settings, &job("nowhere", ""));
    site.start();
    run_again(&site, "a");
    let next = || requests.recv_timeout(PATIENCE).unwrap();
    let (first, (head, body)) = (next(), next());
    assert_eq!(first.1, body, "the same again");
    assert!(head.contains(&format!("x-hub-signature-256: sha256={}", signature("s3cret", &body))), "{head}");
    let message: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&message["job"], &message["before"]), (&"a".into(), &"well".into()));
    assert_eq!((&message["state"], &message["site"]), (&"failing".into(), &"Test site".into()));
    assert!(message["message"].as_str().unwrap().contains("Unknown module"), "{message}");
    site.configure(&settings, &job("nowhere", "stale_after = '1ms'\n"));
    site.control("reload", &[]).expect_ok();
    let message: Value = serde_json::from_str(&next().1).unwrap();
    assert_eq!((&message["before"], &message["state"]), (&"failing".into(), &"stale".into()));
    site.configure(&settings, &job("m", ""));
    site.control("reload", &[]).expect_ok();
    site.control("start", &["a"]).expect_ok();
    let message: Value = serde_json::from_str(&next().1).unwrap();
    assert_eq!((&message["before"], &message["state"]), (&"stale".into(), &"well".into()));
    rsync_e2e::site::wait(
        || fs::read_to_string(work.join("told")).unwrap_or_default().lines().count() == 3,
        || fs::read_to_string(work.join("told")).unwrap_or_default(),
    );
}
