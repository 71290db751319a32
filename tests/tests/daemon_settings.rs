//! Who serves, from where, and in which charset: parameters of `rsyncd.conf` that need more than a line,
//! beside the C daemon.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;

use rsync_e2e::Side;
use rsync_e2e::program::{is_root, require_root};
use rsync_e2e::side_by_side::SideBySide;

/// `nobody` and `nogroup`.
const NOBODY: u32 = 65_534;
/// Of most systems.
const DAEMON: u32 = 1;

const PULL: &str = "-a @/m/ got/";
const PUSH: &str = "-r tree/ @/m/up/";
const HOOK: &str = "post-xfer exec = echo $RSYNC_EXIT_STATUS $RSYNC_RAW_STATUS >> DIR/c/status\n";

/// Both daemons as root, with these lines instead of the ones that keep them root.
fn of_root(module: &str) -> SideBySide {
    SideBySide::new("uid =\ngid =", module)
}

#[test]
fn a_daemon_of_root_serves_as_the_users_and_groups_of_a_module() {
    require_root();
    for module in [
        "",
        "uid = nobody",
        "uid = daemon\ngid = *",
        "uid = 1\ngid = nogroup, daemon",
        "gid = ,nogroup,daemon",
        "uid = nosuch",
        "gid = nosuch",
        "uid = -2",
        "uid = 12x",
        "gid = *",
    ] {
        of_root(module).run(&[PULL, PUSH]);
    }
}

