//! What a client's own options name on this machine: rule files, lists of names, `-C` patterns.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rsync_engine::OperatorFiles;
use rsync_engine::tree::Tree;
use rsync_proto::filter::{NameReader, RuleList, cvs_rules};
use rsync_proto::options::FilesFrom;
use rsync_proto::session::Negotiated;

use crate::ClientError;
use crate::client::Client;

impl Client {
    /// The files that options name; `-` is standard input.
    pub(crate) fn operator_files(&self, tree: Arc<dyn Tree>) -> OperatorFiles {
        OperatorFiles::new(tree, self.events.clone(), Some(Box::new(io::stdin())))
    }

    /// The names of a `--files-from` list of this machine.
    pub(crate) fn requested_names(
        &self,
        files: &mut OperatorFiles,
    ) -> Result<Option<Vec<Vec<u8>>>, ClientError> {
        let Some(FilesFrom::Local(path)) = &self.options.files_from else { return Ok(None) };
        let text = files.read(path).map_err(ClientError::files_from(path))?;
        let mut names = Vec::new();
        let mut reader = NameReader::new(self.options.from0);
        reader.push(&text, |name| names.push(name.to_vec()));
        reader.finish(|name| names.push(name.to_vec()));
        Ok(Some(names))
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
