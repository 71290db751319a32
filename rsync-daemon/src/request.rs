//! What a client asks a module for: its words, parsed (spec 09 §10, §11).

use bstr::{BString, ByteSlice};
use rsync_proto::charset::{Charset, UnknownCharset, locale_charset};
use rsync_proto::options::{
    Command, Debug, DebugLevels, Environment, Info, InfoLevels, OptionError, Pending, Refusals, Rejected,
    Request, TransferOptions, parse_daemon_request,
};
use rsync_proto::session::{module_paths, unescape_options};

use crate::config::ModuleSettings;
use crate::packed::packed_struct;
use crate::visit::environment;

/// The lists of words that a client sent: one, or two with `--secluded-args`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) first: Vec<BString>,
    pub(crate) second: Option<Vec<BString>>,
}

packed_struct!(Arguments { first, second });

impl Arguments {
    /// What they ask of a module.
    pub(crate) fn parse(&self, module: &[u8], settings: &ModuleSettings) -> (Words, Parsed) {
        let words = Words::new(module, self.first.clone());
        match (parse(&words, settings), &self.second) {
            (Parsed::AwaitsSecondList(pending), Some(second)) => {
                let charset = settings.conversion(pending.options());
                let local = |word: &BString| match charset {
                    Some(charset) => charset.text_from_wire(word).into(),
                    None => word.clone(),
                };
                let words = Words::secluded(module, second.iter().map(local).collect());
                let parsed = Parsed::resume(*pending, &words);
                (words, parsed)
            }
            (parsed, _) => (words, parsed),
        }
    }
}

/// A list of words, its paths without the module's name.
pub(crate) struct Words {
    words: Vec<BString>,
    shown: BString,
}

impl Words {
    /// A first list.
    fn new(module: &[u8], mut words: Vec<BString>) -> Self {
        unescape_options(&mut words);
        Self::split(module, words, false)
    }

    /// A second list, whose element 0 is the program's name.
    fn secluded(module: &[u8], words: Vec<BString>) -> Self {
        Self::split(module, words, true)
    }

    fn split(module: &[u8], mut words: Vec<BString>, secluded: bool) -> Self {
        let dot = words.iter().position(|word| word == ".").map_or(words.len(), |at| at + 1);
        let paths = words.split_off(dot);
        let shown = BString::from(paths.join(&b' '));
        words.extend(module_paths(&paths, module, secluded).into_iter().map(as_operand));
        Self { words, shown }
    }

    /// All words, paths without the module's name.
    pub(crate) fn all(&self) -> &[BString] {
        &self.words
    }

    /// The paths as the client sent them, for the log.
    pub(crate) fn shown(&self) -> &BString {
        &self.shown
    }
}

/// A path is never an option.
fn as_operand(path: BString) -> BString {
    if path.starts_with(b"-") { [b"./", path.as_slice()].concat().into() } else { path }
}

/// What a list of words came to.
pub(crate) enum Parsed {
    /// A transfer.
    Request(Box<Request>),
    /// The client is told inside the protocol what is wrong.
    Rejected(Box<Rejected>),
    /// The options follow in a second list.
    AwaitsSecondList(Box<Pending>),
    /// The connection is closed.
    Unusable,
}

/// Parses a first list.
fn parse(words: &Words, settings: &ModuleSettings) -> Parsed {
    if words.words.is_empty() {
        // Who says nothing at all pushes nothing.
        return Parsed::from_result(Ok(Request::default()));
    }
    let terms = settings.refuse_options.as_ref().map(ToString::to_string).unwrap_or_default();
    let refusals = Refusals::new(&terms, settings.charset.is_some());
    match parse_daemon_request(&words.words, &Environment::default(), &refusals) {
        Ok(Command::Transfer(request)) => Parsed::from_result(Ok(*request)),
        Ok(Command::SecondList(pending)) => Parsed::AwaitsSecondList(pending),
        Ok(_) => Parsed::Unusable,
        Err(rejected) => Parsed::from_result(Err(rejected)),
    }
}

impl Parsed {
    /// Parses the second list.
    fn resume(pending: Pending, words: &Words) -> Self {
        Self::from_result(pending.resume(&words.words))
    }

    fn from_result(result: Result<Request, Rejected>) -> Self {
        match result {
            Ok(mut request) => {
                request.options.server = true;
                Self::Request(Box::new(request))
            }
            Err(Rejected { error: OptionError::Usage, .. }) => Self::Unusable,
            Err(mut rejected) => {
                rejected.so_far.server = true;
                Self::Rejected(Box::new(rejected))
            }
        }
    }

