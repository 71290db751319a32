//! The restricted command of an `authorized_keys` file: what the other side's command line may ask for
//! (spec 08 §15, 10 §3.13). Names of files are judged by whoever knows the file system.

use bstr::{BString, ByteSlice};

use super::error::shown;

/// What is allowed in a directory, as the words of `rrsync` say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of one command")]
pub struct Restriction {
    /// The directory as it was given.
    pub directory: BString,
    /// Nothing is written (`-ro`); implies `no_delete` and `no_lock`.
    pub read_only: bool,
    /// Nothing is read (`-wo`).
    pub write_only: bool,
    /// Symbolic links are munged (`-munge`).
    pub munge: bool,
    /// Arguments may begin with the directory's real name (`-absolute`).
    pub absolute: bool,
    /// Nothing is deleted or removed (`-no-del`).
    pub no_delete: bool,
    /// Several runs at a time (`-no-lock`).
    pub no_lock: bool,
    /// Existing files stay (`-no-overwrite`).
    pub no_overwrite: bool,
}

/// What the command's own words ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestrictedLine {
    /// Serve the other side.
    Serve(Restriction),
    /// The help text.
    Help,
}

/// A word of a checked command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestrictedWord {
    /// Passed on as it is.
    Plain(BString),
    /// A path below the directory, whose real place is still to be checked.
    Path {
        /// The option with its dashes.
        option: &'static str,
        /// Relative to the directory, without `..`.
        path: BString,
    },
}

/// A command line that may run, once its paths are checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestrictedCommand {
    /// The server sends.
    pub sender: bool,
    /// Its option words.
    pub words: Vec<RestrictedWord>,
    /// The paths it works on, relative to the directory and without `..`; they may hold wildcards.
    pub paths: Vec<BString>,
}

/// Why a command line may not run, in the words of `rrsync`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestrictedError {
    /// `-ro` with `-wo`.
    #[error("argument {second}: not allowed with argument {first}")]
    Exclusive {
        /// The earlier one.
        first: &'static str,
        /// The later one.
        second: &'static str,
    },
    /// A word of its own that it does not know.
    #[error("unrecognized arguments: {0}")]
    Unrecognized(String),
    /// No directory.
    #[error("the following arguments are required: DIR")]
    NoDirectory,
    /// The other side runs something else.
    #[error("SSH_ORIGINAL_COMMAND does not run rsync")]
    NotRsync,
    /// The other side runs no server.
    #[error("--server option is not the first arg")]
    NotServer,
    /// A push, with `-ro`.
    #[error("sending to read-only server is not allowed")]
    ReadOnly,
    /// A pull, with `-wo`.
    #[error("reading from write-only server is not allowed")]
    WriteOnly,
    /// A list of names that would be read, with `-wo`.
    #[error("a write-only server cannot read a remote --files-from path")]
    FilesFrom,
    /// An option that is not allowed here.
    #[error("option {0} has been disabled on this server.")]
    Disabled(String),
    /// What no rsync says, or no rsync that is wanted here.
    #[error("invalid rsync-command syntax or options")]
    Syntax,
    /// A path that climbs.
    #[error("do not use .. in {0} (anchor the path at the root of your restricted dir)")]
    DotDot(&'static str),
}

/// The help of the restricted command.
pub const RESTRICTED_HELP: &str = "\
usage: rrsync [-ro | -wo] [-munge] [-absolute] [-no-del] [-no-lock] [-no-overwrite] [-help] DIR
   or: rsync --restricted [the same]

Stands in an authorized_keys file, as command=\"rrsync -ro DIR\",restrict in front of a key, and lets
its owner run rsync over ssh in DIR and nowhere else.

  -ro            only reading; implies -no-del and -no-lock
  -wo            only writing
  -munge         make symbolic links unusable, as rsync --munge-links
  -absolute      accept paths that begin with the real name of DIR
  -no-del        no options that delete or remove
  -no-lock       several runs at the same time
  -no-overwrite  existing files stay as they are
  -help, -h      this text
";

/// Letters that a server's bundle may have.
const LETTERS: &[u8] = b"ACDEHIJKLNORSUWXbcdgklmnopqrstuvxyz";

