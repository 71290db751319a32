//! `%VAR%` in values (spec 09 §2).

use bstr::{BString, ByteSlice};

/// How much longer than its text a value may become, in bytes.
const GROWTH_LIMIT: usize = 2048;

/// A value grew too long.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Overflowed buf in expand_vars() trying to expand: {0}")]
pub struct ExpansionOverflow(BString);

/// Replaces every `%NAME%` whose name begins with an upper-case letter and that `lookup` knows.
///
/// # Errors
/// [`ExpansionOverflow`] when the result is more than 2048 bytes longer than `text`.
pub(crate) fn expand(
    text: &[u8],
    lookup: &dyn Fn(&str) -> Option<BString>,
) -> Result<BString, ExpansionOverflow> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let name = tail
            .first()
            .filter(|first| byte == b'%' && first.is_ascii_uppercase())
            .and_then(|_| tail.split_once_str("%"));
        match name.and_then(|(name, after)| Some((lookup(name.to_str().ok()?)?, after))) {
            Some((value, after)) => {
                out.extend_from_slice(&value);
                rest = after;
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
        if out.len() > text.len() + GROWTH_LIMIT {
            return Err(ExpansionOverflow(text.into()));
        }
    }
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<BString> {
        match name {
            "HOME" => Some("/home/%USER%".into()),
            "BIG" => Some(vec![b'x'; 3000].into()),
            _ => None,
        }
    }

    #[test]
    fn known_names_are_replaced_once() {
        for (text, expected) in [
            ("%HOME%/x", "/home/%USER%/x"),
            ("%% 100% %lower% %NO%HOME%", "%% 100% %lower% %NO/home/%USER%"),
            ("%HOME", "%HOME"),
        ] {
            assert_eq!(expand(text.as_bytes(), &lookup), Ok(expected.into()), "{text}");
        }
    }

    #[test]
    fn long_results_are_refused() {
        assert!(expand(b"%BIG%", &lookup).is_err());
    }
}
