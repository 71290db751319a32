//! Pushes with a hostile end: receivers that ask our client for nonsense (spec 10 §7, rows S), and
//! recorded pushes that reach our server short or wrong.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::process::Command;
use std::thread;
use std::time::Duration;

use bstr::ByteSlice;
use rsync_e2e::daemon::Module;
use rsync_e2e::fed::{Afterwards, Fed, Ground, client_version, each_variant, feed, run_fed};
use rsync_e2e::hostile::{data_frame, hex};
use rsync_e2e::script::{Step, play, tap};
use rsync_e2e::{Compare, Daemon, Side, Tree, run};

/// Our client pushes the four files of the template to a daemon that, once it has the list, says this.
#[track_caller]
fn client_hears(ground: &Ground, protocol: u8, options: &[&str], said: Vec<u8>) -> Fed {
    let before = rsync_e2e::Snapshot::take(&ground.join("source"));
    let steps = vec![
        Step::handshake(protocol, "00"),
        Step::HearData(40),
        Step::Say(said),
        Step::HearData(4000),
        Step::Close,
    ];
    let options = [&["-r", "--timeout=4"], options].concat();
    let fed = run_fed(&mut ground.pusher(play(steps), &options));
    fed.expect_no_panic().expect_modest();
    rsync_e2e::Snapshot::take(&ground.join("source")).assert_same(&before, Compare::ALL);
    ground.expect_untouched();
    fed
}

/// The same request at protocols 29, 30 and 31, by the index of 30 and up and by that of 29.
#[track_caller]
fn refused(index: &str, old_index: &str, rest: &str, text: &str, code: i32) {
    let ground = Ground::new(Tree::new());
    for protocol in [30, 31] {
        let request = data_frame(&hex(&format!("{index} {rest}")));
        client_hears(&ground, protocol, &[], request).expect_code(code).expect_text(text);
    }
    // What a server says is in frames at every protocol.
    let request = data_frame(&hex(&format!("{old_index} {rest}")));
    client_hears(&ground, 29, &[], request).expect_code(code).expect_text(text);
}

#[test]
fn a_receiver_that_sends_impossible_sums() {
    for (head, text) in [
        ("ffffffff bc020000 02000000 00000000", "Invalid checksum count -1 [sender]"),
        ("01000000 ffffffff 02000000 00000000", "Invalid block length -1 [sender]"),
        ("01000000 00000000 02000000 00000000", "Invalid zero block length [sender]"),
        ("01000000 bc020000 11000000 00000000", "Invalid checksum length 17 [sender]"),
        ("01000000 bc020000 02000000 bd020000", "Invalid remainder length 701 [sender]"),
    ] {
        refused("02", "01000000", &format!("0080 {head}"), text, 2);
    }
    let text = "[sender] exceeded --max-alloc=1073741824 setting";
    refused("02", "01000000", "0080 ffffff7f bc020000 10000000 00000000", text, 22);
}

#[test]
fn a_receiver_that_asks_for_what_is_not_there() {
    let rest = format!("0080 {}", "00".repeat(16));
    refused("64", "63000000", &rest, "File-list index 99 not in -1 - 4 (read_ndx_and_attrs) [sender]", 2);
    refused("01", "00000000", &rest, "received request to transfer non-regular file: 0 [sender]", 2);
    refused("ff64", "9bffffff", &rest, "Invalid file index: -101 (-1 - 4) [sender]", 2);
}

#[test]
fn a_receiver_that_sends_messages_of_nobody() {
    let ground = Ground::new(Tree::new());
    for (frame, text) in [
        ("0400006a 61626364", "unexpected tag 99 [sender]"),
        ("04000000 61626364", "unexpected tag -7 [sender]"),
        ("0300006b 616263", "invalid multi-message 100:3 [sender]"),
        ("05000028 0500000000", "invalid multi-message 33:5 [sender]"),
    ] {
        client_hears(&ground, 31, &[], hex(frame)).expect_code(12).expect_text(text);
    }
}

#[test]
fn a_receiver_that_ends_without_success() {
    let ground = Ground::new(Tree::new());
    for (payload, code) in [("00000000", 12), ("00010000", 12), ("ffffffff", 12), ("17000000", 23)] {
        let frame = hex(&format!("0400005d {payload}"));
        let fed = client_hears(&ground, 31, &[], frame);
        assert_eq!(fed.code, code, "ERROR_EXIT {payload}: {}", fed.stderr);
    }
    assert_ne!(client_hears(&ground, 31, &[], Vec::new()).code, 0);
}

/// What the far end has already it may say of every file, so that one goes; of others, and twice, it may
/// not (SEC-022, SEC-075).
#[test]
fn a_receiver_that_claims_to_have_what_cannot_be() {
    for index in ["63000000", "ffffffff", "00000000", "02000000"] {
        let ground = Ground::new(Tree::new());
        let said = hex(&format!("0400006b {index}")).repeat(2);
        let steps = vec![
            Step::handshake(31, "00"),
            Step::HearData(40),
            Step::Say(said),
            Step::HearData(4000),
            Step::Close,
        ];
        let options = ["-r", "--remove-source-files", "--timeout=4"];
        let fed = run_fed(&mut ground.pusher(play(steps), &options));
        fed.expect_no_panic().expect_modest();
        assert_ne!(fed.code, 0, "{index}");
        for name in ["f1", "f3", "zero"] {
            assert!(ground.join("source").join(name).exists(), "{index}: {name} is gone");
        }
        assert!(index == "02000000" || ground.join("source/f2").exists(), "{index}: f2 is gone");
    }
}

