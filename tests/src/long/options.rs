//! Random sets of options that make sense together.

use super::dice::Dice;
use crate::snapshot::Compare;

/// Options, and what can be compared after a run with them.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The words.
    pub words: Vec<String>,
    /// Times that a run with them does not set are those of the run.
    pub compare: Compare,
    /// Items are printed.
    pub itemizes: bool,
}

/// Each of these is added once in so many rounds.
const EXTRAS: &[(u64, &str)] = &[
    (3, "-H"),
    (3, "-i"),
    (4, "-z"),
    (6, "-c"),
    (8, "-u"),
    (8, "-I"),
    (8, "-W"),
    (8, "-S"),
    (10, "-x"),
    (10, "-n"),
    (10, "-m"),
    (10, "-R"),
    (12, "-C"),
    (10, "-L"),
    (12, "--safe-links"),
    (12, "--copy-unsafe-links"),
    (12, "--size-only"),
    (12, "--existing"),
    (12, "--ignore-existing"),
    (8, "--numeric-ids"),
    (12, "--max-size=1000"),
    (12, "--min-size=700"),
    (12, "--modify-window=1"),
    (12, "--modify-window=-1"),
    (12, "--omit-dir-times"),
    (12, "--chmod=Dg+s,Fo-r,ug+w"),
    (12, "--block-size=700"),
    (12, "--block-size=40000"),
    (8, "--exclude=a*"),
    (8, "--include=sub*/"),
    (12, "--exclude=*/"),
    (12, "--filter=P x~"),
    (12, "--filter=H [a-c]"),
    (12, "--filter=-! */"),
    (12, "--no-inc-recursive"),
    (20, "--bwlimit=20000"),
    (12, "--timeout=30"),
    (16, "--ignore-errors"),
    (16, "--force"),
    (16, "--secluded-args"),
];

const DELETIONS: [&[&str]; 8] = [
    &["--delete"],
    &["--delete-before"],
    &["--delete-during"],
    &["--delete-delay"],
    &["--delete-after"],
    &["--delete-excluded"],
    &["--delete", "--max-delete=2"],
    &["--delete", "--force"],
];

const PLACES: [&[&str]; 8] = [
    &["--inplace"],
    &["--partial"],
    &["--partial-dir=.part"],
    &["--delay-updates"],
    &["--append"],
    &["--append-verify"],
    &["-b"],
    &["-b", "--suffix=.old"],
];

const CHECKSUMS: [&str; 6] = ["xxh128", "xxh3", "xxh64", "md5", "md4", "sha1"];
const ATTRIBUTES: [&str; 3] = ["-A", "-X", "-AX"];
const COMPRESSORS: [&str; 5] = ["zlib", "zlibx", "lz4", "zstd", "none"];

impl Choice {
    /// Any set.
    #[must_use]
    pub fn random(dice: &mut Dice) -> Self {
        let mut words: Vec<String> = Vec::new();
        let mut add = |word: &str| words.push(word.to_owned());
        let base = *dice.pick(&["-a", "-a", "-a", "-rlt", "-rt", "-rlptD", "-rlpgo", "-dlt"]);
        add(base);
        for (times, word) in EXTRAS {
            if dice.once_in(*times) {
                add(word);
            }
        }
        if dice.once_in(2) {
            dice.pick(&DELETIONS).iter().for_each(|word| add(word));
        }
        if dice.once_in(3) {
            dice.pick(&PLACES).iter().for_each(|word| add(word));
        }
        let protocol = 27 + dice.below(6);
        add(&format!("--protocol={protocol}"));
        if protocol >= 30 && dice.once_in(5) {
            add(&format!("--checksum-choice={}", dice.pick(&CHECKSUMS)));
        }
        if dice.once_in(5) {
            add(&format!("--compress-choice={}", dice.pick(&COMPRESSORS)));
        }
        if protocol >= 30 && dice.once_in(4) {
            add(dice.pick::<&str>(&ATTRIBUTES));
        }
        let compare = comparable(&words, base.contains('t') || base == "-a");
        let itemizes = words.iter().any(|word| word == "-i");
        Self { words, compare, itemizes }
    }

    /// A set whose copies can be interrupted and completed.
    #[must_use]
    pub fn resumable(dice: &mut Dice) -> Self {
        let mut words = vec!["-aH".to_owned(), "--delete".to_owned()];
        let place =
            *dice.pick(&["--partial", "--partial-dir=.part", "--delay-updates", "--inplace", "--whole-file"]);
        words.push(place.to_owned());
        words.push(format!("--protocol={}", 27 + dice.below(6)));
        if dice.once_in(3) {
            words.push("-z".to_owned());
        }
        Self { words, compare: Compare::ALL, itemizes: false }
    }
}

fn comparable(words: &[String], keeps_times: bool) -> Compare {
    let untimed = ["--omit-dir-times", "--existing", "-b", "-n", "-u", "--ignore-existing"];
    let directories = !words.iter().any(|word| untimed.contains(&word.as_str()));
    // The C rsync sets the time of what is in the way of a directory that it leaves alone.
    let files = !words.iter().any(|word| word == "--ignore-existing");
    Compare { times: keeps_times && files, directory_times: keeps_times && directories, ..Compare::ALL }
}
