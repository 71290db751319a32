//! Ways to reach the other side, and how arguments get there, compared with the C rsync in both
//! directions (spec 01 §1, §3; 08 §8, §9).

use rsync_e2e::daemon::Module;
use rsync_e2e::{Daemon, Side, Tree, Twins, Work};

/// Names that a shell, a splitter or a parser of options could take apart.
const ODD: [&str; 9] = [
    "with blank",
    "-dash",
    "a*b",
    "q'uote",
    "dou\"ble",
    "semi;colon",
    "dollar$HOME",
    "back\\slash",
    "(paren)",
];

fn odd_tree() -> Tree {
    ODD.iter().fold(Tree::new().file("s/plain", "1"), |tree, name| tree.file(format!("s/{name}"), *name))
}

/// Runs the words with each client against either server, and against its own.
#[track_caller]
fn for_servers(tree: impl Fn() -> Tree, lines: &[&[&str]]) {
    for server in [Some(Side::C), Some(Side::Ours), None] {
        let mut twins = Twins::new(tree());
        if let Some(server) = server {
            twins = twins.served_by(server);
        }
        for words in lines {
            let words = words.iter().map(|word| (*word).to_owned());
            let fixed = ["-e", "{rsh}", "--rsync-path={rsync}"].map(str::to_owned);
            twins = twins.run(fixed.into_iter().chain(words));
        }
        twins.assert_same();
    }
}

#[test]
fn odd_names_reach_the_far_end_as_they_are() {
    for option in ["-r", "-rs"] {
        let sources: Vec<String> = ODD.iter().map(|name| format!("h:{{work}}/s/{name}")).collect();
        let mut pull = vec![option, "-i"];
        pull.extend(sources.iter().map(String::as_str));
        pull.push("pulled/");
        for_servers(odd_tree, &[&pull]);
        for name in ODD {
            let target = format!("h:{{work}}/{name}/");
            for_servers(odd_tree, &[&[option, "-i", "s/plain", &target]]);
        }
    }
}

#[test]
fn names_with_newlines_need_secluded_arguments() {
    let tree = || Tree::new().file("s/two\nlines", "1");
    for_servers(tree, &[&["-rs", "h:{work}/s/two\nlines", "d/"], &["-rs", "s/", "h:{work}/new\nline/"]]);
}

#[test]
fn the_far_end_expands_patterns_and_old_arguments_are_split_there() {
    let tree = || Tree::new().file("s/a1", "1").file("s/a2", "2").file("s/b c", "3").dir("d");
    for_servers(
        tree,
        &[
            &["-ri", "h:{work}/s/a*", "d/"],
            &["-ris", "h:{work}/s/[ab]*", "d/"],
            &["-ri", "--old-args", "h:{work}/s/a1 {work}/s/a2", "d/"],
            &["-ri", "--old-args", "h:'{work}/s/b c'", "d/"],
            &["-ri", "--old-args", "--old-args", "-M--super", "h:{work}/s/a1", "d/"],
            &["-ri", "h:{work}/s/a1 {work}/s/a2", "d/"],
        ],
    );
    for variable in ["RSYNC_OLD_ARGS", "RSYNC_PROTECT_ARGS"] {
        Twins::new(tree())
            .variable(variable, "1")
            .line("-ri -e {rsh} --rsync-path={rsync} h:{work}/s/a* d/")
            .assert_same();
    }
}

#[test]
fn values_of_options_are_quoted_too() {
    let tree =
        || Tree::new().file("s/a", "1").file("ref dir/a", "1").file("d/a", "old").dir("tmp dir").dir("e");
    for_servers(
        tree,
        &[
            &["-ri", "--backup", "--backup-dir=old files", "--suffix=.a b", "s/", "h:{work}/d/"],
            &["-ri", "--temp-dir={work}/tmp dir", "--compare-dest={work}/ref dir", "s/", "h:{work}/e/"],
            &["-ris", "--backup-dir=older $files", "-I", "s/", "h:{work}/d/"],
        ],
    );
}

