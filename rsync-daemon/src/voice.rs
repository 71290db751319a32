//! What a session says to its client and to the log (spec 09 §14).

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
    /// Length of whole-file digests in bytes.
    pub(crate) digest_len: usize,
}

impl LoggedVoice {
    fn log_item(&self, transfers: &TransferLog, item: &Item<'_>) {
        let visitor = &transfers.visitor;
        let address = visitor.address.to_string();
        let context = LineContext {
            role: Role::Sender,
            keeps_times: self.keeps_times,
            digest_len: self.digest_len,
            now: now(),
            zone: self.log.zone(),
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
        transfers.format.render_item(item, &context, &mut line);
        self.log.info(line);
    }
}

impl EventSink for LoggedVoice {
    fn wants(&self, topic: Topic) -> bool {
        (topic == Topic::Items && self.transfers.is_some()) || self.to_client.wants(topic)
    }

    fn emit(&self, event: Event<'_>) {
        match &event {
            Event::Item { stage: Stage::Done, item } if item.flags.contains(ItemFlags::TRANSFER) => {
                if let Some(transfers) = &self.transfers {
                    self.log_item(transfers, item);
                }
            }
            Event::Message(message) if !matches!(message.severity(), Severity::Info | Severity::Client) => {
                let mut text = Vec::new();
                message.render(&mut text);
                self.log.warning(text);
            }
            _ => {}
        }
        self.to_client.emit(event);
    }
}
