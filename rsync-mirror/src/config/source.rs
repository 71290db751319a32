//! Files of a configuration as one text with places, and everything that is wrong with them.
//!
//! Tables of several files are merged before they are read, so a span counts in all texts one after the
//! other, and [`Sources`] knows which file and line that is.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

/// A table whose spans count in all sources.
pub(crate) type Table<'a> = DeTable<'a>;
/// A value of one.
pub(crate) type Value<'a> = Spanned<DeValue<'a>>;

/// Something wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1; 0 if it is the file as a whole.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// What is wrong and what to do, as a sentence.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path.display(), self.text),
            line => write!(f, "{}:{line}:{}: {}", self.path.display(), self.column, self.text),
        }
    }
}

impl Finding {
    /// Something wrong with a file as a whole.
    pub(crate) fn of_file(path: &Path, text: String) -> Self {
        Self { path: path.to_owned(), line: 0, column: 0, text }
    }
}

/// The text of a file.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    text: String,
    base: usize,
}

impl Source {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// The texts of files, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Texts(Vec<Source>);

impl Texts {
    pub(crate) fn add(&mut self, path: &Path, text: String) {
        let base = self.0.last().map_or(0, |last| last.base + last.text.len() + 1);
        self.0.push(Source { path: path.to_owned(), text, base });
    }

    pub(crate) fn files(&self) -> &[Source] {
        &self.0
    }
}

/// Everything that was found in some files.
#[derive(Debug)]
pub(crate) struct Findings<'a> {
    files: &'a [Source],
    found: BTreeSet<Finding>,
}

impl<'a> Findings<'a> {
    pub(crate) fn new(texts: &'a Texts) -> Self {
        Self { files: texts.files(), found: BTreeSet::new() }
    }

    /// Notes what has been found already.
    pub(crate) fn add(&mut self, finding: Finding) {
        self.found.insert(finding);
    }

    /// Parses a file; what cannot be parsed is found, and the rest is used to find more.
    pub(crate) fn parse_text(&mut self, file: &'a Source) -> Table<'a> {
        let (table, errors) = DeTable::parse_recoverable(&file.text);
        for error in &errors {
            let span = shifted(error.span().unwrap_or(0..0), file.base);
            self.find(&span, error.message());
        }
        shifted_table(table.into_inner(), file.base)
    }

    /// Notes something wrong at a place.
    pub(crate) fn find(&mut self, span: &Range<usize>, text: impl Into<String>) {
        let finding = self.place(span, text.into());
        self.found.insert(finding);
    }

    fn place(&self, span: &Range<usize>, text: String) -> Finding {
        let file = self.files.iter().rev().find(|file| file.base <= span.start);
        let Some(Source { path, text: content, base }) = file else {
            return Finding { path: PathBuf::new(), line: 0, column: 0, text };
        };
        let before = content.get(..span.start - base).unwrap_or(content);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Finding {
            path: path.clone(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            text,
        }
    }

    /// How much was found so far.
    pub(crate) fn count(&self) -> usize {
        self.found.len()
    }

    /// Whether nothing is wrong so far.
    pub(crate) fn is_clean(&self) -> bool {
        self.found.is_empty()
    }

    /// Everything that is wrong, and what else was noticed: a key that is unknown may be why another is missing.
    pub(crate) fn with_warnings(mut self, warnings: Findings<'_>) -> Vec<Finding> {
        let warnings = warnings.found.into_iter();
        self.found.extend(
            warnings.map(|finding| Finding { text: format!("warning: {}", finding.text), ..finding }),
        );
        self.into_vec()
    }

    /// Everything that is wrong, by place.
    pub(crate) fn into_vec(self) -> Vec<Finding> {
        self.found.into_iter().collect()
    }

    /// Reads a table as a `T`, which knows its keys. Each wrong key or value is found, since it is taken
    /// out and the rest is read again; the answer is what is left. `also` are keys that belong beside those of `T`, for hints.
    pub(crate) fn interpret<T: DeserializeOwned>(
        &mut self,
        mut table: Table<'_>,
        span: &Range<usize>,
        also: &[&str],
    ) -> Option<T> {
        let mut removed: Vec<String> = Vec::new();
        loop {
            let error = match T::deserialize(Deserializer::from(Spanned::new(span.clone(), table.clone()))) {
                Ok(value) => return Some(value),
                Err(error) => error,
            };
            let place = error.span().unwrap_or_else(|| span.clone());
            let is_consequence = quoted(error.message(), "missing field")
                .is_some_and(|field| removed.iter().any(|key| key == field));
            if !is_consequence {
                self.find(&place, reworded(error.message(), also));
            }
            match prune(&mut table, &place) {
                Some(key) => removed.push(key),
                None => return None,
            }
        }
    }
}

/// Takes out the innermost key that the span is in; its name.
fn prune(table: &mut Table<'_>, span: &Range<usize>) -> Option<String> {
    let covers = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    let keys: Vec<_> = table.keys().cloned().collect();
    for key in keys {
        let value = table.get_mut(&key)?;
        if covers(key.span()) {
            table.remove(&key);
            return Some(key.into_inner().into_owned());
        }
        let inner = match value.get_mut() {
            DeValue::Table(inner) => prune(inner, span),
            DeValue::Array(items) => items.iter_mut().find_map(|item| match item.get_mut() {
                DeValue::Table(inner) => prune(inner, span),
                _ => None,
            }),
            _ => None,
        };
        if inner.is_some() {
            return inner;
        }
        if covers(value.span()) {
            table.remove(&key);
            return Some(key.into_inner().into_owned());
        }
    }
    None
}

/// The first word in backquotes after `before`.
fn quoted<'a>(message: &'a str, before: &str) -> Option<&'a str> {
    let rest = message.strip_prefix(before)?.trim_start().strip_prefix('`')?;
    rest.split('`').next()
}

