//! Rule lists on the wire (spec 06 §6).

use super::list::{Rule, RuleKind};
use super::{FilterError, Filters, Grammar, MAX_LINE, Verdict};
use crate::session::Negotiated;
use crate::wire::Cursor;

/// Largest sum of the lengths of received rules, in bytes, of which each counts 64 more than its text.
pub const MAX_RECEIVED_RULES: usize = 16 << 20;
/// What a received rule counts beside its text: short ones take memory as well.
const RULE_OVERHEAD: usize = 64;

/// Whether the client sends a list, even an empty one; otherwise there is no terminator either.
/// "Deleting" means any `--delete*` but `--delete-missing-args` (spec 06 §6.1).
#[must_use]
pub fn list_is_sent(
    negotiated: &Negotiated,
    client_is_sender: bool,
    prune_empty_dirs: bool,
    deleting: bool,
    delete_excluded: bool,
) -> bool {
    let receiver_wants = deleting && (!delete_excluded || negotiated.has_modern_filters());
    !client_is_sender || prune_empty_dirs || receiver_wants
}

/// How a client says its rules to a server.
#[derive(Clone, Copy, Debug)]
pub struct Dialect<'n> {
    /// What was agreed on.
    pub negotiated: &'n Negotiated,
    /// A push.
    pub client_is_sender: bool,
}

impl Dialect<'_> {
    /// Appends the rules of `filters` that the server needs, with the terminator, to `out`.
    ///
    /// # Errors
    /// [`FilterError::TooModern`] when one cannot be said in this protocol. It is raised even when no
    /// list will be sent.
    pub fn encode(&self, filters: &Filters, out: &mut Vec<u8>) -> Result<(), FilterError> {
        for rule in filters.rules() {
            let expand = rule.kind == RuleKind::Cvs
                && (self.client_is_sender || !self.negotiated.has_modern_filters());
            if expand {
                for rule in filters.cvs().rules() {
                    self.encode_rule(rule, filters.delete_excluded, out)?;
                }
            } else {
                self.encode_rule(rule, filters.delete_excluded, out)?;
            }
        }
        out.extend_from_slice(&0_i32.to_le_bytes());
        Ok(())
    }

    fn encode_rule(&self, rule: &Rule, delete_excluded: bool, out: &mut Vec<u8>) -> Result<(), FilterError> {
        let modifiers = &rule.modifiers;
        let is_for_server = match (modifiers.sender, modifiers.receiver) {
            (true, true) => true,
            (true, false) => !self.client_is_sender,
            (false, true) => self.client_is_sender,
            (false, false) => !(delete_excluded && self.client_is_sender) || is_plain_dir_merge(rule),
        };
        if !is_for_server {
            return Ok(());
        }
        let mut text = if self.negotiated.has_modern_filters() {
            self.modern_prefix(rule)?
        } else {
            self.old_prefix(rule, delete_excluded)?
        };
        text.extend_from_slice(&rule.pattern.written());
        if !text.is_empty() {
            out.extend_from_slice(&(text.len() as i32).to_le_bytes());
            out.extend_from_slice(&text);
        }
        Ok(())
    }

    fn modern_prefix(&self, rule: &Rule) -> Result<Vec<u8>, FilterError> {
        let modifiers = &rule.modifiers;
        let perishable = modifiers.perishable && self.negotiated.has_perishable_filters();
        if modifiers.perishable && !perishable && self.client_is_sender {
            return Err(FilterError::TooModern);
        }
        Ok(prefix(rule, perishable))
    }

    fn old_prefix(&self, rule: &Rule, delete_excluded: bool) -> Result<Vec<u8>, FilterError> {
        let modifiers = &rule.modifiers;
        let RuleKind::Match(verdict) = rule.kind else { return Err(FilterError::TooModern) };
        let unsayable = modifiers.absolute || modifiers.negated || modifiers.xattr;
        let sender_only = modifiers.perishable || (delete_excluded && modifiers.receiver);
        if unsayable || (self.client_is_sender && sender_only) {
            return Err(FilterError::TooModern);
        }
        let pattern = rule.pattern.text();
        Ok(match verdict {
            Verdict::Include => b"+ ".to_vec(),
            Verdict::Exclude if pattern.starts_with(b"- ") || pattern.starts_with(b"+ ") => b"- ".to_vec(),
            Verdict::Exclude => Vec::new(),
        })
    }
}

