//! Nothing outside of a module is read, written or run, whatever a client asks for (spec 09 §10; spec 10
//! §2.3, SEC-110 to SEC-114).

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use bstr::ByteSlice;
use rsync_e2e::daemon::Module;
use rsync_e2e::hostile::data_frame;
use rsync_e2e::program::require_root;
use rsync_e2e::{Compare, Daemon, Outcome, Side, Snapshot, Tree, Work, run};

const SECRET: &str = "TOP SECRET";
const MODULES: [&str; 3] = ["no", "yes", "inner"];

/// `root` is a module full of links that lead out of it, to `outside` and elsewhere; `own` is a client's.
struct Fortress {
    work: Work,
    before: Snapshot,
}

impl Fortress {
    fn new() -> Self {
        let work = Work::new();
        Tree::new()
            .file("root/file", "inside")
            .file("root/sub/file", "inside")
            .file("private/root/file", "inside")
            .mode("private", 0o700)
            .file("outside/secret", SECRET)
            .file("outside/dir/secret", SECRET)
            .file("own/tree/new", "new")
            .file("own/tree/secret", "changed")
            .file("own/tree/out/secret", "changed")
            .file("own/tree/dir/secret", "changed")
            .dir("got")
            .write(work.path());
        let outside = work.join("outside");
        let links: [(&str, &Path); 10] = [
            ("within", Path::new("sub/file")),
            ("sub/up", Path::new("../file")),
            ("out", Path::new("../outside")),
            ("abs", &outside),
            ("sub/deep", Path::new("../../outside")),
            ("leaf", Path::new("../outside/secret")),
            ("top", Path::new("/")),
            ("proc", Path::new("/proc/self/root")),
            ("cwd", Path::new("/proc/self/cwd")),
            ("chain", Path::new("sub/deep/dir")),
        ];
        for (name, target) in links {
            symlink(target, work.join("root").join(name)).unwrap();
        }
        symlink(&outside, work.join("own/tree/jump")).unwrap();
        let before = Snapshot::take(&outside);
        Self { work, before }
    }

    fn path(&self) -> String {
        self.work.path().display().to_string()
    }

    /// Our daemons: one that only reads, and one that takes uploads, each with and without a "chroot", and
    /// with one whose module lies deeper.
    fn daemons(&self) -> [Daemon; 2] {
        let root = self.work.join("root");
        let inner = self.work.join("./root").display().to_string().replace("/root", "/./root");
        let modules = [
            Module::new("yes", &root).line("use chroot = yes"),
            Module::new("no", &root).line("use chroot = no"),
            Module::new("inner", Path::new(&inner)).line("use chroot = yes"),
        ];
        let writable = modules.clone().map(|module| module.line("read only = no"));
        let globals = "reverse lookup = no";
        [Daemon::start(Side::Ours, globals, &modules), Daemon::uploading(Side::Ours, globals, &writable)]
    }

    /// Runs the C client in `own`; a word's `PLACE` is the directory of all this.
    fn client(&self, words: &[String]) -> Outcome {
        let words = words.iter().map(|word| word.replace("PLACE", &self.path()));
        run(Command::new("/usr/bin/rsync").args(words).current_dir(self.work.join("own")))
    }

    #[track_caller]
    fn assert_outside_is_as_it_was(&self, what: &str) {
        let now = Snapshot::take(&self.work.join("outside"));
        let differences = now.differences(&self.before, Compare { directory_times: true, ..Compare::ALL });
        assert!(differences.is_empty(), "{what}: {differences:#?}");
        assert_eq!(fs::metadata(self.work.join("outside/secret")).unwrap().nlink(), 1, "{what}");
    }
}

