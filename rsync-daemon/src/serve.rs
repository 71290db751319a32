//! Carrying out a transfer with the engine.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use bstr::BString;
use rsync_engine::scan::ScanRequest;
use rsync_engine::tree::Tree;
use rsync_engine::{
    Connection, Dir, EngineError, OperatorFiles, Outgoing, ReceiveSetup, ScannedLists, SendSetup,
    ServedModule, ServerVoice, Session, mode_change, receive, send,
};
use rsync_proto::charset::Charset;
use rsync_proto::exit::ExitCode;
use rsync_proto::filter::{Filters, NameReader, cvs_rules};
use rsync_proto::options::TransferOptions;
use rsync_proto::session::Negotiated;
use rsync_proto::text::{EventSink, Role, VERSION, exit_line};

use crate::log::Log;
use crate::session::Owners;
use crate::voice::{LoggedVoice, TransferLog};

/// A transfer that a client asked for and that the module allows.
pub(crate) struct Transfer {
    /// The stream, right after the seed.
    pub(crate) connection: Connection,
    pub(crate) negotiated: Negotiated,
    /// The charset of names here, if they are converted.
    pub(crate) charset: Option<Charset>,
    /// What the client wants, within what the module allows.
    pub(crate) options: TransferOptions,
    pub(crate) task: Task,
    pub(crate) tree: Arc<dyn Tree>,
    pub(crate) module: BString,
    /// What messages call the module's root.
    pub(crate) path: BString,
    /// Links are stored so that they lead nowhere but into the module.
    pub(crate) keeps_links_inside: bool,
    /// What the module hides.
    pub(crate) module_filters: Filters,
    /// Seconds of silence to announce, if there is a limit.
    pub(crate) announced_timeout: Option<u32>,
    /// Line of each file, if that is wanted.
    pub(crate) transfer_log: Option<TransferLog>,
    pub(crate) owners: Owners,
    /// The names of a client's owners do not count.
    pub(crate) numeric_ids: bool,
    pub(crate) log: Log,
}

/// Which way files go. `names` is the text of a list of them that lies in the module.
pub(crate) enum Task {
    /// The requested paths, relative to the top of the tree, wildcards expanded; messages call the top
    /// `start_dir`.
    Send { start_dir: Vec<u8>, sources: Vec<Vec<u8>>, names: Option<Vec<u8>> },
    /// A path beneath the module's root.
    Receive { root: Arc<Dir>, destination: Vec<u8>, names: Option<Vec<u8>> },
}

/// The sum of the sizes of all files.
type TotalSize = u64;

impl Transfer {
    /// Runs on this thread, which already has the module's identity.
    pub(crate) fn run(mut self) -> ExitCode {
        let log = self.log.clone();
        let entered = Arc::new(OnceLock::new());
        let session = self.session(&entered);
        let role = if session.options.sender { Role::Sender } else { Role::EarlyReceiver };
        let nothing = Task::Send { start_dir: Vec::new(), sources: Vec::new(), names: None };
        let result = match std::mem::replace(&mut self.task, nothing) {
            Task::Send { start_dir, sources, names } => {
                self.send(Arc::new(session), start_dir, sources, names)
            }
            Task::Receive { root, destination, names } => {
                self.receive(session, entered, root, (destination, names))
            }
        };
        match result {
            Ok((total_size, session)) => {
                let counters = &session.counters;
                let code = session.exit_code();
                if !session.options.sender && !code.is_ok() {
                    // The generator said what was wrong; the C daemon is silent then, too.
                    return code;
                }
                log.info(format!(
                    "sent {} bytes  received {} bytes  total size {total_size}",
                    counters.bytes_written.load(Ordering::Relaxed),
                    counters.bytes_read.load(Ordering::Relaxed),
                ));
                code
            }
            Err(error) => {
                match &error {
                    // What they are about was said already.
                    EngineError::Refused | EngineError::BadOptionDir | EngineError::PeerExit(_) => {}
                    error => log.warning(error.render(Role::Receiver)),
                }
                let code = error.exit_code();
                if let Some(line) = exit_line(code, role, (file!(), line!()), VERSION) {
                    log.warning(line);
                }
                code
            }
        }
    }

