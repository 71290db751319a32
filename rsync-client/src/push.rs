//! Pushing: from this machine to a remote side.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bstr::BString;
use rsync_engine::scan::ScanRequest;
use rsync_engine::tree::{LocalTree, Tree};
use rsync_engine::{ScannedLists, SendReport, SendSetup, Session, SystemOwners, mode_change, send};
use rsync_proto::filter::Filters;
use rsync_proto::options::{Direction, Remote};
use rsync_proto::text::{Event, Totals};

use crate::ClientError;
use crate::client::{Client, parse_remote};
use crate::report::TransferReport;
use crate::session::Agreed;

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
        let sources: Vec<BString> = sources.iter().map(|source| source.as_ref().into()).collect();
        self.push_to(&sources, &remote, &path)
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
        let started = Instant::now();
        let options = &self.options;
        let tree: Arc<dyn Tree> =
            Arc::new(LocalTree::here().map_err(ClientError::current_dir)?.for_options(options));
        let start_dir = std::env::current_dir().map_err(ClientError::current_dir)?;
        let change_mode = mode_change(options)?;
        let mut files = self.operator_files(Arc::clone(&tree));
        let names = self.requested_names(&mut files)?;
        let destination = std::slice::from_ref(destination);
        let (totals, code) = self.session(remote, destination, Direction::Push, options, |agreed| {
            let Agreed { connection, negotiated } = agreed;
            let cvs = self.cvs_rules(&negotiated);
            let filters = Filters::of_client(options, &negotiated, true, cvs, &mut files)?;
            let control = connection.control().clone();
            let options = options.as_ref().clone();
            let session = Arc::new(Session::new(negotiated, options, false, self.events.clone(), control));
            let setup = SendSetup { filters, rule_files: &mut files, announced_timeout: None };
            let report = send(connection, &session, setup, |agreed| {
                let filters = agreed.filters;
                let request = ScanRequest {
                    sources: sources.iter().map(|source| source.to_vec()).collect(),
                    start_dir: start_dir.as_os_str().as_bytes().to_vec(),
                    module: None,
                    filters,
                    module_filters: None,
                    columns: session.columns(),
                    change_mode,
                    attributes: None,
                };
                let owners = Box::new(SystemOwners::default());
                Ok(ScannedLists::new(Arc::clone(&session), tree, request, agreed.names.or(names), owners))
            })?;
            let totals = totals(&report, &session, started);
            self.events.emit(Event::Finished(&totals));
            Ok((totals, session.exit_code()))
        })?;
        Ok(TransferReport { exit_code: code, totals: totals.unwrap_or_default() })
    }
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