/// Files beneath a directory, through no link.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn no_path_leads_out_of_a_module_that_is_read() {
    let fortress = Fortress::new();
    let paths = [
        "../outside/",
        "sub/../../outside/",
        "../../../../../../../../../PLACE/outside/",
        "/PLACE/outside/",
        "out/",
        "out/secret",
        "abs/",
        "abs/secret",
        "sub/deep/",
        "sub/deep/secret",
        "leaf",
        "chain/",
        "top/PLACE/outside/",
        "proc/PLACE/outside/",
        "proc/PLACE/outside/secret",
        "cwd/outside/",
        "out/../outside/secret",
        "./out/./secret",
        "ou[t]/",
        "*/secret",
        "o*/d*/s*",
        "sub/./deep/secret",
        "//out//secret",
    ];
    let options = [
        "-r",
        "-rL",
        "-rk",
        "-rR",
        "-rLR",
        "-r --copy-unsafe-links",
        "-rL --safe-links",
        "-rLs",
        "-a --insecure-links",
    ];
    for daemon in fortress.daemons() {
        for (module, options) in MODULES.iter().flat_map(|module| options.map(|options| (module, options))) {
            // Old clients ask the same.
            let protocol = if options == "-rL" { 29 } else { 32 };
            let mut words: Vec<String> = options.split(' ').map(str::to_owned).collect();
            words.push(format!("--protocol={protocol}"));
            words.extend(paths.map(|path| daemon.url(&format!("{module}/{path}"))));
            words.push("../got/".to_owned());
            let outcome = fortress.client(&words);
            assert_ne!(outcome.code, 0, "{options}: there is nothing to be had");
        }
    }
    let got = files(&fortress.work.join("got"));
    let is_secret = |path: &PathBuf| fs::read_to_string(path).unwrap().contains(SECRET);
    let leaked: Vec<&PathBuf> = got.iter().filter(|path| is_secret(path)).collect();
    assert!(leaked.is_empty(), "{leaked:?}");
    fortress.assert_outside_is_as_it_was("pulls");
}

#[test]
fn links_inside_of_a_module_are_followed() {
    let fortress = Fortress::new();
    for daemon in fortress.daemons() {
        for module in MODULES {
            let urls = ["within", "sub/up"].map(|path| daemon.url(&format!("{module}/{path}")));
            let words = [&["-rLI".to_owned()][..], &urls, &["../got/".to_owned()]].concat();
            fortress.client(&words).expect_ok();
            assert_eq!(fs::read(fortress.work.join("got/within")).unwrap(), b"inside");
            assert_eq!(fs::read(fortress.work.join("got/up")).unwrap(), b"inside");
        }
    }
}

/// Uploads that want to get out; `@` is the module.
const ATTACKS: [&str; 39] = [
    "-r tree/ @out/",
    "-r tree/ @abs/",
    "-r tree/ @sub/deep/",
    "-r tree/ @../outside/",
    "-r tree/ @/PLACE/outside/",
    "-r tree/ @top/PLACE/outside/",
    "-r tree/ @proc/PLACE/outside/",
    "-rK tree/ @",
    "-rKR tree/./out/secret @",
    "-rR --no-implied-dirs tree/./out/secret @",
    "-r --inplace tree/secret @leaf",
    "-r --append tree/secret @leaf",
    "-r --delete tree/dir/ @out/",
    "-rK --delete tree/dir/ @chain/",
    "-r --mkpath tree/new @out/a/b/c",
    "-r -T /out tree/ @fresh/",
    "-r -T ../../outside tree/ @fresh/",
    "-r -T PLACE/outside tree/ @fresh/",
    "-r --backup --backup-dir=/out tree/ @",
    "-r --backup --backup-dir=../../outside tree/ @",
    "-r --backup --backup-dir=PLACE/outside tree/ @",
    "-r --partial-dir=/out tree/ @fresh/",
    "-r --partial-dir=../../outside --delay-updates tree/ @fresh/",
    "-rt --link-dest=PLACE/outside tree/ @linked/",
    "-rt --link-dest=../../outside --size-only tree/ @linked/",
    "-rt --link-dest=/out --size-only tree/ @linked/",
    "-rt --copy-dest=/abs --size-only tree/ @linked/",
    "-l tree/jump @",
    "-rK tree/dir/ @jump/",
    "-r tree/secret @jump/secret",
    "-a --remote-option=--log-file=PLACE/outside/log tree/ @",
    "-a -M--insecure-links tree/ @out/",
    "-a -M--temp-dir=PLACE/outside tree/ @",
    "-a -M--write-batch=PLACE/outside/batch tree/ @",
    "-a -M--only-write-batch=PLACE/outside/batch tree/ @",
    "-a -M--read-batch=PLACE/outside/secret tree/ @",
    "-a -M--files-from=PLACE/outside/secret tree/ @",
    "-a -M--copy-as=root tree/ @out/",
    "-a -M--confine-root=/ tree/ @out/",
];

