//! Whole scans: the recorded transfers of `filter-vectors.tsv`, the order of incremental lists, and
//! what happens on a real disk.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use bstr::BString;
use rsync_proto::exit::IoErrorFlags;
use rsync_proto::filter::{FilterNote, Filters, OpenFailure, RuleFile, RuleFiles, cvs_rules};
use rsync_proto::flist::{Columns, Entry, EntryFlags, FileList};
use rsync_proto::options::{Command, Environment, LocalClock, TransferOptions, parse};
use rsync_proto::session::{CompatFlags, Negotiated};
use rsync_proto::text::{Event, EventSink, Message, Topic};
use serde_json::Value;

use super::*;
use crate::error::EngineError;
use crate::link::LinkControl;
use crate::session::Session;
use crate::tree::{LocalTree, MemoryTree, Tree};

#[derive(Default)]
struct Said(Mutex<Vec<String>>);

impl EventSink for Said {
    fn wants(&self, _: Topic) -> bool {
        true
    }

    fn emit(&self, event: Event<'_>) {
        let mut text = Vec::new();
        if let Event::Message(message) = event {
            Message::render(&message, &mut text);
            self.0.lock().unwrap().push(String::from_utf8_lossy(&text).into_owned());
        }
    }
}

/// No rule file exists.
struct NoRuleFiles;

impl RuleFiles for NoRuleFiles {
    fn read(&mut self, _: RuleFile<'_>) -> Result<Vec<u8>, OpenFailure> {
        Err(OpenFailure { reason: String::new() })
    }

    fn note(&mut self, _: FilterNote) {}
}

#[derive(Default)]
struct Collector {
    next: Option<u32>,
    paths: Vec<String>,
}

impl ListSink for Collector {
    fn entry(&mut self, index: u32, entry: &Entry) -> Result<(), EngineError> {
        assert!(self.next.is_none_or(|next| next == index));
        self.next = Some(index + 1);
        self.paths.push(String::from_utf8_lossy(&entry.path).into_owned());
        Ok(())
    }
}

struct Run {
    said: Arc<Said>,
    lists: Vec<ScannedList>,
    file_list: FileList,
    io_error: IoErrorFlags,
}

impl Run {
    /// Every active path once, directories with a slash, without the top.
    fn paths(&self) -> BTreeSet<String> {
        let entries = self.lists.iter().flat_map(|list| list.segment.iter());
        let named = entries.map(|entry| {
            let path = String::from_utf8_lossy(&entry.path()).into_owned();
            if entry.is_dir() { format!("{path}/") } else { path }
        });
        named.filter(|path| path != "./").collect()
    }

    fn said(&self) -> Vec<String> {
        self.said.0.lock().unwrap().clone()
    }
}

fn negotiated(incremental: bool) -> Negotiated {
    Negotiated::new(32, CompatFlags(if incremental { CompatFlags::INC_RECURSE } else { 0 }))
}

