//! `refuse options` of a daemon module (spec 09 §11, 08 §11).

use super::error::OptionError;
use super::rows::ROWS;
use super::table::{Refusal, Row, find_long};

/// Which options a module refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusals {
    refused: Vec<bool>,
    unmatched: Vec<String>,
}

impl Refusals {
    /// Reads the terms of `refuse options`; `has_charset` says whether the module converts names.
    #[must_use]
    pub fn new(terms: &str, has_charset: bool) -> Self {
        let mut refusals = Self {
            refused: ROWS.iter().map(|row| row.refusal == Refusal::Default).collect(),
            unmatched: Vec::new(),
        };
        for term in terms.split_ascii_whitespace() {
            let (pattern, refuse) = term.strip_prefix('!').map_or((term, true), |rest| (rest, false));
            if !refusals.apply(pattern, refuse) {
                refusals.unmatched.push(pattern.to_owned());
            }
        }
        for (index, row) in ROWS.iter().enumerate() {
            if row.refusal == Refusal::Always || (row.name == "iconv" && !has_charset) {
                refusals.refused[index] = true;
            }
        }
        refusals
    }

    /// Terms that match no option, for the log.
    #[must_use]
    pub fn unmatched(&self) -> &[String] {
        &self.unmatched
    }

    /// Whether the row at this index of the table is refused.
    pub(super) fn refuses(&self, index: usize) -> bool {
        self.refused[index]
    }

    /// The error for `name` (long, without dashes) if it is refused.
    pub(super) fn check(&self, name: &str) -> Result<(), OptionError> {
        match find_long(name.as_bytes()) {
            Some(index) if self.refused[index] => Err(OptionError::syntax(format!(
                "The server is configured to refuse {}",
                ROWS[index].display()
            ))),
            _ => Ok(()),
        }
    }

    pub(super) fn refuses_name(&self, name: &str) -> bool {
        self.check(name).is_err()
    }

    fn apply(&mut self, pattern: &str, refuse: bool) -> bool {
        let pattern = if matches!(pattern, "a" | "archive") { "[ardlptgoD]" } else { pattern };
        if pattern.contains(['*', '?', '[']) {
            return self.apply_wildcard(pattern, refuse);
        }
        let Some(index) = ROWS.iter().position(|row| is_named(row.name, row.short, pattern)) else {
            return false;
        };
        let main = if ROWS[index].same_as.is_empty() { ROWS[index].name } else { ROWS[index].same_as };
        for (position, row) in ROWS.iter().enumerate() {
            let same = !main.is_empty() && (row.name == main || row.same_as == main);
            if position == index || same {
                self.refused[position] = refuse;
            }
        }
        true
    }

    fn apply_wildcard(&mut self, pattern: &str, refuse: bool) -> bool {
        let mut found = false;
        let reached = |row: &Row| matches!(row.refusal, Refusal::Wild | Refusal::Always);
        for (index, row) in ROWS.iter().enumerate().filter(|(_, row)| reached(row)) {
            let letter = [row.short];
            let hit = (!row.name.is_empty() && matches(pattern.as_bytes(), row.name.as_bytes()))
                || (row.short != 0 && matches(pattern.as_bytes(), &letter));
            if hit {
                self.refused[index] = refuse;
                found = true;
            }
        }
        found
    }
}

/// Whether a term without wildcards means the row.
fn is_named(name: &str, short: u8, term: &str) -> bool {
    (!name.is_empty() && name == term) || (short != 0 && term.as_bytes() == [short])
}

/// Matches `*`, `?` and `[...]` against a name.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skip| matches(rest, &text[skip..])),
        Some((b'?', rest)) => text.split_first().is_some_and(|(_, tail)| matches(rest, tail)),
        Some((b'[', rest)) => {
            let Some(end) = rest.iter().skip(1).position(|&byte| byte == b']').map(|at| at + 1) else {
                return false;
            };
            let Some((&byte, tail)) = text.split_first() else { return false };
            in_class(&rest[..end], byte) && matches(&rest[end + 1..], tail)
        }
        Some((b'\\', rest)) if !rest.is_empty() => {
            text.first() == rest.first() && matches(&rest[1..], &text[1..])
        }
        Some((byte, rest)) => text.first() == Some(byte) && matches(rest, &text[1..]),
    }
}

