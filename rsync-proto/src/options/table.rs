//! What a row of the option table says; the rows themselves are in `rows.rs` (spec 08, `options.tsv`).

use bstr::BString;

use super::Environment;
use super::error::Halt;
use super::rows::ROWS;
use super::scan::Scan;

/// What an option does to the variables of a scan.
pub(super) enum Apply {
    /// Assigns a flag.
    Switch(fn(&mut Scan) -> &mut bool, bool),
    /// Assigns a flag; with a value (`--name=VALUE`) something that the C rsync does not know. Answers
    /// whether it knows the value.
    SwitchOr(fn(&mut Scan), fn(&mut Scan, &[u8]) -> bool),
    /// Adds one.
    Count(fn(&mut Scan) -> &mut u32),
    /// Assigns a number.
    Number(fn(&mut Scan) -> &mut u32, u32),
    /// Anything without a value that cannot fail.
    Set(fn(&mut Scan)),
    /// Anything without a value.
    Act(fn(&mut Scan) -> Result<(), Halt>),
    /// Takes an integer.
    Int(fn(&mut Scan, i32)),
    /// Keeps a text.
    Text(fn(&mut Scan) -> &mut Option<BString>),
    /// Takes a text.
    Take(fn(&mut Scan, &[u8]) -> Result<(), Halt>),
    /// Takes a text and looks at the clock.
    TakeWith(fn(&mut Scan, &[u8], &Environment) -> Result<(), Halt>),
    /// `--server`: the scan starts again.
    Server,
    /// `--sender`.
    Sender,
    /// Belongs to the daemon's command line; the flag says whether it takes a value.
    DaemonMode(bool),
}

/// How `refuse options` of a daemon reaches a row (spec 09 §11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Wildcards and exact terms.
    Wild,
    /// Exact terms only.
    Exact,
    /// Refused unless un-refused by its exact name.
    Default,
    /// Refused whatever the terms say.
    Always,
    /// Not a matter of refusal.
    Never,
}

/// One spelling of an option.
pub(super) struct Row {
    /// Long name without dashes; empty for `-D`, `-F`, `-P`.
    pub(super) name: &'static str,
    /// Letter, or 0.
    pub(super) short: u8,
    pub(super) apply: Apply,
    /// Long name of the row with the same effect, for another spelling.
    pub(super) same_as: &'static str,
    pub(super) refusal: Refusal,
    /// First column of the help, if it is listed there.
    pub(super) label: &'static str,
    /// Second column of the help.
    pub(super) help: &'static str,
    /// The C rsync does not have it. Such an option concerns this side alone and is never sent.
    pub(super) ours: bool,
}

impl Row {
    pub(super) const fn new(name: &'static str, short: u8, apply: Apply) -> Self {
        Self { name, short, apply, same_as: "", refusal: Refusal::Wild, label: "", help: "", ours: false }
    }

    pub(super) const fn same_as(mut self, name: &'static str) -> Self {
        self.same_as = name;
        self
    }

    pub(super) const fn refused(mut self, refusal: Refusal) -> Self {
        self.refusal = refusal;
        self
    }

    pub(super) const fn help(mut self, label: &'static str, help: &'static str) -> Self {
        self.label = label;
        self.help = help;
        self
    }

    pub(super) const fn ours(mut self) -> Self {
        self.ours = true;
        self.refusal = Refusal::Always;
        self
    }

    /// Whether the option takes a value.
    pub(super) fn takes_value(&self) -> bool {
        matches!(
            self.apply,
            Apply::Int(_) | Apply::Text(_) | Apply::Take(_) | Apply::TakeWith(..) | Apply::DaemonMode(true)
        )
    }

    /// `--name (-x)`, `--name` or `-x`.
    pub(super) fn display(&self) -> String {
        match (self.name, self.short) {
            ("", short) => format!("-{}", char::from(short)),
            (name, 0) => format!("--{name}"),
            (name, short) => format!("--{name} (-{})", char::from(short)),
        }
    }
}

/// The row of a long name (without dashes).
pub(super) fn find_long(name: &[u8]) -> Option<usize> {
    ROWS.iter().position(|row| !row.name.is_empty() && row.name.as_bytes() == name)
}

/// The row of a letter.
pub(super) fn find_short(letter: u8) -> Option<usize> {
    ROWS.iter().position(|row| row.short == letter && letter != 0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_table_has_exactly_the_rows_of_the_specification() {
        let tsv = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/spec/data/options.tsv"));
        let mut expected = BTreeMap::new();
        let mut daemon_rows = 0;
        for line in tsv.lines().skip(1) {
            let columns: Vec<&str> = line.split('\t').collect();
            if columns[3] == "daemon-table" {
                daemon_rows += 1;
                continue;
            }
            let refuse = match columns[11] {
                "w" => Refusal::Wild,
                "x" => Refusal::Exact,
                "R" => Refusal::Default,
                "A" => Refusal::Always,
                "-" => Refusal::Never,
                other => panic!("refuse column {other:?}"),
            };
            let (name, short) = match columns[0].strip_prefix("--") {
                Some(name) => (name, columns[1].as_bytes().get(1).copied().unwrap_or(0)),
                None => ("", columns[0].as_bytes()[1]),
            };
            expected.insert((name, short), (columns[4] != "none", refuse));
        }
        assert_eq!((expected.len(), daemon_rows), (258, 20));
        let rows = || ROWS.iter().filter(|row| !row.ours);
        let mut actual: BTreeMap<_, _> =
            rows().map(|row| ((row.name, row.short), (row.takes_value(), row.refusal))).collect();
        assert_eq!(actual.len(), rows().count(), "a spelling occurs twice");
        assert!(
            actual.remove(&("use-qsort", 0)).is_some(),
            "the name 3.5.0 sends is accepted too (spec 08 §17)"
        );
        for (key, value) in &expected {
            assert_eq!(actual.get(key), Some(value), "{key:?}");
        }
        assert_eq!(actual.len(), expected.len());
    }

    #[test]
    fn an_option_of_ours_hides_none_of_the_c_rsync() {
        for (index, row) in ROWS.iter().enumerate().filter(|(_, row)| row.ours) {
            assert_eq!((find_long(row.name.as_bytes()), row.short), (Some(index), 0), "{}", row.name);
        }
    }

    #[test]
    fn other_spellings_name_an_existing_row() {
        for row in ROWS.iter().filter(|row| !row.same_as.is_empty()) {
            let main = find_long(row.same_as.as_bytes()).map(|index| &ROWS[index]);
            assert!(main.is_some_and(|main| main.same_as.is_empty()), "{}", row.name);
        }
    }
}
