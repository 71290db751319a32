//! What a transfer would do, as a list of actions instead of lines of text.

use std::sync::{Arc, Mutex, PoisonError};

use bstr::BString;
use rsync_proto::exit::ExitCode;
use rsync_proto::options::{Endpoints, TransferOptions, endpoints};
use rsync_proto::phase::ItemFlags;
use rsync_proto::text::{EntryKind, Event, EventSink, Item, Stage, Topic, Totals};

use crate::ClientError;
use crate::client::Client;

/// What a transfer would do to its destination, in the order in which it would do it; deletions may
/// stand before or behind their neighbours.
///
/// Everything in it is plain owned data, ready to be shown, compared or stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What would be done. What would stay as it is is not mentioned.
    pub actions: Vec<Action>,
    /// The numbers of the summary; the sizes are those of whole files.
    pub totals: Totals,
    /// Zero, or what the dry run ended with: 23 when something could not be read.
    pub exit_code: ExitCode,
}

/// One thing that would be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Action {
    /// Path below the destination, without a slash at the end; the destination itself is `.`.
    pub path: BString,
    /// What kind of thing the path is to be (or, of a deletion, is).
    pub kind: EntryKind,
    /// What would be done to it.
    pub operation: Operation,
    /// Its length in bytes at the source; 0 of a deletion, whose length nobody tells.
    pub size: u64,
    /// Its modification time at the source, seconds since 1970; 0 of a deletion.
    pub mtime: i64,
    /// Its permissions at the source, with the bits of its type; 0 of a deletion.
    pub mode: u32,
    /// Where a symbolic link would point.
    pub target: Option<BString>,
}

/// What would be done to one path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// It is missing and would be made.
    Create,
    /// Its content would be replaced; what else differs is told along.
    Update(Changes),
    /// Its content is right; these attributes would be set.
    Metadata(Changes),
    /// It would become another name of a file (`--hard-links`).
    Link {
        /// Path of that file.
        to: BString,
    },
    /// It would be deleted.
    Delete,
}

/// How something at the destination differs, as far as the options compare it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent differences")]
pub struct Changes {
    /// The checksum (`--checksum`), or what a link or device stands for.
    pub content: bool,
    /// The length.
    pub size: bool,
    /// The modification time.
    pub time: bool,
    /// The permissions.
    pub permissions: bool,
    /// The owner.
    pub owner: bool,
    /// The group.
    pub group: bool,
    /// The access control list.
    pub acl: bool,
    /// Extended attributes.
    pub xattrs: bool,
}

impl Client {
    /// Finds out what a transfer from `sources` to `destination` would do, and changes nothing. Each may
    /// be local or remote as on rsync's command line: this is a dry run of [`Client::copy`],
    /// [`Client::push`] or [`Client::pull`].
    ///
    /// Peers older than protocol 29 do not tell what they would change of existing files.
    ///
    /// # Errors
    /// Whatever ends the dry run early.
    pub fn dry_run<S: AsRef<[u8]>>(
        &self,
        sources: &[S],
        destination: impl AsRef<[u8]>,
    ) -> Result<Plan, ClientError> {
        let mut operands: Vec<BString> = sources.iter().map(|source| source.as_ref().into()).collect();
        operands.push(destination.as_ref().into());
        self.plan(&endpoints(&operands, &self.options)?)
    }

    /// [`Client::dry_run`] of operands that are parsed already.
    ///
    /// # Errors
    /// Whatever ends the dry run early.
    pub fn plan(&self, endpoints: &Endpoints) -> Result<Plan, ClientError> {
        let options = self.options.as_ref();
        let batch = options.batch.clone().filter(|_| !options.writes_batch());
        let options = TransferOptions {
            dry_run: true,
            batch,
            // Servers tell about deletions where items are printed.
            out_format: Some("%i %n%L".into()),
            ..options.clone()
        };
        let planner = Arc::new(Planner { actions: Mutex::default(), events: self.events.clone() });
        let client = Self { options: Arc::new(options), events: planner.clone(), ..self.clone() };
        let report = client.transfer(endpoints)?;
        let actions = std::mem::take(&mut *planner.actions.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Plan { actions, totals: report.totals, exit_code: report.exit_code })
    }
}

impl Action {
    /// The action that an event of a dry run tells of, for whoever takes actions one by one: the items of
    /// unchanged entries, and events that are none, tell of none.
    #[must_use]
    pub fn of(event: &Event<'_>) -> Option<Self> {
        match event {
            Event::Item { stage: Stage::Done, item } => action(item),
            Event::Deleted { name, is_dir } => Some(Self {
                path: (*name).into(),
                kind: if *is_dir { EntryKind::Dir } else { EntryKind::File },
                operation: Operation::Delete,
                size: 0,
                mtime: 0,
                mode: 0,
                target: None,
            }),
            _ => None,
        }
    }
}

impl Plan {
    /// Whether the destination is already as it should be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }
}

/// Makes actions of events, and hands everything else on.
struct Planner {
    actions: Mutex<Vec<Action>>,
    events: Arc<dyn EventSink>,
}

impl EventSink for Planner {
    fn wants(&self, topic: Topic) -> bool {
        matches!(topic, Topic::Items | Topic::Deletions) || self.events.wants(topic)
    }

    fn emit(&self, event: Event<'_>) {
        let action = Action::of(&event);
        self.actions.lock().unwrap_or_else(PoisonError::into_inner).extend(action);
        self.events.emit(event);
    }
}

fn action(item: &Item<'_>) -> Option<Action> {
    let flags = item.flags;
    let changes = Changes::of(flags, item.entry.kind());
    let operation = if flags.contains(ItemFlags::XNAME_FOLLOWS | ItemFlags::LOCAL_CHANGE) {
        match item.xname.filter(|name| !name.is_empty()) {
            Some(to) => Operation::Link { to: to.into() },
            None => return None,
        }
    } else if flags.contains(ItemFlags::IS_NEW) {
        Operation::Create
    } else if flags.contains(ItemFlags::TRANSFER) || flags.contains(ItemFlags::LOCAL_CHANGE) {
        Operation::Update(changes)
    } else if flags.is_significant() {
        Operation::Metadata(changes)
    } else {
        return None;
    };
    let entry = &item.entry;
    Some(Action {
        path: entry.name.into(),
        kind: entry.kind(),
        operation,
        size: entry.size,
        mtime: entry.mtime,
        mode: entry.mode,
        target: entry.target.map(BString::from),
    })
}

impl Changes {
    fn of(flags: ItemFlags, kind: EntryKind) -> Self {
        Self {
            content: flags.contains(ItemFlags::REPORT_CHANGE),
            // Of other kinds the bit says that their times cannot be set.
            size: kind == EntryKind::File && flags.contains(ItemFlags::REPORT_SIZE),
            time: flags.contains(ItemFlags::REPORT_TIME),
            permissions: flags.contains(ItemFlags::REPORT_PERMS),
            owner: flags.contains(ItemFlags::REPORT_OWNER),
            group: flags.contains(ItemFlags::REPORT_GROUP),
            acl: flags.contains(ItemFlags::REPORT_ACL),
            xattrs: flags.contains(ItemFlags::REPORT_XATTR),
        }
    }
}
