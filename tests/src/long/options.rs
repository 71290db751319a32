//! Random sets of options that make sense together.

use super::case::{Way, mentions};
use super::dice::Dice;
use super::wide;
use crate::program::is_root;
use crate::snapshot::Compare;

/// Options, and what can be compared after a run with them.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The words; `@` stands for the directory of the run.
    pub words: Vec<String>,
    /// Times that a run with them does not set are those of the run.
    pub compare: Compare,
    /// The protocol.
    pub protocol: u64,
}

/// Each of these is added once in so many rounds.
const EXTRAS: &[(u64, &str)] = &[
    // What is copied.
    (3, "-H"),
    (10, "-x"),
    (10, "-m"),
    (10, "-R"),
    (12, "-C"),
    (16, "--max-size=1000"),
    (16, "--min-size=700"),
    (8, "--exclude=a*"),
    (8, "--include=sub*/"),
    (12, "--exclude=*/"),
    (12, "--filter=P x~"),
    (12, "--filter=H [a-c]"),
    (12, "--filter=-! */"),
    (20, "--filter=R a"),
    (20, "--filter=-p core"),
    (20, "--filter=-s *.o"),
    (30, "-F"),
    (30, "--no-implied-dirs"),
    (30, "--ignore-missing-args"),
    (30, "--delete-missing-args"),
    // Links.
    (12, "-L"),
    (12, "--safe-links"),
    (12, "--copy-unsafe-links"),
    (16, "-k"),
    (16, "-K"),
    (20, "-O"),
    (20, "-J"),
    // What needs an update.
    (6, "-c"),
    (8, "-u"),
    (8, "-I"),
    (12, "--size-only"),
    (12, "--existing"),
    (12, "--ignore-existing"),
    (16, "--modify-window=1"),
    (16, "--modify-window=-1"),
    (10, "-n"),
    // How content travels and lands.
    (4, "-z"),
    (8, "-W"),
    (12, "--no-whole-file"),
    (8, "-S"),
    (12, "--block-size=700"),
    (12, "--block-size=40000"),
    (12, "-y"),
    (20, "--preallocate"),
    (20, "--fsync"),
    (20, "--temp-dir=@/temporary"),
    (20, "--remove-source-files"),
    // Attributes.
    (8, "--numeric-ids"),
    (12, "--chmod=Dg+s,Fo-r,ug+w"),
    (20, "--chmod=F600"),
    (20, "--chmod=ugo=rwX"),
    (20, "-E"),
    (20, "--no-perms"),
    (20, "--chown=17:18"),
    (20, "--usermap=0:1234,*:99"),
    (20, "--groupmap=0-5:77"),
    (30, "--no-devices"),
    (30, "--no-specials"),
    // The rest.
    (12, "--no-inc-recursive"),
    (20, "--bwlimit=20000"),
    (12, "--timeout=30"),
    (16, "--ignore-errors"),
    (16, "--force"),
    (16, "--secluded-args"),
    (30, "--old-args"),
    (30, "-8"),
    (30, "--open-noatime"),
];

const DELETIONS: [&[&str]; 9] = [
    &["--delete"],
    &["--delete-before"],
    &["--delete-during"],
    &["--delete-delay"],
    &["--delete-after"],
    &["--delete-excluded"],
    &["--delete", "--max-delete=2"],
    &["--delete", "--force"],
    &["--delete-after", "--max-delete=0"],
];

const PLACES: [&[&str]; 13] = [
    &["--inplace"],
    &["--partial"],
    &["--partial-dir=.part"],
    &["--delay-updates"],
    &["--append"],
    &["--append-verify"],
    &["-b"],
    &["-b", "--suffix=.old"],
    &["-b", "--backup-dir=@/kept"],
    &["-b", "--backup-dir=@/kept", "--suffix=.x", "--delay-updates"],
    &["--link-dest=../old"],
    &["--copy-dest=../old"],
    &["--compare-dest=../old"],
];

