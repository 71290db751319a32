//! Symbolic links that lead outside, planted by the sender or lying in the destination: nothing goes
//! through them (spec 10 §2.4, SEC-002 to SEC-010, SEC-060).

use std::os::unix::fs::{lchown, symlink};

use rsync_e2e::fed::{Ground, run_fed};
use rsync_e2e::hostile::{data_frame, hex};
use rsync_e2e::program::require_root;
use rsync_e2e::script::{Step, play};
use rsync_e2e::{Daemon, Side, Tree};

const ROOT: &str = "01 01 2e 000010 6500f153 ed410000";
const FILE_REST: &str = "000500 6500f153 a4810000";
const NO_BASIS: &str = "00a0 00000000 00000000 00000000 00000000";

fn coded(name: &str) -> String {
    let bytes: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("01 {:02x} {bytes}", name.len())
}

/// Pulls `sub/secret` and `secret` from a real server over what `prepare` planted.
#[track_caller]
fn pulled_over(options: &[&str], prepare: impl Fn(&Ground)) -> Ground {
    let ground = Ground::new(Tree::new());
    Tree::new().file("sub/secret", "new").file("secret", "new").write(&ground.join("source"));
    prepare(&ground);
    let daemon = Daemon::serving(Side::C, &ground.join("source"));
    let fed = run_fed(&mut ground.puller(daemon.port(), options));
    fed.expect_no_panic();
    ground.expect_untouched();
    ground
}

fn plant(ground: &Ground, name: &str, target: &str) {
    symlink(target, ground.join("destination").join(name)).expect("planted");
}

#[test]
fn a_directory_of_the_destination_that_is_a_link() {
    for options in [
        &["-r"][..],
        &["-rt", "--inplace"],
        &["-a", "--delete"],
        &["-rR"],
        &["-r", "--delay-updates"],
        &["-r", "--backup"],
        &["-r", "--append"],
        &["-rI", "--no-whole-file"],
    ] {
        pulled_over(options, |ground| plant(ground, "sub", "../outside"));
    }
}

#[test]
fn a_file_of_the_destination_that_is_a_link() {
    for options in [
        &["-r"][..],
        &["-r", "--inplace"],
        &["-r", "--append"],
        &["-a", "--delete"],
        &["-r", "--backup"],
        &["-r", "--partial"],
    ] {
        pulled_over(options, |ground| plant(ground, "secret", "../outside/secret"));
    }
}

/// SEC-007: what is no regular file is made new too, and so is the file that stands for it.
#[test]
fn links_in_place_of_links_and_special_files() {
    for options in [&["-a"][..], &["-a", "--fake-super"], &["-a", "--backup"], &["-a", "--inplace"]] {
        for target in ["../outside/secret", "../outside/dir", "../outside/new"] {
            let ground = pulled_over(options, |ground| {
                Tree::new().symlink("link", "secret").fifo("pipe").write(&ground.join("source"));
                plant(ground, "link", target);
                plant(ground, "pipe", target);
            });
            let link = ground.join("destination/pipe").symlink_metadata().expect("made");
            assert!(!link.is_symlink(), "{options:?} {target}");
        }
    }
}

#[test]
fn a_partial_directory_that_is_a_link() {
    for options in [&["-r", "--partial-dir=.part"][..], &["-r", "--delay-updates"]] {
        pulled_over(options, |ground| {
            plant(ground, ".part", "../outside");
            plant(ground, ".~tmp~", "../outside");
        });
    }
}

/// Links of one's own may be followed in paths that the user names, those of others may not.
#[test]
fn a_temporary_or_backup_directory_that_is_a_link_of_somebody_else() {
    require_root();
    for options in [&["-r", "--temp-dir=tmp"][..], &["-r", "--backup", "--backup-dir=tmp"]] {
        let ground = pulled_over(options, |ground| {
            std::fs::write(ground.join("destination/secret"), "older").expect("written");
            plant(ground, "tmp", "../outside/dir");
            lchown(ground.join("destination/tmp"), Some(65534), Some(65534)).expect("given away");
        });
        let content = std::fs::read_to_string(ground.join("destination/secret")).expect("there");
        assert_eq!(content, "older", "{options:?}");
    }
}