#[test]
fn supplementary_groups_open_what_is_theirs() {
    require_root();
    let of_daemons_group = |dir: &Path| {
        let file = dir.join("m/file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        lchown(&file, Some(0), Some(DAEMON)).unwrap();
    };
    for module in ["uid = nobody\ngid = nogroup", "uid = nobody\ngid = nogroup daemon"] {
        of_root(module).prepared(of_daemons_group).run(&["-a @/m/file got", "-a @/m/sub got2"]);
    }
}

#[test]
fn a_path_with_an_inner_directory_serves_what_is_in_it() {
    let inner = "path = DIR/m/./sub\n";
    for chroot in ["use chroot = yes", "use chroot = no", "use chroot = unset"] {
        if is_root() {
            let module = format!("{inner}{chroot}\nuid = 0\ngid = 0");
            of_root(&module).run(&[PULL, PUSH, "-a @/m/nosuch got", "-a tree/new @/m/no/such/name"]);
        }
    }
}

#[test]
fn without_root_nobody_becomes_somebody_else() {
    require_root();
    for module in [
        "use chroot = unset",
        "use chroot = no",
        "uid = nobody",
        "uid = daemon",
        "uid = 0",
        "gid = nogroup",
        "gid = daemon",
        "gid = *",
        "uid = nosuch",
        "gid = nosuch",
    ] {
        SideBySide::new("", module).of_user(NOBODY).run(&[PULL]);
    }
}

#[test]
fn connections_are_served_as_the_daemons_user_and_group() {
    require_root();
    let secret = |dir: &Path| {
        fs::set_permissions(dir.join("m/file"), fs::Permissions::from_mode(0o600)).unwrap();
        lchown(dir.join("secrets"), Some(NOBODY), Some(NOBODY)).unwrap();
        fs::set_permissions(dir.join("c"), fs::Permissions::from_mode(0o777)).unwrap();
    };
    let nobody = "uid =\ngid =\ndaemon uid = nobody\ndaemon gid = nogroup";
    for (globals, module) in [
        (nobody, ""),
        (nobody, "use chroot = unset"),
        (nobody, "uid = nobody"),
        (nobody, "uid = root"),
        (nobody, "gid = nogroup"),
        (nobody, "auth users = alice\nsecrets file = DIR/secrets"),
        (nobody, "pre-xfer exec = (id -u; id -g) > DIR/c/who"),
        ("uid =\ngid =\ndaemon uid = nobody", ""),
        ("daemon gid = nogroup", "uid = daemon\ngid = daemon"),
    ] {
        SideBySide::new(globals, module).prepared(secret).run(&[PULL, "-r tree/new @/m/"]);
    }
    for globals in ["daemon uid = nosuch", "daemon gid = nogroup,daemon"] {
        SideBySide::new(globals, "").run(&["@"]);
    }
}

#[test]
fn the_secrets_of_others_are_not_for_a_daemon_without_rights() {
    require_root();
    let globals = "uid =\ngid =\ndaemon uid = nobody\ndaemon gid = nogroup";
    SideBySide::new(globals, "auth users = alice\nsecrets file = DIR/secrets").run(&[PULL]);
    for globals in ["daemon uid = daemon", "daemon gid = daemon", "daemon chroot = DIR"] {
        SideBySide::new(globals, "").of_user(NOBODY).run(&["@"]);
    }
}

#[test]
fn connections_see_the_daemons_root() {
    require_root();
    let shell = |dir: &Path| {
        fs::write(dir.join("m/rules"), "*.o\n").unwrap();
    };
    let globals = "daemon chroot = DIR\nmotd file = /motd";
    for module in [
        "path = /m",
        "path = /m\nuse chroot = yes",
        "path = /m/./sub",
        "path = /m\nexclude from = /m/rules",
        "path = /m\nauth users = alice\nsecrets file = /secrets",
        "path = /m\nlock file = /m/sub/lock\nmax connections = 1",
        "path = /m\nlog file = /log-of-m",
        "path = DIR/m",
    ] {
        SideBySide::new(globals, module).prepared(shell).run(&[PULL, "-r tree/new @/m/"]);
    }
    SideBySide::new("daemon chroot = DIR/nosuch", "").run(&["@"]);
}

/// A file with a name in ISO 8859-1, and one to push in UTF-8.
fn with_accents(dir: &Path) {
    fs::write(dir.join("m").join(OsStr::from_bytes(b"caf\xe9")), "x").unwrap();
    fs::write(dir.join("c/tree/na\u{ef}ve"), "y").unwrap();
}

#[test]
fn names_are_converted_for_clients_that_want_it() {
    for protocol in [29, 30, 31, 32] {
        let clients = [
            format!("-a --protocol={protocol} --iconv=utf8,utf8 @/m/ got/"),
            format!("-as --protocol={protocol} --iconv=utf8,utf8 @/m/caf\u{e9} one/"),
            format!("-rlp --protocol={protocol} --iconv=utf8 tree/ @/m/up/"),
            format!("-rlps --protocol={protocol} --iconv=utf8 tree/na\u{ef}ve @/m/\u{e9}t\u{e9}/"),
        ];
        let clients = clients.each_ref().map(String::as_str);
        for client in [Side::C, Side::Ours] {
            SideBySide::new("", "charset = ISO-8859-1\ntransfer logging = yes")
                .prepared(with_accents)
                .client(client)
                .run(&clients);
        }
    }
}

#[test]
fn a_charset_decides_whether_names_may_be_converted() {
    for module in [
        "",
        "charset = nosuch",
        "charset = -",
        "charset = latin1,utf8",
        "charset = latin1\nrefuse options = iconv",
        "charset = latin1\nrefuse options = no-iconv",
        "charset = ISO-8859-%RSYNC_TEST_PART%",
    ] {
        SideBySide::new("", &format!("{HOOK}{module}"))
            .prepared(with_accents)
            .variable("RSYNC_TEST_PART", "1")
            .run(&["-a --iconv=utf8,utf8 @/m/ got/", "-r --iconv=utf8 tree/ @/m/up/", PULL]);
    }
}

#[test]
fn a_hook_learns_how_every_session_ended() {
    let obstacle = |dir: &Path| fs::create_dir(dir.join("m/rsyncd-munged")).unwrap();
    for module in [
        "",
        "early exec = exit 3",
        "pre-xfer exec = echo no; exit 3",
        "pre-xfer exec = kill -9 $$",
        "path = DIR/nosuch",
        "path = DIR/nosuch\nuse chroot = yes",
        "uid = nosuch",
        "path =",
        "exclude from = DIR/nosuch",
        "filter = x,y foo",
        "munge symlinks = yes\nuse chroot = yes",
        "refuse options = r",
        "write only = yes",
        "exclude = /file",
        "pre-xfer exec = echo %RSYNC_MODULE_PATH%\npath = DIR/a b",
    ] {
        SideBySide::new("", &format!("{HOOK}{module}")).prepared(obstacle).run(&[PULL, "-a @/m/file got"]);
    }
}

#[test]
fn what_a_module_hides_does_not_exist_however_it_is_named() {
    let clients = ["-a @/m/sub got", "-a @/m/sub/ got", "-aR @/m/sub/deep got", "-a @/m/file @/m/sub got"];
    for chroot in ["use chroot = no", "use chroot = yes"] {
        SideBySide::new("", &format!("exclude = /sub/\n{chroot}")).run(&clients);
    }
}

/// A program that knows some users and groups, and writes down what it is asked.
fn with_converter(dir: &Path) {
    let script = "#!/bin/sh\nwhile read kind what; do echo $kind $what >> DIR/asked\ncase $kind:$what in\n\
                  uid:1234) echo alice;; gid:2345) echo staff;; usr:bob) echo 4321;; grp:team) echo 5432;;\n\
                  usr:odd) echo 12x;; usr:big) echo 99999999999;; *) echo;;\nesac; done\n";
    let (program, here) = (dir.join("convert"), dir.to_str().unwrap());
    fs::write(&program, script.replace("DIR", here)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["m/file", "c/tree/new"] {
        lchown(dir.join(name), Some(1234), Some(2345)).unwrap();
    }
}

#[test]
fn a_converter_knows_the_users_and_groups_of_a_module() {
    require_root();
    SideBySide::new("", "name converter = DIR/convert").prepared(with_converter).run(&[
        "-a --usermap=alice:77 --groupmap=staff:88 @/m/ got/",
        "-a --numeric-ids @/m/ numbers/",
        "-a --protocol=29 @/m/ old/",
        "-a --chown=bob:team tree/ @/m/up/",
        "-a --usermap=1234:bob --groupmap=2345:55 tree/ @/m/mixed/",
        "-a --protocol=29 --chown=bob:team tree/ @/m/old/",
    ]);
}

#[test]
fn a_converter_that_answers_oddly_makes_nobody_root() {
    require_root();
    for answers in
        ["echo -5", "echo 4294967296", "echo ' 7 '", "echo 12x", "echo one; echo two", "printf '7\\001\\n'"]
    {
        let module = format!("name converter = while read what; do {answers}; done");
        SideBySide::new("", &module).prepared(of_nobody).run(&[
            "-a --usermap=joe:77 @/m/file got/",
            "-a --chown=joe:staff tree/new @/m/up/",
            "-a tree/new @/m/plain/",
        ]);
    }
}

/// Files of `nobody` on both sides.
fn of_nobody(dir: &Path) {
    for name in ["m/file", "c/tree/new"] {
        lchown(dir.join(name), Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

#[test]
fn names_in_maps_of_a_client_have_ids_where_those_of_files_do_not_count() {
    require_root();
    for module in ["numeric ids = yes", "numeric ids = no"] {
        SideBySide::new("", module).prepared(of_nobody).run(&[
            "-a --usermap=nobody:daemon --groupmap=nogroup:daemon tree/ @/m/named/",
            "-a --chown=daemon:daemon tree/ @/m/owned/",
            "-a --usermap=65534:1 tree/ @/m/numbered/",
            "-a --usermap=*:nosuchuser tree/ @/m/unknown/",
            "-a --usermap=root:daemon,*:games tree/ @/m/all/",
            "-a --protocol=29 --usermap=root:daemon,*:games tree/ @/m/old/",
            "-a --numeric-ids --usermap=root:daemon,nobody:games,65534:bin tree/ @/m/numeric/",
        ]);
    }
}

#[test]
fn the_daemon_s_own_line_says_where_temporary_files_are() {
    for words in [&["--temp-dir=/nosuch"][..], &["-T", "/nosuch"], &["--temp-dir=/sub"]] {
        for module in ["", "temp dir = /sub"] {
            SideBySide::new("", module).words(words).run(&[PUSH, "-r --temp-dir=/empty tree/ @/m/own/"]);
        }
    }
    let long = format!("temp dir = /{}", "x".repeat(5000));
    SideBySide::new("", &long).run(&[PUSH]);
}

#[test]
fn the_daemon_s_own_line_says_which_protocol_is_the_newest() {
    for words in [&["--protocol=27"][..], &["--protocol=29"], &["--protocol=30"], &["--protocol=31"]] {
        let told = SideBySide::new("", "transfer logging = yes\nlog format = %f %b %c")
            .words(words)
            .run(&["-r @/m/ got/", "-r tree/ @/m/up/"]);
        assert!(told.contains("log: sub/one.o "), "{told}");
    }
}

#[test]
fn names_are_looked_up_outside_of_the_daemon_s_root() {
    require_root();
    // There is no list of hosts in it (SEC-036).
    for globals in ["reverse lookup = yes\ndaemon chroot = DIR", "daemon chroot = DIR"] {
        let module = "path = /m\nreverse lookup = yes\nhosts allow = localhost\nforward lookup = no\n";
        let told = SideBySide::new(globals, module).run(&[PULL]);
        assert!(told.contains("rsync on m/ from localhost (127.0.0.1)"), "{told}");
    }
}

#[test]
fn what_a_client_asks_of_compression_has_limits() {
    // SEC-086: threads are few, whatever is asked for, and levels are those there are.
    for choice in ["zstd", "zlib", "zlibx", "lz4"] {
        let asked = format!("-a --zc={choice} -M--compress-threads=100000");
        let clients = [
            format!("{asked} @/m/ got/"),
            format!("{asked} -M--compress-level=2147483647 @/m/ most/"),
            format!("{asked} -M--compress-level=-2147483648 @/m/ least/"),
        ];
        SideBySide::new("", "").run(&clients.each_ref().map(String::as_str));
    }
}

/// Links that somebody else made, to what they must not lead to.
fn with_links_of_others(dir: &Path) {
    for (name, target) in
        [("link-motd", "motd"), ("link-secrets", "secrets"), ("link-rules", "rules"), ("link-lock", "new")]
    {
        std::os::unix::fs::symlink(dir.join(target), dir.join(name)).unwrap();
        lchown(dir.join(name), Some(1234), Some(1234)).unwrap();
    }
}

#[test]
fn links_of_others_lead_to_no_file_of_the_daemon() {
    require_root();
    for (globals, module) in [
        ("motd file = DIR/link-motd", ""),
        ("", "auth users = alice\nsecrets file = DIR/link-secrets"),
        ("", "exclude from = DIR/link-rules"),
        ("", "max connections = 1\nlock file = DIR/link-lock"),
    ] {
        SideBySide::new(globals, module).prepared(with_links_of_others).run(&[PULL]);
    }
}