/// Long options without a value.
const FLAGS: &str = "
    append copy-unsafe-links delay-updates delete delete-after delete-before delete-delay delete-during
    delete-excluded delete-missing-args dirs existing fake-super force from0 fsync fuzzy group
    hard-links ignore-errors ignore-existing ignore-missing-args ignore-times inplace links list-only
    mkpath msgs2stderr munge-links new-compress no-W no-implied-dirs no-msgs2stderr no-r no-relative
    no-specials numeric-ids old-compress one-file-system open-noatime owner partial perms preallocate
    recursive remove-sent-files remove-source-files safe-links size-only specials stats super times
    use-qsort";

/// Long options whose value is no path.
const VALUES: &str = "
    block-size bwlimit checksum-choice checksum-seed compress-choice compress-level compress-threads
    groupmap iconv info log-format max-alloc max-delete max-size min-size modify-window only-write-batch
    skip-compress stderr suffix timeout usermap";

/// Long options whose value is a path, with whether a sender uses it, too.
const PATHS: &[(&str, bool)] = &[
    ("--backup-dir", false),
    ("--compare-dest", false),
    ("--copy-dest", false),
    ("--link-dest", false),
    ("--partial-dir", false),
    ("--temp-dir", false),
    ("--files-from", true),
    ("--log-file", true),
];

/// Long options that are never allowed.
const NEVER: &str = "
    copy-devices daemon debug no-munge-links sender write-devices";

