//! Rule files: reading them into lists, and the per-directory ones in effect (spec 06 §2.4 to §5).

use std::sync::Arc;

use bstr::BString;

use super::list::{Decision, Query, Rule, RuleKind, RuleList};
use super::rule::{Directive, Malformed, Parsed, parse};
use super::{
    FilterError, FilterNote, Filters, Grammar, MAX_LINE, MAX_PATH, Modifiers, Pattern, Verdict, text,
};

/// Rule files may name each other this deep.
const MAX_DEPTH: usize = 32;

/// Which rule file is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleFile<'a> {
    /// A file named by an option or a merge rule: absolute, relative, or `-` for standard input.
    /// Relative names start at the client's directory, in per-directory files at the transfer root;
    /// a daemon resolves all names beneath the module root.
    Named(&'a [u8]),
    /// The per-directory file `name` (one component) of a directory.
    PerDirectory {
        /// Absolute path of the directory; on a daemon the path from the module root.
        directory: &'a [u8],
        /// The file's name.
        name: &'a [u8],
    },
}

/// Why a rule file could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFailure {
    /// The system's reason with its number: `No such file or directory (2)`.
    pub reason: String,
}

/// Access to rule files, given by whoever runs the filters.
pub trait RuleFiles {
    /// The whole text of a rule file.
    ///
    /// # Errors
    /// [`OpenFailure`]; that of a per-directory file is silent.
    fn read(&mut self, file: RuleFile<'_>) -> Result<Vec<u8>, OpenFailure>;

    /// Takes a remark about a rule.
    fn note(&mut self, note: FilterNote);
}

/// Refuses every file: for rules that name none.
pub(crate) struct NoFiles;

impl RuleFiles for NoFiles {
    fn read(&mut self, _: RuleFile<'_>) -> Result<Vec<u8>, OpenFailure> {
        Err(OpenFailure { reason: String::new() })
    }

    fn note(&mut self, _: FilterNote) {}
}

/// A dir-merge rule that is in effect somewhere.
#[derive(Debug)]
pub(super) struct Definition {
    /// The file's name as given; may have directories.
    name: Vec<u8>,
    modifiers: Modifiers,
}

impl Definition {
    fn base(&self) -> &[u8] {
        base_name(&self.name)
    }
}

/// The rules of one per-directory file, in front of those it inherits.
#[derive(Debug)]
struct Layer {
    rules: RuleList,
    inherited: Option<Arc<Layer>>,
}

#[derive(Clone, Debug)]
struct ActiveMerge {
    definition: Arc<Definition>,
    layers: Option<Arc<Layer>>,
}

/// The per-directory rules in effect in one directory; cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct DirRules {
    merges: Arc<Vec<ActiveMerge>>,
    current_dir: Arc<[u8]>,
}

impl DirRules {
    pub(super) fn new(definitions: &[Arc<Definition>], current_dir: &[u8]) -> Self {
        let active =
            |definition: &Arc<Definition>| ActiveMerge { definition: definition.clone(), layers: None };
        Self { merges: Arc::new(definitions.iter().map(active).collect()), current_dir: current_dir.into() }
    }

    /// The same rules for a source argument that is split at another directory: `current_dir` is its
    /// absolute path without the leading slash (on a daemon the path from the module root).
    #[must_use]
    pub fn with_current_dir(&self, current_dir: &[u8]) -> Self {
        Self { merges: self.merges.clone(), current_dir: current_dir.into() }
    }

