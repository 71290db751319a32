//! A live pair of servers: one copies the other all the time, takes over, and gives back (spec 11 §1.2, whose
//! points are the tests).

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rsync_e2e::daemon::Module;
use rsync_e2e::immutable::Immutable;
use rsync_e2e::outcome::Running;
use rsync_e2e::pair::FLOATING;
use rsync_e2e::site::wait;
use rsync_e2e::{
    Compare, Daemon, Mirror, Outcome, Servers, Side, Site, Snapshot, Tree, Work, run, wait_until,
};
use rustix::process::{Pid, Signal, kill_process};

/// The modules of the article.
const MODULES: [&str; 9] = ["etc", "home", "home2", "home3", "tmp", "mysql", "log", "www_conf", "www_cgibin"];
/// The hosts of the network.
const M1: usize = 1;
const M2: usize = 2;
const CLIENT: usize = 3;

/// A job that copies a module all the time, as the article's loop does: without deletions.
fn loop_job(name: &str, url: &str, more: &str) -> String {
    format!(
        "[[job]]\nname = '{name}'\nupstream = '{url}'\noptions = ['-a', '-z']\nretry = {{ attempts = 1 }}\n\
         schedule = {{ continuous = '100ms' }}\n{more}\n"
    )
}

/// How often a job has ended well.
fn passes(site: &Site, job: &str) -> usize {
    let ended = format!("{job}: ended after");
    site.log().lines().filter(|line| line.starts_with(&ended) && line.contains("exit 0")).count()
}

#[test]
fn point_1_a_hundred_changes_are_copied_within_two_passes_and_extra_files_stay() {
    for side in [Side::C, Side::Ours] {
        let work = Work::new();
        let etc =
            (0..60).fold(Tree::new(), |tree, number| tree.file(format!("d{}/f{number}", number % 7), "old"));
        etc.write(&work.join("etc"));
        let daemon = Daemon::start(side, "", &[Module::new("etc", &work.join("etc"))]);
        let mut site = Site::new("", &loop_job("etc", &daemon.url("etc"), ""));
        site.start();
        site.wait_status("etc", "success");
        let copy = site.file("srv/etc");
        fs::write(copy.join("only-here"), "stays").unwrap();
        for number in 0..100 {
            let path = work.join(format!("etc/d{}/f{number}", number % 7));
            match number % 5 {
                0 if number < 60 => fs::remove_file(path).unwrap(),
                _ => fs::write(path, format!("new content {number}")).unwrap(),
            }
        }
        // One pass may be under way already.
        let before = passes(&site, "etc");
        wait_until("two passes", || passes(&site, "etc") >= before + 3);
        for number in (0..100).filter(|number| number % 5 != 0 || *number >= 60) {
            let copied = fs::read_to_string(copy.join(format!("d{}/f{number}", number % 7))).unwrap();
            assert_eq!(copied, format!("new content {number}"), "{side:?}");
        }
        // Nothing is deleted.
        assert_eq!(fs::read_to_string(copy.join("d0/f0")).unwrap(), "old");
        assert_eq!(fs::read_to_string(copy.join("only-here")).unwrap(), "stays");
    }
}

/// Lines of an outcome, with temporary names, places in C's code and the program's version taken out.
fn lines(outcome: &Outcome, destination: &Path) -> Vec<String> {
    let text = outcome.stderr.to_string().replace(&destination.display().to_string(), "DEST");
    let line = |line: &str| match (line.find(".XXXXXX"), line.split_once(" at ")) {
        (_, Some((before, _))) => before.to_owned(),
        _ => line.to_owned(),
    };
    let mut lines: Vec<String> = text.lines().map(|text| line(&without_temporary(text))).collect();
    lines.sort();
    lines
}

/// `.NAME.AbCdEf` as `.NAME.XXXXXX`.
fn without_temporary(line: &str) -> String {
    let Some((before, after)) = line.split_once("\" -> \"") else { return line.to_owned() };
    format!("{}XXXXXX\" -> \"{after}", &before[..before.len() - 6])
}

