//! Every row of `docs/spec/data/filter-vectors.tsv` that filters alone decide, against this code.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;
use crate::options::{FilterArg, TransferOptions};
use crate::session::{CompatFlags, Negotiated};
use crate::wire::Cursor;

/// The absolute path of the source directory in the vectors.
const SOURCE: &str = "/T/s";
const DESTINATION: &str = "/T/d";

/// Rows on which this code differs on purpose: the reference takes the directory of a per-directory
/// file for pattern text, we take it literally, as spec 06 §3 recommends.
const LITERAL_DIRECTORIES: [&str; 1] = ["500"];

struct Row {
    id: String,
    kind: String,
    setup: Value,
    args: Vec<String>,
    subject: String,
    is_dir: bool,
    result: String,
}

fn rows(kind: &str) -> Vec<Row> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/spec/data/filter-vectors.tsv");
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let parse = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        Row {
            id: columns[0].into(),
            kind: columns[1].into(),
            setup: serde_json::from_str(columns[2]).unwrap_or(Value::Null),
            args: serde_json::from_str(&columns[3].replace("@SRC@", SOURCE)).unwrap_or_default(),
            subject: columns[4].into(),
            is_dir: columns[5] == "d",
            result: columns[6].into(),
        }
    };
    lines.map(parse).filter(|row| row.kind == kind).collect()
}

/// Why a row is not for this module, or `None`: such rows are tested where the reason points.
fn not_decided_by_filters(row: &Row) -> Option<&'static str> {
    let has = |word: &str| row.args.iter().any(|arg| arg.starts_with(word));
    if row.kind == "size" {
        Some("size arguments: options")
    } else if has("--max-delete") || has("--delete-missing-args") || has("--files-from") {
        Some("requested names and deletion limits: engine")
    } else if has("-rm") {
        Some("pruning: flist")
    } else if row.kind == "tree" && row.subject == "(whole result)" {
        Some("source arguments: engine scan")
    } else if row.kind == "daemon" && row.args.last().is_some_and(|arg| arg != "MODULE/") {
        Some("requested names and globs: daemon")
    } else {
        None
    }
}