    /// Whether no per-directory file is ever read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.merges.is_empty()
    }

    /// The directory that names are relative to, as given to [`Filters::start`].
    #[must_use]
    pub fn current_dir(&self) -> &[u8] {
        &self.current_dir
    }

    /// The rules in effect inside `dir`, a directory (path relative to the transfer root, empty or `.`
    /// for the root) whose parent has the rules `self`.
    ///
    /// # Errors
    /// [`FilterError`] for bad rules in the directory's files.
    pub fn enter(
        &self,
        filters: &Filters,
        dir: &[u8],
        files: &mut dyn RuleFiles,
    ) -> Result<Self, FilterError> {
        if self.merges.is_empty() {
            return Ok(self.clone());
        }
        let directory = self.absolute(dir);
        let mut merges = Vec::clone(&self.merges);
        let mut number = 0;
        while number < merges.len() {
            if number >= self.merges.len() {
                read_ancestors(&mut merges, number, &directory, filters, files)?;
            }
            read_layer(&mut merges, number, &directory, filters, files)?;
            number += 1;
        }
        Ok(Self { merges: Arc::new(merges), current_dir: self.current_dir.clone() })
    }

    /// Adds the rules of the ancestor directories that dir-merge names with a slash ask for; to be
    /// called once, with the first directory that will be entered (spec 06 §5, "parent scan").
    ///
    /// # Errors
    /// [`FilterError`] for bad rules in those files.
    pub fn scan_ancestors(
        &self,
        filters: &Filters,
        first: &[u8],
        files: &mut dyn RuleFiles,
    ) -> Result<Self, FilterError> {
        let directory = self.absolute(first);
        let mut merges = Vec::clone(&self.merges);
        let mut number = 0;
        while number < merges.len() {
            read_ancestors(&mut merges, number, &directory, filters, files)?;
            number += 1;
        }
        Ok(Self { merges: Arc::new(merges), current_dir: self.current_dir.clone() })
    }

    pub(super) fn check<'a>(&'a self, number: usize, query: &Query<'a>) -> Option<Decision<'a>> {
        let merge = self.merges.get(number)?;
        let mut layer = merge.layers.as_deref();
        while let Some(current) = layer {
            if let Some(decision) = current.rules.check(query) {
                return Some(Decision {
                    per_dir: decision.per_dir.or(Some(merge.definition.base())),
                    ..decision
                });
            }
            layer = current.inherited.as_deref();
        }
        None
    }

    fn absolute(&self, dir: &[u8]) -> Vec<u8> {
        if dir.first() == Some(&b'/') {
            return dir.to_vec();
        }
        let mut path = Vec::with_capacity(self.current_dir.len() + dir.len() + 2);
        for part in [&*self.current_dir, dir] {
            if !matches!(part, b"" | b".") {
                path.push(b'/');
                path.extend_from_slice(part);
            }
        }
        if path.is_empty() { b"/".to_vec() } else { path }
    }
}

/// Reads the file of merge `number` in `directory` in front of what is inherited.
fn read_layer(
    merges: &mut Vec<ActiveMerge>,
    number: usize,
    directory: &[u8],
    filters: &Filters,
    files: &mut dyn RuleFiles,
) -> Result<(), FilterError> {
    let ActiveMerge { definition, layers } = merges[number].clone();
    let mut inherited = layers.filter(|_| !(definition.modifiers.no_inherit || definition.modifiers.cvs));
    if let Ok(content) = files.read(RuleFile::PerDirectory { directory, name: definition.base() }) {
        let mut definitions: Vec<_> = merges.iter().map(|merge| merge.definition.clone()).collect();
        let known = definitions.len();
        let mut rules = RuleList::default();
        let label = join(directory, definition.base());
        let mut loader = Loader {
            rules: &mut rules,
            first_own: known,
            definitions: &mut definitions,
            files,
            nul: filters.nul,
            delete_excluded: filters.delete_excluded,
            daemon: filters.daemon,
            ignore_sides: false,
            directory: Some(directory),
            cleared: false,
        };
        let template =
            Template::of_merge(&definition.modifiers, Place { label: label.into(), nested: false });
        loader.add_file(&content, &template, 1)?;
        if loader.cleared {
            inherited = None;
        }
        let found = definitions.drain(known..);
        merges.extend(found.map(|definition| ActiveMerge { definition, layers: None }));
        if !rules.is_empty() {
            inherited = Some(Arc::new(Layer { rules, inherited }));
        }
    }
    merges[number].layers = inherited;
    Ok(())
}

