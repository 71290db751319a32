//! A C rsync daemon on a free port.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A daemon with a directory of its own; ends when dropped.
pub(crate) struct Daemon {
    root: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl Daemon {
    /// Writes the configuration, with `ROOT` replaced by the directory.
    pub(crate) fn prepare(modules: &str) -> Self {
        let root = tempfile::tempdir().expect("temporary directory");
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("port").port();
        let daemon = Self { root, port, child: None };
        let text = format!("use chroot = no\nreverse lookup = no\n{modules}");
        let text = text.replace("ROOT", daemon.root.path().to_str().expect("utf-8"));
        daemon.write("rsyncd.conf", text.as_bytes(), 0o644);
        daemon.write("pub/.keep", b"", 0o644);
        std::fs::remove_file(daemon.root.path().join("pub/.keep")).expect("remove");
        daemon
    }

    /// Writes a file below the directory.
    pub(crate) fn write(&self, name: &str, content: &[u8], mode: u32) {
        let path = self.root.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("create directory");
        std::fs::write(&path, content).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    }

    /// Starts the daemon and waits until it listens.
    pub(crate) fn start(mut self) -> Self {
        let child = Command::new("/usr/bin/rsync")
            .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
            .arg(format!("--port={}", self.port))
            .arg(format!("--config={}", self.config().display()))
            .stdin(Stdio::null())
            .spawn()
            .expect("the C rsync starts");
        self.child = Some(child);
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return self;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        unreachable!("the daemon does not listen");
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.root.path().join("rsyncd.conf")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("rsync://127.0.0.1:{}/{path}", self.port)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
