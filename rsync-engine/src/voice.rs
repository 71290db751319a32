//! What a server says: its events become messages for the client (spec 02 §2, 07 §15).
//!
//! Used by `rsync --server` and by daemons. Texts are rendered here, printed by the client.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use rsync_proto::charset::Charset;
use rsync_proto::options::{Info, TransferOptions};
use rsync_proto::session::Negotiated;
use rsync_proto::text::{
    self, EntryFacts, Event, EventSink, Human, LineContext, LineFormat, ListStyle, Numbers, Role, Severity,
    Topic, Utc, Zone, escape_message,
};
use rsync_proto::wire::{Message, MessageCode};

use crate::Outgoing;

/// Queues a server's texts for its client; errors may go to a standard error of its own instead.
pub struct ServerVoice {
    options: TransferOptions,
    outgoing: Outgoing,
    /// Items are no part of the protocol, so the names of what is deleted travel as text.
    names_as_text: bool,
    itemizes: bool,
    /// That a file has vanished is said as an error.
    vanishing_is_error: bool,
    charset: Option<Charset>,
    zone: Arc<dyn Zone + Send + Sync>,
    errors: Option<Mutex<Box<dyn Write + Send>>>,
}

impl ServerVoice {
    /// Speaks through `outgoing`, which the session of this server must share.
    #[must_use]
    pub fn new(options: &TransferOptions, negotiated: &Negotiated, outgoing: Outgoing) -> Self {
        let format = options.out_format.as_ref().map(|format| LineFormat::parse(format));
        Self {
            names_as_text: !negotiated.has_item_flags(),
            itemizes: format.is_some_and(|format| format.uses(b'i')),
            options: options.clone(),
            outgoing,
            vanishing_is_error: false,
            charset: None,
            zone: Arc::new(Utc),
            errors: None,
        }
    }

    /// Converts what is said from this charset, that of the names on this side, for the wire.
    #[must_use]
    pub fn in_charset(mut self, charset: Option<Charset>) -> Self {
        self.charset = charset;
        self
    }

    /// Speaks as a daemon does.
    #[must_use]
    pub fn of_daemon(mut self, negotiated: &Negotiated) -> Self {
        self.vanishing_is_error = negotiated.daemon_warns_by_errors();
        self
    }

    /// Times in a listing for the client are of this zone; without it they are universal.
    #[must_use]
    pub fn in_zone(mut self, zone: Arc<dyn Zone + Send + Sync>) -> Self {
        self.zone = zone;
        self
    }

    /// Writes warnings and errors to `stream`, as a server behind a remote shell does unless its
    /// client asked for them (`--stderr=client`).
    #[must_use]
    pub fn with_errors_to(mut self, stream: Box<dyn Write + Send>) -> Self {
        self.errors = Some(Mutex::new(stream));
        self
    }

    /// Says a text whose line feed is included.
    pub fn say(&self, severity: Severity, text: &[u8]) {
        self.say_in(self.charset, severity, text);
    }

    /// Says a text that is in `charset`, or that travels as it is.
    fn say_in(&self, charset: Option<Charset>, severity: Severity, text: &[u8]) {
        let code = match severity {
            Severity::Log => return,
            Severity::Info | Severity::Client if self.options.quiet => return,
            Severity::Info | Severity::Client => MessageCode::Info,
            Severity::Warning => MessageCode::Warning,
            Severity::Error => MessageCode::Error,
            Severity::TransferError => MessageCode::ErrorXfer,
        };
        match &self.errors {
            Some(errors) if code != MessageCode::Info => {
                // It may be somebody's terminal, and nobody knows what it can show.
                let mut escaped = Vec::with_capacity(text.len());
                escape_message(text, text::Charset::Ascii, &mut escaped);
                // Nobody could be told that standard error cannot be written.
                let _ = errors.lock().unwrap_or_else(PoisonError::into_inner).write_all(&escaped);
            }
            _ => self.outgoing.push(Message::Text { code, bytes: to_wire(charset, text) }),
        }
    }

    /// The text of a deletion, for clients that learn of it in no other way.
    fn deletion(&self, name: &[u8], is_dir: bool) {
        let context = LineContext {
            role: Role::Generator,
            keeps_times: self.options.times,
            digest_len: 0,
            now: 0,
            zone: &*self.zone,
            pid: 0,
            module: None,
        };
        let format = self.options.out_format.as_ref().map_or(&b""[..], |format| format);
        let mut line = Vec::new();
        LineFormat::parse(format).render_deletion(name, is_dir, &context, &mut line);
        line.push(b'\n');
        self.say(Severity::Info, &line);
    }

    /// The line of a listing; a server never hears how its client wants numbers.
    fn listed(&self, entry: &EntryFacts<'_>) {
        let style = ListStyle {
            numbers: Numbers::new(Human::default()),
            zone: &*self.zone,
            atimes: self.options.atimes > 0,
            crtimes: self.options.crtimes,
        };
        let mut line = Vec::new();
        style.render(entry, &mut line);
        line.push(b'\n');
        self.say(Severity::Info, &line);
    }
}

impl EventSink for ServerVoice {
    fn wants(&self, topic: Topic) -> bool {
        let info = &self.options.info;
        match topic {
            Topic::Always => true,
            Topic::Info(Info::Flist | Info::Progress, _) | Topic::Progress => false,
            Topic::Info(word, level) => info.at_least(word, level),
            Topic::Debug(word, level) => self.options.debug.at_least(word, level),
            Topic::NamesOrItems => info.at_least(Info::Name, 1) || self.itemizes,
            Topic::UnchangedNames => info.at_least(Info::Name, 2) && !self.itemizes,
            // As messages they travel always: the client knows whether it prints or logs them.
            Topic::Deletions => {
                !self.names_as_text || info.at_least(Info::Del, 1) || self.options.out_format.is_some()
            }
            Topic::Items => false,
        }
    }

