//! Malformed file lists (spec 03 §8.7 and §10), given to our server and to our client.

use std::process::Command;

use bstr::ByteSlice;
use rsync_e2e::fed::{Afterwards, Ground, client_version, feed, run_fed};
use rsync_e2e::hostile::{data_frame, hex};
use rsync_e2e::script::{Step, play};
use rsync_e2e::{Compare, Side, Tree};

const CAPABILITIES: &str = "-re.LsfxCIu";
const INCREMENTAL: &str = "-re.iLsfxCIu";
const ROOT: &str = "01 01 2e 000010 6500f153 ed410000";
const DIR_A: &str = "01 01 61 000010 6500f153 ed410000";
const FILE_REST: &str = "000500 6500f153 a4810000";

/// A server gets the list, and a client does; `letter` is the option that makes fields appear.
#[track_caller]
fn rejected_with(letter: &str, list: &str, text: &str, code: i32) {
    let bytes = hex(list);
    let ground = Ground::new(Tree::new().file("kept", "kept"));
    let before = ground.destination();
    let server = CAPABILITIES.replace("-r", &format!("-{letter}r"));
    let input = [client_version(31), data_frame(&bytes)].concat();
    let fed = feed(&mut ground.receiver(&[&server]), [input], Afterwards::Closes);
    fed.expect_code(code).expect_text(text).expect_modest();
    let port = play(vec![Step::handshake(31, "00"), Step::Say(data_frame(&bytes)), Step::Close]);
    let fed = run_fed(&mut ground.puller(port, &[&format!("-{letter}r")]));
    fed.expect_code(code).expect_text(text).expect_modest();
    ground.destination().assert_same(&before, Compare::ALL);
    ground.expect_untouched();
}

#[track_caller]
fn rejected(list: &str, text: &str, code: i32) {
    rejected_with("", list, text, code);
}

/// The same with incremental recursion.
#[track_caller]
fn rejected_piece(lists: &str, text: &str, code: i32) {
    let bytes = hex(lists);
    let ground = Ground::new(Tree::new().file("kept", "kept"));
    let input = [client_version(31), data_frame(&bytes)].concat();
    let fed = feed(&mut ground.receiver(&[INCREMENTAL]), [input], Afterwards::Closes);
    fed.expect_code(code).expect_text(text).expect_modest();
    let port = play(vec![Step::handshake(31, "01"), Step::Say(data_frame(&bytes)), Step::Close]);
    let fed = run_fed(&mut ground.puller(port, &["-r"]));
    fed.expect_code(code).expect_text(text).expect_modest();
    ground.expect_untouched();
}

#[test]
fn a_name_longer_than_a_path() {
    let text = "overflow: xflags=0x58 l1=0 l2=4096 lastname=. [Receiver]";
    rejected(&format!("{ROOT} 58 9000 {}", "61".repeat(4096)), text, 22);
}

#[test]
fn a_name_of_negative_length() {
    rejected(&format!("{ROOT} 58 f0ffffffff"), "overflow: xflags=0x58 l1=0 l2=-1 lastname=.", 22);
}

#[test]
fn a_prefix_longer_than_the_name_before() {
    rejected(&format!("{ROOT} 21 05 01 61 {FILE_REST} 00"), "", 2);
}

#[test]
fn a_name_without_bytes() {
    rejected(&format!("{ROOT} 01 00 {FILE_REST} 00"), "", 2);
}

#[test]
fn a_name_with_a_nul() {
    rejected(&format!("{ROOT} 01 03 610062 {FILE_REST} 00"), "", 2);
}

#[test]
fn names_that_leave() {
    for name in ["..", "a/..", "../..", "./../x", "a//../../b"] {
        let coded: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        let list = format!("{ROOT} 01 {:02x} {coded} {FILE_REST} 00", name.len());
        rejected(&list, "ABORTING due to unsafe pathname from sender: ", 4);
    }
}

#[test]
fn nanoseconds_out_of_range() {
    let text = "wire value modtime_nsec out of range: 1000000000 not in [0,999999999] [Receiver]";
    rejected("0520 01 7a 000500 6500f153 f000ca9a3b a4810000 00", text, 2);
    let text = "wire value modtime_nsec out of range: -1 not in [0,999999999]";
    rejected("0520 01 7a 000500 6500f153 f0ffffffff a4810000 00", text, 2);
}