fn in_class(class: &[u8], byte: u8) -> bool {
    let (class, negated) = match class {
        [b'!' | b'^', rest @ ..] => (rest, true),
        class => (class, false),
    };
    let mut found = false;
    let mut rest = class;
    while let Some((&low, tail)) = rest.split_first() {
        match tail {
            [b'-', high, tail @ ..] => {
                found |= (low..=*high).contains(&byte);
                rest = tail;
            }
            tail => {
                found |= low == byte;
                rest = tail;
            }
        }
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use bstr::BString;

    use super::*;
    use crate::options::{Environment, parse_daemon_request};

    fn outcome(terms: &str, words: &str) -> String {
        let refusals = Refusals::new(terms, false);
        let words: Vec<BString> = words.split(' ').map(BString::from).collect();
        match parse_daemon_request(&words, &Environment::default(), &refusals) {
            Ok(_) => "ok".to_owned(),
            Err(rejected) => rejected.error.to_string().replace("The server is configured to refuse ", ""),
        }
    }

    #[test]
    fn terms_refuse_what_the_specification_says() {
        for (terms, words, expected) in [
            ("c delete", "--server --sender -rce.iLsf . m/", "--checksum (-c)"),
            ("delete", "--server -re.iLsf --delete . m/", "--delete"),
            ("delete", "--server -re.iLsf --delete-after . m/", "--delete"),
            ("delete", "--server -re.iLsf --delete-missing-args . m/", "--delete"),
            ("delete", "--server --sender -re.iLsf --remove-source-files . m/", "--delete"),
            ("delete-*", "--server --sender -re.iLsf --remove-source-files . m/", "ok"),
            ("delete-*", "--server -re.iLsf --delete . m/", "--delete-before"),
            ("delete-before", "--server -re.iLsf --delete . m/", "ok"),
            ("del", "--server -re.iLsf --delete-during . m/", "--delete-during"),
            ("compress", "--server -rze.iLsf . m/", "--compress (-z)"),
            ("compress", "--server -re.iLsf --new-compress . m/", "--compress (-z)"),
            ("z", "--server -re.iLsf --compress-level=3 . m/", "--compress (-z)"),
            ("inplace", "--server -re.iLsf --append . m/", "--inplace"),
            ("partial", "--server -re.iLsf --inplace . m/", "--partial"),
            ("partial", "--server -re.iLsf --partial-dir . . m/", "--partial"),
            ("partial", "--server -re.iLsf --partial-dir .p . m/", "ok"),
            ("", "--server -re.iLsf --write-devices . m/", "--write-devices"),
            ("!write*", "--server -re.iLsf --write-devices . m/", "--write-devices"),
            ("!write-devices", "--server -re.iLsf --write-devices . m/", "ok"),
            ("*", "--server -ne.iLsf . m/", "ok"),
            ("dry-run", "--server -ne.iLsf . m/", "--dry-run (-n)"),
            ("*", "--server -re.iLsf . m/", "--recursive (-r)"),
            ("a", "--server -te.iLsf . m/", "--times (-t)"),
            ("archive*", "--server -te.iLsf . m/", "ok"),
            ("append", "--server -re.iLsf --append-verify . m/", "ok"),
            ("D", "--server -De.iLsf . m/", "-D"),
            ("", "--server -re.iLsf --iconv=utf8 . m/", "--iconv"),
            ("!log-file !insecure-links", "--server -re.iLsf --log-file=x . m/", "--log-file"),
            ("no-iconv", "--server -re.iLsf . m/", "--no-iconv"),
            (
                "ignore-missing-args",
                "--server --sender -re.iLsf --ignore-missing-args . m/",
                "--ignore-missing-args",
            ),
        ] {
            assert_eq!(outcome(terms, words), expected, "refuse options = {terms}, {words}");
        }
    }

    #[test]
    fn a_refusal_keeps_what_was_read_before_it() {
        let words: Vec<BString> =
            ["--server", "--sender", "-logDtprze.iLsfxCIvu", ".", "m/"].map(BString::from).into();
        let rejected =
            parse_daemon_request(&words, &Environment::default(), &Refusals::new("compress", false))
                .expect_err("z");
        assert!(rejected.so_far.sender && rejected.so_far.perms);
        assert_eq!(rejected.so_far.client_capabilities, None);
    }

    #[test]
    fn terms_without_an_option_are_reported() {
        assert_eq!(Refusals::new("r,c delete x*y log*", true).unmatched(), ["r,c", "x*y"]);
    }
}