/// Tries the attacks on a module, and looks after each whether anything happened outside.
#[track_caller]
fn attack(module: &str, protocol: u8) {
    let fortress = Fortress::new();
    let [_, daemon] = fortress.daemons();
    let url = |path: &str| daemon.url(&format!("{module}/{path}"));
    for attack in ATTACKS {
        let mut words: Vec<String> = vec![format!("--protocol={protocol}"), "--timeout=60".to_owned()];
        words.extend(attack.split(' ').map(|word| word.strip_prefix('@').map_or(word.to_owned(), url)));
        let outcome = fortress.client(&words);
        fortress.assert_outside_is_as_it_was(&format!("{attack} into {module}\n{}", outcome.stderr));
        // What one attack left is not to help the next.
        for name in ["linked", "fresh"] {
            let _ = fs::remove_dir_all(fortress.work.join("root").join(name));
        }
    }
}

#[test]
fn no_path_leads_out_of_a_module_that_is_written() {
    attack("no", 32);
}

#[test]
fn no_path_leads_out_of_a_module_that_seems_to_be_all_there_is() {
    attack("yes", 31);
}

#[test]
fn no_path_leads_out_of_a_module_that_lies_deeper() {
    attack("inner", 29);
}

/// What a daemon answers to a client of protocol 30 with these arguments.
fn answer(port: u16, module: &str, arguments: &[&str]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut said = format!("@RSYNCD: 30.0\n{module}\n").into_bytes();
    said.extend(arguments.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()));
    said.push(0);
    said.extend(data_frame(&[0; 4]));
    stream.write_all(&said).unwrap();
    // The daemon may have closed already.
    let _ = stream.shutdown(Shutdown::Write);
    let mut heard = Vec::new();
    if let Err(error) = stream.read_to_end(&mut heard) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{arguments:?}: {:?}", heard.as_bstr());
    }
    heard
}

#[test]
fn no_option_of_a_client_reaches_what_is_not_a_client_s() {
    let fortress = Fortress::new();
    let place = fortress.path();
    let made = format!("{place}/made");
    let secret = format!("{place}/outside/secret");
    let run_it = format!("touch {made}");
    let options: [&[&str]; 31] = [
        &["-e", &run_it],
        &["--rsh", &run_it],
        &[&format!("--rsh={run_it}")],
        &[&format!("--rsync-path={run_it}")],
        &[&format!("--config={secret}")],
        &["--daemon"],
        &["--daemon", &format!("--config={secret}")],
        &[&format!("--dparam=log file={made}")],
        &[&format!("--log-file={made}")],
        &[&format!("--log-file={made}"), "--log-file-format=%f"],
        &[&format!("--log-file-format={made}")],
        &[&format!("--write-batch={made}")],
        &[&format!("--only-write-batch={made}")],
        &[&format!("--read-batch={secret}")],
        &[&format!("--password-file={secret}")],
        &[&format!("--early-input={secret}")],
        &[&format!("--exclude-from={secret}")],
        &[&format!("--include-from={secret}")],
        &[&format!("--filter=merge {secret}")],
        &[&format!("--filter=dir-merge,- {secret}")],
        &[&format!("--files-from={secret}")],
        &["--files-from=../outside/secret"],
        &["--files-from=leaf"],
        &["--files-from=:leaf"],
        &["--insecure-links"],
        &["--confine-root=/"],
        &["--copy-as=root:root"],
        &["--iconv=utf-8,latin1"],
        &[&format!("--temp-dir={place}")],
        &["--copy-devices"],
        &[&format!("--debug=ALL{run_it}")],
    ];
    for (daemon, module) in fortress.daemons().into_iter().zip(["no", "inner"]) {
        let path = format!("{module}/file");
        let requests = options.iter().flat_map(|options| {
            [&["--server", "--sender"][..], &["--server"]]
                .map(|direction| [direction, &["-re.LsfxCIu"], options, &[".", &path]].concat())
        });
        // Whoever is refused is given time to read why.
        thread::scope(|scope| {
            for arguments in requests {
                let (port, made) = (daemon.port(), &made);
                scope.spawn(move || {
                    let heard = answer(port, module, &arguments);
                    assert!(!heard.contains_str(SECRET), "{arguments:?}: {:?}", heard.as_bstr());
                    assert!(!Path::new(made).exists(), "{arguments:?}");
                });
            }
        });
        assert!(!daemon.log().contains(SECRET), "{}", daemon.log());
    }
    fortress.assert_outside_is_as_it_was("options");
}

