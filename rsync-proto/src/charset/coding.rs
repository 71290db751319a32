//! The tables: what bytes of a charset mean, and which bytes a character has.

use encoding_rs::{DecoderResult, EncoderResult, Encoding, SHIFT_JIS};

use super::Unconvertible;

/// How a charset is coded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Utf8,
    Ascii,
    /// ISO-8859-1: bytes are characters.
    Latin1,
    /// ISO-8859-9: Latin 1 but for six Turkish letters.
    Latin5,
    /// TIS-620, and ISO-8859-11 if the flag is set, which has C1 controls and the no-break space too.
    Thai {
        iso: bool,
    },
    Table(&'static Encoding),
}

/// Where Latin 5 differs from Latin 1.
const TURKISH: [(u8, char); 6] =
    [(0xd0, 'Ğ'), (0xdd, 'İ'), (0xde, 'Ş'), (0xf0, 'ğ'), (0xfd, 'ı'), (0xfe, 'ş')];

/// U+0E00 less the byte that would stand for it.
const THAI_OFFSET: u32 = 0x0e00 - 0xa0;

impl Coding {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Ascii => "US-ASCII",
            Self::Latin1 => "ISO-8859-1",
            Self::Latin5 => "ISO-8859-9",
            Self::Thai { iso: true } => "ISO-8859-11",
            Self::Thai { iso: false } => "TIS-620",
            Self::Table(encoding) => encoding.name(),
        }
    }

    /// What all of `bytes` mean.
    pub(super) fn decode(self, bytes: &[u8]) -> Result<String, Unconvertible> {
        if let Self::Utf8 = self {
            return utf8(bytes).map(str::to_owned);
        }
        if bytes.is_ascii() {
            return Ok(bytes.iter().copied().map(char::from).collect());
        }
        match self {
            Self::Table(encoding) => decode_table(encoding, bytes),
            _ => bytes.iter().map(|&byte| self.decode_byte(byte).ok_or(Unconvertible::Invalid)).collect(),
        }
    }

    /// The first character of `bytes`, and how many bytes it takes.
    pub(super) fn decode_first(self, bytes: &[u8]) -> Option<(usize, String)> {
        (1..=bytes.len().min(4)).find_map(|len| self.decode(&bytes[..len]).ok().map(|text| (len, text)))
    }

    /// Appends the bytes of a character that is not ASCII.
    pub(super) fn encode(self, char: char, out: &mut Vec<u8>) -> Result<(), Unconvertible> {
        let byte = match self {
            Self::Utf8 => {
                out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            Self::Table(encoding) => return encode_table(encoding, char, out),
            Self::Ascii => None,
            Self::Latin1 => u8::try_from(char).ok(),
            Self::Latin5 => match TURKISH.iter().find(|(_, turkish)| *turkish == char) {
                Some((byte, _)) => Some(*byte),
                None => u8::try_from(char).ok().filter(|byte| !is_turkish(*byte)),
            },
            Self::Thai { iso } => match u32::from(char) {
                code @ 0x80..=0xa0 if iso => u8::try_from(code).ok(),
                code @ 0x0e01..=0x0e5b => {
                    u8::try_from(code - THAI_OFFSET).ok().filter(|byte| thai(*byte).is_some())
                }
                _ => None,
            },
        };
        out.push(byte.ok_or(Unconvertible::Invalid)?);
        Ok(())
    }

    fn decode_byte(self, byte: u8) -> Option<char> {
        match self {
            _ if byte.is_ascii() => Some(byte.into()),
            Self::Latin1 => Some(byte.into()),
            Self::Latin5 => {
                let turkish = TURKISH.iter().find(|(known, _)| *known == byte);
                Some(turkish.map_or(byte.into(), |(_, char)| *char))
            }
            Self::Thai { iso: true } if byte <= 0xa0 => Some(byte.into()),
            Self::Thai { .. } => thai(byte),
            Self::Utf8 | Self::Ascii | Self::Table(_) => None,
        }
    }
}

/// The text that `bytes` are; the reasons are those of the C library, which waits for the rest of a
/// character after the bytes F5 to F7 too.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, Unconvertible> {
    str::from_utf8(bytes).map_err(|error| {
        let is_begun = match &bytes[error.valid_up_to()..] {
            [0xf5..=0xf7, rest @ ..] => rest.len() < 3 && rest.iter().all(|byte| byte & 0xc0 == 0x80),
            _ => error.error_len().is_none(),
        };
        if is_begun { Unconvertible::Incomplete } else { Unconvertible::Invalid }
    })
}

fn is_turkish(byte: u8) -> bool {
    TURKISH.iter().any(|(known, _)| *known == byte)
}

fn thai(byte: u8) -> Option<char> {
    let assigned = matches!(byte, 0xa1..=0xda | 0xdf..=0xfb);
    char::from_u32(u32::from(byte) + THAI_OFFSET).filter(|_| assigned)
}

/// The web fills the holes of these with C1 controls.
fn has_holes(encoding: &'static Encoding) -> bool {
    encoding.name().starts_with("windows-") || encoding == SHIFT_JIS
}

fn is_c1(char: char) -> bool {
    matches!(char, '\u{80}'..='\u{9f}')
}

fn decode_table(encoding: &'static Encoding, bytes: &[u8]) -> Result<String, Unconvertible> {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let capacity = decoder.max_utf8_buffer_length_without_replacement(bytes.len());
    let mut text = String::with_capacity(capacity.ok_or(Unconvertible::Invalid)?);
    let (result, read) = decoder.decode_to_string_without_replacement(bytes, &mut text, true);
    match result {
        DecoderResult::InputEmpty if has_holes(encoding) && text.contains(is_c1) => {
            Err(Unconvertible::Invalid)
        }
        DecoderResult::InputEmpty => Ok(text),
        // At the very end, what was begun may have gone on.
        DecoderResult::Malformed(begun, after) => {
            let bad = &bytes[read.saturating_sub(usize::from(begun + after))..];
            let goes_on = after == 0 && is_begun(encoding, bad);
            Err(if goes_on { Unconvertible::Incomplete } else { Unconvertible::Invalid })
        }
        DecoderResult::OutputFull => Err(Unconvertible::Invalid),
    }
}

/// Whether a decoder would wait for more after `bytes`.
fn is_begun(encoding: &'static Encoding, bytes: &[u8]) -> bool {
    let mut text = String::with_capacity(16);
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let (result, _) = decoder.decode_to_string_without_replacement(bytes, &mut text, false);
    result == DecoderResult::InputEmpty
}

fn encode_table(encoding: &'static Encoding, char: char, out: &mut Vec<u8>) -> Result<(), Unconvertible> {
    if has_holes(encoding) && is_c1(char) {
        return Err(Unconvertible::Invalid);
    }
    let mut bytes = [0; 8];
    let mut encoder = encoding.new_encoder();
    let text = char.encode_utf8(&mut [0; 4]).to_owned();
    let (result, _, written) = encoder.encode_from_utf8_without_replacement(&text, &mut bytes, true);
    if result != EncoderResult::InputEmpty {
        return Err(Unconvertible::Invalid);
    }
    out.extend_from_slice(&bytes[..written]);
    Ok(())
}
