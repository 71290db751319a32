//! The rejection vectors of spec 10 §7 and 03 §10 in the formats of the protocols 27, 28 and 29: numbers
//! of four bytes, no frames from a client, no item flags before 29. The C rsync hears the same.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::process::Command;

use rsync_e2e::fed::{Afterwards, Ground, after_version, feed, run_fed};
use rsync_e2e::hostile::{data_frame, hex};
use rsync_e2e::script::{Step, play};
use rsync_e2e::{Compare, Side, Tree};

const OLD: [u8; 3] = [27, 28, 29];
const FIVE_BYTES: &str = "05000000 00f15365";
const FILE: &str = "a4810000";

/// The C rsync in the place of the one under test.
fn by_c(ours: &Command) -> Command {
    let mut command = Command::new(Side::C.rsync());
    command.args(ours.get_args()).current_dir(ours.get_current_dir().unwrap());
    command
}

/// A list that ends a server of either side, and our client; `letters` are the options.
#[track_caller]
fn rejected_with(letters: &str, list: &str, text: &str, code: i32) {
    for protocol in OLD {
        let ground = Ground::new(Tree::new().file("kept", "kept"));
        let before = ground.destination();
        let mut ours = ground.receiver(&[&format!("-{letters}re.LsfxCIu")]);
        let input = after_version(protocol, list);
        feed(&mut by_c(&ours), [input.clone()], Afterwards::Closes).expect_code(code);
        let fed = feed(&mut ours, [input], Afterwards::Closes);
        fed.expect_code(code).expect_text(text).expect_modest();
        let said = data_frame(&hex(list));
        let port = play(vec![Step::handshake(protocol, ""), Step::Say(said), Step::Close]);
        let fed = run_fed(&mut ground.puller(port, &[&format!("-{letters}r")]));
        fed.expect_code(code).expect_text(text).expect_modest();
        ground.destination().assert_same(&before, Compare::ALL);
        ground.expect_untouched();
    }
}

#[track_caller]
fn rejected(list: &str, text: &str, code: i32) {
    rejected_with("", list, text, code);
}

/// A request that ends a sender of either side; `index` and `head` as they are from 27 to 29.
#[track_caller]
fn request_rejected(index: &str, head: &str, text: &str, code: i32) {
    for protocol in OLD {
        let ground = Ground::new(Tree::new());
        let flags = if protocol < 29 { "" } else { "0080" };
        let input = after_version(protocol, &format!("00000000 {index} {flags} {head}"));
        let mut ours = ground.sender(&["-re.LsfxCIu"]);
        feed(&mut by_c(&ours), [input.clone()], Afterwards::Closes).expect_code(code);
        let fed = feed(&mut ours, [input], Afterwards::Closes);
        fed.expect_code(code).expect_text(text).expect_modest();
        ground.expect_untouched();
    }
}

#[test]
fn r1_a_root_that_is_no_directory() {
    let text = "ERROR: rejecting non-directory transfer-root entry: .";
    rejected(&format!("01 01 2e {FIVE_BYTES} {FILE} 00"), text, 2);
}

#[test]
fn r2_to_r4_names_that_leave() {
    for (coded, name) in
        [("07 2e2e2f6576696c", "../evil"), ("06 612f2e2e2f62", "a/../b"), ("06 2f6574632f78", "/etc/x")]
    {
        let text = format!("ABORTING due to unsafe pathname from sender: {name}");
        rejected(&format!("01 {coded} {FIVE_BYTES} {FILE} 00"), &text, 4);
    }
}

#[test]
fn r5_and_r6_modes_of_no_type() {
    rejected(&format!("01 01 7a {FIVE_BYTES} 00000000 00"), "invalid file mode 00 for z [Receiver]", 2);
    rejected(&format!("01 01 7a {FIVE_BYTES} a4f10000 00"), "invalid file mode 0170644 for z [Receiver]", 2);
}

/// In four bytes, and in the eight that follow a first number of -1.
#[test]
fn r7_a_negative_size() {
    let text = "Offset underflow: file-length is negative";
    for size in ["feffffff", "ffffffff feffffff ffffffff"] {
        rejected(&format!("01 01 7a {size} 00f15365 {FILE} 00"), text, 4);
    }
}

#[test]
fn r9_an_entry_without_its_directory() {
    let text = "ABORTING due to invalid path from sender: no/such/p";
    rejected(&format!("01 09 6e6f2f737563682f70 {FIVE_BYTES} {FILE} 00 00000000"), text, 2);
}

#[test]
fn r10_a_link_target_of_impossible_length() {
    for (len, text) in [("00200000", "linkname_len=8192"), ("ffffffff", "linkname_len=-1")] {
        let list = format!("01 02 736c {FIVE_BYTES} ffa10000 {len} 00");
        rejected_with("l", &list, &format!("overflow: {text}"), 22);
    }
}

#[test]
fn r12_a_first_entry_with_the_mode_of_nothing() {
    let text = "ERROR: rejecting non-directory transfer-root entry: .";
    rejected(&format!("02 01 2e {FIVE_BYTES} 00"), text, 2);
}

#[test]
fn a_name_of_impossible_length() {
    for (len, value) in [("00100000", 4096), ("ffffffff", -1)] {
        let list = format!("40 {len} {}", "61".repeat(4096));
        rejected(&list, &format!("overflow: xflags=0x40 l1=0 l2={value} lastname= [Receiver]"), 22);
    }
}

#[test]
fn a_list_that_ends_early() {
    for list in ["", "01", "01 01", "01 01 7a 05", "01 01 7a ffffffff 00000000"] {
        rejected(list, "connection unexpectedly closed", 12);
    }
}

#[test]
fn s1_to_s7_impossible_sums() {
    for (head, text, code) in [
        ("ffffffff bc020000 02000000 00000000", "Invalid checksum count -1 [sender]", 2),
        ("01000000 ffffffff 02000000 00000000", "Invalid block length -1 [sender]", 2),
        ("01000000 01000020 02000000 00000000", "Invalid block length 536870913 [sender]", 2),
        ("01000000 00000000 02000000 00000000", "Invalid zero block length [sender]", 2),
        ("01000000 bc020000 11000000 00000000", "Invalid checksum length 17 [sender]", 2),
        ("01000000 bc020000 02000000 bd020000", "Invalid remainder length 701 [sender]", 2),
        ("ffffff7f bc020000 10000000 00000000", "[sender] exceeded --max-alloc=1073741824 setting", 22),
    ] {
        request_rejected("01000000", head, text, code);
    }
}

#[test]
fn s8_to_s10_indexes_of_nothing_to_send() {
    let head = "00".repeat(16);
    for (index, text) in [
        ("63000000", "File-list index 99 not in -1 - 4 (read_ndx_and_attrs) [sender]"),
        ("00000000", "received request to transfer non-regular file: 0 [sender]"),
        ("9bffffff", "Invalid file index: -101 (-1 - 4) [sender]"),
    ] {
        request_rejected(index, &head, text, 2);
    }
}