fn check_rows(kind: &str, expected_skips: usize, mut actual: impl FnMut(&Row) -> String) -> usize {
    let mut failures = Vec::new();
    let mut tested = 0;
    let mut skipped = 0;
    for row in rows(kind) {
        if not_decided_by_filters(&row).is_some() {
            skipped += 1;
            continue;
        }
        tested += 1;
        let found = actual(&row);
        let differs_on_purpose = LITERAL_DIRECTORIES.contains(&row.id.as_str());
        if (found == row.result) == differs_on_purpose {
            failures.push(format!(
                "row {}: {:?} {} is {found}, not {}",
                row.id, row.args, row.subject, row.result
            ));
        }
    }
    assert!(failures.is_empty(), "{} of {tested}:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(skipped, expected_skips);
    tested
}

/// Files by path relative to `root`; directories have no content.
struct MemoryTree {
    root: String,
    current_dir: String,
    entries: BTreeMap<String, Option<String>>,
}

impl MemoryTree {
    fn new(root: &str, listing: &Value) -> Self {
        let mut entries = BTreeMap::new();
        for (name, content) in listing.as_object().into_iter().flatten() {
            let ancestors = name.match_indices('/').map(|(end, _)| name[..end].to_string());
            ancestors.for_each(|dir| drop(entries.insert(dir, None)));
            if !name.ends_with('/') {
                entries.insert(name.clone(), content.as_str().map(str::to_string));
            }
        }
        Self { root: root.into(), current_dir: root.into(), entries }
    }

    fn children(&self, dir: &str) -> Vec<(String, bool)> {
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let below = self.entries.iter().filter_map(|(path, content)| {
            let rest = path.strip_prefix(&prefix)?;
            (!rest.contains('/') && !rest.is_empty()).then(|| (path.clone(), content.is_none()))
        });
        below.collect()
    }
}

impl RuleFiles for MemoryTree {
    fn read(&mut self, file: RuleFile<'_>) -> Result<Vec<u8>, OpenFailure> {
        let path = match file {
            RuleFile::Named(name) if name.starts_with(b"/") => String::from_utf8_lossy(name).into_owned(),
            RuleFile::Named(name) => format!("{}/{}", self.current_dir, String::from_utf8_lossy(name)),
            RuleFile::PerDirectory { directory, name } => {
                format!("{}/{}", String::from_utf8_lossy(directory), String::from_utf8_lossy(name))
            }
        };
        let path = path.replace("/./", "/");
        let relative = path.strip_prefix(&format!("{}/", self.root)).unwrap_or_default();
        let content = self.entries.get(relative).cloned().flatten();
        content.map(String::into_bytes).ok_or(OpenFailure { reason: "No such file or directory (2)".into() })
    }

    fn note(&mut self, _: FilterNote) {}
}

/// What the options of a row ask for besides rules.
#[derive(Default)]
struct Options {
    args: Vec<FilterArg>,
    filters: Filters,
    cvs: bool,
    deletes: bool,
    delete_excluded: bool,
    after: bool,
    prune: bool,
    backup: bool,
    partial_dir: Option<String>,
    source: String,
}

fn options(row: &Row, protocol: u8, files: &mut dyn RuleFiles) -> Result<Options, FilterError> {
    let mut out = Options::default();
    let environment = row.setup["env"]["CVSIGNORE"].as_str().map(str::as_bytes);
    out.filters.set_cvs(cvs_rules(
        Negotiated::new(protocol, CompatFlags::default()).has_perishable_filters(),
        None,
        environment,
    ));
    let mut words = row.args.iter();
    let mut rsync_filter = Some(": /.rsync-filter");
    while let Some(word) = words.next() {
        let (name, value) =
            word.split_once('=').map_or((&word[..], None), |(name, value)| (name, Some(value)));
        let mut argument = || value.map(str::to_string).or_else(|| words.next().cloned()).unwrap_or_default();
        match name {
            "-f" | "--filter" => out.args.push(FilterArg::Rule(argument().into())),
            "--include" => out.args.push(FilterArg::Include(argument().into())),
            "--exclude" => out.args.push(FilterArg::Exclude(argument().into())),
            "--delete" | "--delete-during" => out.deletes = true,
            "--delete-after" => (out.deletes, out.after) = (true, true),
            "--delete-excluded" => {
                (out.deletes, out.delete_excluded) = (true, true);
            }
            "--partial-dir" => out.partial_dir = Some(argument()),
            "--delay-updates" => out.partial_dir = Some(".~tmp~".into()),
            "--old-dirs" => out.args.push(FilterArg::Rule("- /*/*".into())),
            "--backup" => out.backup = true,
            "-F" => {
                out.args.push(FilterArg::Rule(rsync_filter.take().unwrap_or("- .rsync-filter").into()));
            }
            letters if letters.starts_with('-') && !letters.starts_with("--") => {
                for letter in letters[1..].chars() {
                    match letter {
                        'r' => {}
                        'C' => out.cvs = true,
                        'b' => out.backup = true,
                        'm' => out.prune = true,
                        _ => panic!("row {}: option {letter}", row.id),
                    }
                }
            }
            source if !source.starts_with('-') => out.source = source.into(),
            _ => panic!("row {}: option {name}", row.id),
        }
    }
    if out.backup && out.deletes && !out.delete_excluded {
        out.args.push(FilterArg::Rule("P *~".into()));
    }
    if out.delete_excluded {
        out.filters.set_delete_excluded();
    }
    out.filters.add_options(&out.args, files)?;
    Ok(out)
}

#[test]
fn one_name_is_decided_as_recorded() {
    let tested = check_rows("match", 0, |row| {
        let mut files = MemoryTree::new(SOURCE, &Value::Null);
        let options = options(row, 32, &mut files).unwrap();
        let dirs = options.filters.start(SOURCE.trim_start_matches('/').as_bytes());
        let subject = Subject::entry(row.subject.as_bytes(), row.is_dir);
        match options.filters.check(&dirs, subject, Side::Sender).map(|decision| decision.verdict) {
            Some(Verdict::Exclude) => "hide".into(),
            Some(Verdict::Include) => "show".into(),
            None => "none".into(),
        }
    });
    assert_eq!(tested, 318);
}

#[test]
fn wildcards_match_as_recorded() {
    let tested = check_rows("wild", 0, |row| {
        let pattern = Pattern::new(&row.args[1].as_bytes()[2..]);
        let hit = pattern.matches(row.subject.as_bytes(), row.is_dir, false, b"");
        if hit { "match".into() } else { "nomatch".into() }
    });
    assert_eq!(tested, 126);
}

/// What a sender shows below `dir`, given the rules of its parent.
fn sent(
    tree: &mut MemoryTree,
    base: &str,
    dir: &str,
    filters: &Filters,
    parent: &DirRules,
) -> BTreeSet<String> {
    let rules = parent.enter(filters, dir.as_bytes(), tree).unwrap();
    let full = format!("{base}{dir}");
    let mut names = BTreeSet::new();
    for (path, is_dir) in tree.children(full.trim_end_matches('/')) {
        let name = path[base.len()..].to_string();
        if filters.excludes(&rules, Subject::entry(name.as_bytes(), is_dir), Side::Sender) {
            continue;
        }
        if is_dir {
            names.extend(sent(tree, base, &name, filters, &rules));
        }
        names.insert(name);
    }
    names
}

fn sent_by(row: &Row) -> (MemoryTree, Options, BTreeSet<String>) {
    let mut tree = MemoryTree::new(SOURCE, &row.setup["src"]);
    let mut options = options(row, 32, &mut tree).unwrap();
    if options.cvs {
        let negotiated = Negotiated::new(32, CompatFlags::default());
        options.filters.add_cvs_after_exchange(&negotiated, false);
    }
    let (base, top) = match options.source.strip_prefix("s/") {
        Some("") => (String::new(), ""),
        Some(below) if below.ends_with('/') => (below.to_string(), ""),
        below => (String::new(), below.unwrap()),
    };
    let current_dir = format!("{SOURCE}/{base}");
    tree.current_dir = current_dir.trim_end_matches('/').to_string();
    let start = options.filters.start(current_dir.trim_matches('/').as_bytes());
    let start = start.scan_ancestors(&options.filters, top.as_bytes(), &mut tree).unwrap();
    let mut names = sent(&mut tree, &base, top, &options.filters, &start);
    names.extend((!top.is_empty()).then(|| top.to_string()));
    (tree, options, names)
}

#[test]
fn a_tree_is_sent_as_recorded() {
    let tested = check_rows("tree", 39, |row| {
        let (_, _, names) = sent_by(row);
        if names.contains(&row.subject) { "sent".into() } else { "omitted".into() }
    });
    assert_eq!(tested, 260);
}

struct Deletion<'a> {
    tree: MemoryTree,
    filters: &'a Filters,
    kept: &'a BTreeSet<String>,
    deleted: BTreeSet<String>,
}

