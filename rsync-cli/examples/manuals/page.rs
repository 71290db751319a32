//! The man page rsync(1): a frame, and what the option table and the exit codes say.

use rsync_proto::exit::ExitCode;
use rsync_proto::options::{OptionDoc, older_spellings, option_docs};

const FRAME: &str = include_str!("rsync.1.in");

/// The page in the `man` macros of troff.
pub(crate) fn rsync() -> String {
    let older: Vec<String> = older_spellings().iter().map(|name| bold(&format!("--{name}"))).collect();
    FRAME
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@OPTIONS@\n", &option_docs().iter().map(option).collect::<String>())
        .replace("@OLDER@", &format!("{}.", older.join(", ")))
        .replace("@EXIT@\n", &exit_codes())
}

fn option(doc: &OptionDoc) -> String {
    let short = doc.short.map(|letter| format!("-{letter}"));
    let long = (!doc.long.is_empty()).then(|| format!("--{}", doc.long));
    let mut spelled: Vec<String> = [long, short].into_iter().flatten().map(|name| bold(&name)).collect();
    if let (Some(value), Some(first)) = (doc.value, spelled.first_mut()) {
        let value = format!("\\fI{}\\fR", escaped(value));
        first.push_str(&if doc.value_is_optional { format!("[={value}]") } else { format!("={value}") });
    }
    let mut text = format!(".TP\n{}\n{}\n", spelled.join(", "), sentences(doc.text));
    let names = |names: &[&str]| names.iter().map(|name| bold(&format!("--{name}"))).collect::<Vec<_>>();
    if !doc.aliases.is_empty() {
        text.push_str(&format!("Also {}.\n", names(&doc.aliases).join(", ")));
    }
    if !doc.negations.is_empty() {
        text.push_str(&format!("Turned off by {}.\n", names(&doc.negations).join(", ")));
    }
    if doc.ours {
        text.push_str("The C rsync does not have this option.\n");
    }
    text
}

fn exit_codes() -> String {
    let known = (0..=127).map(ExitCode::new).filter(|code| code.text() != "unexplained error");
    known
        .map(|code| {
            let text = if code.is_ok() { "success" } else { code.text() };
            format!(".TP\n.B {}\n{}\n", code.code(), escaped(text))
        })
        .collect()
}

fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", escaped(text))
}

/// Sentences on lines of their own, as troff likes them.
fn sentences(text: &str) -> String {
    escaped(text).replace(". ", ".\n")
}

/// Text without what troff would take for its own.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('~', "\\(ti");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}
