//! What charsets are called, by the C library and by people.

use encoding_rs::{
    BIG5, EUC_JP, EUC_KR, GB18030, GBK, IBM866, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5, ISO_8859_6,
    ISO_8859_7, ISO_8859_8, ISO_8859_10, ISO_8859_13, ISO_8859_14, ISO_8859_15, ISO_8859_16, KOI8_R, KOI8_U,
    MACINTOSH, SHIFT_JIS, WINDOWS_874, WINDOWS_1250, WINDOWS_1251, WINDOWS_1252, WINDOWS_1253, WINDOWS_1254,
    WINDOWS_1255, WINDOWS_1256, WINDOWS_1257, WINDOWS_1258,
};

use super::coding::Coding::{self, Ascii, Latin1, Latin5, Table, Thai, Utf8};

/// The charset of this name, whatever its case and punctuation.
pub(super) fn find(name: &[u8]) -> Option<Coding> {
    if name.contains(&b'/') {
        // What follows a slash would ask for transliteration or omission.
        return None;
    }
    let plain = name.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_uppercase);
    let plain: Vec<u8> = plain.collect();
    Some(match plain.as_slice() {
        b"UTF8" => Utf8,
        b"ASCII" | b"USASCII" | b"ANSIX341968" | b"ANSIX341986" | b"ISO646US" | b"CP367" | b"IBM367" => Ascii,
        b"ISO88591" | b"88591" | b"ISO885911987" | b"LATIN1" | b"L1" | b"CP819" | b"IBM819" => Latin1,
        b"ISO88592" | b"88592" | b"ISO885921987" | b"LATIN2" | b"L2" => Table(ISO_8859_2),
        b"ISO88593" | b"88593" | b"ISO885931988" | b"LATIN3" | b"L3" => Table(ISO_8859_3),
        b"ISO88594" | b"88594" | b"ISO885941988" | b"LATIN4" | b"L4" => Table(ISO_8859_4),
        b"ISO88595" | b"88595" | b"ISO885951988" | b"CYRILLIC" => Table(ISO_8859_5),
        b"ISO88596" | b"88596" | b"ISO885961987" | b"ARABIC" => Table(ISO_8859_6),
        b"ISO88597" | b"88597" | b"ISO885971987" | b"ISO885972003" | b"GREEK" => Table(ISO_8859_7),
        b"ISO88598" | b"88598" | b"ISO885981988" | b"HEBREW" => Table(ISO_8859_8),
        b"ISO88599" | b"88599" | b"ISO885991989" | b"LATIN5" | b"L5" => Latin5,
        b"ISO885910" | b"ISO8859101992" | b"LATIN6" | b"L6" => Table(ISO_8859_10),
        b"ISO885911" => Thai { iso: true },
        b"TIS620" | b"ISOIR166" => Thai { iso: false },
        b"ISO885913" | b"LATIN7" | b"L7" => Table(ISO_8859_13),
        b"ISO885914" | b"ISO8859141998" | b"LATIN8" | b"L8" => Table(ISO_8859_14),
        b"ISO885915" | b"ISO8859151998" | b"LATIN9" => Table(ISO_8859_15),
        b"ISO885916" | b"ISO8859162001" | b"LATIN10" | b"L10" => Table(ISO_8859_16),
        b"CP1250" | b"WINDOWS1250" | b"MSEE" => Table(WINDOWS_1250),
        b"CP1251" | b"WINDOWS1251" | b"MSCYRL" => Table(WINDOWS_1251),
        b"CP1252" | b"WINDOWS1252" | b"MSANSI" => Table(WINDOWS_1252),
        b"CP1253" | b"WINDOWS1253" | b"MSGREEK" => Table(WINDOWS_1253),
        b"CP1254" | b"WINDOWS1254" | b"MSTURK" => Table(WINDOWS_1254),
        b"CP1255" | b"WINDOWS1255" | b"MSHEBR" => Table(WINDOWS_1255),
        b"CP1256" | b"WINDOWS1256" | b"MSARAB" => Table(WINDOWS_1256),
        b"CP1257" | b"WINDOWS1257" | b"WINBALTRIM" => Table(WINDOWS_1257),
        b"CP1258" | b"WINDOWS1258" => Table(WINDOWS_1258),
        b"CP874" | b"WINDOWS874" => Table(WINDOWS_874),
        b"CP866" | b"IBM866" | b"866" => Table(IBM866),
        b"KOI8R" => Table(KOI8_R),
        b"KOI8U" => Table(KOI8_U),
        b"MACINTOSH" | b"MAC" => Table(MACINTOSH),
        b"SJIS" | b"SHIFTJIS" | b"MSKANJI" | b"CP932" | b"MS932" | b"WINDOWS31J" => Table(SHIFT_JIS),
        b"EUCJP" | b"UJIS" => Table(EUC_JP),
        b"EUCKR" | b"UHC" | b"CP949" | b"MSCP949" => Table(EUC_KR),
        b"BIG5" | b"BIGFIVE" | b"CNBIG5" | b"CP950" | b"BIG5HKSCS" => Table(BIG5),
        b"GBK" | b"CP936" | b"MS936" | b"WINDOWS936" | b"GB2312" | b"EUCCN" => Table(GBK),
        b"GB18030" => Table(GB18030),
        _ => return None,
    })
}