impl Deletion<'_> {
    fn pass(&mut self, dir: &str, parent: &DirRules) {
        let rules = parent.enter(self.filters, dir.as_bytes(), &mut self.tree).unwrap();
        for (name, is_dir) in self.tree.children(dir) {
            if self.filters.excludes(&rules, Subject::entry(name.as_bytes(), is_dir), Side::Receiver) {
                continue;
            }
            if self.kept.contains(&name) {
                if is_dir {
                    self.pass(&name, &rules);
                }
            } else if !is_dir || self.empty(&name, &rules) {
                self.deleted.insert(name);
            }
        }
    }

    fn empty(&mut self, dir: &str, parent: &DirRules) -> bool {
        let rules = parent.enter(self.filters, dir.as_bytes(), &mut self.tree).unwrap();
        let mut empty = true;
        for (name, is_dir) in self.tree.children(dir) {
            let decision = self.filters.check_while_deleting(&rules, Subject::entry(name.as_bytes(), is_dir));
            if decision.is_some_and(|decision| decision.verdict == Verdict::Exclude)
                || (is_dir && !self.empty(&name, &rules))
            {
                empty = false;
            } else {
                self.deleted.insert(name);
            }
        }
        empty
    }
}

#[test]
fn a_destination_is_cleaned_as_recorded() {
    let tested = check_rows("delete", 33, |row| {
        let (source, options, names) = sent_by(row);
        let mut tree = MemoryTree::new(DESTINATION, &row.setup["dst"]);
        if options.after {
            tree.entries.extend(source.entries);
        }
        let start = options.filters.start(DESTINATION.trim_matches('/').as_bytes());
        let mut deletion =
            Deletion { tree, filters: &options.filters, kept: &names, deleted: BTreeSet::new() };
        match options.source.strip_prefix("s/") {
            Some("") => deletion.pass("", &start),
            Some(top) => deletion.pass(top, &start),
            None => panic!("row {}", row.id),
        }
        if deletion.deleted.contains(&row.subject) { "deleted".into() } else { "kept".into() }
    });
    assert_eq!(tested, 199);
}