fn read_ancestors(
    merges: &mut Vec<ActiveMerge>,
    number: usize,
    directory: &[u8],
    filters: &Filters,
    files: &mut dyn RuleFiles,
) -> Result<(), FilterError> {
    let definition = merges[number].definition.clone();
    if !definition.name.contains(&b'/') {
        return Ok(());
    }
    let wanted = collapse(&join(directory, &definition.name));
    let start = parent(&wanted);
    let mut ancestors = Vec::new();
    let mut current = directory.to_vec();
    while current.len() > start.len() && current != b"/" {
        current = parent(&current).to_vec();
        ancestors.push(current.clone());
    }
    if current != start {
        return Ok(());
    }
    for ancestor in ancestors.iter().rev() {
        read_layer(merges, number, ancestor, filters, files)?;
    }
    if definition.modifiers.no_inherit || definition.modifiers.cvs {
        merges[number].layers = None;
    }
    Ok(())
}

/// Where a rule's text came from, for messages that must not show it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) label: BString,
    /// The file's name itself came out of a file.
    pub(super) nested: bool,
}

impl Place {
    fn at(&self, line: Option<usize>) -> Vec<u8> {
        match line {
            Some(line) if !self.nested => format!("{} line {line}", self.label).into_bytes(),
            _ => self.label.to_vec(),
        }
    }
}

/// How the rules of one file are read, and what they inherit from the rule that named it.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pub(super) grammar: Grammar,
    pub(super) inherited: Modifiers,
    pub(super) word_split: bool,
    pub(super) place: Option<Place>,
}

impl Template {
    pub(super) fn option(grammar: Grammar) -> Self {
        Self { grammar, inherited: Modifiers::default(), word_split: false, place: None }
    }

    pub(super) fn file(grammar: Grammar, name: &[u8]) -> Self {
        Self { place: Some(Place { label: name.into(), nested: false }), ..Self::option(grammar) }
    }

    fn of_merge(modifiers: &Modifiers, place: Place) -> Self {
        let grammar = match modifiers.bare {
            Some(verdict) => Grammar::Bare { verdict, clears: false },
            None if modifiers.cvs => Grammar::Bare { verdict: Verdict::Exclude, clears: true },
            None => Grammar::Full,
        };
        let Modifiers { absolute, perishable, sender, receiver, .. } = *modifiers;
        Self {
            grammar,
            inherited: Modifiers { absolute, perishable, sender, receiver, ..Modifiers::default() },
            word_split: modifiers.word_split || modifiers.cvs,
            place: Some(place),
        }
    }

    fn is_include(&self) -> bool {
        matches!(
            self.grammar,
            Grammar::Old(Verdict::Include) | Grammar::Bare { verdict: Verdict::Include, .. }
        )
    }

    fn shown(&self, rule: &[u8], line: Option<usize>) -> Vec<u8> {
        match &self.place {
            Some(place) => [b"<rule from ", &place.at(line)[..], b">"].concat(),
            None => rule.to_vec(),
        }
    }
}

/// Adds rules to one list.
pub(super) struct Loader<'a> {
    pub(super) rules: &'a mut RuleList,
    pub(super) definitions: &'a mut Vec<Arc<Definition>>,
    /// Definitions from this number on belong to the list, and go when it is cleared.
    pub(super) first_own: usize,
    pub(super) files: &'a mut dyn RuleFiles,
    pub(super) nul: bool,
    pub(super) delete_excluded: bool,
    pub(super) daemon: bool,
    /// Rules of a peer, which chose those that matter here.
    pub(super) ignore_sides: bool,
    /// Absolute path of the directory of the per-directory file being read.
    pub(super) directory: Option<&'a [u8]>,
    pub(super) cleared: bool,
}

