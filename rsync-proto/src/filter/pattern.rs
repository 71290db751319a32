//! The pattern of one rule and the part of a name it looks at (spec 06 §3, §4).

use std::borrow::Cow;

use super::Wildcard;

/// A rule's pattern, normalised and compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Vec<u8>,
    directory_only: bool,
    wildcard: Option<Wildcard>,
    has_double_star: bool,
    starts_with_double_star: bool,
    ends_with_triple_star: bool,
    slashes: usize,
}

impl Pattern {
    /// Normalises `text`: one trailing slash makes it match directories only, unless it is the
    /// whole text.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        Self::build(b"", text, false)
    }

    /// Like [`new`](Self::new), but a backslash escapes even in a text without wildcards.
    pub(super) fn unescaping(text: &[u8]) -> Self {
        Self::build(b"", text, text.contains(&b'\\'))
    }

    /// A pattern of a rule file in the absolute path `directory`, taken literally whatever bytes it
    /// has; `text` starts with a slash.
    #[must_use]
    pub fn beneath(directory: &[u8], text: &[u8]) -> Self {
        Self::build(directory, text, false)
    }

    fn build(directory: &[u8], text: &[u8], escapes: bool) -> Self {
        let directory = directory.strip_suffix(b"/").unwrap_or(directory);
        let (own, directory_only) = match text.strip_suffix(b"/") {
            Some(shorter) if !shorter.is_empty() => (shorter, true),
            _ => (text, false),
        };
        let full = [directory, own].concat();
        let anchor = usize::from(full.first() == Some(&b'/'));
        let wildcard = (escapes || Wildcard::is_wild(own)).then(|| {
            let literal = directory.get(anchor..).unwrap_or_default();
            let wild = if directory.is_empty() { &own[anchor..] } else { own };
            Wildcard::compile_beneath(literal, wild)
        });
        let has_double_star = wildcard.is_some() && own.windows(2).any(|pair| pair == b"**");
        Self {
            directory_only,
            has_double_star,
            starts_with_double_star: wildcard.is_some() && full.starts_with(b"**"),
            ends_with_triple_star: has_double_star && own.ends_with(b"***"),
            slashes: full.iter().filter(|&&byte| byte == b'/').count(),
            wildcard,
            text: full,
        }
    }

    /// The stored form: without the slash that says "directories only", with a leading one.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether only directories match.
    #[must_use]
    pub fn is_directory_only(&self) -> bool {
        self.directory_only
    }

    /// The text as a user would write it: with the slash of a directory-only pattern.
    #[must_use]
    pub fn written(&self) -> Vec<u8> {
        let mut out = self.text.clone();
        out.extend(self.directory_only.then_some(b'/'));
        out
    }

    /// Literal bytes that the last component of every matching name equals, if there are such.
    pub(super) fn last_component(&self) -> Option<&[u8]> {
        let plain = self.wildcard.is_none() || !self.text.iter().any(|byte| matches!(byte, b'[' | b'\\'));
        let last = self.text.rsplit(|&byte| byte == b'/').next()?;
        (plain && !last.is_empty() && (self.wildcard.is_none() || !Wildcard::is_wild(last))).then_some(last)
    }

    /// For `*.ext` and alike: what follows the last dot of every matching name.
    pub(super) fn extension(&self) -> Option<&[u8]> {
        let literal = self.text.strip_prefix(b"*")?;
        let dot = literal.iter().rposition(|&byte| byte == b'.')?;
        let plain = !literal.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\' | b'/'));
        plain.then(|| &literal[dot + 1..])
    }

    /// Whether the pattern matches `name`, a path relative to the transfer root (it may start with
    /// `/`). `absolute` compares with the path from the module root or `/` instead, of which
    /// `current_dir` is the part above `name`, without a leading slash.
    #[must_use]
    pub fn matches(&self, name: &[u8], is_dir: bool, absolute: bool, current_dir: &[u8]) -> bool {
        if self.directory_only && !is_dir {
            return false;
        }
        let rooted = name.first() == Some(&b'/');
        let relative = if rooted { &name[1..] } else { name };
        if self.slashes == 0 && !self.has_double_star {
            let last = relative.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            return self.compare(&self.text, last);
        }
        let mut subject = if absolute && !rooted && !current_dir.is_empty() {
            Cow::Owned([current_dir, b"/", relative].concat())
        } else if self.starts_with_double_star && !rooted {
            Cow::Owned([b"/", relative].concat())
        } else {
            Cow::Borrowed(relative)
        };
        if is_dir && self.ends_with_triple_star {
            subject.to_mut().push(b'/');
        }
        if let Some(anchored) = self.text.strip_prefix(b"/") {
            return self.compare(anchored, &subject);
        }
        if self.slashes > 0 && !self.has_double_star {
            return last_components(&subject, self.slashes + 1)
                .is_some_and(|candidate| self.compare(&self.text, candidate));
        }
        match &self.wildcard {
            Some(wildcard) if !self.starts_with_double_star => wildcard.matches_from_any_component(&subject),
            _ => self.compare(&self.text, &subject),
        }
    }

    fn compare(&self, text: &[u8], candidate: &[u8]) -> bool {
        match &self.wildcard {
            Some(wildcard) => wildcard.matches(candidate),
            None => text == candidate,
        }
    }
}

/// The last `count` components of `path`, or `None` when it has fewer.
fn last_components(path: &[u8], count: usize) -> Option<&[u8]> {
    let mut found = 0;
    for (position, &byte) in path.iter().enumerate().rev() {
        if byte == b'/' {
            found += 1;
            if found == count {
                return Some(&path[position + 1..]);
            }
        }
    }
    (found + 1 == count).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(pattern: &str, name: &str, is_dir: bool) -> bool {
        Pattern::new(pattern.as_bytes()).matches(name.as_bytes(), is_dir, false, b"")
    }

    #[test]
    fn an_inner_slash_means_the_last_components() {
        assert!(hit("foo/bar", "x/foo/bar", false));
        assert!(!hit("foo/bar", "bar", false));
        assert!(!hit("foo/bar", "xfoo/bar", false));
        assert!(hit("**/foo", "foo", false));
        assert!(!hit("/**/foo", "foo", false));
    }

    #[test]
    fn three_stars_match_the_directory_and_what_is_in_it() {
        assert!(hit("/a/***", "a", true));
        assert!(!hit("/a/**", "a", true));
        assert!(hit("/a/***", "a/b", false));
    }

    #[test]
    fn the_directory_of_a_rule_file_is_literal() {
        let pattern = Pattern::beneath(b"/home/[x]*", b"/*.c");
        assert!(pattern.matches(b"[x]*/a.c", false, true, b"home"));
        assert!(!pattern.matches(b"x/a.c", false, true, b"home"));
        let root = Pattern::beneath(b"/", b"/a*");
        assert!(root.matches(b"ab", false, true, b""));
    }
}
