//! The option table as a manual reads it: man page and completions are generated from here.

use super::manual_texts::TEXTS;
use super::rows::ROWS;
use super::table::{Apply, Row};

/// One option with all its spellings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionDoc {
    /// Long name without dashes; empty for `-D`, `-F` and `-P`.
    pub long: &'static str,
    /// Letter, if it has one.
    pub short: Option<char>,
    /// What its value is called, if it takes one.
    pub value: Option<&'static str>,
    /// Whether the value may be left out, and must follow a `=`.
    pub value_is_optional: bool,
    /// A phrase for the help and for completions.
    pub phrase: &'static str,
    /// Some sentences for the manual.
    pub text: &'static str,
    /// Other long names with the same effect.
    pub aliases: Vec<&'static str>,
    /// Long names that turn it off again.
    pub negations: Vec<&'static str>,
    /// The C rsync does not have it.
    pub ours: bool,
}

/// Every option that is offered to users, in the order of the help.
#[must_use]
pub fn option_docs() -> Vec<OptionDoc> {
    ROWS.iter().filter(|row| is_main(row)).map(describe).collect()
}

/// Long names that are accepted for the sake of old scripts and are documented nowhere else.
#[must_use]
pub fn older_spellings() -> Vec<&'static str> {
    let docs = option_docs();
    let documented = |row: &Row| {
        docs.iter().any(|doc| {
            doc.long == row.name || doc.aliases.contains(&row.name) || doc.negations.contains(&row.name)
        })
    };
    let internal = |row: &Row| matches!(row.apply, Apply::Server | Apply::Sender | Apply::DaemonMode(_));
    let left = ROWS.iter().filter(|row| !row.name.is_empty() && !internal(row) && !documented(row));
    left.map(|row| row.name).collect()
}

fn is_main(row: &Row) -> bool {
    !row.label.is_empty() && row.same_as.is_empty()
}

fn describe(row: &Row) -> OptionDoc {
    let key = key(row);
    let text = TEXTS.iter().find(|(name, _)| *name == key).map_or(row.help, |(_, text)| text);
    let names =
        |wanted: &dyn Fn(&Row) -> bool| ROWS.iter().filter(|row| wanted(row)).map(|row| row.name).collect();
    let is_alias_of = |row: &Row, name: &str| !name.is_empty() && row.same_as == name;
    let opposite = match (row.name, row.short) {
        ("", short) => format!("no-{}", char::from(short)),
        (name, _) => name.strip_prefix("no-").map_or_else(|| format!("no-{name}"), str::to_owned),
    };
    let negates = |other: &Row| {
        let main = ROWS.iter().find(|main| main.name == opposite);
        main.is_some_and(|main| !is_main(main) && (other.name == opposite || is_alias_of(other, &opposite)))
    };
    let (value, value_is_optional) = match row.apply {
        Apply::SwitchOr(..) => {
            (row.label.split_once("[=").and_then(|(_, rest)| rest.split(']').next()), true)
        }
        _ => (row.label.split_once('=').and_then(|(_, rest)| rest.split(", ").next()), false),
    };
    OptionDoc {
        long: row.name,
        short: (row.short != 0).then(|| char::from(row.short)),
        value,
        value_is_optional,
        phrase: row.help,
        text,
        aliases: names(&|other| is_alias_of(other, row.name)),
        negations: names(&negates),
        ours: row.ours,
    }
}

/// How the texts name a row: by its long name, or by its letter.
fn key(row: &Row) -> String {
    if row.name.is_empty() { format!("-{}", char::from(row.short)) } else { row.name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_has_its_text_in_the_order_of_the_table() {
        let keys: Vec<String> = ROWS.iter().filter(|row| is_main(row)).map(key).collect();
        let texts: Vec<&str> = TEXTS.iter().map(|(name, _)| *name).collect();
        assert_eq!(texts, keys);
        for (name, text) in TEXTS {
            assert!(text.ends_with('.') && text.len() > 20, "{name}: {text}");
        }
    }

    #[test]
    fn every_spelling_is_documented_or_known_to_be_old() {
        let old = [
            "msgs2stderr",
            "no-msgs2stderr",
            "remove-sent-files",
            "old-compress",
            "new-compress",
            "qsort",
            "use-qsort",
        ];
        assert_eq!(older_spellings(), old);
    }

    #[test]
    fn a_value_is_described_where_one_is_taken() {
        for (doc, row) in option_docs().iter().zip(ROWS.iter().filter(|row| is_main(row))) {
            assert_eq!(doc.value.is_some(), row.takes_value() || doc.value_is_optional, "{doc:?}");
        }
    }

    #[test]
    fn spellings_are_gathered() {
        let docs = option_docs();
        let doc = |name: &str| docs.iter().find(|doc| doc.long == name).expect("documented");
        assert_eq!(doc("secluded-args").aliases, ["protect-args"]);
        assert_eq!(doc("secluded-args").negations, ["no-secluded-args", "no-protect-args", "no-s"]);
        assert_eq!(doc("no-motd").negations, ["motd"]);
        assert_eq!(doc("inc-recursive").negations, [""; 0]);
        assert_eq!((doc("temp-dir").short, doc("temp-dir").value), (Some('T'), Some("DIR")));
        assert_eq!((doc("progress").value, doc("progress").value_is_optional), (Some("bar"), true));
        let devices = docs.iter().find(|doc| doc.short == Some('D')).expect("documented");
        assert_eq!(devices.negations, ["no-D"]);
        assert!(doc("json").ours && !doc("progress").ours);
    }
}
