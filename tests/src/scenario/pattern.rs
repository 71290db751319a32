//! Lines with placeholders: `{N}`, `{X}`, `{RATE}` and the others of spec 07 §22.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// What the placeholders of a run stand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) cwd: &'a OsStr,
    pub(super) shell: &'a OsStr,
}

enum Piece<'a> {
    Literal(&'a [u8]),
    /// One or more bytes of a set.
    Run(fn(u8) -> bool),
}

/// Whether `line` is what `pattern` says.
pub(super) fn matches(pattern: &[u8], line: &[u8], facts: Facts<'_>) -> bool {
    matches_pieces(&pieces(pattern, facts), line)
}

fn matches_pieces(pieces: &[Piece<'_>], line: &[u8]) -> bool {
    match pieces.split_first() {
        None => line.is_empty(),
        Some((Piece::Literal(text), rest)) => {
            line.strip_prefix(*text).is_some_and(|line| matches_pieces(rest, line))
        }
        Some((Piece::Run(belongs), rest)) => {
            let longest = line.iter().take_while(|&&byte| belongs(byte)).count();
            (1..=longest).rev().any(|len| matches_pieces(rest, &line[len..]))
        }
    }
}

fn pieces<'a>(pattern: &'a [u8], facts: Facts<'a>) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    'pattern: while !rest.is_empty() {
        for (name, make) in PLACEHOLDERS {
            if let Some(after) = rest.strip_prefix(name.as_bytes()) {
                make(facts, &mut pieces);
                rest = after;
                continue 'pattern;
            }
        }
        let len = 1 + rest[1..].iter().take_while(|&&byte| byte != b'{').count();
        pieces.push(Piece::Literal(&rest[..len]));
        rest = &rest[len..];
    }
    pieces
}

type Make = for<'a> fn(Facts<'a>, &mut Vec<Piece<'a>>);

const PLACEHOLDERS: &[(&str, Make)] = &[
    ("{N}", |_, pieces| pieces.push(Piece::Run(is_count))),
    ("{X}", |_, pieces| pieces.push(Piece::Run(is_count))),
    ("{RATE}", |_, pieces| {
        pieces.push(Piece::Run(|byte| byte == b' ' || byte == b'.' || byte.is_ascii_digit()));
        pieces.push(Piece::Run(|byte| matches!(byte, b'k' | b'M' | b'G')));
        pieces.push(Piece::Literal(b"B/s"));
        pieces.push(Piece::Run(|byte| byte == b' ' || byte == b':' || byte == b'?' || byte.is_ascii_digit()));
    }),
    ("{TIME}", |_, pieces| pieces.push(Piece::Run(|byte| b" /:".contains(&byte) || byte.is_ascii_digit()))),
    ("{PID}", |_, pieces| pieces.push(Piece::Run(|byte| byte.is_ascii_digit()))),
    ("{RAND6}", |_, pieces| pieces.push(Piece::Run(|byte| byte.is_ascii_alphanumeric()))),
    ("{DIRSIZE}", |_, pieces| pieces.push(Piece::Run(|byte| byte == b' ' || is_count(byte)))),
    ("{FILE}", |_, pieces| pieces.push(Piece::Run(|byte| byte != b'(' && byte != b' '))),
    ("{LINE}", |_, pieces| pieces.push(Piece::Run(|byte| byte.is_ascii_digit()))),
    ("{VER}", |_, pieces| pieces.push(Piece::Run(|byte| byte != b']'))),
    ("{RSH}", |facts, pieces| pieces.push(Piece::Literal(facts.shell.as_bytes()))),
    ("{CWD}", |facts, pieces| pieces.push(Piece::Literal(facts.cwd.as_bytes()))),
    ("{CWD-no-leading-slash}", |facts, pieces| pieces.push(Piece::Literal(&facts.cwd.as_bytes()[1..]))),
];

fn is_count(byte: u8) -> bool {
    matches!(byte, b',' | b'.' | b'K' | b'M' | b'G' | b'T' | b'P') || byte.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, line: &str) -> bool {
        let facts = Facts { cwd: OsStr::new("/w"), shell: OsStr::new("/sh") };
        matches(pattern.as_bytes(), line.as_bytes(), facts)
    }

    #[test]
    fn placeholders_stand_for_what_varies() {
        assert!(check("sent {N} bytes  speedup is {X}", "sent 1,234 bytes  speedup is 0.05"));
        assert!(check("\r  2 100% {RATE}  \r  2", "\r  2 100%    0.00kB/s    0:00:00  \r  2"));
        assert!(check("{TIME} [{PID}] {CWD}/a", "2026/11/21 10:00:00 [42] /w/a"));
        assert!(check("at {FILE}({LINE}) [sender={VER}]", "at main.rs(7) [sender=0.1.0]"));
        assert!(check("{CWD-no-leading-slash}", "w"));
        assert!(!check("{N} bytes", " bytes"));
        assert!(!check("a{b", "a"));
        assert!(check("a{b", "a{b"));
    }
}
