//! The tunasync article (spec 11 §1.3): its `manager.conf` and `worker-centos.conf` as they are but for
//! directories, ports and the upstream, with our manager, worker and control program.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rsync_e2e::daemon::{Module, free_port};
use rsync_e2e::site::wait;
use rsync_e2e::tls::Certificates;
use rsync_e2e::{Daemon, Outcome, Side, Tree, Work, program, run};
use serde_json::Value;

/// A manager and a worker, with what they mirror.
struct Article {
    work: Work,
    upstream: Daemon,
    manager_port: u16,
    worker_port: u16,
    manager: Option<Child>,
    worker: Option<Child>,
}

impl Article {
    fn new() -> Self {
        let work = Work::new();
        Tree::new().file("a.txt", "one\n").random("dir/b.bin", 70_000, 7).write(&work.join("m"));
        Tree::new().random("large.bin", 30_000_000, 1).write(&work.join("slow"));
        let modules = [Module::new("m", &work.join("m")), Module::new("slow", &work.join("slow"))];
        let upstream = Daemon::start(Side::C, "", &modules);
        for name in ["tunasync", "tunasynctl"] {
            std::os::unix::fs::symlink(program::mirror(), work.join(name)).unwrap();
        }
        let (manager_port, worker_port) = (free_port(), free_port());
        let article = Self { work, upstream, manager_port, worker_port, manager: None, worker: None };
        article.configure_manager("", "");
        article.configure("", &article.centos("m", ""));
        article
    }

    fn configure_manager(&self, cert: &str, key: &str) {
        let text = format!(
            "debug = false\n\n[server]\naddr = \"127.0.0.1\"\nport = {}\nssl_cert = \"{cert}\"\nssl_key = \"{key}\"\n\n\
             [files]\ndb_type = \"bolt\"\ndb_file = \"{}\"\nca_cert = \"\"\n",
            self.manager_port,
            self.work.join("manager.db").display()
        );
        fs::write(self.work.join("manager.conf"), text).unwrap();
    }

    /// Writes `worker.conf` with `global` in its first table, and these mirrors.
    fn configure(&self, global: &str, mirrors: &str) {
        let here = self.work.path().display();
        let text = format!(
            "[global]\nname = \"centos_worker\"\nlog_dir = \"{here}/log/{{{{.Name}}}}\"\n\
             mirror_dir = \"{here}/mirrors\"\ninterval = 1440\n{global}\n\n\
             [manager]\napi_base = \"http://localhost:{}\"\ntoken = \"some_token\"\nca_cert = \"\"\n\n\
             [cgroup]\nenable = false\nbase_path = \"/sys/fs/cgroup\"\ngroup = \"tunasync\"\n\n\
             [server]\nhostname = \"localhost\"\nlisten_addr = \"127.0.0.1\"\nlisten_port = {}\n\
             ssl_cert = \"\"\nssl_key = \"\"\n\n{mirrors}\n\
             [x_rsync_mirror]\nstate_dir = \"{here}/state\"\n",
            self.manager_port, self.worker_port
        );
        fs::write(self.work.join("worker.conf"), text).unwrap();
    }

    fn centos(&self, module: &str, more: &str) -> String {
        format!(
            "[[mirrors]]\nname = \"centos\"\nprovider = \"rsync\"\nupstream = \"{}/\"\nuse_ipv6 = false\n{more}\n",
            self.upstream.url(module)
        )
    }

