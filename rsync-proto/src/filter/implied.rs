//! The names a pulling client asked for, to refuse what it did not (spec 06 §7).

use super::{Pattern, Wildcard};

/// The options that decide what a request covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestShape {
    /// `--relative`.
    pub relative: bool,
    /// `--recursive`.
    pub recursive: bool,
    /// `--dirs`.
    pub dirs: bool,
}

/// The implied include list: an entry passes when one of its patterns matches.
#[derive(Clone, Debug, Default)]
pub struct ImpliedNames {
    /// In the order of their making; the flag says that only a directory above a request is meant.
    patterns: Vec<(bool, Pattern)>,
    whole_tree: bool,
}

impl ImpliedNames {
    /// Drops the module name of a daemon argument: everything through the first slash.
    #[must_use]
    pub fn without_module(argument: &[u8]) -> &[u8] {
        argument.iter().position(|&byte| byte == b'/').map_or(b"", |slash| &argument[slash + 1..])
    }

    /// Adds what the source argument or forwarded name `request` covers.
    pub fn add(&mut self, request: &[u8], shape: RequestShape) {
        let kept = if shape.relative {
            request.windows(3).position(|three| three == b"/./").map_or(request, |at| &request[at + 3..])
        } else {
            request.iter().rposition(|&byte| byte == b'/').map_or(request, |slash| &request[slash + 1..])
        };
        let parts = kept.split(|&byte| byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
        let clean = parts.collect::<Vec<_>>().join(&b'/');
        let wild = Wildcard::is_wild(&clean);
        let text = if wild { double_plain_backslashes(&clean) } else { unescape_brackets(&clean) };

        let mut own = Vec::new();
        if !text.is_empty() {
            own.push((false, [b"/", &text[..]].concat()));
            let slashes = text.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/');
            for (end, _) in slashes.filter(|_| shape.relative) {
                own.push((true, [b"/", &text[..end], b"/"].concat()));
            }
        }
        if shape.recursive || shape.dirs {
            let stem = if wild { text } else { double_backslashes(&text) };
            let separator: &[u8] = if stem.is_empty() { b"" } else { b"/" };
            let stars: &[u8] = if shape.recursive { b"/**" } else { b"/*" };
            self.whole_tree |= stem.is_empty();
            own.push((false, [separator, &stem[..], stars].concat()));
        }
        for (parent, text) in own {
            let literal = escape_brackets(&text);
            for text in std::iter::once(text).chain(literal) {
                let pattern = if wild { Pattern::unescaping(&text) } else { Pattern::new(&text) };
                let entry = (parent, pattern);
                if !parent || !self.patterns.contains(&entry) {
                    self.patterns.push(entry);
                }
            }
        }
    }

    /// The patterns in the order of their making, with the slash of directory-only ones.
    pub fn patterns(&self) -> impl Iterator<Item = Vec<u8>> {
        self.patterns.iter().map(|(_, pattern)| pattern.written())
    }

    /// Whether `name` was asked for, or is a directory above something that was.
    #[must_use]
    pub fn covers(&self, name: &[u8], is_dir: bool) -> bool {
        self.patterns.iter().any(|(_, pattern)| pattern.matches(name, is_dir, false, b""))
    }

    /// Whether the directory `name` is there only because of what is below it: nothing in it may then
    /// be deleted, whatever the sender says. `.` and `/.` are the transfer root.
    #[must_use]
    pub fn is_only_parent(&self, name: &[u8]) -> bool {
        if matches!(name, b"." | b"/.") {
            return !self.whole_tree;
        }
        let mut requests = self.patterns.iter().filter(|(parent, _)| !parent);
        !requests.any(|(_, pattern)| pattern.matches(name, true, false, b""))
    }
}

/// In a wild text, a backslash that escapes nothing is made to stand for itself.
fn double_plain_backslashes(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        out.push(byte);
        if byte == b'\\' {
            match bytes.peek() {
                Some(b'*' | b'?' | b'[' | b']') => out.extend(bytes.next()),
                _ => out.push(b'\\'),
            }
        }
    }
    out
}

fn double_backslashes(text: &[u8]) -> Vec<u8> {
    text.iter().flat_map(|&byte| std::iter::repeat_n(byte, if byte == b'\\' { 2 } else { 1 })).collect()
}

fn unescape_brackets(text: &[u8]) -> Vec<u8> {
    let escapes = |at: usize| text[at] == b'\\' && text.get(at + 1) == Some(&b']');
    (0..text.len()).filter(|&at| !escapes(at)).map(|at| text[at]).collect()
}

/// The text with every unescaped `[` escaped, or `None` when it has none.
fn escape_brackets(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() + 1);
    let mut escaped = false;
    let mut found = false;
    for &byte in text {
        if byte == b'[' && !escaped {
            out.push(b'\\');
            found = true;
        }
        escaped = byte == b'\\' && !escaped;
        out.push(byte);
    }
    found.then_some(out)
}