#[test]
fn the_remote_shell_comes_from_the_option_or_the_environment() {
    let tree = || Tree::new().file("s/a", "1").dir("d");
    Twins::new(tree())
        .variable("RSYNC_RSH", "{rsh}")
        .line("-ri --rsync-path={rsync} h:{work}/s/ d/")
        .line("-ri --rsync-path={rsync} --blocking-io s/ user@h:{work}/e/")
        .assert_same();
    // Whether C writes to the pipe before it hears that nobody will read decides on its code.
    let missing = Twins::new(tree())
        .line("-ri --rsync-path={rsync} --no-blocking-io -e nothing-like-this s/ h:{work}/e/");
    for (side, codes) in [(Side::Ours, &[14][..]), (Side::C, &[12, 14])] {
        let twin = missing.with(side);
        let (code, _, errors) = &twin.runs[0];
        let told = "Failed to exec nothing-like-this: No such file or directory (2)";
        assert!(codes.contains(code), "{side:?}: {code}");
        assert!(errors.iter().any(|line| line.ends_with(told)), "{side:?}: {errors:?}");
    }
    Twins::new(tree())
        .run(["-ri", "-e", "'{rsh}' -l \"some body\"", "--rsync-path=env {rsync}", "h:{work}/s/", "d/"])
        .run(["-ri", "-e", "'{rsh}", "h:{work}/s/", "d/"])
        .run(["-ri", "-e", "{rsh}", "h:s", "-host:d"])
        .run(["-ri", "-e", "{rsh}", "-host:s", "d"])
        .assert_same();
}

#[test]
fn several_sources_come_from_one_far_end() {
    let tree = || Tree::new().file("s/a", "1").file("s/b", "2").file("s/c d", "3");
    for_servers(
        tree,
        &[
            &["-ri", "h:{work}/s/a", ":{work}/s/b", "h:{work}/s/c d", "d/"],
            &["-Ri", "h:{work}/./s/a", ":{work}/./s/c d", "e/"],
            &["-ri", "h:{work}/s/a", "other:{work}/s/b", "d/"],
            &["-ri", "h:{work}/s/a", "s/b", "d/"],
            &["-ri", "h:{work}/s/a", "h::s/b", "d/"],
        ],
    );
}

#[test]
fn lists_of_names_lie_here_or_at_the_far_end() {
    let tree = || {
        Tree::new()
            .file("s/a", "1")
            .file("s/sub/b", "2")
            .file("s/odd name", "3")
            .file("s/not asked for", "4")
            .file("list", "a\n# a comment\n\nsub/b\r\n;another\nodd name")
            .file("nul", &b"a\0sub/b\0odd name\0"[..])
    };
    for protocol in ["--protocol=29", "--protocol=30", "--protocol=32"] {
        for_servers(
            tree,
            &[
                &["-ai", protocol, "--files-from=list", "h:{work}/s/", "d1/"],
                &["-ai", protocol, "--files-from=:{work}/list", "h:{work}/s/", "d2/"],
                &["-ai", protocol, "--files-from=h:{work}/list", "s/", "h:{work}/d3/"],
                &["-ai", protocol, "--files-from=list", "s/", "h:{work}/d4/"],
                &["-ai0", protocol, "--files-from=nul", "h:{work}/s/", "d5/"],
                &["-ai0", protocol, "--files-from=:{work}/nul", "s/", "h:{work}/d6/"],
            ],
        );
    }
    for_servers(
        tree,
        &[
            &["-ai", "--files-from=x:{work}/list", "h:{work}/s/", "d/"],
            &["-ai", "--files-from=:none", "h:{work}/s/", "d/"],
            &["-ai", "--files-from=none", "h:{work}/s/", "d/"],
        ],
    );
}

