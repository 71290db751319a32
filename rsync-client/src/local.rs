//! Copying between two places of this machine.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bstr::BString;
use rsync_engine::tree::Tree;
use rsync_engine::{LinkControl, LocalSetup, Session, SystemOwners, copy};
use rsync_proto::options::{Append, SuperUser, TransferOptions};
use rsync_proto::session::agree_locally;
use rsync_proto::text::Role;

use crate::ClientError;
use crate::client::Client;
use crate::copier::become_copier;
use crate::pair::wants_delta;
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

    /// Like [`Client::copy`], where `sources` are paths of `tree` instead of this machine.
    ///
    /// # Errors
    /// Whatever ended the copy early.
    pub fn copy_tree<S: AsRef<[u8]>>(
        &self,
        tree: Arc<dyn Tree>,
        sources: &[S],
        destination: impl AsRef<Path>,
    ) -> Result<TransferReport, ClientError> {
        let sources: Vec<BString> = sources.iter().map(|source| source.as_ref().into()).collect();
        let destination = destination.as_ref().as_os_str().as_bytes();
        self.copy_from(Some(tree), &sources, Some(&destination.into()))
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
        self.copy_from(None, sources, destination)
    }

    fn copy_from(
        &self,
        tree: Option<Arc<dyn Tree>>,
        sources: &[BString],
        destination: Option<&BString>,
    ) -> Result<TransferReport, ClientError> {
        self.apart(|| self.copy_here(tree, sources, destination))
    }

    fn copy_here(
        &self,
        tree: Option<Arc<dyn Tree>>,
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
        if options.copy_as.is_some() {
            // The rights of that user count, in both halves.
            options.super_user = SuperUser::Auto;
        }
        let charsets = self.charset(Role::Sender)?.zip(self.server_charset()?);
        let prepared = self.prepare(&options)?;
        let mut source = prepared.source(tree, sources, &options)?;
        let recording = self.recording(&options)?;
        if recording.is_some() || wants_delta(&options) {
            return self.copy_by_pair(options, (prepared, source), recording, sources, destination);
        }
        let source_super_user = options.super_user;
        let munge_links = apply_receiver_options(&mut options);
        let negotiated = agree_locally(&options, &self.algorithm_variables())?;
        let mut filters = prepared.filters(self, &options, &negotiated, true);
        if options.cvs_exclude {
            filters.add_cvs_after_exchange(&negotiated, true);
        }
        let control =
            LinkControl::new().map_err(|source| ClientError::Socket { action: "make an eventfd", source })?;
        let _guard = self.watch(&control);
        become_copier(&mut options)?;
        let mut session = Session::new(negotiated, options, false, self.events.clone(), control);
        (session.charset, session.destination_charset) = charsets.unzip();
        let session = Arc::new(session);
        let setup = LocalSetup {
            tree: Arc::clone(&source.tree),
            names: source.names.take(),
            request: source.request(&session, filters),
            destination: destination.map(|path| path.to_vec()).unwrap_or_default(),
            source_super_user,
            munge_links,
            owners: Box::new(SystemOwners::default()),
        };
        let report = copy(&session, setup)?;
        let totals = self.finished(totals(&report, &session, started));
        Ok(TransferReport { exit_code: session.exit_code(), totals })
    }
}

/// Options given by `-M` are those of the receiving half, as far as it has some of its own: its rights,
/// which are changed, and whether it makes links unusable, which is answered.
pub(crate) fn apply_receiver_options(options: &mut TransferOptions) -> bool {
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
