//! `--usermap` and `--groupmap` (spec 04 §1.3).

use bstr::BString;

use super::ids::Owner;
use crate::exit::ExitCode;
use crate::filter::Wildcard;

/// The rules of one map, in the order given; the first that matches wins.
#[derive(Clone, Debug, Default)]
pub struct IdMap {
    rules: Vec<(From, u32)>,
}

#[derive(Clone, Debug)]
enum From {
    /// Ids from the first to the second, both included.
    Range(u32, u32),
    /// Names that match.
    Wild(Wildcard),
    /// Exactly this name.
    Name(Vec<u8>),
    /// Ids without a name.
    Nameless,
}

/// Why a map is refused, before the transfer (exit 1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdMapError {
    /// An item is not `FROM:TO`.
    #[error("No colon found in --{option}map: {item}")]
    NoColon {
        /// `user` or `group`.
        option: &'static str,
        /// The item.
        item: BString,
    },
    /// An item ends at its colon.
    #[error("No name found after colon --{option}map: {item}")]
    NoTarget {
        /// `user` or `group`.
        option: &'static str,
        /// The item.
        item: BString,
    },
    /// FROM starts like a number but is neither number nor range.
    #[error("Invalid number in --{option}map: {from}")]
    InvalidNumber {
        /// `user` or `group`.
        option: &'static str,
        /// Its FROM.
        from: BString,
    },
    /// A number has more than 32 bits.
    #[error("Invalid ID number: {digits}")]
    Overflow {
        /// The digits.
        digits: BString,
    },
}

impl IdMapError {
    /// The status rsync ends with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::SYNTAX
    }
}

impl IdMap {
    /// Parses `FROM:TO[,FROM:TO...]`. `resolve` finds the local id of a name; a rule whose name it
    /// does not know is dropped, and that name is among those answered beside the map: the C rsync
    /// says `Unknown --usermap name on receiver: NAME` and goes on.
    ///
    /// # Errors
    /// Those of [`IdMapError`], for the first bad item.
    pub fn parse(
        text: &[u8],
        owner: Owner,
        mut resolve: impl FnMut(&[u8]) -> Option<u32>,
    ) -> Result<(Self, Vec<BString>), IdMapError> {
        let option = match owner {
            Owner::User => "user",
            Owner::Group => "group",
        };
        let (mut map, mut unknown) = (Self::default(), Vec::new());
        for item in text.split(|&byte| byte == b',') {
            let Some(colon) = item.iter().position(|&byte| byte == b':') else {
                return Err(IdMapError::NoColon { option, item: item.into() });
            };
            let (from, to) = (&item[..colon], &item[colon + 1..]);
            if to.is_empty() {
                return Err(IdMapError::NoTarget { option, item: item.into() });
            }
            let from = parse_from(from, option)?;
            let target = if to.iter().all(u8::is_ascii_digit) { Some(number(to)?) } else { resolve(to) };
            match target {
                Some(id) => map.rules.push((from, id)),
                None => unknown.push(to.into()),
            }
        }
        Ok((map, unknown))
    }

    /// Whether no rule is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Where the first matching rule sends `id`, which the sender calls `name` (empty if nameless).
    #[must_use]
    pub fn target(&self, id: u32, name: &[u8]) -> Option<u32> {
        let rule = self.rules.iter().find(|(from, _)| match from {
            From::Range(low, high) => (low..=high).contains(&&id),
            From::Wild(pattern) => pattern.matches(name),
            From::Name(wanted) => wanted == name,
            From::Nameless => name.is_empty(),
        });
        rule.map(|(_, target)| *target)
    }
}

fn parse_from(from: &[u8], option: &'static str) -> Result<From, IdMapError> {
    if from.is_empty() {
        return Ok(From::Nameless);
    }
    if from[0].is_ascii_digit() {
        let (low, rest) = from.split_at(from.iter().take_while(|byte| byte.is_ascii_digit()).count());
        let low = number(low)?;
        return match rest {
            [] => Ok(From::Range(low, low)),
            [b'-', high @ ..] if !high.is_empty() && high.iter().all(u8::is_ascii_digit) => {
                Ok(From::Range(low, number(high)?))
            }
            _ => Err(IdMapError::InvalidNumber { option, from: from.into() }),
        };
    }
    if Wildcard::is_wild(from) {
        return Ok(From::Wild(Wildcard::compile(from)));
    }
    Ok(From::Name(from.to_vec()))
}

fn number(digits: &[u8]) -> Result<u32, IdMapError> {
    let overflow = || IdMapError::Overflow { digits: digits.into() };
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or_else(overflow)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(text: &str) -> Result<(IdMap, Vec<BString>), IdMapError> {
        IdMap::parse(text.as_bytes(), Owner::User, |name| (name == b"bin").then_some(2))
    }

    #[test]
    fn the_first_rule_that_matches_wins() {
        let (map, unknown) = users("7:70,10-20:100,da*:bin,www:33,:9,30-20:1,*:0,x:nosuch").expect("valid");
        let cases: [(u32, &str, u32); 7] = [
            (7, "da", 70),
            (20, "", 100),
            (3, "daemon", 2),
            (33, "www", 33),
            (4, "", 9),
            (25, "y", 0),
            (9, "z", 0),
        ];
        for (id, name, target) in cases {
            assert_eq!(map.target(id, name.as_bytes()), Some(target), "{id} {name}");
        }
        assert_eq!(unknown, [BString::from("nosuch")]);
    }

    #[test]
    fn a_star_also_matches_the_nameless() {
        let (map, _) = users("*:5").expect("valid");
        assert_eq!(map.target(77, b""), Some(5));
    }

    #[test]
    fn bad_maps_are_refused_in_the_words_of_the_c_rsync() {
        let cases = [
            ("foo", "No colon found in --usermap: foo"),
            ("foo:", "No name found after colon --usermap: foo:"),
            ("12x:0", "Invalid number in --usermap: 12x"),
            ("1-:3", "Invalid number in --usermap: 1-"),
            ("99999999999-1:1", "Invalid ID number: 99999999999"),
            ("a:99999999999", "Invalid ID number: 99999999999"),
        ];
        for (text, words) in cases {
            let error = users(text).expect_err(text);
            assert_eq!(error.to_string(), words);
            assert_eq!(error.exit_code(), ExitCode::SYNTAX);
        }
    }
}
