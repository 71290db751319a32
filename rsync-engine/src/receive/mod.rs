//! The receiving side: two threads, one that reads the link and writes files, one that decides and
//! writes the link (spec 02 §6 to §10; 07).

pub(crate) mod file;
mod lists;
mod output;
pub(crate) mod run;
pub(crate) mod shared;
pub(crate) mod target;

use std::sync::Arc;

use rsync_proto::filter::{Dialect, Filters, ReceivedRules, RequestForwarder, RuleFiles, Side, list_is_sent};
use rsync_proto::flist::NameGuard;
use rsync_proto::options::{FilesFrom, RemoveSource};
use rsync_proto::phase::FinalStatistics;
use rsync_proto::text::KindCounts;
use rsync_proto::wire::{Legal, Message};

use crate::generate::{Deleter, Ended, Generator, Wire};
use crate::inbox::{Inbox, MessageSink};
use crate::meta::XattrRules;
use crate::outbox::Outbox;
use crate::{Connection, EngineError, Session};
pub(crate) use lists::report_unconverted;
use run::{Outcome, Receiver};
use shared::Shared;

/// What a receiving side needs before lists can come.
pub struct ReceiveSetup<'a> {
    /// The user's rules: a client tells them to its server. A server's are empty; it adds those that
    /// it receives.
    pub filters: Filters,
    /// Reads the files that received rules merge.
    pub rule_files: &'a mut dyn RuleFiles,
    /// The destination argument, as typed. Not used by `--list-only`.
    pub destination: Vec<u8>,
    /// Refuses names that were not requested; servers and trusting clients have none (spec 03 §9).
    pub guard: Option<Box<dyn NameGuard + Send>>,
    /// The text of a local `--files-from` list that a client forwards to its server.
    pub names: Option<Vec<u8>>,
    /// A daemon's timeout in seconds that its client shall adopt.
    pub announced_timeout: Option<u32>,
}

impl std::fmt::Debug for ReceiveSetup<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiveSetup").field("destination", &self.destination).finish_non_exhaustive()
    }
}

/// What a receiving side did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveReport {
    /// Entries of all lists.
    pub listed: KindCounts,
    /// Entries that did not exist at the destination.
    pub created: KindCounts,
    /// What was deleted.
    pub deleted: KindCounts,
    /// Bytes of all regular files and link targets of the lists.
    pub total_size: u64,
    /// Bytes of the lists on the wire.
    pub list_size: u64,
    /// The sender's own numbers, where it is a server that had something to send.
    pub statistics: Option<FinalStatistics>,
}

/// Receives into the destination what the peer sends, to the end of the session.
///
/// Failures of single files are events and in [`Session::errors`]; other numbers of the run are in
/// [`Session::counters`].
///
/// # Errors
/// Whatever ended the transfer early; the peer was told, where the protocol can say it. No file of
/// the destination is incomplete then, unless `--inplace` or `--partial` asked for it.
pub fn receive(
    connection: Connection,
    session: &Session,
    setup: ReceiveSetup<'_>,
) -> Result<ReceiveReport, EngineError> {
    session.check_munging(session.options.munge_links == Some(true))?;
    let Connection { mut inbox, mut outbox, .. } = connection;
    let ReceiveSetup { mut filters, rule_files, destination, guard, names, announced_timeout } = setup;
    outbox.limit_rate(session.options.bwlimit);
    start_framing(session, &mut inbox, &mut outbox);
    if session.server {
        if let Some(seconds) = announced_timeout.and_then(|seconds| i32::try_from(seconds).ok()) {
            outbox.message(&Message::IoTimeout(seconds))?;
            outbox.flush()?;
        }
        receive_filters(session, &mut inbox, &mut filters, rule_files)?;
    } else {
        send_filters(session, &mut outbox, &filters)?;
    }
    if session.options.cvs_exclude {
        filters.add_cvs_after_exchange(&session.negotiated, session.server);
    }
    if let Some(recorder) = &session.recorder {
        recorder.start(&session.negotiated)?;
        inbox.record(recorder.clone());
    }
    let options = &session.options;
    let xattr_rules =
        XattrRules::new(options.super_user, options.xattrs, &Arc::new(filters.clone()), Side::Receiver);
    let (shared, notices) = Shared::new(session, xattr_rules);
    let receiver = Receiver::new(session, &shared, inbox, guard)?;
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| receiver.run());
        let forwarded = names.map_or(Ok(()), |names| forward_names(session, &mut outbox, &names));
        let generated = forwarded.and_then(|()| {
            let deleter = Deleter::new(filters);
            let mut wire = Wire::new(session, outbox);
            let generator = Generator::new(session, &shared, &mut wire, notices, deleter);
            generator.map_err(no_descriptor)?.run(&destination)
        });
        if generated.is_err() {
            session.control.abort();
        }
        let outcome = reading.join().map_err(|_| EngineError::ReceiverGone)?;
        let (ended, deleted) = generated?;
        let statistics = outcome.statistics.filter(|_| ended == Ended::Complete);
        Ok(ReceiveReport::new(outcome, statistics, deleted))
    })
}

