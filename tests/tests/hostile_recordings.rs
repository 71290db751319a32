//! Good sessions that end too early, or come with wrong bits: nobody may crash, hang, take the result
//! for a success, or keep wrong content.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use rsync_e2e::fed::{Afterwards, Fed, Ground, client_version, each_variant, feed, run_fed};
use rsync_e2e::script::{Recording, Step, play, tap};
use rsync_e2e::{Daemon, Side, Tree, run};

/// What the destination holds before; `f2` is a basis.
fn old() -> Tree {
    Tree::new().file("f2", "two or so").file("kept", "kept")
}

/// Lets our client pull from the C daemon, and writes it down.
fn recorded(options: &[&str]) -> Recording {
    let ground = Ground::new(old());
    let daemon = Daemon::serving(Side::C, &ground.join("source"));
    let (port, recording) = tap(daemon.port());
    run(&mut ground.puller(port, options)).expect_ok();
    let recording = recording.lock().unwrap();
    assert!(recording.server.len() > 1, "{recording:?}");
    recording.clone()
}

/// Every file of the destination is the source's or the old one, whole.
#[track_caller]
fn expect_whole_files(ground: &Ground, what: &str) {
    for (name, contents) in [
        ("f1", &["one"][..]),
        ("f2", &["two", "two or so"]),
        ("f3", &["three"]),
        ("zero", &[""]),
        ("kept", &["kept"]),
    ] {
        if let Ok(content) = std::fs::read_to_string(ground.join("destination").join(name)) {
            assert!(contents.contains(&content.as_str()), "{what}: {name} holds {content:?}");
        }
    }
    let names: Vec<_> = ground.destination().names().map(ToString::to_string).collect();
    let known = ["", ".", "f1", "f2", "f3", "zero", "kept"];
    assert!(names.iter().all(|name| known.contains(&name.as_str())), "{what}: {names:?}");
    ground.expect_untouched();
}

#[track_caller]
fn expect_sane(fed: &Fed, what: &str) {
    fed.expect_no_panic();
    assert!(fed.took < Duration::from_secs(8), "{what}: took {:?}\n{}", fed.took, fed.stderr);
    assert!(fed.peak < 128 << 10, "{what}: {} KiB", fed.peak);
}

fn pulls_survive_truncation(options: &[&str]) {
    let recording = recorded(options);
    let said = recording.said();
    // The last DONE may be missing: everything is in place by then.
    each_variant(said.len() - 1, |len| {
        let ground = Ground::new(old());
        let port = play(recording.script(|said| said.truncate(len)));
        let fed = run_fed(&mut ground.puller(port, options));
        let what = format!("cut at {len} of {}", said.len());
        expect_sane(&fed, &what);
        assert!(matches!(fed.code, 5 | 12 | 30), "{what}: code {}\n{}", fed.code, fed.stderr);
        expect_whole_files(&ground, &what);
    });
}

#[test]
fn a_pull_that_ends_at_any_byte_is_a_broken_stream() {
    pulls_survive_truncation(&["-rt", "--checksum-choice=md5"]);
}

#[test]
fn an_old_pull_that_ends_at_any_byte_is_a_broken_stream() {
    pulls_survive_truncation(&["-r", "--times", "--protocol=29"]);
}

fn random(seed: &mut u64) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    (*seed >> 11) as usize
}

#[test]
fn wrong_bits_in_a_pull_are_never_a_success_with_wrong_content() {
    let options = ["-rt", "--checksum-choice=md5", "--timeout=1"];
    let recording = recorded(&options);
    let said = recording.said();
    each_variant(300, |number| {
        let ground = Ground::new(old());
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number as u64 + 1);
        let mut flips = Vec::new();
        for _ in 0..=number % 3 {
            flips.push((random(&mut seed) % said.len(), random(&mut seed) % 8));
        }
        let port = play(recording.script(|said| flips.iter().for_each(|&(at, bit)| said[at] ^= 1 << bit)));
        let fed = run_fed(&mut ground.puller(port, &options));
        let what = format!("flips {flips:?}");
        expect_sane(&fed, &what);
        assert!(fed.code < 64, "{what}: code {}", fed.code);
        ground.expect_untouched();
        if fed.code == 0 {
            expect_verified_content(&ground, &what);
        }
    });
}

