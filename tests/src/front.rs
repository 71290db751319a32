//! `rsync-mirror proxy` in front of daemons, stopped with the test.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use rustix::process::Signal;
use serde_json::Value;

use crate::daemon::free_port;
use crate::outcome::{Outcome, PATIENCE, Running};
use crate::program::mirror;
use crate::web;
use crate::work::Work;

/// A running proxy.
#[derive(Debug)]
pub struct Front {
    running: Option<Running>,
    port: u16,
    http: u16,
    work: Work,
}

impl Front {
    /// Starts one; `front` are lines for `[proxy]`, `rest` what follows that section. The logs are `access`
    /// and `error` in its directory.
    ///
    /// # Panics
    /// If it does not listen in time.
    #[must_use]
    #[track_caller]
    pub fn start(front: &str, rest: &str) -> Self {
        let work = Work::new();
        let mut failures = String::new();
        // Another test may take a port between our look and the proxy's bind.
        for _ in 0..5 {
            let (port, http) = (free_port(), free_port());
            write_config(&work, port, http, front, rest);
            let mut running = Running::start(&mut command(&work));
            let deadline = Instant::now() + PATIENCE;
            while running.is_running() && Instant::now() < deadline {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { running: Some(running), port, http, work };
                }
                thread::sleep(Duration::from_millis(5));
            }
            running.kill();
            failures = running.finish().stderr.to_string();
        }
        panic!("no proxy: {failures}");
    }

    /// What it says when it cannot start.
    ///
    /// # Panics
    /// If it does start.
    #[track_caller]
    pub fn refused(front: &str, rest: &str) -> Outcome {
        let work = Work::new();
        write_config(&work, free_port(), free_port(), front, rest);
        crate::outcome::run(&mut command(&work))
    }

    /// The port for clients.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of `path`, beginning with a module.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        crate::daemon::url(self.port, path)
    }

    /// A file in its directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// The text of a file in its directory, as far as it is written.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// Gives it another configuration, which it has not read yet.
    pub fn rewrite(&self, front: &str, rest: &str) {
        write_config(&self.work, self.port, self.http, front, rest);
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If it has ended.
    pub fn signal(&self, signal: Signal) {
        self.running.as_ref().unwrap().signal_leader(signal);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it was waited for before.
    pub fn finish(&mut self) -> Outcome {
        self.running.take().unwrap().finish()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.running.as_mut().is_some_and(Running::is_running)
    }

    /// The status and the body of an answer over HTTP.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    #[track_caller]
    pub fn http(&self, method: &str, path: &str) -> (u16, String) {
        let answer = web::request(&format!("127.0.0.1:{}", self.http), method, path, "", "");
        (answer.status(), answer.body)
    }

    /// Its status.
    ///
    /// # Panics
    /// If it does not tell.
    #[must_use]
    #[track_caller]
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.http("GET", "/status").1).unwrap()
    }

    /// The state of an upstream.
    ///
    /// # Panics
    /// If there is no such upstream.
    #[must_use]
    #[track_caller]
    pub fn state(&self, upstream: &str) -> String {
        let status = self.status();
        let found = status["upstreams"].as_array().unwrap().iter().find(|found| found["name"] == upstream);
        found.unwrap()["state"].as_str().unwrap().to_owned()
    }

    /// The value of a metric, given with its labels; 0 if it is not there.
    ///
    /// # Panics
    /// If it is no number.
    #[must_use]
    #[track_caller]
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.http("GET", "/metrics").1;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap())
    }

    /// Connects as a client that has heard the greeting.
    ///
    /// # Panics
    /// If there is no greeting.
    #[must_use]
    #[track_caller]
    pub fn visit(&self) -> Visitor {
        self.visit_with("")
    }

    /// The same with a header of the PROXY protocol, or anything else, said first.
    ///
    /// # Panics
    /// If there is no greeting.
    #[must_use]
    #[track_caller]
    pub fn visit_with(&self, header: &str) -> Visitor {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(header.as_bytes()).unwrap();
        let mut visitor = Visitor { stream: BufReader::new(stream), greeting: String::new() };
        visitor.greeting = visitor.line();
        visitor
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.kill();
            running.finish();
        }
    }
}

/// A client that speaks by hand.
#[derive(Debug)]
pub struct Visitor {
    stream: BufReader<TcpStream>,
    /// The first line it heard.
    pub greeting: String,
}

impl Visitor {
    /// Says something; what cannot be sent any more is lost, as for any client.
    pub fn say(&mut self, text: &str) {
        let _ = self.stream.get_mut().write_all(text.as_bytes());
    }

    /// The next line without its end; empty when there is no more.
    ///
    /// # Panics
    /// If nothing comes.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("no line comes"),
            _ => {}
        }
        String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned()
    }

    /// Breaks the connection instead of closing it.
    ///
    /// # Panics
    /// If it is broken already.
    pub fn reset(self) {
        set_socket_linger(self.stream.get_ref(), Some(Duration::ZERO)).unwrap();
    }

    /// Everything up to the end.
    #[track_caller]
    pub fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // A connection that is reset is at its end too.
        let _ = self.stream.read_to_end(&mut rest);
        String::from_utf8_lossy(&rest).into_owned()
    }
}

fn write_config(work: &Work, port: u16, http: u16, front: &str, rest: &str) {
    let text = format!(
        "[proxy]\nlisten = \"127.0.0.1:{port}\"\nlisten_http = \"127.0.0.1:{http}\"\naccess_log = {:?}\n\
         error_log = {:?}\n{front}\n{rest}\n",
        work.join("access"),
        work.join("error"),
    );
    fs::write(work.join("proxy.toml"), text).unwrap();
}

fn command(work: &Work) -> Command {
    let mut command = Command::new(mirror());
    command.arg("proxy").arg("--config").arg(work.join("proxy.toml"));
    command
}
