//! The lists of a scan and their order (spec 03 §8.2 to §8.5).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rsync_proto::exit::IoErrorFlags;
use rsync_proto::filter::{DirRules, Filters};
use rsync_proto::flist::{Columns, Entry, EntryFlags, EntryRef, Finish, Order, Segment, SegmentBuilder};
use rsync_proto::options::Info;
use rsync_proto::text::{Event, Topic};

use super::facts::{ChangeMode, Examiner, ReadAttributes};
use super::request::{Member, Origin};
use super::walk::{NameBuffer, put_joined};
use crate::error::EngineError;
use crate::session::Session;
use crate::tree::{ReadAt, Tree, TreeDir};

/// How often growth is reported, in entries.
const REPORT_EVERY: u64 = 100;

/// What is scanned.
pub struct ScanRequest {
    /// The source arguments, or with `--files-from` the one directory its names are in.
    pub sources: Vec<Vec<u8>>,
    /// Absolute path of the directory that relative arguments start at. For the top of a module it is `/`,
    /// or empty if messages shall quote paths in it without a slash in front.
    pub start_dir: Vec<u8>,
    /// The module's name, for messages.
    pub module: Option<Vec<u8>>,
    /// The user's filters.
    pub filters: Filters,
    /// The module's filters: what they exclude does not exist.
    pub module_filters: Option<Filters>,
    /// Which fields entries have.
    pub columns: Columns,
    /// `--chmod` and a module's `outgoing chmod`.
    pub change_mode: Option<ChangeMode>,
    /// Where ACLs and extended attributes come from, if they are sent.
    pub attributes: Option<Box<dyn ReadAttributes>>,
}

/// Takes the entries of a list in wire order.
pub trait ListSink {
    /// Takes an entry; `index` is the list's start plus the entry's position.
    ///
    /// # Errors
    /// Whatever makes going on pointless.
    fn entry(&mut self, index: u32, entry: &Entry) -> Result<(), EngineError>;
}

/// One finished list.
#[derive(Clone, Debug)]
pub struct ScannedList {
    /// Number of the directory that was listed; `None` for the first list.
    pub parent: Option<u32>,
    /// The entries, sorted.
    pub segment: Arc<Segment>,
    /// All I/O errors so far.
    pub io_error: IoErrorFlags,
}

/// A scan under way.
pub struct Scan {
    pub(super) tree: Arc<dyn Tree>,
    pub(super) examiner: Examiner,
    pub(super) sources: Vec<Vec<u8>>,
    pub(super) start_dir: Vec<u8>,
    pub(super) filters: Filters,
    pub(super) module_filters: Option<Filters>,
    pub(super) origins: Vec<Origin>,
    /// The rules a source argument starts with, once the ancestors of the first directory were read.
    pub(super) start_rules: Option<DirRules>,
    /// With `--relative` and incremental recursion: what is requested inside directories, by path.
    pub(super) members: HashMap<Vec<u8>, Vec<Member>>,
    /// Directories above requested names that were sent, by path.
    pub(super) implied: HashSet<Vec<u8>>,
    pub(super) sent_dot: bool,
    pub(super) entry: Entry,
    pub(super) names: NameBuffer,
    pending: Vec<Siblings>,
    /// Where the last file was opened: the next is probably there too.
    last_opened: Option<LastOpened>,
    next_start: u32,
    directories: u32,
    entries: u64,
}

/// A directory held open between files.
struct LastOpened {
    origin: u32,
    path: Vec<u8>,
    dir: Arc<dyn TreeDir>,
}

/// The directories of one list that are still to be listed.
struct Siblings {
    directories: Arc<Segment>,
    first_number: u32,
    next: usize,
    rules: Arc<RulesByOrigin>,
}

/// A directory whose turn has come.
struct NextDirectory {
    number: u32,
    path: Vec<u8>,
    /// Where its contents are wanted from.
    origins: Vec<u32>,
    around: Arc<RulesByOrigin>,
}

/// The per-directory rules in effect where a list's entries are, by origin.
pub(super) type RulesByOrigin = Vec<(u32, DirRules)>;

/// A list being made.
pub(super) struct ListUnderWay<'s> {
    builder: SegmentBuilder,
    sink: &'s mut dyn ListSink,
    pub(super) rules: RulesByOrigin,
    /// Without incremental recursion: directories to list, the next one last.
    pub(super) deeper: Vec<Deeper>,
}

