//! Charsets of names, and their conversion to and from the wire (`--iconv`; spec 03 §5, 02 §2.6).
//!
//! With conversion on, names are UTF-8 on the wire and each side converts its own. A [`Charset`] is
//! chosen by name as `iconv_open` would; the tables of legacy charsets are those of `encoding_rs`,
//! bent where the web's idea of a charset differs from what the name says.

mod coding;
mod names;

use bstr::BString;

use coding::Coding;

/// A charset that names can be in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Charset(Coding);

/// There is no charset of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("iconv_open(\"UTF-8\", \"{name}\") failed")]
pub struct UnknownCharset {
    /// The name as it was given.
    pub name: BString,
}

/// Why bytes have no counterpart in the other charset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconvertible {
    /// They mean nothing in their charset, or nothing that the other one has.
    Invalid,
    /// They end inside a character.
    Incomplete,
    /// The result is longer than a path may be.
    TooLong,
}

impl Unconvertible {
    /// The system's words for it, as messages show them.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid or incomplete multibyte or wide character",
            Self::Incomplete => "Invalid argument",
            Self::TooLong => "Argument list too long",
        }
    }
}

impl Charset {
    /// The charset called `name`. Case, hyphens and other punctuation do not matter: `utf8`,
    /// `ISO-8859-1`, `iso88591`, `latin1`, `CP1252`, `KOI8-R`, `SJIS`.
    ///
    /// # Errors
    /// [`UnknownCharset`], whose text is that of the C rsync.
    pub fn named(name: &[u8]) -> Result<Self, UnknownCharset> {
        names::find(name).map(Self).ok_or_else(|| UnknownCharset { name: name.into() })
    }

    /// Converts a local name to what travels.
    ///
    /// # Errors
    /// [`Unconvertible`] if `local` is not text of this charset.
    pub fn to_wire(self, local: &[u8]) -> Result<Vec<u8>, Unconvertible> {
        self.0.decode(local).map(String::into_bytes)
    }

    /// Converts what has travelled to a local name.
    ///
    /// # Errors
    /// [`Unconvertible`] if `wire` is not UTF-8, or has a character that this charset has not.
    pub fn from_wire(self, wire: &[u8]) -> Result<Vec<u8>, Unconvertible> {
        let text = coding::utf8(wire)?;
        let mut local = Vec::with_capacity(wire.len());
        text.chars().try_for_each(|char| self.put(char, &mut local))?;
        Ok(local)
    }

    /// Converts local text to what travels; bytes that mean nothing pass as they are.
    #[must_use]
    pub fn text_to_wire(self, local: &[u8]) -> Vec<u8> {
        if let Ok(wire) = self.to_wire(local) {
            return wire;
        }
        let mut wire = Vec::with_capacity(local.len());
        let mut rest = local;
        while let Some((first, after)) = rest.split_first() {
            let (taken, text) = self.0.decode_first(rest).unwrap_or_default();
            if taken == 0 {
                wire.push(*first);
                rest = after;
            } else {
                wire.extend_from_slice(text.as_bytes());
                rest = &rest[taken..];
            }
        }
        wire
    }

    /// Converts text that has travelled to local text; what has no counterpart passes as it is.
    #[must_use]
    pub fn text_from_wire(self, wire: &[u8]) -> Vec<u8> {
        let mut local = Vec::with_capacity(wire.len());
        for chunk in wire.utf8_chunks() {
            for char in chunk.valid().chars() {
                if self.put(char, &mut local).is_err() {
                    local.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
            local.extend_from_slice(chunk.invalid());
        }
        local
    }

    fn put(self, char: char, local: &mut Vec<u8>) -> Result<(), Unconvertible> {
        if char.is_ascii() {
            local.push(char as u8);
            return Ok(());
        }
        self.0.encode(char, local)
    }
}

impl std::fmt::Debug for Charset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Charset({})", self.0.name())
    }
}

