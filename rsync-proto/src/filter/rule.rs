//! The grammar of one rule (spec 06 §2.1 to §2.3).

use super::{FilterError, Verdict};

/// How the text of a rule is read (spec 06 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grammar {
    /// `--filter`, merge files, wire rules of modern peers.
    Full,
    /// `--include`, `--exclude`, their files, and wire rules of old peers: the text is a pattern of
    /// this kind unless it starts with `- ` or `+ `, or is `!`.
    Old(Verdict),
    /// Entries of a merge file read with `-`, `+` or `C`: the whole text is a pattern.
    Bare {
        /// The kind of every entry.
        verdict: Verdict,
        /// Whether the entry `!` empties the list (`C` files).
        clears: bool,
    },
}

/// The attributes of a rule (spec 06 §2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modifiers {
    /// `/`: compare with the absolute path.
    pub absolute: bool,
    /// `!`: the rule matches what its pattern does not.
    pub negated: bool,
    /// `s`: meant for the sender.
    pub sender: bool,
    /// `r`: meant for the receiver.
    pub receiver: bool,
    /// `p`: ignored inside directories that are being deleted.
    pub perishable: bool,
    /// `x`: matches names of extended attributes only.
    pub xattr: bool,
    /// `C`: the cvs list, or a merge file read the cvs way.
    pub cvs: bool,
    /// `e`: the merge file itself is excluded.
    pub exclude_self: bool,
    /// `n`: subdirectories do not inherit.
    pub no_inherit: bool,
    /// `w`: the file is split at white space.
    pub word_split: bool,
    /// `-` or `+`: every entry of the file is a pattern of this kind.
    pub bare: Option<Verdict>,
}

impl Modifiers {
    /// Whether a side was named; both count as two-sided explicitly.
    #[must_use]
    pub fn names_a_side(&self) -> bool {
        self.sender || self.receiver
    }
}

/// What a rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Directive {
    Match(Verdict),
    Merge,
    DirMerge,
    Clear,
}

/// A rule as parsed; `argument` borrows the rule's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parsed<'t> {
    pub(super) directive: Directive,
    pub(super) modifiers: Modifiers,
    pub(super) argument: &'t [u8],
    /// Bytes of the text used, white space around a word included.
    pub(super) consumed: usize,
}

/// Why a rule text is none; the caller adds which rule it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    Kind,
    Modifier { byte: u8, position: usize },
    NoArgument,
    TrailingCharacters,
}

impl Malformed {
    /// `shown` is the rule's text, or its place when the text came out of a file (`from_file`).
    pub(super) fn describe(self, shown: Vec<u8>, from_file: bool) -> FilterError {
        let rule = shown.into();
        match self {
            Self::Kind => FilterError::UnknownRule { rule },
            Self::Modifier { .. } if from_file => FilterError::InvalidModifierInFile { rule },
            Self::Modifier { byte, position } => {
                FilterError::InvalidModifier { modifier: vec![byte].into(), position, rule }
            }
            Self::NoArgument => FilterError::UnexpectedEnd { rule },
            Self::TrailingCharacters => FilterError::TrailingCharacters { rule },
        }
    }
}

const LONG_NAMES: [(&[u8], u8); 9] = [
    (b"clear", b'!'),
    (b"dir-merge", b':'),
    (b"exclude", b'-'),
    (b"hide", b'H'),
    (b"include", b'+'),
    (b"merge", b'.'),
    (b"protect", b'P'),
    (b"risk", b'R'),
    (b"show", b'S'),
];

/// Parses the rule at the start of `text`. With `words` the rule ends at white space that follows
/// its argument, otherwise at the end of the text.
pub(super) fn parse(text: &[u8], grammar: Grammar, words: bool) -> Result<Parsed<'_>, Malformed> {
    let skipped = if words { text.iter().take_while(|byte| is_space(**byte)).count() } else { 0 };
    let text = &text[skipped..];
    let mut parsed = match grammar {
        Grammar::Full => parse_full(text, words)?,
        Grammar::Old(verdict) => parse_old(text, verdict, words)?,
        Grammar::Bare { verdict, clears } => {
            let argument = word(text, words);
            let directive =
                if clears && argument == b"!" { Directive::Clear } else { Directive::Match(verdict) };
            Parsed { directive, modifiers: Modifiers::default(), argument, consumed: argument.len() }
        }
    };
    parsed.consumed += skipped;
    Ok(parsed)
}

