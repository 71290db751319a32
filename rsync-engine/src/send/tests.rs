//! Sessions with a scripted receiving side (spec 02 §11).

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use rsync_proto::exit::ExitCode;
use rsync_proto::filter::{FilterNote, Filters, OpenFailure, RuleFile, RuleFiles};
use rsync_proto::flist::{Columns, Entry, EntryRef, Finish, Order, Segment, SegmentBuilder};
use rsync_proto::options::{RemoveSource, TransferOptions};
use rsync_proto::session::{CompatFlags, Negotiated};
use rsync_proto::sum::{Checksum, Digest};
use rsync_proto::text::{Event, EventSink, Place, Topic};
use rsync_proto::wire::{Demux, Legal, Message, Mux, Ndx, NdxEncoder};

use super::{Agreed, ListWire, Lists, SendReport, SendSetup, send};
use crate::tree::{LocalTree, MemoryTree, ReadAt, Tree, TreeDir};
use crate::{Connection, EngineError, Link, Session};

/// What stands for the bytes of a list.
const LIST: &[u8] = b"<list>";
const NO_SUMS: [u8; 16] = [0; 16];

struct Quiet(Mutex<Vec<String>>);

impl EventSink for Quiet {
    fn wants(&self, topic: Topic) -> bool {
        topic == Topic::Always
    }

    fn emit(&self, event: Event<'_>) {
        if let Event::Message(message) = event {
            let mut text = Vec::new();
            message.render(&mut text);
            self.0.lock().expect("unpoisoned").push(String::from_utf8(text).expect("text"));
        }
    }
}

struct NoFiles;

impl RuleFiles for NoFiles {
    fn read(&mut self, _: RuleFile<'_>) -> Result<Vec<u8>, OpenFailure> {
        Err(OpenFailure { reason: "none".into() })
    }

    fn note(&mut self, _: FilterNote) {}
}

/// Lists made of paths; a directory ends with `/`.
struct Given {
    incremental: bool,
    dir: Arc<dyn TreeDir>,
    lists: Vec<(u32, Vec<&'static str>)>,
    start: u32,
    sizes: u64,
}

impl Given {
    fn segment(&mut self, parent: Option<u32>, paths: &[&str]) -> Arc<Segment> {
        let mut builder = SegmentBuilder::new(self.start, &Columns::default());
        if let Some(parent) = parent {
            builder = builder.inside(parent);
        }
        for path in paths {
            let is_dir = *path == "." || path.ends_with('/');
            let mode = if is_dir { 0o040_755 } else { 0o100_644 };
            let path = path.trim_end_matches('/').as_bytes().to_vec();
            let size = if is_dir { 0 } else { self.sizes };
            let entry = Entry { path, mode, size, ..Entry::default() };
            builder.push(&entry).expect("small");
        }
        self.start += paths.len() as u32 + 1;
        let finish =
            Finish { order: Order::ByComponent, number_directories: self.incremental, ..Finish::default() };
        Arc::new(builder.finish(finish))
    }
}

impl Lists for Given {
    fn first(&mut self, wire: &mut ListWire<'_>) -> Result<Arc<Segment>, EngineError> {
        wire.put(LIST)?;
        let (_, paths) = self.lists.remove(0);
        Ok(self.segment(None, &paths))
    }

    fn next(&mut self, wire: &mut ListWire<'_>) -> Result<Option<Arc<Segment>>, EngineError> {
        if self.lists.is_empty() {
            return Ok(None);
        }
        let (parent, paths) = self.lists.remove(0);
        wire.announce(parent)?;
        wire.put(LIST)?;
        Ok(Some(self.segment(Some(parent), &paths)))
    }

    fn open(&mut self, entry: EntryRef<'_>) -> io::Result<Box<dyn ReadAt>> {
        self.dir_of(entry)?.open(entry.name(), false)
    }

    fn dir_of(&mut self, entry: EntryRef<'_>) -> io::Result<Arc<dyn TreeDir>> {
        self.dir.open_dir(entry.dir(), false)
    }

    fn place<'a>(&'a self, _: u32, name: &'a [u8]) -> Place<'a> {
        Place::new(b"/src", name)
    }

    fn source_dir(&self, _: u32) -> &[u8] {
        b""
    }

    fn xattr_values(&mut self, _: EntryRef<'_>, _: &[u8], _: &mut Vec<u8>) -> Result<(), EngineError> {
        Ok(())
    }
}

/// A receiving client, played by the test.
struct Peer {
    socket: UnixStream,
    demux: Demux,
    mux: Mux,
    messages: Vec<Message>,
}

impl Peer {
    fn says(&mut self, bytes: &[u8]) {
        self.mux.data(bytes);
        self.send();
    }

