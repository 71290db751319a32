//! A session's line to the front: its log, and names that a sandbox hides.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bstr::BString;
use rsync_engine::{LinkControl, OwnerIds};
use rsync_proto::flist::OwnerNames;

use super::{MESSAGE_LIMIT, ORDER_LIMIT, Report};
use crate::converter::Question;
use crate::metrics::Outcome;
use crate::order::SessionOrder;
use crate::packed::{Packed, read_frame, write_frame};

/// The worker's end of a session's line.
pub(crate) struct FrontLine {
    stream: Mutex<UnixStream>,
    /// Ends the session.
    control: OnceLock<LinkControl>,
}

impl FrontLine {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream: Mutex::new(stream), control: OnceLock::new() }
    }

    /// Ends the session by `control` when the front wants that.
    pub(super) fn ends_by(&self, control: &LinkControl) {
        // There is one session at a line.
        let _ = self.control.set(control.clone());
    }

    /// What is to be done; it comes first.
    pub(super) fn order(&self) -> io::Result<SessionOrder> {
        read_frame(&mut *self.stream(), ORDER_LIMIT)
    }

    /// Has a line logged.
    pub(crate) fn log(&self, severity: u8, text: &[u8]) {
        self.say(&Report::Log(severity, text.into()));
    }

    /// Says that the session is over.
    pub(super) fn end(&self, outcome: Outcome) {
        self.say(&Report::Ended(outcome));
    }

    fn say(&self, report: &Report) {
        // Without a front there is no log.
        let _ = write_frame(&mut *self.stream(), report, MESSAGE_LIMIT);
    }

    /// Asks something; a front that does not answer wants the session to end.
    fn ask<T: Packed>(&self, question: Question) -> Option<T> {
        let mut stream = self.stream();
        let answer = write_frame(&mut *stream, &Report::Asked(question), MESSAGE_LIMIT)
            .and_then(|()| read_frame::<Option<T>>(&mut *stream, MESSAGE_LIMIT));
        answer.unwrap_or_else(|_| {
            if let Some(control) = self.control.get() {
                control.abort();
            }
            None
        })
    }

    fn stream(&self) -> std::sync::MutexGuard<'_, UnixStream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the front for names, once for each id.
pub(super) struct FrontOwners {
    line: Arc<FrontLine>,
    users: HashMap<u32, Option<Vec<u8>>>,
    groups: HashMap<u32, Option<Vec<u8>>>,
}

impl FrontOwners {
    pub(super) fn new(line: Arc<FrontLine>) -> Self {
        Self { line, users: HashMap::new(), groups: HashMap::new() }
    }
}

fn name(line: &FrontLine, question: Question) -> Option<Vec<u8>> {
    line.ask::<BString>(question).map(Vec::from)
}

/// Asks the front for ids; those who use it keep what they learn.
pub(super) struct FrontIds(pub(super) Arc<FrontLine>);

impl OwnerIds for FrontIds {
    fn user(&self, name: &[u8]) -> Option<u32> {
        self.0.ask(Question::UserId(name.into()))
    }

    fn group(&self, name: &[u8]) -> Option<u32> {
        self.0.ask(Question::GroupId(name.into()))
    }
}

impl OwnerNames for FrontOwners {
    fn user(&mut self, uid: u32) -> Option<Vec<u8>> {
        self.users.entry(uid).or_insert_with(|| name(&self.line, Question::User(uid))).clone()
    }

    fn group(&mut self, gid: u32) -> Option<Vec<u8>> {
        self.groups.entry(gid).or_insert_with(|| name(&self.line, Question::Group(gid))).clone()
    }
}