    /// The options, as far as they were understood.
    pub(crate) fn options(&self) -> &TransferOptions {
        match self {
            Self::Request(request) => &request.options,
            Self::Rejected(rejected) => &rejected.so_far,
            Self::AwaitsSecondList(pending) => pending.options(),
            Self::Unusable => {
                static NONE: std::sync::LazyLock<TransferOptions> =
                    std::sync::LazyLock::new(TransferOptions::default);
                &NONE
            }
        }
    }
}

impl ModuleSettings {
    /// The charset of the module's names, if it has one.
    ///
    /// # Errors
    /// [`UnknownCharset`] when there is none of that name.
    pub(crate) fn charset(&self) -> Result<Option<Charset>, UnknownCharset> {
        let named = |text: &BString| match text.split_once_str(",").map_or(text.as_slice(), |(name, _)| name)
        {
            b"" | b"." => Charset::named(&locale_charset(environment)),
            name => Charset::named(name),
        };
        self.charset.as_ref().map(named).transpose()
    }

    /// The same, if the client wants names to be converted.
    pub(crate) fn conversion(&self, options: &TransferOptions) -> Option<Charset> {
        // One that does not exist was found out when the module was entered.
        options.iconv.as_ref().and_then(|_| self.charset().ok().flatten())
    }
}

/// Above this verbosity nothing is limited.
const UNLIMITED_VERBOSITY: i32 = 5;

/// Applies what the module says about options; answers the timeout to announce, in seconds.
pub(crate) fn apply_settings(options: &mut TransferOptions, settings: &ModuleSettings) -> Option<u32> {
    if settings.max_verbosity <= UNLIMITED_VERBOSITY {
        limit_verbosity(options, u32::try_from(settings.max_verbosity).unwrap_or(0));
    }
    if let Some(noatime) = settings.open_noatime {
        options.open_noatime = noatime;
    }
    let own = u32::try_from(settings.timeout).unwrap_or(0);
    if own > 0 && (options.timeout == 0 || options.timeout > own) {
        options.timeout = own;
    }
    (options.timeout > 0).then_some(options.timeout)
}

fn limit_verbosity(options: &mut TransferOptions, verbose: u32) {
    let (mut info, mut debug) = (InfoLevels::default(), DebugLevels::default());
    info.raise_to_verbosity(verbose);
    debug.raise_to_verbosity(verbose);
    for &word in Info::ALL {
        options.info.set(word, options.info.level(word).min(info.level(word)));
    }
    for &word in Debug::ALL {
        options.debug.set(word, options.debug.level(word).min(debug.level(word)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str], settings: &ModuleSettings) -> Parsed {
        let words = words.iter().map(|&word| word.into()).collect();
        parse(&Words::new(b"pub", words), settings)
    }

    #[test]
    fn paths_lose_the_module_and_are_never_options() {
        let words = ["--server", "--sender", "-re.iLsfxCIvu", ".", "pub/a pub/b", "pub", "pub--server"];
        let Parsed::Request(request) = parsed(&words, &ModuleSettings::default()) else {
            panic!("a request")
        };
        assert_eq!(request.operands, [".", "/a", "b", "", "./--server"].map(BString::from));
        assert!(request.options.sender && request.options.server);
    }

    #[test]
    fn refusals_keep_what_was_understood() {
        let settings =
            ModuleSettings { refuse_options: Some("c delete".into()), ..ModuleSettings::default() };
        let words = ["--server", "--sender", "-rce.iLsfxCIvu", ".", "pub/"];
        let Parsed::Rejected(rejected) = parsed(&words, &settings) else { panic!("refused") };
        assert_eq!(rejected.error.message(), "rsync: The server is configured to refuse --checksum (-c)");
        assert!(rejected.so_far.sender && rejected.so_far.server);
    }

    #[test]
    fn a_list_without_the_server_option_is_unusable() {
        assert!(matches!(
            parsed(&["--sender", "--server", "."], &ModuleSettings::default()),
            Parsed::Unusable
        ));
    }

    #[test]
    fn the_shorter_timeout_counts() {
        for (module, client, expected) in
            [(0, 0, None), (9, 0, Some(9)), (9, 20, Some(9)), (9, 5, Some(5)), (0, 5, Some(5))]
        {
            let mut options = TransferOptions { timeout: client, ..TransferOptions::default() };
            let settings = ModuleSettings { timeout: module, ..ModuleSettings::default() };
            assert_eq!(apply_settings(&mut options, &settings), expected);
        }
    }

    #[test]
    fn verbosity_is_limited() {
        let mut options = TransferOptions::default();
        options.info.raise_to_verbosity(3);
        apply_settings(&mut options, &ModuleSettings { max_verbosity: 0, ..ModuleSettings::default() });
        assert_eq!(options.info.level(Info::Misc), 0);
    }
}