#[test]
fn point_2_immutable_files_stay_and_the_run_says_so() {
    let work = Work::new();
    Tree::new()
        .file("hosts", "new")
        .file("fstab", "new")
        .file("rsyncd.conf", "new")
        .file("motd", "new")
        .file("kept/a", "a")
        .write(&work.join("etc"));
    let before = |place: &Path| {
        Tree::new()
            .file("hosts", "o")
            .file("fstab", "o")
            .file("rsyncd.conf", "o")
            .file("motd", "o")
            .file("extra", "x")
            .file("closed/inner", "x")
            .file("kept/a", "a")
            .write(place);
    };
    let immutable = |place: &Path| {
        let names = ["hosts", "fstab", "rsyncd.conf", "extra", "closed"];
        Immutable::make(&names.map(|name| place.join(name)))
    };
    for daemon_side in [Side::C, Side::Ours] {
        let daemon = Daemon::start(daemon_side, "", &[Module::new("etc", &work.join("etc"))]);
        for options in [&[][..], &["--inplace"], &["--delete"]] {
            let [theirs, ours] = [Side::C, Side::Ours].map(|side| {
                let place = Work::new();
                let etc = place.join("etc");
                before(&etc);
                let _immutable = immutable(&etc);
                let mut command = Command::new(side.rsync());
                command.args(["-avz", "--timeout", "999999"]).args(options);
                command.arg(format!("--port={}", daemon.port())).arg("127.0.0.1::etc").arg(&etc);
                let outcome = run(&mut command);
                let read = |name: &str| fs::read_to_string(etc.join(name)).unwrap();
                let contents = ["hosts", "fstab", "rsyncd.conf", "motd", "extra", "closed/inner"].map(read);
                let left = fs::read_dir(&etc).unwrap().count();
                (outcome.code, lines(&outcome, &etc), contents, left)
            });
            assert_eq!(ours, theirs, "{daemon_side:?} {options:?}");
            assert_eq!((ours.0, &ours.2), (23, &["o", "o", "o", "new", "x", "x"].map(str::to_owned)));
            assert_eq!(ours.3, 7, "no temporary is left");
        }
        // The same with a record: what is expected is a note.
        let mirror = Mirror::new();
        before(&mirror.tree());
        let _immutable = immutable(&mirror.tree());
        let sync = |words: &[&str]| {
            run(&mut mirror
                .sync(&daemon.url("etc"), [words, &["--json", "--own-options", "--", "-avz"]].concat()))
        };
        let record =
            |outcome: &Outcome| -> serde_json::Value { serde_json::from_slice(&outcome.stdout).unwrap() };
        let failing = sync(&["--expect-immutable=hosts"]);
        let failed = record(failing.expect_code(23));
        assert_eq!(failed["class"], "immutable", "{failed}");
        assert!(failed["failed"].as_array().unwrap().iter().all(|path| path["errno"] == 1), "{failed}");
        let expected = sync(
            &["hosts", "fstab", "rsyncd.conf"]
                .map(|name| format!("--expect-immutable={name}"))
                .each_ref()
                .map(String::as_str),
        );
        let good = record(expected.expect_ok());
        assert_eq!(
            (&good["class"], good["failed"].as_array().map(Vec::len)),
            (&"notes".into(), Some(3)),
            "{good}"
        );
    }
}

#[test]
fn point_2_a_typographic_dash_is_no_option() {
    let work = Work::new();
    Tree::new().file("hosts", "new").write(&work.join("etc"));
    let daemon = Daemon::serving(Side::C, &work.join("etc"));
    let outcomes = [Side::C, Side::Ours].map(|side| {
        let place = Work::new();
        let mut command = Command::new(side.rsync());
        // The page prints it like that.
        command.args(["-avz", "\u{2013}timeout", "999999"]).arg(daemon.url("m")).arg(place.path());
        let outcome = run(command.current_dir(place.path()));
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        (outcome.code, lines(&outcome, place.path()))
    });
    assert_ne!(outcomes[0].0, 0);
    assert_eq!(outcomes[0], outcomes[1]);
}

