//! Where a transfer goes: the destination argument against what is there (spec 07 §2).
//!
//! Links in it are followed only if they are trusted, and nothing is made through others (spec 10
//! §2, SEC-008).

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use bstr::BString;
use rsync_proto::filter::sanitize;
use rsync_proto::flist::EntryRef;
use rsync_proto::text::{Event, Message};

use crate::companions::{self, Alternate};
use crate::confine::{Bounds, Dir, DirStack, Stat};
use crate::{EngineError, Session};

/// The directory that entries are placed in.
#[derive(Debug)]
pub(crate) struct Destination {
    /// The root of everything that is written.
    pub(crate) root: Arc<Dir>,
    /// Its path for messages: absolute, or for a daemon that in its module.
    pub(crate) path: BString,
    /// Where paths that are relative to it may lead.
    pub(crate) bounds: Bounds,
    /// The single entry of the transfer is placed under this name, whatever its own is.
    pub(crate) local_name: Option<Vec<u8>>,
    /// The root was made by this run.
    pub(crate) created: bool,
    /// A dry run that would have made the root: nothing exists in it.
    pub(crate) imagined: bool,
    /// The alternate destinations, in the order of the options.
    pub(crate) alternates: Vec<Alternate>,
    /// The directory for temporary files, if it is not that of each file.
    pub(crate) temps: Option<Dir>,
}

impl Destination {
    /// Finds or makes the directory that `argument` means for a first list of `count` entries.
    pub(crate) fn resolve(
        session: &Session,
        argument: &[u8],
        count: usize,
        first: Option<EntryRef<'_>>,
    ) -> Result<Self, EngineError> {
        let argument = if argument.is_empty() { b"." } else { argument };
        let trimmed = without_trailing_slashes(argument);
        let slash = trimmed.len() < argument.len();
        let many = count > 1 || slash;
        if session.module.as_ref().is_some_and(|module| module.excludes(trimmed, many)) {
            return Err(refused(session, Message::DestinationExcluded(argument)));
        }
        match session.bounds().is_dir(argument) {
            Ok(true) => Self::enter_as(session, trimmed, argument, 1),
            Ok(_) if count > 1 => Err(refused(session, Message::DestinationMustBeDirectory)),
            Ok(_) if first.is_some_and(|entry| entry.is_dir()) => {
                Err(refused(session, Message::DirectoryOverFile))
            }
            Ok(_) => Self::file(session, trimmed),
            Err(error) if session.options.mkpath && (many || trimmed.contains(&b'/')) => {
                Self::make_path(session, argument, (count > 1, many), &error)
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed(session, "ERROR: cannot stat destination", argument, error))
            }
            Err(_) if many => Self::make(session, trimmed),
            Err(_) => Self::file(session, trimmed),
        }
    }

    /// Opens the directories beside it that the options name.
    ///
    /// # Errors
    /// [`EngineError::BadOptionDir`] if `--temp-dir` is none.
    pub(crate) fn with_companions(mut self, session: &Session) -> Result<Self, EngineError> {
        self.alternates = Alternate::open_all(session, &self);
        self.temps = companions::open_temp_dir(session, &self)?;
        Ok(self)
    }

    fn enter(session: &Session, path: &[u8], step: u8) -> Result<Self, EngineError> {
        Self::enter_as(session, path, path, step)
    }

    /// [`Destination::enter`], where messages show the path as it was `typed`.
    fn enter_as(session: &Session, path: &[u8], typed: &[u8], step: u8) -> Result<Self, EngineError> {
        let what = format!("change_dir#{step}");
        let cannot = |error| failed_to(session, &what, typed, error);
        let root = open(session, path).map_err(cannot)?;
        // It may be held without the right to look into it.
        root.stat(b".").map_err(cannot)?;
        let shown = match &session.module {
            None => std::fs::canonicalize(as_path(path)).map_err(cannot)?.as_os_str().as_bytes().into(),
            Some(module) => {
                let inside = in_module(session, path);
                let is_top = inside.is_empty() || inside.starts_with(b"/");
                let shown = if is_top { inside } else { [b"/", inside.as_slice()].concat().into() };
                // Only a dry run comes here twice.
                let _ = module.entered.set(shown.strip_prefix(b"/").unwrap_or(&shown).into());
                shown
            }
        };
        Ok(Self {
            root: Arc::new(root),
            bounds: session.bounds().at(path),
            path: shown,
            local_name: None,
            created: false,
            imagined: false,
            alternates: Vec::new(),
            temps: None,
        })
    }

    /// The one entry is placed at `path` itself.
    fn file(session: &Session, path: &[u8]) -> Result<Self, EngineError> {
        let (parent, name) = split(path);
        Ok(Self { local_name: Some(name.to_vec()), ..Self::enter(session, parent, 3)? })
    }

    fn make(session: &Session, path: &[u8]) -> Result<Self, EngineError> {
        if session.options.dry_run {
            return Self::imagine(session, path, true);
        }
        let (parent, name) = split(path);
        let made = match open(session, parent) {
            Ok(parent) => parent.mkdir(name, 0o777),
            Err(error) if is_loop(&error) => return Err(failed_to(session, "change_dir#2", path, error)),
            Err(error) => Err(error),
        };
        made.map_err(|error| not_made(session, path, error))?;
        session.say(Message::CreatedDirectory(path));
        Ok(Self { created: true, ..Self::enter(session, path, 2)? })
    }

    /// `--mkpath`, when looking at the destination failed with `error`: makes all missing directories,
    /// the destination itself among them where it is one.
    fn make_path(
        session: &Session,
        argument: &[u8],
        (several, many): (bool, bool),
        error: &io::Error,
    ) -> Result<Self, EngineError> {
        let path = without_trailing_slashes(argument);
        let wanted = if many { path } else { split(path).0 };
        if let Some(errno) = error.raw_os_error()
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(not_made(session, argument, io::Error::from_raw_os_error(errno)));
        }
        if session.options.dry_run {
            let missing = missing_components(session, wanted);
            if missing > 0 {
                session.say(Message::CreatedDirectories(missing, wanted));
            }
            return match several || many || missing > 0 {
                true => Self::imagine(session, path, many),
                false => Self::file(session, path),
            };
        }
        let (_, made) = session
            .start_dir()
            .and_then(|start| session.bounds().make_dir(&start, wanted, 0o777))
            .map_err(|error| match is_loop(&error) {
                true => failed_to(session, "mkpath", wanted, error),
                false => not_made(session, argument, error),
            })?;
        if made > 0 {
            session.say(Message::CreatedDirectories(made, wanted));
        }
        if many { Self::enter(session, path, 2) } else { Self::file(session, path) }
    }

    /// A dry run that would have made `path`, or its parent for a single entry.
    fn imagine(session: &Session, path: &[u8], is_directory: bool) -> Result<Self, EngineError> {
        if is_directory {
            session.say(Message::CreatedDirectory(path));
        }
        let nowhere = Self::enter(session, b".", 2)?;
        Ok(Self { path: path.into(), created: true, imagined: true, ..nowhere })
    }

    /// The path of an entry of the transfer from the root of a daemon's module.
    pub(crate) fn module_path(&self, path: &[u8]) -> Vec<u8> {
        match &self.bounds {
            Bounds::Module { base, .. } if base != b"." => {
                [base.strip_suffix(b"/").unwrap_or(base), b"/", path].concat()
            }
            _ => path.to_vec(),
        }
    }

    /// A way to look up directories of the transfer.
    pub(crate) fn dirs(&self, session: &Session) -> DirStack {
        let links = session.options.keep_dirlinks.then(|| self.bounds.clone());
        DirStack::new(Arc::clone(&self.root)).following(links)
    }

    /// What is at the place of `entry`.
    pub(crate) fn stat(&self, session: &Session, entry: EntryRef<'_>) -> io::Result<Stat> {
        let (dir, name) = self.place_of(&entry);
        self.dirs(session).dir(dir)?.stat(name)
    }

    /// Directory part and name under which `entry` is placed.
    pub(crate) fn place_of<'a>(&'a self, entry: &EntryRef<'a>) -> (&'a [u8], &'a [u8]) {
        match &self.local_name {
            Some(name) => (b"", name),
            None => (entry.dir(), entry.name()),
        }
    }
}