fn parse_old(text: &[u8], verdict: Verdict, words: bool) -> Result<Parsed<'_>, Malformed> {
    let (verdict, prefix) = match text {
        [b'-', b' ', ..] => (Verdict::Exclude, 2),
        [b'+', b' ', ..] => (Verdict::Include, 2),
        _ => (verdict, 0),
    };
    let argument = word(&text[prefix..], words);
    let modifiers = Modifiers::default();
    if prefix == 0 && argument == b"!" {
        return Ok(Parsed { directive: Directive::Clear, modifiers, argument: b"", consumed: 1 });
    }
    if prefix > 0 && argument.is_empty() {
        return Err(Malformed::NoArgument);
    }
    Ok(Parsed {
        directive: Directive::Match(verdict),
        modifiers,
        argument,
        consumed: prefix + argument.len(),
    })
}

fn parse_full(text: &[u8], words: bool) -> Result<Parsed<'_>, Malformed> {
    let (kind, after_kind) = parse_kind(text)?;
    let (directive, side) = match kind {
        b'-' => (Directive::Match(Verdict::Exclude), None),
        b'+' => (Directive::Match(Verdict::Include), None),
        b'H' => (Directive::Match(Verdict::Exclude), Some(b's')),
        b'S' => (Directive::Match(Verdict::Include), Some(b's')),
        b'P' => (Directive::Match(Verdict::Exclude), Some(b'r')),
        b'R' => (Directive::Match(Verdict::Include), Some(b'r')),
        b'.' => (Directive::Merge, None),
        b':' => (Directive::DirMerge, None),
        b'!' => (Directive::Clear, None),
        _ => return Err(Malformed::Kind),
    };
    let mut modifiers =
        Modifiers { sender: side == Some(b's'), receiver: side == Some(b'r'), ..Modifiers::default() };
    if directive == Directive::Clear {
        let rest = word(&text[after_kind..], words);
        if !rest.is_empty() {
            return Err(Malformed::TrailingCharacters);
        }
        return Ok(Parsed { directive, modifiers, argument: b"", consumed: after_kind });
    }
    let mut position = after_kind;
    while let Some(&byte) = text.get(position).filter(|byte| !matches!(byte, b' ' | b'_')) {
        set_modifier(&mut modifiers, byte, directive, side.is_some())
            .ok_or(Malformed::Modifier { byte, position })?;
        position += 1;
    }
    let start = (position + 1).min(text.len());
    let argument = word(&text[start..], words);
    if argument.is_empty() && !modifiers.cvs {
        return Err(Malformed::NoArgument);
    }
    Ok(Parsed { directive, modifiers, argument, consumed: start + argument.len() })
}

/// The short kind, and the number of bytes that named it (a comma after it included).
fn parse_kind(text: &[u8]) -> Result<(u8, usize), Malformed> {
    let &first = text.first().ok_or(Malformed::Kind)?;
    let (kind, length) = if b"cdehimprs".contains(&first) {
        let (name, kind) =
            LONG_NAMES.iter().find(|(name, _)| text.starts_with(name)).ok_or(Malformed::Kind)?;
        match text.get(name.len()) {
            None | Some(b'_' | b',') => {}
            Some(&byte) if is_space(byte) => {}
            Some(_) => return Err(Malformed::Kind),
        }
        (*kind, name.len())
    } else {
        (first, 1)
    };
    Ok((kind, length + usize::from(text.get(length) == Some(&b','))))
}

/// `None` when `byte` is no modifier, or not one of this kind of rule.
fn set_modifier(modifiers: &mut Modifiers, byte: u8, directive: Directive, sided: bool) -> Option<()> {
    let merge =
        directive != Directive::Match(Verdict::Include) && directive != Directive::Match(Verdict::Exclude);
    let prefixed = modifiers.bare.is_none() && !modifiers.cvs;
    let flag = match byte {
        b'/' => &mut modifiers.absolute,
        b'!' if !merge => &mut modifiers.negated,
        b's' if !sided => &mut modifiers.sender,
        b'r' if !sided => &mut modifiers.receiver,
        b'p' => &mut modifiers.perishable,
        b'x' => &mut modifiers.xattr,
        b'e' if merge => &mut modifiers.exclude_self,
        b'n' if merge => &mut modifiers.no_inherit,
        b'w' if merge => &mut modifiers.word_split,
        b'C' if prefixed && !sided => &mut modifiers.cvs,
        b'-' | b'+' if merge && prefixed => {
            modifiers.bare = Some(if byte == b'-' { Verdict::Exclude } else { Verdict::Include });
            return Some(());
        }
        _ => return None,
    };
    *flag = true;
    Some(())
}

fn word(text: &[u8], words: bool) -> &[u8] {
    if !words {
        return text;
    }
    let end = text.iter().position(|&byte| is_space(byte)).unwrap_or(text.len());
    &text[..end]
}

/// White space as the C locale has it.
pub(super) fn is_space(byte: u8) -> bool {
    byte == 0x0b || byte.is_ascii_whitespace()
}
