//! ACLs and extended attributes that cannot be, in lists and requests (spec 04 §2.4, §3.2, §3.3; SEC-180 to 182):
//! our server and our client reject them as a server of the C rsync does.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::process::Command;

use rsync_e2e::fed::{Afterwards, Ground, after_version, feed, run_fed};
use rsync_e2e::hostile::{data_frame, hex};
use rsync_e2e::script::{Step, play};
use rsync_e2e::{Compare, Side, Tree};

const ROOT: &str = "01 01 2e 000010 6500f153 ed410000";

/// A root directory with these attributes ends both servers and our client, who change nothing.
#[track_caller]
fn rejected(letter: char, attributes: &str, text: &str, code: i32) {
    let ground = Ground::new(Tree::new().file("kept", "kept"));
    let before = ground.destination();
    let list = format!("{ROOT} {attributes}");
    for protocol in [30, 31] {
        let input = after_version(protocol, &list);
        let mut ours = ground.receiver(&[&format!("-{letter}re.LsfxCIu")]);
        let mut theirs = Command::new(Side::C.rsync());
        theirs.args(ours.get_args()).current_dir(ground.work().path());
        feed(&mut theirs, [input.clone()], Afterwards::Closes).expect_code(code).expect_text(text);
        let fed = feed(&mut ours, [input], Afterwards::Closes);
        fed.expect_code(code).expect_text(text).expect_modest();
    }
    let port = play(vec![Step::handshake(31, "00"), Step::Say(data_frame(&hex(&list))), Step::Close]);
    let fed = run_fed(&mut ground.puller(port, &[&format!("-{letter}r")]));
    fed.expect_code(code).expect_text(text).expect_modest();
    ground.destination().assert_same(&before, Compare::ALL);
    ground.expect_untouched();
}

#[test]
fn acls_that_were_never_sent() {
    for (index, value) in [("02", "2"), ("05", "5"), ("f0ffffffff", "-1"), ("f0ffffff7f", "2147483647")] {
        let text = |kind| format!("recv_acl_index: ACL_TYPE_{kind} ACL index {value} > 0");
        rejected('A', index, &text("ACCESS"), 12);
        rejected('A', &format!("00 00 {index}"), &text("DEFAULT"), 12);
    }
}

/// The tags: user, group, mask, other, in an access ACL and in a default one.
#[test]
fn acl_tags_with_impossible_values() {
    for acl in ["00 01 08", "00 02 08", "00 04 08", "00 08 08", "00 0f 07 07 07 08"] {
        rejected('A', acl, "recv_acl_access: value out of range: 8", 12);
        rejected('A', &format!("00 00 {acl}"), "recv_acl_access: value out of range: 8", 12);
    }
    rejected('A', "00 01 80ff", "recv_acl_access: value out of range: ff", 12);
    rejected('A', "00 01 f0ffffffff", "recv_acl_access: value out of range: ffffffff", 12);
}

#[test]
fn acl_names_with_impossible_values() {
    rejected('A', "00 10 01 05 22", "recv_acl_access: value out of range: 8", 12);
    rejected('A', "00 00 00 10 01 05 20", "recv_acl_access: value out of range: 8", 12);
    rejected('A', "00 10 02 05 1a 06 f0ffffffff", "recv_acl_access: value out of range: 3fffffff", 12);
}

#[test]
fn acl_counts_out_of_range() {
    for (count, value) in [("c10001", "65792"), ("f0ffffffff", "-1"), ("f0ffffff7f", "2147483647")] {
        let text = format!("wire value ACL count out of range: {value} not in [0,65536] [Receiver]");
        rejected('A', &format!("00 10 {count}"), &text, 2);
        rejected('A', &format!("00 00 00 10 {count}"), &text, 2);
    }
}

#[test]
fn acls_that_end_early_or_in_the_middle_of_a_number() {
    rejected('A', "f8 0000000000", "Overflow in read_varint()", 12);
    for acl in ["", "00", "00 1f 07", "00 10 01 05 1b ff 61", "00 10 c10000 05"] {
        rejected('A', acl, "connection unexpectedly closed", 12);
    }
}