    fn spawn(&self, words: &[&str], config: &str) -> Child {
        let log = fs::File::options().create(true).append(true).open(self.work.join("output")).unwrap();
        Command::new(self.work.join("tunasync"))
            .args(words)
            .arg("--config")
            .arg(self.work.join(config))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn start_manager(&mut self) {
        self.manager = Some(self.spawn(&["manager"], "manager.conf"));
        wait(|| self.control(&["list", "--all"]).code == 0, || self.log());
    }

    fn start_worker(&mut self) {
        self.worker = Some(self.spawn(&["worker"], "worker.conf"));
    }

    fn log(&self) -> String {
        fs::read_to_string(self.work.join("output")).unwrap_or_default()
    }

    /// `tunasynctl` with these words.
    fn control(&self, words: &[&str]) -> Outcome {
        let (word, rest) = words.split_first().unwrap();
        let mut command = Command::new(self.work.join("tunasynctl"));
        command.env("HOME", self.work.path()).arg(word).arg("-p").arg(self.manager_port.to_string());
        run(command.args(rest))
    }

    /// Starts a mirror without its manager.
    fn start_by_socket(&self, name: &str) {
        let mut command = Command::new(program::mirror());
        command.arg("start").arg("--socket").arg(self.work.join("state/control.sock")).arg(name);
        run(&mut command).expect_ok();
    }

    /// A mirror as `/jobs` has it.
    fn job(&self, name: &str) -> Value {
        let said = self.control(&["list", "--all"]).stdout.clone();
        let jobs: Vec<Value> = serde_json::from_slice(&said).unwrap_or_default();
        jobs.into_iter().find(|job| job["name"] == name).unwrap_or_default()
    }

    #[track_caller]
    fn wait_for(&self, name: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let mut seen = Value::Null;
        wait(
            || {
                seen = self.job(name);
                condition(&seen)
            },
            || format!("{name}: {}\n{}", self.job(name), self.log()),
        );
        seen
    }

    fn wait_status(&self, name: &str, status: &str) -> Value {
        self.wait_for(name, |job| job["status"] == status)
    }

    fn mirrored(&self, path: &str) -> PathBuf {
        self.work.join("mirrors").join(path)
    }
}

fn end(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Article {
    fn drop(&mut self) {
        end(&mut self.worker);
        end(&mut self.manager);
    }
}

#[test]
fn manager_and_worker_find_each_other_in_either_order_and_show_what_they_do() {
    let mut article = Article::new();
    article.configure("concurrent = 10", &article.centos("slow", "rsync_options = [\"--bwlimit=200\"]"));
    article.start_manager();
    article.start_worker();
    let running = article.wait_status("centos", "syncing");
    assert!(running["last_started_ts"].as_i64() > Some(0), "it was pre-syncing before: {running}");
    assert_eq!(
        (&running["size"], &running["last_update_ts"]),
        (&"unknown".into(), &(-62_135_596_800_i64).into())
    );
    assert!(article.log().contains("\"token\" has no effect"), "{}", article.log());
    let workers: Value = serde_json::from_slice(&article.control(&["workers"]).expect_ok().stdout).unwrap();
    assert_eq!((&workers[0]["id"], &workers[0]["token"]), (&"centos_worker".into(), &"REDACTED".into()));

    article.configure("concurrent = 10", &article.centos("m", ""));
    article.control(&["reload", "-w", "centos_worker"]).expect_ok();
    article.control(&["restart", "-w", "centos_worker", "centos"]).expect_ok();
    let done = article.wait_status("centos", "success");
    assert_eq!(done["size"], "70.00K", "from what was transferred: {done}");
    assert!(done["next_schedule_ts"].as_i64() > done["last_ended_ts"].as_i64(), "{done}");
    assert_eq!(fs::read_to_string(article.mirrored("centos/a.txt")).unwrap(), "one\n");
    assert!(article.work.join("log/centos/latest").exists());

    // The other way round: the worker is there, and the manager comes with nothing in its memory.
    end(&mut article.manager);
    fs::remove_file(article.work.join("manager.db")).unwrap();
    article.start_manager();
    article.start_by_socket("centos");
    let known = article.wait_status("centos", "success");
    assert_eq!(known["size"], "70.00K", "{known}");
}

#[test]
fn a_size_that_somebody_set_is_shown_until_a_sync_knows_better() {
    let mut article = Article::new();
    article.configure("concurrent = 10", &article.centos("m", ""));
    article.start_manager();
    article.start_worker();
    article.wait_status("centos", "success");
    let said =
        article.control(&["set-size", "-w", "centos_worker", "centos", "1.2T"]).expect_ok().stdout.clone();
    assert_eq!(String::from_utf8_lossy(&said), "Successfully updated mirror size to 1.2T\n");
    let (file, url) =
        (article.work.join("jobs.json"), format!("http://localhost:{}/jobs", article.manager_port));
    run(Command::new("wget").args(["-q", "-c", &url, "-O"]).arg(&file)).expect_ok();
    let jobs: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!((&jobs[0]["name"], &jobs[0]["size"]), (&"centos".into(), &"1.2T".into()));
    article.control(&["start", "-w", "centos_worker", "centos"]).expect_ok();
    article.wait_for("centos", |job| job["size"] == "70.00K");
    let lines = article.control(&["list", "--format", "{{.Name}} {{.Size}} {{.Worker}}", "centos_worker"]);
    assert_eq!(String::from_utf8_lossy(&lines.expect_ok().stdout), "centos 70.00K centos_worker\n");
    article
        .control(&["start", "-w", "nobody", "centos"])
        .expect_code(1)
        .expect_error_text("worker nobody is not");
    article.control(&["start", "-w", "centos_worker", "x"]).expect_code(1).expect_error_text("no job named");

    article.control(&["disable", "-w", "centos_worker", "centos"]).expect_ok();
    article.wait_status("centos", "disabled");
    // The worker may say once more that it is disabled.
    let flushed = || {
        article.control(&["flush"]).expect_ok();
        article.job("centos") == Value::Null
    };
    wait(flushed, || article.log());
    article.control(&["rm-worker", "-w", "centos_worker"]).expect_ok();
}

#[test]
fn what_cannot_be_honoured_ends_the_start_with_its_place() {
    let article = Article::new();
    let mirrors = "[[mirrors]]\nname = \"centos\"\nprovider = \"rsync\"\nupstream = \"rsync://host/centos\"\n\n\
         [[mirrors]]\nname = \"boxed\"\nprovider = \"command\"\ncommand = \"true\"\ndocker_image = \"alpine\"\n\
         new_key = 1\n";
    article.configure("concurrent = 10", mirrors);
    let mut command = Command::new(article.work.join("tunasync"));
    let outcome = run(command.arg("worker").arg("-c").arg(article.work.join("worker.conf")));
    outcome
        .expect_code(78)
        .expect_error_text(
            "worker.conf:28:12: mirror centos: upstream: rsync upstream URL should ends with /",
        )
        .expect_error_text("worker.conf:34:16: mirror boxed: docker_image is not supported");
}

/// Mirrors that run until a file exists, and note their begin and end.
fn gated(article: &Article, names: &[&str]) -> String {
    let script = article.work.join("script");
    let here = article.work.path().display().to_string();
    let text = format!(
        "#!/bin/sh\necho begin $TUNASYNC_MIRROR_NAME >> {here}/noted\n\
         while [ -d {here} -a ! -e {here}/gate ]; do sleep 0.05; done\n\
         echo end $TUNASYNC_MIRROR_NAME >> {here}/noted\n"
    );
    fs::write(&script, text).unwrap();
    let line = format!("sh {}", script.display());
    names
        .iter()
        .map(|name| format!("[[mirrors]]\nname = \"{name}\"\nprovider = \"command\"\ncommand = \"{line}\"\n"))
        .collect()
}

#[test]
fn one_transfer_at_a_time_is_one_unless_somebody_insists() {
    let mut article = Article::new();
    article.configure("concurrent = 1", &gated(&article, &["a", "b", "c"]));
    article.start_manager();
    article.start_worker();
    let noted = || fs::read_to_string(article.work.join("noted")).unwrap_or_default();
    wait(|| noted() == "begin a\n", || format!("{}\n{}", noted(), article.log()));
    article.wait_status("a", "syncing");
    assert_eq!((&article.job("b")["status"], &article.job("c")["status"]), (&"none".into(), &"none".into()));
    article.control(&["start", "-w", "centos_worker", "b"]).expect_ok();
    article.control(&["start", "--force", "-w", "centos_worker", "c"]).expect_ok();
    article.wait_status("c", "syncing");
    assert_eq!(noted(), "begin a\nbegin c\n", "b waits");
    fs::write(article.work.join("gate"), "").unwrap();
    for name in ["a", "b", "c"] {
        article.wait_status(name, "success");
    }
    assert_eq!(noted().lines().filter(|line| line.starts_with("begin")).count(), 3);
}

#[test]
fn a_worker_that_died_is_shown_and_a_manager_that_was_away_is_told_later() {
    let mut article = Article::new();
    let slow = article.centos("slow", "rsync_options = [\"--bwlimit=200\"]");
    article.configure("concurrent = 10", &slow);
    article.start_manager();
    article.start_worker();
    let before = article.wait_status("centos", "syncing");
    end(&mut article.worker);
    let stale = article.wait_for("centos", |job| job["stale"] == true);
    assert_eq!(stale["status"], "syncing");

    // Its run is made again at once, not in a day.
    article.configure("concurrent = 10", &article.centos("m", ""));
    article.start_worker();
    let done = article.wait_status("centos", "success");
    assert!(done["last_started_ts"].as_i64() >= before["last_started_ts"].as_i64());
    assert_eq!(done.get("stale"), None);

    end(&mut article.manager);
    fs::write(article.work.join("m/new.txt"), "news\n").unwrap();
    article.start_by_socket("centos");
    wait(|| article.mirrored("centos/new.txt").exists(), || article.log());
    let heard = |text: &str| article.log().matches(text).count();
    wait(|| heard("it is told later") == 1, || article.log());
    article.start_manager();
    let told =
        article.wait_for("centos", |job| job["last_ended_ts"].as_i64() > done["last_ended_ts"].as_i64());
    assert_eq!(told["status"], "success");
}

#[test]
fn manager_and_worker_speak_tls_and_nested_mirrors_have_what_is_around_them() {
    let mut article = Article::new();
    let certificates = Certificates::new();
    let path = |name: &str| certificates.file(name).display().to_string();
    article.configure_manager(&path("server.pem"), &path("server.key"));
    let manager = fs::read_to_string(article.work.join("manager.conf")).unwrap();
    let manager = manager.replace("ca_cert = \"\"", &format!("ca_cert = \"{}\"", path("authority.pem")));
    fs::write(article.work.join("manager.conf"), manager).unwrap();
    let mirrors = format!(
        "[[mirrors]]\nprovider = \"rsync\"\nmirror_subdir = \"inner\"\nupstream = \"{}/\"\nrole = \"slave\"\n\
         exec_on_success = [\"touch {}\"]\n\
         [[mirrors.mirrors]]\nname = \"one\"\n[[mirrors.mirrors]]\nname = \"two\"\nupstream = \"{}/dir/\"\n",
        article.upstream.url("m"),
        article.work.join("told").display(),
        article.upstream.url("m"),
    );
    article.configure("concurrent = 10", &mirrors);
    let worker = fs::read_to_string(article.work.join("worker.conf")).unwrap();
    let worker = worker
        .replace("http://localhost", "https://localhost")
        .replace("ca_cert = \"\"", &format!("ca_cert = \"{}\"", path("authority.pem")))
        .replace("ssl_cert = \"\"", &format!("ssl_cert = \"{}\"", path("server.pem")))
        .replace("ssl_key = \"\"", &format!("ssl_key = \"{}\"", path("server.key")));
    fs::write(article.work.join("worker.conf"), worker).unwrap();
    article.manager = Some(article.spawn(&["manager"], "manager.conf"));
    article.start_worker();
    let authority = path("authority.pem");
    let list = || {
        let said = article.control(&["list", "--ca-cert", &authority, "-a", "-s", "success"]).stdout.clone();
        serde_json::from_slice::<Vec<Value>>(&said).unwrap_or_default()
    };
    wait(|| list().len() == 2, || format!("{:?}\n{}", list(), article.log()));
    assert_eq!((&list()[0]["name"], &list()[0]["is_master"]), (&"one".into(), &false.into()));
    assert!(article.mirrored("inner/one/a.txt").exists() && article.mirrored("inner/two/b.bin").exists());
    assert!(article.work.join("told").exists());
    article.control(&["ping", "--ca-cert", &authority, "-w", "centos_worker", "one"]).expect_ok();
    let other = path("other.pem");
    article.control(&["list", "--ca-cert", &other, "-a"]).expect_code(1).expect_error_text("certificate");
}

#[test]
fn what_another_manager_knows_is_taken_over() {
    let mut article = Article::new();
    article.configure("concurrent = 10", &article.centos("m", ""));
    article.start_manager();
    article.start_worker();
    let known = article.wait_status("centos", "success");
    let other =
        fs::read_to_string(article.work.join("manager.conf")).unwrap().replace("manager.db", "other.db");
    fs::write(article.work.join("other.conf"), other).unwrap();
    let mut command = Command::new(program::mirror());
    let from = format!("http://localhost:{}", article.manager_port);
    command
        .args(["tunasync", "import", "--from-manager", &from, "--config"])
        .arg(article.work.join("other.conf"));
    let said = run(&mut command).expect_ok().stdout.clone();
    assert_eq!(String::from_utf8_lossy(&said), "1 workers and 1 mirrors are taken over\n");
    end(&mut article.worker);
    end(&mut article.manager);
    article.manager = Some(article.spawn(&["manager"], "other.conf"));
    wait(|| article.control(&["list", "--all"]).code == 0, || article.log());
    assert_eq!(article.job("centos")["last_update"], known["last_update"]);
}