/// The name of the charset that the environment's locale has: `get` answers a variable's value.
///
/// What follows the dot of the locale's name is taken at its word; a locale without it is in ASCII, whose
/// name is `ANSI_X3.4-1968` as the C library says.
#[must_use]
pub fn locale_charset(get: impl Fn(&str) -> Option<BString>) -> BString {
    let filled = |name: &&str| get(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(filled).unwrap_or_default();
    let codeset = locale.splitn(2, |&byte| byte == b'.').nth(1).unwrap_or_default();
    let codeset = codeset.split(|&byte| byte == b'@').next().unwrap_or_default();
    match names::find(codeset) {
        Some(Coding::Utf8) => "UTF-8".into(),
        Some(_) => codeset.into(),
        None => "ANSI_X3.4-1968".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charset(name: &str) -> Charset {
        Charset::named(name.as_bytes()).expect(name)
    }

    #[test]
    fn names_are_found_in_the_spellings_of_iconv() {
        for (spellings, expected) in [
            (&["utf8", "UTF-8", "Utf_8"][..], "UTF-8"),
            (&["latin1", "ISO-8859-1", "iso88591", "ISO_8859-1:1987", "l1", "CP819"], "ISO-8859-1"),
            (&["ISO-8859-15", "latin-9"], "ISO-8859-15"),
            (&["cp1252", "WINDOWS-1252", "MS-ANSI"], "windows-1252"),
            (&["ascii", "ANSI_X3.4-1968", "us-ascii"], "US-ASCII"),
            (&["koi8-r"], "KOI8-R"),
            (&["sjis", "SHIFT-JIS", "CP932"], "Shift_JIS"),
        ] {
            for name in spellings {
                assert_eq!(format!("{:?}", charset(name)), format!("Charset({expected})"), "{name}");
            }
        }
        for name in ["foo", "", "iso-8859-12", "utf-16", "utf8//TRANSLIT"] {
            let error = Charset::named(name.as_bytes()).expect_err(name);
            assert_eq!(error.to_string(), format!("iconv_open(\"UTF-8\", \"{name}\") failed"));
        }
    }

    #[test]
    fn names_are_converted_both_ways() {
        for (name, local, wire) in [
            ("latin1", &b"l\xe4tin \x85\xff"[..], "lätin \u{85}ÿ"),
            ("utf8", "кир".as_bytes(), "кир"),
            ("cp1252", b"\x80uro", "€uro"),
            ("iso-8859-15", b"\xa4uro", "€uro"),
            ("iso-8859-9", b"\xdd\xfe\xe4", "İşä"),
            ("iso-8859-2", b"\xb1", "ą"),
            ("iso-8859-11", b"\xa1\xfb\xa0", "ก๛\u{a0}"),
            ("koi8-r", b"\xcb\xc9\xd2", "кир"),
            ("cp1251", b"\xea\xe8\xf0", "кир"),
            ("cp866", b"\xaa\xa8\xe0", "кир"),
            ("euc-jp", b"\xc6\xfc\xcb\xdc", "日本"),
            ("sjis", b"\x93\xfa\x96{", "日本"),
            ("gbk", b"\xc8\xd5\xb1\xbe", "日本"),
            ("gb18030", b"\x81\x30\x81\x30", "\u{80}"),
            ("big5", b"\xa4\xe9\xa5\xbb", "日本"),
            ("euc-kr", b"\xc7\xd1", "한"),
            ("ascii", b"plain", "plain"),
        ] {
            let charset = charset(name);
            assert_eq!(charset.to_wire(local), Ok(wire.as_bytes().to_vec()), "{name}");
            assert_eq!(charset.from_wire(wire.as_bytes()), Ok(local.to_vec()), "{name}");
        }
    }

    #[test]
    fn what_has_no_counterpart_is_refused_for_the_reason_iconv_gives() {
        use Unconvertible::{Incomplete, Invalid};
        for (name, local, reason) in [
            ("utf8", &b"a\xffb"[..], Invalid),
            ("utf8", b"a\xc3", Incomplete),
            ("utf8", b"zw\xf6", Incomplete),
            ("utf8", b"zw\xf6r", Invalid),
            ("utf8", b"\xed\xa0\x80", Invalid),
            ("ascii", b"\xe4", Invalid),
            ("cp1252", b"\x81", Invalid),
            ("iso-8859-7", b"\xff", Invalid),
            ("tis-620", b"\xdb", Invalid),
            ("tis-620", b"\xa0", Invalid),
            ("sjis", b"\x93", Incomplete),
            ("euc-jp", b"\xc6 ", Invalid),
        ] {
            assert_eq!(charset(name).to_wire(local), Err(reason), "{name} {local:x?}");
        }
        for (name, wire, reason) in [
            ("latin1", "т".as_bytes(), Invalid),
            ("cp1252", "\u{81}".as_bytes(), Invalid),
            ("iso-8859-9", "Ý".as_bytes(), Invalid),
            ("ascii", "ä".as_bytes(), Invalid),
            ("utf8", b"\xff", Invalid),
            ("latin1", b"\xc3", Incomplete),
        ] {
            assert_eq!(charset(name).from_wire(wire), Err(reason), "{name} {wire:x?}");
        }
    }

    #[test]
    fn texts_pass_what_cannot_be_converted() {
        assert_eq!(charset("utf8").text_to_wire(b"a\xff\xc3\xa9\xc3"), b"a\xff\xc3\xa9\xc3");
        let mixed = ["a日".as_bytes(), b"\xff\x93"].concat();
        assert_eq!(charset("sjis").text_to_wire(b"a\x93\xfa\xff\x93"), mixed);
        assert_eq!(charset("latin1").text_from_wire("é т".as_bytes()), b"\xe9 \xd1\x82");
        assert_eq!(charset("latin1").text_from_wire(b"\xc3\xa9\xff"), b"\xe9\xff");
    }

    #[test]
    fn the_locale_names_a_charset() {
        let of = |pairs: &[(&str, &str)]| {
            locale_charset(|name| {
                pairs.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).into())
            })
        };
        assert_eq!(of(&[]), "ANSI_X3.4-1968");
        assert_eq!(of(&[("LANG", "C.utf8")]), "UTF-8");
        assert_eq!(of(&[("LANG", "en_US.UTF-8"), ("LC_ALL", "C")]), "ANSI_X3.4-1968");
        assert_eq!(of(&[("LC_CTYPE", "de_DE.ISO-8859-15@euro"), ("LC_ALL", "")]), "ISO-8859-15");
    }
}
