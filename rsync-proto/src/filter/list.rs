//! Ordered rule lists: the first rule that matches decides (spec 06 §4, §5).

use std::collections::HashMap;

use super::merge::DirRules;
use super::{Modifiers, Pattern, Side, Verdict};

/// Lists at least this long are indexed by the last component of their patterns.
const INDEXED_FROM: usize = 16;

/// What a stored rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// Decides about the names its pattern matches.
    Match(Verdict),
    /// Stands for the rules of a per-directory file: the definition with this number.
    DirMerge(usize),
    /// Stands for the cvs list.
    Cvs,
}

/// One rule of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it does.
    pub kind: RuleKind,
    /// Its attributes.
    pub modifiers: Modifiers,
    /// Its pattern; of a dir-merge, the file's name.
    pub pattern: Pattern,
    /// Whether its text was read from a file, and so is never shown.
    pub from_file: bool,
}

impl Rule {
    /// A plain two-sided rule.
    #[must_use]
    pub fn plain(verdict: Verdict, pattern: &[u8]) -> Self {
        Self {
            kind: RuleKind::Match(verdict),
            modifiers: Modifiers::default(),
            pattern: Pattern::new(pattern),
            from_file: false,
        }
    }

    fn applies_to(&self, query: &Query<'_>) -> bool {
        let Modifiers { sender, receiver, .. } = self.modifiers;
        let meant_for_side = match query.side {
            Side::Sender => sender || !receiver,
            Side::Receiver => receiver || !(sender || query.unsided_hide),
        };
        meant_for_side && self.modifiers.xattr == query.subject.is_xattr
    }

    fn matches(&self, query: &Query<'_>) -> bool {
        let Subject { name, is_dir, .. } = query.subject;
        self.applies_to(query)
            && self.pattern.matches(name, is_dir, self.modifiers.absolute, query.dirs.current_dir())
                != self.modifiers.negated
    }
}

/// The item a list is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject<'n> {
    /// Path relative to the transfer root, or the name of an extended attribute.
    pub name: &'n [u8],
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Whether it is the name of an extended attribute.
    pub is_xattr: bool,
}

impl<'n> Subject<'n> {
    /// A file or directory.
    #[must_use]
    pub fn entry(name: &'n [u8], is_dir: bool) -> Self {
        Self { name, is_dir, is_xattr: false }
    }

    /// An extended attribute.
    #[must_use]
    pub fn xattr(name: &'n [u8]) -> Self {
        Self { name, is_dir: false, is_xattr: true }
    }
}

/// The rule that decided, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'r> {
    /// What it said.
    pub verdict: Verdict,
    /// The rule.
    pub rule: &'r Rule,
    /// The name of the per-directory file it was read from, if any.
    pub per_dir: Option<&'r [u8]>,
    /// Whether it is a rule of the cvs list.
    pub cvs: bool,
}

impl Decision<'_> {
    /// The pattern as trace lines show it: never the text of a file (spec 06 §13).
    #[must_use]
    pub fn shown_pattern(&self) -> Vec<u8> {
        if self.rule.from_file {
            b"<rule from a file read earlier>".to_vec()
        } else {
            self.rule.pattern.written()
        }
    }
}

impl Decision<'_> {
    /// The line that `--debug=filter` shows for `subject`, seen from `side`; `daemon` says that the
    /// rule is the module's.
    #[must_use]
    pub fn trace(&self, subject: Subject<'_>, side: Side, daemon: bool) -> Vec<u8> {
        let (role, verb) = match (side, self.verdict) {
            (Side::Sender, Verdict::Exclude) => ("sender", "hiding"),
            (Side::Sender, Verdict::Include) => ("sender", "showing"),
            (Side::Receiver, Verdict::Exclude) => ("generator", "protecting"),
            (Side::Receiver, Verdict::Include) => ("generator", "risking"),
        };
        let kind = match subject {
            Subject { is_xattr: true, .. } => "xattr",
            Subject { is_dir: true, .. } => "directory",
            _ => "file",
        };
        let mut line = format!("[{role}] {verb} {kind} ").into_bytes();
        line.extend_from_slice(subject.name);
        line.extend_from_slice(b" because of pattern ");
        line.extend_from_slice(&self.shown_pattern());
        if let Some(name) = self.per_dir {
            line.extend([b" [per-dir ", name, b"]"].concat());
        } else if self.cvs {
            line.extend_from_slice(b" [global CVS]");
        }
        if daemon {
            line.extend_from_slice(b" [daemon]");
        }
        line
    }
}

/// Everything one check depends on.
pub(super) struct Query<'a> {
    pub(super) subject: Subject<'a>,
    pub(super) side: Side,
    pub(super) dirs: &'a DirRules,
    pub(super) cvs: &'a RuleList,
    /// Inside a directory that is being deleted perishable rules are skipped.
    pub(super) deleting: bool,
    /// `--delete-excluded`: rules that name no side are the sender's.
    pub(super) unsided_hide: bool,
    /// The same for the rules of the cvs list.
    pub(super) cvs_hides: bool,
}

/// An ordered list of rules.
#[derive(Clone, Debug, Default)]
pub struct RuleList {
    rules: Vec<Rule>,
    index: Option<Box<Index>>,
}

impl RuleList {
    /// Appends a rule.
    pub fn push(&mut self, rule: Rule) {
        let number = self.rules.len();
        if let Some(index) = &mut self.index {
            index.add(number, &rule);
        }
        self.rules.push(rule);
        if self.index.is_none() && self.rules.len() >= INDEXED_FROM {
            let mut index = Box::<Index>::default();
            self.rules.iter().enumerate().for_each(|(number, rule)| index.add(number, rule));
            self.index = Some(index);
        }
    }

