//! The restricted command of an `authorized_keys` file: what it lets through, what it refuses, and that
//! nothing leads out of its directory (spec 08 §15, 10 §3.13 and §8 item 1).

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use rsync_e2e::matrix::{source, stale_destination};
use rsync_e2e::race::while_exchanging;
use rsync_e2e::{Compare, Outcome, Side, Snapshot, Tree, Work, run};

/// A directory `root` that a key opens, and things beside it that it does not.
struct Place {
    work: Work,
}

impl Place {
    fn new(inside: &Tree) -> Self {
        let work = Work::new();
        inside.write(&work.join("root"));
        Tree::new().file("secret", "secret").file("d/f", "secret").write(&work.join("outside"));
        fs::create_dir(work.join("home")).unwrap();
        Self { work }
    }

    fn root(&self) -> PathBuf {
        self.work.join("root")
    }

    /// A remote shell whose other end runs `program`, given as words, as a forced command. The session
    /// begins in `home`.
    fn shell(&self, program: &str) -> String {
        let path = self.work.join("ssh");
        let script = format!(
            "#!/bin/sh\nwhile :; do case \"$1\" in -l) shift 2;; -*) shift;; *) break;; esac; done\nshift\n\
             cd {}\nSSH_ORIGINAL_COMMAND=\"$*\" SSH_CONNECTION='192.0.2.7 1 192.0.2.1 22' exec {program} {}\n",
            self.work.join("home").display(),
            self.root().display()
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    /// Runs `client` with this restriction at the other end.
    fn rsync(&self, client: Side, restriction: &str, words: &[&str]) -> Outcome {
        let shell = self.shell(&format!("{} --restricted {restriction}", Side::Ours.rsync().display()));
        let mut command = Command::new(client.rsync());
        run(command.current_dir(self.work.path()).args(["-e", &shell]).args(words))
    }

    /// Gives the restricted command this command line, and nothing on standard input.
    fn command(&self, restriction: &[&str], line: &str) -> Outcome {
        let mut command = Command::new(Side::Ours.rsync());
        command.current_dir(self.work.join("home")).env("SSH_ORIGINAL_COMMAND", line);
        run(command.arg("--restricted").args(restriction).arg(self.root()))
    }
}

#[test]
fn both_clients_push_and_pull_what_they_name() {
    for client in [Side::C, Side::Ours] {
        let place = Place::new(&stale_destination());
        source().write(&place.work.join("source"));
        place.rsync(client, "", &["-aH", "--no-D", "--mkpath", "source/", "h:sub/tree"]).expect_ok();
        place
            .rsync(client, "", &["-aHc", "--no-D", "--delete", "--link-dest=/sub/tree", "source/", "h:/sub"])
            .expect_ok();
        place.rsync(client, "-ro", &["-aH", "h:sub/", "back/"]).expect_ok();
        // Devices and special files stay away whatever is asked for.
        let mut copy = Command::new(Side::C.rsync());
        run(copy.current_dir(place.work.path()).args(["-aH", "--no-D", "source/", "same/"])).expect_ok();
        let [same, back] = ["same", "back"].map(|name| Snapshot::take(&place.work.join(name)));
        same.assert_same(&back, Compare::ALL);
    }
}

#[test]
fn every_shape_of_argument_delivers_what_it_names() {
    let tree = Tree::new().file("a/x", "1").file("a/b/y", "2").file("with blank", "3").file("c/x", "4");
    for client in [Side::C, Side::Ours] {
        for (words, expected) in [
            (&["h:a"][..], &["a", "a/b", "a/b/y", "a/x"][..]),
            (&["h:a/"], &["b", "b/y", "x"]),
            (&["h:/a/x"], &["x"]),
            (&["h:a/x", ":c"], &["c", "c/x", "x"]),
            (&["h:with blank"], &["with blank"]),
            (&["--old-args", "h:*/x"], &["x"]),
            (&["-R", "h:a/./b/y"], &["b", "b/y"]),
            (&["--files-from=names", "h:a"], &["b", "b/y"]),
            (&["h:"], &["a", "a/b", "a/b/y", "a/x", "c", "c/x", "with blank"]),
        ] {
            let place = Place::new(&tree);
            fs::write(place.work.join("names"), "b/y\n").unwrap();
            place.rsync(client, "-ro", &[&["-r"], words, &["d/"]].concat()).expect_ok();
            let found = Snapshot::take(&place.work.join("d"));
            let names: Vec<String> = found
                .names()
                .filter(|name| *name != "." && !name.is_empty())
                .map(ToString::to_string)
                .collect();
            assert_eq!(names, expected, "{client:?} {words:?}");
        }
    }
}

#[test]
fn a_link_to_the_program_is_the_restricted_command_too() {
    let place = Place::new(&Tree::new().file("f", "x"));
    let link = place.work.join("rrsync");
    symlink(Side::Ours.rsync(), &link).unwrap();
    let shell = place.shell(&format!("{} -ro", link.display()));
    let mut command = Command::new(Side::C.rsync());
    run(command.current_dir(place.work.path()).args(["-e", &shell, "h:f", "got"])).expect_ok();
    assert_eq!(fs::read(place.work.join("got")).unwrap(), b"x");
    let called = run(Command::new(&link).arg("-ro").env_remove("SSH_ORIGINAL_COMMAND"));
    called.expect_code(1);
    let expected = format!("{} error: the following arguments are required: DIR\n", link.display());
    assert_eq!(called.stderr, expected.as_str());
}

/// The words alone are compared beside the table of them; here it is about what lies in the directory.
#[test]
fn refusals_are_those_of_rrsync() {
    let place = Place::new(&Tree::new().file("f", "x").dir("d"));
    symlink(place.work.join("outside"), place.root().join("esc")).unwrap();
    let theirs = |restriction: &[&str], line: &str| {
        let mut command = Command::new("/usr/bin/rrsync");
        command.current_dir(place.work.join("home")).env("SSH_ORIGINAL_COMMAND", line);
        run(command.args(restriction).arg(place.root()))
    };
    let all: &[&str] = &["-no-lock"];
    for (restriction, line) in [
        (all, "id"),
        (all, "rsync --server -r x"),
        (all, "rsync --server -rL . x"),
        (all, "rsync --server --write-devices . x"),
        (all, "rsync --server -r --link-dest ../o . x"),
        (all, "rsync --server -r . esc/x"),
        (all, "rsync --server --sender -r . esc/secret"),
        (all, "rsync --server --sender -r . f esc/"),
        (all, "rsync --server -r --temp-dir esc . d"),
        (all, "rsync --server -r --temp-dir none . d"),
        (all, "rsync --server -r --backup-dir=esc/b . d"),
        (all, "rsync --server --sender --files-from=esc/secret . d"),
        (&["-ro"], "rsync --server -r . d"),
        (&["-wo"], "rsync --server --files-from=f . d"),
        (&["-no-del", "-no-lock"], "rsync --server -r --delete . d"),
        (&["-x"], "rsync --server -r . d"),
    ] {
        let (c, ours) = (theirs(restriction, line), place.command(restriction, line));
        assert_eq!(ours.code, 1, "{line}: {}", ours.stderr);
        let c = c.stderr.to_string().replace("/usr/bin/rrsync", "rrsync");
        let last = |text: &str| text.lines().last().unwrap_or_default().to_owned();
        assert_eq!(last(&ours.stderr.to_string()), last(&c), "{restriction:?} {line}");
    }
    assert_eq!(place.command(&["-ro"], "true").expect_ok().stderr, "");
    place.command(&["-ro"], "").expect_code(1).expect_error_text("rrsync error: Not invoked via sshd");
}

#[test]
fn what_is_only_read_or_only_written_stays_so() {
    let place = Place::new(&Tree::new().file("f", "old").file("keep", "x"));
    Tree::new().file("f", "newer").file("new", "n").write(&place.work.join("source"));
    for client in [Side::C, Side::Ours] {
        let push = |restriction: &str, more: &[&str]| {
            place.rsync(client, restriction, &[&["-rI"], more, &["source/", "h:"]].concat())
        };
        push("-ro", &[]).expect_code(12).expect_error_text("sending to read-only server is not allowed");
        let pulled = place.rsync(client, "-wo", &["h:f", "got"]);
        pulled.expect_code(12).expect_error_text("reading from write-only server is not allowed");
        push("-no-del", &["--delete"]).expect_code(12).expect_error_text("option --delete");
        push("-no-overwrite", &[]).expect_ok();
        assert_eq!(fs::read(place.root().join("f")).unwrap(), b"old");
        assert_eq!(fs::read(place.root().join("new")).unwrap(), b"n");
        push("-wo", &["--existing"]).expect_ok();
        assert_eq!(fs::read(place.root().join("f")).unwrap(), b"newer");
        fs::write(place.root().join("f"), "old").unwrap();
    }
}

#[test]
fn one_run_at_a_time_unless_it_is_allowed() {
    let place = Place::new(&Tree::new().file("f", "x"));
    let lock = fs::File::open(place.root()).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let refused = place.rsync(Side::Ours, "", &["h:f", "got"]);
    refused.expect_error_text("Another instance of rrsync is already accessing this directory.");
    for restriction in ["-ro", "-no-lock"] {
        place.rsync(Side::Ours, restriction, &["h:f", "got"]).expect_ok();
    }
}

#[test]
fn commands_are_logged_where_a_log_is_wanted() {
    let place = Place::new(&Tree::new().file("f", "x"));
    place.rsync(Side::C, "-ro", &["h:f", "got"]).expect_ok();
    let log = place.work.join("home/rrsync.log");
    assert!(!log.exists());
    symlink(place.work.join("outside/secret"), &log).unwrap();
    place.rsync(Side::C, "-ro", &["h:f", "got"]).expect_ok();
    assert_eq!(fs::read(place.work.join("outside/secret")).unwrap(), b"secret");
    fs::remove_file(&log).unwrap();
    fs::write(&log, "").unwrap();
    place.rsync(Side::C, "-ro", &["h:f", "got"]).expect_ok();
    let text = fs::read_to_string(&log).unwrap();
    let (time, rest) = text.split_once(' ').unwrap();
    assert_eq!(
        (time.len(), rest.starts_with("192.0.2.7        rsync --server --sender -e.")),
        (8, true),
        "{text}"
    );
}

#[test]
fn links_are_munged_on_demand_and_devices_are_never_made() {
    let place = Place::new(&Tree::new());
    Tree::new().symlink("l", "/etc/passwd").fifo("p").file("f", "x").write(&place.work.join("source"));
    place.rsync(Side::C, "-munge", &["-a", "source/", "h:"]).expect_ok();
    assert_eq!(fs::read_link(place.root().join("l")).unwrap(), PathBuf::from("/rsyncd-munged//etc/passwd"));
    assert!(!place.root().join("p").exists());
    place.rsync(Side::C, "-munge", &["-a", "h:", "back/"]).expect_ok();
    assert_eq!(fs::read_link(place.work.join("back/l")).unwrap(), PathBuf::from("/etc/passwd"));
}

#[test]
fn no_link_that_changes_under_way_leads_outside() {
    let place = Place::new(&Tree::new().file("d/f", "inside"));
    let (link, real, outside) =
        (place.root().join("d"), place.root().join("r"), place.work.join("outside/d"));
    fs::rename(&link, &real).unwrap();
    symlink(&real, &link).unwrap();
    let other = place.root().join("next");
    symlink(&outside, &other).unwrap();
    while_exchanging(&link, &other, || {
        fs::write(place.work.join("pushed"), "pushed").unwrap();
        // Any push may find the link leading outside, but not all of them.
        for round in 0..200 {
            if round >= 6 && fs::read(real.join("f")).unwrap() == b"pushed" {
                break;
            }
            let client = if round % 2 == 0 { Side::C } else { Side::Ours };
            for from in ["h:d/f", "h:d/", "h:d/./f"] {
                place.rsync(client, "-ro", &["-r", from, "got/"]);
            }
            place.rsync(client, "", &["-I", "pushed", "h:d/f"]);
        }
    });
    for (_, content) in files(&place.work.join("got")) {
        assert_ne!(content, b"secret");
    }
    assert_eq!(fs::read(outside.join("f")).unwrap(), b"secret");
    for left in [&link, &other] {
        fs::remove_file(left).unwrap();
    }
    symlink(&real, &link).unwrap();
    place.rsync(Side::C, "", &["-I", "pushed", "h:d/f"]).expect_ok();
    assert_eq!(fs::read(real.join("f")).unwrap(), b"pushed");
}

/// The regular files directly in a directory, which may be missing.
fn files(dir: &std::path::Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter_map(|path| fs::read(&path).ok().map(|content| (path, content)))
        .collect()
}
