//! Making foreign bytes harmless before they reach a terminal or a log (spec 07 §20).

/// Which bytes above 0x7F a stream can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Charset {
    /// Valid UTF-8 passes but for control characters (spec 10 SEC-140); other bytes are escaped.
    #[default]
    Utf8,
    /// Nothing above 0x7F passes.
    Ascii,
    /// Everything passes (`--8-bit-output`).
    Raw,
}

/// Appends one message to `out` for a terminal. A line end and a leading carriage return stay.
pub fn escape_message(text: &[u8], charset: Charset, out: &mut Vec<u8>) {
    let (text, end) = match text.split_last() {
        Some((last @ (b'\n' | b'\r'), rest)) => (rest, Some(*last)),
        _ => (text, None),
    };
    let text = match text.split_first() {
        Some((b'\r', rest)) => {
            out.push(b'\r');
            rest
        }
        _ => text,
    };
    escape_name(text, charset, out);
    out.extend(end);
}

/// Appends a name or other foreign bytes to `out` for a terminal; every control byte is escaped.
pub fn escape_name(text: &[u8], charset: Charset, out: &mut Vec<u8>) {
    match charset {
        Charset::Utf8 => {
            let mut rest = text;
            for chunk in text.utf8_chunks() {
                let valid = chunk.valid().len();
                escape_bytes(rest, valid, |at| is_of_c1(rest, at), out);
                rest = &rest[valid..];
                for &byte in chunk.invalid() {
                    push_octal(byte, out);
                }
                rest = &rest[chunk.invalid().len()..];
            }
        }
        Charset::Ascii => escape_bytes(text, text.len(), |at| text[at] >= 0x80, out),
        Charset::Raw => escape_bytes(text, text.len(), |_| false, out),
    }
}

/// Appends one line to `out` for a log file; the line feed at its end is dropped.
pub fn escape_log(text: &[u8], out: &mut Vec<u8>) {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    escape_bytes(text, text.len(), |at| C1.contains(&text[at]), out);
}

/// The control characters above 0x7F, and the last bytes of their UTF-8 forms, which begin with 0xC2.
const C1: std::ops::Range<u8> = 0x80..0xa0;

/// Whether the byte at `at` of valid UTF-8 belongs to a control character above 0x7F.
fn is_of_c1(text: &[u8], at: usize) -> bool {
    let begins = |at: usize| text[at] == 0xc2 && text.get(at + 1).is_some_and(|last| C1.contains(last));
    begins(at) || at > 0 && begins(at - 1)
}

/// Escapes the first `len` bytes of `text`, those at the places that `also` names as well; what follows is
/// only looked at for `\#ddd`.
fn escape_bytes(text: &[u8], len: usize, also: impl Fn(usize) -> bool, out: &mut Vec<u8>) {
    for (at, &byte) in text.iter().enumerate().take(len) {
        let looks_escaped = byte == b'\\' && is_escape(&text[at + 1..]);
        if (byte < 0x20 && byte != b'\t') || looks_escaped || also(at) {
            push_octal(byte, out);
        } else {
            out.push(byte);
        }
    }
}

fn is_escape(after_backslash: &[u8]) -> bool {
    matches!(after_backslash, [b'#', a, b, c, ..] if [a, b, c].iter().all(|digit| digit.is_ascii_digit()))
}

fn push_octal(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\#");
    out.extend([byte >> 6, byte >> 3 & 7, byte & 7].map(|digit| b'0' + digit));
}

#[cfg(test)]
mod tests {
    use super::*;
    use bstr::BString;

    fn message(text: &[u8], charset: Charset) -> BString {
        let mut out = Vec::new();
        escape_message(text, charset, &mut out);
        out.into()
    }

    #[test]
    fn control_bytes_and_lookalikes_are_escaped_and_tabs_pass() {
        for (text, expected) in [
            (&b"e\x1b[0m"[..], &b"e\\#033[0m"[..]),
            (b"n\nl", b"n\\#012l"),
            (b"t\tb", b"t\tb"),
            (b"del\x7f", b"del\x7f"),
            (b"\\#123", b"\\#134#123"),
            (b"\\#12", b"\\#12"),
            (b"\\#12x", b"\\#12x"),
        ] {
            assert_eq!(message(text, Charset::Utf8), expected);
        }
    }

    #[test]
    fn the_charset_decides_about_high_bytes() {
        assert_eq!(message(b"bad\xffx", Charset::Utf8), "bad\\#377x");
        assert_eq!(message(b"bad\xffx", Charset::Raw), b"bad\xffx");
        assert_eq!(message("é".as_bytes(), Charset::Utf8), "é");
        assert_eq!(
            message("a\u{9b}2J\u{80}\u{a0}".as_bytes(), Charset::Utf8),
            "a\\#302\\#2332J\\#302\\#200\u{a0}"
        );
        assert_eq!(message("é".as_bytes(), Charset::Ascii), "\\#303\\#251");
        assert_eq!(message("é".as_bytes(), Charset::Raw), "é");
    }

    #[test]
    fn a_line_end_and_a_leading_return_stay() {
        assert_eq!(message(b"a\nb\n", Charset::Utf8), "a\\#012b\n");
        assert_eq!(message(b"\r 100 files...\r", Charset::Utf8), "\r 100 files...\r");
        assert_eq!(message(b"a\rb", Charset::Utf8), "a\\#015b");
        assert_eq!(message(b"\n", Charset::Utf8), "\n");
    }

    #[test]
    fn a_log_escapes_c1_bytes_even_inside_characters() {
        let mut out = Vec::new();
        escape_log("À\u{1b}é\n".as_bytes(), &mut out);
        assert_eq!(BString::from(out), b"\xc3\\#200\\#033\xc3\xa9");
    }

    #[test]
    fn an_escape_that_spans_an_invalid_byte_is_still_seen_whole() {
        assert_eq!(message(b"\\#\xff12", Charset::Utf8), "\\#\\#37712");
    }
}