/// A directory that is listed into the same list.
pub(super) struct Deeper {
    pub(super) path: Vec<u8>,
    pub(super) origin: u32,
    pub(super) rules: DirRules,
}

impl Scan {
    /// Prepares to scan `request` in `tree`.
    #[must_use]
    pub fn new(session: Arc<Session>, tree: Arc<dyn Tree>, request: ScanRequest) -> Self {
        let next_start = u32::from(session.negotiated.incremental_recursion());
        let mut examiner = Examiner::new(session, request.module, request.columns);
        examiner.change_mode = request.change_mode;
        examiner.attributes = request.attributes;
        Self {
            tree,
            examiner,
            sources: request.sources,
            start_dir: request.start_dir,
            filters: request.filters,
            module_filters: request.module_filters,
            origins: Vec::new(),
            start_rules: None,
            members: HashMap::new(),
            implied: HashSet::new(),
            sent_dot: false,
            entry: Entry::default(),
            names: NameBuffer::default(),
            pending: Vec::new(),
            last_opened: None,
            next_start,
            directories: 0,
            entries: 0,
        }
    }

    /// Makes the first list; without incremental recursion it is the only one. `requested` gives the
    /// names of `--files-from`, if that is in use.
    ///
    /// # Errors
    /// [`EngineError`] when the scan cannot go on; what concerns single names is reported as events.
    pub fn first(
        &mut self,
        requested: Option<&mut dyn FnMut() -> Result<Option<Vec<u8>>, EngineError>>,
        sink: &mut dyn ListSink,
    ) -> Result<ScannedList, EngineError> {
        let session = self.session();
        let incremental = session.negotiated.incremental_recursion();
        let directories = session.options.recurse || session.options.dirs;
        session.events.emit(Event::FileListStarted { sending: true, incremental, directories });
        if session.events.wants(Topic::Info(Info::Flist, 2)) {
            session.events.emit(Event::FileListGrown { entries: 0 });
        }
        let mut list = self.begin(None, sink);
        self.add_sources(requested, &mut list)?;
        let finished = self.finish(None, list)?;
        self.session().events.emit(Event::FileListFinished { entries: self.entries });
        Ok(finished)
    }

    /// Makes the list of the next directory; `None` when all were listed.
    ///
    /// # Errors
    /// Those of [`Scan::first`].
    pub fn next(&mut self, sink: &mut dyn ListSink) -> Result<Option<ScannedList>, EngineError> {
        let Some(NextDirectory { number, path, origins, around }) = self.next_directory() else {
            return Ok(None);
        };
        let mut list = self.begin(Some(number), sink);
        for origin in origins {
            let parent = rules_of(&around, origin).cloned().unwrap_or_default();
            self.add_contents(&mut list, origin, &path, &parent, true)?;
        }
        for member in self.members.remove(&path).unwrap_or_default() {
            self.add_member(&mut list, &path, &member, &around)?;
        }
        self.finish(Some(number), list).map(Some)
    }

