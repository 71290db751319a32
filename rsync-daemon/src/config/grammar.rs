//! The grammar of `rsyncd.conf` (spec 09 §2): text to items, without any meaning yet.

use bstr::{BString, ByteSlice};

/// One item of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// `[name]`, white space folded to single spaces.
    Section(BString),
    /// `name = value`.
    Parameter(BString, BString),
    /// `&name value`.
    Directive(BString, BString),
    /// A line that means nothing; the text for the log.
    Ignored(String),
}

/// A mistake that makes the file useless, in the C daemon's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct GrammarError(pub(super) String);

/// Reads the items of a file, each with the number of its first line. After a mistake it goes on with the
/// next line, so that all mistakes are found.
pub(super) fn items(text: &[u8]) -> Vec<(usize, Result<Item, GrammarError>)> {
    let mut reader = Reader { rest: text };
    let mut items = Vec::new();
    let (mut line, mut counted) = (1, 0);
    loop {
        reader.skip_blanks();
        let start = text.len() - reader.rest.len();
        line += text[counted..start].iter().filter(|&&byte| byte == b'\n').count();
        counted = start;
        match reader.item() {
            Ok(None) => return items,
            Ok(Some(item)) => items.push((line, Ok(item))),
            Err(error) => items.push((line, Err(error))),
        }
    }
}

/// Names of parameters and sections are compared without case and white space.
pub(super) fn folded(name: &[u8]) -> Vec<u8> {
    name.iter().filter(|byte| !is_space(byte)).map(u8::to_ascii_lowercase).collect()
}

struct Reader<'a> {
    rest: &'a [u8],
}

/// Why a piece of text ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Found,
    Line,
    File,
}

fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}