    fn tells(&mut self, message: &Message) {
        assert!(self.mux.message(message));
        self.send();
    }

    fn send(&mut self) {
        let pending = self.mux.pending().to_vec();
        self.socket.write_all(&pending).expect("write");
        self.mux.advance(pending.len());
    }

    fn fill(&mut self) -> usize {
        let spare = self.demux.spare(4096);
        let count = self.socket.read(spare).expect("read");
        self.demux.filled(count);
        count
    }

    #[track_caller]
    fn hears(&mut self, expected: &[u8]) {
        while !self.demux.need(expected.len()).expect("frames") {
            assert_ne!(self.fill(), 0, "closed early");
        }
        self.messages.extend(std::iter::from_fn(|| self.demux.next_message()));
        assert_eq!(&self.demux.payload()[..expected.len()], expected);
        self.demux.consume(expected.len());
    }

    #[track_caller]
    fn hears_end(&mut self) {
        while !self.demux.need(1).expect("frames") {
            if self.fill() == 0 {
                break;
            }
        }
        self.messages.extend(std::iter::from_fn(|| self.demux.next_message()));
        assert_eq!(self.demux.payload(), b"");
    }
}

struct Play {
    negotiated: Negotiated,
    options: TransferOptions,
    lists: Vec<(u32, Vec<&'static str>)>,
    tree: Arc<dyn Tree>,
    size: u64,
}

struct Outcome {
    result: Result<SendReport, EngineError>,
    code: ExitCode,
    texts: Vec<String>,
}

impl Play {
    fn new(protocol: u8) -> Self {
        let flags = CompatFlags(CompatFlags::VARINT_FLIST_FLAGS | CompatFlags::SAFE_FILE_LIST);
        let mut negotiated = Negotiated::new(protocol, flags);
        negotiated.seed = 1;
        if negotiated.is_modern() {
            negotiated.checksum.transfer = Checksum::Xxh128;
        }
        let mut tree = MemoryTree::new();
        tree.insert(b"a", 0o100_644, b"hello\n");
        Self {
            negotiated,
            options: TransferOptions::default(),
            lists: vec![(0, vec![".", "a"])],
            tree: Arc::new(tree),
            size: 6,
        }
    }

    fn digest(&self, data: &[u8]) -> Vec<u8> {
        let mut digest = Digest::whole_file(self.negotiated.checksum.transfer, self.negotiated.seed);
        digest.update(data);
        digest.finish().to_vec()
    }

    fn run(self, play: impl FnOnce(&mut Peer) + Send) -> Outcome {
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        let patience = Some(std::time::Duration::from_secs(5));
        theirs.set_read_timeout(patience).expect("timeout");
        let link = Link::from_fds(ours.try_clone().expect("clone").into(), ours.into()).expect("link");
        let connection = Connection::new(link);
        let events = Arc::new(Quiet(Mutex::default()));
        let control = connection.control().clone();
        let removes = self.options.remove_source != RemoveSource::No;
        let legal = Legal::new(&self.negotiated, true, false, removes);
        let mut peer = Peer { socket: theirs, demux: Demux::new(), mux: Mux::new(), messages: Vec::new() };
        peer.demux.start_framing(legal);
        if self.negotiated.is_modern() || removes {
            peer.mux.start_framing(legal.of_peer());
        }
        let incremental = self.negotiated.incremental_recursion();
        let session = Session::new(self.negotiated, self.options, true, events.clone(), control);
        let dir = self.tree.open_base(b"").expect("base");
        let start = u32::from(incremental);
        let (lists, sizes) = (self.lists, self.size);
        let open = |_: Agreed| Ok(Given { incremental, dir, lists, start, sizes });
        let setup = SendSetup { filters: Filters::new(), rule_files: &mut NoFiles, announced_timeout: None };
        let result = std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                peer.says(&[0; 4]);
                play(&mut peer);
            });
            let result = send(connection, &session, setup, open);
            thread.join().expect("the script holds");
            result
        });
        let texts = std::mem::take(&mut *events.0.lock().expect("unpoisoned"));
        Outcome { result, code: session.exit_code(), texts }
    }
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// The answer to a whole-file request of "hello\n", from the sum head on.
fn hello(play: &Play) -> Vec<u8> {
    joined(&[&NO_SUMS, b"\x06\0\0\0hello\n\0\0\0\0", &play.digest(b"hello\n")])
}