#[test]
fn deletion_does_not_follow_links() {
    let ground = pulled_over(&["-r", "--delete"], |ground| {
        plant(ground, "old", "../outside");
        std::fs::create_dir(ground.join("destination/gone")).expect("made");
        plant(ground, "gone/link", "../../outside/dir");
    });
    assert!(!ground.join("destination/gone").exists());
    assert!(ground.join("destination/old").symlink_metadata().is_err());
}

/// A sender lists a link and something below it, and sends that file unasked or asked.
#[test]
fn a_link_planted_by_the_sender_and_an_entry_below_it() {
    let link = format!("{} 000a00 6500f153 ffa10000 0a 2e2e2f6f757473696465", coded("l"));
    let below = format!("{} {FILE_REST}", coded("l/secret"));
    for options in [&["-rl"][..], &["-rlR"], &["-rl", "--trust-sender"], &["-rl", "--inplace"]] {
        let ground = Ground::new(Tree::new());
        let list = format!("{ROOT} {link} {below} 00");
        let answer = format!("03 {NO_BASIS} 05000000 6162636465 00000000 {}", "00".repeat(16));
        let steps = vec![
            Step::handshake(31, "00"),
            Step::Say(data_frame(&hex(&list))),
            Step::HearData(24),
            Step::Say(data_frame(&hex(&answer))),
            Step::Close,
        ];
        let fed = run_fed(&mut ground.puller(play(steps), options));
        fed.expect_no_panic();
        assert_ne!(fed.code, 0);
        ground.expect_untouched();
    }
}

/// The same in pieces: the directory of the second list has become a link in between.
#[test]
fn a_directory_that_turns_into_a_link_between_two_lists() {
    let list = format!("{ROOT} {} 000010 6500f153 ed410000 00", coded("d"));
    let sub = format!("ff65 {} {FILE_REST} 00 ff01", coded("d/secret"));
    let ground = Ground::new(Tree::new());
    plant(&ground, "d", "../outside");
    let steps = vec![
        Step::handshake(31, "01"),
        Step::Say(data_frame(&hex(&list))),
        Step::Say(data_frame(&hex(&sub))),
        Step::HearData(30),
        Step::Close,
    ];
    let fed = run_fed(&mut ground.puller(play(steps), &["-rl", "--inplace"]));
    fed.expect_no_panic();
    assert_ne!(fed.code, 0);
    ground.expect_untouched();
}

#[test]
fn an_implied_parent_is_no_place_to_delete_in() {
    let dir = "000010 6500f153 ed410000";
    // The sender claims that the implied parent is a directory with all its content.
    let list = format!("{} {dir} {} {FILE_REST} 00", coded("dir"), coded("dir/f"));
    let ground = Ground::new(Tree::new().file("dir/sibling", "stays").file("beside", "stays"));
    let steps =
        vec![Step::handshake(31, "00"), Step::Say(data_frame(&hex(&list))), Step::HearData(20), Step::Close];
    let mut command = std::process::Command::new(Side::Ours.rsync());
    let url = format!("rsync://127.0.0.1:{}/m/dir/f", play(steps));
    command.current_dir(ground.work().path()).args(["-rR", "--delete", &url, "destination/"]);
    run_fed(&mut command).expect_no_panic();
    assert!(ground.join("destination/dir/sibling").exists());
    assert!(ground.join("destination/beside").exists());
}

#[test]
fn a_sender_does_not_read_through_links_that_lead_outside() {
    let ground = Ground::new(Tree::new());
    symlink("../outside/secret", ground.join("source/leak")).expect("planted");
    symlink("../outside", ground.join("source/way")).expect("planted");
    let mut input = rsync_e2e::fed::client_version(31);
    input.extend(data_frame(&hex("00000000")));
    let mut command = ground.sender(&["-rle.LsfxCIu"]);
    let fed = rsync_e2e::fed::feed(&mut command, [input], rsync_e2e::fed::Afterwards::Closes);
    fed.expect_no_panic();
    assert!(!String::from_utf8_lossy(&fed.stdout).contains("untouched"));
    ground.expect_untouched();
}
