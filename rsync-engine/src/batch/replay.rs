//! Applies a batch file: a receiving side whose sender is a recording.
//!
//! There is no link to write to, and nobody to wait for but the file. So one thread does both halves:
//! the generator decides, and whenever it could only wait, the receiver reads one thing more. What the
//! generator has not asked for by then it does not want.

use std::sync::Arc;
use std::time::Duration;

use rsync_proto::exit::ExitCode;
use rsync_proto::filter::{Filters, Side};
use rsync_proto::phase::ItemAttributes;
use rsync_proto::sum::SumHead;
use rsync_proto::text::KindCounts;

use crate::generate::{Deleter, Ended, Generator, Peer};
use crate::meta::XattrRules;
use crate::receive::run::Receiver;
use crate::receive::shared::{Notice, Shared};
use crate::receive::{ReceiveReport, no_descriptor};
use crate::{Connection, EngineError, Session};

/// What the application of a batch needs.
#[derive(Clone, Debug)]
pub struct ReplaySetup {
    /// The user's rules: they protect what a deletion would take.
    pub filters: Filters,
    /// The destination argument, as typed. Not used by `--list-only`.
    pub destination: Vec<u8>,
}

/// Applies the recording that `connection` reads, past its head, to the destination.
///
/// `session` is agreed on as the head of the recording says. The recording is trusted no more than
/// a sender: every check of [`receive`](crate::receive) is made.
///
/// # Errors
/// Whatever ended the application early: the recording is cut off or malformed, or does not fit the
/// files that it is applied to.
pub fn replay(
    connection: Connection,
    session: &Session,
    setup: ReplaySetup,
) -> Result<ReceiveReport, EngineError> {
    let Connection { mut inbox, .. } = connection;
    let ReplaySetup { mut filters, destination } = setup;
    inbox.demux().start_counting();
    if session.options.cvs_exclude {
        filters.add_cvs_after_exchange(&session.negotiated, false);
    }
    let options = &session.options;
    let xattr_rules =
        XattrRules::new(options.super_user, options.xattrs, &Arc::new(filters.clone()), Side::Receiver);
    let (shared, notices) = Shared::new(session, xattr_rules);
    let mut recording = Recording {
        session,
        shared: &shared,
        receiver: Receiver::new(session, &shared, inbox, None)?.replaying(),
        began: false,
        broken: false,
    };
    let generator = Generator::new(session, &shared, &mut recording, notices, Deleter::new(filters));
    let (ended, deleted) = generator.map_err(no_descriptor)?.run(&destination)?;
    let outcome = recording.receiver.outcome();
    let statistics = outcome.statistics.filter(|_| ended == Ended::Complete);
    Ok(ReceiveReport::new(outcome, statistics, deleted))
}

/// The sender as its generator sees it.
struct Recording<'a> {
    session: &'a Session,
    shared: &'a Shared,
    receiver: Receiver<'a>,
    /// The first list was read.
    began: bool,
    /// Nothing more can be read.
    broken: bool,
}

impl Recording<'_> {
    fn step(&mut self) -> Result<(), EngineError> {
        if self.session.control.is_aborted() {
            return Err(self.session.control.reason());
        }
        if !std::mem::replace(&mut self.began, true) {
            return self.receiver.begin().map(drop);
        }
        if self.broken || self.receiver.is_over() {
            return Err(EngineError::ReceiverGone);
        }
        self.receiver.step()
    }
}

impl Peer for Recording<'_> {
    fn item(&mut self, _: u32, _: &ItemAttributes, _: Option<&[u32]>) -> Result<(), EngineError> {
        Ok(())
    }

    fn sum_head(&mut self, _: &SumHead) -> Result<bool, EngineError> {
        Ok(false)
    }

    fn block_sums(&mut self, _: &SumHead, _: &[u8]) -> Result<(), EngineError> {
        Ok(())
    }

    fn done(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn delete_stats(&mut self, _: &KindCounts) -> Result<(), EngineError> {
        Ok(())
    }

    fn success(&mut self, _: u32) -> Result<(), EngineError> {
        Ok(())
    }

    fn end_round(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn keep_alive(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn keep_alive_at_work(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn keep_alive_interval(&self) -> Option<Duration> {
        None
    }

    /// Reads until there is something to tell.
    fn work(&mut self) -> Result<(), EngineError> {
        let told = self.shared.told();
        while self.shared.told() == told {
            if let Err(error) = self.step() {
                self.broken = true;
                self.shared.notify(Notice::Broken(self.receiver.blamed(error)));
                return Ok(());
            }
            self.shared.tell_finished();
        }
        Ok(())
    }

    fn leaves_when_empty(&self) -> bool {
        true
    }

    /// A recording is as long as it is: whatever it does not answer shows at its end.
    fn limits_requests(&self) -> bool {
        false
    }

    fn leave(&mut self, _: ExitCode) {}

    fn sent(&self) -> u64 {
        0
    }
}
