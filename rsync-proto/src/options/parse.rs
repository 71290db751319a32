//! The scan of a command line: words, bundles, values (spec 08 §1).
//!
//! The client, a server over a shell and a daemon's connection share it; what differs is said by
//! the words themselves (`--server`) and by the [`Refusals`] of a daemon.

use bstr::BString;

use super::conflicts;
use super::daemon_line::{self, DaemonLine};
use super::error::{Halt, OptionError, shown};
use super::model::TransferOptions;
use super::refuse::Refusals;
use super::rows::ROWS;
use super::scan::Scan;
use super::stop::LocalClock;
use super::table::{Apply, Row, find_long, find_short};
use super::value::{IntError, parse_int};

/// The surroundings a command line is read in.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `RSYNC_OLD_ARGS`.
    pub old_args: Option<BString>,
    /// `RSYNC_PROTECT_ARGS`.
    pub protect_args: Option<BString>,
    /// `RSYNC_ICONV`.
    pub iconv: Option<BString>,
    /// `RSYNC_MAX_ALLOC`.
    pub max_alloc: Option<BString>,
    /// `RSYNC_PARTIAL_DIR`.
    pub partial_dir: Option<BString>,
    /// `POSIXLY_CORRECT` or `POSIX_ME_HARDER` is set: the first operand ends the options.
    pub posixly_correct: bool,
    /// The present and the local zone.
    pub clock: LocalClock,
}

impl Environment {
    /// Takes what matters from environment variables.
    #[must_use]
    pub fn from_variables(clock: LocalClock, get: impl Fn(&str) -> Option<BString>) -> Self {
        Self {
            old_args: get("RSYNC_OLD_ARGS"),
            protect_args: get("RSYNC_PROTECT_ARGS"),
            iconv: get("RSYNC_ICONV"),
            max_alloc: get("RSYNC_MAX_ALLOC"),
            partial_dir: get("RSYNC_PARTIAL_DIR"),
            posixly_correct: get("POSIXLY_CORRECT").is_some() || get("POSIX_ME_HARDER").is_some(),
            clock,
        }
    }
}

/// A command line that can be run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub options: TransferOptions,
    /// The words that are no options, in order.
    pub operands: Vec<BString>,
    /// Lines for the user that are no errors.
    pub notices: Vec<String>,
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Command {
    /// A transfer or a listing.
    Transfer(Box<Request>),
    /// A server whose options follow inside the protocol (`-s`).
    SecondList(Box<Pending>),
    /// A daemon.
    Daemon(Box<DaemonLine>),
    /// `--help`.
    Help,
    /// `--daemon --help`.
    DaemonHelp,
    /// `--version`; `true` asks for JSON.
    Version(bool),
    /// `--info=help`.
    InfoHelp,
    /// `--debug=help`.
    DebugHelp,
}

/// A server's scan between the first and the second list of words.
#[derive(Debug)]
pub struct Pending {
    scan: Scan,
    environment: Environment,
    refusals: Option<Refusals>,
}

impl Pending {
    /// Goes on with the second list, whose element 0 (`rsync`) is included in `words`.
    ///
    /// # Errors
    /// As [`parse`].
    pub fn resume(self, words: &[BString]) -> Result<Request, Rejected> {
        let words = words.get(1..).unwrap_or_default();
        let mut scanner =
            Scanner { scan: self.scan, environment: &self.environment, refusals: self.refusals.as_ref() };
        match scanner.run(words) {
            Ok(Scanned::Operands(operands)) => match conflicts::finish(
                scanner.scan,
                operands,
                &self.environment,
                self.refusals.as_ref(),
                true,
            ) {
                Ok(Command::Transfer(request)) => Ok(*request),
                Ok(_) => Err(OptionError::Usage.into()),
                Err(rejected) => Err(rejected),
            },
            Ok(Scanned::DaemonMode) => Err(OptionError::syntax("Attempt to hack rsync thwarted!").into()),
            Err(Halt::Error(error)) => {
                Err(Rejected { error, so_far: conflicts::interrupted(scanner.scan, &self.environment) })
            }
            Err(_) => Err(OptionError::Usage.into()),
        }
    }

