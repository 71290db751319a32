//! Options of the receiving side one by one, by every way, compared with what C does: those that no other
//! test has.

use rsync_e2e::tree::random;
use rsync_e2e::{Compare, Copying, Tree, Way};

/// Directories change their times where entries come and go in another order.
const UNTIMED: Compare = Compare { directory_times: false, ..Compare::ALL };

fn source() -> Tree {
    Tree::new()
        .file("big", random(50_000, 1))
        .file("newer", "n")
        .time("newer", 1_500_000_003, 7)
        .file("sparse", vec![0; 70_000])
        .file("sub/script", "#!")
        .mode("sub/script", 0o755)
        .symlink("in", "sub/script")
        .symlink("out", "../outside")
        .symlink("dirlink", "sub")
        .dir("empty/inner")
        .fifo("fifo")
}

fn before() -> Tree {
    Tree::new()
        .file("big", random(20_000, 1))
        .file("newer", "o")
        .time("newer", 1_500_000_004, 9)
        .file("sub/script", "old")
        .file("extra/e", "e")
        .file("extra2", "e")
        .symlink("in", "elsewhere")
        .file("out", "in the way")
}

#[track_caller]
fn all_like_c(table: &[&str]) {
    for options in table {
        // A link's time is not kept then.
        let times = !options.contains("-aiJ");
        let compare = Compare { times, ..UNTIMED };
        let copying = Copying::new(source(), options).onto(before()).comparing(compare);
        copying.beside("kept", Tree::new()).beside("outside", Tree::new()).assert_like_c();
    }
}

#[test]
fn every_choice_of_what_is_up_to_date_is_like_c() {
    all_like_c(&["-ai --modify-window=2", "-ai --modify-window=-1", "-aiI", "-aiu --modify-window=5"]);
    all_like_c(&["-aic --size-only", "-ai --existing --ignore-existing", "-ai --max-size=60k --min-size=2"]);
}

#[test]
fn every_way_of_writing_is_like_c() {
    all_like_c(&["-ai --fsync", "-aiS --inplace", "-ai --preallocate", "-ai --append-verify", "-aiy"]);
    all_like_c(&[
        "-ai --backup --backup-dir=../kept --suffix=.b",
        "-ai --delay-updates --backup --suffix=.b",
        "-aiW --inplace --backup --suffix=.b",
    ]);
}

#[test]
fn every_choice_of_what_is_made_is_like_c() {
    all_like_c(&[
        "-aim --safe-links",
        "-ai --copy-unsafe-links",
        "-aik",
        "-ai --no-specials",
        "-ai --drop-D",
    ]);
    all_like_c(&["-aiJ", "-aiO --chmod=D750,F640", "-rlti --executability", "-aix"]);
}

#[test]
fn every_way_to_remove_is_like_c() {
    all_like_c(&["-ai --remove-source-files", "-ai --force --delete-after", "-ain --delete-after"]);
    all_like_c(&[
        "-ai --delete-after --max-delete=1",
        "-ai --delete-delay --exclude=extra --delete-excluded",
    ]);
}

#[test]
fn rule_files_behind_kept_links_protect_like_c() {
    let destination = Tree::new()
        .file("real/.rules", "- keep*\n")
        .file("real/keep1", "k")
        .file("real/goes", "g")
        .symlink("sub", "real");
    let source = Tree::new().file("sub/f", "f").dir("real");
    // Without -t, which the C rsync sets on the link.
    let compare = Compare { times: false, ..UNTIMED };
    for options in ["-rlpgoiK --delete-after --filter=:_.rules", "-rlpgoiK --delete-delay --filter=:_.rules"]
    {
        let copying = Copying::new(source.clone(), options).onto(destination.clone());
        copying.comparing(compare).assert_like_c();
    }
}

#[test]
fn what_protects_at_the_destination_is_traced_like_c() {
    let destination = Tree::new().file("keep.o", "o").file("sub/keep.o", "o").file("goes", "g");
    let source = Tree::new().file("sub/f", "f");
    let options = "-a --delete-after --exclude=*.o --debug=filter";
    Copying::new(source, options).onto(destination).by(&[Way::Local, Way::Pull]).assert_like_c();
}

#[test]
fn what_lies_in_the_way_of_a_directory_and_stays_is_like_c() {
    let source = Tree::new().file("x/f", "f").symlink("x/l", "f").fifo("x/p").file("x/d/g", "g").dir("x/d/e");
    let destination = Tree::new().fifo("x");
    for options in ["-ai --ignore-existing", "-ain --ignore-existing", "-ai --ignore-existing --delete"] {
        let copying = Copying::new(source.clone(), options).onto(destination.clone());
        copying.comparing(UNTIMED).assert_like_c();
    }
}

/// Without -t files have the time of the run.
fn compare_for(options: &str) -> Compare {
    Compare { times: options.contains("lt"), ..UNTIMED }
}

#[test]
fn further_names_that_are_in_place_are_told_like_c() {
    let names = || {
        Tree::new().file("a", "a").time("a", 1_500_000_000, 0).hard_link("b", "a").time(".", 1_500_000_000, 0)
    };
    for options in ["-rlpgoHi", "-rlpgoHii", "-rltpgoHin"] {
        for protocol in [28, 32] {
            for present in [names(), names().mode("a", 0o600)] {
                let copying =
                    Copying::new(names(), &format!("{options} --protocol={protocol}")).onto(present);
                copying.by(&[Way::Pull]).comparing(compare_for(options)).assert_like_c();
            }
        }
    }
}

#[test]
fn further_names_of_what_an_alternate_destination_has_are_told_like_c() {
    let names = || Tree::new().file("a", "a").time("a", 1_500_000_000, 0).hard_link("b", "a");
    let apart =
        Tree::new().file("a", "a").time("a", 1_500_000_000, 0).file("b", "a").time("b", 1_500_000_000, 0);
    for options in ["-rlpgoHi", "-rltpgoHii", "-rlpgoHni"] {
        for old in [names(), names().mode("a", 0o600), apart.clone()] {
            for kind in ["--link-dest=../old", "--copy-dest=../old"] {
                let copying = Copying::new(names(), &format!("{options} {kind}")).beside("old", old.clone());
                copying.by(&[Way::Local]).comparing(compare_for(options)).assert_like_c();
            }
        }
    }
}

/// Neither a link that leads out nor what cannot be read is kept, wherever backups go (spec 10 SEC-011).
#[test]
fn what_has_no_safe_backup_has_none_like_c() {
    let source = Tree::new().file("link", "now a file").file("inner", "now a file").file("f", "new");
    let before = Tree::new()
        .symlink("link", "../../out")
        .symlink("gone", "/etc/passwd")
        .symlink("inner", "f")
        .file("f", "old")
        .mode("f", 0o000);
    for options in [
        "-aib --safe-links --delete",
        "-aib --safe-links --delete --backup-dir=kept",
        "-aib --safe-links --delete --backup-dir=../kept",
        "-aib --copy-unsafe-links --delete-after",
        "-aib --munge-links --delete",
    ] {
        let copying = Copying::new(source.clone(), options).onto(before.clone()).comparing(UNTIMED);
        copying.beside("kept", Tree::new()).assert_like_c();
    }
}