#[test]
fn a_pull_of_protocol_31_runs_as_recorded() {
    let play = Play::new(31);
    let answer = hello(&play);
    assert_eq!(answer[30..32], [0x9c, 0xe4]);
    let outcome = play.run(|peer| {
        peer.hears(LIST);
        peer.says(b"\x01\x08\x00");
        peer.hears(b"\x01\x08\x00");
        peer.says(&joined(&[b"\x01\x00\xa0", &NO_SUMS, b"\0"]));
        peer.hears(&joined(&[b"\x01\x00\xa0", &answer, b"\0"]));
        peer.says(b"\x00\x00\xff\x02\x01\x01\0\0\0\0");
        peer.hears(b"\0\0");
        let read = [0, 53, 0];
        let written = [0, 10 + 7 + 54 + 6, 0];
        peer.hears(&joined(&[&read, &written, &[0, 6, 0, 0, 1, 0, 0, 0, 0]]));
        peer.hears(b"\xff\x02\x01\x01\0\0\0\0");
        peer.says(b"\0");
        peer.hears_end();
    });
    let report = outcome.result.expect("success");
    assert_eq!(report.total_size, 6);
    assert_eq!(report.deleted.map(|deleted| (deleted.files, deleted.dirs)), Some((1, 1)));
    assert_eq!(report.created.files, 1);
    assert!(outcome.code.is_ok());
}

#[test]
fn a_pull_of_protocol_28_has_no_flags_and_a_short_end() {
    let play = Play::new(28);
    let answer = hello(&play);
    let done = [0xff; 4];
    let outcome = play.run(|peer| {
        peer.hears(LIST);
        peer.says(&joined(&[&1_i32.to_le_bytes(), &NO_SUMS, &done]));
        peer.hears(&joined(&[&1_i32.to_le_bytes(), &answer, &done]));
        peer.says(&done);
        peer.hears(&done);
        peer.says(&done);
        peer.demux.need(12).expect("frames");
        while !peer.demux.need(12).expect("frames") {
            peer.fill();
        }
        assert_eq!(peer.demux.payload()[8..12], [6, 0, 0, 0]);
        peer.demux.consume(12);
        peer.hears_end();
    });
    assert!(outcome.result.is_ok());
}

#[test]
fn a_vanished_file_is_refused_and_told() {
    let mut play = Play::new(32);
    play.lists = vec![(0, vec!["gone"])];
    let outcome = play.run(|peer| {
        peer.hears(LIST);
        peer.says(&joined(&[b"\x01\x00\xa0", &NO_SUMS, b"\0"]));
        peer.hears(b"\0");
        assert_eq!(peer.messages, [Message::NoSend(0)]);
        peer.says(b"\0\0");
        peer.hears(b"\0\0");
        assert!(matches!(peer.messages[1], Message::IoError(flags) if flags.bits() == 2));
        peer.says(b"\0\0");
        while peer.fill() > 0 {}
    });
    assert!(outcome.result.is_ok());
    assert_eq!(outcome.code, ExitCode::VANISHED);
    assert_eq!(outcome.texts, ["file has vanished: \"/src/gone\""]);
}

#[test]
fn a_dry_run_echoes_attributes_alone() {
    let mut play = Play::new(32);
    play.options.dry_run = true;
    let outcome = play.run(|peer| {
        peer.hears(LIST);
        peer.says(b"\x02\x00\xa0\0\0\0");
        peer.hears(b"\x02\x00\xa0\0\0\0");
        peer.says(b"\0\0");
        while peer.fill() > 0 {}
    });
    assert!(outcome.result.is_ok());
}

