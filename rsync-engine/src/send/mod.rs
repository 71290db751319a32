//! The sending side: answers the requests of a receiving peer (spec 02 §5 to §10; 05 §6 to §12).
//!
//! A reader thread decodes what the peer wants into a bounded queue; the calling thread, S, makes the
//! lists, takes the requests in order and alone writes to the peer.

mod answer;
mod file;
mod handshake;
mod lists;
mod queue;
mod reader;
mod remove;
mod run;
mod scanned;
#[cfg(test)]
mod tests;

use rsync_proto::filter::{Filters, RuleFiles};
use rsync_proto::options::RemoveSource;
use rsync_proto::session::SetupError;
use rsync_proto::sum::Checksum;
use rsync_proto::text::{Event, KindCounts, Role, Severity, exit_line};
use rsync_proto::wire::{Legal, Message};

pub(crate) use answer::{failed, say, say_unopened};
pub use lists::{ListWire, Lists};
pub(crate) use remove::remove_source;
pub(crate) use run::count_of;
pub use scanned::ScannedLists;

use crate::{Connection, EngineError, Session};
use handshake::Handshake;
use queue::Queue;
use reader::{ListTotal, Reader};
use run::Sender;

/// Said in the last line of a failing server.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a sender needs before it can make lists.
pub struct SendSetup<'a> {
    /// The user's rules: a client tells them to its server. A server's are empty; it adds those that
    /// it receives.
    pub filters: Filters,
    /// Reads the files that received rules merge.
    pub rule_files: &'a mut dyn RuleFiles,
    /// A daemon's timeout in seconds that its client shall adopt.
    pub announced_timeout: Option<u32>,
}

/// What is known when the lists can be made.
#[derive(Debug)]
pub struct Agreed {
    /// The rules in force.
    pub filters: Filters,
    /// The names that the peer forwarded (`--files-from`); `None` where it forwards none.
    pub names: Option<Vec<Vec<u8>>>,
}

/// What a sender did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendReport {
    /// Entries of all lists.
    pub listed: KindCounts,
    /// Entries that did not exist at the destination.
    pub created: KindCounts,
    /// What the receiving side deleted; `None` if it did not say.
    pub deleted: Option<KindCounts>,
    /// Bytes of all regular files and link targets of the lists.
    pub total_size: u64,
    /// Bytes of the lists on the wire.
    pub list_size: u64,
    /// Milliseconds to build the first list, at least 1.
    pub list_build_ms: u64,
    /// Milliseconds in which it was sent.
    pub list_transfer_ms: u64,
}

/// Sends what `open` makes lists of to the peer, to the end of the session.
///
/// `open` is called when the filter rules and forwarded names are known. Numbers of the run are in
/// [`Session::counters`], failures of single files in [`Session::errors`].
///
/// # Errors
/// Whatever ended the transfer early; the peer was told, where the protocol can say it.
pub fn send<L: Lists>(
    connection: Connection,
    session: &Session,
    setup: SendSetup<'_>,
    open: impl FnOnce(Agreed) -> Result<L, EngineError>,
) -> Result<SendReport, EngineError> {
    session.check_munging(session.options.munge_links == Some(true))?;
    let Connection { mut inbox, mut outbox, .. } = connection;
    let removes = session.options.remove_source != RemoveSource::No;
    let legal = Legal::new(&session.negotiated, !session.server, true, removes);
    outbox.limit_rate(session.options.bwlimit);
    let mut handshake = Handshake { inbox: &mut inbox, outbox: &mut outbox, session };
    handshake.start_framing(legal);
    let incremental = session.negotiated.incremental_recursion();
    let agreed = check_digest(session).and_then(|()| handshake.agree(setup));
    let agreed = agreed.and_then(|agreed| {
        if let Some(recorder) = &session.recorder {
            recorder.start(&session.negotiated)?;
            outbox.record(recorder.clone());
        }
        Ok(agreed)
    });
    let lists = match agreed.and_then(open) {
        Ok(lists) => lists,
        Err(error) => {
            let error = error.rejected_by(Role::Sender, incremental);
            last_words(&mut outbox, session, &error);
            return Err(error);
        }
    };
    let (queue, total) = (Queue::default(), ListTotal::default());
    let reader = Reader::new(inbox, session, &queue, &total);
    let mut sender = Sender::new(session, &mut outbox, lists, &queue, &total)?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || reader.run());
        let result = sender.run().map_err(|error| error.rejected_by(Role::Sender, incremental));
        queue.close();
        match &result {
            Err(error) if last_words(sender.outbox, session, error) => {}
            Ok(report) if !report.was_empty_pull => {}
            _ => session.control.abort(),
        }
        if thread.join().is_err() {
            session.control.abort();
        }
        result.map(|ended| ended.report)
    })
}

/// `--checksum` is nothing without an algorithm.
fn check_digest(session: &Session) -> Result<(), EngineError> {
    let missing = session.options.checksum && session.negotiated.checksum.pre_transfer == Checksum::None;
    if missing { Err(SetupError::NoPreTransferChecksum.into()) } else { Ok(()) }
}

/// Tells the peer why this side leaves; answers whether its own last words are worth listening to
/// (spec 02 §9.3).
fn last_words(outbox: &mut crate::outbox::Outbox, session: &Session, error: &EngineError) -> bool {
    let goodbye = match error {
        EngineError::PeerExit(_) => None,
        error if error.exit_code().is_announced() => Some(i32::from(error.exit_code().code())),
        _ => return false,
    };
    let mut tell = || {
        if session.server && goodbye.is_some() {
            let line = exit_line(error.exit_code(), Role::Sender, ("send.rs", line!()), VERSION);
            for text in [error.render(Role::Sender), line.unwrap_or_default()] {
                let text = [text.as_bytes(), b"\n"].concat();
                session.events.emit(Event::PeerText { severity: Severity::Error, text: &text });
            }
        }
        session.outgoing.drain(|message| outbox.message(message))?;
        outbox.message(&Message::ErrorExit(goodbye))?;
        outbox.flush()
    };
    tell().is_ok() && goodbye.is_some() && session.negotiated.has_long_goodbye()
}