#[test]
fn rules_of_a_client_read_no_file_outside() {
    let fortress = Fortress::new();
    let secret = fortress.work.join("outside/secret").display().to_string();
    for daemon in fortress.daemons() {
        for rule in [
            format!(". {secret}"),
            ". ../outside/secret".to_owned(),
            ". leaf".to_owned(),
            ": leaf".to_owned(),
            ":e ../outside/secret".to_owned(),
            format!(": {secret}"),
            ".- out/secret".to_owned(),
        ] {
            for module in MODULES {
                let url = daemon.url(&format!("{module}/"));
                let outcome = fortress.client(&["-r".into(), format!("-f{rule}"), url]);
                let said = format!("{}{}", outcome.stdout, outcome.stderr);
                assert!(!said.contains(SECRET) && !said.contains("TOP"), "{rule}: {said}");
            }
        }
        assert!(!daemon.log().contains(SECRET), "{}", daemon.log());
    }
}

/// What both daemons tell the same client, and what ours left in the module.
fn beside_c(
    lines: &[&str],
    clients: &[&str],
    prepare: impl Fn(&Fortress),
) -> [(Vec<(i32, String)>, Fortress); 2] {
    [Side::C, Side::Ours].map(|side| {
        let fortress = Fortress::new();
        prepare(&fortress);
        let place = fortress.path();
        let module = lines.iter().fold(Module::new("m", &fortress.work.join("root")), |module, line| {
            module.line(&line.replace("PLACE", &place))
        });
        let daemon = Daemon::uploading(side, "reverse lookup = no", &[module]);
        let said = clients.iter().map(|words| {
            let words = words.split(' ').map(|word| match word.strip_prefix('@') {
                Some(path) => daemon.url(path).replace("127", "a$b@127"),
                None => word.to_owned(),
            });
            let words: Vec<String> = words.collect();
            let outcome = fortress.client(&words);
            let text = outcome.stderr.to_string().replace(&place, "PLACE");
            let lines = text.lines().filter(|line| !line.contains("connection unexpectedly closed"));
            (
                outcome.code,
                lines.map(|line| line.split(") at ").next().unwrap_or_default().to_owned() + "\n").collect(),
            )
        });
        let said = said.collect();
        (said, fortress)
    })
}

#[test]
fn a_directory_that_munged_links_would_lead_to_closes_the_module() {
    let [(theirs, _), (ours, _)] =
        beside_c(&["munge symlinks = yes", "use chroot = yes"], &["@m/file"], |fortress| {
            fs::create_dir(fortress.work.join("root/rsyncd-munged")).unwrap();
        });
    assert_eq!(ours, theirs);
    assert!(ours[0].1.contains("@ERROR: daemon security issue -- contact admin"), "{ours:?}");
}

