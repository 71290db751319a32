//! Running our daemon: started by managers, told to read again, asked for numbers, logging JSON.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rsync_e2e::daemon::{Module, free_port, url};
use rsync_e2e::program::require_root;
use rsync_e2e::{Daemon, Side, Work, wait_until, web};
use rustix::process::{Pid, Signal, kill_process};

/// A directory with a file and a configuration that serves it as `m`.
fn served(globals: &str) -> (Work, PathBuf) {
    let work = Work::new();
    fs::create_dir(work.join("root")).unwrap();
    fs::write(work.join("root/file"), "content").unwrap();
    let (root, log) = (work.join("root"), work.join("log"));
    let text = format!(
        "log file = {}\nreverse lookup = no\nuid = 0\ngid = 0\n{globals}\n[m]\npath = {}\n",
        log.display(),
        root.display()
    );
    let config = work.join("rsyncd.conf");
    fs::write(&config, text).unwrap();
    (work, config)
}

fn list(port: u16, path: &str) -> Output {
    Command::new("/usr/bin/rsync").arg(url(port, path)).output().unwrap()
}

fn ask(port: u16, path: &str) -> String {
    let answer = web::get(&format!("127.0.0.1:{port}"), path, "");
    format!("{}\r\n\r\n{}", answer.head, answer.body)
}

/// A process that is killed with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn numbers_tell_what_happened() {
    let port = free_port();
    let work = Work::new();
    fs::write(work.join("file"), vec![b'x'; 100_000]).unwrap();
    let globals = format!("metrics address = 127.0.0.1:{port}");
    let daemon = Daemon::start(Side::Ours, &globals, &[Module::new("m", work.path())]);
    let pulled =
        Command::new("/usr/bin/rsync").arg(daemon.url("m/file")).arg(work.join("got")).status().unwrap();
    assert!(pulled.success());
    assert_eq!(list(daemon.port(), "nosuch").status.code(), Some(5));
    let number = |name: &str| -> Option<u64> {
        let text = ask(port, "/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().parse().unwrap())
    };
    wait_until("the end of a session", || {
        number("rsyncd_sessions_ended_total{module=\"m\",code=\"0\"}") == Some(1)
    });
    assert!(number("rsyncd_sent_bytes_total{module=\"m\"}").unwrap() > 100_000);
    assert_eq!(number("rsyncd_sessions{module=\"m\"}"), Some(0));
    assert_eq!(number("rsyncd_refusals_total{reason=\"unknown module\"}"), Some(1));
    assert_eq!(number("rsyncd_config_usable"), Some(1));
    assert!(ask(port, "/metrics").contains("application/openmetrics-text"));
    let health = ask(port, "/health");
    assert!(health.starts_with("HTTP/1.1 200 OK\r\n") && health.ends_with("ok\n"), "{health}");
    assert!(ask(port, "/other").starts_with("HTTP/1.1 404"));
}

#[test]
fn a_session_in_json_is_about_somebody() {
    let work = Work::new();
    fs::write(work.join("file"), "x").unwrap();
    let module = Module::new("m", work.path()).line("transfer logging = yes");
    let daemon = Daemon::start(Side::Ours, "log style = json\nreverse lookup = no", &[module]);
    let pulled =
        Command::new("/usr/bin/rsync").arg(daemon.url("m/file")).arg(work.join("got")).status().unwrap();
    assert!(pulled.success());
    wait_until("the last line", || daemon.log().contains("sent "));
    let about: Vec<serde_json::Value> =
        daemon.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let transfer = about.iter().find(|line| line["message"].as_str().unwrap().starts_with("send ")).unwrap();
    assert_eq!((&transfer["module"], &transfer["address"]), (&"m".into(), &"127.0.0.1".into()));
    let connect = about.iter().find(|line| line["message"].as_str().unwrap().starts_with("connect from"));
    assert!(about.iter().any(|line| line["message"] == "building file list"));
    assert!(connect.unwrap()["connection"].is_u64() && transfer["level"] == "info");
}

#[test]
fn a_service_manager_hands_over_sockets_and_is_told_what_happens() {
    let (work, config) = served("");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let manager = UnixDatagram::bind(work.join("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let told = || {
        let mut message = [0; 200];
        let count = manager.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..count]).into_owned()
    };
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";
    let mut daemon = Running(
        Command::new("/bin/sh")
            .args(["-c", script, "sh"])
            .args(Side::Ours.daemon())
            .arg(format!("--config={}", config.display()))
            .env("NOTIFY_SOCKET", work.join("notify"))
            .stdin(OwnedFd::from(listener))
            .spawn()
            .unwrap(),
    );
    assert_eq!(told().trim(), "READY=1");
    assert!(list(port, "m/").status.success());
    let pid = Pid::from_child(&daemon.0);
    fs::write(&config, "[broken").unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    assert!(told().contains("RELOADING=1"));
    assert_eq!(told().trim(), "READY=1");
    let log = || fs::read_to_string(work.join("log")).unwrap();
    wait_until("a complaint", || log().contains("the last usable one stays in force"));
    assert!(list(port, "m/").status.success(), "{}", log());
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(told().trim(), "STOPPING=1");
    assert!(daemon.0.wait().unwrap().success());
}

