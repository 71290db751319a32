//! Completions for shells, made by clap from the option table. The command itself parses its line without
//! clap, which could not do it as the C rsync does.

use clap::{Arg, ArgAction, Command, ValueHint};
use clap_complete::{Generator, Shell, generate};
use rsync_proto::options::{OptionDoc, option_docs};

/// For bash.
pub(crate) fn bash() -> String {
    render(Shell::Bash)
}

/// For zsh.
pub(crate) fn zsh() -> String {
    render(Shell::Zsh)
}

/// For fish.
pub(crate) fn fish() -> String {
    render(Shell::Fish)
}

fn render(shell: impl Generator) -> String {
    let mut text = Vec::new();
    generate(shell, &mut command(), "rsync", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn command() -> Command {
    let options = option_docs();
    Command::new("rsync")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(options.iter().map(option))
        .args(options.iter().flat_map(negations))
        .arg(Arg::new("files").num_args(0..).value_hint(ValueHint::AnyPath))
}

fn option(doc: &OptionDoc) -> Arg {
    let id = if doc.long.is_empty() { doc.phrase } else { doc.long };
    let mut arg = Arg::new(id).help(doc.phrase).visible_aliases(doc.aliases.clone());
    if !doc.long.is_empty() {
        arg = arg.long(doc.long);
    }
    if let Some(letter) = doc.short {
        arg = arg.short(letter);
    }
    match doc.value {
        None => arg.action(ArgAction::Count),
        Some(value) if doc.value_is_optional => {
            arg.action(ArgAction::Append).num_args(0..=1).require_equals(true).value_parser([value])
        }
        Some(value) => {
            // A colon would end the name of a value for zsh.
            let name = value.split([':', '[']).next().unwrap_or(value);
            arg.action(ArgAction::Append).value_name(name).value_hint(hint(value))
        }
    }
}

fn negations(doc: &OptionDoc) -> Vec<Arg> {
    let phrase = format!("turn --{} off", doc.long);
    let negation =
        |name: &&'static str| Arg::new(*name).long(*name).action(ArgAction::Count).help(phrase.clone());
    // The short forms are for typing, not for choosing from.
    doc.negations.iter().filter(|name| name.len() > 4).map(negation).collect()
}

fn hint(value: &str) -> ValueHint {
    match value {
        "FILE" => ValueHint::FilePath,
        "DIR" => ValueHint::DirPath,
        "COMMAND" => ValueHint::CommandString,
        "PROGRAM" => ValueHint::CommandName,
        "ADDRESS" => ValueHint::Hostname,
        _ => ValueHint::Other,
    }
}
