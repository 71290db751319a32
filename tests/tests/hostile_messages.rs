//! Messages where they do not belong, exits of a peer, timeouts it announces, and its texts on our
//! terminal (spec 02 §2.4, §3.2, §9.3; 10 SEC-050 to SEC-054).

use rsync_e2e::fed::{Afterwards, Fed, Ground, after_version, client_version, feed, run_fed};
use rsync_e2e::hostile::{data_frame, hex};
use rsync_e2e::script::{Step, play};
use rsync_e2e::{Compare, Tree};

fn frame(code: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).expect("short").to_le_bytes().to_vec();
    frame[3] = code.wrapping_add(7);
    frame.extend_from_slice(payload);
    frame
}

/// Our client pulls from a daemon that says these frames first, and closes.
#[track_caller]
fn client_hears(ground: &Ground, options: &[&str], frames: &[u8]) -> Fed {
    let port = play(vec![Step::handshake(31, "00"), Step::Say(frames.to_vec()), Step::Close]);
    run_fed(&mut ground.puller(port, options))
}

/// Codes that only travel between C processes of one side, or that do not exist.
const FOREIGN: [u8; 12] = [5, 6, 7, 8, 9, 10, 11, 21, 34, 85, 99, 200];

#[test]
fn messages_of_the_other_direction_end_a_server() {
    let ground = Ground::new(Tree::new());
    let payloads = [&b""[..], b"\x01\0\0\0", b"text\n"];
    let to_any = FOREIGN.iter().copied().chain([1, 2, 3, 4, 33, 101]);
    for code in to_any.clone().chain([22]) {
        for payload in payloads {
            let input = [after_version(31, "00000000"), frame(code, payload)].concat();
            let fed = feed(&mut ground.sender(&["-re.LsfxCIu"]), [input], Afterwards::Stays);
            fed.expect_code(12).expect_modest();
        }
    }
    for code in to_any.chain([100]) {
        for payload in payloads {
            let input = [client_version(31), frame(code, payload)].concat();
            let fed = feed(&mut ground.receiver(&["-re.LsfxCIu"]), [input], Afterwards::Stays);
            fed.expect_code(12).expect_modest();
        }
    }
    ground.expect_untouched();
}

#[test]
fn messages_of_the_other_direction_end_a_client() {
    let ground = Ground::new(Tree::new());
    for code in FOREIGN.into_iter().chain([100]) {
        let fed = client_hears(&ground, &["-r"], &frame(code, b"\x01\0\0\0"));
        fed.expect_code(12).expect_modest();
    }
    for (code, payload) in [(22, &b"123"[..]), (33, b"12345"), (42, b"1"), (86, b"12"), (102, b"")] {
        let fed = client_hears(&ground, &["-r"], &frame(code, payload));
        fed.expect_code(12).expect_text("invalid multi-message").expect_modest();
    }
    for code in [1, 2, 3, 4, 101] {
        let fed = client_hears(&ground, &["-r"], &frame(code, &[b'x'; 5120]));
        fed.expect_code(12).expect_text("multiplexing overflow").expect_modest();
    }
}

#[test]
fn an_exit_of_the_peer_is_never_a_success() {
    let ground = Ground::new(Tree::new().file("kept", "kept"));
    let before = ground.destination();
    for (payload, code) in [
        ("00000000", 12),
        ("00010000", 12),
        ("ffffffff", 12),
        ("2c010000", 12),
        ("", 12),
        ("17000000", 23),
        ("01000000", 1),
        ("ff000000", 255),
    ] {
        let bytes = frame(86, &hex(payload));
        let fed = client_hears(&ground, &["-r"], &bytes);
        assert_eq!(fed.code, code, "ERROR_EXIT {payload:?}: {}", fed.stderr);
        let input = [after_version(31, "00000000"), bytes.clone()].concat();
        let fed = feed(&mut ground.sender(&["-re.LsfxCIu"]), [input], Afterwards::Closes);
        assert_eq!(fed.code, code, "ERROR_EXIT {payload:?} to a sender: {}", fed.stderr);
        let input = [client_version(31), bytes].concat();
        let fed = feed(&mut ground.receiver(&["-re.LsfxCIu"]), [input], Afterwards::Closes);
        assert_eq!(fed.code, code, "ERROR_EXIT {payload:?} to a receiver: {}", fed.stderr);
    }
    ground.destination().assert_same(&before, Compare::ALL);
}

#[test]
fn an_announced_timeout_only_shortens() {
    let ground = Ground::new(Tree::new());
    for (payload, options, seconds) in [
        ("00000000", ["-r", "--timeout=2"], 2),
        ("00943577", ["-r", "--timeout=2"], 2),
        ("ffffffff", ["-r", "--timeout=2"], 2),
        ("05000000", ["-r", "--timeout=2"], 2),
        ("01000000", ["-r", "--timeout=20"], 1),
        ("02000000", ["-r", "--timeout=0"], 2),
    ] {
        let port = play(vec![Step::handshake(31, "00"), Step::Say(frame(33, &hex(payload)))]);
        let fed = run_fed(&mut ground.puller(port, &options));
        fed.expect_code(30).expect_text(&format!("io timeout after {seconds} seconds"));
        assert!(fed.took.as_secs() <= seconds + 2, "{payload}: {:?}", fed.took);
    }
}