fn as_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

/// Directory part and last component.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(0) => (b"/", &path[1..]),
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b".", path),
    }
}

fn open(session: &Session, path: &[u8]) -> io::Result<Dir> {
    session.bounds().open_dir(&session.start_dir()?, path)
}

fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

fn without_trailing_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(1, |last| last + 1);
    &path[..end.min(path.len())]
}

/// Says why the destination cannot serve, and ends the run with exit 3.
fn refused(session: &Session, message: Message<'_>) -> EngineError {
    let mut text = Vec::new();
    message.render(&mut text);
    session.events.emit(Event::Message(message));
    EngineError::Refused
}

/// A path as messages quote it: absolute, or with the module that it is in.
fn quoted(session: &Session, path: &[u8]) -> BString {
    let whole: BString = match &session.module {
        None => {
            let here = std::env::current_dir().unwrap_or_default();
            here.join(as_path(path)).into_os_string().as_bytes().into()
        }
        Some(_) => in_module(session, path),
    };
    let mut out = Vec::new();
    session.place(b"", &whole).render(&mut out);
    out.into()
}

/// A path in the module as the module's own process would name it.
fn in_module(session: &Session, path: &[u8]) -> BString {
    let is_root = session.module.as_ref().is_some_and(|module| module.path == "/");
    let path = sanitize(path, false);
    match path.strip_suffix(b"/").unwrap_or(&path) {
        b"." if is_root => "/".into(),
        b"." => BString::default(),
        path if is_root => [b"/", path].concat().into(),
        path => path.into(),
    }
}

fn failed(session: &Session, what: &str, path: &[u8], source: io::Error) -> EngineError {
    let text = format!("rsync: [Receiver] {what} {}", quoted(session, path));
    EngineError::Destination { text: text.into(), source }
}

