//! Local copies: the generator of a receiving side, with lists from a scanner and content from the
//! sources themselves (design decision 8).
//!
//! There is no wire. What the generator asks for is done when it has to wait, or, where nothing depends on
//! that, by a crew of threads whose results count in the order of its requests. Either way lines come in
//! that order, and the same copy says the same.

mod backlog;
mod content;
mod crew;
mod lists;
mod names;
mod peer;
mod pieces;
mod pipeline;
mod worker;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rsync_proto::filter::Side;
use rsync_proto::flist::OwnerNames;
use rsync_proto::options::SuperUser;
use rsync_proto::text::Topic;

use crate::generate::{Deleter, Generator};
use crate::meta::XattrRules;
use crate::receive::shared::Shared;
use crate::scan::ScanRequest;
use crate::tree::Tree;
use crate::{EngineError, ErrorState, SendReport, Session};
use backlog::{Backlog, Later};
use crew::Crew;
use lists::LocalLists;
use peer::{LocalPeer, Workshop};
use pipeline::{InOrder, Pipeline};

/// What a local copy needs.
pub struct LocalSetup {
    /// Where the sources are.
    pub tree: Arc<dyn Tree>,
    /// What to copy. Its filters also decide about deletions.
    pub request: ScanRequest,
    /// The names of `--files-from`.
    pub names: Option<Vec<Vec<u8>>>,
    /// The destination argument, as typed. Not used by `--list-only`.
    pub destination: Vec<u8>,
    /// Whose rights the sources are read with; the session's options say whose the destination is
    /// written with.
    pub source_super_user: SuperUser,
    /// Symlinks are made unusable at the destination; what the session's options say of that makes those
    /// of the sources usable.
    pub munge_links: bool,
    /// The database of users and groups, for `--usermap` and `--groupmap`.
    pub owners: Box<dyn OwnerNames + Send>,
}

impl std::fmt::Debug for LocalSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalSetup").field("destination", &self.destination).finish_non_exhaustive()
    }
}

/// Copies between two places of this machine.
///
/// The numbers of the run are in [`Session::counters`]; the bytes read and written there are close to
/// what two processes would have exchanged. Failures of single files are in [`Session::errors`].
///
/// # Errors
/// Whatever ended the copy early. No file of the destination is incomplete then, unless `--inplace`
/// or `--partial` asked for it.
pub fn copy(session: &Arc<Session>, setup: LocalSetup) -> Result<SendReport, EngineError> {
    let LocalSetup { tree, request, names, destination, source_super_user, munge_links, owners } = setup;
    session.check_munging(munge_links || session.options.munge_links == Some(true))?;
    let filters = request.filters.clone();
    let options = &session.options;
    let rules_of =
        |super_user, side| XattrRules::new(super_user, options.xattrs, &Arc::new(filters.clone()), side);
    let xattr_rules = rules_of(options.super_user, Side::Receiver);
    let source_rules = rules_of(source_super_user, Side::Sender);
    let (shared, notices) = Shared::new(session, xattr_rules);
    let started = Instant::now();
    let crew = works_ahead(session).then(Arc::<Crew>::default);
    let pipeline = crew.as_ref().map(|crew| Pipeline::new(session, crew));
    let ordered = pipeline.as_ref().map(|pipeline| {
        let errors = Arc::clone(&session.errors);
        Arc::new(session.reporting_to(Arc::new(InOrder(Arc::clone(pipeline))), errors))
    });
    let later = Arc::new(Later::new(&session.events));
    let at_work = session.reporting_to(Arc::clone(&later) as _, Arc::clone(&session.errors));
    let speaking = ordered.as_ref().unwrap_or(session);
    // What goes wrong while a list is made counts when the generator gets that list, as over a wire.
    let found = Arc::<ErrorState>::default();
    let scanning = Arc::new(speaking.reporting_to(Arc::clone(&speaking.events), Arc::clone(&found)));
    let lists = LocalLists::new(&scanning, &shared, (tree, source_rules), request, names, owners)?
        .munging(munge_links);
    let copied = std::thread::scope(|scope| -> Result<_, EngineError> {
        let workshop = match (&crew, pipeline) {
            (Some(crew), Some(pipeline)) => {
                let shared = &shared;
                let start = move || {
                    let spawn =
                        || std::thread::Builder::new().spawn_scoped(scope, || crew.work(session, shared));
                    (0..pieces::threads().max(2)).filter(|_| spawn().is_ok()).count() > 0
                };
                Workshop::Crew(pipeline, Some(Box::new(start)))
            }
            _ => Workshop::Here(Backlog::default()),
        };
        let _ends = crew.as_deref().map(Closing);
        let mut peer =
            LocalPeer::new(speaking, &shared, lists, started, workshop, (&at_work, &later), &found);
        let generator = Generator::new(speaking, &shared, &mut peer, notices, Deleter::new(filters));
        let generator = generator.map_err(|source| EngineError::FileIo {
            text: "rsync: [Receiver] cannot open the current directory".into(),
            source,
        })?;
        let (_, deleted) = generator.run(&destination)?;
        Ok((deleted, peer.asked(), peer.into_report()))
    });
    session.errors.take_over(&found);
    let (deleted, asked, report) = copied?;
    session.counters.bytes_read.store(asked, Ordering::Relaxed);
    Ok(SendReport { deleted: Some(deleted), ..report })
}

/// Whether files are copied while the generator goes on: not where they share more than directories, or
/// somebody watches each of them grow.
fn works_ahead(session: &Session) -> bool {
    let options = &session.options;
    let shares = options.backup || options.partial_dir.is_some() || options.fuzzy > 0;
    let one_by_one = options.bwlimit > 0 || session.events.wants(Topic::Progress);
    !(shares || one_by_one || options.dry_run || options.list_only)
}

/// Ends a crew when the copy ends, however it does.
struct Closing<'c>(&'c Crew);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}
