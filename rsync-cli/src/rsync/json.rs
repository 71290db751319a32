//! `--json`: every event as a line of JSON on standard output (`docs/json.md` is the contract).
//!
//! Standard error and the log file stay what they are without it, so that a person still reads there what
//! went wrong.

use std::borrow::Cow;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bstr::ByteSlice;
use rsync_client::Module;
use rsync_proto::exit::ExitCode;
use rsync_proto::options::TransferOptions;
use rsync_proto::text::{
    EntryFacts, EntryKind, Event, EventSink, Item, KindCounts, Moment, Progress, Role, Severity, Stage,
    Topic, Totals, itemize,
};
use serde::Serialize;

use crate::console::{Console, Output};
use crate::facts::FACTS;
use crate::zone;

/// Grows when a field changes its meaning or goes away; new fields may come at any time.
const SCHEMA: u32 = 1;

/// Least time between two lines of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// Prints lines of JSON, and beside them what goes to standard error and to the log.
pub(crate) struct JsonLines {
    console: Console,
    keeps_times: bool,
    state: Mutex<State>,
}

struct State {
    out: Box<dyn Write + Send>,
    totals: Option<Totals>,
    progress_shown: Option<Instant>,
}

/// One line. The names of variants and fields are those of `docs/json.md`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Start {
        schema: u32,
        version: &'static str,
        protocol: u8,
        pid: u32,
        time: i64,
        role: &'static str,
        dry_run: bool,
        list_only: bool,
    },
    FileList {
        state: &'static str,
        entries: u64,
    },
    Item {
        #[serde(flatten)]
        entry: Entry<'a>,
        action: &'static str,
        itemize: Option<Cow<'a, str>>,
        is_new: bool,
        data_bytes: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        checksum: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        linked_to: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        linked_to_base64: Option<String>,
    },
    Deleted {
        #[serde(flatten)]
        path: Path<'a>,
        is_dir: bool,
    },
    Entry(Entry<'a>),
    Progress {
        #[serde(flatten)]
        path: Path<'a>,
        file_done: u64,
        file_size: u64,
        done: u64,
        total: u64,
        transfers: u64,
        entries_left: u64,
        entries: u64,
        lists_pending: bool,
    },
    Message {
        severity: &'static str,
        text: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        text_base64: Option<String>,
    },
    Module {
        name: Cow<'a, str>,
        comment: Cow<'a, str>,
    },
    End {
        exit_code: u8,
        exit_text: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        totals: Option<Numbers>,
    },
}

/// A name. What is no UTF-8 is there twice: readable, and exactly.
#[derive(Serialize)]
struct Path<'a> {
    path: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
}

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(flatten)]
    path: Path<'a>,
    #[serde(rename = "type")]
    kind: &'static str,
    mode: String,
    size: u64,
    mtime: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    atime: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_base64: Option<String>,
}

#[derive(Serialize)]
struct Counts {
    total: u64,
    files: u64,
    dirs: u64,
    symlinks: u64,
    devices: u64,
    specials: u64,
}

#[derive(Serialize)]
struct Numbers {
    listed: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<Counts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<Counts>,
    transferred_files: u64,
    total_size: u64,
    transferred_size: u64,
    literal_data: u64,
    matched_data: u64,
    file_list_size: u64,
    sent_bytes: u64,
    received_bytes: u64,
    seconds: u64,
}

impl JsonLines {
    /// Prints to standard output; `console` must be quiet there.
    pub(crate) fn new(options: &TransferOptions, role: Role, lists: bool, console: Console) -> Self {
        Self::to(Box::new(std::io::stdout()), options, role, lists, console)
    }

    fn to(
        out: Box<dyn Write + Send>,
        options: &TransferOptions,
        role: Role,
        lists: bool,
        console: Console,
    ) -> Self {
        let state = Mutex::new(State { out, totals: None, progress_shown: None });
        let lines = Self { console, keeps_times: options.times, state };
        lines.line(&Line::Start {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            protocol: FACTS.protocol,
            pid: std::process::id(),
            time: zone::now(),
            role: if role == Role::Sender { "sender" } else { "receiver" },
            dry_run: options.dry_run,
            list_only: lists,
        });
        lines
    }

    fn line(&self, line: &Line<'_>) {
        let Ok(mut bytes) = serde_json::to_vec(line) else { return };
        bytes.push(b'\n');
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A reader that went away stops the output, not the transfer.
        let _ = state.out.write_all(&bytes).and_then(|()| state.out.flush());
    }

    /// A text; the lines of one that has several are events of their own.
    fn message(&self, severity: Severity, text: &[u8]) {
        for text in text.lines() {
            let (text, text_base64) = text_of(text);
            self.line(&Line::Message { severity: severity_name(severity), text, text_base64 });
        }
    }

    fn item(&self, item: &Item<'_>) {
        use rsync_proto::phase::ItemFlags;
        let has = |flag| item.flags.contains(flag);
        let action = if has(ItemFlags::TRANSFER) {
            "transfer"
        } else if has(ItemFlags::LOCAL_CHANGE) {
            if has(ItemFlags::XNAME_FOLLOWS) { "hard_link" } else { "create" }
        } else if !item.flags.is_significant() {
            "none"
        } else {
            "attributes"
        };
        let linked = item.xname.filter(|name| action == "hard_link" && !name.is_empty()).map(text_of);
        let (linked_to, linked_to_base64) = linked.map_or((None, None), |(text, exact)| (Some(text), exact));
        let columns = item.detailed.then(|| itemize(item, self.keeps_times));
        self.line(&Line::Item {
            entry: entry(&item.entry),
            action,
            itemize: columns.map(|columns| Cow::Owned(columns.to_str_lossy().trim_end().to_owned())),
            is_new: has(ItemFlags::IS_NEW),
            data_bytes: item.data_bytes,
            checksum: item.digest.map(hex),
            linked_to,
            linked_to_base64,
        });
    }