fn wire_form(row: &Row) -> Result<String, FilterError> {
    let push = row.setup["direction"] == "push";
    let protocol = row.setup["protocol"].as_u64().unwrap() as u8;
    let negotiated = Negotiated::new(protocol, CompatFlags::default());
    let options = options(row, protocol, &mut MemoryTree::new(SOURCE, &Value::Null))?;
    let transfer = TransferOptions {
        partial_dir: options.partial_dir.clone().map(Into::into),
        cvs_exclude: options.cvs,
        filters: options.args,
        delete_excluded: options.delete_excluded,
        ..TransferOptions::default()
    };
    let cvs = options.filters.cvs().clone();
    let mut filters = Filters::of_command_line(&transfer, &mut MemoryTree::new(SOURCE, &Value::Null))?;
    filters.complete(&transfer, &negotiated, push, cvs);
    let mut bytes = Vec::new();
    Dialect { negotiated: &negotiated, client_is_sender: push }.encode(&filters, &mut bytes)?;
    if !list_is_sent(&negotiated, push, options.prune, options.deletes, options.delete_excluded) {
        return Ok("(no list, no terminator)".into());
    }
    let mut input = Cursor::new(&bytes);
    let mut decoder = ReceivedRules::default();
    let mut texts = Vec::new();
    let mut server = Filters::new();
    while let Some(text) = decoder.decode(&mut input).unwrap() {
        server
            .add_received(
                text,
                ReceivedRules::grammar(&negotiated),
                &mut MemoryTree::new(SOURCE, &Value::Null),
            )
            .unwrap();
        texts.push(String::from_utf8(text.to_vec()).unwrap());
    }
    assert!(input.rest().is_empty());
    assert_eq!(server.rules().len(), texts.len());
    Ok(serde_json::to_string(&texts).unwrap())
}

#[test]
fn rules_are_sent_as_recorded() {
    let tested = check_rows("wire", 0, |row| {
        wire_form(row).unwrap_or_else(|error| format!("error({}): {error}", error.exit_code().code()))
    });
    assert_eq!(tested, 139);
}

#[test]
fn requests_imply_the_recorded_patterns() {
    let tested = check_rows("implied", 0, |row| {
        let has = |word: &str| row.args.iter().any(|arg| arg == word);
        let letters: String = row.args.iter().filter(|arg| !arg.starts_with("--")).cloned().collect();
        let shape = RequestShape {
            relative: letters.contains('R'),
            recursive: letters.contains('r'),
            dirs: letters.contains('d'),
        };
        let mut implied = ImpliedNames::default();
        let requests: Vec<String> = serde_json::from_str(&row.subject).unwrap();
        if !has("--old-args") && !has("--trust-sender") {
            requests.iter().for_each(|request| implied.add(request.as_bytes(), shape));
        }
        let texts: Vec<_> = implied.patterns().map(|text| String::from_utf8(text).unwrap()).collect();
        serde_json::to_string(&texts).unwrap()
    });
    assert_eq!(tested, 28);
}

#[test]
fn a_module_shows_what_was_recorded() {
    let tested = check_rows("daemon", 15, |row| {
        let mut tree = MemoryTree::new("", &row.setup["src"]);
        let mut filters = Filters::for_module();
        let parameters = [
            ("filter", Grammar::Full),
            ("include", Grammar::Old(Verdict::Include)),
            ("exclude", Grammar::Old(Verdict::Exclude)),
        ];
        for (name, grammar) in parameters {
            let words = row.setup["module"][name].as_str().unwrap_or_default();
            filters.add_words(words.as_bytes(), grammar, &mut tree).unwrap();
        }
        let names = sent(&mut tree, "", "", &filters, &filters.start(b""));
        let directories = &tree.entries;
        let shown =
            |name: &String| if directories[name].is_none() { format!("{name}/") } else { name.clone() };
        names.iter().map(shown).collect::<Vec<_>>().join(" ")
    });
    assert_eq!(tested, 10);
}

