//! What a client's own options name on this machine: rule files, lists of names, `-C` patterns.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rsync_engine::OperatorFiles;
use rsync_engine::tree::Tree;
use rsync_proto::filter::{RuleList, cvs_rules};
use rsync_proto::session::Negotiated;

use crate::client::Client;

impl Client {
    /// The files that options name; `-` is standard input.
    pub(crate) fn operator_files(&self, tree: Arc<dyn Tree>) -> OperatorFiles {
        OperatorFiles::new(tree, self.events.clone(), Some(Box::new(io::stdin())))
    }

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
