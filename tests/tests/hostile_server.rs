//! The rejection vectors of spec 10 §7 over pipes, given to `rsync --server` in both roles: the text,
//! the exit code, the time, the memory, and what is beside the transfer.

use rsync_e2e::fed::{Afterwards, Ground, after_version, client_version, feed};
use rsync_e2e::hostile::{data_frame, hex};
use rsync_e2e::{Compare, Tree};

/// The capabilities of the templates: no incremental recursion, no negotiation of algorithms.
const CAPABILITIES: &str = "-re.LsfxCIu";

/// Tells a sender an empty filter list and `bytes`, at this protocol.
#[track_caller]
fn sender_rejects_at(protocol: u8, bytes: &[u8], text: &str, code: i32) {
    let ground = Ground::new(Tree::new());
    let mut input = after_version(protocol, "00000000");
    input.extend_from_slice(bytes);
    let fed = feed(&mut ground.sender(&[CAPABILITIES]), [input], Afterwards::Closes);
    fed.expect_code(code).expect_text(text).expect_modest();
    ground.expect_untouched();
}

/// The same request at protocols 29, 30 and 31. `index` is that of 30; `old_index` that of 29.
#[track_caller]
fn sender_rejects_request(index: &str, old_index: &str, rest: &str, text: &str, code: i32) {
    let modern = data_frame(&hex(&format!("{index} {rest}")));
    for protocol in [30, 31] {
        sender_rejects_at(protocol, &modern, text, code);
    }
    sender_rejects_at(29, &hex(&format!("{old_index} {rest}")), text, code);
}

/// A request for `f1`.
#[track_caller]
fn sender_rejects_head(head: &str, text: &str, code: i32) {
    sender_rejects_request("02", "01000000", &format!("0080 {head}"), text, code);
}

#[track_caller]
fn sender_rejects_frame(frame: &str, text: &str, code: i32) {
    for protocol in [30, 31] {
        sender_rejects_at(protocol, &hex(frame), text, code);
    }
}

/// Tells a receiver this file list and expects an unchanged destination.
#[track_caller]
fn receiver_rejects(options: &[&str], frame: &[u8], text: &str, code: i32) {
    let ground = Ground::new(Tree::new().file("kept", "kept"));
    let before = ground.destination();
    for protocol in [30, 31] {
        let mut input = client_version(protocol);
        input.extend_from_slice(frame);
        let fed = feed(&mut ground.receiver(options), [input], Afterwards::Closes);
        fed.expect_code(code).expect_text(text).expect_modest();
        ground.destination().assert_same(&before, Compare::ALL);
        ground.expect_untouched();
    }
}

#[track_caller]
fn receiver_rejects_list(list: &str, text: &str, code: i32) {
    receiver_rejects(&[CAPABILITIES], &data_frame(&hex(list)), text, code);
}

#[test]
fn s1_a_negative_checksum_count() {
    sender_rejects_head("ffffffff bc020000 02000000 00000000", "Invalid checksum count -1 [sender]", 2);
}

#[test]
fn s2_a_negative_block_length() {
    sender_rejects_head("01000000 ffffffff 02000000 00000000", "Invalid block length -1 [sender]", 2);
}

#[test]
fn s3_a_huge_block_length() {
    let request = data_frame(&hex("020080 01000000 01000200 02000000 00000000"));
    sender_rejects_at(30, &request, "Invalid block length 131073 [sender]", 2);
    let request = hex("01000000 0080 01000000 01000020 02000000 00000000");
    sender_rejects_at(29, &request, "Invalid block length 536870913 [sender]", 2);
}

#[test]
fn s4_blocks_of_no_length() {
    sender_rejects_head("01000000 00000000 02000000 00000000", "Invalid zero block length [sender]", 2);
}

#[test]
fn s5_a_sum_longer_than_the_digest() {
    sender_rejects_head("01000000 bc020000 11000000 00000000", "Invalid checksum length 17 [sender]", 2);
    sender_rejects_head("01000000 bc020000 ffffffff 00000000", "Invalid checksum length -1 [sender]", 2);
}

#[test]
fn s6_a_remainder_longer_than_a_block() {
    sender_rejects_head("01000000 bc020000 02000000 bd020000", "Invalid remainder length 701 [sender]", 2);
    sender_rejects_head("01000000 bc020000 02000000 ffffffff", "Invalid remainder length -1 [sender]", 2);
}

#[test]
fn s7_more_sums_than_memory() {
    let text = "[sender] exceeded --max-alloc=1073741824 setting";
    sender_rejects_head("ffffff7f bc020000 10000000 00000000", text, 22);
}