impl Loader<'_> {
    /// Adds the one rule that is the whole of `rule`.
    pub(super) fn add_rule(
        &mut self,
        rule: &[u8],
        template: &Template,
        line: Option<usize>,
        depth: usize,
    ) -> Result<(), FilterError> {
        let parsed = parse(rule, template.grammar, false)
            .map_err(|error| error.describe(template.shown(rule, line), template.place.is_some()))?;
        self.add_parsed(&parsed, rule, template, line, depth)
    }

    /// Adds the rules of a string in which white space separates them.
    pub(super) fn add_words(&mut self, words: &[u8], template: &Template) -> Result<(), FilterError> {
        let mut rest = words.trim_ascii_end();
        while !rest.is_empty() {
            let parsed = parse(rest, template.grammar, true)
                .map_err(|error: Malformed| error.describe(rest.trim_ascii_start().to_vec(), false))?;
            let (rule, after) = rest.split_at(parsed.consumed.max(1));
            self.add_parsed(&parsed, rule.trim_ascii_start(), template, None, 0)?;
            rest = after;
        }
        Ok(())
    }

    /// Adds the rules of a file's `content`.
    pub(super) fn add_file(
        &mut self,
        content: &[u8],
        template: &Template,
        depth: usize,
    ) -> Result<(), FilterError> {
        if template.word_split {
            for word in text::words(content, self.nul) {
                self.add_line(word, template, None, depth)?;
            }
        } else {
            for (number, line) in text::lines(content, self.nul) {
                self.add_line(line, template, Some(number), depth)?;
            }
        }
        Ok(())
    }

    fn add_line(
        &mut self,
        rule: &[u8],
        template: &Template,
        line: Option<usize>,
        depth: usize,
    ) -> Result<(), FilterError> {
        if rule.len() >= MAX_LINE {
            self.files.note(FilterNote::OverLong { rule: template.shown(rule, line).into() });
            return Ok(());
        }
        self.add_rule(rule, template, line, depth)
    }

    fn add_parsed(
        &mut self,
        parsed: &Parsed<'_>,
        rule: &[u8],
        template: &Template,
        line: Option<usize>,
        depth: usize,
    ) -> Result<(), FilterError> {
        let Parsed { directive, mut modifiers, argument, .. } = *parsed;
        if directive == Directive::Clear {
            self.rules.clear();
            self.definitions.truncate(self.first_own);
            self.cleared = true;
            return Ok(());
        }
        if template.inherited.names_a_side() {
            if modifiers.names_a_side() {
                return Err(FilterError::SideInSidedMerge { rule: template.shown(rule, line).into() });
            }
            modifiers.sender = template.inherited.sender;
            modifiers.receiver = template.inherited.receiver;
        }
        modifiers.absolute |= template.inherited.absolute;
        modifiers.perishable |= template.inherited.perishable;
        if argument.len() >= MAX_PATH {
            self.files.note(FilterNote::OverLong { rule: template.shown(rule, line).into() });
            return Ok(());
        }
        let from_file = template.place.is_some();
        if argument.last().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            self.files.note(FilterNote::TrailingWhitespace { rule: template.shown(rule, line).into() });
        }
        let name = if argument.is_empty() { &b".cvsignore"[..] } else { argument };
        match directive {
            Directive::Match(verdict) => self.add_match(verdict, modifiers, argument, from_file),
            Directive::Merge => {
                self.exclude_merge_file(&modifiers, name, from_file);
                return self.merge(&modifiers, name, template, line, depth);
            }
            Directive::DirMerge => {
                self.exclude_merge_file(&modifiers, name, from_file);
                self.add_dir_merge(modifiers, name, from_file);
            }
            Directive::Clear => {}
        }
        Ok(())
    }

    fn add_match(&mut self, verdict: Verdict, mut modifiers: Modifiers, argument: &[u8], from_file: bool) {
        if modifiers.cvs {
            let pattern = Pattern::new(argument);
            self.rules.push(Rule { kind: RuleKind::Cvs, modifiers, pattern, from_file });
            return;
        }
        if argument.is_empty() {
            return;
        }
        if self.delete_excluded && !modifiers.names_a_side() {
            modifiers.sender = true;
        }
        if self.ignore_sides {
            modifiers.sender = true;
            modifiers.receiver = true;
        }
        let pattern = match self.directory {
            Some(directory) if argument.first() == Some(&b'/') && !modifiers.absolute => {
                modifiers.absolute = true;
                Pattern::beneath(directory, argument)
            }
            _ => Pattern::new(argument),
        };
        let kind = RuleKind::Match(verdict);
        let rule = Rule { kind, modifiers, pattern, from_file };
        if !self.daemon || self.directory.is_some() {
            self.rules.push(rule);
        } else if let Some(rule) = daemon_rule(rule) {
            self.rules.push(rule);
        }
    }

    fn exclude_merge_file(&mut self, modifiers: &Modifiers, name: &[u8], from_file: bool) {
        if modifiers.exclude_self {
            let rule = Rule { from_file, ..Rule::plain(Verdict::Exclude, base_name(name)) };
            self.rules.push(rule);
        }
    }

    fn add_dir_merge(&mut self, modifiers: Modifiers, name: &[u8], from_file: bool) {
        if self.definitions.iter().any(|known| known.base() == base_name(name)) {
            return;
        }
        let kind = RuleKind::DirMerge(self.definitions.len());
        self.definitions.push(Arc::new(Definition { name: name.to_vec(), modifiers }));
        self.rules.push(Rule { kind, modifiers, pattern: Pattern::new(name), from_file });
    }

    fn merge(
        &mut self,
        modifiers: &Modifiers,
        name: &[u8],
        outer: &Template,
        line: Option<usize>,
        depth: usize,
    ) -> Result<(), FilterError> {
        let place = match &outer.place {
            Some(place) => {
                Place { label: [b"a file named at ", &place.at(line)[..]].concat().into(), nested: true }
            }
            None => Place { label: name.into(), nested: false },
        };
        if depth >= MAX_DEPTH {
            return Err(FilterError::TooDeep { place: place.label });
        }
        let template = Template::of_merge(modifiers, place);
        let path = match self.directory {
            Some(directory) if name.contains(&b'/') => join(directory, name),
            _ => name.to_vec(),
        };
        let content = self.files.read(RuleFile::Named(&path)).map_err(|failure| FilterError::CannotOpen {
            include: template.is_include(),
            name: if outer.place.is_some() { outer.shown(b"", line).into() } else { name.into() },
            reason: outer.place.is_none().then_some(failure.reason),
        })?;
        self.add_file(&content, &template, depth + 1)
    }

    /// Reads the file of `--exclude-from` and `--include-from`.
    pub(super) fn add_option_file(&mut self, verdict: Verdict, name: &[u8]) -> Result<(), FilterError> {
        let content = self.files.read(RuleFile::Named(name)).map_err(|failure| FilterError::CannotOpen {
            include: verdict == Verdict::Include,
            name: name.into(),
            reason: Some(failure.reason),
        })?;
        self.add_file(&content, &Template::file(Grammar::Old(verdict), name), 1)
    }
}