const OUTPUTS: [&[&str]; 12] = [
    &["-i"],
    &["-i"],
    &["-i"],
    &["-ii"],
    &["-v"],
    &["-iv"],
    &["--stats"],
    &["-i", "--stats", "-h"],
    &["--out-format=%i %n%L %l"],
    &["--out-format=%o %f %n %l", "-v"],
    &["--info=name2,del,skip,nonreg,symsafe,backup"],
    &["--info=stats2,name1,copy"],
];

const FROM_LIST: [&[&str]; 3] = [
    &["--from0", "--files-from=list"],
    &["--from0", "--files-from=list", "-r"],
    &["--from0", "--files-from=list", "--no-relative"],
];

const CHECKSUMS: [&str; 6] = ["xxh128", "xxh3", "xxh64", "md5", "md4", "sha1"];
const ATTRIBUTES: [&str; 3] = ["-A", "-X", "-AX"];
const COMPRESSORS: [&str; 5] = ["zlib", "zlibx", "lz4", "zstd", "none"];

impl Choice {
    /// Any set; if `wide`, of everything there is.
    #[must_use]
    pub fn random(dice: &mut Dice, wide: bool) -> Self {
        let mut words: Vec<String> = Vec::new();
        let mut add = |word: &str| words.push(word.to_owned());
        let base = *dice.pick(&["-a", "-a", "-a", "-rlt", "-rt", "-rlptD", "-rlpgo", "-dlt"]);
        add(base);
        let further = if wide { wide::EXTRAS } else { &[] };
        for (times, word) in EXTRAS.iter().chain(further) {
            // Options that hide what others do come too often together otherwise.
            if dice.once_in(times * 3 / 2) {
                add(word);
            }
        }
        if dice.once_in(2) {
            dice.pick(&DELETIONS).iter().for_each(|word| add(word));
        }
        if wide && dice.once_in(5) {
            dice.pick(wide::PLACES).iter().for_each(|word| add(word));
        } else if dice.once_in(3) {
            dice.pick(&PLACES).iter().for_each(|word| add(word));
        }
        // The C rsync takes a fuzzy basis that is longer for a file that needs no appending.
        let appends = words.iter().any(|word| word.starts_with("--append"));
        words.retain(|word| !(appends && word == "-y"));
        let mut add = |word: &str| words.push(word.to_owned());
        if dice.once_in(12) {
            dice.pick(&FROM_LIST).iter().for_each(|word| add(word));
            add("-i");
        } else if wide && dice.once_in(4) {
            dice.pick(wide::OUTPUTS).iter().for_each(|word| add(word));
        } else if !dice.once_in(3) {
            dice.pick(&OUTPUTS).iter().for_each(|word| add(word));
        }
        if wide && dice.once_in(6) {
            dice.pick(wide::LOGS).iter().for_each(|word| add(word));
        }
        let protocol = 27 + dice.below(6);
        if protocol >= 30 && dice.once_in(20) {
            // The C rsync cannot read what it writes with -U at older ones.
            add("-U");
        }
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
        // The C rsync forgets members of a group that it put off in favour of one that is then left alone.
        let skips = ["-u", "--existing", "--ignore-existing"];
        let may_forget = words.iter().any(|word| skips.contains(&word.as_str()));
        words.retain(|word| !(may_forget && word == "-H"));
        let compare = comparable(&words, base.contains('t') || base == "-a");
        Self { words, compare, protocol }
    }

