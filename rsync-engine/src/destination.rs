//! Where a transfer goes: the destination argument against what is there (spec 07 §2).

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use bstr::BString;
use rsync_proto::flist::EntryRef;
use rsync_proto::text::{Event, Message};
use rustix::fs::Mode;

use crate::confine::Dir;
use crate::{EngineError, Session};

/// The directory that entries are placed in.
#[derive(Debug)]
pub(crate) struct Destination {
    /// The root of everything that is written.
    pub(crate) root: Arc<Dir>,
    /// Its absolute path, for messages.
    pub(crate) path: BString,
    /// The single entry of the transfer is placed under this name, whatever its own is.
    pub(crate) local_name: Option<Vec<u8>>,
    /// A dry run that would have made the root: nothing exists in it.
    pub(crate) imagined: bool,
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
        match std::fs::metadata(as_path(argument)) {
            Ok(metadata) if metadata.is_dir() => Self::enter(trimmed, 1),
            Ok(_) if count > 1 => Err(refused(session, Message::DestinationMustBeDirectory)),
            Ok(_) if first.is_some_and(|entry| entry.is_dir()) => {
                Err(refused(session, Message::DirectoryOverFile))
            }
            Ok(_) => Self::file(trimmed),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("stat", argument, error)),
            Err(_) if session.options.mkpath => Self::make_path(session, trimmed, many),
            Err(_) if many => Self::make(session, trimmed),
            Err(_) => Self::file(trimmed),
        }
    }

    fn enter(path: &[u8], step: u8) -> Result<Self, EngineError> {
        let what = format!("change_dir#{step}");
        let root = Dir::open(as_path(path)).map_err(|error| failed(&what, path, error))?;
        let absolute = std::fs::canonicalize(as_path(path)).map_err(|error| failed(&what, path, error))?;
        Ok(Self {
            root: Arc::new(root),
            path: absolute.as_os_str().as_bytes().into(),
            local_name: None,
            imagined: false,
        })
    }

    /// The one entry is placed at `path` itself.
    fn file(path: &[u8]) -> Result<Self, EngineError> {
        let (parent, name) = match path.iter().rposition(|&byte| byte == b'/') {
            Some(0) => (&b"/"[..], &path[1..]),
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&b"."[..], path),
        };
        Ok(Self { local_name: Some(name.to_vec()), ..Self::enter(parent, 3)? })
    }

    fn make(session: &Session, path: &[u8]) -> Result<Self, EngineError> {
        if session.options.dry_run {
            session.say(Message::CreatedDirectory(path));
            let nowhere = Self::enter(b".", 2)?;
            return Ok(Self { path: path.into(), imagined: true, ..nowhere });
        }
        rustix::fs::mkdir(path, Mode::from_raw_mode(0o777)).map_err(|error| EngineError::FileIo {
            text: format!("rsync: [Receiver] mkdir \"{}\" failed", bstr::BStr::new(path)).into(),
            source: error.into(),
        })?;
        session.say(Message::CreatedDirectory(path));
        Self::enter(path, 2)
    }

    /// `--mkpath`: makes all missing parents, and the directory itself where it is one.
    fn make_path(session: &Session, path: &[u8], many: bool) -> Result<Self, EngineError> {
        let parent = path.iter().rposition(|&byte| byte == b'/').map_or(&b""[..], |slash| &path[..slash]);
        let wanted = if many { path } else { parent };
        if !session.options.dry_run {
            let mut made = 0;
            for end in (1..=wanted.len()).filter(|&end| end == wanted.len() || wanted[end] == b'/') {
                match rustix::fs::mkdir(&wanted[..end], Mode::from_raw_mode(0o777)) {
                    Ok(()) => made += 1,
                    Err(rustix::io::Errno::EXIST) => {}
                    Err(error) => return Err(failed("mkpath", &wanted[..end], error.into())),
                }
            }
            if made > 0 {
                session.say(Message::CreatedDirectories(made, wanted));
            }
            return if many { Self::enter(path, 2) } else { Self::file(path) };
        }
        Self::make(session, path)
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

fn failed(what: &str, path: &[u8], source: io::Error) -> EngineError {
    EngineError::Destination {
        text: format!("rsync: [Receiver] {what} \"{}\" failed", bstr::BStr::new(path)).into(),
        source,
    }
}
