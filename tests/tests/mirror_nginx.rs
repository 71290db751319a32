//! The sample for nginx, served by nginx (spec 11 §1.1).

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rsync_e2e::daemon::{Module, free_port};
use rsync_e2e::web::{self, Answer};
use rsync_e2e::{Daemon, Side, Site, Tree, Work, wait_until};

/// nginx with the sample, whose ports and paths are ours.
struct Nginx {
    child: Child,
    port: u16,
    work: Work,
}

impl Nginx {
    fn start(root: &Path, site: &str) -> Self {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/nginx/mirror.conf");
        let sample = fs::read_to_string(sample).unwrap();
        // Another test may take the port between our look and the start.
        for _ in 0..5 {
            let (work, port) = (Work::new(), free_port());
            let place = work.path().display();
            let sample = sample
                .replace("listen 80", &format!("listen 127.0.0.1:{port}"))
                .replace("/srv/mirror;", &format!("{};", root.display()))
                .replace("127.0.0.1:14242", site);
            let text = format!(
                "daemon off; pid {place}/pid; error_log {place}/error.log; user root; worker_processes 1;\n\
                 events {{ }}\nhttp {{ access_log off; client_body_temp_path {place}/a; proxy_temp_path {place}/b;\n\
                 fastcgi_temp_path {place}/c; uwsgi_temp_path {place}/d; scgi_temp_path {place}/e;\n{sample}}}\n"
            );
            let config = work.join("nginx.conf");
            fs::write(&config, text).unwrap();
            let mut command = Command::new("/usr/sbin/nginx");
            command.arg("-c").arg(&config).arg("-e").arg(work.join("error.log"));
            let mut child = command.stdin(Stdio::null()).spawn().expect("nginx");
            let mut has_ended = false;
            wait_until("nginx", || {
                has_ended = child.try_wait().unwrap().is_some();
                has_ended || TcpStream::connect(("127.0.0.1", port)).is_ok()
            });
            if !has_ended {
                return Self { child, port, work };
            }
        }
        panic!("nginx does not start");
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn get(&self, host: &str, path: &str) -> Answer {
        web::get(&self.address(), path, &format!("Host: {host}\r\n"))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        // It ends its workers itself, and may have ended by itself.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(self.work.join("a"));
    }
}

#[test]
fn nginx_serves_a_mirror_and_its_page_as_the_sample_says() {
    let upstream = Work::new();
    let tree =
        Tree::new().file("edge/a.apk", "a").file(".hidden/secret", "s").random("large.iso", 30_000_000, 3);
    tree.write(&upstream.join("m"));
    let daemon = Daemon::start(Side::C, "", &[Module::new("m", &upstream.join("m"))]);
    let job = format!("[[job]]\nname = 'alpine'\nupstream = '{}/'\n", daemon.url("m"));
    let mut site = Site::new("", &job);
    site.start();
    site.wait_status("alpine", "success");
    let nginx = Nginx::start(&site.file("srv"), &site.address(0));

    assert_eq!(nginx.get("elsewhere.example", "/").head, "", "whoever asks for another host is not answered");
    let mirror = "mirror.example.org";
    let index = nginx.get(mirror, "/alpine/").body;
    assert!(index.contains("large.iso") && index.contains("edge/") && !index.contains(".hidden"), "{index}");
    assert_eq!(nginx.get(mirror, "/alpine/edge/a.apk").body, "a");
    for missing in ["/alpine/nothing", "/alpine/.hidden/secret"] {
        assert_eq!(nginx.get(mirror, missing).status(), 404, "{missing}");
    }
    let ask = || web::begin(&nginx.address(), "/alpine/large.iso", &format!("Host: {mirror}\r\n"));
    let slow = [ask(), ask(), ask()];
    assert!(slow.iter().all(|(_, answer)| answer.status() == 200));
    assert_eq!(ask().1.status(), 503, "a fourth at a time");
    drop(slow);

    let page = nginx.get("status.mirror.example.org", "/").body;
    assert!(page.contains("in sync"), "{page}");
}