    /// Whether every directory was listed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.pending.iter().all(|siblings| siblings.next >= siblings.directories.len())
    }

    /// The directory that the entries of `origin` are relative to, and its absolute path.
    #[must_use]
    pub fn origin(&self, origin: u32) -> Option<(&Arc<dyn TreeDir>, &[u8])> {
        let origin = self.origins.get(origin as usize)?;
        Some((&origin.dir, &origin.absolute))
    }

    /// The directory that the entries of `origin` are relative to, as it was written.
    #[must_use]
    pub fn written(&self, origin: u32) -> &[u8] {
        self.origins.get(origin as usize).map_or(b"", |origin| &origin.key.0)
    }

    /// Opens the content of a file that was listed under `path`.
    ///
    /// # Errors
    /// What the source says; `ELOOP` where a link took the place of a directory or of the file.
    pub fn open(&mut self, origin: u32, path: &[u8]) -> std::io::Result<Box<dyn ReadAt>> {
        let (dir_path, name) = rsync_proto::flist::split_path(path);
        let follows = self.examiner.follows_links();
        self.directory(origin, dir_path)?.open(name, follows)
    }

    /// The directory of listed files that is at `path`; it stays open until another one is asked for.
    ///
    /// # Errors
    /// What the source says; `ELOOP` where a link took the place of a directory.
    pub(crate) fn directory(&mut self, origin: u32, path: &[u8]) -> std::io::Result<&Arc<dyn TreeDir>> {
        let is_last = |last: &LastOpened| last.origin == origin && last.path == path;
        let last = match self.last_opened.take().filter(is_last) {
            Some(last) => last,
            None => {
                let from = self.origins.get(origin as usize).ok_or(std::io::ErrorKind::NotFound)?;
                LastOpened { origin, path: path.to_vec(), dir: self.open_under(from, path)? }
            }
        };
        Ok(&self.last_opened.insert(last).dir)
    }

    /// The next directory in depth-first order. Equal directories that follow each other are one.
    fn next_directory(&mut self) -> Option<NextDirectory> {
        loop {
            let siblings = self.pending.last_mut()?;
            let Some(directory) = siblings.directories.get(siblings.next) else {
                self.pending.pop();
                continue;
            };
            let number = siblings.first_number + siblings.next as u32;
            siblings.next += 1;
            let path = path_of(directory);
            if matches!(&path[..], b"." | b"/.") {
                continue;
            }
            let mut origins = Vec::new();
            let mut current = Some(directory);
            while let Some(same) = current {
                if same.flags().has(EntryFlags::CONTENT_DIR) && !origins.contains(&same.origin()) {
                    origins.push(same.origin());
                }
                current = siblings.directories.get(siblings.next).filter(|next| path_of(*next) == path);
                siblings.next += usize::from(current.is_some());
            }
            return Some(NextDirectory { number, path, origins, around: siblings.rules.clone() });
        }
    }

    fn begin<'s>(&mut self, parent: Option<u32>, sink: &'s mut dyn ListSink) -> ListUnderWay<'s> {
        let builder = SegmentBuilder::new(self.next_start, &self.examiner.columns);
        let builder = match parent {
            Some(parent) => builder.inside(parent),
            None => builder,
        };
        ListUnderWay { builder, sink, rules: Vec::new(), deeper: Vec::new() }
    }

    fn finish(&mut self, parent: Option<u32>, list: ListUnderWay<'_>) -> Result<ScannedList, EngineError> {
        let negotiated = &self.session().negotiated;
        let incremental = negotiated.incremental_recursion();
        let finish = Finish {
            order: Order::of(negotiated),
            clean: false,
            number_by_wire: self.examiner.columns.iconv,
            number_directories: incremental,
        };
        let segment = Arc::new(list.builder.finish(finish));
        self.next_start += segment.len() as u32 + 1;
        if let Some(directories) = segment.directories().cloned() {
            let first_number = self.directories;
            self.directories += directories.len() as u32;
            let rules = Arc::new(list.rules);
            self.pending.push(Siblings { directories, first_number, next: 0, rules });
        }
        Ok(ScannedList { parent, segment, io_error: self.session().errors.io_error() })
    }

    /// Appends [`Self::entry`] to `list`.
    pub(super) fn push(&mut self, list: &mut ListUnderWay<'_>) -> Result<(), EngineError> {
        let index = self.next_start + list.builder.len() as u32;
        list.sink.entry(index, &self.entry)?;
        list.builder.push(&self.entry)?;
        self.entries += 1;
        let reports = self.session().events.wants(Topic::Info(Info::Flist, 2));
        if reports && self.entries.is_multiple_of(REPORT_EVERY) {
            self.session().events.emit(Event::FileListGrown { entries: self.entries });
        }
        Ok(())
    }

    pub(super) fn session(&self) -> &Session {
        &self.examiner.session
    }
}

/// The path in the transfer, with the leading `/` of `--relative`.
fn path_of(entry: EntryRef<'_>) -> Vec<u8> {
    let key = entry.key();
    let mut path = Vec::with_capacity(key.dir.len() + key.base.len() + 1);
    put_joined(&mut path, if key.dir == b"/" { b"/." } else { key.dir }, key.base);
    path
}

pub(super) fn rules_of(rules: &RulesByOrigin, origin: u32) -> Option<&DirRules> {
    rules.iter().find(|(known, _)| *known == origin).map(|(_, rules)| rules)
}