#[test]
fn incremental_lists_go_ahead_and_are_released_in_order() {
    let mut play = Play::new(32);
    let flags = CompatFlags(play.negotiated.compat().0 | CompatFlags::INC_RECURSE);
    let checksum = play.negotiated.checksum;
    play.negotiated = Negotiated::new(32, flags);
    play.negotiated.checksum = checksum;
    play.lists = vec![(0, vec![".", "p/", "z/"]), (1, vec!["p/q/"]), (3, vec!["p/q/f"]), (2, vec!["z/g"])];
    let mut tree = MemoryTree::new();
    tree.insert(b"p/q/f", 0o100_644, b"hello\n");
    tree.insert(b"z/g", 0o100_644, b"hello\n");
    play.tree = Arc::new(tree);
    let answer = hello(&play);
    let outcome = play.run(|peer| {
        let lists = [LIST, b"\xff\x65", LIST, b"\xff\x02", LIST, b"\xff\xfe\x80\x67\0\0", LIST];
        peer.hears(&joined(&lists));
        peer.hears(b"\xff\xfe\x80\x02\0\0");
        let item = b"\x01\x00\xa0";
        peer.says(b"\x01\x08\x00\x04\x00\x60\x00\x02\x00\x60");
        peer.hears(b"\x01\x08\x00\x04\x00\x60\x00\x02\x00\x60");
        peer.says(&joined(&[item, &NO_SUMS, b"\0\x01\x00\x60", item, &NO_SUMS]));
        peer.hears(&joined(&[item, &answer, b"\0\x01\x00\x60", item, &answer]));
        peer.says(b"\0\0");
        peer.hears(b"\0\0");
        peer.says(b"\0\0\0");
        peer.hears(b"\0\0");
        peer.says(b"\0");
        while peer.fill() > 0 {}
    });
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
}

#[test]
fn lists_go_ten_thousand_entries_ahead_of_a_receiver_that_asks_for_nothing() {
    let mut play = Play::new(32);
    let flags = CompatFlags(play.negotiated.compat().0 | CompatFlags::INC_RECURSE);
    play.negotiated = Negotiated::new(32, flags);
    let leaked = |name: String| -> &'static str { name.leak() };
    let directories = (0..110).map(|number| leaked(format!("d{number:03}/")));
    play.lists = vec![(0, std::iter::once(".").chain(directories.clone()).collect())];
    for (number, directory) in (1..).zip(directories) {
        play.lists.push((number, (0..100).map(|file| leaked(format!("{directory}f{file:02}"))).collect()));
    }
    play.run(|peer| {
        let mut ndx = NdxEncoder::new(true);
        let mut list = |dir: u32| {
            let mut expected = Vec::new();
            ndx.encode(&mut expected, Ndx::SubList { dir });
            joined(&[&expected, LIST])
        };
        peer.hears(LIST);
        for dir in 1..=100 {
            peer.hears(&list(dir));
        }
        peer.says(b"\0");
        peer.hears(b"\0");
        peer.hears(&list(101));
    });
}

#[test]
fn a_first_list_of_one_entry_is_followed_by_the_next_unprompted() {
    let mut play = Play::new(32);
    let flags = CompatFlags(play.negotiated.compat().0 | CompatFlags::INC_RECURSE);
    play.negotiated = Negotiated::new(32, flags);
    play.lists = vec![(0, vec!["a"])];
    let outcome = play.run(|peer| {
        peer.hears(&joined(&[LIST, b"\xff\x01"]));
        peer.says(b"\0");
        peer.hears(b"\0");
        peer.says(b"\0\0\0");
        peer.says(b"\0");
        while peer.fill() > 0 {}
    });
    assert!(outcome.result.is_ok());
}

#[test]
fn an_empty_list_ends_a_pull_without_phases() {
    let mut play = Play::new(32);
    play.lists = vec![(0, vec![])];
    let outcome = play.run(|peer| {
        peer.hears(LIST);
        peer.hears_end();
    });
    assert!(outcome.result.is_ok());
}

#[test]
fn a_request_for_a_directory_is_answered_by_an_exit() {
    let outcome = Play::new(32).run(|peer| {
        peer.hears(LIST);
        peer.says(&joined(&[b"\x01\x00\xa0", &NO_SUMS]));
        peer.hears_end_after_exit();
        assert!(matches!(peer.messages.last(), Some(Message::ErrorExit(Some(2)))), "{:?}", peer.messages);
    });
    assert_eq!(outcome.result.expect_err("refused").exit_code(), ExitCode::PROTOCOL);
}

impl Peer {
    /// Reads until ERROR_EXIT, then closes.
    fn hears_end_after_exit(&mut self) {
        while !matches!(self.messages.last(), Some(Message::ErrorExit(_))) {
            let _ = self.demux.need(1).expect("frames");
            self.messages.extend(std::iter::from_fn(|| self.demux.next_message()));
            if !matches!(self.messages.last(), Some(Message::ErrorExit(_))) {
                assert_ne!(self.fill(), 0, "closed early");
            }
        }
        self.socket.shutdown(std::net::Shutdown::Both).expect("shutdown");
    }
}