#[test]
fn point_3_a_loop_and_a_backup_never_meet() {
    let work = Work::new();
    Tree::new().random("a", 300_000, 1).random("b", 300_000, 2).write(&work.join("home"));
    let daemon = Daemon::start(Side::C, "", &[Module::new("home", &work.join("home"))]);
    let events = work.join("events");
    let tell = |text: &str| format!("['sh', '-c', 'echo {text} >> {}']", events.display());
    let hooks = format!(
        "mutex = 'disk'\nbandwidth = 2000\n[job.hooks]\npre_exec = [{}]\npost_exec = [{}]",
        tell("sync"),
        tell("end")
    );
    // It has the disk for itself, and only whole files on it.
    let backup = format!(
        "echo backup >> {0}; find \"$TUNASYNC_WORKING_DIR/../home\" -name \".*.??????\" -printf \"left %p\\\\n\" >> {0}; \
         sleep 0.02; echo end >> {0}; [ ! -e {1} ] || {{ echo $$ > {1}; exec sleep 600; }}",
        events.display(),
        work.join("long").display(),
    );
    let backup = format!(
        "[[job]]\nname = 'backup'\nupstream = '/'\nmutex = 'disk'\nschedule = 'on-demand'\nretry = {{ attempts = 1 }}\n\
         method = {{ command = {{ program = ['sh', '-c', '{backup}'] }} }}\n"
    );
    let mut site = Site::new("", &(loop_job("home", &daemon.url("home"), &hooks) + &backup));
    site.start();
    site.wait_status("home", "success");
    let read = || fs::read_to_string(&events).unwrap_or_default();
    let backups = || read().matches("backup\nend\n").count();
    for count in 1..=20 {
        Tree::new().random("a", 300_000, 10 + count).write(&work.join("home"));
        // The loop is back before the next backup.
        let syncs = read().matches("sync\n").count();
        wait_until("the loop", || read().matches("sync\n").count() > syncs);
        site.control("start", &["backup"]).expect_ok();
        wait_until("a backup", || backups() == usize::try_from(count).unwrap());
        site.wait_status("backup", "success");
    }
    let text = read();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.truncate(lines.len() / 2 * 2);
    assert!(lines.chunks(2).all(|pair| pair[0] != "end" && pair[1] == "end"), "{text}");
    // A backup that is killed lets the loop go on.
    fs::write(work.join("long"), "").unwrap();
    site.control("start", &["backup"]).expect_ok();
    wait_until("the long backup", || backups() == 21);
    let syncs = read().matches("sync\n").count();
    let mut pid = None;
    wait_until("its process", || {
        pid = fs::read_to_string(work.join("long")).unwrap().trim().parse().ok().and_then(Pid::from_raw);
        pid.is_some()
    });
    kill_process(pid.unwrap(), Signal::KILL).unwrap();
    wait_until("the loop after it", || read().matches("sync\n").count() > syncs);
}

/// Two servers whose modules are those of the article, with a super-server that runs on who serves.
struct Scene {
    servers: Servers,
}

impl Scene {
    fn set() -> Self {
        let servers = Servers::on(3);
        for host in [M1, M2] {
            let mut config = format!(
                "log file = {}\nlock file = {}\nmotd file = {}\nreverse lookup = no\n",
                servers.file(host, "rsyncd.log").display(),
                servers.file(host, "rsyncd.lock").display(),
                servers.file(host, "motd").display(),
            );
            fs::write(servers.file(host, "motd"), format!("I am m{host}\n")).unwrap();
            for name in MODULES {
                let path = servers.file(host, "tree").join(name);
                let _ = write!(
                    config,
                    "[{name}]\npath = {}\ncomment = {name}\nuid = root\ngid = root\nuse chroot = yes\n\
                     read only = yes\nhosts allow = 10.1.0.{}\n",
                    path.display(),
                    3 - host,
                );
                fs::create_dir_all(&path).unwrap();
                fs::write(path.join("name"), name).unwrap();
            }
            fs::write(servers.file(host, "rsyncd.conf"), config).unwrap();
        }
        let scene = Self { servers };
        scene.write_scripts();
        scene
    }

