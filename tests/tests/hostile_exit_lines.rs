//! The last lines of a server that fails: who says them, compared with the C rsync's.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::process::Command;

use rsync_e2e::fed::{Afterwards, Ground, feed};
use rsync_e2e::hostile::{data_frame, hex};
use rsync_e2e::{Side, Tree};

const SENDER: &[&str] = &["--server", "--sender", "-re.LsfxCIu", ".", "source/"];
const RECEIVER: &[&str] = &["--server", "-re.LsfxCIu", ".", "destination"];
const DELETER: &[&str] = &["--server", "-re.LsfxCIu", "--delete", ".", "destination"];
const LIST: &str = "01 01 2e 000010 6500f153 ed410000 01 01 66 000500 6500f153 a4810000 00";

/// The last line of a server that hears `frames` after a version: its code, and who said it.
fn last_line(side: Side, words: &[&str], version: &str, frames: &[u8]) -> (i32, Option<String>) {
    let ground = Ground::new(Tree::new());
    let mut command = Command::new(side.rsync());
    command.args(words).current_dir(ground.work().path());
    let input = [hex(version), frames.to_vec()].concat();
    let fed = feed(&mut command, [input], Afterwards::Closes);
    fed.expect_no_panic();
    // At protocol 30 and up a server's last line stands on its standard error.
    let said = String::from_utf8_lossy(&fed.stderr);
    let line = said.lines().find(|line| line.starts_with("rsync error: "));
    let without_place = line.map(|line| {
        let (what, place) = line.split_once(" at ").unwrap();
        format!("{what} {}", &place[place.find('[').unwrap()..])
    });
    (fed.code, without_place)
}

#[track_caller]
fn ends_alike(words: &[&str], version: &str, frames: &[u8], role: Option<&str>) {
    let theirs = last_line(Side::C, words, version, frames);
    let ours = last_line(Side::Ours, words, version, frames);
    assert_eq!(ours, theirs, "{words:?}");
    match (&ours.1, role) {
        (Some(line), Some(role)) => assert!(line.contains(&format!("[{role}=")), "{line}"),
        (line, role) => assert_eq!(line.as_deref(), role),
    }
}

fn data(payload: &str) -> Vec<u8> {
    data_frame(&hex(payload))
}

#[test]
fn before_the_first_list_a_server_has_one_name() {
    for (words, role) in [(SENDER, "sender"), (RECEIVER, "Receiver"), (DELETER, "Receiver")] {
        ends_alike(words, "", &[], Some(role));
        ends_alike(words, "05000000", &[], Some(role));
        ends_alike(words, "1f000000", &[], Some(role));
        ends_alike(words, "1f000000", &hex("0400006a 61626364"), Some(role));
    }
    ends_alike(SENDER, "1f000000", &data("00140000"), Some("sender"));
    ends_alike(DELETER, "1f000000", &data("00140000"), Some("Receiver"));
    ends_alike(RECEIVER, "1f000000", &data("58 f0ffffffff"), Some("Receiver"));
}

#[test]
fn a_sender_keeps_its_name() {
    let request = format!("00000000 02 0080 ffffffff bc020000 {}", "00".repeat(8));
    ends_alike(SENDER, "1e000000", &data(&request), Some("sender"));
    ends_alike(SENDER, "1e000000", &data("00000000"), Some("sender"));
}

#[test]
fn after_the_first_list_there_is_a_generator_and_a_receiver() {
    ends_alike(RECEIVER, "1f000000", &data(LIST), Some("generator"));
    ends_alike(DELETER, "1f000000", &data(&format!("00000000 {LIST}")), Some("generator"));
    ends_alike(RECEIVER, "1f000000", &data(&format!("{LIST} 01 0080")), Some("receiver"));
    ends_alike(RECEIVER, "1f000000", &data(&format!("{LIST} 64 0080")), Some("receiver"));
}

#[test]
fn a_destination_that_cannot_be_is_told_by_the_early_receiver() {
    let words = ["--server", "-re.LsfxCIu", ".", "nowhere/deep/down"];
    ends_alike(&words, "1f000000", &data(LIST), Some("Receiver"));
}

/// A peer that says with which code it leaves has said why.
#[test]
fn nothing_is_said_after_the_exit_of_a_peer() {
    let exit = hex("0400005d 05000000");
    ends_alike(RECEIVER, "1f000000", &exit, None);
    ends_alike(SENDER, "1f000000", &[data("00000000"), exit.clone()].concat(), None);
    ends_alike(RECEIVER, "1f000000", &[data(LIST), exit].concat(), None);
}

#[test]
fn options_that_are_none_are_told_by_a_server_without_a_role() {
    let words = ["--server", "--sender", "-re.LsfxCIu", "--bogus", ".", "source/"];
    ends_alike(&words, "", &[], Some("server"));
}
