//! Splitting the text of rule files into rules (spec 06 §2.5).

use super::rule::is_space;

/// Rules of a file, one per line: LF, CR or CRLF ends a line, or only NUL with `nul`. Empty lines and
/// lines that start with `#` or `;` are left out. Yields the line's number, from 1, with its text.
pub(super) fn lines(text: &[u8], nul: bool) -> impl Iterator<Item = (usize, &[u8])> {
    let mut rest = Some(text);
    let mut number = 0;
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let end = text.iter().position(|&byte| if nul { byte == 0 } else { matches!(byte, b'\n' | b'\r') });
        let line = match end {
            Some(end) => {
                let skip = if text[end..].starts_with(b"\r\n") { 2 } else { 1 };
                rest = Some(&text[end + skip..]);
                &text[..end]
            }
            None => text,
        };
        number += 1;
        Some((number, line))
    })
    .filter(|(_, line)| !matches!(line, [] | [b'#' | b';', ..]))
}

/// Words of a word-split file: they end at white space, with `nul` also at NUL. There are no comments.
pub(super) fn words(text: &[u8], nul: bool) -> impl Iterator<Item = &[u8]> {
    text.split(move |&byte| is_space(byte) || (nul && byte == 0)).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_end_counts_and_comments_do_not() {
        let found: Vec<_> = lines(b"a\r\nb\rc\n\n#x\n;y\n # z", false).collect();
        assert_eq!(found, [(1, &b"a"[..]), (2, b"b"), (3, b"c"), (7, b" # z")]);
    }

    #[test]
    fn nul_lines_keep_newlines() {
        let found: Vec<_> = lines(b"a\nb\0#c\0d", true).collect();
        assert_eq!(found, [(1, &b"a\nb"[..]), (3, b"d")]);
    }
}