fn trimmed(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !is_space(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

impl Reader<'_> {
    fn skip_blanks(&mut self) {
        while let Some((&first, rest)) = self.rest.split_first() {
            match first {
                b'\n' | 0 | b'\\' => self.rest = rest,
                b';' | b'#' => self.skip_line(),
                _ if is_space(&first) => self.rest = rest,
                _ => return,
            }
        }
    }

    fn item(&mut self) -> Result<Option<Item>, GrammarError> {
        let Some((&first, rest)) = self.rest.split_first() else { return Ok(None) };
        match first {
            b'[' => {
                self.rest = rest;
                self.section().map(Some)
            }
            b'&' => {
                self.rest = rest;
                Ok(Some(self.directive()))
            }
            _ => self.parameter().map(Some),
        }
    }

    fn skip_line(&mut self) {
        let end = self.rest.iter().position(|byte| matches!(byte, b'\n' | 0)).unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
    }

    /// Reads up to `stop`, the end of the line or a NUL, joining continued lines.
    fn text(&mut self, stop: Option<u8>) -> (Vec<u8>, End) {
        let mut text = Vec::new();
        while let Some((&byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            match byte {
                0 => return (text, End::Line),
                b'\n' => {
                    let length = text.iter().rposition(|byte| !is_space(byte)).map_or(0, |last| last + 1);
                    if length == 0 || text[length - 1] != b'\\' {
                        return (text, End::Line);
                    }
                    text.truncate(length - 1);
                }
                _ if Some(byte) == stop => return (text, End::Found),
                _ => text.push(byte),
            }
        }
        (text, End::File)
    }

    fn value(&mut self) -> BString {
        let (mut value, _) = self.text(None);
        value.retain(|&byte| byte != b'\r');
        trimmed(&value).into()
    }

    fn section(&mut self) -> Result<Item, GrammarError> {
        let (name, end) = self.text(Some(b']'));
        let shown = name.as_bstr();
        match end {
            End::Line => {
                return Err(GrammarError(format!(
                    "params.c:Section() - Badly formed line in config file: {shown}"
                )));
            }
            End::File => {
                return Err(GrammarError(format!(
                    "params.c:Section() - Unexpected EOF in the config file: {shown}"
                )));
            }
            End::Found => self.skip_line(),
        }
        let words: Vec<&[u8]> = name.split(is_space).filter(|word| !word.is_empty()).collect();
        let name = BString::from(words.join(&b' '));
        if name.is_empty() {
            return Err(GrammarError("params.c:Section() - Empty section name in config file.".into()));
        }
        if name.contains(&b'/') {
            return Err(GrammarError(format!("Warning: invalid section name in configuration file: {name}")));
        }
        Ok(Item::Section(name))
    }

    fn directive(&mut self) -> Item {
        let line = self.value();
        let end = line.find_byteset(b" \t=").unwrap_or(line.len());
        let rest = trimmed(&line[end..]);
        let value = trimmed(rest.strip_prefix(b"=").unwrap_or(rest));
        Item::Directive(line[..end].into(), value.into())
    }

    fn parameter(&mut self) -> Result<Item, GrammarError> {
        let (name, end) = self.text(Some(b'='));
        let name = trimmed(&name);
        let shown = name.as_bstr();
        match end {
            End::Line => Ok(Item::Ignored(format!(
                "params.c:Parameter() - Ignoring badly formed line in config file: {shown}"
            ))),
            End::File => {
                Ok(Item::Ignored(format!("params.c:Parameter() - Unexpected end-of-file at: {shown}")))
            }
            End::Found if name.is_empty() => {
                self.skip_line();
                Err(GrammarError("params.c:Parameter() - Invalid parameter name in config file.".into()))
            }
            End::Found => Ok(Item::Parameter(name.into(), self.value())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parameter(name: &str, value: &str) -> Item {
        Item::Parameter(name.into(), value.into())
    }

    fn read(text: &str) -> Vec<Item> {
        items(text.as_bytes()).into_iter().map(|(_, item)| item.expect("an item")).collect()
    }

    #[test]
    fn every_item_knows_its_line_and_reading_goes_on_after_mistakes() {
        let text = "# c\n\na = 1\\\n2\n= x\n[m\n b=3\n[n] c=4\nd";
        let lines: Vec<_> =
            items(text.as_bytes()).into_iter().map(|(line, item)| (line, item.is_ok())).collect();
        assert_eq!(lines, [(3, true), (5, false), (6, false), (7, true), (8, true), (9, true)]);
    }

    #[test]
    fn lines_become_items() {
        for (text, expected) in [
            ("a = b", vec![parameter("a", "b")]),
            ("  a b =  x  # y ; z \r\n", vec![parameter("a b", "x  # y ; z")]),
            (
                "# comment \\\na=1\n;x\n\n[m]a=2\nb=3",
                vec![parameter("a", "1"), Item::Section("m".into()), parameter("b", "3")],
            ),
            ("[ my\t  mod ] rest", vec![Item::Section("my mod".into())]),
            ("[a\\\nb]", vec![Item::Section("ab".into())]),
            ("a = line one \\  \n   line two\\\nthree", vec![parameter("a", "line one    line twothree")]),
            ("pa\\\nth = /x", vec![parameter("path", "/x")]),
            ("a = x\\", vec![parameter("a", "x\\")]),
            ("a = \"q\"", vec![parameter("a", "\"q\"")]),
            ("a = b = c", vec![parameter("a", "b = c")]),
            (
                "a = x\0b\nc=1",
                vec![
                    parameter("a", "x"),
                    Item::Ignored(
                        "params.c:Parameter() - Ignoring badly formed line in config file: b".into(),
                    ),
                    parameter("c", "1"),
                ],
            ),
            ("tail", vec![Item::Ignored("params.c:Parameter() - Unexpected end-of-file at: tail".into())]),
            (
                "&include /etc/x d\n&merge = y",
                vec![
                    Item::Directive("include".into(), "/etc/x d".into()),
                    Item::Directive("merge".into(), "y".into()),
                ],
            ),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn fatal_mistakes_are_told_as_the_c_daemon_does() {
        for (text, expected) in [
            ("[a\n]", "params.c:Section() - Badly formed line in config file: a"),
            ("[a", "params.c:Section() - Unexpected EOF in the config file: a"),
            ("[ ]", "params.c:Section() - Empty section name in config file."),
            ("[a/b]", "Warning: invalid section name in configuration file: a/b"),
            ("= x", "params.c:Parameter() - Invalid parameter name in config file."),
        ] {
            let first = items(text.as_bytes()).into_iter().next();
            let expected = Err(GrammarError(expected.to_owned()));
            assert_eq!(first, Some((1, expected)), "{text:?}");
        }
    }

    #[test]
    fn names_are_folded() {
        assert_eq!(folded(b"Read  Only"), folded(b"readonly"));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = items(&text);
        }

        #[test]
        fn plain_parameters_are_read_back(name in "[a-z][a-z ]{0,8}[a-z]", value in "[a-z/.0-9=#]{0,20}") {
            prop_assert_eq!(read(&format!("{name} = {value}\n")), vec![parameter(&name, &value)]);
        }
    }
}