#[test]
fn what_a_module_hides_has_no_other_name() {
    let lines = ["exclude = /sub/ *.o", "read only = no", "use chroot = yes"];
    let clients = [
        "-r @m/sub/ ../got/",
        "-r @m/./sub/file ../got/",
        "-r @m/fresh/../sub/file ../got/",
        "-r @m/sub/../sub/file ../got/",
        "-r tree/ @m/sub/",
        "-r tree/new @m/fresh/../sub/new",
        "-r --link-dest=/sub tree/ @m/fresh/",
        "-r --backup-dir=../sub --backup tree/ @m/",
        "-r --partial-dir=/sub tree/ @m/",
        "-r --temp-dir=/fresh/../sub tree/ @m/",
    ];
    let [(theirs, _), (ours, fortress)] = beside_c(&lines, &clients, |_| ());
    for ((words, ours), theirs) in clients.iter().zip(&ours).zip(&theirs) {
        assert_eq!(ours.0, theirs.0, "{words}\n{}\n{}", ours.1, theirs.1);
        assert_ne!(ours.0, 0, "{words}");
    }
    assert!(files(&fortress.work.join("got")).is_empty());
    assert_eq!(fs::read(fortress.work.join("root/sub/file")).unwrap(), b"inside");
    assert!(!fortress.work.join("root/sub/new").exists());
}

#[test]
fn what_a_module_hides_is_reached_through_a_link_that_it_shows() {
    // SEC-034: filters are about names, and administrators count on that.
    let lines = ["exclude = /sub/", "read only = no", "use chroot = no"];
    let clients = ["-r tree/new @m/way/", "-r tree/new @m/sub/", "-rL @m/way/file ../got/"];
    let [(theirs, their), (ours, our)] = beside_c(&lines, &clients, |fortress| {
        symlink("sub", fortress.work.join("root/way")).unwrap();
    });
    assert_eq!(ours, theirs);
    for fortress in [their, our] {
        assert_eq!(fs::read(fortress.work.join("root/sub/new")).unwrap(), b"new");
        assert_eq!(fs::read(fortress.work.join("got/file")).unwrap(), b"inside");
    }
}

#[test]
fn a_user_s_name_is_no_command() {
    let hook = "pre-xfer exec = echo \"%RSYNC_USER_NAME%\" >> PLACE/made";
    let lines = ["auth users = *", "strict modes = no", "secrets file = PLACE/own/secrets", hook];
    let [(theirs, _), (ours, fortress)] = beside_c(&lines, &["--password-file=secret @m/file"], |fortress| {
        fs::write(fortress.work.join("own/secrets"), "a$b:secret\n").unwrap();
        fs::write(fortress.work.join("own/secret"), "secret\n").unwrap();
        for file in ["own/secrets", "own/secret"] {
            fs::set_permissions(fortress.work.join(file), fs::Permissions::from_mode(0o600)).unwrap();
        }
    });
    assert_eq!(ours, theirs);
    assert_eq!(ours[0].0, 5, "{ours:?}");
    assert!(!fortress.work.join("made").exists());
}

#[test]
fn a_worker_has_its_module_and_nothing_else() {
    require_root();
    let fortress = Fortress::new();
    let root = fortress.work.join("private/root");
    let pid_file = format!("pid file = {}", fortress.work.join("pid").display());
    // Nobody may enter the directory above: the module was opened before.
    let module = Module::new("m", &root).line("uid = nobody").line("gid = nogroup");
    let daemon = Daemon::start(Side::Ours, &format!("reverse lookup = no\n{pid_file}"), &[module]);
    let outcome = fortress.client(&["-r".to_owned(), daemon.url("m/"), "../got/".to_owned()]);
    outcome.expect_ok();
    assert_eq!(fs::read(fortress.work.join("got/file")).unwrap(), b"inside");
    let log = daemon.log();
    let worker = log.split("worker process ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let held = fs::read_dir(format!("/proc/{worker}/fd")).unwrap().flatten();
    for descriptor in held.map(|entry| fs::read_link(entry.path()).unwrap_or_default()) {
        let what = descriptor.display().to_string();
        let is_its_own = descriptor == root
            || ["socket:", "pipe:", "anon_inode:", "/dev/null"].iter().any(|kind| what.starts_with(kind))
            // Where everything a test's daemon prints goes.
            || descriptor == daemon.file("output");
        assert!(is_its_own, "{what}");
    }
}