fn failed_to(session: &Session, what: &str, path: &[u8], source: io::Error) -> EngineError {
    let text = format!("rsync: [Receiver] {what} {} failed", quoted(session, path));
    EngineError::Destination { text: text.into(), source }
}

fn not_made(session: &Session, path: &[u8], source: io::Error) -> EngineError {
    let text = format!("rsync: [Receiver] mkdir {} failed", quoted(session, path));
    EngineError::FileIo { text: text.into(), source }
}

/// How many directories of `path` do not exist.
fn missing_components(session: &Session, path: &[u8]) -> usize {
    let bounds = session.bounds();
    let ends = path.iter().enumerate().filter(|&(at, byte)| *byte == b'/' && at > 0).map(|(at, _)| at);
    let prefixes = ends.chain(std::iter::once(path.len()));
    prefixes.filter(|&end| path[end - 1] != b'/' && bounds.is_dir(&path[..end]).is_err()).count()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{lchown, symlink};

    use rsync_proto::exit::ExitCode;
    use rsync_proto::options::TransferOptions;
    use rsync_proto::session::{CompatFlags, Negotiated};
    use rsync_proto::text::{EventSink, Topic};

    use super::*;
    use crate::LinkControl;

    struct Silent;

    impl EventSink for Silent {
        fn wants(&self, _: Topic) -> bool {
            false
        }

        fn emit(&self, _: Event<'_>) {}
    }

    fn session(options: TransferOptions) -> Session {
        let negotiated = Negotiated::new(31, CompatFlags::default());
        Session::new(negotiated, options, false, Arc::new(Silent), LinkControl::new().expect("control"))
    }

    fn resolve(
        path: &Path,
        suffix: &str,
        count: usize,
        options: TransferOptions,
    ) -> Result<Destination, EngineError> {
        let argument = [path.as_os_str().as_bytes(), suffix.as_bytes()].concat();
        Destination::resolve(&session(options), &argument, count, None)
    }

    #[test]
    fn a_missing_directory_is_made_for_several_entries_and_a_name_taken_for_one() {
        let place = tempfile::tempdir().expect("a directory");
        let one = resolve(&place.path().join("file"), "", 1, TransferOptions::default()).expect("a file");
        assert_eq!(one.local_name.as_deref(), Some(&b"file"[..]));
        assert!(!place.path().join("file").exists());
        for (name, suffix, count) in [("many", "", 2), ("slash", "//", 1)] {
            let made = resolve(&place.path().join(name), suffix, count, TransferOptions::default());
            assert_eq!(made.expect("made").local_name, None);
            assert!(place.path().join(name).is_dir());
        }
        let deep =
            resolve(&place.path().join("x/y"), "", 2, TransferOptions::default()).expect_err("no parent");
        assert_eq!(deep.exit_code(), ExitCode::FILE_IO);
    }

    #[test]
    fn mkpath_makes_the_parents_too() {
        let place = tempfile::tempdir().expect("a directory");
        let options = || TransferOptions { mkpath: true, ..TransferOptions::default() };
        assert!(resolve(&place.path().join("a/b/c"), "", 2, options()).expect("made").local_name.is_none());
        assert!(place.path().join("a/b/c").is_dir());
        let one = resolve(&place.path().join("p/q/file"), "", 1, options()).expect("made");
        assert_eq!(one.local_name.as_deref(), Some(&b"file"[..]));
        assert!(place.path().join("p/q").is_dir() && !place.path().join("p/q/file").exists());
    }

    #[test]
    fn a_dangling_link_is_no_place_for_a_directory() {
        let place = tempfile::tempdir().expect("a directory");
        symlink("nowhere", place.path().join("l")).expect("link");
        let error =
            resolve(&place.path().join("l"), "", 2, TransferOptions::default()).expect_err("dangling");
        assert_eq!(error.exit_code(), ExitCode::FILE_IO);
        assert!(!place.path().join("nowhere").exists());
    }

    #[test]
    fn only_trusted_links_lead_to_a_destination_and_nothing_is_made_through_others() {
        let place = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(place.path().join("real")).expect("dir");
        symlink("real", place.path().join("own")).expect("link");
        assert!(resolve(&place.path().join("own"), "", 2, TransferOptions::default()).is_ok());
        if !rustix::process::geteuid().is_root() {
            return;
        }
        symlink("real", place.path().join("evil")).expect("link");
        lchown(place.path().join("evil"), Some(65_534), None).expect("chown");
        for (name, mkpath) in [("evil", false), ("evil/new", false), ("evil/new/deeper", true)] {
            let options = TransferOptions { mkpath, ..TransferOptions::default() };
            let error = resolve(&place.path().join(name), "", 2, options).expect_err(name);
            assert_eq!(error.exit_code(), ExitCode::FILE_SELECT, "{name}");
        }
        assert_eq!(std::fs::read_dir(place.path().join("real")).expect("readdir").count(), 0);
        let options = TransferOptions { insecure_links: true, ..TransferOptions::default() };
        assert!(resolve(&place.path().join("evil/new"), "", 2, options).is_ok());
        assert!(place.path().join("real/new").is_dir());
    }
}
