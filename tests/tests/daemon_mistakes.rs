//! What users of a daemon get wrong: our client answers every mistake with the exit code and the texts of the
//! C client, whichever daemon it is made with (spec 01 §1, §2; 08 §13; 09).

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;

use rsync_e2e::daemon::{Module, free_port};
use rsync_e2e::{Daemon, Side, Tree, Twins, Work};

/// The words of clients; `HOST` is the daemon, `DEAD` a port where nobody listens.
const MISTAKES: &[&str] = &[
    "rsync://HOST/nosuch",
    "-r rsync://HOST/nosuch/x d/",
    "-r s/ rsync://HOST/nosuch/",
    "rsync://HOST/pub/none",
    "rsync://HOST/pub/none/",
    "-r rsync://HOST/pub/none d/",
    "-r rsync://HOST/pub/a rsync://HOST/pub/none d/",
    "-r rsync://HOST/pub/../../etc d/",
    "-r rsync://HOST/pub/a/ d/",
    "-r s/ rsync://HOST/pub/",
    "-r rsync://HOST/drop/ d/",
    "rsync://HOST/drop/",
    "-r rsync://HOST/pub/ d/ --remove-source-files",
    "-rc rsync://HOST/narrow/ d/",
    "-r --delete s/ rsync://HOST/narrow/",
    "-r --del s/ rsync://HOST/narrow/",
    "-rz rsync://HOST/narrow/ d/",
    "-r --iconv=utf8 rsync://HOST/pub/ d/",
    "-r rsync://HOST/closed/ d/",
    "-r rsync://HOST/full/ d/",
    "-r rsync://HOST/gone/ d/",
    "-r s/ rsync://HOST/up/a/b/c/",
    "-r s/plain rsync://HOST/up/plain/x",
    "-r s/ rsync://HOST/up/file",
    "-r --backup-dir=../../x --backup s/ rsync://HOST/up/",
    "-r --files-from=:none rsync://HOST/pub/ d/",
    "-r --files-from=none rsync://HOST/pub/ d/",
    "-r --password-file=right rsync://alice@HOST/auth/ d/",
    "-r --password-file=wrong rsync://alice@HOST/auth/ d/",
    "-r --password-file=right rsync://nobody@HOST/auth/ d/",
    "-r --password-file=open rsync://alice@HOST/auth/ d/",
    "-r --password-file=empty rsync://alice@HOST/auth/ d/",
    "-r --password-file=none rsync://alice@HOST/auth/ d/",
    "-r --password-file=none rsync://HOST/pub/ d/",
    "-r --early-input=none rsync://HOST/pub/ d/",
    "-r --early-input=long rsync://HOST/pub/ d/",
    "-r rsync://HOST d/",
    "-r s/ rsync://HOST/",
    "-r s/ rsync://HOST/up rsync://HOST/up",
    "-r rsync://HOST/pub/a s/plain d/",
    "-r rsync://HOST/pub/a rsync://localhost/pub/a d/",
    "-r rsync://HOST/pub/a d/ --protocol=33",
    "-r rsync://HOST/pub/a file/",
    "-r rsync://HOST/pub/ file",
    "-r rsync://127.0.0.1:DEAD/pub d/",
    "-r --contimeout=5 rsync://127.0.0.1:DEAD/pub d/",
    "--no-motd rsync://HOST/",
    "--no-motd rsync://HOST/nosuch",
    "-r -M--nosuch rsync://HOST/pub/ d/",
    "-r -M--log-file=x rsync://HOST/pub/ d/",
    "-r -M--daemon rsync://HOST/pub/ d/",
    "-r --address=nosuch.invalid rsync://HOST/pub/ d/",
    "-r --sockopts=NOSUCH rsync://HOST/pub/ d/",
];

/// A daemon with modules to go wrong with.
fn daemon(side: Side, work: &Work) -> Daemon {
    Tree::new()
        .file("m/a", "a")
        .file("m/sub/b", "b")
        .dir("up")
        .dir("drop")
        .file("up/file", "f")
        .write(work.path());
    std::fs::write(work.join("secrets"), "alice:secret\n").expect("written");
    std::fs::set_permissions(work.join("secrets"), PermissionsExt::from_mode(0o600)).expect("closed");
    let module = |name: &str, dir: &str, lines: &[&str]| {
        lines.iter().fold(Module::new(name, &work.join(dir)), |module, line| module.line(line))
    };
    let secrets = format!("secrets file = {}", work.join("secrets").display());
    let modules = [
        module("pub", "m", &["comment = what there is"]),
        module("up", "up", &["read only = no"]),
        module("drop", "drop", &["read only = no", "write only = yes"]),
        module("narrow", "m", &["read only = no", "refuse options = checksum delete compress"]),
        module("closed", "m", &["hosts deny = *"]),
        module("full", "m", &["max connections = -1"]),
        module("gone", "nosuch", &[]),
        module("auth", "m", &["auth users = alice", &secrets]),
    ];
    Daemon::uploading(side, "motd file = /etc/hostname\n", &modules)
}

#[test]
fn mistakes_with_a_daemon_are_answered_like_c() {
    for side in [Side::C, Side::Ours] {
        let work = Work::new();
        let daemon = daemon(side, &work);
        let (port, dead) = (daemon.port(), free_port());
        let tree = Tree::new()
            .file("s/plain", "1")
            .dir("d")
            .file("file", "f")
            .file("right", "secret\n")
            .mode("right", 0o600)
            .file("wrong", "guess\n")
            .mode("wrong", 0o600)
            .file("empty", "")
            .mode("empty", 0o600)
            .file("open", "secret\n")
            .mode("open", 0o644)
            .file("long", vec![b'x'; 6000]);
        let address = format!("127.0.0.1:{port}");
        let fill = |words: &str| words.replace("HOST", &address).replace("DEAD", &dead.to_string());
        let mut differing = String::new();
        for mistake in MISTAKES {
            let twins = Twins::new(tree.clone()).line(&fill(mistake));
            let [theirs, ours] = [Side::C, Side::Ours].map(|client| twins.with(client).runs);
            if theirs != ours {
                let _ = writeln!(differing, "{mistake}\nours: {ours:?}\nC:    {theirs:?}\n");
            }
        }
        assert!(differing.is_empty(), "with the daemon of {side:?}:\n{differing}");
    }
}