    fn progress(&self, progress: &Progress<'_>) {
        if progress.moment != Moment::Running {
            return;
        }
        let now = Instant::now();
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.progress_shown.is_some_and(|shown| now.duration_since(shown) < PROGRESS_INTERVAL) {
                return;
            }
            state.progress_shown = Some(now);
        }
        self.line(&Line::Progress {
            path: path(progress.name),
            file_done: progress.offset,
            file_size: progress.size,
            done: progress.total_offset.saturating_add(progress.offset),
            total: progress.total_size,
            transfers: progress.transfers,
            entries_left: progress.remaining,
            entries: progress.known,
            lists_pending: progress.lists_pending,
        });
    }
}

impl EventSink for JsonLines {
    fn wants(&self, topic: Topic) -> bool {
        matches!(topic, Topic::Items | Topic::Deletions | Topic::Progress) || self.console.wants(topic)
    }

    fn emit(&self, event: Event<'_>) {
        match event {
            Event::Message(message) => {
                let mut text = Vec::new();
                message.render(&mut text);
                self.message(message.severity(), &text);
            }
            Event::PeerText { severity, text } => self.message(severity, text),
            Event::Item { stage: Stage::Done, item } => self.item(item),
            Event::Deleted { name, is_dir } => self.line(&Line::Deleted { path: path(name), is_dir }),
            Event::Listed { entry: listed } => self.line(&Line::Entry(entry(listed))),
            Event::FileListStarted { .. } => self.line(&Line::FileList { state: "started", entries: 0 }),
            Event::FileListFinished { entries } => self.line(&Line::FileList { state: "finished", entries }),
            Event::Progress(progress) => self.progress(&progress),
            Event::Finished(totals) => {
                self.state.lock().unwrap_or_else(PoisonError::into_inner).totals = Some(*totals);
            }
            _ => {}
        }
        self.console.emit(event);
    }
}

impl Output for JsonLines {
    fn say(&self, severity: Severity, text: &str) {
        self.message(severity, text.as_bytes());
        self.console.say(severity, text);
    }

    fn modules(&self, modules: &[Module]) {
        for module in modules {
            let (name, comment) = (module.name.to_str_lossy(), module.comment.to_str_lossy());
            self.line(&Line::Module { name, comment });
        }
    }

    fn end(&self, code: ExitCode, line: Option<&str>) {
        self.console.end(code, line);
        let totals = self.state.lock().unwrap_or_else(PoisonError::into_inner).totals;
        self.line(&Line::End {
            exit_code: code.code(),
            exit_text: exit_text(code),
            totals: totals.as_ref().map(numbers),
        });
    }
}

/// Lines for a command line that cannot be run; its text went to standard error.
pub(crate) fn rejection(text: &str, code: ExitCode) -> String {
    let mut lines = String::new();
    let texts = text.lines().map(|text| Line::Message {
        severity: severity_name(Severity::Error),
        text: Cow::Borrowed(text),
        text_base64: None,
    });
    let end = Line::End { exit_code: code.code(), exit_text: exit_text(code), totals: None };
    for line in texts.chain([end]) {
        lines.extend(serde_json::to_string(&line));
        lines.push('\n');
    }
    lines
}

fn exit_text(code: ExitCode) -> &'static str {
    if code.is_ok() { "success" } else { code.text() }
}

fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Info | Severity::Client | Severity::Log => "info",
        Severity::Warning => "warning",
        Severity::Error | Severity::TransferError => "error",
    }
}

/// The readable text and, where that is not all, its bytes in base64.
fn text_of(bytes: &[u8]) -> (Cow<'_, str>, Option<String>) {
    match bytes.to_str() {
        Ok(text) => (Cow::Borrowed(text), None),
        Err(_) => (bytes.to_str_lossy(), Some(STANDARD.encode(bytes))),
    }
}

fn path(name: &[u8]) -> Path<'_> {
    let (path, path_base64) = text_of(name);
    Path { path, path_base64 }
}

fn entry<'a>(facts: &EntryFacts<'a>) -> Entry<'a> {
    let (target, target_base64) =
        facts.target.map(text_of).map_or((None, None), |(text, exact)| (Some(text), exact));
    Entry {
        path: path(facts.name),
        kind: match facts.kind() {
            EntryKind::File => "file",
            EntryKind::Dir => "dir",
            EntryKind::Symlink => "symlink",
            EntryKind::Device => "device",
            EntryKind::Special => "special",
        },
        mode: format!("{:04o}", facts.mode & 0o7777),
        size: facts.size,
        mtime: facts.mtime,
        atime: facts.atime,
        target,
        target_base64,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn counts(counts: &KindCounts) -> Counts {
    let KindCounts { files, dirs, symlinks, devices, specials } = *counts;
    Counts { total: counts.total(), files, dirs, symlinks, devices, specials }
}

fn numbers(totals: &Totals) -> Numbers {
    Numbers {
        listed: counts(&totals.listed),
        created: totals.created.as_ref().map(counts),
        deleted: totals.deleted.as_ref().map(counts),
        transferred_files: totals.transferred,
        total_size: totals.total_size,
        transferred_size: totals.transferred_size,
        literal_data: totals.literal,
        matched_data: totals.matched,
        file_list_size: totals.list_size,
        sent_bytes: totals.sent,
        received_bytes: totals.received,
        seconds: totals.seconds,
    }
}
