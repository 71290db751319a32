//! What a session says to its client and to the log (spec 09 §14).

use std::sync::{Arc, OnceLock};

use bstr::BString;
use rsync_engine::ServerVoice;
use rsync_proto::phase::ItemFlags;
use rsync_proto::text::{
    Event, EventSink, Item, LineContext, LineFormat, ModuleFacts, Role, Severity, Stage, Topic,
};

use crate::log::{Log, now};
use crate::order::Visitor;

/// The line of each file that is sent.
pub(crate) struct TransferLog {
    pub(crate) format: LineFormat,
    pub(crate) visitor: Visitor,
    /// The module's path.
    pub(crate) path: BString,
}

/// Tells the client what concerns it, and the log what the daemon's operator wants to know.
pub(crate) struct LoggedVoice {
    pub(crate) to_client: ServerVoice,
    pub(crate) transfers: Option<TransferLog>,
    pub(crate) log: Log,
    pub(crate) keeps_times: bool,
    /// The directory that files are received into, as a path in the module.
    pub(crate) entered: Arc<OnceLock<BString>>,
    /// Nothing is really done, nor logged.
    pub(crate) dry_run: bool,
    /// Which side of the transfer this is.
    pub(crate) role: Role,
    /// Length of whole-file digests in bytes.
    pub(crate) digest_len: usize,
}

impl LoggedVoice {
    fn log_line(&self, transfers: &TransferLog, render: impl FnOnce(&LineContext<'_>, &mut Vec<u8>)) {
        let visitor = &transfers.visitor;
        let address = visitor.address.to_string();
        let context = LineContext {
            role: self.role,
            keeps_times: self.keeps_times,
            digest_len: self.digest_len,
            now: now(),
            zone: &**self.log.zone(),
            pid: std::process::id(),
            module: Some(ModuleFacts {
                name: &visitor.module,
                path: &transfers.path,
                user: &visitor.user,
                host: visitor.host.as_bytes(),
                address: address.as_bytes(),
            }),
        };
        let mut line = Vec::new();
        render(&context, &mut line);
        self.log.info(line);
    }

    fn log_item(&self, transfers: &TransferLog, item: &Item<'_>) {
        let shown = item.flags.contains(ItemFlags::TRANSFER)
            || (transfers.format.uses(b'i') && item.flags.is_significant());
        if shown && !self.dry_run {
            let mut item = *item;
            if self.role == Role::Receiver {
                item.entry.source_dir = self.entered.get().map_or(b"", |path| path.as_slice());
            }
            self.log_line(transfers, |context, line| transfers.format.render_item(&item, context, line));
        }
    }
}

impl EventSink for LoggedVoice {
    fn wants(&self, topic: Topic) -> bool {
        (matches!(topic, Topic::Items | Topic::Deletions) && self.transfers.is_some())
            || self.to_client.wants(topic)
    }

    fn emit(&self, event: Event<'_>) {
        match (&event, &self.transfers) {
            (Event::Item { stage: Stage::Done, item }, Some(transfers)) => self.log_item(transfers, item),
            (Event::Deleted { name, is_dir }, Some(transfers)) if !self.dry_run => {
                let format = &transfers.format;
                let plain = LineFormat::parse(b"");
                let format = if format.uses(b'o') || format.uses(b'i') { format } else { &plain };
                let is_plain = std::ptr::eq(format, &plain);
                let name = match self.entered.get().filter(|path| !path.is_empty() && !is_plain) {
                    Some(path) => [path, &b"/"[..], name].concat(),
                    None => name.to_vec(),
                };
                self.log_line(transfers, |context, line| {
                    format.render_deletion(&name, *is_dir, context, line);
                });
            }
            (Event::Message(message), _)
                if !matches!(message.severity(), Severity::Info | Severity::Client)
                    || (self.role == Role::Receiver && self.to_client.wants(message.topic())) =>
            {
                let mut text = Vec::new();
                message.render(&mut text);
                self.log.warning(text);
            }
            _ => {}
        }
        let unwanted = match &event {
            Event::Item { .. } => !self.to_client.wants(Topic::Items),
            Event::Deleted { .. } => !self.to_client.wants(Topic::Deletions),
            _ => false,
        };
        if !unwanted {
            self.to_client.emit(event);
        }
    }
}
