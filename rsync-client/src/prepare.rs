//! What a call reads and decides before it connects: rules, lists of names, the sources.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use bstr::BString;
use rsync_engine::scan::{ChangeMode, ScanRequest};
use rsync_engine::tree::{LocalTree, Tree};
use rsync_engine::{OperatorFiles, Session, mode_change};
use rsync_proto::filter::{Filters, NameReader, RuleList, cvs_rules};
use rsync_proto::options::{FilesFrom, TransferOptions};
use rsync_proto::session::Negotiated;

use crate::ClientError;
use crate::client::Client;

/// What the options name on this machine, read.
pub(crate) struct Prepared {
    /// Reads what else is named while the session runs.
    pub(crate) files: OperatorFiles,
    /// The text of a `--files-from` list.
    pub(crate) names: Option<Vec<u8>>,
    rules: Filters,
}

/// The sources of a push or a local copy.
pub(crate) struct Source {
    pub(crate) tree: Arc<dyn Tree>,
    /// The names of a `--files-from` list.
    pub(crate) names: Option<Vec<Vec<u8>>>,
    sources: Vec<Vec<u8>>,
    start_dir: Vec<u8>,
    change_mode: Option<ChangeMode>,
}

impl Client {
    /// Reads rule files and lists of names; `-` is standard input.
    pub(crate) fn prepare(&self, options: &TransferOptions) -> Result<Prepared, ClientError> {
        let tree = Arc::new(LocalTree::here().map_err(ClientError::current_dir)?);
        let mut files = OperatorFiles::new(tree, self.events.clone(), Some(Box::new(io::stdin())));
        let rules = Filters::of_command_line(options, &mut files)?;
        let names = match &options.files_from {
            Some(FilesFrom::Local(path)) => Some(files.read(path).map_err(ClientError::files_from(path))?),
            _ => None,
        };
        Ok(Prepared { files, names, rules })
    }

    /// What `-C` stands for: the defaults, the user's file and the variable.
    fn cvs_rules(&self, negotiated: &Negotiated) -> RuleList {
        let home = self.environment.home.as_ref().and_then(|home| {
            let path = [home.as_slice(), b"/.cvsignore"].concat();
            std::fs::read(OsStr::from_bytes(&path)).ok()
        });
        let variable = self.environment.cvs_ignore.as_ref().map(|text| text.as_slice());
        cvs_rules(negotiated.has_perishable_filters(), home.as_deref(), variable)
    }
}

impl Prepared {
    /// The rules of a session, as its client says them.
    pub(crate) fn filters(
        &self,
        client: &Client,
        options: &TransferOptions,
        negotiated: &Negotiated,
        client_is_sender: bool,
    ) -> Filters {
        let cvs = if options.cvs_exclude { client.cvs_rules(negotiated) } else { RuleList::default() };
        let mut filters = self.rules.clone();
        filters.complete(options, negotiated, client_is_sender, cvs);
        filters
    }

    /// The sources that are sent: paths in `tree`, or on this machine.
    pub(crate) fn source(
        &self,
        tree: Option<Arc<dyn Tree>>,
        sources: &[BString],
        options: &TransferOptions,
    ) -> Result<Source, ClientError> {
        let tree = match tree {
            Some(tree) => tree,
            None => Arc::new(LocalTree::here().map_err(ClientError::current_dir)?.for_options(options)),
        };
        let start_dir = std::env::current_dir().map_err(ClientError::current_dir)?;
        let names = self.names.as_ref().map(|text| {
            let mut names = Vec::new();
            let mut reader = NameReader::new(options.from0);
            reader.push(text, |name| names.push(name.to_vec()));
            reader.finish(|name| names.push(name.to_vec()));
            names
        });
        Ok(Source {
            tree,
            names,
            sources: sources.iter().map(|source| source.to_vec()).collect(),
            start_dir: start_dir.as_os_str().as_bytes().to_vec(),
            change_mode: mode_change(options)?,
        })
    }
}

impl Source {
    /// What a scan is asked for, once.
    pub(crate) fn request(&mut self, session: &Session, filters: Filters) -> ScanRequest {
        ScanRequest {
            sources: std::mem::take(&mut self.sources),
            start_dir: std::mem::take(&mut self.start_dir),
            module: None,
            filters,
            module_filters: None,
            columns: session.columns(),
            change_mode: self.change_mode.take(),
            attributes: None,
        }
    }
}
