//! A whole filter list as options, module parameters or a peer fill it (spec 06 §1, §5, §6.3).

use std::sync::Arc;

use super::list::{Decision, Query, Rule, RuleList, Subject};
use super::merge::{Definition, DirRules, Loader, NoFiles, RuleFiles, Template};
use super::{FilterError, Grammar, Side, Verdict};
use crate::options::{FilterArg, TransferOptions};
use crate::session::Negotiated;

/// An ordered rule list with the dir-merge rules and the cvs list it refers to.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    rules: RuleList,
    definitions: Vec<Arc<Definition>>,
    cvs: RuleList,
    had_dir_merge: bool,
    pub(super) nul: bool,
    pub(super) delete_excluded: bool,
    /// The `-C` list does not protect with `--delete-excluded`: a sending client keeps it to itself.
    cvs_only_hides: bool,
    pub(super) daemon: bool,
}

impl Filters {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty list for the parameters of a daemon module, whose rules count in both directions and
    /// from the module root (spec 06 §8).
    #[must_use]
    pub fn for_module() -> Self {
        Self { daemon: true, ..Self::default() }
    }

    /// Rule files read from now on have NUL line ends (`--from0`).
    pub fn set_nul_lines(&mut self, nul: bool) {
        self.nul = nul;
    }

    /// `--delete-excluded` was given: rules without a side are the sender's, and those added from now
    /// on say so.
    pub fn set_delete_excluded(&mut self) {
        self.delete_excluded = true;
    }

    /// Sets the list that `-C` rules stand for.
    pub fn set_cvs(&mut self, cvs: RuleList) {
        self.cvs = cvs;
    }

    /// Adds the rule of a `--filter` option; an empty one is none.
    ///
    /// # Errors
    /// [`FilterError`] when it, or a file it merges, is bad.
    pub fn add_filter(&mut self, rule: &[u8], files: &mut dyn RuleFiles) -> Result<(), FilterError> {
        if rule.is_empty() {
            return Ok(());
        }
        self.load(files, |loader| loader.add_rule(rule, &Template::option(Grammar::Full), None, 0))
    }

    /// Adds the pattern of an `--include` or `--exclude` option.
    ///
    /// # Errors
    /// [`FilterError`] when it is only a prefix.
    pub fn add_pattern(
        &mut self,
        verdict: Verdict,
        pattern: &[u8],
        files: &mut dyn RuleFiles,
    ) -> Result<(), FilterError> {
        self.load(files, |loader| loader.add_rule(pattern, &Template::option(Grammar::Old(verdict)), None, 0))
    }

    /// Adds the file of an `--include-from` or `--exclude-from` option.
    ///
    /// # Errors
    /// [`FilterError::CannotOpen`], or what is wrong in it.
    pub fn add_file(
        &mut self,
        verdict: Verdict,
        name: &[u8],
        files: &mut dyn RuleFiles,
    ) -> Result<(), FilterError> {
        self.load(files, |loader| loader.add_option_file(verdict, name))
    }

    /// Adds the filter options of a command line, in order.
    ///
    /// # Errors
    /// [`FilterError`] for the first bad one.
    pub fn add_options(
        &mut self,
        options: &[FilterArg],
        files: &mut dyn RuleFiles,
    ) -> Result<(), FilterError> {
        options.iter().try_for_each(|option| match option {
            FilterArg::Rule(rule) => self.add_filter(rule, files),
            FilterArg::Exclude(pattern) => self.add_pattern(Verdict::Exclude, pattern, files),
            FilterArg::Include(pattern) => self.add_pattern(Verdict::Include, pattern, files),
            FilterArg::ExcludeFrom(name) => self.add_file(Verdict::Exclude, name, files),
            FilterArg::IncludeFrom(name) => self.add_file(Verdict::Include, name, files),
        })
    }

    /// Adds the rules of a module parameter, separated by white space.
    ///
    /// # Errors
    /// [`FilterError`] for the first bad rule.
    pub fn add_words(
        &mut self,
        words: &[u8],
        grammar: Grammar,
        files: &mut dyn RuleFiles,
    ) -> Result<(), FilterError> {
        self.load(files, |loader| loader.add_words(words, &Template::option(grammar)))
    }

    /// Adds a rule received from a client; it counts here whatever side it names (spec 06 §6.3).
    ///
    /// # Errors
    /// [`FilterError`] when it, or a file it merges, is bad.
    pub fn add_received(
        &mut self,
        rule: &[u8],
        grammar: Grammar,
        files: &mut dyn RuleFiles,
    ) -> Result<(), FilterError> {
        let text = rule.split(|&byte| byte == 0).next().unwrap_or_default();
        self.load(files, |loader| {
            loader.ignore_sides = true;
            loader.add_rule(text, &Template::option(grammar), None, 0)
        })
    }

    /// The rules of a client's command line, in order; what they name is read now, before there is
    /// a session. [`Filters::complete`] makes them those of a session (spec 06 §5).
    ///
    /// # Errors
    /// [`FilterError`] for the first bad rule.
    pub fn of_command_line(
        options: &TransferOptions,
        files: &mut dyn RuleFiles,
    ) -> Result<Self, FilterError> {
        let mut filters =
            Self { nul: options.from0, delete_excluded: options.delete_excluded, ..Self::default() };
        filters.add_options(&options.filters, files)?;
        Ok(filters)
    }