#[test]
fn a_peer_that_leaves_gets_its_exit_acknowledged() {
    let outcome = Play::new(32).run(|peer| {
        peer.hears(LIST);
        peer.tells(&Message::ErrorExit(Some(11)));
        peer.hears_end_after_exit();
        assert_eq!(peer.messages, [Message::ErrorExit(None)]);
    });
    assert!(matches!(outcome.result, Err(EngineError::PeerExit(ExitCode::FILE_IO))));
}

#[test]
fn a_peer_that_vanishes_is_an_unexpected_end() {
    let outcome = Play::new(32).run(|peer| {
        peer.hears(LIST);
        peer.socket.shutdown(std::net::Shutdown::Both).expect("shutdown");
    });
    assert_eq!(outcome.result.expect_err("cut").exit_code(), ExitCode::STREAM);
}

#[test]
fn sums_find_blocks_and_a_second_request_of_an_appended_file_is_a_delta() {
    use rsync_proto::delta::SumTable;
    use rsync_proto::options::Append;
    use rsync_proto::sum::SumHead;
    let mut play = Play::new(32);
    play.options.append = Append::Blind;
    play.options.inplace = true;
    play.lists = vec![(0, vec!["a"])];
    let head = SumHead { count: 2, block_len: 2, strong_len: 2, remainder: 1 };
    let table = SumTable::of_basis(head, Checksum::Xxh128, 1, b"hel");
    let mut bytes = Vec::new();
    head.encode(&mut bytes);
    let head_bytes = bytes.clone();
    table.encode(&mut bytes);
    let (tail, whole) = (play.digest(b"lo\n"), play.digest(b"hello\n"));
    let outcome = play.run(|peer| {
        peer.hears(LIST);
        peer.says(&joined(&[b"\x01\x00\x80", &head_bytes]));
        peer.hears(&joined(&[b"\x01\x00\x80", &head_bytes, b"\x03\0\0\0lo\n\0\0\0\0", &tail]));
        peer.says(&joined(&[b"\0\xfe\0\0\x00\x80", &bytes]));
        let tokens = b"\xff\xff\xff\xff\x02\0\0\0ll\x01\0\0\0o\x01\0\0\0\n\0\0\0\0";
        peer.hears(&joined(&[b"\0\xfe\0\0\x00\x80", &head_bytes, tokens, &whole]));
        peer.says(b"\0\0\0\0");
        while peer.fill() > 0 {}
    });
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
}

#[test]
fn a_source_is_removed_once_it_is_in_place() {
    let dir = tempfile::tempdir().expect("directory");
    std::fs::write(dir.path().join("a"), b"hello\n").expect("file");
    let file = std::fs::File::options().write(true).open(dir.path().join("a")).expect("file");
    file.set_modified(std::time::UNIX_EPOCH).expect("time");
    let mut play = Play::new(29);
    play.options.remove_source = RemoveSource::Files;
    play.lists = vec![(0, vec!["a"])];
    play.tree = local(dir.path());
    let done = [0xff; 4];
    let outcome = play.run(|peer| {
        peer.hears(LIST);
        peer.tells(&Message::Success(0));
        peer.says(&done);
        peer.hears(&done);
        peer.says(&joined(&[&done, &done, &done]));
        while peer.fill() > 0 {}
    });
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert!(!dir.path().join("a").exists());
}

/// SEC-022: what is there now was never sent.
#[test]
fn a_source_that_changed_since_it_was_listed_is_kept() {
    for (content, time) in [(&b"longer than listed\n"[..], 0), (b"HELLO\n", 1)] {
        let dir = tempfile::tempdir().expect("directory");
        std::fs::write(dir.path().join("a"), content).expect("file");
        let file = std::fs::File::options().write(true).open(dir.path().join("a")).expect("file");
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(time);
        file.set_modified(time).expect("time");
        let mut play = Play::new(29);
        play.options.remove_source = RemoveSource::Files;
        play.lists = vec![(0, vec!["a"])];
        play.tree = local(dir.path());
        let done = [0xff; 4];
        let outcome = play.run(|peer| {
            peer.hears(LIST);
            peer.tells(&Message::Success(0));
            peer.says(&done);
            peer.hears(&done);
            peer.says(&joined(&[&done, &done, &done]));
            while peer.fill() > 0 {}
        });
        assert!(outcome.result.is_ok(), "{:?}", outcome.result);
        assert_eq!(outcome.code, ExitCode::PARTIAL, "{:?}", outcome.texts);
        assert!(dir.path().join("a").exists());
    }
}

fn local(path: &std::path::Path) -> Arc<dyn Tree> {
    Arc::new(LocalTree::new(crate::Dir::open(path).expect("directory")))
}
