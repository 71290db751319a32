//! Remote shells that end before there is a session: text and exit code are those of the C rsync.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bstr::ByteSlice;
use rsync_e2e::pull::environment;
use rsync_e2e::{Outcome, Side, Tree, Work, run};

/// A shell that does this.
fn shell(work: &Work, script: &str) -> PathBuf {
    let path = work.join("shell");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn called(client: Side, work: &Work, shell: &Path, paths: [&str; 2]) -> Outcome {
    let mut command = Command::new(client.rsync());
    environment(&mut command);
    run(command.current_dir(work.path()).arg("-r").arg("-e").arg(shell).args(paths))
}

/// The last line that was said, without the place in the source that said it.
fn last_line(outcome: &Outcome) -> String {
    let text = outcome.stderr.to_string();
    let line = text.lines().last().unwrap_or_default();
    match (line.find(") at "), line.rfind(" [")) {
        (Some(at), Some(role)) => format!("{}{}", &line[..=at], &line[role..]),
        _ => line.to_owned(),
    }
}

/// Pushes and pulls over `shell` with both clients, with ours `times` times.
#[track_caller]
fn ends_alike(work: &Work, shell: &Path, code: i32, times: usize) {
    Tree::new().file("f", "content").write(&work.join("source"));
    for paths in [["source/", "host:destination/"], ["host:source/", "destination/"]] {
        let theirs = called(Side::C, work, shell, paths);
        theirs.expect_code(code);
        for _ in 0..times {
            let ours = called(Side::Ours, work, shell, paths);
            ours.expect_code(code);
            // The C rsync says `safe_write failed` instead where it met the end by writing.
            ours.expect_error_text("rsync: connection unexpectedly closed (0 bytes received so far) [");
            assert_eq!(last_line(&ours), last_line(&theirs), "{paths:?} over {}", shell.display());
        }
    }
}

/// Whether the first write or the first read of the client meets the end is chance.
#[test]
fn a_shell_that_ends_at_once_closed_the_connection() {
    for program in ["/bin/false", "/bin/true"] {
        ends_alike(&Work::new(), Path::new(program), 12, 12);
    }
}

#[test]
fn a_shell_that_ended_before_its_connection_gives_its_status() {
    for (status, code) in [(127, 127), (3, 12)] {
        let work = Work::new();
        let shell = shell(&work, &format!("sleep 0.3 &\nexit {status}"));
        ends_alike(&work, &shell, code, 1);
    }
}

#[test]
fn a_shell_that_ends_after_its_connection_does_not() {
    let work = Work::new();
    let shell = shell(&work, "exec <&- >&-\nsleep 0.3\nexit 127");
    ends_alike(&work, &shell, 12, 1);
}

#[test]
fn a_shell_that_cannot_be_started_is_an_ipc_error() {
    let work = Work::new();
    for paths in [["source/", "host:destination/"], ["host:source/", "destination/"]] {
        let [theirs, ours] =
            [Side::C, Side::Ours].map(|side| called(side, &work, Path::new("/no/such/shell"), paths));
        // The C rsync ends with 12 where its child has not ended when the connection has.
        ours.expect_code(14);
        assert_eq!(ours.stderr.lines().next(), theirs.stderr.lines().next());
    }
}

/// A server whose client has left before the first word ends like one that hears nothing.
#[test]
fn a_server_without_a_client_is_a_broken_stream() {
    let work = Work::new();
    std::fs::create_dir(work.join("source")).unwrap();
    for role in ["--sender", "--delete"] {
        let [theirs, ours] = [Side::C, Side::Ours].map(|side| {
            let (input, _) = std::os::unix::net::UnixStream::pair().unwrap();
            let output = input.try_clone().unwrap();
            let mut command = Command::new(side.rsync());
            environment(&mut command);
            command.current_dir(work.path()).args(["--server", role, "-re.LsfxCIu", ".", "source/"]);
            command.stdin(std::os::fd::OwnedFd::from(input)).stdout(std::os::fd::OwnedFd::from(output));
            command.output().unwrap().status.code()
        });
        assert_eq!((theirs, ours), (Some(12), Some(12)), "{role}");
    }
}