    /// Adds what only some ways take, and takes away what others refuse.
    pub fn fit(&mut self, way: Way, dice: &mut Dice) {
        if matches!(way, Way::FromDaemon | Way::ToDaemon) {
            // The C daemon may take names for options with --old-args.
            let refused = ["-M--log-file", "--iconv", "--old-args"];
            self.words.retain(|word| !refused.iter().any(|start| word.starts_with(start)));
        } else if way == Way::Local && self.words.iter().any(|word| word.starts_with("-M")) {
            // The C rsync cannot hand them on to its second process beside these.
            self.words.retain(|word| word != "-s" && word != "--secluded-args" && !word.contains("-M--log"));
        } else if !["--files-from", "--remove-source-files"].iter().any(|word| self.has(word))
            && self.words.iter().all(|word| word != "-n")
            && dice.once_in(8)
        {
            let name =
                dice.pick(&["--write-batch=@/batch", "--write-batch=@/batch", "--only-write-batch=@/batch"]);
            self.words.push((*name).to_owned());
        }
        let keeps_owners = self.words.iter().any(|word| ["-a", "-rlpgo"].contains(&word.as_str()));
        if !keeps_owners {
            // The C rsync stores what happens to be in memory where no owner is known.
            self.words.retain(|word| !word.ends_with("--fake-super"));
        }
        if self.has("--list-only") {
            // The C rsync looks for these in another place then.
            self.words.retain(|word| !word.contains("-dest="));
        }
        for word in &mut self.words {
            match word.as_str() {
                "--files-from=list" if way.is_pull() && way != Way::FromDaemon && dice.once_in(3) => {
                    *word = "--files-from=:list".to_owned();
                }
                "--temp-dir=@/temporary" | "--backup-dir=@/kept" | "--partial-dir=@/parts"
                    if way == Way::ToDaemon =>
                {
                    // Below the root of the module.
                    *word = word.replace("=@/", "=/");
                }
                _ => {}
            }
        }
    }

    /// A set whose copies can be interrupted and completed.
    #[must_use]
    pub fn resumable(dice: &mut Dice) -> Self {
        let mut words = vec!["-aH".to_owned(), "--delete".to_owned()];
        let place =
            *dice.pick(&["--partial", "--partial-dir=.part", "--delay-updates", "--inplace", "--whole-file"]);
        words.push(place.to_owned());
        let protocol = 27 + dice.below(6);
        words.push(format!("--protocol={protocol}"));
        if dice.once_in(3) {
            words.push("-z".to_owned());
        }
        Self { words, compare: Compare::ALL, protocol }
    }

    /// Whether errors while lists are made stop deletions that are under way.
    #[must_use]
    pub fn may_stop_deleting(&self) -> bool {
        let incremental = self.protocol >= 30 && !self.has("--no-inc-recursive");
        incremental && self.has("--delete") && !self.has("--ignore-errors")
    }

    /// Whether the lines are those of `-i`.
    #[must_use]
    pub fn plainly_itemizes(&self) -> bool {
        let other =
            |word: &String| word.starts_with("--info") || word.starts_with("--out-format") || word == "-v";
        self.words.iter().any(|word| word == "-i") && !self.words.iter().any(other)
    }

    /// Whether a word has this in it.
    #[must_use]
    pub fn has(&self, part: &str) -> bool {
        mentions(&self.words, part)
    }
}

fn comparable(words: &[String], keeps_times: bool) -> Compare {
    let untimed = ["-O", "--existing", "-b", "-n", "-u", "--ignore-existing", "--remove-source-files"];
    let directories = !words.iter().any(|word| untimed.contains(&word.as_str()));
    // The C rsync sets the time of what is in the way of a directory that it leaves alone.
    let files = !words.iter().any(|word| word == "--ignore-existing");
    // Where it sets extended attributes of a directory, it sets the mode too, asked or not.
    let has = |word: &str| words.iter().any(|other| other == word);
    let keeps_modes = !has("--no-perms") && ["-a", "-rlptD", "-rlpgo"].contains(&words[0].as_str());
    // A C receiver takes modes from a basis that is itself being updated, whenever it gets to it.
    let is_odd = ["-X", "-AX", "-y", "-yy"].into_iter().any(has);
    // It takes a file that its owner may not read for a new one, and lets the owner write to backups.
    let may_be_shut = !is_root() && (!keeps_modes || words.iter().any(|word| word.starts_with("-b")));
    let modes = (keeps_modes || !is_odd) && !may_be_shut;
    // What is kept of a file that is updated in place has the time of its list, where the list has it in seconds.
    let nanoseconds = !(has("-b") && ["--inplace", "--append", "--append-verify"].into_iter().any(has));
    Compare {
        nanoseconds,
        times: keeps_times && files,
        directory_times: keeps_times && directories,
        modes,
        ..Compare::ALL
    }
}