impl Filters {
    /// The rules as lines that a command line can read again, those of `-C` left out (spec 08 §12.2).
    #[must_use]
    pub fn lines(&self) -> Vec<Vec<u8>> {
        let rules = self.rules().iter();
        let written = rules.filter(|rule| rule.kind != RuleKind::Cvs && !rule.modifiers.cvs);
        written
            .map(|rule| [prefix(rule, rule.modifiers.perishable), rule.pattern.written()].concat())
            .collect()
    }
}

/// What stands in front of the pattern of a rule, with a blank at its end.
fn prefix(rule: &Rule, perishable: bool) -> Vec<u8> {
    let modifiers = &rule.modifiers;
    let kind = match rule.kind {
        RuleKind::DirMerge(_) => b':',
        RuleKind::Match(Verdict::Include) => b'+',
        RuleKind::Match(Verdict::Exclude) | RuleKind::Cvs => b'-',
    };
    let bare = modifiers.bare.filter(|_| !modifiers.cvs);
    let letters = [
        (modifiers.absolute, b'/'),
        (modifiers.negated, b'!'),
        (modifiers.cvs, b'C'),
        (modifiers.no_inherit && !modifiers.cvs, b'n'),
        (modifiers.word_split && !modifiers.cvs, b'w'),
        (bare == Some(Verdict::Include), b'+'),
        (bare == Some(Verdict::Exclude), b'-'),
        (modifiers.xattr, b'x'),
        (modifiers.sender, b's'),
        (modifiers.receiver, b'r'),
        (perishable, b'p'),
    ];
    let mut text = vec![kind];
    text.extend(letters.into_iter().filter_map(|(given, letter)| given.then_some(letter)));
    text.push(b' ');
    text
}

/// A dir-merge whose file holds rules with prefixes, each of which may name its side.
fn is_plain_dir_merge(rule: &Rule) -> bool {
    matches!(rule.kind, RuleKind::DirMerge(_)) && rule.modifiers.bare.is_none() && !rule.modifiers.cvs
}

/// Decodes the list a server receives.
#[derive(Clone, Debug, Default)]
pub struct ReceivedRules {
    total: usize,
}

impl ReceivedRules {
    /// The grammar of received rules, for [`Filters::add_received`].
    #[must_use]
    pub fn grammar(negotiated: &Negotiated) -> Grammar {
        if negotiated.has_modern_filters() { Grammar::Full } else { Grammar::Old(Verdict::Exclude) }
    }

    /// The text of the next rule, or `None` at the end of the list.
    ///
    /// # Errors
    /// [`FilterError::ReceivedRuleLength`] for a length below 0 or above 5119 bytes,
    /// [`FilterError::TooManyReceived`] beyond [`MAX_RECEIVED_RULES`].
    pub fn decode<'a>(&mut self, input: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, FilterError> {
        let announced = input.i32()?;
        let length = usize::try_from(announced).ok().filter(|&length| length < MAX_LINE);
        let Some(length) = length else { return Err(FilterError::ReceivedRuleLength { length: announced }) };
        if length == 0 {
            return Ok(None);
        }
        let text = input.take(length)?;
        self.total += length + RULE_OVERHEAD;
        if self.total > MAX_RECEIVED_RULES {
            return Err(FilterError::TooManyReceived { limit: MAX_RECEIVED_RULES });
        }
        Ok(Some(text))
    }
}