#[test]
fn a_receiver_that_never_reads_is_given_up() {
    let ground = Ground::new(Tree::new());
    Tree::new().random("f1", 8 << 20, 3).write(&ground.join("source"));
    let request = format!("0080 {}", "00".repeat(16));
    let steps = vec![
        Step::handshake(31, "00"),
        Step::HearData(40),
        Step::Say(data_frame(&hex(&format!("02 {request}")))),
        Step::Drip(data_frame(&[]), Duration::from_secs(30)),
    ];
    let fed = run_fed(&mut ground.pusher(play(steps), &["-r", "--timeout=2"]));
    fed.expect_code(30).expect_modest();
}

/// A push that the C daemon received: the words for a server, and what our client said, in pieces.
fn recorded(options: &[&str]) -> (Vec<String>, Vec<Vec<u8>>) {
    let ground = Ground::new(old());
    let module = Module::new("m", &ground.join("destination")).line("read only = no");
    let daemon = Daemon::start(Side::C, "", &[module]);
    let (port, recording) = tap(daemon.port());
    run(&mut ground.pusher(port, options)).expect_ok();
    let recording = recording.lock().unwrap();
    let mut words = recording.arguments();
    // The path in the module.
    words.pop();
    let protocol = if options.contains(&"--protocol=30") { 30 } else { 32 };
    let pieces = [client_version(protocol)].into_iter().chain(recording.client_data_pieces());
    (words, pieces.collect())
}

/// The pause of replays whose end does not depend on it.
const PAUSE: Duration = Duration::from_millis(50);

/// The first `len` bytes of `pieces`.
fn cut(pieces: &[Vec<u8>], mut len: usize) -> Vec<Vec<u8>> {
    let cut = pieces.iter().map(|piece| {
        let taken = len.min(piece.len());
        len -= taken;
        piece[..taken].to_vec()
    });
    cut.filter(|piece| !piece.is_empty()).collect()
}

/// What the destination holds before; `f2` is a basis.
fn old() -> Tree {
    Tree::new().file("f2", "two or so").file("kept", "kept")
}

/// Gives the pieces to our server, with a pause before each in which it may ask for the next one.
fn fed_to_server(words: &[String], pieces: Vec<Vec<u8>>, pause: Duration) -> (Ground, Fed) {
    let ground = Ground::new(old());
    let mut command = Command::new(Side::Ours.rsync());
    command.current_dir(ground.work().path()).args(words).arg("destination");
    let paced = pieces.into_iter().inspect(move |_| thread::sleep(pause));
    let fed = feed(&mut command, paced, Afterwards::Closes);
    (ground, fed)
}

/// Every file is the source's or the old one, whole, and nothing else is there.
#[track_caller]
fn expect_whole_files(ground: &Ground, what: &str) {
    let contents = ["one", "two", "three", "", "two or so", "kept"];
    for entry in std::fs::read_dir(ground.join("destination")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let content = std::fs::read(&path).unwrap();
            let known = contents.iter().any(|known| known.as_bytes() == content);
            assert!(known, "{what}: {} holds {:?}", path.display(), content.as_bstr());
        }
    }
    ground.expect_untouched();
}

fn recordings() -> Vec<(Vec<String>, Vec<Vec<u8>>)> {
    [
        &["-rt", "--checksum-choice=md5", "--checksum-seed=1"][..],
        &["-rt", "--protocol=30", "--checksum-seed=1"],
        &["-rtz", "--no-inc-recursive", "--checksum-choice=md5", "--checksum-seed=1"],
    ]
    .map(recorded)
    .to_vec()
}

#[test]
fn a_recorded_push_is_taken_whole() {
    for (words, pieces) in recordings() {
        let (ground, fed) = fed_to_server(&words, pieces, Duration::from_millis(300));
        fed.expect_code(0);
        assert_eq!(std::fs::read_to_string(ground.join("destination/f3")).unwrap(), "three", "{words:?}");
        assert_eq!(std::fs::read_to_string(ground.join("destination/f2")).unwrap(), "two", "{words:?}");
    }
}

#[test]
fn a_push_that_ends_at_any_byte_is_a_broken_stream() {
    for (words, pieces) in recordings() {
        let whole: usize = pieces.iter().map(Vec::len).sum();
        // The last DONE may be missing: everything is in place by then.
        each_variant((whole - 1) / 3, |number| {
            let len = number * 3;
            let (ground, fed) = fed_to_server(&words, cut(&pieces, len), PAUSE);
            let what = format!("{words:?} cut at {len} of {whole}");
            fed.expect_no_panic().expect_modest();
            // Where the server is slower than the pause, it hears answers before it asked.
            let early = fed.code == 2 && fed.stderr.contains_str("that was never made");
            assert!(fed.code == 12 || early, "{what}: code {}\n{}", fed.code, fed.stderr);
            expect_whole_files(&ground, &what);
        });
    }
}

#[test]
fn wrong_bits_in_a_push_are_never_a_success_with_wrong_content() {
    for (words, pieces) in recordings() {
        each_variant(60, |number| {
            let mut state = 0x2545_f491_4f6c_dd1d_u64.wrapping_mul(number as u64 + 1);
            state ^= state >> 29;
            let mut wrong = pieces.clone();
            let piece = (state >> 33) as usize % wrong.len();
            let at = (state >> 11) as usize % wrong[piece].len();
            wrong[piece][at] ^= 1 << (state >> 5 & 7);
            let (ground, fed) = fed_to_server(&words, wrong, PAUSE);
            fed.expect_no_panic();
            assert!(fed.took < Duration::from_secs(8) && fed.peak < 128 << 10, "{words:?}: {piece} {at}");
            expect_whole_files(&ground, &format!("{words:?}, byte {at} of piece {piece}, code {}", fed.code));
        });
    }
}