#[test]
fn rows_tested_elsewhere_are_few_and_named() {
    let kinds = ["match", "wild", "tree", "delete", "wire", "implied", "daemon", "size"];
    let mut reasons = BTreeMap::<&str, usize>::new();
    let skipped = kinds.iter().flat_map(|kind| rows(kind)).filter_map(|row| not_decided_by_filters(&row));
    skipped.for_each(|reason| *reasons.entry(reason).or_default() += 1);
    let expected = [
        ("pruning: flist", 7),
        ("requested names and deletion limits: engine", 44),
        ("requested names and globs: daemon", 15),
        ("size arguments: options", 38),
        ("source arguments: engine scan", 21),
    ];
    assert_eq!(reasons, expected.into());
}

/// Errors of options, files and nested files in the binary's words.
#[test]
fn errors_name_the_rule_or_its_place() {
    let listing = serde_json::json!({"f": "- a\n\nzz x\n", "w": "-_a zz_x", "n": ". f\n", "m": ". gone\n", "t": "- x\n"});
    let mut tree = MemoryTree::new(SOURCE, &listing);
    let mut error =
        |rule: &str| Filters::new().add_filter(rule.as_bytes(), &mut tree).unwrap_err().to_string();
    assert_eq!(error("foo"), "Unknown filter rule: foo");
    assert_eq!(error("hidex"), "Unknown filter rule: hidex");
    assert_eq!(error("-q x"), "invalid modifier 'q' at position 1 in filter rule: -q x");
    assert_eq!(error("! "), "'!' rule has trailing characters: ! ");
    assert_eq!(error("- "), "unexpected end of filter rule: - ");
    assert_eq!(error(". f"), "Unknown filter rule: <rule from f line 3>");
    assert_eq!(error(".w w"), "Unknown filter rule: <rule from w>");
    assert_eq!(error(". n"), "Unknown filter rule: <rule from a file named at n line 1>");
    assert_eq!(error(". gone"), "failed to open exclude file gone: No such file or directory (2)");
    assert_eq!(error(". m"), "failed to open exclude file <rule from m line 1>");
    assert_eq!(error("H,s x"), "invalid modifier 's' at position 2 in filter rule: H,s x");
    let mut filters = Filters::new();
    filters.add_filter(b".s t", &mut tree).unwrap();
    assert!(filters.rules()[0].modifiers.sender);
    tree.entries.insert("t".into(), Some("H x\n".into()));
    let error = filters.add_filter(b".s t", &mut tree).unwrap_err();
    assert_eq!(
        error.to_string(),
        "specified-side merge file contains specified-side filter: <rule from t line 1>"
    );
}

#[test]
fn a_file_that_merges_itself_stops_at_the_depth_limit() {
    let mut tree = MemoryTree::new(SOURCE, &serde_json::json!({"f": ". f\n"}));
    let error = Filters::new().add_filter(b". f", &mut tree).unwrap_err();
    assert!(error.to_string().starts_with("merge-file include depth limit (32) exceeded at "), "{error}");
    assert_eq!(error.exit_code(), crate::exit::ExitCode::FILE_IO);
}

#[test]
fn a_received_length_out_of_range_is_an_overflow() {
    for length in [-1_i32, 5120, i32::MAX] {
        let bytes = length.to_le_bytes();
        let error = ReceivedRules::default().decode(&mut Cursor::new(&bytes)).unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.exit_code().code()),
            ("buffer overflow: recv_rules", 22)
        );
    }
}

#[test]
fn a_client_that_sent_no_recursion_is_only_given_parents() {
    let mut implied = ImpliedNames::default();
    implied.add(b"p/q", RequestShape { relative: true, recursive: true, dirs: false });
    assert!(implied.covers(b"p", true) && implied.is_only_parent(b"p"));
    assert!(implied.covers(b"p/q/x", false) && !implied.is_only_parent(b"p/q"));
    assert!(!implied.covers(b"p/r", false) && !implied.covers(b"p", false));
    assert!(implied.is_only_parent(b"."));
}