    /// Adds what a client's options imply, as it is to be sent in a session: the exclusion of the partial
    /// directory, and on a push the rules of `-C`, which stand for `cvs` (spec 06 §5, §6.4).
    pub fn complete(
        &mut self,
        options: &TransferOptions,
        negotiated: &Negotiated,
        client_is_sender: bool,
        cvs: RuleList,
    ) {
        self.cvs = cvs;
        self.cvs_only_hides = client_is_sender;
        if let Some(dir) = options.partial_dir.as_ref().filter(|dir| !dir.starts_with(b"/")) {
            let perishable = !client_is_sender || negotiated.has_perishable_filters();
            self.add_partial_dir(dir, perishable);
        }
        if options.cvs_exclude && client_is_sender {
            if negotiated.has_modern_filters() {
                self.add_cvs_merge();
            }
            self.add_cvs_list();
        }
    }

    /// The rules a server starts with: none, and `cvs` for the `-C` rules that it receives or adds.
    #[must_use]
    pub fn of_server(options: &TransferOptions, cvs: RuleList) -> Self {
        Self { nul: options.from0, delete_excluded: options.delete_excluded, cvs, ..Self::default() }
    }

    /// Adds what both ends know of `-C` without sending it; called after the lists were exchanged,
    /// if `-C` is on.
    pub fn add_cvs_after_exchange(&mut self, negotiated: &Negotiated, client_is_sender: bool) {
        if !client_is_sender {
            self.add_cvs_merge();
            self.add_cvs_list();
        } else if !negotiated.has_modern_filters() {
            self.add_cvs_merge();
        }
    }

    fn add_partial_dir(&mut self, dir: &[u8], perishable: bool) {
        let prefix = if perishable { &b"-p "[..] } else { b"- " };
        self.add_own(&[prefix, dir.strip_suffix(b"/").unwrap_or(dir), b"/"].concat());
    }

    fn add_cvs_merge(&mut self) {
        self.add_own(b":C");
    }

    fn add_cvs_list(&mut self) {
        self.add_own(b"-C");
    }

    /// The rules in order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        self.rules.rules()
    }

    /// The rules that `-C` stands for.
    #[must_use]
    pub fn cvs(&self) -> &RuleList {
        &self.cvs
    }

    /// Whether there is no rule at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a dir-merge rule was ever added: received names can then not be checked against the
    /// list (spec 06 §7, check A).
    #[must_use]
    pub fn had_dir_merge(&self) -> bool {
        self.had_dir_merge
    }

    /// Whether some rule is about extended attributes, so that all of them are (spec 06 §13).
    #[must_use]
    pub fn has_xattr_rules(&self) -> bool {
        self.rules.rules().iter().any(|rule| rule.modifiers.xattr)
    }

    /// The per-directory rules before any directory is entered. `current_dir` is the absolute path of
    /// the directory names are relative to, without its leading slash (on a daemon the path from the
    /// module root).
    #[must_use]
    pub fn start(&self, current_dir: &[u8]) -> DirRules {
        DirRules::new(&self.definitions, current_dir)
    }

    /// What the first matching rule says about `subject`, seen from `side`.
    #[must_use]
    pub fn check<'a>(&'a self, dirs: &'a DirRules, subject: Subject<'a>, side: Side) -> Option<Decision<'a>> {
        self.rules.check(&self.query(dirs, subject, side, false))
    }

    /// The same for an entry of a directory that is being deleted, where perishable rules do not count.
    #[must_use]
    pub fn check_while_deleting<'a>(
        &'a self,
        dirs: &'a DirRules,
        subject: Subject<'a>,
    ) -> Option<Decision<'a>> {
        self.rules.check(&self.query(dirs, subject, Side::Receiver, true))
    }

    /// Whether `subject` is excluded.
    #[must_use]
    pub fn excludes(&self, dirs: &DirRules, subject: Subject<'_>, side: Side) -> bool {
        let decision = self.rules.check(&self.query(dirs, subject, side, false));
        decision.is_some_and(|decision| decision.verdict == Verdict::Exclude)
    }

    /// Whether `name` or a directory above it is excluded, as a daemon asks about requested paths.
    #[must_use]
    pub fn excludes_path(&self, dirs: &DirRules, name: &[u8], is_dir: bool, side: Side) -> bool {
        let slashes = name.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
        slashes
            .map(|(end, _)| &name[..end])
            .any(|above| self.excludes(dirs, Subject::entry(above, true), side))
            || self.excludes(dirs, Subject::entry(name, is_dir), side)
    }

    fn query<'a>(
        &'a self,
        dirs: &'a DirRules,
        subject: Subject<'a>,
        side: Side,
        deleting: bool,
    ) -> Query<'a> {
        let unsided_hide = self.delete_excluded;
        let cvs_hides = unsided_hide && self.cvs_only_hides;
        Query { subject, side, dirs, cvs: &self.cvs, deleting, unsided_hide, cvs_hides }
    }

    /// Adds a rule this library wrote itself, which names no file to read now.
    fn add_own(&mut self, rule: &[u8]) {
        let result = self.add_filter(rule, &mut NoFiles);
        debug_assert!(result.is_ok(), "{result:?}");
    }

    fn load(
        &mut self,
        files: &mut dyn RuleFiles,
        add: impl FnOnce(&mut Loader<'_>) -> Result<(), FilterError>,
    ) -> Result<(), FilterError> {
        let mut loader = Loader {
            rules: &mut self.rules,
            definitions: &mut self.definitions,
            first_own: 0,
            files,
            nul: self.nul,
            delete_excluded: self.delete_excluded,
            daemon: self.daemon,
            ignore_sides: false,
            directory: None,
            cleared: false,
        };
        let result = add(&mut loader);
        self.had_dir_merge |= !self.definitions.is_empty();
        result
    }
}
