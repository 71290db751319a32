//! The samples for operators, read by the programs they are for (`scripts/test` installs these).

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rsync_e2e::daemon::Module;
use rsync_e2e::{Daemon, Side, Work, program};

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib").join(name)
}

/// Runs a program; what it printed, and whether it was content.
fn run(program: &str, words: &[&Path]) -> (bool, String) {
    let output = Command::new(program).args(words).output().expect(program);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn the_units_are_accepted_by_systemd() {
    let work = Work::new();
    let program = Side::Ours.daemon()[0].display().to_string();
    let mirror = program::mirror().display().to_string();
    let names = [
        "rsyncd.service",
        "rsyncd.socket",
        "rsync-mirror.service",
        "rsync-mirror-proxy.service",
        "rsync-mirror-pair.service",
    ];
    for name in names {
        let unit = fs::read_to_string(sample("systemd").join(name)).unwrap();
        let unit = unit.replace("/usr/bin/rsyncd", &program).replace("/usr/bin/rsync-mirror", &mirror);
        fs::write(work.join(name), unit).unwrap();
    }
    let units = names.map(|name| work.join(name));
    let words = ["verify", "--man=no"].map(Path::new);
    let arguments: Vec<&Path> = words.into_iter().chain(units.iter().map(PathBuf::as_path)).collect();
    let (is_content, text) = run("systemd-analyze", &arguments);
    assert!(is_content && !text.contains("rsync"), "{text}");
}

#[test]
fn the_log_s_rotation_is_accepted_by_logrotate() {
    let work = Work::new();
    // It refuses files that others could have written.
    let file = work.join("rsyncd");
    fs::copy(sample("logrotate/rsyncd"), &file).unwrap();
    let (is_content, text) = run("/usr/sbin/logrotate", &[Path::new("-d"), &file]);
    assert!(is_content && text.contains("/var/log/rsyncd.log") && !text.contains("error:"), "{text}");
}

#[test]
fn fail2ban_finds_failed_logins_and_denied_hosts_in_the_logs_of_both_daemons() {
    let work = Work::new();
    fs::write(work.join("secrets"), "alice:secret\n").unwrap();
    fs::set_permissions(work.join("secrets"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let secrets = format!("secrets file = {}", work.join("secrets").display());
    let modules = [
        Module::new("m", work.path()).line("auth users = alice").line(&secrets),
        Module::new("denied", work.path()).line("hosts deny = *"),
    ];
    for side in [Side::C, Side::Ours] {
        let daemon = Daemon::start(side, "reverse lookup = no", &modules);
        for path in ["m/", "denied/"] {
            let url = daemon.url(path).replace("127.0.0.1", "alice@127.0.0.1");
            let client = Command::new("/usr/bin/rsync").arg(url).env("RSYNC_PASSWORD", "x").output().unwrap();
            assert_eq!(client.status.code(), Some(5));
        }
        fs::write(work.join("log"), daemon.log()).unwrap();
        let filter = sample("fail2ban/filter.d/rsyncd.conf");
        let (is_content, text) = run("fail2ban-regex", &[&work.join("log"), &filter]);
        assert!(is_content && text.contains("Failregex: 2 total"), "{side:?}: {text}");
    }
}
