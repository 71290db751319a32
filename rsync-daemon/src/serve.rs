//! Carrying out a transfer with the engine's sender.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rsync_engine::scan::ScanRequest;
use rsync_engine::tree::Tree;
use rsync_engine::{
    Connection, EngineError, OperatorFiles, Outgoing, ScannedLists, SendReport, SendSetup, ServerVoice,
    Session, mode_change, send,
};
use rsync_proto::exit::ExitCode;
use rsync_proto::filter::{Filters, cvs_rules};
use rsync_proto::flist::OwnerNames;
use rsync_proto::options::TransferOptions;
use rsync_proto::session::Negotiated;
use rsync_proto::text::EventSink;

use crate::log::Log;
use crate::voice::{LoggedVoice, TransferLog};

/// A transfer that a client asked for and that the module allows; always from here to the client.
pub(crate) struct Transfer {
    /// The stream, right after the seed.
    pub(crate) connection: Connection,
    pub(crate) negotiated: Negotiated,
    /// What the client wants, within what the module allows.
    pub(crate) options: TransferOptions,
    /// The requested paths, relative to the top of `tree`, wildcards expanded.
    pub(crate) sources: Vec<Vec<u8>>,
    pub(crate) tree: Arc<dyn Tree>,
    pub(crate) module: Vec<u8>,
    /// What the module hides.
    pub(crate) module_filters: Filters,
    /// Seconds of silence to announce, if there is a limit.
    pub(crate) announced_timeout: Option<u32>,
    /// Line of each file that is sent, if that is wanted.
    pub(crate) transfer_log: Option<TransferLog>,
    /// Names of the owners of files.
    pub(crate) owners: Box<dyn OwnerNames + Send>,
    pub(crate) log: Log,
}

impl Transfer {
    /// Runs on this thread, which already has the module's identity.
    pub(crate) fn run(self) -> ExitCode {
        let log = self.log.clone();
        let (result, session) = self.send();
        match result {
            Ok(report) => {
                let counters = &session.counters;
                log.info(format!(
                    "sent {} bytes  received {} bytes  total size {}",
                    counters.bytes_written.load(Ordering::Relaxed),
                    counters.bytes_read.load(Ordering::Relaxed),
                    report.total_size
                ));
                session.exit_code()
            }
            Err(error) => {
                log.warning(error.to_string());
                error.exit_code()
            }
        }
    }

    fn send(self) -> (Result<SendReport, EngineError>, Arc<Session>) {
        let Self { connection, negotiated, options, sources, tree, module, module_filters, .. } = self;
        let outgoing = Outgoing::default();
        let events: Arc<dyn EventSink> = Arc::new(LoggedVoice {
            to_client: ServerVoice::new(&options, &negotiated, outgoing.clone()),
            transfers: self.transfer_log,
            log: self.log.clone(),
            keeps_times: options.times,
            digest_len: negotiated.checksum.transfer.len(),
        });
        let control = connection.control().clone();
        let mut session = Session::new(negotiated, options, true, Arc::clone(&events), control);
        session.outgoing = outgoing;
        let session = Arc::new(session);
        let change_mode = mode_change(&session.options).unwrap_or_else(|error| {
            self.log.warning(format!("Invalid \"outgoing chmod\" directive: {error}"));
            None
        });
        let mut filters = Filters::new();
        if session.options.cvs_exclude {
            filters.set_cvs(cvs_rules(session.negotiated.has_perishable_filters(), None, None));
        }
        let mut rule_files = OperatorFiles::new(Arc::clone(&tree), events, None);
        let setup =
            SendSetup { filters, rule_files: &mut rule_files, announced_timeout: self.announced_timeout };
        self.log.info("building file list");
        let result = send(connection, &session, setup, |agreed| {
            let mut filters = agreed.filters;
            if session.options.cvs_exclude {
                filters.add_cvs_after_exchange(&session.negotiated, false);
            }
            let request = ScanRequest {
                sources,
                start_dir: b"/".to_vec(),
                module: Some(module),
                filters,
                module_filters: Some(module_filters),
                columns: session.columns(),
                change_mode,
                attributes: None,
            };
            Ok(ScannedLists::new(Arc::clone(&session), tree, request, agreed.names, self.owners))
        });
        (result, session)
    }
}