/// A rule of a daemon module's parameters: it counts in both directions, from the module root, and an
/// excluded directory takes its contents along (spec 06 §3, §8). `None` for the sender's own.
fn daemon_rule(rule: Rule) -> Option<Rule> {
    let Modifiers { sender, receiver, .. } = rule.modifiers;
    if sender && !receiver {
        return None;
    }
    let absolute = rule.modifiers.absolute || rule.pattern.text().contains(&b'/');
    let modifiers = Modifiers { sender: false, receiver: false, absolute, ..rule.modifiers };
    let contents = rule.kind == RuleKind::Match(Verdict::Exclude) && rule.pattern.is_directory_only();
    let pattern =
        if contents { Pattern::new(&[rule.pattern.text(), b"/***"].concat()) } else { rule.pattern };
    Some(Rule { modifiers, pattern, ..rule })
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

fn parent(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(0) | None => b"/",
        Some(slash) => &path[..slash],
    }
}

/// `name` seen from `directory`.
fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if name.first() == Some(&b'/') {
        return name.to_vec();
    }
    [directory.strip_suffix(b"/").unwrap_or(directory), b"/", name].concat()
}

/// An absolute path without `.`, `..` and repeated slashes.
fn collapse(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    [b"/", &parts.join(&b'/')[..]].concat()
}
