//! Copying between two places of this machine.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bstr::BString;
use rsync_engine::scan::ScanRequest;
use rsync_engine::tree::{LocalTree, Tree};
use rsync_engine::{LinkControl, LocalSetup, Session, SystemOwners, copy, mode_change};
use rsync_proto::filter::Filters;
use rsync_proto::options::{Append, SuperUser, TransferOptions};
use rsync_proto::session::{AlgorithmVariables, agree_locally};
use rsync_proto::text::Event;

use crate::ClientError;
use crate::client::Client;
use crate::push::totals;
use crate::report::TransferReport;

impl Client {
    /// Copies local `sources` to the local `destination`.
    ///
    /// What is copied, and how, is said by the options of the client.
    ///
    /// # Errors
    /// Whatever ended the copy early. Failures of single files are events, and make the exit code
    /// of the report.
    pub fn copy<S: AsRef<Path>>(
        &self,
        sources: &[S],
        destination: impl AsRef<Path>,
    ) -> Result<TransferReport, ClientError> {
        let bytes = |path: &Path| BString::from(path.as_os_str().as_bytes());
        let sources: Vec<BString> = sources.iter().map(|source| bytes(source.as_ref())).collect();
        self.copy_to(&sources, Some(&bytes(destination.as_ref())))
    }

    /// Like [`Client::copy`]. Without a destination, or with the option for it, the entries are only
    /// listed, as events.
    ///
    /// # Errors
    /// Whatever ended the copy early.
    pub fn copy_to(
        &self,
        sources: &[BString],
        destination: Option<&BString>,
    ) -> Result<TransferReport, ClientError> {
        let started = Instant::now();
        let mut options = self.options.as_ref().clone();
        options.whole_file = Some(options.append == Append::Off && options.is_whole_file(true));
        if destination.is_none() {
            options.list_only = true;
            options.dirs = true;
        }
        let variables = AlgorithmVariables {
            checksum: self.environment.checksum_list.clone(),
            compress: self.environment.compress_list.clone(),
        };
        let negotiated = agree_locally(&options, &variables)?;
        let tree: Arc<dyn Tree> =
            Arc::new(LocalTree::here().map_err(ClientError::current_dir)?.for_options(&options));
        let start_dir = std::env::current_dir().map_err(ClientError::current_dir)?;
        let source_super_user = options.super_user;
        let munge_links = apply_receiver_options(&mut options);
        let change_mode = mode_change(&options)?;
        let mut files = self.operator_files(Arc::clone(&tree));
        let names = self.requested_names(&mut files)?;
        let cvs = self.cvs_rules(&negotiated);
        let mut filters = Filters::of_client(&options, &negotiated, true, cvs, &mut files)?;
        if options.cvs_exclude {
            filters.add_cvs_after_exchange(&negotiated, true);
        }
        let control =
            LinkControl::new().map_err(|source| ClientError::Socket { action: "make an eventfd", source })?;
        let _guard = self.cancel.watch(&control);
        let session = Arc::new(Session::new(negotiated, options, false, self.events.clone(), control));
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
        let setup = LocalSetup {
            tree,
            request,
            names,
            destination: destination.map(|path| path.to_vec()).unwrap_or_default(),
            source_super_user,
            munge_links,
            owners: Box::new(SystemOwners::default()),
        };
        let report = copy(&session, setup)?;
        let totals = totals(&report, &session, started);
        self.events.emit(Event::Finished(&totals));
        Ok(TransferReport { exit_code: session.exit_code(), totals })
    }
}

/// Options given by `-M` are those of the receiving half, as far as it has some of its own: its rights,
/// which are changed, and whether it makes links unusable, which is answered.
fn apply_receiver_options(options: &mut TransferOptions) -> bool {
    let mut munges = false;
    for option in std::mem::take(&mut options.remote_options) {
        match &option[..] {
            b"--super" => options.super_user = SuperUser::On,
            b"--no-super" => options.super_user = SuperUser::Off,
            b"--fake-super" => options.super_user = SuperUser::Fake,
            b"--munge-links" => munges = true,
            b"--no-munge-links" => munges = false,
            _ => {}
        }
    }
    munges
}