    /// Removes all rules.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The rules in order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What the first matching rule says, or `None` when no rule matches.
    pub(super) fn check<'a>(&'a self, query: &Query<'a>) -> Option<Decision<'a>> {
        let name = query.subject.name;
        if matches!(name, b"" | b"/") {
            return None;
        }
        let Some(index) = &self.index else {
            return self.rules.iter().find_map(|rule| decide(rule, query));
        };
        let first = index
            .candidates(name)
            .filter_map(|numbers| {
                numbers.iter().find_map(|&number| Some((number, decide(self.rules.get(number)?, query)?)))
            })
            .min_by_key(|(number, _)| *number);
        let limit = first.as_ref().map_or(usize::MAX, |(number, _)| *number);
        let earlier = index.others.iter().take_while(|&&number| number < limit);
        earlier
            .filter_map(|&number| self.rules.get(number))
            .find_map(|rule| decide(rule, query))
            .or(first.map(|(_, decision)| decision))
    }
}

fn decide<'a>(rule: &'a Rule, query: &Query<'a>) -> Option<Decision<'a>> {
    if query.deleting && rule.modifiers.perishable {
        return None;
    }
    match rule.kind {
        RuleKind::Match(verdict) => {
            rule.matches(query).then_some(Decision { verdict, rule, per_dir: None, cvs: false })
        }
        RuleKind::DirMerge(number) => query.dirs.check(number, query),
        // The cvs list of a client that receives protects even with --delete-excluded.
        RuleKind::Cvs => {
            let query = Query { unsided_hide: query.cvs_hides, ..*query };
            query.cvs.check(&query).map(|decision| Decision { cvs: true, ..decision })
        }
    }
}

/// Rule numbers, ascending, by what every name they match must end in.
#[derive(Clone, Debug, Default)]
struct Index {
    by_last_component: HashMap<Vec<u8>, Vec<usize>>,
    by_extension: HashMap<Vec<u8>, Vec<usize>>,
    others: Vec<usize>,
}

impl Index {
    fn add(&mut self, number: usize, rule: &Rule) {
        let plain = matches!(rule.kind, RuleKind::Match(_)) && !rule.modifiers.negated;
        let bucket = if let Some(last) = rule.pattern.last_component().filter(|_| plain) {
            self.by_last_component.entry(last.to_vec()).or_default()
        } else if let Some(extension) = rule.pattern.extension().filter(|_| plain) {
            self.by_extension.entry(extension.to_vec()).or_default()
        } else {
            &mut self.others
        };
        bucket.push(number);
    }

    fn candidates(&self, name: &[u8]) -> impl Iterator<Item = &Vec<usize>> {
        let last = name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let dot = last.iter().rposition(|&byte| byte == b'.');
        let by_extension = dot.and_then(|dot| self.by_extension.get(&last[dot + 1..]));
        self.by_last_component.get(last).into_iter().chain(by_extension)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn query<'a>(name: &'a [u8], is_dir: bool, dirs: &'a DirRules, cvs: &'a RuleList) -> Query<'a> {
        let subject = Subject::entry(name, is_dir);
        Query {
            subject,
            side: Side::Sender,
            dirs,
            cvs,
            deleting: false,
            unsided_hide: false,
            cvs_hides: false,
        }
    }

    #[test]
    fn thousands_of_rules_cost_little_per_name() {
        let mut list = RuleList::default();
        for number in 0..20_000 {
            list.push(Rule::plain(Verdict::Exclude, format!("/some/path/file{number}").as_bytes()));
        }
        let (dirs, cvs) = (DirRules::default(), RuleList::default());
        let started = std::time::Instant::now();
        for number in 0..20_000 {
            let name = format!("some/path/file{number}");
            assert!(list.check(&query(name.as_bytes(), false, &dirs, &cvs)).is_some());
        }
        assert!(started.elapsed().as_secs() < 5);
    }

    #[test]
    fn a_trace_names_the_rule_unless_it_is_from_a_file() {
        let rule = Rule::plain(Verdict::Exclude, b"d/");
        let decision = Decision { verdict: Verdict::Exclude, rule: &rule, per_dir: None, cvs: false };
        let subject = Subject::entry(b"d", true);
        let trace = |decision: Decision<'_>, side| decision.trace(subject, side, false);
        assert_eq!(trace(decision, Side::Sender), b"[sender] hiding directory d because of pattern d/");
        let secret = Rule { from_file: true, ..rule.clone() };
        let decision = Decision { rule: &secret, per_dir: Some(b".r"), ..decision };
        let expected =
            b"[generator] protecting directory d because of pattern <rule from a file read earlier> [per-dir .r]";
        assert_eq!(trace(decision, Side::Receiver), expected);
    }

    proptest! {
        #[test]
        fn the_index_changes_no_decision(
            patterns in proptest::collection::vec("[+-][ab./*?]{1,6}", INDEXED_FROM..60),
            name in "[ab.]{1,3}(/[ab.]{1,3}){0,2}",
            is_dir in any::<bool>(),
        ) {
            let mut list = RuleList::default();
            for text in &patterns {
                let verdict = if text.starts_with('+') { Verdict::Include } else { Verdict::Exclude };
                list.push(Rule::plain(verdict, &text.as_bytes()[1..]));
            }
            let (dirs, cvs) = (DirRules::default(), RuleList::default());
            let query = query(name.as_bytes(), is_dir, &dirs, &cvs);
            let plain = list.rules.iter().find_map(|rule| decide(rule, &query));
            prop_assert!(list.index.is_some());
            prop_assert_eq!(list.check(&query), plain);
        }
    }
}
