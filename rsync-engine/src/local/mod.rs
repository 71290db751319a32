//! Local copies: the generator of a receiving side, with lists from a scanner and content from the
//! sources themselves (design decision 8).
//!
//! There is one thread and no wire. What the generator asks for is done when it asks, so that lines
//! come in the order of its requests.

mod content;
mod lists;
mod peer;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rsync_proto::filter::Side;
use rsync_proto::flist::OwnerNames;
use rsync_proto::options::SuperUser;
use rsync_proto::text::Message;

use crate::generate::{Deleter, Generator};
use crate::meta::XattrRules;
use crate::receive::shared::Shared;
use crate::scan::ScanRequest;
use crate::tree::Tree;
use crate::{EngineError, SendReport, Session};
use lists::LocalLists;
use peer::LocalPeer;

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
    let (shared, notices) = Shared::new(xattr_rules);
    let started = Instant::now();
    let lists =
        LocalLists::new(session, &shared, (tree, source_rules), request, names, owners)?.munging(munge_links);
    let mut peer = LocalPeer::new(session, &shared, lists, started);
    let generator = Generator::new(session, &shared, &mut peer, notices, Deleter::new(filters));
    let generator = generator.map_err(|source| EngineError::FileIo {
        text: "rsync: [Receiver] cannot open the current directory".into(),
        source,
    })?;
    let (_, deleted) = generator.run(&destination)?;
    let counters = &session.counters;
    let data = counters.literal.load(Ordering::Relaxed);
    let message = Message::MatchTotals { matches: 0, hash_hits: 0, false_alarms: 0, data };
    crate::send::say(session, message);
    counters.bytes_read.store(peer.asked(), Ordering::Relaxed);
    Ok(SendReport { deleted: Some(deleted), ..peer.into_report() })
}