    fn session(&mut self, entered: &Arc<OnceLock<BString>>) -> Session {
        let (negotiated, options) = (self.negotiated.clone(), std::mem::take(&mut self.options));
        let outgoing = Outgoing::default();
        let events: Arc<dyn EventSink> = Arc::new(LoggedVoice {
            to_client: ServerVoice::new(&options, &negotiated, outgoing.clone())
                .of_daemon(&negotiated)
                .in_charset(self.charset)
                .in_zone(Arc::clone(self.log.zone())),
            transfers: self.transfer_log.take(),
            log: self.log.clone(),
            keeps_times: options.times,
            dry_run: options.dry_run,
            entered: Arc::clone(entered),
            digest_len: negotiated.checksum.transfer.len(),
            role: if options.sender { Role::Sender } else { Role::Receiver },
        });
        let control = self.connection.control().clone();
        let mut session = Session::new(negotiated, options, true, events, control);
        session.outgoing = outgoing;
        session.charset = self.charset;
        session
    }

    fn send(
        self,
        session: Arc<Session>,
        start_dir: Vec<u8>,
        sources: Vec<Vec<u8>>,
        names: Option<Vec<u8>>,
    ) -> Result<(TotalSize, Arc<Session>), EngineError> {
        let Self { connection, tree, module, module_filters, owners, log, .. } = self;
        let change_mode = mode_change(&session.options).unwrap_or_else(|error| {
            log.warning(format!("Invalid \"outgoing chmod\" directive: {error}"));
            None
        });
        let mut rule_files = OperatorFiles::new(Arc::clone(&tree), Arc::clone(&session.events), None);
        let setup = SendSetup {
            filters: own_filters(&session),
            rule_files: &mut rule_files,
            announced_timeout: self.announced_timeout,
        };
        log.info("building file list");
        let report = send(connection, &session, setup, |agreed| {
            let request = ScanRequest {
                sources,
                start_dir,
                module: Some(module.into()),
                filters: agreed.filters,
                module_filters: Some(module_filters),
                columns: session.columns(),
                change_mode,
                attributes: None,
            };
            let local = names.map(|text| read_names(&text, session.options.from0));
            Ok(ScannedLists::new(Arc::clone(&session), tree, request, agreed.names.or(local), owners.names))
        })?;
        Ok((report.total_size, session))
    }

    fn receive(
        self,
        mut session: Session,
        entered: Arc<OnceLock<BString>>,
        root: Arc<Dir>,
        (destination, names): (Vec<u8>, Option<Vec<u8>>),
    ) -> Result<(TotalSize, Arc<Session>), EngineError> {
        let Self { connection, tree, module, path, module_filters, owners, log, .. } = self;
        session.module = Some(Arc::new(ServedModule {
            name: module,
            root,
            path,
            keeps_links_inside: self.keeps_links_inside,
            filters: module_filters,
            ids: owners.ids,
            numeric_ids: self.numeric_ids,
            entered,
        }));
        let mut rule_files = OperatorFiles::new(tree, Arc::clone(&session.events), None);
        let setup = ReceiveSetup {
            filters: own_filters(&session),
            rule_files: &mut rule_files,
            destination,
            guard: None,
            names,
            announced_timeout: self.announced_timeout,
        };
        log.info("receiving file list");
        let report = receive(connection, &session, setup)?;
        Ok((report.total_size, Arc::new(session)))
    }
}

/// What `-C` stands for on a daemon: it has no user whose files could say more.
fn own_filters(session: &Session) -> Filters {
    Filters::of_server(&session.options, cvs_rules(session.negotiated.has_perishable_filters(), None, None))
}

fn read_names(text: &[u8], from0: bool) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    let mut reader = NameReader::new(from0);
    reader.push(text, |name| names.push(name.to_vec()));
    reader.finish(|name| names.push(name.to_vec()));
    names
}
