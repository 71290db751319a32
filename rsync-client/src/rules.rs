//! The files that a client's own options name: filter rules, lists of names, `-C` patterns.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rsync_engine::tree::{LocalTree, Tree};
use rsync_proto::filter::{FilterNote, OpenFailure, RuleFile, RuleFiles, RuleList, cvs_rules};
use rsync_proto::session::Negotiated;
use rsync_proto::text::{Event, EventSink, Severity, describe_errno};

use crate::ClientError;
use crate::client::Client;

/// Reads rule files of this machine.
pub(crate) struct LocalRules {
    events: Arc<dyn EventSink>,
}

impl LocalRules {
    pub(crate) fn new(events: Arc<dyn EventSink>) -> Self {
        Self { events }
    }
}

impl RuleFiles for LocalRules {
    fn read(&mut self, file: RuleFile<'_>) -> Result<Vec<u8>, OpenFailure> {
        let text = match file {
            RuleFile::Named(path) => read(path),
            RuleFile::PerDirectory { directory, name } => read(&[directory, b"/", name].concat()),
        };
        text.map_err(|error| OpenFailure { reason: describe_errno(error.raw_os_error().unwrap_or_default()) })
    }

    fn note(&mut self, note: FilterNote) {
        let text = format!("{note}\n");
        self.events.emit(Event::PeerText { severity: Severity::Error, text: text.as_bytes() });
    }
}

/// Reads a file that an option names; `-` is standard input.
pub(crate) fn read_operator_file(path: &[u8]) -> Result<Vec<u8>, ClientError> {
    read(path).map_err(|source| ClientError::Read { path: path.into(), source })
}

fn read(path: &[u8]) -> io::Result<Vec<u8>> {
    if path == b"-" {
        let mut text = Vec::new();
        io::stdin().lock().read_to_end(&mut text)?;
        return Ok(text);
    }
    LocalTree::here()?.read_operator_file(path)
}

impl Client {
    /// What `-C` stands for: the defaults, the user's file and the variable.
    pub(crate) fn cvs_rules(&self, negotiated: &Negotiated) -> RuleList {
        if !self.options.cvs_exclude {
            return RuleList::default();
        }
        let home = self.environment.home.as_ref().and_then(|home| {
            let path = [home.as_slice(), b"/.cvsignore"].concat();
            std::fs::read(OsStr::from_bytes(&path)).ok()
        });
        let variable = self.environment.cvs_ignore.as_ref().map(|text| text.as_slice());
        cvs_rules(negotiated.has_perishable_filters(), home.as_deref(), variable)
    }
}