    /// Programs for steps: `start` and `stop` the services of a host, `log` what is done.
    fn write_scripts(&self) {
        let work = self.servers.work.path().display();
        let serve = format!(
            "up() {{ pid=$(cat {work}/$host.$1.pid 2>/dev/null) && kill -0 \"$pid\" 2>/dev/null; }}\n\
             run() {{ up \"$1\" && return; name=$1 port=$2; shift 2\n\
             setsid systemd-socket-activate --inetd -a -l $port \"$@\" </dev/null >/dev/null 2>>{work}/$host.$name.log &\n\
             echo $! >{work}/$host.$name.pid\n\
             until (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null; do up $name || exit 1; sleep 0.05; done; }}\n\
             host=$1\n"
        );
        let daemon = format!("run rsyncd 873 /usr/bin/rsync --daemon --config={work}/$host.rsyncd.conf");
        let _ = self.servers.script("start-rsyncd", &format!("{serve}{daemon}"));
        let _ = self.servers.script("start-web", &format!("{serve}run web 80 /bin/echo hello"));
        let stop = "up $2 && kill -9 $pid; rm -f";
        let _ = self.servers.script("stop", &format!("{serve}{stop} {work}/$host.$2.pid; true"));
        let _ = self.servers.script("log", &format!("echo \"$2\" >>{work}/$1.events"));
    }

    /// A step that runs one of the scripts.
    fn step(&self, procedure: &str, script: &str, words: &[&str]) -> String {
        let program = self.servers.work.join(script);
        let mut all = vec![program.to_str().unwrap()];
        all.extend(words);
        format!("[[{procedure}]]\nname = {script:?}\nrun = {all:?}\n")
    }

    /// Runs one of the scripts in a host.
    fn run_script(&self, host: usize, script: &str, words: &[&str]) {
        let mut command = self.servers.lan.command(host, &self.servers.work.join(script));
        run(command.arg(format!("m{host}")).args(words)).expect_ok();
    }

    /// Brings m1 into service.
    fn serve_on_m1(&mut self) {
        let vip =
            "probe = ['bash', '-c', 'exec 3<>/dev/tcp/192.0.2.10/80']\n".to_owned() + &Servers::witness(M1);
        let steps = self.step("yield", "stop", &["m1", "rsyncd"]) + "[[yield]]\nvip = \"release\"\n";
        self.servers.configure(M1, &vip, &steps);
        self.run_script(M1, "start-rsyncd", &[]);
        self.run_script(M1, "start-web", &[]);
        self.servers.start_agent(M1);
        self.wait_for(M1);
    }

    /// The configuration of m2, whose steps are those of the article.
    fn configure_m2(&self, site: &Site) {
        let control = |word: &str| {
            let mirror = rsync_e2e::program::mirror();
            let socket = site.file("state/control.sock");
            let words = [mirror.to_str().unwrap(), word, "--socket", socket.to_str().unwrap(), "etc", "home"];
            format!("{words:?}")
        };
        let log = |procedure: &str, text: &str| self.step(procedure, "log", &["m2", text]);
        let steps = format!("[[takeover]]\nname = \"forbid pulls\"\nrun = {}\n", control("stop"))
            + &log("takeover", "forbidden")
            + &self.step("takeover", "start-rsyncd", &["m2"])
            + "[[takeover]]\nvip = \"acquire\"\n[[takeover]]\nvip = \"announce\"\n"
            + &self.step("takeover", "start-web", &["m2"])
            + &log("takeover", "notified")
            + &log("takeover", "checker stopped")
            + "[[yield]]\nvip = \"release\"\n"
            + &self.step("yield", "stop", &["m2", "rsyncd"])
            + &self.step("yield", "stop", &["m2", "web"])
            + &format!("[[yield]]\nname = \"allow pulls\"\nrun = {}\n", control("enable"))
            + &log("yield", "allowed");
        let vip =
            "probe = ['bash', '-c', 'exec 3<>/dev/tcp/192.0.2.10/80']\n".to_owned() + &Servers::witness(M2);
        self.servers.configure(M2, &vip, &steps);
    }