#[test]
fn a_client_at_standard_input_is_served_alone() {
    let (work, config) = served(&format!("pid file = {}", "/nonexistent/pid"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = std::thread::spawn(move || list(port, "m/"));
    let (stream, _) = listener.accept().unwrap();
    let mut daemon = Running(
        Command::new(&Side::Ours.daemon()[0])
            .arg(format!("--config={}", config.display()))
            .stdin(OwnedFd::from(stream))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let output = client.join().unwrap();
    let log = fs::read_to_string(work.join("log")).unwrap_or_default();
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("file"),
        "{output:?}\n{log}"
    );
    assert!(daemon.0.wait().unwrap().success());
    assert!(log.contains("connect from UNDETERMINED (127.0.0.1)"), "{log}");
}

#[test]
fn a_start_in_the_background_waits_until_the_daemon_serves_or_cannot() {
    for words in [Side::Ours.daemon(), vec![Side::Ours.rsync(), "--daemon".into()]] {
        let work = Work::new();
        let pid_file = work.join("pid");
        let (_served, config) = served(&format!("pid file = {}", pid_file.display()));
        let start = |config: &PathBuf, port: u16| {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).arg(format!("--config={}", config.display()));
            command.args(["--address=127.0.0.1".to_owned(), format!("--port={port}")]).output().unwrap()
        };
        let port = free_port();
        let output = start(&config, port);
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
        let pid = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
        assert!(list(port, "m/").status.success(), "the one that started it has ended");

        let (_other, config) = served("");
        let output = start(&config, port);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(10), "{errors}");
        assert!(errors.contains(&format!("unable to bind any inbound sockets on port {port}")), "{errors}");

        fs::write(&config, "[m\n").unwrap();
        let output = start(&config, free_port());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains("Failed to parse config file"), "{errors}");
        kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
        wait_until("the end of the daemon", || !pid_file.exists());
    }
}

#[test]
fn a_reload_with_a_root_for_connections_reads_what_lies_outside_of_it() {
    require_root();
    let work = Work::new();
    for (name, text) in [("one/m/first", "1"), ("two/m/second", "2")] {
        fs::create_dir_all(work.join(name).parent().unwrap()).unwrap();
        fs::write(work.join(name), text).unwrap();
    }
    let globals = |root: &str| format!("reverse lookup = no\ndaemon chroot = {}", work.join(root).display());
    let module = || [Module::new("m", "/m".as_ref())];
    let daemon = Daemon::start(Side::Ours, &globals("one"), &module());
    let listed = || String::from_utf8_lossy(&list(daemon.port(), "m/").stdout).into_owned();
    assert!(listed().contains("first"), "{}", daemon.log());
    for (root, name, readings) in [("two", "second", 1), ("nosuch", "", 2), ("one", "first", 3)] {
        daemon.configure(&globals(root), &module());
        kill_process(Pid::from_raw(daemon.pid().cast_signed()).unwrap(), Signal::HUP).unwrap();
        wait_until("a reload", || {
            daemon.log().matches("reading the configuration again").count() == readings
        });
        let shown = listed();
        assert_eq!((shown.contains(name), shown.is_empty()), (true, name.is_empty()), "{}", daemon.log());
    }
    let lost =
        format!("daemon chroot(\"{}\") failed: No such file or directory (2)", work.join("nosuch").display());
    assert!(daemon.log().contains(&lost), "{}", daemon.log());
}

#[test]
fn a_check_tells_every_problem_and_what_is_in_effect() {
    let (work, config) = served("nonsense = 1\nlog style = xml");
    let check = |config: &PathBuf| {
        let mut words = Command::new(&Side::Ours.daemon()[0]);
        words.arg("--check-config").arg(format!("--config={}", config.display())).output().unwrap()
    };
    let output = check(&config);
    let (errors, effective) =
        (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    let place = |line: usize| format!("{}:{line}: ", config.display());
    assert!(
        errors.contains(&(place(5) + "warning: Unknown Parameter encountered: \"nonsense\"")),
        "{errors}"
    );
    assert!(errors.contains(&(place(6) + "error: \"log style\" is text or json, not xml")), "{errors}");
    assert_eq!(output.status.code(), Some(1));
    assert!(effective.contains(&format!("[m]\npath = {}\n", work.join("root").display())), "{effective}");
    assert!(effective.contains("# Sessions run in worker processes; "), "{effective}");
    let (_work, sound) = served("");
    let output = check(&sound);
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}