impl ReceiveReport {
    /// Puts together what the receiver and the generator know.
    pub(crate) fn new(outcome: Outcome, statistics: Option<FinalStatistics>, deleted: KindCounts) -> Self {
        let Outcome { listed, created, total_size, list_size, .. } = outcome;
        Self { listed, created, deleted, total_size, list_size, statistics }
    }
}

/// Frames each direction where this session has frames (spec 01 §4.5).
fn start_framing(session: &Session, inbox: &mut Inbox, outbox: &mut Outbox) {
    let modern = session.negotiated.is_modern();
    let removes = session.options.remove_source != RemoveSource::No;
    let legal = Legal::new(&session.negotiated, !session.server, false, removes);
    inbox.demux().start_counting();
    if modern || !session.server {
        inbox.demux().start_framing(legal);
    }
    outbox.mux().start_counting();
    if modern || removes || session.server {
        outbox.mux().start_framing(legal.of_peer());
    }
}

/// A pulling client always sends its rules, be there none (spec 01 §4.7).
fn send_filters(session: &Session, outbox: &mut Outbox, filters: &Filters) -> Result<(), EngineError> {
    let dialect = Dialect { negotiated: &session.negotiated, client_is_sender: false };
    outbox.data::<EngineError>(|out| Ok(dialect.encode(filters, out)?))?;
    outbox.flush()
}

fn receive_filters(
    session: &Session,
    inbox: &mut Inbox,
    filters: &mut Filters,
    rule_files: &mut dyn RuleFiles,
) -> Result<(), EngineError> {
    let options = &session.options;
    let negotiated = &session.negotiated;
    let deletes = options.deletes();
    if !list_is_sent(negotiated, true, options.prune_empty_dirs, deletes, options.delete_excluded) {
        return Ok(());
    }
    let grammar = ReceivedRules::grammar(negotiated);
    let mut rules = ReceivedRules::default();
    loop {
        let rule = inbox
            .decode(&mut Early(session), |input| rules.decode(input).map(|rule| rule.map(<[u8]>::to_vec)))?;
        let Some(rule) = rule else { return Ok(()) };
        filters.add_received(&rule, grammar, rule_files)?;
    }
}

/// Sends the names of a local `--files-from` list (spec 01 §4.8).
fn forward_names(session: &Session, outbox: &mut Outbox, names: &[u8]) -> Result<(), EngineError> {
    debug_assert!(matches!(session.options.files_from, Some(FilesFrom::Local(_))), "names without a list");
    let unframed = outbox.mux().is_framed() && !session.negotiated.frames_names();
    if unframed {
        outbox.mux().start_raw();
    }
    let converted = session.argument_charset().map(|charset| charset.text_to_wire(names));
    let names = converted.as_deref().unwrap_or(names);
    let mut forwarder = RequestForwarder::new(session.options.from0);
    for piece in names.chunks(32 << 10) {
        outbox.data::<EngineError>(|out| {
            forwarder.push(piece, out);
            Ok(())
        })?;
    }
    outbox.data::<EngineError>(|out| {
        forwarder.finish(out);
        Ok(())
    })?;
    if unframed {
        let removes = session.options.remove_source != RemoveSource::No;
        let legal = Legal::new(&session.negotiated, !session.server, false, removes);
        outbox.mux().start_framing(legal.of_peer());
    }
    outbox.flush()
}

pub(crate) fn no_descriptor(source: std::io::Error) -> EngineError {
    EngineError::FileIo { text: "rsync: [Receiver] cannot open the current directory".into(), source }
}

/// Handles what the peer says before the lists.
struct Early<'a>(&'a Session);

impl MessageSink for Early<'_> {
    fn message(&mut self, message: Message) -> Result<(), EngineError> {
        self.0.take_message_or_exit(message)
    }
}