    /// The loops of m2.
    fn loops(&self) -> Site {
        let jobs = ["etc", "home"].map(|name| loop_job(name, &format!("rsync://10.1.0.1/{name}"), ""));
        let jobs = jobs.concat().replace("schedule", "timeouts = { connect = '5s' }\nschedule");
        let mut site = Site::new("", &jobs).inside(self.servers.lan.name(M2));
        site.start();
        site.wait_status("etc", "success");
        site.wait_status("home", "success");
        site
    }

    fn events(&self, host: usize) -> Vec<String> {
        let text = fs::read_to_string(self.servers.file(host, "events")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What the client finds at the floating address.
    fn found(&self) -> String {
        let mut command = self.servers.lan.command(CLIENT, Path::new("/usr/bin/rsync"));
        let outcome = run(command.args(["--contimeout=2", "--timeout=20", &format!("rsync://{FLOATING}/")]));
        outcome.stdout.to_string().lines().next().unwrap_or_default().to_owned()
    }

    /// Waits until the client finds a host at the floating address.
    #[track_caller]
    fn wait_for(&self, host: usize) {
        let is_found = || {
            self.found() == format!("I am m{host}")
                && self.servers.is_found_at(CLIENT, host)
                && self.servers.is(host, "serving")
        };
        wait(is_found, || format!("m{host} is not at the floating address: {}", self.servers.logs()));
        assert!(self.servers.holds(host), "{}", self.servers.logs());
    }
}

/// Whether a host answers an echo request of the client.
fn answers_ping(scene: &Scene, host: usize) -> bool {
    // `arping` asks for the hardware, which is even less than an echo.
    let mut ask = scene.servers.lan.command(CLIENT, Path::new("arping"));
    run(ask.args(["-f", "-w", "20", "-I", "eth0", &format!("192.0.2.{host}")])).code == 0
}

/// What must be true after a takeover of m2.
fn expect_taken_over(scene: &Scene, site: &Site) {
    scene.wait_for(M2);
    assert_eq!(scene.events(M2), ["forbidden", "notified", "checker stopped"], "{}", scene.servers.logs());
    // No pull begins after the first step.
    for job in ["etc", "home"] {
        site.wait_status(job, "paused");
    }
    let started = site.log().matches(": started").count();
    fs::write(scene.servers.file(M2, "tree").join("home/written"), "on m2").unwrap();
    scene.wait_for(M2);
    assert_eq!(site.log().matches(": started").count(), started);
}

#[test]
fn point_4a_a_server_without_power_is_replaced_in_order() {
    let mut scene = Scene::set();
    scene.serve_on_m1();
    let site = scene.loops();
    scene.configure_m2(&site);
    scene.servers.start_agent(M2);
    scene.servers.power_off(M1);
    expect_taken_over(&scene, &site);
    assert!(scene.servers.log(M2).contains("takeover begins: down ("), "{}", scene.servers.logs());
    // It comes back as it was, finds that the other serves, and leaves it at that.
    scene.servers.power_on(M1);
    scene.servers.start_agent(M1);
    wait_until("m1 on standby", || scene.servers.is(M1, "standby"));
    scene.wait_for(M2);
    assert!(!scene.servers.holds(M1));
}

#[test]
fn point_4b_services_that_are_killed_are_replaced_though_their_host_answers() {
    let mut scene = Scene::set();
    scene.serve_on_m1();
    let site = scene.loops();
    scene.configure_m2(&site);
    scene.servers.start_agent(M2);
    for service in ["web", "rsyncd"] {
        scene.run_script(M1, "stop", &[service]);
    }
    assert!(answers_ping(&scene, M1));
    expect_taken_over(&scene, &site);
    assert!(answers_ping(&scene, M1));
    wait_until("m1 on standby", || scene.servers.is(M1, "standby"));
    assert_eq!(scene.servers.answering(CLIENT), [M2].into());
}

#[test]
fn point_5_a_witness_prevents_two_servers_of_one_address() {
    let mut scene = Scene::set();
    scene.serve_on_m1();
    let site = scene.loops();
    scene.configure_m2(&site);
    scene.servers.start_agent(M2);
    // Only the link to clients is cut.
    scene.servers.lan.set_port(M2, false);
    wait_until("the witness", || {
        scene
            .servers
            .log(M2)
            .contains("no takeover, as the other agent, at 10.1.0.1:8730, says that it serves")
    });
    assert!(scene.servers.holds(M1) && !scene.servers.holds(M2));
    assert_eq!((scene.found().as_str(), scene.events(M2).len()), ("I am m1", 0));
    // Copies go on by the other link.
    let before = passes(&site, "etc");
    wait_until("a pass", || passes(&site, "etc") > before);
    assert!(!scene.servers.log(M2).contains("there is no [vip.witness]"));
    // Who has no witness is warned at the start.
    scene.servers.kill_agent(M2);
    scene.servers.configure(M2, "", "");
    let warned = run(&mut scene.servers.command(M2, &["pair", "--check"]));
    warned.expect_ok().expect_error_text("there is no [vip.witness]");
}

/// A program that kills whoever runs it, the first time: after its work, which is not on record then.
fn deadly(servers: &Servers) -> PathBuf {
    let work = servers.work.path().display();
    servers.script(
        "deadly",
        &format!(
            "seen={work}/deadly.$1; shift; \"$@\" || exit\n[ -e $seen ] && exit; touch $seen; kill -9 $PPID"
        ),
    )
}

#[test]
fn point_6_a_failback_brings_everything_home_whatever_crashes() {
    let mut scene = Scene::set();
    scene.serve_on_m1();
    let site = scene.loops();
    scene.configure_m2(&site);
    scene.servers.start_agent(M2);
    scene.servers.power_off(M1);
    scene.wait_for(M2);
    scene.servers.power_on(M1);
    // Its agent finds that the other serves.
    scene.servers.start_agent(M1);
    wait_until("m1 on standby", || scene.servers.is(M1, "standby"));
    scene.servers.kill_agent(M1);
    let trees = [M1, M2].map(|host| scene.servers.file(host, "tree"));
    for name in MODULES {
        fs::write(trees[1].join(name).join("written"), format!("{name} on m2")).unwrap();
    }
    // m1 pulls twice: the second time nobody writes any more.
    let pull =
        MODULES.map(|name| format!("rsync -avz 10.1.0.2::{name} {}/{name} || exit", trees[0].display()));
    let pull = scene.servers.script("pull-all", &pull.join("\n"));
    let stop_writers = scene.servers.script(
        "stop-writers",
        &format!("[ -e {0}/last ] || echo last >{0}/last", trees[1].join("mysql").display()),
    );
    let deadly = deadly(&scene.servers);
    let work = scene.servers.work.path().to_owned();
    let hook = |name: &str, program: &Path, words: &[&str]| {
        let mut all = vec![deadly.to_str().unwrap(), name, program.to_str().unwrap()];
        all.extend(words);
        format!("[[failback]]\nname = {name:?}\nrun = {all:?}\n")
    };
    let between = |name: &str| hook(name, Path::new("/bin/true"), &[]);
    let let_go: Vec<String> =
        serde_json::from_str(&scene.servers.step_words(M2, &["pair", "--yield"])).unwrap();
    let let_go_words: Vec<&str> = let_go[1..].iter().map(String::as_str).collect();
    let steps = hook("pull", &pull, &[])
        + &hook("stop-writers", &stop_writers, &[])
        + &hook("last-pull", &pull, &[])
        + "[[failback]]\nvip = \"acquire\"\n"
        + &between("between")
        + "[[failback]]\nvip = \"announce\"\n"
        + &hook("start-rsyncd", &work.join("start-rsyncd"), &["m1"])
        + &hook("start-web", &work.join("start-web"), &["m1"])
        + &hook("let-m2-go", Path::new("ip"), &let_go_words)
        + "[[failback]]\nvip = \"announce\"\n"
        + &between("last");
    scene.servers.configure(M1, &Servers::witness(M1), &steps);
    let mut crashes = 0;
    let ended = loop {
        let outcome = run(&mut scene.servers.command(M1, &["failback"]));
        if outcome.code == 0 || crashes > 30 {
            break outcome;
        }
        assert_eq!(outcome.code, 128 + 9, "{}", outcome.stderr);
        crashes += 1;
    };
    ended.expect_ok();
    assert_eq!(crashes, 8, "each of eight programs kills once");
    assert!(scene.servers.is(M1, "serving") && scene.servers.is(M2, "standby"), "{}", scene.servers.logs());
    scene.servers.start_agent(M1);
    scene.wait_for(M1);
    assert_eq!(scene.servers.answering(CLIENT), [M1].into());
    // All that was written on m2 is on m1, and m2 copies again.
    for name in MODULES {
        let [home, away] = trees.each_ref().map(|tree| Snapshot::take(&tree.join(name)));
        home.assert_same(&away, Compare { directory_times: false, nanoseconds: false, ..Compare::ALL });
    }
    assert_eq!(fs::read_to_string(trees[0].join("mysql/last")).unwrap(), "last\n");
    assert_eq!(scene.events(M2).last().map(String::as_str), Some("allowed"));
    let before = passes(&site, "etc");
    wait_until("the loop of m2", || passes(&site, "etc") > before);
    // What is done already is done at once.
    run(&mut scene.servers.command(M1, &["failback"])).expect_ok();
}

#[test]
fn the_document_and_the_samples_are_configurations() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let document = fs::read_to_string(root.join("docs/mirror-pair.md")).unwrap();
    let blocks = document.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let work = Work::new();
    fs::write(work.join("pair.toml"), blocks.collect::<String>()).unwrap();
    for path in [work.join("pair.toml"), root.join("contrib/rsync-mirror/pair.toml")] {
        let mut command = Command::new(rsync_e2e::program::mirror());
        let outcome = run(command.args(["pair", "--check", "--config"]).arg(&path));
        assert_eq!(outcome.expect_ok().stderr, "", "{}", path.display());
    }
}

#[test]
fn a_configuration_is_checked_and_only_one_agent_runs() {
    let work = Work::new();
    let path = work.join("pair.toml");
    let command = |words: &[&str]| {
        let mut command = Command::new(rsync_e2e::program::mirror());
        command.arg("pair").args(words).arg("--config").arg(&path);
        command
    };
    let vip = |address: &str| {
        format!("[vip]\naddress = \"{address}\"\ndev = \"nosuchdev\"\nstate = {:?}\n", work.join("state"))
    };
    fs::write(&path, vip("192.0.2.10")).unwrap();
    run(&mut command(&["--check"])).expect_code(78).expect_error_text("is no ADDRESS/BITS");
    run(&mut command(&[])).expect_code(78);
    fs::write(&path, vip("192.0.2.10/24")).unwrap();
    run(&mut command(&["--check"])).expect_ok().expect_error_text("there is no [vip.witness]");
    let agent = Running::start(&mut command(&[]));
    wait_until("the state", || work.join("state").exists());
    run(&mut command(&[])).expect_code(75).expect_error_text("is locked by process");
    agent.signal_leader(Signal::TERM);
    agent.finish().expect_ok();
    // A device that is not there cannot have the address.
    fs::write(&path, vip("192.0.2.10/24") + "acquire = ['false']\n").unwrap();
    let mut failback = Command::new(rsync_e2e::program::mirror());
    run(failback.arg("failback").arg("--config").arg(&path)).expect_code(70).expect_error_text(
        "failback stands still at step 1, acquire the address: false ended with exit code 1",
    );
}
