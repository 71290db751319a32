//! The same configuration, given to the C daemon and to `rsync --daemon`, with the same clients: equal
//! results, messages and log lines. One row for each value of a parameter; each is run by root and by
//! nobody, and by old protocols.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rsync_e2e::daemon::free_port;
use rsync_e2e::program::is_root;
use rsync_e2e::{Compare, Side, Snapshot, Work, run};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

impl Drop for World {
    fn drop(&mut self) {
        // Of a group whose leader has ended there may be nothing left.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Who runs the daemons, and what their clients speak.
#[derive(Clone, Copy)]
struct How {
    user: u32,
    protocol: u8,
}

const ROOT: u32 = 0;
const NOBODY: u32 = 65534;

/// A daemon of one side with its own directory: `DIR/m` is served, `DIR/c` is where clients are.
struct World {
    side: Side,
    work: Work,
    child: Child,
    port: u16,
}

impl World {
    fn new(side: Side, user: u32, globals: &str, module: &str) -> Self {
        let work = Work::new();
        for dir in ["m/sub/deep", "m/empty", "c/tree/sub"] {
            fs::create_dir_all(work.join(dir)).expect("a directory");
        }
        for (name, text) in [
            ("m/file", "hello\n"),
            ("m/sub/one.o", "one\n"),
            ("m/sub/deep/two", "two\n"),
            ("m/list", "file\nsub/one.o\n"),
            ("c/tree/new", "new\n"),
            ("c/tree/sub/one.o", "other\n"),
            ("secrets", "alice:secret\nbob:other\n@root:group\n"),
            ("rules", "*.o\n"),
            ("motd", "Welcome\n"),
        ] {
            fs::write(work.join(name), text).expect("a file");
            fs::set_permissions(work.join(name), fs::Permissions::from_mode(0o644)).expect("a mode");
        }
        fs::set_permissions(work.join("m"), fs::Permissions::from_mode(0o777)).expect("a mode");
        fs::set_permissions(work.join("secrets"), fs::Permissions::from_mode(0o600)).expect("a mode");
        symlink("file", work.join("m/link")).expect("a link");
        let dir = work.path().to_str().expect("text").to_owned();
        let has_rights = is_root() && user == ROOT;
        let own = if has_rights { "uid = 0\ngid = 0\n" } else { "" };
        let text = format!(
            "reverse lookup = no\nuse chroot = no\nlog file = {dir}/log\nlock file = {dir}/lock\n{own}{globals}\n\
             [m]\npath = {dir}/m\nread only = no\n{module}\n"
        );
        fs::write(work.join("conf"), text.replace("DIR", &dir)).expect("a configuration");
        let mut command = Command::new(side.rsync());
        if is_root() && user == NOBODY {
            give_away(work.path());
            command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(side.rsync());
        }
        let port = free_port();
        let child = command
            .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--config={dir}/conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a daemon");
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() && Instant::now() < deadline {
            sleep(Duration::from_millis(5));
        }
        Self { side, work, child, port }
    }

    /// Runs the C client in `DIR/c`; `@` in its words is the daemon.
    fn client(&self, protocol: u8, words: &str, told: &mut String) {
        let words =
            words.split(' ').map(|word| word.replace('@', &format!("rsync://alice@127.0.0.1:{}", self.port)));
        let outcome = run(Command::new(Side::C.rsync())
            .arg(format!("--protocol={protocol}"))
            .args(words)
            .current_dir(self.work.join("c"))
            .env("RSYNC_PASSWORD", "secret"));
        // A C daemon may close before an old client has read why its pull is refused.
        const LOST: [&str; 3] = ["ERROR: module is write only", "ERROR: --remove-source-files", "[sender="];
        let is_lost = |line: &&str| protocol < 31 && LOST.iter().any(|lost| line.contains(lost));
        let stderr = outcome.stderr.to_string();
        let errors: Vec<&str> = stderr.lines().filter(|line| !is_lost(line)).collect();
        let _ = writeln!(told, "exit {}\n{}{}", outcome.code, outcome.stdout, errors.join("\n"));
    }

    /// What is left: the trees and the log, without what depends on time and place.
    fn end(mut self, told: String) -> (String, Snapshot, Snapshot) {
        // Its last lines are written when the client is gone already: by processes of the C daemon's, and
        // before ours ends.
        let pid = Pid::from_child(&self.child);
        let children = format!("/proc/{pid}/task/{pid}/children");
        if self.side == Side::C {
            wait_until(|| fs::read_to_string(&children).is_ok_and(|pids| pids.trim().is_empty()));
        }
        kill_process(pid, Signal::TERM).expect("a daemon");
        wait_until(|| self.child.try_wait().is_ok_and(|ended| ended.is_some()));
        let log = fs::read(self.work.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let mut text = String::new();
        for line in told.lines().filter_map(|line| self.comparable(line)) {
            text.push_str(&line);
            text.push('\n');
        }
        // Sessions that follow each other overlap in the log.
        let mut logged: Vec<String> = log.lines().filter_map(|line| self.comparable(line)).collect();
        logged.sort();
        text.push_str(&logged.join("\n"));
        let seen = |name: &str| Snapshot::take(&self.work.join(name));
        (text, seen("m"), seen("c"))
    }

    fn comparable(&self, line: &str) -> Option<String> {
        const NOT_COMPARED: [&str; 12] = [
            // Of one daemon alone.
            "worker process",
            "sessions run in",
            // Speed, and connections that only see whether the daemon is there.
            "starting, listening",
            "connect from",
            "bytes/sec",
            "total size is",
            "Broken pipe",
            // The C daemon resets connections that it refuses, and its client may lose what was said last.
            "Connection reset by peer",
            "error in socket IO",
            "connection unexpectedly closed",
            "error in rsync protocol data stream",
            // Of rules that cannot be read, whose own line stands before it.
            "error in file IO (code 11) at exclude.c",
        ];
        if NOT_COMPARED.iter().any(|text| line.contains(text)) {
            return None;
        }
        let line = line
            .replace("exit 10", "exit 12")
            .replace("early exec failed: No child processes (10)", "early exec failed");
        let line = line.replace("rsync: [Receiver] early exec failed", "early exec failed");
        let line = line.replace(self.work.path().to_str().expect("text"), "DIR");
        let line = line.replace(&self.port.to_string(), "PORT");
        // `2026/11/21 14:00:00 [PID] ` stands before what the log says.
        let line = match line.split_once("] ") {
            Some((head, text)) if head.starts_with("20") => format!("log: {text}"),
            _ => line,
        };
        let line = match (line.find(" at "), line.rfind(" [")) {
            (Some(at), Some(role)) if line.contains("rsync error") || line.contains("rsync warning") => {
                format!("{}{}", &line[..at], &line[role..])
            }
            _ => line,
        };
        // How many bytes went is not part of what a daemon does for its client.
        let line = match line.find("sent ") {
            Some(at) if line.contains("  received ") => {
                let size = line.rfind(' ').unwrap_or(line.len());
                format!("{}sent and received, total size{}", &line[..at], &line[size..])
            }
            _ => line,
        };
        Some(line)
    }
}

#[track_caller]
fn wait_until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "the daemon does not come to an end");
        sleep(Duration::from_millis(5));
    }
}

