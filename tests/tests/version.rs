//! What `rsync` says about itself, beside the C rsync: scripts read these texts.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::process::Command;

use rsync_e2e::{Outcome, Side, run};
use serde_json::Value;

fn ask(side: Side, word: &str) -> Outcome {
    let outcome = run(Command::new(side.rsync()).arg(word));
    outcome.expect_ok();
    outcome
}

/// Names and kinds of values, without the values.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
        Value::Array(_) => "list".into(),
        Value::String(_) => "text".into(),
        Value::Bool(_) => "flag".into(),
        Value::Number(number) => number.clone().into(),
        Value::Null => Value::Null,
    }
}

#[test]
fn the_version_in_json_has_the_fields_of_the_c_rsync() {
    let [c, ours] =
        [Side::C, Side::Ours].map(|side| serde_json::from_slice::<Value>(&ask(side, "-VV").stdout).unwrap());
    assert_eq!(shape(&ours), shape(&c));
    for field in ["program", "version", "protocol", "daemon_auth_list"] {
        assert_eq!(ours[field], c[field], "{field}");
    }
}

#[test]
fn the_version_text_has_the_lines_that_scripts_match() {
    let [c, ours] = [Side::C, Side::Ours].map(|side| ask(side, "--version").stdout.to_string());
    assert_eq!(ours.lines().next(), c.lines().next());
    let titles = |text: &str| {
        text.lines()
            .filter(|line| line.ends_with(':') && !line.starts_with(' '))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(titles(&ours), titles(&c));
}

#[test]
fn the_help_lists_the_options_of_the_c_rsync_and_marks_our_own() {
    let names = |side: Side| {
        let text = ask(side, "--help").stdout.to_string();
        let lines = text.lines().filter(|line| line.starts_with('-'));
        lines
            .map(|line| {
                (line.split("  ").next().unwrap().split(' ').next().unwrap().to_owned(), line.to_owned())
            })
            .collect::<Vec<_>>()
    };
    let (c, ours) = (names(Side::C), names(Side::Ours));
    let plain = |name: &str| name.replace("[=bar]", "");
    for (name, _) in &c {
        assert!(ours.iter().any(|(other, _)| plain(other) == *name), "{name} is missing");
    }
    for (name, line) in &ours {
        assert!(c.iter().any(|(other, _)| *other == plain(name)) || line.contains("ours"), "{line}");
    }
}