#[test]
fn integers_too_long() {
    rejected(&format!("{ROOT} 41 f8 0000000000"), "Overflow in read_varint()", 12);
    rejected(&format!("{ROOT} 01 01 7a 000500 fc 0000000000000000"), "Overflow in read_varlong()", 12);
}

#[test]
fn modes_of_no_type() {
    rejected(&format!("{ROOT} 01 01 7a 000500 6500f153 a4010000 00"), "invalid file mode 0644 for z", 2);
    rejected(&format!("{ROOT} 01 01 7a 000500 6500f153 ffffffff 00"), "invalid file mode 0", 2);
}

#[test]
fn hard_links_to_nothing() {
    rejected(&format!("{ROOT} 0502 01 68 05 {FILE_REST} 00"), "hard-link reference out of range: 5 (1)", 2);
    let text = "hard-link reference out of range: -1 (1)";
    rejected(&format!("{ROOT} 0502 01 68 f0ffffffff {FILE_REST} 00"), text, 2);
}

#[test]
fn hard_links_to_a_directory() {
    rejected(&format!("{ROOT} 0502 01 68 00 00"), "", 2);
}

#[test]
fn an_entry_below_a_file() {
    let list = format!("{ROOT} 01 01 61 {FILE_REST} 01 03 612f62 {FILE_REST} 00");
    rejected(&list, "ABORTING due to invalid path from sender: a/b", 2);
}

#[test]
fn a_link_target_of_negative_length_or_with_a_nul() {
    let link = "01 02 736c 000500 6500f153 ffa10000";
    rejected_with("l", &format!("{ROOT} {link} f0ffffffff 00"), "overflow: linkname_len=-1", 22);
    rejected_with("l", &format!("{ROOT} {link} 03 610062 00"), "", 2);
}

#[test]
fn an_end_marker_with_errors_that_was_not_agreed() {
    let ground = Ground::new(Tree::new());
    let input = [client_version(30), data_frame(&hex(&format!("{ROOT} 0410 01")))].concat();
    let fed = feed(&mut ground.receiver(&["-re.LsxCIu"]), [input], Afterwards::Closes);
    fed.expect_code(2).expect_text("Invalid flist flag: 1004").expect_modest();
}

#[test]
fn a_list_that_ends_early() {
    rejected(&format!("{ROOT} 01 01"), "connection unexpectedly closed", 12);
}

#[test]
fn a_list_for_an_unknown_directory() {
    let text = "Invalid dir index: -106 (-101 - -102) [receiver]";
    rejected_piece(&format!("{ROOT} {DIR_A} 00 ff69 00"), text, 2);
}

#[test]
fn a_second_list_for_a_directory() {
    let text = "rsync: refusing malicious duplicate flist for dir 1";
    rejected_piece(&format!("{ROOT} {DIR_A} 00 ff65 00 fffe0000 00"), text, 2);
}

#[test]
fn a_list_after_the_last() {
    rejected_piece(&format!("{ROOT} {DIR_A} 00 ff01 ff63 00"), "", 2);
}

/// Of two directories of one name the second does not count, and its number names nothing.
#[test]
fn a_list_for_a_directory_that_was_dropped_as_a_duplicate() {
    let text = "rsync: refusing flist for cleared dir_ndx 2";
    rejected_piece(&format!("{ROOT} {DIR_A} {DIR_A} 00 ff66 00"), text, 2);
}

/// The C rsync frees its only list at a DONE and refuses the next one. Here the DONE itself is refused:
/// while lists are to come, no phase ends. The code is the same.
#[test]
fn a_list_after_the_only_one_was_freed() {
    let list = data_frame(&hex(&format!("{ROOT} {DIR_A} 00")));
    let late = data_frame(&hex("00 ff65 00"));
    for (side, text) in [
        (Side::C, "rsync: refusing sub-flist after final flist was freed"),
        (Side::Ours, "the sender ends a phase that goes on here [receiver]"),
    ] {
        let ground = Ground::new(Tree::new().file("kept", "kept"));
        let mut command = Command::new(side.rsync());
        command.args(ground.receiver(&[INCREMENTAL]).get_args()).current_dir(ground.work().path());
        let input = [client_version(31), list.clone(), late.clone()].concat();
        feed(&mut command, [input], Afterwards::Closes).expect_code(2).expect_text(text).expect_modest();
        ground.expect_untouched();
    }
}