impl Restriction {
    /// Reads the words of the command itself.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(words: &[BString]) -> Result<RestrictedLine, RestrictedError> {
        let mut found = Self::default();
        let mut directory = None;
        for word in words {
            match word.as_slice() {
                b"-h" | b"-help" => return Ok(RestrictedLine::Help),
                b"-ro" if found.write_only => {
                    return Err(RestrictedError::Exclusive { first: "-wo", second: "-ro" });
                }
                b"-wo" if found.read_only => {
                    return Err(RestrictedError::Exclusive { first: "-ro", second: "-wo" });
                }
                b"-ro" => found.read_only = true,
                b"-wo" => found.write_only = true,
                b"-munge" => found.munge = true,
                b"-absolute" => found.absolute = true,
                b"-no-del" => found.no_delete = true,
                b"-no-lock" => found.no_lock = true,
                b"-no-overwrite" => found.no_overwrite = true,
                [b'-', ..] => return Err(RestrictedError::Unrecognized(shown(word))),
                _ if directory.is_some() => return Err(RestrictedError::Unrecognized(shown(word))),
                _ => directory = Some(word.clone()),
            }
        }
        found.directory = directory.ok_or(RestrictedError::NoDirectory)?;
        found.no_delete |= found.read_only;
        found.no_lock |= found.read_only;
        Ok(RestrictedLine::Serve(found))
    }

    /// Checks the other side's command line (`SSH_ORIGINAL_COMMAND`). `root` is the real name of the
    /// directory.
    ///
    /// # Errors
    /// Why it may not run.
    pub fn check(&self, command: &[u8], root: &[u8]) -> Result<RestrictedCommand, RestrictedError> {
        let mut parts = command.splitn(3, |&byte| byte == b' ');
        if parts.next() != Some(b"rsync") {
            return Err(RestrictedError::NotRsync);
        }
        if parts.next() != Some(b"--server") {
            return Err(RestrictedError::NotServer);
        }
        let rest = parts.next().unwrap_or_default();
        let (sender, rest) = rest.strip_prefix(b"--sender ").map_or((false, rest), |rest| (true, rest));
        if self.read_only && !sender {
            return Err(RestrictedError::ReadOnly);
        }
        if self.write_only && sender {
            return Err(RestrictedError::WriteOnly);
        }
        let words = split(rest)?;
        let end = words.iter().position(|word| word == ".").ok_or(RestrictedError::Syntax)?;
        let mut checked = RestrictedCommand { sender, ..RestrictedCommand::default() };
        let mut options = words[..end].iter();
        while let Some(word) = options.next() {
            match word.strip_prefix(b"--") {
                Some(long) => self.long(long, &mut options, root, &mut checked)?,
                None => self
                    .bundle(word, root)
                    .map(|()| checked.words.push(RestrictedWord::Plain(word.clone())))?,
            }
        }
        for path in &words[end + 1..] {
            let path = if self.absolute { below(path, root).unwrap_or(path) } else { path };
            checked.paths.push(beneath(path, "arg")?);
        }
        let added = [
            (!sender && root != b"/", "--drop-D"),
            (self.munge, "--munge-links"),
            (self.no_overwrite, "--ignore-existing"),
        ];
        checked.words.extend(
            added.into_iter().filter(|(on, _)| *on).map(|(_, word)| RestrictedWord::Plain(word.into())),
        );
        Ok(checked)
    }

    fn bundle(&self, word: &[u8], root: &[u8]) -> Result<(), RestrictedError> {
        let letters = word.strip_prefix(b"-").ok_or(RestrictedError::Syntax)?;
        if let [b'@' | b'B', digits @ ..] = letters {
            let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            return if plain { Ok(()) } else { Err(RestrictedError::Syntax) };
        }
        let (letters, capabilities) = letters.split_once_str("e").unwrap_or((letters, b"."));
        let version = capabilities.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let known = match &capabilities[version..] {
            [b'.', rest @ ..] => rest.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'.'),
            _ => false,
        };
        if !known || !letters.iter().all(|letter| LETTERS.contains(letter)) {
            return Err(RestrictedError::Syntax);
        }
        let disabled = |letter: &u8| match letter {
            b's' => true,
            b'K' | b'L' | b'k' => root != b"/",
            b'b' => self.no_overwrite,
            _ => false,
        };
        match letters.iter().find(|letter| disabled(letter)) {
            Some(letter) => Err(RestrictedError::Disabled(format!("-{}", char::from(*letter)))),
            None => Ok(()),
        }
    }

    fn long<'w>(
        &self,
        word: &[u8],
        rest: &mut impl Iterator<Item = &'w BString>,
        root: &[u8],
        checked: &mut RestrictedCommand,
    ) -> Result<(), RestrictedError> {
        let (name, value) = match word.split_once_str("=") {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let name = name.to_str().map_err(|_| RestrictedError::Syntax)?;
        if self.disables(name, root) {
            return Err(RestrictedError::Disabled(format!("--{name}")));
        }
        let plain = |word: &[u8]| RestrictedWord::Plain(word.into());
        if has(FLAGS, name) && value.is_none() {
            checked.words.push(plain(&[b"--", word].concat()));
            return Ok(());
        }
        let path = PATHS.iter().find(|(option, _)| option[2..] == *name);
        if path.is_none() && !has(VALUES, name) {
            return Err(RestrictedError::Syntax);
        }
        let value = match value {
            Some(value) => value,
            None => rest.next().ok_or(RestrictedError::Syntax)?.as_slice(),
        };
        match path {
            Some(&("--files-from", _)) if value == b"-" => checked.words.push(plain(b"--files-from=-")),
            Some(("--files-from", _)) if self.write_only => return Err(RestrictedError::FilesFrom),
            // A directory beside every file is beneath, wherever that is.
            Some(&(option @ "--partial-dir", _)) if !value.starts_with(b"/") => {
                let path = beneath(value, option)?;
                checked.words.push(plain(&[option.as_bytes(), b"=", &path].concat()));
            }
            Some(&(option, always)) if always || !checked.sender => {
                checked.words.push(RestrictedWord::Path { option, path: beneath(value, option)? });
            }
            _ => checked.words.push(plain(&[b"--", name.as_bytes(), b"=", value].concat())),
        }
        Ok(())
    }

    fn disables(&self, name: &str, root: &[u8]) -> bool {
        has(NEVER, name)
            || (name == "copy-unsafe-links" && root != b"/")
            || (self.no_delete && (name.starts_with("delete") || name.starts_with("remove")))
            || (self.read_only && name == "log-file")
            || (self.no_overwrite
                && ["log-file", "partial-dir", "delay-updates", "backup-dir"].contains(&name))
    }
}

/// Whether a name is in a list with blanks between.
fn has(list: &str, name: &str) -> bool {
    list.split_whitespace().any(|word| word == name)
}

/// Splits at blanks; a backslash takes the next byte as it is.
fn split(text: &[u8]) -> Result<Vec<BString>, RestrictedError> {
    let mut words = Vec::new();
    let mut word: Option<BString> = None;
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            0 => return Err(RestrictedError::Syntax),
            byte if byte.is_ascii_whitespace() => words.extend(word.take()),
            b'\\' => {
                let next = bytes.next().filter(|&&byte| byte != 0).ok_or(RestrictedError::Syntax)?;
                word.get_or_insert_default().push(*next);
            }
            byte => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    Ok(words)
}

/// What follows the directory's real name, if `path` begins with it.
fn below<'p>(path: &'p [u8], root: &[u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(root)?;
    (rest.is_empty() || rest.starts_with(b"/") || root == b"/").then_some(rest)
}

