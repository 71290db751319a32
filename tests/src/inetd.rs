//! A super-server such as xinetd: it listens, and starts a daemon for every connection.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// A running super-server.
#[derive(Debug)]
pub struct Inetd {
    port: u16,
    is_over: Arc<AtomicBool>,
    children: Arc<Mutex<Vec<Child>>>,
    thread: Option<JoinHandle<()>>,
}

impl Inetd {
    /// Starts one on a free port of this machine; `words` are the server and its arguments, whose standard
    /// input, output and error output are the connection (`wait = no`).
    ///
    /// # Panics
    /// If it cannot listen.
    #[must_use]
    pub fn start(words: Vec<PathBuf>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_over, children) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (ended, started) = (Arc::clone(&is_over), Arc::<Mutex<Vec<Child>>>::clone(&children));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let stream = OwnedFd::from(stream.unwrap());
                let copy = || Stdio::from(stream.try_clone().unwrap());
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]).stdin(copy()).stdout(copy()).stderr(copy());
                started.lock().unwrap().push(command.spawn().unwrap());
            }
        });
        Self { port, is_over, children, thread: Some(thread) }
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills every daemon that it has started.
    ///
    /// # Panics
    /// If one cannot be waited for.
    pub fn kill_servers(&self) {
        for child in self.children.lock().unwrap().iter_mut() {
            // It may have ended by itself.
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    /// How the daemons ended that it has started: their exit codes, `None` for one that was killed.
    ///
    /// # Panics
    /// If one cannot be waited for.
    #[must_use]
    pub fn codes(&self) -> Vec<Option<i32>> {
        self.children.lock().unwrap().iter_mut().map(|child| child.wait().unwrap().code()).collect()
    }
}

impl Drop for Inetd {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // It waits for a connection.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.kill_servers();
    }
}