#[test]
fn a_daemon_is_reached_by_a_program_in_place_of_a_socket() {
    for server in [Side::C, Side::Ours] {
        let work = Work::new();
        Tree::new().file("sub/a b", "1").file("c", "2").write(&work.join("module"));
        let daemon = Daemon::start(server, "", &[Module::new("pub", &work.join("module"))]);
        let through = |host: &str| {
            let port = daemon.port();
            format!("exec 3<>/dev/tcp/127.0.0.1/{port}; cat <&3 & echo {host} > /dev/null; exec cat >&3")
        };
        for (program, shell) in [(through("%H"), "/bin/bash"), (through("100%%"), "/bin/bash")] {
            Twins::new(Tree::new().dir("d"))
                .variable("RSYNC_CONNECT_PROG", &program)
                .variable("RSYNC_SHELL", shell)
                .line("-ri some.host::pub d/")
                .line("-i some.host::pub/sub/ d/")
                .line("some.host::")
                .line("-r rsync://host%x/pub d/")
                .run(["-r", "bad;host::pub", "d/"])
                .assert_same();
        }
    }
}

#[test]
fn several_sources_of_a_daemon_may_name_the_module_again() {
    for server in [Side::C, Side::Ours] {
        let work = Work::new();
        Tree::new().file("a b", "1").file("c", "2").file("x1", "3").file("x2", "4").write(&work.join("m"));
        let daemon = Daemon::start(server, "", &[Module::new("pub", &work.join("m"))]);
        let port = format!("--port={}", daemon.port());
        for option in ["-ri", "-ris"] {
            Twins::new(Tree::new().dir("d"))
                .run([option, &port, "127.0.0.1::pub/a b", "::pub/c", "d/"])
                .run([option, &port, "127.0.0.1::pub/x*", "d/"])
                .run([option, &port, "127.0.0.1::pub/c pub/x1", "d/"])
                .run([option, &port, "127.0.0.1::pub/none", "::pub/c", "d/"])
                .assert_same();
        }
    }
}

#[test]
fn a_daemon_is_reached_over_a_remote_shell() {
    let tree = || {
        Tree::new()
            .file("m/sub/a b", "1")
            .file("rsyncd.conf", "use chroot = no\n[pub]\npath = m\ncomment = some files\nlist = yes\n")
    };
    let daemon = "--rsync-path={rsync} --config={work}/rsyncd.conf";
    for_servers(
        tree,
        &[
            &[daemon, "-ri", "h::pub", "d/"],
            &[daemon, "-ri", "user@h::pub/sub/", "d/"],
            &[daemon, "h::"],
            &[daemon, "-ri", "rsync://h:99/pub/sub", "d/"],
            // The C rsync begins the far end before it looks: what is said there is a matter of luck.
            &["--rsync-path=exit 0;", "-ri", "h::/pub", "d/"],
            &[daemon, "-ri", "h::none", "d/"],
        ],
    );
}

#[test]
fn how_a_shell_ends_means_nothing_before_a_module_is_open() {
    let greeting = "--rsync-path=echo @RSYNCD: 31.0 md5; read greeting; read module";
    for end in ["echo @ERROR: nothing here", "printf 'pub\\tfiles\\n@RSYNCD: EXIT\\n'", "true"] {
        let server = format!("{greeting}; {end}; exit 77;");
        Twins::new(Tree::new().dir("d"))
            .run(["-e", "{rsh}", &server, "h::"])
            .run(["-ri", "-e", "{rsh}", &server, "h::pub", "d/"])
            .assert_same();
    }
}

#[test]
fn times_to_stop_are_read_as_the_c_rsync_reads_them() {
    let lines = [
        "--stop-after=0",
        "--stop-after=x",
        "--stop-after=153722867280912930",
        "--stop-after=5x",
        "--time-limit=99999999999",
        "--stop-at=",
        "--stop-at=x",
        "--stop-at=2020-1-1",
        "--stop-at=T25:00",
        "--stop-at=1-2-3-4",
        "--stop-at=2099/12/31t",
        "--stop-at=31T23:59",
        "--stop-at=:59",
    ];
    let twins = lines
        .iter()
        .fold(Twins::new(Tree::new().file("s/a", "1")), |twins, stop| twins.run(["-ri", stop, "s/", "d/"]));
    twins.assert_same();
}