    /// The options of the first list, enough for charset conversion of the second.
    #[must_use]
    pub fn options(&self) -> &TransferOptions {
        &self.scan.options
    }
}

/// A command line that cannot be run.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{error}")]
pub struct Rejected {
    /// Why.
    pub error: OptionError,
    /// The options understood before the error; a daemon finishes the handshake with them.
    pub so_far: Box<TransferOptions>,
}

impl From<OptionError> for Rejected {
    fn from(error: OptionError) -> Self {
        Self { error, so_far: Box::default() }
    }
}

/// Reads the words behind the program's name.
///
/// # Errors
/// The first thing wrong with them.
pub fn parse(words: &[BString], environment: &Environment) -> Result<Command, Rejected> {
    scan_all(words, environment, None)
}

/// Reads the words a daemon received, where `refusals` are the module's.
///
/// # Errors
/// The first thing wrong with them, with the options read so far.
pub fn parse_daemon_request(
    words: &[BString],
    environment: &Environment,
    refusals: &Refusals,
) -> Result<Command, Rejected> {
    scan_all(words, environment, Some(refusals))
}

fn scan_all(
    words: &[BString],
    environment: &Environment,
    refusals: Option<&Refusals>,
) -> Result<Command, Rejected> {
    if words.is_empty() {
        return Err(OptionError::Usage.into());
    }
    let mut scanner = Scanner { scan: Scan::new(), environment, refusals };
    let result = scanner.run(words);
    let scan = scanner.scan;
    match result {
        Ok(Scanned::Operands(operands)) => {
            let short_help = words.len() == 1 && scan.human > 1;
            if short_help && !scan.options.server && scan.version == 0 {
                return Ok(Command::Help);
            }
            conflicts::finish(scan, operands, environment, refusals, false)
        }
        Ok(Scanned::DaemonMode) if refusals.is_some() => Err(Rejected {
            error: OptionError::syntax("Attempt to hack rsync thwarted!"),
            so_far: conflicts::interrupted(scan, environment),
        }),
        Ok(Scanned::DaemonMode) => daemon_line::parse(words).map_err(Rejected::from),
        Err(Halt::Help) => Ok(Command::Help),
        Err(Halt::InfoHelp) => Ok(Command::InfoHelp),
        Err(Halt::DebugHelp) => Ok(Command::DebugHelp),
        Err(Halt::Error(error)) => Err(Rejected { error, so_far: conflicts::interrupted(scan, environment) }),
    }
}

impl Pending {
    pub(super) fn new(scan: Scan, environment: &Environment, refusals: Option<&Refusals>) -> Self {
        Self { scan, environment: environment.clone(), refusals: refusals.cloned() }
    }
}

enum Scanned {
    Operands(Vec<BString>),
    DaemonMode,
}

/// What one option word did.
enum Step {
    Next,
    Restart,
    DaemonMode,
}

struct Scanner<'a> {
    scan: Scan,
    environment: &'a Environment,
    refusals: Option<&'a Refusals>,
}

