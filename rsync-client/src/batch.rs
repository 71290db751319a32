//! Batch files: written beside a transfer, and applied without its sender (spec 08 §12).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Instant;

use bstr::BString;
use rsync_engine::{
    Connection, EngineError, Link, Recorder, ReplaySetup, Session, create_batch_file, open_users_file, replay,
};
use rsync_proto::filter::Filters;
use rsync_proto::options::{Batch, ReplayScript, TransferOptions};
use rsync_proto::session::{BatchFlags, BatchHead, NEWEST_PROTOCOL};
use rsync_proto::text::{Event, Message, Role};

use crate::ClientError;
use crate::client::Client;
use crate::copier::become_copier;
use crate::pull;
use crate::report::TransferReport;

/// Which of a batch's files cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchFile {
    /// The batch itself.
    Data,
    /// The script beside it.
    Script,
}

/// The files of a batch that is being written.
pub(crate) struct Recording {
    recorder: Recorder,
    script: Option<File>,
}

impl Client {
    /// Applies the batch file `batch` to `destination`: what [`TransferOptions::batch`] recorded before.
    ///
    /// Options that shaped the recording are taken from it; those that only say how files are put in place
    /// are the client's own.
    ///
    /// # Errors
    /// Whatever ended the application early. Files that could not be brought up to date are events, and
    /// make the exit code of the report.
    pub fn replay(
        &self,
        batch: impl AsRef<Path>,
        destination: impl AsRef<Path>,
    ) -> Result<TransferReport, ClientError> {
        let bytes = |path: &Path| BString::from(path.as_os_str().as_bytes());
        self.replay_link(self.open_batch(&bytes(batch.as_ref()))?, &bytes(destination.as_ref()))
    }

    /// Like [`Client::replay`], with a recording that comes from any reader.
    ///
    /// # Errors
    /// Whatever ended the application early.
    pub fn replay_stream(
        &self,
        batch: impl Read + Send + 'static,
        destination: impl AsRef<Path>,
    ) -> Result<TransferReport, ClientError> {
        let link = Link::of_streams(batch, io::sink()).map_err(ClientError::socket("make an eventfd"))?;
        self.replay_link(link, &destination.as_ref().as_os_str().as_bytes().into())
    }

    /// [`Client::replay`] of a command line, where `-` is standard input.
    pub(crate) fn replay_file(
        &self,
        batch: &BString,
        destination: &BString,
    ) -> Result<TransferReport, ClientError> {
        let link = if batch == "-" {
            let input = io::stdin().as_fd().try_clone_to_owned().and_then(Link::reading);
            input.map_err(ClientError::batch(BatchFile::Data, batch))?
        } else {
            self.open_batch(batch)?
        };
        self.apart(|| self.replay_link(link, destination))
    }

    fn open_batch(&self, path: &BString) -> Result<Link, ClientError> {
        let failed = ClientError::batch(BatchFile::Data, path);
        let open = || -> io::Result<(File, bool)> {
            let file = open_users_file(path, &self.options)?;
            let kind = file.metadata()?.file_type();
            Ok((file, kind.is_file() || kind.is_fifo()))
        };
        match open() {
            Ok((file, true)) => Link::reading(OwnedFd::from(file)).map_err(failed),
            Ok((_, false)) => Err(ClientError::BatchKind { path: absolute(path) }),
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                Err(ClientError::BatchKind { path: absolute(path) })
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn replay_link(&self, link: Link, destination: &BString) -> Result<TransferReport, ClientError> {
        let started = Instant::now();
        let mut options = self.options.as_ref().clone();
        options.batch = Some(Batch::Read(BString::default()));
        let prepared = self.prepare(&options)?;
        let _guard = self.watch(&link.control);
        let mut connection = Connection::new(link);
        let newest = options.protocol.unwrap_or(i32::from(NEWEST_PROTOCOL));
        let head = connection.decode(|input| BatchHead::decode(input, newest))?;
        let changes = head.adopt(&mut options).map_err(EngineError::from)?;
        for change in changes {
            let message = Message::BatchOption(change.option, change.on);
            if self.events.wants(message.topic()) {
                self.events.emit(Event::Message(message));
            }
        }
        let negotiated = head.negotiated(&options, &self.algorithm_variables()).map_err(EngineError::from)?;
        let filters = prepared.filters(self, &options, &negotiated, false);
        let control = connection.control().clone();
        become_copier(&mut options)?;
        let mut session = Session::new(negotiated, options, false, self.events.clone(), control);
        session.charset = self.charset(Role::EarlyReceiver)?;
        let report =
            replay(connection, &session, ReplaySetup { filters, destination: destination.to_vec() })?;
        let totals = self.finished(pull::totals(&report, &session, started));
        Ok(TransferReport { exit_code: session.exit_code(), totals })
    }

    /// Creates the files of a batch, if the options ask for one.
    pub(crate) fn recording(&self, options: &TransferOptions) -> Result<Option<Recording>, ClientError> {
        let Some(Batch::Write(path) | Batch::OnlyWrite(path)) = &options.batch else { return Ok(None) };
        let script = match self.command_line.is_empty() {
            true => None,
            false => {
                let name = Batch::script_name(path);
                let script = create_batch_file(&name, 0o700, options);
                Some(script.map_err(ClientError::batch(BatchFile::Script, &name))?)
            }
        };
        let recorder = create_batch_file(path, 0o600, options)
            .and_then(|file| Recorder::new(Box::new(file), BatchFlags::of(options)));
        let recorder = recorder.map_err(ClientError::batch(BatchFile::Data, path))?;
        Ok(Some(Recording { recorder, script }))
    }
}

impl Recording {
    /// Lets `session` write to the batch, and writes the script that belongs to it.
    pub(crate) fn attach(
        self,
        client: &Client,
        session: &mut Session,
        filters: &Filters,
        destination: &[u8],
    ) -> Result<(), ClientError> {
        session.recorder = Some(self.recorder);
        let Some(mut file) = self.script else { return Ok(()) };
        let script = ReplayScript {
            words: &client.command_line,
            destination,
            filters,
            from0: session.options.from0,
            negotiated: &session.negotiated,
        };
        let text = script.render()?;
        file.write_all(&text).map_err(|source| ClientError::BatchScript { source })
    }
}

/// A path as messages name it.
pub(crate) fn absolute(path: &BString) -> BString {
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).as_os_str().as_bytes().into()
}
