//! Pushing: from this machine to a remote side.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bstr::BString;
use rsync_engine::tree::Tree;
use rsync_engine::{Connection, ScannedLists, SendReport, SendSetup, Session, SystemOwners, send};
use rsync_proto::filter::Filters;
use rsync_proto::options::{Direction, Remote};
use rsync_proto::text::Totals;

use crate::ClientError;
use crate::client::{Client, parse_remote};
use crate::copier::become_copier;
use crate::prepare::{Prepared, Source};
use crate::report::TransferReport;

impl Client {
    /// Pushes local `sources` to `destination` (`host:path`, `host::module/path` or a URL).
    ///
    /// What is transferred, and how, is said by the options of the client.
    ///
    /// # Errors
    /// Whatever ended the transfer early. Failures of single files are events, and make the exit code
    /// of the report.
    pub fn push<S: AsRef<[u8]>>(
        &self,
        sources: &[S],
        destination: impl AsRef<[u8]>,
    ) -> Result<TransferReport, ClientError> {
        let (remote, path) = parse_remote(destination.as_ref())?;
        self.push_to(&to_paths(sources), &remote, &path)
    }

    /// Like [`Client::push`], where `sources` are paths of `tree` instead of this machine.
    ///
    /// # Errors
    /// Whatever ended the transfer early.
    pub fn push_tree<S: AsRef<[u8]>>(
        &self,
        tree: Arc<dyn Tree>,
        sources: &[S],
        destination: impl AsRef<[u8]>,
    ) -> Result<TransferReport, ClientError> {
        let (remote, path) = parse_remote(destination.as_ref())?;
        self.push_from(Some(tree), &to_paths(sources), &remote, &path)
    }

    /// Pushes local `sources` to the path `destination` of a remote side, as it stands behind its colon.
    ///
    /// # Errors
    /// Whatever ended the transfer early.
    pub fn push_to(
        &self,
        sources: &[BString],
        remote: &Remote,
        destination: &BString,
    ) -> Result<TransferReport, ClientError> {
        self.push_from(None, sources, remote, destination)
    }

    fn push_from(
        &self,
        tree: Option<Arc<dyn Tree>>,
        sources: &[BString],
        remote: &Remote,
        destination: &BString,
    ) -> Result<TransferReport, ClientError> {
        self.check_remote()?;
        self.apart(|| self.push_here(tree, sources, remote, destination))
    }

    fn push_here(
        &self,
        tree: Option<Arc<dyn Tree>>,
        sources: &[BString],
        remote: &Remote,
        destination: &BString,
    ) -> Result<TransferReport, ClientError> {
        let started = Instant::now();
        let options = &self.options;
        let mut prepared = self.prepare(options)?;
        let mut source = prepared.source(tree, sources, options)?;
        let recording = self.recording(options)?;
        let paths = std::slice::from_ref(destination);
        let (totals, code) = self.session(remote, paths, Direction::Push, options, |agreed| {
            let filters = prepared.filters(self, options, &agreed.negotiated, true);
            let mut options = options.as_ref().clone();
            become_copier(&mut options)?;
            let (connection, mut session) = agreed.into_session(options, self.events.clone());
            if let Some(recording) = recording {
                recording.attach(self, &mut session, &filters, destination)?;
            }
            let session = Arc::new(session);
            let report = send_source(connection, &session, &mut prepared, &mut source, filters)?;
            Ok((self.finished(totals(&report, &session, started)), session.exit_code()))
        })?;
        Ok(TransferReport { exit_code: code, totals: totals.unwrap_or_default() })
    }
}

/// Sends `source` to the peer, to the end of the session.
pub(crate) fn send_source(
    connection: Connection,
    session: &Arc<Session>,
    prepared: &mut Prepared,
    source: &mut Source,
    filters: Filters,
) -> Result<SendReport, ClientError> {
    let setup = SendSetup { filters, rule_files: &mut prepared.files, announced_timeout: None };
    let report = send(connection, session, setup, |agreed| {
        let names = agreed.names.or(source.names.take());
        let request = source.request(session, agreed.filters);
        let (session, tree) = (Arc::clone(session), Arc::clone(&source.tree));
        Ok(ScannedLists::new(session, tree, request, names, Box::new(SystemOwners::default())))
    })?;
    if let Some(recorder) = &session.recorder {
        recorder.finish()?;
    }
    Ok(report)
}

fn to_paths<S: AsRef<[u8]>>(sources: &[S]) -> Vec<BString> {
    sources.iter().map(|source| source.as_ref().into()).collect()
}

/// The numbers of the summary.
pub(crate) fn totals(report: &SendReport, session: &Session, started: Instant) -> Totals {
    let counters = &session.counters;
    Totals {
        listed: report.listed,
        created: session.negotiated.has_item_flags().then_some(report.created),
        deleted: session.negotiated.has_long_goodbye().then(|| report.deleted.unwrap_or_default()),
        transferred: counters.transferred_files.load(Ordering::Relaxed),
        total_size: report.total_size,
        transferred_size: counters.transferred_size.load(Ordering::Relaxed),
        literal: counters.literal.load(Ordering::Relaxed),
        matched: counters.matched.load(Ordering::Relaxed),
        list_size: report.list_size,
        list_build_ms: report.list_build_ms,
        list_transfer_ms: report.list_transfer_ms,
        sent: counters.bytes_written.load(Ordering::Relaxed),
        received: counters.bytes_read.load(Ordering::Relaxed),
        seconds: started.elapsed().as_secs(),
    }
}