/// Says an error of serde in our words, with a hint where a name is nearly right.
fn reworded(message: &str, also: &[&str]) -> String {
    for (start, what) in [("unknown field", "key"), ("unknown variant", "value")] {
        let Some(name) = quoted(message, start) else { continue };
        let known = message.split_once(", expected").map_or("", |(_, known)| known);
        let mut known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        if what == "key" {
            known.extend(also);
        }
        return unknown(what, name, &known);
    }
    if let Some(name) = quoted(message, "missing field") {
        return format!("the key {name:?} is missing");
    }
    match message.rsplit_once(", expected ") {
        Some((rest, "usize" | "u64" | "u32" | "u8")) => {
            format!("{rest}, expected a number that is not negative")
        }
        Some((rest, "i64" | "i32" | "f64")) => format!("{rest}, expected a number"),
        _ => message.to_owned(),
    }
}

/// Says that a name is none of those known.
pub(crate) fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let distance = |known: &str| strsim::damerau_levenshtein(name, known);
    let nearest = known.iter().map(|&known| (distance(known), known)).min();
    match nearest {
        Some((distance, known)) if distance <= (name.len() / 3).max(1) => {
            format!("unknown {what} {name:?}; did you mean {known:?}?")
        }
        Some(_) => format!("unknown {what} {name:?}; known here: {}", known.join(", ")),
        None => format!("unknown {what} {name:?}"),
    }
}

fn shifted(span: Range<usize>, base: usize) -> Range<usize> {
    span.start + base..span.end + base
}

fn shifted_table(table: DeTable<'_>, base: usize) -> DeTable<'_> {
    let entries = table.into_iter().map(|(key, value)| {
        let name = Spanned::new(shifted(key.span(), base), key.into_inner());
        (name, shifted_value(value, base))
    });
    entries.collect()
}

fn shifted_value(value: Value<'_>, base: usize) -> Value<'_> {
    let span = shifted(value.span(), base);
    let value = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(shifted_table(table, base)),
        DeValue::Array(items) => {
            DeValue::Array(items.into_iter().map(|item| shifted_value(item, base)).collect())
        }
        other => other,
    };
    Spanned::new(span, value)
}