/// Gives everything beneath a directory, and itself, to nobody.
fn give_away(path: &Path) {
    if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        fs::read_dir(path).expect("a directory").flatten().for_each(|entry| give_away(&entry.path()));
    }
    lchown(path, Some(NOBODY), Some(NOBODY)).expect("an owner");
}

/// What both sides do with a row.
#[track_caller]
fn compare(How { user, protocol }: How, globals: &str, module: &str, clients: &[&str]) {
    let seen = [Side::C, Side::Ours].map(|side| {
        let world = World::new(side, user, globals, module);
        let mut told = String::new();
        clients.iter().for_each(|words| world.client(protocol, words, &mut told));
        world.end(told)
    });
    let [(expected, expected_module, expected_client), (text, module_tree, client_tree)] = seen;
    assert_eq!(text, expected, "globals {globals:?}, module {module:?}, protocol {protocol}, user {user}");
    // Both daemons started with trees that were made a moment apart.
    let compare = Compare { times: false, directory_times: false, nanoseconds: false, ..Compare::ALL };
    module_tree.assert_same(&expected_module, compare);
    client_tree.assert_same(&expected_client, compare);
}

const PULL: &str = "-a @/m/ got/";
const PUSH: &str = "-a tree/ @/m/up/";

/// An older protocol for a row: each of them has its share of the rows.
fn older(row: &str) -> u8 {
    [27, 29, 30, 31][row.bytes().map(usize::from).sum::<usize>() % 4]
}

