//! The rejection vectors of spec 10 §7, given to our daemon and our client.

use std::time::{Duration, Instant};

use rsync_e2e::hostile::{RawClient, data_frame, hex, pull_from_canned, server_start};
use rsync_e2e::{Compare, Daemon, Pull, Side, Snapshot, Tree, Work};

fn served() -> (Work, Daemon) {
    let work = Work::new();
    Tree::new()
        .file("f1", "one")
        .file("f2", "two")
        .file("f3", "three")
        .file("zero", "")
        .write(&work.join("source"));
    let daemon = Daemon::serving(Side::Ours, &work.join("source"));
    (work, daemon)
}

/// Sends an empty filter list and `bytes` after it, and expects `text` in the daemon's last words or log.
#[track_caller]
fn sender_rejects(bytes: &[u8], text: &str) {
    let (work, daemon) = served();
    let mut client = RawClient::pulling(daemon.port(), "m/");
    client.send(&data_frame(&hex("00000000")));
    client.send(bytes);
    let said = client.finish();
    let found = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    // The C daemon only logs it; the session may log a moment after it closed the connection.
    let deadline = Instant::now() + Duration::from_secs(3);
    while !found(&said) && !found(daemon.log().as_bytes()) {
        assert!(Instant::now() < deadline, "no {text:?} in {said:?} or the log:\n{}", daemon.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    still_serves(&work, &daemon);
}

#[track_caller]
#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn still_serves(work: &Work, daemon: &Daemon) {
    let pull = Pull::new(Tree::new()).between(Side::C, Side::Ours);
    std::fs::create_dir_all(work.join("destination")).unwrap();
    rsync_e2e::run(&mut pull.daemon_command(work, daemon.port())).expect_ok();
    Snapshot::take(&work.join("destination"))
        .assert_same(&Snapshot::take(&work.join("source")), Compare::ALL);
}

fn request(payload: &str) -> Vec<u8> {
    data_frame(&hex(payload))
}

#[test]
fn a_sender_rejects_a_negative_checksum_count() {
    sender_rejects(&request("020080 ffffffff bc020000 02000000 00000000"), "Invalid checksum count -1");
}

#[test]
fn a_sender_rejects_a_negative_block_length() {
    sender_rejects(&request("020080 01000000 ffffffff 02000000 00000000"), "Invalid block length -1");
}

#[test]
fn a_sender_rejects_a_huge_block_length() {
    sender_rejects(&request("020080 01000000 01000200 02000000 00000000"), "Invalid block length 131073");
}

#[test]
fn a_sender_rejects_blocks_of_no_length() {
    sender_rejects(&request("020080 01000000 00000000 02000000 00000000"), "Invalid zero block length");
}

#[test]
fn a_sender_rejects_a_sum_longer_than_the_digest() {
    sender_rejects(&request("020080 01000000 bc020000 11000000 00000000"), "Invalid checksum length 17");
}

#[test]
fn a_sender_rejects_a_remainder_longer_than_a_block() {
    sender_rejects(&request("020080 01000000 bc020000 02000000 bd020000"), "Invalid remainder length 701");
}

#[test]
fn a_sender_rejects_more_sums_than_memory() {
    sender_rejects(&request("020080 ffffff7f bc020000 10000000 00000000"), "exceeded --max-alloc=");
}

#[test]
fn a_sender_rejects_an_index_beyond_the_list() {
    sender_rejects(&request(&format!("640080 {}", "00".repeat(16))), "File-list index 99 not in -1 - 4");
}

#[test]
fn a_sender_rejects_a_request_for_a_directory() {
    sender_rejects(
        &request(&format!("010080 {}", "00".repeat(16))),
        "received request to transfer non-regular file: 0",
    );
}

#[test]
fn a_sender_rejects_a_negative_index() {
    sender_rejects(&request(&format!("ff640080 {}", "00".repeat(16))), "Invalid file index: -101");
}

#[test]
fn a_sender_rejects_an_unknown_message() {
    sender_rejects(&hex("0400006a 61626364"), "unexpected tag 99");
}

#[test]
fn a_sender_rejects_a_frame_without_the_base() {
    sender_rejects(&hex("04000000 61626364"), "unexpected tag -7");
}

#[test]
fn a_sender_rejects_a_success_of_odd_size() {
    sender_rejects(&hex("0300006b 616263"), "invalid multi-message 100:3");
}

#[test]
fn a_server_rejects_a_timeout_from_a_client() {
    sender_rejects(&hex("04000028 05000000"), "invalid multi-message 33:4");
}

#[test]
fn a_daemon_survives_noise_in_every_phase() {
    let (work, daemon) = served();
    let noise = rsync_e2e::tree::random(10_000, 5);
    for prefix in [
        &b""[..],
        b"@RSYNCD: 32.0 sha512\n",
        b"@RSYNCD: 31.0\nm\n",
        b"@RSYNCD: 30.0\nm\n--server\0--sender\0-r\0.\0m/\0\0",
    ] {
        let mut client = RawClient::connect(daemon.port());
        client.send(prefix);
        client.send(&noise);
        let _ = client.finish();
    }
    still_serves(&work, &daemon);
}

/// Lets a client pull from a server that sends this file list, and expects exit code, text and an
/// untouched destination.
#[track_caller]
fn client_rejects(options: &[&str], list: &str, code: i32, text: &str) {
    client_rejects_frames(options, &data_frame(&hex(list)), code, text);
}

#[track_caller]
fn client_rejects_frames(options: &[&str], frames: &[u8], code: i32, text: &str) {
    let work = Work::new();
    Tree::new().file("kept", "kept").write(&work.join("destination"));
    let before = Snapshot::take(&work.join("destination"));
    let mut bytes = server_start();
    bytes.extend_from_slice(frames);
    let outcome = pull_from_canned(Side::Ours, &work, options, &bytes);
    outcome.expect_code(code).expect_error_text(text);
    Snapshot::take(&work.join("destination")).assert_same(&before, Compare::ALL);
}

#[test]
fn a_client_rejects_a_root_that_is_no_directory() {
    let text = "ERROR: rejecting non-directory transfer-root entry: .";
    client_rejects(&["-r"], "01 01 2e 000500 6500f153 a4810000 00", 2, text);
}

#[test]
fn a_client_rejects_a_parent_component() {
    let text = "ABORTING due to unsafe pathname from sender: ../evil";
    client_rejects(&["-r"], "01 07 2e2e2f6576696c 000500 6500f153 a4810000 00", 4, text);
}

#[test]
fn a_client_rejects_a_parent_component_inside_a_name() {
    let text = "ABORTING due to unsafe pathname from sender: a/../b";
    client_rejects(&["-r"], "01 06 612f2e2e2f62 000500 6500f153 a4810000 00", 4, text);
}

#[test]
fn a_client_rejects_an_absolute_name() {
    let text = "ABORTING due to unsafe pathname from sender: /etc/x";
    client_rejects(&["-r"], "01 06 2f6574632f78 000500 6500f153 a4810000 00", 4, text);
}

#[test]
fn a_client_rejects_a_mode_of_zero() {
    client_rejects(&["-r"], "01 01 7a 000500 6500f153 00000000 00", 2, "invalid file mode 00 for z");
}

#[test]
fn a_client_rejects_an_unknown_file_type() {
    client_rejects(&["-r"], "01 01 7a 000500 6500f153 a4f10000 00", 2, "invalid file mode 0170644 for z");
}

#[test]
fn a_client_rejects_a_negative_size() {
    let list = "01 01 7a feffffffffffffffff 6500f153 a4810000 00";
    client_rejects(&["-r"], list, 4, "Offset underflow: file-length is negative");
}

#[test]
fn a_client_rejects_an_entry_without_its_directory() {
    let list = "01 09 6e6f2f737563682f70 000500 6500f153 a4810000 00";
    client_rejects(&["-r"], list, 2, "ABORTING due to invalid path from sender: no/such/p");
}

#[test]
fn a_client_rejects_a_link_target_that_is_too_long() {
    let list = "01 02 736c 000500 6500f153 ffa10000 c00020 00";
    client_rejects(&["-rl"], list, 22, "overflow: linkname_len=8192");
}

#[test]
fn a_client_rejects_a_deletion_message_that_is_too_long() {
    let mut frame = hex("2823006c");
    frame.extend(vec![b'x'; 9000]);
    client_rejects_frames(&["-r"], &frame, 12, "multiplexing overflow 101:9000");
}

#[test]
fn a_client_takes_a_peer_that_claims_success_too_early_for_a_broken_one() {
    client_rejects_frames(&["-r"], &hex("0400005d 00000000"), 12, "");
}

#[test]
fn a_client_gives_up_on_a_server_that_says_nothing() {
    client_rejects_frames(&["-r", "--timeout=2"], &hex(""), 30, "io timeout after 2 seconds");
}

#[test]
fn a_client_rejects_names_it_did_not_ask_for() {
    let work = Work::new();
    let mut bytes = server_start();
    bytes.extend(data_frame(&hex("04 00 05 6f74686572 000500 6500f153 a4810000 00")));
    std::fs::create_dir_all(work.join("destination")).unwrap();
    let outcome = pull_from_canned(Side::Ours, &work, &["-r", "--relative"], &bytes);
    outcome.expect_code(4).expect_error_text("ERROR: rejecting unrequested file-list name: other");
    assert!(!work.join("destination/other").exists());
}