    fn emit(&self, event: Event<'_>) {
        match event {
            Event::Message(message) => {
                let mut text = Vec::new();
                message.render(&mut text);
                text.push(b'\n');
                let charset = self.charset.filter(|_| !message.is_wire_text());
                let severity = match message {
                    text::Message::FileVanished(_) if self.vanishing_is_error => Severity::TransferError,
                    message => message.severity(),
                };
                self.say_in(charset, severity, &text);
            }
            Event::Deleted { name, is_dir } if self.names_as_text => self.deletion(name, is_dir),
            Event::Deleted { name, is_dir } => {
                self.outgoing.push(Message::Deleted { name: to_wire(self.charset, name), is_dir });
            }
            Event::Listed { entry } => self.listed(entry),
            _ => {}
        }
    }
}

fn to_wire(charset: Option<Charset>, text: &[u8]) -> Vec<u8> {
    charset.map_or_else(|| text.to_vec(), |charset| charset.text_to_wire(text))
}

impl std::fmt::Debug for ServerVoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerVoice").field("direct_errors", &self.errors.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use rsync_proto::charset::Unconvertible;
    use rsync_proto::session::CompatFlags;

    fn said(protocol: u8, options: &TransferOptions, play: impl Fn(&ServerVoice)) -> Vec<Message> {
        let outgoing = Outgoing::default();
        let negotiated = Negotiated::new(protocol, CompatFlags::default());
        play(&ServerVoice::new(options, &negotiated, outgoing.clone()));
        let mut messages = Vec::new();
        let drained: Result<(), Infallible> = outgoing.drain(|message| {
            messages.push(message.clone());
            Ok(())
        });
        assert!(drained.is_ok());
        messages
    }

    fn text(code: MessageCode, bytes: &str) -> Message {
        Message::Text { code, bytes: bytes.into() }
    }

    #[test]
    fn texts_travel_in_their_class() {
        let play = |voice: &ServerVoice| {
            voice.emit(Event::Message(text::Message::CreatedDirectory(b"d")));
            voice.say(Severity::TransferError, b"oops\n");
            voice.say(Severity::Log, b"log\n");
        };
        let expected =
            [text(MessageCode::Info, "created directory d\n"), text(MessageCode::ErrorXfer, "oops\n")];
        assert_eq!(said(32, &TransferOptions::default(), play), expected);
        let quiet = TransferOptions { quiet: true, ..TransferOptions::default() };
        assert_eq!(said(32, &quiet, play), expected[1..]);
    }

    #[test]
    fn deletions_are_messages_or_text_for_old_clients() {
        let play = |voice: &ServerVoice| voice.emit(Event::Deleted { name: b"old", is_dir: true });
        let options = TransferOptions::default();
        assert_eq!(said(32, &options, play), [Message::Deleted { name: b"old".to_vec(), is_dir: true }]);
        assert_eq!(said(28, &options, play), [text(MessageCode::Info, "deleting old/\n")]);
    }

    #[test]
    fn deletions_travel_unless_they_are_text_that_nobody_asked_for() {
        let wants = |protocol, options: &TransferOptions| {
            let negotiated = Negotiated::new(protocol, CompatFlags::default());
            ServerVoice::new(options, &negotiated, Outgoing::default()).wants(Topic::Deletions)
        };
        let mut options = TransferOptions::default();
        assert!(wants(32, &options));
        assert!(!wants(28, &options));
        options.info.set(Info::Del, 1);
        assert!(wants(28, &options));
    }

    #[test]
    fn texts_and_names_travel_as_utf8() {
        let outgoing = Outgoing::default();
        let negotiated = Negotiated::new(32, CompatFlags::default());
        let latin1 = Charset::named(b"latin1").ok();
        let voice = ServerVoice::new(&TransferOptions::default(), &negotiated, outgoing.clone());
        let voice = voice.in_charset(latin1);
        voice.emit(Event::Message(text::Message::CreatedDirectory(b"d\xe9")));
        voice.emit(Event::Deleted { name: b"\xe9", is_dir: false });
        let of_the_wire =
            text::Message::UnconvertibleName(Role::Receiver, "т".as_bytes(), Unconvertible::Invalid);
        voice.emit(Event::Message(of_the_wire));
        let mut messages = Vec::new();
        let drained: Result<(), Infallible> = outgoing.drain(|message| {
            messages.push(message.clone());
            Ok(())
        });
        assert!(drained.is_ok());
        let reason = Unconvertible::Invalid.reason();
        assert_eq!(
            messages,
            [
                text(MessageCode::Info, "created directory dé\n"),
                Message::Deleted { name: "é".into(), is_dir: false },
                text(MessageCode::ErrorXfer, &format!("[receiver] cannot convert filename: т ({reason})\n")),
            ]
        );
    }

    #[derive(Clone, Default)]
    struct Tape(Arc<Mutex<Vec<u8>>>);

    impl Write for Tape {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn errors_may_go_to_a_stream_of_the_server() {
        let tape = Tape::default();
        let outgoing = Outgoing::default();
        let negotiated = Negotiated::new(32, CompatFlags::default());
        let voice = ServerVoice::new(&TransferOptions::default(), &negotiated, outgoing)
            .with_errors_to(Box::new(tape.clone()));
        voice.say(Severity::Warning, "careful, é\n".as_bytes());
        assert_eq!(*tape.0.lock().expect("not poisoned"), b"careful, \\#303\\#251\n");
    }
}