fn scan(
    tree: Arc<dyn Tree>,
    start_dir: &str,
    options: &TransferOptions,
    sources: &[&str],
    requested: Option<&[u8]>,
    cvs: Option<&str>,
    incremental: bool,
) -> Run {
    let negotiated = negotiated(incremental);
    let said = Arc::new(Said::default());
    let cvs = cvs_rules(true, None, cvs.map(str::as_bytes));
    let mut filters = Filters::of_command_line(options, &mut NoRuleFiles).unwrap();
    filters.complete(options, &negotiated, true, cvs);
    filters.add_cvs_after_exchange(&negotiated, true);
    let control = LinkControl::new().unwrap();
    let session = Arc::new(Session::new(negotiated, options.clone(), false, said.clone(), control));
    let request = ScanRequest {
        sources: sources.iter().map(|source| source.as_bytes().to_vec()).collect(),
        start_dir: start_dir.into(),
        module: None,
        filters,
        module_filters: None,
        columns: Columns { links: options.links, hard_links: options.hard_links > 0, ..Columns::default() },
        change_mode: None,
        attributes: None,
    };
    let mut scan = Scan::new(session.clone(), tree, request);
    let mut names = requested.map(|text| {
        let mut reader = rsync_proto::filter::NameReader::new(options.from0);
        let mut names: Vec<Vec<u8>> = Vec::new();
        reader.push(text, |name| names.push(name.to_vec()));
        reader.finish(|name| names.push(name.to_vec()));
        names.into_iter()
    });
    let mut next_name = || Ok(names.as_mut().and_then(Iterator::next));
    let mut file_list = FileList::new(incremental);
    let mut lists = Vec::new();
    let mut add = |list: ScannedList, sink: &Collector| {
        assert_eq!(sink.paths.len(), list.segment.len());
        if let Some(parent) = list.parent {
            file_list.announce(-101 - i64::from(parent)).unwrap();
        }
        file_list.append(list.segment.clone()).unwrap();
        lists.push(list);
    };
    let mut sink = Collector::default();
    let source: Option<&mut dyn FnMut() -> Result<Option<Vec<u8>>, EngineError>> =
        if requested.is_some() { Some(&mut next_name) } else { None };
    let first = scan.first(source, &mut sink).unwrap();
    add(first, &sink);
    loop {
        let mut sink = Collector::default();
        let Some(list) = scan.next(&mut sink).unwrap() else { break };
        add(list, &sink);
    }
    assert!(scan.is_complete());
    Run { said, lists, file_list, io_error: session.errors.io_error() }
}

fn parsed(words: &[String]) -> (TransferOptions, Vec<String>) {
    let mut words: Vec<BString> = words.iter().map(|word| word.as_str().into()).collect();
    words.push("dst".into());
    let environment = Environment::from_variables(LocalClock::default(), |_| None);
    match parse(&words, &environment).unwrap() {
        Command::Transfer(request) => {
            let sources = &request.operands[..request.operands.len() - 1];
            (request.options, sources.iter().map(ToString::to_string).collect())
        }
        other => panic!("{other:?}"),
    }
}

fn memory(listing: &Value, prefix: &str) -> Arc<dyn Tree> {
    let mut tree = MemoryTree::new();
    for (name, content) in listing.as_object().into_iter().flatten() {
        match name.strip_suffix('/') {
            Some(dir) => tree.insert(format!("{prefix}{dir}").as_bytes(), 0o040_755, b""),
            None => {
                let content = content.as_str().unwrap_or_default();
                tree.insert(format!("{prefix}{name}").as_bytes(), 0o100_644, content.as_bytes());
            }
        }
    }
    Arc::new(tree)
}

/// Rows that need a receiver's pruning, and the one on which we differ on purpose (spec 06 §3: the
/// directory of a rule file is literal).
fn is_skipped(args: &[String], id: &str) -> bool {
    args[0] == "-rm" || id == "500"
}

