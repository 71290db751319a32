//! A daemon of ours on a free port, with a module tree in a temporary directory.
#![allow(dead_code, reason = "not every suite uses everything")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rsync_daemon::{Daemon, LogTarget};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// A daemon; it stops when it is dropped.
pub(crate) struct TestDaemon {
    pub(crate) address: SocketAddr,
    pub(crate) place: TempDir,
    log: Arc<Mutex<Vec<u8>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TestDaemon {
    /// Starts with `config`, in which `DIR` stands for the temporary directory; `DIR/srv` has files.
    pub(crate) fn start(config: &str) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let root = place.path().join("srv");
        fs::create_dir_all(root.join("sub/.hidden")).expect("directories");
        fs::write(root.join("a1"), "hello\n").expect("file");
        fs::write(root.join("a 2"), "space\n").expect("file");
        fs::write(root.join("sub/b"), vec![b'b'; 200_000]).expect("file");
        fs::write(root.join("sub/.hidden/c"), "").expect("file");
        std::os::unix::fs::symlink("a1", root.join("link")).expect("link");
        for dir in [place.path(), &root] {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("mode");
        }
        fs::write(place.path().join("secrets"), "alice:secret\nbob:other\n").expect("secrets");
        fs::set_permissions(place.path().join("secrets"), fs::Permissions::from_mode(0o600)).expect("mode");
        let path = place.path().join("rsyncd.conf");
        let config = config.replace("DIR", place.path().to_str().expect("text"));
        fs::write(&path, format!("reverse lookup = no\n{config}")).expect("config");
        let (log, logged) = shared_log();
        let (stop, stopped) = oneshot::channel();
        let (ready, address) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(async move {
                let daemon = Daemon::from_file(path)
                    .address("127.0.0.1")
                    .port(0)
                    .log(LogTarget::Writer(log))
                    .grace(Duration::from_millis(200))
                    .bind()
                    .expect("a daemon");
                ready.send(daemon.local_addresses()[0]).expect("the test waits");
                let stop = async {
                    // A dropped sender stops it as well.
                    let _ = stopped.await;
                };
                daemon.run(stop).await;
            });
        });
        let address = address.recv().expect("the daemon starts");
        Self { address, place, log: logged, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.place.path().join("srv")
    }

    /// Everything logged so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().expect("unpoisoned")).into_owned()
    }

    /// Waits until the log says `text`.
    pub(crate) fn expect_log(&self, text: &str) {
        let mut patience = 1200;
        while patience > 0 && !self.log().contains(text) {
            std::thread::sleep(Duration::from_millis(50));
            patience -= 1;
        }
        assert!(self.log().contains(text), "{text:?} is not in the log:\n{}", self.log());
    }

    /// Connects a client that speaks for itself.
    pub(crate) fn raw(&self) -> RawClient {
        let stream = TcpStream::connect(self.address).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("timeout");
        RawClient { stream }
    }

    /// Tells the daemon to stop and waits until it has.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the daemon ends in order");
        }
    }
}

impl Drop for TestDaemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A failed test has said why already.
            let _ = thread.join();
        }
    }
}

type SharedLog = (Arc<Mutex<dyn Write + Send>>, Arc<Mutex<Vec<u8>>>);

struct Tape(Arc<Mutex<Vec<u8>>>);

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("unpoisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn shared_log() -> SharedLog {
    let tape = Arc::new(Mutex::new(Vec::new()));
    (Arc::new(Mutex::new(Tape(Arc::clone(&tape)))), tape)
}

/// A client made by hand.
pub(crate) struct RawClient {
    stream: TcpStream,
}

/// The greeting of a current client.
pub(crate) const GREETING: &str = "@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\n";

impl RawClient {
    pub(crate) fn says(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).expect("written");
        self
    }

    /// Reads exactly these bytes.
    pub(crate) fn hears(&mut self, expected: impl AsRef<[u8]>) -> &mut Self {
        let expected = expected.as_ref();
        let heard = self.reads(expected.len());
        assert_eq!(heard.escape_ascii().to_string(), expected.escape_ascii().to_string());
        self
    }

    pub(crate) fn reads(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).expect("as many bytes");
        bytes
    }

    pub(crate) fn reads_line(&mut self) -> String {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.extend(self.reads(1));
        }
        String::from_utf8(line).expect("text")
    }

    /// Exchanges greetings and asks for a module.
    pub(crate) fn asks_for(&mut self, module: &str) -> &mut Self {
        self.greets(GREETING).says(format!("{module}\n"))
    }

    pub(crate) fn greets(&mut self, greeting: &str) -> &mut Self {
        self.says(greeting).hears(GREETING)
    }

    /// The daemon closes without another byte.
    pub(crate) fn hears_the_end(&mut self) {
        let rest = self.reads_to_end();
        assert_eq!(rest.escape_ascii().to_string(), "");
    }

    pub(crate) fn reads_to_end(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let result = self.stream.read_to_end(&mut rest);
        assert!(result.is_ok(), "{result:?} after {:?}", rest.escape_ascii().to_string());
        rest
    }
}