macro_rules! rows {
    ($($name:ident: $globals:expr, $module:expr, $clients:expr;)*) => {
        $(mod $name {
            use super::*;

            #[test]
            fn by_root() {
                compare(How { user: ROOT, protocol: 32 }, $globals, $module, $clients);
            }

            #[test]
            fn by_nobody() {
                compare(How { user: NOBODY, protocol: older(stringify!($name)) }, $globals, $module, $clients);
            }
        })*
    };
}

rows! {
    nothing_special: "", "", &["@", PULL, PUSH];
    comment: "", "comment = All of it", &["@"];
    list_no: "", "list = no", &["@", PULL, "-a @/nosuch/ got/"];
    name: "", "name = other", &["@", PULL, "-a @/other/ got/"];
    motd_file: "motd file = DIR/motd", "", &["@", PULL];
    read_only_yes: "", "read only = yes", &[PULL, PUSH, "-an tree/ @/m/up/", "-a --remove-source-files @/m/file got/"];
    write_only_yes: "", "write only = yes", &[PULL, PUSH];
    use_chroot_no: "", "use chroot = no", &["-a tree/new @/m/no/such/name", "-a @/m/nosuch got/"];
    paths_of_a_sender_in_a_chroot: "", "use chroot = yes", &["-a @/m/nosuch/x got/", "-a @/m/sub/nosuch got/", "-aR @/m/sub/nosuch @/m/sub/./nosuch got/"];
    paths_of_a_sender: "", "use chroot = no", &["-a @/m/nosuch/x got/", "-a @/m/sub/nosuch got/", "-aR @/m/sub/nosuch @/m/sub/./nosuch got/"];
    path_missing: "", "path = DIR/nosuch", &[PULL];
    path_of_the_chroot_missing: "", "path = DIR/nosuch\nuse chroot = yes", &[PULL];
    numeric_ids_yes: "", "numeric ids = yes", &[PULL, PUSH];
    numeric_ids_no: "", "numeric ids = no", &[PULL, PUSH];
    outgoing_chmod: "", "outgoing chmod = D700,F600", &[PULL];
    incoming_chmod: "", "incoming chmod = D750,F640", &[PUSH];
    exclude: "", "exclude = *.o /sub/deep/", &[PULL, PUSH, "-a tree/new @/m/sub/deep/"];
    exclude_from: "", "exclude from = DIR/rules", &[PULL, "-a --delete tree/sub/ @/m/sub/"];
    include_and_exclude: "", "include = /sub/ /sub/one.o\nexclude = /sub/*", &[PULL];
    filter: "", "filter = - *.o", &[PULL];
    exclude_from_missing: "", "exclude from = DIR/nosuch", &[PULL];
    max_verbosity_0: "", "max verbosity = 0", &["-av @/m/ got/"];
    max_connections_none: "", "max connections = -1", &[PULL];
    max_connections_2: "", "max connections = 2", &[PULL];
    hosts_deny: "", "hosts deny = *", &[PULL, "@"];
    hosts_deny_unlisted: "", "hosts deny = *\nlist = no", &[PULL];
    hosts_allow: "", "hosts allow = 127.0.0.0/8", &[PULL];
    hosts_allow_others: "", "hosts allow = 10.0.0.0/8", &[PULL];
    hosts_allow_and_deny: "", "hosts allow = 10.1\nhosts deny = 192.168.0.0/255.255.0.0", &[PULL];
    hosts_deny_unknown_name: "", "hosts deny = nosuch.invalid", &[PULL];
    auth_users: "", "auth users = alice\nsecrets file = DIR/secrets", &[PULL, PUSH];
    auth_users_others: "", "auth users = bob\nsecrets file = DIR/secrets", &[PULL];
    auth_users_deny: "", "auth users = alice:deny *\nsecrets file = DIR/secrets", &[PULL];
    auth_users_ro: "", "auth users = alice:ro\nsecrets file = DIR/secrets", &[PULL, PUSH];
    auth_users_rw: "", "auth users = alice:rw\nsecrets file = DIR/secrets\nread only = yes", &[PUSH];
    auth_without_secrets: "", "auth users = alice", &[PULL];
    auth_digest_unknown: "", "auth users = alice\nsecrets file = DIR/secrets\nauth digest = foo", &[PULL];
    auth_digest_met: "", "auth users = alice\nsecrets file = DIR/secrets\nauth digest = sha256", &[PULL];
    strict_modes: "", "auth users = alice\nsecrets file = DIR/rules", &[PULL];
    strict_modes_no: "", "auth users = alice\nsecrets file = DIR/rules\nstrict modes = no", &[PULL];
    refuse_options: "", "refuse options = checksum delete", &["-ac @/m/ got/", "-a --delete tree/ @/m/up/", PULL];
    refuse_all_but: "", "refuse options = * !a !v", &[PULL, "-az @/m/ got/"];
    transfer_logging: "", "transfer logging = yes", &[PULL, PUSH, "-a --delete tree/sub/ @/m/sub/", "-an tree/ @/m/other/"];
    log_format: "", "transfer logging = yes\nlog format = %o|%h|%a|%m|%u|%f|%l|%n|%P|%i|%B|%G|%U|%%|%-8l|%L|%Z", &[PULL, PUSH];
    log_format_without_operation: "", "transfer logging = yes\nlog format = %f", &["-a --delete tree/sub/ @/m/sub/"];
    timeout: "", "timeout = 77", &[PULL, PUSH];
    ignore_errors: "", "ignore errors = yes", &["-a --delete tree/ @/m/up/"];
    ignore_nonreadable: "", "ignore nonreadable = yes", &[PULL];
    open_noatime: "", "open noatime = yes", &[PULL];
    dont_compress: "", "dont compress = *", &["-az @/m/ got/"];
    temp_dir: "", "temp dir = /sub", &[PUSH];
    temp_dir_missing: "", "temp dir = /nosuch", &[PUSH];
    early_exec: "", "early exec = echo early $RSYNC_MODULE_NAME $RSYNC_REQUEST >> DIR/c/hooks", &[PULL];
    early_exec_fails: "", "early exec = exit 3", &[PULL];
    pre_xfer_exec: "", "pre-xfer exec = echo $RSYNC_REQUEST $RSYNC_ARG1 $RSYNC_USER_NAME $RSYNC_HOST_ADDR >> DIR/c/hooks", &[PULL, PUSH];
    pre_xfer_exec_fails: "", "pre-xfer exec = echo no way; exit 3", &[PULL, PUSH];
    pre_xfer_exec_fails_silently: "", "pre-xfer exec = exit 3", &[PULL];
    post_xfer_exec: "", "post-xfer exec = echo $RSYNC_EXIT_STATUS $RSYNC_RAW_STATUS $RSYNC_MODULE_NAME >> DIR/c/hooks", &[PULL, "-a @/m/nosuch got/"];
    variables: "", "exclude = %RSYNC_NOSUCH% %RSYNC_MODULE_NAME%.o", &[PULL];
    munge_symlinks_no: "", "munge symlinks = no", &[PULL];
    files_from_in_the_module: "", "", &["-a --files-from=:/list @/m/ got/", "-a --files-from=:/nosuch @/m/ got2/"];
    mkpath_and_relative: "", "transfer logging = yes", &["-a --mkpath tree/sub @/m/far/away/", "-aR tree/./sub/one.o @/m/rel/"];
    options_that_name_directories: "", "", &[
        "-a --backup --backup-dir=/kept tree/sub/ @/m/sub/",
        "-a --link-dest=/sub tree/sub/ @/m/linked/",
        "-a --link-dest=../sub tree/sub/ @/m/linked2/",
        "-a --partial-dir=/parts tree/ @/m/parted/",
        "-a --compare-dest=/nosuch tree/ @/m/compared/",
    ];
    paths_do_not_climb: "", "", &["-a tree/new @/m/../../../climbed", "-a --temp-dir=../../.. tree/new @/m/", "-a --backup-dir=../../out --backup tree/sub/ @/m/sub/"];
}

#[test]
fn use_chroot_yes() {
    // By root only: nobody cannot change its root, so that the C daemon serves nothing; ours does not need to.
    let clients = &[PULL, PUSH, "-a tree/new @/m/no/such/name", "-a @/m/nosuch got/"];
    compare(How { user: ROOT, protocol: 32 }, "", "use chroot = yes", clients);
}

#[test]
fn lines_that_depend_on_time_and_place_are_masked() {
    let world = World::new(Side::C, ROOT, "", "");
    let masked = |line: &str| world.comparable(line);
    assert_eq!(masked("2026/11/21 14:00:00 [12] text [x] y").as_deref(), Some("log: text [x] y"));
    let line = "rsync error: it (code 3) at main.c(8) [sender=3.5.0]";
    assert_eq!(masked(line).as_deref(), Some("rsync error: it (code 3) [sender=3.5.0]"));
    assert_eq!(masked("worker process 7 started"), None);
    assert!(Path::new("/usr/bin/rsync").exists());
}