#[test]
fn every_recorded_tree_is_listed_whole_and_in_pieces() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/spec/data/filter-vectors.tsv");
    let text = std::fs::read_to_string(path).unwrap();
    let mut failures = Vec::new();
    let (mut tested, mut skipped) = (0, 0);
    let mut runs: HashMap<(String, String, bool), BTreeSet<String>> = HashMap::new();
    for line in text.lines().filter(|line| line.split('\t').nth(1) == Some("tree")) {
        let columns: Vec<&str> = line.split('\t').collect();
        let setup: Value = serde_json::from_str(columns[2]).unwrap();
        let args: Vec<String> = serde_json::from_str(&columns[3].replace("@SRC@", "/T/s")).unwrap();
        if is_skipped(&args, columns[0]) {
            skipped += 1;
            continue;
        }
        tested += 1;
        for incremental in [false, true] {
            let key = (columns[2].to_string(), columns[3].to_string(), incremental);
            let paths = runs.entry(key).or_insert_with(|| {
                let (options, sources) = parsed(&args);
                let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
                let requested = setup["stdin"].as_str().map(str::as_bytes);
                let tree = memory(&setup["src"], "T/s/");
                // The memory tree starts at its root, so arguments are made absolute.
                let rooted: Vec<String> = sources.iter().map(|source| format!("/T/{source}")).collect();
                let relative = options.relative && requested.is_none();
                let rooted: Vec<String> = rooted
                    .iter()
                    .map(|source| {
                        if relative && !source.contains("/./") {
                            source.replacen("/T/", "/T/./", 1)
                        } else {
                            source.clone()
                        }
                    })
                    .collect();
                let rooted: Vec<&str> = rooted.iter().map(String::as_str).collect();
                let cvs = setup["env"]["CVSIGNORE"].as_str();
                let incremental = incremental && options.recurse;
                scan(tree, "/", &options, &rooted, requested, cvs, incremental).paths()
            });
            let (subject, expected) = (columns[4], columns[6]);
            let found = if subject == "(whole result)" {
                let all: Vec<&str> = paths.iter().map(String::as_str).collect();
                if all.is_empty() { "(nothing)".to_string() } else { all.join(" ") }
            } else if paths.contains(subject) || paths.contains(&format!("{subject}/")) {
                "sent".into()
            } else {
                "omitted".into()
            };
            if found != expected {
                failures.push(format!(
                    "row {} ({incremental}): {} {subject}: {found}, not {expected}",
                    columns[0], columns[3]
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}:\n{}", failures.len(), failures.join("\n"));
    assert_eq!((tested, skipped), (291, 8));
}

fn listing(names: &[&str]) -> Value {
    let entries: BTreeMap<&str, &str> = names.iter().map(|name| (*name, "x")).collect();
    serde_json::to_value(entries).unwrap()
}

fn paths_of(list: &ScannedList) -> Vec<String> {
    list.segment.iter().map(|entry| String::from_utf8_lossy(&entry.path()).into_owned()).collect()
}

fn recursive() -> TransferOptions {
    TransferOptions { recurse: true, dirs: true, ..TransferOptions::default() }
}

/// The capture of spec 03 §12.5.
#[test]
fn lists_follow_each_other_depth_first() {
    let tree = memory(&listing(&["N/z/zz", "N/a/top", "N/a/b/c/f", "N/a/b/d/g"]), "");
    let run = scan(tree, "/", &recursive(), &["N/"], None, None, true);
    let lists: Vec<_> =
        run.lists.iter().map(|list| (list.parent, list.segment.start(), paths_of(list))).collect();
    let strings = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        lists,
        [
            (None, 1, strings(&[".", "a", "z"])),
            (Some(1), 5, strings(&["a/top", "a/b"])),
            (Some(3), 8, strings(&["a/b/c", "a/b/d"])),
            (Some(4), 11, strings(&["a/b/c/f"])),
            (Some(5), 13, strings(&["a/b/d/g"])),
            (Some(2), 15, strings(&["z/zz"])),
        ]
    );
    assert_eq!(run.file_list.next_start(), 17);
}

/// The capture of spec 03 §12.6, "Two args".
#[test]
fn equal_directories_of_two_arguments_share_one_list() {
    let tree = memory(
        &listing(&["x/sub/f", "x/sub/deep/1", "x/mix", "x/only/a", "y/sub/f", "y/mix/b", "y/only2/c"]),
        "",
    );
    let run = scan(tree, "/", &recursive(), &["x/", "y/"], None, None, true);
    let shared = run.lists.iter().find(|list| paths_of(list).contains(&"sub/f".to_string())).unwrap();
    assert_eq!(paths_of(shared), ["sub/f", "sub/f", "sub/deep"]);
    let origins: Vec<u32> = shared.segment.iter().map(|entry| entry.origin()).collect();
    assert_eq!(origins, [0, 1, 0]);
    assert_eq!(run.lists.iter().filter(|list| list.parent == shared.parent).count(), 1);
}

/// The capture of spec 03 §12.6, `-rtR N/./a/b N/./z`.
#[test]
fn relative_arguments_imply_one_list_per_component() {
    let tree = memory(&listing(&["N/z/zz", "N/a/top", "N/a/b/c/f", "N/a/b/d/g"]), "");
    let options = TransferOptions { relative: true, implied_dirs: true, ..recursive() };
    let run = scan(tree.clone(), "/", &options, &["N/./a/b", "N/./z"], None, None, true);
    let lists: Vec<_> = run.lists.iter().map(|list| (list.parent, paths_of(list))).collect();
    assert_eq!(lists[0], (None, vec!["a".to_string(), "z".to_string()]));
    assert_eq!(lists[1], (Some(0), vec!["a/b".to_string()]));
    assert_eq!(lists[2].0, Some(2));
    assert_eq!(lists.last().unwrap(), &(Some(1), vec!["z/zz".to_string()]));
    let implied = run.lists[0].segment.get(0).unwrap();
    assert!(implied.flags().has(EntryFlags::IMPLIED_DIR) && !implied.flags().has(EntryFlags::CONTENT_DIR));
    let whole = scan(tree, "/", &options, &["N/./a/b", "N/./z"], None, None, false);
    assert_eq!(whole.paths(), run.paths());
}

#[test]
fn a_missing_source_is_reported_and_changes_no_error_flag() {
    let tree = memory(&listing(&["a"]), "");
    let run = scan(tree.clone(), "/", &recursive(), &["gone", "a"], None, None, false);
    assert_eq!(run.said(), ["rsync: [sender] link_stat \"/gone\" failed: No such file or directory (2)"]);
    assert_eq!(run.io_error, IoErrorFlags::NONE);
    assert_eq!(run.paths().len(), 1);
    let run = scan(tree, "/", &recursive(), &["gone/a"], None, None, false);
    assert_eq!(run.said(), ["rsync: [sender] change_dir \"/gone\" failed: No such file or directory (2)"]);
    assert_eq!(run.io_error, IoErrorFlags::GENERAL);
}

#[test]
fn a_directory_is_skipped_without_recursion() {
    let run =
        scan(memory(&listing(&["d/f"]), ""), "/", &TransferOptions::default(), &["d"], None, None, false);
    assert_eq!(run.said(), ["skipping directory d"]);
    assert!(run.paths().is_empty());
}

fn on_disk() -> (tempfile::TempDir, Arc<dyn Tree>) {
    let place = tempfile::tempdir().unwrap();
    let tree = LocalTree::new(crate::Dir::open(place.path()).unwrap());
    (place, Arc::new(tree))
}

#[test]
fn links_are_followed_only_as_far_as_asked() {
    let (place, tree) = on_disk();
    let at = |name: &str| place.path().join(name);
    std::fs::create_dir_all(at("s/d")).unwrap();
    std::fs::write(at("s/d/f"), b"x").unwrap();
    std::fs::write(at("out"), b"y").unwrap();
    std::os::unix::fs::symlink("d", at("s/dir")).unwrap();
    std::os::unix::fs::symlink("../out", at("s/unsafe")).unwrap();
    std::os::unix::fs::symlink("gone", at("s/dangling")).unwrap();
    let run = |options: TransferOptions| {
        let run = scan(tree.clone(), "/T", &options, &["s/"], None, None, false);
        let kinds = run.lists[0]
            .segment
            .iter()
            .map(|entry| (BString::from(entry.path()).to_string(), entry.mode() >> 12));
        (kinds.collect::<BTreeMap<_, _>>(), run.said(), run.io_error)
    };
    let (file, dir, link) = (0o10, 0o4, 0o12);
    let (plain, ..) = run(TransferOptions { links: true, ..recursive() });
    assert_eq!((plain["dir"], plain["unsafe"], plain["dangling"]), (link, link, link));
    let (unsafe_only, ..) = run(TransferOptions { links: true, copy_unsafe_links: true, ..recursive() });
    assert_eq!((unsafe_only["dir"], unsafe_only["unsafe"]), (link, file));
    let (dirs, ..) = run(TransferOptions { links: true, copy_dirlinks: true, ..recursive() });
    assert_eq!((dirs["dir"], dirs["unsafe"], dirs["dangling"]), (dir, link, link));
    assert!(dirs.contains_key("dir/f"));
    let (all, said, io_error) = run(TransferOptions { copy_links: true, ..recursive() });
    assert_eq!((all["dir"], all["unsafe"], all.get("dangling")), (dir, file, None));
    assert_eq!(said, ["symlink has no referent: \"/T/s/dangling\""]);
    assert_eq!(io_error, IoErrorFlags::GENERAL);
}

#[test]
fn a_confined_tree_does_not_follow_links_out_of_itself() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    std::fs::create_dir_all(at("module/t")).unwrap();
    std::fs::write(at("module/t/f"), b"x").unwrap();
    std::fs::create_dir(at("secret")).unwrap();
    std::fs::create_dir(at("module/in")).unwrap();
    std::os::unix::fs::symlink("../t", at("module/in/link")).unwrap();
    std::os::unix::fs::symlink("../../secret", at("module/in/out")).unwrap();
    let tree = Arc::new(LocalTree::confined(crate::Dir::open(&at("module")).unwrap()));
    let options = TransferOptions { copy_links: true, ..recursive() };
    let run = scan(tree, "/", &options, &["in"], None, None, false);
    assert!(run.paths().contains("in/link/f"));
    assert!(!run.paths().iter().any(|path| path.starts_with("in/out")));
    assert_eq!(run.said().len(), 1);
}

#[test]
fn hard_links_carry_their_identity_and_files_can_be_opened() {
    let (place, tree) = on_disk();
    std::fs::create_dir(place.path().join("s")).unwrap();
    std::fs::write(place.path().join("s/a"), b"content").unwrap();
    std::fs::hard_link(place.path().join("s/a"), place.path().join("s/b")).unwrap();
    struct Identities(Vec<Option<rsync_proto::flist::Inode>>);
    impl ListSink for Identities {
        fn entry(&mut self, _: u32, entry: &Entry) -> Result<(), EngineError> {
            self.0.push(entry.inode);
            Ok(())
        }
    }
    let options = TransferOptions { hard_links: 1, ..recursive() };
    let session = Session::new(
        negotiated(false),
        options,
        false,
        Arc::new(Said::default()),
        LinkControl::new().unwrap(),
    );
    let request = ScanRequest {
        sources: vec![b"s".to_vec()],
        start_dir: b"/".to_vec(),
        module: None,
        filters: Filters::new(),
        module_filters: None,
        columns: Columns { hard_links: true, ..Columns::default() },
        change_mode: None,
        attributes: None,
    };
    let mut scan = Scan::new(Arc::new(session), tree, request);
    let mut sink = Identities(Vec::new());
    scan.first(None, &mut sink).unwrap();
    assert_eq!(sink.0[0], None);
    assert!(sink.0[1].unwrap().shared && sink.0[1] == sink.0[2]);
    let mut buffer = [0; 16];
    let length = scan.open(0, b"s/b").unwrap().read_at(&mut buffer, 2).unwrap();
    assert_eq!(&buffer[..length], b"ntent");
}

#[test]
fn an_unreadable_directory_is_listed_but_empty() {
    if rustix::process::geteuid().is_root() {
        return;
    }
    let (place, tree) = on_disk();
    std::fs::create_dir_all(place.path().join("s/d")).unwrap();
    std::fs::set_permissions(place.path().join("s/d"), std::os::unix::fs::PermissionsExt::from_mode(0o0))
        .unwrap();
    let run = scan(tree, "/T", &recursive(), &["s/"], None, None, true);
    assert!(run.paths().contains("d/"));
    assert_eq!(run.io_error, IoErrorFlags::GENERAL);
}
