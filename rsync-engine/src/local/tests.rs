//! Many files under way: what is said, in which order, and what is left when the copy ends early.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rsync_proto::filter::Filters;
use rsync_proto::flist::{Kind, NoNames};
use rsync_proto::options::{SuperUser, TransferOptions};
use rsync_proto::session::{AlgorithmVariables, agree_locally};
use rsync_proto::text::{Event, EventSink, Stage, Topic};
use rustix::io::Errno;

use super::{LocalSetup, copy};
use crate::scan::ScanRequest;
use crate::tree::{LocalTree, ReadAt, Tree, TreeDir, TreeStat};
use crate::{EngineError, LinkControl, Session};

/// A local tree whose files called `*7` cannot be opened; the run is cancelled with one called `stop`.
struct Reluctant(LocalTree, LinkControl);

struct ReluctantDir(Arc<dyn TreeDir>, LinkControl);

impl Tree for Reluctant {
    fn open_base(&self, path: &[u8]) -> io::Result<Arc<dyn TreeDir>> {
        Ok(Arc::new(ReluctantDir(self.0.open_base(path)?, self.1.clone())))
    }

    fn read_operator_file(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        self.0.read_operator_file(path)
    }
}

impl TreeDir for ReluctantDir {
    fn names(&self, each: &mut dyn FnMut(&[u8], Option<Kind>)) -> io::Result<()> {
        self.0.names(each)
    }

    fn stat(&self, name: &[u8], follow: bool) -> io::Result<TreeStat> {
        self.0.stat(name, follow)
    }

    fn open_dir(&self, path: &[u8], follow: bool) -> io::Result<Arc<dyn TreeDir>> {
        Ok(Arc::new(Self(self.0.open_dir(path, follow)?, self.1.clone())))
    }

    fn open(&self, name: &[u8], follow: bool) -> io::Result<Box<dyn ReadAt>> {
        match name {
            b"stop" => self.1.abort(),
            name if name.ends_with(b"7") => return Err(Errno::ACCESS.into()),
            _ => {}
        }
        self.0.open(name, follow)
    }

    fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        self.0.read_link(name)
    }

    fn xattr_names(&self, name: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.0.xattr_names(name)
    }

    fn xattr(&self, name: &[u8], key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.0.xattr(name, key)
    }
}

/// Every line, in the order in which they come.
#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl EventSink for Lines {
    fn wants(&self, topic: Topic) -> bool {
        topic != Topic::Progress
    }

    fn emit(&self, event: Event<'_>) {
        let line = match event {
            Event::Item { stage, item } => {
                let stage = if stage == Stage::Begins { "begins" } else { "done" };
                format!("{stage} {} {}", String::from_utf8_lossy(item.entry.name), item.data_bytes)
            }
            Event::Deleted { name, .. } => format!("deleted {}", String::from_utf8_lossy(name)),
            Event::Message(message) => {
                let mut text = Vec::new();
                message.render(&mut text);
                String::from_utf8_lossy(&text).into_owned()
            }
            _ => return,
        };
        self.0.lock().expect("lines").push(line);
    }
}

/// Copies `source/` to `destination` below `place`.
fn run(place: &Path, destination: &str, options: TransferOptions) -> (Vec<String>, Result<(), EngineError>) {
    let lines = Arc::new(Lines::default());
    let control = LinkControl::new().expect("control");
    let negotiated = agree_locally(&options, &AlgorithmVariables::default()).expect("agreement");
    let session = Arc::new(Session::new(negotiated, options, false, lines.clone(), control.clone()));
    let source = [place.as_os_str().as_bytes(), b"/source/"].concat();
    let setup = LocalSetup {
        tree: Arc::new(Reluctant(LocalTree::here().expect("tree"), control)),
        request: ScanRequest {
            sources: vec![source],
            start_dir: place.as_os_str().as_bytes().to_vec(),
            module: None,
            filters: Filters::default(),
            module_filters: None,
            columns: session.columns(),
            change_mode: None,
            attributes: None,
        },
        names: None,
        destination: [place.as_os_str().as_bytes(), b"/", destination.as_bytes()].concat(),
        source_super_user: SuperUser::default(),
        munge_links: false,
        owners: Box::new(NoNames),
    };
    let result = copy(&session, setup).map(drop);
    let lines = lines.0.lock().expect("lines").iter().map(|line| line.replace(destination, "to")).collect();
    (lines, result)
}

fn options() -> TransferOptions {
    TransferOptions { hard_links: 1, whole_file: Some(true), ..TransferOptions::archive() }
}

fn fill(source: &Path) {
    for dir in 0..12 {
        let path = source.join(format!("d{dir:02}"));
        std::fs::create_dir_all(&path).expect("dir");
        for file in 0..90 {
            std::fs::write(path.join(format!("f{file:02}")), vec![b'x'; file * dir]).expect("file");
        }
        std::fs::hard_link(path.join("f05"), path.join("z-link")).expect("link");
    }
}

#[test]
fn lines_of_files_under_way_come_as_if_they_were_copied_one_by_one() {
    let place = tempfile::tempdir().expect("place");
    fill(&place.path().join("source"));
    for destination in ["aaa", "bbb", "ccc", "ddd"] {
        std::fs::create_dir_all(place.path().join(destination).join("d03/extra")).expect("dir");
    }
    let delete = rsync_proto::options::DeleteTiming::During;
    let ignoring = || TransferOptions { ignore_errors: true, delete, ..options() };
    let limited = TransferOptions { bwlimit: 1 << 30, ..ignoring() };
    let (expected, one_by_one) = run(place.path(), "aaa", limited);
    one_by_one.expect("copied");
    assert!(expected.iter().filter(|line| line.contains("Permission denied")).count() >= 12 * 9);
    assert!(expected.iter().any(|line| line.starts_with("deleted ")));
    let (lines, result) = run(place.path(), "bbb", ignoring());
    result.expect("copied");
    let (again, result) = run(place.path(), "ddd", ignoring());
    result.expect("copied");
    // Where it is said that a file has become a link of another depends on when that is known to be there.
    let apart_from_links = |lines: &[String]| -> Vec<String> {
        lines.iter().filter(|line| !line.ends_with("/f05 0")).cloned().collect()
    };
    let (ours, theirs) = (apart_from_links(&lines), apart_from_links(&expected));
    let differs = ours.iter().zip(&theirs).find(|(a, b)| a != b);
    assert_eq!((differs, lines.len()), (None, expected.len()));
    assert!(lines == again, "the same copy says the same");
    let late = TransferOptions { delete: rsync_proto::options::DeleteTiming::After, ..options() };
    let (lines, result) = run(place.path(), "ccc", late);
    result.expect("copied");
    assert!(
        place.path().join("ccc/d03/extra").is_dir(),
        "what could not be read stops deletions: {lines:#?}"
    );
}

#[test]
fn a_copy_that_is_cancelled_leaves_no_temporary_file() {
    let place = tempfile::tempdir().expect("place");
    let source = place.path().join("source");
    fill(&source);
    std::fs::write(source.join("d06/stop"), b"here").expect("file");
    let (_, result) = run(place.path(), "to", options());
    assert!(matches!(result, Err(EngineError::Cancelled)), "{result:?}");
    for dir in std::fs::read_dir(place.path().join("to")).expect("made") {
        for file in std::fs::read_dir(dir.expect("entry").path()).expect("dir") {
            let name = file.expect("entry").file_name();
            assert!(!name.as_bytes().starts_with(b"."), "{name:?}");
        }
    }
    assert!(!place.path().join("to/d11/f89").exists());
}