#[test]
fn an_entry_outside_the_directory_of_its_list() {
    let entry = format!("01 03 622f78 {FILE_REST} 00");
    let text = "ABORTING due to invalid path from sender: b/x";
    rejected_piece(&format!("{ROOT} {DIR_A} 00 ff65 {entry}"), text, 4);
    let entry = format!("01 01 78 {FILE_REST} 00");
    rejected_piece(
        &format!("{ROOT} {DIR_A} 00 ff65 {entry}"),
        "ABORTING due to invalid path from sender: /x",
        4,
    );
}

#[test]
fn a_first_list_with_entries_of_a_directory() {
    let entry = format!("01 03 612f78 {FILE_REST} 00");
    rejected_piece(&format!("{ROOT} {DIR_A} {entry}"), "ABORTING due to invalid path from sender: a/x", 4);
}

#[test]
fn a_list_for_a_directory_without_incremental_recursion() {
    let text = "Invalid file index: -102 (-1 - 1) [receiver]";
    rejected(&format!("{ROOT} 01 01 66 {FILE_REST} 00 ff65 00"), text, 2);
}

#[test]
fn indexes_of_no_meaning() {
    rejected_piece(&format!("{ROOT} {DIR_A} 00 ff31"), "", 2);
    rejected(&format!("{ROOT} 00 ff31"), "", 2);
}

#[test]
fn an_item_that_is_not_in_the_list() {
    let text = "File-list index 99 not in -1 - 1 (read_ndx_and_attrs) [receiver]";
    rejected(&format!("{ROOT} 01 01 66 {FILE_REST} 00 64 0080"), text, 2);
}

/// SEC-047: of two files of one name the second does not count, and nothing can be sent for it.
#[test]
fn an_item_that_was_dropped_as_a_duplicate() {
    let file = format!("01 01 66 {FILE_REST}");
    for (number, index) in [("02", 1), ("03", 2)] {
        let list =
            format!("{ROOT} {file} {file} 00 {number} 0080 {} 00000000 {}", "00".repeat(16), "00".repeat(16));
        let ground = Ground::new(Tree::new());
        let input = [client_version(31), data_frame(&hex(&list))].concat();
        let fed = feed(&mut ground.receiver(&[CAPABILITIES]), [input], Afterwards::Closes);
        let text = format!("rsync: refusing transfer of cleared file index {index}");
        let refused = fed.stdout.contains_str(&text) || fed.stderr.contains_str(&text);
        assert_eq!(refused, index == 2, "{index}: {} {}", fed.stdout, fed.stderr);
        fed.expect_no_panic().expect_modest();
        ground.expect_untouched();
    }
}

/// SEC-061: nothing is deleted beside what a sender could not read, unless the user says so.
#[test]
fn errors_of_the_sender_keep_what_it_does_not_name() {
    for (protocol, errors, kept) in
        [(31, "0410 01", true), (31, "00", false), (31, "0410 02", false), (29, "00 01000000", true)]
    {
        for (option, kept) in [("--delete-before", kept), ("--ignore-errors", false)] {
            let ground = Ground::new(Tree::new().file("extra", "of the user"));
            let list = match protocol {
                29 => format!("01 01 2e 00100000 6500f153 ed410000 {errors}"),
                _ => format!("{ROOT} {errors}"),
            };
            let steps = vec![
                Step::handshake(protocol, "08"),
                Step::Say(data_frame(&hex(&list))),
                Step::HearData(7),
                Step::Close,
            ];
            let protocol = format!("--protocol={protocol}");
            let options = ["-r", "--delete", option, protocol.as_str()];
            let fed = run_fed(&mut ground.puller(play(steps), &options));
            fed.expect_no_panic().expect_modest();
            let is_there = ground.join("destination/extra").exists();
            assert_eq!(is_there, kept, "{options:?} after {errors}: {} {}", fed.stdout, fed.stderr);
        }
    }
}

#[test]
fn an_item_name_that_is_too_long() {
    let list = format!("{ROOT} 01 01 66 {FILE_REST} 00 02 0090 9000 {}", "61".repeat(4096));
    rejected(&list, "over-long vstring received (4096 > 4095)", 2);
}

