//! Pulls between the two implementations, at every protocol, compared with what the C pair does.

use rsync_e2e::matrix::{LARGE, PROTOCOLS, attribute_source, session_options, source, stale_destination};
use rsync_e2e::{Compare, Pull, Side, Transport, Tree};

/// Runs `pull` in both directions and over both transports at `protocol`, with and without incremental
/// recursion, and compares each with the C pair.
#[track_caller]
fn every_way(protocol: u8, pull: &Pull, compare: Compare) {
    for incremental in [false, true] {
        if let Some(session) = session_options(protocol, incremental) {
            let transports = [Transport::Daemon, Transport::Shell];
            compare_ways(&with_options(pull, &session), &transports, compare);
        }
    }
}

/// Runs `pull` in both directions at `protocol` over a daemon, and compares with the C pair.
#[track_caller]
fn both_ways(protocol: u8, pull: &Pull, compare: Compare) {
    let session = [format!("--protocol={protocol}")];
    compare_ways(&with_options(pull, &session), &[Transport::Daemon], compare);
}

#[track_caller]
fn compare_ways(pull: &Pull, transports: &[Transport], compare: Compare) {
    let reference = pull.clone().between(Side::C, Side::C).over(transports[0]).run_undisturbed();
    for &transport in transports {
        for (client, server) in [(Side::Ours, Side::C), (Side::C, Side::Ours)] {
            pull.clone().between(client, server).over(transport).assert_like(&reference, compare);
        }
    }
}

fn with_options(pull: &Pull, options: &[String]) -> Pull {
    options.iter().fold(pull.clone(), |pull, option| pull.option(option))
}

