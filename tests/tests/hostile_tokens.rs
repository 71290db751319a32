//! File content that makes no sense, in every token format, pulled by our client (spec 05 §4.3, §8, §9).

use rsync_e2e::fed::{Fed, Ground, run_fed};
use rsync_e2e::hostile::{data_frame, hex};
use rsync_e2e::script::{Step, play};
use rsync_e2e::{Compare, Tree};

const LIST: &str = "01 01 2e 000010 6500f153 ed410000 01 01 66 000500 6500f153 a4810000 00";
const NO_BASIS: &str = "00000000 00000000 00000000 00000000";
/// One block of 700 bytes with short sums; the last block has three bytes.
const BASIS: &str = "01000000 bc020000 02000000 03000000";

/// Answers the request for `f`, of which the client has three bytes, with this head and these tokens.
fn answered(options: &[&str], head: &str, tokens: &str) -> Fed {
    let ground = Ground::new(Tree::new().file("f", "old").file("kept", "kept"));
    let before = ground.destination();
    let steps = vec![
        Step::handshake(31, "00"),
        Step::Say(data_frame(&hex(LIST))),
        Step::Hear(hex(BASIS)),
        Step::Say(data_frame(&hex(&format!("02 0080 {head} {tokens}")))),
        Step::Close,
    ];
    let fed = run_fed(&mut ground.puller(play(steps), &[&["-r", "--no-whole-file"], options].concat()));
    ground.destination().assert_same(&before, Compare::CONTENT);
    ground.expect_untouched();
    fed.expect_no_panic();
    fed.expect_modest();
    fed
}

#[track_caller]
fn refused(options: &[&str], head: &str, tokens: &str, text: &str, code: i32) {
    answered(options, head, tokens).expect_code(code).expect_text(text);
}

const COMPRESSIONS: [&str; 4] = ["zlib", "zlibx", "lz4", "zstd"];

#[test]
fn heads_are_checked_by_the_receiver_too() {
    refused(&[], "ffffffff bc020000 02000000 00000000", "", "Invalid checksum count -1 [receiver]", 2);
    refused(&[], "01000000 ffffffff 02000000 00000000", "", "Invalid block length -1 [receiver]", 2);
    refused(&[], "01000000 01000200 02000000 00000000", "", "Invalid block length 131073 [receiver]", 2);
    refused(&[], "01000000 00000000 02000000 00000000", "", "Invalid zero block length [receiver]", 2);
    refused(&[], "01000000 bc020000 11000000 00000000", "", "Invalid checksum length 17 [receiver]", 2);
    refused(&[], "01000000 bc020000 02000000 bd020000", "", "Invalid remainder length 701 [receiver]", 2);
}

#[test]
fn blocks_that_do_not_exist() {
    refused(&[], BASIS, "feffffff", "Invalid block index 1 (count=1) [receiver]", 2);
    refused(&[], BASIS, "00000080", "Invalid block index 2147483647 (count=1) [receiver]", 2);
    refused(&[], NO_BASIS, "ffffffff", "Invalid block index 0 (count=0) [receiver]", 2);
    for name in COMPRESSIONS {
        let option = format!("--compress-choice={name}");
        refused(&[&option], BASIS, "81", "Invalid block index 1 (count=1) [receiver]", 2);
        refused(&[&option], NO_BASIS, "80", "Invalid block index 0 (count=0) [receiver]", 2);
    }
}

#[test]
fn token_numbers_out_of_range() {
    let text = "invalid token number in compressed stream";
    for name in COMPRESSIONS {
        let option = format!("--compress-choice={name}");
        for record in ["20 ffffffff", "20 ffffff7f", "21 00000000 0000", "c0 0000", "21 feffff7f 0200"] {
            refused(&[&option], BASIS, record, text, 2);
        }
    }
}

#[test]
fn records_of_no_kind() {
    for name in COMPRESSIONS {
        let option = format!("--compress-choice={name}");
        for record in ["01", "1f", "22 00000000", "3f 00000000 0100"] {
            refused(&[&option], BASIS, record, "", 2);
        }
    }
}