#[test]
fn a_directory_that_is_to_have_content() {
    let text = "received request to transfer non-regular file: 0 [receiver]";
    rejected(&format!("{ROOT} 01 01 66 {FILE_REST} 00 01 0080"), text, 2);
}

#[test]
fn an_endless_list_stops_at_the_memory_limit() {
    let ground = Ground::new(Tree::new());
    let entry = |number: u32| {
        let name: String = format!("{number:0200}").bytes().map(|byte| format!("{byte:02x}")).collect();
        data_frame(&hex(&format!("01 c8 {name} {FILE_REST}")))
    };
    let entries = std::iter::once(client_version(31)).chain((0..).map(entry));
    let options = [CAPABILITIES, "--max-alloc=4m"];
    let fed = feed(&mut ground.receiver(&options), entries, Afterwards::Closes);
    fed.expect_code(22).expect_text("exceeded --max-alloc=4194304 setting");
    assert!(fed.peak < 64 << 10, "{} KiB", fed.peak);
    let names = (0..).map(|number: u32| (number..number + 50).flat_map(entry).collect());
    let steps = std::iter::once(Step::handshake(31, "00")).chain(names.take(2000).map(Step::Say)).collect();
    let fed = run_fed(&mut ground.puller(play(steps), &["-r", "--max-alloc=4m"]));
    fed.expect_code(22).expect_text("exceeded --max-alloc=4194304 setting");
    ground.expect_untouched();
}

/// SEC-040: what the user excluded does not come back from the sender.
#[test]
fn a_name_that_the_user_excluded() {
    let ground = Ground::new(Tree::new());
    let list = format!("{ROOT} 01 01 66 {FILE_REST} 00");
    let steps = || vec![Step::handshake(31, "00"), Step::Say(data_frame(&hex(&list))), Step::Close];
    let fed = run_fed(&mut ground.puller(play(steps()), &["-r", "--exclude=f"]));
    fed.expect_code(4).expect_text("ERROR: rejecting excluded file-list name: f").expect_modest();
    assert!(!ground.join("destination/f").exists());
}

/// SEC-043: kinds that nobody asked for leave nothing behind.
#[test]
fn kinds_that_were_not_asked_for() {
    let ground = Ground::new(Tree::new());
    let link = "01 01 6c 000000 6500f153 ffa10000";
    let fifo = "01 01 70 000000 6500f153 a4110000";
    let device = "01 01 64 000000 6500f153 a4210000";
    for entry in [link, fifo, device] {
        let list = format!("{ROOT} {entry} 00 00 00 00");
        let steps = vec![
            Step::handshake(31, "00"),
            Step::Say(data_frame(&hex(&list))),
            Step::HearData(20),
            Step::Close,
        ];
        run_fed(&mut ground.puller(play(steps), &["-r"])).expect_no_panic().expect_modest();
        assert_eq!(std::fs::read_dir(ground.join("destination")).expect("there").count(), 0, "{entry}");
    }
    ground.expect_untouched();
}

/// SEC-044, SEC-041: `/.` names the root as well.
#[test]
fn the_root_by_another_name_that_is_no_directory() {
    for name in ["02 2f2e", "02 2e2f", "03 2e2f2e"] {
        let ground = Ground::new(Tree::new().file("kept", "kept"));
        let before = ground.destination();
        let input = [client_version(31), data_frame(&hex(&format!("01 {name} {FILE_REST} 00")))].concat();
        let fed = feed(&mut ground.receiver(&["-Rre.LsfxCIu", "--force"]), [input], Afterwards::Closes);
        fed.expect_no_panic().expect_modest();
        assert!(matches!(fed.code, 2 | 4), "{name}: code {} {}", fed.code, fed.stderr);
        ground.destination().assert_same(&before, Compare::ALL);
    }
}

/// SEC-046: directories that are no more, and lists after the last one.
#[test]
fn a_list_for_a_file_or_after_the_end_of_lists() {
    let file = format!("01 01 66 {FILE_REST}");
    rejected_piece(&format!("{ROOT} {file} 00 ff66 00"), "", 2);
    rejected_piece(&format!("{ROOT} {DIR_A} 00 ff65 00 ff01 ff65 00"), "", 2);
}