#[test]
fn texts_of_the_peer_cannot_steer_the_terminal() {
    let ground = Ground::new(Tree::new());
    for code in [1, 2, 3, 4] {
        let fed = client_hears(&ground, &["-r"], &frame(code, b"\x1b[31mred\x9b1m\x07 \\#033 \n"));
        fed.expect_no_panic().expect_text(r"\#033[31mred\#2331m\#007 \#134#033");
        assert!(!fed.stdout.contains(&0x1b) && !fed.stderr.contains(&0x1b));
    }
    let fed = client_hears(&ground, &["-rv", "--delete"], &frame(101, b"evil\x1b[2J"));
    assert!(!fed.stdout.contains(&0x1b) && !fed.stderr.contains(&0x1b));
    let port = play(vec![Step::Say(b"@RSYNCD: 31.0\nmotd \x1b[2J\n@ERROR: \x1b]0;x\x07\n".to_vec())]);
    let fed = run_fed(&mut ground.puller(port, &["-r"]));
    fed.expect_code(5).expect_no_panic();
    assert!(!fed.stdout.contains(&0x1b) && !fed.stderr.contains(&0x1b), "{fed:?}");
}

#[test]
fn floods_of_messages_cost_no_memory() {
    let ground = Ground::new(Tree::new());
    for message in [data_frame(b""), frame(22, b"\x01\0\0\0"), frame(2, b"x\n"), frame(3, b"y\n")] {
        let flood = message.repeat(30_000);
        let bytes: Vec<u8> = [flood, frame(86, b"\x05\0\0\0")].concat();
        let fed = client_hears(&ground, &["-rq"], &bytes);
        fed.expect_code(5).expect_modest();
    }
    let flood = [after_version(31, "00000000"), data_frame(b"").repeat(100_000)].concat();
    feed(&mut ground.sender(&["-re.LsfxCIu"]), [flood], Afterwards::Closes).expect_code(12).expect_modest();
}

#[test]
fn an_endless_message_of_the_day_does_not_fill_memory() {
    let ground = Ground::new(Tree::new());
    let lines = Step::Forever(b"a line of the message of the day\n".repeat(100));
    let port = play(vec![Step::Say(b"@RSYNCD: 31.0\n".to_vec()), lines]);
    let mut command = ground.puller(port, &["-r", "--no-motd"]);
    let started = std::time::Instant::now();
    let fed = run_fed(command.arg("--timeout=2"));
    fed.expect_no_panic();
    assert!(fed.code != 0 && fed.peak < 64 << 10, "{} KiB, {:?}", fed.peak, started.elapsed());
    let port = play(vec![Step::Say(b"@RSYNCD: 31.0\n".to_vec()), Step::Forever(vec![b'x'; 1000])]);
    run_fed(&mut ground.puller(port, &["-r"])).expect_code(5).expect_modest();
}

#[test]
fn early_lies_about_the_session_end_it() {
    let ground = Ground::new(Tree::new());
    for (input, code) in [("05000000", 2), ("ffffff7f", 2), ("00000080", 2), ("1e0000", 12), ("", 12)] {
        feed(&mut ground.sender(&["-re.LsfxCIu"]), [hex(input)], Afterwards::Closes)
            .expect_code(code)
            .expect_modest();
        feed(&mut ground.receiver(&["-re.LsfxCIu"]), [hex(input)], Afterwards::Closes)
            .expect_code(code)
            .expect_modest();
    }
    // Rules: too long, of negative length, unknown.
    for (rules, code) in [("00140000", 22), ("ffffffff", 22), ("04000000 7a7a7a20", 1)] {
        let input = [client_version(31), data_frame(&hex(rules)), data_frame(&[b'a'; 5200])].concat();
        let fed = feed(&mut ground.sender(&["-re.LsfxCIu"]), [input], Afterwards::Closes);
        assert_eq!(fed.code, code, "rules {rules}: {}", fed.stderr);
    }
}

#[test]
fn a_server_with_a_timeout_leaves_a_silent_or_dripping_client() {
    let ground = Ground::new(Tree::new());
    let options = ["-re.LsfxCIu", "--timeout=1"];
    for input in [vec![], client_version(31), after_version(31, "00000000")] {
        let fed = feed(&mut ground.sender(&options), [input.clone()], Afterwards::Stays);
        fed.expect_code(30).expect_modest();
        if input.len() <= 4 {
            feed(&mut ground.receiver(&options), [input], Afterwards::Stays).expect_code(30).expect_modest();
        }
    }
    let drip = after_version(31, "00000000").into_iter().map(|byte| {
        std::thread::sleep(std::time::Duration::from_millis(60));
        [byte]
    });
    feed(&mut ground.sender(&options), drip, Afterwards::Closes).expect_code(12);
}

#[test]
fn endless_arguments_end_a_secluded_server() {
    for word in ["a\0".repeat(4096), "a".repeat(8192)] {
        let ground = Ground::new(Tree::new());
        let mut command = std::process::Command::new(rsync_e2e::Side::Ours.rsync());
        command.current_dir(ground.work().path()).args(["--server", "-s"]);
        let fed = feed(&mut command, std::iter::repeat_n(word, 20_000), Afterwards::Stays);
        fed.expect_no_panic().expect_modest();
        assert_ne!(fed.code, 0);
        ground.expect_untouched();
    }
}