#[test]
fn attribute_lists_that_were_never_sent() {
    for (index, value) in [("02", "2"), ("05", "5"), ("f0ffffffff", "-1")] {
        rejected('X', index, &format!("receive_xattr: xa index {value} out of range for ."), 12);
    }
}

#[test]
fn attribute_counts_out_of_range() {
    for (count, value) in [("c10001", "65792"), ("c2000000", "131072"), ("f0ffffffff", "-1")] {
        let text = format!("wire value xattr count out of range: {value} not in [0,65536] [Receiver]");
        rejected('X', &format!("00 {count}"), &text, 2);
    }
}

#[test]
fn attribute_names_of_impossible_length_or_without_an_end() {
    for (len, value) in [("9001", "4097"), ("9010", "4112"), ("f0ffffffff", "-1")] {
        let text = format!("wire size xattr name_len out of range: {value} > 4096 [Receiver]");
        rejected('X', &format!("00 01 {len} 01"), &text, 2);
    }
    let text = r"Invalid xattr name received (missing trailing \";
    for name in ["00 01 61", "02 01 6162 63", "04 01 61626364 63"] {
        rejected('X', &format!("00 01 {name}"), text, 11);
    }
}

#[test]
fn attribute_values_of_impossible_length() {
    let text = "xattr datum_len exceeds per-value limit [Receiver]";
    rejected('X', "00 01 03 f0ffffff7f", text, 2);
    rejected('X', "00 01 07 f001000008 757365722e6100", text, 2);
    let text = "wire size xattr datum_len out of range: -1 > 2147483647 [Receiver]";
    rejected('X', "00 01 07 f0ffffffff 757365722e6100", text, 2);
}

#[test]
fn attribute_lists_that_end_early_or_in_the_middle_of_a_number() {
    rejected('X', "f8 0000000000", "Overflow in read_varint()", 12);
    for list in ["", "00", "00 01 07", "00 01 07 01 7573", "00 01 07 28 757365722e6100 01"] {
        rejected('X', list, "connection unexpectedly closed", 12);
    }
}

/// Requests for values (spec 04 §3.3): of numbers that are not there, of values that were not withheld, and
/// of one value twice, by another file even.
#[test]
fn requests_for_attribute_values_that_cannot_be_answered() {
    let sums = "00".repeat(16);
    for (request, text, code) in [
        ("02 00a1 09 00", "[sender] could not find xattr #9 for f1", 2),
        ("02 00a1 f0feffffff 00", "[sender] could not find xattr #-2 for f1", 2),
        ("02 00a1 01 f0ffffffff 01 00", "[sender] could not find xattr #0 for f1", 2),
        ("02 00a1 02 00", "[sender] internal abbrev error on f1 (user.small, len=2)!", 2),
        (
            &format!("02 00a1 01 00 {sums} 01 00a1 01 00"),
            "[sender] internal abbrev error on f2 (user.big, len=40)!",
            2,
        ),
        ("01 0001 01 00", "[sender] could not find xattr #1 for .", 2),
        ("02 00a1 f8 0000000000", "Overflow in read_varint()", 12),
        ("02 00a1 01", "connection unexpectedly closed", 12),
    ] {
        // What belongs to a request for content follows, unless the stream ends.
        let request = if code == 2 { format!("{request} {sums}") } else { request.to_owned() };
        let ground = Ground::new(Tree::new());
        let tree = ["f1", "f2"].into_iter().fold(Tree::new(), |tree, name| {
            tree.file(name, name).xattr(name, "user.big", vec![b'x'; 40]).xattr(name, "user.small", "hi")
        });
        tree.write(&ground.join("source"));
        let input = [after_version(31, "00000000"), data_frame(&hex(&request))].concat();
        let mut ours = ground.sender(&["-Xre.LsfxCIu"]);
        let mut theirs = Command::new(Side::C.rsync());
        theirs.args(ours.get_args()).current_dir(ground.work().path());
        feed(&mut theirs, [input.clone()], Afterwards::Closes).expect_code(code).expect_text(text);
        let fed = feed(&mut ours, [input], Afterwards::Closes);
        fed.expect_code(code).expect_text(text).expect_modest();
        ground.expect_untouched();
    }
}