impl Scanner<'_> {
    fn run(&mut self, words: &[BString]) -> Result<Scanned, Halt> {
        let mut operands = Vec::new();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            if word.len() < 2 || word[0] != b'-' {
                operands.push(word.clone());
                if self.environment.posixly_correct {
                    operands.extend(rest.cloned());
                    break;
                }
                continue;
            }
            if word == "--" {
                operands.extend(rest.cloned());
                break;
            }
            let step = if word.starts_with(b"--") {
                self.long(word, &mut rest)?
            } else {
                self.bundle(word, &mut rest)?
            };
            match step {
                Step::Next => {}
                Step::Restart => {
                    operands.clear();
                    rest = words.iter();
                }
                Step::DaemonMode => return Ok(Scanned::DaemonMode),
            }
        }
        Ok(Scanned::Operands(operands))
    }

    fn long<'w>(
        &mut self,
        word: &'w BString,
        rest: &mut impl Iterator<Item = &'w BString>,
    ) -> Result<Step, Halt> {
        let body = &word[2..];
        let (name, value) = match body.iter().position(|&byte| byte == b'=') {
            Some(at) => (&body[..at], Some(&body[at + 1..])),
            None => (body, None),
        };
        let index = find_long(name).ok_or_else(|| self.word_error(word, "unknown option"))?;
        if !ROWS[index].takes_value() {
            return match (value, &ROWS[index].apply) {
                (None, _) => self.apply(index, None),
                (Some(value), Apply::SwitchOr(_, take))
                    if !self.scan.options.server && take(&mut self.scan, value) =>
                {
                    Ok(Step::Next)
                }
                _ => Err(self.word_error(word, "option does not take an argument")),
            };
        }
        match value {
            Some(value) => self.apply(index, Some((value, word))),
            None => {
                let value = rest.next().ok_or_else(|| self.word_error(word, "missing argument"))?;
                self.apply(index, Some((value, value)))
            }
        }
    }

    fn bundle<'w>(
        &mut self,
        word: &'w BString,
        rest: &mut impl Iterator<Item = &'w BString>,
    ) -> Result<Step, Halt> {
        let mut letters = &word[1..];
        while let Some((&letter, tail)) = letters.split_first() {
            let index = find_short(letter).ok_or_else(|| self.word_error(word, "unknown option"))?;
            let step = if ROWS[index].takes_value() {
                letters = &[];
                if tail.is_empty() {
                    let value = rest.next().ok_or_else(|| self.word_error(word, "missing argument"))?;
                    self.apply(index, Some((value, value)))?
                } else {
                    self.apply(index, Some((tail.strip_prefix(b"=").unwrap_or(tail), word)))?
                }
            } else {
                if tail.first() == Some(&b'=') {
                    return Err(self.word_error(word, "option does not take an argument"));
                }
                letters = tail;
                self.apply(index, None)?
            };
            if !matches!(step, Step::Next) {
                return Ok(step);
            }
        }
        Ok(Step::Next)
    }

    /// An error about a word, as the option library of C words it.
    fn word_error(&self, word: &[u8], text: &str) -> Halt {
        let remote = if self.scan.options.server { "on remote machine: " } else { "" };
        OptionError::syntax(format!("{remote}{}: {text}", shown(word))).into()
    }

    /// Applies a row; the value comes with the word that errors quote.
    fn apply(&mut self, index: usize, value: Option<(&[u8], &[u8])>) -> Result<Step, Halt> {
        let row: &Row = &ROWS[index];
        if self.refusals.is_some_and(|refusals| refusals.refuses(index)) {
            return Err(
                OptionError::syntax(format!("The server is configured to refuse {}", row.display())).into()
            );
        }
        let (text, word) = value.unwrap_or_default();
        match row.apply {
            Apply::Switch(variable, value) => *variable(&mut self.scan) = value,
            Apply::SwitchOr(set, _) => set(&mut self.scan),
            Apply::Count(variable) => *variable(&mut self.scan) += 1,
            Apply::Number(variable, value) => *variable(&mut self.scan) = value,
            Apply::Set(set) => set(&mut self.scan),
            Apply::Act(act) => act(&mut self.scan)?,
            Apply::Int(set) => {
                let number = parse_int(text).map_err(|error| match error {
                    IntError::Invalid => self.word_error(word, "invalid numeric value"),
                    IntError::Range => self.word_error(word, "number too large or too small"),
                })?;
                set(&mut self.scan, number);
            }
            Apply::Text(variable) => *variable(&mut self.scan) = Some(text.into()),
            Apply::Take(take) => take(&mut self.scan, text)?,
            Apply::TakeWith(take) => take(&mut self.scan, text, self.environment)?,
            Apply::Server if self.scan.options.server => {}
            Apply::Server => {
                self.scan.options.server = true;
                self.scan.iconv = None;
                return Ok(Step::Restart);
            }
            Apply::Sender if self.scan.options.server => self.scan.options.sender = true,
            Apply::Sender => return Err(OptionError::Usage.into()),
            Apply::DaemonMode(_) => return Ok(Step::DaemonMode),
        }
        Ok(Step::Next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Append, Compress, DeleteTiming, FilterArg, Info};

    fn run(line: &str) -> Result<Command, String> {
        let words: Vec<BString> = line.split(' ').map(BString::from).collect();
        parse(&words, &Environment::default()).map_err(|rejected| rejected.error.message())
    }

    fn options(line: &str) -> TransferOptions {
        match run(line) {
            Ok(Command::Transfer(request)) => request.options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn options_of_ours_are_never_sent_but_for_what_c_understands() {
        use crate::options::{Direction, Wire};
        let words = |line: &str| {
            let paths = [BString::from("d")];
            options(line).server_words(Direction::Push, Wire::Shell, 32, &paths).first
        };
        assert_eq!(words("-a --progress=bar s h:d"), words("-a s h:d"));
        assert_eq!(words("-a --json s h:d"), words("-ai s h:d"));
        assert_eq!(words("-a --reflink=never s h:d"), words("-a s h:d"));
        assert_eq!(words("-a --detect-renamed s h:d"), words("-a s h:d"));
        assert_eq!(words("-a --json --out-format=%n s h:d"), words("-ai s h:d"));
    }

    #[test]
    fn progress_takes_no_value_but_ours_and_the_last_one_counts() {
        let shown = |line: &str| (options(line).progress, options(line).progress_bar);
        assert_eq!(shown("--progress=bar a b"), (false, true));
        assert_eq!(shown("--progress=bar -P a b"), (true, false));
        assert_eq!(shown("-P --progress=bar a b"), (false, true));
        assert_eq!(shown("--progress=bar --no-progress a b"), (false, false));
        let error = run("--progress=dots a b").expect_err("unknown");
        assert_eq!(error, "rsync: --progress=dots: option does not take an argument");
        run("--server --progress=bar . d").expect_err("not for servers");
    }

    #[test]
    fn the_first_wrong_word_is_reported() {
        for (line, expected) in [
            ("--foo", "rsync: --foo: unknown option"),
            ("--verb", "rsync: --verb: unknown option"),
            ("--no-a", "rsync: --no-a: unknown option"),
            ("-rZ", "rsync: -rZ: unknown option"),
            ("-ve", "rsync: -ve: missing argument"),
            ("--timeout=x", "rsync: --timeout=x: invalid numeric value"),
            ("--timeout s/", "rsync: s/: invalid numeric value"),
            ("--timeout=99999999999", "rsync: --timeout=99999999999: number too large or too small"),
            ("--verbose=1", "rsync: --verbose=1: option does not take an argument"),
            ("-v=n", "rsync: -v=n: option does not take an argument"),
            ("--server --foo", "rsync: on remote machine: --foo: unknown option"),
            ("-B 1M a b", "rsync: --block-size=1M is too large (max: 128.00K)"),
            ("--bwlimit=100b a b", "rsync: --bwlimit=100b is too small (min: 512 or 0 for unlimited)"),
            ("--delete a b", "rsync: --delete does not work without --recursive (-r) or --dirs (-d)."),
            ("--append -P --partial-dir=x a b", "rsync: --append cannot be used with --partial-dir"),
            ("--cc=foo a b", "unknown checksum name: foo"),
            ("--info=foo22 a b", "Unknown --info item: \"foo\""),
            (
                "--daemon -r",
                "rsync: -r: unknown option (in daemon mode)\n(Type \"rsync --daemon --help\" for assistance with daemon mode.)",
            ),
        ] {
            assert_eq!(run(line).expect_err(line), expected, "{line}");
        }
    }

    #[test]
    fn the_order_of_options_decides() {
        assert!(!options("-a --no-p a b").perms);
        assert!(options("--no-p -a a b").perms);
        assert_eq!(options("-vv --no-v -v a b").verbose, 1);
        assert_eq!(options("-r --delete-delay --del a b").delete, DeleteTiming::During);
        assert!(!options("-a --files-from=x a b").recurse);
        assert!(options("-ar --files-from=x a b").recurse);
        assert_eq!(options("--append-verify --append a b").append, Append::Blind);
        assert_eq!(options("--server --append --append . d").append, Append::Verify);
    }

    #[test]
    fn bundles_and_values_are_split() {
        let options = options("-rvB700 -T=/x -T==y a b");
        assert_eq!((options.block_size, options.temp_dir), (700, Some("=y".into())));
        let Ok(Command::Transfer(request)) = run("-a x -- -y") else { panic!("a transfer") };
        assert_eq!(request.operands, ["x", "-y"].map(BString::from));
    }

    #[test]
    fn implications_are_applied() {
        let options = options("-avvz --no-z --zl=3 -b --delete -F -F -F a b");
        assert_eq!(options.compress, Compress::Negotiate);
        assert_eq!(options.info.level(Info::Misc), 2);
        assert!(options.omit_dir_times);
        let rules = [": /.rsync-filter", "- .rsync-filter", "P *~"];
        assert_eq!(options.filters, rules.map(|rule| FilterArg::Rule(rule.into())));
    }

    #[test]
    fn help_and_version_act_in_their_order() {
        assert!(matches!(run("--help --foo"), Ok(Command::Help)));
        assert!(matches!(run("-h"), Ok(Command::Help)));
        assert!(matches!(run("-VV -v"), Ok(Command::Version(true))));
        assert!(run("--version --foo").is_err());
        assert!(matches!(run("--info=name,help"), Ok(Command::InfoHelp)));
    }

    #[test]
    fn a_server_takes_its_second_list_when_arguments_are_secluded() {
        let Ok(Command::SecondList(pending)) = run("--server -slogDtpre.iLsfxCIvu") else {
            panic!("a pending list")
        };
        assert!(pending.options().perms);
        let words = ["rsync", "--delete", ".", "d s/"].map(BString::from);
        let request = pending.resume(&words).expect("a request");
        assert_eq!(request.operands, [".", "d s/"].map(BString::from));
        assert!(request.options.recurse && request.options.deletes());
        assert_eq!(request.options.client_capabilities, Some(".iLsfxCIvu".into()));
    }

    #[test]
    fn the_environment_fills_in() {
        let environment = Environment {
            partial_dir: Some(".p".into()),
            protect_args: Some("1".into()),
            iconv: Some("utf8,latin1".into()),
            ..Environment::default()
        };
        let words = ["--partial", "a", "b"].map(BString::from);
        let Ok(Command::Transfer(request)) = parse(&words, &environment) else { panic!("a transfer") };
        assert!(request.options.secluded_args && request.options.iconv.is_some());
        assert_eq!(request.options.partial_dir, Some(".p".into()));
    }

    proptest::proptest! {
        #[test]
        fn any_words_are_read_without_panic(words in proptest::collection::vec("(-|--|--server|--[a-z-]{1,14}(=.*)?|-[0-9a-zA-Z@]{1,6}|.{0,9})", 1..6)) {
            let words: Vec<BString> = words.iter().map(|word| word.as_str().into()).collect();
            if let Ok(Command::Transfer(request)) = parse(&words, &Environment::default()) {
                let found = crate::options::endpoints(&request.operands, &request.options);
                let direction = crate::options::Direction::Push;
                let words = request.options.server_words(direction, crate::options::Wire::Shell, 32, &request.operands);
                proptest::prop_assert!(found.is_err() || words.first.len() > 1);
            }
        }
    }
}