#[test]
fn s8_an_index_beyond_the_list() {
    let rest = format!("0080 {}", "00".repeat(16));
    let text = "File-list index 99 not in -1 - 4 (read_ndx_and_attrs) [sender]";
    sender_rejects_request("64", "63000000", &rest, text, 2);
}

#[test]
fn s9_a_request_for_a_directory() {
    let rest = format!("0080 {}", "00".repeat(16));
    let text = "received request to transfer non-regular file: 0 [sender]";
    sender_rejects_request("01", "00000000", &rest, text, 2);
}

#[test]
fn s10_a_negative_index() {
    let rest = format!("0080 {}", "00".repeat(16));
    sender_rejects_request("ff64", "9bffffff", &rest, "Invalid file index: -101 (-1 - 4) [sender]", 2);
    sender_rejects_request("ff01", "feffffff", &rest, "Invalid file index: -2 (-1 - 4) [sender]", 2);
}

#[test]
fn s11_an_unknown_message() {
    sender_rejects_frame("0400006a 61626364", "unexpected tag 99 [sender]", 12);
}

#[test]
fn s12_a_frame_without_the_base() {
    sender_rejects_frame("04000000 61626364", "unexpected tag -7 [sender]", 12);
}

#[test]
fn s13_a_success_of_odd_size() {
    sender_rejects_frame("0300006b 616263", "invalid multi-message 100:3 [sender]", 12);
}

#[test]
fn s14_a_timeout_from_a_client() {
    sender_rejects_frame("04000028 05000000", "invalid multi-message 33:4 [sender]", 12);
}

#[test]
fn r1_a_root_that_is_no_directory() {
    let text = "ERROR: rejecting non-directory transfer-root entry: .";
    receiver_rejects_list("01 01 2e 000500 6500f153 a4810000 00", text, 2);
}

#[test]
fn r2_a_name_that_climbs() {
    let text = "ABORTING due to unsafe pathname from sender: ../evil";
    receiver_rejects_list("01 07 2e2e2f6576696c 000500 6500f153 a4810000 00", text, 4);
}

#[test]
fn r3_a_name_that_climbs_in_the_middle() {
    let text = "ABORTING due to unsafe pathname from sender: a/../b";
    receiver_rejects_list("01 06 612f2e2e2f62 000500 6500f153 a4810000 00", text, 4);
}

#[test]
fn r4_an_absolute_name() {
    let text = "ABORTING due to unsafe pathname from sender: /etc/x";
    receiver_rejects_list("01 06 2f6574632f78 000500 6500f153 a4810000 00", text, 4);
}

#[test]
fn r5_a_mode_of_zero() {
    let text = "invalid file mode 00 for z [Receiver]";
    receiver_rejects_list("01 01 7a 000500 6500f153 00000000 00", text, 2);
}

#[test]
fn r6_an_unknown_file_type() {
    let text = "invalid file mode 0170644 for z [Receiver]";
    receiver_rejects_list("01 01 7a 000500 6500f153 a4f10000 00", text, 2);
}

#[test]
fn r7_a_negative_size() {
    let text = "Offset underflow: file-length is negative";
    receiver_rejects_list("01 01 7a feffffffffffffffff 6500f153 a4810000 00", text, 4);
}

#[test]
fn r8_a_hard_link_to_nothing() {
    let text = "hard-link reference out of range: 0 (0)";
    let frame = data_frame(&hex("05 02 01 68 00 0500 6500f153 a4810000 00"));
    receiver_rejects(&[CAPABILITIES], &frame, text, 2);
    receiver_rejects(&["-Hre.LsfxCIu"], &frame, text, 2);
}

#[test]
fn r9_an_entry_without_its_directory() {
    let text = "ABORTING due to invalid path from sender: no/such/p";
    receiver_rejects_list("01 09 6e6f2f737563682f70 000500 6500f153 a4810000 00", text, 2);
}

#[test]
fn r10_a_link_target_that_is_too_long() {
    let frame = data_frame(&hex("01 02 736c 000500 6500f153 ffa10000 c00020 00"));
    receiver_rejects(&["-lre.LsfxCIu"], &frame, "overflow: linkname_len=8192", 22);
}

#[test]
fn r11_a_deletion_message_that_is_too_long() {
    let mut frame = hex("2823006c");
    frame.extend(vec![b'x'; 9000]);
    receiver_rejects(&[CAPABILITIES], &frame, "multiplexing overflow 101:9000 [Receiver]", 12);
}

#[test]
fn r12_a_first_entry_with_the_mode_of_nothing() {
    receiver_rejects_list("02 01 2e 000500 6500f153 00", "", 2);
}