/// A path relative to the directory, where a slash in front means the directory as well.
fn beneath(path: &[u8], what: &'static str) -> Result<BString, RestrictedError> {
    if path.split(|&byte| byte == b'/').any(|component| component == b"..") {
        return Err(RestrictedError::DotDot(what));
    }
    let mut rest = path;
    while let Some(shorter) = rest.strip_prefix(b"/").or_else(|| rest.strip_prefix(b"./")) {
        rest = shorter;
    }
    let mut clean = BString::default();
    for &byte in rest {
        if byte != b'/' || clean.last() != Some(&b'/') {
            clean.push(byte);
        }
    }
    if clean.is_empty() {
        clean.push(b'.');
    }
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &[u8] = b"/srv/data";

    fn restriction(words: &str) -> Restriction {
        let words: Vec<BString> = words.split(' ').map(BString::from).collect();
        match Restriction::parse(&words) {
            Ok(RestrictedLine::Serve(found)) => found,
            other => panic!("{other:?}"),
        }
    }

    fn checked(own: &str, command: &str) -> Result<String, String> {
        let command = restriction(own).check(command.as_bytes(), ROOT).map_err(|error| error.to_string())?;
        let words = command.words.iter().map(|word| match word {
            RestrictedWord::Plain(word) => word.to_string(),
            RestrictedWord::Path { option, path } => format!("{option}<{path}>"),
        });
        let paths = command.paths.iter().map(|path| format!("<{path}>"));
        Ok(words.chain(paths).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_a_client_sends_is_let_through() {
        for (own, command, expected) in [
            ("D", "rsync --server -vlogDtpre.iLsfxCIvu . sub/new", "-vlogDtpre.iLsfxCIvu --drop-D <sub/new>"),
            ("D", "rsync --server --sender -lre31.14iLsf . /sub//x/ ./y .", "-lre31.14iLsf <sub/x/> <y> <.>"),
            ("-ro D", "rsync --server --sender -r .", "-r"),
            (
                "-munge -no-overwrite D",
                "rsync --server -r . x",
                "-r --drop-D --munge-links --ignore-existing <x>",
            ),
            (
                "D",
                "rsync --server -B700 -@1 --bwlimit=9 --suffix .b . x",
                "-B700 -@1 --bwlimit=9 --suffix=.b --drop-D <x>",
            ),
            ("D", r"rsync --server --sender -r . a\ b \*", "-r <a b> <*>"),
            (
                "D",
                "rsync --server --backup-dir /b --link-dest=p . x",
                "--backup-dir<b> --link-dest<p> --drop-D <x>",
            ),
            (
                "D",
                "rsync --server --partial-dir .p --partial-dir /p . x",
                "--partial-dir=.p --partial-dir<p> --drop-D <x>",
            ),
            (
                "D",
                "rsync --server --sender --backup-dir /b --files-from x . .",
                "--backup-dir=/b --files-from<x> <.>",
            ),
            ("D", "rsync --server --sender --files-from=- --from0 . .", "--files-from=- --from0 <.>"),
            (
                "-absolute D",
                "rsync --server --sender -r . /srv/data/x /srv/database",
                "-r <x> <srv/database>",
            ),
        ] {
            assert_eq!(checked(own, command).as_deref(), Ok(expected), "{command}");
        }
    }

    #[test]
    fn everything_else_is_refused_in_the_words_of_rrsync() {
        const SYNTAX: &str = "invalid rsync-command syntax or options";
        let disabled = |option: &str| format!("option {option} has been disabled on this server.");
        let dots = |what: &str| {
            format!("do not use .. in {what} (anchor the path at the root of your restricted dir)")
        };
        for (own, command, expected) in [
            ("D", "", "SSH_ORIGINAL_COMMAND does not run rsync"),
            ("D", "sh -c id", "SSH_ORIGINAL_COMMAND does not run rsync"),
            ("D", "/usr/bin/rsync --server . x", "SSH_ORIGINAL_COMMAND does not run rsync"),
            ("D", "rsync", "--server option is not the first arg"),
            ("D", "rsync  --server -r . x", "--server option is not the first arg"),
            ("D", "rsync -r --server . x", "--server option is not the first arg"),
            ("-ro D", "rsync --server -r . x", "sending to read-only server is not allowed"),
            ("-wo D", "rsync --server --sender -r . x", "reading from write-only server is not allowed"),
            (
                "-wo D",
                "rsync --server --files-from=x . x",
                "a write-only server cannot read a remote --files-from path",
            ),
            ("D", "rsync --server", SYNTAX),
            ("D", "rsync --server -r x", SYNTAX),
            ("D", "rsync --server --foo . x", SYNTAX),
            ("D", "rsync --server --delete=1 . x", SYNTAX),
            ("D", "rsync --server --bwlimit", SYNTAX),
            ("D", "rsync --server -Bx . x", SYNTAX),
            ("D", "rsync --server -e . x", SYNTAX),
            ("D", "rsync --server -re.i;id . x", SYNTAX),
            ("D", "rsync --server -rf . x", SYNTAX),
            ("D", "rsync --server --json . x", SYNTAX),
            ("D", "rsync --server --confine-root=/ . x", SYNTAX),
            ("D", "rsync --server --insecure-links . x", SYNTAX),
            ("D", "rsync --server x -r . x", SYNTAX),
            ("D", "rsync --server -r . x\\", SYNTAX),
            ("D", "rsync --server -r . x\0y", SYNTAX),
        ] {
            assert_eq!(checked(own, command), Err(expected.to_owned()), "{command:?}");
        }
        for option in [
            "--daemon",
            "--debug=ALL",
            "--copy-devices",
            "--write-devices",
            "--no-munge-links",
            "--sender",
            "-s",
            "-K",
            "-L",
            "-k",
            "--copy-unsafe-links",
        ] {
            if option == "--sender" {
                // In front it says which side the server is.
                assert_eq!(checked("D", "rsync --server -r --sender . x"), Err(disabled(option)));
                continue;
            }
            for whole in [format!("rsync --server {option} . x"), format!("rsync --server -r {option} . x")] {
                let name = option.split('=').next().expect("a name");
                assert_eq!(checked("D", &whole), Err(disabled(name)), "{whole}");
            }
        }
        for option in ["--delete", "--delete-excluded", "--remove-source-files", "--delete-missing-args"] {
            assert_eq!(checked("-no-del D", &format!("rsync --server {option} . x")), Err(disabled(option)));
            assert_eq!(
                checked("-ro D", &format!("rsync --server --sender {option} . x")),
                Err(disabled(option))
            );
        }
        for option in ["-b", "--partial-dir", "--delay-updates", "--backup-dir", "--log-file"] {
            assert_eq!(
                checked("-no-overwrite D", &format!("rsync --server {option} . x")),
                Err(disabled(option))
            );
        }
        assert_eq!(checked("-ro D", "rsync --server --sender --log-file=x . x"), Err(disabled("--log-file")));
        for path in ["..", "../x", "a/../b", "/..", "a/.."] {
            assert_eq!(checked("D", &format!("rsync --server -r . {path}")), Err(dots("arg")), "{path}");
            let command = format!("rsync --server --partial-dir={path} . x");
            assert_eq!(checked("D", &command), Err(dots("--partial-dir")), "{path}");
        }
    }

    #[test]
    fn the_whole_machine_may_follow_links() {
        let command = b"rsync --server -LKk --copy-unsafe-links . x";
        let found = restriction("/").check(command, b"/").expect("allowed");
        assert_eq!((found.words.len(), found.paths.as_slice()), (2, &[BString::from("x")][..]));
    }

    #[test]
    fn its_own_words_are_checked() {
        let error = |words: &[&str]| {
            let words: Vec<BString> = words.iter().map(|&word| word.into()).collect();
            Restriction::parse(&words).map_or_else(|error| error.to_string(), |found| format!("{found:?}"))
        };
        assert_eq!(error(&["-ro", "-wo", "D"]), "argument -wo: not allowed with argument -ro");
        assert_eq!(error(&["-x", "D"]), "unrecognized arguments: -x");
        assert_eq!(error(&["D", "E"]), "unrecognized arguments: E");
        assert_eq!(error(&["-ro"]), "the following arguments are required: DIR");
        assert_eq!(error(&["-h"]), "Help");
        let found = restriction("-ro D");
        assert!(found.no_delete && found.no_lock && !found.no_overwrite);
    }

    #[test]
    fn every_option_that_is_let_through_is_one_of_the_table() {
        let lists = FLAGS.split_whitespace().chain(VALUES.split_whitespace());
        let names = lists.chain(PATHS.iter().map(|(option, _)| &option[2..]));
        for name in names {
            let row = super::super::table::find_long(name.as_bytes()).expect(name);
            assert_eq!(super::super::rows::ROWS[row].takes_value(), !has(FLAGS, name), "{name}");
        }
    }
}