/// Names, times and modes are the sender's to say, content is verified: every file there is whole.
#[track_caller]
fn expect_verified_content(ground: &Ground, what: &str) {
    let known = ["one", "two", "two or so", "three", "", "kept"];
    for entry in std::fs::read_dir(ground.join("destination")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let content = std::fs::read_to_string(&path).unwrap();
            assert!(known.contains(&content.as_str()), "{what}: {} holds {content:?}", path.display());
        }
    }
}

/// What our client says to the C daemon, given to our server as a sender.
fn requests() -> Vec<u8> {
    let recording = recorded(&["-rt", "--checksum-choice=md5", "--no-inc-recursive"]);
    let mut bytes = client_version(31);
    bytes.extend_from_slice(recording.client_data());
    bytes
}

const SENDER: [&str; 2] = ["-rte.LsfxCIu", "--checksum-choice=md5"];

#[test]
fn a_sender_whose_client_ends_at_any_byte_leaves_soon() {
    let bytes = requests();
    let ground = Ground::new(Tree::new());
    feed(&mut ground.sender(&SENDER), [bytes.clone()], Afterwards::Closes).expect_code(0);
    each_variant(bytes.len() - 1, |len| {
        let fed = feed(&mut ground.sender(&SENDER), [bytes[..len].to_vec()], Afterwards::Closes);
        expect_sane(&fed, &format!("cut at {len}"));
        assert_eq!(fed.code, 12, "cut at {len} of {}: {}", bytes.len(), fed.stderr);
    });
    ground.expect_untouched();
}

#[test]
fn a_sender_survives_wrong_bits() {
    let bytes = requests();
    let ground = Ground::new(Tree::new());
    each_variant(200, |number| {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64.wrapping_mul(number as u64 + 1);
        let mut bytes = bytes.clone();
        let at = random(&mut seed) % bytes.len();
        bytes[at] ^= 1 << (random(&mut seed) % 8);
        let fed = feed(&mut ground.sender(&SENDER), [bytes], Afterwards::Closes);
        expect_sane(&fed, &format!("byte {at}"));
    });
    ground.expect_untouched();
}

#[test]
fn a_client_times_out_on_a_server_that_stops_anywhere() {
    let options = ["-rt", "--checksum-choice=md5", "--timeout=1"];
    let recording = recorded(&options);
    let said = recording.said();
    let text = "@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\n@RSYNCD: OK\n".len();
    each_variant((said.len() - text) / 5, |number| {
        let len = text + number * 5;
        let ground = Ground::new(old());
        let mut script = recording.script(|said| said.truncate(len));
        script.pop();
        let fed = run_fed(&mut ground.puller(play(script), &options));
        let what = format!("silent from {len} of {}", said.len());
        expect_sane(&fed, &what);
        assert_eq!(fed.code, 30, "{what}: {}", fed.stderr);
        expect_whole_files(&ground, &what);
    });
}

#[test]
fn a_client_copes_with_a_server_that_drips() {
    let options = ["-rt", "--checksum-choice=md5", "--timeout=2"];
    let recording = recorded(&options);
    let ground = Ground::new(old());
    let script = recording.script(|_| {}).into_iter().map(|step| match step {
        Step::Say(bytes) => Step::Drip(bytes, Duration::from_millis(3)),
        other => other,
    });
    run_fed(&mut ground.puller(play(script.collect()), &options)).expect_code(0);
    assert_eq!(std::fs::read_to_string(ground.join("destination/f3")).unwrap(), "three");
}