#[test]
fn compressed_data_that_is_none() {
    for name in COMPRESSIONS {
        let option = format!("--compress-choice={name}");
        let fed = answered(&[&option], BASIS, &format!("40 10 {} 00 {}", "ff".repeat(16), "00".repeat(16)));
        assert_eq!(fed.code, 12, "{name}: {}", fed.stderr);
    }
    for name in ["zlib", "zlibx", "lz4"] {
        let option = format!("--compress-choice={name}");
        let fed = answered(&[&option], BASIS, &format!("40 00 00 {}", "00".repeat(16)));
        assert_eq!(fed.code, 12, "{name}, an empty record: {}", fed.stderr);
    }
    // A final deflate block; a stream whose flush marker was sent.
    for record in ["40 03 cb4803", "40 04 0000ffff"] {
        for name in ["zlib", "zlibx"] {
            let option = format!("--compress-choice={name}");
            let fed = answered(&[&option], BASIS, &format!("{record} 00 {}", "00".repeat(16)));
            assert!(matches!(fed.code, 12), "{name} {record}: {} {}", fed.code, fed.stderr);
        }
    }
}

#[test]
fn content_that_ends_early() {
    for (option, tokens) in [
        ("-r", "05000000 6162"),
        ("-r", "ffffff7f 61"),
        ("-r", "00000000 0000"),
        ("-z", "7fff 61"),
        ("-z", "20 00"),
    ] {
        refused(&[option], BASIS, tokens, "connection unexpectedly closed", 12);
    }
}

#[test]
fn a_literal_of_endless_length_is_only_as_long_as_what_comes() {
    let ground = Ground::new(Tree::new().file("f", "old"));
    let steps = vec![
        Step::handshake(31, "00"),
        Step::Say(data_frame(&hex(LIST))),
        Step::Hear(hex(BASIS)),
        Step::Say(data_frame(&hex(&format!("02 0080 {BASIS} ffffff7f")))),
        Step::Say(data_frame(&vec![b'x'; 60_000]).repeat(20)),
        Step::Close,
    ];
    let fed = run_fed(&mut ground.puller(play(steps), &["-r", "--no-whole-file"]));
    fed.expect_code(12).expect_modest();
    assert_eq!(std::fs::read_to_string(ground.join("destination/f")).expect("still there"), "old");
}

#[test]
fn a_wrong_digest_never_replaces_the_file() {
    let wrong = format!("05000000 6162636465 00000000 {}", "00".repeat(16));
    let ground = Ground::new(Tree::new().file("f", "old"));
    let steps = vec![
        Step::handshake(31, "00"),
        Step::Say(data_frame(&hex(LIST))),
        Step::Hear(hex(BASIS)),
        Step::Say(data_frame(&hex(&format!("02 0080 {BASIS} {wrong} 00")))),
        Step::Hear(hex("10000000 03000000")),
        Step::Say(data_frame(&hex(&format!(
            "fe0000 0080 01000000 bc020000 10000000 03000000 {wrong} 00 00"
        )))),
        Step::HearData(200),
        Step::Say(data_frame(&hex("003500 005e00 000600 000100 000000 00"))),
        Step::Close,
    ];
    let fed = run_fed(&mut ground.puller(play(steps), &["-r", "--no-whole-file"]));
    fed.expect_code(23).expect_text("ERROR: f failed verification -- update discarded.").expect_modest();
    assert_eq!(std::fs::read_to_string(ground.join("destination/f")).expect("still there"), "old");
    ground.expect_untouched();
}

#[test]
fn a_fuzzy_or_alternate_basis_that_was_not_asked_for() {
    let ground = Ground::new(Tree::new().file("f", "old"));
    for (attributes, text) in [
        ("0098 83 01 66", "refusing malicious fuzzy operation for f"),
        ("0098 83 0e 2e2e2f6f7574736964652f736563", "refusing malicious fuzzy operation for f"),
        ("0088 00", "invalid basis_dir index: 0."),
    ] {
        let steps = vec![
            Step::handshake(31, "00"),
            Step::Say(data_frame(&hex(LIST))),
            Step::Hear(hex(BASIS)),
            Step::Say(data_frame(&hex(&format!("02 {attributes} {BASIS}")))),
            Step::Close,
        ];
        let fed = run_fed(&mut ground.puller(play(steps), &["-r", "--no-whole-file"]));
        fed.expect_code(2).expect_text(text).expect_modest();
        ground.expect_untouched();
    }
}
