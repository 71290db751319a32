//! What rounds from [`WIDE`] on throw besides. Seeds below keep the rounds that they meant when they were
//! written down.

use super::dice::Dice;

/// The first seed of a wide round.
pub const WIDE: u64 = 1_000_000;

/// Each of these is added once in so many rounds.
pub(super) const EXTRAS: &[(u64, &str)] = &[
    (20, "--fake-super"),
    (20, "-M--fake-super"),
    (30, "--super"),
    (30, "--munge-links"),
    (30, "-M--munge-links"),
    (30, "--drop-D"),
    (30, "-M--drop-D"),
    (20, "--iconv=UTF-8,ISO-8859-1"),
    (30, "--iconv=."),
    (30, "--mkpath"),
    (30, "--checksum-seed=7"),
    (30, "--compress-level=9"),
    (30, "--skip-compress=txt/o"),
    (30, "--stderr=client"),
    (40, "--stderr=all"),
    (40, "-q"),
    (30, "--insecure-links"),
    (20, "--exclude-from=@/rules"),
    (20, "--filter=. @/rules"),
    (20, "--filter=: .rules"),
    (30, "--filter=dir-merge,n-e .rules"),
    (30, "--filter=:s- .rules"),
    (30, "-FF"),
    (30, "--trust-sender"),
    (30, "--no-times"),
    (30, "--no-links"),
    (30, "--no-whole-file"),
    (30, "--chmod=D+x,F-x,u+rw"),
    (30, "--chmod=a+rX,g-w"),
    (30, "--max-size=32768"),
    (30, "--ignore-non-existing"),
    (30, "-s"),
    (30, "--no-motd"),
    (30, "-hh"),
    (30, "--no-human-readable"),
];

pub(super) const PLACES: &[&[&str]] = &[
    &["--link-dest=../old", "--link-dest=../old/sub"],
    &["--link-dest=../old", "-b"],
    &["--link-dest=../old", "--delay-updates"],
    &["--link-dest=../old", "--inplace"],
    &["--copy-dest=../old", "-b", "--backup-dir=@/kept"],
    &["--compare-dest=../old", "--partial-dir=.part"],
    &["--compare-dest=../old", "-yy"],
    &["-b", "--backup-dir=.backups"],
    &["-b", "--backup-dir=../kept"],
    &["--partial-dir=@/parts"],
    &["--partial-dir=.later", "--delay-updates"],
    &["--inplace", "-b"],
    &["--inplace", "-S"],
    &["--inplace", "--no-whole-file"],
    &["--append", "-b"],
    &["--temp-dir=@/temporary", "-b"],
    &["--temp-dir=@/temporary", "--partial-dir=.part"],
];

pub(super) const OUTPUTS: &[&[&str]] = &[
    &["--list-only"],
    &["-vv"],
    &["-ivv"],
    &["-iii"],
    &["-iq"],
    &["--out-format=%i %n %M %B %U:%G %'''l %C"],
    &["--out-format=[%-20n] %f %L %P%m%a"],
    &["--info=all1,progress0"],
    &["--info=name0,del2,remove", "-i"],
];

/// Files to log to, on either side, and what they say.
pub(super) const LOGS: &[&[&str]] = &[
    &["--log-file=@/log"],
    &["--log-file=@/log", "-i"],
    &["--log-file=@/log", "-v"],
    &["--log-file=@/log", "--log-file-format=%o %i %n%L %l"],
    &["-M--log-file=@/far-log"],
    &["--log-file=@/log", "-M--log-file=@/far-log", "-M--log-file-format=%i %n %o"],
];

/// Rules of files that are read on the way.
const RULES: &[&str] = &[
    "- a*", "+ sub*", "- *.o", "P b", "- */", "R core", "- /sub", "+ /a b", "!", "- x~", "H c", "S c",
    "-! *a*", "- sub/**", "*~",
];

/// A few rules, in lines.
pub(super) fn rules(dice: &mut Dice) -> Vec<u8> {
    let count = 1 + dice.below(3);
    (0..count).map(|_| format!("{}\n", dice.pick(RULES))).collect::<String>().into_bytes()
}