/// One module per behaviour, one test per protocol.
macro_rules! at_every_protocol {
    ($($(#[$attribute:meta])* $name:ident($protocol:ident) $body:block)*) => {
        $(
            mod $name {
                use super::*;

                $(#[$attribute])*
                #[track_caller]
                fn check($protocol: u8) $body

                at_every_protocol!(@tests check: protocol_27 27, protocol_28 28, protocol_29 29, protocol_30 30, protocol_31 31, protocol_32 32);
            }
        )*
    };
    (@tests $check:ident: $($test:ident $protocol:literal),*) => {
        $(
            #[test]
            fn $test() {
                $check($protocol);
            }
        )*
    };
}

at_every_protocol! {
    a_new_copy_is_like_c(protocol) {
        every_way(protocol, &Pull::new(source()), Compare::ALL);
    }

    a_new_copy_keeps_hard_links_like_c(protocol) {
        every_way(protocol, &Pull::new(source()).option("-H"), Compare::ALL);
    }

    a_stale_copy_is_updated_like_c(protocol) {
        every_way(protocol, &Pull::new(source()).onto(stale_destination()).option("-H"), Compare::ALL);
    }

    checksums_find_what_times_hide_like_c(protocol) {
        let same_size_and_time = Tree::new().file("small", "HELLO\n").file("sub/file", "IN SUB").time("sub/file", 86_400, 1);
        every_way(protocol, &Pull::new(source()).onto(same_size_and_time).option("-c"), Compare::ALL);
    }

    updating_in_place_is_like_c(protocol) {
        every_way(protocol, &Pull::new(source()).onto(stale_destination()).option("--inplace"), Compare::ALL);
    }

    compressed_data_is_like_c(protocol) {
        every_way(protocol, &Pull::new(source()).onto(stale_destination()).option("-z"), Compare::ALL);
    }

    numeric_ids_are_like_c(protocol) {
        every_way(protocol, &Pull::new(source()).option("--numeric-ids"), Compare::ALL);
    }

    deletion_is_like_c(protocol) {
        every_way(protocol, &Pull::new(source()).onto(stale_destination()).option("--delete"), Compare::ALL);
    }
}

#[test]
fn acls_and_xattrs_are_kept_like_c() {
    for protocol in PROTOCOLS.into_iter().filter(|&protocol| protocol >= 30) {
        both_ways(protocol, &Pull::new(attribute_source()).option("-AX"), Compare::ALL);
    }
}

#[test]
fn acls_and_xattrs_replace_others_like_c() {
    let others = Tree::new()
        .file("plain", "no attributes")
        .xattr("plain", "user.gone", "x")
        .file("one", "1")
        .xattr("one", "user.short", "other")
        .file("two", "other");
    for protocol in [30, 32] {
        both_ways(protocol, &Pull::new(attribute_source()).onto(others.clone()).option("-AX"), Compare::ALL);
    }
}

#[test]
fn every_time_of_deletion_is_like_c() {
    for when in
        ["--delete-before", "--delete-during", "--delete-delay", "--delete-after", "--delete-excluded"]
    {
        for protocol in [28, 30, 32] {
            let pull =
                Pull::new(source()).onto(stale_destination()).option(when).option("--exclude=/many/zzz");
            both_ways(protocol, &pull, Compare::ALL);
        }
    }
}

#[test]
fn every_compressor_is_like_c() {
    for compressor in ["zlib", "zlibx", "lz4", "zstd", "none"] {
        let pull =
            Pull::new(source()).onto(stale_destination()).option(format!("--compress-choice={compressor}"));
        both_ways(32, &pull, Compare::ALL);
    }
    for level in ["1", "9"] {
        let pull = Pull::new(source())
            .onto(stale_destination())
            .option("-z")
            .option(format!("--compress-level={level}"));
        both_ways(30, &pull, Compare::ALL);
    }
}

#[test]
fn every_checksum_is_like_c() {
    for checksum in ["xxh128", "xxh3", "xxh64", "md5", "md4", "sha1", "none"] {
        let pull =
            Pull::new(source()).onto(stale_destination()).option(format!("--checksum-choice={checksum}"));
        both_ways(32, &pull, Compare::ALL);
        both_ways(32, &pull.option("-c"), Compare::ALL);
    }
}

#[test]
fn whole_files_and_small_blocks_are_like_c() {
    for option in ["-W", "--block-size=700", "--block-size=131072", "--checksum-seed=7"] {
        for protocol in [29, 32] {
            both_ways(protocol, &Pull::new(source()).onto(stale_destination()).option(option), Compare::ALL);
        }
    }
}

#[test]
fn alternate_destinations_are_like_c() {
    for option in ["--link-dest=../previous", "--copy-dest=../previous", "--compare-dest=../previous"] {
        for protocol in [29, 30, 32] {
            let pull = Pull::new(source()).beside("previous", source()).option(option);
            both_ways(protocol, &pull, Compare::ALL);
            both_ways(protocol, &pull.clone().option("-H").option("-ii"), Compare::ALL);
            both_ways(protocol, &pull.onto(stale_destination()).option("-i"), Compare::ALL);
        }
    }
}

#[test]
fn other_content_and_attributes_in_alternate_destinations_are_like_c() {
    for option in ["--link-dest", "--copy-dest", "--compare-dest"] {
        let pull = Pull::new(attribute_source())
            .beside("older", stale_destination())
            .beside("newer", attribute_source().xattr("plain", "user.other", "x"))
            .option(format!("{option}=../older"))
            .option(format!("{option}=../newer"));
        for options in ["-iAX", "-iic", "-ii --no-p", "-i --inplace --no-W", "-nii"] {
            let pull = options.split(' ').fold(pull.clone(), |pull, option| pull.option(option));
            both_ways(32, &pull, Compare { directory_times: options != "-nii", ..Compare::ALL });
        }
    }
}

#[test]
fn a_similar_name_serves_as_basis_like_c() {
    let similar = Tree::new().random("large.old", LARGE, 3).random("medium-1.0", 100_003, 2);
    for protocol in [29, 32] {
        let pull = Pull::new(source()).onto(similar.clone()).option("-i");
        both_ways(protocol, &pull.clone().option("--fuzzy"), Compare::ALL);
        let pull = pull.beside("older", similar.clone().random("sub/file.old", 70_001, 4));
        both_ways(protocol, &pull.clone().option("-yy").option("--link-dest=../older"), Compare::ALL);
        both_ways(
            protocol,
            &pull.option("-yy").option("--no-p").option("--copy-dest=../older"),
            Compare::ALL,
        );
    }
}

#[test]
fn sparse_and_preallocated_files_are_like_c() {
    for option in ["--sparse", "--preallocate"] {
        both_ways(32, &Pull::new(source()).onto(stale_destination()).option(option), Compare::ALL);
    }
}

#[test]
fn partial_directories_and_delayed_updates_are_like_c() {
    for option in ["--partial-dir=.part", "--delay-updates"] {
        let pull =
            Pull::new(source()).onto(stale_destination().random(".part/large", LARGE / 2, 3)).option(option);
        both_ways(32, &pull, Compare::ALL);
    }
}

#[test]
fn temporary_files_on_another_file_system_are_like_c() {
    for options in ["-i", "-i --sparse --fsync", "-iAX", "-ib", "--delay-updates", "-iH --partial-dir=.part"]
    {
        let pull = Pull::new(attribute_source()).onto(stale_destination()).option("--temp-dir=/dev/shm");
        let pull = options.split(' ').fold(pull, |pull, option| pull.option(option));
        both_ways(32, &pull, Compare { directory_times: options != "-ib", ..Compare::ALL });
    }
}

#[test]
fn links_to_directories_are_kept_like_c() {
    let linked = Tree::new().file("real/old", "old").symlink("sub", "real").symlink("deep", "nowhere");
    for options in ["-K", "-Ki --delete-after --exclude=/real", "-KiH --backup", "-K --no-i-r -c"] {
        // The C rsync gives owners and times to the link, and permissions to nothing.
        let pull =
            Pull::new(source()).onto(linked.clone()).option("--no-p").option("--no-o").option("--no-g");
        let pull = options.split(' ').fold(pull, |pull, option| pull.option(option));
        both_ways(32, &pull, Compare { directory_times: false, ..Compare::ALL });
    }
}

#[test]
fn directories_stay_where_backups_of_what_was_deleted_are_in_them() {
    let gone = Tree::new().file("first/f", "first run").file("later/f.bak", "kept by an earlier run");
    for protocol in [29, 32] {
        for options in ["-b --suffix=.bak --delete", "-bi --suffix=.bak --delete-delay --delete-excluded"] {
            let pull = Pull::new(source()).onto(gone.clone());
            let pull = options.split(' ').fold(pull, |pull, option| pull.option(option));
            both_ways(protocol, &pull, Compare { directory_times: false, ..Compare::ALL });
            let kept = pull.run().destination;
            assert!(format!("{kept:?}").contains("first/f.bak"), "{kept:?}");
        }
    }
}

#[test]
fn backups_are_like_c() {
    for options in [
        &["-b"][..],
        &["-b", "--suffix=.old"],
        &["--backup-dir=../backups", "--delete"],
        &["-b", "--inplace"],
    ] {
        let mut pull = Pull::new(source()).onto(stale_destination());
        for option in options {
            pull = pull.option(option);
        }
        both_ways(32, &pull, Compare { directory_times: false, ..Compare::ALL });
    }
}

#[test]
fn selections_are_like_c() {
    for option in [
        "--existing",
        "--ignore-existing",
        "-u",
        "-I",
        "--size-only",
        "--max-size=100K",
        "--min-size=10",
        "--exclude=/deep/d0/d1",
        "--filter=-! */",
        "-C",
        "--no-links",
        "--copy-links",
        "--safe-links",
        "--prune-empty-dirs",
        "--omit-dir-times",
        "--modify-window=-1",
        "--chmod=Dg+s,ug+w,Fo-w,+X",
        "--no-D",
        "-R",
    ] {
        both_ways(32, &Pull::new(source()).onto(stale_destination()).option(option), untimed_for(option));
    }
}

/// Without their members' times, directories have the time of the run.
fn untimed_for(option: &str) -> Compare {
    let directory_times = !matches!(option, "--omit-dir-times" | "--existing");
    Compare { directory_times, ..Compare::ALL }
}

#[test]
fn without_archive_mode_the_copy_is_like_c() {
    for options in [&["-r"][..], &["-rl"], &["-d"], &["-rt", "--perms"], &["-rpE"]] {
        let pull = Pull::new(source()).options(options.iter().copied());
        both_ways(32, &pull, Compare { times: false, directory_times: false, ..Compare::ALL });
    }
}

#[test]
fn chosen_paths_are_like_c() {
    for paths in [
        &["sub"][..],
        &["sub/"],
        &["small", "sub/file", "deep/d0"],
        &["small"],
        &["many/file-00000?"],
        &["no such", "small"],
    ] {
        both_ways(
            32,
            &Pull::new(source()).asking_for(paths),
            Compare { directory_times: false, ..Compare::ALL },
        );
        both_ways(
            29,
            &Pull::new(source()).asking_for(paths).option("-R"),
            Compare { directory_times: false, ..Compare::ALL },
        );
    }
}

#[test]
fn a_dry_run_changes_nothing() {
    let pull = Pull::new(source()).onto(stale_destination()).option("-n").option("--delete").option("-i");
    both_ways(32, &pull, Compare::ALL);
    both_ways(29, &pull, Compare::ALL);
}

#[test]
fn single_bytes_over_a_pipe_arrive_like_any_others() {
    let small = Tree::new().random("a", 5000, 1).file("b/c", "x").symlink("l", "b/c").hard_link("d", "a");
    let stale = Tree::new().random("a", 4000, 1);
    for protocol in PROTOCOLS {
        for (client, server) in [(Side::Ours, Side::C), (Side::C, Side::Ours)] {
            let pull = Pull::new(small.clone())
                .onto(stale.clone())
                .between(client, server)
                .over(Transport::ChunkedShell(1))
                .option("-Hz")
                .option(format!("--protocol={protocol}"));
            pull.assert_like_c(Compare::ALL);
        }
    }
}

#[test]
fn small_pieces_over_a_pipe_arrive_like_any_others() {
    for piece in [7, 1000] {
        for (client, server) in [(Side::Ours, Side::C), (Side::C, Side::Ours)] {
            Pull::new(source())
                .onto(stale_destination())
                .between(client, server)
                .over(Transport::ChunkedShell(piece))
                .assert_like_c(Compare::ALL);
        }
    }
}

#[test]
fn a_crowded_directory_passes_through_the_smallest_pipes() {
    let crowded = Tree::new().many("crowded", 3000).many("crowded/inner", 300);
    let stale = Tree::new().many("crowded", 1000).many("crowded/gone", 400);
    for protocol in [28, 32] {
        let ways = [(Side::Ours, Side::C), (Side::C, Side::Ours), (Side::Ours, Side::Ours)];
        let pull = Pull::new(crowded.clone())
            .onto(stale.clone())
            .over(Transport::ChunkedShell(4096))
            .option("-ciH")
            .option("--delete")
            .option(format!("--protocol={protocol}"));
        let reference = pull.clone().between(Side::C, Side::C).run();
        for (client, server) in ways {
            pull.clone().between(client, server).assert_like(&reference, Compare::ALL);
        }
    }
}

#[test]
fn ours_with_ours_is_like_c_with_c() {
    for protocol in PROTOCOLS {
        for transport in [Transport::Daemon, Transport::Shell] {
            Pull::new(source())
                .onto(stale_destination())
                .between(Side::Ours, Side::Ours)
                .over(transport)
                .option("-H")
                .option("--delete")
                .option(format!("--protocol={protocol}"))
                .assert_like_c(Compare::ALL);
        }
    }
}
