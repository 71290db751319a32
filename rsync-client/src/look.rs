//! Looking at a remote side without a destination: listings, and files read into memory.

use bstr::BString;
use rsync_engine::{Collector, EngineError, fetch};
use rsync_proto::exit::ExitCode;
use rsync_proto::flist::{FileListError, Kind, Segment};
use rsync_proto::options::{DeleteTiming, Direction, RemoveSource, TransferOptions};

use crate::ClientError;
use crate::client::{Client, parse_remote};
use crate::report::{Listed, Listing};

/// Keeps the entries of a list.
struct Entries(Vec<Listed>);

impl Collector for Entries {
    fn choose(&mut self, list: &Segment) -> Vec<u32> {
        let active = list.iter().filter(|entry| entry.is_active());
        self.0 = active
            .map(|entry| Listed {
                name: entry.path().into(),
                mode: entry.mode(),
                size: entry.size(),
                mtime: entry.mtime(),
                target: entry.target().map(BString::from),
            })
            .collect();
        Vec::new()
    }

    fn data(&mut self, _: u32, _: &[u8]) -> Result<(), EngineError> {
        Ok(())
    }

    fn done(&mut self, _: u32, _: bool) {}
}

/// Keeps the content of the only file of a list.
struct Content {
    bytes: Vec<u8>,
    /// Most bytes to keep.
    limit: u64,
    verified: Option<bool>,
}

impl Collector for Content {
    fn choose(&mut self, list: &Segment) -> Vec<u32> {
        let mut entries = list.iter().filter(|entry| entry.is_active());
        match (entries.next(), entries.next()) {
            (Some(entry), None) if entry.kind() == Kind::File => vec![entry.index()],
            _ => Vec::new(),
        }
    }

    fn data(&mut self, _: u32, data: &[u8]) -> Result<(), EngineError> {
        if (self.bytes.len() + data.len()) as u64 > self.limit {
            return Err(FileListError::MaxAlloc { limit: self.limit }.into());
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    fn done(&mut self, _: u32, verified: bool) {
        self.verified = Some(verified);
    }
}

impl Client {
    /// Lists what `source` holds: everything below it with the option for recursion, else the directory
    /// itself or, with a slash at its end, what is directly in it. Options that only matter for
    /// a destination are ignored.
    ///
    /// # Errors
    /// Whatever ended the listing early. What could not be listed shows in its exit code.
    pub fn list(&self, source: impl AsRef<[u8]>) -> Result<Listing, ClientError> {
        let mut options = without_destination(&self.options);
        options.list_only = true;
        options.forwarding.dirs_implied |= !options.dirs && !options.recurse;
        options.dirs = true;
        let mut entries = Entries(Vec::new());
        let exit_code = self.look(source.as_ref(), &options, &mut entries)?;
        Ok(Listing { entries: entries.0, exit_code })
    }

    /// Reads one file into memory, whatever the options select; symbolic links are followed. At most as
    /// many bytes are taken as one allocation may have ([`TransferOptions::max_alloc`]).
    ///
    /// # Errors
    /// [`ClientError::NotFetched`] when `source` is not exactly one readable file; whatever ended the
    /// session early.
    pub fn fetch(&self, source: impl AsRef<[u8]>) -> Result<Vec<u8>, ClientError> {
        let mut options = without_destination(&self.options);
        options.recurse = false;
        options.dirs = false;
        options.copy_links = true;
        options.filters.clear();
        let limit = if options.max_alloc == 0 { u64::MAX } else { options.max_alloc };
        let mut content = Content { bytes: Vec::new(), limit, verified: None };
        let code = self.look(source.as_ref(), &options, &mut content)?;
        match content.verified {
            Some(true) => Ok(content.bytes),
            Some(false) => Err(ClientError::Corrupt { endpoint: source.as_ref().into() }),
            None => {
                let code = if code == ExitCode::OK { ExitCode::PARTIAL } else { code };
                Err(ClientError::NotFetched { endpoint: source.as_ref().into(), code })
            }
        }
    }

    fn look(
        &self,
        source: &[u8],
        options: &TransferOptions,
        collector: &mut dyn Collector,
    ) -> Result<ExitCode, ClientError> {
        let (remote, path) = parse_remote(source)?;
        let prepared = self.prepare(options)?;
        let (_, code) = self.session(&remote, &[path], Direction::Pull, options, |agreed| {
            let filters = prepared.filters(self, options, &agreed.negotiated, false);
            let (connection, session) = agreed.into_session(options.clone(), self.events.clone());
            fetch(connection, &session, &filters, collector)?;
            Ok(((), session.exit_code()))
        })?;
        Ok(code)
    }
}

/// The options as far as they concern a session without a destination.
fn without_destination(options: &TransferOptions) -> TransferOptions {
    let mut options = options.clone();
    options.inc_recursive = false;
    options.acls = false;
    options.xattrs = 0;
    options.dry_run = false;
    options.files_from = None;
    options.batch = None;
    options.delete = DeleteTiming::None;
    options.remove_source = RemoveSource::No;
    options
}
