//! Pulling: from a remote side into a destination of this machine.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bstr::BString;
use rsync_engine::{ReceiveReport, ReceiveSetup, Session, receive};
use rsync_proto::filter::{Filters, ImpliedNames, NameReader, RequestShape, Side};
use rsync_proto::flist::{Excluded, NameGuard, RequestGuard};
use rsync_proto::options::{
    Direction, Endpoints, FilesFrom, OptionError, Reflink, Remote, RemoteKind, TransferOptions,
};
use rsync_proto::text::Totals;

use crate::ClientError;
use crate::client::{Client, parse_remote};
use crate::copier::become_copier;
use crate::report::TransferReport;

impl Client {
    /// Pulls `source` (`host:path`, `host::module/path` or a URL) into `destination`.
    ///
    /// What is transferred, and how, is said by the options of the client.
    ///
    /// # Errors
    /// Whatever ended the transfer early. Failures of single files are events, and make the exit code
    /// of the report.
    pub fn pull(
        &self,
        source: impl AsRef<[u8]>,
        destination: impl AsRef<Path>,
    ) -> Result<TransferReport, ClientError> {
        let (remote, path) = parse_remote(source.as_ref())?;
        self.pull_from(&remote, &[path], Some(destination.as_ref().as_os_str().as_bytes()))
    }

    /// Pulls `sources` of one remote side, paths as they stand behind its colons, into `destination`.
    /// Without a destination, or with the option for it, the entries are only listed, as events.
    ///
    /// # Errors
    /// Whatever ended the transfer early.
    pub fn pull_from(
        &self,
        remote: &Remote,
        sources: &[BString],
        destination: Option<&[u8]>,
    ) -> Result<TransferReport, ClientError> {
        self.check_remote()?;
        self.apart(|| self.pull_here(remote, sources, destination))
    }

    fn pull_here(
        &self,
        remote: &Remote,
        sources: &[BString],
        destination: Option<&[u8]>,
    ) -> Result<TransferReport, ClientError> {
        let started = Instant::now();
        let mut options = self.options.as_ref().clone();
        if destination.is_none() {
            options.list_only = true;
            options.forwarding.dirs_implied |= !options.dirs && !options.recurse;
            options.dirs = true;
        }
        let mut prepared = self.prepare(&options)?;
        let recording = self.recording(&options)?;
        let (report, code) = self.session(remote, sources, Direction::Pull, &options, |agreed| {
            let filters = prepared.filters(self, &options, &agreed.negotiated, false);
            let names = prepared.names.take();
            let guard = (!options.trust_sender)
                .then(|| self.guard(remote, sources, &options, names.as_deref(), &filters));
            let mut options = options.clone();
            become_copier(&mut options)?;
            let (connection, mut session) = agreed.into_session(options, self.events.clone());
            if let Some(recording) = recording {
                recording.attach(self, &mut session, &filters, destination.unwrap_or_default())?;
            }
            let setup = ReceiveSetup {
                filters,
                rule_files: &mut prepared.files,
                destination: destination.unwrap_or_default().to_vec(),
                guard,
                names,
                announced_timeout: None,
            };
            let report = receive(connection, &session, setup)?;
            if let Some(recorder) = &session.recorder {
                recorder.finish()?;
            }
            Ok((self.finished(totals(&report, &session, started)), session.exit_code()))
        })?;
        Ok(TransferReport { exit_code: code, totals: report.unwrap_or_default() })
    }

    /// Carries out what a command line's operands ask for.
    ///
    /// # Errors
    /// Whatever ended the transfer early.
    pub fn transfer(&self, endpoints: &Endpoints) -> Result<TransferReport, ClientError> {
        match endpoints {
            Endpoints::Local { sources, destination } => self.copy_to(sources, destination.as_ref()),
            Endpoints::Push { sources, remote, destination } => self.push_to(sources, remote, destination),
            Endpoints::Pull { remote, sources, destination } => {
                self.pull_from(remote, sources, destination.as_ref().map(|path| path.as_slice()))
            }
            Endpoints::Replay { batch, destination } => self.replay_file(batch, destination),
        }
    }

    /// Refuses what only a local copy can do.
    pub(crate) fn check_remote(&self) -> Result<(), ClientError> {
        if self.options.reflink != Reflink::Always {
            return Ok(());
        }
        let text = "--reflink=always needs source and destination on this machine; leave it out, or use auto";
        Err(OptionError::Syntax(text.into()).into())
    }

    /// Refuses names that nobody asked for (spec 06 §7).
    fn guard(
        &self,
        remote: &Remote,
        sources: &[BString],
        options: &TransferOptions,
        names: Option<&[u8]>,
        filters: &Filters,
    ) -> Box<dyn NameGuard + Send> {
        let shape =
            RequestShape { relative: options.relative, recursive: options.recurse, dirs: options.dirs };
        let known = options.old_args == 0 && !matches!(options.files_from, Some(FilesFrom::Remote { .. }));
        let requested = known.then(|| {
            let mut requested = ImpliedNames::default();
            match names {
                Some(names) => {
                    let mut reader = NameReader::new(options.from0);
                    reader.push(names, |name| requested.add(name, shape));
                    reader.finish(|name| requested.add(name, shape));
                }
                None => sources.iter().for_each(|source| match remote.kind {
                    RemoteKind::Daemon => requested.add(ImpliedNames::without_module(source), shape),
                    RemoteKind::Shell => requested.add(source, shape),
                }),
            }
            requested
        });
        let excluded = (!filters.had_dir_merge()).then(|| {
            let filters = filters.clone();
            let dirs = filters.start(b"");
            let excluded =
                move |name: &[u8], is_dir: bool| filters.excludes_path(&dirs, name, is_dir, Side::Sender);
            Box::new(excluded) as Excluded
        });
        Box::new(RequestGuard { requested, excluded })
    }
}

/// The numbers of the summary: of what crossed the wire a server's own count is taken (spec 02 §7.3).
pub(crate) fn totals(report: &ReceiveReport, session: &Session, started: Instant) -> Totals {
    let counters = &session.counters;
    let statistics = report.statistics;
    Totals {
        listed: report.listed,
        created: session.negotiated.has_item_flags().then_some(report.created),
        deleted: session.negotiated.has_long_goodbye().then_some(report.deleted),
        transferred: counters.transferred_files.load(Ordering::Relaxed),
        total_size: statistics.map_or(report.total_size, |statistics| statistics.total_size),
        transferred_size: counters.transferred_size.load(Ordering::Relaxed),
        literal: counters.literal.load(Ordering::Relaxed),
        matched: counters.matched.load(Ordering::Relaxed),
        list_size: report.list_size,
        list_build_ms: statistics.map_or(0, |statistics| statistics.list_build_ms),
        list_transfer_ms: statistics.map_or(0, |statistics| statistics.list_transfer_ms),
        sent: statistics.map_or_else(|| counters.bytes_written.load(Ordering::Relaxed), |s| s.read),
        received: statistics.map_or_else(|| counters.bytes_read.load(Ordering::Relaxed), |s| s.written),
        seconds: started.elapsed().as_secs(),
    }
}
