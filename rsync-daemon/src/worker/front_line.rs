//! A session's line to the front: its log, and names that a sandbox hides.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use bstr::BString;
use rsync_engine::OwnerIds;
use rsync_proto::flist::OwnerNames;

use super::{MESSAGE_LIMIT, ORDER_LIMIT, Report};
use crate::metrics::Outcome;
use crate::order::SessionOrder;
use crate::packed::{Packed, read_frame, write_frame};

/// The worker's end of a session's line.
pub(crate) struct FrontLine(Mutex<UnixStream>);

impl FrontLine {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self(Mutex::new(stream))
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

    fn ask<T: Packed>(&self, question: &Report) -> io::Result<Option<T>> {
        let mut stream = self.stream();
        write_frame(&mut *stream, question, MESSAGE_LIMIT)?;
        read_frame(&mut *stream, MESSAGE_LIMIT)
    }

    fn stream(&self) -> std::sync::MutexGuard<'_, UnixStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

/// A front that is gone knows no names.
fn name(line: &FrontLine, question: &Report) -> Option<Vec<u8>> {
    line.ask::<BString>(question).ok().flatten().map(Vec::from)
}

/// Asks the front for ids; those who use it keep what they learn.
pub(super) struct FrontIds(pub(super) Arc<FrontLine>);

impl OwnerIds for FrontIds {
    fn user(&self, name: &[u8]) -> Option<u32> {
        self.0.ask(&Report::UserId(name.into())).ok().flatten()
    }

    fn group(&self, name: &[u8]) -> Option<u32> {
        self.0.ask(&Report::GroupId(name.into())).ok().flatten()
    }
}

impl OwnerNames for FrontOwners {
    fn user(&mut self, uid: u32) -> Option<Vec<u8>> {
        self.users.entry(uid).or_insert_with(|| name(&self.line, &Report::User(uid))).clone()
    }

    fn group(&mut self, gid: u32) -> Option<Vec<u8>> {
        self.groups.entry(gid).or_insert_with(|| name(&self.line, &Report::Group(gid))).clone()
    }
}
