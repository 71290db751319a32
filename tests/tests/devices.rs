//! `--write-devices` and `--copy-devices`, compared with what C does. Where no loop device can be made, there is
//! nothing to see.

use rsync_e2e::loop_device::LoopDevice;
use rsync_e2e::program::require_root;
use rsync_e2e::tree::random;
use rsync_e2e::ways::EVERY_WAY;
use rsync_e2e::{Compare, Copying, Side, Tree, Way};

const SIZE: usize = 256 << 10;

fn device() -> Option<LoopDevice> {
    require_root();
    LoopDevice::new(SIZE as u64)
}

/// Files that are shorter than the device, as long, or longer.
fn file(length: usize) -> Tree {
    Tree::new().file("disk", random(length, 1)).mode("disk", 0o640)
}

const PAIRS: [(Side, Side); 3] = [(Side::Ours, Side::C), (Side::C, Side::Ours), (Side::Ours, Side::Ours)];

#[test]
fn files_are_written_to_devices_like_c() {
    let Some(device) = device() else { return };
    let mut before = random(SIZE, 1);
    before[1000..2000].fill(0);
    before[100_000..150_000].fill(7);
    let there = Tree::new().block_device("disk", 7, device.minor);
    for (options, length) in [
        ("-ai --write-devices", 100_000),
        ("-ai --write-devices", SIZE),
        ("-ai --write-devices", SIZE + 5000),
        ("-aiI --write-devices --no-whole-file", SIZE),
        ("-ai --write-devices --no-whole-file", 200_000),
        ("-aic --write-devices", SIZE),
        ("-ain --write-devices", 100_000),
        ("-ai --write-devices --append", 100_000),
        ("-rlti --write-devices --backup --suffix=.kept", 100_000),
        ("-ai --write-devices --existing --size-only", SIZE),
        ("-ai --inplace", 100_000),
        ("-ai", 100_000),
    ] {
        let copying = Copying::new(file(length), options).onto(there.clone());
        for way in EVERY_WAY {
            // With a remote one the C rsync tries to truncate the device then.
            if options.contains("--backup") && way != Way::Local {
                continue;
            }
            device.fill(&before);
            let reference = copying.run(way, Side::C, Side::C);
            let written = device.content();
            for (client, server) in PAIRS {
                if way == Way::Local && client != server {
                    continue;
                }
                device.fill(&before);
                let copied = copying.run(way, client, server);
                let what = format!("{way:?} by {client:?} with {server:?}: {options}, {length}\n{copied:#?}");
                assert!(device.content() == written, "{what}");
                assert_eq!(copied.code, reference.code, "{what}");
                // Local copies show what was done, and do not come to what ends the run.
                if length <= SIZE || way != Way::Local {
                    assert_eq!(copied.stdout, reference.stdout, "{what}");
                }
                let compare = Compare { times: length <= SIZE, directory_times: false, ..Compare::ALL };
                copied.tree("destination").assert_same(&reference.tree("destination"), compare);
            }
        }
    }
}

#[test]
fn only_what_differs_travels_to_a_device() {
    let Some(device) = device() else { return };
    let mut before = random(SIZE, 1);
    before[100_000..100_100].fill(0);
    device.fill(&before);
    let there = Tree::new().block_device("disk", 7, device.minor);
    let copying = Copying::new(file(SIZE), "-aI --write-devices --stats").onto(there);
    let copied = copying.run(Way::Push, Side::C, Side::Ours);
    let literal = copied.stdout.iter().find_map(|line| {
        let count = line.strip_prefix("Literal data: ")?.strip_suffix(" bytes")?;
        count.replace(',', "").parse::<u64>().ok()
    });
    assert!(literal.is_some_and(|literal| (1..20_000).contains(&literal)), "{copied:?}");
    assert!(device.content() == random(SIZE, 1));
}

/// The C rsync fails to truncate the device.
#[test]
fn a_sparse_file_is_written_with_its_zeros() {
    let Some(device) = device() else { return };
    device.fill(&[7; SIZE]);
    let there = Tree::new().block_device("disk", 7, device.minor);
    let sparse = Tree::new().sparse("disk", 100_000, &[(0, b"start"), (99_000, b"end")]);
    for way in [Way::Local, Way::Pull] {
        let copying = Copying::new(sparse.clone(), "-aSi --write-devices").onto(there.clone());
        let copied = copying.run(way, Side::Ours, Side::C);
        assert_eq!(copied.code, 0, "{copied:?}");
        let content = device.content();
        assert!(content[5..99_000].iter().all(|&byte| byte == 0) && content[100_000] == 7);
    }
}

#[test]
fn devices_are_sent_as_files_like_c() {
    let Some(device) = device() else { return };
    device.fill(&random(SIZE, 5));
    let source = Tree::new()
        .block_device("disk", 7, device.minor)
        .char_device("zero", 1, 5)
        .symlink("link", "disk")
        .file("file", "f");
    // They are as old as the moment they are looked at.
    let compare = Compare { times: false, directory_times: false, ..Compare::ALL };
    for options in [
        "-ai --copy-devices",
        "-aLi --copy-devices",
        "-aic --copy-devices",
        "-aiI --no-whole-file --copy-devices",
        "-ai --copy-devices --protocol=29",
        "-ri --copy-devices",
        "-ai --no-D",
    ] {
        Copying::new(source.clone(), options).comparing(compare).assert_like_c();
        let old = Tree::new().file("disk", random(SIZE, 5)).file("zero", "z");
        Copying::new(source.clone(), options).onto(old).comparing(compare).assert_like_c();
    }
}
